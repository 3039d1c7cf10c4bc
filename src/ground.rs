//! What a start stands on beside its configuration: the state folder and its key, the places of database and access
//! log. It is looked at before anything is opened, and nothing is made or changed, so that `check` can ask the same.
//!
//! The rule kept here: whatever `check` can find ends a `run` with 78, since a restart does not mend it.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use portcullis_config::{KeyLines, Opens, Problem};
use portcullis_keys::Keyring;
use rustix::fs::{Access, access};

use crate::import::drop_folder::{DropFolder, FolderFault};
use crate::keyring::MASTER;
use crate::lock::{self, LockError};
use crate::log::error_chain;

/// The command that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inquirer {
    /// The program, about to start: as the user that it will be.
    ByRun,
    /// An operator, perhaps root, perhaps while the program runs.
    ByCheck,
}

/// The problems and warnings that were found.
#[derive(Debug, Default)]
pub(crate) struct GroundFindings {
    /// Nothing could be started.
    pub(crate) problems: Vec<Problem>,
    /// It works, and deserves a look.
    pub(crate) warnings: Vec<Problem>,
}

/// Looks at what a start opens on this machine.
pub(crate) fn look_at_machine(lines: &KeyLines, opens: &Opens, asked: Inquirer) -> GroundFindings {
    let mut found = GroundFindings::default();
    let problem = |key: &str, error: &dyn Error| {
        let text = error_chain(error).to_string();
        lines.problem_at(key, text.trim_end_matches('.'), "")
    };
    match lock::look_at_folder(&opens.state) {
        Ok(()) => {}
        // Root may look at everybody's; whether it may also run there is not what was asked.
        Err(LockError::Owner(foreign)) if foreign.is_root && asked == Inquirer::ByCheck => {
            found.warnings.push(problem("state", &*foreign));
        }
        Err(error) => found.problems.push(problem("state", &error)),
    }
    // Whether it is the database's own is known once that is open.
    if opens.keys.is_none()
        && opens.state.is_dir()
        && let Err(error) = Keyring::load_file(&opens.state.join(MASTER))
    {
        found.problems.push(problem("state", &error));
    }
    let in_state = opens.database.parent() == Some(opens.state.as_path());
    // A state folder that is not there yet is made, and was judged above; another folder is not.
    if (!in_state || opens.state.exists())
        && let Err(error) = portcullis_store::look_at_file(&opens.database)
    {
        let key = if in_state { "state" } else { "store" };
        found.problems.push(problem(key, &error));
    }
    if let Some(log) = &opens.access_log
        && let Err(error) = can_be_appended(log)
    {
        let what = format!("{} cannot be written: {error}", log.display());
        let remedy = "The folder must be there, and file and folder writable for the user Portcullis runs as";
        found.problems.push(lines.problem_at("log.access", what, remedy));
    }
    // The program says it by itself, again and again, and takes files as soon as it may.
    if let (Some(import), Inquirer::ByCheck) = (&opens.import, asked) {
        let ours = rustix::process::geteuid().as_raw();
        let user = fs::metadata(&opens.state).map_or(ours, |state| state.uid());
        if let Err(FolderFault { key, what }) = DropFolder::judge(import, user) {
            found.warnings.push(lines.problem_at(key, what, ""));
        }
    }
    found
}

