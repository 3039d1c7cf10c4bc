//! The directory: SCIM users and groups, read and written. `portcullis-scim` says what a request means and what a
//! resource becomes; here is what that takes in transactions: who is touched, what it means for access, tombstones.
//!
//! The rule it protects: a write is applied whole with its event, audit and revocation, or it is refused and nothing has
//! changed; and a write that leaves its user inactive or gone always names them, changed or not (R5).

mod find;
mod group;
mod mapping;
mod roster;
mod turns;
mod unique;
mod user;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use portcullis_policy::{AccountId, DirectoryId, OrgId, ResourceId, Timestamp};
use portcullis_scim::{
    Act, Membership, Outcome, Resource, ResourceKind, ResourceRecord, Schemas, ScimError, Tag, Version, Write,
};
use portcullis_session::Committed;
use tokio::runtime::Handle;
use tokio::time::timeout;

pub use self::roster::{DirectoryPerson, StepApplied, StepRefusal};
pub(crate) use self::turns::Turns;

use self::group::{GroupWrite, Plan};
use crate::engine::Tx;
use crate::log::{Origin, TxLog, commit_unchanged};
use crate::repeats::{self, RecordedEnd, Repeat};
use crate::resource::{self, DirectoryKey, ResourceRow};
use crate::script::Script;
use crate::writer::Lane;
use crate::{Store, StoreError, account, attr, head, member};

/// The answer to the client: an outcome or a refusal of SCIM's.
pub type ScimAnswer = Result<Outcome, ScimError>;

/// The result of a write.
#[derive(Debug)]
pub struct Written {
    /// The answer to the client.
    pub answer: ScimAnswer,
    /// The number of live sessions it ended.
    pub sessions: u32,
}

/// The terms on which a write of a client is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteTerms {
    /// Only what takes away is carried out; whatever else the write would do is refused with this.
    pub otherwise: Option<ScimError>,
    /// The idempotency key it came with. Answered from the record, a group is shown without its members.
    pub repeat: Option<Repeat>,
    /// True where a group that was changed may be answered without its members.
    pub without_members: bool,
}

/// The writes of a client that are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteScope {
    /// All.
    Everything,
    /// Those that only take away: a DELETE, one after which its user is inactive, one of a group that leaves it as it was
    /// or with fewer members and nothing else changed. Whatever else is refused with this.
    Removals(ScimError),
}

impl WriteScope {
    /// Tells whether a write that does more than to take away is carried out.
    fn check_addition(&self) -> Result<(), ScimError> {
        match self {
            Self::Everything => Ok(()),
            Self::Removals(refusal) => Err(refusal.clone()),
        }
    }
}

/// The time that a group write that takes away waits for others that change the same group; then it goes beside them.
const TURN: Duration = Duration::from_millis(300);
/// The times that a plan that came too late is made anew outside the writer.
const ROUNDS: u32 = 3;

impl Store {
    /// Carries out one SCIM write. The answer is inside: also a refusal may have to be enforced before it is told,
    /// such as the 404 of a DELETE that is repeated.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn write_resource(
        &self,
        org: OrgId,
        directory: DirectoryId,
        write: &Write,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Written>, StoreError> {
        self.write_on_terms(org, directory, write, WriteTerms::default(), origin, now).await
    }

