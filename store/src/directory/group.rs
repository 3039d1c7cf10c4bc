//! Writing groups. Who is in them, directly or through other groups, may get or lose roles, so they are reconsidered;
//! roles are bound to names, so a new name concerns everybody in the group.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_policy::ResourceId;
use portcullis_scim::{
    Act, MemberChanges, Outcome, Patch, Resource, ResourceKind, ResourceRecord, Schemas, ScimError, ScimType,
    Version, Write,
};
use portcullis_session::Committed;
use serde_json::json;

use super::{DirectoryWrite, ScimAnswer, changed_attributes, check_precondition};
use crate::engine::Tx;
use crate::log::{RECONSIDERED_SINGLY, TxLog, commit_unchanged};
use crate::member::InGroup;
use crate::resource::{self, ResourceRow};
use crate::{StoreError, member};

const GROUP: ResourceKind = ResourceKind::Group;

/// The plan of a change of a group, as of one version of it.
#[derive(Debug)]
pub(super) struct Plan {
    version: Version,
    /// Without members.
    after: Resource,
    /// As it is answered: with all of them, unless nobody wants to see them.
    whole: Resource,
    added: Vec<InGroup>,
    removed: Vec<i64>,
}

/// The end of a write of a group within its transaction.
#[allow(clippy::large_enum_variant, reason = "one at a time, and at once taken apart")]
pub(super) enum GroupWrite {
    Done(Committed<ScimAnswer>),
    /// The group is no longer what the plan was made for, and nothing was written.
    Stale,
}

