//! What a configuration is read in: environment variables, who runs it, and how far secrets are followed.

use std::collections::HashMap;
use std::path::PathBuf;

/// The depth to which a configuration is followed beyond its own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadDepth {
    /// Secrets and certificates are read, commands are run.
    All,
    /// The same without running commands.
    NoCommands,
    /// Neither secrets nor certificates: the file is meant for another machine.
    TextOnly,
}

/// The surroundings that a configuration is read in. Nothing of this crate looks at the process's environment but
/// through it.
#[derive(Clone)]
pub struct Environment {
    variables: HashMap<String, String>,
    root: bool,
    reach: ReadDepth,
    /// Seconds since 1970.
    now: i64,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            root: rustix::process::geteuid().is_root(),
            reach: ReadDepth::All,
            now: unix_now(),
        }
    }

    /// One with these variables and nothing else, of an ordinary user.
    pub fn with_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, root: false, reach: ReadDepth::All, now: unix_now() }
    }

    /// The same, but `${run:…}` runs nothing. What such a secret holds is not known then: for
    /// [`check_file`](crate::check_file).
    #[must_use]
    pub fn without_commands(mut self) -> Self {
        self.reach = ReadDepth::NoCommands;
        self
    }

    /// The same, but no secret and no certificate is looked at, since the file is meant for another machine: for
    /// [`check_file`](crate::check_file).
    #[must_use]
    pub fn text_only(mut self) -> Self {
        self.reach = ReadDepth::TextOnly;
        self
    }

    /// The same at another time, in seconds since 1970.
    #[must_use]
    pub fn at_time(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// A configuration that is to be used needs all of it.
    pub(crate) fn read_everything(&mut self) {
        self.reach = ReadDepth::All;
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(crate) fn read_depth(&self) -> ReadDepth {
        self.reach
    }

    pub(crate) fn reads_everything(&self) -> bool {
        self.reach == ReadDepth::All
    }

    /// The state folder where the configuration names none: the system's for root, the XDG one for an ordinary user.
    /// None where such a user has no home.
    pub(crate) fn state_folder(&self) -> Option<PathBuf> {
        if self.root {
            return Some("/var/lib/portcullis".into());
        }
        let folder = |name: &str| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let states = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        states.map(|states| states.join("portcullis"))
    }
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Variables may be secrets: none is shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("root", &self.root)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_has_the_xdg_state_folder() {
        let folder = |variables: &[(&str, &str)]| {
            Environment::with_variables(variables.iter().copied()).state_folder()
        };
        let home = ("HOME", "/home/nora");
        assert_eq!(folder(&[home]), Some("/home/nora/.local/state/portcullis".into()));
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "/s")]), Some("/s/portcullis".into()));
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "s")]), folder(&[home]));
        assert_eq!(folder(&[]), None);
        let root = Environment { root: true, ..Environment::with_variables([home]) };
        assert_eq!(root.state_folder(), Some("/var/lib/portcullis".into()));
    }

    #[test]
    fn variables_are_not_shown() {
        assert!(!format!("{:?}", Environment::with_variables([("A", "hunter2")])).contains("hunter2"));
    }
}
