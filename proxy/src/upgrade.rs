//! WebSockets: asked for at the application by us, and carried in both directions until either side ends.
//!
//! Pingora carries everything else. Of an upgrade it may read the 101 before it has noted that the request has no
//! body, and takes that end for the end of the WebSocket; no hook orders the two (decision 0007). So the handshake is
//! held here beside Pingora's session, and after the 101 nothing of Pingora is left but the client's socket.
//!
//! It forwards only what is [`Passage::Open`]. Nothing is spawned: a cut drops the one future that owns both sockets.

use std::future::{Future, pending, poll_fn};
use std::io::{self, Cursor};
use std::mem::{self, MaybeUninit};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession as Asked;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session as Exchange;
use pingora::{Error, ErrorType, Result};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::cut;
use crate::forward::Underway;
use crate::gate::Passage;
use crate::metrics::Metrics;
use crate::record::Over;

/// How much is read at once; what the other side does not take at once is held, and nothing is read until it has.
const PIECE: usize = 8 * 1024;
/// How long both sides have to take the last bytes and to close, once one has ended.
const LAST: Duration = Duration::from_secs(2);

/// Takes an upgrade to the application. Comes back where no WebSocket came of it: with the other answer passed on, or
/// with an error that is yet to be answered. With a WebSocket it never does; Pingora's part is over then.
pub(crate) async fn carry(exchange: &mut Exchange, passage: &mut Passage, metrics: &Metrics) -> Result<()> {
    let underway = passage.open()?;
    let (request, accept) = request(exchange, underway, metrics)?;
    let slot = cut::slot().ok_or_else(|| Error::new_in(ErrorType::InternalError))?;
    let mut asked = Asked::new(Box::new(Socket(connect(underway).await?)));
    underway.connected(asked.id());
    keep_what_comes_early(exchange);
    let answered = beside(exchange, answer(&mut asked, request, accept)).await;
    underway.disconnected(); // its number must not be known any more when the socket goes
    let mut head = answered?;

    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    underway.down(switches, &mut head, metrics).await?;
    of_this_hop_down(&mut head, switches)?;
    if !switches {
        return pass_on(exchange, underway, asked, head).await;
    }
    exchange.as_mut().write_response_header(Box::new(head)).await.map_err(|error| error.into_down())?;
    let tunnel = Tunnel::dig(exchange, passage, asked)?;
    slot.goes_on_as(tunnel.run()).await;
    Ok(())
}

/// The head that goes up, and what an application that takes the upgrade answers to its key.
fn request(
    exchange: &Exchange,
    underway: &Underway,
    metrics: &Metrics,
) -> Result<(Box<RequestHeader>, Option<String>)> {
    let mut head = Box::new(exchange.req_header().clone());
    let has_length = head.headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    if has_length || head.headers.contains_key(TRANSFER_ENCODING) {
        // The application would have to tell its end from the first frame.
        return Err(Error::new_down(ErrorType::HTTPStatus(400)));
    }
    for name in named(&head.headers)?.iter().chain(&OF_A_HOP) {
        head.remove_header(name);
    }
    let accept = head.headers.get(SEC_WEBSOCKET_KEY).map(|key| accept_of(key.as_bytes()));
    underway.up(&mut head, metrics)?; // afterwards: what `Connection` names may not take out what is ours
    head.insert_header(CONNECTION, "Upgrade")?;
    head.insert_header(UPGRADE, "websocket")?;
    Ok((head, accept))
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What concerns one hop alone (RFC 9110 §7.6.1).
static OF_A_HOP: [HeaderName; 11] = [
    CONNECTION,
    UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    CONTENT_LENGTH,
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("http2-settings"),
];

/// What `Connection` may not take out, and how much it may name; as Pingora has it for other requests.
static PROTECTED: [&str; 6] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "content-length",
    "transfer-encoding",
];
const NAMED: usize = 9;

