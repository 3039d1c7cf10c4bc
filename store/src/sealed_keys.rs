//! The table `bar_key`: the keys by which subjects are hashed, sealed by the master key.
//!
//! The rule it protects: a bar means something for as long as it stands. So what subjects are hashed with is not the
//! master key, which may be replaced, and a master key that does not open these keys is refused before anybody is let
//! in: with it every bar would be void. The one way past that is [`Store::replace_keys`], which says what is lost.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_keys::{BarKey, Keyring, Random};
use portcullis_policy::{AccountId, Change, OrgId, Scope, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::assertion_keys::SealedAgain;
use crate::engine::{Engine, Tx};
use crate::log::{Origin, TxLog};
use crate::writer::Lane;
use crate::{Store, StoreError, barred, epoch, link, session};

/// The opened keys, the newest first. Bars are looked for by each, and made by the newest.
#[derive(Debug)]
pub(crate) struct BarKeys(Vec<(i64, BarKey)>);

/// The keyed hashes of one subject, by each key; the first is the one that is written.
#[derive(Clone, Debug)]
pub(crate) struct Keyed(Vec<(i64, [u8; 32])>);

impl BarKeys {
    pub(crate) fn key_subject(&self, issuer: &str, subject: &str) -> Keyed {
        Keyed(self.0.iter().map(|(id, key)| (*id, key.hash(&[issuer, subject]))).collect())
    }
}

impl Keyed {
    /// The hash that is written, with the number of its key. There always is one: a store without a key has none of
    /// these.
    pub(crate) fn written(&self) -> (i64, &[u8]) {
        self.0.first().map_or((0, &[]), |(id, hash)| (*id, hash.as_slice()))
    }

    /// Every hash that the subject may stand under.
    pub(crate) fn all_hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().map(|(_, hash)| hash)
    }
}

/// The things that are lost with a master key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLoss {
    /// Sessions that are live.
    pub sessions: u32,
    /// Links, which keep a hash of their subject.
    pub links: u32,
    /// Bars: people who were removed, or disabled by an operator.
    pub bars: u32,
}

impl fmt::Display for KeyLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, links, bars } = self;
        write!(
            f,
            "sessions ({sessions}), the hashes of links ({links}), and bars ({bars}: people who were removed or \
             disabled, and could come back)"
        )
    }
}

/// Reasons why the store cannot be used with a master key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It does not open the keys in the database.
    #[error(
        "{}: the master key is not the one that this database was written with. With another one these are lost: \
         {lost}. Restore the key from where your secrets are kept. If it is gone for good, there is one way to go on, \
         which first lists who could come back: portcullis keys replace", .path.display()
    )]
    DoNotFit {
        /// The database.
        path: PathBuf,
        /// The sessions, links and bars that would be lost.
        lost: KeyLoss,
    },
    /// The database does not answer.
    #[error("the keys in the database could not be read")]
    Store(#[from] StoreError),
}

/// The result of a replacement of the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// True where the master key from before is at hand, so that every bar keeps its meaning.
    pub keeps_bars: bool,
    /// Sessions that end, as their cookies do.
    pub sessions: u32,
    /// Bars whose subject is still known, and who stay barred.
    pub barred_again: u32,
    /// Bars that are void from now on: nobody knows any more whom they were for.
    pub void: Vec<VoidBar>,
}

