//! `bindings`: the file of roles, read where the configuration names one.

use portcullis_policy::Bindings;

use super::attributes::KnownAttributes;
use super::findings::Findings;
use crate::at::show_value;
use crate::bindings;
use crate::document::{ProvisioningWord, RootBlock};
use crate::source::bytes_of;

/// Reads the bindings file; no roles where none is named, `None` where a problem was noted.
pub(super) fn read_bindings(findings: &mut Findings<'_, '_>, document: &RootBlock) -> Option<Bindings> {
    let Some(written) = &document.bindings else {
        return (!findings.has_key("bindings")).then(Bindings::default);
    };
    let path = findings.report.resolve_path(written);
    findings.report.watch_file(&path);
    if document.provisioning == ProvisioningWord::Invited && !findings.has_key("import") {
        findings.add_warning(
            "bindings",
            "with provisioning: invited nobody is in a group, and so has a role, but by a file of people",
            "Import one: portcullis import --help; or name a folder for them: import",
        );
    }
    match bytes_of(&path) {
        Ok(text) => {
            let known = KnownAttributes::of_document(document);
            let known = Some(&known).filter(|known| known.has_directory);
            let name = findings.report.name_beside(written);
            bindings::parse_bindings(&text, &name, known, findings.report)
        }
        Err(what) => {
            let remedy = "A relative path starts in the folder of this file";
            findings.add_problem("bindings", format!("{} {what}", show_value(written)), remedy);
            None
        }
    }
}