/// What `Connection` names.
fn named(headers: &HeaderMap) -> Result<Vec<HeaderName>> {
    let fields = headers.get_all(CONNECTION).iter();
    let tokens =
        fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut names = Vec::new();
    for token in tokens.filter(|token| !token.is_empty()) {
        let is_token =
            token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
        match HeaderName::from_bytes(token).ok().filter(|name| !PROTECTED.contains(&name.as_str())) {
            Some(name) if is_token && names.len() < NAMED => names.push(name),
            _ => return Err(Error::new_down(ErrorType::InvalidHTTPHeader)),
        }
    }
    Ok(names)
}

/// RFC 6455 §4.2.2. SHA-1 is part of the protocol and guards nothing.
fn accept_of(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(hash)
}

/// A socket to the application, by the first of its addresses that answers.
async fn connect(underway: &mut Underway) -> Result<TcpStream> {
    loop {
        let peer = underway.upstream().await?;
        let Some(address) = peer._address.as_inet() else {
            return Err(Error::new_up(ErrorType::ConnectNoRoute));
        };
        let limit = peer.options.connection_timeout.unwrap_or(LAST);
        let fault = match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // A socket that does not take them is no better or worse a socket.
                let _ = socket.set_nodelay(true);
                if let Some(keepalive) = &peer.options.tcp_keepalive {
                    let _ = set_tcp_keepalive(&socket, keepalive);
                }
                return Ok(socket);
            }
            Ok(Err(error)) => Error::because(ErrorType::ConnectError, "", error),
            Err(_) => Error::new(ErrorType::ConnectTimedout),
        };
        if !underway.tries_another() {
            return Err(fault.into_up());
        }
    }
}

/// The application's answer: what RFC 6455 §4.1 takes for an upgrade, or another.
async fn answer(
    asked: &mut Asked,
    request: Box<RequestHeader>,
    accept: Option<String>,
) -> Result<ResponseHeader> {
    asked.write_request_header(request).await?;
    loop {
        asked.read_response().await?;
        let head = asked.resp_header().ok_or_else(|| Error::new(ErrorType::InvalidHTTPHeader))?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            && !(asked.was_upgraded() && agrees(&head.headers, accept.as_deref()))
        {
            return Err(Error::new(ErrorType::InvalidHTTPHeader));
        }
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head.clone());
        }
    }
}

/// Whether a 101 is the one that was asked for.
fn agrees(headers: &HeaderMap, accept: Option<&str>) -> bool {
    let only = |name: &HeaderName| {
        let mut all = headers.get_all(name).iter();
        all.next().filter(|_| all.next().is_none()).map(HeaderValue::as_bytes)
    };
    only(&UPGRADE).is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && accept.is_none_or(|accept| only(&SEC_WEBSOCKET_ACCEPT) == Some(accept.as_bytes()))
}

/// Takes out of the answer what concerned the application's hop, and writes what concerns the client's.
fn of_this_hop_down(head: &mut ResponseHeader, switches: bool) -> Result<()> {
    head.set_version(Version::HTTP_11);
    for name in [KEEP_ALIVE, PROXY_CONNECTION] {
        head.remove_header(&name);
    }
    if switches {
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.remove_header(&name);
        }
        head.insert_header(CONNECTION, "Upgrade")?;
        head.insert_header(UPGRADE, "websocket")?;
    }
    Ok(())
}

/// An answer that is no WebSocket; the connection ends with it.
async fn pass_on(
    exchange: &mut Exchange,
    underway: &mut Underway,
    mut asked: Asked,
    head: ResponseHeader,
) -> Result<()> {
    exchange.set_keepalive(None);
    exchange.as_mut().write_response_header(Box::new(head)).await.map_err(|error| error.into_down())?;
    while let Some(piece) = beside(exchange, asked.read_body_bytes()).await? {
        underway.gave(piece.len());
        let written = exchange.as_mut().write_response_body(piece, false).await;
        written.map_err(|error| error.into_down())?;
    }
    let written = exchange.as_mut().write_response_body(Bytes::new(), true).await;
    written.map_err(|error| error.into_down())
}

