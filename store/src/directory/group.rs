//! Writing groups. Who is in them, directly or through other groups, may get or lose roles, so they are reconsidered;
//! roles are bound to names, so a new name concerns everybody in the group.

use std::collections::{HashMap, HashSet};

use portcullis_policy::ResourceId;
use portcullis_scim::{Act, Outcome, Record, Resource, ResourceKind, ScimError, ScimType, Version, Write};
use portcullis_session::Committed;
use serde_json::json;

use super::{Answer, Desk, changed_attributes, precondition};
use crate::engine::Tx;
use crate::log::{Log, RECONSIDERED_SINGLY, unchanged};
use crate::member::InGroup;
use crate::resource::{self, Stored};
use crate::{StoreError, attr, member};

const GROUP: ResourceKind = ResourceKind::Group;

/// What a change of a group comes to, as of one version of it.
#[derive(Debug)]
pub(super) struct Plan {
    version: Version,
    /// Without members.
    after: Resource,
    /// All of them, afterwards.
    members: Vec<InGroup>,
    added: Vec<InGroup>,
    removed: Vec<i64>,
}

impl Desk<'_> {
    /// POST.
    pub(super) async fn create_group(
        &self,
        tx: &mut Tx,
        resource: &Resource,
    ) -> Result<Committed<Answer>, StoreError> {
        let mut resource = resource.clone();
        let ids = resource.take_members();
        if let Some(refusal) = self.taken(tx, &resource, None).await? {
            return unchanged(tx, Err(refusal)).await;
        }
        let members = match self.members(tx, &ids, Vec::new()).await? {
            Ok(members) => members,
            Err(refusal) => return unchanged(tx, Err(refusal)).await,
        };
        let stored = resource::insert(tx, self.place, resource, self.now).await?;
        attr::update(tx, self.place, stored.rid, self.schemas, None, &stored.resource).await?;
        let rids: Vec<i64> = members.iter().map(|member| member.rid).collect();
        member::add(tx, self.place, stored.rid, &rids).await?;
        let mut log = self.log();
        log.did("group.created", stored.id.as_str(), None, json!({ "members": rids.len() }));
        self.reconsider(tx, &mut log, &rids).await?;
        log.seal(tx, Ok(Outcome::Created(record(stored, members)))).await
    }

    /// PUT and PATCH. `plan` was made before the writer was taken; where the group has changed since, or there is
    /// none, it is made here.
    pub(super) async fn change_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
        plan: Option<Plan>,
    ) -> Result<Committed<Answer>, StoreError> {
        let stored = resource::by_id(tx, self.place, GROUP, id).await?;
        let is_fresh =
            |plan: &Plan| stored.as_ref().is_some_and(|stored| stored.meta.version == plan.version);
        let plan = match plan.filter(is_fresh) {
            Some(plan) => Ok(plan),
            None => self.plan_group(tx, id, write).await?,
        };
        let (plan, stored) = match (plan, stored) {
            (Ok(plan), Some(stored)) => (plan, stored),
            (Err(refusal), _) => return unchanged(tx, Err(refusal)).await,
            (_, None) => return unchanged(tx, Err(not_found(id))).await,
        };
        if plan.added.is_empty() && plan.removed.is_empty() && plan.after == stored.resource {
            return unchanged(tx, Ok(Outcome::Changed(record(stored, plan.members)))).await;
        }
        if let Some(refusal) = self.taken(tx, &plan.after, Some(stored.rid)).await? {
            return unchanged(tx, Err(refusal)).await;
        }
        // Whoever is to be added may have been removed since the plan was made.
        let added: Vec<ResourceId> = plan.added.iter().map(|added| added.member.id.clone()).collect();
        if let Err(refusal) = self.members(tx, &added, Vec::new()).await? {
            return unchanged(tx, Err(refusal)).await;
        }
        self.update_group(tx, stored, plan).await
    }

    /// What a PUT or a PATCH will do, from any snapshot: with thousands of members this is the long part of it.
    pub(super) async fn plan_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Result<Plan, ScimError>, StoreError> {
        let Some(stored) = resource::by_id(tx, self.place, GROUP, id).await? else {
            return Ok(Err(not_found(id)));
        };
        let version = stored.meta.version;
        if let Err(refusal) = precondition(write, version) {
            return Ok(Err(refusal));
        }
        let had =
            member::members(tx, self.place, &[stored.rid]).await?.remove(&stored.rid).unwrap_or_default();
        let mut after = match self.group_after(write, &record(stored, had.clone())) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ids = after.take_members();
        let wanted: HashSet<&ResourceId> = ids.iter().collect();
        let removed = had.iter().filter(|had| !wanted.contains(&had.member.id)).map(|had| had.rid).collect();
        let had_rids: HashSet<i64> = had.iter().map(|had| had.rid).collect();
        let members = match self.members(tx, &ids, had).await? {
            Ok(members) => members,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let added = members.iter().filter(|member| !had_rids.contains(&member.rid)).cloned().collect();
        Ok(Ok(Plan { version, after, members, added, removed }))
    }

    async fn update_group(
        &self,
        tx: &mut Tx,
        mut stored: Stored,
        plan: Plan,
    ) -> Result<Committed<Answer>, StoreError> {
        let Plan { after, members, removed, .. } = plan;
        let added: Vec<i64> = plan.added.iter().map(|added| added.rid).collect();
        let mut log = self.log();
        let mut changed = changed_attributes(&stored.resource, &after);
        let mut touched: Vec<i64> = added.iter().chain(&removed).copied().collect();
        if changed.iter().any(|name| name == "displayName") {
            touched.push(stored.rid); // everybody in it, also those who leave now
        }
        self.reconsider(tx, &mut log, &touched).await?;
        attr::update(tx, self.place, stored.rid, self.schemas, Some(&stored.resource), &after).await?;
        stored.resource = after;
        resource::update(tx, self.place, &mut stored, self.now).await?;
        member::remove(tx, self.place, stored.rid, &removed).await?;
        member::add(tx, self.place, stored.rid, &added).await?;
        if !(added.is_empty() && removed.is_empty()) {
            changed.push("members".to_owned());
        }
        let detail = json!({ "changed": changed, "added": added.len(), "removed": removed.len() });
        log.did("group.updated", stored.id.as_str(), None, detail);
        log.seal(tx, Ok(Outcome::Changed(record(stored, members)))).await
    }

    /// DELETE: for good. A group is nobody, so nothing of it has to be remembered.
    pub(super) async fn delete_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Committed<Answer>, StoreError> {
        let Some(stored) = resource::by_id(tx, self.place, GROUP, id).await? else {
            return unchanged(tx, Err(not_found(id))).await;
        };
        if let Err(refusal) = precondition(write, stored.meta.version) {
            return unchanged(tx, Err(refusal)).await;
        }
        let mut log = self.log();
        self.reconsider(tx, &mut log, &[stored.rid]).await?;
        let groups = member::remove_everywhere(tx, self.place, stored.rid, self.now).await?;
        resource::delete(tx, self.place, stored.rid).await?;
        log.did("group.deleted", id.as_str(), None, json!({ "groups": groups }));
        log.seal(tx, Ok(Outcome::Deleted)).await
    }

    fn group_after(&self, write: &Write, before: &Record) -> Result<Resource, ScimError> {
        match &write.act {
            Act::Replace(_, resource) => Ok(resource.replacing(&before.resource)),
            Act::Patch(_, _, patch) => patch.apply(self.schemas, before),
            Act::Create(_) | Act::Delete(..) => Ok(before.resource.clone()),
        }
    }

    /// The members with these ids, in the order they were made: those the group `had`, and others of the directory.
    async fn members(
        &self,
        tx: &mut Tx,
        ids: &[ResourceId],
        had: Vec<InGroup>,
    ) -> Result<Result<Vec<InGroup>, ScimError>, StoreError> {
        let mut known: HashMap<ResourceId, InGroup> =
            had.into_iter().map(|had| (had.member.id.clone(), had)).collect();
        let new: Vec<ResourceId> = ids.iter().filter(|id| !known.contains_key(*id)).cloned().collect();
        for found in member::find(tx, self.place, &new).await? {
            known.insert(found.member.id.clone(), found);
        }
        let mut members = Vec::with_capacity(ids.len());
        for (n, id) in ids.iter().enumerate() {
            match known.remove(id) {
                Some(member) => members.push(member),
                None => {
                    let detail = format!(
                        "members: number {} of {} names no user or group of this directory",
                        n + 1,
                        ids.len()
                    );
                    return Ok(Err(ScimError::invalid(ScimType::InvalidValue, detail)));
                }
            }
        }
        members.sort_unstable_by_key(|member| member.rid);
        Ok(Ok(members))
    }

    /// Everybody at or below these rows has their groups read again.
    async fn reconsider(&self, tx: &mut Tx, log: &mut Log, rids: &[i64]) -> Result<(), StoreError> {
        log.reconsider(member::accounts_below(tx, self.place, rids, RECONSIDERED_SINGLY + 1).await?);
        Ok(())
    }
}

fn record(stored: Stored, members: Vec<InGroup>) -> Record {
    let mut resource = stored.resource;
    resource.set_members(members.into_iter().map(|member| member.member));
    Record { id: stored.id, resource, meta: stored.meta, groups: Vec::new() }
}

fn not_found(id: &ResourceId) -> ScimError {
    ScimError::NotFound { kind: GROUP, id: id.clone() }
}
