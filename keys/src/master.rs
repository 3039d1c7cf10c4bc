//! The master key's file: 32 bytes as hex on one line, beside the database, readable by its owner only.
//!
//! It is made on the first start and never written again. A file that anybody else may read is refused: whoever
//! read it could make sessions. What it protects: a backup of the database alone brings nobody in.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Keyring, Random};

/// The reason why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is there and cannot be read.
    #[error("{}: the master key cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file could not be made.
    #[error("{}: the master key cannot be made; the folder must exist and be writable", .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("{}: the master key has mode {mode:04o}, so others may read it. Run: chmod 600 {}", .path.display(), .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is empty: a first start was interrupted before it was written, or it was lost.
    #[error("{}: the master key is empty. If the database was never used, a first start was interrupted: remove the file. Otherwise restore it from where your secrets are kept", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("{}: not a master key (64 hex digits). Restore the file from where your secrets are kept; with another key every session ends", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Keyring {
    /// Reads the master key; `None` where the file does not exist.
    ///
    /// # Errors
    /// See [`KeyError`]; each says what to do.
    pub fn load_file(path: &Path) -> Result<Option<Self>, KeyError> {
        match File::open(path) {
            Ok(file) => load_key(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::Read { path: path.into(), source }),
        }
    }

    /// Reads the master key, or makes it where the file does not exist yet: mode 0600, on disk before it is used.
    ///
    /// # Errors
    /// See [`KeyError`]; each says what to do. A key that exists is never replaced.
    pub fn load_or_create(path: &Path, random: &mut Random) -> Result<Self, KeyError> {
        match File::open(path) {
            Ok(file) => load_key(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match create_key(path, random) {
                // Somebody else made it between the two calls: theirs counts.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load_key(
                    path,
                    File::open(path).map_err(|source| KeyError::Read { path: path.into(), source })?,
                ),
                made => made.map_err(|source| KeyError::Create { path: path.into(), source }),
            },
            Err(source) => Err(KeyError::Read { path: path.into(), source }),
        }
    }
}

fn load_key(path: &Path, file: File) -> Result<Keyring, KeyError> {
    let read = |source| KeyError::Read { path: path.into(), source };
    // Asked of the open file, so that it cannot be swapped in between.
    let mode = file.metadata().map_err(read)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen { path: path.into(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    match file.take(128).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(KeyError::Malformed { path: path.into() });
        }
        read_result => read_result.map_err(read)?,
    };
    if text.is_empty() {
        return Err(KeyError::Empty { path: path.into() });
    }
    let master = from_hex(text.trim_ascii_end()).ok_or_else(|| KeyError::Malformed { path: path.into() })?;
    Ok(Keyring::from_master(&master))
}

fn create_key(path: &Path, random: &mut Random) -> io::Result<Keyring> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let master = Zeroizing::new(random.draw_bytes::<32>());
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in *master {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // The name must be on disk too, or a crash leaves a database whose key is gone.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(Keyring::from_master(&master))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut master = Zeroizing::new([0; 32]);
    for (byte, pair) in master.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(master)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn mark(ring: &Keyring) -> [u8; 32] {
        ring.hash(Purpose::ScimToken, b"mark")
    }

    fn write(path: &Path, mode: u32, text: &[u8]) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_key_that_the_second_reads() {
        let folder = folder();
        let path = folder.path().join("master.key");
        let made = Keyring::load_or_create(&path, &mut Random::from_system()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 65 && text.ends_with('\n'));
        let read = Keyring::load_or_create(&path, &mut Random::from_system()).unwrap();
        assert_eq!(mark(&made), mark(&read));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let folder = folder();
        let path = folder.path().join("master.key");
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620, 0o601] {
            write(&path, mode, "ab".repeat(32).as_bytes());
            let error = Keyring::load_or_create(&path, &mut Random::from_system()).unwrap_err();
            assert!(
                matches!(error, KeyError::TooOpen { mode: found, .. } if found == mode),
                "{mode:o}: {error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        write(&path, 0o400, "ab".repeat(32).as_bytes());
        assert!(Keyring::load_or_create(&path, &mut Random::from_system()).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let folder = folder();
        let path = folder.path().join("master.key");
        for text in [&b"\n"[..], b"abc", &[b'g'; 64], &[0xff; 64], &[b'a'; 63], &[b'a'; 66], &[b'a'; 500]] {
            write(&path, 0o600, text);
            let error = Keyring::load_or_create(&path, &mut Random::from_system()).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{text:?}: {error}");
            assert!(!error.to_string().contains("aaaa"), "the error shows the file: {error}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        write(&path, 0o600, b"");
        let error = Keyring::load_or_create(&path, &mut Random::from_system()).unwrap_err();
        assert!(matches!(error, KeyError::Empty { .. }), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error =
            Keyring::load_or_create(Path::new("nowhere/at/all.key"), &mut Random::from_system()).unwrap_err();
        assert!(matches!(error, KeyError::Create { .. }), "{error}");
        assert!(error.to_string().starts_with("nowhere/at/all.key"), "{error}");
    }
}
