//! The table `repeat`: what came of operations of a Bulk that had an idempotency key. It is written in the transaction of
//! the operation itself, so a client that never heard the answer can ask again after any crash.
//!
//! The rule it protects: a repeat is answered from here only where token, key and words are the same and the resource is
//! still as the operation left it; and what takes access away always runs again.

use portcullis_keys::sha256;
use portcullis_policy::{ResourceId, Timestamp};
use portcullis_scim::{Outcome, REPEAT_SECONDS, RepeatKey, ResourceKind, Version, Write};

use crate::StoreError;
use crate::engine::Tx;
use crate::resource::DirectoryKey;

/// The time that a repeat is answered, in milliseconds.
#[allow(clippy::cast_possible_wrap, reason = "a day")]
pub(crate) const KEPT_MS: i64 = REPEAT_SECONDS as i64 * 1000;

/// An idempotency key of one token, and the words it came with, as they are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    key: [u8; 32],
    operation: [u8; 32],
    continues: bool,
}

impl Repeat {
    /// `token` is the hash of the token that the operation came with.
    pub fn new(token: &[u8; 32], given: &RepeatKey) -> Self {
        let key = sha256(&[token.as_slice(), given.key.as_bytes()].concat());
        Self { key, operation: sha256(given.operation.as_bytes()), continues: given.continues }
    }

    /// Tells whether a write may be answered from its record, and leaves one.
    pub(crate) fn covers(&self, write: &Write) -> bool {
        !write.takes_away()
    }
}

/// The end of an operation, as it is remembered.
pub(crate) struct RecordedEnd {
    pub(crate) kind: ResourceKind,
    pub(crate) id: ResourceId,
    pub(crate) version: Version,
    pub(crate) made: bool,
}

impl RecordedEnd {
    /// Of an outcome that left a resource.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        let (record, made) = match outcome {
            Outcome::Created(record) => (record, true),
            Outcome::Changed(record) => (record, false),
            _ => return None,
        };
        Some(Self { kind: record.resource.kind(), id: record.id.clone(), version: record.meta.version, made })
    }
}

/// The end of the same operation before, if it is remembered.
pub(crate) async fn find_end(
    tx: &mut Tx,
    place: DirectoryKey,
    repeat: &Repeat,
    now: Timestamp,
) -> Result<Option<RecordedEnd>, StoreError> {
    if repeat.continues {
        return Ok(None);
    }
    let sql = "select kind, id, version, made from repeat \
               where organization = $1 and directory = $2 and key = $3 and operation = $4 and at > $5";
    let args = [
        place.org.into(),
        place.directory.into(),
        repeat.key.as_slice().into(),
        repeat.operation.as_slice().into(),
        now.plus_ms(-KEPT_MS).into(),
    ];
    let Some(row) = tx.row(sql, &args).await? else { return Ok(None) };
    let word = row.text(0)?;
    let Some(kind) = ResourceKind::ALL.into_iter().find(|kind| kind.name() == word) else {
        return Ok(None); // of a later release: the operation runs again
    };
    Ok(Some(RecordedEnd {
        kind,
        id: ResourceId::new(row.text(1)?),
        version: Version(row.int(2)?),
        made: row.int(3)? == 1,
    }))
}

/// Remembers the end of an operation.
pub(crate) async fn record_end(
    tx: &mut Tx,
    place: DirectoryKey,
    repeat: &Repeat,
    end: &RecordedEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The second write of an operation changes what it has made; that it has made it stays.
    let sql = "insert into repeat (organization, directory, key, operation, kind, id, version, made, at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               on conflict (organization, directory, key) do update set operation = excluded.operation, \
                 kind = excluded.kind, id = excluded.id, version = excluded.version, at = excluded.at, \
                 made = case when $10 = 1 then repeat.made else excluded.made end";
    let args = [
        place.org.into(),
        place.directory.into(),
        repeat.key.as_slice().into(),
        repeat.operation.as_slice().into(),
        end.kind.name().into(),
        end.id.as_str().into(),
        end.version.0.into(),
        end.made.into(),
        now.into(),
        repeat.continues.into(),
    ];
    tx.run(sql, &args).await.map(drop)
}
