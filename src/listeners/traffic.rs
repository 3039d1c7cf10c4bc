//! What passes on one connection of the core listeners, and when it is over.
//!
//! The library's own limits leave gaps: a socket that says nothing is asked for its protocol for ever, a body has no
//! limit as a whole, and neither has a client that takes no answer. So a connection is held to three times from
//! outside, whatever the library does: until the first request is there, for each request with its answer, and between
//! the last and the next.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The times that a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Until the head of a request is there, the first one's from the moment the connection is.
    pub(crate) head: Duration,
    /// From the end of an answer to the next request.
    pub(crate) idle: Duration,
    /// From the head of a request to the end of its answer.
    pub(crate) exchange: Duration,
}

/// The reason of a connection that ends to make room.
const YIELDS: &str = "made_room";
/// Nobody who has waited for less makes room.
const MOMENT: Duration = Duration::from_secs(1);
/// The time for which one that makes room is still listened to.
const GRACE: Duration = Duration::from_millis(20);

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(10), idle: seconds(75), exchange: seconds(120) }
    }
}

/// One connection's traffic.
#[derive(Debug)]
pub(crate) struct Traffic {
    times: Times,
    state: Mutex<SeatState>,
    changed: Notify,
}

#[derive(Debug)]
struct SeatState {
    /// The number of requests that have come.
    begun: u64,
    /// Since when nothing is under way.
    since: Instant,
    /// The beginnings of the exchanges under way, in their order.
    under_way: BTreeMap<u64, Instant>,
    /// It makes room for another.
    yields: bool,
}

/// The connections of a listener. Where it is full, one on which nothing is under way makes room: whoever says nothing
/// keeps nobody out.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<TakenSeats>);

#[derive(Debug, Default)]
struct TakenSeats {
    last: u64,
    connections: BTreeMap<u64, Arc<Traffic>>,
}

/// A connection's place among the others, until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSeat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// A connection is there.
    pub(crate) fn take_seat(self: &Arc<Self>, traffic: Arc<Traffic>) -> ConnectionSeat {
        let mut taken = self.lock_seats();
        taken.last += 1;
        let number = taken.last;
        taken.connections.insert(number, traffic);
        ConnectionSeat { seats: self.clone(), number }
    }

    /// Ends the connection that has said nothing for longest, else the one that has been done for longest. One whose
    /// request is under way stays, and so does one that came a moment ago: what it has sent may not have been read yet.
    pub(crate) fn make_room(&self) {
        let (taken, since) = (self.lock_seats(), Instant::now() - MOMENT);
        let waits = taken.connections.values().filter_map(|one| Some((one.waiting_since()?, one)));
        // Whoever was served before has had their turn: they are asked however busy they make themselves.
        let waits = waits.filter(|((has_asked, began), _)| *has_asked || *began <= since);
        if let Some((_, longest)) = waits.min_by_key(|(waits, _)| *waits) {
            longest.make_room();
        }
    }

    fn lock_seats(&self) -> std::sync::MutexGuard<'_, TakenSeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        let gone = self.seats.lock_seats().connections.remove(&self.number);
        drop(gone);
    }
}

/// A request and its answer, under way until this is dropped.
#[derive(Debug)]
pub(crate) struct TrackedExchange {
    traffic: Arc<Traffic>,
    number: u64,
}

impl Traffic {
    /// A connection that is there from now on.
    pub(crate) fn new(times: Times) -> Arc<Self> {
        let state = SeatState { begun: 0, since: Instant::now(), under_way: BTreeMap::new(), yields: false };
        Arc::new(Self { times, state: Mutex::new(state), changed: Notify::new() })
    }

    /// A request has come.
    pub(crate) fn begin_exchange(self: &Arc<Self>) -> TrackedExchange {
        let number = {
            let mut state = self.lock_state();
            state.begun += 1;
            let number = state.begun;
            state.under_way.insert(number, Instant::now());
            number
        };
        self.changed.notify_one();
        TrackedExchange { traffic: self.clone(), number }
    }

    /// Ready when the connection is over; says why in one word, unless it was merely done with.
    pub(crate) async fn wait_until_over(&self) -> Option<&'static str> {
        let mut has_looked = false;
        loop {
            let (at, why) = self.next_end();
            if at <= Instant::now() {
                if why != Some(YIELDS) || has_looked {
                    return why;
                }
                // What has come meanwhile is read before a timer can go off, and then it is no silent one.
                tokio::time::sleep(GRACE).await;
                has_looked = true;
                continue;
            }
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Tells whether it has asked for something before, and since when nothing is under way; `None` while something
    /// is, or where it makes room already.
    fn waiting_since(&self) -> Option<(bool, Instant)> {
        let state = self.lock_state();
        (state.under_way.is_empty() && !state.yields).then_some((state.begun > 0, state.since))
    }

    /// Ends it at once, unless a request has come meanwhile.
    fn make_room(&self) {
        {
            let mut state = self.lock_state();
            if state.under_way.is_empty() {
                state.yields = true;
            }
        }
        self.changed.notify_one();
    }

    fn next_end(&self) -> (Instant, Option<&'static str>) {
        let (state, times) = (self.lock_state(), self.times);
        if state.yields && state.under_way.is_empty() {
            return (state.since, Some(YIELDS));
        }
        match state.under_way.first_key_value() {
            Some((_, oldest)) => (*oldest + times.exchange, Some("slow")),
            None if state.begun > 0 => (state.since + times.idle, None),
            None => (state.since + times.head, Some("silent")),
        }
    }

    /// Each critical section leaves the state whole.
    fn lock_state(&self) -> std::sync::MutexGuard<'_, SeatState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrackedExchange {
    /// Goes on until this body has been handed over, or dropped.
    pub(crate) fn carry_body(self, body: Body) -> TrackedBody {
        TrackedBody { body, _exchange: self }
    }
}

impl Drop for TrackedExchange {
    fn drop(&mut self) {
        {
            let mut state = self.traffic.lock_state();
            state.under_way.remove(&self.number);
            state.since = Instant::now();
        }
        self.traffic.changed.notify_one();
    }
}

/// The body of an answer, and the exchange that ends with it.
pub(crate) struct TrackedBody {
    body: Body,
    _exchange: TrackedExchange,
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
