//! The one road by which access is taken away: a deprovision, a login, a logout, the command line, expiry, a reload.
//!
//! A write is carried out by [`Revocation::carry_out`] and by nobody else: committed and enforced in one task that
//! nobody can drop. It comes from the store sealed ([`Committed`]) and goes out open, after mark, drop, cut, the reading
//! anew of whoever is to be reconsidered, and the wait until all that is forbidden has left (R5). A fault after the
//! commit is an error: the write stands, the client repeats it, and the repeat waits like the first.

use std::any::Any;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join_all, maybe_done};
use portcullis_policy::{AccountId, Change, OrgId, Policy, Timestamp};
use portcullis_session::{
    Committed, Cut, Described, DirectoryUser, Gone, HoldMark, HoldOn, Sessions, StaleAccount,
};
use portcullis_store::{Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::handover::{Predecessors, StillThere};

/// The time that the accounts to be reconsidered may take to be read; what is not read by then is cut.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// The time that what was cut may take to leave before the answer is an error.
pub(crate) const LEAVE: Duration = Duration::from_secs(2);
/// The number of accounts that are read at once after a change that touches many.
const READERS: usize = 8;

/// The road: commits and enforces.
#[derive(Clone)]
pub(crate) struct Revocation {
    runtime: Handle,
    sessions: Arc<Sessions>,
    store: Arc<Store>,
    /// The processes that this one has replaced: they hear everything that it enforces.
    predecessors: Arc<Predecessors>,
    /// Held by every write on the road, to its end: a hand-over waits for them, and they for it.
    turn: Arc<RwLock<()>>,
}

/// Something that was cut has not left in time. The write stands; whoever asked has to ask again.
#[derive(Debug, thiserror::Error)]
#[error("{left} exchanges that were cut have not ended after {} s", waited.as_secs())]
pub(crate) struct NotGone {
    left: usize,
    waited: Duration,
}

impl NotGone {
    /// A process that was replaced carries what was cut, and does not end.
    fn of_process(error: StillThere) -> Self {
        tracing::error!("{error}");
        Self { left: 1, waited: LEAVE }
    }

    /// The number of exchanges that have not left.
    pub(crate) fn left(&self) -> usize {
        self.left
    }
}

/// A write that was committed and enforced.
#[derive(Debug)]
pub(crate) struct Enforced<T> {
    pub(crate) value: T,
    /// The number of exchanges it cut.
    pub(crate) exchanges: usize,
    /// True where it took access away from somebody.
    pub(crate) takes_away: bool,
    /// True where it changed anything of who may do what.
    pub(crate) is_change: bool,
}

/// Reasons why a write was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone<E> {
    /// It was not committed.
    #[error(transparent)]
    Write(E),
    /// It is committed and stands, but something it cut has not gone yet.
    #[error(transparent)]
    NotGone(NotGone),
    /// Its task failed: nothing is certain.
    #[error("the task of a write failed: {0}")]
    Panicked(String),
}

/// A write on the road. Dropped, it is carried out all the same.
#[derive(Debug)]
pub(crate) struct Underway<T, E> {
    settled: oneshot::Receiver<()>,
    done: oneshot::Receiver<Result<Enforced<T>, NotDone<E>>>,
}

impl<T, E> Underway<T, E> {
    /// Waits until its transaction has ended: committed, or not.
    pub(crate) async fn wait_settled(&mut self) {
        let _ = (&mut self.settled).await; // an end without a word is one too
    }

    /// Waits until nobody is left whom it forbids.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(crate) async fn wait_done(self) -> Result<Enforced<T>, NotDone<E>> {
        self.done.await.unwrap_or_else(|_| {
            tracing::error!("the task of a write has ended without a word");
            Err(NotDone::Panicked("it has ended without a word".to_owned()))
        })
    }
}

impl Revocation {
    pub(crate) fn new(runtime: Handle, sessions: Arc<Sessions>, store: Arc<Store>) -> Self {
        Self { runtime, sessions, store, predecessors: Arc::default(), turn: Arc::default() }
    }

