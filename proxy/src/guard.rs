//! Guard: a client's socket as hyper sees it.
//!
//! Of HTTP/1.1 it hands over whole heads only, which [`WireReader`] has read; what that refuses reaches hyper as something
//! in its place that hyper makes a request, or a broken body, of: so it is answered in its turn, behind what came
//! before it. Of HTTP/2 it counts the frames that carry nothing. And it knows when the client takes nothing of what is
//! written to it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Client;
use crate::clock::Wait;
use crate::overhead::Overhead;
use crate::socket::Socket;
use crate::wire::{Malformed, WireReader};

/// A socket between a client and hyper.
pub(crate) struct Guard<S> {
    client: Arc<Client>,
    socket: S,
    /// None over HTTP/2, whose framing is binary.
    reader: Option<WireReader>,
    /// Over HTTP/2: the frames that carry nothing.
    overhead: Option<Overhead>,
    /// The bytes that were read and not handed over: first what may be, then the beginning of something that is not
    /// whole yet.
    held: Vec<u8>,
    ready: usize,
    /// So many of the held bytes have been looked at.
    scanned: usize,
    /// A head has begun, and its time runs.
    has_begun: bool,
    /// True where what followed was refused: nothing more is read.
    has_refused: bool,
}

/// The text in the place of a head that is refused, and of the rest of a body.
const INSTEAD_OF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";
const INSTEAD_OF_BODY: &[u8] = b"\0\r\n\r\n";
/// The bytes that are held behind a request for another protocol, until that is answered.
const EARLY: usize = 64 * 1024;
/// The bytes that are read at once where hyper's own buffer cannot be read into.
const PIECE: usize = 8 * 1024;

impl<S: Socket> Guard<S> {
    /// `begun`: what was read of the socket already.
    pub(crate) fn new(client: Arc<Client>, socket: S, reader: Option<WireReader>, begun: Vec<u8>) -> Self {
        let is_read = reader.is_some();
        let mut guard = Self {
            client,
            socket,
            reader,
            overhead: (!is_read).then(|| Overhead::new(begun.len(), Instant::now())),
            ready: if is_read { 0 } else { begun.len() },
            held: begun,
            scanned: 0,
            has_begun: false,
            has_refused: false,
        };
        if is_read && !guard.held.is_empty() {
            guard.look_at_held();
        }
        guard
    }

