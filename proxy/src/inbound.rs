//! Inbound: what whoever reads from one client shares: how long it may pause, and what was read in front of hyper.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::wire::{HeadSeen, Malformed};

/// The state that the guard, the bodies and whoever serves one connection have in common. Over HTTP/1.1 the guard
/// writes what it has read, and the others take it.
pub(crate) struct Inbound {
    /// The longest pause of a body.
    pub(crate) idle: Duration,
    read: Mutex<HeadsRead>,
}

/// The heads that were read in front of hyper, and that nobody has not been compared with what hyper reads.
#[derive(Default)]
struct HeadsRead {
    heads: VecDeque<Result<HeadSeen, Malformed>>,
    body: Option<Malformed>,
    has_begun: bool,
}

impl Inbound {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, read: Mutex::default() }
    }

    /// Adds a head that is whole, or was refused.
    pub(crate) fn push_head(&self, head: Result<HeadSeen, Malformed>) {
        self.read.lock().heads.push_back(head);
    }

    /// The next head.
    pub(crate) fn next_head(&self) -> Option<Result<HeadSeen, Malformed>> {
        self.read.lock().heads.pop_front()
    }

    /// The body that is being read is refused.
    pub(crate) fn refuse_body(&self, why: Malformed) {
        self.read.lock().body = Some(why);
    }

    /// The fault of the body that is being read.
    pub(crate) fn malformed_body(&self) -> Option<Malformed> {
        self.read.lock().body
    }

    /// Notes that a head has begun and is not whole; or that it is, or that there is none.
    pub(crate) fn set_begun(&self, has_begun: bool) {
        self.read.lock().has_begun = has_begun;
    }

    /// Tells whether a head has begun and is not whole.
    pub(crate) fn has_begun(&self) -> bool {
        self.read.lock().has_begun
    }
}