    /// The same on terms. It is asked of the writer when the future is first polled, but for changes of groups: several
    /// that are polled in some order are written in that order, as far as they go into one lane.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn write_on_terms(
        &self,
        org: OrgId,
        directory: DirectoryId,
        write: &Write,
        terms: WriteTerms,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Written>, StoreError> {
        let takes_away = write.takes_away();
        let lane = if takes_away { Lane::Removal } else { Lane::Ordinary };
        let asked = Arc::new(WriteOrder {
            scope: terms.otherwise.map_or(WriteScope::Everything, WriteScope::Removals),
            repeat: terms.repeat.filter(|repeat| repeat.covers(write)),
            without_members: terms.without_members,
            place: DirectoryKey { org, directory },
            write: Arc::new(write.clone()),
            schemas: self.schemas.clone(),
            origin: origin.clone(),
            now,
        });
        let Some(group) = asked.changed_group() else {
            return match self.write_planned(lane, &asked, None, false).await? {
                Some(committed) => Ok(committed),
                None => Err(StoreError::Panicked), // only a group is planned, so nothing else is ever stale
            };
        };
        let turn = self.turns.take_turn((org, directory, group.clone()));
        let _turn = if takes_away { timeout(TURN, turn).await.ok() } else { Some(turn.await) };
        for round in 1.. {
            let plan = match self.plan_write(&asked, group.clone(), takes_away).await {
                Some(Ok(plan)) => Some(plan),
                Some(Err(refused)) => return Ok(refused),
                None => None,
            };
            // A removal is not sent back: better a plan in the writer than a removal that waits.
            let may_wait = !takes_away && round < ROUNDS;
            if let Some(committed) = self.write_planned(lane, &asked, plan, may_wait).await? {
                return Ok(committed);
            }
        }
        Err(StoreError::Panicked) // the last round is not sent back
    }

    /// None where the plan came too late.
    async fn write_planned(
        &self,
        lane: Lane,
        asked: &Arc<WriteOrder>,
        plan: Option<Plan>,
        may_wait: bool,
    ) -> Result<Option<Committed<Written>>, StoreError> {
        let asked = asked.clone();
        self.write_in(lane, move |tx| {
            Box::pin(async move {
                if let Some(recorded) = asked.recorded_answer(tx).await? {
                    return Ok(Some(recorded));
                }
                let ended = AtomicU32::new(0);
                let turn =
                    asked.directory_write(&ended).write_resource(tx, &asked.write, plan, may_wait).await?;
                let GroupWrite::Done(committed) = turn else { return Ok(None) };
                let mut end = None;
                let committed = committed.map(|answer| {
                    end = answer.as_ref().ok().and_then(RecordedEnd::of_outcome);
                    Written { answer, sessions: ended.into_inner() }
                });
                if let (Some(repeat), Some(end)) = (&asked.repeat, end) {
                    repeats::record_end(tx, asked.place, repeat, &end, asked.now).await?;
                }
                Ok(Some(committed))
            })
        })
        .await
    }

    /// Compares a group's members with what is asked before the writer is taken, which others wait for, and on a thread
    /// of its own. `Err` is a refusal, as of a snapshot; `None` where it could not be done: the transaction finds out.
    async fn plan_write(
        &self,
        asked: &Arc<WriteOrder>,
        group: ResourceId,
        is_removal: bool,
    ) -> Option<Result<Plan, Committed<Written>>> {
        let (engine, asked, runtime) = (self.engine.clone(), asked.clone(), Handle::current());
        let planning = async move {
            let tx = if is_removal { engine.snapshot().await } else { engine.listing().await };
            let mut tx = tx.ok()?;
            if let Some(recorded) = asked.recorded_answer(&mut tx).await.ok()? {
                return Some(Err(recorded));
            }
            let ended = AtomicU32::new(0);
            match asked.directory_write(&ended).plan_group(&mut tx, &group, &asked.write).await.ok()? {
                Ok(plan) => Some(Ok(plan)),
                Err(refusal) => {
                    let refused = Written { answer: Err(refusal), sessions: 0 };
                    Some(Err(commit_unchanged(&mut tx, refused).await.ok()?))
                }
            }
        };
        tokio::task::spawn_blocking(move || runtime.block_on(planning)).await.ok()?
    }

    /// The accounts that a write on a group may concern: whoever is in the group, and whom the write names.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn concerned_accounts(
        &self,
        org: OrgId,
        directory: DirectoryId,
        write: &Write,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut ids = write.members();
        ids.extend(write.id().cloned());
        let mut tx = self.engine.snapshot().await?;
        member::accounts_around(&mut tx, DirectoryKey { org, directory }, &ids).await
    }
}

