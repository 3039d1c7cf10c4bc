//! An application's address, and the addresses behind its name.
//!
//! A path of the file system has no name to look up.
//!
//! A name is looked up when it is first needed and again every half minute, so that an application may move; a
//! literal address and the loopback names are never looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::uri::PathAndQuery;
use portcullis_policy::{HeaderCase, HostPort, HostSent, UpstreamPath};

use super::app_tls::AppTls;

/// The greatest age of a look-up.
const FRESH: Duration = Duration::from_secs(30);

/// The place where an application listens.
#[derive(Clone, Debug)]
pub enum UpstreamPlace {
    /// Over http; with the port where it is not 80.
    Http(HostPort),
    /// Over HTTP/2 in the clear; with the port where it is not 80.
    H2c(HostPort),
    /// Over https; with the port where it is not 443.
    Https(HostPort, Arc<AppTls>),
    /// On a socket in the file system.
    Unix(Arc<Path>),
}

impl fmt::Display for UpstreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(at) => write!(f, "http://{at}"),
            Self::H2c(at) => write!(f, "h2c://{at}"),
            Self::Https(at, _) => write!(f, "https://{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The way in which an application is reached.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its address.
    pub at: UpstreamPlace,
    /// The longest time a connection may take.
    pub connect_timeout: Duration,
    /// The longest time the application may take to begin its answer, once it has the request.
    pub first_byte_timeout: Duration,
    /// The value of `Host`.
    pub host: HostSent,
    /// In which case names of fields are written.
    pub header_case: HeaderCase,
    /// The path by which it knows what is asked for.
    pub path: UpstreamPath,
}

/// An application's address.
#[derive(Debug)]
pub struct Upstream {
    at: UpstreamPlace,
    target: UpstreamTarget,
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) header_case: HeaderCase,
    /// `None` where it is the path that was sent.
    path: Option<UpstreamPath>,
    host: Option<HeaderValue>,
}

/// The addresses of a name, in the order they are tried.
pub(crate) type Addresses = Arc<[AppAddress]>;

/// An address that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AppAddress {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
}

#[derive(Debug)]
enum UpstreamTarget {
    Fixed(Addresses),
    Named(Arc<NamedHost>),
}

#[derive(Debug)]
struct NamedHost {
    name: String,
    port: u16,
    found: ArcSwapOption<(Addresses, Instant)>,
    looking: AtomicBool,
    /// The reason why the last look-up found nothing, and whether it did so in time.
    failed: ArcSwapOption<(String, bool)>,
}

impl Upstream {
    /// Makes an address of the settings; no name is looked up yet.
    pub fn new(settings: &UpstreamSettings) -> Self {
        let at = settings.at.clone();
        let (target, own_host) = match &at {
            UpstreamPlace::Http(at) | UpstreamPlace::H2c(at) => {
                (UpstreamTarget::of_host(at, 80), at.field().clone())
            }
            UpstreamPlace::Https(at, _) => (UpstreamTarget::of_host(at, 443), at.field().clone()),
            UpstreamPlace::Unix(path) => (
                UpstreamTarget::Fixed(Arc::new([AppAddress::Unix(path.clone())])),
                HeaderValue::from_static("localhost"),
            ),
        };
        let host = match &settings.host {
            HostSent::Public => None,
            HostSent::Upstream => Some(own_host),
            HostSent::Named(name) => Some(name.clone()),
        };
        Self {
            at,
            target,
            connect_timeout: settings.connect_timeout,
            first_byte_timeout: settings.first_byte_timeout,
            header_case: settings.header_case,
            path: Some(settings.path.clone()).filter(|path| !path.is_as_sent()),
            host,
        }
    }

    /// Its address as configured, for log lines; never on a page.
    pub fn at(&self) -> &UpstreamPlace {
        &self.at
    }

    /// The target as it is told there; `None` where it is the one that was sent. What cannot be told was refused when it was
    /// decided (`Policy::find_route`).
    pub(crate) fn seen_target(&self, target: &PathAndQuery) -> Option<PathAndQuery> {
        self.path.as_ref()?.seen_target(target)
    }

    /// What is taken from the front of paths.
    pub(crate) fn stripped_prefix(&self) -> Option<HeaderValue> {
        let path = self.path.as_ref().filter(|path| !path.strip.is_empty())?;
        HeaderValue::from_str(&path.strip).ok()
    }

    /// Tells whether it is spoken to over HTTP/2.
    pub(super) fn speaks_h2c(&self) -> bool {
        matches!(self.at, UpstreamPlace::H2c(_))
    }

    /// The TLS that it is spoken to by.
    pub(super) fn tls(&self) -> Option<&Arc<AppTls>> {
        match &self.at {
            UpstreamPlace::Https(_, tls) => Some(tls),
            UpstreamPlace::Http(_) | UpstreamPlace::H2c(_) | UpstreamPlace::Unix(_) => None,
        }
    }

    /// The reason why its name has no address, and whether that was said in time; `None` where nothing was looked up
    /// in vain.
    pub(crate) fn not_found(&self) -> Option<(String, bool)> {
        match &self.target {
            UpstreamTarget::Fixed(_) => None,
            UpstreamTarget::Named(named) => named.failed.load_full().map(|failed| (*failed).clone()),
        }
    }

