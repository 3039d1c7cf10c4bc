//! Record: one line and one count an exchange, written when the passage is dropped.
//!
//! An exchange may be cut and a client may hang up at any moment, so the line is written by `Drop` and by nothing else:
//! whatever ends an exchange, its line comes out.

use std::sync::Arc;
use std::time::Instant;

use portcullis_policy::{Pass, Principal, Timestamp};
use portcullis_session::{Ended, Enrolment, InFlight};

use crate::intake::Intake;
use crate::line::{AskedHost, Line, Over};
use crate::log_detail::LogDetail;
use crate::logged_decision::LoggedDecision;
use crate::peer::Peer;
use crate::polling::is_serving;
use crate::request::GateRequest;
use crate::rooms::accept::Head;
use crate::rooms::recorder::Recorder;
use crate::rules::AppRules;
use crate::striped::own_stripe;
use crate::trace::Trace;

/// A line in the making.
#[derive(Debug)]
pub struct Record {
    line: Option<Box<Line>>,
    peer: Arc<Peer>,
    exchange: InFlight,
    /// Counts what comes of the client's body.
    taken: Option<Arc<Intake>>,
    /// The stripe in which it is counted as live, and leaves again, on whichever thread that is: a drain must not
    /// overlook it.
    stripe: usize,
    started: Instant,
    decided: Option<Instant>,
}

impl Record {
    pub(crate) fn new(request: &GateRequest<'_>) -> Self {
        let parts = request.parts;
        let host = match (parts.uri.authority(), parts.headers.get(http::header::HOST)) {
            (Some(authority), _) => AskedHost::Authority(authority.clone()),
            (None, Some(field)) => AskedHost::Field(field.clone()),
            (None, None) => AskedHost::Nothing,
        };
        let stripe = own_stripe();
        request.peer.recorder().metrics.live.inner().add_at(stripe, 1);
        let line = Box::new(Line {
            time: Timestamp::now(),
            reference: None,
            detail: None,
            is_kept: false,
            is_known: false,
            trace: None,
            place: None,
            pass: None,
            refused_by: None,
            decision: LoggedDecision::Bad,
            reason: "",
            who: None,
            untold: None,
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

    /// The recorder it is written to.
    pub(crate) fn recorder(&self) -> &Recorder {
        self.peer.recorder()
    }

    /// The time at which the head was read.
    pub fn time(&self) -> Timestamp {
        self.line.as_ref().map_or_else(Timestamp::now, |line| line.time)
    }

    /// The configuration and the app, once they are known.
    pub fn place(&self) -> Option<&AppRules> {
        self.line.as_ref()?.place.as_ref()
    }

    pub(crate) fn note(&mut self, write: impl FnOnce(&mut Line)) {
        if let Some(line) = &mut self.line {
            write(line);
        }
    }

    fn trace(&self) -> Option<&Trace> {
        self.line.as_ref()?.trace.as_ref()
    }

    pub(crate) fn line(&self) -> Option<&Line> {
        self.line.as_deref()
    }

    /// Notes that what is counted there came from the client.
    pub(crate) fn count_intake(&mut self, taken: Arc<Intake>) {
        self.taken = Some(taken);
    }

    /// Notes what Accept found out.
    pub(crate) fn note_accepted(&mut self, head: &Head<'_>, trace: impl FnOnce() -> Trace) {
        self.note(|line| {
            line.client = head.client;
            line.trace.get_or_insert_with(trace);
        });
    }

    /// Notes the configuration of this round, and the app whose host it is.
    pub(crate) fn note_place(&mut self, place: Option<&AppRules>) {
        self.note(|line| line.place = place.cloned());
    }

    /// Notes who it is.
    pub(crate) fn note_person(&mut self, enrolment: Option<&Enrolment>, who: Option<&Arc<Principal>>) {
        self.note(|line| {
            line.idp = enrolment.and_then(|enrolment| enrolment.session().idp().cloned());
            line.who = who.cloned();
        });
    }

    /// Notes that it goes up.
    pub(crate) fn note_pass(&mut self, pass: &Pass) {
        self.note_decision(if pass.is_public() { LoggedDecision::Public } else { LoggedDecision::Allow }, "");
        if let Some(decided) = self.decided {
            self.peer.recorder().metrics.gate.observe(decided - self.started, self.trace());
        }
        self.note(|line| line.pass = Some(pass.clone()));
    }

    pub(crate) fn note_decision(&mut self, decision: LoggedDecision, reason: &'static str) {
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

    /// Notes that the head of the application's answer is here.
    pub(crate) fn note_status(&mut self, status: u16) {
        let since = self.decided.map(|decided| decided.elapsed());
        if let Some(since) = since {
            self.peer.recorder().metrics.upstream.observe(since, self.trace());
        }
        let since = since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.note(|line| {
            line.status = status;
            line.upstream_ms = since;
        });
    }

    pub(crate) fn note_end(&mut self, over: Over) {
        self.note(|line| line.over = over);
    }

    /// Notes the end of a forwarded exchange; what was answered here instead has said already how that went.
    pub(crate) fn finish_exchange(&mut self, over: Over) {
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
            line.reason = why.log_word();
        });
        self.peer.recorder().metrics.count_cut(why);
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
        metrics.count_decision(line.decision);
        // An exchange that reached its end is done, even if the cut came between the last byte and this line.
        if line.over == Over::Stopped {
            match self.exchange.reason() {
                Some(ended) => {
                    line.over = Over::Cut;
                    line.reason = ended.log_word();
                    metrics.count_cut(ended);
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
        if !log.write_line(line) {
            metrics.log_lines_dropped.inc();
        }
    }
}
