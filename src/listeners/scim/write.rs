//! Writes of a SCIM client on the one road (R5): committed, enforced, answered; and what happens where that takes too long.
//!
//! Taking away never waits for the disk (R6): where a removal cannot be committed within a second of its turn, the person is
//! put on hold, out at once, until a later write on that user commits. Other writes wait: an answer that said "repeat" while
//! the write goes on would make the repeat a conflict.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portcullis_policy::{Change, DirectoryId, OrgId, ResourceId, Timestamp};
use portcullis_scim::{Act, Outcome, ResourceKind, ScimError, Write};
use portcullis_session::{DirectoryUser, HoldMark, HoldOn};
use portcullis_store::{Repeat, ScimAnswer, StoreError, WriteTerms, Written};

use super::{Caller, ScimListener};
use crate::log::error_chain;
use crate::revocation::{Enforced, LEAVE, NotDone, Underway};

/// The time after which a removal that was read and is not committed puts the person on hold.
const COMMIT: Duration = Duration::from_secs(1);
/// The time to find out whom a late group write concerns; then everybody is read again.
const CONCERNED: Duration = Duration::from_millis(250);
/// The time that what a POST cuts may take to leave: its repeat would be a conflict, so it had better be late.
const CREATED: Duration = Duration::from_secs(30);
/// The seconds a client is told to wait before it repeats.
pub(super) const REPEAT: u32 = 2;

impl ScimListener {
    /// Carries out writes in this order, together: they share commits where they can. Each is committed, enforced and
    /// answered as it would be alone, a group with its members where they are shown. `received` is when their turn came.
    pub(super) async fn carry_out_writes(
        self: &Arc<Self>,
        writes: Vec<(Write, Option<Repeat>)>,
        caller: &Caller,
        received: Instant,
        shows_members: bool,
    ) -> Vec<ScimAnswer> {
        // Taken before any transaction begins.
        let began = self.core.sessions.hold_mark();
        let (org, directory) = (caller.admitted.org, caller.admitted.directory);
        let (mut tasks, mut writing) = (Vec::with_capacity(writes.len()), Vec::with_capacity(writes.len()));
        for (write, repeat) in writes {
            let task =
                WriteTask { org, directory, write: Arc::new(write), caller: caller.clone(), began, received };
            let (store, write, origin) = (self.core.store.clone(), task.write.clone(), caller.origin());
            let patience = if matches!(write.act, Act::Create(_)) { CREATED } else { LEAVE };
            let terms = WriteTerms {
                otherwise: task.refusal_of_additions(),
                repeat,
                without_members: !shows_members,
            };
            let write = async move {
                store.write_on_terms(org, directory, &write, terms, &origin, Timestamp::now()).await
            };
            writing.push((write, patience));
            tasks.push(task);
        }
        let underway = self.core.revocation.carry_out_all(writing);
        let followed = tasks.into_iter().zip(underway);
        join_all(followed.map(|(task, underway)| self.clone().follow_write(underway, task))).await
    }

    /// Waits for one write: what takes away is answered after a second, whether or not it is settled.
    async fn follow_write(
        self: Arc<Self>,
        mut underway: Underway<Written, StoreError>,
        task: WriteTask,
    ) -> ScimAnswer {
        let removes = task.write.deprovisions().map(|id| (task.directory, id.clone()));
        let takes_away = task.write.takes_away();
        let late = COMMIT.saturating_sub(task.received.elapsed());
        if takes_away && tokio::time::timeout(late, underway.wait_settled()).await.is_err() {
            let held = match &removes {
                Some(subject) => Some((
                    subject.clone(),
                    self.core.revocation.hold_person(subject, "it has not committed within 1 s").await,
                )),
                None => None,
            };
            if held.is_none() {
                self.doubt_concerned(&task).await;
            }
            // It may still commit: then it is enforced, and its own hold ends.
            tokio::spawn(self.clone().follow_late_write(underway, task, held));
            return Err(ScimError::Unavailable { retry_after: REPEAT });
        }
        let error = match underway.wait_done().await {
            Ok(enforced) => return self.settle_write(enforced, &task),
            Err(NotDone::NotGone(_)) => return Err(ScimError::Unavailable { retry_after: REPEAT }),
            Err(NotDone::Write(error)) => error,
            Err(NotDone::Panicked(_)) => StoreError::Panicked,
        };
        if matches!(error, StoreError::Closed) && self.core.turn.is_elsewhere() {
            // It came while another process took over, and was too slow for both: nothing of it holds here alone.
            tracing::warn!(
                request = %task.caller.request,
                "a SCIM write was overtaken by an upgrade: its client is told to repeat it"
            );
            return Err(ScimError::Unavailable { retry_after: REPEAT });
        }
        match &removes {
            Some(subject) => drop(self.core.revocation.hold_person(subject, &error.to_string()).await),
            None if takes_away => self.doubt_concerned(&task).await,
            None => {}
        }
        Err(log_fault(&error, task.write.id(), &task.caller))
    }

    /// The answer, a refusal included: nobody is left whom the write forbids.
    fn settle_write(&self, enforced: Enforced<Written>, task: &WriteTask) -> ScimAnswer {
        let Enforced { value: Written { answer, sessions }, exchanges, takes_away, is_change } = enforced;
        // A refusal that found nothing to say of the user has not settled what the hold stands for.
        if let Some(user) = task.user().filter(|_| is_change || answer.is_ok()) {
            self.core.sessions.end_hold(&HoldOn::User(user), task.began);
        }
        if takes_away {
            self.core.metrics.count_revoked(task.received.elapsed());
        }
        if let Ok(outcome) = &answer {
            task.log_outcome(outcome, sessions, exchanges);
        }
        answer
    }

