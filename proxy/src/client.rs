//! Client: what everything on one client's connection shares, and what each of its HTTP/2 streams has beside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use portcullis_policy::AccountId;

use crate::clock::{Clock, Waits};
use crate::flow::Flow;
use crate::inbound::Inbound;
use crate::peer::Peer;
use crate::rules::Limits;
use crate::share::Share;
use crate::tunnel::Tunnel;

/// The state that everything on a client's connection shares.
pub(crate) struct Client {
    /// The other end.
    pub(crate) peer: Arc<Peer>,
    pub(crate) share: Arc<Share>,
    pub(crate) limits: Limits,
    /// The waits of the connection itself; over HTTP/1.1 those of its exchange as well.
    pub(crate) waits: Arc<Waits>,
    pub(crate) clock: Arc<Clock>,
    is_h2: bool,
    /// The number of exchanges it carries.
    pub(crate) serving: AtomicUsize,
    pub(crate) inbound: Arc<Inbound>,
    /// The tunnel that takes over once an answer that switches protocols has gone out.
    pub(crate) tunnel: Mutex<Option<Tunnel>>,
    /// Over HTTP/2: the stream whose task is about to be made.
    pub(crate) next: Mutex<Option<Arc<Stream>>>,
    pub(crate) flow: Flow,
    seen: Mutex<CarriedSessions>,
}

/// The accounts whose sessions a connection has carried.
enum CarriedSessions {
    Nobody,
    One(AccountId),
    Several,
}

impl Client {
    /// A connection on which nothing was read yet.
    pub(crate) fn new(
        peer: Arc<Peer>,
        share: Arc<Share>,
        limits: Limits,
        waits: Arc<Waits>,
        clock: Arc<Clock>,
        is_h2: bool,
    ) -> Self {
        Self {
            peer,
            share,
            limits,
            waits,
            clock,
            is_h2,
            serving: AtomicUsize::new(0),
            inbound: Arc::new(Inbound::new(limits.idle)),
            tunnel: Mutex::new(None),
            next: Mutex::new(None),
            flow: Flow::default(),
            seen: Mutex::new(CarriedSessions::Nobody),
        }
    }

    /// Tells whether it speaks HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        self.is_h2
    }

    /// Notes that it carries an exchange of this account.
    pub(crate) fn note_account(&self, account: AccountId) {
        if self.is_h2 {
            let mut seen = self.seen.lock();
            *seen = match *seen {
                CarriedSessions::Nobody => CarriedSessions::One(account),
                CarriedSessions::One(one) if one == account => CarriedSessions::One(one),
                _ => CarriedSessions::Several,
            };
        }
    }

    /// Notes that it is ended because of a flood on it.
    pub(crate) fn note_flood(&self, of: &'static str) {
        let recorder = self.peer.recorder();
        recorder.metrics.floods.inc();
        tracing::debug!(
            client = recorder.written_client(self.peer.address()),
            of,
            "a flood ended its connection"
        );
    }

    /// Gives how large a piece of an answer may be handed over now, in bytes.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<usize> {
        let streams = self.serving.load(Ordering::Relaxed);
        self.flow.poll_room(context, self.limits.send_buffer, streams)
    }

    /// Tells whether everybody it ever carried is the same person.
    pub(crate) fn is_one_persons(&self) -> bool {
        matches!(*self.seen.lock(), CarriedSessions::One(_))
    }
}

/// One stream of an HTTP/2 connection.
pub(crate) struct Stream {
    pub(crate) waits: Arc<Waits>,
    /// The stream's upgrade, where a WebSocket is asked for on it (RFC 8441): taken once the answer agrees.
    pub(crate) upgrade: Mutex<Option<OnUpgrade>>,
    /// The tunnel that takes over then.
    pub(crate) tunnel: Mutex<Option<Tunnel>>,
    /// The tunnel is over, in whatever way; and whoever sends the last of it, who is woken then.
    pub(crate) is_through: AtomicBool,
    pub(crate) sender: AtomicWaker,
}

impl Stream {
    pub(crate) fn new(waits: Arc<Waits>, upgrade: Option<OnUpgrade>) -> Self {
        let (upgrade, tunnel) = (Mutex::new(upgrade), Mutex::new(None));
        Self { waits, upgrade, tunnel, is_through: AtomicBool::new(false), sender: AtomicWaker::new() }
    }

    /// Hands it over to a tunnel, since its answer agrees to a WebSocket.
    pub(crate) fn switch_to(&self, tunnel: Tunnel) {
        *self.tunnel.lock() = Some(tunnel);
    }

    /// A cut, or an end from inside.
    pub(crate) fn is_over(&self) -> bool {
        self.waits.in_flight.reason().is_some() || self.waits.is_ended()
    }
}
