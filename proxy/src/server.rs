//! The data plane as a running thing: listeners, a thread a core, a drain.
//!
//! Sockets are bound before anything runs, so that a port in use is an error of the start and
//! not of a thread. Each core has a runtime of its own, with Pingora's listening service on a socket of its own, and
//! everything of a connection stays on the core that accepted it; reads and pages run on whoever's runtime the seams
//! choose. Nothing of Pingora shows.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use pingora::apps::ServerApp;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::protocols::l4::stream::Stream as Plain;
use pingora::protocols::{ALPN, Stream, TcpKeepalive};
use pingora::server::{Fds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use rustls::ServerConfig;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::certificates::Certificates;
use crate::client_authorities::ClientAuthorities;
use crate::clock::Clock;
use crate::connection::{Door, Protocol};
use crate::drain::{Drained, LAST, Parting, WhatIsLeft};
use crate::gate::Gate;
use crate::proxy_header::{HeaderRead, ProxyHeaderFault, read_header};
use crate::rules::Limits;
use crate::share::Share;
use crate::upstream;

/// One address the proxy listens on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its address; port 0 takes a free one.
    pub address: SocketAddr,
    /// With a certificate it speaks TLS, HTTP/2 and HTTP/1.1; without, HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: Option<ListenerTls>,
    /// True where each connection begins with a header of the PROXY protocol, by which a trusted proxy says whose it is.
    pub proxy_protocol: bool,
}

/// What shakes hands on a listener.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// What it shows.
    pub certificates: Arc<Certificates>,
    /// The authorities of the clients that are heard; all are where there are none.
    pub clients: Option<ClientAuthorities>,
}

/// The reason why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Bind {
        /// The address that is not free.
        address: SocketAddr,
        /// In use, not ours, or not allowed.
        #[source]
        cause: io::Error,
    },
    /// There are no threads to run on.
    #[error("the threads of the proxy cannot be started")]
    Runtime(#[source] io::Error),
}

/// A part of the data plane stopped by itself, which none ever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of the proxy stopped")]
pub struct Stopped {
    what: &'static str,
}

impl Stopped {
    /// The end of all of it, though nobody asked for one.
    pub fn by_itself() -> Self {
        Self { what: "everything" }
    }
}

/// The data plane, bound and ready.
pub struct Server {
    gate: Arc<Gate>,
    limits: Limits,
    share: Arc<Share>,
    /// The number of idle connections to applications that each core keeps.
    pool: usize,
    bound: Vec<BoundAddress>,
    cores: Cores,
}

/// A runtime a core. Whoever drops them may be inside another one, where waiting for threads is not allowed.
struct Cores(Vec<Runtime>);

impl Cores {
    fn new(count: usize) -> io::Result<Self> {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        std::iter::repeat_with(runtime).take(count).collect::<io::Result<_>>().map(Self)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Runtime::shutdown_background);
    }
}

/// One address, with a socket for each core.
struct BoundAddress {
    address: SocketAddr,
    sockets: Vec<TcpListener>,
    tls: Option<ListenerTls>,
    proxy_protocol: bool,
}

impl Server {
    /// Binds every listener, or takes its sockets from those that are `inherited`. `threads` is the number of cores unless
    /// given.
    ///
    /// # Errors
    /// [`StartError`], by the first listener that cannot be.
    pub fn bind_listeners(
        gate: Arc<Gate>,
        listeners: &[Listener],
        limits: Limits,
        threads: Option<usize>,
        inherited: &mut Vec<TcpListener>,
    ) -> Result<Self, StartError> {
        let count =
            threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let bind = |listener| BoundAddress::new(listener, count, inherited);
        let bound = listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let cores = Cores::new(count).map_err(StartError::Runtime)?;
        let (pool, share) = split_descriptors(limits.sockets, count);
        let metrics = &gate.recorder.metrics;
        metrics.sockets_limit.set(limits.sockets.map_or(0, |_| i64::try_from(share).unwrap_or(i64::MAX)));
        let share = Share::new(share, metrics.sockets.clone());
        Ok(Self { gate, limits, share, pool, bound, cores })
    }

