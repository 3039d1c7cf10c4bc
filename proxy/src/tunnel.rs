//! Tunnel: a WebSocket, asked for at the application and carried in both directions until either side ends.
//!
//! It is the one protocol that is switched to (RFC 6455). The handshake goes over a connection of its own; behind the
//! 101 there is nothing of HTTP left, only two sockets in one future that a cut drops.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::exchange::Exchange;
use crate::line::Over;
use crate::socket::Socket;
use crate::upstream::AppSocket;

/// The bytes that are read at once; what the other side does not take at once is held, and nothing is read until it
/// has.
const PIECE: usize = 8 * 1024;
/// The time that both sides have to take the last bytes and to close, once one has ended.
const LAST: Duration = Duration::from_secs(2);

/// Makes a head one that asks for a WebSocket; says what an application that agrees answers to its key.
pub(crate) fn ask_for(headers: &mut HeaderMap) -> Option<String> {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.get(SEC_WEBSOCKET_KEY).map(|key| accept_of(key.as_bytes()))
}

/// RFC 6455 §4.2.2. SHA-1 is part of the protocol and guards nothing.
pub(crate) fn accept_of(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(hash)
}

/// Tells whether a 101 is the one that was asked for (RFC 6455 §4.1).
pub(crate) fn is_agreed(headers: &HeaderMap, accept: Option<&str>) -> bool {
    let only = |name: &HeaderName| {
        let mut all = headers.get_all(name).iter();
        all.next().filter(|_| all.next().is_none()).map(HeaderValue::as_bytes)
    };
    only(&UPGRADE).is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && accept.is_none_or(|accept| only(&SEC_WEBSOCKET_ACCEPT) == Some(accept.as_bytes()))
}

/// A WebSocket whose client's socket is still hyper's.
pub(crate) struct Tunnel {
    application: AppSocket,
    /// The bytes that the application sent behind its 101.
    from_application: Bytes,
    exchange: Exchange,
    on_piece: OnPiece,
}

/// Told of each piece that goes to the client; kept for as long as the tunnel lasts.
type OnPiece = Box<dyn Fn() + Send + Sync>;

impl Tunnel {
    /// A tunnel to the application; `on_piece` is told of each piece that goes to the client, and is dropped at its end.
    pub(crate) fn new(
        application: AppSocket,
        from_application: Bytes,
        exchange: Exchange,
        on_piece: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { application, from_application, exchange, on_piece: Box::new(on_piece) }
    }

    /// Carries until either side ends. `early`: what the client sent before it was told of the switch.
    pub(crate) async fn run<S: Socket>(self, client: S, early: Vec<u8>) {
        let Self { application, from_application, mut exchange, on_piece } = self;
        exchange.note_received(early.len());
        let mut ends = Ends {
            client,
            application,
            up: TunnelDirection { held: early.into(), ..TunnelDirection::default() },
            down: TunnelDirection { held: from_application, ..TunnelDirection::default() },
            exchange,
            on_piece,
        };
        let over = poll_fn(|context| ends.poll(context)).await;
        ends.exchange.record.finish_exchange(over);
        if over == Over::Done {
            let _ = tokio::time::timeout(LAST, ends.close()).await;
        }
    }
}

/// Both sockets, and what is on its way between them.
struct Ends<S> {
    client: S, // the sockets first, so that nothing passes once the register has been left
    application: AppSocket,
    up: TunnelDirection,
    down: TunnelDirection,
    exchange: Exchange,
    on_piece: OnPiece,
}

impl<S: Socket> Ends<S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        let Self { client, application, up, down, exchange, on_piece } = self;
        let gave = |length| {
            exchange.note_sent(length);
            on_piece();
        };
        let moved = down.poll(context, application, client, |_| {}, gave);
        if let Poll::Ready(ended) = moved {
            return Poll::Ready(
                ended.map_or_else(|side| side.over(Over::Upstream, Over::Client), |()| Over::Done),
            );
        }
        let ended =
            ready!(up.poll(context, client, application, |length| exchange.note_received(length), |_| {}));
        Poll::Ready(ended.map_or_else(|side| side.over(Over::Client, Over::Upstream), |()| Over::Done))
    }

    /// Lets both sides take what is left. A socket that is closed over unread bytes is reset, and whoever sent them
    /// would lose what it has not read yet itself; so they are read, for a while.
    async fn close(&mut self) {
        let Self { client, application, up, down, exchange, .. } = self;
        let _ = poll_fn(|context| up.hand_over(context, application, &mut |_| {})).await;
        let _ = poll_fn(|context| down.hand_over(context, client, &mut |length| exchange.note_sent(length)))
            .await;
        let _ = AsyncWriteExt::shutdown(application).await;
        let _ = AsyncWriteExt::shutdown(client).await;
        let mut nowhere = tokio::io::sink();
        let _ = tokio::io::copy(application, &mut nowhere).await;
        let _ = tokio::io::copy(client, &mut nowhere).await;
    }
}

/// One direction. An idle one holds no memory: bytes pass over the stack unless the other side is slow.
#[derive(Default)]
struct TunnelDirection {
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

impl TunnelDirection {
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
            ready!(self.hand_over(context, to, &mut gave))?;
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
    fn hand_over(
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
        let agrees = |fields: &[(&str, &str)], accept| is_agreed(&test::fields(fields), accept);
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
                let mut way = TunnelDirection { held: Bytes::from(early.clone()), ..TunnelDirection::default() };
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
