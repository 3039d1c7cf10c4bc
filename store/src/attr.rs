//! The table `attr`: one row for each value that a filter may ask for. Values are folded as they are compared; which
//! values there are is said by `portcullis-scim`, so that the search and the evaluation in memory agree. Keys are
//! bounded: of a long value the key has the beginning and a hash, and the table `long_value` the whole.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use portcullis_policy::OrgId;
use portcullis_scim::filter::MAX_INDEXED;
use portcullis_scim::{Resource, ResourceKind, Schemas, SearchRow};

use crate::engine::{Arg, Tx};
use crate::resource::{self, DirectoryKey};
use crate::script::Script;
use crate::{StoreError, account};

/// Writes what differs between two states of a resource; `None` for one that is not there.
pub(crate) async fn update_attributes(
    tx: &mut Tx,
    place: DirectoryKey,
    rid: i64,
    schemas: &Schemas,
    before: Option<&Resource>,
    after: &Resource,
) -> Result<(), StoreError> {
    let mut script = Script::new();
    add_attributes(&mut script, place, rid, schemas, before, after);
    tx.run_script(script).await.map(drop)
}

/// The same as statements of a script.
pub(crate) fn add_attributes(
    script: &mut Script<'_>,
    place: DirectoryKey,
    rid: i64,
    schemas: &Schemas,
    before: Option<&Resource>,
    after: &Resource,
) {
    let old: HashSet<SearchRow> =
        before.map(|before| before.search_rows(schemas)).into_iter().flatten().collect();
    let new: HashSet<SearchRow> = after.search_rows(schemas).into_iter().collect();
    let (gone, added) = (old.difference(&new).map(RowKey::from), new.difference(&old).collect());
    replace_rows(script, place, after.kind(), rid, gone.collect(), added);
}

/// Makes the rows of a resource those that the schemas say, whatever others there are.
pub(crate) async fn settle_attributes(
    tx: &mut Tx,
    place: DirectoryKey,
    rid: i64,
    schemas: &Schemas,
    resource: &Resource,
) -> Result<(), StoreError> {
    let sql = "select path, value, item from attr where organization = $1 and directory = $2 and rid = $3";
    let rows = tx.rows(sql, &[place.org.into(), place.directory.into(), rid.into()]).await?;
    let mut stored = HashSet::with_capacity(rows.len());
    for row in &rows {
        let (path, key) = (row.text(0)?.to_owned(), row.text(1)?.to_owned().into());
        stored.insert(RowKey { path: path.into(), key, element: row.int(2)? });
    }
    let due = resource.search_rows(schemas);
    let added = due.iter().filter(|row| !stored.contains(&RowKey::from(*row))).collect();
    let due: HashSet<RowKey<'_>> = due.iter().map(RowKey::from).collect();
    let gone = stored.into_iter().filter(|row| !due.contains(row)).collect();
    let mut script = Script::new();
    replace_rows(&mut script, place, resource.kind(), rid, gone, added);
    tx.run_script(script).await.map(drop)
}

/// A row as its key has it.
#[derive(PartialEq, Eq, Hash)]
struct RowKey<'a> {
    path: Cow<'a, str>,
    key: Cow<'a, str>,
    element: i64,
}

impl<'a> From<&'a SearchRow> for RowKey<'a> {
    fn from(row: &'a SearchRow) -> Self {
        RowKey { path: Cow::Borrowed(&row.path), key: value_key(&row.value), element: row.element.into() }
    }
}

fn replace_rows(
    script: &mut Script<'_>,
    place: DirectoryKey,
    kind: ResourceKind,
    rid: i64,
    gone: Vec<RowKey<'_>>,
    mut added: Vec<&SearchRow>,
) {
    for RowKey { path, key, element } in gone {
        let (path, is_long) = (path.into_owned(), is_long(&key));
        let sql = "delete from attr where organization = $1 and directory = $2 and kind = $3 and path = $4 \
                   and value = $5 and rid = $6 and item = $7";
        let args: [Arg<'_>; 7] = [
            place.org.into(),
            place.directory.into(),
            kind.name().into(),
            path.clone().into(),
            key.into_owned().into(),
            rid.into(),
            element.into(),
        ];
        script.add(sql, args);
        if is_long {
            let sql = "delete from long_value where organization = $1 and directory = $2 and rid = $3 \
                       and path = $4 and item = $5";
            let args: [Arg<'_>; 5] =
                [place.org.into(), place.directory.into(), rid.into(), path.into(), element.into()];
            script.add(sql, args);
        }
    }
    added.sort_unstable(); // in the order of the key
    let rows = added.iter().map(|row| row_args(place, kind, rid, row).into()).collect();
    let sql = "insert into attr (organization, directory, kind, path, value, rid, item)";
    script.add_rows(sql, "", "on conflict do nothing", rows);
    let long = added.iter().filter(|row| is_long(&row.value));
    let long = long.map(|row| long_args(place, rid, row).into()).collect();
    let sql = "insert into long_value (organization, directory, rid, path, item, value)";
    script.add_rows(sql, "", "on conflict do nothing", long);
}

/// Removes every row of a resource.
pub(crate) async fn remove_attributes(tx: &mut Tx, place: DirectoryKey, rid: i64) -> Result<(), StoreError> {
    let args = [place.org.into(), place.directory.into(), rid.into()];
    tx.run("delete from long_value where organization = $1 and directory = $2 and rid = $3", &args).await?;
    let sql = "delete from attr where organization = $1 and directory = $2 and rid = $3";
    tx.run(sql, &args).await.map(drop)
}

fn row_args<'a>(place: DirectoryKey, kind: ResourceKind, rid: i64, row: &SearchRow) -> [Arg<'a>; 7] {
    [
        place.org.into(),
        place.directory.into(),
        kind.name().into(),
        row.path.clone().into(),
        value_key(&row.value).into_owned().into(),
        rid.into(),
        i64::from(row.element).into(),
    ]
}

