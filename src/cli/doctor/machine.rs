//! This machine: the configuration, the program, the state folder, the database, the disk, open files and certificates.

use std::path::Path;

use portcullis_config::{Expiry, Problem, Problems};
use portcullis_policy::Timestamp;
use portcullis_store::OpenError;

use super::super::reach::ReachError;
use super::check::{DoctorCheck, describe_bytes, describe_span};
use super::checkup::{Checkup, Glanced};
use crate::lock;
use crate::log::error_chain;
use crate::person::format_rfc3339;

/// The subject of what is ours.
const US: &str = "portcullis";

/// Looks at what lies on this machine.
pub(super) fn look_at_machine(checkup: &Checkup) -> Vec<DoctorCheck> {
    let mut checks = vec![DoctorCheck::ok("configuration", US, "read, with everything that it names")];
    checks.extend(checkup.warnings.iter().map(tell_warning));
    checks.push(look_at_program(checkup));
    checks.push(match lock::look_at_folder(&checkup.file.state) {
        Ok(()) => DoctorCheck::ok("state_folder", US, format!("{}", checkup.file.state.display())),
        Err(error) => DoctorCheck::failed_by("state_folder", US, &error_chain(&error)),
    });
    checks.push(look_at_database(checkup));
    checks.push(look_at_disk(&checkup.file.state, &checkup.file.database));
    checks.extend(look_at_files(checkup));
    let now = Timestamp::now();
    checks.extend(checkup.file.expires.iter().map(|expiry| judge_expiry(expiry, now)));
    checks
}

/// The problems of a configuration that nothing can be looked at by.
pub(super) fn list_problems(problems: &Problems) -> Vec<DoctorCheck> {
    let fail = |problem: &Problem| {
        // One of a file that this one names stands in another file.
        let place = describe_place(problem);
        let between = if place.is_empty() { ": " } else { ", " };
        let detail = format!("{}{between}{place}{}", problem.file, problem.what);
        let remedy = match problem.remedy.as_str() {
            "" => "Mend that first: nothing else is looked at before",
            remedy => remedy,
        };
        DoctorCheck::fail("configuration", US, detail, remedy)
    };
    problems.iter().map(fail).collect()
}

fn tell_warning(problem: &Problem) -> DoctorCheck {
    let place = describe_place(problem);
    DoctorCheck::warn("configuration", US, format!("{place}{}", problem.what), problem.remedy.clone())
}

/// Where it stands in its file.
fn describe_place(problem: &Problem) -> String {
    let line = problem.line.map_or_else(String::new, |line| format!("line {line}: "));
    let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
    line + &path
}

/// The advice where command and program are of two versions.
const OTHER_VERSION: &str = "Restart it where it was upgraded; else run the command of its version";

fn look_at_program(checkup: &Checkup) -> DoctorCheck {
    match &checkup.program {
        Ok(Some(condition)) if condition.version != env!("CARGO_PKG_VERSION") => DoctorCheck::warn(
            "program",
            US,
            format!(
                "runs as pid {}, of version {}; this command is of version {}",
                condition.pid,
                portcullis_policy::shown(&condition.version),
                env!("CARGO_PKG_VERSION")
            ),
            OTHER_VERSION,
        ),
        Ok(Some(condition)) => {
            DoctorCheck::ok("program", US, format!("runs as pid {}, of this version", condition.pid))
        }
        Ok(None) => match lock::find_holder(&checkup.file.state) {
            Some(pid) => DoctorCheck::warn(
                "program",
                US,
                format!(
                    "the process with pid {pid} has the state folder and does not listen: it is starting or leaving"
                ),
                "Ask again in a moment: what only a program that runs knows is not told. Where it stays so, the socket was taken away \
                 from it: restart that process",
            ),
            None => DoctorCheck::warn(
                "program",
                US,
                "does not run with this state folder, so what only it knows is not told",
                "Start it: portcullis run",
            ),
        },
        Err(error @ (ReachError::Said(_) | ReachError::Answer(_))) => DoctorCheck::warn(
            "program",
            US,
            format!("does not tell its condition: {}", error_chain(error)),
            OTHER_VERSION,
        ),
        Err(ReachError::Foreign(foreign)) => DoctorCheck::failed_by("program", US, foreign),
        Err(error) => DoctorCheck::fail(
            "program",
            US,
            error_chain(error).to_string(),
            "Look into its log. Where it hangs, restart it: nobody signs in again for that",
        ),
    }
}

