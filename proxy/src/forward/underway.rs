//! A request that has leave, from its upstream to its last byte.
//!
//! It exists only around an [`Open`]; what Pingora asks on the way is answered here, for the gate.

use std::borrow::Cow;
use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::cut::Slot;
use crate::gate::Open;
use crate::metrics::Metrics;
use crate::record::{Over, Record};
use crate::rules::Place;
use crate::trace::Trace;

/// A request on its way up, or its answer on the way down.
pub(crate) struct Underway {
    open: Open, // first, so that a cut exchange leaves the register before its line is written
    slot: Arc<Slot>,
    attempt: usize,
    pub(crate) record: Record,
}

impl Underway {
    pub(crate) fn new(open: Open, slot: Arc<Slot>, record: Record) -> Self {
        Self { open, slot, attempt: 0, record }
    }

    pub(crate) fn place(&self) -> &Place {
        self.open.place()
    }

    /// Whether the application's time was up.
    pub(crate) fn was_late(&self) -> bool {
        self.slot.was_late()
    }

    /// The application's address for this attempt.
    pub(crate) async fn upstream(&self) -> Result<Box<HttpPeer>> {
        let peer = self.place().site().upstream.peer(self.attempt).await;
        peer.map(Box::new).ok_or_else(|| Error::new_up(ErrorType::ConnectNoRoute))
    }

    /// This address does not answer; says whether there is another.
    pub(crate) fn tries_another(&mut self) -> bool {
        self.attempt += 1;
        let upstream = &self.place().site().upstream;
        let more = upstream.has_more(self.attempt);
        if !more {
            upstream.doubt();
        }
        more
    }

    /// The application's time begins.
    pub(crate) fn connected(&self, socket: RawFd) {
        self.slot.waits_for(socket, self.place().site().upstream.first_byte_timeout);
    }

    /// The application's socket is about to go.
    pub(crate) fn disconnected(&self) {
        self.slot.waits_no_more();
    }

    /// Makes the client's head into what goes up.
    pub(crate) fn up(&self, head: &mut RequestHeader, metrics: &Metrics) -> Result<()> {
        rewrite(head, |headers| {
            let trace = self.record.line().and_then(|line| line.trace.as_ref());
            let trace = trace.map_or_else(|| Cow::Owned(Trace::of(headers, false)), Cow::Borrowed);
            let stripped = super::outgoing(headers, self.place(), self.open.who(), self.slot.peer(), &trace);
            if stripped > 0 {
                metrics.headers_stripped.inc_by(stripped as u64);
            }
        })
    }

    /// A piece came from the client: the session is not idle, and the application's time begins anew.
    pub(crate) fn took(&mut self, length: usize) {
        self.record.note(|line| line.bytes_in += length as u64);
        self.open.took();
        self.slot.moves();
        self.slot.goes_on(self.place().site().upstream.first_byte_timeout);
    }

    /// A piece goes to the client.
    pub(crate) fn gave(&mut self, length: usize) {
        self.record.note(|line| line.bytes_out += length as u64);
        self.open.gave();
        self.slot.moves();
    }

    /// Makes the application's head into what the client is told. A stream whose person has changed meanwhile is cut
    /// here, before its head is passed on (rule R8).
    pub(crate) async fn down(
        &mut self,
        asked_to_switch: bool,
        head: &mut ResponseHeader,
        metrics: &Metrics,
    ) -> Result<()> {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !asked_to_switch {
            // Passed on, it would turn one connection's end into another protocol than its beginning.
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        if head.status.is_informational() && !switches {
            return Ok(());
        }
        self.slot.waits_no_more();
        self.record.answered(head.status.as_u16());
        let is_stream = super::is_stream(head.status, &head.headers);
        if is_stream {
            self.slot.streams();
        }
        if let Err(ended) = self.open.answered(is_stream) {
            self.record.cut_short(ended);
            self.slot.end().await;
        }
        let phrase =
            head.get_reason_phrase().filter(|phrase| Some(*phrase) != head.status.canonical_reason());
        let phrase = phrase.map(str::to_owned);
        let blank = ResponseHeader::build_no_case(head.status, Some(0))?;
        let mut parts: http::response::Parts = mem::replace(head, blank).into();
        let is_public = self.open.pass().is_public();
        let refused = super::incoming(&mut parts.headers, self.place().site(), is_public, switches);
        if refused > 0 {
            metrics.set_cookies_refused.inc_by(refused as u64);
        }
        *head = parts.into();
        phrase.map_or(Ok(()), |phrase| head.set_reason_phrase(Some(&phrase)))
    }

    /// It came to its end, this way.
    pub(crate) fn finished(&mut self, over: Over) {
        self.record.finished(over);
    }
}

/// Changes the fields of a head as one map: by name, through Pingora, it costs four times as much.
fn rewrite(head: &mut RequestHeader, change: impl FnOnce(&mut HeaderMap)) -> Result<()> {
    let raw = (!head.raw_path_is_utf8()).then(|| head.raw_path().to_vec());
    let blank = http::Request::new(()).into_parts().0.into();
    let mut parts: http::request::Parts = mem::replace(head, blank).into();
    change(&mut parts.headers);
    *head = parts.into();
    raw.map_or(Ok(()), |raw| head.set_raw_path(&raw))
}

/// Drops what Pingora remembers of how the client spelt the names of fields. Applications are told lower case, and
/// every later step would carry the memory along.
pub(crate) fn forget_spelling(head: &mut RequestHeader) -> Result<()> {
    if head.has_case() { rewrite(head, |_| ()) } else { Ok(()) }
}
