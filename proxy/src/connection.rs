//! Connection: one socket of a client, from its first byte to its close.
//!
//! hyper speaks HTTP on it, as a value inside our own poll: nothing of it is spawned, so dropping it is the cut. In
//! front of hyper stands [`Guard`], which lets only whole heads through that [`crate::wire`] has read, and which
//! knows when a client takes nothing any more. Over HTTP/2 each stream is a task of its own beside its own place in
//! the register, so that one can be cut and its siblings live on.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY};
use http::{HeaderValue, Method, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::ext;
use hyper::server::conn::{http1, http2};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_keys::Random;
use portcullis_session::{Ended, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::answer_body::{AnswerBody, CarriedExchange};
use crate::client::{Client, Stream};
use crate::clock::{Clock, Entered, Wait, Waits};
use crate::gate::Gate;
use crate::guard::Guard;
use crate::overhead::PREFACE;
use crate::peer::Peer;
use crate::polling::while_serving;
use crate::rules::Limits;
use crate::share::Share;
use crate::socket::{self, Socket};
use crate::tunnel;
use crate::upload::Upload;
use crate::wire::{Bounds, HeadSeen, WireReader};

/// The parts that a socket is served with.
pub(crate) struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) limits: Limits,
    pub(crate) share: Arc<Share>,
}

/// A WebSocket that a socket has become. It lasts for hours, and is small beside what served its handshake: run
/// as a task of its own, it is all that is kept.
pub(crate) struct Rest {
    tunnel: Pin<Box<dyn Future<Output = ()> + Send>>,
    _entered: Entered,
}

impl Rest {
    /// Carries the WebSocket to its end.
    pub(crate) async fn run(self) {
        let Self { tunnel, _entered } = self;
        tunnel.await;
    }
}

/// The protocol that a client speaks, where its TLS handshake has settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Door {
    /// Serves one socket to its end, or until it is a WebSocket over HTTP/1.1: what is left to do then.
    pub(crate) async fn serve_socket<S: Socket>(
        &self,
        mut socket: S,
        number: RawFd,
        peer: Arc<Peer>,
        agreed: Option<Protocol>,
    ) -> Option<Rest> {
        let entered = self.clock.enter();
        let waits = entered.waits.clone();
        waits.arm(Wait::Head, self.limits.head_time);
        let (protocol, begun) = match agreed {
            Some(protocol) => (protocol, Vec::new()),
            None => match sniff_protocol(&mut socket, &waits).await {
                Some(sniffed) => sniffed,
                None => return None,
            },
        };
        let (share, clock) = (self.share.clone(), self.clock.clone());
        let is_h2 = protocol == Protocol::Http2;
        let client = Arc::new(Client::new(peer, share, self.limits, waits, clock, is_h2));
        match protocol {
            Protocol::Http1 => {
                let tunnel = serve_h1(&self.gate, client, socket, number, begun).await?;
                Some(Rest { tunnel, _entered: entered })
            }
            Protocol::Http2 => {
                serve_h2(&self.gate, client, socket, number, begun).await;
                None
            }
        }
    }
}

/// Reads until it is clear what the client speaks: the first byte is enough for HTTP/1.1.
async fn sniff_protocol<S: Socket>(socket: &mut S, waits: &Waits) -> Option<(Protocol, Vec<u8>)> {
    let mut begun = Vec::new();
    let mut watch = waits.in_flight.ended();
    loop {
        let mut space = [MaybeUninit::uninit(); PREFACE.len()];
        let mut piece = ReadBuf::uninit(&mut space[begun.len()..]);
        let read = poll_fn(|context| {
            let _ = Pin::new(&mut watch).poll(context); // the clock wakes by it
            if waits.has_struck(Wait::Head) || waits.is_leaving() {
                return Poll::Ready(false);
            }
            Pin::new(&mut *socket).poll_read(context, &mut piece).map(|read| read.is_ok())
        })
        .await;
        if !read || piece.filled().is_empty() {
            return None;
        }
        begun.extend_from_slice(piece.filled());
        if !PREFACE.starts_with(&begun) {
            return Some((Protocol::Http1, begun));
        }
        if begun.len() == PREFACE.len() {
            return Some((Protocol::Http2, begun));
        }
    }
}

/// The way in which a connection came to its end.
enum ConnectionEnd<E> {
    /// An exchange on it was cut.
    Cut,
    /// Its client takes nothing, or sends nothing, for too long.
    Late,
    /// hyper is done with it.
    Over(Result<(), E>),
}

