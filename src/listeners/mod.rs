//! The listeners of the core runtime: SCIM, health and the admin socket. The data plane's are Pingora's.
//!
//! An address is bound before anything is served, so that a port in use is an error of the start and not a line in a
//! log. Each listener takes so many connections at once; what asks for nothing, or is slow to send or to take, is let go
//! (`traffic.rs`). Whoever is turned away is counted.

pub(crate) mod admin;
mod exposition;
pub(crate) mod health;
mod holder;
pub(crate) mod redirect;
pub(crate) mod scim;
mod tls;
mod traffic;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use portcullis_config::{KeyLines, Problem};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::tls::acceptor;
use self::traffic::{Seats, Times, Traffic};
use crate::handover::InheritedSockets;
use crate::metrics::Metrics;

/// The silence of an HTTP/2 client after which it is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// The time it has to say so.
const PONG: Duration = Duration::from_secs(10);
/// The time that requests under way may take once the process leaves.
const DRAIN: Duration = Duration::from_secs(5);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {address} {}. {}", .why.what_happened(), .why.remedy())]
pub(crate) struct ListenError {
    key: &'static str,
    address: String,
    why: Why,
    #[source]
    cause: io::Error,
}

/// Reasons why it cannot.
#[derive(Debug)]
enum Why {
    /// Somebody listens there; who it is, where the kernel says it.
    InUse(Option<String>),
    /// The machine has no such address.
    NotHere,
    /// A port below 1024, mostly.
    NotAllowed,
    Other,
}

impl Why {
    fn what_happened(&self) -> String {
        match self {
            Self::InUse(Some(holder)) => format!("is in use by {holder}"),
            Self::InUse(None) => "is in use by another process".to_owned(),
            Self::NotHere => "is not an address of this machine".to_owned(),
            Self::NotAllowed => "may not be opened by this user".to_owned(),
            Self::Other => "cannot be listened on".to_owned(),
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::InUse(Some(_)) => "End that process, or write another port here",
            Self::InUse(None) => "`ss -ltnp`, as root, says by which: end it, or write another port here",
            Self::NotHere => "Write one that `ip address` shows, or 0.0.0.0 for all of them",
            Self::NotAllowed => {
                "A port below 1024 needs CAP_NET_BIND_SERVICE, in a unit AmbientCapabilities=CAP_NET_BIND_SERVICE"
            }
            Self::Other => "The cause is the system's",
        }
    }
}

impl ListenError {
    /// Wraps what the system said of an address of the configuration; `key` is what it is called there.
    pub(crate) fn of_address(key: &'static str, address: SocketAddr, cause: io::Error) -> Self {
        let why = match cause.kind() {
            io::ErrorKind::AddrInUse => Why::InUse(holder::process_listening(address)),
            io::ErrorKind::AddrNotAvailable => Why::NotHere,
            io::ErrorKind::PermissionDenied => Why::NotAllowed,
            _ => Why::Other,
        };
        Self { key, address: address.to_string(), why, cause }
    }

    /// The same as a problem of the configuration, on its line.
    pub(crate) fn as_problem(&self, lines: &KeyLines) -> Problem {
        let what = format!("{} {}: {}", self.address, self.why.what_happened(), self.cause);
        lines.problem_at(self.key, what, self.why.remedy())
    }
}

/// The time that somebody waits for a place at a listener that is full.
const ROOM: Duration = Duration::from_secs(2);
/// The interval at which one of those that are there is asked to make room meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// The limits of a listener, and its counters.
#[derive(Clone)]
pub(crate) struct Port {
    /// Its name in metrics.
    pub(crate) name: &'static str,
    /// The most connections it takes at once.
    pub(crate) connections: usize,
    pub(crate) times: Times,
    pub(crate) metrics: Arc<Metrics>,
}

impl Port {
    /// A listener of this name, with the times of all listeners.
    pub(crate) fn new(name: &'static str, connections: usize, metrics: &Arc<Metrics>) -> Self {
        Self { name, connections, times: Times::default(), metrics: metrics.clone() }
    }
}

/// The address at the other end of a connection: an extension of every request that came by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// A bound address that nobody serves yet.
pub(crate) enum BoundListener {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener, PathBuf),
}

/// Binds an address of the configuration, or takes the socket of it that was inherited; `key` is what it is called there.
///
/// # Errors
/// [`ListenError`] with the key and the address.
pub(crate) async fn bind_tcp(
    key: &'static str,
    address: SocketAddr,
    inherited: &mut InheritedSockets,
) -> Result<BoundListener, ListenError> {
    let bound = match inherited.take_tcp(address) {
        Some(socket) => TcpListener::from_std(socket),
        None => TcpListener::bind(address).await,
    };
    bound.map(BoundListener::Tcp).map_err(|cause| ListenError::of_address(key, address, cause))
}

