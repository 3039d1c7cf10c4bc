//! The one client for requests we make ourselves, to identity providers: behind a [`Fetch`], bounded in time and size.
//!
//! It follows no redirect, speaks https (plain http only to this machine or to hosts in `http_client.allow`), and
//! resolves names itself: the address that was checked is the address that is connected to, so no name can lead into a
//! private network. `localhost` and `*.localhost` are this machine without asking anybody (RFC 6761 §6.3).

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use portcullis_policy::is_loopback_name;
use portcullis_sso::{AllowedHost, Fetch, FetchError, is_public};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// The hosts and addresses that our own requests may go to.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchReach {
    /// Hosts of configured issuers: trusted as written, whatever address they have.
    pub(crate) issuers: Vec<String>,
    /// `http_client.allow`.
    pub(crate) allow: Vec<AllowedHost>,
    /// True where our own public URL is on this machine: then what is here may be asked, over plain http too.
    pub(crate) loopback: bool,
}

/// Reasons why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The file of further authorities is no such file.
    #[error("http_client.ca_file {}: no certificates in PEM could be read from it", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The fault in the file.
        source: pem::Error,
    },
    /// The file of further authorities holds none, or one that is none.
    #[error("http_client.ca_file {}: holds no certificate of an authority", .path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The client: authorities of the system and those of `ca_file`.
///
/// # Errors
/// See [`ClientError`]. A system without any authority of its own is no error: a warning, and https works with
/// `ca_file` only.
pub(crate) fn build_client(reach: FetchReach, ca_file: Option<PathBuf>) -> Result<Fetch, ClientError> {
    build_with(reach, ca_file, Limits { time: Duration::from_secs(5), body: 1024 * 1024 })
}

/// The client that is in force. A reload puts another in its place, for whoever asks from then on.
#[derive(Clone)]
pub(crate) struct Renewable(Arc<ArcSwap<Fetch>>);

impl Renewable {
    /// Begins with this client.
    pub(crate) fn new(client: Fetch) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(client)))
    }

    /// Asks by the client that is in force when it is asked.
    pub(crate) fn fetch(&self) -> Fetch {
        let current = self.0.clone();
        Arc::new(move |request| (**current.load())(request))
    }

    /// Puts another in force.
    pub(crate) fn replace_client(&self, client: Fetch) {
        self.0.store(Arc::new(client));
    }
}

#[derive(Clone, Copy)]
struct Limits {
    time: Duration,
    body: usize,
}

fn build_with(reach: FetchReach, ca_file: Option<PathBuf>, limits: Limits) -> Result<Fetch, ClientError> {
    let tls = tls_config(ca_file)?;
    // Two clients with their own connections: whether a name may lead anywhere depends on its port too, which a
    // resolver does not see.
    let (trusting, strict) =
        (build_pool(&tls, Names::Trusted, limits), build_pool(&tls, allowed_names(&reach), limits));
    let reach = Arc::new(reach);
    Ok(Arc::new(move |mut request: Request<Bytes>| {
        let (trusting, strict, reach) = (trusting.clone(), strict.clone(), reach.clone());
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let client = if reach.check_address(request.uri())? { trusting } else { strict };
            let us = const { HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))) };
            request.headers_mut().insert(USER_AGENT, us);
            // Nothing is unpacked here: some servers pack an answer unless they are told not to (RFC 9110 §12.5.3).
            request.headers_mut().insert(ACCEPT_ENCODING, const { HeaderValue::from_static("identity") });
            let exchange = async {
                let answer = client
                    .request(request.map(Full::new))
                    .await
                    .map_err(|error| fetch_error(&host, error))?;
                let (head, body) = answer.into_parts();
                match Limited::new(body, limits.body).collect().await {
                    Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
                    Err(error) if error.is::<LengthLimitError>() => {
                        Err(FetchError::TooLarge { host: host.clone(), limit: limits.body })
                    }
                    Err(source) => Err(FetchError::Malformed { host: host.clone(), source }),
                }
            };
            match tokio::time::timeout(limits.time, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(FetchError::Timeout { host: host.clone(), seconds: limits.time.as_secs() }),
            }
        })
    }))
}