impl DirectoryWrite<'_> {
    /// POST.
    pub(super) async fn create_group(
        &self,
        tx: &mut Tx,
        resource: &Resource,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let mut resource = resource.clone();
        let ids = resource.take_members();
        if let Some(refusal) = self.check_name_free(tx, &resource, None).await? {
            return commit_unchanged(tx, Err(refusal)).await;
        }
        let members = match self.find_members(tx, &ids, Vec::new()).await? {
            Ok(members) => members,
            Err(refusal) => return commit_unchanged(tx, Err(refusal)).await,
        };
        let stored = self.insert_resource(tx, resource).await?;
        let rids: Vec<i64> = members.iter().map(|member| member.rid).collect();
        member::add_members(tx, self.place, stored.rid, &rids).await?;
        let mut log = self.open_log();
        log.did("group.created", stored.id.as_str(), None, json!({ "members": rids.len() }));
        self.reconsider_below(tx, &mut log, &rids).await?;
        log.seal(tx, Ok(Outcome::Created(record_with_members(stored, members)))).await
    }

    /// PUT and PATCH. `plan` was made before the writer was taken. Where the group has changed since, or there is none,
    /// it is made here, or with `may_wait` once more outside.
    pub(super) async fn change_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Arc<Write>,
        plan: Option<Plan>,
        may_wait: bool,
    ) -> Result<GroupWrite, StoreError> {
        let stored = resource::by_id(tx, self.place, GROUP, id).await?;
        let is_fresh =
            |plan: &Plan| stored.as_ref().is_some_and(|stored| stored.meta.version == plan.version);
        let plan = match plan.filter(is_fresh) {
            Some(plan) => Ok(plan),
            None if may_wait && stored.is_some() => return Ok(GroupWrite::Stale),
            None => self.plan_group(tx, id, write).await?,
        };
        let (plan, stored) = match (plan, stored) {
            (Ok(plan), Some(stored)) => (plan, stored),
            (Err(refusal), _) => return commit_unchanged(tx, Err(refusal)).await.map(GroupWrite::Done),
            (_, None) => return commit_unchanged(tx, Err(not_found(id))).await.map(GroupWrite::Done),
        };
        if plan.added.is_empty() && plan.removed.is_empty() && plan.after == stored.resource {
            let answer = Ok(Outcome::Changed(group_record(stored, plan.whole)));
            return commit_unchanged(tx, answer).await.map(GroupWrite::Done);
        }
        // Another name is other roles.
        let is_removal = plan.added.is_empty() && plan.after == stored.resource;
        if let (false, Err(refusal)) = (is_removal, self.scope.check_addition()) {
            return commit_unchanged(tx, Err(refusal)).await.map(GroupWrite::Done);
        }
        if let Some(refusal) = self.check_name_free(tx, &plan.after, Some(stored.rid)).await? {
            return commit_unchanged(tx, Err(refusal)).await.map(GroupWrite::Done);
        }
        // Whoever is to be added may have been removed since the plan was made.
        let added: Vec<ResourceId> = plan.added.iter().map(|added| added.member.id.clone()).collect();
        if let Err(refusal) = self.find_members(tx, &added, Vec::new()).await? {
            return commit_unchanged(tx, Err(refusal)).await.map(GroupWrite::Done);
        }
        self.update_group(tx, stored, plan).await.map(GroupWrite::Done)
    }

    /// Works out what a PUT or a PATCH will do, from any snapshot. With thousands of members this is the long part of
    /// it, so it is worked out beside the threads that serve.
    pub(super) async fn plan_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Arc<Write>,
    ) -> Result<Result<Plan, ScimError>, StoreError> {
        let Some(stored) = resource::by_id(tx, self.place, GROUP, id).await? else {
            return Ok(Err(not_found(id)));
        };
        let version = stored.meta.version;
        if let Err(refusal) = check_precondition(write, version, &[]) {
            return Ok(Err(refusal));
        }
        if self.without_members
            && let Act::Patch(_, _, patch) = &write.act
            && let Some((rest, changes)) = patch.split_members()
        {
            return self.plan_members(tx, stored, &rest, &changes).await;
        }
        let had = member::find_members(tx, self.place, &[stored.rid])
            .await?
            .remove(&stored.rid)
            .unwrap_or_default();
        let (schemas, write) = (self.schemas.clone(), write.clone());
        let wanted = compute_aside(move || {
            let before = record_with_members(stored, had.clone());
            let mut after = group_after(&schemas, &write, &before)?;
            let ids = after.take_members();
            Ok((after, ids, had))
        })
        .await?;
        let (after, ids, had) = match wanted {
            Ok(wanted) => wanted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let known: HashSet<&ResourceId> = had.iter().map(|had| &had.member.id).collect();
        let new: Vec<ResourceId> = ids.iter().filter(|id| !known.contains(id)).cloned().collect();
        drop(known);
        let found = member::find_candidates(tx, self.place, &new).await?;
        compute_aside(move || {
            let wanted: HashSet<&ResourceId> = ids.iter().collect();
            let removed =
                had.iter().filter(|had| !wanted.contains(&had.member.id)).map(|had| had.rid).collect();
            let added = found.clone();
            let members = arrange_members(&ids, had.into_iter().chain(found))?;
            let mut whole = after.clone();
            whole.set_members(members.into_iter().map(|member| member.member));
            Ok(Plan { version, after, whole, added, removed })
        })
        .await
    }

    /// The same for a PATCH that names each member by its id, where nobody wants to see the others: it costs what it names,
    /// not what the group holds.
    async fn plan_members(
        &self,
        tx: &mut Tx,
        stored: ResourceRow,
        rest: &Patch,
        changes: &MemberChanges,
    ) -> Result<Result<Plan, ScimError>, StoreError> {
        let (version, rid) = (stored.meta.version, stored.rid);
        let after = match rest.apply_to(self.schemas, &record_with_members(stored, Vec::new())) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let removed =
            member::find_listed(tx, self.place, rid, &changes.removed).await?.into_values().collect();
        let listed = member::find_listed(tx, self.place, rid, &changes.added).await?;
        let new: Vec<ResourceId> =
            changes.added.iter().filter(|id| !listed.contains_key(id)).cloned().collect();
        let added = match self.find_members(tx, &new, Vec::new()).await? {
            Ok(added) => added,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(Ok(Plan { version, whole: after.clone(), after, added, removed }))
    }

    async fn update_group(
        &self,
        tx: &mut Tx,
        mut stored: ResourceRow,
        plan: Plan,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let Plan { after, whole: answer, removed, .. } = plan;
        let added: Vec<i64> = plan.added.iter().map(|added| added.rid).collect();
        let mut log = self.open_log();
        let mut changed = changed_attributes(&stored.resource, &after);
        let mut touched: Vec<i64> = added.iter().chain(&removed).copied().collect();
        if changed.iter().any(|name| name == "displayName") {
            touched.push(stored.rid); // everybody in it, also those who leave now
        }
        self.reconsider_below(tx, &mut log, &touched).await?;
        let before = std::mem::replace(&mut stored.resource, after);
        self.update_resource(tx, Some(&before), &mut stored).await?;
        member::remove_members(tx, self.place, stored.rid, &removed).await?;
        member::add_members(tx, self.place, stored.rid, &added).await?;
        if !(added.is_empty() && removed.is_empty()) {
            changed.push("members".to_owned());
        }
        let detail = json!({ "changed": changed, "added": added.len(), "removed": removed.len() });
        log.did("group.updated", stored.id.as_str(), None, detail);
        log.seal(tx, Ok(Outcome::Changed(group_record(stored, answer)))).await
    }

    /// DELETE: for good. A group is nobody, so nothing of it has to be remembered.
    pub(super) async fn delete_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let Some(stored) = resource::by_id(tx, self.place, GROUP, id).await? else {
            return commit_unchanged(tx, Err(not_found(id))).await;
        };
        if let Err(refusal) = check_precondition(write, stored.meta.version, &[]) {
            return commit_unchanged(tx, Err(refusal)).await;
        }
        let mut log = self.open_log();
        self.reconsider_below(tx, &mut log, &[stored.rid]).await?;
        let groups = member::remove_everywhere(tx, self.place, stored.rid, self.now).await?;
        resource::delete_group(tx, self.place, stored.rid).await?;
        log.did("group.deleted", id.as_str(), None, json!({ "groups": groups }));
        log.seal(tx, Ok(Outcome::Deleted)).await
    }

    /// The members with these ids, in the order they were made: those the group `had`, and others of the directory.
    async fn find_members(
        &self,
        tx: &mut Tx,
        ids: &[ResourceId],
        had: Vec<InGroup>,
    ) -> Result<Result<Vec<InGroup>, ScimError>, StoreError> {
        let known: HashSet<&ResourceId> = had.iter().map(|had| &had.member.id).collect();
        let new: Vec<ResourceId> = ids.iter().filter(|id| !known.contains(id)).cloned().collect();
        drop(known);
        let found = member::find_candidates(tx, self.place, &new).await?;
        Ok(arrange_members(ids, had.into_iter().chain(found)))
    }

    /// Everybody at or below these rows has their groups read again.
    async fn reconsider_below(&self, tx: &mut Tx, log: &mut TxLog, rids: &[i64]) -> Result<(), StoreError> {
        log.reconsider_accounts(member::accounts_below(tx, self.place, rids, RECONSIDERED_SINGLY + 1).await?);
        Ok(())
    }
}

