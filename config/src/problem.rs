//! What is wrong with a configuration, said so that an operator can act: where, what, why, what to do.
//!
//! A problem never quotes a line of the file: the line could hold a secret.

use std::fmt;
use std::sync::Arc;

/// One thing that is wrong, or worth a look where it is a warning.
///
/// Printed as `portcullis.yaml:14: routes[2].allow: "x" is not a role of scim.bindings.yml. Known: a, b.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named by whoever asked for it.
    pub file: Arc<str>,
    /// The line, counted from 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// The key: `routes[2].allow`; empty where the file as a whole is meant.
    pub path: String,
    /// The fault and its cause, without a final dot.
    pub what: String,
    /// The advice what to do, without a final dot; empty where `what` already says it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}.", self.what)?;
        match self.remedy.as_str() {
            "" => Ok(()),
            question if question.ends_with('?') => write!(f, " {question}"),
            remedy => write!(f, " {remedy}."),
        }
    }
}

/// Everything that is wrong with a configuration, by line; never empty.
///
/// Printed one problem a line and a closing line with their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The exit code of a program that was given a configuration with problems: `EX_CONFIG` of sysexits.
    pub const EXIT_CODE: u8 = 78;

    /// Those that were found with a file after it was read; `None` where there are none.
    pub fn from_list(problems: Vec<Problem>) -> Option<Self> {
        let main = problems.first()?.file.clone();
        Some(Self::new(problems, &main))
    }

    /// Orders them by line, those of `main` before those of the files it names.
    pub(crate) fn new(mut problems: Vec<Problem>, main: &str) -> Self {
        sort_problems(&mut problems, main);
        Self(problems)
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// By file, the main one first, then by line; what was found first stays first.
pub(crate) fn sort_problems(problems: &mut [Problem], main: &str) {
    problems.sort_by(|a, b| {
        let key = |p: &Problem| (*p.file != *main, p.file.clone(), p.line);
        key(a).cmp(&key(b))
    });
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 problem."),
            count => write!(f, "{count} problems."),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(file: &str, line: Option<usize>, path: &str, remedy: &str) -> Problem {
        Problem { file: file.into(), line, path: path.into(), what: "is wrong".into(), remedy: remedy.into() }
    }

    #[test]
    fn problems_are_printed_by_line_and_counted() {
        let problems = vec![
            problem("roles.yml", Some(1), "version", ""),
            problem("a.yaml", Some(9), "b", "Mend it"),
            problem("a.yaml", None, "", ""),
            problem("a.yaml", Some(2), "c", "Did you mean d?"),
        ];
        assert_eq!(
            Problems::new(problems, "a.yaml").to_string(),
            "a.yaml: is wrong.\na.yaml:2: c: is wrong. Did you mean d?\na.yaml:9: b: is wrong. Mend it.\n\
             roles.yml:1: version: is wrong.\n4 problems."
        );
        assert!(Problems::new(vec![problem("a", None, "", "")], "a").to_string().ends_with("\n1 problem."));
    }
}
