//! The table `member`: who is in which group. Groups hold users and groups; whoever is in a group is in every group
//! around it. Circles do no harm: `union` visits each group once.
//!
//! Where one table leads to the next the join is a `cross join`, which SQLite takes in the order it is written: left to
//! itself it begins at times with every membership of the directory (`plan.rs` asserts the rest).

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_policy::{AccountId, ResourceId, Timestamp};
use portcullis_scim::{Member, Membership};
use sqlx::AssertSqlSafe;

use crate::StoreError;
use crate::engine::{Arg, Tx};
use crate::resource::{DirectoryKey, kind_of};

/// As many row numbers as one question names.
pub(crate) const ASKED_AT_ONCE: usize = 200;

/// The names of every group a user is in, nested ones included; sorted, so that the same groups give the same list.
pub(crate) async fn group_names(
    tx: &mut Tx,
    place: DirectoryKey,
    user: i64,
) -> Result<Arc<[Arc<str>]>, StoreError> {
    let sql = "with recursive above(team) as ( \
                 select team from member where organization = $1 and directory = $2 and member = $3 \
                 union \
                 select m.team from above a cross join member m \
                 where m.organization = $1 and m.directory = $2 and m.member = a.team) \
               select r.display from above a cross join resource r \
               where r.organization = $1 and r.directory = $2 and r.rid = a.team \
               order by r.display, r.rid";
    let rows = tx.rows(sql, &[place.org.into(), place.directory.into(), user.into()]).await?;
    rows.iter().map(|row| row.text(0).map(Arc::from)).collect()
}

/// The groups of each of these users, nested ones included, in the order the groups were made.
pub(crate) async fn find_memberships(
    tx: &mut Tx,
    place: DirectoryKey,
    users: &[i64],
) -> Result<HashMap<i64, Vec<Membership>>, StoreError> {
    let mut found: HashMap<i64, Vec<Membership>> = HashMap::new();
    for users in users.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "with recursive above(origin, team) as ( \
               select member, team from member \
               where organization = $1 and directory = $2 and member in ({}) \
               union \
               select a.origin, m.team from above a cross join member m \
               where m.organization = $1 and m.directory = $2 and m.member = a.team) \
             select a.origin, r.id, r.display, \
               (select count(*) from member d where d.organization = $1 and d.directory = $2 \
                 and d.team = a.team and d.member = a.origin) \
             from above a cross join resource r \
             where r.organization = $1 and r.directory = $2 and r.rid = a.team \
             order by a.origin, r.rid",
            sql_places(3, users.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, users)).await? {
            let membership = Membership {
                group: ResourceId::new(row.text(1)?),
                display: row.text(2)?.to_owned(),
                direct: row.flag(3)?,
            };
            found.entry(row.int(0)?).or_default().push(membership);
        }
    }
    Ok(found)
}

/// The names of the groups that list each of these users, in the order the groups were made; not those around them.
pub(crate) async fn direct_groups(
    tx: &mut Tx,
    place: DirectoryKey,
    users: &[i64],
) -> Result<HashMap<i64, Vec<String>>, StoreError> {
    let mut found: HashMap<i64, Vec<String>> = HashMap::new();
    for users in users.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select m.member, r.display from member m cross join resource r \
             where m.organization = $1 and m.directory = $2 and m.member in ({}) \
               and r.organization = $1 and r.directory = $2 and r.rid = m.team \
             order by m.member, m.team",
            sql_places(3, users.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, users)).await? {
            found.entry(row.int(0)?).or_default().push(row.text(1)?.to_owned());
        }
    }
    Ok(found)
}

/// A member, with its row number.
#[derive(Clone, Debug)]
pub(crate) struct InGroup {
    pub(crate) rid: i64,
    pub(crate) member: Member,
}

/// Counts the members of each of these groups; none where a group is empty.
pub(crate) async fn count_members(
    tx: &mut Tx,
    place: DirectoryKey,
    groups: &[i64],
) -> Result<HashMap<i64, usize>, StoreError> {
    let mut found = HashMap::with_capacity(groups.len());
    for groups in groups.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select team, count(*) from member \
             where organization = $1 and directory = $2 and team in ({}) group by team",
            sql_places(3, groups.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, groups)).await? {
            found.insert(row.int(0)?, usize::try_from(row.int(1)?).unwrap_or(usize::MAX));
        }
    }
    Ok(found)
}

/// Those of these ids that are members of a group.
pub(crate) async fn find_listed(
    tx: &mut Tx,
    place: DirectoryKey,
    group: i64,
    ids: &[ResourceId],
) -> Result<HashMap<ResourceId, i64>, StoreError> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select r.id, r.rid from resource r cross join member m \
             where r.organization = $1 and r.directory = $2 and r.id in ({}) \
               and m.organization = $1 and m.directory = $2 and m.team = $3 and m.member = r.rid",
            sql_places(4, ids.len())
        );
        let mut args: Vec<Arg<'_>> = vec![place.org.into(), place.directory.into(), group.into()];
        args.extend(ids.iter().map(|id| Arg::from(id.as_str())));
        for row in tx.rows(AssertSqlSafe(sql), &args).await? {
            found.insert(ResourceId::new(row.text(0)?), row.int(1)?);
        }
    }
    Ok(found)
}

/// The members of each of these groups, in the order the members were made.
pub(crate) async fn find_members(
    tx: &mut Tx,
    place: DirectoryKey,
    groups: &[i64],
) -> Result<HashMap<i64, Vec<InGroup>>, StoreError> {
    let mut found: HashMap<i64, Vec<InGroup>> = HashMap::new();
    for groups in groups.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select m.team, m.member, r.id, r.kind, r.display from member m cross join resource r \
             where m.organization = $1 and m.directory = $2 and m.team in ({}) \
               and r.organization = $1 and r.directory = $2 and r.rid = m.member \
             order by m.team, m.member",
            sql_places(3, groups.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, groups)).await? {
            let member = read_member(row.text(2)?, row.text(3)?, row.text(4)?)?;
            found.entry(row.int(0)?).or_default().push(InGroup { rid: row.int(1)?, member });
        }
    }
    Ok(found)
}

