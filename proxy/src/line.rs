//! The line of an exchange: everything the access log, and the record under a reference number, may say of it.

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method};
use portcullis_policy::{HeaderFault, Pass, Principal, Rule, Timestamp};
use serde_json::{Map, Value};

use crate::log_detail::LogDetail;
use crate::logged_decision::LoggedDecision;
use crate::rules::AppRules;
use crate::trace::Trace;

/// Facts by name, `detail` (what happened, a sentence) and `help` (what to change, a sentence) among them.
pub type Detail = Map<String, Value>;

/// The way in which an exchange came to its end.
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
    pub fn log_word(self) -> &'static str {
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
pub enum AskedHost {
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
    /// The time at which the head was read.
    pub time: Timestamp,
    /// The reference number on the page, for refusals.
    pub reference: Option<String>,
    /// The record's text under that number, beside this line; never in the access log.
    pub detail: Option<Box<Detail>>,
    /// The record under that number is kept already, by whoever made the page.
    pub is_kept: bool,
    /// A cookie of ours was shown, which nobody else can make: it is no stranger's refusal.
    pub is_known: bool,
    /// The ids it is followed by.
    pub trace: Option<Trace>,
    /// The configuration and the app, where the host is one of ours.
    pub place: Option<AppRules>,
    /// The leave it went up with.
    pub pass: Option<Pass>,
    /// The rule it was refused by.
    pub refused_by: Option<Arc<Rule>>,
    /// The decision.
    pub decision: LoggedDecision,
    /// The reason; empty where there is nothing to say.
    pub reason: &'static str,
    /// The person, where somebody is signed in.
    pub who: Option<Arc<Principal>>,
    /// The reason why somebody who is signed in is nobody to the application.
    pub untold: Option<Box<HeaderFault>>,
    /// The IdP that signed them in.
    pub idp: Option<Arc<str>>,
    /// The method.
    pub method: Method,
    /// The host asked for.
    pub host: AskedHost,
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
    /// The way it ended.
    pub over: Over,
    /// The client's address, through trusted proxies.
    pub client: IpAddr,
    /// The detail in which person and address are written: as the configuration says when the line is written,
    /// whatever host was asked for.
    pub log: LogDetail,
}
