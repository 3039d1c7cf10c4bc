//! Where problems are collected while a configuration is read: reading never stops at the first one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::at::{At, show_value};
use crate::environment::Environment;
use crate::later;
use crate::node::YamlNode;
use crate::problem::Problem;

/// The report on a file that is being read: the problems found, and what reading needs at hand.
pub(crate) struct Report<'e> {
    pub(crate) environment: &'e Environment,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Files whose change is a change of the configuration.
    pub(crate) watched: Vec<PathBuf>,
    /// Keys that are not there, and were meant by one that is misspelt.
    pub(crate) meant: Vec<String>,
    /// The paths of secrets whose command was not run.
    pub(crate) not_run: Vec<String>,
    known: KnownKeys,
    file: Arc<str>,
    folder: PathBuf,
}

/// The paths of every key there is, made when a key is met that is none: `routes[].path`.
pub(crate) type KnownKeys = fn() -> Vec<String>;

impl<'e> Report<'e> {
    /// A report on a file of this name, whose relative paths start in `folder`.
    pub(crate) fn new(file: &str, folder: &Path, environment: &'e Environment, known: KnownKeys) -> Self {
        Self {
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
            watched: Vec::new(),
            meant: Vec::new(),
            not_run: Vec::new(),
            known,
            file: file.into(),
            folder: folder.into(),
        }
    }

    /// Notes a problem at a node. It answers `None`, since there is no value then.
    pub(crate) fn add_problem<T>(
        &mut self,
        node: &YamlNode,
        at: &At,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        self.problem_on(node.line, at, what, remedy);
        None
    }

    /// Notes a problem on a line.
    pub(crate) fn problem_on(
        &mut self,
        line: usize,
        at: &At,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = self.problem_at(Some(line), at, what.into(), remedy.into());
        self.problems.push(problem);
    }

    /// Notes a problem of the file as a whole.
    pub(crate) fn problem_of_file<T>(
        &mut self,
        line: Option<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        let problem = self.problem_at(line, &At::root(), what.into(), remedy.into());
        self.problems.push(problem);
        None
    }

    /// Notes something that works and deserves a look.
    pub(crate) fn add_warning(
        &mut self,
        line: usize,
        at: &At,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = self.problem_at(Some(line), at, what.into(), remedy.into());
        self.warnings.push(problem);
    }

    /// Refuses a value by name that this version does not act on, or that cannot work.
    pub(crate) fn refuse_word<T>(&mut self, node: &YamlNode, at: &At, word: &str, why: &str) -> Option<T> {
        let (what, remedy) = if why.is_empty() { (later::NOT_YET, "") } else { (why, "") };
        self.add_problem(node, at, format!("\"{}\" {}", show_value(word), of_a_value(what)), remedy)
    }

    /// Reads another file with this report: problems found meanwhile are that file's.
    pub(crate) fn in_file<T>(&mut self, file: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.file, file.into());
        let result = read(self);
        self.file = outer;
        result
    }

    /// Resolves a path of the configuration: relative ones start in the folder of the configuration file.
    pub(crate) fn resolve_path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// Names another file for its problems: beside this one, in the words this one was asked for with.
    pub(crate) fn name_beside(&self, path: &str) -> String {
        Path::new(&*self.file).parent().unwrap_or(Path::new("")).join(path).display().to_string()
    }

    /// The paths of every key of the configuration.
    pub(crate) fn known_keys(&self) -> Vec<String> {
        (self.known)()
    }

    /// The folder of the configuration file.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Remembers a file whose change is a change of the configuration.
    pub(crate) fn watch_file(&mut self, path: impl AsRef<Path>) {
        let path = self.resolve_path(path);
        if !self.watched.contains(&path) {
            self.watched.push(path);
        }
    }

    fn problem_at(&self, line: Option<usize>, at: &At, what: String, remedy: String) -> Problem {
        Problem { file: self.file.clone(), line, path: at.to_string(), what, remedy }
    }
}

fn of_a_value(what: &str) -> String {
    if what == later::NOT_YET { format!("is {what}") } else { what.to_owned() }
}
