//! A state folder that is somebody else's, and the words for it. Whoever is not the owner would leave files behind that
//! the program cannot open, root above all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Somebody else's state folder: the one thing to do is to be that user.
#[derive(Debug, thiserror::Error)]
#[error("the state folder {} belongs to {}. Run: sudo -u {} {command}", .state.display(), .owner.0, .owner.1)]
pub(crate) struct Foreign {
    state: PathBuf,
    /// True where this process is root's, who may look at everybody's.
    pub(crate) is_root: bool,
    /// As a sentence says it, and as sudo takes it.
    owner: (String, String),
    command: String,
}

impl Foreign {
    /// The state folder of somebody else, where this is one.
    ///
    /// # Errors
    /// The system's, for a folder that cannot be looked at.
    pub(crate) fn of_folder(state: &Path) -> io::Result<Option<Self>> {
        let (owner, us) = (fs::metadata(state)?.uid(), rustix::process::geteuid());
        if owner == us.as_raw() {
            return Ok(None);
        }
        Ok(Some(Self {
            state: state.to_owned(),
            is_root: us.is_root(),
            owner: user_of(owner),
            command: shell_command(std::env::args_os()),
        }))
    }
}

/// A user's name in the machine's own list; a directory service is not asked.
fn user_of(id: u32) -> (String, String) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, id)
        .map_or_else(|| (format!("user id {id}"), format!("'#{id}'")), |name| (name.clone(), name))
}

fn name_in(users: &str, id: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, _, number) = (parts.next()?, parts.next()?, parts.next()?);
        (number.parse() == Ok(id) && is_plain(name)).then(|| name.to_owned())
    })
}

/// The command as it was typed, fit for a shell.
fn shell_command(words: impl Iterator<Item = OsString>) -> String {
    words.map(|word| quote_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word of a command, fit for a shell.
pub(crate) fn quote_word(word: &str) -> String {
    if is_plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The id of a user of the machine's own list, by name or number.
pub(crate) fn user_id(name: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_name = users.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next()? == name).then(|| parts.nth(1)?.parse().ok()).flatten()
    });
    of_name.or_else(|| name.parse().ok())
}

fn is_plain(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./@:=+,".contains(c);
    !word.is_empty() && word.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_machine_names_them() {
        let users =
            "root:x:0:0::/root:/bin/sh\nbroken\nportcullis:x:998:998::/:/sbin/nologin\nodd name:x:7:7::/:\n";
        assert_eq!(name_in(users, 998).as_deref(), Some("portcullis"));
        assert_eq!(name_in(users, 7), None);
        assert_eq!(name_in(users, 99), None);
        assert_eq!(user_of(4_000_000_001).1, "'#4000000001'");
    }

    #[test]
    fn the_command_can_be_pasted() {
        let words = ["portcullis", "user", "disable", "al ice's", "$(x)"].map(OsString::from);
        assert_eq!(shell_command(words.into_iter()), r"portcullis user disable 'al ice'\''s' '$(x)'");
    }

    #[test]
    fn a_folder_of_our_own_is_not_foreign() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Foreign::of_folder(folder.path()).unwrap().is_none());
        assert!(Foreign::of_folder(&folder.path().join("gone")).is_err());
    }
}
