//! The lines of a file that was read, for whoever finds a problem with it later: with a folder, or a port.

use std::fmt;
use std::sync::Arc;

use crate::at::At;
use crate::node::YamlNode;
use crate::problem::Problem;

/// The lines on which the keys of a configuration stand.
#[derive(Clone)]
pub struct KeyLines {
    file: Arc<str>,
    root: Arc<YamlNode>,
}

impl KeyLines {
    pub(crate) fn new(file: &str, root: YamlNode) -> Self {
        Self { file: file.into(), root: Arc::new(root) }
    }

    /// A problem with a key of the file, such as `log.access`, on its line. Without a final dot in either text.
    pub fn problem_at(&self, path: &str, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let at = At::from(path);
        let line = Some(self.root.line_of(&at));
        Problem {
            file: self.file.clone(),
            line,
            path: at.to_string(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// A tree may hold what nobody should see.
impl fmt::Debug for KeyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines of {}", self.file)
    }
}
