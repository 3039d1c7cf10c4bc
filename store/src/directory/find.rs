//! Reading: one resource, or a page of those that match, in the order they were made.

use portcullis_policy::{DirectoryId, OrgId, ResourceId};
use portcullis_scim::{Outcome, Page, Projection, Query, Record, ResourceKind, ScimError, Search, Selection};
use sqlx::AssertSqlSafe;

use super::Answer;
use crate::engine::Tx;
use crate::filter::Condition;
use crate::resource::{Place, Stored, by_id};
use crate::{Store, StoreError, member};

impl Store {
    /// Answers one SCIM query from one snapshot. Attributes that come from other tables are left out where the
    /// projection does not want them.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn find(
        &self,
        org: OrgId,
        directory: DirectoryId,
        query: &Query,
    ) -> Result<Answer, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let place = Place { org, directory };
        match &query.selection {
            Selection::One(id) => one(&mut tx, place, query.kind, id, &query.projection).await,
            Selection::Page(search) => page(&mut tx, place, query.kind, search, &query.projection).await,
        }
    }
}

async fn one(
    tx: &mut Tx,
    place: Place,
    kind: ResourceKind,
    id: &ResourceId,
    projection: &Projection,
) -> Result<Answer, StoreError> {
    let stored = by_id(tx, place, kind, id).await?.filter(|stored| stored.deleted.is_none());
    let Some(stored) = stored else {
        return Ok(Err(ScimError::NotFound { kind, id: id.clone() }));
    };
    let mut records = records(tx, place, kind, vec![stored], projection).await?;
    Ok(records.pop().map(Outcome::Found).ok_or(ScimError::Internal))
}

async fn page(
    tx: &mut Tx,
    place: Place,
    kind: ResourceKind,
    search: &Search,
    projection: &Projection,
) -> Result<Answer, StoreError> {
    let lookups = match search.filter.as_ref().map_or(Ok(Vec::new()), |filter| filter.lookups()) {
        Ok(lookups) => lookups,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let condition = match Condition::new(place, kind, &lookups) {
        Ok(condition) => condition,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Condition { sql, mut args } = condition;
    let count = AssertSqlSafe(format!("select count(*) from resource r where {sql}"));
    let total = tx.one(count, &args).await?.int(0)?;
    let offset = search.start_index.saturating_sub(1);
    let mut stored = Vec::new();
    if search.count > 0 && offset < u64::try_from(total).unwrap_or_default() {
        let page = AssertSqlSafe(format!(
            "select rid, id, kind, doc, had_external_id, account, version, created, modified, deleted \
             from resource r where {sql} order by r.rid limit ${} offset ${}",
            args.len() + 1,
            args.len() + 2
        ));
        args.push(i64::try_from(search.count).unwrap_or(i64::MAX).into());
        args.push(i64::try_from(offset).unwrap_or(i64::MAX).into());
        stored = tx.rows(page, &args).await?.iter().map(Stored::read).collect::<Result<_, _>>()?;
    }
    Ok(Ok(Outcome::Listed(Page {
        total: u64::try_from(total).unwrap_or_default(),
        start_index: search.start_index,
        records: records(tx, place, kind, stored, projection).await?,
    })))
}

/// Adds what other tables hold: a user's groups, a group's members.
async fn records(
    tx: &mut Tx,
    place: Place,
    kind: ResourceKind,
    stored: Vec<Stored>,
    projection: &Projection,
) -> Result<Vec<Record>, StoreError> {
    let rids: Vec<i64> = stored.iter().map(|stored| stored.rid).collect();
    let mut groups = match kind {
        ResourceKind::User if projection.wants("groups") => member::memberships(tx, place, &rids).await?,
        _ => Default::default(),
    };
    let mut members = match kind {
        ResourceKind::Group if projection.wants("members") => member::members(tx, place, &rids).await?,
        _ => Default::default(),
    };
    let whole = |mut stored: Stored| {
        if let Some(members) = members.remove(&stored.rid) {
            stored.resource.set_members(members.into_iter().map(|member| member.member));
        }
        let groups = groups.remove(&stored.rid).unwrap_or_default();
        Record { id: stored.id, resource: stored.resource, meta: stored.meta, groups }
    };
    Ok(stored.into_iter().map(whole).collect())
}
