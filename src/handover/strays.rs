//! Processes that were replaced and that nobody leads any more.
//!
//! Whoever is replaced ends with the process that took over, unless it was stopped, or hangs. It holds the lock of a file
//! in the state folder to its end, by which the next start finds it: it would carry people whose removal it does not
//! hear, so it is killed before anybody is served.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_store::{FileLock, LockHolder, NotLocked};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::lock;

const PREFIX: &str = "replaced-";
const SUFFIX: &str = ".lock";
/// The time that one that was killed has to be gone, in looks.
const DEATH: (u32, Duration) = (100, Duration::from_millis(20));

/// The mark of a process that was replaced, on its file in the state folder. It is to be kept to its end.
#[derive(Debug)]
pub(super) struct ReplacedMark {
    path: PathBuf,
    _lock: FileLock,
}

impl ReplacedMark {
    /// Makes the mark of this process.
    ///
    /// # Errors
    /// [`NotLocked`].
    pub(super) fn make(state: &Path) -> Result<Self, NotLocked> {
        let path = state.join(format!("{PREFIX}{}{SUFFIX}", std::process::id()));
        FileLock::take_file(&path).map(|lock| Self { path, _lock: lock })
    }
}

impl Drop for ReplacedMark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A process that was replaced and does not end.
#[derive(Debug, thiserror::Error)]
#[error(
    "a process that was replaced carries people still, hears of nobody's removal, and cannot be ended from here ({}): \
     {holder}. End it, and start again",
    .mark.display()
)]
pub(crate) struct Stray {
    mark: PathBuf,
    holder: LockHolder,
}

/// Ends those that are left of a former run, but for these.
///
/// # Errors
/// [`Stray`]: nobody may be served while it lives.
pub(crate) fn end_strays(state: &Path, known: &[u32]) -> Result<(), Stray> {
    let Ok(entries) = fs::read_dir(state) else { return Ok(()) };
    for mark in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = mark.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX)) else {
            continue;
        };
        if known.iter().any(|known| known.to_string() == pid) {
            continue;
        }
        end_stray(&mark)?;
        let _ = fs::remove_file(&mark);
    }
    Ok(())
}

fn end_stray(mark: &Path) -> Result<(), Stray> {
    let held = |mark: &Path| match FileLock::take_file(mark) {
        Err(NotLocked::Held(holder)) => Some(holder),
        Ok(_) | Err(NotLocked::Io(_)) => None,
    };
    // It has a second to end by itself.
    let Some(holder) = held(mark) else { return Ok(()) };
    let _ = kill_taker(mark);
    for _ in 0..DEATH.0 {
        if lock::find_taker(mark).is_none() {
            break;
        }
        std::thread::sleep(DEATH.1);
    }
    match held(mark) {
        Some(_) => Err(Stray { mark: mark.to_owned(), holder }),
        None => Ok(()),
    }
}

/// Kills whoever has taken the lock, and nobody who has got the number since.
fn kill_taker(mark: &Path) -> io::Result<()> {
    let Some(pid) = lock::find_taker(mark) else { return Ok(()) };
    let Some(named) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let process = pidfd_open(named, PidfdFlags::empty())?;
    if lock::find_taker(mark) == Some(pid) {
        tracing::warn!(pid, "a process that was replaced, and that nobody leads any more, is ended");
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_removed_and_what_lives_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        end_strays(state, &[]).unwrap();
        end_strays(&state.join("not there"), &[]).unwrap();
        fs::write(state.join("replaced-7.lock"), "7\n").unwrap();
        fs::write(state.join("portcullis.db"), "").unwrap();
        // util-linux: a process that holds the lock of a file while it sleeps.
        let mark = state.join("replaced-8.lock");
        let mut asleep = std::process::Command::new("flock");
        let mut asleep = asleep.args(["-F", "-x"]).arg(&mark).args(["sleep", "60"]).spawn().unwrap();
        while lock::find_taker(&mark).is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        end_strays(state, &[8]).unwrap();
        assert!(mark.exists() && !state.join("replaced-7.lock").exists());
        let own = ReplacedMark::make(state).unwrap();
        assert!(state.join(format!("replaced-{}.lock", std::process::id())).exists());
        drop(own);
        end_strays(state, &[]).unwrap();
        assert!(!asleep.wait().unwrap().success() && !mark.exists());
        assert!(state.join("portcullis.db").exists());
    }
}
