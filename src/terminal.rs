//! The terminal, as every command has it: the codes it ends with, and what it prints where.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_config::Problems;

/// The ways in which a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked for.
    Fine,
    /// It could not.
    Failed,
    /// The configuration has a problem.
    Config,
    /// It was used wrongly.
    #[cfg_attr(not(feature = "saml"), expect(dead_code))]
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::Config => Self::from(Problems::EXIT_CODE),
            Exit::Usage => Self::from(2),
        }
    }
}

/// The configuration file: what `-c` named, else where it is looked for.
///
/// # Errors
/// One problem that names the places.
pub(crate) fn config_path(named: Option<&Path>) -> Result<PathBuf, Problems> {
    named.map_or_else(portcullis_config::find_default_path, |path| Ok(path.to_owned()))
}

/// Says what is wrong with the configuration.
pub(crate) fn tell_problems(problems: &Problems) -> Exit {
    eprintln!("{problems}");
    Exit::Config
}

/// Says why a command failed.
pub(crate) fn print_error(error: &dyn std::error::Error) -> Exit {
    eprintln!("portcullis: {}", portcullis_policy::escaped(&crate::log::error_chain(error).to_string()));
    Exit::Failed
}

/// Prints to standard output. A reader that has gone away, as `head` does, is no failure; a disk that is full is one, which
/// [`judge_output`] tells.
pub(crate) fn print_text(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    note_output(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// True once something that was asked for could not be printed.
static IS_LOST: AtomicBool = AtomicBool::new(false);

fn note_output(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
        && !IS_LOST.swap(true, Ordering::Relaxed)
    {
        eprintln!("portcullis: what was asked for could not be written: {error}");
    }
}

/// The end of a command, which has failed where what it was asked for is nowhere to be read.
pub(crate) fn judge_output(exit: Exit) -> Exit {
    match exit {
        Exit::Fine if IS_LOST.load(Ordering::Relaxed) => Exit::Failed,
        other => other,
    }
}

/// A value of the store, fit for a terminal and a column of a table.
pub(crate) fn fit_for_terminal(text: &str) -> String {
    portcullis_policy::shown(text).into_owned()
}

/// Writes a number of things.
pub(crate) fn count_things(count: impl TryInto<u64>, thing: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {thing}"),
        more => format!("{more} {thing}s"),
    }
}

/// Writes a number of people.
pub(crate) fn count_people(count: impl TryInto<u64>) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => "1 person".to_owned(),
        more => format!("{more} people"),
    }
}

/// Lines of a table: columns as wide as their widest entry, two blanks apart. The last column may hold whole texts.
pub(crate) fn format_table<const N: usize>(rows: &[[String; N]]) -> String {
    let length = |entry: &String| entry.chars().count();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0));
    let mut out = String::new();
    for row in rows {
        let filled = row.iter().rposition(|entry| !entry.is_empty()).unwrap_or(0);
        for (column, (entry, width)) in row.iter().zip(widths).enumerate().take(filled + 1) {
            out.push_str(entry);
            if column < filled {
                // By hand: a width that is formatted may not pass 65,535.
                out.extend(std::iter::repeat_n(' ', width - length(entry) + 2));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_is_acted_on() {
        let rows = [["NAME", "STATE"], ["Åsa", "active"], ["x", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(format_table(&rows), "NAME  STATE\nÅsa   active\nx\n");
        assert_eq!(fit_for_terminal("a\u{1b}[2J\r\n\u{202e}b"), "a\\u{1b}[2J\\r\\n\\u{202e}b");
        assert_eq!(fit_for_terminal(&"x".repeat(100_000)).chars().count(), 200);
    }

    #[test]
    fn no_entry_is_too_wide_for_a_table() {
        let long = "x".repeat(100_000);
        let rows = [["a".to_owned(), "b".to_owned()], [long.clone(), long.clone()]];
        assert_eq!(format_table(&rows).lines().nth(1), Some(format!("{long}  {long}").as_str()));
    }
}
