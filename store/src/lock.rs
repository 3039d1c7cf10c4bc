//! A lock on a file that one process has at a time, with whose it is in the file.
//!
//! The lock is the kernel's (flock(2)), so it is gone with the process however that ends. The pid and the host in the
//! file are for people; nothing is decided by them. It is never taken on the database file itself: closing any other
//! handle of that one would drop the locks that SQLite has on it.

use std::fmt;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
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

/// A file that is this process's until the lock is dropped. It may be handed to another process, and is held without a
/// moment between until both have dropped it.
#[derive(Debug)]
pub struct FileLock {
    /// Holds the kernel's lock, which belongs to what is opened and not to a process.
    file: File,
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
        sign_file(&mut file).map_err(NotLocked::Io)?;
        Ok(Self { file })
    }

    /// The lock once more, for the process that takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// Takes over a lock that another process has [duplicated](Self::duplicate), and writes into the file whose it is now.
    ///
    /// # Errors
    /// It is no lock, or of another file than this one.
    pub fn take_over(handed: OwnedFd, path: &Path) -> Result<Self, NotLocked> {
        let mut file = File::from(handed);
        let of_file = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let (here, there) =
            (file.metadata().map_err(NotLocked::Io)?, fs::metadata(path).map_err(NotLocked::Io)?);
        if of_file(here) != of_file(there) {
            let other = io::Error::other("the lock that was handed over is of another file");
            return Err(NotLocked::Io(other));
        }
        match file.try_lock() {
            // Held already, by what was opened there.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NotLocked::Held(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(NotLocked::Io(error)),
        }
        sign_file(&mut file).map_err(NotLocked::Io)?;
        Ok(Self { file })
    }

    /// Writes whose it is, once it was handed over and comes back.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sign(&mut self) -> io::Result<()> {
        sign_file(&mut self.file)
    }
}

/// Writes this process and its host into a lock's file.
fn sign_file(file: &mut File) -> io::Result<()> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}\n{host}\n", std::process::id())?;
    file.flush()
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
    fn a_lock_that_is_handed_over_is_nobody_elses_for_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("lock"), folder.path().join("other"));
        let is_held = |path| matches!(FileLock::take_file(path), Err(NotLocked::Held(_)));
        let first = FileLock::take_file(&path).unwrap();
        let _other = FileLock::take_file(&other).unwrap();
        assert!(matches!(FileLock::take_over(first.duplicate().unwrap(), &other), Err(NotLocked::Io(_))));
        assert!(is_held(&path), "a refusal gives nothing back");
        fs::write(&path, "7\nelsewhere\n").unwrap();
        let second = FileLock::take_over(first.duplicate().unwrap(), &path).unwrap();
        let signed = read_holder(&mut File::open(&path).unwrap());
        assert_eq!(signed.pid, Some(std::process::id()));
        drop(first);
        assert!(is_held(&path));
        drop(second);
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
