//! A lock on a file that one process has at a time, with whose it is in the file.
//!
//! The lock is the kernel's (flock(2)), so it is gone with the process however that ends. The pid and the host in the
//! file are for people; nothing is decided by them. It is never taken on the database file itself: closing any other
//! handle of that one would drop the locks that SQLite has on it.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::file;

/// The time that a lock that is held is waited for: a command that changes something has it for a moment, and so has
/// a program that is just leaving.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// A pid and the longest name a host may have.
const MOST: u64 = 300;

/// A file that is this process's until the lock is dropped.
#[derive(Debug)]
pub struct FileLock {
    /// Holds the kernel's lock; never read again.
    _file: File,
}

/// The holder of a lock, as far as the lock says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process id, in its own host or container.
    pub pid: Option<u32>,
    /// The name of its host.
    pub host: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "the process with pid {pid}")?,
            None => f.write_str("another process")?,
        }
        self.host.as_ref().map_or(Ok(()), |host| write!(f, " on the host {host}"))
    }
}

/// Reasons why a lock could not be taken.
#[derive(Debug)]
pub enum NotLocked {
    /// Somebody else has it, for longer than a second.
    Held(LockHolder),
    /// The file cannot be used.
    Io(io::Error),
}

impl FileLock {
    /// Takes the lock of a file, which is made where it is missing (0600), and writes into it whose it is.
    ///
    /// # Errors
    /// [`NotLocked::Held`], after a second, says whose it is.
    pub fn take_file(path: &Path) -> Result<Self, NotLocked> {
        let mut file = file::open_or_make(path).map_err(NotLocked::Io)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(NotLocked::Held(read_holder(&mut file))),
                Err(TryLockError::Error(error)) => return Err(NotLocked::Io(error)),
            }
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let written = file.set_len(0).and_then(|()| write!(file, "{}\n{host}\n", std::process::id()));
        written.and_then(|()| file.flush()).map_err(NotLocked::Io)?;
        Ok(Self { _file: file })
    }
}

fn read_holder(file: &mut File) -> LockHolder {
    let mut text = Vec::new();
    if file.rewind().and_then(|()| file.take(MOST).read_to_end(&mut text)).is_err() {
        return LockHolder::default();
    }
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|pid| pid.trim().parse().ok());
    let is_name = |host: &&str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    LockHolder { pid, host: lines.next().filter(is_name).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_learns_whose_it_is_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = FileLock::take_file(&path).unwrap();
        let Err(NotLocked::Held(holder)) = FileLock::take_file(&path) else { panic!("two have it") };
        assert_eq!(holder.pid, Some(std::process::id()));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(
            holder.to_string(),
            format!("the process with pid {} on the host {host}", std::process::id())
        );
        drop(first);
        FileLock::take_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_does_not_say_whose_it_is_still_locks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        for text in [&b""[..], b"x\n\x1b[2J\n", &[0xff; 5000]] {
            let first = FileLock::take_file(&path).unwrap();
            std::fs::write(&path, text).unwrap();
            let Err(NotLocked::Held(holder)) = FileLock::take_file(&path) else { panic!("two have it") };
            assert_eq!(holder, LockHolder::default(), "{text:?}");
            drop(first);
        }
    }
}
