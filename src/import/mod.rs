//! Imports: a file of people, by the command line or from the drop folder, made true of the directory.
//!
//! The file is read and planned whole before anything is written, so a file with a problem changes nothing. What it
//! takes away is carried out first, a few people at a time down the one road; what is told was committed and enforced.
//! It refuses a directory that a SCIM client feeds, and to put out more people at once than was allowed, unless the
//! operator names the very file. A file that was applied in part is finished by importing it again.

mod carry_out;
pub(crate) mod drop_folder;
pub(crate) mod mapping;
pub(crate) mod turn;

use std::fmt::Write as _;
use std::time::Instant;

use portcullis_keys::sha256;
use portcullis_policy::{DirectoryId, OrgId, Timestamp, shown};
use portcullis_roster::{Coverage, KnownPerson, Roster, RosterPlan, plan_roster, read_roster};
use portcullis_store::{DirectoryPerson, Origin};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::carry_out::{Applied, StepRoad};
use crate::operator::Operator;
use crate::order_error::OrderError;
use crate::person::People;
use crate::terminal::{count_people, count_things};

/// An order to import a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportOrder {
    /// Its name, as a command would say it.
    pub(crate) name: String,
    /// Everybody, or some.
    pub(crate) coverage: Coverage,
    /// Columns that are passed over.
    pub(crate) ignored: Vec<String>,
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// The most people that may be put out at once, in percent.
    pub(crate) max_removals: u8,
    /// The SHA-256 of the file for which that does not count, in hexadecimal digits.
    pub(crate) accepted: Option<String>,
}

/// The end of an import, as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImportReport {
    /// Of the file, in hexadecimal digits.
    pub(crate) sha256: String,
    /// The people it names.
    pub(crate) rows: usize,
    /// The people who were active before.
    pub(crate) active: usize,
    /// The people whom it puts out.
    pub(crate) put_out: usize,
    /// A dry run's changes, a line each.
    pub(crate) changes: Vec<String>,
    /// The steps that were committed and enforced; in a dry run, those that would be.
    pub(crate) applied: Applied,
    /// Reasons why some steps were not carried out: the first twenty.
    pub(crate) refused: Vec<String>,
    /// The fault that ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// The hand that brought a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportedBy {
    /// `portcullis import`.
    Operator,
    /// The drop folder.
    Folder,
}

impl ImportedBy {
    fn actor(self) -> &'static str {
        match self {
            Self::Operator => crate::order::ACTOR,
            Self::Folder => "import",
        }
    }

    fn log_word(self) -> &'static str {
        match self {
            Self::Operator => crate::order::BY,
            Self::Folder => "drop folder",
        }
    }
}

impl ImportReport {
    /// Tells whether the directory now says what the file says.
    pub(crate) fn is_whole(&self) -> bool {
        self.fault.is_none() && self.applied.refused == 0
    }

    /// The last line.
    pub(crate) fn summary(&self, is_dry: bool) -> String {
        let Self { rows, active, put_out, applied, sha256, .. } = self;
        let Applied { created, changed, deactivated, reactivated, sessions, refused } = applied;
        let mut text = if is_dry {
            "A dry run, and nothing was changed. It would be: ".to_owned()
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "{} in the file: {created} created, {changed} changed, {deactivated} deactivated, {reactivated} reactivated",
            count_people(*rows)
        );
        if is_dry {
            let _ = write!(text, "; {put_out} of {active} active people put out");
        } else {
            let _ = write!(text, "; {} ended", count_things(*sessions, "live session"));
        }
        if *refused > 0 {
            let _ = write!(text, "; {refused} refused");
        }
        let _ = write!(text, ". SHA-256 {sha256}");
        text
    }
}

