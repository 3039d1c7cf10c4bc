//! `scim` against `idps`.

use super::findings::Findings;
use crate::at::show_value;
use crate::document::RootBlock;
use crate::nearest;

/// Asks whether the directory is reached where it says, and whether somebody may sign its people in.
pub(super) fn check_scim(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    let Some(scim) = &document.scim else { return };
    for version in ["/scim/v2", "/scim/v1"] {
        if scim.public_url.path().ends_with(version) {
            let what = format!("this is the base URL already: it is public_url and {version}");
            findings.add_problem("scim.public_url", what, format!("Leave {version} away"));
        }
    }
    let Some(idps) = &document.idps.0 else { return };
    let Some(named) = &scim.idps else { return };
    if named.is_empty() {
        findings.add_problem(
            "scim.idps",
            "an empty list lets nobody of this directory in",
            "Name a provider, or leave it out",
        );
    }
    let known = || idps.0.iter().map(|idp| idp.name.as_str());
    for (nth, name) in named.iter().enumerate().filter(|(_, name)| !known().any(|known| known == **name)) {
        let what = format!("\"{}\" is not a provider of idps", show_value(name));
        findings.add_problem(&format!("scim.idps[{nth}]"), what, nearest::list_known(known()));
    }
}