/// A bar that is void without the key it was made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidBar {
    /// The account it was made for, whose row is gone.
    pub account: AccountId,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Tells whether a master key has been used with this database.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        Ok(!sealed_keys(&mut self.engine.snapshot().await?).await?.is_empty())
    }

    /// Opens the keys in the database by the master key, or makes the first one. To be called before anybody signs
    /// in: without it every sign-in is refused.
    ///
    /// # Errors
    /// [`KeysError::DoNotFit`] says what another master key would lose.
    pub async fn use_keys(
        &self,
        keys: &Keyring,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let mut found = sealed_keys(&mut self.engine.snapshot().await?).await?;
        if found.is_empty() {
            let first = BarKey::new(random).seal(1, keys, random);
            found = self
                .write_in(Lane::Ordinary, move |tx| {
                    Box::pin(async move {
                        if sealed_keys(tx).await?.is_empty() {
                            insert_key(tx, 1, &first, now).await?;
                        }
                        sealed_keys(tx).await
                    })
                })
                .await?;
        }
        match open_keys(&found, keys) {
            Some(opened) => {
                // Set once: whoever comes second has opened the same.
                let _ = self.bar_keys.set(Arc::new(opened));
                Ok(())
            }
            None => Err(self.without_keys(now).await?),
        }
    }

    /// The error of a start whose master key is missing or does not fit.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn without_keys(&self, now: Timestamp) -> Result<KeysError, StoreError> {
        let lost = count_lost(&mut self.engine.snapshot().await?, now).await?;
        Ok(KeysError::DoNotFit { path: self.engine.path().to_owned(), lost })
    }

    /// Says what [`replace_keys`](Self::replace_keys) would come to. Changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn would_replace_keys(
        &self,
        former: Option<&Keyring>,
        now: Timestamp,
    ) -> Result<Replaced, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let found = sealed_keys(&mut tx).await?;
        let keeps_bars = former.is_some_and(|former| open_keys(&found, former).is_some());
        count_replaced(&mut tx, keeps_bars, now).await
    }

    /// Goes on with the master key `keys` instead of the one that the database was written with. Where that one is at
    /// hand (`former`), every bar keeps its meaning. Without it, links and the bars whose subject is still known are
    /// hashed anew, and the others are void; their rows stay. Every session ends in either case.
    ///
    /// Nothing else may run on the database meanwhile: the store is to be opened again afterwards.
    ///
    /// # Errors
    /// Nothing has changed.
    pub async fn replace_keys(
        &self,
        former: Option<&Keyring>,
        keys: &Keyring,
        random: &mut Random,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Replaced>, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let found = sealed_keys(&mut tx).await?;
        let last = tx.one("select coalesce(max(id), 0) from bar_key", &[]).await?.int(0)?;
        let assertion_keys = SealedAgain::seal_rows(&mut tx, former, keys, random).await?;
        drop(tx);
        let resealed = former.and_then(|former| open_keys(&found, former)).map(|BarKeys(opened)| {
            opened.iter().map(|(id, key)| (*id, key.seal(*id, keys, random))).collect::<Vec<SealedKey>>()
        });
        let next = BarKey::new(random);
        let sealed = next.seal(last + 1, keys, random);
        let next = BarKeys(vec![(last + 1, next)]);
        let origin = origin.clone();
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move {
                let outcome = count_replaced(tx, resealed.is_some(), now).await?;
                match resealed {
                    Some(resealed) => {
                        for (id, sealed) in &resealed {
                            let sql = "update bar_key set sealed = $2 where id = $1";
                            tx.run(sql, &[(*id).into(), sealed.as_slice().into()]).await?;
                        }
                    }
                    None => {
                        tx.run("update bar_key set lost = $1 where lost is null", &[now.into()]).await?;
                        insert_key(tx, last + 1, &sealed, now).await?;
                        link::hash_again(tx, &next).await?;
                        barred::bar_again(tx, &next).await?;
                    }
                }
                assertion_keys.write_rows(tx).await?;
                let number = epoch::raise_epoch(tx, &Scope::Deployment).await?;
                let mut log = TxLog::new(OrgId::DEPLOYMENT, None, &origin, now);
                let detail = json!({ "keeps_bars": outcome.keeps_bars, "void": outcome.void.len() });
                log.add_audit("keys.replace", "done", None, detail.clone());
                log.add_event("keys.replaced", "deployment", detail);
                log.add_change(Change::Epoch(Scope::Deployment, number));
                log.seal(tx, outcome).await
            })
        })
        .await
    }

    /// The keyed hashes of a subject.
    ///
    /// # Errors
    /// [`StoreError::NoKeys`] before [`use_keys`](Self::use_keys).
    pub(crate) fn key_subject(&self, issuer: &str, subject: &str) -> Result<Keyed, StoreError> {
        Ok(self.bar_keys.get().ok_or(StoreError::NoKeys)?.key_subject(issuer, subject))
    }
}

