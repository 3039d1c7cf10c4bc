//! The rules of a database that everything else relies on: `portcullis store check`. It is only read, and no
//! lock is taken, so a program may run on it.
//!
//! The rule it protects: nothing acknowledged is lost or half done, and what was lost is not found out by a person at the
//! door. Each rule is one sentence. What is found bears ids, and the name of nobody. Memory is bounded: resources come in
//! pages, each of a snapshot of its own, and of what is wrong the first few rows are told and the rest are counted.

mod directory;
mod questions;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use portcullis_scim::Schemas;
use serde::Serialize;

use crate::engine::Engine;
use crate::{OpenError, StoreError, migrate};

/// As many broken rows as are told of each rule.
const TOLD: usize = 20;

/// A rule that a sound database keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreRule {
    /// Of the file itself.
    File,
    /// Between tables.
    References,
    /// Of the table `resource`.
    Documents,
    /// Of the tables `attr` and `long_value`.
    Search,
    /// Of the table `member`.
    Members,
    /// Between users and accounts.
    Accounts,
    /// Of the table `session`.
    Sessions,
    /// Of the table `link`.
    Links,
    /// Of the table `barred`.
    Bars,
    /// Of the three tables of the log, and of the table `head`.
    Log,
    /// Of the table `repeat`.
    Repeats,
    /// Of the table `tally`.
    Totals,
}

impl StoreRule {
    /// Every rule, in the order in which they are looked at.
    pub const ALL: [Self; 12] = [
        Self::File,
        Self::References,
        Self::Documents,
        Self::Search,
        Self::Members,
        Self::Accounts,
        Self::Sessions,
        Self::Links,
        Self::Bars,
        Self::Log,
        Self::Repeats,
        Self::Totals,
    ];

    /// Its name for tables.
    pub fn table_word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::References => "references",
            Self::Documents => "documents",
            Self::Search => "search",
            Self::Members => "members",
            Self::Accounts => "accounts",
            Self::Sessions => "sessions",
            Self::Links => "links",
            Self::Bars => "bars",
            Self::Log => "log",
            Self::Repeats => "repeats",
            Self::Totals => "totals",
        }
    }

    /// The rule in one sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::File => {
                "Pages, indexes, types and unique names and external ids are as SQLite wants them \
                 (pragma integrity_check)."
            }
            Self::References => "Whatever a row names in another table is there (pragma foreign_key_check).",
            Self::Documents => "Every document can be read, and the names beside it are the document's own.",
            Self::Search => {
                "The rows by which people and groups are found are those that their documents make, and the removed \
                 have none."
            }
            Self::Members => "Only groups have members, and every member is there and not removed.",
            Self::Accounts => {
                "Every user has one account, which is active where the document says so and never for the removed."
            }
            Self::Sessions => {
                "No session is ahead of its account or its epochs, and whoever is out has none that would count."
            }
            Self::Links => "Nobody who was removed is linked to a subject, and every link has its key.",
            Self::Bars => {
                "Every bar has its word and its key, and an operator's names an account that is disabled."
            }
            Self::Log => {
                "No number of a commit or a row is ahead of the head, no commit lacks an entry, and no generation or \
                 epoch that was announced is behind."
            }
            Self::Repeats => "No remembered end of an operation is ahead of the resource it names.",
            Self::Totals => "The numbers of people and groups that lists tell are how many there are.",
        }
    }
}

/// A row that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenRow {
    /// The id of a resource, `account:N`, or the place in the file. Never a name.
    pub row: String,
    /// The fault.
    pub what: String,
    /// The thing to do.
    pub remedy: &'static str,
}

/// The outcome of one rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleOutcome {
    /// The rule.
    pub rule: StoreRule,
    /// The number of rows that were looked at; pages for [`StoreRule::File`], tables for [`StoreRule::References`].
    pub looked_at: u64,
    /// The number of rows that break it.
    pub broken: u64,
    /// The first of them, 20 at most.
    pub told: Vec<BrokenRow>,
    /// The part that could not be looked at, and why.
    pub note: Option<String>,
}

/// The outcomes so far, a row a rule.
#[derive(Debug)]
pub(crate) struct RuleBook(Vec<RuleOutcome>);