impl FetchReach {
    /// Checks whether an address may be asked, as it is written, and tells whether it is trusted whatever it resolves
    /// to.
    fn check_address(&self, uri: &Uri) -> Result<bool, FetchError> {
        let host = uri.host().unwrap_or_default();
        let refuse = |why| Err(FetchError::NotAllowed { host: host.into(), why });
        let (https, port) = match uri.scheme_str() {
            Some("https") => (true, uri.port_u16().unwrap_or(443)),
            Some("http") => (false, uri.port_u16().unwrap_or(80)),
            _ => return refuse("no address on the web"),
        };
        let allowed = self.allow.iter().any(|allowed| allowed.covers(host, Some(port)));
        if !(https || allowed || self.loopback && on_this_machine(host)) {
            return refuse("asked over plain http");
        }
        let trusted = allowed
            || self
                .issuers
                .iter()
                .any(|issuer| without_brackets(issuer).eq_ignore_ascii_case(without_brackets(host)));
        // The connector asks no resolver for a host that is an address.
        if let Some(address) = ip_literal(host)
            && !trusted
            && !allowed_names(self).lead_to(host, address)
        {
            return refuse(NOT_PUBLIC);
        }
        Ok(trusted)
    }
}

type Pool = Client<HttpsConnector<HttpConnector<Names>>, Full<Bytes>>;

fn build_pool(tls: &ClientConfig, names: Names, limits: Limits) -> Pool {
    let mut tcp = HttpConnector::new_with_resolver(names);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(limits.time));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4)
        .build(connector)
}

/// The addresses that names may lead to.
#[derive(Clone, Copy)]
enum Names {
    /// Anywhere.
    Trusted,
    /// To the public internet.
    Public,
    /// There, and names of this machine to this machine.
    PublicOrHere,
}

fn allowed_names(reach: &FetchReach) -> Names {
    if reach.loopback { Names::PublicOrHere } else { Names::Public }
}

impl Names {
    async fn resolve_name(self, name: &str) -> Result<Vec<SocketAddr>, Unresolved> {
        let found: Vec<SocketAddr> = if is_loopback_name(name) {
            [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
                .map(|ip| SocketAddr::new(ip, 0))
                .into()
        } else {
            tokio::net::lookup_host((name, 0)).await.map_err(Unresolved::Name)?.collect()
        };
        self.keep_allowed(name, found)
    }

    /// The addresses of a name that may be connected to. One that may not makes the others no worse: it is left out.
    fn keep_allowed(self, name: &str, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Unresolved> {
        if found.is_empty() {
            return Err(Unresolved::Name(io::Error::new(io::ErrorKind::NotFound, "no address")));
        }
        found.retain(|address| self.lead_to(name, address.ip()));
        if found.is_empty() { Err(Unresolved::NotPublic) } else { Ok(found) }
    }

    fn lead_to(self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Trusted => true,
            Self::PublicOrHere if on_this_machine(host) && address.is_loopback() => true,
            Self::Public | Self::PublicOrHere => is_public(address),
        }
    }
}

/// The resolver that hyper asks.
impl tower::Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = *self;
        Box::pin(async move { names.resolve_name(name.as_str()).await.map(Vec::into_iter) })
    }
}

const NOT_PUBLIC: &str = "at an address that is not public";

/// Reasons why a name gives no address to connect to.
#[derive(Debug)]
enum Unresolved {
    Name(io::Error),
    NotPublic,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NotPublic => f.write_str(NOT_PUBLIC),
        }
    }
}

impl Error for Unresolved {}

fn on_this_machine(host: &str) -> bool {
    is_loopback_name(host) || ip_literal(host).is_some_and(|address| address.is_loopback())
}

fn ip_literal(host: &str) -> Option<IpAddr> {
    without_brackets(host).parse().ok()
}

/// A host without the brackets of an IPv6 address.
fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Puts hyper's error in our words.
fn fetch_error(host: &str, error: hyper_util::client::legacy::Error) -> FetchError {
    let host = host.to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        match inner.downcast_ref::<Unresolved>() {
            Some(Unresolved::NotPublic) => return FetchError::NotAllowed { host, why: NOT_PUBLIC },
            Some(Unresolved::Name(error)) => {
                let source = io::Error::new(error.kind(), error.to_string());
                return FetchError::Name { host, source };
            }
            None => cause = inner.source(),
        }
    }
    if error.is_connect() {
        let told = refused_by_tls(&error).and_then(Untrusted::from_tls_error);
        FetchError::Connect { host, source: told.map_or_else(|| error.into(), Into::into) }
    } else {
        FetchError::Malformed { host, source: error.into() }
    }
}

