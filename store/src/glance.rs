//! A glance at a database that this process does not have, for `portcullis doctor`: of which version it is, what is known of
//! its directory, and by which identity providers people came in.
//!
//! Nothing is written or migrated, and no lock is taken. A file that nobody uses is read as it lies there, without SQLite's
//! files beside it coming into being; where a program begins meanwhile it is read again in the usual way.

use std::path::{Path, PathBuf};

use portcullis_keys::Keyring;
use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use serde_json::{Map, Value};

use crate::engine::{Engine, Tx};
use crate::resource::DirectoryKey;
use crate::{
    KeptIdpKeys, KeysError, OpenError, StoreError, TokenRow, idp_keys, migrate, sealed_keys, tokens,
};

/// As many people, the last who were created, are looked at for attributes that are missing.
const NEWEST: i64 = 20;
/// As many issuers are told of at most.
const ISSUERS: usize = 200;
/// As many events, the last, are looked through for changes.
const EVENTS: i64 = 5_000;

/// The findings in a database.
#[derive(Debug)]
pub struct DatabaseGlance {
    /// The number of its schema; 0 for an empty file.
    pub schema: i64,
    /// The newest schema that this release knows.
    pub known: i64,
    /// The issuers by which somebody has come in.
    pub came_in: Vec<String>,
    /// The signing keys of identity providers, and the word on them.
    pub idp_keys: KeptIdpKeys,
    /// The tokens of the directory, those that are revoked too.
    pub tokens: Vec<TokenRow>,
    /// The words of a start with this master key, where it would not begin.
    pub keys_fault: Option<KeysError>,
    /// The directory; `None` where the schema is an older one, and then nothing of the above is known either.
    pub directory: Option<DirectoryGlance>,
}

/// The part of a database that is glanced at.
#[derive(Clone, Copy, Debug)]
pub struct GlancedPart<'a> {
    /// The organization.
    pub org: OrgId,
    /// The directory.
    pub directory: DirectoryId,
    /// The master key; `None` where there is none.
    pub keys: Option<&'a Keyring>,
    /// The time.
    pub now: Timestamp,
}

/// The findings in a directory. People are counted, and none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryGlance {
    /// People who are not removed.
    pub people: i64,
    /// Groups.
    pub groups: i64,
    /// The time at which the first of the people who are there was created.
    pub first_created: Option<Timestamp>,
    /// The last who were created, 20 at most.
    pub newest: Vec<NewestPerson>,
    /// The last time that somebody who was there was changed, as far as events go back.
    pub last_change: Option<Timestamp>,
    /// The last time that somebody was deactivated or removed, as far as events go back.
    pub last_leaving: Option<Timestamp>,
    /// The time of the oldest event that was looked at.
    pub events_since: Option<Timestamp>,
}

/// One of the last people who were created: which attributes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestPerson {
    /// The time.
    pub created: Timestamp,
    /// The names of the attributes that have a value, in their order.
    pub attributes: Vec<String>,
    /// Of those that applications want, the ones that have none: `userName`, `name.givenName`, `name.familyName`, `emails`.
    pub missing: Vec<&'static str>,
}

/// Glances at a database, and changes nothing.
///
/// # Errors
/// [`OpenError`]: it cannot be read, is another program's, or of a newer release.
pub async fn glance_at(path: &Path, part: GlancedPart<'_>) -> Result<DatabaseGlance, OpenError> {
    if is_in_use(path) {
        return read_glance(Engine::new(path), part).await;
    }
    let found = read_glance(Engine::of_resting_file(path), part).await;
    if is_in_use(path) { read_glance(Engine::new(path), part).await } else { found }
}

/// Tells whether somebody has the file open, or had it and did not close it: then SQLite's log lies beside it.
fn is_in_use(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log).exists()
}

async fn read_glance(engine: Engine, part: GlancedPart<'_>) -> Result<DatabaseGlance, OpenError> {
    let path = engine.path().to_owned();
    let found = async {
        let failed = |source| OpenError::Store { path: path.clone(), source };
        let mut tx = engine.listing().await.map_err(failed)?;
        let schema = migrate::found_schema(&mut tx, &path).await?;
        let mut found = DatabaseGlance {
            schema,
            known: migrate::KNOWN,
            came_in: Vec::new(),
            idp_keys: KeptIdpKeys::default(),
            tokens: Vec::new(),
            keys_fault: None,
            directory: None,
        };
        if schema == migrate::KNOWN {
            fill_glance(&mut tx, &path, part, &mut found).await.map_err(failed)?;
        }
        Ok(found)
    };
    let found = found.await;
    engine.close().await;
    found
}