/// Work at the application's side, unless the client goes away meanwhile.
async fn beside<T>(exchange: &mut Exchange, work: impl Future<Output = Result<T>>) -> Result<T> {
    let gone = async {
        match exchange.as_mut().read_body_or_idle(false).await {
            Ok(_) => pending().await,
            Err(error) => error.into_down(),
        }
    };
    tokio::select! {
        biased;
        done = work => done.map_err(|error| error.into_up()),
        error = gone => Err(error),
    }
}

/// A client may not send before the 101, but what it does is not lost: Pingora keeps a byte that it finds while it
/// looks whether the client is there, and hands it out as the first of the upgraded body.
fn keep_what_comes_early(exchange: &mut Exchange) {
    exchange.as_mut().set_pipelining_enabled(true);
}

/// A WebSocket between its two sockets.
struct Tunnel {
    client: Stream, // the sockets first, so that nothing passes once the register has been left
    application: TcpStream,
    up: Way,
    down: Way,
    underway: Box<Underway>,
}

impl Tunnel {
    /// Takes both sockets out of their sessions, with what has been read of them already.
    fn dig(exchange: &mut Exchange, passage: &mut Passage, mut asked: Asked) -> Result<Self> {
        let fault = || Error::new_in(ErrorType::InternalError);
        let mut underway = passage.take().ok_or_else(fault)?;
        // An end or an error that shows here shows again at the socket itself.
        let down = asked.read_body_bytes().now_or_never().and_then(Result::ok).flatten();
        let nobody = ServerSession::new_http1(Box::new(Cursor::new(Vec::new())));
        let ServerSession::H1(mut session) = mem::replace(exchange.as_mut(), nobody) else {
            return Err(fault());
        };
        let up = session.read_body_bytes().now_or_never().and_then(Result::ok).flatten();
        underway.took(up.as_ref().map_or(0, Bytes::len));
        let application = asked.into_inner().into_any().downcast::<Socket>().map_err(|_| fault())?;
        let (up, down) = (Way::with(up), Way::with(down));
        Ok(Self { client: session.into_inner(), application: application.0, up, down, underway })
    }

    async fn run(mut self) {
        let over = poll_fn(|context| self.poll(context)).await;
        self.underway.finished(over);
        if over == Over::Done {
            let _ = tokio::time::timeout(LAST, self.close()).await;
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        let Self { client, application, up, down, underway } = self;
        let moved = down.poll(context, application, client, |_| {}, |length| underway.gave(length));
        if let Poll::Ready(ended) = moved {
            return Poll::Ready(
                ended.map_or_else(|side| side.over(Over::Upstream, Over::Client), |()| Over::Done),
            );
        }
        let ended = ready!(up.poll(context, client, application, |length| underway.took(length), |_| {}));
        Poll::Ready(ended.map_or_else(|side| side.over(Over::Client, Over::Upstream), |()| Over::Done))
    }

    /// Lets both sides take what is left. A socket that is closed over unread bytes is reset, and whoever sent them
    /// would lose what it has not read yet itself; so they are read, for a while.
    async fn close(&mut self) {
        let Self { client, application, up, down, underway } = self;
        let _ = poll_fn(|context| up.give(context, application, &mut |_| {})).await;
        let _ = poll_fn(|context| down.give(context, client, &mut |length| underway.gave(length))).await;
        let _ = AsyncWriteExt::shutdown(application).await;
        let _ = AsyncWriteExt::shutdown(client).await;
        let mut nowhere = tokio::io::sink();
        let _ = tokio::io::copy(application, &mut nowhere).await;
        let _ = tokio::io::copy(client, &mut nowhere).await;
    }
}

/// One direction. An idle one holds no memory: bytes pass over the stack unless the other side is slow.
#[derive(Default)]
struct Way {
    held: Bytes,
    has_ended: bool,
    is_written: bool,
}

/// The side of a way that failed.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

impl Side {
    fn over(self, from: Over, to: Over) -> Over {
        match self {
            Self::From => from,
            Self::To => to,
        }
    }
}

impl Way {
    fn with(held: Option<Bytes>) -> Self {
        Self { held: held.unwrap_or_default(), ..Self::default() }
    }

