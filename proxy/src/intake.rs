//! Intake: what has come of the body of a client's request, and whose session it keeps awake.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use portcullis_policy::Timestamp;
use portcullis_session::Session;

/// The bytes of a body that have come, and the session they keep awake.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    bytes: AtomicU64,
    session: Mutex<Option<Arc<Session>>>,
}

impl Intake {
    /// The number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// From here on it keeps this session awake.
    pub(crate) fn is_of(&self, session: Option<Arc<Session>>) {
        *self.session.lock() = session;
    }

    /// So many bytes have come.
    pub(crate) fn note_received(&self, length: usize) {
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        if let Some(session) = &*self.session.lock() {
            session.touch(Timestamp::now());
        }
    }
}
