//! The one writer: a task that owns the one connection that may write.
//!
//! Removals have a lane of their own and overtake: those that wait are committed together, and after each such commit
//! one ordinary write has its turn. Where no removal waits, ordinary writes share commits too, for a few milliseconds
//! and until a removal comes. A write that has begun runs to its end whoever stopped waiting for it; an error says that
//! it was not committed. The rule it protects: what was answered with success is on the disk, and taking away waits
//! for nobody but the write that is under way.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::StoreError;
use crate::engine::{Engine, Tx};

/// The time that an ordinary write waits while another process holds the write lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(900);
/// The time that an ordinary write waits behind others.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);
/// The time that a removal waits for anything: it had better commit late than not at all (R6).
const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);
/// The time that the writer rests before it asks for the lock again.
const BREATH: Duration = Duration::from_millis(2);
/// The most writes that share one commit.
const AT_ONCE: usize = 64;
/// A commit takes in no further write once it has worked this long.
const COMMIT_SPAN: Duration = Duration::from_millis(5);
/// The interval at which what was committed is moved from the log into the file.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// In which order a write has its turn, and whether its commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It takes access away: it overtakes the others.
    Removal,
    /// One after another.
    Ordinary,
    /// As ordinary, without sync: what a crash may lose (last-seen times, the ring of refusals).
    Unsynced,
}

/// The doors to the writing task. Closing the last one lets it finish what waits and end.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// `None` closes.
    jobs: mpsc::UnboundedSender<Option<Queued>>,
}

struct Queued {
    job: Box<dyn Job>,
    lane: Lane,
    asked: Instant,
}

/// One write with the way back to whoever asked.
trait Job: Send {
    /// Does the work within the transaction. False: it is to be taken back.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool>;
    /// Tells whoever asked, once the commit has succeeded or failed.
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

struct AwaitedJob<W, T> {
    work: Option<W>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Job for AwaitedJob<W, T>
where
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send,
    T: Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let done = work(tx).await;
            let keep = done.is_ok();
            self.done = Some(done);
            keep
        })
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (self.done, committed) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Panicked),
        };
        // Nobody may be waiting any more; what was committed stands all the same.
        let _ = self.reply.send(answer);
    }
}

impl Writer {
    /// Starts the writing task and the one that checkpoints. `tx` is the connection that made the tables.
    pub(crate) fn start(engine: Engine, tx: Tx) -> (Self, JoinHandle<()>) {
        let (jobs, asked) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let checkpoints = tokio::spawn(checkpoint_database(engine.clone(), stopped));
        let task = WriterTask {
            engine,
            tx: Some(tx),
            relaxed: false,
            asked,
            removals: VecDeque::new(),
            ordinary: VecDeque::new(),
            served_removals: false,
        };
        let writing = tokio::spawn(async move {
            let last = task.write_until_closed().await;
            // One connection after the other: the last to close tidies the log away.
            drop(stop);
            let _ = checkpoints.await;
            if let Some(tx) = last {
                tx.close().await;
            }
        });
        (Self { jobs }, writing)
    }

    /// Has `work` done in a transaction and waits for the commit.
    ///
    /// # Errors
    /// The write was not committed: the work's own error, or why it did not begin or could not be committed.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(AwaitedJob { work: Some(work), done: None, reply });
        let queued = Queued { job, lane, asked: Instant::now() };
        self.jobs.send(Some(queued)).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Takes no further writes; those that wait are still done.
    pub(crate) fn close(&self) {
        let _ = self.jobs.send(None);
    }
}

struct WriterTask {
    engine: Engine,
    /// None after the connection broke; the next write connects anew.
    tx: Option<Tx>,
    /// The connection is in the mode without sync.
    relaxed: bool,
    asked: mpsc::UnboundedReceiver<Option<Queued>>,
    removals: VecDeque<Queued>,
    ordinary: VecDeque<Queued>,
    /// The last commit was one of removals: an ordinary write is next.
    served_removals: bool,
}

