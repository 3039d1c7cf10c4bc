//! `import --map`: a sheet that says what an application calls people, made true of the directory.
//!
//! It makes nobody and puts nobody out, and writes only attributes that no SCIM client writes, so a directory that one
//! feeds takes it as well. Like every file it is read and planned whole before anything is written.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;
use portcullis_policy::{DirectoryId, OrgId, shown};
use portcullis_roster::{
    MappedAttribute, MappedPerson, MappingPlan, MappingStep, plan_mapping, read_mapping,
};
use portcullis_scim::schema::Uniqueness;
use portcullis_scim::{Resource, ResourceKind, ScimError};
use portcullis_store::{DirectoryPerson, Origin};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::carry_out::{PIECE, StepRoad, TOLD};
use super::{ImportedBy, hash_file, now, refused, shown_name};
use crate::log::error_chain;
use crate::operator::Operator;
use crate::order_error::OrderError;
use crate::person::People;
use crate::revocation::{LEAVE, NotDone};

/// An order to import a mapping sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingOrder {
    /// Columns that are passed over.
    pub(crate) ignored: Vec<String>,
    /// Nothing is written.
    pub(crate) dry_run: bool,
}

/// The end of an import of a mapping sheet, as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MappingReport {
    /// Of the file, in hexadecimal digits.
    pub(crate) sha256: String,
    /// The rows of the sheet.
    pub(crate) rows: usize,
    /// People whose values were changed and committed; in a dry run, those whose would be.
    pub(crate) changed: usize,
    /// People who lost a value that goes to somebody else, and have not got theirs: an import that ended early.
    pub(crate) without: usize,
    /// A dry run's changes, a line each.
    pub(crate) changes: Vec<String>,
    /// Rows that name nobody who is there, a line each.
    pub(crate) unknown: Vec<String>,
    /// The names of active people whom no row names.
    pub(crate) unnamed: Vec<String>,
    /// The number of people whose values the directory refused.
    pub(crate) refusals: usize,
    /// The first twenty of these in words.
    pub(crate) refused: Vec<String>,
    /// The fault that ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

impl MappingReport {
    /// Tells whether the directory now says what the sheet says of those who are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.fault.is_none() && self.refusals == 0
    }

    /// The last line.
    pub(crate) fn summary(&self, is_dry: bool) -> String {
        let Self { rows, changed, refusals, without, sha256, .. } = self;
        let (unknown, unnamed) = (self.unknown.len(), self.unnamed.len());
        let mut text = String::new();
        if is_dry {
            text.push_str("A dry run, and nothing was changed. It would be: ");
        }
        let _ = write!(
            text,
            "rows in the sheet: {rows}; people changed: {changed}; rows that name nobody: {unknown}; active people not named: {unnamed}"
        );
        if *refusals > 0 {
            let _ = write!(text, "; refused: {refusals}");
        }
        if *without > 0 {
            let _ = write!(text, "; without a value until it is imported again: {without}");
        }
        let _ = write!(text, ". SHA-256 {sha256}");
        text
    }
}

impl Operator {
    /// Imports a mapping sheet.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where the sheet has problems, or there is no attribute that one gives; nothing was changed
    /// then. What a sheet that was begun came to is in the report.
    pub(crate) async fn import_mapping(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        order: MappingOrder,
    ) -> Result<MappingReport, OrderError> {
        let attributes = self.mapped_attributes()?;
        let declared = self.store.schemas().read_only_attributes();
        let Ok(_turn) = self.imports.try_lock() else { return Err(super::another_is_imported()) };
        if !self.serves && !order.dry_run {
            // A start does the same before anything is written by another declaration.
            self.store.settle_search(|_| ()).await.map_err(OrderError::Store)?;
        }
        let people = self.store.directory_people(OrgId::ONLY, DirectoryId::ONLY);
        let people = people.await.map_err(OrderError::Store)?;
        let planning = tokio::task::spawn_blocking(move || {
            let hash = hash_file(bytes.as_ref());
            let known: Vec<MappedPerson> = people.iter().map(mapped_person).collect();
            let accepts = |attribute: &MappedAttribute, value: &str| {
                let path = declared.iter().find(|path| path.as_str() == attribute.path);
                let mut nobody = Resource::empty(ResourceKind::User);
                path.map_or(Ok(()), |path| nobody.set_read_only(path, Some(value)))
                    .map_err(|error| error.to_string())
            };
            let planned = read_mapping(bytes.as_ref(), &attributes, &order.ignored, accepts)
                .and_then(|sheet| Ok((sheet.rows.len(), plan_mapping(&sheet, &attributes, &known)?)));
            (hash, people, planned.map_err(|problems| problems.to_string()))
        });
        let (sha256, people, planned) =
            planning.await.map_err(|error| OrderError::Failed(error.to_string()))?;
        let by = ImportedBy::Operator;
        let road = StepRoad { operator: self, origin: Origin::of_actor(by.actor()) };
        let (rows, plan) = match planned {
            Ok(planned) => planned,
            Err(problems) => {
                if !order.dry_run {
                    road.note("refused", json!({ "sha256": sha256, "map": true, "why": "problems" })).await?;
                }
                return Err(refused(&problems));
            }
        };
        let mut report = MappingReport { sha256, rows, ..MappingReport::default() };
        report.unknown =
            plan.unknown.iter().map(|(line, name)| format!("line {line}: {}", shown(name))).collect();
        report.unnamed = plan.unnamed.iter().map(|nth| shown_name(&people[*nth].known.user_name)).collect();
        if order.dry_run {
            report.changed = plan.sets.len();
            report.changes = plan.sets.iter().map(ToString::to_string).collect();
            return Ok(report);
        }
        road.carry_out_mapping(&people, &plan, &mut report).await;
        let outcome = if report.is_whole() { "done" } else { "unfinished" };
        let MappingReport { sha256, changed, refusals, without, .. } = &report;
        let (unknown, unnamed) = (report.unknown.len(), report.unnamed.len());
        let detail = json!({
            "sha256": sha256, "map": true, "rows": rows, "changed": changed, "unknown": unknown,
            "unnamed": unnamed, "refused": refusals, "without": without,
        });
        let noted = road.note(outcome, detail).await;
        tracing::info!(
            by = by.log_word(),
            sha256,
            rows,
            changed,
            unknown,
            unnamed,
            refused = refusals,
            fault = report.fault,
            "a mapping sheet was imported"
        );
        if let Err(error) = noted {
            report.fault.get_or_insert(error_chain(&error).to_string());
        }
        Ok(report)
    }