    /// The value of `Host`, where the public one is this.
    pub(crate) fn host<'a>(&'a self, public: &'a HeaderValue) -> &'a HeaderValue {
        self.host.as_ref().unwrap_or(public)
    }

    /// The addresses to try; none where the name has none.
    pub(crate) async fn addresses(&self) -> Addresses {
        match &self.target {
            UpstreamTarget::Fixed(addresses) => addresses.clone(),
            UpstreamTarget::Named(named) => named.addresses(self.connect_timeout).await,
        }
    }

    /// Has the addresses looked up anew before the next request: they did not answer.
    pub(crate) fn look_up_anew(&self) {
        if let UpstreamTarget::Named(named) = &self.target {
            named.found.store(None);
        }
    }
}

impl UpstreamTarget {
    fn of_host(at: &HostPort, usual: u16) -> Self {
        let port = at.port().unwrap_or(usual);
        let fixed = |addresses: &[IpAddr]| {
            let address = |ip: &IpAddr| AppAddress::Tcp(SocketAddr::new(*ip, port));
            Self::Fixed(addresses.iter().map(address).collect())
        };
        match at.ip() {
            Some(ip) => fixed(&[ip]),
            // RFC 6761 §6.3; system resolvers do not know `*.localhost`.
            None if at.is_loopback() => fixed(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            None => Self::Named(Arc::new(NamedHost {
                name: at.host().into(),
                port,
                found: ArcSwapOption::empty(),
                looking: AtomicBool::new(false),
                failed: ArcSwapOption::empty(),
            })),
        }
    }
}

impl NamedHost {
    async fn addresses(self: &Arc<Self>, limit: Duration) -> Addresses {
        match self.found.load_full() {
            Some(found) if found.1.elapsed() < FRESH => found.0.clone(),
            // Old addresses serve while one task looks for new ones.
            Some(found) => {
                if !self.looking.swap(true, Ordering::AcqRel) {
                    let named = self.clone();
                    tokio::spawn(async move {
                        named.look_up(limit).await;
                        named.looking.store(false, Ordering::Release);
                    });
                }
                found.0.clone()
            }
            None => self.look_up(limit).await,
        }
    }

    async fn look_up(&self, limit: Duration) -> Addresses {
        let looked =
            tokio::time::timeout(limit, tokio::net::lookup_host((self.name.as_str(), self.port))).await;
        let name = &self.name;
        let addresses: Result<Addresses, (String, bool)> = match looked {
            Ok(Ok(addresses)) => Ok(addresses.map(AppAddress::Tcp).collect()),
            Ok(Err(error)) => Err((format!("the name {name} cannot be looked up: {error}"), true)),
            Err(_) => Err((format!("the name {name} was not found within {limit:?}"), false)),
        };
        let addresses = match addresses {
            Ok(addresses) if addresses.is_empty() => Err((format!("the name {name} has no address"), true)),
            other => other,
        };
        // Whoever asked is told under a reference number; this is for old addresses, which serve on without a word.
        self.failed.store(addresses.as_ref().err().cloned().map(Arc::new));
        let addresses = addresses.unwrap_or_else(|(cause, _)| {
            tracing::warn!(cause, "the application's address could not be looked up");
            Arc::new([])
        });
        if !addresses.is_empty() {
            self.found.store(Some(Arc::new((addresses.clone(), Instant::now()))));
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(host: &str, port: Option<u16>) -> Upstream {
        Upstream::new(&UpstreamSettings {
            at: UpstreamPlace::Http(HostPort::new(host, port).unwrap()),
            connect_timeout: Duration::from_secs(1),
            first_byte_timeout: Duration::from_secs(1),
            host: HostSent::Upstream,
            header_case: HeaderCase::Lower,
            path: UpstreamPath::default(),
        })
    }

    async fn addresses(host: &str, port: Option<u16>) -> Vec<String> {
        let text = |address: &AppAddress| match address {
            AppAddress::Tcp(address) => address.to_string(),
            AppAddress::Unix(path) => path.display().to_string(),
        };
        upstream(host, port).addresses().await.iter().map(text).collect()
    }

    #[tokio::test]
    async fn literal_and_loopback_names_need_no_look_up() {
        assert_eq!(addresses("192.0.2.1", Some(3000)).await, ["192.0.2.1:3000"]);
        assert_eq!(addresses("[2001:db8::1]", None).await, ["[2001:db8::1]:80"]);
        assert_eq!(addresses("app.localhost", Some(1)).await, ["127.0.0.1:1", "[::1]:1"]);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_has_no_address() {
        let upstream = upstream("no-such-name.invalid", None);
        assert!(upstream.addresses().await.is_empty());
        let (cause, in_time) = upstream.not_found().unwrap();
        assert!(cause.contains("no-such-name.invalid") && in_time, "{cause}");
    }

    #[test]
    fn its_own_host_is_told_without_the_port_that_http_has_anyway() {
        let public = HeaderValue::from_static("wiki.test");
        assert_eq!(upstream("app.test", None).host(&public), "app.test");
        assert_eq!(upstream("app.test", Some(3000)).host(&public), "app.test:3000");
    }
}
