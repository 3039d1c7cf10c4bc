//! Epochs: one number a scope, that only grows; sessions born under a smaller one are over (R7).

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_policy::Scope;

use crate::loom_or_std::{AtomicU64, Mutex, Ordering};

/// The epoch of one scope, shared by every session it covers, so that a check costs one load.
#[derive(Debug, Default)]
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn raise_to(&self, to: u64) {
        self.0.fetch_max(to, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<HashMap<Scope, Arc<Epoch>>>);

impl Epochs {
    pub(crate) fn of_scope(&self, scope: Scope) -> Arc<Epoch> {
        self.0.lock().entry(scope).or_default().clone()
    }
}
