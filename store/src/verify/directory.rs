//! Resources, in pages by key: each with its account and with the rows that it is found by, as one snapshot has them.

use std::collections::{BTreeMap, HashSet};

use portcullis_keys::sha256;
use portcullis_policy::fold;
use portcullis_scim::schema::ENTERPRISE_USER;
use portcullis_scim::{Resource, ResourceKind, Schemas};

use super::{RESTORE, RuleBook, StoreRule};
use crate::attr::value_key;
use crate::engine::{Engine, SqlRow, Tx};
use crate::{StoreError, resource, searched};

/// As many resources as are read at once.
const PAGE: i64 = 200;

const SEARCH_REMEDY: &str = "Whoever searches may miss it or find it wrongly; no access hangs on it. Restore a backup of \
                             the database from before, and report this";
const ACCOUNT_REMEDY: &str = "Deactivate this person at the identity provider, and activate them again if they are to come in; and report this";

/// Looks at every resource.
pub(super) async fn look_at_resources(
    engine: &Engine,
    schemas: Option<&Schemas>,
    book: &mut RuleBook,
) -> Result<(), StoreError> {
    let (core, mut after) = (Schemas::core_schemas(), (i64::MIN, i64::MIN, i64::MIN));
    let known = searched::known_digest(&mut engine.snapshot().await?).await?;
    let due = |schemas: &Schemas| sha256(schemas.search_outline().as_bytes());
    let (schemas, note) = match schemas {
        Some(schemas) if known == due(schemas) => (Some(schemas), None),
        None if known == due(&core) => (Some(&core), None),
        _ if known.is_empty() => (None, Some(UNFINISHED)),
        Some(_) => (None, Some(OTHERS)),
        None => (None, Some(UNKNOWN)),
    };
    book.update_rule(StoreRule::Search, |outcome| outcome.note = note.map(str::to_owned));
    let found_by = FoundBy { schemas: schemas.unwrap_or(&core), with_extensions: schemas.is_some() };
    loop {
        let mut tx = engine.snapshot().await?;
        let page = read_page(&mut tx, after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.key;
        let mut stored = StoredRows::read_page(&mut tx, &page).await?;
        book.count_looked_at(StoreRule::Documents, page.len());
        for row in &page {
            let rows = stored.take_rows(row.key.2);
            book.count_looked_at(StoreRule::Search, rows.len());
            let document = resource::kind_of(&row.kind).and_then(|kind| {
                resource::parse_document(kind, &row.id, &row.doc).map(|found| (kind, found))
            });
            let Ok((kind, mut document)) = document else {
                book.add_broken(StoreRule::Documents, &row.id, "its document cannot be read", RESTORE);
                continue;
            };
            document.set_aside(found_by.schemas);
            for what in row.faults_beside(kind, &document) {
                book.add_broken(StoreRule::Documents, &row.id, what, RESTORE);
            }
            if let Some(what) = row.account_fault(kind, &document) {
                book.add_broken(StoreRule::Accounts, &row.id, what, ACCOUNT_REMEDY);
            }
            if let Some(what) = found_by.search_fault(row, &document, rows) {
                book.add_broken(StoreRule::Search, &row.id, what, SEARCH_REMEDY);
            }
        }
    }
}

const UNFINISHED: &str = "a start was interrupted while it made anew what declared extensions are found by, or is at it now: \
                          the next start finishes it. Of extensions nothing was looked at";
const OTHERS: &str = "scim.extensions differ from those of the last start: the next start makes anew what they are found by. \
                      Of extensions nothing was looked at";
const UNKNOWN: &str = "scim.extensions are declared, and were not read: name the configuration with -c FILE. Of extensions \
                       nothing was looked at";

/// A resource as its table has it, with its account.
struct StoredResource {
    /// Organization, directory, row number.
    key: (i64, i64, i64),
    kind: String,
    id: String,
    doc: String,
    name: String,
    display: String,
    external_id: Option<String>,
    had_external_id: bool,
    version: i64,
    is_removed: bool,
    account: Option<i64>,
    /// Its directory, its resource and its `active`, where it is there.
    found_account: Option<(Option<i64>, Option<i64>, bool)>,
}

async fn read_page(tx: &mut Tx, after: (i64, i64, i64)) -> Result<Vec<StoredResource>, StoreError> {
    let sql = "/* store check */ select r.organization, r.directory, r.rid, r.kind, r.id, r.doc, r.name, r.display, \
                 r.external_id, r.had_external_id, r.version, r.deleted, r.account, a.id, a.directory, a.resource, a.active \
               from resource r left join account a on a.organization = r.organization and a.id = r.account \
               where (r.organization, r.directory, r.rid) > ($1, $2, $3) \
               order by r.organization, r.directory, r.rid limit $4";
    let rows = tx.rows(sql, &[after.0.into(), after.1.into(), after.2.into(), PAGE.into()]).await?;
    let mut page = rows.iter().map(StoredResource::read_row).collect::<Result<Vec<_>, _>>()?;
    // One directory a page: their rows have numbers of their own.
    if let Some(first) = page.first().map(|first| (first.key.0, first.key.1)) {
        page.retain(|row| (row.key.0, row.key.1) == first);
    }
    Ok(page)
}

impl StoredResource {
    fn read_row(row: &SqlRow) -> Result<Self, StoreError> {
        let found_account = match row.maybe_int(13)? {
            Some(_) => Some((row.maybe_int(14)?, row.maybe_int(15)?, row.flag(16)?)),
            None => None,
        };
        Ok(Self {
            key: (row.int(0)?, row.int(1)?, row.int(2)?),
            kind: row.text(3)?.to_owned(),
            id: row.text(4)?.to_owned(),
            doc: row.text(5)?.to_owned(),
            name: row.text(6)?.to_owned(),
            display: row.text(7)?.to_owned(),
            external_id: row.maybe_text(8)?.map(str::to_owned),
            had_external_id: row.flag(9)?,
            version: row.int(10)?,
            is_removed: row.maybe_int(11)?.is_some(),
            account: row.maybe_int(12)?,
            found_account,
        })
    }

    /// The faults of whatever stands beside a document.
    fn faults_beside(&self, kind: ResourceKind, document: &Resource) -> Vec<&'static str> {
        let name = resource::unique_name(document);
        let had = self.had_external_id || document.external_id().is_none();
        [
            (!name.is_empty(), "its document has no name"),
            (self.name == fold::unique_key(name), "the name it is unique by is not its document's"),
            (
                self.display == resource::display_name(document),
                "the name it is shown by is not its document's",
            ),
            (self.external_id.as_deref() == document.external_id(), "its external id is not its document's"),
            (had, "it has an external id and is said to have had none"),
            (kind == ResourceKind::User || !self.is_removed, "a group stays behind its removal"),
            (self.version >= 1, "its version is below 1"),
        ]
        .into_iter()
        .filter_map(|(holds, fault)| (!holds).then_some(fault))
        .collect()
    }

    fn account_fault(&self, kind: ResourceKind, document: &Resource) -> Option<&'static str> {
        if kind == ResourceKind::Group {
            return self.account.is_some().then_some("a group has an account");
        }
        let is_active = !self.is_removed && document.active() == Some(true);
        match (self.account, self.found_account) {
            (None, _) => Some("the user has no account"),
            (Some(_), None) => Some("the account that the user names is not there"),
            (Some(_), Some((directory, rid, _)))
                if (directory, rid) != (Some(self.key.1), Some(self.key.2)) =>
            {
                Some("the account that the user names is another's")
            }
            (Some(_), Some((_, _, true))) if self.is_removed => {
                Some("the user was removed, and the account is active")
            }
            (Some(_), Some((_, _, true))) if !is_active => {
                Some("the document says inactive, and the account is active")
            }
            (Some(_), Some((_, _, false))) if is_active => {
                Some("the document says active, and the account is not")
            }
            _ => None,
        }
    }
}

