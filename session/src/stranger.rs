//! Exchanges in flight under public rules. Nobody is asked who they are, so they are no account's; they stand on their
//! pass all the same, so that a reload finds them (R4) and the clock ends an answer on which nothing passes.
//!
//! The register is in stripes, one for each thread that serves, so that no two cores write one cache line for every
//! public request. A stripe's lock is never held together with an account's.

use std::sync::Arc;
use std::task::Waker;

use portcullis_policy::{Pass, Policy, RulesVersion, Timestamp};
use slab::Slab;

use crate::loom_or_std::{AtomicI64, Mutex, Ordering};
use crate::waiting::Waiting;
use crate::{Ended, InFlight};

#[cfg(not(portcullis_loom))]
const STRIPES: usize = 16;
#[cfg(portcullis_loom)]
const STRIPES: usize = 1;

/// The exchanges of nobody.
#[derive(Debug)]
pub(crate) struct StrangerRegister {
    stripes: Vec<Arc<Stripe>>,
    /// After how many milliseconds without a byte an answer under way is ended.
    pub(crate) quiet_ms: AtomicI64,
}

/// The register of one thread, or of a few. It shares no line of the cache with its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe(Mutex<StripeState>);

#[derive(Debug, Default)]
struct StripeState {
    exchanges: Slab<StrangerExchange>,
    tickets: u64,
    waiting: Waiting,
}

#[derive(Debug)]
struct StrangerExchange {
    exchange: InFlight,
    pass: Pass,
    ticket: u64,
}

/// The place of an exchange under a public rule. The exchange leaves the register when this is dropped.
#[derive(Debug)]
pub struct Stranger {
    stripe: Arc<Stripe>,
    exchange: InFlight,
    key: usize,
}

impl StrangerRegister {
    pub(crate) fn new(quiet_ms: i64) -> Self {
        let stripes = (0..STRIPES).map(|_| Arc::default()).collect();
        Self { stripes, quiet_ms: AtomicI64::new(quiet_ms) }
    }

    /// Enrols an exchange and puts it on its pass, in one critical section: `in_force` is read inside, so that a
    /// reload either is seen here or finds the exchange. `None` where the rules have moved since the pass was given, or
    /// where the pass is not a public one.
    pub(crate) fn admit_stranger(
        &self,
        stripe: usize,
        exchange: &InFlight,
        pass: &Pass,
        in_force: impl FnOnce() -> RulesVersion,
    ) -> Option<Stranger> {
        let stripe = &self.stripes[stripe % STRIPES];
        let key = {
            let mut state = stripe.0.lock();
            if pass.rules_version() < in_force() || !pass.is_public() {
                return None;
            }
            exchange.begin();
            let ticket = state.tickets;
            state.tickets += 1;
            state.exchanges.insert(StrangerExchange {
                exchange: exchange.clone(),
                pass: pass.clone(),
                ticket,
            })
        };
        Some(Stranger { stripe: stripe.clone(), exchange: exchange.clone(), key })
    }

    /// Cuts what the rules in force do not leave public. Says what it touched, with the bounds of the waits, and how
    /// many were cut. The policy is read inside each critical section.
    pub(crate) fn review(&self, policy: impl Fn() -> Arc<Policy>) -> Vec<(Arc<Stripe>, u64, usize)> {
        let visit = |stripe: &Arc<Stripe>| {
            let (doomed, bound) = {
                let mut state = stripe.0.lock();
                let policy = policy();
                let doomed =
                    state.doom(|entry| (!policy.still_public(&entry.pass)).then_some(Ended::Forbidden));
                (doomed, state.tickets)
            };
            doomed.iter().for_each(InFlight::nudge);
            (stripe.clone(), bound, doomed.len())
        };
        self.stripes.iter().map(visit).collect()
    }

    /// Ends the answers under way on which nothing has passed for too long.
    pub(crate) fn expire(&self, now: Timestamp) {
        let quiet = self.quiet_ms.load(Ordering::Relaxed);
        let is_over = |entry: &StrangerExchange| {
            let heard = entry.exchange.heard()?;
            (now.0.saturating_sub(heard.0) >= quiet).then_some(Ended::Idle)
        };
        for stripe in &self.stripes {
            let doomed = stripe.0.lock().doom(is_over);
            doomed.iter().for_each(InFlight::nudge);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.0.lock().exchanges.len()).sum()
    }
}

impl StripeState {
    fn doom(&mut self, why: impl Fn(&StrangerExchange) -> Option<Ended>) -> Vec<InFlight> {
        let mut doomed = Vec::new();
        for (_, entry) in &self.exchanges {
            if entry.exchange.reason().is_none()
                && let Some(ended) = why(entry)
            {
                entry.exchange.mark(ended);
                doomed.push(entry.exchange.clone());
            }
        }
        doomed
    }

    fn to_leave(&self, bound: u64) -> usize {
        let must_leave = |(_, entry): &(usize, &StrangerExchange)| {
            entry.ticket < bound && entry.exchange.reason().is_some()
        };
        self.exchanges.iter().filter(must_leave).count()
    }
}

impl Stripe {
    /// Counts the exchanges that enrolled before `bound` were cut and have not left.
    pub(crate) fn to_leave(&self, bound: u64) -> usize {
        self.0.lock().to_leave(bound)
    }

    /// Looks, and registers the waker where something is left, in one critical section.
    pub(crate) fn is_clear(&self, bound: u64, key: &mut Option<usize>, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        if let Some(key) = key.take() {
            state.waiting.end_wait(key);
        }
        let left = state.to_leave(bound);
        if left > 0 {
            *key = Some(state.waiting.begin_wait(bound, left, waker.clone()));
        }
        left == 0
    }

    pub(crate) fn stop_waiting(&self, key: usize) {
        self.0.lock().waiting.end_wait(key);
    }

    fn leave(&self, key: usize) {
        let woken = {
            let mut state = self.0.lock();
            let entry = state.exchanges.remove(key);
            state.waiting.note_settled(entry.ticket)
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Stranger {
    /// Its answer begins: from now on it is ended when nothing passes on it. Called before the response head is passed
    /// on.
    ///
    /// # Errors
    /// Why it must be cut instead: it is over.
    pub fn begin_answer(&self, now: Timestamp) -> Result<(), Ended> {
        self.exchange.hear_from(now);
        self.exchange.reason().map_or(Ok(()), Err)
    }

    /// Bytes passed, from the client or to it: nobody's session is kept awake by them, so both count.
    pub fn touch(&self, now: impl FnOnce() -> Timestamp) {
        if self.exchange.heard().is_some() {
            self.exchange.hear_from(now());
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stripe.leave(self.key);
    }
}