    /// The socket, and what came behind the last request.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.socket, self.held)
    }

    /// Looks at what is held and was not looked at yet.
    fn look_at_held(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        let inbound = &self.client.inbound;
        match reader.feed_bytes(&self.held[self.scanned..], |head| inbound.push_head(Ok(head))) {
            Ok(fed) => {
                if fed.whole > 0 {
                    self.ready = self.scanned + fed.whole;
                }
                self.scanned += fed.read;
            }
            Err((whole, why)) => {
                if whole > 0 {
                    self.ready = self.scanned + whole;
                }
                self.held.truncate(self.ready);
                self.refuse(why);
            }
        }
        self.time_the_head();
    }

    /// The time of a head runs from its first byte to its last.
    fn time_the_head(&mut self) {
        let has_begun = !self.has_refused
            && self.reader.as_ref().is_some_and(|reader| {
                reader.is_in_head() || (reader.is_between() && self.held.len() > self.ready)
            });
        match (self.has_begun, has_begun) {
            (false, true) => self.client.waits.arm(Wait::Head, self.client.limits.head_time),
            (true, false) => self.client.waits.disarm(Wait::Head),
            _ => {}
        }
        if self.has_begun != has_begun {
            self.has_begun = has_begun;
            self.client.inbound.set_begun(has_begun);
        }
    }

    fn refuse(&mut self, why: Malformed) {
        let inbound = &self.client.inbound;
        let instead = if self.reader.as_ref().is_some_and(WireReader::is_in_body) {
            inbound.refuse_body(why);
            INSTEAD_OF_BODY
        } else {
            inbound.push_head(Err(why));
            INSTEAD_OF_HEAD
        };
        self.held.extend_from_slice(instead);
        self.ready = self.held.len();
        self.has_refused = true;
    }

    /// Hands over what may be.
    fn hand_over(&mut self, space: &mut ReadBuf<'_>) {
        let length = self.ready.min(space.remaining());
        space.put_slice(&self.held[..length]);
        self.held.drain(..length);
        self.ready -= length;
        self.scanned = self.scanned.saturating_sub(length);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Reads into hyper's own buffer: the common case, in which nothing is copied.
    fn poll_read_through(
        &mut self,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = space.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, space))?;
        let fresh = &space.filled()[before..];
        let Some(reader) = self.reader.as_mut().filter(|_| !fresh.is_empty()) else {
            return Poll::Ready(self.is_calm(fresh).map(|()| true));
        };
        let inbound = &self.client.inbound;
        let whole = match reader.feed_bytes(fresh, |head| inbound.push_head(Ok(head))) {
            Ok(fed) if fed.whole == fresh.len() => {
                if self.has_begun {
                    self.time_the_head();
                }
                return Poll::Ready(Ok(true));
            }
            Ok(fed) => {
                self.held.extend_from_slice(&fresh[fed.whole..]);
                self.scanned = fed.read - fed.whole;
                fed.whole
            }
            Err((whole, why)) => {
                self.refuse(why);
                whole
            }
        };
        self.time_the_head();
        space.set_filled(before + whole);
        Poll::Ready(Ok(whole > 0))
    }

    /// Counts the frames of HTTP/2 that carry nothing.
    ///
    /// # Errors
    /// Where more have come than may.
    fn is_calm(&mut self, fresh: &[u8]) -> io::Result<()> {
        let Some(overhead) = &mut self.overhead else { return Ok(()) };
        let frames = overhead.count_frames(fresh);
        if frames == 0 || overhead.may_come(frames, self.client.flow.pieces(), Instant::now()) {
            return Ok(());
        }
        self.client.note_flood("frames that carry nothing");
        Err(io::Error::other("too many frames that carry nothing"))
    }

    /// Reads behind what is held. False at the end of the socket.
    fn poll_read_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut piece))?;
        self.held.extend_from_slice(piece.filled());
        let is_open = !piece.filled().is_empty();
        if is_open {
            self.look_at_held();
        }
        Poll::Ready(Ok(is_open))
    }

    /// Watches a write: one that has to wait begins the time a client has to take something; one that goes on ends
    /// it.
    fn watch_write<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.client.flow.is_stalled(written.is_pending());
        match &written {
            Poll::Pending => self.client.waits.keep_armed(Wait::Take, self.client.limits.idle),
            Poll::Ready(_) => self.client.waits.disarm(Wait::Take),
        }
        written
    }
}

impl<S: Socket> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        loop {
            if guard.ready > 0 {
                guard.hand_over(space);
                return Poll::Ready(Ok(()));
            }
            if guard.has_refused {
                return Poll::Pending; // what stood in its place is answered, and that ends the connection
            }
            if guard.held.is_empty() {
                if ready!(guard.poll_read_through(context, space))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if guard.held.len() >= EARLY && guard.reader.as_ref().is_some_and(WireReader::is_switching) {
                return Poll::Pending;
            }
            if !ready!(guard.poll_read_more(context))? {
                return Poll::Ready(Ok(())); // the end
            }
        }
    }
}

impl<S: Socket> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.socket).poll_write(context, bytes);
        guard.watch_write(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.socket).poll_write_vectored(context, pieces);
        guard.watch_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let flushed = Pin::new(&mut guard.socket).poll_flush(context);
        guard.watch_write(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let shut = Pin::new(&mut guard.socket).poll_shutdown(context);
        guard.watch_write(shut)
    }
}
