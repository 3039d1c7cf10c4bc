//! The cut: whatever runs for a client can be ended from outside, at once, and is held to its time limits.
//!
//! Pingora has no such hook, so its proxy is wrapped: each exchange is polled beside its [`InFlight`], and once that
//! has ended, the proxy's future is dropped with both sockets in it. Nothing of it survives: no task is spawned, no
//! upstream connection returns to the pool. On HTTP/1 the socket is reset first, so that what the kernel still holds
//! is thrown away (rule R10); on HTTP/2 the stream is, and its siblings live on.
//!
//! Time limits are kept by one clock for all exchanges instead of a timer each: those cost more than all six rooms.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use portcullis_session::InFlight;
use slab::Slab;

use crate::gate::{Gate, Hooks};
use crate::peer::Peer;
use crate::rules::Limits;
use crate::striped::{self, Apart};

tokio::task_local! {
    static SLOT: Arc<Slot>;
}

/// The place of the exchange that this task serves. The hooks of the gate always run inside one.
pub(crate) fn slot() -> Option<Arc<Slot>> {
    SLOT.try_with(Arc::clone).ok()
}

/// An exchange as seen from around it.
#[derive(Debug)]
pub(crate) struct Slot {
    /// What the register of exchanges knows it by.
    pub(crate) in_flight: InFlight,
    /// Where it came in.
    socket: Arc<Socket>,
    /// The tick at which its time is up; 0 while nothing is waited for, [`STRUCK`] once the clock found it due.
    due: AtomicU64,
    /// The application's time was up.
    late: AtomicBool,
    /// The whole head has been read.
    begun: AtomicBool,
    /// The tick at which something last passed, in either direction.
    moved: AtomicU64,
    /// It has become a stream, which may go on for ever without a word.
    streams: AtomicBool,
    /// What its own task has turned it into: [`RUNS`], [`ENDS`] or [`GOES_ON`].
    turn: AtomicU8,
    /// The application's socket while its answer is waited for; -1 otherwise.
    upstream: AtomicI32,
    next: Next,
}

/// A client's socket, as all exchanges on it see it.
#[derive(Debug)]
struct Socket {
    peer: Arc<Peer>,
    clock: Arc<Clock>,
}

/// Pingora has it.
const RUNS: u8 = 0;
/// It must end although the register did not say so.
const ENDS: u8 = 1;
/// Something else has it from now on.
const GOES_ON: u8 = 2;

/// What takes Pingora's place.
#[derive(Default)]
struct Next(Mutex<Option<Going>>);

type Going = Pin<Box<dyn Future<Output = ()> + Send>>;

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

