//! The table `attr`: one row for each value that a filter may ask for. Values are folded as they are compared; which
//! values there are is said by `portcullis-scim`, so that the search and the evaluation in memory agree.

use std::collections::HashSet;

use portcullis_scim::{Resource, ResourceKind, Schemas, SearchRow};

use crate::StoreError;
use crate::engine::{Arg, Tx};
use crate::resource::DirectoryKey;

/// Writes what differs between two states of a resource; `None` for one that is not there.
pub(crate) async fn update_attributes(
    tx: &mut Tx,
    place: DirectoryKey,
    rid: i64,
    schemas: &Schemas,
    before: Option<&Resource>,
    after: &Resource,
) -> Result<(), StoreError> {
    let old: HashSet<SearchRow> =
        before.map(|before| before.search_rows(schemas)).into_iter().flatten().collect();
    let new: HashSet<SearchRow> = after.search_rows(schemas).into_iter().collect();
    let kind = after.kind();
    for row in old.difference(&new) {
        let sql = "delete from attr where organization = $1 and directory = $2 and kind = $3 and path = $4 \
                   and value = $5 and rid = $6 and item = $7";
        tx.run(sql, &row_args(place, kind, rid, row)).await?;
    }
    let mut added: Vec<&SearchRow> = new.difference(&old).collect();
    added.sort_unstable(); // in the order of the key
    let rows: Vec<Vec<Arg<'_>>> =
        added.into_iter().map(|row| row_args(place, kind, rid, row).into()).collect();
    let sql = "insert into attr (organization, directory, kind, path, value, rid, item)";
    tx.insert_rows(sql, "on conflict do nothing", &rows).await
}

/// Removes every row of a resource.
pub(crate) async fn remove_attributes(tx: &mut Tx, place: DirectoryKey, rid: i64) -> Result<(), StoreError> {
    let sql = "delete from attr where organization = $1 and directory = $2 and rid = $3";
    tx.run(sql, &[place.org.into(), place.directory.into(), rid.into()]).await.map(drop)
}

fn row_args(place: DirectoryKey, kind: ResourceKind, rid: i64, row: &SearchRow) -> [Arg<'_>; 7] {
    [
        place.org.into(),
        place.directory.into(),
        kind.name().into(),
        (&row.path).into(),
        (&row.value).into(),
        rid.into(),
        i64::from(row.element).into(),
    ]
}
