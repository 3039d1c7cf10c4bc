//! `idps.*.saml` against the rest of the file.

use portcullis_policy::UserFrom;

use super::findings::Findings;
use super::trusted_address::check_trusted_address;
use crate::document::{ProvisioningWord, RootBlock};
use crate::idps::NamedIdp;
use crate::saml::{IdpInitiated, MetadataText, NameIdWord, SamlBlock};

/// Asks whether a login by SAML can work, and whether it would believe more than was meant.
pub(super) fn check_saml(
    findings: &mut Findings<'_, '_>,
    document: &RootBlock,
    named: &NamedIdp,
    saml: &SamlBlock,
) {
    let of = |key: &str| format!("idps.{}.{key}", named.name);
    if let (Some(public), MetadataText::Address(address)) = (&document.public_url.0, &saml.metadata)
        && address.starts_with("http:")
        && !public.is_loopback()
    {
        let what = "an address on this machine works only where public_url is on this machine too";
        findings.add_problem(&of("saml.metadata"), what, "Write the address as https://");
    }
    check_trusted_address(findings, named, "saml", saml.trust_email);
    if saml.name_id == NameIdWord::Transient && saml.subject.is_none() {
        let what = "a transient NameID is another one at each login, and nothing else says who a person is";
        findings.add_problem(
            &of("saml.name_id"),
            what,
            "Name an attribute in saml.subject, or ask for persistent",
        );
    }
    let email = named.idp.preset.saml_attributes().email;
    if let Some(subject) = &saml.subject
        && (email.contains(&&**subject) || saml.attributes.email.as_ref() == Some(subject))
    {
        let what = "an e-mail address is given to another person some day, who would be the first one here";
        findings.add_warning(&of("saml.subject"), what, "Name an attribute that never changes hands");
    }
    if saml.allow_sha1 {
        let what = "SHA-1 is broken: whoever can make two documents of one digest can forge a login";
        findings.add_warning(&of("saml.allow_sha1"), what, "Have the identity provider sign with SHA-256");
    }
    if saml.idp_initiated == IdpInitiated::Accept {
        let what = "anybody with a login there can have another person's browser signed in as themselves, who then works \
                    under a stranger's name";
        let remedy = "Write restart, which people do not notice either";
        findings.add_warning(&of("saml.idp_initiated"), what, remedy);
    }
    check_names(findings, document, named, saml);
}

/// Looks at how people are named and found: SAML never says that an address was verified.
fn check_names(findings: &mut Findings<'_, '_>, document: &RootBlock, named: &NamedIdp, saml: &SamlBlock) {
    let of = |key: &str| format!("idps.{}.{key}", named.name);
    if document.provisioning == ProvisioningWord::None {
        let is_by_address = document.headers.user.unwrap_or(UserFrom::Email) == UserFrom::Email;
        if is_by_address && !saml.trust_email {
            let what = "people are named by their e-mail address, and SAML never says that one was verified: every \
                        login would be refused";
            let remedy = "Write trust_email: true with domains, where nobody chooses an address at the identity \
                          provider; or headers.user: subject";
            findings.add_problem(&of("saml"), what, remedy);
        }
        return;
    }
    match &named.idp.link {
        Some(link) => {
            let email = named.idp.preset.saml_attributes().email;
            let is_address =
                saml.attributes.email.as_ref() == Some(&link.claim) || email.contains(&&*link.claim);
            if is_address && !saml.trust_email {
                let what = "people are matched by an e-mail address, which SAML never calls verified: a first login \
                            is refused (unverified_email)";
                let remedy = "Send an immutable id as an attribute and link it to externalId; or, where nobody there \
                              chooses an address, write trust_email: true with domains";
                findings.add_warning(&of("link.claim"), what, remedy);
            }
        }
        None => {
            let id = named.idp.preset.saml_attributes().id;
            let what =
                format!("people are found by externalId, and the attribute {id} of the login has to be it");
            let remedy =
                "Have the identity provider send it, or write link: with another attribute, or with NameID";
            findings.add_warning(&format!("idps.{}", named.name), what, remedy);
        }
    }
}
