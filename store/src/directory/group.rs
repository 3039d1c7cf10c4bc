//! Writing groups. Who is in them, directly or through other groups, may get or lose roles, so they are reconsidered;
//! roles are bound to names, so a new name concerns everybody in the group.

use std::collections::{HashMap, HashSet};

use portcullis_policy::ResourceId;
use portcullis_scim::{Act, Outcome, Record, Resource, ResourceKind, ScimError, ScimType, Write};
use portcullis_session::Committed;
use serde_json::json;

use super::{Answer, Desk, changed_attributes, precondition};
use crate::engine::Tx;
use crate::log::{Log, RECONSIDERED_SINGLY, unchanged};
use crate::member::InGroup;
use crate::resource::{self, Stored};
use crate::{StoreError, attr, member};

const GROUP: ResourceKind = ResourceKind::Group;

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

    /// PUT and PATCH.
    pub(super) async fn change_group(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Committed<Answer>, StoreError> {
        let Some(mut stored) = resource::by_id(tx, self.place, GROUP, id).await? else {
            return unchanged(tx, Err(not_found(id))).await;
        };
        if let Err(refusal) = precondition(write, stored.meta.version) {
            return unchanged(tx, Err(refusal)).await;
        }
        let had =
            member::members(tx, self.place, &[stored.rid]).await?.remove(&stored.rid).unwrap_or_default();
        let before = record(stored.clone(), had.clone());
        let mut after = match self.group_after(write, &before) {
            Ok(after) => after,
            Err(refusal) => return unchanged(tx, Err(refusal)).await,
        };
        let ids = after.take_members();
        let wanted: HashSet<&ResourceId> = ids.iter().collect();
        let removed: Vec<i64> =
            had.iter().filter(|had| !wanted.contains(&had.member.id)).map(|had| had.rid).collect();
        let had_rids: HashSet<i64> = had.iter().map(|had| had.rid).collect();
        let members = match self.members(tx, &ids, had).await? {
            Ok(members) => members,
            Err(refusal) => return unchanged(tx, Err(refusal)).await,
        };
        let added: Vec<i64> =
            members.iter().map(|member| member.rid).filter(|rid| !had_rids.contains(rid)).collect();
        if added.is_empty() && removed.is_empty() && after == stored.resource {
            return unchanged(tx, Ok(Outcome::Changed(before))).await;
        }
        if let Some(refusal) = self.taken(tx, &after, Some(stored.rid)).await? {
            return unchanged(tx, Err(refusal)).await;
        }

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
        log.did("group.updated", id.as_str(), None, detail);
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
