//! Every metric of the program in one table; the data plane registers its own beside it (`docs/metrics.md` has both).
//!
//! The rule: no label an outsider can fill. A label is a word of this program or a name of the configuration, never
//! a path, a user, a host or anything else a request brings, so the number of series is known before the first one.

use std::time::Duration;

use http::{Method, StatusCode};
use portcullis_policy::Timestamp;
use portcullis_scim::dialect::Rewrite;
use portcullis_session::Figures;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::build_info::{COMMIT, FEATURES};
use crate::process_figures::ProcessFigures;

/// The outcome of a login that let somebody in; every other outcome is the reason of a refusal.
pub(crate) const ACCEPTED: &str = "accepted";

/// The counters of the program, and the gauges of its state.
#[derive(Debug)]
pub(crate) struct Metrics {
    logins: Family<OutcomeLabels, Counter>,
    scim_requests: Family<ScimLabels, Counter>,
    scim_rewrites: Family<RewriteLabels, Counter>,
    scim_last_call: Family<DirectoryLabels, Gauge>,
    scim_last_change: Family<DirectoryLabels, Gauge>,
    revocation: Histogram,
    reloads: Family<OutcomeLabels, Counter>,
    turned_away: Family<TurnedAway, Counter>,
    sessions_stored: Family<Nothing, Gauge>,
    sessions_cached: Gauge,
    accounts: Gauge,
    open_beside: Gauge,
    enrolled: Gauge,
    strangers: Gauge,
    holds: Gauge,
    replaced: Gauge,
    idp_answering: Family<Name, Gauge>,
    expires: Family<Ending, Gauge>,
}

/// The gauges that are read only when somebody asks for the metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    /// The figures of what is in memory.
    pub(crate) figures: Figures,
    /// Users on hold.
    pub(crate) holds: usize,
    /// Processes that were replaced and still carry what had begun there.
    pub(crate) replaced: usize,
    /// Each IdP's name and whether it answers.
    pub(crate) idps: Vec<(String, bool)>,
    /// Things that end of themselves: kind, the key of the configuration that names it or the name of a token, the
    /// seconds that are left.
    pub(crate) expires: Vec<(&'static str, String, i64)>,
}