/// One write as it was asked for, for the threads and transactions it goes through.
struct WriteOrder {
    scope: WriteScope,
    repeat: Option<Repeat>,
    without_members: bool,
    place: DirectoryKey,
    write: Arc<Write>,
    schemas: Arc<Schemas>,
    origin: Origin,
    now: Timestamp,
}

impl WriteOrder {
    fn directory_write<'a>(&'a self, ended: &'a AtomicU32) -> DirectoryWrite<'a> {
        let Self { scope, place, schemas, origin, now, without_members, .. } = self;
        let (place, now, without_members) = (*place, *now, *without_members);
        DirectoryWrite { scope, place, schemas, origin, now, ended, without_members }
    }

    /// The answer to an operation that was carried out before and left its resource as it is now.
    async fn recorded_answer(&self, tx: &mut Tx) -> Result<Option<Committed<Written>>, StoreError> {
        let Some(repeat) = &self.repeat else { return Ok(None) };
        let Some(end) = repeats::find_end(tx, self.place, repeat, self.now).await? else { return Ok(None) };
        let ended = AtomicU32::new(0);
        let Some(record) = self.directory_write(&ended).find_record(tx, end.kind, &end.id).await? else {
            return Ok(None);
        };
        if record.meta.version != end.version {
            return Ok(None);
        }
        let answer = Ok(if end.made { Outcome::Created(record) } else { Outcome::Changed(record) });
        commit_unchanged(tx, Written { answer, sessions: 0 }).await.map(Some)
    }

    /// The group whose members are compared.
    fn changed_group(&self) -> Option<ResourceId> {
        match (self.write.kind(), &self.write.act) {
            (ResourceKind::Group, Act::Replace(id, _) | Act::Patch(_, id, _)) => Some(id.clone()),
            _ => None,
        }
    }
}

/// One write under way.
#[derive(Clone, Copy)]
pub(crate) struct DirectoryWrite<'a> {
    /// The writes that are carried out.
    pub(crate) scope: &'a WriteScope,
    pub(crate) place: DirectoryKey,
    pub(crate) schemas: &'a Arc<Schemas>,
    pub(crate) origin: &'a Origin,
    pub(crate) now: Timestamp,
    /// The number of live sessions it ends.
    pub(crate) ended: &'a AtomicU32,
    /// True where a group that was changed may be answered without its members.
    pub(crate) without_members: bool,
}

impl<'a> DirectoryWrite<'a> {
    /// A write that nobody bounds: an operator's, or a file's.
    pub(crate) fn of_operator(
        place: DirectoryKey,
        schemas: &'a Arc<Schemas>,
        origin: &'a Origin,
        now: Timestamp,
        ended: &'a AtomicU32,
    ) -> Self {
        Self { scope: &WriteScope::Everything, place, schemas, origin, now, ended, without_members: false }
    }
}

