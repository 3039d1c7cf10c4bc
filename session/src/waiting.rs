//! Who waits until exchanges have left a register (R5).

use std::task::Waker;

use slab::Slab;

/// The waits on one register. Each is for the exchanges with a smaller ticket than its bound.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Slab<Waiter>);

#[derive(Debug)]
struct Waiter {
    bound: u64,
    /// The number of those that are still to leave. Reaching zero early is harmless: whoever is woken looks again.
    left: usize,
    waker: Waker,
}

impl Waiting {
    /// Waits until `left` exchanges enrolled before `bound` have left; ends with [`Waiting::end_wait`].
    pub(crate) fn begin_wait(&mut self, bound: u64, left: usize, waker: Waker) -> usize {
        self.0.insert(Waiter { bound, left, waker })
    }

    pub(crate) fn end_wait(&mut self, key: usize) {
        self.0.try_remove(key);
    }

    /// Notes that an exchange left, or counts no longer: whoever counts it counts one less. Says whom to wake.
    pub(crate) fn note_settled(&mut self, ticket: u64) -> Vec<Waker> {
        let mut woken = Vec::new();
        for (_, wait) in &mut self.0 {
            if ticket < wait.bound {
                wait.left = wait.left.saturating_sub(1);
                if wait.left == 0 {
                    woken.push(wait.waker.clone());
                }
            }
        }
        woken
    }

    /// Everybody, where many at once may not count any more: whoever waits looks again.
    pub(crate) fn all_wakers(&self) -> Vec<Waker> {
        self.0.iter().map(|(_, wait)| wait.waker.clone()).collect()
    }
}
