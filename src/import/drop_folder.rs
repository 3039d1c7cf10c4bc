//! The drop folder: files of people that somebody else brings, by SFTP most often.
//!
//! A file is taken once it has its last name, `*.csv`: it is moved into `taken/`, where nobody else can touch its name,
//! and only then looked at. Done, it lies in `done/` or `refused/` with a report beside it. What is no plain file, is of
//! somebody who was not named, may be written by others, or grows while it is read is refused and never half read. A
//! file in `taken/` at a start is one that was not finished, and is imported again.
//!
//! The rule it protects: an older file never comes behind a newer one. While one is not settled nothing further is taken;
//! and once one is, its name in `taken/` says so (`people.csv.done`), from when on it is only moved, by this program or the
//! next, however often that fails.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::ImportBlock;
use portcullis_policy::escaped;
use portcullis_roster::{Coverage, LARGEST_FILE};
use rustix::fs::{Access, Mode, OFlags};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{ImportOrder, ImportedBy};
use crate::listeners::admin::Operators;
use crate::live::Current;
use crate::log::error_chain;
use crate::order_error::OrderError;
use crate::person::format_rfc3339;

/// The interval at which the folder is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The ending of a name under which a file is taken.
const ENDING: &str = ".csv";
/// The longest name of a file that is taken, in bytes: its report's name is longer, and so is that of a namesake.
const LONGEST_NAME: usize = 200;
/// The folders in the folder.
const TAKEN: &str = "taken";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// Watches the folder of the configuration in force, until `stop` says so.
pub(crate) fn watch_folder(operators: Operators, live: Arc<Current>, mut stop: watch::Receiver<bool>) {
    tokio::spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = HashSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            let Some(block) = live.in_force().import.clone() else { continue };
            let looking = look_once(operators.clone(), block);
            // A fault of ours is not the last look; what is under way ends with its file.
            match tokio::spawn(looking).await {
                Ok(faults) => {
                    faults.difference(&said).for_each(|fault| tracing::warn!("{fault}"));
                    said = faults;
                }
                Err(error) => tracing::error!(%error, "a look at the drop folder failed"),
            }
        }
    });
}

/// Imports everything that is there. Gives what an operator has to mend, each said once while it lasts.
async fn look_once(operators: Operators, block: ImportBlock) -> HashSet<String> {
    let asked = block.clone();
    let opened =
        tokio::task::spawn_blocking(move || DropFolder::open(&asked).and_then(|drop| drop.take_files()));
    let (folder, taken, mut faults) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(fault)) => return HashSet::from([fault]),
        Err(error) => return HashSet::from([error.to_string()]),
    };
    for name in taken {
        // Whatever is newer waits for it.
        if let Err(fault) = settle_taken(&operators, &block, &folder, name).await {
            faults.insert(fault);
            break;
        }
    }
    faults
}

/// Imports a file that was taken, unless that was done before, and moves it to where it belongs.
async fn settle_taken(
    operators: &Operators,
    block: &ImportBlock,
    folder: &DropFolder,
    taken: TakenName,
) -> Result<(), String> {
    let settled = match taken.settled {
        Some(place) => SettledFile { place, report: SETTLED_BEFORE.to_owned() },
        None => match import_taken(operators, block, folder, &taken.name).await? {
            Some(settled) => settled,
            None => return Ok(()), // it is not there any more
        },
    };
    move_settled(folder, taken, settled).await
}

/// The report of a file that was settled earlier.
const SETTLED_BEFORE: &str =
    "settled earlier, and moved here only now: the log and the audit have what was done\n";

/// A file in `taken/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TakenName {
    /// The name it came with.
    name: String,
    /// Where it belongs, once that is decided.
    settled: Option<&'static str>,
}

impl TakenName {
    /// Reads the name that a file has in `taken/`.
    fn parse(marked: &str) -> Option<Self> {
        if is_last_name(marked) {
            return Some(Self { name: marked.to_owned(), settled: None });
        }
        let (name, place) = marked.rsplit_once('.')?;
        let settled = [DONE, REFUSED].into_iter().find(|known| *known == place)?;
        is_last_name(name).then(|| Self { name: name.to_owned(), settled: Some(settled) })
    }