/// Says what a start with this master key would say of the database, `None` where it would start; no key is one that
/// is missing. Read only, for `check`.
///
/// # Errors
/// The database cannot be read.
pub async fn keys_fault_in(
    path: &Path,
    keys: Option<&Keyring>,
    now: Timestamp,
) -> Result<Option<KeysError>, StoreError> {
    let engine = Engine::new(path);
    let found = match engine.snapshot().await {
        Ok(mut tx) => keys_fault(&mut tx, path, keys, now).await,
        Err(error) => Err(error),
    };
    engine.close().await;
    found
}

/// The same within a transaction.
pub(crate) async fn keys_fault(
    tx: &mut Tx,
    path: &Path,
    keys: Option<&Keyring>,
    now: Timestamp,
) -> Result<Option<KeysError>, StoreError> {
    let found = sealed_keys(tx).await?;
    if found.is_empty() || keys.is_some_and(|keys| open_keys(&found, keys).is_some()) {
        return Ok(None);
    }
    let lost = count_lost(tx, now).await?;
    Ok(Some(KeysError::DoNotFit { path: path.to_owned(), lost }))
}

/// A row: the number of a key, and the key sealed.
type SealedKey = (i64, Vec<u8>);

/// The keys in use, the newest first.
async fn sealed_keys(tx: &mut Tx) -> Result<Vec<SealedKey>, StoreError> {
    let rows = tx.rows("select id, sealed from bar_key where lost is null order by id desc", &[]).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.maybe_bytes(1)?.unwrap_or_default().to_vec()))).collect()
}

async fn insert_key(tx: &mut Tx, id: i64, sealed: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let sql = "insert into bar_key (id, sealed, since) values ($1, $2, $3)";
    tx.run(sql, &[id.into(), sealed.into(), now.into()]).await.map(drop)
}

/// All of them or none: a key that does not open would leave bars without meaning.
fn open_keys(sealed: &[SealedKey], keys: &Keyring) -> Option<BarKeys> {
    let opened: Option<Vec<_>> =
        sealed.iter().map(|(id, sealed)| Some((*id, BarKey::open(*id, sealed, keys)?))).collect();
    opened.filter(|opened| !opened.is_empty()).map(BarKeys)
}

async fn count_lost(tx: &mut Tx, now: Timestamp) -> Result<KeyLoss, StoreError> {
    let sessions = session::count_live(tx, "1 = 1", &[], now).await?;
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    let links = count(tx.one("select count(*) from link", &[]).await?.int(0)?);
    Ok(KeyLoss { sessions, links, bars: count(tx.one("select count(*) from barred", &[]).await?.int(0)?) })
}

async fn count_replaced(tx: &mut Tx, keeps_bars: bool, now: Timestamp) -> Result<Replaced, StoreError> {
    let sessions = session::count_live(tx, "1 = 1", &[], now).await?;
    let mut outcome = Replaced { keeps_bars, sessions, barred_again: 0, void: Vec::new() };
    if keeps_bars {
        return Ok(outcome);
    }
    let sql = "select account, since, subject is null from barred order by since, account";
    for row in tx.rows(sql, &[]).await? {
        if row.flag(2)? {
            outcome.void.push(VoidBar { account: AccountId(row.int(0)?), since: row.at(1)? });
        } else {
            outcome.barred_again += 1;
        }
    }
    Ok(outcome)
}
