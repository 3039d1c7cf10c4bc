//! One exchange in flight: a flag and a waker. What polls it beside the exchange ends the exchange.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use portcullis_policy::Timestamp;

use crate::loom_or_std::{AtomicI64, AtomicU8, Mutex, Ordering};

/// The reason why an exchange is over. Its text is the word of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ended {
    /// The account was taken out, or an epoch passed over the session.
    Revoked = 1,
    /// The session ended: a logout of any kind, or an operator.
    SignedOut = 2,
    /// Nothing came from the client for too long.
    Idle = 3,
    /// The session's absolute end, or the IdP's.
    Expired = 4,
    /// Its rule no longer allows it.
    Forbidden = 5,
    /// Its identity headers would say something else now.
    Changed = 6,
    /// A removal could not be stored yet.
    OnHold = 7,
    /// This process could not read what it needs to go on serving it.
    Unproven = 8,
}

impl Ended {
    /// Every reason, for tables of metrics.
    pub const ALL: [Ended; 8] = [
        Self::Revoked,
        Self::SignedOut,
        Self::Idle,
        Self::Expired,
        Self::Forbidden,
        Self::Changed,
        Self::OnHold,
        Self::Unproven,
    ];

    /// The word of the access log and of metrics.
    pub fn log_word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::SignedOut => "signed_out",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::Changed => "changed",
            Self::OnHold => "on_hold",
            Self::Unproven => "unproven",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.log_word())
    }
}

/// An exchange in flight, shared by the register and by whoever polls the exchange.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    /// 0 while it runs, else the first reason that ended it.
    ended: AtomicU8,
    /// The time at which bytes passed last, where that is watched; 0 where it is not.
    heard: AtomicI64,
    /// Whoever polls it. It stays registered when it is woken.
    waker: Mutex<Option<Waker>>,
}

impl InFlight {
    /// An exchange that runs and is in no register yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The reason why it is over; `None` while it runs.
    pub fn reason(&self) -> Option<Ended> {
        match self.0.ended.load(Ordering::Acquire) {
            0 => None,
            code => Ended::ALL.into_iter().find(|ended| *ended as u8 == code),
        }
    }

    /// Ready once it is over. One task watches at a time.
    pub fn ended(&self) -> Watch {
        Watch { exchange: self.clone(), registered: None }
    }

    /// Wakes whoever watches, although it is not over: there is something else to look at.
    pub fn nudge(&self) {
        let waker = self.0.waker.lock().clone();
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// The time at which bytes passed last; `None` where nobody watches that.
    pub(crate) fn heard(&self) -> Option<Timestamp> {
        match self.0.heard.load(Ordering::Relaxed) {
            0 => None,
            heard => Some(Timestamp(heard)),
        }
    }

    /// Bytes pass; from the first call on it is watched.
    pub(crate) fn hear_from(&self, now: Timestamp) {
        self.0.heard.fetch_max(now.0.max(1), Ordering::Relaxed);
    }

    /// It begins: what was heard of another exchange on the same connection is not of this one.
    pub(crate) fn begin(&self) {
        if self.heard().is_some() {
            self.0.heard.store(0, Ordering::Relaxed);
        }
    }

    /// Sets the reason if there is none yet, without waking: done under the account's mutex, so that no pass is
    /// stood on afterwards.
    pub(crate) fn mark(&self, why: Ended) {
        let _ = self.0.ended.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Waits until an exchange is over. A task registers once and not at each look, for it looks a few times a request.
#[derive(Debug)]
#[must_use = "nothing is watched unless it is polled"]
pub struct Watch {
    exchange: InFlight,
    registered: Option<Waker>,
}

impl Future for Watch {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            let waker = context.waker().clone();
            *self.exchange.0.waker.lock() = Some(waker.clone());
            self.registered = Some(waker);
        }
        // After the registration: what is marked later finds the waker.
        self.exchange.reason().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(all(test, not(portcullis_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_nudge_does_not_use_up_the_registration() {
        let (exchange, counted) = (InFlight::new(), Arc::new(Counted::default()));
        let (waker, mut watch) = (Waker::from(counted.clone()), exchange.ended());
        let mut look = || Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        exchange.nudge(); // nobody watches yet
        assert_eq!(look(), Poll::Pending);
        exchange.nudge();
        exchange.nudge();
        assert_eq!(look(), Poll::Pending);
        exchange.mark(Ended::Revoked);
        exchange.mark(Ended::Idle);
        exchange.nudge();
        assert_eq!(counted.0.load(std::sync::atomic::Ordering::Relaxed), 3);
        assert_eq!(look(), Poll::Ready(Ended::Revoked));
    }

    #[test]
    fn whoever_polls_last_is_woken() {
        let (exchange, first, second) =
            (InFlight::new(), Arc::new(Counted::default()), Arc::new(Counted::default()));
        let mut watch = exchange.ended();
        for counted in [&first, &second] {
            let waker = Waker::from(counted.clone());
            assert_eq!(Pin::new(&mut watch).poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        exchange.nudge();
        let woken = |counted: &Counted| counted.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((woken(&first), woken(&second)), (0, 1));
    }
}
