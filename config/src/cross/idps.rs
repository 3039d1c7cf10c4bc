//! `idps` against each other and the rest of the file, and what is known of a product.

use super::findings::Findings;
use crate::at::show_value;
use crate::document::{ProvisioningWord, RootBlock};
use crate::idps::{Domains, IdpBlock, Idps, NamedIdp, Preset, is_name};

/// Asks of each provider whether a login by it can work, and whether it would believe more than was meant; and of all of
/// them whether it is clear who signs in where.
pub(super) fn check_idps(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    let Some(Idps(idps)) = &document.idps.0 else { return };
    idps.iter().for_each(|idp| check_idp(findings, document, idp));
    for (nth, idp) in idps.iter().enumerate() {
        check_beside(findings, &idps[..nth], idp);
        check_replaced(findings, idps, idp);
        if idps.len() > 1 && !findings.has_key(&format!("idps.{}.domains", idp.name)) {
            let what = "several identity providers, and this one does not say whom it signs in";
            let remedy = "List its e-mail domains in domains:; one of the providers may write domains: any";
            findings.add_problem(&format!("idps.{}", idp.name), what, remedy);
        }
    }
}

/// Refuses a provider that clashes with one written before it.
fn check_beside(findings: &mut Findings<'_, '_>, before: &[NamedIdp], idp: &NamedIdp) {
    let domains = format!("idps.{}.domains", idp.name);
    for other in before {
        let what = match (&other.idp.domains, &idp.idp.domains) {
            (Domains::Any, Domains::Any) if findings.has_key(&domains) => {
                Some(format!("any is that of {} already", other.name))
            }
            (Domains::Only(theirs), Domains::Only(ours)) => {
                let both = ours.iter().find(|domain| theirs.contains(domain));
                both.map(|domain| format!("{domain} is a domain of {} already", other.name))
            }
            _ => None,
        };
        if let Some(what) = what {
            findings.add_problem(
                &domains,
                what,
                "Write each domain at one provider: it decides where people sign in",
            );
        }
        if other.idp.oidc.issuer.as_str() == idp.idp.oidc.issuer.as_str() {
            let what = format!(
                "the issuer of {} already: the same people would be signed in on two terms",
                other.name
            );
            findings.add_problem(&format!("idps.{}.oidc.issuer", idp.name), what, "Keep one of the two");
        }
    }
}

/// Looks at a provider that replaces one which is still there: an operator may move people from one to the other, and
/// nobody may be moved to and fro.
fn check_replaced(findings: &mut Findings<'_, '_>, idps: &[NamedIdp], idp: &NamedIdp) {
    let Some(other) = idps.iter().find(|other| idp.idp.replaces.as_ref() == Some(&other.name)) else {
        return;
    };
    let path = format!("idps.{}.replaces", idp.name);
    if other.name == idp.name || other.idp.replaces.as_ref() == Some(&idp.name) {
        let what = "the two would take each other's people, login by login";
        return findings.add_problem(&path, what, "Let only the newer one replace the other");
    }
    let what = format!(
        "{} is configured beside it: whoever has signed in by {} once is not let in by {} any more",
        other.name, idp.name, other.name
    );
    findings.add_warning(&path, what, format!("Remove {} when everybody has moved", other.name));
}