impl Metrics {
    /// Makes the table and enters it.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            logins: Family::default(),
            scim_requests: Family::default(),
            scim_rewrites: Family::default(),
            scim_last_call: Family::default(),
            scim_last_change: Family::default(),
            revocation: Histogram::new(REVOCATION_BUCKETS),
            reloads: Family::default(),
            turned_away: Family::default(),
            sessions_stored: Family::default(),
            sessions_cached: Gauge::default(),
            accounts: Gauge::default(),
            open_beside: Gauge::default(),
            enrolled: Gauge::default(),
            strangers: Gauge::default(),
            holds: Gauge::default(),
            replaced: Gauge::default(),
            idp_answering: Family::default(),
            expires: Family::default(),
        };
        // Who watches for clients that are held back sees the first one too: a series that is not there has no growth.
        for method in SCIM_METHODS {
            drop(metrics.scim_requests.get_or_create(&ScimLabels { method, status: 429 }));
        }
        let m = &metrics;
        let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT), ("features", FEATURES)];
        registry.register("portcullis_build", "The build that runs", Info::new(build));
        registry.register_collector(Box::new(ProcessFigures));
        registry.register(
            "portcullis_upstream_open_beside",
            "1 while the application can be reached beside us, else 0",
            m.open_beside.clone(),
        );
        registry.register(
            "portcullis_logins",
            "Logins by outcome: accepted, or the reason of the refusal",
            m.logins.clone(),
        );
        registry.register(
            "portcullis_scim_requests",
            "SCIM requests by method and status",
            m.scim_requests.clone(),
        );
        registry.register(
            "portcullis_scim_rewrites",
            "Habits of SCIM clients that were understood although they are not the standard",
            m.scim_rewrites.clone(),
        );
        registry.register(
            "portcullis_scim_last_call_timestamp_seconds",
            "When a SCIM request was last answered with success",
            m.scim_last_call.clone(),
        );
        registry.register(
            "portcullis_scim_last_change_timestamp_seconds",
            "When a SCIM write was last answered with success",
            m.scim_last_change.clone(),
        );
        registry.register(
            "portcullis_revocation_seconds",
            "From the last byte of a SCIM write that takes access away until nobody is left whom it forbids",
            m.revocation.clone(),
        );
        registry.register(
            "portcullis_listener_turned_away",
            "Connections that a listener of ours did not take, or let go",
            m.turned_away.clone(),
        );
        registry.register("portcullis_reloads", "Reloads of the configuration by outcome", m.reloads.clone());
        registry.register(
            "portcullis_sessions",
            "Sessions that are not over, in the store",
            m.sessions_stored.clone(),
        );
        registry.register(
            "portcullis_sessions_cached",
            "Sessions in memory, about",
            m.sessions_cached.clone(),
        );
        registry.register("portcullis_accounts_held", "Accounts in memory", m.accounts.clone());
        registry.register(
            "portcullis_exchanges_enrolled",
            "Exchanges in flight that stand on a session",
            m.enrolled.clone(),
        );
        registry.register(
            "portcullis_exchanges_public",
            "Exchanges in flight under public rules",
            m.strangers.clone(),
        );
        registry.register(
            "portcullis_holds",
            "Users kept out because their removal could not be stored",
            m.holds.clone(),
        );
        registry.register(
            "portcullis_replaced_processes",
            "Processes that an upgrade has replaced, and that still carry what had begun there",
            m.replaced.clone(),
        );
        registry.register(
            "portcullis_idp_answering",
            "Whether an identity provider answers: 1 or 0",
            m.idp_answering.clone(),
        );
        registry.register(
            "portcullis_expires_seconds",
            "How long something is good for, of the configuration or a SCIM token; below zero it is over",
            m.expires.clone(),
        );
        // Series that are there from the start can be alerted on before the first one is counted.
        drop(metrics.logins.get_or_create(&OutcomeLabels { outcome: ACCEPTED }));
        let classes = portcullis_sso::Class::ALL.iter().map(|class| class.log_word());
        let reasons = crate::own::reasons::ALL;
        for outcome in classes.chain(portcullis_store::AdmissionRefusal::WORDS).chain(reasons) {
            drop(metrics.logins.get_or_create(&OutcomeLabels { outcome }));
        }
        for rule in Rewrite::ALL {
            drop(metrics.scim_rewrites.get_or_create(&RewriteLabels { rule: rule.name() }));
        }
        for listener in ["scim", "health", "admin"] {
            for why in ["full", "made_room", "silent", "slow"] {
                drop(metrics.turned_away.get_or_create(&TurnedAway { listener, why }));
            }
        }
        drop(metrics.turned_away.get_or_create(&TurnedAway { listener: "scim", why: "handshake" }));
        for reloaded in [Reloaded::Applied, Reloaded::Incomplete, Reloaded::Refused] {
            drop(metrics.reloads.get_or_create(&OutcomeLabels { outcome: reloaded.label_word() }));
        }
        metrics
    }

    /// A login ended: [`ACCEPTED`], or the one word of its refusal.
    pub(crate) fn count_login(&self, outcome: &'static str) {
        self.logins.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A SCIM request was answered.
    pub(crate) fn count_scim(&self, method: &Method, status: StatusCode) {
        let method = SCIM_METHODS.into_iter().find(|known| method == known).unwrap_or("other");
        self.scim_requests.get_or_create(&ScimLabels { method, status: status.as_u16() }).inc();
        if status.is_success() {
            let now = Timestamp::now().seconds();
            self.scim_last_call.get_or_create(&DEFAULT).set(now);
            if method != "GET" {
                self.scim_last_change.get_or_create(&DEFAULT).set(now);
            }
        }
    }

    /// The number of SCIM requests that were answered with this status.
    pub(crate) fn scim_answers(&self, status: u16) -> u64 {
        let methods = SCIM_METHODS.into_iter().chain(["other"]);
        let counts = methods.filter_map(|method| self.scim_requests.get(&ScimLabels { method, status }));
        counts.map(|count| count.get()).sum()
    }

    /// The time of the last SCIM request that succeeded, in seconds since 1970.
    pub(crate) fn last_scim_call(&self) -> Option<i64> {
        self.scim_last_call.get(&DEFAULT).map(|last| last.get())
    }

    /// A SCIM write was understood with these rewrites.
    pub(crate) fn count_rewrites(&self, rules: &[Rewrite]) {
        for rule in rules {
            self.scim_rewrites.get_or_create(&RewriteLabels { rule: rule.name() }).inc();
        }
    }

    /// A write that takes away was enforced, this long after its request was read.
    pub(crate) fn count_revoked(&self, took: Duration) {
        self.revocation.observe(took.as_secs_f64());
    }

    /// A listener did not take a connection, or let it go.
    pub(crate) fn turned_away(&self, listener: &'static str, why: &'static str) {
        self.turned_away.get_or_create(&TurnedAway { listener, why }).inc();
    }

    /// A reload ended.
    pub(crate) fn count_reload(&self, reloaded: Reloaded) {
        self.reloads.get_or_create(&OutcomeLabels { outcome: reloaded.label_word() }).inc();
    }

    /// Notes whether the application can be reached beside us.
    pub(crate) fn note_way_around(&self, is_there: bool) {
        self.open_beside.set(is_there.into());
    }

    /// Takes how many sessions the store has that are not over; `None` where it did not say.
    pub(crate) fn count_stored(&self, sessions: Option<u32>) {
        match sessions {
            Some(sessions) => drop(self.sessions_stored.get_or_create(&Nothing {}).set(sessions.into())),
            // Better no figure than an old one.
            None => self.sessions_stored.clear(),
        }
    }

    /// Takes what was just looked up, all of it from memory.
    pub(crate) fn set_gauges(&self, seen: &Gauges) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.sessions_cached.set(i64::try_from(seen.figures.sessions).unwrap_or(i64::MAX));
        self.accounts.set(gauge(seen.figures.accounts));
        self.enrolled.set(gauge(seen.figures.exchanges));
        self.strangers.set(gauge(seen.figures.strangers));
        self.holds.set(gauge(seen.holds));
        self.replaced.set(gauge(seen.replaced));
        self.idp_answering.clear();
        self.expires.clear();
        for (idp, answers) in &seen.idps {
            self.idp_answering.get_or_create(&Name { idp: idp.clone() }).set((*answers).into());
        }
        for (kind, name, left) in &seen.expires {
            self.expires.get_or_create(&Ending { kind, name: name.clone() }).set(*left);
        }
    }
}

