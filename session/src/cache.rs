//! The cache of sessions: which of them are kept without an exchange. It may lose or bring back any entry at any time.
//!
//! moka with the LRU policy: its default policy throws fresh logins away when full. The expiry is in the value.

use std::sync::Arc;

use portcullis_policy::SessionHash;

use crate::session::Session;

#[cfg(not(portcullis_loom))]
#[derive(Debug)]
pub(crate) struct Cache(moka::sync::Cache<SessionHash, Arc<Session>>);

#[cfg(not(portcullis_loom))]
impl Cache {
    pub(crate) fn new(capacity: u64) -> Self {
        let lru = moka::policy::EvictionPolicy::lru();
        Self(moka::sync::Cache::builder().max_capacity(capacity).eviction_policy(lru).build())
    }

    pub(crate) fn find_session(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.0.get(hash)
    }

    pub(crate) fn keep_session(&self, session: &Arc<Session>) {
        self.0.insert(session.hash(), session.clone());
    }

    pub(crate) fn drop_session(&self, hash: &SessionHash) {
        self.0.invalidate(hash);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.entry_count()
    }

    /// Forgets everything, as memory pressure might.
    pub(crate) fn clear(&self) {
        // `invalidate_all` spares what was inserted in the same instant.
        self.0.iter().for_each(|(hash, _)| self.0.invalidate(&*hash));
        self.0.run_pending_tasks();
    }
}

/// Under the model checker nothing is kept: losing an entry is harmless, so every history with a cache is one without.
#[cfg(portcullis_loom)]
#[derive(Debug)]
pub(crate) struct Cache;

#[cfg(portcullis_loom)]
impl Cache {
    pub(crate) fn new(_: u64) -> Self {
        Self
    }

    pub(crate) fn find_session(&self, _: &SessionHash) -> Option<Arc<Session>> {
        None
    }

    pub(crate) fn keep_session(&self, _: &Arc<Session>) {}

    pub(crate) fn drop_session(&self, _: &SessionHash) {}

    pub(crate) fn len(&self) -> u64 {
        0
    }

    pub(crate) fn clear(&self) {}
}