impl Operator {
    /// Imports a file of people.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where the file has problems, would put out too many, or people do not come by hand; nothing
    /// was changed then. What a file that was begun came to is in the report.
    pub(crate) async fn import_file(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        order: ImportOrder,
        by: ImportedBy,
    ) -> Result<ImportReport, OrderError> {
        check_source(self.terms.people)?;
        let began = Instant::now();
        let mut unsettled = match (self.imports.try_lock(), by) {
            (Ok(unsettled), _) => unsettled,
            (Err(_), ImportedBy::Folder) => self.imports.lock().await,
            (Err(_), ImportedBy::Operator) => return Err(another_is_imported()),
        };
        let (org, directory) = (OrgId::ONLY, DirectoryId::ONLY);
        if self.store.is_fed_by_scim(org, directory).await.map_err(OrderError::Store)? {
            return Err(refused(&portcullis_store::StepRefusal::FedByScim.to_string()));
        }
        let ignored = order.ignored.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let hash = hash_file(bytes.as_ref());
            (hash, read_roster(bytes.as_ref(), &ignored))
        });
        let (hash, roster) = reading.await.map_err(|error| OrderError::Failed(error.to_string()))?;
        let road = StepRoad { operator: self, origin: Origin::of_actor(by.actor()) };
        let planned = match roster {
            Ok(roster) => self.plan_import(roster, order.coverage).await?,
            Err(problems) => Err(problems.to_string()),
        };
        let (rows, people, plan) = match planned {
            Ok(planned) => planned,
            Err(problems) => {
                if !order.dry_run {
                    road.note("refused", json!({ "sha256": hash, "why": "problems" })).await?;
                }
                return Err(refused(&problems));
            }
        };
        let mut report = ImportReport {
            sha256: hash.clone(),
            rows,
            active: plan.active,
            put_out: plan.put_out,
            ..ImportReport::default()
        };
        if order.dry_run {
            report.changes = plan.steps().map(ToString::to_string).collect();
            plan.steps().for_each(|step| report.applied.count_step(step.kind(), 0));
            return Ok(report);
        }
        let is_accepted = order.accepted.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(&hash));
        if plan.is_too_much(order.max_removals) && !is_accepted {
            let detail =
                json!({ "sha256": hash, "why": "too many", "put_out": plan.put_out, "active": plan.active });
            road.note("refused", detail).await?;
            return Err(refused(&too_much(&plan, &order, &hash)));
        }
        road.settle_earlier(&mut unsettled).await?;
        road.carry_out_plan(&people, &plan, &mut report, &mut unsettled).await;
        let Applied { created, changed, deactivated, reactivated, sessions, refused } = report.applied;
        let outcome = if report.is_whole() { "done" } else { "unfinished" };
        let detail = json!({
            "sha256": hash, "coverage": order.coverage, "rows": rows, "created": created, "changed": changed,
            "deactivated": deactivated, "reactivated": reactivated, "sessions": sessions, "refused": refused,
        });
        if let Err(error) = road.note(outcome, detail).await {
            report.fault.get_or_insert(crate::log::error_chain(&error).to_string());
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let by = by.log_word();
        if report.is_whole() {
            tracing::info!(
                by,
                sha256 = hash,
                rows,
                created,
                changed,
                deactivated,
                reactivated,
                sessions,
                ms,
                "a file of people was imported"
            );
        } else {
            tracing::error!(
                by,
                sha256 = hash,
                rows,
                created,
                changed,
                deactivated,
                reactivated,
                sessions,
                refused,
                ms,
                fault = report.fault,
                "a file of people was imported in part: import it again"
            );
        }
        Ok(report)
    }

    /// Compares a file with the directory; the inner error has its problems.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    async fn plan_import(
        &self,
        roster: Roster,
        coverage: Coverage,
    ) -> Result<Result<(usize, Vec<DirectoryPerson>, RosterPlan), String>, OrderError> {
        let people = self.store.directory_people(OrgId::ONLY, DirectoryId::ONLY);
        let people = people.await.map_err(OrderError::Store)?;
        let planning = tokio::task::spawn_blocking(move || {
            let known: Vec<KnownPerson> = people.iter().map(|person| person.known.clone()).collect();
            let plan = plan_roster(&roster, &known, coverage);
            plan.map(|plan| (roster.rows.len(), people, plan)).map_err(|problems| problems.to_string())
        });
        planning.await.map_err(|error| OrderError::Failed(error.to_string()))
    }
}

fn refused(what: &str) -> OrderError {
    OrderError::Refused(what.to_owned())
}

fn another_is_imported() -> OrderError {
    refused("another file is being imported. Try again when that has ended")
}

/// People come by file where they come by hand, and nowhere else.
fn check_source(people: Option<People>) -> Result<(), OrderError> {
    match people {
        Some(People::Invited) => Ok(()),
        Some(People::Directory) => Err(refused(
            "a SCIM client feeds this directory (provisioning: scim), and would undo what a file says. Import with \
             provisioning: invited, or let the identity provider say it",
        )),
        Some(People::Login) => Err(refused(
            "with provisioning: none there is no directory that a file could fill. Write provisioning: invited",
        )),
        None => Err(refused(
            "whether people come by hand stands in the configuration, which was not read: name it with -c FILE",
        )),
    }
}

/// The guard's refusal, with the numbers and the line to run.
fn too_much(plan: &RosterPlan, order: &ImportOrder, hash: &str) -> String {
    let RosterPlan { put_out, active, .. } = plan;
    let mut command = format!("portcullis import {}", crate::foreign::quote_word(&order.name));
    if order.coverage == Coverage::Full {
        command.push_str(" --full");
    }
    for column in &order.ignored {
        let _ = write!(command, " --ignore {}", crate::foreign::quote_word(column));
    }
    format!(
        "the file would put out {put_out} of {active} active people ({} %), and {} % at once are allowed. Nothing was changed.\n\
         Look at them: {command} --dry-run\n\
         If it is right: {command} --accept-removals {hash}",
        put_out * 100 / (*active).max(1),
        order.max_removals,
    )
}

/// The SHA-256 of a file, in hexadecimal digits.
fn hash_file(bytes: &[u8]) -> String {
    sha256(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // to a text: it cannot fail
        text
    })
}

/// The moment that a step is written down with.
fn now() -> Timestamp {
    Timestamp::now()
}

/// A person's name, as a line of the report has it.
fn shown_name(name: &str) -> String {
    shown(name).into_owned()
}
