//! The processes that this one has replaced, and that still carry what had begun there.
//!
//! Each hears every removal before it is answered (R5), and answers once nothing that it forbids is left there. One that
//! does not answer in time, breaks the line or does not understand is killed: its connections end with it, so an answer
//! waits for [`LEASE`] at most and never for somebody who has stopped. Without any of them nothing here costs anything.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use portcullis_policy::{Change, SessionHash, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::line::{Ear, HandoverLine, Mouth};
use super::words::{Demand, Former, Numbered, Reply, ToldChange, read_heard};

/// The time that a process which was replaced has to answer. What it cuts has two seconds there to leave.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// The time that it has to read the configuration again, whose secrets may come from commands.
const RELOAD: Duration = Duration::from_secs(70);
/// The time that a process which was killed has to be gone.
const DEATH: Duration = Duration::from_secs(2);
/// The time that a process has to end by itself once its line is closed.
const PARTING: Duration = Duration::from_millis(500);
/// The interval at which it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);
/// The time that is waited for answers that are still to come before a line is handed on.
const REST: Duration = Duration::from_secs(2);

/// A process that was replaced, as it can be handed on: its line and itself.
#[derive(Debug)]
pub(super) struct KnownProcess {
    pub(super) former: Former,
    pub(super) line: OwnedFd,
    /// A descriptor of the process (pidfd_open(2)).
    pub(super) process: OwnedFd,
}

/// A process that does not end, although it was killed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the process with pid {pid}, which was replaced and carries exchanges still, was killed and has not ended: the system \
     holds it"
)]
pub(crate) struct StillThere {
    pid: u32,
}

/// The processes that were replaced.
#[derive(Debug, Default)]
pub(crate) struct Predecessors {
    /// For whoever only asks whether there are any.
    count: AtomicUsize,
    all: Mutex<Vec<Arc<Predecessor>>>,
}

#[derive(Debug)]
struct Predecessor {
    former: Former,
    /// A descriptor of the process.
    process: OwnedFd,
    /// Its line once more, to be handed on.
    line: OwnedFd,
    mouth: tokio::sync::Mutex<Mouth>,
    asked: Arc<Mutex<Asked>>,
    listening: AbortHandle,
}

/// The questions that are not answered yet. After the end of the line nothing is.
#[derive(Debug, Default)]
struct Asked {
    is_over: bool,
    open: HashMap<u64, oneshot::Sender<Reply>>,
}

/// Waits until a process has ended: its descriptor can be read then (pidfd_open(2)).
async fn wait_for_death(process: &OwnedFd) {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    while !poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&NOW)).is_ok_and(|ready| ready > 0) {
        tokio::time::sleep(LOOK).await;
    }
}

/// The number of the last question of this process. It begins where no other process has counted to.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn next_number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed) + (u64::from(std::process::id()) << 32)
}

impl Predecessors {
    /// Tells whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Those that are there, in the order in which they were replaced.
    pub(crate) fn list(&self) -> Vec<Former> {
        self.all.lock().iter().map(|one| one.former.clone()).collect()
    }