    /// The name it has in `taken/`.
    fn marked(&self) -> String {
        match self.settled {
            Some(place) => format!("{}.{place}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A file of which all is decided: where it goes, and the report beside it.
#[derive(Clone, Debug)]
struct SettledFile {
    place: &'static str,
    report: String,
}

/// Marks a file as settled and moves it. One that somebody else took away is settled too.
async fn move_settled(folder: &DropFolder, taken: TakenName, settled: SettledFile) -> Result<(), String> {
    let folder = folder.clone();
    let SettledFile { place, report } = settled;
    let moving = tokio::task::spawn_blocking(move || {
        let moved = folder
            .mark_settled(taken.clone(), place)
            .and_then(|marked| folder.settle_file(&marked, place, &report));
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!(
                "{} is settled and could not be moved to {}: {error}. Nothing further is taken until it is",
                taken.name,
                folder.path.join(place).display()
            )),
            _ => Ok(()),
        }
    });
    moving.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Imports one file that was taken; none where it is not there any more.
async fn import_taken(
    operators: &Operators,
    block: &ImportBlock,
    folder: &DropFolder,
    name: &str,
) -> Result<Option<SettledFile>, String> {
    let (reader, file) = (folder.clone(), name.to_owned());
    let read = tokio::task::spawn_blocking(move || reader.read_taken(&file)).await;
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    let (place, report) = match read {
        Ok(None) => return Ok(None),
        Err(why) => {
            tracing::warn!(file = %escaped(name), why, "a file of people was refused");
            (REFUSED, format!("refused: {why}\nNothing was changed.\n"))
        }
        Ok(Some(bytes)) => {
            let order = ImportOrder {
                name: folder.path.join(REFUSED).join(name).display().to_string(),
                coverage: if block.full { Coverage::Full } else { Coverage::Partial },
                ignored: block.ignore.clone(),
                dry_run: false,
                max_removals: block.max_removals.0,
                accepted: None,
            };
            match operators.at_present().import_file(bytes, order, ImportedBy::Folder).await {
                Ok(report) if report.fault.is_none() => {
                    let refused: String =
                        report.refused.iter().map(|line| format!("refused: {line}\n")).collect();
                    let place = if report.is_whole() { DONE } else { REFUSED };
                    (place, format!("{}\n{refused}", report.summary(false)))
                }
                // It stays where it is, and is imported again: at the next look, or the next start.
                Ok(report) => {
                    return Err(format!(
                        "{name} was not imported whole: {}",
                        report.fault.unwrap_or_default()
                    ));
                }
                Err(OrderError::Refused(why)) => {
                    let first = why.lines().next().unwrap_or_default().to_owned();
                    tracing::warn!(file = %escaped(name), why = first, "a file of people was refused");
                    (REFUSED, format!("refused: {why}\n"))
                }
                Err(error) => return Err(format!("{name} was not imported: {}", error_chain(&error))),
            }
        }
    };
    Ok(Some(SettledFile { place, report }))
}

/// The reason why nothing is taken from the folder.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what}")]
pub(crate) struct FolderFault {
    /// The key of the configuration.
    pub(crate) key: &'static str,
    pub(crate) what: String,
}

/// Tells whether another user may write in a folder, as far as its mode says it: of groups it is not known who is in them.
fn may_write_in(folder: &fs::Metadata, user: u32) -> bool {
    let needed = if folder.uid() == user { 0o300 } else { 0o030 };
    user == 0 || folder.mode() & needed == needed
}

/// The folder, which was looked at.
#[derive(Clone, Debug)]
pub(crate) struct DropFolder {
    path: PathBuf,
    /// The users whose files are taken.
    owners: Vec<u32>,
}

impl DropFolder {
    /// Looks at the folder, for a program of the user `us`. Nothing is made.
    ///
    /// # Errors
    /// [`FolderFault`].
    pub(crate) fn judge(block: &ImportBlock, us: u32) -> Result<Self, FolderFault> {
        let path = block.folder.clone();
        let shown = path.display().to_string();
        let fault = |what: String| FolderFault { key: "import.folder", what: format!("{shown} {what}") };
        let mut owners = vec![us, 0];
        if let Some(name) = &block.owner {
            let Some(owner) = crate::foreign::user_id(name) else {
                let what = format!("\"{}\" is no user of this machine", escaped(name));
                return Err(FolderFault { key: "import.owner", what });
            };
            owners.push(owner);
        }
        let found =
            fs::symlink_metadata(&path).map_err(|error| fault(format!("cannot be looked at: {error}")))?;
        if !found.is_dir() {
            return Err(fault("is no folder".to_owned()));
        }
        let mode = found.mode();
        if !owners.contains(&found.uid()) {
            return Err(fault(format!(
                "belongs to user {}, who is not the program's, root or import.owner: nothing is taken from it",
                found.uid()
            )));
        }
        // With a name for the uploader, the group may bring files: whose they are is looked at one by one.
        if mode & 0o002 != 0 || (mode & 0o020 != 0 && block.owner.is_none()) {
            let what =
                if mode & 0o002 != 0 { "everybody" } else { "its group, and import.owner names nobody" };
            return Err(fault(format!(
                "may be written by {what}: nothing is taken from it. Run: chmod go-w {shown}"
            )));
        }
        let is_us = us == rustix::process::geteuid().as_raw();
        let may_write = match is_us {
            true => rustix::fs::access(&path, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            false => may_write_in(&found, us),
        };
        if !may_write {
            return Err(fault(
                "may not be written by the program's user, who moves files within it".to_owned(),
            ));
        }
        for name in [TAKEN, DONE, REFUSED] {
            let inner = path.join(name);
            match fs::symlink_metadata(&inner) {
                Ok(inside) if !inside.is_dir() || inside.uid() != us || inside.mode() & 0o022 != 0 => {
                    let inner = inner.display();
                    let what =
                        format!("{inner} is no folder that the program's user alone may write: remove it");
                    return Err(FolderFault { key: "import.folder", what });
                }
                Ok(_) => {}
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {} // it is made
                Err(error) => return Err(fault(format!("cannot be looked into: {error}"))),
            }
        }
        Ok(Self { path, owners })
    }

    /// Looks at the folder and makes those in it.
    fn open(block: &ImportBlock) -> Result<Self, String> {
        let us = rustix::process::geteuid().as_raw();
        let folder = Self::judge(block, us).map_err(|fault| fault.to_string())?;
        let path = &folder.path;
        for name in [TAKEN, DONE, REFUSED] {
            let inner = path.join(name);
            let made = rustix::fs::mkdir(&inner, Mode::from_raw_mode(0o700));
            if let Err(error) = made
                && error != rustix::io::Errno::EXIST
            {
                return Err(format!("import.folder: {} cannot be made: {error}", inner.display()));
            }
            let inside = fs::symlink_metadata(&inner).map_err(|error| {
                format!("import.folder: {} cannot be looked at: {error}", inner.display())
            })?;
            if !inside.is_dir() || inside.uid() != us || inside.mode() & 0o022 != 0 {
                return Err(format!("import.folder: {} is not ours any more", inner.display()));
            }
        }
        Ok(folder)
    }

    /// Takes what has its last name, in the order of names; where something that was taken before is not finished, that alone
    /// is named.
    fn take_files(self) -> Result<(Self, Vec<TakenName>, HashSet<String>), String> {
        let list = |path: &Path| -> Result<Vec<TakenName>, String> {
            let cannot =
                |error: io::Error| format!("import.folder: {} cannot be read: {error}", path.display());
            let mut names = Vec::new();
            for entry in fs::read_dir(path).map_err(cannot)? {
                // A name that is no text is nobody's last name.
                if let Ok(name) = entry.map_err(cannot)?.file_name().into_string() {
                    names.extend(TakenName::parse(&name));
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        let mut faults = HashSet::new();
        let before = list(&self.path.join(TAKEN))?;
        if !before.is_empty() {
            return Ok((self, before, faults));
        }
        for TakenName { name, settled } in list(&self.path)? {
            let from = self.path.join(&name);
            if settled.is_some() {
                continue; // that is no last name outside
            }
            if name.len() > LONGEST_NAME {
                faults.insert(format!(
                    "import.folder: {} is not taken: its name has more than {LONGEST_NAME} bytes. Rename it",
                    from.display()
                ));
            } else if fs::symlink_metadata(&from).is_ok_and(|found| found.is_dir()) {
                faults
                    .insert(format!("import.folder: {} is a folder, and no file of people", from.display()));
            } else if let Err(error) = fs::rename(&from, self.path.join(TAKEN).join(&name)) {
                faults.insert(format!("import.folder: {} cannot be taken: {error}", from.display()));
            }
        }
        let taken = list(&self.path.join(TAKEN))?;
        Ok((self, taken, faults))
    }

    /// Reads a file that was taken, if it is one to be read; none where it is not there any more.
    fn read_taken(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.path.join(TAKEN).join(name);
        // Nothing is waited for, and no link is followed.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP) => {
                return Err("it is a symbolic link. Bring the file itself".to_owned());
            }
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        let before = file.metadata().map_err(|error| format!("it cannot be looked at: {error}"))?;
        if !before.is_file() {
            return Err("it is no plain file".to_owned());
        }
        if !self.owners.contains(&before.uid()) {
            return Err(format!(
                "it belongs to user {}, who is not the program's, root or import.owner",
                before.uid()
            ));
        }
        if before.mode() & 0o022 != 0 {
            return Err(format!(
                "others may write it (mode {:o}). Bring it with mode 640 or 600",
                before.mode() & 0o777
            ));
        }
        let most = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX);
        if before.len() > most {
            return Err("it is larger than 64 MiB. Split it".to_owned());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default());
        (&file)
            .take(most.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| format!("it cannot be read: {error}"))?;
        let after = file.metadata().map_err(|error| format!("it cannot be looked at: {error}"))?;
        let stamp = |found: &fs::Metadata| (found.len(), found.mtime(), found.mtime_nsec());
        let is_whole = u64::try_from(bytes.len()).is_ok_and(|read| read == after.len());
        if stamp(&before) != stamp(&after) || !is_whole {
            return Err("it changed while it was read. Upload under another name, and rename it to *.csv when it is whole".to_owned());
        }
        Ok(Some(bytes))
    }

    /// Gives a file the name that says where it belongs.
    fn mark_settled(&self, taken: TakenName, place: &'static str) -> io::Result<TakenName> {
        let marked = TakenName { settled: Some(place), ..taken.clone() };
        if taken != marked {
            let folder = self.path.join(TAKEN);
            fs::rename(folder.join(taken.marked()), folder.join(marked.marked()))?;
            File::open(&folder)?.sync_all()?;
        }
        Ok(marked)
    }

    /// Moves a file to where it belongs, which is what settles it, and writes its report beside it, whole or not at all.
    fn settle_file(&self, taken: &TakenName, place: &str, report: &str) -> io::Result<()> {
        let name = taken.name.as_str();
        let place = self.path.join(place);
        let mut free = name.to_owned();
        let stem = name.strip_suffix(ENDING).unwrap_or(name);
        let at = format_rfc3339(super::now()).replace(':', "");
        for nth in 0..1000 {
            let is_taken = |path: PathBuf| fs::symlink_metadata(path).is_ok();
            if !is_taken(place.join(&free)) && !is_taken(place.join(format!("{free}.txt"))) {
                break;
            }
            free =
                if nth == 0 { format!("{stem}.{at}{ENDING}") } else { format!("{stem}.{at}.{nth}{ENDING}") };
        }
        // The command to run names the file as it is called now.
        let report =
            report.replace(&place.join(name).display().to_string(), &place.join(&free).display().to_string());
        let (new, last) = (place.join(format!("{free}.txt.new")), place.join(format!("{free}.txt")));
        fs::rename(self.path.join(TAKEN).join(taken.marked()), place.join(&free))?;
        let write = || {
            let mut written = File::create(&new)?;
            written.write_all(report.as_bytes())?;
            written.sync_all()?;
            fs::rename(&new, &last)?;
            File::open(&place)?.sync_all()
        };
        if let Err(error) = write() {
            let _ = fs::remove_file(&new); // perhaps a part of it is there
            tracing::warn!(
                file = %escaped(&free), %error,
                "a file of people is settled, and its report could not be written beside it: the audit has what was done"
            );
        }
        Ok(())
    }
}

/// Tells whether a file has its last name.
fn is_last_name(name: &str) -> bool {
    name.len() > ENDING.len() && !name.starts_with('.') && name.ends_with(ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DropFolder) {
        let place = tempfile::tempdir().unwrap();
        for name in [TAKEN, DONE, REFUSED] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        let folder = DropFolder { path: place.path().to_owned(), owners: Vec::new() };
        (place, folder)
    }

    fn fresh(name: &str) -> TakenName {
        TakenName { name: name.to_owned(), settled: None }
    }

    fn in_taken(place: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(place.path().join(TAKEN)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn nothing_is_taken_while_something_older_is_not_settled() {
        let (place, folder) = folder();
        let taken = |folder: &DropFolder| folder.clone().take_files().unwrap().1;
        fs::write(place.path().join("b.csv"), "").unwrap();
        assert_eq!(taken(&folder), [fresh("b.csv")]);
        fs::write(place.path().join("a.csv"), "").unwrap();
        assert_eq!(taken(&folder), [fresh("b.csv")], "it is older, whatever it is called");
        let marked = folder.mark_settled(fresh("b.csv"), DONE).unwrap();
        assert_eq!((in_taken(&place), taken(&folder)), (vec!["b.csv.done".to_owned()], vec![marked.clone()]));
        folder.settle_file(&marked, DONE, "done\n").unwrap();
        assert_eq!(taken(&folder), [fresh("a.csv")]);
        assert_eq!(fs::read_to_string(place.path().join("done/b.csv.txt")).unwrap(), "done\n");
    }

    #[test]
    fn only_a_place_behind_a_last_name_is_a_mark() {
        for (name, settled) in [
            ("a.csv", None),
            ("a.csv.done", Some(DONE)),
            ("a.csv.refused", Some(REFUSED)),
            ("a.csv.done.csv", None),
        ] {
            let parsed = TakenName::parse(name).unwrap();
            assert_eq!((parsed.settled, parsed.marked().as_str()), (settled, name));
        }
        for name in ["a.csv.txt", "a.done", ".csv.done", "done", "a.csv.taken", "a.csv.done.done"] {
            assert_eq!(TakenName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_is_settled_also_where_its_report_cannot_be_written() {
        let (place, folder) = folder();
        fs::write(place.path().join("taken/a.csv"), "").unwrap();
        // In the way of what the report is written as.
        fs::create_dir(place.path().join("done/a.csv.txt.new")).unwrap();
        folder.settle_file(&fresh("a.csv"), DONE, "done\n").unwrap();
        assert!(place.path().join("done/a.csv").exists() && in_taken(&place).is_empty());
    }

    #[tokio::test]
    async fn one_that_cannot_be_moved_says_so_and_stays_marked() {
        let (place, folder) = folder();
        fs::write(place.path().join("taken/a.csv"), "").unwrap();
        fs::remove_dir(place.path().join(DONE)).unwrap();
        fs::write(place.path().join(DONE), "").unwrap(); // in its way
        let settled = SettledFile { place: DONE, report: String::new() };
        let fault = move_settled(&folder, fresh("a.csv"), settled.clone()).await.unwrap_err();
        assert!(fault.contains("Nothing further is taken until it is"), "{fault}");
        assert_eq!(in_taken(&place), ["a.csv.done"]);
        // Moved by hand meanwhile: that settles it too, and nothing is remembered of it.
        fs::remove_file(place.path().join("taken/a.csv.done")).unwrap();
        fs::remove_file(place.path().join(DONE)).unwrap();
        fs::create_dir(place.path().join(DONE)).unwrap();
        let marked = TakenName { settled: Some(DONE), ..fresh("a.csv") };
        move_settled(&folder, marked, settled).await.unwrap();
        assert_eq!(folder.read_taken("a.csv"), Ok(None), "nor is what is gone refused");
    }
}