    /// The processes that this one has replaced.
    pub(crate) fn predecessors(&self) -> &Arc<Predecessors> {
        &self.predecessors
    }

    /// Waits until no write is on the road, and keeps all others off it while what it gives is held.
    pub(crate) async fn close_road(&self) -> OwnedRwLockWriteGuard<()> {
        self.turn.clone().write_owned().await
    }

    /// Commits a write and enforces it, in a task of its own that is spawned before the transaction begins: a client that
    /// hangs up, a time limit, a panic of whoever waits stop nothing (R5). `patience` is how long what it cuts may take
    /// to leave.
    pub(crate) fn carry_out<T, E>(
        &self,
        write: impl Future<Output = Result<Committed<T>, E>> + Send + 'static,
        patience: Duration,
    ) -> Underway<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (underway, road) = self.put_on_road(write, patience);
        self.runtime.spawn(road);
        underway
    }

    /// The same for several writes, in one task: they are asked of the store in this order, share its commits, and each is
    /// enforced as soon as it has committed. What becomes of one is no matter to the others. Each has its patience.
    pub(crate) fn carry_out_all<T, E>(
        &self,
        writes: Vec<(impl Future<Output = Result<Committed<T>, E>> + Send + 'static, Duration)>,
    ) -> Vec<Underway<T, E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let on_road = writes.into_iter().map(|(write, patience)| self.put_on_road(write, patience));
        let (underway, mut roads): (Vec<_>, Vec<_>) =
            on_road.map(|(underway, road)| (underway, Box::pin(maybe_done(road)))).unzip();
        self.runtime.spawn(async move {
            // A write enters the store's queue when it is polled for the first time: so in this order.
            poll_fn(|context| {
                for road in &mut roads {
                    let _ = road.as_mut().poll(context); // waited for below
                }
                Poll::Ready(())
            })
            .await;
            join_all(roads).await;
        });
        underway
    }

    /// A write and its road, to be followed by a task that nobody can drop.
    fn put_on_road<T, E>(
        &self,
        write: impl Future<Output = Result<Committed<T>, E>> + Send + 'static,
        patience: Duration,
    ) -> (Underway<T, E>, impl Future<Output = ()> + Send + 'static)
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (settle, settled) = oneshot::channel();
        let (finish, done) = oneshot::channel();
        let road = self.clone();
        let followed = async move {
            // Where the road is open, without a moment between: several writes keep their order.
            let _turn = match road.turn.clone().try_read_owned() {
                Ok(turn) => turn,
                Err(_) => road.turn.clone().read_owned().await,
            };
            let written = write.await;
            let _ = settle.send(()); // perhaps nobody waits for it
            road.enforce(written.map_err(NotDone::Write)?, patience).await.map_err(NotDone::NotGone)
        };
        let road = async move {
            let ended = AssertUnwindSafe(followed).catch_unwind().await.unwrap_or_else(|panic| {
                let what = panic_message(&*panic);
                tracing::error!(error = what, "the task of a write failed");
                Err(NotDone::Panicked(what.to_owned()))
            });
            let _ = finish.send(ended); // nor for that
        };
        (Underway { settled, done }, road)
    }

    /// Gives the sessions that this process knows.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Opens a committed write, once nobody is left whom it forbids, here and in the processes that were replaced.
    async fn enforce<T>(&self, done: Committed<T>, patience: Duration) -> Result<Enforced<T>, NotGone> {
        let (takes_away, is_change) = (done.takes_away(), !done.changes().is_empty());
        let (here, there) =
            tokio::join!(self.take_effect(done.changes(), patience), self.predecessors.apply(done.changes()));
        let (gone, exchanges) = here?;
        let exchanges = exchanges + there.map_err(NotGone::of_process)?;
        Ok(Enforced { value: done.release(gone), exchanges, takes_away, is_change })
    }

    /// Ends what committed changes forbid in this process, and waits until it has left. Gives how many exchanges were cut.
    ///
    /// # Errors
    /// [`NotGone`].
    pub(crate) async fn take_effect(
        &self,
        changes: &[Change],
        patience: Duration,
    ) -> Result<(Gone, usize), NotGone> {
        let cut = self.sessions.apply_changes(changes);
        let store = &self.store;
        let again = describe_again(&self.sessions, cut.stale_accounts(), |org, id| {
            let store = store.clone();
            async move { store.read_description(org, id).await }
        });
        let again = again.await;
        let cut = cut.merge(again);
        let exchanges = cut.exchanges();
        let gone = self.gone_within(cut, patience).await?;
        Ok((gone, exchanges))
    }

    /// Puts a new configuration in force on everything that runs, after the data plane has it.
    ///
    /// # Errors
    /// [`NotGone`] where something the new rules forbid has not left after two seconds.
    pub(crate) async fn reload_policy(&self, policy: Arc<Policy>) -> Result<(), NotGone> {
        let cut = self.sessions.review(policy);
        let (here, there) = tokio::join!(self.wait_gone(cut), self.predecessors.reload());
        here?;
        there.map(drop).map_err(NotGone::of_process)
    }

    /// Ends what the clock says is over (R9). Nobody waits for it.
    pub(crate) fn end_expired(&self, now: Timestamp) {
        let cut = self.sessions.expire(now);
        if cut.exchanges() > 0 {
            tracing::info!(
                exchanges = cut.exchanges(),
                "sessions ended by the clock: their exchanges are cut"
            );
        }
    }

    /// Takes somebody out whose removal is not stored (R6).
    pub(crate) async fn hold_person(&self, subject: &DirectoryUser, why: &str) -> HoldMark {
        let (cut, mark) = self.sessions.hold(&HoldOn::User(subject.clone()));
        tracing::error!(
            user = %subject.1, exchanges = cut.exchanges(), why,
            "a removal could not be stored: the person is out and on hold until a write on this user is committed. Look at the store"
        );
        // Whether all of it has left is said in the log; whoever asked is told to repeat in any case.
        let _ = self.wait_held(cut).await;
        mark
    }

    /// Waits until what a hold cuts has left. A hold is in the memory of this process alone, so those that were replaced
    /// end with everything that they carry.
    ///
    /// # Errors
    /// [`NotGone`].
    pub(crate) async fn wait_held(&self, cut: Cut) -> Result<Gone, NotGone> {
        let ended = self.predecessors.end_all("something that takes access away could not be stored");
        tokio::join!(self.wait_gone(cut), ended).0
    }

    /// Names the holds that stand; called once a minute.
    pub(crate) fn log_holds(&self) {
        for on in self.sessions.holds() {
            match on {
                HoldOn::User((_, user)) => tracing::error!(
                    %user, "on hold: a removal was not stored, and no later write on this user was committed"
                ),
                HoldOn::Account(_, account) => tracing::error!(
                    account = account.0,
                    by = "operator",
                    "on hold: an order was not stored, and no later one on this account was committed. Repeat it"
                ),
            }
        }
    }

    /// Waits until a cut has left the register.
    async fn wait_gone(&self, cut: Cut) -> Result<Gone, NotGone> {
        self.gone_within(cut, LEAVE).await
    }

    async fn gone_within(&self, cut: Cut, patience: Duration) -> Result<Gone, NotGone> {
        let mut cleared = self.sessions.cleared(cut);
        match timeout(patience, &mut cleared).await {
            Ok(gone) => Ok(gone),
            Err(_) => {
                let left = cleared.left();
                tracing::error!(
                    left,
                    "exchanges that were cut have not ended in time: the write is answered as failed"
                );
                Err(NotGone { left, waited: patience })
            }
        }
    }
}

