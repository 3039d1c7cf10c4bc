//! The table `session`: signed-in browsers, by the hash of an id that only the browser has.
//!
//! A row is first read as a hint, whose account is then asked for; what counts is read afterwards, in one transaction,
//! with the account and the epochs (R3). A session is over when its row says so, its account's generation or one of
//! its epochs has passed it, or its time is up: rows are not touched when many end at once.

use std::sync::Arc;

use portcullis_policy::{AccountId, AppId, Generation, OrgId, SessionHash, Timestamp};
use portcullis_session::{SessionSnapshot, StoredSession};

use crate::end::IdpSessions;
use crate::engine::{SqlRow, Tx};
use crate::users::SessionDetails;
use crate::writer::Lane;
use crate::{Store, StoreError, account, epoch};

/// What an IdP wants to hear again at the logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLogoutHint {
    /// The IdP.
    pub idp: Arc<str>,
    /// The hint, sealed; `None` where none was kept.
    pub sealed: Option<Vec<u8>>,
}

/// A session as sign-in makes it.
#[derive(Debug)]
pub(crate) struct Born<'a> {
    pub(crate) org: OrgId,
    pub(crate) hash: SessionHash,
    pub(crate) account: AccountId,
    pub(crate) app: AppId,
    pub(crate) idp: &'a str,
    pub(crate) generation: Generation,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) logout_hint: Option<&'a [u8]>,
    pub(crate) idp_subject: &'a str,
    pub(crate) idp_session: Option<&'a str>,
}

/// Inserts a session, born under the epochs of this moment.
pub(crate) async fn insert_session(tx: &mut Tx, born: &Born<'_>) -> Result<(), StoreError> {
    let sql = "insert into session (organization, hash, account, app, idp, generation, created, seen, expires, \
                 logout_hint, idp_subject, idp_session, epoch_deployment, epoch_organization, epoch_idp) \
               values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, \
                 coalesce((select number from epoch where organization = 0 and idp = ''), 0), \
                 coalesce((select number from epoch where organization = $1 and idp = ''), 0), \
                 coalesce((select number from epoch where organization = $1 and idp = $5), 0))";
    let args = [
        born.org.into(),
        (&born.hash).into(),
        born.account.into(),
        born.app.into(),
        born.idp.into(),
        born.generation.into(),
        born.created.into(),
        born.expires.into(),
        born.logout_hint.into(),
        born.idp_subject.into(),
        born.idp_session.into(),
    ];
    tx.run(sql, &args).await.map(drop)
}

/// Ends one session; whose it was, or `None` where it is not there or has ended before.
pub(crate) async fn end_session(
    tx: &mut Tx,
    hash: &SessionHash,
    now: Timestamp,
) -> Result<Option<(OrgId, AccountId)>, StoreError> {
    let sql = "update session set ended = $2, logout_hint = null where hash = $1 and ended is null \
               returning organization, account";
    let row = tx.row(sql, &[hash.into(), now.into()]).await?;
    row.as_ref().map(read_owner).transpose()
}

/// A session that an IdP names.
pub(crate) struct NamedSession {
    pub(crate) account: AccountId,
    pub(crate) hash: SessionHash,
    pub(crate) has_ended: bool,
}

