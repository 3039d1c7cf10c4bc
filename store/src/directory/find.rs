//! Reading: one resource, or a page of those that match, in the order they were made or in one that is asked for. A page ends early where its
//! members or memberships become many (RFC 7644 §3.4.2.4 lets a page be smaller than what was asked for).

use portcullis_policy::{DirectoryId, OrgId, ResourceId};
use portcullis_scim::{
    ListPage, Outcome, PageCursor, PagePlace, PageStart, Projection, Query, ResourceKind, ResourceRecord,
    ScimError, ScimType, Search, Selection,
};
use sqlx::AssertSqlSafe;

use super::ScimAnswer;
use crate::engine::{Arg, Tx};
use crate::filter::{Condition, OrderValue};
use crate::resource::{self, DirectoryKey, ResourceRow, by_id};
use crate::{Store, StoreError, member};

/// As many members of groups, or memberships of users, as a page holds; one resource is always whole.
const PAGE_HOLDS: usize = 20_000;
/// As many users or groups as are looked at together for that.
const LOOKED_AT: usize = 50;

impl Store {
    /// Answers one SCIM query from one snapshot. Attributes that come from other tables are left out where the
    /// projection does not want them.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn answer_query(
        &self,
        org: OrgId,
        directory: DirectoryId,
        query: &Query,
    ) -> Result<ScimAnswer, StoreError> {
        let mut tx = self.engine.listing().await?;
        let place = DirectoryKey { org, directory };
        let answer = match &query.selection {
            Selection::One(id) => find_one(&mut tx, place, query.kind, id, &query.projection).await,
            Selection::Page(search) => {
                find_page(&mut tx, place, &[(query.kind, search)], &query.projection).await
            }
            Selection::PageOfAll(searches) => {
                let searches: Vec<(ResourceKind, &Search)> =
                    ResourceKind::ALL.into_iter().zip(searches.iter()).collect();
                find_page(&mut tx, place, &searches, &query.projection).await
            }
        };
        answer.map(|answer| answer.map(|outcome| self.set_aside(outcome)))
    }

    /// The same without what the schemas in force do not have.
    fn set_aside(&self, mut outcome: Outcome) -> Outcome {
        let records = match &mut outcome {
            Outcome::Found(record) => std::slice::from_mut(record),
            Outcome::Listed(page) => &mut page.records,
            _ => &mut [],
        };
        for record in records {
            record.resource.set_aside(&self.schemas);
        }
        outcome
    }
}

async fn find_one(
    tx: &mut Tx,
    place: DirectoryKey,
    kind: ResourceKind,
    id: &ResourceId,
    projection: &Projection,
) -> Result<ScimAnswer, StoreError> {
    let stored = by_id(tx, place, kind, id).await?.filter(|stored| stored.deleted.is_none());
    let Some(stored) = stored else {
        return Ok(Err(ScimError::NotFound { kind, id: id.clone() }));
    };
    let mut records = read_records(tx, place, kind, vec![stored], projection).await?;
    Ok(records.pop().map(Outcome::Found).ok_or(ScimError::Internal))
}

/// The beginning of a page among the resources of one kind.
#[derive(Clone, Copy)]
enum PageFrom {
    /// As many are left out in front.
    Offset(u64),
    /// Behind that row.
    Row(PageCursor),
    /// None of them stands on the page.
    Nowhere,
}

impl PageFrom {
    /// Of a kind, where so many of the kinds before have been passed.
    fn of_start(start: PageStart, kind: ResourceKind, passed: u64) -> Self {
        match start {
            PageStart::Index(start) => Self::Offset(start.saturating_sub(1).saturating_sub(passed)),
            PageStart::Cursor { after: Some(cursor), .. } if cursor.kind == kind => Self::Row(cursor),
            PageStart::Cursor { after: Some(cursor), .. } if is_before(kind, cursor.kind) => Self::Nowhere,
            PageStart::Cursor { .. } => Self::Offset(0),
        }
    }
}

/// Tells whether one kind stands before another where both are listed.
fn is_before(kind: ResourceKind, other: ResourceKind) -> bool {
    let place = |kind| ResourceKind::ALL.iter().position(|one| *one == kind);
    place(kind) < place(other)
}