async fn serve_h1<S: Socket>(
    gate: &Arc<Gate>,
    client: Arc<Client>,
    socket: S,
    number: RawFd,
    begun: Vec<u8>,
) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let bounds = Bounds { head: client.limits.head, ..Bounds::default() };
    let io = Guard::new(client.clone(), socket, Some(WireReader::new(bounds)), begun);
    let mut builder = http1::Builder::new();
    builder.half_close(false).max_headers(bounds.fields).max_buf_size(client.limits.head + READ_AHEAD);
    let mut connection = builder
        .serve_connection(TokioIo::new(io), GateService { gate: gate.clone(), client: client.clone() });
    let waits = &client.waits;
    let mut watch = waits.in_flight.ended();
    let mut told = false;
    let end = poll_fn(|context| {
        if Pin::new(&mut watch).poll(context).is_ready() || waits.is_ended() {
            return Poll::Ready(ConnectionEnd::Cut);
        }
        let is_idle = client.serving.load(Ordering::Relaxed) == 0;
        if waits.has_struck(Wait::Take) || (is_idle && waits.has_struck(Wait::Head)) {
            return Poll::Ready(ConnectionEnd::Late);
        }
        if !told && waits.is_leaving() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let polled = while_serving(|| connection.poll_without_shutdown(context)).map(ConnectionEnd::Over);
        if polled.is_pending() && client.serving.load(Ordering::Relaxed) == 0 {
            waits.keep_armed(Wait::Head, client.limits.idle);
        }
        polled
    })
    .await;
    if client.inbound.has_begun() {
        client.peer.recorder().metrics.broken_heads.inc();
        let address = client.peer.recorder().written_client(client.peer.address());
        tracing::debug!(client = address, "a head broke off, or did not come in time");
    }
    // A cut may show first in the body of its answer, which breaks off.
    if matches!(end, ConnectionEnd::Cut) || waits.in_flight.reason().is_some() || waits.has_struck(Wait::Take)
    {
        socket::reset_on_close(number);
    }
    match end {
        ConnectionEnd::Cut | ConnectionEnd::Late | ConnectionEnd::Over(Err(_)) => {
            while_serving(|| drop(connection))
        }
        ConnectionEnd::Over(Ok(())) => {
            let (socket, early) = while_serving(|| connection.into_parts().io.into_inner().into_parts());
            let tunnel = client.tunnel.lock().take();
            match tunnel {
                Some(tunnel) => {
                    return Some(Box::pin(run_tunnel(
                        client.waits.clone(),
                        number,
                        tunnel.run(socket, early),
                    )));
                }
                None => close_slowly(socket).await,
            }
        }
    }
    None
}

/// Polls a tunnel beside its place in the register; cut, its socket is reset.
async fn run_tunnel(waits: Arc<Waits>, number: RawFd, tunnel: impl Future<Output = ()>) {
    let (mut tunnel, mut watch) = (pin!(Some(tunnel)), waits.in_flight.ended());
    let is_cut = poll_fn(|context| {
        if Pin::new(&mut watch).poll(context).is_ready() || waits.is_ended() {
            return Poll::Ready(true);
        }
        let Some(running) = tunnel.as_mut().as_pin_mut() else { return Poll::Ready(false) };
        while_serving(|| running.poll(context)).map(|()| false)
    })
    .await;
    if is_cut {
        socket::reset_on_close(number);
    }
    while_serving(|| tunnel.set(None));
}

/// The bytes of the next requests that are read while one is served.
const READ_AHEAD: usize = 16 * 1024;
/// The bytes that are still read behind the last answer, and for how long: a socket that is closed over unread
/// bytes is reset, and the client would never see the answer.
const LINGER: (usize, Duration) = (256 * 1024, Duration::from_secs(1));

