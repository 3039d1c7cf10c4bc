//! The rules: everything one configuration says to the data plane, compiled, and taken whole for one round of a
//! decision, so that a reload never mixes two files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use portcullis_policy::{App, AppId, Pass, Policy, PublicUrl};

use crate::cookies::session_cookie;
use crate::log_detail::LogDetail;
use crate::pages::Pages;
use crate::rooms::accept::Accept;
use crate::told::Told;
use crate::upstream::Upstream;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One configuration, compiled.
pub struct Rules {
    /// The policy: who may do what.
    pub(crate) policy: Arc<Policy>,
    /// The settings of the room Accept.
    pub(crate) accept: Accept,
    /// In the order of the policy's apps.
    sites: Vec<Site>,
    /// The detail in which people are written.
    pub(crate) log: LogDetail,
    /// The seam to our own pages, as the same configuration has them.
    pub(crate) pages: Pages,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("policy", &self.policy)
            .field("sites", &self.sites)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// Joins a policy with what the data plane needs besides: each app's site, and how much is said of people.
    ///
    /// # Panics
    /// Where a rule of the policy leads to an upstream that its site does not have: both are of one file, which was checked.
    pub fn new(
        policy: Arc<Policy>,
        accept: Accept,
        log: LogDetail,
        pages: Pages,
        site_of: impl FnMut(&App) -> Site,
    ) -> Self {
        let sites: Vec<Site> = policy.apps().iter().map(site_of).collect();
        for (app, site) in policy.apps().iter().zip(&sites) {
            let leads = |name: &Arc<str>| site.others.iter().any(|way| way.name == *name);
            assert!(
                policy.upstreams_of(app).all(leads),
                "a rule leads to an upstream that the file does not have"
            );
        }
        Self { policy, accept, sites, log, pages }
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The apps as the data plane knows them, in the order of the policy's.
    pub(crate) fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }
}

/// A configuration and one of its apps, for the requests of one client's socket. Cloning shares it.
///
/// Each socket has its own, with texts of its own too: what all requests share is counted by all cores, and for a
/// count that they all write they wait for each other.
#[derive(Clone)]
pub struct AppRules(Arc<HeldRules>);

struct HeldRules {
    rules: Arc<Rules>,
    at: usize,
    /// As the client named it.
    asked: String,
    /// The way to the app's own upstream, then those to the others, in their order.
    ways: Vec<HeldWay>,
}

/// What an application at one upstream is told of the place, whoever asks.
pub(crate) struct HeldWay {
    /// The value of `Host`.
    pub(crate) host: HeaderValue,
    /// `X-Forwarded-Proto` and `X-Forwarded-Host`, and the secret that it knows its gate by.
    pub(crate) told: Told,
}

impl AppRules {
    /// The app that a host names, as policy compares them: case folded, any port. Policy has the last word.
    pub(crate) fn of_host(rules: &Arc<Rules>, host_asked: &str) -> Option<Self> {
        let names = |app: &App| {
            host_asked.get(..app.host.len()).is_some_and(|start| start.eq_ignore_ascii_case(&app.host))
                && matches!(host_asked.as_bytes().get(app.host.len()), None | Some(b':'))
        };
        let at = rules.policy.apps().iter().position(names)?;
        let site = &rules.sites[at];
        let way = |upstream: &Upstream, secret: &Option<(HeaderName, HeaderValue)>| {
            // Texts of its own: what all share is counted by all.
            let host = HeaderValue::from_bytes(upstream.host(&site.authority).as_bytes()).ok()?;
            let mut told = Told::new();
            told.add_field(&X_FORWARDED_PROTO, &site.scheme);
            told.add_field(&X_FORWARDED_HOST, &site.authority);
            if let Some(prefix) = upstream.stripped_prefix() {
                told.add_field(&X_FORWARDED_PREFIX, &prefix);
            }
            if let Some((name, value)) = secret {
                told.add_field(name, value);
            }
            Some(HeldWay { host, told })
        };
        let others = site.others.iter().map(|other| way(&other.upstream, &other.secret));
        let ways = std::iter::once(way(&site.upstream, &site.secret)).chain(others).collect::<Option<_>>()?;
        Some(Self(Arc::new(HeldRules { rules: rules.clone(), at, asked: host_asked.into(), ways })))
    }

    /// Tells whether it is the place of this host under these rules.
    pub(crate) fn is_of(&self, rules: &Arc<Rules>, host: &str) -> bool {
        Arc::ptr_eq(&self.0.rules, rules) && self.0.asked == host
    }

