//! `idps` against each other and the rest of the file.

use portcullis_policy::UserFrom;

use super::findings::Findings;
use super::{oidc, saml};
use crate::at::show_value;
use crate::document::{ProvisioningWord, RootBlock};
use crate::idps::{Domains, Idps, NamedIdp, is_name};

/// Asks of each provider whether a login by it can work, and whether it would believe more than was meant; and of all of
/// them whether it is clear who signs in where.
pub(super) fn check_idps(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    let Some(Idps(idps)) = &document.idps.0 else { return };
    idps.iter().for_each(|idp| check_idp(findings, document, idp));
    if idps.len() > 1
        && let Some(user @ (UserFrom::Subject | UserFrom::PreferredUsername)) = document.headers.user
        && (user == UserFrom::Subject || document.provisioning == ProvisioningWord::None)
    {
        let what = format!(
            "two identity providers may call two people by one {}, and the application could not tell them apart",
            user.config_word()
        );
        findings.add_problem(
            "headers.user",
            what,
            "Write email, or with a directory userName, id or externalId",
        );
    }
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
        if let (Some(issuer), Some(theirs)) = (issuer_of(idp), issuer_of(other))
            && issuer.1 == theirs.1
        {
            let what = format!(
                "the issuer of {} already: the same people would be signed in on two terms",
                other.name
            );
            findings.add_problem(&format!("idps.{}.{}", idp.name, issuer.0), what, "Keep one of the two");
        }
    }
}

/// The name of a provider for itself, and the key that says it.
fn issuer_of(named: &NamedIdp) -> Option<(&'static str, &str)> {
    let oidc = named.idp.oidc.as_ref().map(|oidc| ("oidc.issuer", oidc.issuer.as_str()));
    let saml = named.idp.saml.as_ref().and_then(|saml| saml.issuer.as_ref());
    oidc.or_else(|| saml.map(|issuer| ("saml.issuer", issuer.as_str())))
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
    check_replaces(findings, document, named);
    match (&idp.oidc, &idp.saml) {
        (Some(oidc), None) => oidc::check_oidc(findings, document, named, oidc),
        (None, Some(saml)) => saml::check_saml(findings, document, named, saml),
        (Some(_), Some(_)) => {
            let what = "a provider speaks OpenID Connect (oidc) or SAML (saml), and both stand here";
            findings.add_problem(
                &format!("idps.{name}"),
                what,
                "Write two providers, each with a name of its own",
            );
        }
        (None, None) if !findings.has_failed(&format!("idps.{name}")) => {
            let what = "neither oidc nor saml says how the provider is asked";
            findings.add_problem(
                &format!("idps.{name}"),
                what,
                "Write oidc: with issuer, or saml: with metadata",
            );
        }
        (None, None) => {}
    }
}

fn check_replaces(findings: &mut Findings<'_, '_>, document: &RootBlock, named: &NamedIdp) {
    let path = format!("idps.{}.replaces", named.name);
    let Some(replaces) = &named.idp.replaces else { return };
    if !is_name(replaces) {
        let what = format!("\"{}\" is no name that a provider can have had", show_value(replaces));
        findings.add_problem(&path, what, "Write the name under idps: of the provider that was there before");
    } else if document.provisioning == ProvisioningWord::None {
        let what = "has no meaning with provisioning: none, since there is no directory by which anybody could be known \
                    again";
        findings.add_problem(&path, what, "Leave it out, and see portcullis user relink");
    }
}