/// Binds a socket in the state folder, for the owner of the folder alone. The folder is locked, so a socket that is
/// there already is of a process that is gone, unless it was inherited.
///
/// # Errors
/// [`ListenError`] with the path.
pub(crate) fn bind_unix(
    key: &'static str,
    path: &Path,
    inherited: &mut InheritedSockets,
) -> Result<BoundListener, ListenError> {
    let mut bind = || {
        if let Some(socket) = inherited.take_unix(path) {
            return UnixListener::from_std(socket);
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let bound = bind().map(|listener| BoundListener::Unix(listener, path.to_owned()));
    bound.map_err(|cause| ListenError { key, address: path.display().to_string(), why: Why::Other, cause })
}

impl BoundListener {
    /// The same address over TLS.
    pub(crate) fn over_tls(self, acceptor: TlsAcceptor) -> Self {
        match self {
            Self::Tcp(listener) => Self::Tls(listener, acceptor),
            other => other,
        }
    }

    /// Serves as `course` says. At the end what is under way has a few seconds.
    pub(crate) fn serve(
        self,
        router: Router,
        port: Port,
        course: watch::Receiver<ListenerCourse>,
    ) -> JoinHandle<()> {
        tokio::spawn(serve_listener(self, router, port, course))
    }

    /// The same socket once more, for another process.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn duplicate_socket(&self) -> io::Result<OwnedFd> {
        let socket = match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        };
        socket.try_clone_to_owned()
    }

    /// The path of a socket in the file system.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(_, path) => Some(path),
            Self::Tcp(_) | Self::Tls(..) => None,
        }
    }
}

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerCourse {
    /// It takes connections.
    Takes,
    /// Whoever connects waits in the kernel. Those that are there are served.
    Waits,
    /// Its socket is another process's. Those that are there are served to their end.
    Leaves,
    /// It ends.
    Ends,
}

async fn serve_listener(
    bound: BoundListener,
    router: Router,
    port: Port,
    mut course: watch::Receiver<ListenerCourse>,
) {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(port.connections));
    let seats = Arc::new(Seats::default());
    let router = TowerToHyperService::new(router);
    while wait_for_course(&mut course).await == ListenerCourse::Takes {
        let accepted = tokio::select! {
            biased;
            _ = course.wait_for(|course| *course != ListenerCourse::Takes) => continue,
            accepted = bound.accept() => accepted,
        };
        let socket = match accepted {
            Ok(socket) => socket,
            Err(error) => {
                // Out of descriptors, most likely: what is under way gives some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // At a full listener one that says nothing makes room. Where everybody is busy, whoever comes waits a moment, and
        // those behind them wait in the kernel: many removals at once are done one after another, and none is dropped.
        let place = tokio::select! {
            biased;
            _ = course.wait_for(|course| *course == ListenerCourse::Ends) => break,
            place = tokio::time::timeout(ROOM, wait_for_place(&places, &seats)) => place,
        };
        let Ok(Some(place)) = place else {
            port.metrics.turned_away(port.name, "full");
            continue;
        };
        let traffic = Traffic::new(port.times);
        let place = (seats.take_seat(traffic.clone()), place);
        let (router, counted) = (router.clone(), traffic.clone());
        let peer = match &socket {
            Accepted::Tcp(_, peer) | Accepted::Tls(_, _, peer) => Some(*peer),
            Accepted::Unix(_) => None,
        };
        let answer = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let (exchange, answer) = (counted.begin_exchange(), router.call(request));
            async move { answer.await.map(|answer| answer.map(|body| exchange.carry_body(body))) }
        });
        let builder = http_builder(port.times);
        let (metrics, name) = (port.metrics.clone(), port.name);
        let over =
            move |why: Option<&'static str>| why.into_iter().for_each(|why| metrics.turned_away(name, why));
        match socket {
            Accepted::Tcp(socket, _) => {
                let _ = socket.set_nodelay(true);
                let connection = builder.serve_connection(TokioIo::new(socket), answer).into_owned();
                let watched = watch_connection(connections.watch(connection), traffic);
                tokio::spawn(async move { (over(watched.await), drop(place)).1 });
            }
            Accepted::Tls(socket, acceptor, _) => {
                let _ = socket.set_nodelay(true);
                let (watcher, times) = (connections.watcher(), port.times);
                tokio::spawn(async move {
                    let shaken = tokio::select! {
                        shaken = tokio::time::timeout(times.head, acceptor.accept(socket)) => shaken,
                        why = traffic.wait_until_over() => return (over(why), drop(place)).1,
                    };
                    let stream = match shaken {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "a TLS handshake with the SCIM listener failed");
                            return (over(Some("handshake")), drop(place)).1;
                        }
                        Err(_) => return (over(Some("silent")), drop(place)).1,
                    };
                    let connection = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
                    let watched = watch_connection(watcher.watch(connection), traffic);
                    (over(watched.await), drop(place)).1
                });
            }
            Accepted::Unix(socket) => {
                let connection = builder.serve_connection(TokioIo::new(socket), answer).into_owned();
                let watched = watch_connection(connections.watch(connection), traffic);
                tokio::spawn(async move { (over(watched.await), drop(place)).1 });
            }
        }
    }
    drop(bound);
    let gone = async {
        while places.available_permits() < port.connections {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = gone => {}
        _ = course.wait_for(|course| *course == ListenerCourse::Ends) => {}
    }
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}