async fn close_slowly<S: Socket>(mut socket: S) {
    let closing = async {
        if socket.shutdown().await.is_err() {
            return;
        }
        let (mut left, mut space) = (LINGER.0, [0; 4096]);
        while let Ok(length @ 1..) = socket.read(&mut space).await {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER.1, closing).await;
}

async fn serve_h2<S: Socket>(
    gate: &Arc<Gate>,
    client: Arc<Client>,
    socket: S,
    number: RawFd,
    begun: Vec<u8>,
) {
    let io = Guard::new(client.clone(), socket, None, begun);
    let limits = client.limits;
    let mut builder = http2::Builder::new(Streams { client: client.clone() });
    builder
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.send_buffer)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_frame_size(16 * 1024)
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(128)
        .enable_connect_protocol();
    let mut connection = pin!(Some(
        builder
            .serve_connection(TokioIo::new(io), GateService { gate: gate.clone(), client: client.clone() })
    ));
    let waits = &client.waits;
    waits.arm(Wait::Head, limits.idle);
    let mut watch = waits.in_flight.ended();
    let mut told = false;
    let end: ConnectionEnd<hyper::Error> = poll_fn(|context| {
        let _ = Pin::new(&mut watch).poll(context); // wakes by it; no exchange is known by it
        let is_idle = client.serving.load(Ordering::Relaxed) == 0;
        if waits.is_ended() {
            return Poll::Ready(ConnectionEnd::Cut);
        }
        if waits.has_struck(Wait::Take) || (is_idle && waits.has_struck(Wait::Head)) {
            return Poll::Ready(ConnectionEnd::Late);
        }
        let Some(mut connection) = connection.as_mut().as_pin_mut() else { return Poll::Pending };
        if !told && waits.is_last() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = while_serving(|| connection.as_mut().poll(context)).map(ConnectionEnd::Over);
        client.flow.settle();
        if client.serving.load(Ordering::Relaxed) == 0 {
            waits.keep_armed(Wait::Head, limits.idle);
        } else {
            waits.disarm(Wait::Head);
        }
        polled
    })
    .await;
    match &end {
        ConnectionEnd::Over(Err(error)) if is_flood(error) => client.note_flood("resets or heads"),
        ConnectionEnd::Over(_) => {}
        ConnectionEnd::Cut | ConnectionEnd::Late => socket::reset_on_close(number),
    }
    while_serving(|| connection.set(None));
}

/// Tells whether the library has told a client to be calm (RFC 9113 §7).
fn is_flood(error: &hyper::Error) -> bool {
    let said = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    said.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// Makes a task of each stream, beside its own place in the register.
///
/// hyper calls the service and makes the stream's task one after the other in one poll, so the place is handed over in
/// between; a test holds that.
#[derive(Clone)]
struct Streams {
    client: Arc<Client>,
}

tokio::task_local! {
    /// The stream whose task this is.
    static STREAM: Arc<Stream>;
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        // Within a stream: the sending half of what it was upgraded to. Dropped when the stream is cut, so that it is
        // reset and not ended.
        if let Ok(stream) = STREAM.try_with(Arc::clone) {
            tokio::spawn(send_rest(stream, self.client.limits.idle, task));
            return;
        }
        let Some(stream) = self.client.next.lock().take() else {
            tokio::spawn(task);
            return;
        };
        let client = self.client.clone();
        // Many streams share a client's socket; each needs one of the application's. Dropped, a stream is reset.
        let Some(taken) = client.share.take(1) else {
            client.peer.recorder().metrics.turned_away.inc();
            return;
        };
        tokio::spawn(STREAM.scope(stream.clone(), async move {
            serve_stream(&client, &stream, task).await;
            drop(taken);
        }));
    }
}