/// Finds a page of one kind, or of several, one behind the other.
async fn find_page(
    tx: &mut Tx,
    place: DirectoryKey,
    searches: &[(ResourceKind, &Search)],
    projection: &Projection,
) -> Result<ScimAnswer, StoreError> {
    let Some((_, first)) = searches.first() else { return Ok(Err(ScimError::Internal)) };
    let (start, mut count) = (first.start, first.count);
    let (mut total, mut records, mut next) = (0, Vec::new(), None);
    for (kind, search) in searches {
        let is_full = count == 0;
        let from = if is_full { PageFrom::Nowhere } else { PageFrom::of_start(start, *kind, total) };
        let part = match find_part(tx, place, *kind, search, from, count).await? {
            Ok(part) => part,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if is_full && part.matching > 0 && next.is_none() {
            next = start.continue_after(*kind, 0, 0); // the page ended where the kind before did
        }
        total += part.matching;
        count = count.saturating_sub(part.stored.len() as u64);
        let version = |stored: &ResourceRow| if search.sort.is_some() { stored.meta.version.0 } else { 0 };
        let places: Vec<(i64, i64)> =
            part.stored.iter().map(|stored| (stored.rid, version(stored))).collect();
        let shown = read_records(tx, place, *kind, part.stored, projection).await?;
        if shown.len() < places.len() || part.is_more {
            count = 0; // the page ends here: nothing stands behind what was left out
            let last = places[..shown.len()].last();
            next = last.and_then(|(rid, version)| start.continue_after(*kind, *rid, *version));
        }
        records.extend(shown);
    }
    let place = match start {
        PageStart::Index(start) => PagePlace::Index(start),
        PageStart::Cursor { .. } => PagePlace::Cursor(next),
    };
    Ok(Ok(Outcome::Listed(ListPage { total, place, records, projection: projection.clone() })))
}

/// The resources of one kind that match.
struct FoundPart {
    /// All of them.
    matching: u64,
    /// Those that there is room for on the page.
    stored: Vec<ResourceRow>,
    /// Tells whether others stand behind them.
    is_more: bool,
}

/// Counts what matches, and finds what of it stands on the page.
async fn find_part(
    tx: &mut Tx,
    place: DirectoryKey,
    kind: ResourceKind,
    search: &Search,
    from: PageFrom,
    count: u64,
) -> Result<Result<FoundPart, ScimError>, StoreError> {
    let mut condition = Condition::new(place, kind, search.filter.as_ref(), search.sort.as_ref());
    let matching = match search.filter {
        Some(_) => count_matching(tx, &condition).await?,
        None => count_live(tx, place, kind).await?,
    };
    let offset = match from {
        PageFrom::Offset(offset) if count > 0 && offset < matching => offset,
        PageFrom::Row(_) if count > 0 => 0,
        _ => return Ok(Ok(FoundPart { matching, stored: Vec::new(), is_more: false })),
    };
    if let PageFrom::Row(PageCursor { after: rid, version, .. }) = from {
        let question = search.sort.as_ref().filter(|_| rid > 0);
        let value = match question.and_then(|sort| OrderValue::of_row(place, kind, sort, rid, version)) {
            Some(question) => match read_order_value(tx, question).await? {
                Some(value) => Some(value),
                None => return Ok(Err(expired_cursor())),
            },
            None => None,
        };
        if rid > 0 {
            condition.go_behind(rid, value);
        }
    }
    // One more than there is room for tells whether there is one.
    let limit = condition.add_arg(i64::try_from(count.saturating_add(1)).unwrap_or(i64::MAX));
    let offset = condition.add_arg(i64::try_from(offset).unwrap_or(i64::MAX));
    let Condition { sql, args, order, .. } = condition;
    let page = format!("select r.rid {sql} {order} limit {limit} offset {offset}");
    let rows = tx.searched(AssertSqlSafe(page), &args).await?;
    let mut rids: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
    let room = usize::try_from(count).unwrap_or(usize::MAX);
    let is_more = rids.len() > room;
    rids.truncate(room);
    Ok(Ok(FoundPart { matching, stored: resource::by_rids(tx, place, &rids).await?, is_more }))
}

async fn count_matching(tx: &mut Tx, condition: &Condition) -> Result<u64, StoreError> {
    let counted = AssertSqlSafe(format!("select count(*) {}", condition.sql));
    let rows = tx.searched(counted, &condition.args).await?;
    rows.first().map_or(Ok(0), |row| Ok(u64::try_from(row.int(0)?).unwrap_or_default()))
}

/// All of a kind: the engine keeps the number, so that it costs the same however many they are.
async fn count_live(tx: &mut Tx, place: DirectoryKey, kind: ResourceKind) -> Result<u64, StoreError> {
    let sql = "select live from tally where organization = $1 and directory = $2 and kind = $3";
    let row = tx.row(sql, &[place.org.into(), place.directory.into(), kind.name().into()]).await?;
    row.map_or(Ok(0), |row| Ok(u64::try_from(row.int(0)?).unwrap_or_default()))
}

/// The value by which a row has its place; none where the row is gone or another one.
async fn read_order_value(tx: &mut Tx, question: OrderValue) -> Result<Option<Arg<'static>>, StoreError> {
    let OrderValue { sql, args, is_number } = question;
    let found = tx.searched(AssertSqlSafe(sql), &args).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(Some(match is_number {
        true => row.maybe_int(0)?.into(),
        false => Arg::Text(row.maybe_text(0)?.map(|text| text.to_owned().into())),
    }))
}

