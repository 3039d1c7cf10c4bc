//! Which peers are installed. `tests/rigs/install` leaves a stamp for each.

use std::io::Write;
use std::path::PathBuf;

/// The folder of the rigs' scripts.
pub fn rigs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rigs")
}

/// Where the peers are installed.
pub fn cache() -> PathBuf {
    rigs().join(".cache")
}

/// Whether a peer is installed. If not, says so where no test runner hides it, and counts the test as skipped.
pub fn is_installed(peer: &str) -> bool {
    if cache().join(format!("{peer}.ready")).exists() {
        return true;
    }
    tell_skipped(peer, &format!("is not installed (tests/rigs/install {peer})"));
    false
}

/// Says that a test is skipped for want of something where no test runner hides it, and counts it.
pub fn tell_skipped(wanted: &str, why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {wanted} {why}");
    if let Some(list) = std::env::var_os("PORTCULLIS_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{test}: {wanted}").unwrap();
    }
}

/// Leaves the test, counted as skipped, where a peer is not installed.
#[macro_export]
macro_rules! needs {
    ($peer:literal) => {
        if !$crate::rig::peer::is_installed($peer) {
            return;
        }
    };
}
