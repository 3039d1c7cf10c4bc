//! The table `token`: what a directory is written to by. A row has the hash of a token, never the token, and tells for
//! ever when it was taken back.
//!
//! The rule it protects: a token that was revoked never counts again. Nothing here unsets `revoked`, and nothing makes an
//! end later than it was.

use std::path::Path;

use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::engine::{Engine, SqlRow, Tx};
use crate::log::{Origin, TxLog, commit_unchanged};
use crate::resource::DirectoryKey;
use crate::writer::Lane;
use crate::{Store, StoreError};

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its number, never used twice.
    pub id: i64,
    /// Its name, which the token that follows it bears too.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// The time it was made.
    pub created: Timestamp,
    /// The time from which it only takes away.
    pub expires: Timestamp,
    /// The last time it was used, a minute behind at most.
    pub used: Option<Timestamp>,
    /// The time it was revoked.
    pub revoked: Option<Timestamp>,
    /// The last time that an event told of its end.
    pub warned: Option<Timestamp>,
}

/// A token that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// The end of its life.
    pub expires: Timestamp,
}

/// The end of an order to make a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddedToken {
    /// It is kept.
    Added(TokenRow),
    /// One that is not revoked has that name.
    NameTaken,
    /// There are so many that are not revoked.
    TooMany(i64),
}

/// A token and those that it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedToken {
    /// The new one.
    pub made: TokenRow,
    /// Those before it, with the end that they have now.
    pub former: Vec<TokenRow>,
}

/// The word of an event about a token's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenWarning {
    /// It ends soon.
    Expiring,
    /// It has ended and is used all the same.
    UsedExpired,
}

impl TokenWarning {
    fn event_word(self) -> &'static str {
        match self {
            Self::Expiring => "token.expiring",
            Self::UsedExpired => "token.used_expired",
        }
    }
}

/// The most tokens of a directory that are not revoked: each request is compared with all of them.
const MOST: i64 = 100;

/// Reads the tokens from a database that this process does not have: nothing is written.
///
/// # Errors
/// The database cannot be read, or is of an earlier version.
pub async fn tokens_in(path: &Path, org: OrgId, directory: DirectoryId) -> Result<Vec<TokenRow>, StoreError> {
    let engine = Engine::new(path);
    let found = match engine.snapshot().await {
        Ok(mut tx) => read_tokens(&mut tx, DirectoryKey { org, directory }).await,
        Err(error) => Err(error),
    };
    engine.close().await;
    found
}

