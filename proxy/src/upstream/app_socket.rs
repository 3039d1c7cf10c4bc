//! A socket to an application: over TCP, with TLS or without, or in the file system.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A socket to an application.
pub(crate) enum AppSocket {
    /// Plain, over TCP.
    Tcp(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<RecordSocket>>),
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
            // Half a record is the beginning of an answer that nobody asked for; whole ones were read to their end. A
            // ticket that comes late (RFC 8446 §4.6.1) costs the connection, which is no harm.
            Self::Tls(socket) => {
                let records = socket.get_ref().0;
                if records.is_between() { peek(SockRef::from(&records.socket)) } else { Unasked::Something }
            }
        }
    }
}

/// A socket that TLS is spoken on, and what of its records has come (RFC 8446 §5.1): the library keeps half a record to
/// itself.
pub(crate) struct RecordSocket {
    socket: TcpStream,
    /// The bytes of a header that have come; with the last one the record begins.
    header: [u8; HEADER],
    has: usize,
    /// The bytes of the record that are to come.
    left: usize,
}

/// Type, version and length of a record.
const HEADER: usize = 5;

impl RecordSocket {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, header: [0; HEADER], has: 0, left: 0 }
    }

    /// Tells whether nothing of a record has come that is not there whole.
    fn is_between(&self) -> bool {
        self.has == 0 && self.left == 0
    }

    fn note(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            self.header[self.has] = bytes[0];
            self.has += 1;
            bytes = &bytes[1..];
            if self.has == HEADER {
                self.has = 0;
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }
}

impl AsyncRead for RecordSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = space.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, space);
        this.note(&space.filled()[before..]);
        polled
    }
}

impl AsyncWrite for RecordSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the bytes come in pieces: between records is where each has its whole length.
        #[test]
        fn records_end_where_their_headers_say(
            lengths in prop::collection::vec(0usize..600, 0..6), cut in 0usize..64, piece in 1usize..40,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let mut records = RecordSocket::new(socket);
                let mut all = Vec::new();
                for length in &lengths {
                    all.extend([23, 3, 3]);
                    all.extend(u16::try_from(*length).unwrap().to_be_bytes());
                    all.extend(vec![0xff; *length]);
                }
                let cut = cut.min(all.len());
                all.truncate(all.len() - cut);
                all.chunks(piece).for_each(|piece| records.note(piece));
                let (mut ends, mut at) = (vec![0], 0);
                for length in &lengths {
                    at += HEADER + length;
                    ends.push(at);
                }
                assert_eq!(records.is_between(), ends.contains(&all.len()));
            });
        }
    }
}