/// What it does, once it does not wait.
async fn wait_for_course(course: &mut watch::Receiver<ListenerCourse>) -> ListenerCourse {
    // Where nobody is left who could say it, it ends.
    course
        .wait_for(|course| *course != ListenerCourse::Waits)
        .await
        .map_or(ListenerCourse::Ends, |course| *course)
}

/// A place for one more, once somebody leaves or makes room.
async fn wait_for_place(places: &Arc<Semaphore>, seats: &Seats) -> Option<OwnedSemaphorePermit> {
    loop {
        let place = places.clone().acquire_owned();
        match tokio::time::timeout(LOOK, place).await {
            Ok(place) => return place.ok(), // nobody closes it
            Err(_) => seats.make_room(),
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, PeerAddress),
    Tls(tokio::net::TcpStream, TlsAcceptor, PeerAddress),
    Unix(tokio::net::UnixStream),
}

impl BoundListener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(socket, peer)| Accepted::Tcp(socket, PeerAddress(peer.ip().to_canonical()))),
            Self::Tls(listener, acceptor) => listener.accept().await.map(|(socket, peer)| {
                Accepted::Tls(socket, acceptor.clone(), PeerAddress(peer.ip().to_canonical()))
            }),
            Self::Unix(listener, _) => listener.accept().await.map(|(socket, _)| Accepted::Unix(socket)),
        }
    }
}

fn http_builder(times: Times) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // A client that closes its side once it has sent everything is still answered, and what it asked for is done.
    builder
        .http1()
        .half_close(true)
        .timer(TokioTimer::new())
        // It runs between requests too. The first head has `times.head`, by the traffic.
        .header_read_timeout(times.head.max(times.idle))
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(64)
        .max_header_list_size(64 * 1024);
    builder
}