/// The words of a panic, as far as it has any.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it has panicked")
}

/// Reads the accounts again and describes them. Those that are not read in time, whatever the reason, lose their
/// exchanges: what they stand on cannot be proven.
async fn describe_again<F>(
    sessions: &Sessions,
    stale: Vec<StaleAccount>,
    read: impl Fn(OrgId, AccountId) -> F,
) -> Cut
where
    F: Future<Output = Result<Option<Described>, StoreError>> + Send + 'static,
{
    let until = tokio::time::Instant::now() + READ_AGAIN;
    let mut cut = Cut::default();
    let mut stale = stale.into_iter();
    let mut reads = JoinSet::new();
    // Kept here, so that an account is at hand also where its task has panicked.
    let mut under_way = HashMap::new();
    loop {
        for account in stale.by_ref().take(READERS - reads.len()) {
            let read = tokio::time::timeout_at(until, read(account.org(), account.id()));
            under_way.insert(reads.spawn(read).id(), account);
        }
        let Some(done) = reads.join_next_with_id().await else { return cut };
        let (task, read) = match done {
            Ok((task, read)) => (task, Ok(read)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(account) = under_way.remove(&task) else { continue };
        let give_up = |why: &dyn std::fmt::Display| {
            tracing::error!(
                account = account.id().0,
                "an account could not be read again, its exchanges are cut: {why}"
            );
            sessions.give_up(&account)
        };
        let found = match read {
            Ok(Ok(Ok(Some(described)))) => sessions.describe_account(&account, &described),
            Ok(Ok(Ok(None))) => sessions.give_up(&account),
            Ok(Ok(Err(error))) => give_up(&error),
            Ok(Err(_)) => give_up(&"it took longer than 1 s"),
            Err(error) => give_up(&error),
        };
        cut = cut.merge(found);
    }
}

#[cfg(test)]
#[path = "../session/tests/world/mod.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on falls")]
mod world;

#[cfg(test)]
mod tests {
    use portcullis_policy::{AppId, Change};
    use portcullis_session::{Ended, Enrolment, InFlight};

    use super::world::{ALICE, HASH, IDLE_MS, NOW, decide, described, policy, stored};
    use super::*;

    fn standing(sessions: &Sessions, exchange: &InFlight) -> Enrolment {
        let cold = sessions.keep_account(OrgId::ONLY, ALICE).enrol(HASH, exchange);
        let read = stored(described(ALICE, 1, 0, true, &["Owners"]), HASH, 0, false);
        let enrolment = sessions.read_session(cold, &read, AppId::ONLY, NOW).unwrap();
        let who = enrolment.current_principal().unwrap();
        let pass = decide(&policy(1), "/admin/x", &who).unwrap();
        assert!(enrolment.stands_on(&pass, &who));
        enrolment
    }

    /// What must come of an account that is to be read again, by how the reading ends.
    async fn read_again<F>(read: impl Fn() -> F) -> Option<Ended>
    where
        F: Future<Output = Result<Option<Described>, StoreError>> + Send + 'static,
    {
        let sessions = Sessions::new(16, IDLE_MS, policy(1));
        let exchange = InFlight::new();
        let _enrolment = standing(&sessions, &exchange);
        let cut = sessions.apply_changes(&[Change::Reconsider(ALICE)]);
        let cut = describe_again(&sessions, cut.stale_accounts(), |_, _| read()).await;
        assert_eq!(cut.exchanges() > 0, exchange.reason().is_some());
        exchange.reason()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_not_read_again_is_cut_whatever_the_reason() {
        assert_eq!(read_again(|| async { Ok(Some(described(ALICE, 2, 0, true, &["Owners"]))) }).await, None);
        let lost = read_again(|| async { Ok(Some(described(ALICE, 2, 0, true, &[]))) }).await;
        assert_eq!(lost, Some(Ended::Forbidden));
        let unproven = Some(Ended::Unproven);
        assert_eq!(read_again(|| async { Ok(None) }).await, unproven);
        assert_eq!(read_again(|| async { Err(StoreError::Closed) }).await, unproven);
        assert_eq!(read_again(std::future::pending).await, unproven);
        assert_eq!(read_again(|| async { panic!("a fault of the program") }).await, unproven);
    }
}
