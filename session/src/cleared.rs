//! Waiting until what the marks forbid has left the register (R5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::registry::{AccountHolder, StaleAccount};
use crate::stranger::Stripe;

/// The result of a mark and a cut: the accounts and strangers it touched, and up to which ticket their exchanges are
/// concerned.
#[derive(Debug, Default)]
#[must_use = "what was cut has not left yet: wait for `Sessions::cleared`"]
pub struct Cut {
    touched: Vec<(AccountHolder, u64)>,
    strangers: Vec<(Arc<Stripe>, u64)>,
    exchanges: usize,
}

impl Cut {
    /// The number of exchanges that were told to end.
    pub fn exchanges(&self) -> usize {
        self.exchanges
    }

    /// This cut and another.
    pub fn merge(mut self, other: Cut) -> Cut {
        self.touched.extend(other.touched);
        self.strangers.extend(other.strangers);
        self.exchanges += other.exchanges;
        self
    }

    pub(crate) fn add_account(&mut self, holder: AccountHolder, bound: u64, exchanges: usize) {
        self.touched.push((holder, bound));
        self.exchanges += exchanges;
    }

    pub(crate) fn add_strangers(&mut self, stripe: Arc<Stripe>, bound: u64, exchanges: usize) {
        self.strangers.push((stripe, bound));
        self.exchanges += exchanges;
    }

    /// The accounts it made stale that have exchanges: they are to be read again before the wait.
    pub fn stale_accounts(&self) -> Vec<StaleAccount> {
        let stale = self.touched.iter().filter_map(|(holder, _)| {
            let known = {
                let state = holder.account.state.lock();
                (state.is_stale() && state.has_exchanges()).then(|| state.stale_count())
            };
            Some(StaleAccount { known: known?, holder: holder.clone() })
        });
        stale.collect()
    }
}

/// Proof that everything a cut forbids has left the register.
#[derive(Debug)]
pub struct Gone(());

/// Ready when every exchange that had enrolled before the marks and that they forbid has left, whoever cut it. An
/// exchange whose session is not read yet counts as forbidden; later ones cannot pass, for they read after the commit.
#[derive(Debug)]
pub struct Cleared {
    waits: Vec<ClearedWait>,
}

#[derive(Debug)]
struct ClearedWait {
    on: Register,
    bound: u64,
    key: Option<usize>,
}

/// The register of the exchanges that are waited for.
#[derive(Debug)]
enum Register {
    Account(AccountHolder),
    Strangers(Arc<Stripe>),
}

impl Cleared {
    pub(crate) fn new(cut: Cut) -> Self {
        let wait = |on, bound| ClearedWait { on, bound, key: None };
        let accounts = cut.touched.into_iter().map(|(holder, bound)| wait(Register::Account(holder), bound));
        let strangers =
            cut.strangers.into_iter().map(|(stripe, bound)| wait(Register::Strangers(stripe), bound));
        Self { waits: accounts.chain(strangers).collect() }
    }

    /// Counts the exchanges that have not left yet.
    pub fn left(&self) -> usize {
        let left = |wait: &ClearedWait| match &wait.on {
            Register::Account(holder) => holder.account.state.lock().to_leave(wait.bound),
            Register::Strangers(stripe) => stripe.to_leave(wait.bound),
        };
        self.waits.iter().map(left).sum()
    }
}

impl ClearedWait {
    /// Looks, and registers the waker where something is left, in one critical section.
    fn is_over(&mut self, context: &Context<'_>) -> bool {
        let holder = match &self.on {
            Register::Account(holder) => holder,
            Register::Strangers(stripe) => {
                return stripe.is_clear(self.bound, &mut self.key, context.waker());
            }
        };
        let mut state = holder.account.state.lock();
        if let Some(key) = self.key.take() {
            state.stop_waiting(key);
        }
        let left = state.to_leave(self.bound);
        if left > 0 {
            self.key = Some(state.wait(self.bound, left, context.waker().clone()));
        }
        left == 0
    }
}

impl Future for Cleared {
    type Output = Gone;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Gone> {
        self.waits.retain_mut(|wait| !wait.is_over(context));
        if self.waits.is_empty() { Poll::Ready(Gone(())) } else { Poll::Pending }
    }
}

impl Drop for ClearedWait {
    fn drop(&mut self) {
        match (&self.on, self.key) {
            (Register::Account(holder), Some(key)) => holder.account.state.lock().stop_waiting(key),
            (Register::Strangers(stripe), Some(key)) => stripe.stop_waiting(key),
            (_, None) => {}
        }
    }
}
