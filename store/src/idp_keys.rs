//! The tables `idp_key` and `distrusted_key`: the keys by which an identity provider's word is believed, for the next
//! process, and since when, for whoever asks later. What is distrusted here is never removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use portcullis_policy::{Change, OrgId, Scope, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::engine::{Engine, SqlRow, Tx};
use crate::log::{Origin, TxLog, commit_unchanged};
use crate::writer::Lane;
use crate::{Store, StoreError, epoch, head, session};

/// A signing key of an identity provider, as its metadata had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpKeyRow {
    /// The SHA-256 of its certificate.
    pub certificate: [u8; 32],
    /// The SHA-256 of the key itself.
    pub key: [u8; 32],
    /// Its state.
    pub state: IdpKeyState,
    /// The time since which it is in that state.
    pub since: Timestamp,
}

/// The state of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdpKeyState {
    /// It is believed.
    InForce,
    /// It waits for an operator.
    Waiting,
    /// It was believed, and the metadata has dropped it.
    Gone,
}

impl IdpKeyState {
    fn table_word(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Waiting => "waiting",
            Self::Gone => "gone",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::InForce, Self::Waiting, Self::Gone].into_iter().find(|state| state.table_word() == word)
    }
}

/// The time that the sessions of an identity provider may take to be counted.
const COUNTED: Duration = Duration::from_millis(300);

/// Everything that is kept of signing keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptIdpKeys {
    /// Each with the name of its identity provider in the configuration.
    pub keys: Vec<(String, IdpKeyRow)>,
    /// The fingerprints that were distrusted: of certificates, and of keys.
    pub distrusted: Vec<[u8; 32]>,
}

/// A key that was distrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistrustedKey {
    /// The identity providers that have or had the key: all their sessions have ended.
    pub idps: Vec<String>,
    /// The number of sessions that ended, where they could be counted in time.
    pub live: Option<u32>,
    /// True where it was distrusted before: then only what that ended is enforced again.
    pub is_repeat: bool,
}

/// Reads what is kept of signing keys from a database that this process does not have: nothing is written.
///
/// # Errors
/// The database cannot be read, or is of an earlier version.
pub async fn idp_keys_in(path: &Path, org: OrgId) -> Result<KeptIdpKeys, StoreError> {
    let engine = Engine::new(path);
    let found = match engine.snapshot().await {
        Ok(mut tx) => read_keys(&mut tx, org).await,
        Err(error) => Err(error),
    };
    engine.close().await;
    found
}

impl Store {
    /// Reads what is kept of signing keys.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn read_idp_keys(&self, org: OrgId) -> Result<KeptIdpKeys, StoreError> {
        read_keys(&mut self.engine.snapshot().await?, org).await
    }

    /// Keeps the signing keys of an identity provider as they are now. Keys that have come or gone, and each that begins to
    /// wait, are in the audit and events, once. Nobody's access changes by it.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn keep_idp_keys(
        &self,
        org: OrgId,
        idp: String,
        keys: Vec<IdpKeyRow>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<()>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move { keep_keys(tx, org, &idp, &keys, &origin, now).await })
        })
        .await
    }

    /// Puts a key that waits in force: every certificate of it that waits. False where none does any more.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn approve_idp_key(
        &self,
        org: OrgId,
        idp: String,
        key: [u8; 32],
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<bool>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let sql = "update idp_key set state = 'in_force', since = $4 \
                           where organization = $1 and idp = $2 and key = $3 and state = 'waiting' \
                           returning certificate";
                let args = [org.into(), (&idp).into(), key.as_slice().into(), now.into()];
                let rows = tx.rows(sql, &args).await?;
                let mut approved = Vec::new();
                for row in &rows {
                    approved.push(to_hex(&read_print(row, 0)?));
                }
                if approved.is_empty() {
                    return commit_unchanged(tx, false).await;
                }
                let mut log = TxLog::new(org, None, &origin, now);
                let detail = json!({ "idp": idp, "approved": approved });
                log.add_audit("idp.keys", "approved", None, detail.clone());
                log.add_event("idp.key_approved", format!("idp:{idp}"), detail);
                log.seal(tx, true).await
            })
        })
        .await
    }

    /// Distrusts a key, for ever, by its fingerprints: of the key and of certificates. Every session of each identity
    /// provider that has or had it is over: those that the database knows, and `known`.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn distrust_idp_key(
        &self,
        org: OrgId,
        prints: BTreeSet<[u8; 32]>,
        known: BTreeSet<String>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<DistrustedKey>, StoreError> {
        // Counted beside the transaction, which must be short: the number is for people, and taking away waits for none.
        let counting = self.count_of_holders(org, &prints, &known, now);
        let live = tokio::time::timeout(COUNTED, counting).await.ok().and_then(Result::ok);
        let origin = origin.clone();
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move { distrust_key(tx, org, &prints, known, live, &origin, now).await })
        })
        .await
    }

    async fn count_of_holders(
        &self,
        org: OrgId,
        prints: &BTreeSet<[u8; 32]>,
        known: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let mut tx = self.engine.listing().await?;
        let mut live = 0;
        for idp in find_holders(&mut tx, org, prints, known).await? {
            let condition = "s.organization = $2 and s.idp = $3";
            live += session::count_live(&mut tx, condition, &[org.into(), (&idp).into()], now).await?;
        }
        Ok(live)
    }
}

