//! The steps of a plan, down the one road: a few people at a time, what takes away first.
//!
//! Taking away never waits for the disk (R6): whose removal has not committed within a second is on hold, out at once,
//! until a later write on them commits. The import goes on waiting, and stops at the first step that fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_policy::{Change, DirectoryId, OrgId, ResourceId};
use portcullis_roster::{RosterPlan, RosterStep, StepKind};
use portcullis_session::{DirectoryUser, HoldMark, HoldOn, Sessions};
use portcullis_store::{DirectoryPerson, Origin, StepApplied, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::{ImportReport, now, shown_name};
use crate::log::error_chain;
use crate::operator::Operator;
use crate::order_error::OrderError;
use crate::revocation::{Enforced, LEAVE, NotDone};

/// The number of people whose steps are under way at a time: a piece. It is committed and enforced before the next.
pub(super) const PIECE: usize = 16;
/// The time after which a removal that is not committed puts the person on hold.
const COMMIT: Duration = Duration::from_secs(1);
/// As many refusals are told in words.
pub(super) const TOLD: usize = 20;

/// The steps that were committed and enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) created: usize,
    pub(crate) changed: usize,
    pub(crate) deactivated: usize,
    pub(crate) reactivated: usize,
    /// Live sessions that ended.
    pub(crate) sessions: u32,
    /// Steps that the directory refused.
    pub(crate) refused: usize,
}

impl Applied {
    pub(super) fn count_step(&mut self, kind: StepKind, sessions: u32) {
        self.sessions += sessions;
        *match kind {
            StepKind::Create => &mut self.created,
            StepKind::Change => &mut self.changed,
            StepKind::Deactivate => &mut self.deactivated,
            StepKind::Reactivate => &mut self.reactivated,
        } += 1;
    }
}

/// The road of one import's steps.
pub(super) struct StepRoad<'a> {
    pub(super) operator: &'a Operator,
    pub(super) origin: Origin,
}

/// Reasons why a step was not carried out to its end.
enum StepFault {
    /// It stands, and somebody it put out has not gone yet.
    NotGone(String),
    /// Nothing is certain.
    Store(String),
}

