//! The text of a file: its bytes with a bound, and its tree, before any key of it is looked at.

use std::io::Read as _;
use std::path::Path;

use crate::node::{MOST_BYTES, YamlNode, YamlValue};
use crate::report::Report;

/// The bytes of a plain file of at most [`MOST_BYTES`], or what is wrong with it.
pub(crate) fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {}", error_text(&error));
    // A pipe or a device could block the start for good.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err("is not a plain file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > MOST_BYTES { Err("is larger than 1 MiB".into()) } else { Ok(bytes) }
}

/// The tree of a text; `empty` is what to do where there is nothing in it.
pub(crate) fn parse_tree(bytes: &[u8], empty: &str, report: &mut Report<'_>) -> Option<YamlNode> {
    if bytes.len() > MOST_BYTES {
        return report.problem_of_file(None, "is larger than 1 MiB", "");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            return report.problem_of_file(Some(line), "not text in UTF-8", "Save the file as UTF-8");
        }
    };
    match YamlNode::parse_document(text) {
        Ok(YamlNode { value: YamlValue::Nothing, .. }) => {
            report.problem_of_file(None, "the file is empty", empty)
        }
        Ok(root) => Some(root),
        Err(error) => report.problem_of_file(error.line, error.what, error.remedy),
    }
}

/// Gives the text of an error, without its number.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
