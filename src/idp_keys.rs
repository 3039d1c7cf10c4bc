//! The signing keys of identity providers, from the store into memory and back.
//!
//! Memory is asked at each signature, the store is what the next process begins with. One task at a time writes, so that
//! what was seen earlier never overwrites what was seen later, nor an operator's word.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_policy::{OrgId, Timestamp};
use portcullis_sso::{BookedKey, BookedState, KeyBook};
use portcullis_store::{IdpKeyRow, IdpKeyState, KeptIdpKeys, Origin, Store, StoreError};

use crate::revocation::{NotDone, Revocation};

/// The signing keys of every identity provider.
pub(crate) struct IdpKeys {
    pub(crate) book: Arc<KeyBook>,
    /// Held by whoever writes a state of keys into the store.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Epochs that were raised in this process alone, because the store did not take the order: by identity provider.
    held: Mutex<BTreeMap<String, u64>>,
}

impl IdpKeys {
    /// Begins with what the store has.
    ///
    /// # Errors
    /// The store does not answer: without it nobody knows what was distrusted.
    pub(crate) async fn load_kept(store: &Store) -> Result<Self, StoreError> {
        let book = Arc::new(read_book(store.read_idp_keys(OrgId::ONLY).await?));
        Ok(Self { book, writing: tokio::sync::Mutex::default(), held: Mutex::default() })
    }

    /// The epoch that ends every session of an identity provider though it is not stored. `now` is the one in memory: raised
    /// once, so that what is stored at last is not behind it.
    pub(crate) fn hold_epoch(&self, idp: &str, now: u64) -> u64 {
        let mut held = self.held.lock();
        match held.get(idp) {
            Some(raised) if *raised == now => now,
            _ => {
                held.insert(idp.to_owned(), now.saturating_add(1));
                now.saturating_add(1)
            }
        }
    }

    /// Tells whether something is held that is not stored.
    pub(crate) fn has_holds(&self) -> bool {
        !self.held.lock().is_empty()
    }

    /// Forgets what was held: the order is stored.
    pub(crate) fn end_hold(&self, idps: &[String]) {
        let mut held = self.held.lock();
        for idp in idps {
            held.remove(idp);
        }
    }

    /// Writes what has changed at an identity provider since this was last done. The caller holds `writing`.
    ///
    /// # Errors
    /// It is not written, and offered again.
    pub(crate) async fn save_keys(
        &self,
        idp: &str,
        store: &Arc<Store>,
        revocation: &Revocation,
    ) -> Result<(), NotDone<StoreError>> {
        let Some(keys) = self.book.take_unsaved(idp) else { return Ok(()) };
        let keys = keys.into_iter().map(key_row).collect();
        let (store, name, origin) = (store.clone(), idp.to_owned(), Origin::of_actor("idp"));
        let write =
            async move { store.keep_idp_keys(OrgId::ONLY, name, keys, &origin, Timestamp::now()).await };
        let done = revocation.carry_out(write, crate::revocation::LEAVE).wait_done().await;
        done.map(drop).inspect_err(|_| self.book.keep_unsaved(idp))
    }
}

/// Makes the book of what was kept.
pub(crate) fn read_book(kept: KeptIdpKeys) -> KeyBook {
    let KeptIdpKeys { keys, distrusted } = kept;
    KeyBook::new(distrusted, keys.into_iter().map(|(idp, key)| (idp, booked_key(&key))))
}

fn key_row(key: BookedKey) -> IdpKeyRow {
    let state = match key.state {
        BookedState::InForce => IdpKeyState::InForce,
        BookedState::Waiting => IdpKeyState::Waiting,
        BookedState::Gone => IdpKeyState::Gone,
    };
    IdpKeyRow { certificate: key.certificate, key: key.key, state, since: key.since }
}

fn booked_key(key: &IdpKeyRow) -> BookedKey {
    let state = match key.state {
        IdpKeyState::InForce => BookedState::InForce,
        IdpKeyState::Waiting => BookedState::Waiting,
        IdpKeyState::Gone => BookedState::Gone,
    };
    BookedKey { certificate: key.certificate, key: key.key, state, since: key.since }
}