impl Slot {
    /// Who is at the other end of the socket.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.socket.peer
    }

    /// The head is here: from now on it is an exchange.
    pub(crate) fn head_is_read(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Something passed, in either direction.
    pub(crate) fn moves(&self) {
        self.moved.store(self.socket.clock.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// From here on it is a stream: an upgrade, or an answer that has no end of its own.
    pub(crate) fn streams(&self) {
        self.moves();
        self.streams.store(true, Ordering::Relaxed);
    }

    /// Whether it would hold up an end of the program for nothing: a stream on which nothing has passed since `tick`,
    /// or a connection between two requests.
    fn rests_since(&self, tick: u64) -> bool {
        !self.begun.load(Ordering::Relaxed)
            || self.streams.load(Ordering::Relaxed) && self.moved.load(Ordering::Relaxed) < tick
    }

    /// The application's socket is connected; its answer must begin in time. A later call begins anew.
    pub(crate) fn waits_for(&self, upstream: RawFd, limit: Duration) {
        self.upstream.store(upstream, Ordering::Relaxed);
        self.due.store(self.socket.clock.at(limit), Ordering::Relaxed);
    }

    /// The client sent a piece of its body: the application's time begins anew.
    pub(crate) fn goes_on(&self, limit: Duration) {
        if self.upstream.load(Ordering::Relaxed) >= 0 {
            self.due.store(self.socket.clock.at(limit), Ordering::Relaxed);
        }
    }

    /// The application answered, or its socket is gone.
    pub(crate) fn waits_no_more(&self) {
        self.due.store(0, Ordering::Relaxed);
        self.upstream.store(-1, Ordering::Relaxed);
    }

    /// Whether the application's time was up.
    pub(crate) fn was_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Cuts from inside: whoever calls this does not come back.
    pub(crate) async fn end(&self) {
        self.turn.store(ENDS, Ordering::Relaxed);
        pending().await
    }

    /// Goes on as `next`, which has taken the sockets. Pingora's part is dropped: whoever calls this does not come back.
    pub(crate) async fn goes_on_as(&self, next: impl Future<Output = ()> + Send + 'static) {
        *self.next.0.lock() = Some(Box::pin(next));
        self.turn.store(GOES_ON, Ordering::Relaxed);
        pending().await
    }

    /// The clock looks. What has been answered meanwhile is not due any more.
    fn look(&self, now: u64) {
        let due = self.due.load(Ordering::Relaxed);
        if due != 0
            && due <= now
            && self.due.compare_exchange(due, STRUCK, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            self.in_flight.nudge();
        }
    }

    /// Whether the clock has struck since this was asked last.
    fn has_struck(&self) -> bool {
        self.due.load(Ordering::Relaxed) == STRUCK
            && self.due.compare_exchange(STRUCK, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

const STRUCK: u64 = u64::MAX;

/// Counts ticks, and knows every exchange that waits for something.
#[derive(Debug)]
pub(crate) struct Clock {
    now: AtomicU64,
    /// Each thread enters at its own.
    shards: [Apart<Mutex<Slab<Arc<Slot>>>>; striped::STRIPES],
}

const TICK: Duration = Duration::from_millis(100);

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(1), shards: Default::default() })
    }

    /// Runs the clock; dropping the future stops it.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        for shard in &self.shards {
            for (_, slot) in &*shard.0.lock() {
                slot.look(now);
            }
        }
    }

    /// Whether all that is left is streams on which nothing has passed for `silence`.
    pub(crate) fn only_silence(&self, silence: Duration) -> bool {
        let ticks = u64::try_from(silence.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX);
        let since = self.now.load(Ordering::Relaxed).saturating_sub(ticks);
        self.shards.iter().all(|shard| shard.0.lock().iter().all(|(_, slot)| slot.rests_since(since)))
    }

    /// The tick that is surely not before `limit` has passed.
    fn at(&self, limit: Duration) -> u64 {
        let ticks = limit.as_millis().div_ceil(TICK.as_millis());
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        self.now.load(Ordering::Relaxed).saturating_add(ticks).saturating_add(1).min(STRUCK - 1)
    }
}

/// An exchange begins.
fn enter(socket: &Arc<Socket>, head_within: Option<Duration>) -> Watched {
    let clock = &socket.clock;
    let slot = Arc::new(Slot {
        in_flight: InFlight::new(),
        socket: socket.clone(),
        due: AtomicU64::new(head_within.map_or(0, |limit| clock.at(limit))),
        late: AtomicBool::new(false),
        begun: AtomicBool::new(head_within.is_none()),
        moved: AtomicU64::new(clock.now.load(Ordering::Relaxed)),
        streams: AtomicBool::new(false),
        turn: AtomicU8::new(RUNS),
        upstream: AtomicI32::new(-1),
        next: Next::default(),
    });
    let shard = striped::own_stripe(); // an exchange leaves where it entered
    let key = clock.shards[shard].0.lock().insert(slot.clone());
    Watched { slot, shard, key }
}

struct Watched {
    slot: Arc<Slot>,
    shard: usize,
    key: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.slot.socket.clock.shards[self.shard].0.lock().remove(self.key);
    }
}

