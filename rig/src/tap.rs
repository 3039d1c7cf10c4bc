//! A tap on a socket: it can be shut, as by a network that has got slow, and it knows what passed.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The tap of one socket.
#[derive(Clone)]
pub struct Tap(Arc<TapState>);

struct TapState {
    is_shut: AtomicBool,
    taken: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    last_write: Mutex<Instant>,
}

impl Tap {
    /// Puts a tap on a socket.
    pub fn on<S>(socket: S) -> (TappedSocket<S>, Self) {
        let tap = Self(Arc::new(TapState {
            is_shut: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            waker: Mutex::default(),
            last_write: Mutex::new(Instant::now()),
        }));
        (TappedSocket { socket, tap: tap.clone() }, tap)
    }

    /// From now on nothing is read.
    pub fn shut(&self) {
        self.0.is_shut.store(true, Ordering::SeqCst);
    }

    /// Reads again.
    pub fn open(&self) {
        self.0.is_shut.store(false, Ordering::SeqCst);
        if let Some(waker) = self.0.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    /// Counts the bytes that were taken from the socket so far.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::SeqCst)
    }

    /// Gives the moment at which the last byte so far was handed to the kernel.
    pub fn last_write(&self) -> Instant {
        *self.0.last_write.lock().unwrap()
    }
}

/// A socket with a tap.
pub struct TappedSocket<S> {
    socket: S,
    tap: Tap,
}

impl<S: AsyncRead + Unpin> AsyncRead for TappedSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        *self.tap.0.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.tap.0.is_shut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.tap.0.taken.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TappedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        if let Poll::Ready(Ok(_)) = written {
            *self.tap.0.last_write.lock().unwrap() = Instant::now();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
