//! `idps.*.oidc` against the rest of the file, and what is known of a product.

use super::findings::Findings;
use super::trusted_address::check_trusted_address;
use crate::at::show_value;
use crate::document::{ProvisioningWord, RootBlock};
use crate::idps::{Domains, NamedIdp, Oidc, Preset};

/// Asks whether a login by OpenID Connect can work, and whether it would believe more than was meant.
pub(super) fn check_oidc(
    findings: &mut Findings<'_, '_>,
    document: &RootBlock,
    named: &NamedIdp,
    oidc: &Oidc,
) {
    let of = |key: &str| format!("idps.{}.{key}", named.name);
    if let Some(public) = &document.public_url.0
        && !oidc.issuer.is_https()
        && !public.is_loopback()
    {
        let what = "an issuer on this machine works only where public_url is on this machine too";
        findings.add_problem(&of("oidc.issuer"), what, "Write the issuer as https://");
    }
    check_product(findings, named, oidc);
    check_trusted_address(findings, named, "oidc", oidc.trust_email);
    check_scopes(findings, named, oidc);
    check_link(findings, document, named, oidc);
}

fn check_scopes(findings: &mut Findings<'_, '_>, named: &NamedIdp, oidc: &Oidc) {
    let of = |key: &str| format!("idps.{}.oidc.{key}", named.name);
    if !oidc.scopes.iter().any(|scope| scope == "openid") {
        findings.add_problem(&of("scopes"), "without the scope openid there is no login", "Add openid");
    }
    for (nth, scope) in oidc.scopes.iter().enumerate() {
        let path = of(&format!("scopes[{nth}]"));
        // RFC 6749 §3.3.
        if !scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            let what = format!("\"{}\" is not a scope", show_value(scope));
            findings.add_problem(&path, what, "Write one scope an item");
        } else if scope == "offline_access" {
            let what = "offline_access is not in this version: no token is refreshed";
            findings.add_problem(&path, what, "Leave it out");
        }
    }
}

/// Warns of a first login that will find nobody.
fn check_link(findings: &mut Findings<'_, '_>, document: &RootBlock, named: &NamedIdp, oidc: &Oidc) {
    let (name, idp) = (&named.name, &named.idp);
    if let Some(link) = &idp.link {
        let is_address = link.claim == oidc.claims.email || link.claim == "email";
        // Google verifies every address that it gives out.
        let is_open = !oidc.trust_email && idp.preset != Preset::Google;
        if is_address && is_open && document.provisioning != ProvisioningWord::None {
            let what = "people are matched by an e-mail address, and a login whose address the provider does not \
                        call verified is refused (unverified_email)";
            let remedy = "Write claim: sub and to: externalId; or see that the provider sends email_verified; or, \
                          where nobody there chooses an address, write trust_email: true with domains";
            findings.add_warning(&format!("idps.{name}.link.claim"), what, remedy);
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
            format!("people are found by externalId ({} of the login)", preset.link_block(false).claim),
            "Give each `portcullis user add` its --external-id, or write link: with claim: email and to: userName",
        ),
        _ => {}
    }
}

/// Refuses what is known of a product to make a login impossible.
fn check_product(findings: &mut Findings<'_, '_>, named: &NamedIdp, oidc: &Oidc) {
    let of = |key: &str| format!("idps.{}.{key}", named.name);
    let idp = &named.idp;
    if idp.preset == Preset::Google && idp.domains == Domains::Any && !findings.has_failed(&of("domains")) {
        findings.add_problem(
            &of("domains"),
            "with preset: google only accounts of a Workspace that is listed here may sign in, and none is",
            "Write the primary domain of yours: [example.com]",
        );
    }
    if let Some(tenant) = oidc.issuer.of_every_tenant() {
        findings.add_problem(
            &of("oidc.issuer"),
            format!(
                "{tenant} is no tenant: whoever has any could sign in, and Entra's documents name another issuer"
            ),
            "Write that of your tenant: https://login.microsoftonline.com/TENANT-ID/v2.0",
        );
    }
}
