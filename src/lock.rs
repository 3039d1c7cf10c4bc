//! The state folder, and the lock that says whose it is.
//!
//! The folder holds the database, the master key and the admin socket, so it is the operator's alone: 0700, and ours.
//! One process has it at a time, for its whole life ([`FileLock`], on `<state>/lock`). The database has a lock of its
//! own: it may be elsewhere.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use portcullis_store::{FileLock, LockHolder, NotLocked};
use rustix::fs::{Access, access};

use crate::foreign::Foreign;

/// A state folder that is this process's until the lock is dropped.
#[derive(Debug)]
pub(crate) struct Lock(FileLock);

/// Reasons why the state folder is not ours to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has it.
    #[error("{} is in use by {}: one process at a time. End that one first.", .state.display(), .holder)]
    Held { state: PathBuf, holder: LockHolder },
    /// It could not be made.
    #[error("the state folder {} could not be made", .state.display())]
    Make { state: PathBuf, source: io::Error },
    /// It is there and is no folder.
    #[error("the state folder {} is not a folder", .state.display())]
    NoFolder { state: PathBuf },
    /// It is the root of the file system, by whatever path.
    #[error("{} is the root of the file system, which nobody else could use any more: name a folder that is for Portcullis alone", .state.display())]
    Root { state: PathBuf },
    /// It belongs to somebody else.
    #[error(transparent)]
    Owner(Box<Foreign>),
    /// Everybody may write to it, as to /tmp: no place for keys, and not ours to close.
    #[error(
        "everybody may write to the state folder {}: name one that is for Portcullis alone",
        .state.display()
    )]
    Shared { state: PathBuf },
    /// The lock file or the folder's mode could not be set.
    #[error("the lock in the state folder {} could not be taken", .state.display())]
    Take { state: PathBuf, source: io::Error },
}

impl Lock {
    /// Makes the state folder where it is missing, closes it to everybody else (0700), and takes its lock.
    ///
    /// # Errors
    /// [`LockError::Held`], after a second, names the pid of the process that has it.
    pub(crate) fn take_folder(state: &Path) -> Result<Self, LockError> {
        Self::take_handed(state, None)
    }

    /// The same with the lock of the process that hands it over.
    ///
    /// # Errors
    /// The same; and the lock is of another folder.
    pub(crate) fn take_handed(state: &Path, handed: Option<OwnedFd>) -> Result<Self, LockError> {
        own_folder(state)?;
        let path = state.join("lock");
        let taken = match handed {
            Some(handed) => FileLock::take_over(handed, &path),
            None => FileLock::take_file(&path),
        };
        let lock = taken.map_err(|error| match error {
            NotLocked::Held(holder) => LockError::Held { state: state.to_owned(), holder },
            NotLocked::Io(source) => LockError::Take { state: state.to_owned(), source },
        })?;
        Ok(Self(lock))
    }

    /// The lock once more, for the process that takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.duplicate()
    }

    /// Writes whose it is, once it was handed over and comes back.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn sign(&mut self) -> io::Result<()> {
        self.0.sign()
    }
}

/// The process that has the lock of a state folder; `None` where nobody has it, or the kernel does not tell. The lock is
/// not touched: whoever is about to take it would be told that it is taken.
pub(crate) fn find_holder(state: &Path) -> Option<u32> {
    let path = state.join("lock");
    let taken_by = find_taker(&path)?;
    // The kernel knows who took it. Whoever it was handed to has signed it, and lives.
    let signed = fs::read_to_string(&path).ok().and_then(|text| text.lines().next()?.parse::<u32>().ok());
    Some(signed.filter(|pid| Path::new("/proc").join(pid.to_string()).exists()).unwrap_or(taken_by))
}

/// The process that has taken the lock of a file, as the kernel lists it.
pub(crate) fn find_taker(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino();
    let locks = procfs::locks().ok()?;
    let held = locks.iter().find(|lock| lock.inode == inode && lock.lock_type.as_str() == "FLOCK")?;
    held.pid.and_then(|pid| u32::try_from(pid).ok())
}

/// Checks whether [`Lock::take_folder`] would find a folder that it may use, or could make one. Nothing is made or
/// changed.
///
/// # Errors
/// What it would say; whether the folder is in use is not asked.
pub(crate) fn look_at_folder(state: &Path) -> Result<(), LockError> {
    let make = |source: io::Error| LockError::Make { state: state.to_owned(), source };
    if judge_folder(state)?.is_some() {
        return Ok(());
    }
    let above = state.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("."));
    if !above.is_dir() {
        return Err(make(io::ErrorKind::NotADirectory.into()));
    }
    if is_made_up(above) {
        return Err(make(io::ErrorKind::Unsupported.into()));
    }
    access(above, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| make(error.into()))
}