fn long_args<'a>(place: DirectoryKey, rid: i64, row: &SearchRow) -> [Arg<'a>; 6] {
    [
        place.org.into(),
        place.directory.into(),
        rid.into(),
        row.path.clone().into(),
        i64::from(row.element).into(),
        row.value.clone().into(),
    ]
}

/// Tells whether a value stands in the table `long_value`.
fn is_long(value: &str) -> bool {
    value.len() > MAX_INDEXED
}

/// The value of the row `a` of `attr`, however long: a key that was cut is longer than any that was not.
pub(crate) fn whole_value(a: &str) -> String {
    format!(
        "case when octet_length({a}.value) > {MAX_INDEXED} then (select l.value from long_value l \
         where l.organization = {a}.organization and l.directory = {a}.directory and l.rid = {a}.rid \
         and l.path = {a}.path and l.item = {a}.item) else {a}.value end"
    )
}

/// The key of a value as it is compared: itself, or the beginning and the SHA-256 of a long one. Two values have the
/// same key only if they are the same; a key that was cut is longer than any that was not.
pub(crate) fn value_key(value: &str) -> Cow<'_, str> {
    if !is_long(value) {
        return Cow::Borrowed(value);
    }
    let mut key = value[..value.floor_char_boundary(MAX_INDEXED)].to_owned();
    for byte in portcullis_keys::sha256(value.as_bytes()) {
        let _ = write!(key, "{byte:02x}"); // to a text: it cannot fail
    }
    Cow::Owned(key)
}

/// The resource, other than `but`, that has a value: its row number.
pub(crate) async fn value_holder(
    tx: &mut Tx,
    place: DirectoryKey,
    kind: ResourceKind,
    row: &SearchRow,
    but: Option<i64>,
) -> Result<Option<i64>, StoreError> {
    let sql = "select rid from attr where organization = $1 and directory = $2 and kind = $3 and path = $4 \
               and value = $5 and rid <> $6 limit 1";
    let args = [
        place.org.into(),
        place.directory.into(),
        kind.name().into(),
        (&row.path).into(),
        Arg::Text(Some(value_key(&row.value))),
        but.unwrap_or(-1).into(),
    ];
    tx.row(sql, &args).await?.map(|row| row.int(0)).transpose()
}

/// As many resources as are read at once where all rows are made.
const FILLED_AT_ONCE: i64 = 200;

/// Makes the rows of every live resource that are not there yet.
pub(crate) async fn fill_attributes(tx: &mut Tx, schemas: &Schemas) -> Result<(), StoreError> {
    let mut last = PageEnd::default();
    loop {
        let page = next_page(tx, schemas, &mut last).await?;
        for (place, rid, resource) in &page {
            update_attributes(tx, *place, *rid, schemas, None, resource).await?;
        }
        if page.is_empty() {
            return Ok(());
        }
    }
}

/// The key of the last resource of a page.
pub(crate) type PageEnd = (i64, i64, i64);

/// The live resources behind `last`, in the order of their key, as the schemas have them.
pub(crate) async fn next_page(
    tx: &mut Tx,
    schemas: &Schemas,
    last: &mut PageEnd,
) -> Result<Vec<(DirectoryKey, i64, Resource)>, StoreError> {
    let sql = "select organization, directory, rid, kind, id, doc from resource \
               where (organization, directory, rid) > ($1, $2, $3) and deleted is null \
               order by organization, directory, rid limit $4";
    let args = [last.0.into(), last.1.into(), last.2.into(), FILLED_AT_ONCE.into()];
    let mut page = Vec::new();
    for row in tx.rows(sql, &args).await? {
        *last = (row.int(0)?, row.int(1)?, row.int(2)?);
        let place = DirectoryKey { org: org_id(last.0)?, directory: account::directory_id(last.1)? };
        let kind = resource::kind_of(row.text(3)?)?;
        let mut resource = resource::parse_document(kind, row.text(4)?, row.text(5)?)?;
        resource.set_aside(schemas);
        page.push((place, last.2, resource));
    }
    Ok(page)
}

fn org_id(number: i64) -> Result<OrgId, StoreError> {
    u32::try_from(number).map(OrgId).map_err(|_| StoreError::Unreadable {
        table: "resource",
        row: number.to_string(),
        what: "the organization",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_tell_values_apart() {
        let whole = "é".repeat(MAX_INDEXED / 2);
        assert_eq!(value_key(&whole), whole);
        let (left, right) = (format!("{whole}a"), format!("{whole}b"));
        assert_ne!(value_key(&left), value_key(&right));
        for long in [left, right, format!("a{whole}{whole}"), "x".repeat(1 << 20)] {
            let key = value_key(&long);
            assert!((MAX_INDEXED + 1..=MAX_INDEXED + 64).contains(&key.len()), "{}", key.len());
            assert!(long.starts_with(&key[..key.len() - 64]));
        }
    }
}