fn expired_cursor() -> ScimError {
    let detail = "cursor: the resource that the page before ended with was changed or is gone, and with it its place in \
                  this order; begin again without a cursor";
    ScimError::of_type(ScimType::ExpiredCursor, detail)
}

/// Adds what other tables hold: a user's groups, a group's members. Ends where they become too many.
async fn read_records(
    tx: &mut Tx,
    place: DirectoryKey,
    kind: ResourceKind,
    mut stored: Vec<ResourceRow>,
    projection: &Projection,
) -> Result<Vec<ResourceRecord>, StoreError> {
    let with_groups = kind == ResourceKind::User && projection.wants("groups");
    let with_members = kind == ResourceKind::Group && projection.wants("members");
    let mut records = Vec::with_capacity(stored.len());
    let mut room = PAGE_HOLDS;
    while !stored.is_empty() && (room > 0 || records.is_empty()) {
        let rest = stored.split_off(stored.len().min(LOOKED_AT));
        let mut part = std::mem::replace(&mut stored, rest);
        let rids: Vec<i64> = part.iter().map(|stored| stored.rid).collect();
        let mut groups = Default::default();
        let mut members = Default::default();
        if with_groups {
            groups = member::find_memberships(tx, place, &rids).await?;
        }
        if with_members {
            let sizes = member::count_members(tx, place, &rids).await?;
            let size_of = |rid: &i64| sizes.get(rid).copied().unwrap_or_default();
            let fitting = count_fitting(rids.iter().map(size_of), &mut room, records.is_empty());
            part.truncate(fitting);
            members = member::find_members(tx, place, &rids[..fitting]).await?;
        } else {
            let fitting = count_fitting(
                rids.iter().map(|rid| groups.get(rid).map_or(0, Vec::len)),
                &mut room,
                records.is_empty(),
            );
            part.truncate(fitting);
        }
        records.extend(part.into_iter().map(|mut stored| {
            if let Some(members) = members.remove(&stored.rid) {
                stored.resource.set_members(members.into_iter().map(|member: member::InGroup| member.member));
            }
            let groups = groups.remove(&stored.rid).unwrap_or_default();
            ResourceRecord { id: stored.id, resource: stored.resource, meta: stored.meta, groups }
        }));
    }
    Ok(records)
}

/// Counts how many of these, from the front, fit into the room that is left, which shrinks by them. It is used up by
/// the first that does not fit. The first of a page always does.
fn count_fitting(sizes: impl Iterator<Item = usize>, room: &mut usize, is_first: bool) -> usize {
    let mut fitting = 0;
    for size in sizes {
        if size > *room && !(is_first && fitting == 0) {
            *room = 0;
            break;
        }
        *room = room.saturating_sub(size);
        fitting += 1;
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::count_fitting;

    #[test]
    fn a_page_holds_what_fits_and_at_least_one() {
        let cut = |sizes: &[usize], room: usize, is_first: bool| {
            let mut room = room;
            (count_fitting(sizes.iter().copied(), &mut room, is_first), room)
        };
        assert_eq!(cut(&[3, 4, 3], 10, true), (3, 0));
        assert_eq!(cut(&[3, 4, 4], 10, true), (2, 0), "the third does not fit");
        assert_eq!(cut(&[3, 8, 1], 10, true), (1, 0), "nothing is left out between two");
        assert_eq!(cut(&[50], 10, true), (1, 0), "one is always whole");
        assert_eq!(cut(&[50, 1], 10, true), (1, 0));
        assert_eq!(cut(&[50], 10, false), (0, 0));
        assert_eq!(cut(&[0, 0], 10, false), (2, 10));
    }
}
