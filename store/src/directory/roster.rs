//! Imports: one person's step of a roster's plan, whole or not at all, and the people whom a file is compared with.
//!
//! A step says what changes and nothing else, so that what somebody else wrote meanwhile stands. It refuses a directory
//! that a SCIM client feeds, in every transaction: two clients would undo each other's removals.

use std::sync::atomic::AtomicU32;

use portcullis_policy::{AccountId, Change, DirectoryId, OrgId, ResourceId, Timestamp, fold};
use portcullis_roster::{Column, KnownPerson, RosterStep};
use portcullis_scim::{Resource, ResourceKind, ScimError};
use portcullis_session::Committed;
use serde_json::{Map, Value, json};

use super::DirectoryWrite;
use crate::engine::Tx;
use crate::log::{Origin, TxLog, commit_unchanged, still_out};
use crate::resource::{self, DirectoryKey, ResourceRow};
use crate::standing::Mode;
use crate::writer::Lane;
use crate::{Store, StoreError, account, member};

/// A person of the directory, as a file is compared with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPerson {
    /// The `id` of the SCIM User.
    pub id: ResourceId,
    /// The account.
    pub account: AccountId,
    /// The directory's word on them.
    pub known: KnownPerson,
    /// The values of the attributes that operators write, in the order of the schemas'
    /// [`read_only_attributes`](portcullis_scim::Schemas::read_only_attributes).
    pub read_only: Vec<Option<String>>,
}

/// The result of a step.
#[derive(Debug)]
pub struct StepApplied {
    /// The person it was about; a refusal changed nothing.
    pub answer: Result<ResourceId, StepRefusal>,
    /// The number of live sessions it ended.
    pub sessions: u32,
}

/// Reasons why a step was not carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepRefusal {
    /// A SCIM client feeds the directory.
    #[error(
        "the directory was last fed by a SCIM client (provisioning: scim). Start the program once with provisioning: invited, \
         which ends the sessions that were made under it"
    )]
    FedByScim,
    /// The directory changed since the file was compared with it.
    #[error("{0}")]
    Scim(ScimError),
}

/// People whom one page of a directory has.
const PAGE: i64 = 1_000;

impl Store {
    /// Everybody in a directory, in the order they were made, tombstones left out. Read in pages: whoever is written
    /// meanwhile is seen or not.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn directory_people(
        &self,
        org: OrgId,
        directory: DirectoryId,
    ) -> Result<Vec<DirectoryPerson>, StoreError> {
        let place = DirectoryKey { org, directory };
        let (mut people, mut last) = (Vec::new(), 0);
        let paths = self.schemas.read_only_attributes();
        loop {
            let mut tx = self.engine.listing().await?;
            let sql = "select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted \
                       from resource where organization = $1 and directory = $2 and kind = 'User' \
                       and deleted is null and rid > $3 order by rid limit $4";
            let args = [place.org.into(), place.directory.into(), last.into(), PAGE.into()];
            let rows = tx.rows(sql, &args).await?;
            let page: Vec<ResourceRow> = rows.iter().map(ResourceRow::read_row).collect::<Result<_, _>>()?;
            let Some(end) = page.last() else { return Ok(people) };
            last = end.rid;
            let rids: Vec<i64> = page.iter().map(|stored| stored.rid).collect();
            let mut groups = member::direct_groups(&mut tx, place, &rids).await?;
            for mut stored in page {
                let groups = groups.remove(&stored.rid).unwrap_or_default();
                let account = stored.user_account()?;
                stored.resource.set_aside(&self.schemas);
                let read_only = paths.iter().map(|path| stored.resource.read_only_text(path));
                people.push(DirectoryPerson {
                    known: known_person(&stored.resource, groups),
                    read_only: read_only.map(|text| text.map(str::to_owned)).collect(),
                    id: stored.id,
                    account,
                });
            }
        }
    }

    /// Tells whether a SCIM client feeds the directory, by what its sessions were last made under.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn is_fed_by_scim(&self, org: OrgId, directory: DirectoryId) -> Result<bool, StoreError> {
        is_fed(&mut self.engine.snapshot().await?, DirectoryKey { org, directory }).await
    }

    /// Applies one step of a roster's plan to the person with this id, or makes a person where there is none. What
    /// takes away overtakes other writes.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn apply_roster_step(
        &self,
        org: OrgId,
        directory: DirectoryId,
        id: Option<ResourceId>,
        step: RosterStep,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<StepApplied>, StoreError> {
        let lane = if step.takes_away() && id.is_some() { Lane::Removal } else { Lane::Ordinary };
        let (schemas, origin) = (self.schemas.clone(), origin.clone());
        self.write_in(lane, move |tx| {
            Box::pin(async move {
                let (place, ended) = (DirectoryKey { org, directory }, AtomicU32::new(0));
                let write = DirectoryWrite::of_operator(place, &schemas, &origin, now, &ended);
                let answer = write.apply_step(tx, id.as_ref(), &step).await?;
                Ok(answer.map(|answer| StepApplied { answer, sessions: ended.into_inner() }))
            })
        })
        .await
    }

    /// Writes down in the audit that a file was imported, or was not.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn note_import(
        &self,
        org: OrgId,
        directory: DirectoryId,
        outcome: &'static str,
        detail: Value,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<()>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let mut log = TxLog::new(org, Some(directory), &origin, now);
                log.add_audit("import", outcome, None, detail);
                log.seal(tx, ()).await
            })
        })
        .await
    }
}