/// Asks whether a login by this provider can work, and whether it would believe more than was meant.
fn check_idp(findings: &mut Findings<'_, '_>, document: &RootBlock, named: &NamedIdp) {
    let (name, idp) = (&named.name, &named.idp);
    let of = |key: &str| format!("idps.{name}.{key}");
    if document.provisioning == ProvisioningWord::None
        && findings.has_key(&of("link"))
        && !findings.has_failed("provisioning")
    {
        let what = "has no meaning with provisioning: none, since there is no directory to find a user in";
        findings.add_problem(&of("link"), what, "Leave it out");
    }
    if let Some(public) = &document.public_url.0
        && !idp.oidc.issuer.is_https()
        && !public.is_loopback()
    {
        let what = "an issuer on this machine works only where public_url is on this machine too";
        findings.add_problem(&of("oidc.issuer"), what, "Write the issuer as https://");
    }
    check_product(findings, name, idp);
    if idp.oidc.trust_email && idp.domains == Domains::Any && !findings.has_failed(&of("domains")) {
        let what = "an unverified address would be believed of every domain";
        findings.add_problem(
            &of("oidc.trust_email"),
            what,
            format!("List the e-mail domains in {}", of("domains")),
        );
    }
    let scopes = &idp.oidc.scopes;
    if !scopes.iter().any(|scope| scope == "openid") {
        findings.add_problem(&of("oidc.scopes"), "without the scope openid there is no login", "Add openid");
    }
    for (nth, scope) in scopes.iter().enumerate() {
        let path = of(&format!("oidc.scopes[{nth}]"));
        // RFC 6749 §3.3.
        if !scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            findings.add_problem(
                &path,
                format!("\"{}\" is not a scope", show_value(scope)),
                "Write one scope an item",
            );
        } else if scope == "offline_access" {
            findings.add_problem(
                &path,
                "offline_access is not in this version: no token is refreshed",
                "Leave it out",
            );
        }
    }
    if let Some(replaces) = &idp.replaces {
        if !is_name(replaces) {
            let what = format!("\"{}\" is no name that a provider can have had", show_value(replaces));
            findings.add_problem(
                &of("replaces"),
                what,
                "Write the name under idps: of the provider that was there before",
            );
        } else if document.provisioning == ProvisioningWord::None {
            let what = "has no meaning with provisioning: none, since there is no directory by which anybody \
                        could be known again";
            findings.add_problem(&of("replaces"), what, "Leave it out, and see portcullis user relink");
        }
    }
    if let Some(link) = &idp.link {
        let is_address = link.claim == idp.oidc.claims.email || link.claim == "email";
        // Google verifies every address that it gives out.
        let is_open = !idp.oidc.trust_email && idp.preset != Preset::Google;
        if is_address && is_open && document.provisioning != ProvisioningWord::None {
            let what = "people are matched by an e-mail address, and a login whose address the provider does not \
                        call verified is refused (unverified_email)";
            let remedy = "Write claim: sub and to: externalId; or see that the provider sends email_verified; or, \
                          where nobody there chooses an address, write trust_email: true with domains";
            findings.add_warning(&of("link.claim"), what, remedy);
        }
        return;
    }
    let place = format!("idps.{name}");
    match (document.provisioning, idp.preset) {
        (ProvisioningWord::Scim, Preset::Entra) => findings.add_warning(
            &place,
            "Entra does not send its immutable id by itself, and oid is looked for in externalId",
            "Map objectId to externalId in Entra's provisioning, or write link: with claim: preferred_username and \
             to: userName",
        ),
        (ProvisioningWord::Invited, preset) => findings.add_warning(
            &place,
            format!("people are found by externalId ({} of the login)", preset.link_block().claim),
            "Give each `portcullis user add` its --external-id, or write link: with claim: email and to: userName",
        ),
        _ => {}
    }
}

/// Refuses what is known of a product to make a login impossible.
fn check_product(findings: &mut Findings<'_, '_>, name: &str, idp: &IdpBlock) {
    let of = |key: &str| format!("idps.{name}.{key}");
    if idp.preset == Preset::Google && idp.domains == Domains::Any && !findings.has_failed(&of("domains")) {
        findings.add_problem(
            &of("domains"),
            "with preset: google only accounts of a Workspace that is listed here may sign in, and none is",
            "Write the primary domain of yours: [example.com]",
        );
    }
    if let Some(tenant) = idp.oidc.issuer.of_every_tenant() {
        findings.add_problem(
            &of("oidc.issuer"),
            format!(
                "{tenant} is no tenant: whoever has any could sign in, and Entra's documents name another issuer"
            ),
            "Write that of your tenant: https://login.microsoftonline.com/TENANT-ID/v2.0",
        );
    }
}
