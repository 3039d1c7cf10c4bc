//! One check and all of them: what was looked at, how it stands, and what to change.

use std::fmt;

use portcullis_policy::escaped;
use portcullis_sso::LoginRefusal;
use serde::Serialize;

use crate::terminal::{count_things, format_table};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckState {
    /// It works, as far as was looked.
    Ok,
    /// It works or is not known, and deserves a look.
    Warn,
    /// It does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct DoctorCheck {
    /// The thing that was looked at, one word for programs.
    id: &'static str,
    /// The name of whose it is: of the identity provider, `scim`, `portcullis` …
    subject: String,
    state: CheckState,
    /// The findings in one sentence.
    detail: String,
    /// The thing to change; empty where there is nothing.
    remedy: String,
}

impl DoctorCheck {
    /// One that passed.
    pub(super) fn ok(id: &'static str, subject: &str, detail: impl Into<String>) -> Self {
        let (subject, detail) = (subject.to_owned(), detail.into());
        Self { id, subject, state: CheckState::Ok, detail, remedy: String::new() }
    }

    /// One that deserves a look.
    pub(super) fn warn(
        id: &'static str,
        subject: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: CheckState::Warn, remedy: remedy.into(), ..Self::ok(id, subject, detail) }
    }

    /// One that failed.
    pub(super) fn fail(
        id: &'static str,
        subject: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: CheckState::Fail, remedy: remedy.into(), ..Self::ok(id, subject, detail) }
    }

    /// One that failed as a login would.
    pub(super) fn of_refusal(id: &'static str, subject: &str, refusal: &LoginRefusal) -> Self {
        let LoginRefusal { expected, got, remedy, .. } = refusal;
        Self::fail(id, subject, format!("expected {expected}, got {got}"), *remedy)
    }

    /// One that failed for a reason whose first sentence says what is wrong, and the others what to do.
    pub(super) fn failed_by(id: &'static str, subject: &str, reason: &dyn fmt::Display) -> Self {
        let reason = reason.to_string();
        let (what, remedy) = split_reason(&reason);
        Self::fail(id, subject, what, remedy)
    }

    /// The same as a warning.
    #[must_use]
    pub(super) fn into_warning(self) -> Self {
        Self { state: CheckState::Warn, ..self }
    }
}

/// Splits a reason behind its first sentence.
pub(super) fn split_reason(reason: &str) -> (&str, &str) {
    match reason.split_once(". ") {
        Some((what, remedy)) => (what, remedy),
        None => (reason.trim_end_matches('.'), ""),
    }
}

/// All checks, in the order in which they were made.
#[derive(Debug, Serialize)]
pub(super) struct Checks {
    checks: Vec<DoctorCheck>,
}

impl Checks {
    pub(super) fn of_list(checks: Vec<DoctorCheck>) -> Self {
        Self { checks }
    }

    /// Tells whether one of them failed.
    pub(super) fn has_failed(&self) -> bool {
        self.count_in(CheckState::Fail) > 0
    }

    fn count_in(&self, state: CheckState) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }

    /// Writes a line a check, below it what to change, and at the end how many there were.
    pub(super) fn to_text(&self) -> String {
        let rows: Vec<[String; 4]> = self
            .checks
            .iter()
            .map(|check| {
                let word = match check.state {
                    CheckState::Ok => "ok",
                    CheckState::Warn => "warn",
                    CheckState::Fail => "fail",
                };
                let fit = |text: &str| escaped(text).to_string();
                [word.to_owned(), fit(&check.subject), check.id.replace('_', " "), fit(&check.detail)]
            })
            .collect();
        let mut text = String::new();
        for (line, check) in format_table(&rows).lines().zip(&self.checks) {
            text.push_str(line);
            text.push('\n');
            if !check.remedy.is_empty() {
                text.push_str(&format!("      -> {}\n", escaped(&check.remedy)));
            }
        }
        let (all, failed) = (self.checks.len(), self.count_in(CheckState::Fail));
        let warnings = count_things(self.count_in(CheckState::Warn), "warning");
        text.push_str(&match failed {
            0 => format!("{}: nothing failed, {warnings}.\n", count_things(all, "check")),
            failed => format!("{}: {failed} failed, {warnings}.\n", count_things(all, "check")),
        });
        text
    }
}

/// Writes how long something lasts, in its largest unit.
pub(super) fn describe_span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let ms = ms.max(0);
    let unit = UNITS.iter().find(|(length, _)| ms >= *length).unwrap_or(&UNITS[3]);
    count_things(ms / unit.0, unit.1)
}

/// Writes a number of bytes.
pub(super) fn describe_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, word)) = UNITS.iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} bytes");
    };
    let tenths = bytes / (unit / 10).max(1);
    format!("{}.{} {word}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_nothing_of_them_is_acted_on() {
        let checks = Checks::of_list(vec![
            DoctorCheck::ok("clock", "okta", "agrees"),
            DoctorCheck::fail("redirect_uri", "op", "no \u{1b}[2J\nway", "Paste\r it"),
        ]);
        let text = "ok    okta  clock         agrees\n\
                    fail  op    redirect uri  no \\u{1b}[2J\\nway\n      -> Paste\\r it\n\
                    2 checks: 1 failed, 0 warnings.\n";
        assert_eq!(checks.to_text(), text);
        assert!(checks.has_failed());
        let json = serde_json::to_value(&checks).unwrap();
        assert_eq!(json["checks"][1]["state"], "fail");
        assert_eq!(json["checks"][1]["id"], "redirect_uri");
    }

    #[test]
    fn spans_and_sizes_are_told_in_their_largest_unit() {
        assert_eq!(describe_span(0), "0 seconds");
        assert_eq!(describe_span(61_000), "1 minute");
        assert_eq!(describe_span(200_000_000), "2 days");
        assert_eq!(describe_bytes(512), "512 bytes");
        assert_eq!(describe_bytes(1536), "1.5 KiB");
        assert_eq!(describe_bytes(3 << 30), "3.0 GiB");
        assert_eq!(split_reason("It is so. Do this. And that"), ("It is so", "Do this. And that"));
        assert_eq!(split_reason("It is so."), ("It is so", ""));
    }
}