/// What listeners hand sockets to. Makes a [`Connection`] of each.
pub(crate) struct Door {
    pub(crate) proxy: Arc<HttpProxy<Hooks>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) limits: Limits,
    /// How many sockets of clients are open.
    pub(crate) sockets: Arc<AtomicUsize>,
}

/// One socket of a client, plain or after its TLS handshake.
struct Connection {
    proxy: Arc<HttpProxy<Hooks>>,
    gate: Arc<Gate>,
    clock: Arc<Clock>,
    limits: Limits,
    /// Known with its first exchange.
    socket: OnceLock<Arc<Socket>>,
    /// How many exchanges it has begun.
    exchanges: AtomicU32,
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
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, mut socket: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _counted = Counted::new(&self.sockets);
        if socket.get_ssl_digest().is_none() {
            // Pingora looks for the HTTP/2 preface and would wait for it for ever.
            let mut preface = [0; 24];
            tokio::time::timeout(self.limits.head_time, socket.try_peek(&mut preface)).await.ok()?.ok()?;
        }
        let connection = Arc::new(Connection {
            proxy: self.proxy.clone(),
            gate: self.gate.clone(),
            clock: self.clock.clone(),
            limits: self.limits,
            socket: OnceLock::new(),
            exchanges: AtomicU32::new(0),
        });
        // An HTTP/2 handshake has no limit of its own either.
        let mut patience = pin!(tokio::time::sleep(self.limits.idle));
        let mut served = pin!(ServerApp::process_new(&connection, socket, shutdown));
        poll_fn(|context| {
            let begun = connection.exchanges.load(Ordering::Relaxed) > 0;
            if !begun && patience.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            served.as_mut().poll(context)
        })
        .await
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Connection {
    fn socket(&self, session: &ServerSession) -> Arc<Socket> {
        let address = session.client_addr().and_then(|address| address.as_inet());
        let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip);
        Arc::new(Socket { peer: self.gate.peer(address), clock: self.clock.clone() })
    }
}

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let is_first = self.exchanges.fetch_add(1, Ordering::Relaxed) == 0;
        let socket = self.socket.get_or_init(|| self.socket(&session));
        let number = session.as_http1().map(|session| session.stream().id());
        // On a connection that is used again the head may come after a pause; of HTTP/2 it is here already.
        let pause = if is_first { Duration::ZERO } else { self.limits.idle };
        let head_within = number.map(|_| pause + self.limits.head_time);
        let watched = enter(socket, head_within);
        let slot = &*watched.slot;
        let mut ended = slot.in_flight.ended();
        let mut exchange =
            pin!(Some(SLOT.scope(watched.slot.clone(), self.proxy.process_new_http(session, shutdown))));
        let mut going: Option<Going> = None;
        poll_fn(|context| {
            if Pin::new(&mut ended).poll(context).is_ready() {
                reset(number);
                return Poll::Ready(None);
            }
            if slot.has_struck() {
                if !slot.begun.load(Ordering::Relaxed) {
                    return Poll::Ready(None);
                }
                slot.late.store(true, Ordering::Relaxed);
                // Its reading end becomes ready, and the proxy's own error path answers.
                hang_up(slot.upstream.swap(-1, Ordering::Relaxed));
            }
            if let Some(going) = &mut going {
                return going.as_mut().poll(context).map(|()| None);
            }
            let polled = match exchange.as_mut().as_pin_mut() {
                Some(proxied) => proxied.poll(context),
                None => Poll::Pending,
            };
            match slot.turn.load(Ordering::Relaxed) {
                ENDS if polled.is_pending() => {
                    reset(number);
                    Poll::Ready(None)
                }
                GOES_ON => {
                    exchange.set(None);
                    going = slot.next.0.lock().take();
                    going
                        .as_mut()
                        .map_or(Poll::Ready(None), |going| going.as_mut().poll(context).map(|()| None))
                }
                _ => polled,
            }
        })
        .await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }
}

