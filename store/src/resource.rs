//! The table `resource`: users and groups as clients wrote them, and the tombstones of users. Beside each row stand the
//! names it must not share; the table `attr` holds what filters look up, the table `member` who is in a group.

use std::collections::HashMap;

use portcullis_policy::{AccountId, DirectoryId, OrgId, ResourceId, Timestamp, fold};
use portcullis_scim::{Meta, Resource, ResourceKind, Version};

use sqlx::AssertSqlSafe;

use crate::StoreError;
use crate::engine::{Arg, SqlRow, Tx};
use crate::member::{ASKED_AT_ONCE, rids_args, sql_places};
use crate::script::Script;

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct ResourceRow {
    pub(crate) rid: i64,
    pub(crate) id: ResourceId,
    /// Without members.
    pub(crate) resource: Resource,
    pub(crate) had_external_id: bool,
    pub(crate) account: Option<AccountId>,
    pub(crate) meta: Meta,
    /// A tombstone since then.
    pub(crate) deleted: Option<Timestamp>,
}

/// The beginning of a question to every directory of an organization (`$1`): `place p` has their numbers, each found
/// by one step from the last.
pub(crate) const DIRECTORIES: &str = "with recursive place(directory) as ( \
       select min(f.directory) from resource f where f.organization = $1 \
       union all \
       select (select min(n.directory) from resource n \
         where n.organization = $1 and n.directory > p.directory) \
       from place p where p.directory is not null)";

/// The organization and directory of a resource: the key of every question about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryKey {
    pub(crate) org: OrgId,
    pub(crate) directory: DirectoryId,
}

impl ResourceRow {
    /// Columns: rid, id, kind, doc, had_external_id, account, version, created, modified, deleted.
    pub(crate) fn read_row(row: &SqlRow) -> Result<Self, StoreError> {
        let id = ResourceId::new(row.text(1)?);
        let resource = parse_document(kind_of(row.text(2)?)?, id.as_str(), row.text(3)?)?;
        Ok(Self {
            rid: row.int(0)?,
            id,
            resource,
            had_external_id: row.flag(4)?,
            account: row.maybe_int(5)?.map(AccountId),
            meta: Meta { version: Version(row.int(6)?), created: row.at(7)?, modified: row.at(8)? },
            deleted: row.maybe_int(9)?.map(Timestamp),
        })
    }

    /// The account of a User.
    pub(crate) fn user_account(&self) -> Result<AccountId, StoreError> {
        self.account.ok_or_else(|| StoreError::Unreadable {
            table: "resource",
            row: self.id.to_string(),
            what: "a user without an account",
        })
    }
}

/// The document of the resource with that id.
pub(crate) fn parse_document(kind: ResourceKind, id: &str, doc: &str) -> Result<Resource, StoreError> {
    Resource::from_json(kind, doc).map_err(|_| StoreError::Unreadable {
        table: "resource",
        row: id.to_owned(),
        what: "the document",
    })
}

/// The kind by its name.
pub(crate) fn kind_of(name: &str) -> Result<ResourceKind, StoreError> {
    ResourceKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(StoreError::Unreadable {
        table: "resource",
        row: String::new(),
        what: "the kind",
    })
}

/// The name that must be unique: `userName` of a User, `displayName` of a Group.
pub(crate) fn unique_name(resource: &Resource) -> &str {
    match resource.kind() {
        ResourceKind::User => resource.user_name(),
        ResourceKind::Group => resource.display_name(),
    }
    .unwrap_or_default()
}

/// The attribute that holds the unique name.
pub(crate) fn name_attribute(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::User => "userName",
        ResourceKind::Group => "displayName",
    }
}

/// The name for people: `displayName`, else the unique one.
pub(crate) fn display_name(resource: &Resource) -> &str {
    resource.display_name().unwrap_or_else(|| unique_name(resource))
}