    /// The addresses it listens on, in the order given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Its sockets once more, for another process: whoever holds one holds the connections that wait on it.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn duplicate_sockets(&self) -> io::Result<Vec<TcpListener>> {
        self.bound.iter().flat_map(|bound| &bound.sockets).map(TcpListener::try_clone).collect()
    }

    /// Serves until `parting` says how to go. With [`Parting::Yield`] what is here stays, each connection until its
    /// next answer and each stream until its end. With [`Parting::Leave`], which may follow, connections between two
    /// requests are closed; and once nothing is left but streams on which nothing passes, they are ended at once: by
    /// themselves they never would. With `hurry` the wait is over.
    ///
    /// # Errors
    /// [`Stopped`] where a core ends before.
    pub async fn run(
        self,
        mut parting: watch::Receiver<Parting>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Drained, Stopped> {
        let Self { gate, limits, share, pool, mut bound, mut cores } = self;
        let sockets = Arc::new(AtomicUsize::new(0));
        let (last_call, stopping) = watch::channel(false);
        let told = parting.clone();
        let (end, ending) = watch::channel(false);
        let (mut running, mut clocks) = (JoinSet::new(), Vec::new());
        let count = cores.0.len();
        for (number, runtime) in cores.0.drain(..).enumerate() {
            let clock = Clock::new();
            clocks.push(clock.clone());
            let core = ServingThread {
                gate: gate.clone(),
                limits,
                share: share.clone(),
                pool,
                clock,
                listeners: bound.iter_mut().flat_map(|bound| bound.next_listeners(count - number)).collect(),
                sockets: sockets.clone(),
                stopping: stopping.clone(),
                parting: told.clone(),
                ending: ending.clone(),
            };
            running.spawn(core.run(runtime)?);
        }
        tokio::select! {
            // Where nobody is left who could say it, nobody waits either.
            _ = parting.wait_for(|parting| *parting != Parting::Stay) => {}
            _ = running.join_next() => return Err(Stopped { what: "a thread" }),
        };
        let _ = last_call.send(true);
        let left = WhatIsLeft { gate: &gate, clocks: &clocks, sockets: &sockets };
        let drained = tokio::select! {
            drained = left.wait_drained(parting) => drained,
            () = hurry => Drained { silent: 0, left: left.live() },
        };
        // Tasks are dropped here, and with them whatever is left; each writes its line.
        let _ = end.send(true);
        let _ = tokio::time::timeout(LAST, async { while running.join_next().await.is_some() {} }).await;
        let log = gate.recorder.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.flush(LAST)).await;
        Ok(drained)
    }
}

/// The parts that one thread serves with: everything of a connection stays on it.
struct ServingThread {
    gate: Arc<Gate>,
    limits: Limits,
    share: Arc<Share>,
    pool: usize,
    clock: Arc<Clock>,
    listeners: Vec<CoreListener>,
    sockets: Arc<AtomicUsize>,
    stopping: watch::Receiver<bool>,
    parting: watch::Receiver<Parting>,
    ending: watch::Receiver<bool>,
}

struct CoreListener {
    address: SocketAddr,
    socket: TcpListener,
    tls: Option<ListenerTls>,
    proxy_protocol: bool,
}

impl ServingThread {
    /// Begins a thread. What it gives is ready once that has ended.
    fn run(self, runtime: Runtime) -> Result<impl Future<Output = ()>, Stopped> {
        let (ended, ending) = oneshot::channel::<()>();
        let serve = move || {
            let _ended = ended; // also where it panics
            runtime.block_on(self.serve());
            runtime.shutdown_background(); // drops every task of this thread
        };
        std::thread::Builder::new()
            .name("proxy".into())
            .spawn(serve)
            .map_err(|_| Stopped { what: "a thread" })?;
        Ok(async move { drop(ending.await) })
    }

    async fn serve(self) {
        let Self { gate, limits, share, pool, clock, listeners, sockets, stopping, mut parting, mut ending } =
            self;
        upstream::keep_at_most(pool);
        tokio::spawn(clock.clone().run(upstream::sweep_pool));
        let services = listeners.into_iter().map(|CoreListener { address, socket, tls, proxy_protocol }| {
            let name = address.to_string();
            let listener = ListenerConfig::tcp(name.as_str())
                .tcp_socket_options(socket_options(limits))
                .l4_buffer(L4BufferSettings::unbuffered());
            let door = Door { gate: gate.clone(), clock: clock.clone(), limits, share: share.clone() };
            // To Pingora every listener is a plain one: a socket is counted before it shakes hands.
            let tls = tls.map(make_acceptor);
            let sockets = Sockets { door, open: sockets.clone(), tls, proxy_protocol };
            let mut service = Service::new("proxy".into(), sockets);
            service.add_listener(listener);
            let mut fds = Fds::new();
            fds.add(name, socket.into_raw_fd());
            let (fds, stopping) = (Arc::new(parking_lot::Mutex::new(fds)), stopping.clone());
            async move { service.start_service(Some(fds), stopping, 1).await }
        });
        join_all(services).await;
        let is_to_leave = |parting: &Parting| !matches!(parting, Parting::Yield(_));
        if !is_to_leave(&parting.borrow_and_update()) {
            clock.yield_place();
            tokio::select! {
                _ = parting.wait_for(is_to_leave) => {}
                _ = ending.wait_for(|end| *end) => return,
            }
        }
        clock.drain();
        let _ = ending.wait_for(|end| *end).await;
    }
}