/// Runs the sending half of a stream that was upgraded. Behind the end of its tunnel it has so long to hand over the
/// last bytes; then, and where the tunnel was cut, the stream is reset.
async fn send_rest(stream: Arc<Stream>, limit: Duration, task: impl Future<Output = ()>) {
    let (mut task, mut last) = (pin!(task), None);
    poll_fn(|context| {
        stream.sender.register(context.waker());
        if stream.is_over() {
            return Poll::Ready(());
        }
        if stream.is_through.load(Ordering::Acquire) {
            let last = last.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if last.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        while_serving(|| task.as_mut().poll(context))
    })
    .await;
}

/// Runs one stream until it is over, or cut; and the WebSocket that it may have become.
async fn serve_stream(client: &Client, stream: &Stream, task: impl Future<Output = ()>) {
    let waits = &stream.waits;
    let mut watch = waits.in_flight.ended();
    let mut cut = run_beside_watch(&mut watch, waits, task).await;
    let bridged = stream.tunnel.lock().take().zip(stream.upgrade.lock().take());
    if let Some((tunnel, upgrade)) = bridged.filter(|_| cut.is_none()) {
        let tunnel = Box::pin(async move {
            if let Ok(upgraded) = upgrade.await {
                tunnel.run(TokioIo::new(upgraded), Vec::new()).await;
            }
        });
        cut = run_beside_watch(&mut watch, waits, tunnel).await;
        stream.is_through.store(true, Ordering::Release);
        stream.sender.wake();
    }
    let is_out = matches!(waits.in_flight.reason().or(cut.flatten()), Some(Ended::Revoked | Ended::OnHold));
    // What has been finished before may still wait for the client.
    if is_out && client.is_one_persons() {
        client.waits.end();
    }
}

/// Polls a task of a stream beside its place in the register; drops it where that is cut. `None` where it came to its
/// end.
async fn run_beside_watch(
    watch: &mut Watch,
    waits: &Waits,
    task: impl Future<Output = ()>,
) -> Option<Option<Ended>> {
    let mut task = pin!(Some(task));
    let cut = poll_fn(|context| {
        let ended = match Pin::new(&mut *watch).poll(context) {
            Poll::Ready(why) => Some(Some(why)),
            Poll::Pending if waits.is_ended() || waits.has_struck(Wait::Take) => Some(None),
            Poll::Pending => None,
        };
        let Some(polled) = task.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        // A cut one is polled once more: its body says so, and what is queued of it is thrown away. Where it waits for
        // room it is dropped, which resets it.
        match (while_serving(|| polled.poll(context)), ended) {
            (Poll::Ready(()), ended) => Poll::Ready(ended),
            (Poll::Pending, Some(why)) => Poll::Ready(Some(why)),
            (Poll::Pending, None) => Poll::Pending,
        }
    })
    .await;
    while_serving(|| task.set(None));
    cut
}

/// The service that hyper calls with each request.
struct GateService {
    gate: Arc<Gate>,
    client: Arc<Client>,
}

impl hyper::service::Service<http::Request<Incoming>> for GateService {
    type Response = http::Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let (gate, client) = (self.gate.clone(), self.client.clone());
        if client.is_h2() {
            let entered = client.clock.enter();
            let waits = entered.waits.clone();
            let (mut head, mut upload) = split_request(&client, &waits, request);
            let upgrade = bridge_websocket(&mut head, &mut upload);
            let stream = Arc::new(Stream::new(waits.clone(), upgrade));
            *client.next.lock() = Some(stream.clone());
            let serving = CarriedExchange::new(client.clone(), waits.clone(), Some((entered, stream)));
            return Box::pin(async move { Ok(gate.serve_request(serving, waits, head, upload, 0).await) });
        }
        let waits = client.waits.clone();
        waits.disarm(Wait::Head);
        let serving = CarriedExchange::new(client.clone(), waits.clone(), None);
        match client.inbound.next_head() {
            Some(Ok(seen)) if is_alike(&seen, &request) => {
                let (head, upload) = split_request(&client, &waits, request);
                Box::pin(async move {
                    let mut answer = gate.serve_request(serving, waits, head, upload, seen.bytes).await;
                    if client.waits.is_last() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok(answer)
                })
            }
            Some(Err(why)) => Box::pin(async move { Ok(gate.refuse_head(serving, &waits, why)) }),
            // Two readers that disagree about where a request ends: nothing on this connection can be believed.
            read => {
                tracing::error!(
                    ?read,
                    "a request was read in two ways: its connection is closed. This is a fault of Portcullis; report it"
                );
                waits.end();
                Box::pin(std::future::pending())
            }
        }
    }
}

/// Makes a WebSocket that is asked for over HTTP/2 (RFC 8441 §4) the opening handshake of RFC 6455 that it stands for,
/// which the rooms know and the application understands. Its key is ours: the client has none.
fn bridge_websocket(head: &mut request::Parts, upload: &mut Option<Upload>) -> Option<OnUpgrade> {
    let is_websocket = head.method == Method::CONNECT
        && head.extensions.get::<ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    if !is_websocket {
        return None;
    }
    let upgrade = head.extensions.remove::<OnUpgrade>()?;
    head.method = Method::GET;
    head.version = Version::HTTP_11;
    *upload = None;
    head.headers.remove(SEC_WEBSOCKET_KEY);
    tunnel::ask_for(&mut head.headers);
    let key = HeaderValue::try_from(STANDARD.encode(Random::from_system().draw_bytes::<16>())).ok()?;
    head.headers.insert(SEC_WEBSOCKET_KEY, key);
    Some(upgrade)
}

/// Tells whether hyper has read the head that we have.
fn is_alike(seen: &HeadSeen, request: &http::Request<Incoming>) -> bool {
    let uri = request.uri();
    let length = match (uri.authority(), uri.path_and_query()) {
        (None, path) => path.map_or(0, |path| path.as_str().len()),
        // CONNECT has nothing else; an absolute form has a scheme, and may leave the first slash out.
        (Some(authority), None) => authority.as_str().len(),
        (Some(_), Some(_)) => seen.target,
    };
    seen.fields == request.headers().len() && seen.target == length
}

/// The head of a request, and its body, which keeps to its limits. The head goes through many hands: it stays in one
/// place.
fn split_request(
    client: &Client,
    waits: &Arc<Waits>,
    request: http::Request<Incoming>,
) -> (Box<request::Parts>, Option<Upload>) {
    let (head, body) = request.into_parts();
    let upload = (!body.is_end_stream()).then(|| Upload::new(body, client.inbound.clone(), waits.clone()));
    (Box::new(head), upload)
}