impl RuleBook {
    fn new() -> Self {
        let outcome = |rule| RuleOutcome { rule, looked_at: 0, broken: 0, told: Vec::new(), note: None };
        Self(StoreRule::ALL.into_iter().map(outcome).collect())
    }

    /// Changes what is known of a rule.
    fn update_rule(&mut self, rule: StoreRule, change: impl FnOnce(&mut RuleOutcome)) {
        if let Some(outcome) = self.0.iter_mut().find(|outcome| outcome.rule == rule) {
            change(outcome);
        }
    }

    fn count_looked_at(&mut self, rule: StoreRule, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.update_rule(rule, |outcome| outcome.looked_at += rows);
    }

    fn add_broken(
        &mut self,
        rule: StoreRule,
        row: impl Into<String>,
        what: impl Into<String>,
        remedy: &'static str,
    ) {
        self.update_rule(rule, |outcome| {
            outcome.broken += 1;
            if outcome.told.len() < TOLD {
                outcome.told.push(BrokenRow { row: row.into(), what: what.into(), remedy });
            }
        });
    }

    /// Takes damage for what it is, and gives back what says nothing about the database.
    fn settle_damage(&mut self, rule: StoreRule, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        match outcome {
            Err(StoreError::Corrupt(cause)) => {
                self.add_broken(
                    rule,
                    "the file",
                    format!("it could not be read to its end: {cause}"),
                    RESTORE,
                );
                Ok(())
            }
            Err(StoreError::Unreadable { table, row, what }) => {
                self.add_broken(rule, row, format!("a row of {table} cannot be read: {what}"), RESTORE);
                Ok(())
            }
            other => other,
        }
    }
}

const RESTORE: &str = "Restore a backup of the database from before, and report this";

/// Reasons why nothing was verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Another program's, or of a newer release.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An earlier release wrote it, and none of this one has started on it.
    #[error(
        "{path}: its schema is number {found}, and this release looks at number {known}. Start this release on it once, \
         or check it with the release that wrote it"
    )]
    TooOld {
        /// The file.
        path: std::path::PathBuf,
        /// Its schema.
        found: i64,
        /// The schema known here.
        known: i64,
    },
    /// It could not be asked.
    #[error("{path}: the database cannot be read")]
    Store {
        /// The file.
        path: std::path::PathBuf,
        /// The fault of the store.
        #[source]
        source: StoreError,
    },
}

/// Looks at every rule, in their order. `schemas` are those in force; where they are not known, what declared extensions
/// are found by is not looked at.
///
/// # Errors
/// [`VerifyError`]: nothing can be said. Damage is no error but a broken rule.
pub async fn verify_in(path: &Path, schemas: Option<Arc<Schemas>>) -> Result<Vec<RuleOutcome>, VerifyError> {
    let engine = Engine::new(path);
    let verified = verify_rules(&engine, path, schemas).await;
    engine.close().await;
    verified
}

async fn verify_rules(
    engine: &Engine,
    path: &Path,
    schemas: Option<Arc<Schemas>>,
) -> Result<Vec<RuleOutcome>, VerifyError> {
    let failed = |source| VerifyError::Store { path: path.to_owned(), source };
    let found = migrate::found_schema(&mut engine.snapshot().await.map_err(failed)?, path).await?;
    if found < migrate::KNOWN {
        return Err(VerifyError::TooOld { path: path.to_owned(), found, known: migrate::KNOWN });
    }
    let mut book = RuleBook::new();
    let outcome = sqlite::look_at_pages(engine, &mut book).await;
    book.settle_damage(StoreRule::File, outcome).map_err(failed)?;
    let outcome = sqlite::look_at_references(engine, &mut book).await;
    book.settle_damage(StoreRule::References, outcome).map_err(failed)?;
    let outcome = directory::look_at_resources(engine, schemas.as_deref(), &mut book).await;
    book.settle_damage(StoreRule::Documents, outcome).map_err(failed)?;
    for question in questions::QUESTIONS {
        let outcome = question.ask_database(engine, &mut book).await;
        book.settle_damage(question.rule, outcome).map_err(failed)?;
    }
    Ok(book.0)
}