/// Checks that a file can be written at its end, or made.
fn can_be_appended(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !fs::metadata(folder)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use portcullis_config::Environment;

    use super::*;

    const SMALLEST: &str = "public_url: https://wiki.example.com\nupstream: http://127.0.0.1:3000\nprovisioning: none\n\
        idps:\n  okta:\n    oidc:\n      issuer: https://example.okta.com\n      client_id: a\n      client_secret: ${env:SECRET}\n";

    /// What is found with more lines of a configuration in a folder, without the folder's own name.
    fn found(folder: &Path, more: &str) -> Vec<String> {
        let environment = Environment::with_variables([("SECRET", "not-a-real-one")]);
        let text = format!("{SMALLEST}{more}");
        let loaded =
            portcullis_config::load_text(&folder.join("c.yaml"), text.as_bytes(), &environment).unwrap();
        let found = look_at_machine(&loaded.lines, &loaded.file.opens(), Inquirer::ByRun);
        assert!(found.warnings.is_empty());
        let beside = format!("{}/", folder.display());
        found.problems.iter().map(|problem| problem.to_string().replace(&beside, "")).collect()
    }

    #[test]
    fn what_is_there_or_can_be_made_is_fine_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            found(folder.path(), "state: var/state\nlog:\n  access: access.log\n"),
            Vec::<String>::new()
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::create_dir(folder.path().join("db")).unwrap();
        let more = "state: s\nstore:\n  sqlite: db/p.db\nlog:\n  access: /dev/null\n";
        assert_eq!(found(folder.path(), more), Vec::<String>::new());
        assert_eq!(fs::read_dir(folder.path().join("db")).unwrap().count(), 0);
    }

    #[test]
    fn every_place_that_cannot_be_used_is_told_at_once_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let said = found(
            folder.path(),
            "state: file\nstore:\n  sqlite: gone/p.db\nlog:\n  access: gone/access.log\n",
        );
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(said[0].starts_with("c.yaml:10: state: the state folder file is not a folder"), "{said:?}");
        assert!(
            said[1].starts_with("c.yaml:11: store: gone/p.db: the database cannot be opened"),
            "{said:?}"
        );
        assert!(said[2].starts_with("c.yaml:14: log.access: gone/access.log cannot be written"), "{said:?}");
        assert!(said.iter().all(|said| said.ends_with('.') && !said.ends_with("..")), "{said:?}");
        for (more, key) in [
            ("state: file/below\n", "state"),
            ("state: s\nlog:\n  access: folder\n", "log.access"),
            ("state: s\nstore:\n  sqlite: folder\n", "store"),
            ("state: s\nstore:\n  sqlite: file/p.db\n", "store"),
        ] {
            let said = found(folder.path(), more);
            assert_eq!(said.len(), 1, "{more}: {said:?}");
            assert!(said[0].contains(&format!(" {key}: ")), "{more}: {said:?}");
        }
    }

    #[test]
    fn a_folder_for_files_that_nothing_would_be_taken_from_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::with_variables([("SECRET", "not-a-real-one")]);
        let more = "state: s\nimport:\n  folder: drop\n";
        let text = format!("{SMALLEST}{more}").replace("provisioning: none", "provisioning: invited");
        let path = folder.path().join("c.yaml");
        let loaded = portcullis_config::load_text(&path, text.as_bytes(), &environment).unwrap();
        let warned = |asked| {
            let found = look_at_machine(&loaded.lines, &loaded.file.opens(), asked);
            assert!(found.problems.is_empty());
            found.warnings.iter().map(ToString::to_string).collect::<String>()
        };
        let said = warned(Inquirer::ByCheck);
        assert!(
            said.contains("c.yaml:12: import.folder: ") && said.contains("cannot be looked at"),
            "{said}"
        );
        assert_eq!(warned(Inquirer::ByRun), "");
        let drop = folder.path().join("drop");
        fs::create_dir(&drop).unwrap();
        fs::set_permissions(&drop, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(warned(Inquirer::ByCheck).contains("may be written by everybody"));
        fs::set_permissions(&drop, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(warned(Inquirer::ByCheck), "");
        assert_eq!(fs::read_dir(&drop).unwrap().count(), 0, "nothing is made");
        fs::write(drop.join("taken"), "").unwrap();
        assert!(warned(Inquirer::ByCheck).contains("drop/taken is no folder"));
        fs::remove_file(drop.join("taken")).unwrap();
        // The program's user is told by the state folder; here nobody else can be.
        let import = loaded.file.import.as_ref().unwrap();
        let other = rustix::process::geteuid().as_raw() + 7;
        let named = |fault: FolderFault| fault.to_string();
        assert!(DropFolder::judge(import, other).map_err(named).unwrap_err().starts_with("import.folder: "));
    }

    #[test]
    fn a_master_key_that_cannot_be_used_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("s");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        let key = state.join(MASTER);
        fs::write(&key, "no key").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let said = found(folder.path(), "state: s\n");
        assert!(said.len() == 1 && said[0].contains("not a master key"), "{said:?}");
    }
}