impl DirectoryWrite<'_> {
    async fn write_resource(
        &self,
        tx: &mut Tx,
        write: &Arc<Write>,
        plan: Option<Plan>,
        may_wait: bool,
    ) -> Result<GroupWrite, StoreError> {
        use ResourceKind::{Group, User};
        if let (Act::Create(_), Err(refusal)) = (&write.act, self.scope.check_addition()) {
            return commit_unchanged(tx, Err(refusal)).await.map(GroupWrite::Done);
        }
        let committed = match (write.kind(), &write.act) {
            (User, Act::Create(resource)) => self.create_user(tx, resource).await?,
            (Group, Act::Create(resource)) => self.create_group(tx, resource).await?,
            (User, Act::Delete(_, id)) => self.delete_user(tx, id, write).await?,
            (Group, Act::Delete(_, id)) => self.delete_group(tx, id, write).await?,
            (User, Act::Replace(id, _) | Act::Patch(_, id, _)) => self.change_user(tx, id, write).await?,
            (Group, Act::Replace(id, _) | Act::Patch(_, id, _)) => {
                return self.change_group(tx, id, write, plan, may_wait).await;
            }
        };
        Ok(GroupWrite::Done(committed))
    }

    /// A resource that is there: a user with their groups, a group without its members.
    async fn find_record(
        &self,
        tx: &mut Tx,
        kind: ResourceKind,
        id: &ResourceId,
    ) -> Result<Option<ResourceRecord>, StoreError> {
        let stored = resource::by_id(tx, self.place, kind, id).await?;
        let Some(stored) = stored.filter(|stored| stored.deleted.is_none()) else { return Ok(None) };
        self.user_record(tx, &stored).await.map(Some)
    }

    /// Inserts a resource with everything that it is found by, and a User's account.
    async fn insert_resource(&self, tx: &mut Tx, resource: Resource) -> Result<ResourceRow, StoreError> {
        let (place, now) = (self.place, self.now);
        let numbers = match resource.kind() {
            ResourceKind::User => {
                let last = head::next_rows(tx, 2).await?;
                (last - 1, Some(AccountId(last)))
            }
            ResourceKind::Group => (head::next_row(tx).await?, None),
        };
        let mut script = Script::new();
        let stored = resource::add_resource(&mut script, place, numbers, resource, now);
        if let Some(account) = stored.account {
            let (user, active) = ((place.directory, stored.rid), stored.resource.active() == Some(true));
            account::add_account(&mut script, place.org, account, Some(user), active, now);
        }
        attr::add_attributes(&mut script, place, stored.rid, self.schemas, None, &stored.resource);
        tx.run_script(script).await?;
        Ok(stored)
    }

    /// Writes down what a resource says now, and what it is found by; `None` for one that was not found before.
    async fn update_resource(
        &self,
        tx: &mut Tx,
        before: Option<&Resource>,
        stored: &mut ResourceRow,
    ) -> Result<(), StoreError> {
        let mut script = Script::new();
        resource::add_update(&mut script, self.place, stored, self.now);
        attr::add_attributes(&mut script, self.place, stored.rid, self.schemas, before, &stored.resource);
        tx.run_script(script).await.map(drop)
    }

    fn open_log(&self) -> TxLog {
        TxLog::new(self.place.org, Some(self.place.directory), self.origin, self.now)
    }

    /// The refusal where another resource has the name, or another user the `externalId`. `but` is the resource's own
    /// row number.
    async fn check_name_free(
        &self,
        tx: &mut Tx,
        resource: &Resource,
        but: Option<i64>,
    ) -> Result<Option<ScimError>, StoreError> {
        let kind = resource.kind();
        let holder = resource::name_holder(tx, self.place, resource, but).await?;
        Ok(holder.map(|(attribute, with)| ScimError::Uniqueness { kind, attribute: attribute.into(), with }))
    }
}

/// The refusal where the resource is not of a version that the write names, or its user no longer in these groups.
fn check_precondition(write: &Write, version: Version, groups: &[Membership]) -> Result<(), ScimError> {
    match &write.if_match {
        Some(condition) if !condition.admits(version, groups) => {
            let tag = Tag { version, groups: Membership::digest_groups(groups) };
            Err(ScimError::PreconditionFailed { version: tag.to_string() })
        }
        _ => Ok(()),
    }
}