    /// The attributes that a sheet may give.
    fn mapped_attributes(&self) -> Result<Vec<MappedAttribute>, OrderError> {
        if self.terms.people == Some(People::Login) {
            return Err(refused(
                "with provisioning: none there is no directory whose people a sheet could name",
            ));
        }
        let declared = self.store.schemas().read_only_attributes();
        if declared.is_empty() {
            return Err(refused(
                "no attribute is declared that a sheet gives. Declare one below scim.extensions (provisioning: scim), for \
                 example appUserName: { type: string, mutability: readOnly, unique: true }, and restart. Where no program runs, name \
                 the configuration with -c FILE",
            ));
        }
        let mapped = |path: &portcullis_scim::schema::AttributePath| MappedAttribute {
            path: path.to_string(),
            unique: path.leaf().uniqueness == Uniqueness::Server,
            case_exact: path.leaf().case_exact,
        };
        Ok(declared.iter().map(mapped).collect())
    }
}

fn mapped_person(person: &DirectoryPerson) -> MappedPerson {
    let known = &person.known;
    MappedPerson {
        user_name: known.user_name.clone(),
        external_id: known.external_id.clone(),
        email: known.email.clone(),
        active: known.active,
        values: person.read_only.clone(),
    }
}

impl StepRoad<'_> {
    /// Carries out the plan, piece by piece, and tells in the report what was done.
    async fn carry_out_mapping(
        &self,
        people: &[DirectoryPerson],
        plan: &MappingPlan,
        report: &mut MappingReport,
    ) {
        let mut cleared = HashSet::new();
        let clears = plan.clears.chunks(PIECE).map(|piece| (piece, true));
        for (piece, clears) in clears.chain(plan.sets.chunks(PIECE).map(|piece| (piece, false))) {
            let steps = piece.iter().map(|step| async move { (step, self.map_person(people, step).await) });
            for (step, done) in join_all(steps).await {
                match done {
                    Ok(Ok(())) if clears => drop(cleared.insert(step.known)),
                    Ok(Ok(())) => {
                        report.changed += 1;
                        cleared.remove(&step.known);
                    }
                    Ok(Err(refusal)) => {
                        report.refusals += 1;
                        if report.refused.len() < TOLD {
                            report.refused.push(format!("{}: {refusal}", shown_name(&step.user_name)));
                        }
                    }
                    Err(fault) => drop(report.fault.get_or_insert(fault)),
                }
            }
            report.without = cleared.len();
            if report.fault.is_some() {
                return;
            }
        }
    }

    /// One step, committed and enforced.
    async fn map_person(
        &self,
        people: &[DirectoryPerson],
        step: &MappingStep,
    ) -> Result<Result<(), ScimError>, String> {
        let (store, origin) = (Arc::clone(&self.operator.store), self.origin.clone());
        let (id, step) = (people[step.known].id.clone(), step.clone());
        let writing = async move {
            store.apply_mapping(OrgId::ONLY, DirectoryId::ONLY, id, step, &origin, now()).await
        };
        match self.operator.revocation.carry_out(writing, LEAVE).wait_done().await {
            Ok(enforced) => Ok(enforced.value),
            Err(NotDone::NotGone(error)) => Err(error.to_string()),
            Err(NotDone::Write(error)) => Err(error_chain(&error).to_string()),
            Err(NotDone::Panicked(why)) => Err(why),
        }
    }
}