    /// The configuration.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.0.rules
    }

    /// The app as the data plane knows it.
    pub fn site(&self) -> &Site {
        &self.0.rules.sites[self.0.at]
    }

    /// The app as policy knows it.
    pub fn app(&self) -> &App {
        &self.0.rules.policy.apps()[self.0.at]
    }

    /// The upstream that a pass leads to.
    pub(crate) fn upstream(&self, pass: &Pass) -> &Upstream {
        let site = self.site();
        site.place_of(pass.upstream()).map_or(&site.upstream, |at| &site.others[at].upstream)
    }

    /// What is told of the place there.
    pub(crate) fn way(&self, upstream: Option<&str>) -> &HeldWay {
        &self.0.ways[self.site().place_of(upstream).map_or(0, |at| at + 1)]
    }

    /// The path of one of our own pages.
    pub(crate) fn own_path(&self, page: &str) -> String {
        let app = self.app();
        format!("{}{}/{page}", app.base, app.prefix)
    }
}

impl fmt::Debug for AppRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppRules({})", self.site().name)
    }
}

/// One app as the data plane knows it.
#[derive(Debug)]
pub struct Site {
    /// The app's id.
    pub app: AppId,
    /// Its name in the configuration, for the record.
    pub name: Arc<str>,
    /// The name of its organization, for the record.
    pub org: Arc<str>,
    /// The application that requests go to.
    pub(crate) upstream: Upstream,
    /// Further ones, for rules that name them.
    others: Vec<NamedUpstream>,
    /// The name of its session cookie.
    pub(crate) cookie: String,
    /// Scheme, host and port as a browser writes them in `Origin`.
    pub(crate) origin: String,
    /// Host and port.
    pub(crate) authority: HeaderValue,
    pub(crate) scheme: HeaderValue,
    /// The header by which the application knows its gate.
    secret: Option<(HeaderName, HeaderValue)>,
    is_https: bool,
}

impl Site {
    /// Joins an app's public address and where it goes.
    pub fn new(app: &App, name: &str, org: &str, public_url: &PublicUrl, upstream: Upstream) -> Self {
        Self {
            app: app.id,
            name: name.into(),
            org: org.into(),
            upstream,
            others: Vec::new(),
            cookie: session_cookie(public_url),
            origin: public_url.origin().to_owned(),
            authority: public_url.authority().clone(),
            scheme: HeaderValue::from_static(if public_url.is_https() { "https" } else { "http" }),
            secret: None,
            is_https: public_url.is_https(),
        }
    }

    /// Says a secret to the application with every request, under whatever rule. Whoever makes the rules has the name
    /// stripped from what clients send.
    #[must_use]
    pub fn with_secret(mut self, secret: Option<(HeaderName, HeaderValue)>) -> Self {
        self.secret = secret;
        self
    }

    /// Adds an application that rules lead to by this name, and the secret that it knows its gate by.
    #[must_use]
    pub fn with_upstream(
        mut self,
        name: &str,
        upstream: Upstream,
        secret: Option<(HeaderName, HeaderValue)>,
    ) -> Self {
        self.others.push(NamedUpstream { name: name.into(), upstream, secret });
        self
    }

    /// The place of a named upstream among the others.
    fn place_of(&self, name: Option<&str>) -> Option<usize> {
        name.and_then(|name| self.others.iter().position(|other| *other.name == *name))
    }

    /// `Strict-Transport-Security`, where its address is https: one year, of this name alone; what is below it is not
    /// ours to promise.
    pub(crate) fn hsts(&self) -> Option<HeaderValue> {
        self.is_https.then_some(HeaderValue::from_static("max-age=31536000"))
    }
}

/// An application that rules lead to by name.
#[derive(Debug)]
struct NamedUpstream {
    name: Arc<str>,
    upstream: Upstream,
    secret: Option<(HeaderName, HeaderValue)>,
}

/// Bounds on what a client may take of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest size of a head, in bytes, for HTTP/2; [`Accept::head`] is the same for HTTP/1.
    pub head: usize,
    /// The longest time a head may take.
    pub head_time: Duration,
    /// The longest wait of a connection between requests, and a body between two pieces, either way.
    pub idle: Duration,
    /// The bytes that may wait in a socket (rule R10).
    pub send_buffer: usize,
    /// The number of descriptors for clients and applications together; `None` is no limit.
    pub sockets: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            send_buffer: 64 * 1024,
            sockets: None,
        }
    }
}