    /// Begins to talk with one. It must be called before anything is written.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(super) fn attach(self: &Arc<Self>, known: KnownProcess) -> io::Result<()> {
        let KnownProcess { former, line, process } = known;
        let (ear, mouth) = HandoverLine::from_fd(line.try_clone()?)?.split();
        let asked = Arc::new(Mutex::new(Asked::default()));
        let listening = tokio::spawn(hear_answers(ear, asked.clone(), former.pid, Arc::downgrade(self)));
        let one = Arc::new(Predecessor {
            former,
            process,
            line,
            mouth: mouth.into(),
            asked,
            listening: listening.abort_handle(),
        });
        let mut all = self.all.lock();
        all.push(one);
        self.count.store(all.len(), Ordering::Release);
        Ok(())
    }

    /// Has every one of them end what these changes forbid, and gives how many exchanges they cut.
    ///
    /// # Errors
    /// [`StillThere`].
    pub(crate) async fn apply(&self, changes: &[Change]) -> Result<usize, StillThere> {
        if self.is_empty() || changes.is_empty() {
            return Ok(0);
        }
        let told = || Demand::Apply { changes: changes.iter().map(ToldChange::from).collect() };
        self.require_done(told, LEASE).await
    }

    /// Has every one of them read the configuration again. One that cannot go by it ends.
    ///
    /// # Errors
    /// [`StillThere`].
    pub(crate) async fn reload(&self) -> Result<usize, StillThere> {
        self.require_done(|| Demand::Reload, RELOAD).await
    }

    /// Has every one of them open its access log anew.
    pub(crate) async fn reopen_logs(&self) {
        let all = self.all.lock().clone();
        join_all(all.iter().map(|one| timeout(LEASE, one.ask(Demand::ReopenLogs)))).await;
    }

    /// Ends all of them: something holds in the memory of this process alone, and they could not hear of it.
    pub(crate) async fn end_all(&self, why: &str) {
        let all = self.all.lock().clone();
        for end in join_all(all.iter().map(|one| self.end_one(one, why))).await {
            if let Err(error) = end {
                tracing::error!("{error}");
            }
        }
    }

    /// The sessions whose clients were heard there, and when.
    pub(crate) async fn take_heard(&self) -> Vec<(SessionHash, Timestamp)> {
        let all = self.all.lock().clone();
        let heard = join_all(all.iter().map(|one| async {
            match timeout(LEASE, one.ask(Demand::Heard)).await {
                Ok(Some(Reply::Heard { sessions })) => read_heard(&sessions),
                // Whether it hears is found out by the next removal.
                _ => Vec::new(),
            }
        }));
        heard.await.into_iter().flatten().collect()
    }

    /// Tells all of them that they have so long to end, and waits until they have.
    pub(crate) async fn leave(&self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let all = self.all.lock().clone();
        let leaving = join_all(all.iter().map(|one| async {
            let _ = timeout(LEASE, one.ask(Demand::Leave { grace_ms })).await;
            let _ = timeout(grace + DEATH, wait_for_death(&one.process)).await;
        }));
        leaving.await;
    }

    /// Tells the one that has handed over that this process serves on every socket.
    ///
    /// # Errors
    /// [`StillThere`]: it does not hear it, and does not end.
    pub(crate) async fn tell_serving(&self, pid: u32) -> Result<(), StillThere> {
        let replaced = self.all.lock().iter().find(|one| one.former.pid == pid).cloned();
        // It may have ended by now, and with it what it carried.
        let Some(replaced) = replaced else { return Ok(()) };
        self.done_by(&replaced, Demand::Serving, LEASE).await.map(drop)
    }

    /// Takes all of them to hand them on, once nothing that they were asked is open.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) async fn detach(&self) -> io::Result<Vec<KnownProcess>> {
        let all = self.all.lock().clone();
        let mut known = Vec::new();
        for one in &all {
            let rests = async {
                while !one.asked.lock().open.is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if timeout(REST, rests).await.is_err() {
                let _ = self.end_one(one, "it does not answer").await;
                continue;
            }
            known.push(KnownProcess {
                former: one.former.clone(),
                line: one.line.try_clone()?,
                process: one.process.try_clone()?,
            });
        }
        let mut all = self.all.lock();
        all.drain(..).for_each(|one| one.listening.abort());
        self.count.store(0, Ordering::Release);
        Ok(known)
    }

    async fn require_done(&self, ask: impl Fn() -> Demand, limit: Duration) -> Result<usize, StillThere> {
        let all = self.all.lock().clone();
        let done = join_all(all.iter().map(|one| self.done_by(one, ask(), limit))).await;
        done.into_iter().sum()
    }

    /// What one of them did; nothing, where it had to be ended for it.
    async fn done_by(
        &self,
        one: &Arc<Predecessor>,
        ask: Demand,
        limit: Duration,
    ) -> Result<usize, StillThere> {
        let why = match timeout(limit, one.ask(ask)).await {
            Ok(Some(Reply::Done { exchanges })) => return Ok(exchanges),
            Ok(Some(Reply::NotGone { left })) => format!("{left} exchanges that it cut have not left"),
            Ok(Some(Reply::Refused { why })) => why,
            Ok(Some(_)) => "it answered something else than it was asked".to_owned(),
            Ok(None) => "its line is closed".to_owned(),
            Err(_) => format!("it did not answer within {} s", limit.as_secs()),
        };
        self.end_one(one, &why).await.map(|()| 0)
    }

    /// Kills one and waits for its death, with which its connections end.
    async fn end_one(&self, one: &Arc<Predecessor>, why: &str) -> Result<(), StillThere> {
        let pid = one.former.pid;
        // Whoever has closed its line is on its way out, mostly.
        let patience = if one.asked.lock().is_over { PARTING } else { Duration::ZERO };
        if timeout(patience, wait_for_death(&one.process)).await.is_ok() {
            self.forget(pid);
            return Ok(());
        }
        tracing::warn!(
            pid,
            version = one.former.version,
            "a process that was replaced is ended with the exchanges that it carries: {why}"
        );
        // It may be gone by now.
        let _ = pidfd_send_signal(&one.process, Signal::KILL);
        match timeout(DEATH, wait_for_death(&one.process)).await {
            Ok(()) => {
                self.forget(pid);
                Ok(())
            }
            Err(_) => Err(StillThere { pid }),
        }
    }

    fn forget(&self, pid: u32) {
        let mut all = self.all.lock();
        all.retain(|one| one.former.pid != pid);
        self.count.store(all.len(), Ordering::Release);
    }
}

impl Predecessor {
    /// Asks, and gives the answer; `None` where the line is over.
    async fn ask(&self, ask: Demand) -> Option<Reply> {
        let (number, (answer, answered)) = (next_number(), oneshot::channel());
        {
            let mut asked = self.asked.lock();
            if asked.is_over {
                return None;
            }
            asked.open.insert(number, answer);
        }
        let _closes = Closes { asked: &self.asked, number };
        self.mouth.lock().await.send(&Numbered { number, says: ask }).await.ok()?;
        answered.await.ok()
    }
}

/// Forgets a question that nobody waits for any more.
struct Closes<'a> {
    asked: &'a Mutex<Asked>,
    number: u64,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.asked.lock().open.remove(&self.number);
    }
}

/// Hears answers until the line is over, and then sees to it that the process is.
async fn hear_answers(mut ear: Ear, asked: Arc<Mutex<Asked>>, pid: u32, all: Weak<Predecessors>) {
    while let Ok(Some(Numbered { number, says })) = ear.receive::<Numbered<Reply>>().await {
        if let Some(answer) = asked.lock().open.remove(&number) {
            let _ = answer.send(says); // perhaps nobody waits for it
        }
    }
    {
        let mut asked = asked.lock();
        asked.is_over = true;
        asked.open.clear();
    }
    let Some(all) = all.upgrade() else { return };
    let one = all.all.lock().iter().find(|one| one.former.pid == pid).cloned();
    if let Some(one) = one
        && let Err(error) = all.end_one(&one, "its line is closed").await
    {
        tracing::error!("{error}");
    }
}