    /// Moves what there is. Ready once `from` has ended and `to` has everything.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        mut took: impl FnMut(usize),
        mut gave: impl FnMut(usize),
    ) -> Poll<Result<(), Side>> {
        loop {
            ready!(self.give(context, to, &mut gave))?;
            if self.has_ended {
                return self.flush(context, to);
            }
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *from).poll_read(context, &mut piece) {
                Poll::Pending => {
                    ready!(self.flush(context, to))?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Side::From)),
                Poll::Ready(Ok(())) => {}
            }
            let mut piece = piece.filled();
            self.has_ended = piece.is_empty();
            took(piece.len());
            while !piece.is_empty() {
                match Pin::new(&mut *to).poll_write(context, piece) {
                    Poll::Ready(Ok(length)) if length > 0 => {
                        gave(length);
                        self.is_written = true;
                        piece = &piece[length..];
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(Side::To)),
                    Poll::Pending => {
                        self.held = Bytes::copy_from_slice(piece);
                        break;
                    }
                }
            }
        }
    }

    /// Hands over what is held, to the last byte of it.
    fn give(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        gave: &mut impl FnMut(usize),
    ) -> Poll<Result<(), Side>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut *to).poll_write(context, &self.held)) {
                Ok(length) if length > 0 => {
                    gave(length);
                    self.is_written = true;
                    let _ = self.held.split_to(length);
                }
                _ => return Poll::Ready(Err(Side::To)),
            }
        }
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }

    fn flush(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Side>> {
        if self.is_written {
            ready!(Pin::new(to).poll_flush(context)).map_err(|_| Side::To)?;
            self.is_written = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// The application's socket as Pingora's client session wants it, without buffers.
#[derive(Debug)]
struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(&mut self.0).await;
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.0.as_raw_fd()
    }
}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Ssl for Socket {}
impl Peek for Socket {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn the_answer_to_a_key_is_the_standards() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 §1.3
    }

    #[test]
    fn a_101_agrees_with_what_was_asked() {
        let (upgrade, accept) = (("upgrade", "WebSocket"), ("sec-websocket-accept", "x"));
        let agrees = |fields: &[(&str, &str)], accept| agrees(&test::fields(fields), accept);
        assert!(agrees(&[upgrade, accept], Some("x")));
        assert!(agrees(&[upgrade], None));
        assert!(!agrees(&[upgrade], Some("x")));
        assert!(!agrees(&[upgrade, ("sec-websocket-accept", "X")], Some("x")));
        assert!(!agrees(&[upgrade, accept, accept], Some("x")));
        assert!(!agrees(&[accept], Some("x")));
        assert!(!agrees(&[upgrade, upgrade, accept], Some("x")));
    }

    proptest! {
        /// Whatever the sizes: every byte, once, in order, and counted on both sides; the end comes last.
        #[test]
        fn a_way_loses_nothing(
            early in prop::collection::vec(any::<u8>(), 0..50),
            sent in prop::collection::vec(any::<u8>(), 0..40_000),
            narrow in 1..20_000usize,
            wide in 1..20_000usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (got, took, gave) = runtime.block_on(async {
                let ((mut client, mut from), (mut to, mut end)) = (tokio::io::duplex(wide), tokio::io::duplex(narrow));
                let (mut took, mut gave, mut got) = (0, 0, Vec::new());
                let mut way = Way::with(Some(Bytes::from(early.clone())));
                let moving = async {
                    poll_fn(|context| way.poll(context, &mut from, &mut to, |n| took += n, |n| gave += n)).await.unwrap();
                    AsyncWriteExt::shutdown(&mut to).await.unwrap();
                };
                let sending = async {
                    client.write_all(&sent).await.unwrap();
                    AsyncWriteExt::shutdown(&mut client).await.unwrap();
                };
                tokio::join!(moving, sending, async { end.read_to_end(&mut got).await.unwrap() });
                (got, took, gave)
            });
            prop_assert_eq!((took, gave), (sent.len(), sent.len() + early.len()));
            prop_assert!(got == [early, sent].concat());
        }
    }
}
