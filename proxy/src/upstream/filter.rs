//! A filter for wake-ups: a connection that is polled inside a request's task would wake that task in vain.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Swallows the wake-ups that a connection gives its own task while that task polls it: it is polled again at once
/// instead, and the task is not.
pub(super) struct WakeFilter {
    state: Arc<FilterState>,
    waker: Waker,
}

struct FilterState {
    missed: AtomicBool,
    outside: AtomicWaker,
}

thread_local! {
    /// The filter that polls on this thread.
    static INSIDE: Cell<*const FilterState> = const { Cell::new(ptr::null()) };
}

impl Wake for FilterState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if INSIDE.get() == Arc::as_ptr(self) {
            self.missed.store(true, Ordering::Relaxed); // read by this thread, in the poll that goes on
        } else {
            self.outside.wake();
        }
    }
}

impl WakeFilter {
    pub(super) fn new() -> Self {
        let state = Arc::new(FilterState { missed: AtomicBool::new(false), outside: AtomicWaker::new() });
        Self { waker: state.clone().into(), state }
    }

    pub(super) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.state.outside.register(context.waker());
        let inner = &mut Context::from_waker(&self.waker);
        loop {
            // One that was missed in a poll that was ready has no bearing on this one.
            self.state.missed.store(false, Ordering::Relaxed);
            let outer = INSIDE.replace(Arc::as_ptr(&self.state));
            let polled = poll(inner);
            INSIDE.set(outer);
            if polled.is_ready() || !self.state.missed.load(Ordering::Relaxed) {
                return polled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls a filter; what is polled says how often it was by then. Gives how often that was, and the task's wakes.
    fn poll_filter(filter: &WakeFilter, mut poll: impl FnMut(usize, &Waker) -> Poll<()>) -> (usize, usize) {
        let (wakes, mut polls) = (Arc::new(Wakes::default()), 0);
        let waker = wakes.clone().into();
        let _ = filter.poll(&mut Context::from_waker(&waker), |context| {
            polls += 1;
            poll(polls, context.waker())
        });
        (polls, wakes.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_wake_up_of_its_own_is_another_look_and_wakes_nobody() {
        let own = |polls, waker: &Waker| {
            if polls < 3 {
                waker.wake_by_ref();
            }
            Poll::Pending
        };
        assert_eq!(poll_filter(&WakeFilter::new(), own), (3, 0));
    }

    #[test]
    fn a_wake_up_before_the_end_is_not_the_next_ones() {
        let filter = WakeFilter::new();
        let ready = |_, waker: &Waker| {
            waker.wake_by_ref();
            Poll::Ready(())
        };
        assert_eq!(poll_filter(&filter, ready), (1, 0));
        assert_eq!(poll_filter(&filter, |_, _| Poll::Pending), (1, 0));
    }

    #[test]
    fn anybody_elses_wake_up_wakes_the_task() {
        let (filter, other) = (WakeFilter::new(), WakeFilter::new());
        let from_a_thread = |polls, waker: &Waker| {
            let waker = waker.clone();
            if polls == 1 {
                std::thread::spawn(move || waker.wake()).join().unwrap();
            }
            Poll::Pending
        };
        assert_eq!(poll_filter(&filter, from_a_thread), (1, 1));
        let within = |_, waker: &Waker| {
            let _ = poll_filter(&other, |_, _| {
                waker.wake_by_ref();
                Poll::Pending
            });
            Poll::Pending
        };
        assert_eq!(poll_filter(&filter, within), (1, 1));
    }
}