/// A row of `attr` as it is compared: kind, path, element, key, and the whole of a value that the key only begins.
type StoredRow = (String, String, i64, String, Option<String>);

/// The rows by which the resources of a page are found, by row number.
struct StoredRows(BTreeMap<i64, HashSet<StoredRow>>);

impl StoredRows {
    async fn read_page(tx: &mut Tx, page: &[StoredResource]) -> Result<Self, StoreError> {
        let mut found: BTreeMap<i64, HashSet<StoredRow>> = BTreeMap::new();
        if let (Some(first), Some(last)) = (page.first(), page.last()) {
            let args = [first.key.0.into(), first.key.1.into(), first.key.2.into(), last.key.2.into()];
            let sql = "select a.rid, a.kind, a.path, a.item, a.value, l.value from attr a \
                       left join long_value l on l.organization = a.organization and l.directory = a.directory \
                         and l.rid = a.rid and l.path = a.path and l.item = a.item \
                       where a.organization = $1 and a.directory = $2 and a.rid >= $3 and a.rid <= $4";
            for row in tx.rows(sql, &args).await? {
                let (kind, path, key) =
                    (row.text(1)?.to_owned(), row.text(2)?.to_owned(), row.text(4)?.to_owned());
                let stored = (kind, path, row.int(3)?, key, row.maybe_text(5)?.map(str::to_owned));
                found.entry(row.int(0)?).or_default().insert(stored);
            }
            // The whole of a value that no key begins.
            let sql = "select l.rid, l.path, l.item from long_value l \
                       where l.organization = $1 and l.directory = $2 and l.rid >= $3 and l.rid <= $4 \
                         and not exists (select 1 from attr a where a.organization = l.organization \
                           and a.directory = l.directory and a.rid = l.rid and a.path = l.path and a.item = l.item)";
            for row in tx.rows(sql, &args).await? {
                let stored = (String::new(), row.text(1)?.to_owned(), row.int(2)?, String::new(), None);
                found.entry(row.int(0)?).or_default().insert(stored);
            }
        }
        Ok(Self(found))
    }

