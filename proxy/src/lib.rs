//! The data plane, hyper on Pingora's sockets: the six rooms a request passes, in the order of [`Gate::pass`].
//!
//! It knows policy, sessions and keys; no SQL, no login, no SCIM. Two seams lead out, both plain functions: [`Load`]
//! reads a session that is not in memory, [`Pages`] serves our own pages. Nothing of Pingora or hyper
//! crosses the border.

mod access_log;
mod answer;
mod answer_body;
mod assertion;
mod caching;
mod certificates;
mod client;
mod client_authorities;
mod clock;
mod connection;
mod cookies;
mod drain;
mod exchange;
mod field_set;
mod flow;
mod gate;
mod guard;
mod hop;
mod inbound;
mod intake;
mod kind;
mod latency;
mod line;
mod log_detail;
mod logged_decision;
mod metrics;
mod networks;
mod open;
mod origin;
mod overhead;
mod pages;
mod peer;
mod polling;
pub mod proxy_header;
mod request;
mod rooms;
mod rules;
mod server;
mod share;
mod socket;
mod strip;
mod striped;
#[cfg(test)]
mod test;
mod told;
mod trace;
mod trailers;
mod tunnel;
mod upload;
mod upstream;
mod way_back;
pub mod wire;

pub use access_log::{AccessLog, AccessLogError};
pub use answer::{RefusalKind, RequestRefusal};
pub use assertion::AssertionSigner;
pub use certificates::{CertificateError, Certificates, TlsFiles};
pub use client_authorities::{AuthoritiesError, ClientAuthorities};
pub use cookies::{FLOW_COOKIE, SESSION_COOKIE, cookies, session_cookie};
pub use drain::{Drained, Parting};
pub use gate::{Gate, GateVerdict, Parts};
pub use kind::Kind;
pub use latency::{Exemplars, TakenExemplars};
pub use line::{AskedHost, Detail, Line, Over};
pub use log_detail::LogDetail;
pub use logged_decision::LoggedDecision;
pub use networks::Networks;
pub use open::Open;
pub use pages::{
    BodyAhead, KeepWay, NotSignedIn, Pages, ReadsBody, Reference, RefusalPage, Visitor, WhoIsIn,
};
pub use peer::Peer;
pub use portcullis_policy::{HeaderCase, HostSent, LogClient, LogFormat, LogIdentity, LogTarget};
pub use request::GateRequest;
pub use rooms::accept::{Accept, Head};
pub use rooms::forward::{Rewritten, rewrite_incoming, rewrite_outgoing};
pub use rooms::identify::{Load, LoadError};
pub use rooms::record::Record;
pub use rules::{AppRules, Limits, Rules, Site};
pub use server::{Listener, ListenerTls, Server, StartError, Stopped};
pub use strip::Strip;
pub use told::Told;
pub use trace::Trace;
pub use upstream::{AppTls, AppTlsError, AppTlsFiles, ProbeError, Upstream, UpstreamPlace, UpstreamSettings};
pub use way_back::way_back;