/// The one error of TLS in a chain; an [`io::Error`] hides the one that it was made of from its own chain.
fn refused_by_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// A connection that TLS refused, with what to change.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
struct Untrusted {
    told: &'static str,
    source: rustls::Error,
}

impl Untrusted {
    /// The refusals that operators meet; `None` for all others, which say what they are.
    fn from_tls_error(error: &rustls::Error) -> Option<Self> {
        use rustls::CertificateError as Bad;
        let told = match error {
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS on that port, but perhaps plain http: look at the port and at https://"
            }
            rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
                "its certificate is of an authority that this machine does not know: name the authority's own \
                 certificate in http_client.ca_file"
            }
            rustls::Error::InvalidCertificate(Bad::Other(other))
                if other.to_string().contains("CaUsedAsEndEntity") =>
            {
                "its certificate is an authority's own (CA:TRUE), as one that signed itself often is: give the server a \
                 certificate of its own, and name the authority that signed it in http_client.ca_file"
            }
            rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
                "its certificate is for another name: ask it by the name in its certificate"
            }
            rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
                "its certificate has expired: it is renewed there, or the clock of this machine is wrong"
            }
            rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
                "its certificate is not valid yet: the clock of this machine may be wrong"
            }
            _ => return None,
        };
        Some(Self { told, source: error.clone() })
    }
}