/// The names of the attributes that differ; values stay out of logs.
fn changed_attributes(before: &Resource, after: &Resource) -> Vec<String> {
    type Tree = serde_json::Map<String, serde_json::Value>;
    let tree = |resource: &Resource| serde_json::from_str::<Tree>(&resource.to_json()).unwrap_or_default();
    let (before, after) = (tree(before), tree(after));
    let mut names: Vec<String> = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)))
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use portcullis_keys::{Keyring, Random};
    use portcullis_scim::ScimRequest;

    use super::*;

    /// A request as a client sends it, for the first directory.
    fn order(store: &Store, method: &str, path: &str, body: &str) -> Arc<WriteOrder> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/scim+json");
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let Ok(ScimRequest::Write(write)) = portcullis_scim::read_request(&store.schemas, &request) else {
            panic!("{method} {path} is no write")
        };
        Arc::new(WriteOrder {
            scope: WriteScope::Everything,
            repeat: None,
            without_members: false,
            place: DirectoryKey { org: OrgId::ONLY, directory: DirectoryId::ONLY },
            write: Arc::new(write),
            schemas: store.schemas.clone(),
            origin: Origin::of_actor("scim:test"),
            now: Timestamp(1_800_000_000_000),
        })
    }

    async fn create(store: &Store, path: &str, body: &str) -> ResourceId {
        let asked = order(store, "POST", path, body);
        let written = store.write_planned(Lane::Ordinary, &asked, None, false).await.unwrap().unwrap();
        let mut id = None;
        drop(written.map(|written| match written.answer {
            Ok(Outcome::Created(record)) => id = Some(record.id),
            other => panic!("{other:?}"),
        }));
        id.unwrap()
    }

    /// Those of one group change it one after another, so the moment is made here: both are planned before either is written.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_plan_of_another_version_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let store = Store::open(&path, Arc::new(Schemas::core_schemas())).await.unwrap();
        let keys = Keyring::from_master(&[7; 32]);
        store.use_keys(&keys, &mut Random::from_seed(1), Timestamp(1_800_000_000_000)).await.unwrap();
        let user = "urn:ietf:params:scim:schemas:core:2.0:User";
        let alice =
            create(&store, "/Users", &format!(r#"{{"schemas":["{user}"],"userName":"alice"}}"#)).await;
        let bob = create(&store, "/Users", &format!(r#"{{"schemas":["{user}"],"userName":"bob"}}"#)).await;
        let whole = |members: &str| {
            let schema = "urn:ietf:params:scim:schemas:core:2.0:Group";
            format!(r#"{{"schemas":["{schema}"],"displayName":"crew","members":[{members}]}}"#)
        };
        let crew = create(&store, "/Groups", &whole("")).await;
        let only = |member: &ResourceId| {
            let body = whole(&format!(r#"{{"value":"{}"}}"#, member.as_str()));
            order(&store, "PUT", &format!("/Groups/{}", crew.as_str()), &body)
        };
        for (may_wait, is_sent_back) in [(true, true), (false, false)] {
            let (first, later) = (only(&alice), only(&bob));
            let plan = async |asked| match store.plan_write(asked, crew.clone(), false).await {
                Some(Ok(plan)) => plan,
                _ => panic!("no plan"),
            };
            let (first_plan, later_plan) = (plan(&first).await, plan(&later).await);
            let done = store.write_planned(Lane::Ordinary, &first, Some(first_plan), true).await.unwrap();
            assert!(done.is_some(), "the first plan is of the version that is there");
            let done = store.write_planned(Lane::Ordinary, &later, Some(later_plan), may_wait).await.unwrap();
            assert_eq!(done.is_none(), is_sent_back);
        }
        let mut tx = store.engine.snapshot().await.unwrap();
        let place = DirectoryKey { org: OrgId::ONLY, directory: DirectoryId::ONLY };
        let group = resource::by_id(&mut tx, place, ResourceKind::Group, &crew).await.unwrap().unwrap();
        let sql = "select count(*) from member where organization = $1 and directory = $2 and team = $3";
        let args = [place.org.into(), place.directory.into(), group.rid.into()];
        let members = tx.one(sql, &args).await.unwrap().int(0).unwrap();
        assert_eq!(members, 1, "the later one counts, whole");
    }
}