    /// A group write that takes away is in doubt: the roles of whoever it may concern are read again before they are
    /// served on them. Everybody's only where it cannot be said who that is.
    async fn doubt_concerned(&self, task: &WriteTask) {
        let WriteTask { org, directory, write, .. } = task;
        let concerned = self.core.store.concerned_accounts(*org, *directory, write);
        let changes = match tokio::time::timeout(CONCERNED, concerned).await {
            Ok(Ok(accounts)) => accounts.into_iter().map(Change::Reconsider).collect(),
            Ok(Err(_)) | Err(_) => vec![Change::ReconsiderAll(*org)],
        };
        tracing::error!(
            group = write.id().map(|id| id.as_str()),
            accounts =
                if matches!(*changes, [Change::ReconsiderAll(_)]) { None } else { Some(changes.len()) },
            "a group write could not be stored in time: the accounts it concerns are read again, all of the organization where their number is missing here"
        );
        drop(self.core.sessions.apply_changes(&changes));
    }

    /// Waits for a transaction that was late, and for its enforcement if it commits.
    async fn follow_late_write(
        self: Arc<Self>,
        underway: Underway<Written, StoreError>,
        task: WriteTask,
        held: Option<(DirectoryUser, HoldMark)>,
    ) {
        match underway.wait_done().await.map(|enforced| self.settle_write(enforced, &task)) {
            done @ (Ok(_) | Err(NotDone::NotGone(_))) => {
                if let (Some((subject, mark)), Ok(Ok(_))) = (held, &done) {
                    self.core.sessions.end_hold(&HoldOn::User(subject), mark);
                }
                tracing::warn!(
                    enforced = done.is_ok(), id = task.write.id().map(ResourceId::as_str), request = %task.caller.request,
                    "a late SCIM write was committed after its client was told to repeat it"
                );
            }
            Err(error) => tracing::error!(
                %error, id = task.write.id().map(ResourceId::as_str), request = %task.caller.request,
                "a late SCIM write has failed"
            ),
        }
    }
}

pub(super) fn log_fault(error: &StoreError, id: Option<&ResourceId>, caller: &Caller) -> ScimError {
    let Caller { actor, client, request, .. } = caller;
    let (id, client) = (id.map(ResourceId::as_str), client.as_deref());
    tracing::error!(
        error = %error_chain(error), id, %actor, client, %request,
        "the store failed a SCIM request: the client is told to repeat it"
    );
    ScimError::Unavailable { retry_after: REPEAT }
}

/// One write under way: what was asked, by whom, and when.
struct WriteTask {
    org: OrgId,
    directory: DirectoryId,
    write: Arc<Write>,
    caller: Caller,
    began: HoldMark,
    received: Instant,
}

impl WriteTask {
    /// The user it is about.
    fn user(&self) -> Option<DirectoryUser> {
        let id = self.write.id().filter(|_| self.write.kind() == ResourceKind::User)?;
        Some((self.directory, id.clone()))
    }

    /// The answer to whatever does more than to take away, where the token has expired: a person should hear of each.
    fn refusal_of_additions(&self) -> Option<ScimError> {
        let refusal = self.caller.admitted.refusal_of_additions()?;
        let Caller { actor, client, request, .. } = &self.caller;
        tracing::warn!(
            %actor, client = client.as_deref(), %request, id = self.write.id().map(ResourceId::as_str),
            "an expired SCIM token writes: only what takes access away is carried out. Enter a new one at the identity provider: portcullis token rotate"
        );
        Some(ScimError::Unauthorized(refusal))
    }

    /// Says what came about. Names stay out of the log: an id leads to them.
    fn log_outcome(&self, outcome: &Outcome, sessions: u32, exchanges: usize) {
        let Caller { actor, client, request, .. } = &self.caller;
        let client = client.as_deref();
        let ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        let kind = self.write.kind();
        let id = match outcome {
            Outcome::Created(record) | Outcome::Changed(record) => Some(&record.id),
            _ => self.write.id(),
        };
        let (id, what) = (id.map(|id| id.as_str()), kind.name());
        match (outcome, kind) {
            (Outcome::Created(_), _) => {
                tracing::info!(id, %actor, client, %request, ms, "SCIM: a {what} was created");
            }
            (Outcome::Deleted, ResourceKind::User) => tracing::info!(
                id, sessions, exchanges, ms, %actor, client, %request,
                "SCIM: a User was removed and is out: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
            ),
            (Outcome::Deleted, ResourceKind::Group) => {
                tracing::info!(id, exchanges, ms, %actor, client, %request, "SCIM: a Group was removed");
            }
            (Outcome::Changed(record), ResourceKind::User) if record.resource.active() != Some(true) => {
                tracing::info!(
                    id, sessions, exchanges, ms, %actor, client, %request,
                    "SCIM: a User is inactive and out: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
                );
            }
            (Outcome::Changed(_), _) if sessions > 0 || exchanges > 0 => tracing::info!(
                id, sessions, exchanges, ms, %actor, client, %request,
                "SCIM: a {what} was changed: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
            ),
            _ => tracing::debug!(id, ms, %actor, client, %request, "SCIM: a {what} was written"),
        }
    }
}