/// Finds the sessions that an IdP names, also those that have ended before and would still run: their end is enforced
/// again. Where a person and sessions are named, both must be theirs.
pub(crate) async fn named_at_idp(
    tx: &mut Tx,
    named: &IdpSessions,
    now: Timestamp,
) -> Result<Vec<NamedSession>, StoreError> {
    let of_idp = [named.org.into(), (&*named.idp).into(), now.into()];
    let subject = named.subject.as_deref();
    let mut rows = Vec::new();
    if named.sessions.is_empty() {
        let Some(subject) = subject else { return Ok(Vec::new()) };
        let sql = "select account, hash, ended from session \
                   where organization = $1 and idp = $2 and expires > $3 and idp_subject = $4";
        rows = tx.rows(sql, &[&of_idp[..], &[subject.into()]].concat()).await?;
    }
    for session in &named.sessions {
        let sql = "select account, hash, ended from session \
                   where organization = $1 and idp = $2 and expires > $3 and idp_session = $4 \
                     and ($5 is null or idp_subject = $5)";
        rows.extend(tx.rows(sql, &[&of_idp[..], &[session.into(), subject.into()]].concat()).await?);
    }
    rows.iter()
        .map(|row| {
            let account = AccountId(row.int(0)?);
            let damaged =
                StoreError::Unreadable { table: "session", row: account.0.to_string(), what: "the hash" };
            let hash = row.maybe_bytes(1)?.and_then(|hash| hash.try_into().ok()).ok_or(damaged)?;
            Ok(NamedSession { account, hash: SessionHash(hash), has_ended: row.maybe_int(2)?.is_some() })
        })
        .collect()
}

/// Finds the owner of a session, ended or not.
pub(crate) async fn owner_of(
    tx: &mut Tx,
    hash: &SessionHash,
) -> Result<Option<(OrgId, AccountId)>, StoreError> {
    let row = tx.row("select organization, account from session where hash = $1", &[hash.into()]).await?;
    row.as_ref().map(read_owner).transpose()
}

fn read_owner(row: &SqlRow) -> Result<(OrgId, AccountId), StoreError> {
    Ok((read_organization(row, 0)?, AccountId(row.int(1)?)))
}

fn read_organization(row: &SqlRow, column: usize) -> Result<OrgId, StoreError> {
    let number = row.int(column)?;
    u32::try_from(number).map(OrgId).map_err(|_| StoreError::Unreadable {
        table: "session",
        row: number.to_string(),
        what: "the organization",
    })
}

fn read_app(row: &SqlRow, column: usize) -> Result<AppId, StoreError> {
    let number = row.int(column)?;
    u32::try_from(number).map(AppId).map_err(|_| StoreError::Unreadable {
        table: "session",
        row: number.to_string(),
        what: "the app",
    })
}

/// The condition that a row `s` with its account `a` is live at `$1`, by everything but idleness.
const LIVE: &str = "s.ended is null and s.expires > $1 and s.generation >= a.generation \
     and not exists (select 1 from epoch e where \
       (e.organization = 0 and e.number > s.epoch_deployment) \
       or (e.organization = s.organization and e.idp = '' and e.number > s.epoch_organization) \
       or (e.organization = s.organization and e.idp = s.idp and e.idp <> '' and e.number > s.epoch_idp))";