/// Tells whether a folder is the kernel's own (`/proc`, `/sys`): nobody makes anything there, whatever its
/// mode says.
fn is_made_up(folder: &Path) -> bool {
    const PROC: i128 = 0x9fa0;
    const SYSFS: i128 = 0x6265_6572;
    rustix::fs::statfs(folder).is_ok_and(|found| [PROC, SYSFS].contains(&i128::from(found.f_type)))
}

/// The folder's mode, where it is there and may be used; `None` where it is not there.
fn judge_folder(state: &Path) -> Result<Option<u32>, LockError> {
    let make = |source| LockError::Make { state: state.to_owned(), source };
    match fs::metadata(state) {
        Ok(found) if !found.is_dir() => Err(LockError::NoFolder { state: state.to_owned() }),
        Ok(_) if fs::canonicalize(state).map_err(make)?.parent().is_none() => {
            Err(LockError::Root { state: state.to_owned() })
        }
        Ok(found) => {
            if let Some(foreign) = Foreign::of_folder(state).map_err(make)? {
                return Err(LockError::Owner(Box::new(foreign)));
            }
            if found.mode() & 0o002 != 0 {
                return Err(LockError::Shared { state: state.to_owned() });
            }
            Ok(Some(found.mode()))
        }
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is no room for a folder. The components are without a slash at the end.
            let whole: PathBuf = state.components().collect();
            // What is made on the way decides what is behind it by `..`: that could not be judged before.
            let mut reached = PathBuf::new();
            let mut behind = whole.components().skip_while(|part| {
                reached.push(part);
                reached.exists()
            });
            if behind.any(|part| part == Component::ParentDir) {
                return Err(make(io::Error::new(
                    io::ErrorKind::NotFound,
                    "a .. stands behind a folder that is not there",
                )));
            }
            match whole.ancestors().find(|above| above.is_symlink() && !above.exists()) {
                Some(link) => Err(LockError::NoFolder { state: link.to_owned() }),
                None => Ok(None),
            }
        }
        Err(source) => Err(make(source)),
    }
}

fn own_folder(state: &Path) -> Result<(), LockError> {
    let make = |source| LockError::Make { state: state.to_owned(), source };
    match judge_folder(state)? {
        Some(mode) => {
            if mode & 0o077 != 0 {
                let path = state.display();
                tracing::info!(state = %path, "the state folder was open to others: it is 0700 now");
                fs::set_permissions(state, Permissions::from_mode(0o700)).map_err(make)?;
            }
            Ok(())
        }
        None => DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(make),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_second_one_learns_whose_pid_has_it_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("var/state");
        let first = Lock::take_folder(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("lock")), 0o600);

        let refused = Lock::take_folder(&state).unwrap_err();
        assert!(matches!(&refused, LockError::Held { holder, .. } if holder.pid == Some(std::process::id())));
        assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");

        drop(first);
        Lock::take_folder(&state).unwrap();
    }

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take_folder(folder.path()).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::take_folder(folder.path()));
            std::thread::sleep(std::time::Duration::from_millis(60));
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_folder_that_others_may_read_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let _lock = Lock::take_folder(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
    }

    #[test]
    fn a_folder_that_is_everybodys_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(Lock::take_folder(folder.path()), Err(LockError::Shared { .. })));
        assert_eq!(mode(folder.path()), 0o1777);
    }

    #[test]
    fn nothing_is_made_where_the_kernel_makes_it_all() {
        for state in ["/proc/nope/state", "/sys/nope"] {
            assert!(matches!(look_at_folder(Path::new(state)), Err(LockError::Make { .. })), "{state}");
        }
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        fs::write(&file, "").unwrap();
        assert!(matches!(Lock::take_folder(&file), Err(LockError::NoFolder { .. })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for path in [link.clone(), link.join(""), link.join("below")] {
            assert!(matches!(look_at_folder(&path), Err(LockError::NoFolder { .. })), "{path:?}");
        }
    }

    #[test]
    fn the_root_is_nobodys_state_folder_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("root");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let round = folder.path().join("gone/../below");
        for path in [round.as_path(), &folder.path().join("gone/../../../../../../../..")] {
            assert!(matches!(Lock::take_folder(path), Err(LockError::Make { .. })), "{path:?}");
        }
        assert!(!folder.path().join("gone").exists());
        for path in [Path::new("/.."), Path::new("/tmp/.."), &link] {
            // Whoever is not root is told first that it is another's.
            let judged = look_at_folder(path);
            assert!(
                matches!(judged, Err(LockError::Root { .. } | LockError::Owner(_))),
                "{path:?} {judged:?}"
            );
        }
    }
}