async fn fill_glance(
    tx: &mut Tx,
    path: &Path,
    part: GlancedPart<'_>,
    found: &mut DatabaseGlance,
) -> Result<(), StoreError> {
    let GlancedPart { org, directory, keys, now } = part;
    let place = DirectoryKey { org, directory };
    found.keys_fault = sealed_keys::keys_fault(tx, path, keys, now).await?;
    found.came_in = read_came_in(tx, org).await?;
    found.idp_keys = idp_keys::read_keys(tx, org).await?;
    found.tokens = tokens::read_tokens(tx, place).await?;
    found.directory = Some(read_directory(tx, place).await?);
    Ok(())
}

/// One step of the index for each issuer: of a large directory nothing else is read.
async fn read_came_in(tx: &mut Tx, org: OrgId) -> Result<Vec<String>, StoreError> {
    let sql = "select issuer from link where organization = $1 and issuer > $2 order by issuer limit 1";
    let mut found: Vec<String> = Vec::new();
    while found.len() < ISSUERS {
        let last = found.last().cloned().unwrap_or_default();
        let Some(row) = tx.row(sql, &[org.into(), (&last).into()]).await? else { break };
        found.push(row.text(0)?.to_owned());
    }
    Ok(found)
}

async fn read_directory(tx: &mut Tx, place: DirectoryKey) -> Result<DirectoryGlance, StoreError> {
    let DirectoryKey { org, directory } = place;
    let mut found = DirectoryGlance::default();
    let sql = "select kind, live from tally where organization = $1 and directory = $2";
    for row in tx.rows(sql, &[org.into(), directory.into()]).await? {
        match row.text(0)? {
            "User" => found.people = row.int(1)?,
            _ => found.groups = row.int(1)?,
        }
    }
    let sql = "select min(created) from resource where organization = $1 and directory = $2 and kind = 'User' \
               and deleted is null and created > 0";
    let first = tx.one(sql, &[org.into(), directory.into()]).await?;
    found.first_created = first.maybe_int(0)?.map(Timestamp);
    let sql = "select created, doc from resource where organization = $1 and directory = $2 and kind = 'User' \
               and deleted is null order by rid desc limit $3";
    for row in tx.rows(sql, &[org.into(), directory.into(), NEWEST.into()]).await? {
        found.newest.push(NewestPerson::of_document(row.at(0)?, row.text(1)?));
    }
    let sql =
        "select at, kind, directory from event where organization = $1 order by seq desc, n desc limit $2";
    for row in tx.rows(sql, &[org.into(), EVENTS.into()]).await? {
        let at = row.at(0)?;
        found.events_since = Some(at);
        if row.maybe_int(2)? != Some(directory.0.into()) {
            continue;
        }
        match row.text(1)? {
            "user.updated" | "user.activated" => note_first(&mut found.last_change, at),
            "user.deactivated" | "user.deleted" => {
                note_first(&mut found.last_change, at);
                note_first(&mut found.last_leaving, at);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Notes the newest: events come the newest first.
fn note_first(noted: &mut Option<Timestamp>, at: Timestamp) {
    noted.get_or_insert(at);
}

impl NewestPerson {
    fn of_document(created: Timestamp, doc: &str) -> Self {
        let document: Map<String, Value> = serde_json::from_str(doc).unwrap_or_default();
        let value = |name: &str| {
            let found = document.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value).filter(|value| is_something(value))
        };
        let part = |name: &str| {
            let parts = value("name").and_then(Value::as_object);
            parts.is_some_and(|parts| {
                parts.iter().any(|(key, value)| key.eq_ignore_ascii_case(name) && is_something(value))
            })
        };
        let wanted = [
            ("userName", value("userName").is_some()),
            ("name.givenName", part("givenName")),
            ("name.familyName", part("familyName")),
            ("emails", value("emails").is_some()),
        ];
        let came = document.iter().filter(|(key, value)| *key != "schemas" && is_something(value));
        Self {
            created,
            attributes: came.map(|(key, _)| key.clone()).collect(),
            missing: wanted.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect(),
        }
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(parts) => !parts.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_a_person_is_named_and_what_is_empty_is_missing() {
        let of = |doc: &str| NewestPerson::of_document(Timestamp(0), doc).missing;
        let whole =
            r#"{"userName":"a","name":{"givenName":"A","familyName":"B"},"emails":[{"value":"a@b.test"}]}"#;
        assert!(of(whole).is_empty());
        assert_eq!(of(r#"{"username":"a","Name":{"GIVENNAME":"A"}}"#), ["name.familyName", "emails"]);
        assert_eq!(
            of(r#"{"userName":"a","name":{},"emails":[]}"#),
            ["name.givenName", "name.familyName", "emails"]
        );
        assert_eq!(of("no document").len(), 4);
        let came = NewestPerson::of_document(Timestamp(0), r#"{"schemas":["x"],"userName":"a","emails":[]}"#);
        assert_eq!(came.attributes, ["userName"]);
    }
}
