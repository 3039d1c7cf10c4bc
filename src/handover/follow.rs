//! The side of a process that was replaced: it takes nothing new, carries what has begun to its end, and does what the
//! process that leads asks of it. Without one that leads it ends at once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_policy::Change;
use portcullis_proxy::Parting;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::line::{Ear, HandoverLine, Mouth};
use super::words::{Demand, Numbered, Reply, write_heard};
use crate::reload::Reload;
use crate::revocation::LEAVE;

/// What becomes of a process that has handed over.
#[derive(Debug)]
pub(super) enum LeaderWord {
    /// The other one serves; the answer is given once what this says is sent.
    Serving(oneshot::Sender<()>),
    /// The other one has not come to serve, and says why.
    Failed(String),
    /// The other one is gone, or is not understood.
    Gone(String),
}

/// Hears what the process that leads asks, and does it, several things at once.
pub(super) async fn follow_leader(
    line: HandoverLine,
    reload: Reload,
    parting: watch::Sender<Parting>,
    words: mpsc::Sender<LeaderWord>,
) {
    let (ear, mouth) = line.split();
    let follower = Arc::new(Follower { reload, parting, words, mouth: mouth.into() });
    let why = follower.clone().hear_asks(ear).await;
    let _ = follower.words.send(LeaderWord::Gone(why)).await; // where nobody hears it, the process is ending
}

struct Follower {
    reload: Reload,
    parting: watch::Sender<Parting>,
    words: mpsc::Sender<LeaderWord>,
    mouth: tokio::sync::Mutex<Mouth>,
}

impl Follower {
    /// Hears until the line is over, and says why it is.
    async fn hear_asks(self: Arc<Self>, mut ear: Ear) -> String {
        let under_way = Mutex::new(JoinSet::new());
        loop {
            let Numbered { number, says } = match ear.receive::<Numbered<Demand>>().await {
                Ok(Some(ask)) => ask,
                Ok(None) => return "the process that took over is gone".to_owned(),
                Err(error) => return format!("the process that took over was not understood: {error}"),
            };
            if let Demand::Failed { error } = says {
                let _ = self.words.send(LeaderWord::Failed(error)).await;
                continue;
            }
            let follower = self.clone();
            let mut under_way = under_way.lock();
            while under_way.try_join_next().is_some() {}
            under_way.spawn(async move {
                let answer = follower.do_asked(says).await;
                let _ = follower.mouth.lock().await.send(&Numbered { number, says: answer }).await;
            });
        }
    }

    async fn do_asked(&self, ask: Demand) -> Reply {
        match ask {
            Demand::Apply { changes } => {
                let read: Option<Vec<Change>> = changes.iter().map(super::words::ToldChange::read).collect();
                match read {
                    Some(changes) => self.apply(&changes).await,
                    None => Reply::Refused { why: "it does not know a change that it was told".to_owned() },
                }
            }
            Demand::Serving => {
                let (done, wait) = oneshot::channel();
                let _ = self.words.send(LeaderWord::Serving(done)).await;
                match wait.await {
                    Ok(()) => Reply::Done { exchanges: 0 },
                    Err(_) => Reply::Refused { why: "it is ending".to_owned() },
                }
            }
            Demand::Reload => match self.reload.follow_leader().await {
                Ok(()) => Reply::Done { exchanges: 0 },
                Err(why) => Reply::Refused { why },
            },
            Demand::ReopenLogs => {
                self.reload.reopen_logs();
                Reply::Done { exchanges: 0 }
            }
            Demand::Heard => Reply::Heard { sessions: write_heard(&self.reload.core.sessions.take_heard()) },
            Demand::Leave { grace_ms } => {
                self.parting.send_replace(Parting::Leave(Duration::from_millis(grace_ms)));
                Reply::Done { exchanges: 0 }
            }
            Demand::HandOver(_) | Demand::Failed { .. } => {
                Reply::Refused { why: "it has handed over already".to_owned() }
            }
        }
    }

    async fn apply(&self, changes: &[Change]) -> Reply {
        match self.reload.core.revocation.take_effect(changes, LEAVE).await {
            Ok((_, exchanges)) => Reply::Done { exchanges },
            Err(error) => Reply::NotGone { left: error.left() },
        }
    }
}
