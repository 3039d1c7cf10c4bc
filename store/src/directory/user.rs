//! Writing users. Each is an account too, so each write says what it means for access.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use portcullis_policy::{AccountId, Change, ResourceId, fold};
use portcullis_scim::{Act, Membership, Outcome, Resource, ResourceKind, ResourceRecord, ScimError, Write};
use portcullis_session::Committed;
use serde_json::{Value, json};

use super::{DirectoryWrite, ScimAnswer, changed_attributes, check_precondition};
use crate::barred::Word;
use crate::engine::Tx;
use crate::log::{TxLog, commit_unchanged, still_out};
use crate::resource::{self, Removed, ResourceRow};
use crate::{StoreError, account, attr, barred, link, member, session};

const USER: ResourceKind = ResourceKind::User;

impl DirectoryWrite<'_> {
    /// POST.
    pub(super) async fn create_user(
        &self,
        tx: &mut Tx,
        resource: &Resource,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        match self.add_user(tx, resource).await? {
            Ok((log, record)) => log.seal(tx, Ok(Outcome::Created(record))).await,
            Err(refusal) => commit_unchanged(tx, Err(refusal)).await,
        }
    }

    /// A tombstone that the new user fits lives again, with its id; who has the name of a live one is refused.
    pub(crate) async fn add_user(
        &self,
        tx: &mut Tx,
        resource: &Resource,
    ) -> Result<Result<(TxLog, ResourceRecord), ScimError>, StoreError> {
        let mut resource = resource.clone();
        let active = resource.active().unwrap_or(true);
        resource.set_active(active);
        if let Some(refusal) = self.check_name_free(tx, &resource, None).await? {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = self.check_values_free(tx, None, &resource, None).await? {
            return Ok(Err(refusal));
        }
        let Removed { same, former } = resource::find_removed(tx, self.place, &resource).await?;
        if let Some(mut tombstone) = same {
            tombstone.resource.set_aside(self.schemas);
            let mut restored = resource.restoring(self.schemas, &tombstone.resource);
            self.leave_taken(tx, &mut restored).await?;
            tombstone.resource = restored;
            return Ok(Ok(self.restore_user(tx, tombstone, former).await?));
        }
        let stored = self.insert_resource(tx, resource).await?;
        let account = stored.user_account()?;
        let mut log = self.open_log();
        log.did("user.created", stored.id.as_str(), Some(account), json!({}));
        if let Some(former) = former {
            tell_name_reused(&mut log, &stored.id, account, &former);
        }
        // Nobody could put them into a group yet.
        let ResourceRow { id, resource, meta, .. } = stored;
        Ok(Ok((log, ResourceRecord { id, resource, meta, groups: Vec::new() })))
    }

    /// PUT and PATCH.
    pub(super) async fn change_user(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let Some(mut stored) = resource::by_id(tx, self.place, USER, id).await? else {
            return commit_unchanged(tx, Err(not_found(id))).await;
        };
        stored.resource.set_aside(self.schemas);
        if stored.deleted.is_some() {
            return self.revive_user(tx, stored, write).await;
        }
        let before = self.user_record(tx, &stored).await?;
        if let Err(refusal) = check_precondition(write, stored.meta.version, &before.groups) {
            return self.settle_user(tx, &stored, Err(refusal)).await;
        }
        let after = match self.user_after(write, &before) {
            Ok(after) => after,
            Err(refusal) => return self.settle_user(tx, &stored, Err(refusal)).await,
        };
        if let (true, Err(refusal)) =
            (self.lets_somebody_in(&before.resource, &after), self.scope.check_addition())
        {
            return self.settle_user(tx, &stored, Err(refusal)).await;
        }
        if after == before.resource {
            return self.settle_user(tx, &stored, Ok(Outcome::Changed(before))).await;
        }
        if let Some(refusal) = self.check_name_free(tx, &after, Some(stored.rid)).await? {
            return self.settle_user(tx, &stored, Err(refusal)).await;
        }
        let was = Some(&before.resource);
        if let Some(refusal) = self.check_values_free(tx, was, &after, Some(stored.rid)).await? {
            return self.settle_user(tx, &stored, Err(refusal)).await;
        }
        self.update_user(tx, stored, after, before.groups).await
    }

    /// Tells whether a change lets somebody in, now or once somebody else makes the user active: a login finds a user by
    /// these names, so a new one among them would be another person's.
    fn lets_somebody_in(&self, before: &Resource, after: &Resource) -> bool {
        const FOUND_BY: [&str; 3] = ["userName", "externalId", "emails.value"];
        let names = |user: &Resource| -> HashSet<(String, String)> {
            let rows = user.search_rows(self.schemas).into_iter();
            rows.filter(|row| FOUND_BY.contains(&row.path.as_str()))
                .map(|row| (row.path, row.value))
                .collect()
        };
        after.active() == Some(true) || !names(after).is_subset(&names(before))
    }

    /// DELETE: a tombstone. Its links go, and whoever they let in is barred until a directory brings them back.
    pub(super) async fn delete_user(
        &self,
        tx: &mut Tx,
        id: &ResourceId,
        write: &Write,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let Some(stored) = resource::by_id(tx, self.place, USER, id).await? else {
            return commit_unchanged(tx, Err(not_found(id))).await;
        };
        if stored.deleted.is_some() {
            return self.settle_user(tx, &stored, Err(not_found(id))).await;
        }
        let in_groups = match write.if_match {
            Some(_) => self.user_record(tx, &stored).await?.groups,
            None => Vec::new(),
        };
        if let Err(refusal) = check_precondition(write, stored.meta.version, &in_groups) {
            return self.settle_user(tx, &stored, Err(refusal)).await;
        }
        let org = self.place.org;
        let account = stored.user_account()?;
        resource::bury_user(tx, self.place, &stored, self.now).await?;
        attr::remove_attributes(tx, self.place, stored.rid).await?;
        let groups = member::remove_everywhere(tx, self.place, stored.rid, self.now).await?;
        barred::bar_subjects(tx, org, account, Word::Removed, self.now).await?;
        link::remove_links(tx, org, account).await?;
        account::set_active(tx, org, account, false).await?;
        self.count_ending(tx, account).await?;
        let generation = account::raise_generation(tx, org, account).await?;
        let mut log = self.open_log();
        log.did("user.deleted", id.as_str(), Some(account), json!({ "groups": groups }));
        log.add_change(Change::Out(account, generation));
        log.seal(tx, Ok(Outcome::Deleted)).await
    }

    /// A PATCH of a tombstone brings it back only if all it does is `active` → true; whatever else is 404.
    async fn revive_user(
        &self,
        tx: &mut Tx,
        mut tombstone: ResourceRow,
        write: &Write,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let gone = Err(not_found(&tombstone.id));
        let mut before = self.user_record(tx, &tombstone).await?;
        before.resource.set_active(false);
        let mut revived = before.resource.clone();
        revived.set_active(true);
        let revives = matches!(write.act, Act::Patch(..))
            && self.user_after(write, &before).is_ok_and(|after| after == revived);
        if !revives {
            return self.settle_user(tx, &tombstone, gone).await;
        }
        if let Err(refusal) = self.scope.check_addition() {
            return self.settle_user(tx, &tombstone, Err(refusal)).await;
        }
        if let Err(refusal) = check_precondition(write, tombstone.meta.version, &before.groups) {
            return self.settle_user(tx, &tombstone, Err(refusal)).await;
        }
        self.leave_taken(tx, &mut revived).await?;
        if let Some(refusal) = self.check_name_free(tx, &revived, None).await? {
            return self.settle_user(tx, &tombstone, Err(refusal)).await;
        }
        if let Some(refusal) = self.check_values_free(tx, None, &revived, None).await? {
            return self.settle_user(tx, &tombstone, Err(refusal)).await;
        }
        tombstone.resource = revived;
        let former = resource::find_removed(tx, self.place, &tombstone.resource).await?.former;
        let (log, record) = self.restore_user(tx, tombstone, former).await?;
        log.seal(tx, Ok(Outcome::Changed(record))).await
    }

    /// Makes a tombstone, with what it says now, live again: same id, same account, nothing of what it was let in by.
    async fn restore_user(
        &self,
        tx: &mut Tx,
        mut stored: ResourceRow,
        former: Option<ResourceId>,
    ) -> Result<(TxLog, ResourceRecord), StoreError> {
        let org = self.place.org;
        let account = stored.user_account()?;
        self.update_resource(tx, None, &mut stored).await?;
        account::set_active(tx, org, account, stored.resource.active() == Some(true)).await?;
        let generation = account::raise_generation(tx, org, account).await?;
        barred::lift_bars(tx, org, account, Word::Removed).await?;
        let mut log = self.open_log();
        log.did("user.restored", stored.id.as_str(), Some(account), json!({}));
        if let Some(former) = former.filter(|former| *former != stored.id) {
            tell_name_reused(&mut log, &stored.id, account, &former);
        }
        log.add_change(Change::Out(account, generation));
        log.add_change(Change::Reconsider(account));
        Ok((log, self.user_record(tx, &stored).await?))
    }

    async fn update_user(
        &self,
        tx: &mut Tx,
        mut stored: ResourceRow,
        after: Resource,
        groups: Vec<Membership>,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        let log = self.change_stored(tx, &mut stored, after, json!({})).await?;
        let ResourceRow { id, resource, meta, .. } = stored;
        let record = ResourceRecord { id, resource, meta, groups };
        log.seal(tx, Ok(Outcome::Changed(record))).await
    }

    /// Writes what a user says now, and gives the log of it. `detail` is said beside the names of what changed.
    pub(super) async fn change_stored(
        &self,
        tx: &mut Tx,
        stored: &mut ResourceRow,
        after: Resource,
        mut detail: Value,
    ) -> Result<TxLog, StoreError> {
        let org = self.place.org;
        let account = stored.user_account()?;
        let before = std::mem::replace(&mut stored.resource, after);
        let after = &stored.resource;
        let was_active = before.active() == Some(true);
        let is_active = after.active() == Some(true);
        // Another externalId is another person: whoever was let in as the one before is out.
        let is_another = before.external_id() != after.external_id();
        let changed = changed_attributes(&before, after);
        self.update_resource(tx, Some(&before), stored).await?;

        let mut log = self.open_log();
        if is_active != was_active {
            account::set_active(tx, org, account, is_active).await?;
        }
        if is_another {
            let links = link::remove_links(tx, org, account).await?;
            if links > 0 {
                log.did("account.unlinked", stored.id.as_str(), Some(account), json!({ "links": links }));
            }
        }
        if is_another || (was_active && !is_active) {
            self.count_ending(tx, account).await?;
            let generation = account::raise_generation(tx, org, account).await?;
            log.add_change(Change::Out(account, generation));
        } else if !is_active {
            let generation = account::known_account(tx, org, account).await?.generation;
            log.add_change(Change::Out(account, generation));
        }
        if changed.iter().any(|name| name != "active") {
            log.add_change(Change::Reconsider(account));
        }
        let kind = match (was_active, is_active) {
            (true, false) => "user.deactivated",
            (false, true) => "user.activated",
            _ => "user.updated",
        };
        let name_key = |user: &Resource| user.user_name().map(fold::unique_key);
        let is_renamed = name_key(&before) != name_key(&stored.resource);
        detail["changed"] = json!(changed);
        log.did(kind, stored.id.as_str(), Some(account), detail);
        if is_renamed
            && let Some(former) = resource::find_removed(tx, self.place, &stored.resource).await?.former
        {
            tell_name_reused(&mut log, &stored.id, account, &former);
        }
        Ok(log)
    }

    /// Counts the sessions that a raised generation is about to end.
    async fn count_ending(&self, tx: &mut Tx, account: AccountId) -> Result<(), StoreError> {
        let args = [self.place.org.into(), account.into()];
        let condition = "s.organization = $2 and s.account = $3";
        let live = session::count_live(tx, condition, &args, self.now).await?;
        self.ended.fetch_add(live, Ordering::Relaxed);
        Ok(())
    }

    /// Answers without having changed anything. A user who is inactive or gone is named all the same (R5).
    pub(super) async fn settle_user(
        &self,
        tx: &mut Tx,
        stored: &ResourceRow,
        answer: ScimAnswer,
    ) -> Result<Committed<ScimAnswer>, StoreError> {
        if stored.deleted.is_none() && stored.resource.active() == Some(true) {
            return commit_unchanged(tx, answer).await;
        }
        let account: AccountId = stored.user_account()?;
        let generation = account::known_account(tx, self.place.org, account).await?.generation;
        still_out(tx, [(account, generation)], answer).await
    }

    /// Makes the user that a PUT or a PATCH leaves. Without `active` they are inactive.
    fn user_after(&self, write: &Write, before: &ResourceRecord) -> Result<Resource, ScimError> {
        match &write.act {
            Act::Replace(_, resource) => resource.replacing(self.schemas, &before.resource),
            Act::Patch(_, _, patch) => patch.apply_to(self.schemas, before),
            Act::Create(_) | Act::Delete(..) => Ok(before.resource.clone()),
        }
    }

    /// The user with their groups: these are in every answer, since clients work out from them what to remove.
    pub(super) async fn user_record(
        &self,
        tx: &mut Tx,
        stored: &ResourceRow,
    ) -> Result<ResourceRecord, StoreError> {
        let mut groups = member::find_memberships(tx, self.place, &[stored.rid]).await?;
        Ok(ResourceRecord {
            id: stored.id.clone(),
            resource: stored.resource.clone(),
            meta: stored.meta,
            groups: groups.remove(&stored.rid).unwrap_or_default(),
        })
    }
}

/// Somebody has the name of another person, who was removed: whoever knows people by their names should hear of it.
fn tell_name_reused(log: &mut TxLog, id: &ResourceId, account: AccountId, former: &ResourceId) {
    log.did("user.name_reused", id.as_str(), Some(account), json!({ "former": former.as_str() }));
}

fn not_found(id: &ResourceId) -> ScimError {
    ScimError::NotFound { kind: USER, id: id.clone() }
}
