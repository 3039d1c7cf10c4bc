//! Where problems between keys are noted: at a path, on the line where it stands.

use crate::at::At;
use crate::node::YamlNode;
use crate::report::Report;

/// The report beside the whole tree, so that a problem needs a path and no node.
pub(super) struct Findings<'a, 'e> {
    pub(super) root: &'a YamlNode,
    pub(super) report: &'a mut Report<'e>,
}

impl Findings<'_, '_> {
    /// Notes a problem at a path.
    pub(super) fn add_problem(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let at = At::from(path);
        self.report.problem_on(self.root.line_of(&at), &at, what, remedy);
    }

    /// Notes at a path what works and deserves a look.
    pub(super) fn add_warning(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let at = At::from(path);
        self.report.add_warning(self.root.line_of(&at), &at, what, remedy);
    }

    /// Tells whether the file has a key, whatever stands behind it.
    pub(super) fn has_key(&self, path: &str) -> bool {
        self.root.find_node(&At::from(path)).is_some()
    }

    /// Tells whether a problem was noted at a key, or below it. What it would have said is not known then, and the
    /// default that stands in its place is not what somebody meant: nothing is concluded from it.
    pub(super) fn has_failed(&self, path: &str) -> bool {
        let of_it = |other: &str| {
            other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.report.problems.iter().any(|problem| of_it(&problem.path))
            || self.report.meant.iter().any(|meant| meant == path)
    }
}
