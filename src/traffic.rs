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

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Until the head of a request is there, the first one's from the moment the connection is.
    pub(crate) head: Duration,
    /// From the end of an answer to the next request.
    pub(crate) idle: Duration,
    /// From the head of a request to the end of its answer.
    pub(crate) exchange: Duration,
}

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
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// How many requests have come.
    begun: u64,
    /// Since when nothing is under way.
    since: Instant,
    /// When each exchange under way began, in their order.
    under_way: BTreeMap<u64, Instant>,
}

/// A request and its answer, under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    traffic: Arc<Traffic>,
    number: u64,
}

impl Traffic {
    /// A connection that is there from now on.
    pub(crate) fn new(times: Times) -> Arc<Self> {
        let state = State { begun: 0, since: Instant::now(), under_way: BTreeMap::new() };
        Arc::new(Self { times, state: Mutex::new(state), changed: Notify::new() })
    }

    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Exchange {
        let number = {
            let mut state = self.state();
            state.begun += 1;
            let number = state.begun;
            state.under_way.insert(number, Instant::now());
            number
        };
        self.changed.notify_one();
        Exchange { traffic: self.clone(), number }
    }

    /// Ready when the connection is over; says why in one word, unless it was merely done with.
    pub(crate) async fn over(&self) -> Option<&'static str> {
        loop {
            let (at, why) = self.ends();
            if at <= Instant::now() {
                return why;
            }
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn ends(&self) -> (Instant, Option<&'static str>) {
        let (state, times) = (self.state(), self.times);
        match state.under_way.first_key_value() {
            Some((_, oldest)) => (*oldest + times.exchange, Some("slow")),
            None if state.begun > 0 => (state.since + times.idle, None),
            None => (state.since + times.head, Some("silent")),
        }
    }

    /// Each critical section leaves the state whole.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Goes on until this body has been handed over, or dropped.
    pub(crate) fn with(self, body: Body) -> Answer {
        Answer { body, _exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        {
            let mut state = self.traffic.state();
            state.under_way.remove(&self.number);
            state.since = Instant::now();
        }
        self.traffic.changed.notify_one();
    }
}

/// The body of an answer, and the exchange that ends with it.
pub(crate) struct Answer {
    body: Body,
    _exchange: Exchange,
}

impl hyper::body::Body for Answer {
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
