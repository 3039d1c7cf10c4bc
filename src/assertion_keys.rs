//! The keys of the signed header: which of them signs, which applications are shown, and when another comes.
//!
//! An application that keeps keys must have had the time to read a new one before anything is signed by it, and the key
//! before it must be there for whatever was signed last. Both follow from the ages of the keys in the store alone, so a
//! start, another process and a clock that ticks come to the same.

use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_keys::{AssertionKey, Keyring, Random};
use portcullis_policy::Timestamp;
use portcullis_proxy::AssertionSigner;
use portcullis_store::{AssertionKeyRow, FormerKeys, Origin, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::log::error_chain;
use crate::operator::Operator;
use crate::order::{ACTOR, BY};
use crate::order_error::OrderError;
use crate::person::format_rfc3339;
use crate::revocation::{LEAVE, NotDone, Revocation};

const MINUTE_MS: i64 = 60_000;
/// The time for which a key is shown before it signs. Libraries read the keys again after some minutes.
const AHEAD_MS: i64 = 60 * MINUTE_MS;
/// The time for which a key is shown after it has signed for the last time.
const BEHIND_MS: i64 = 60 * MINUTE_MS;
/// The age at which a key gets a successor.
const AGE_MS: i64 = 90 * 24 * 60 * MINUTE_MS;

/// The keys of the signed header.
pub(crate) struct AssertionKeys {
    keys: Arc<Keyring>,
    signer: Arc<AssertionSigner>,
    /// The document `jwks.json` (RFC 7517 §5).
    shown: ArcSwap<String>,
    /// Held by whoever adds or drops keys.
    turn: Mutex<()>,
}

/// What becomes of keys of these ages.
#[derive(Debug, PartialEq, Eq)]
struct Judged {
    /// The place of the one that signs.
    signs: usize,
    /// How many of the first are needed by nobody.
    spent: usize,
    /// The newest has an age at which another is made.
    wants_another: bool,
}

/// The time from which the key at `place` signs. The first of all has nothing before it that could.
fn signs_from(since: &[Timestamp], place: usize) -> Timestamp {
    if place == 0 { since[0] } else { since[place].plus_ms(AHEAD_MS) }
}

/// Judges keys, the oldest first; `None` where there are none.
fn judge_keys(since: &[Timestamp], now: Timestamp) -> Option<Judged> {
    let newest = *since.last()?;
    let signs = (0..since.len()).rev().find(|place| signs_from(since, *place) <= now).unwrap_or(0);
    let is_spent = |place: usize| now >= signs_from(since, place + 1).plus_ms(BEHIND_MS);
    let spent = (0..signs).take_while(|place| is_spent(*place)).count();
    Some(Judged { signs, spent, wants_another: now >= newest.plus_ms(AGE_MS) })
}

/// Reasons why the keys are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssertionKeysError {
    #[error(
        "the keys of the signed header (headers.assertion) could not be read or written. Where one of them is damaged, all are \
         replaced by: portcullis keys rotate --now"
    )]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotGone(#[from] crate::revocation::NotGone),
}

impl From<NotDone<StoreError>> for AssertionKeysError {
    fn from(error: NotDone<StoreError>) -> Self {
        match error {
            NotDone::Write(error) => Self::Store(error),
            NotDone::NotGone(error) => Self::NotGone(error),
            NotDone::Panicked(_) => Self::Store(StoreError::Panicked),
        }
    }
}

impl AssertionKeys {
    /// None are known before [`settle`](Self::settle).
    pub(crate) fn new(keys: Arc<Keyring>) -> Self {
        Self { keys, signer: Arc::default(), shown: ArcSwap::default(), turn: Mutex::default() }
    }

    /// The part that the data plane signs with.
    pub(crate) fn signer(&self) -> &Arc<AssertionSigner> {
        &self.signer
    }

    /// The document that applications read the keys from.
    pub(crate) fn shown(&self) -> Arc<String> {
        self.shown.load_full()
    }

