//! The side of a process that was replaced: it takes nothing new, carries what has begun to its end, and does what the
//! process that leads asks of it. Without one that leads it ends at once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_policy::Change;
use portcullis_proxy::Departure;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::line::{Ear, Line, Mouth};
use super::words::{Answer, Ask, Numbered, write_heard};
use crate::reload::Reload;
use crate::revocation::LEAVE;

/// What becomes of a process that has handed over.
#[derive(Debug)]
pub(super) enum Word {
    /// The other one serves; the answer is given once what this says is sent.
    Serving(oneshot::Sender<()>),
    /// The other one has not come to serve, and says why.
    Failed(String),
    /// The other one is gone, or is not understood.
    Gone(String),
}

/// Hears what the process that leads asks, and does it, several things at once.
pub(super) async fn follow_leader(
    line: Line,
    reload: Reload,
    departure: watch::Sender<Departure>,
    words: mpsc::Sender<Word>,
) {
    let (ear, mouth) = line.split();
    let follower = Arc::new(Follower { reload, departure, words, mouth: mouth.into() });
    let why = follower.clone().hear_asks(ear).await;
    let _ = follower.words.send(Word::Gone(why)).await; // where nobody hears it, the process is ending
}

struct Follower {
    reload: Reload,
    departure: watch::Sender<Departure>,
    words: mpsc::Sender<Word>,
    mouth: tokio::sync::Mutex<Mouth>,
}

impl Follower {
    /// Hears until the line is over, and says why it is.
    async fn hear_asks(self: Arc<Self>, mut ear: Ear) -> String {
        let under_way = Mutex::new(JoinSet::new());
        loop {
            let Numbered { number, says } = match ear.receive::<Numbered<Ask>>().await {
                Ok(Some(ask)) => ask,
                Ok(None) => return "the process that took over is gone".to_owned(),
                Err(error) => return format!("the process that took over was not understood: {error}"),
            };
            if let Ask::Failed { error } = says {
                let _ = self.words.send(Word::Failed(error)).await;
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

    async fn do_asked(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Apply { changes } => {
                let read: Option<Vec<Change>> = changes.iter().map(super::words::ToldChange::read).collect();
                match read {
                    Some(changes) => self.apply(&changes).await,
                    None => Answer::Refused { why: "it does not know a change that it was told".to_owned() },
                }
            }
            Ask::Serving => {
                let (done, wait) = oneshot::channel();
                let _ = self.words.send(Word::Serving(done)).await;
                match wait.await {
                    Ok(()) => Answer::Done { exchanges: 0 },
                    Err(_) => Answer::Refused { why: "it is ending".to_owned() },
                }
            }
            Ask::Reload => match self.reload.follow_leader().await {
                Ok(()) => Answer::Done { exchanges: 0 },
                Err(why) => Answer::Refused { why },
            },
            Ask::Heard => Answer::Heard { sessions: write_heard(&self.reload.core.sessions.take_heard()) },
            Ask::Leave { grace_ms } => {
                self.departure.send_replace(Departure::Leave(Duration::from_millis(grace_ms)));
                Answer::Done { exchanges: 0 }
            }
            Ask::HandOver(_) | Ask::Failed { .. } => {
                Answer::Refused { why: "it has handed over already".to_owned() }
            }
        }
    }

    async fn apply(&self, changes: &[Change]) -> Answer {
        match self.reload.core.revocation.take_effect(changes, LEAVE).await {
            Ok((_, exchanges)) => Answer::Done { exchanges },
            Err(error) => Answer::NotGone { left: error.left() },
        }
    }
}
