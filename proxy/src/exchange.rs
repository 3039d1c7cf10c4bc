//! Exchange: one request and its answer, from its head to its last byte.
//!
//! A forwarded one owns its leave, its place in the register, and its record; whatever drops it leaves the register
//! first and writes the line then.

use std::sync::Arc;

use crate::clock::Waits;
use crate::open::Open;
use crate::rooms::record::Record;
use crate::rules::AppRules;
use crate::upload::Upload;

/// A request that has leave, on its way up or with its answer on the way down.
pub(crate) struct Exchange {
    pub(crate) open: Open, // first, so that a cut exchange leaves the register before its line is written
    pub(crate) waits: Arc<Waits>,
    pub(crate) record: Record,
}

impl Exchange {
    pub(crate) fn new(open: Open, waits: Arc<Waits>, record: Record) -> Self {
        Self { open, waits, record }
    }

    /// Leaves the register; what is left is answered by us.
    pub(crate) fn into_record(self) -> Record {
        let Self { open, record, .. } = self;
        drop(open);
        record
    }

    pub(crate) fn place(&self) -> &AppRules {
        self.open.place()
    }

    /// The client's body goes up with it.
    pub(crate) fn takes_along(&mut self, upload: &mut Upload) {
        let first_byte = self.open.upstream().first_byte_timeout;
        let session = self.open.session().cloned();
        self.record.count_intake(upload.goes_up(session, first_byte));
    }

    /// Notes that so many bytes came from the client behind its head: the session is not idle.
    pub(crate) fn note_received(&mut self, length: usize) {
        self.record.note(|line| line.bytes_in += length as u64);
        self.open.note_received();
        self.waits.note_progress();
    }

    /// Notes that so many bytes go to the client.
    pub(crate) fn note_sent(&mut self, length: usize) {
        self.record.note(|line| line.bytes_out += length as u64);
        self.open.note_sent();
        self.waits.note_progress();
    }
}