/// The promise is 50 ms for a hundred exchanges, 500 for 3,000, a second for 10,000; after two the answer is a 503.
const REVOCATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0];

/// The outcome of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The new file is in force, on everything that runs.
    Applied,
    /// It is in force, but not everything it forbids has ended yet.
    Incomplete,
    /// The old one is.
    Refused,
}

impl Reloaded {
    fn label_word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }
}

const SCIM_METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedAway {
    listener: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScimLabels {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RewriteLabels {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    /// A name of the configuration.
    idp: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    kind: &'static str,
    /// A key of the configuration.
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectoryLabels {
    directory: &'static str,
}

/// The directory of a configuration that names none.
const DEFAULT: DirectoryLabels = DirectoryLabels { directory: "default" };

/// For a figure that is not there before it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn what_is_counted_is_shown() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let before = text(&registry);
        assert!(before.contains("portcullis_logins_total{outcome=\"accepted\"} 0\n"), "{before}");
        assert!(before.contains("portcullis_logins_total{outcome=\"oidc_nonce\"} 0\n"), "{before}");
        assert!(!before.contains("portcullis_sessions{}"), "not known yet: {before}");

        metrics.count_login(ACCEPTED);
        metrics.count_scim(&Method::PATCH, StatusCode::NO_CONTENT);
        metrics.count_scim(&Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND);
        assert_eq!(
            (metrics.scim_answers(204), metrics.scim_answers(404), metrics.scim_answers(401)),
            (1, 1, 0)
        );
        assert!(metrics.last_scim_call().is_some());
        metrics.count_rewrites(&[Rewrite::BooleanText, Rewrite::BooleanText]);
        metrics.count_revoked(Duration::from_millis(3));
        metrics.count_reload(Reloaded::Refused);
        let figures = Figures { sessions: 4, accounts: 3, exchanges: 2, strangers: 6 };
        let idps = vec![("okta".to_owned(), true), ("old".to_owned(), false)];
        metrics.count_stored(Some(5));
        let expires = vec![("certificate", "listen.proxy.tls[0]".to_owned(), -5)];
        metrics.set_gauges(&Gauges { figures, holds: 1, replaced: 2, idps, expires });

        let after = text(&registry);
        for line in [
            "portcullis_logins_total{outcome=\"accepted\"} 1",
            "portcullis_scim_requests_total{method=\"PATCH\",status=\"204\"} 1",
            "portcullis_scim_requests_total{method=\"other\",status=\"404\"} 1",
            "portcullis_scim_rewrites_total{rule=\"boolean-text\"} 2",
            "portcullis_revocation_seconds_bucket{le=\"0.0025\"} 0",
            "portcullis_revocation_seconds_bucket{le=\"0.005\"} 1",
            "portcullis_reloads_total{outcome=\"refused\"} 1",
            "portcullis_sessions{} 5",
            "portcullis_sessions_cached 4",
            "portcullis_accounts_held 3",
            "portcullis_exchanges_enrolled 2",
            "portcullis_exchanges_public 6",
            "portcullis_holds 1",
            "portcullis_replaced_processes 2",
            "portcullis_idp_answering{idp=\"okta\"} 1",
            "portcullis_idp_answering{idp=\"old\"} 0",
            "portcullis_expires_seconds{kind=\"certificate\",name=\"listen.proxy.tls[0]\"} -5",
        ] {
            assert!(after.contains(&format!("{line}\n")), "{line} in {after}");
        }
        assert!(
            after.contains("portcullis_scim_last_change_timestamp_seconds{directory=\"default\"} 1"),
            "{after}"
        );
    }

    #[test]
    fn what_is_not_known_any_more_is_not_shown() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.count_stored(Some(5));
        metrics.set_gauges(&Gauges { idps: vec![("gone".to_owned(), true)], ..Gauges::default() });
        metrics.set_gauges(&Gauges::default());
        metrics.count_stored(None);
        let after = text(&registry);
        assert!(!after.contains("portcullis_sessions{}") && !after.contains("gone"), "{after}");
    }

    #[test]
    fn every_series_is_in_the_documentation() {
        let documented = include_str!("../docs/metrics.md");
        let sources = [
            include_str!("metrics.rs"),
            include_str!("../proxy/src/metrics.rs"),
            include_str!("process_figures.rs"),
        ];
        for source in sources {
            let is_name = |text: &&str| {
                (text.starts_with("portcullis_") || text.starts_with("process_"))
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let names: Vec<&str> = source.split('"').filter(is_name).collect();
            assert!(names.len() > 5, "{names:?}");
            for name in names {
                assert!(documented.contains(&format!("`{name}")), "{name} is not in docs/metrics.md");
            }
        }
    }
}