/// The application, as Pingora calls it, that sockets are handed to.
struct Sockets {
    door: Door,
    /// The number of those that are open.
    open: Arc<AtomicUsize>,
    /// The acceptor that shakes hands, on a listener that speaks TLS; nobody is served where it could not be made.
    tls: Option<Option<Acceptor>>,
    proxy_protocol: bool,
}

/// One of a number of things; one less when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl ServerApp for Sockets {
    async fn process_new(self: &Arc<Self>, mut socket: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let counted = Counted::new(&self.open);
        // This socket, and the application's that its requests will need.
        let Some(taken) = self.door.share.take(2) else {
            self.door.gate.recorder.metrics.turned_away.inc();
            return None;
        };
        let address = socket.get_socket_digest().and_then(|digest| digest.peer_addr().cloned());
        let address = address.and_then(|address| address.as_inet().copied());
        let mut client = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
        let mut is_named = true;
        if self.proxy_protocol {
            let named;
            (socket, named) = self.hear_proxy(socket, client).await?;
            is_named = named.is_some();
            client = named.unwrap_or(client);
        }
        if let Some(tls) = &self.tls {
            socket = self.shake_hands(tls.as_ref()?, socket).await?;
        }
        let gate = &self.door.gate;
        let peer = if is_named { gate.make_peer(client) } else { gate.make_unnamed_peer(client) };
        let agreed = match socket.selected_alpn_proto() {
            Some(ALPN::H2) => Some(Protocol::Http2),
            // Prior knowledge is for plain sockets (RFC 9113 §3.3).
            _ if socket.get_ssl_digest().is_some() => Some(Protocol::Http1),
            _ => None,
        };
        let number = socket.id();
        if let Some(rest) = self.door.serve_socket(socket, number, peer, agreed).await {
            tokio::spawn(async move {
                rest.run().await;
                drop((taken, counted));
            });
        }
        None
    }
}

impl Sockets {
    /// The socket behind the header that a trusted proxy wrote, and the address that it gives, if it gives one.
    async fn hear_proxy(&self, socket: Stream, proxy: IpAddr) -> Option<(Stream, Option<IpAddr>)> {
        let mut plain = socket.into_any().downcast::<Plain>().ok()?;
        let read = match self.door.gate.trusts_proxy(proxy) {
            true => {
                let reading = read_header(&mut *plain, self.door.limits.head_time);
                tokio::select! {
                    read = reading => read,
                    () = self.door.clock.wait_leaving() => return None,
                }
            }
            false => Err(ProxyHeaderFault::Stranger),
        };
        match read {
            Ok(HeaderRead { client, rest }) => {
                plain.rewind(&rest);
                Some((plain, client))
            }
            Err(fault) => {
                self.door.gate.recorder.metrics.proxy_headers[fault as usize].inc();
                tracing::debug!(
                    why = fault.word(),
                    proxy = self.door.gate.recorder.written_client(proxy),
                    "a connection has no header of the PROXY protocol that is believed"
                );
                None
            }
        }
    }

    /// Pingora would do it before the socket is counted, and tell each that comes to nothing as an error.
    async fn shake_hands(&self, tls: &Acceptor, socket: Stream) -> Option<Stream> {
        let plain = socket.into_any().downcast::<Plain>().ok()?;
        match tokio::time::timeout(self.door.limits.head_time, tls.tls_handshake(*plain)).await {
            Ok(Ok(socket)) => return Some(Box::new(socket)),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took longer than limits.head_time"),
        }
        self.door.gate.recorder.metrics.handshakes.inc();
        None
    }
}

/// Of few descriptors at most this part is kept for idle connections to applications.
const IDLE_PART: usize = 8;

/// Of so many descriptors, how many are for idle connections to applications on each of `threads`, and how many for
/// clients and what they ask for.
fn split_descriptors(sockets: Option<usize>, threads: usize) -> (usize, usize) {
    let Some(sockets) = sockets else { return (upstream::MOST, usize::MAX) };
    let pool = (sockets / IDLE_PART / threads).clamp(1, upstream::MOST);
    (pool, sockets.saturating_sub(pool * threads))
}

fn socket_options(limits: Limits) -> TcpSocketOptions {
    let mut options = TcpSocketOptions::default();
    options.tcp_snd_buf = Some(limits.send_buffer);
    // A WebSocket whose client vanished without a word is noticed.
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        user_timeout: Duration::ZERO,
    });
    options
}