/// Counts the live sessions that match a further condition on `s`; `args` start at `$2`.
pub(crate) async fn count_live(
    tx: &mut Tx,
    condition: &'static str,
    args: &[crate::engine::Arg<'_>],
    now: Timestamp,
) -> Result<u32, StoreError> {
    let sql = format!(
        "select count(*) from session s \
         join account a on a.organization = s.organization and a.id = s.account where {LIVE} and {condition}"
    );
    let mut all = vec![now.into()];
    all.extend_from_slice(args);
    // Made of texts of this crate alone.
    let count = tx.one(sqlx::AssertSqlSafe(sql), &all).await?.int(0)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Tells whether a session is live and another account's.
pub(crate) async fn is_live_of_another(
    tx: &mut Tx,
    hash: &SessionHash,
    org: OrgId,
    account: AccountId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let condition = "s.hash = $2 and (s.organization <> $3 or s.account <> $4)";
    Ok(count_live(tx, condition, &[hash.into(), org.into(), account.into()], now).await? > 0)
}

/// Counts the live sessions of an account.
pub(crate) async fn live_of(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    now: Timestamp,
) -> Result<u32, StoreError> {
    count_live(tx, "s.organization = $2 and s.account = $3", &[org.into(), account.into()], now).await
}

/// The live sessions of an account, the newest first, [`LISTED`] at most.
pub(crate) async fn list_live(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    now: Timestamp,
) -> Result<Vec<SessionDetails>, StoreError> {
    let sql = format!(
        "select s.hash, s.idp, s.created, s.seen, s.expires from session s \
         join account a on a.organization = s.organization and a.id = s.account \
         where {LIVE} and s.organization = $2 and s.account = $3 order by s.created desc limit {LISTED}"
    );
    // Made of texts of this crate alone.
    let rows = tx.rows(sqlx::AssertSqlSafe(sql), &[now.into(), org.into(), account.into()]).await?;
    let session = |row: &SqlRow| {
        let damaged =
            StoreError::Unreadable { table: "session", row: account.0.to_string(), what: "the hash" };
        let hash = row.maybe_bytes(0)?.and_then(|hash| hash.try_into().ok()).ok_or(damaged)?;
        Ok(SessionDetails {
            hash: SessionHash(hash),
            idp: row.text(1)?.to_owned(),
            created: row.at(2)?,
            seen: row.at(3)?,
            expires: row.at(4)?,
        })
    };
    rows.iter().map(session).collect()
}

/// The most sessions of one person that are listed.
const LISTED: u32 = 100;

impl Store {
    /// Guesses whose session it may be: a hint, to find the account in memory. Nothing else is to be believed of it
    /// (R3).
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn guess_owner(&self, hash: &SessionHash) -> Result<Option<(OrgId, AccountId)>, StoreError> {
        owner_of(&mut self.engine.snapshot().await?, hash).await
    }

    /// A session with its account, the epochs and the log number: of one snapshot, begun now.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn read_session(&self, hash: &SessionHash) -> Result<Option<SessionSnapshot>, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let sql = "select organization, account, app, idp, generation, epoch_deployment, epoch_organization, \
                     epoch_idp, created, seen, expires, ended from session where hash = $1";
        let Some(row) = tx.row(sql, &[hash.into()]).await? else { return Ok(None) };
        let (org, account) = read_owner(&row)?;
        let idp: Arc<str> = row.text(3)?.into();
        let session = StoredSession {
            hash: *hash,
            app: read_app(&row, 2)?,
            born: Generation(row.int(4)?),
            born_epochs: [
                epoch::epoch_number(row.int(5)?)?,
                epoch::epoch_number(row.int(6)?)?,
                epoch::epoch_number(row.int(7)?)?,
            ],
            created: row.at(8)?,
            seen: row.at(9)?,
            expires: row.at(10)?,
            ended: row.maybe_int(11)?.is_some(),
            idp,
        };
        let epochs = epoch::read_epochs(&mut tx, org, &session.idp).await?;
        let described = account::describe_account(&mut tx, &self.schemas, org, account).await?;
        Ok(described.map(|described| SessionSnapshot { described, session, epochs }))
    }

    /// What was kept for the logout at the IdP; gone once the session has ended.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn logout_hint(&self, hash: &SessionHash) -> Result<Option<SealedLogoutHint>, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let sql = "select idp, logout_hint from session where hash = $1 and ended is null";
        let Some(row) = tx.row(sql, &[hash.into()]).await? else { return Ok(None) };
        let sealed = row.maybe_bytes(1)?.map(<[u8]>::to_vec);
        Ok(Some(SealedLogoutHint { idp: row.text(0)?.into(), sealed }))
    }

    /// Counts the sessions that are live at `now`, idle ones among them.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn count_sessions(&self, now: Timestamp) -> Result<u32, StoreError> {
        count_live(&mut self.engine.listing().await?, "1 = 1", &[], now).await
    }

    /// Takes down when clients were last heard, in transactions of a hundred, without sync.
    ///
    /// # Errors
    /// Some, or all, were not written.
    pub async fn save_seen(&self, batch: Vec<(SessionHash, Timestamp)>) -> Result<(), StoreError> {
        for part in batch.chunks(100) {
            let part = part.to_vec();
            self.write_in(Lane::Unsynced, move |tx| {
                Box::pin(async move {
                    for (hash, seen) in &part {
                        let sql = "update session set seen = $2 where hash = $1 and seen < $2";
                        tx.run(sql, &[hash.into(), (*seen).into()]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }
}
