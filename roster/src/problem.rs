//! The problems of a file: each with its line, all at once, and no more of them than somebody reads.

use std::fmt;

/// As many are told one by one; the rest is counted.
const TOLD: usize = 20;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterProblem {
    /// The line of the file, from 1: the one where its row begins.
    pub line: u64,
    /// The problem, and what to do about it.
    pub what: String,
}

impl fmt::Display for RosterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// All problems of a file, in the order of its lines; the first twenty in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterProblems {
    told: Vec<RosterProblem>,
    count: usize,
}

impl RosterProblems {
    pub(crate) fn add(&mut self, line: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        // Lines come in order, but a problem of the whole may come after those of its rows.
        if self.told.len() < TOLD || self.told.last().is_some_and(|last| last.line > line) {
            let place = self.told.partition_point(|told| told.line <= line);
            self.told.insert(place, RosterProblem { line, what: what() });
            self.told.truncate(TOLD);
        }
    }

    pub(crate) fn one(line: u64, what: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(line, || what.into());
        problems
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those that are told in words.
    pub fn iter(&self) -> impl Iterator<Item = &RosterProblem> {
        self.told.iter()
    }

    /// The number of all of them.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for RosterProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.told {
            writeln!(f, "{problem}")?;
        }
        match self.count - self.told.len() {
            0 => write!(f, "Nothing was changed."),
            more => write!(f, "… and {more} more. Nothing was changed."),
        }
    }
}

impl std::error::Error for RosterProblems {}