pub(crate) async fn read_keys(tx: &mut Tx, org: OrgId) -> Result<KeptIdpKeys, StoreError> {
    let sql =
        "select idp, certificate, key, state, since from idp_key where organization = $1 order by idp, since";
    let mut kept = KeptIdpKeys::default();
    for row in tx.rows(sql, &[org.into()]).await? {
        let word = row.text(3)?;
        let state = IdpKeyState::from_word(word).ok_or_else(|| damaged_key("the state", word))?;
        let key = IdpKeyRow {
            certificate: read_print(&row, 1)?,
            key: read_print(&row, 2)?,
            state,
            since: row.at(4)?,
        };
        kept.keys.push((row.text(0)?.to_owned(), key));
    }
    let sql = "select fingerprint from distrusted_key where organization = $1";
    for row in tx.rows(sql, &[org.into()]).await? {
        kept.distrusted.push(read_print(&row, 0)?);
    }
    Ok(kept)
}

async fn keep_keys(
    tx: &mut Tx,
    org: OrgId,
    idp: &str,
    keys: &[IdpKeyRow],
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<()>, StoreError> {
    let KeptIdpKeys { keys: all, distrusted } = read_keys(tx, org).await?;
    let before: Vec<IdpKeyRow> =
        all.into_iter().filter(|(name, _)| name == idp).map(|(_, key)| key).collect();
    // Distrusted by its certificate, before anybody had seen the key in it.
    let is_distrusted =
        |key: &IdpKeyRow| [key.certificate, key.key].iter().any(|print| distrusted.contains(print));
    for key in keys.iter().filter(|key| is_distrusted(key)) {
        insert_distrusted(tx, org, &key.key, now).await?;
    }
    for gone in before.iter().filter(|key| keys.iter().all(|kept| kept.certificate != key.certificate)) {
        let sql = "delete from idp_key where organization = $1 and idp = $2 and certificate = $3";
        tx.run(sql, &[org.into(), idp.into(), gone.certificate.as_slice().into()]).await?;
    }
    for key in keys.iter().filter(|key| !before.contains(key)) {
        let sql = "insert into idp_key (organization, idp, certificate, key, state, since) \
                   values ($1, $2, $3, $4, $5, $6) on conflict (organization, idp, certificate) \
                   do update set key = excluded.key, state = excluded.state, since = excluded.since";
        let args = [
            org.into(),
            idp.into(),
            key.certificate.as_slice().into(),
            key.key.as_slice().into(),
            key.state.table_word().into(),
            key.since.into(),
        ];
        tx.run(sql, &args).await?;
    }
    let in_force = |rows: &[IdpKeyRow]| prints_in(rows, IdpKeyState::InForce);
    let (was, is) = (in_force(&before), in_force(keys));
    let mut log = TxLog::new(org, None, origin, now);
    let (added, removed): (Vec<_>, Vec<_>) = (is.difference(&was).collect(), was.difference(&is).collect());
    let mut has_news = false;
    if !added.is_empty() || !removed.is_empty() {
        let detail = json!({ "idp": idp, "added": added, "removed": removed });
        // The keys of the first document are no change.
        log.add_audit("idp.keys", if before.is_empty() { "first" } else { "changed" }, None, detail.clone());
        if !before.is_empty() {
            log.add_event("idp.keys_changed", format!("idp:{idp}"), detail);
        }
        has_news = true;
    }
    let waited = prints_in(&before, IdpKeyState::Waiting);
    for key in keys.iter().filter(|key| key.state == IdpKeyState::Waiting && !is_distrusted(key)) {
        let print = to_hex(&key.certificate);
        if !waited.contains(&print) {
            let detail = json!({ "idp": idp, "certificate": print, "key": to_hex(&key.key) });
            log.add_audit("idp.keys", "waiting", None, detail.clone());
            log.add_event("idp.key_waiting", format!("idp:{idp}"), detail);
            has_news = true;
        }
    }
    if has_news { log.seal(tx, ()).await } else { commit_unchanged(tx, ()).await }
}

async fn distrust_key(
    tx: &mut Tx,
    org: OrgId,
    prints: &BTreeSet<[u8; 32]>,
    known: BTreeSet<String>,
    live: Option<u32>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<DistrustedKey>, StoreError> {
    let idps: Vec<String> = find_holders(tx, org, prints, &known).await?.into_iter().collect();
    let mut is_repeat = true;
    for print in prints {
        is_repeat &= !insert_distrusted(tx, org, print, now).await?;
    }
    let mut log = TxLog::new(org, None, origin, now);
    let shown: Vec<String> = prints.iter().map(to_hex).collect();
    if is_repeat {
        let mut changes = Vec::new();
        for idp in &idps {
            let [.., number] = epoch::read_epochs(tx, org, idp).await?;
            changes.push(Change::Epoch(Scope::Idp(org, idp.as_str().into()), number));
        }
        let done = DistrustedKey { idps, live: None, is_repeat };
        return Ok(Committed::new(done, changes, head::log_seq(tx).await?, true));
    }
    let detail = json!({ "fingerprints": shown, "idps": idps, "live": live });
    log.add_audit("idp.keys", "distrusted", None, detail.clone());
    log.add_event("idp.key_distrusted", "idp", detail);
    for idp in &idps {
        let scope = Scope::Idp(org, idp.as_str().into());
        let number = epoch::raise_epoch(tx, &scope).await?;
        let name = epoch::scope_name(&scope);
        log.add_audit("session.end", "done", None, json!({ "scope": name, "why": "a key was distrusted" }));
        log.add_event("sessions.ended", name, json!({}));
        log.add_change(Change::Epoch(scope, number));
    }
    log.seal(tx, DistrustedKey { idps, live, is_repeat }).await
}

/// The identity providers that have or had a key of these fingerprints.
async fn find_holders(
    tx: &mut Tx,
    org: OrgId,
    prints: &BTreeSet<[u8; 32]>,
    known: &BTreeSet<String>,
) -> Result<BTreeSet<String>, StoreError> {
    let mut holders = known.clone();
    for (idp, key) in read_keys(tx, org).await?.keys {
        if prints.contains(&key.certificate) || prints.contains(&key.key) {
            holders.insert(idp);
        }
    }
    Ok(holders)
}

/// Inserts a fingerprint; false where it was there.
async fn insert_distrusted(
    tx: &mut Tx,
    org: OrgId,
    print: &[u8; 32],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "insert into distrusted_key (organization, fingerprint, since) values ($1, $2, $3) on conflict do nothing";
    Ok(tx.run(sql, &[org.into(), print.as_slice().into(), now.into()]).await? == 1)
}

fn prints_in(rows: &[IdpKeyRow], state: IdpKeyState) -> BTreeSet<String> {
    rows.iter().filter(|key| key.state == state).map(|key| to_hex(&key.certificate)).collect()
}

fn read_print(row: &SqlRow, column: usize) -> Result<[u8; 32], StoreError> {
    let bytes = row.maybe_bytes(column)?.unwrap_or_default();
    bytes.try_into().map_err(|_| damaged_key("the fingerprint", "a key"))
}

fn damaged_key(what: &'static str, row: &str) -> StoreError {
    StoreError::Unreadable { table: "idp_key", row: row.to_owned(), what }
}

fn to_hex(print: &[u8; 32]) -> String {
    print.iter().map(|byte| format!("{byte:02x}")).collect()
}