    fn take_rows(&mut self, rid: i64) -> HashSet<StoredRow> {
        self.0.remove(&rid).unwrap_or_default()
    }
}

/// The schemas that rows are looked at by.
struct FoundBy<'a> {
    schemas: &'a Schemas,
    /// False where the declared extensions are not those that rows were made by: then theirs are passed over.
    with_extensions: bool,
}

impl FoundBy<'_> {
    fn search_fault(
        &self,
        row: &StoredResource,
        document: &Resource,
        stored: HashSet<StoredRow>,
    ) -> Option<String> {
        let due: HashSet<StoredRow> = match row.is_removed {
            true => HashSet::new(),
            false => document
                .search_rows(self.schemas)
                .into_iter()
                .map(|due| {
                    let key = value_key(&due.value).into_owned();
                    let whole = (key != due.value).then_some(due.value);
                    (row.kind.clone(), due.path, i64::from(due.element), key, whole)
                })
                .collect(),
        };
        let counted = |one: &HashSet<StoredRow>, other: &HashSet<StoredRow>| {
            one.difference(other).filter(|(_, path, ..)| self.looks_at(path)).count()
        };
        let (missing, more) = (counted(&due, &stored), counted(&stored, &due));
        match (missing, more) {
            (0, 0) => None,
            (0, more) => Some(format!("{more} rows that find it are none of its document's")),
            (missing, 0) => Some(format!("{missing} rows that should find it are missing")),
            (missing, more) => Some(format!(
                "{missing} rows that should find it are missing, and {more} that find it are none of its document's"
            )),
        }
    }

    /// A list of schemas names extensions too.
    fn looks_at(&self, path: &str) -> bool {
        let is_core = path != "schemas" && (!path.contains(':') || path.starts_with(ENTERPRISE_USER));
        self.with_extensions || is_core
    }
}