impl Store {
    /// Reads the tokens of a directory, those that are revoked too, in the order they were made.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn read_tokens(&self, org: OrgId, directory: DirectoryId) -> Result<Vec<TokenRow>, StoreError> {
        read_tokens(&mut self.engine.snapshot().await?, DirectoryKey { org, directory }).await
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn add_token(
        &self,
        org: OrgId,
        directory: DirectoryId,
        token: NewToken,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<AddedToken>, StoreError> {
        let (place, origin) = (DirectoryKey { org, directory }, origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let tokens = read_tokens(tx, place).await?;
                let mut kept = tokens.iter().filter(|row| row.revoked.is_none());
                if i64::try_from(kept.clone().count()).unwrap_or(i64::MAX) >= MOST {
                    return commit_unchanged(tx, AddedToken::TooMany(MOST)).await;
                }
                if kept.any(|row| row.name == token.name) {
                    return commit_unchanged(tx, AddedToken::NameTaken).await;
                }
                let made = insert_token(tx, place, token, now).await?;
                let mut log = TxLog::new(place.org, Some(place.directory), &origin, now);
                let detail = json!({ "name": made.name, "expires": made.expires.0 });
                log.did("token.created", &subject(made.id), None, detail);
                log.seal(tx, AddedToken::Added(made)).await
            })
        })
        .await
    }

    /// Keeps a new token in the place of others of the same name, which end at `until` at the latest. `None` where all
    /// of them are revoked, or more tokens would be kept than there may be.
    ///
    /// # Errors
    /// Nothing was written.
    #[expect(
        clippy::too_many_arguments,
        reason = "the place and the origin of every write, and three of its own"
    )]
    pub async fn rotate_token(
        &self,
        org: OrgId,
        directory: DirectoryId,
        former: Vec<i64>,
        token: NewToken,
        until: Timestamp,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Option<RotatedToken>>, StoreError> {
        let (place, origin) = (DirectoryKey { org, directory }, origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let (mut before, others): (Vec<_>, Vec<_>) = read_tokens(tx, place)
                    .await?
                    .into_iter()
                    .filter(|row| row.revoked.is_none())
                    .partition(|row| former.contains(&row.id));
                let kept = before.len() + others.len();
                if before.is_empty() || i64::try_from(kept).unwrap_or(i64::MAX) >= MOST {
                    return commit_unchanged(tx, None).await;
                }
                for row in &mut before {
                    row.expires = row.expires.min(until);
                    let sql = "update token set expires = $2 where id = $1 and expires > $2";
                    tx.run(sql, &[row.id.into(), until.into()]).await?;
                }
                let made = insert_token(tx, place, token, now).await?;
                let mut log = TxLog::new(place.org, Some(place.directory), &origin, now);
                let ids: Vec<i64> = before.iter().map(|row| row.id).collect();
                let detail = json!({
                    "name": made.name, "expires": made.expires.0, "former": ids, "former_until": until.0
                });
                log.did("token.rotated", &subject(made.id), None, detail);
                log.seal(tx, Some(RotatedToken { made, former: before })).await
            })
        })
        .await
    }

    /// Revokes tokens, for ever, and gives the numbers of those that were not revoked before.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn revoke_tokens(
        &self,
        org: OrgId,
        directory: DirectoryId,
        ids: Vec<i64>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Vec<i64>>, StoreError> {
        let (place, origin) = (DirectoryKey { org, directory }, origin.clone());
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move {
                let mut revoked = Vec::new();
                let mut log = TxLog::new(place.org, Some(place.directory), &origin, now);
                for id in ids {
                    let sql = "update token set revoked = $4 where organization = $1 and directory = $2 \
                               and id = $3 and revoked is null returning name";
                    let args = [place.org.into(), place.directory.into(), id.into(), now.into()];
                    if let Some(row) = tx.row(sql, &args).await? {
                        log.did("token.revoked", &subject(id), None, json!({ "name": row.text(0)? }));
                        revoked.push(id);
                    }
                }
                if revoked.is_empty() {
                    return commit_unchanged(tx, revoked).await;
                }
                log.seal(tx, revoked).await
            })
        })
        .await
    }

    /// Writes down when tokens were last used.
    ///
    /// # Errors
    /// The database does not answer; what a crash forgets is a minute.
    pub async fn save_token_uses(&self, uses: Vec<(i64, Timestamp)>) -> Result<(), StoreError> {
        self.write_in(Lane::Unsynced, move |tx| {
            Box::pin(async move {
                for (id, used) in &uses {
                    let sql = "update token set used = $2 where id = $1 and (used is null or used < $2)";
                    tx.run(sql, &[(*id).into(), (*used).into()]).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Writes an event about the end of a token, and that it was written.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn warn_of_token(
        &self,
        org: OrgId,
        directory: DirectoryId,
        id: i64,
        warning: TokenWarning,
        now: Timestamp,
    ) -> Result<Committed<()>, StoreError> {
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let sql = "update token set warned = $4 where organization = $1 and directory = $2 and id = $3 \
                           returning name, expires";
                let args = [org.into(), directory.into(), id.into(), now.into()];
                let Some(row) = tx.row(sql, &args).await? else { return commit_unchanged(tx, ()).await };
                let mut log = TxLog::new(org, Some(directory), &Origin::of_actor("clock"), now);
                let detail = json!({ "name": row.text(0)?, "expires": row.at(1)?.0 });
                log.add_event(warning.event_word(), subject(id), detail);
                log.seal(tx, ()).await
            })
        })
        .await
    }
}

pub(crate) async fn read_tokens(tx: &mut Tx, place: DirectoryKey) -> Result<Vec<TokenRow>, StoreError> {
    let sql = "select id, name, hash, created, expires, used, revoked, warned from token \
               where organization = $1 and directory = $2 order by id";
    tx.rows(sql, &[place.org.into(), place.directory.into()]).await?.iter().map(token_row).collect()
}

async fn insert_token(
    tx: &mut Tx,
    place: DirectoryKey,
    token: NewToken,
    now: Timestamp,
) -> Result<TokenRow, StoreError> {
    let sql = "insert into token (organization, directory, name, hash, created, expires) \
               values ($1, $2, $3, $4, $5, $6) \
               returning id, name, hash, created, expires, used, revoked, warned";
    let NewToken { name, hash, expires } = token;
    let args = [
        place.org.into(),
        place.directory.into(),
        (&name).into(),
        hash.as_slice().into(),
        now.into(),
        expires.into(),
    ];
    token_row(&tx.one(sql, &args).await?)
}

/// Columns: id, name, hash, created, expires, used, revoked, warned.
fn token_row(row: &SqlRow) -> Result<TokenRow, StoreError> {
    let id = row.int(0)?;
    let damaged = |what| StoreError::Unreadable { table: "token", row: id.to_string(), what };
    let hash = row.maybe_bytes(2)?.and_then(|hash| hash.try_into().ok());
    Ok(TokenRow {
        id,
        name: row.text(1)?.to_owned(),
        hash: hash.ok_or_else(|| damaged("the hash"))?,
        created: row.at(3)?,
        expires: row.at(4)?,
        used: row.maybe_int(5)?.map(Timestamp),
        revoked: row.maybe_int(6)?.map(Timestamp),
        warned: row.maybe_int(7)?.map(Timestamp),
    })
}

/// A token in the log.
fn subject(id: i64) -> String {
    format!("token:{id}")
}
