//! What the rehearsal prints.

use std::io::Write as _;

/// Prints a line; whoever closed the other end does not want it.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says what went wrong.
pub(crate) fn print_fault(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "portcullis-rehearsal: {line}");
}
