//! A filter for wake-ups: a connection that is polled inside a request's task would wake that task in vain.

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
    inside: AtomicBool,
    missed: AtomicBool,
    outside: AtomicWaker,
}

impl Wake for FilterState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.inside.load(Ordering::SeqCst) {
            self.missed.store(true, Ordering::SeqCst);
        } else {
            self.outside.wake();
        }
    }
}

impl WakeFilter {
    pub(super) fn new() -> Self {
        let state = Arc::new(FilterState {
            inside: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            outside: AtomicWaker::new(),
        });
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
            self.state.inside.store(true, Ordering::SeqCst);
            let polled = poll(inner);
            self.state.inside.store(false, Ordering::SeqCst);
            if polled.is_ready() || !self.state.missed.swap(false, Ordering::SeqCst) {
                return polled;
            }
        }
    }
}
