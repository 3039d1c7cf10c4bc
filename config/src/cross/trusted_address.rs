//! `trust_email` of a provider against its `domains`, whichever protocol says it.

use super::findings::Findings;
use crate::idps::{Domains, NamedIdp};

/// Refuses an address that would be believed of every domain.
pub(super) fn check_trusted_address(
    findings: &mut Findings<'_, '_>,
    named: &NamedIdp,
    protocol: &str,
    trust_email: bool,
) {
    let domains = format!("idps.{}.domains", named.name);
    if trust_email && named.idp.domains == Domains::Any && !findings.has_failed(&domains) {
        let what = "an unverified address would be believed of every domain";
        let path = format!("idps.{}.{protocol}.trust_email", named.name);
        findings.add_problem(&path, what, format!("List the e-mail domains in {domains}"));
    }
}