/// The resource with that id, a tombstone too.
pub(crate) async fn by_id(
    tx: &mut Tx,
    place: DirectoryKey,
    kind: ResourceKind,
    id: &ResourceId,
) -> Result<Option<ResourceRow>, StoreError> {
    let sql = "select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted \
               from resource where organization = $1 and directory = $2 and id = $3 and kind = $4";
    let args = [place.org.into(), place.directory.into(), id.into(), kind.name().into()];
    tx.row(sql, &args).await?.as_ref().map(ResourceRow::read_row).transpose()
}

/// The resources with these row numbers, in their order.
pub(crate) async fn by_rids(
    tx: &mut Tx,
    place: DirectoryKey,
    rids: &[i64],
) -> Result<Vec<ResourceRow>, StoreError> {
    let mut found = HashMap::with_capacity(rids.len());
    for rids in rids.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted \
             from resource where organization = $1 and directory = $2 and rid in ({})",
            sql_places(3, rids.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, rids)).await? {
            let stored = ResourceRow::read_row(&row)?;
            found.insert(stored.rid, stored);
        }
    }
    Ok(rids.iter().filter_map(|rid| found.remove(rid)).collect())
}

/// The live resource, other than `but`, whose name collides, else the live User whose `externalId` does: the attribute, and
/// the name of whoever has it, as it is written.
pub(crate) async fn name_holder(
    tx: &mut Tx,
    place: DirectoryKey,
    resource: &Resource,
    but: Option<i64>,
) -> Result<Option<(&'static str, String)>, StoreError> {
    let kind = resource.kind();
    // One question for both: every one of them is a way to the engine's thread and back.
    let sql = "select 0 as place, kind, doc from resource where organization = $1 and directory = $2 and kind = $3 \
                 and name = $4 and deleted is null and rid <> $5 \
               union all \
               select 1 as place, kind, doc from resource where organization = $1 and directory = $2 and kind = 'User' \
                 and external_id = $6 and deleted is null and rid <> $5 \
               order by place limit 1";
    let external_id = resource.external_id().filter(|_| kind == ResourceKind::User);
    let args = [
        place.org.into(),
        place.directory.into(),
        kind.name().into(),
        fold::unique_key(unique_name(resource)).into(),
        but.unwrap_or(-1).into(),
        external_id.into(),
    ];
    let Some(row) = tx.row(sql, &args).await? else { return Ok(None) };
    let holder = parse_document(kind, "a holder of a name", row.text(2)?)?;
    let attribute = if row.int(0)? == 0 { name_attribute(kind) } else { "externalId" };
    Ok(Some((attribute, unique_name(&holder).to_owned())))
}

/// Those who were removed, as a new User concerns them.
pub(crate) struct Removed {
    /// The tombstone that they bring back: of the same `externalId`, or neither ever had one and the name is equal. An equal
    /// name with another `externalId` is a new person.
    pub(crate) same: Option<ResourceRow>,
    /// The id of whoever had the name last.
    pub(crate) former: Option<ResourceId>,
}

/// Looks for both in one way to the engine.
pub(crate) async fn find_removed(
    tx: &mut Tx,
    place: DirectoryKey,
    user: &Resource,
) -> Result<Removed, StoreError> {
    // Of one externalId the newest; without one the newest of those whose names fold to one, of which a few are enough: they
    // differ in accents. The former bearer is asked for without a document, since there may be many.
    let sql = "select * from ( \
                 select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted, 0 \
                 from resource where organization = $1 and directory = $2 and external_id = $3 \
                   and deleted is not null order by deleted desc, rid desc limit 1) \
               union all select * from ( \
                 select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted, 0 \
                 from resource where organization = $1 and directory = $2 and name = $4 and $3 is null \
                   and deleted is not null and had_external_id = 0 order by deleted desc, rid desc limit 8) \
               union all select * from ( \
                 select rid, id, kind, '{}', had_external_id, account, version, created, modified, deleted, 1 \
                 from resource where organization = $1 and directory = $2 and name = $4 \
                   and deleted is not null order by deleted desc, rid desc limit 1)";
    let (external_id, key) = (user.external_id(), fold::unique_key(unique_name(user)));
    let args = [place.org.into(), place.directory.into(), external_id.into(), key.into()];
    let (mut same, mut former) = (None, None);
    for row in &tx.rows(sql, &args).await? {
        let stored = ResourceRow::read_row(row)?;
        let is_former = row.flag(10)?;
        let is_same = || {
            external_id.is_some()
                || fold::same_key(unique_name(&stored.resource)) == fold::same_key(unique_name(user))
        };
        if is_former {
            former = Some(stored.id);
        } else if same.is_none() && is_same() {
            same = Some(stored);
        }
    }
    Ok(Removed { same, former })
}

