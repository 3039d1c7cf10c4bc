//! `store`: the database itself. `check` reads it, beside a program or without one, and says which rules it keeps.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use portcullis_config::Home;
use portcullis_policy::escaped;
use portcullis_store::{RuleOutcome, VerifyError, look_at_file, verify_in};
use serde_json::json;

use super::home::StateFolder;
use super::reach::{self, ReachError};
use crate::foreign::Foreign;
use crate::settings;
use crate::terminal::{Exit, format_table, print_error, print_text};

/// Orders about the database, and where the program is that has it.
#[derive(Args, Debug)]
pub(crate) struct StoreOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    order: StoreCommand,
}

/// An order about the database.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Check that the database keeps every rule that the program relies on. It is only read, also while a program runs.
    #[command(after_help = "Example: portcullis store check --json")]
    Check(CheckStore),
}

/// Checks the database.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CheckStore {
    /// Print one JSON object instead of a line a rule.
    #[arg(long)]
    json: bool,
}

/// Reasons why nothing was checked.
#[derive(Debug, thiserror::Error)]
enum NotChecked {
    #[error(transparent)]
    Foreign(Foreign),
    #[error(
        "{}: there is no database. Name the state folder of the program with --state DIR, or its configuration with \
         -c FILE",
        .0.display()
    )]
    NoDatabase(std::path::PathBuf),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Open(#[from] portcullis_store::OpenError),
    #[error(transparent)]
    Runtime(#[from] ReachError),
}

impl StoreOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order: StoreCommand::Check(check) } = self;
        match named.home(config) {
            Ok(home) => check.answer(&home).unwrap_or_else(|error| print_error(&error)),
            Err(exit) => exit,
        }
    }
}

impl CheckStore {
    fn answer(self, home: &Home) -> Result<Exit, NotChecked> {
        // Whoever reads it leaves files beside it that are theirs, root above all.
        if let Ok(Some(foreign)) = Foreign::of_folder(&home.state) {
            return Err(NotChecked::Foreign(foreign));
        }
        if !home.database.try_exists().unwrap_or(true) {
            return Err(NotChecked::NoDatabase(home.database.clone()));
        }
        look_at_file(&home.database)?;
        let schemas = home.extensions.as_ref().map(|declared| Arc::new(settings::declared_schemas(declared)));
        let outcomes = reach::build_runtime()?.block_on(verify_in(&home.database, schemas))?;
        let is_sound = outcomes.iter().all(|outcome| outcome.broken == 0);
        print_text(&match self.json {
            true => describe_as_json(&home.database, &outcomes, is_sound),
            false => describe_outcomes(&home.database, &outcomes),
        });
        Ok(if is_sound { Exit::Fine } else { Exit::Failed })
    }
}

fn describe_as_json(database: &Path, outcomes: &[RuleOutcome], is_sound: bool) -> String {
    let rules: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let mut row = json!(outcome);
            row["sentence"] = outcome.rule.sentence().into();
            row
        })
        .collect();
    format!("{}\n", json!({ "database": database.display().to_string(), "sound": is_sound, "rules": rules }))
}

/// A line a rule; below them what breaks them, and what could not be looked at.
fn describe_outcomes(database: &Path, outcomes: &[RuleOutcome]) -> String {
    let rows: Vec<[String; 4]> = outcomes
        .iter()
        .map(|outcome| {
            let word = if outcome.broken == 0 { "ok" } else { "broken" };
            let counted = format!("{} looked at", outcome.looked_at);
            [word, outcome.rule.table_word(), &counted, outcome.rule.sentence()].map(str::to_owned)
        })
        .collect();
    let mut text = format_table(&rows);
    for outcome in outcomes {
        let rule = outcome.rule.table_word();
        for row in &outcome.told {
            text.push_str(&format!(
                "{rule}: {}: {}. {}.\n",
                escaped(&row.row),
                escaped(&row.what),
                row.remedy.trim_end_matches('.')
            ));
        }
        let told = u64::try_from(outcome.told.len()).unwrap_or(u64::MAX);
        if outcome.broken > told {
            text.push_str(&format!("{rule}: and {} more.\n", outcome.broken - told));
        }
        if let Some(note) = &outcome.note {
            text.push_str(&format!("{rule}: {note}.\n"));
        }
    }
    let broken: u64 = outcomes.iter().map(|outcome| outcome.broken).sum();
    let database = escaped(&database.display().to_string()).to_string();
    text.push_str(&match broken {
        0 => format!("{database}: sound.\n"),
        1 => format!("{database}: 1 problem.\n"),
        more => format!("{database}: {more} problems.\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use portcullis_store::{BrokenRow, StoreRule};

    use super::*;

    #[test]
    fn a_line_a_rule_and_below_them_what_is_wrong_and_what_to_do() {
        let outcome = |rule| RuleOutcome { rule, looked_at: 3, broken: 0, told: Vec::new(), note: None };
        let row = BrokenRow { row: "a\u{1b}".into(), what: "it is missing".into(), remedy: "Restore it" };
        let broken = RuleOutcome { broken: 7, told: vec![row], ..outcome(StoreRule::Members) };
        let noted = RuleOutcome { note: Some("not known".into()), ..outcome(StoreRule::Search) };
        let database = Path::new("/srv/p.db");
        let text = describe_outcomes(database, &[outcome(StoreRule::File), noted, broken.clone()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ok      file     3 looked at  Pages"), "{text}");
        assert!(lines[2].starts_with("broken  members  3 looked at  Only groups"), "{text}");
        assert_eq!(
            &lines[3..],
            [
                "search: not known.",
                "members: a\\u{1b}: it is missing. Restore it.",
                "members: and 6 more.",
                "/srv/p.db: 7 problems.",
            ]
        );
        assert!(describe_outcomes(database, &[outcome(StoreRule::File)]).ends_with("/srv/p.db: sound.\n"));
        let read: serde_json::Value =
            serde_json::from_str(&describe_as_json(database, &[broken], false)).unwrap();
        assert_eq!((&read["sound"], &read["rules"][0]["broken"]), (&json!(false), &json!(7)));
        assert_eq!(read["rules"][0]["rule"], "members");
        assert_eq!(read["rules"][0]["told"][0]["remedy"], "Restore it");
    }
}