    /// Makes what is signed and shown agree with the store and the hour. Adds a key where there is none, or the newest is
    /// old; drops those that nobody needs.
    ///
    /// # Errors
    /// What was signed and shown before is so still.
    pub(crate) async fn settle(
        &self,
        store: &Arc<Store>,
        revocation: &Revocation,
        now: Timestamp,
    ) -> Result<(), AssertionKeysError> {
        let _turn = self.turn.lock().await;
        let rows = store.read_assertion_keys(&self.keys).await?;
        let judged = judge_keys(&ages(&rows), now);
        let spent = judged.as_ref().map_or(0, |judged| judged.spent);
        let names = rows.iter().take(spent).map(|row| row.key.kid().to_owned()).collect::<Vec<_>>();
        // First: whatever cannot be written, what is there is good.
        self.take_up(rows, now);
        if judged.as_ref().is_none_or(|judged| judged.wants_another) {
            self.add_key(store, revocation, FormerKeys::Stay, "tick", now).await?;
            if judged.is_some() {
                tracing::info!(
                    "the next key for the signed header was made: applications find it in jwks.json, and in an hour it signs"
                );
            }
            self.take_up(store.read_assertion_keys(&self.keys).await?, now);
        }
        if !names.is_empty() {
            store.drop_assertion_keys(names).await?;
        }
        Ok(())
    }

    /// Tells whether there is a key that signs.
    pub(crate) fn can_sign(&self) -> bool {
        !self.shown.load().is_empty()
    }