impl BoundAddress {
    fn new(listener: &Listener, count: usize, inherited: &mut Vec<TcpListener>) -> Result<Self, StartError> {
        let fault = |cause| StartError::Bind { address: listener.address, cause };
        let is_ours =
            |socket: &mut TcpListener| socket.local_addr().is_ok_and(|address| address == listener.address);
        let mut sockets: Vec<TcpListener> = inherited.extract_if(.., is_ours).collect();
        if sockets.is_empty() {
            // Sockets that share a port would share it with another program's too: this one says whether it is free.
            drop(TcpListener::bind(listener.address).map_err(fault)?);
            sockets.push(bind_shared(listener.address).map_err(fault)?);
            let address = sockets[0].local_addr().map_err(fault)?;
            let more = (1..count).map(|_| bind_shared(address).map_err(fault));
            sockets.extend(more.collect::<Result<Vec<_>, _>>()?);
        }
        let address = sockets[0].local_addr().map_err(fault)?;
        for core in sockets.len()..count {
            // Of few that were inherited, several cores take from one.
            sockets.push(sockets[core % sockets.len()].try_clone().map_err(fault)?);
        }
        sockets.iter().try_for_each(|socket| socket.set_nonblocking(true)).map_err(fault)?;
        let Listener { tls, proxy_protocol, .. } = listener.clone();
        Ok(Self { address, sockets, tls, proxy_protocol })
    }

    /// The sockets of the next core, of so many that are still to come: of many that were inherited a core has several.
    fn next_listeners(&mut self, cores: usize) -> Vec<CoreListener> {
        let share = self.sockets.len().div_ceil(cores);
        let of_core = self.sockets.drain(..share.min(self.sockets.len()));
        let (address, tls, proxy_protocol) = (self.address, self.tls.clone(), self.proxy_protocol);
        of_core.map(|socket| CoreListener { address, socket, tls: tls.clone(), proxy_protocol }).collect()
    }
}

/// A socket that shares its port with others of this process: the kernel spreads connections over them.
fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The number of connections that the kernel holds until they are accepted, on each core's socket.
const BACKLOG: i32 = 4096;

/// With a resolver no path is read.
fn make_acceptor(ListenerTls { certificates, clients }: ListenerTls) -> Option<Acceptor> {
    let mut settings = TlsSettings::intermediate("", "").ok()?;
    settings.set_cert_resolver(certificates);
    settings.enable_h2();
    let Some(clients) = clients else { return Some(settings.build()) };
    settings.set_client_cert_verifier(clients.verifier());
    let mut acceptor = settings.build();
    let mut config = ServerConfig::clone(acceptor.acceptor.config());
    clients.forget_sessions(&mut config);
    acceptor.acceptor = Arc::new(config).into();
    Some(acceptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    fn bind(listener: Listener) -> Result<Server, StartError> {
        Server::bind_listeners(test::gate(), &[listener], Limits::default(), Some(1), &mut Vec::new())
    }

    #[test]
    fn a_port_in_use_is_an_error_before_anything_runs() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        match bind(Listener { address, tls: None, proxy_protocol: false }) {
            Err(StartError::Bind { address: named, cause }) => {
                assert_eq!((named, cause.kind()), (address, io::ErrorKind::AddrInUse));
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    }

    #[test]
    fn inherited_sockets_are_taken_by_their_address_and_shared_out() {
        let bind = |address, threads, inherited: &mut Vec<TcpListener>| {
            let listener = Listener { address, tls: None, proxy_protocol: false };
            Server::bind_listeners(test::gate(), &[listener], Limits::default(), Some(threads), inherited)
        };
        let first = bind(([127, 0, 0, 1], 0).into(), 3, &mut Vec::new()).unwrap();
        let address = first.addresses()[0];
        assert!(bind(address, 1, &mut Vec::new()).is_err(), "the port is taken");
        for (threads, shares) in [(1, vec![3]), (2, vec![2, 1]), (3, vec![1; 3]), (5, vec![1; 5])] {
            let mut inherited = first.duplicate_sockets().unwrap();
            inherited.push(TcpListener::bind("127.0.0.1:0").unwrap());
            let mut heir = bind(address, threads, &mut inherited).unwrap();
            assert_eq!(inherited.len(), 1, "one of another address is left");
            let shared: Vec<usize> =
                (1..=threads).rev().map(|cores| heir.bound[0].next_listeners(cores).len()).collect();
            assert_eq!(shared, shares);
        }
    }

    #[test]
    fn few_descriptors_are_for_clients_first() {
        assert_eq!(split_descriptors(None, 4), (512, usize::MAX));
        assert_eq!(split_descriptors(Some(128), 2), (8, 112));
        assert_eq!(split_descriptors(Some(100_000), 8), (512, 95_904));
        assert_eq!(split_descriptors(Some(1), 8), (1, 0));
    }
}