impl WriterTask {
    /// Writes until the store is closed and hands back the connection.
    async fn write_until_closed(mut self) -> Option<Tx> {
        while self.wait_for_writes().await {
            let relaxed = self.is_relaxed_next();
            if let Err(error) = self.begin_transaction(relaxed).await {
                self.give_up(&error);
                tokio::time::sleep(BREATH).await; // SQLite has waited itself, mostly
                continue;
            }
            self.collect_queued();
            let batch =
                if relaxed { self.ordinary.pop_front().into_iter().collect() } else { self.next_batch() };
            self.commit_batch(batch).await;
        }
        self.tx
    }

    /// Waits until something is to be written; false when the store is closed and nothing is left.
    async fn wait_for_writes(&mut self) -> bool {
        self.collect_queued();
        if self.removals.is_empty() && self.ordinary.is_empty() {
            match self.asked.recv().await {
                Some(queued) => self.queue_write(queued),
                None => return false,
            }
        }
        true
    }

    fn collect_queued(&mut self) {
        while let Ok(queued) = self.asked.try_recv() {
            self.queue_write(queued);
        }
    }

    fn queue_write(&mut self, queued: Option<Queued>) {
        let Some(queued) = queued else {
            return self.asked.close();
        };
        match queued.lane {
            Lane::Removal => self.removals.push_back(queued),
            Lane::Ordinary | Lane::Unsynced => self.ordinary.push_back(queued),
        }
    }

    /// The mode of the sync can only be changed between transactions, so it is settled before one begins.
    fn is_relaxed_next(&self) -> bool {
        self.removals.is_empty() && self.ordinary.front().is_some_and(|queued| queued.lane == Lane::Unsynced)
    }

    /// Takes the write lock. Which write goes first is asked afterwards, so that a removal which comes while another
    /// process holds the lock overtakes all who waited with it.
    async fn begin_transaction(&mut self, relaxed: bool) -> Result<(), StoreError> {
        let tx = match &mut self.tx {
            Some(tx) => tx,
            None => {
                self.relaxed = false;
                self.tx.insert(self.engine.connect().await?)
            }
        };
        let begun = async {
            if relaxed != self.relaxed {
                tx.plain(if relaxed { "pragma synchronous = normal" } else { "pragma synchronous = full" })
                    .await?;
                self.relaxed = relaxed;
            }
            tx.plain("begin immediate").await
        };
        let begun = begun.await;
        if begun.as_ref().is_err_and(|error| !error.is_busy()) {
            self.tx = None; // whatever broke, a new connection is a clean start
        }
        begun
    }

    /// The lock or the database was not to be had: whoever has waited long enough is told.
    fn give_up(&mut self, error: &StoreError) {
        self.collect_queued();
        let patience = |queued: &Queued| match queued.lane {
            _ if !error.is_busy() => Duration::ZERO,
            Lane::Removal => REMOVAL_PATIENCE,
            Lane::Ordinary | Lane::Unsynced => LOCK_PATIENCE,
        };
        for queue in [&mut self.removals, &mut self.ordinary] {
            // The oldest stands in front.
            while let Some(queued) = queue.pop_front_if(|queued| queued.asked.elapsed() >= patience(queued)) {
                let error = match error {
                    StoreError::Busy { .. } => StoreError::Busy { waited_ms: queued.waited_ms() },
                    other => other.clone(),
                };
                queued.job.settle(Err(error));
            }
        }
    }

    /// Takes what is written in this transaction: the removals that wait, or else ordinary writes, of which there is
    /// only the first where removals wait for it.
    fn next_batch(&mut self) -> VecDeque<Queued> {
        let may_overtake = !self.served_removals || self.ordinary.is_empty();
        self.served_removals = !self.removals.is_empty() && may_overtake;
        if self.served_removals {
            let many = self.removals.len().min(AT_ONCE);
            return self.removals.drain(..many).collect();
        }
        let mut batch = VecDeque::new();
        while batch.len() < AT_ONCE
            && let Some(queued) = self.ordinary.pop_front()
        {
            if queued.asked.elapsed() < QUEUE_PATIENCE {
                batch.push_back(queued);
            } else {
                let waited_ms = queued.waited_ms();
                queued.job.settle(Err(StoreError::Crowded { waited_ms }));
            }
        }
        batch
    }

