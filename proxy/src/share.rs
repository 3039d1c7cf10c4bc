//! The data plane's share of the files that the process may have open.
//!
//! A process without a free descriptor hears neither its directory nor its operator, and a stranger needs no session to
//! hold a socket. So the door closes before the last ones are taken: what is left belongs to SCIM, the admin socket, the
//! health listener and the store. A client's socket counts for two, itself and the application's that its requests will
//! need, so that whoever was let in is served; an exchange of HTTP/2 counts for one more, since many share a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::Gauge;

/// The descriptors for clients and applications, and how many of them are spoken for.
#[derive(Debug)]
pub(crate) struct Share {
    of_all: usize,
    taken: AtomicUsize,
    shown: Gauge,
}

/// A part of the share; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ShareGrant {
    share: Arc<Share>,
    count: usize,
}

impl Share {
    /// `shown` follows what is taken.
    pub(crate) fn new(of_all: usize, shown: Gauge) -> Arc<Self> {
        Arc::new(Self { of_all, taken: AtomicUsize::new(0), shown })
    }

    /// Takes so many, or none where there are fewer.
    pub(crate) fn take(self: &Arc<Self>, count: usize) -> Option<ShareGrant> {
        let more = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= self.of_all);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.shown.inc_by(i64::try_from(count).unwrap_or_default());
        Some(ShareGrant { share: self.clone(), count })
    }
}

impl Drop for ShareGrant {
    fn drop(&mut self) {
        self.share.taken.fetch_sub(self.count, Ordering::Relaxed);
        self.share.shown.dec_by(i64::try_from(self.count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_never_more() {
        let share = Share::new(5, Gauge::default());
        let (one, two) = (share.take(2).unwrap(), share.take(2).unwrap());
        assert!(share.take(2).is_none(), "one is left");
        assert!(share.take(1).is_some());
        drop(one);
        let again = share.take(2).unwrap();
        assert!(share.take(2).is_none());
        assert_eq!(share.shown.get(), 4);
        drop((two, again));
        assert_eq!((share.shown.get(), share.taken.load(Ordering::Relaxed)), (0, 0));
    }
}
