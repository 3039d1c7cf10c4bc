//! Flow: how much one HTTP/2 connection may be sent that its client does not take.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The bound on what a client may be sent that it does not take. hyper bounds each stream; this bounds the
/// connection, answers included that are finished on our side (rule R10).
///
/// A body is asked for its next piece only once its stream has room for it, so all that was handed over can go as soon
/// as the socket takes it. Whenever the socket has taken everything, the count begins anew.
#[derive(Default)]
pub(crate) struct Flow {
    handed: AtomicUsize,
    /// The number of pieces that were handed over since it was last asked for.
    pieces: AtomicUsize,
    stalled: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

/// The smallest and the largest piece of a body that is handed over at once.
const PIECE: (usize, usize) = (2 * 1024, 16 * 1024);

impl Flow {
    /// Gives how large a piece may be handed over now, in bytes; `Pending` where nothing may.
    pub(crate) fn poll_room(&self, context: &Context<'_>, budget: usize, streams: usize) -> Poll<usize> {
        let handed = self.handed.load(Ordering::Relaxed);
        if handed >= budget {
            self.waiting.lock().push(context.waker().clone());
            return Poll::Pending;
        }
        // Of a stream whose window is full one piece waits, and there may be many streams.
        let share = 2 * budget / streams.max(1);
        Poll::Ready(share.clamp(PIECE.0, PIECE.1))
    }

    /// So much was handed over.
    pub(crate) fn hands_over(&self, length: usize) {
        self.handed.fetch_add(length, Ordering::Relaxed);
        self.note_piece();
    }

    /// Notes that a piece goes to the client, in whatever way.
    pub(crate) fn note_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the number of pieces that went to the client since this was last asked.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.swap(0, Ordering::Relaxed)
    }

    /// The socket takes nothing, or something again.
    pub(crate) fn is_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// The connection has written what it could.
    pub(crate) fn settle(&self) {
        if self.stalled.load(Ordering::Relaxed) || self.handed.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}
