//! A socket to an application: over TCP, with TLS or without, or in the file system.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A socket to an application.
pub(crate) enum AppSocket {
    /// Plain, over TCP.
    Tcp(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// Plain, on this machine.
    Unix(UnixStream),
}

/// What has come on a socket that nobody asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Nothing that would be anybody's answer.
    Nothing,
    /// Bytes, or an end.
    Something,
}

impl AppSocket {
    /// Looks for bytes or an end. The socket itself is asked: the runtime knows only what came before its last turn.
    pub(super) fn look(&mut self) -> Unasked {
        match self {
            Self::Tcp(socket) => peek(SockRef::from(&*socket)),
            Self::Unix(socket) => peek(SockRef::from(&*socket)),
            Self::Tls(socket) => {
                if peek(SockRef::from(socket.get_ref().0)) == Unasked::Nothing {
                    return Unasked::Nothing;
                }
                // Tickets for another connection (RFC 8446 §4.6.1) are no answer: they are taken, and nothing is left.
                let context = &mut Context::from_waker(Waker::noop());
                let (mut space, socket) = ([MaybeUninit::uninit(); 1], &mut **socket);
                match Pin::new(&mut *socket).poll_read(context, &mut ReadBuf::uninit(&mut space)) {
                    Poll::Pending => peek(SockRef::from(socket.get_ref().0)),
                    Poll::Ready(_) => Unasked::Something,
                }
            }
        }
    }
}

fn peek(socket: SockRef<'_>) -> Unasked {
    match socket.peek(&mut [MaybeUninit::uninit()]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unasked::Nothing,
        _ => Unasked::Something,
    }
}

/// Does the same with whichever it is.
macro_rules! with_socket {
    ($this:expr, $socket:ident => $work:expr) => {
        match $this.get_mut() {
            AppSocket::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $work
            }
            AppSocket::Tls(socket) => {
                let $socket = Pin::new(&mut **socket);
                $work
            }
            AppSocket::Unix(socket) => {
                let $socket = Pin::new(socket);
                $work
            }
        }
    };
}

impl AsyncRead for AppSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with_socket!(self, socket => socket.poll_read(context, space))
    }
}

impl AsyncWrite for AppSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        with_socket!(self, socket => socket.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_socket!(self, socket => socket.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Tls(socket) => socket.is_write_vectored(),
            Self::Unix(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_socket!(self, socket => socket.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_socket!(self, socket => socket.poll_shutdown(context))
    }
}