    /// Runs the batch in the transaction that has begun, commits, and tells everybody.
    async fn commit_batch(&mut self, mut batch: VecDeque<Queued>) {
        let Some(mut tx) = self.tx.take() else { return };
        let began = Instant::now();
        let mut savepoint = if batch.len() > 1 { Savepoint::None } else { Savepoint::Unneeded };
        let mut ran = Vec::with_capacity(batch.len());
        let mut kept = 0;
        let mut outcome = Ok(());
        while let Some(mut queued) = batch.pop_front() {
            match run_job(&mut tx, &mut *queued.job, &mut savepoint).await {
                Ok(keep) => kept += usize::from(keep),
                Err(error) => outcome = Err(error),
            }
            let is_removal = queued.lane == Lane::Removal;
            ran.push(queued);
            self.collect_queued();
            let is_overtaken = !is_removal && !self.removals.is_empty();
            if outcome.is_err() || is_overtaken || began.elapsed() >= COMMIT_SPAN {
                break;
            }
        }
        // Those that found no room go back to the front, in their order.
        while let Some(queued) = batch.pop_back() {
            match queued.lane {
                Lane::Removal => self.removals.push_front(queued),
                Lane::Ordinary | Lane::Unsynced => self.ordinary.push_front(queued),
            }
        }
        if outcome.is_ok() {
            outcome = tx.plain(if kept > 0 { "commit" } else { "rollback" }).await;
        }
        // Where that fails too, perhaps because the database took the transaction back by itself, the connection is in
        // doubt and is not used again.
        if outcome.is_ok() || tx.plain("rollback").await.is_ok() {
            self.tx = Some(tx);
        }
        for queued in ran {
            queued.job.settle(outcome.clone());
        }
    }
}

impl Queued {
    fn waited_ms(&self) -> u64 {
        u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The savepoint of the writes that share a commit: before each of them there is one, so that one's failure is not
/// another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Savepoint {
    /// A write alone is taken back with its transaction.
    Unneeded,
    /// There is none yet.
    None,
    /// Behind it stands a write that is kept.
    Kept,
    /// Nothing stands behind it.
    Open,
}

/// Runs one write. An error means that the transaction itself is in doubt. The last savepoint ends with the commit.
async fn run_job(tx: &mut Tx, job: &mut dyn Job, savepoint: &mut Savepoint) -> Result<bool, StoreError> {
    match savepoint {
        Savepoint::Unneeded | Savepoint::Open => {}
        Savepoint::None => tx.plain("savepoint job").await?,
        // In one way to the engine.
        Savepoint::Kept => tx.plain("release savepoint job; savepoint job").await?,
    }
    let keep = AssertUnwindSafe(job.run(tx)).catch_unwind().await.unwrap_or(false);
    if *savepoint == Savepoint::Unneeded {
        return Ok(keep);
    }
    *savepoint = if keep {
        Savepoint::Kept
    } else {
        tx.plain("rollback to savepoint job").await?;
        Savepoint::Open
    };
    Ok(keep)
}

/// Moves what was committed from the log into the file, never holding up the writer (passive), on its own connection.
async fn checkpoint_database(engine: Engine, mut stopped: oneshot::Receiver<()>) {
    let mut connection = None;
    while timeout(CHECKPOINT_EVERY, &mut stopped).await.is_err() {
        if connection.is_none() {
            connection = engine.connect().await.ok();
        }
        if let Some(tx) = &mut connection
            && let Err(error) = tx.plain("pragma wal_checkpoint(passive)").await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a checkpoint of the database failed");
            connection = None;
        }
    }
    if let Some(tx) = connection {
        tx.close().await;
    }
}