/// Adds what inserts a resource under a number that was drawn, with that of a User's account. The rows of other tables are
/// the caller's.
pub(crate) fn add_resource(
    script: &mut Script<'_>,
    place: DirectoryKey,
    (rid, account): (i64, Option<AccountId>),
    resource: Resource,
    now: Timestamp,
) -> ResourceRow {
    let id = new_id(now);
    let had_external_id = resource.external_id().is_some();
    let sql = "insert into resource (organization, directory, rid, kind, id, doc, name, display, external_id, \
                 had_external_id, account, version, created, modified) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $12)";
    let args = [
        place.org.into(),
        place.directory.into(),
        rid.into(),
        resource.kind().name().into(),
        id.as_str().to_owned().into(),
        resource.to_json().into(),
        fold::unique_key(unique_name(&resource)).into(),
        display_name(&resource).to_owned().into(),
        Arg::Text(resource.external_id().map(|id| id.to_owned().into())),
        had_external_id.into(),
        account.into(),
        now.into(),
    ];
    script.add(sql, args);
    let meta = Meta { created: now, modified: now, version: Version(1) };
    ResourceRow { rid, id, resource, had_external_id, account, meta, deleted: None }
}

/// Adds what writes down what a resource says now, at the next version; a tombstone lives again. The rows by which it is
/// found are the caller's.
pub(crate) fn add_update(
    script: &mut Script<'_>,
    place: DirectoryKey,
    stored: &mut ResourceRow,
    now: Timestamp,
) {
    stored.had_external_id |= stored.resource.external_id().is_some();
    stored.meta.version = Version(stored.meta.version.0 + 1);
    stored.meta.modified = now;
    stored.deleted = None;
    let sql = "update resource set doc = $4, name = $5, display = $6, external_id = $7, had_external_id = $8, \
                 version = $9, modified = $10, deleted = null \
               where organization = $1 and directory = $2 and rid = $3";
    let args = [
        place.org.into(),
        place.directory.into(),
        stored.rid.into(),
        stored.resource.to_json().into(),
        fold::unique_key(unique_name(&stored.resource)).into(),
        display_name(&stored.resource).to_owned().into(),
        Arg::Text(stored.resource.external_id().map(|id| id.to_owned().into())),
        stored.had_external_id.into(),
        stored.meta.version.0.into(),
        now.into(),
    ];
    script.add(sql, args);
}

/// Makes a User a tombstone: its name is free, its document is kept for operators.
pub(crate) async fn bury_user(
    tx: &mut Tx,
    place: DirectoryKey,
    stored: &ResourceRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "update resource set deleted = $4, modified = $4, version = version + 1 \
               where organization = $1 and directory = $2 and rid = $3";
    tx.run(sql, &[place.org.into(), place.directory.into(), stored.rid.into(), now.into()]).await.map(drop)
}

/// Removes a Group for good, with its rows of `attr` and `member`.
pub(crate) async fn delete_group(tx: &mut Tx, place: DirectoryKey, rid: i64) -> Result<(), StoreError> {
    let sql = "delete from resource where organization = $1 and directory = $2 and rid = $3";
    tx.run(sql, &[place.org.into(), place.directory.into(), rid.into()]).await.map(drop)
}

/// A UUID that begins with the time, so that rows made together stand together. It is a name, not a secret.
fn new_id(now: Timestamp) -> ResourceId {
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    let nanos = u32::try_from(now.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    let at = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
    ResourceId::new(uuid::Uuid::new_v7(at).hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
}