    /// Signs and shows what the rows say.
    fn take_up(&self, rows: Vec<AssertionKeyRow>, now: Timestamp) {
        let Some(Judged { signs, spent, .. }) = judge_keys(&ages(&rows), now) else { return };
        let shown: Vec<&str> = rows.iter().skip(spent).map(|row| row.key.jwk()).collect();
        self.shown.store(Arc::new(format!(r#"{{"keys":[{}]}}"#, shown.join(","))));
        if let Some(row) = rows.into_iter().nth(signs) {
            self.signer.replace_key(Arc::new(row.key));
        }
    }

    async fn add_key(
        &self,
        store: &Arc<Store>,
        revocation: &Revocation,
        former: FormerKeys,
        actor: &'static str,
        now: Timestamp,
    ) -> Result<(), AssertionKeysError> {
        let (store, keys) = (store.clone(), self.keys.clone());
        let adding = async move {
            let (key, mut random) = (AssertionKey::new(), Random::from_system());
            let origin = Origin::of_actor(actor);
            store.add_assertion_key(&key, former, (&keys, &mut random), &origin, now).await
        };
        revocation.carry_out(adding, LEAVE).wait_done().await?;
        Ok(())
    }
}

fn ages(rows: &[AssertionKeyRow]) -> Vec<Timestamp> {
    rows.iter().map(|row| row.since).collect()
}

/// The keys of the signed header, as an operator sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssertionKeyListing {
    /// The oldest first.
    pub(crate) keys: Vec<ListedAssertionKey>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedAssertionKey {
    /// Its name, as tokens and `jwks.json` have it.
    pub(crate) kid: String,
    /// `shown`: it will sign; `signs`; `former`: it has signed.
    pub(crate) state: String,
    pub(crate) since: String,
    /// The time from which it signs.
    pub(crate) signs: String,
}

impl Operator {
    /// Lists the keys of the signed header.
    ///
    /// # Errors
    /// [`OrderError::Store`].
    pub(crate) async fn list_assertion_keys(&self) -> Result<AssertionKeyListing, OrderError> {
        let rows = self.store.list_assertion_keys().await.map_err(OrderError::Store)?;
        Ok(list_keys(&rows, Timestamp::now()))
    }

    /// Makes a key that follows the others: once applications have had the time to read it, or `at_once`, when the others
    /// are gone.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub(crate) async fn rotate_assertion_key(
        &self,
        at_once: bool,
    ) -> Result<AssertionKeyListing, OrderError> {
        let Some(held) = &self.assertion_keys else {
            return Err(OrderError::Refused(
                "the master key was not read: name the configuration with -c FILE".to_owned(),
            ));
        };
        let now = Timestamp::now();
        let former = if at_once { FormerKeys::Go } else { FormerKeys::Stay };
        {
            let _turn = held.turn.lock().await;
            let rows = self.store.list_assertion_keys().await.map_err(OrderError::Store)?;
            if !at_once
                && rows.last().is_some_and(|(_, since)| now < since.plus_ms(AHEAD_MS))
                && rows.len() > 1
            {
                return Err(OrderError::Refused(
                    "a new key is shown already and does not sign yet: see portcullis keys list. With --now all others are \
                     gone at once"
                        .to_owned(),
                ));
            }
            let added = held.add_key(&self.store, &self.revocation, former, ACTOR, now).await;
            added.map_err(|error| match error {
                AssertionKeysError::Store(error) => OrderError::Store(error),
                AssertionKeysError::NotGone(error) => error.into(),
            })?;
        }
        if self.serves
            && let Err(error) = held.settle(&self.store, &self.revocation, now).await
        {
            // It is stored: the clock takes it up within a minute.
            tracing::error!(error = %error_chain(&error), "a new key for the signed header is stored and not in force yet");
        }
        tracing::info!(by = BY, at_once, "the key of the signed header was rotated by hand");
        self.list_assertion_keys().await
    }
}

fn list_keys(rows: &[(String, Timestamp)], now: Timestamp) -> AssertionKeyListing {
    let since: Vec<Timestamp> = rows.iter().map(|(_, since)| *since).collect();
    let signs = judge_keys(&since, now).map_or(0, |judged| judged.signs);
    let listed = rows.iter().enumerate().map(|(place, (kid, made))| ListedAssertionKey {
        kid: kid.clone(),
        state: match place.cmp(&signs) {
            std::cmp::Ordering::Less => "former",
            std::cmp::Ordering::Equal => "signs",
            std::cmp::Ordering::Greater => "shown",
        }
        .to_owned(),
        since: format_rfc3339(*made),
        signs: format_rfc3339(signs_from(&since, place)),
    });
    AssertionKeyListing { keys: listed.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(since_minutes: &[i64], now_minutes: i64) -> (usize, usize, bool) {
        let since: Vec<_> = since_minutes.iter().map(|at| Timestamp(at * MINUTE_MS)).collect();
        let Judged { signs, spent, wants_another } =
            judge_keys(&since, Timestamp(now_minutes * MINUTE_MS)).unwrap();
        (signs, spent, wants_another)
    }

    #[test]
    fn a_key_is_shown_an_hour_before_it_signs_and_an_hour_after_it_has() {
        assert!(judge_keys(&[], Timestamp(0)).is_none());
        assert_eq!(judged(&[100], 100), (0, 0, false), "the first signs at once");
        for (now, wanted) in [(200, (0, 0)), (259, (0, 0)), (260, (1, 0)), (319, (1, 0)), (320, (1, 1))] {
            let (signs, spent, _) = judged(&[100, 200], now);
            assert_eq!((signs, spent), wanted, "{now}");
        }
        // One is passed over: what it would have signed nobody has seen.
        assert_eq!(judged(&[100, 200, 201], 261), (2, 0, false));
        assert_eq!(judged(&[100, 200, 201], 400), (2, 2, false));
    }

    #[test]
    fn an_old_key_gets_a_successor_and_a_clock_that_went_back_changes_nothing() {
        let days = 24 * 60;
        assert!(!judged(&[0], 90 * days - 1).2);
        assert!(judged(&[0], 90 * days).2);
        assert!(!judged(&[0, 90 * days], 91 * days).2);
        assert_eq!(judged(&[1000, 2000], 10), (0, 0, false));
    }
}
