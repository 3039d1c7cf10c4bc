//! What the data plane counts. No label can be filled by an outsider, and no value is a name.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use portcullis_session::Ended;

use crate::latency::{Exemplars, Latency};
use crate::logged_decision::LoggedDecision;
use crate::proxy_header::ProxyHeaderFault;
use crate::striped::Striped;

pub(crate) type Counter = prometheus_client::metrics::counter::Counter<u64, Striped>;
pub(crate) type Gauge = prometheus_client::metrics::gauge::Gauge<i64, Striped>;

/// The counters, each a handle of its own: nothing is looked up by name while requests pass.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: [Counter; LoggedDecision::ALL.len()],
    cuts: [Counter; Ended::ALL.len()],
    /// From the head of a request until it may go to the application.
    pub(crate) gate: Latency,
    /// From then until the head of the application's answer is here.
    pub(crate) upstream: Latency,
    /// Exchanges in flight, from the request's head to the last byte.
    pub(crate) live: Gauge,
    /// Descriptors that clients hold or are promised, and how many there are for them.
    pub(crate) sockets: Gauge,
    pub(crate) sockets_limit: Gauge,
    /// Clients, and exchanges of HTTP/2, for which there was none.
    pub(crate) turned_away: Counter,
    /// Clients that came to no TLS session.
    pub(crate) handshakes: Counter,
    /// Connections without a header of the PROXY protocol that is believed.
    pub(crate) proxy_headers: [Counter; ProxyHeaderFault::ALL.len()],
    /// Sessions found in memory, and sessions that had to be read.
    pub(crate) warm: Counter,
    pub(crate) cold: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) slow: Counter,
    pub(crate) broken: Counter,
    pub(crate) set_cookies_refused: Counter,
    pub(crate) headers_stripped: Counter,
    pub(crate) broken_heads: Counter,
    /// Connections that a flood of frames ended.
    pub(crate) floods: Counter,
    pub(crate) log_lines_dropped: Counter,
}

const GATE_SECONDS: &str = "portcullis_gate_seconds";
const UPSTREAM_SECONDS: &str = "portcullis_upstream_seconds";
/// Of ours, in microseconds: memory alone is within the first ones, a read of the store is behind them.
const GATE_BOUNDS: [u64; 13] =
    [25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000];
/// Of the application, in microseconds.
const UPSTREAM_BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
    30_000_000,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
}

impl Metrics {
    /// The requests by which the histograms can be followed.
    pub(crate) fn exemplars(&self) -> Exemplars {
        Exemplars::new([(GATE_SECONDS, self.gate.clone()), (UPSTREAM_SECONDS, self.upstream.clone())])
    }

    pub(crate) fn register(registry: &mut Registry) -> Self {
        fn register_family<const N: usize>(
            registry: &mut Registry,
            name: &str,
            help: &str,
            kinds: [&'static str; N],
        ) -> [Counter; N] {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            kinds.map(|kind| family.get_or_create(&Labels { kind }).clone())
        }
        fn register_counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        }
        let live = Gauge::default();
        registry.register("portcullis_exchanges", "Exchanges in flight", live.clone());
        let (gate, upstream) = (Latency::new(GATE_BOUNDS), Latency::new(UPSTREAM_BOUNDS));
        registry.register(
            GATE_SECONDS,
            "From the head of a request until it may go to the application",
            gate.clone(),
        );
        registry.register(
            UPSTREAM_SECONDS,
            "From then until the head of the application's answer is here",
            upstream.clone(),
        );
        let (sockets, sockets_limit) = (Gauge::default(), Gauge::default());
        registry.register(
            "portcullis_sockets",
            "Descriptors of the data plane's share that clients hold or are promised, two for each socket",
            sockets.clone(),
        );
        registry.register(
            "portcullis_sockets_limit",
            "The data plane's share of the descriptors; 0 where there is no limit",
            sockets_limit.clone(),
        );
        let [warm, cold] = register_family(
            registry,
            "portcullis_session_lookups",
            "Sessions looked up, by whether they were in memory",
            ["warm", "cold"],
        );
        let [unreachable, slow, broken] = register_family(
            registry,
            "portcullis_upstream_errors",
            "Requests the application did not answer, or not to the end",
            ["unreachable", "slow", "broken"],
        );
        Self {
            requests: register_family(
                registry,
                "portcullis_requests",
                "Requests by what was decided",
                LoggedDecision::ALL.map(LoggedDecision::log_word),
            ),
            cuts: register_family(
                registry,
                "portcullis_cuts",
                "Exchanges cut, by reason",
                Ended::ALL.map(Ended::log_word),
            ),
            gate,
            upstream,
            live,
            sockets,
            sockets_limit,
            warm,
            cold,
            unreachable,
            slow,
            broken,
            turned_away: register_counter(
                registry,
                "portcullis_sockets_turned_away",
                "Clients, or exchanges of HTTP/2, turned away because the share of descriptors was used up",
            ),
            handshakes: register_counter(
                registry,
                "portcullis_tls_handshakes_failed",
                "Clients whose TLS handshake failed or took too long",
            ),
            proxy_headers: register_family(
                registry,
                "portcullis_proxy_headers_refused",
                "Connections that a listener with proxy_protocol did not take, by what was wrong",
                ProxyHeaderFault::ALL.map(ProxyHeaderFault::word),
            ),
            set_cookies_refused: register_counter(
                registry,
                "portcullis_set_cookies_refused",
                "Cookies of ours that an application tried to set",
            ),
            headers_stripped: register_counter(
                registry,
                "portcullis_headers_stripped",
                "Fields taken out of requests because a client may not say them",
            ),
            broken_heads: register_counter(
                registry,
                "portcullis_broken_heads",
                "Heads of requests that broke off, or did not come in time",
            ),
            floods: register_counter(
                registry,
                "portcullis_http2_floods",
                "HTTP/2 connections that were ended because of a flood of frames or of resets",
            ),
            log_lines_dropped: register_counter(
                registry,
                "portcullis_access_log_dropped",
                "Access log lines dropped because the log could not be written fast enough",
            ),
        }
    }

    pub(crate) fn count_decision(&self, decision: LoggedDecision) {
        self.requests[decision as usize].inc();
    }

    pub(crate) fn count_cut(&self, why: Ended) {
        if let Some(at) = Ended::ALL.iter().position(|ended| *ended == why) {
            self.cuts[at].inc();
        }
    }
}