/// Users and groups that may become members, by their ids; ids that name nothing live are left out.
pub(crate) async fn find_candidates(
    tx: &mut Tx,
    place: DirectoryKey,
    ids: &[ResourceId],
) -> Result<Vec<InGroup>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select rid, id, kind, display from resource \
             where organization = $1 and directory = $2 and deleted is null and id in ({})",
            sql_places(3, ids.len())
        );
        let mut args = vec![Arg::from(place.org), Arg::from(place.directory)];
        args.extend(ids.iter().map(Arg::from));
        for row in tx.rows(AssertSqlSafe(sql), &args).await? {
            let member = read_member(row.text(1)?, row.text(2)?, row.text(3)?)?;
            found.push(InGroup { rid: row.int(0)?, member });
        }
    }
    Ok(found)
}

fn read_member(id: &str, kind: &str, display: &str) -> Result<Member, StoreError> {
    Ok(Member { id: ResourceId::new(id), kind: kind_of(kind)?, display: Some(display.to_owned()) })
}

pub(crate) async fn add_members(
    tx: &mut Tx,
    place: DirectoryKey,
    group: i64,
    members: &[i64],
) -> Result<(), StoreError> {
    let rows: Vec<Vec<Arg<'_>>> = members
        .iter()
        .map(|member| vec![place.org.into(), place.directory.into(), group.into(), (*member).into()])
        .collect();
    tx.insert_rows(
        "insert into member (organization, directory, team, member)",
        "on conflict do nothing",
        rows,
    )
    .await
}

pub(crate) async fn remove_members(
    tx: &mut Tx,
    place: DirectoryKey,
    group: i64,
    members: &[i64],
) -> Result<(), StoreError> {
    for members in members.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "delete from member where organization = $1 and directory = $2 and team = $3 and member in ({})",
            sql_places(4, members.len())
        );
        let mut args = vec![place.org.into(), place.directory.into(), group.into()];
        args.extend(members.iter().map(|member| Arg::from(*member)));
        tx.run(AssertSqlSafe(sql), &args).await?;
    }
    Ok(())
}

/// Takes a user or group out of every group; these groups have changed then. Returns how many.
pub(crate) async fn remove_everywhere(
    tx: &mut Tx,
    place: DirectoryKey,
    member: i64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "update resource set version = version + 1, modified = $4 \
               where organization = $1 and directory = $2 and rid in ( \
                 select team from member where organization = $1 and directory = $2 and member = $3)";
    let left = tx.run(sql, &[place.org.into(), place.directory.into(), member.into(), now.into()]).await?;
    let sql = "delete from member where organization = $1 and directory = $2 and member = $3";
    tx.run(sql, &[place.org.into(), place.directory.into(), member.into()]).await?;
    Ok(left)
}

/// The accounts of these users and of all users in these groups, nested ones included; no more than `limit`.
pub(crate) async fn accounts_below(
    tx: &mut Tx,
    place: DirectoryKey,
    rids: &[i64],
    limit: usize,
) -> Result<Vec<AccountId>, StoreError> {
    let mut accounts = Vec::new();
    for rids in rids.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "with recursive below(rid) as ( \
               select rid from resource where organization = $1 and directory = $2 and rid in ({}) \
               union \
               select m.member from below b cross join member m \
               where m.organization = $1 and m.directory = $2 and m.team = b.rid) \
             select distinct r.account from below b cross join resource r \
             where r.organization = $1 and r.directory = $2 and r.rid = b.rid \
               and r.account is not null limit {limit}",
            sql_places(3, rids.len())
        );
        for row in tx.rows(AssertSqlSafe(sql), &rids_args(place, rids)).await? {
            accounts.push(AccountId(row.int(0)?));
        }
        if accounts.len() >= limit {
            break;
        }
    }
    accounts.sort_unstable();
    accounts.dedup();
    Ok(accounts)
}

/// The accounts of everybody whom a write on a group may concern: those at or below the group and the members it
/// names, by their ids. Ids that name nothing are left out.
pub(crate) async fn accounts_around(
    tx: &mut Tx,
    place: DirectoryKey,
    ids: &[ResourceId],
) -> Result<Vec<AccountId>, StoreError> {
    let mut rids = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ASKED_AT_ONCE) {
        let sql = format!(
            "select rid from resource where organization = $1 and directory = $2 and id in ({})",
            sql_places(3, ids.len())
        );
        let mut args = vec![Arg::from(place.org), Arg::from(place.directory)];
        args.extend(ids.iter().map(Arg::from));
        for row in tx.rows(AssertSqlSafe(sql), &args).await? {
            rids.push(row.int(0)?);
        }
    }
    accounts_below(tx, place, &rids, usize::try_from(i32::MAX).unwrap_or(usize::MAX)).await
}

/// `$3, $4, …`: made of numbers alone.
pub(crate) fn sql_places(first: usize, count: usize) -> String {
    let places: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    places.join(", ")
}

/// The arguments of a question about these row numbers, which are `$3` and on.
pub(crate) fn rids_args(place: DirectoryKey, rids: &[i64]) -> Vec<Arg<'static>> {
    let mut args = vec![Arg::from(place.org), Arg::from(place.directory)];
    args.extend(rids.iter().map(|rid| Arg::from(*rid)));
    args
}
