//! A socket that takes note of what passes: how much of an answer an application has sent, and which bytes a request is.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that takes note of what passes.
pub(super) struct Heard {
    pub(super) socket: TcpStream,
    pub(super) notes: Arc<Notes>,
}

/// Notes of what has passed since the last question.
#[derive(Default)]
pub(super) struct Notes {
    heard: AtomicUsize,
    /// The next read is a look: nothing may have come.
    looks: AtomicBool,
    /// The bytes that the library wrote first, whether or not the socket took it all: a head, whole. It is noted for a request that
    /// may be asked twice, for which copying the bytes costs a tenth of copying its fields.
    head: Mutex<NotedHead>,
}

#[derive(Default)]
struct NotedHead {
    is_noted: bool,
    bytes: Vec<u8>,
}

/// The memory that a connection keeps between two questions, in bytes.
const KEPT: usize = 4 * 1024;

impl Notes {
    /// Begins a new question; says whether its head is noted.
    pub(super) fn begin_question(&self, is_noted: bool) {
        self.heard.store(0, Ordering::Relaxed);
        let mut head = self.head.lock();
        head.is_noted = is_noted;
        head.bytes.clear();
        head.bytes.shrink_to(KEPT);
    }

    /// Lets the next read fail where anything has come, an end too; or no longer.
    pub(super) fn look(&self, looks: bool) {
        self.looks.store(looks, Ordering::Relaxed);
    }

    /// Counts the bytes that came since.
    pub(super) fn heard_bytes(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// The head that was to be written since.
    pub(super) fn take_head(&self) -> Vec<u8> {
        std::mem::take(&mut self.head.lock().bytes)
    }

    fn note_pieces<'b>(&self, pieces: impl Iterator<Item = &'b [u8]>) {
        let mut head = self.head.lock();
        if std::mem::take(&mut head.is_noted) {
            pieces.for_each(|piece| head.bytes.extend_from_slice(piece));
        }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.notes.looks.load(Ordering::Relaxed) && has_something(&self.socket) {
            return Poll::Ready(Err(io::Error::other("the application sent something unasked, or its end")));
        }
        let before = space.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, space);
        self.notes.heard.fetch_add(space.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.notes.note_pieces(std::iter::once(bytes));
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.notes.note_pieces(pieces.iter().map(|piece| &**piece));
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

/// Asks the socket itself for bytes or an end, without taking them: the runtime knows only what came before its last turn.
fn has_something(socket: &TcpStream) -> bool {
    let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
