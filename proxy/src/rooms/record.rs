//! Record: one line and one count an exchange, written when the passage is dropped.
//!
//! An exchange may be cut and a client may hang up at any moment, so the line is written by `Drop` and by nothing else:
//! whatever ends an exchange, its line comes out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method};
use portcullis_policy::{Pass, Principal, Rule, Timestamp};
use portcullis_session::{Ended, Enrolment, InFlight};
use tokio::sync::mpsc;

use crate::access_log::AccessLog;
use crate::answer::Detail;
use crate::connection::is_serving;
use crate::log_detail::LogDetail;
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::request::Request;
use crate::rooms::accept::Head;
use crate::rules::Place;
use crate::striped::own_stripe;
use crate::trace::Trace;
use crate::upload::Taken;

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A signed-in person's request went up.
    Allow,
    /// A request of a public rule went up.
    Public,
    /// One of our own pages.
    Own,
    /// Nobody is signed in.
    Login,
    /// Not allowed.
    Deny,
    /// It was no request we read.
    Bad,
    /// We or the application could not.
    Fault,
}

impl Decision {
    /// Every decision, in order.
    pub const ALL: [Decision; 7] =
        [Self::Allow, Self::Public, Self::Own, Self::Login, Self::Deny, Self::Bad, Self::Fault];

    /// The word of the access log and of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Public => "public",
            Self::Own => "own",
            Self::Login => "login",
            Self::Deny => "deny",
            Self::Bad => "bad",
            Self::Fault => "fault",
        }
    }
}

/// How an exchange came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The whole answer was handed over.
    Done,
    /// It was cut; the reason says why.
    Cut,
    /// The client went away, or sent what could not be read.
    Client,
    /// The application broke off.
    Upstream,
    /// The program stopped first.
    Stopped,
}

impl Over {
    /// The word of the access log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cut => "cut",
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Stopped => "stopped",
        }
    }
}

/// The host a client asked for, as it came.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The `Host` field.
    Field(HeaderValue),
    /// `:authority`.
    Authority(Authority),
    /// Nothing.
    Nothing,
}

/// Everything a line says. The query of the target is never written.
#[derive(Clone, Debug)]
pub struct Line {
    /// When the head was read.
    pub time: Timestamp,
    /// The reference number on the page, for refusals.
    pub reference: Option<String>,
    /// What the record under that number says beside this line; never in the access log.
    pub detail: Option<Box<Detail>>,
    /// The record under that number is kept already, by whoever made the page.
    pub is_kept: bool,
    /// What it is followed by.
    pub trace: Option<Trace>,
    /// The configuration and the app, where the host is one of ours.
    pub place: Option<Place>,
    /// The leave it went up with.
    pub pass: Option<Pass>,
    /// The rule it was refused by.
    pub refused_by: Option<Arc<Rule>>,
    /// What was decided.
    pub decision: Decision,
    /// Why; empty where there is nothing to say.
    pub reason: &'static str,
    /// Who, where somebody is signed in.
    pub who: Option<Arc<Principal>>,
    /// The IdP that signed them in.
    pub idp: Option<Arc<str>>,
    /// The method.
    pub method: Method,
    /// The host asked for.
    pub host: Asked,
    /// The target.
    pub target: Option<PathAndQuery>,
    /// The status sent; 0 where none was.
    pub status: u16,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// From the head to the decision, in microseconds.
    pub gate_us: u64,
    /// From the decision to the head of the application's answer, in milliseconds.
    pub upstream_ms: Option<u64>,
    /// How it ended.
    pub over: Over,
    /// The client's address, through trusted proxies.
    pub client: IpAddr,
    /// How much of person and address is written: as the configuration says when the line is written, whatever host
    /// was asked for.
    pub log: LogDetail,
}

/// What lines and counts are written to; shared by all records.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) metrics: Metrics,
    pub(crate) log: AccessLog,
    /// Lines with a reference number go here as well, so that they can be looked up by it.
    pub(crate) references: Option<mpsc::Sender<Line>>,
    /// What the configuration in force says of people.
    pub(crate) detail: ArcSwap<LogDetail>,
}

impl Recorder {
    /// A client's address, as far as the configuration in force lets it be written.
    pub(crate) fn shown(&self, client: IpAddr) -> Option<String> {
        self.detail.load().client(client)
    }

    /// Whether one more record would be taken: in a flood of refusals none is, and then none need be made.
    pub(crate) fn takes_references(&self) -> bool {
        self.references.as_ref().is_some_and(|references| references.capacity() > 0)
    }
}

/// A line in the making.
#[derive(Debug)]
pub struct Record {
    line: Option<Box<Line>>,
    peer: Arc<Peer>,
    exchange: InFlight,
    /// Counts what comes of the client's body.
    taken: Option<Arc<Taken>>,
    /// Where it is counted as live, and leaves again, on whichever thread that is: a drain must not overlook it.
    stripe: usize,
    started: Instant,
    decided: Option<Instant>,
}