/// Makes the group that a PUT or a PATCH leaves, its members included.
fn group_after(schemas: &Schemas, write: &Write, before: &ResourceRecord) -> Result<Resource, ScimError> {
    match &write.act {
        Act::Replace(_, resource) => resource.replacing(schemas, &before.resource),
        Act::Patch(_, _, patch) => patch.apply_to(schemas, before),
        Act::Create(_) | Act::Delete(..) => Ok(before.resource.clone()),
    }
}

/// The members with these ids, in the order they were made.
fn arrange_members(
    ids: &[ResourceId],
    known: impl Iterator<Item = InGroup>,
) -> Result<Vec<InGroup>, ScimError> {
    let mut known: HashMap<ResourceId, InGroup> =
        known.map(|member| (member.member.id.clone(), member)).collect();
    let mut members = Vec::with_capacity(ids.len());
    for (n, id) in ids.iter().enumerate() {
        let Some(member) = known.remove(id) else {
            let detail = format!(
                "members: number {} of {} names no user or group of this directory",
                n + 1,
                ids.len()
            );
            return Err(ScimError::of_type(ScimType::InvalidValue, detail));
        };
        members.push(member);
    }
    members.sort_unstable_by_key(|member| member.rid);
    Ok(members)
}

/// Has something computed on a thread that may be busy for long.
async fn compute_aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Panicked)
}

fn group_record(stored: ResourceRow, resource: Resource) -> ResourceRecord {
    ResourceRecord { id: stored.id, resource, meta: stored.meta, groups: Vec::new() }
}

fn record_with_members(stored: ResourceRow, members: Vec<InGroup>) -> ResourceRecord {
    let mut resource = stored.resource;
    resource.set_members(members.into_iter().map(|member| member.member));
    ResourceRecord { id: stored.id, resource, meta: stored.meta, groups: Vec::new() }
}

fn not_found(id: &ResourceId) -> ScimError {
    ScimError::NotFound { kind: GROUP, id: id.clone() }
}