/// Makes the close of an HTTP/1 socket a reset: what the client has not taken yet is thrown away.
fn reset(socket: Option<RawFd>) {
    with_socket(socket.unwrap_or(-1), |socket| {
        let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    });
}

/// Ends an application's socket in both directions.
fn hang_up(socket: RawFd) {
    with_socket(socket, |socket| {
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
    });
}

/// Lends a socket that Pingora owns; a negative number is none.
#[allow(unsafe_code, reason = "Pingora tells the number of its sockets and lends none")]
fn with_socket(socket: RawFd, act: impl FnOnce(BorrowedFd<'_>)) {
    if socket < 0 {
        return;
    }
    // SAFETY: the owner lives in the future of the exchange, which this task alone polls, and which is not polled on
    // before `act` is done. A client's HTTP/1 session, or the socket that a tunnel took out of it, is inside it until
    // it is ready: no await lies between the end of the one and of the other. An application's socket is named here
    // only from its connection until its answer or its error, both seen by the gate before the owner can let go of it
    // and be polled again (`Slot::waits_no_more`). To be read again with each new version of Pingora.
    act(unsafe { BorrowedFd::borrow_raw(socket) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    fn enter(clock: &Arc<Clock>, head_within: Option<Duration>) -> Watched {
        let socket = Socket { peer: test::gate().peer(test::PEER), clock: clock.clone() };
        super::enter(&Arc::new(socket), head_within)
    }

    fn is_late(watched: &Watched) -> bool {
        watched.slot.has_struck()
    }

    #[test]
    fn the_clock_never_strikes_early() {
        let clock = Clock::new();
        let watched = enter(&clock, Some(TICK * 3));
        for _ in 0..3 {
            clock.tick();
            assert!(!is_late(&watched));
        }
        clock.tick();
        assert!(is_late(&watched));
    }

    #[test]
    fn what_is_no_longer_waited_for_is_never_late() {
        let clock = Clock::new();
        let (read, answered, unwatched) =
            (enter(&clock, Some(TICK)), enter(&clock, None), enter(&clock, None));
        read.slot.head_is_read();
        answered.slot.waits_for(0, TICK);
        answered.slot.waits_no_more();
        answered.slot.goes_on(TICK);
        for _ in 0..10 {
            clock.tick();
        }
        assert!(!is_late(&read) && !is_late(&answered) && !is_late(&unwatched));
    }

    #[test]
    fn a_body_that_comes_in_pieces_gives_time() {
        let clock = Clock::new();
        let watched = enter(&clock, None);
        watched.slot.waits_for(0, TICK * 2);
        for _ in 0..10 {
            clock.tick();
            watched.slot.goes_on(TICK * 2);
        }
        assert!(!is_late(&watched));
        (0..3).for_each(|_| clock.tick());
        assert!(is_late(&watched));
    }

    #[test]
    fn silence_is_of_streams_alone_and_takes_its_time() {
        let clock = Clock::new();
        let silence = TICK * 2;
        assert!(clock.only_silence(silence));
        let (stream, waiting) = (enter(&clock, None), enter(&clock, Some(TICK)));
        stream.slot.streams();
        (0..2).for_each(|_| clock.tick());
        assert!(!clock.only_silence(silence), "not yet, and a moment may be cut short by no tick");
        clock.tick();
        assert!(clock.only_silence(silence), "a connection between two requests is nothing");
        stream.slot.moves();
        assert!(!clock.only_silence(silence));
        (0..3).for_each(|_| clock.tick());
        assert!(clock.only_silence(silence));
        // An answer that the application is still thinking about is not silence.
        waiting.slot.head_is_read();
        (0..99).for_each(|_| clock.tick());
        assert!(!clock.only_silence(silence));
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let clock = Clock::new();
        drop(enter(&clock, Some(TICK)));
        assert!(clock.shards.iter().all(|shard| shard.0.lock().is_empty()));
    }
}