fn tls_config(ca_file: Option<PathBuf>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("certificate authorities of the system: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let read = |source| ClientError::Authorities { path: path.clone(), source };
        let further: Vec<_> =
            CertificateDer::pem_file_iter(&path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
        let (added, ignored) = roots.add_parsable_certificates(further);
        if added == 0 || ignored > 0 {
            return Err(ClientError::NoAuthority { path });
        }
    }
    if roots.is_empty() {
        tracing::warn!(
            "this system has no certificate authorities: install ca-certificates or set http_client.ca_file"
        );
    }
    // Named, so that it does not matter who was first to install a default for the process.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_rig::bare::{application, blurt, nobody};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const SHORT: Limits = Limits { time: Duration::from_millis(300), body: 1024 };

    fn here() -> FetchReach {
        FetchReach { loopback: true, ..FetchReach::default() }
    }

    async fn get(fetch: &Fetch, url: &str) -> Result<Response<Bytes>, FetchError> {
        fetch(Request::get(url).body(Bytes::new()).unwrap()).await
    }

    /// A server that says the same to everybody; how many came.
    async fn serve(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let came = count.clone();
        let serve = move |_, socket| {
            came.fetch_add(1, Ordering::Relaxed);
            speak(socket, answer)
        };
        (application(serve).await.port(), count)
    }

    async fn speak(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: &'static [u8]) {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let _ = socket.write_all(answer).await;
        // Held open: whoever waits for more, waits.
        let _ = socket.read_buf(&mut request).await;
    }

    const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    #[tokio::test]
    async fn names_of_this_machine_are_reached_where_we_are_on_it() {
        let (port, count) = serve(FINE).await;
        let fetch = build_client(here(), None).unwrap();
        for host in ["localhost", "idp.localhost", "127.0.0.1"] {
            let answer = get(&fetch, &format!("http://{host}:{port}/x")).await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"{}"[..]), "{host}");
        }
        let before = count.load(Ordering::Relaxed);
        let elsewhere = build_client(FetchReach::default(), None).unwrap();
        for url in [
            format!("http://localhost:{port}/"),
            format!("https://idp.localhost:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("https://[::1]:{port}/"),
        ] {
            let error = get(&elsewhere, &url).await.unwrap_err();
            assert!(matches!(error, FetchError::NotAllowed { .. }), "{url}: {error}");
        }
        assert_eq!(count.load(Ordering::Relaxed), before);
    }

    #[tokio::test]
    async fn who_holds_the_client_goes_by_the_one_in_force() {
        let (port, count) = serve(FINE).await;
        let renewable = Renewable::new(build_client(FetchReach::default(), None).unwrap());
        let fetch = renewable.fetch();
        let url = format!("http://127.0.0.1:{port}/");
        assert!(matches!(get(&fetch, &url).await, Err(FetchError::NotAllowed { .. })));
        renewable.replace_client(build_client(here(), None).unwrap());
        assert_eq!(get(&fetch, &url).await.unwrap().status().as_u16(), 200);
        renewable.replace_client(build_client(FetchReach::default(), None).unwrap());
        assert!(matches!(get(&fetch, &url).await, Err(FetchError::NotAllowed { .. })));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn addresses_that_are_not_public_are_refused_as_written() {
        let reach = FetchReach {
            issuers: vec!["10.0.0.5".into(), "[fd00::5]".into()],
            allow: vec![
                AllowedHost { host: "10.0.0.6".into(), port: None },
                AllowedHost { host: "idp.corp".into(), port: Some(8443) },
            ],
            loopback: false,
        };
        for (url, fine) in [
            ("https://10.0.0.5/", true),
            ("http://10.0.0.5/", false),
            ("https://[fd00::5]/", true),
            ("https://10.0.0.6:1/", true),
            ("http://10.0.0.6/", true),
            ("https://10.0.0.7/", false),
            ("https://169.254.169.254/latest", false),
            ("https://[::ffff:10.0.0.7]/", false),
            ("https://1.1.1.1/", true),
            ("http://1.1.1.1/", false),
            ("http://idp.corp:8443/", true),
            ("http://idp.corp/", false),
            ("https://idp.corp/", true),
            ("http://op.test/", false),
            ("https://op.test/", true),
            ("ftp://op.test/", false),
            ("/path", false),
        ] {
            assert_eq!(reach.check_address(&url.parse().unwrap()).is_ok(), fine, "{url}");
        }
        // One port is trusted, the others may lead to public addresses.
        assert_eq!(reach.check_address(&"https://idp.corp:8443/".parse().unwrap()).ok(), Some(true));
        assert_eq!(reach.check_address(&"https://idp.corp/".parse().unwrap()).ok(), Some(false));
    }

    #[test]
    fn names_lead_to_public_addresses_only() {
        let addresses =
            |text: &[&str]| text.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        let kept = |names: Names, name: &str, found: &[&str]| {
            names.keep_allowed(name, addresses(found)).map(|kept| kept.len()).ok()
        };
        for names in [Names::Public, Names::PublicOrHere] {
            assert_eq!(kept(names, "op.test", &["1.1.1.1", "2606:4700::1"]), Some(2));
            assert_eq!(kept(names, "op.test", &["1.1.1.1", "10.0.0.1"]), Some(1));
            assert_eq!(kept(names, "op.test", &["10.0.0.1", "::1", "127.0.0.1"]), None);
            assert_eq!(kept(names, "x.localhost", &["10.0.0.1"]), None);
        }
        assert_eq!(kept(Names::PublicOrHere, "x.localhost", &["127.0.0.1", "::1"]), Some(2));
        assert_eq!(kept(Names::Public, "x.localhost", &["127.0.0.1", "::1"]), None);
        assert_eq!(kept(Names::Trusted, "idp.corp", &["10.0.0.1"]), Some(1));
        assert_eq!(kept(Names::Trusted, "idp.corp", &[]), None);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let (target, count) = serve(FINE).await;
        let answer = format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{target}/\r\ncontent-length: 0\r\n\r\n"
        );
        let (port, _) = serve(answer.leak().as_bytes()).await;
        let fetch = build_client(here(), None).unwrap();
        let answer = get(&fetch, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert_eq!((answer.status().as_u16(), count.load(Ordering::Relaxed)), (302, 0));
    }

    #[tokio::test]
    async fn what_is_too_slow_or_too_large_or_no_http_is_an_error() {
        type Kind = fn(&FetchError) -> bool;
        let large =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}", "x".repeat(2000));
        let cases: [(&[u8], Kind); 5] = [
            (b"", |error| matches!(error, FetchError::Timeout { .. })),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", |error| {
                matches!(error, FetchError::Timeout { .. })
            }),
            (b"SSH-2.0-OpenSSH\r\n\r\n", |error| matches!(error, FetchError::Malformed { .. })),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", |error| {
                matches!(error, FetchError::Malformed { .. })
            }),
            (large.leak().as_bytes(), |error| matches!(error, FetchError::TooLarge { limit: 1024, .. })),
        ];
        for (answer, kind) in cases {
            let (port, _) = serve(answer).await;
            let fetch = build_with(here(), None, SHORT).unwrap();
            let error = get(&fetch, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
            assert!(kind(&error), "{}: {error:?}", String::from_utf8_lossy(&answer[..answer.len().min(40)]));
            assert!(error.to_string().contains("127.0.0.1"), "{error}");
        }
    }

    #[tokio::test]
    async fn answers_are_asked_for_as_they_are() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(socket.read_buf(&mut head).await.unwrap() > 0);
            }
            socket.write_all(FINE).await.unwrap();
            String::from_utf8_lossy(&head).to_ascii_lowercase()
        });
        let fetch = build_client(here(), None).unwrap();
        get(&fetch, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert!(asked.await.unwrap().contains("\r\naccept-encoding: identity\r\n"));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_that_says_so() {
        let port = nobody().await.port();
        let fetch = build_with(here(), None, SHORT).unwrap();
        let error = get(&fetch, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
        let error = get(&fetch, "https://no-such-name.invalid/").await.unwrap_err();
        assert!(matches!(error, FetchError::Name { .. } | FetchError::Timeout { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn only_certificates_of_known_authorities_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let (port, ca) = serve_tls("idp.localhost").await;
        std::fs::write(&ca_file, ca).unwrap();

        let fetch = build_client(here(), Some(ca_file.clone())).unwrap();
        let answer = get(&fetch, &format!("https://idp.localhost:{port}/")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        // The right authority for another name, and the right name without the authority.
        let none = build_client(here(), None).unwrap();
        for (fetch, host, told) in [
            (fetch.clone(), "other.localhost", "for another name"),
            (none, "idp.localhost", "http_client.ca_file"),
        ] {
            let error = get(&fetch, &format!("https://{host}:{port}/")).await.unwrap_err();
            assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
            let chain = crate::log::error_chain(&error).to_string();
            assert!(chain.contains(told) && chain.contains(host), "{chain}");
        }
        // One whose certificate is its own authority's.
        let (port, own) = serve_tls_as("idp.localhost", true).await;
        let own_file = folder.path().join("own.pem");
        std::fs::write(&own_file, own).unwrap();
        let fetch_own = build_client(here(), Some(own_file)).unwrap();
        let error = get(&fetch_own, &format!("https://idp.localhost:{port}/")).await.unwrap_err();
        let chain = crate::log::error_chain(&error).to_string();
        assert!(chain.contains("CA:TRUE") && chain.contains("http_client.ca_file"), "{chain}");
        // A server that speaks no TLS.
        let plain = blurt(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.port();
        let error = get(&fetch, &format!("https://idp.localhost:{plain}/")).await.unwrap_err();
        let chain = crate::log::error_chain(&error).to_string();
        assert!(chain.contains("idp.localhost") && chain.contains("plain http"), "{chain}");
        for (content, missing) in [("", false), ("no certificate", false), ("", true)] {
            std::fs::write(&ca_file, content).unwrap();
            let path = if missing { folder.path().join("none.pem") } else { ca_file.clone() };
            assert!(build_client(here(), Some(path)).is_err(), "{content:?}");
        }
    }

    /// A TLS server, HTTP/1.1 only, and the PEM of its authority.
    async fn serve_tls(name: &str) -> (u16, String) {
        serve_tls_as(name, false).await
    }

    /// The same; `itself`: with the authority's own certificate.
    async fn serve_tls_as(name: &str, itself: bool) -> (u16, String) {
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signed = params.self_signed(&authority).unwrap();
        let ca = signed.pem();
        let issuer = rcgen::Issuer::from_params(&params, &authority);
        let (leaf, key) = if itself {
            (signed, rcgen::KeyPair::try_from(authority.serialize_der()).unwrap())
        } else {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let serve = move |_, socket| {
            let accepting = acceptor.accept(socket);
            async move {
                if let Ok(socket) = accepting.await {
                    speak(socket, FINE).await;
                }
            }
        };
        (application(serve).await.port(), ca)
    }
}