async fn is_fed(tx: &mut Tx, place: DirectoryKey) -> Result<bool, StoreError> {
    let sql =
        "select 1 from made_under where organization = $1 and directory = $2 and provisioning = $3 limit 1";
    let args = [place.org.into(), place.directory.into(), Mode::Scim.config_word().into()];
    Ok(tx.row(sql, &args).await?.is_some())
}

fn known_person(user: &Resource, groups: Vec<String>) -> KnownPerson {
    let text = |path: &str| user.text_at(path).map(str::to_owned);
    KnownPerson {
        user_name: text("userName").unwrap_or_default(),
        external_id: text("externalId"),
        email: user.email().map(str::to_owned),
        given_name: text("name.givenName"),
        family_name: text("name.familyName"),
        display_name: text("displayName"),
        active: user.active() == Some(true),
        groups,
    }
}

impl DirectoryWrite<'_> {
    async fn apply_step(
        &self,
        tx: &mut Tx,
        id: Option<&ResourceId>,
        step: &RosterStep,
    ) -> Result<Committed<Result<ResourceId, StepRefusal>>, StoreError> {
        if is_fed(tx, self.place).await? {
            return commit_unchanged(tx, Err(StepRefusal::FedByScim)).await;
        }
        let (user, mut log) = match self.write_person(tx, id, step).await? {
            Ok(written) => written,
            Err(refusal) => return commit_unchanged(tx, Err(StepRefusal::Scim(refusal))).await,
        };
        let account = user.user_account()?;
        if !(step.joins.is_empty() && step.leaves.is_empty()) {
            self.move_person(tx, &mut log, &user, step).await?;
            log.add_change(Change::Reconsider(account));
        }
        if log.is_empty() {
            // A step that is repeated waits for whoever it put out, like the first (R5).
            if user.resource.active() == Some(true) {
                return commit_unchanged(tx, Ok(user.id)).await;
            }
            let generation = account::known_account(tx, self.place.org, account).await?.generation;
            return still_out(tx, [(account, generation)], Ok(user.id)).await;
        }
        log.seal(tx, Ok(user.id)).await
    }

    /// Writes what the step says of the person themselves; the log is empty where that is what stands.
    async fn write_person(
        &self,
        tx: &mut Tx,
        id: Option<&ResourceId>,
        step: &RosterStep,
    ) -> Result<Result<(ResourceRow, TxLog), ScimError>, StoreError> {
        const USER: ResourceKind = ResourceKind::User;
        let Some(id) = id else {
            let Some(user) = resource_after("{}", step) else { return Ok(Err(ScimError::Internal)) };
            return Ok(match self.add_user(tx, &user).await? {
                Ok((log, record)) => match resource::by_id(tx, self.place, USER, &record.id).await? {
                    Some(stored) => Ok((stored, log)),
                    None => Err(ScimError::Internal),
                },
                Err(refusal) => Err(refusal),
            });
        };
        let found =
            resource::by_id(tx, self.place, USER, id).await?.filter(|stored| stored.deleted.is_none());
        let Some(mut stored) = found else {
            return Ok(Err(ScimError::NotFound { kind: USER, id: id.clone() }));
        };
        let Some(after) = resource_after(&stored.resource.to_json(), step) else {
            return Ok(Err(ScimError::Internal));
        };
        if after == stored.resource {
            return Ok(Ok((stored, self.open_log())));
        }
        if let Some(refusal) = self.check_name_free(tx, &after, Some(stored.rid)).await? {
            return Ok(Err(refusal));
        }
        let log = self.change_stored(tx, &mut stored, after, json!({})).await?;
        Ok(Ok((stored, log)))
    }

    /// Puts a person into groups, which are made where there are none of that name, and takes them out of others.
    async fn move_person(
        &self,
        tx: &mut Tx,
        log: &mut TxLog,
        user: &ResourceRow,
        step: &RosterStep,
    ) -> Result<(), StoreError> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for name in &step.leaves {
            if let Some((rid, id)) = self.find_group(tx, name).await? {
                member::remove_members(tx, self.place, rid, &[user.rid]).await?;
                self.count_version(tx, rid).await?;
                left.push(id);
            }
        }
        for name in &step.joins {
            let (rid, id) = match self.find_group(tx, name).await? {
                Some(found) => found,
                None => self.make_group(tx, log, name).await?,
            };
            member::add_members(tx, self.place, rid, &[user.rid]).await?;
            self.count_version(tx, rid).await?;
            joined.push(id);
        }
        let detail = json!({ "changed": ["groups"], "joined": joined, "left": left });
        log.did("user.updated", user.id.as_str(), user.account, detail);
        Ok(())
    }

    /// The group of that name, folded.
    async fn find_group(&self, tx: &mut Tx, name: &str) -> Result<Option<(i64, String)>, StoreError> {
        let sql = "select rid, id from resource where organization = $1 and directory = $2 and kind = 'Group' \
                   and name = $3 and deleted is null";
        let args = [self.place.org.into(), self.place.directory.into(), fold::unique_key(name).into()];
        tx.row(sql, &args).await?.map(|row| Ok((row.int(0)?, row.text(1)?.to_owned()))).transpose()
    }

    async fn make_group(
        &self,
        tx: &mut Tx,
        log: &mut TxLog,
        name: &str,
    ) -> Result<(i64, String), StoreError> {
        let document = json!({ "displayName": name }).to_string();
        let group = resource::parse_document(ResourceKind::Group, name, &document)?;
        let stored = self.insert_resource(tx, group).await?;
        log.did("group.created", stored.id.as_str(), None, json!({ "members": 1 }));
        Ok((stored.rid, stored.id.as_str().to_owned()))
    }

    /// A group whose members change has another version.
    async fn count_version(&self, tx: &mut Tx, group: i64) -> Result<(), StoreError> {
        let sql = "update resource set version = version + 1, modified = $4 \
                   where organization = $1 and directory = $2 and rid = $3";
        let args = [self.place.org.into(), self.place.directory.into(), group.into(), self.now.into()];
        tx.run(sql, &args).await.map(drop)
    }
}