fn look_at_database(checkup: &Checkup) -> DoctorCheck {
    let path = checkup.file.database.display();
    match &checkup.database {
        Glanced::Missing => DoctorCheck::warn(
            "database",
            US,
            format!("{path} is not there yet: the first start makes it"),
            "",
        ),
        Glanced::Foreign => DoctorCheck::warn(
            "database",
            US,
            "was not looked at: only the owner of the state folder reads it",
            "Run this as the user of the program",
        ),
        Glanced::Slow => DoctorCheck::fail(
            "database",
            US,
            format!("{path} did not answer within 10 s"),
            "Look at the disk: iostat, dmesg",
        ),
        Glanced::Unusable(error @ (OpenError::Store { .. } | OpenError::File { .. })) => DoctorCheck::fail(
            "database",
            US,
            error_chain(error).to_string(),
            "Where it is damaged, restore a backup; else look at the disk and at who owns the file",
        ),
        Glanced::Unusable(error) => DoctorCheck::failed_by("database", US, error),
        Glanced::Seen(seen) if seen.keys_fault.is_some() => {
            let fault = seen.keys_fault.as_ref().map(|fault| error_chain(fault).to_string());
            DoctorCheck::failed_by("database", US, &fault.unwrap_or_default())
        }
        Glanced::Seen(seen) if seen.schema < seen.known => DoctorCheck::warn(
            "database",
            US,
            format!(
                "has schema {}, and this release writes {}: the next start brings it there",
                seen.schema, seen.known
            ),
            "Keep a backup before that start. What is in it is not told until then",
        ),
        Glanced::Seen(seen) => DoctorCheck::ok(
            "database",
            US,
            format!("opens, with schema {}; portcullis store check looks at every rule", seen.schema),
        ),
    }
}

fn look_at_disk(state: &Path, database: &Path) -> DoctorCheck {
    let place = state.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let size = |ending: &str| {
        let mut path = database.as_os_str().to_owned();
        path.push(ending);
        std::fs::metadata(path).map_or(0, |found| found.len())
    };
    match rustix::fs::statvfs(place) {
        Ok(found) => judge_disk(found.f_bavail.saturating_mul(found.f_frsize), size("") + size("-wal")),
        Err(error) => DoctorCheck::warn("disk", US, format!("its free space is not known: {error}"), ""),
    }
}

/// Below this many bytes a removal may soon find no room.
const FULL: u64 = 100 << 20;
/// Below this many it deserves a look.
const LITTLE: u64 = 1 << 30;

fn judge_disk(free: u64, database: u64) -> DoctorCheck {
    let detail = format!(
        "{} are free where the state folder is; the database has {}",
        describe_bytes(free),
        describe_bytes(database)
    );
    let remedy = "Make room, or move the state folder to a larger disk while the program is stopped: without room \
                  nothing can be written, and nobody new comes in";
    match free {
        ..FULL => DoctorCheck::fail("disk", US, detail, remedy),
        FULL..LITTLE => DoctorCheck::warn("disk", US, detail, remedy),
        _ => DoctorCheck::ok("disk", US, detail),
    }
}

/// Below so many open files the start warns too.
const FEW_FILES: u64 = 4096;

fn look_at_files(checkup: &Checkup) -> Option<DoctorCheck> {
    let condition = checkup.condition()?;
    let (Some(files), Some(clients)) = (condition.files, condition.clients) else {
        return Some(DoctorCheck::ok("open_files", US, "no limit"));
    };
    let detail = format!("{files} files may be open, enough for about {clients} clients at once");
    Some(match files {
        ..FEW_FILES => {
            DoctorCheck::warn("open_files", US, detail, "Set LimitNOFILE=65536 in the unit, or ulimit -n")
        }
        _ => DoctorCheck::ok("open_files", US, detail),
    })
}

/// The time before its end from which a certificate deserves a look.
const AHEAD_MS: i64 = 30 * 24 * 3_600_000;

fn judge_expiry(expiry: &Expiry, now: Timestamp) -> DoctorCheck {
    let end = Timestamp(expiry.at.saturating_mul(1000));
    let (name, day) = (&expiry.name, format_rfc3339(end));
    let left = end.since_ms(now);
    if left <= 0 {
        return DoctorCheck::fail(
            "certificate",
            US,
            format!("{name} ended on {day}: it is refused"),
            "Renew it: what listens serves the new one within seconds",
        );
    }
    let detail = format!("{name} is good for {}, until {day}", describe_span(left));
    if left < AHEAD_MS {
        return DoctorCheck::warn(
            "certificate",
            US,
            detail,
            "Renew it: what listens serves the new one within seconds",
        );
    }
    DoctorCheck::ok("certificate", US, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(check: &DoctorCheck) -> serde_json::Value {
        serde_json::to_value(check).unwrap()["state"].clone()
    }

    #[test]
    fn a_disk_is_judged_by_what_is_free() {
        assert_eq!(state_of(&judge_disk(5 << 30, 0)), "ok");
        assert_eq!(state_of(&judge_disk(500 << 20, 0)), "warn");
        assert_eq!(state_of(&judge_disk(10 << 20, 0)), "fail");
    }

    #[test]
    fn a_certificate_is_judged_by_its_end() {
        let expiry =
            Expiry { kind: "certificate", name: "listen.proxy.tls[0]".to_owned(), at: 1_780_000_000 };
        let at = |days: i64| Timestamp((1_780_000_000 - days * 86_400) * 1000);
        assert_eq!(state_of(&judge_expiry(&expiry, at(60))), "ok");
        assert_eq!(state_of(&judge_expiry(&expiry, at(10))), "warn");
        assert_eq!(state_of(&judge_expiry(&expiry, at(-1))), "fail");
    }
}
