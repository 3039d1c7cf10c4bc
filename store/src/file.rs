//! The database file before the database sees it: on a local disk, and for its owner alone.
//!
//! SQLite's write-ahead log needs shared memory and locks that network file systems do not give; two processes there
//! corrupt the file. So such a place is refused, not warned of.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access};

use crate::{FileLock, NotLocked, OpenError};

/// Opens a file as it is, usually, or makes it for its owner alone (0600).
pub(crate) fn open_or_make(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes sure the file is there, local and 0600. SQLite gives its log and its index the mode of the file.
pub(crate) fn prepare_file(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let file = open_or_make(path).map_err(failed)?;
    if let Some(kind) = file_system(&file).map_err(failed)? {
        return Err(OpenError::NetworkFileSystem { path: path.to_owned(), kind });
    }
    let metadata = file.metadata().map_err(failed)?;
    if metadata.nlink() > 1 {
        return Err(OpenError::HardLinked { path: path.to_owned(), links: metadata.nlink() });
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "the database could be read by others (mode {:03o}); it is for its owner alone now", mode & 0o777
        );
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

/// Takes the database for this process, beside the file, wherever the path leads: a state folder of its own makes a
/// second process no less a second one. A lock that was `handed` over is taken as it is.
pub(crate) fn lock_file(path: &Path, handed: Option<OwnedFd>) -> Result<FileLock, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let mut beside = path.canonicalize().map_err(failed)?.into_os_string();
    beside.push("-lock");
    let taken = match handed {
        Some(handed) => FileLock::take_over(handed, Path::new(&beside)),
        None => FileLock::take_file(Path::new(&beside)),
    };
    taken.map_err(|error| match error {
        NotLocked::Held(holder) => OpenError::InUse { path: path.to_owned(), holder },
        NotLocked::Io(source) => failed(source),
    })
}

/// Checks whether [`prepare_file`] would find a place for the file: a folder that is there, on a local disk. Nothing
/// is made.
///
/// # Errors
/// What opening would say. What is in the file is not asked.
pub fn look_at_file(path: &Path) -> Result<(), OpenError> {
    let failed = |source: io::Error| OpenError::File { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = match std::fs::metadata(path) {
        Ok(found) if found.is_file() => path,
        Ok(_) => return Err(failed(io::Error::other("it is not a plain file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder,
        Err(error) => return Err(failed(error)),
    };
    access(there, Access::READ_OK | Access::WRITE_OK).map_err(|error| failed(error.into()))?;
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))?;
    // By its path: whoever opens and closes the file of a database gives up the locks that this process has on it.
    match file_system_at(there).map_err(failed)? {
        Some(kind) => Err(OpenError::NetworkFileSystem { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn file_system(file: &File) -> io::Result<Option<&'static str>> {
    Ok(network_kind(rustix::fs::fstatfs(file)?.f_type as u64))
}

#[cfg(target_os = "linux")]
fn file_system_at(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(network_kind(rustix::fs::statfs(path)?.f_type as u64))
}

#[cfg(not(target_os = "linux"))]
fn file_system(_: &File) -> io::Result<Option<&'static str>> {
    Ok(None)
}

#[cfg(not(target_os = "linux"))]
fn file_system_at(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// The name of a network file system by its magic number (statfs(2)).
#[cfg(any(target_os = "linux", test))]
fn network_kind(magic: u64) -> Option<&'static str> {
    // The type of f_type differs between machines: some sign-extend the 32 bits.
    let kind = match magic & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x0102_1997 => "9P",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x786f_4256 => "VirtualBox shared folder",
        0xbacb_acbc => "VMware shared folder",
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number_on_every_machine() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_kind(0xffff_ffff_ff53_4d42), Some("CIFS"), "sign-extended");
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x2fc1_2fc1, 0x794c_7630] {
            assert_eq!(network_kind(local), None, "{local:#x}");
        }
    }

    #[test]
    fn a_second_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        prepare_file(&path).unwrap();
        std::fs::hard_link(&path, folder.path().join("other.db")).unwrap();
        assert!(matches!(prepare_file(&path), Err(OpenError::HardLinked { links: 2, .. })));
        std::fs::remove_file(folder.path().join("other.db")).unwrap();
        prepare_file(&path).unwrap();
    }

    #[test]
    fn the_file_is_made_for_its_owner_alone_and_a_wider_one_is_narrowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        prepare_file(&path).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, b"kept").unwrap();
        prepare_file(&path).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_look_makes_nothing_and_says_what_opening_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        look_at_file(&path).unwrap();
        assert!(!path.exists());
        prepare_file(&path).unwrap();
        look_at_file(&path).unwrap();
        for wrong in [folder.path().to_owned(), folder.path().join("gone/p.db"), path.join("below.db")] {
            let error = look_at_file(&wrong).unwrap_err();
            assert!(error.to_string().contains(&wrong.display().to_string()), "{error}");
            assert!(prepare_file(&wrong).is_err(), "{}", wrong.display());
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = prepare_file(Path::new("/nonexistent/portcullis.db")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/portcullis.db"), "{error}");
    }
}