/// The user that a step leaves; `None` for a document that is none.
fn resource_after(document: &str, step: &RosterStep) -> Option<Resource> {
    let mut tree: Map<String, Value> = serde_json::from_str(document).ok()?;
    for change in &step.changes {
        let to = change.to.as_deref();
        match change.column {
            Column::UserName => set_text(&mut tree, "userName", to),
            Column::ExternalId => set_text(&mut tree, "externalId", to),
            Column::DisplayName => set_text(&mut tree, "displayName", to),
            Column::GivenName => set_name(&mut tree, "givenName", to),
            Column::FamilyName => set_name(&mut tree, "familyName", to),
            Column::Email => {
                // A file has one address, and it is theirs.
                tree.remove("emails");
                if let Some(email) = to {
                    let one = json!([{ "value": email, "type": "work", "primary": true }]);
                    tree.insert("emails".to_owned(), one);
                }
            }
            Column::Groups | Column::Active => {} // said apart
        }
    }
    if let Some(active) = step.active {
        tree.insert("active".to_owned(), active.into());
    }
    Resource::from_json(ResourceKind::User, &Value::Object(tree).to_string()).ok()
}

fn set_text(tree: &mut Map<String, Value>, name: &str, to: Option<&str>) {
    match to {
        Some(text) => tree.insert(name.to_owned(), text.into()),
        None => tree.remove(name),
    };
}

/// A part of `name`. The whole as one text would say something else from now on.
fn set_name(tree: &mut Map<String, Value>, part: &str, to: Option<&str>) {
    let mut name = tree.get("name").and_then(Value::as_object).cloned().unwrap_or_default();
    set_text(&mut name, part, to);
    name.remove("formatted");
    if name.is_empty() {
        tree.remove("name");
    } else {
        tree.insert("name".to_owned(), name.into());
    }
}
