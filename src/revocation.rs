//! The one road by which access is taken away: a deprovision, a logout, the command line, expiry, a reload.
//!
//! A write of the store comes in sealed ([`Committed`]) and goes out open, after mark, drop, cut, the reading anew of
//! whoever is to be reconsidered, and the wait until all that is forbidden has left (R5). A fault after the commit is
//! an error: the write stands, the client repeats it, and the repeat waits like the first.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{Policy, Timestamp};
use portcullis_session::{Committed, Cut, Gone, Sessions, StaleAccount};
use portcullis_store::Store;
use tokio::time::timeout;

/// How long the accounts to be reconsidered may take to be read; what is not read by then is cut.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// How long what was cut may take to leave before the answer is an error.
const LEAVE: Duration = Duration::from_secs(2);
/// How many accounts are read at once after a change that touches many.
const READERS: usize = 8;

/// Enforces what the store committed.
#[derive(Clone)]
pub(crate) struct Revocation {
    sessions: Arc<Sessions>,
    store: Arc<Store>,
}

/// Something that was cut has not left in time. The write stands; whoever asked has to ask again.
#[derive(Debug, thiserror::Error)]
#[error("{left} exchanges that were cut have not ended after {} s", LEAVE.as_secs())]
pub(crate) struct NotGone {
    left: usize,
}

impl Revocation {
    pub(crate) fn new(sessions: Arc<Sessions>, store: Arc<Store>) -> Self {
        Self { sessions, store }
    }

    /// Opens a committed write, once nobody is left whom it forbids. Runs in a task of the core runtime that was
    /// spawned before the transaction began, so no client that hangs up can stop it.
    ///
    /// # Errors
    /// [`NotGone`] where something has not left after two seconds.
    pub(crate) async fn enforce<T>(&self, done: Committed<T>) -> Result<T, NotGone> {
        self.enforce_and_count(done).await.map(|(value, _)| value)
    }

    /// The same; says how many exchanges were told to end as well.
    ///
    /// # Errors
    /// As [`enforce`](Self::enforce).
    pub(crate) async fn enforce_and_count<T>(&self, done: Committed<T>) -> Result<(T, usize), NotGone> {
        let cut = self.sessions.apply(done.changes());
        let again = self.describe_again(cut.stale()).await;
        let cut = cut.and(again);
        let exchanges = cut.exchanges();
        let gone = self.gone(cut).await?;
        Ok((done.release(gone), exchanges))
    }

    /// What this process knows of who is in.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Puts a new configuration in force on everything that runs, after the data plane has it.
    ///
    /// # Errors
    /// [`NotGone`] where something the new rules forbid has not left after two seconds.
    pub(crate) async fn reload(&self, policy: Arc<Policy>) -> Result<(), NotGone> {
        let cut = self.sessions.review(policy);
        self.gone(cut).await.map(drop)
    }

    /// Ends what the clock says is over (R9). Nobody waits for it.
    pub(crate) fn expire(&self, now: Timestamp) {
        let cut = self.sessions.expire(now);
        if cut.exchanges() > 0 {
            tracing::info!(
                exchanges = cut.exchanges(),
                "sessions ended by the clock: their exchanges are cut"
            );
        }
    }

    /// Waits until a cut has left the register.
    pub(crate) async fn gone(&self, cut: Cut) -> Result<Gone, NotGone> {
        let mut cleared = self.sessions.cleared(cut);
        match timeout(LEAVE, &mut cleared).await {
            Ok(gone) => Ok(gone),
            Err(_) => {
                let left = cleared.left();
                tracing::error!(
                    left,
                    "exchanges that were cut have not ended in time: the write is answered as failed"
                );
                Err(NotGone { left })
            }
        }
    }

    /// Reads the accounts again and describes them; those that cannot be read in time lose their exchanges.
    async fn describe_again(&self, stale: Vec<StaleAccount>) -> Cut {
        let until = tokio::time::Instant::now() + READ_AGAIN;
        let mut cut = Cut::default();
        let mut stale = stale.into_iter();
        let mut reads = tokio::task::JoinSet::new();
        loop {
            for account in stale.by_ref().take(READERS - reads.len()) {
                let store = self.store.clone();
                reads.spawn(async move {
                    let read =
                        tokio::time::timeout_at(until, store.described(account.org(), account.id())).await;
                    (account, read)
                });
            }
            let Some(done) = reads.join_next().await else { return cut };
            // A task that panicked has said so; its account stays stale and its exchanges are waited for below.
            let Ok((account, read)) = done else { continue };
            let found = match read {
                Ok(Ok(Some(described))) => self.sessions.describe(&account, &described),
                Ok(Ok(None)) => self.sessions.give_up(&account),
                Ok(Err(error)) => {
                    tracing::error!(account = account.id().0, %error, "an account could not be read again: its exchanges are cut");
                    self.sessions.give_up(&account)
                }
                Err(_) => {
                    tracing::error!(
                        account = account.id().0,
                        "an account was not read again within 1 s: its exchanges are cut"
                    );
                    self.sessions.give_up(&account)
                }
            };
            cut = cut.and(found);
        }
    }
}