impl Record {
    pub(crate) fn new(request: &Request<'_>) -> Self {
        let parts = request.parts;
        let host = match (parts.uri.authority(), parts.headers.get(http::header::HOST)) {
            (Some(authority), _) => Asked::Authority(authority.clone()),
            (None, Some(field)) => Asked::Field(field.clone()),
            (None, None) => Asked::Nothing,
        };
        let stripe = own_stripe();
        request.peer.recorder().metrics.live.inner().add_at(stripe, 1);
        let line = Box::new(Line {
            time: Timestamp::now(),
            reference: None,
            detail: None,
            is_kept: false,
            trace: None,
            place: None,
            pass: None,
            refused_by: None,
            decision: Decision::Bad,
            reason: "",
            who: None,
            idp: None,
            method: parts.method.clone(),
            host,
            target: parts.uri.path_and_query().cloned(),
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            gate_us: 0,
            upstream_ms: None,
            over: Over::Stopped,
            client: request.peer.address(),
            log: LogDetail::default(),
        });
        Self {
            line: Some(line),
            peer: request.peer.clone(),
            exchange: request.exchange.clone(),
            taken: None,
            stripe,
            started: Instant::now(),
            decided: None,
        }
    }

    /// When the head was read.
    pub fn time(&self) -> Timestamp {
        self.line.as_ref().map_or_else(Timestamp::now, |line| line.time)
    }

    /// The configuration and the app, once they are known.
    pub fn place(&self) -> Option<&Place> {
        self.line.as_ref()?.place.as_ref()
    }

    pub(crate) fn note(&mut self, write: impl FnOnce(&mut Line)) {
        if let Some(line) = &mut self.line {
            write(line);
        }
    }

    pub(crate) fn line(&self) -> Option<&Line> {
        self.line.as_deref()
    }

    /// What is counted there came from the client.
    pub(crate) fn counts(&mut self, taken: Arc<Taken>) {
        self.taken = Some(taken);
    }

    /// What Accept found out.
    pub(crate) fn accepted(&mut self, head: &Head<'_>, trace: impl FnOnce() -> Trace) {
        self.note(|line| {
            line.client = head.client;
            line.trace.get_or_insert_with(trace);
        });
    }

    /// The configuration of this round, and the app whose host it is.
    pub(crate) fn arrived(&mut self, place: Option<&Place>) {
        self.note(|line| line.place = place.cloned());
    }

    /// Who it is.
    pub(crate) fn identified(&mut self, enrolment: Option<&Enrolment>, who: Option<&Arc<Principal>>) {
        self.note(|line| {
            line.idp = enrolment.and_then(|enrolment| enrolment.session().idp().cloned());
            line.who = who.cloned();
        });
    }

    /// It goes up.
    pub(crate) fn opened(&mut self, pass: &Pass) {
        self.decided(if pass.is_public() { Decision::Public } else { Decision::Allow }, "");
        self.note(|line| line.pass = Some(pass.clone()));
    }

    pub(crate) fn decided(&mut self, decision: Decision, reason: &'static str) {
        let now = Instant::now();
        self.decided = Some(now);
        let gate_us = u64::try_from((now - self.started).as_micros()).unwrap_or(u64::MAX);
        self.note(|line| {
            line.decision = decision;
            line.reason = reason;
            if line.gate_us == 0 {
                line.gate_us = gate_us;
            }
        });
    }

    /// The head of the application's answer is here.
    pub(crate) fn answered(&mut self, status: u16) {
        let since =
            self.decided.map(|decided| u64::try_from(decided.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.note(|line| {
            line.status = status;
            line.upstream_ms = since;
        });
    }

    pub(crate) fn over(&mut self, over: Over) {
        self.note(|line| line.over = over);
    }

    /// The end of a forwarded exchange; what was answered here instead has said already how that went.
    pub(crate) fn finished(&mut self, over: Over) {
        self.note(|line| {
            if line.over == Over::Stopped {
                line.over = over;
            }
        });
    }

    /// It is cut from inside, before the register says so.
    pub(crate) fn cut_short(&mut self, why: Ended) {
        self.note(|line| {
            line.over = Over::Cut;
            line.reason = why.word();
        });
        self.peer.recorder().metrics.cut(why);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        if let Some(taken) = &self.taken {
            line.bytes_in = taken.bytes();
        }
        let Recorder { metrics, log, references, detail } = self.peer.recorder();
        line.log = **detail.load();
        metrics.live.inner().add_at(self.stripe, -1);
        metrics.decided(line.decision);
        // An exchange that reached its end is done, even if the cut came between the last byte and this line.
        if line.over == Over::Stopped {
            match self.exchange.reason() {
                Some(ended) => {
                    line.over = Over::Cut;
                    line.reason = ended.word();
                    metrics.cut(ended);
                }
                None if is_serving() => line.over = Over::Client,
                None => {}
            }
        }
        if line.reference.is_some()
            && !line.is_kept
            && let Some(references) = references
        {
            let _ = references.try_send(Line::clone(&line)); // the line itself is in the access log
        }
        if !log.write(line) {
            metrics.log_lines_dropped.inc();
        }
    }
}