impl StepRoad<'_> {
    /// Writes down what became of a file.
    pub(super) async fn note(&self, outcome: &'static str, detail: Value) -> Result<(), OrderError> {
        let (store, origin) = (self.operator.store.clone(), self.origin.clone());
        let noting = async move {
            store.note_import(OrgId::ONLY, DirectoryId::ONLY, outcome, detail, &origin, now()).await
        };
        match self.operator.revocation.carry_out(noting, LEAVE).wait_done().await {
            Ok(_) => Ok(()),
            Err(NotDone::Write(error)) => Err(OrderError::Store(error)),
            Err(NotDone::NotGone(error)) => Err(error.into()),
            Err(NotDone::Panicked(why)) => Err(OrderError::Failed(why)),
        }
    }

    /// Waits for whoever an earlier import put out and had not seen leave.
    pub(super) async fn settle_earlier(&self, unsettled: &mut Vec<ResourceId>) -> Result<(), OrderError> {
        while let Some(id) = unsettled.last().cloned() {
            let step = RosterStep {
                line: None,
                known: None,
                user_name: String::new(),
                changes: Vec::new(),
                active: None,
                joins: Vec::new(),
                leaves: Vec::new(),
                puts_out: true,
            };
            // It changes nothing; the store names whoever is out all the same.
            match self.write_step(Some(id), step).wait_done().await {
                Ok(_) => drop(unsettled.pop()),
                Err(NotDone::NotGone(error)) => return Err(error.into()),
                Err(NotDone::Write(error)) => return Err(OrderError::Store(error)),
                Err(NotDone::Panicked(why)) => return Err(OrderError::Failed(why)),
            }
        }
        Ok(())
    }

    /// Carries out the plan, piece by piece, and tells in the report what was done.
    pub(super) async fn carry_out_plan(
        &self,
        people: &[DirectoryPerson],
        plan: &RosterPlan,
        report: &mut ImportReport,
        unsettled: &mut Vec<ResourceId>,
    ) {
        for piece in plan.removals.chunks(PIECE).chain(plan.additions.chunks(PIECE)) {
            let steps = piece.iter().map(|step| async move {
                let person = step.known.and_then(|nth| people.get(nth));
                (step, person, self.carry_out_step(step, person).await)
            });
            for (step, person, done) in join_all(steps).await {
                match done {
                    Ok(StepApplied { answer: Ok(_), sessions }) => {
                        report.applied.count_step(step.kind(), sessions)
                    }
                    Ok(StepApplied { answer: Err(refusal), .. }) => {
                        report.applied.refused += 1;
                        if report.refused.len() < TOLD {
                            report.refused.push(format!("{}: {refusal}", shown_name(&step.user_name)));
                        }
                    }
                    Err(StepFault::NotGone(why)) => {
                        unsettled.extend(person.map(|person| person.id.clone()));
                        report.fault.get_or_insert(why);
                    }
                    Err(StepFault::Store(why)) => drop(report.fault.get_or_insert(why)),
                }
            }
            if report.fault.is_some() {
                return;
            }
        }
    }

    fn sessions(&self) -> &Sessions {
        self.operator.revocation.sessions()
    }

    fn write_step(
        &self,
        id: Option<ResourceId>,
        step: RosterStep,
    ) -> crate::revocation::Underway<StepApplied, StoreError> {
        let (store, origin) = (Arc::clone(&self.operator.store), self.origin.clone());
        let writing = async move {
            store.apply_roster_step(OrgId::ONLY, DirectoryId::ONLY, id, step, &origin, now()).await
        };
        self.operator.revocation.carry_out(writing, LEAVE)
    }

    /// One step, committed and enforced.
    async fn carry_out_step(
        &self,
        step: &RosterStep,
        person: Option<&DirectoryPerson>,
    ) -> Result<StepApplied, StepFault> {
        // Only a hold that was set before the transaction began ends with it.
        let mut mark = self.sessions().hold_mark();
        let mut underway = self.write_step(person.map(|person| person.id.clone()), step.clone());
        let loses = person.filter(|_| self.operator.serves && step.takes_away());
        if let Some(person) = loses
            && timeout(COMMIT, underway.wait_settled()).await.is_err()
        {
            mark = self.doubt_person(step, person, "it has not committed within 1 s").await.unwrap_or(mark);
        }
        let error = match underway.wait_done().await {
            Ok(Enforced { value, .. }) => {
                if let (Some(person), Ok(_)) = (person, &value.answer) {
                    self.sessions().end_hold(&HoldOn::User(directory_user(person)), mark);
                }
                return Ok(value);
            }
            Err(NotDone::NotGone(error)) => return Err(StepFault::NotGone(error.to_string())),
            Err(NotDone::Write(error)) => error,
            Err(NotDone::Panicked(_)) => StoreError::Panicked,
        };
        let why = error_chain(&error).to_string();
        if let Some(person) = loses {
            self.doubt_person(step, person, &why).await;
        }
        Err(StepFault::Store(why))
    }

    /// Takes somebody out whose removal is not stored; of whoever only loses a group, the groups are read again before
    /// anything is served on them (R6).
    async fn doubt_person(&self, step: &RosterStep, person: &DirectoryPerson, why: &str) -> Option<HoldMark> {
        if !step.puts_out {
            tracing::error!(user = %person.id, why, "a step of an import could not be stored in time: its person's groups are read again");
            drop(self.sessions().apply_changes(&[Change::Reconsider(person.account)]));
            return None;
        }
        Some(self.operator.revocation.hold_person(&directory_user(person), why).await)
    }
}

/// A file's word is the directory's.
fn directory_user(person: &DirectoryPerson) -> DirectoryUser {
    (DirectoryId::ONLY, person.id.clone())
}
