//! `provisioning` and the blocks that have a meaning with it.

use portcullis_policy::UserFrom;

use super::findings::Findings;
use crate::document::{ProvisioningWord, RootBlock};

/// Refuses files of people where a SCIM client feeds the directory, or there is none.
fn check_import(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    let what = match document.provisioning {
        ProvisioningWord::Invited => return,
        ProvisioningWord::Scim => {
            "never into a directory that a SCIM client feeds (provisioning: scim): each would undo what the other says"
        }
        ProvisioningWord::None => {
            "has no meaning with provisioning: none, since there is no directory to fill"
        }
    };
    if findings.has_key("import") {
        findings.add_problem("import", what, "Leave it out, or write provisioning: invited");
    }
}

/// Refuses blocks that have no meaning with the `provisioning` that is written, and misses those it needs.
pub(super) fn check_provisioning(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    if findings.has_failed("provisioning") {
        return;
    }
    check_import(findings, document);
    if findings.has_failed("scim") {
        return;
    }
    let word = match document.provisioning {
        ProvisioningWord::Scim if !findings.has_key("scim") => {
            let how = if findings.has_key("provisioning") { "provisioning" } else { "scim" };
            return findings.add_problem(
                how,
                "users come from the directory (provisioning: scim), and there is no scim: block that feeds it",
                "Write scim: with public_url and token, or provisioning: invited or none",
            );
        }
        ProvisioningWord::Scim => return,
        ProvisioningWord::Invited => "invited",
        ProvisioningWord::None => "none",
    };
    let what = |of: &str| format!("{of} with provisioning: {word}, since no SCIM client feeds users");
    if findings.has_key("scim") {
        findings.add_problem("scim", what("has no meaning"), "Leave it out, or write provisioning: scim");
    }
    if findings.has_key("listen.scim") {
        findings.add_warning("listen.scim", what("nothing listens here"), "Leave it out");
    }
    if document.provisioning == ProvisioningWord::Invited {
        return;
    }
    if document.headers.user == Some(UserFrom::PreferredUsername) {
        let what = "people may choose this name themselves at many providers, and be somebody else to the application";
        let remedy = "Write email or subject, unless the provider lets nobody choose it";
        findings.add_warning("headers.user", what, remedy);
    }
    if let Some(user @ (UserFrom::UserName | UserFrom::Id | UserFrom::ExternalId)) = document.headers.user {
        let what =
            format!("{} is an attribute of a directory, and provisioning: none has none", user.config_word());
        findings.add_problem("headers.user", what, "Write email or subject");
    }
}