/// A connection until its end, or until the traffic on it says that it is over; then why, where that is to be counted.
async fn watch_connection<E: std::fmt::Display>(
    watched: impl Future<Output = Result<(), E>>,
    traffic: Arc<Traffic>,
) -> Option<&'static str> {
    tokio::select! {
        biased; // what has come is read before it is asked whether anything has
        served = watched => {
            if let Err(error) = served {
                tracing::debug!(%error, "a connection of the core listeners ended early");
            }
            None
        }
        why = traffic.wait_until_over() => why,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use http_body_util::BodyExt as _;
    use prometheus_client::registry::Registry;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    struct Stage {
        address: SocketAddr,
        registry: Registry,
        _stop: watch::Sender<ListenerCourse>,
    }

    /// So long that no test waits for it.
    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(200);

    async fn serve(connections: usize, times: Times) -> Stage {
        let (mut registry, (stop, stopping)) = (Registry::default(), watch::channel(ListenerCourse::Takes));
        let metrics = Arc::new(Metrics::register(&mut registry));
        let piece = Ok::<_, std::convert::Infallible>(vec![7; 4096]);
        let endless = move || async move { Body::from_stream(futures_util::stream::repeat(piece)) };
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/endless", get(endless))
            .route("/body", post(|body: Body| async { body.collect().await.map_or("broken", |_| "whole") }));
        let (address, mut none) = (SocketAddr::from(([127, 0, 0, 1], 0)), InheritedSockets::default());
        let bound = bind_tcp("listen.scim", address, &mut none).await.unwrap();
        let BoundListener::Tcp(listener) = &bound else { unreachable!() };
        let address = listener.local_addr().unwrap();
        drop(bound.serve(router, Port { name: "scim", connections, times, metrics }, stopping));
        Stage { address, registry, _stop: stop }
    }

    impl Stage {
        async fn say(&self, words: &str) -> TcpStream {
            let mut socket = TcpStream::connect(self.address).await.unwrap();
            socket.write_all(words.as_bytes()).await.unwrap();
            socket
        }

        fn turned_away(&self, why: &str) -> usize {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            let name = format!("portcullis_listener_turned_away_total{{listener=\"scim\",why=\"{why}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).expect("the series").parse().unwrap()
        }

        async fn has_turned_away(&self, why: &str, wanted: usize) {
            let looking = async {
                while self.turned_away(why) != wanted {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), looking).await.expect("it is let go");
        }
    }

    /// Reads to the end, however it comes; panics where it does not.
    async fn end(mut socket: TcpStream) -> String {
        let mut read = Vec::new();
        let reading = socket.read_to_end(&mut read);
        let _ =
            tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the connection is closed");
        String::from_utf8_lossy(&read).into_owned()
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[tokio::test]
    async fn whoever_asks_for_nothing_is_let_go() {
        let stage = serve(16, Times { head: SHORT, idle: NEVER, exchange: NEVER }).await;
        // Also where the first bytes could still become HTTP/2, and where they have.
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
        for words in ["", "P", "PRI * HT", preface, "GET / HTTP/1.1\r\nHost: a\r\n"] {
            assert!(!end(stage.say(words).await).await.contains("here"), "{words:?}");
        }
        assert!(stage.turned_away("silent") >= 4, "{}", stage.turned_away("silent"));
    }

    #[tokio::test]
    async fn a_listener_takes_so_many_at_once() {
        let stage = serve(2, Times { head: NEVER, idle: NEVER, exchange: NEVER }).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = stage.say("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut read = [0; 1024];
            assert!(socket.read(&mut read).await.unwrap() > 0);
            held.push(socket);
        }
        assert_eq!(end(stage.say("").await).await, "");
        assert_eq!(stage.turned_away("full"), 1);
        held.pop();
        let mut answered = false;
        for _ in 0..1000 {
            let closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            answered = end(stage.say(closing).await).await.ends_with("here");
            if answered {
                break;
            }
        }
        assert!(answered, "whoever leaves makes room");
    }

    #[tokio::test]
    async fn whoever_says_nothing_keeps_nobody_out() {
        let stage = serve(2, Times { head: NEVER, idle: NEVER, exchange: NEVER }).await;
        // One that is busy, one that is silent; then one that came and is done.
        let mut busy = stage.say("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(busy.read(&mut [0; 1024]).await.unwrap() > 0);
        let silent = stage.say("").await;
        let mut done = stage.say(GET).await;
        assert!(done.read(&mut [0; 1024]).await.unwrap() > 0, "the silent one has made room");
        assert_eq!(end(silent).await, "");
        let mut next = stage.say(GET).await;
        assert!(next.read(&mut [0; 1024]).await.unwrap() > 0, "so has the one that was done");
        assert_eq!(end(done).await, "");
        assert!(busy.read(&mut [0; 1024]).await.unwrap() > 0, "the busy one stays");
        assert_eq!((stage.turned_away("made_room"), stage.turned_away("full")), (2, 0));
    }

    /// Whoever asks again and again keeps nobody out either: between two questions they are done.
    #[tokio::test]
    async fn whoever_was_served_makes_room_however_busy() {
        let stage = serve(2, Times { head: NEVER, idle: NEVER, exchange: NEVER }).await;
        for _ in 0..2 {
            let mut socket = stage.say(GET).await;
            tokio::spawn(async move {
                let mut read = [0; 1024];
                while socket.read(&mut read).await.is_ok_and(|count| count > 0) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let _ = socket.write_all(GET.as_bytes()).await;
                }
            });
        }
        for _ in 0..5 {
            let mut next = stage.say(GET).await;
            assert!(next.read(&mut [0; 1024]).await.unwrap() > 0);
        }
        assert_eq!(stage.turned_away("full"), 0);
    }

    #[tokio::test]
    async fn who_is_slow_to_send_or_to_take_is_let_go() {
        let stage = serve(16, Times { head: NEVER, idle: NEVER, exchange: SHORT }).await;
        let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1";
        assert_eq!(end(stage.say(head).await).await, "");
        stage.has_turned_away("slow", 1).await;
        let untaken = stage.say("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stage.has_turned_away("slow", 2).await;
        drop(untaken);
    }

    #[tokio::test]
    async fn who_is_done_may_wait_for_a_while() {
        let stage = serve(16, Times { head: NEVER, idle: SHORT, exchange: NEVER }).await;
        assert!(end(stage.say(GET).await).await.ends_with("here"));
        assert_eq!((stage.turned_away("silent"), stage.turned_away("slow")), (0, 0));
    }
}
