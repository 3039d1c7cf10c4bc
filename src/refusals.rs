//! The refusals that a reference number leads back to: a ring in the store, written in batches and never waited for.
//!
//! At most ten a second are kept of people whom we know, or whom an IdP or the store refused, and two of strangers: a
//! flood is counted, not stored, and takes no record from anybody else.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::Line;
use portcullis_store::{LoggedRefusal, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most refusals that are kept a second, but for those that anybody can cause.
const A_SECOND: usize = 10;
/// The most refusals a second that anybody can cause and that are kept.
const OF_STRANGERS: usize = 2;
const SECOND: Duration = Duration::from_secs(1);
/// The most lines of the data plane that wait to be sorted: a flood of strangers' must leave no room unread for long.
const CROWD: usize = 256;

/// The origin of a refusal: a stranger, or somebody known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Somebody's who is signed in, or whom an IdP or the store did not let in.
    Somebodys,
    /// One that anybody can cause.
    Anybodys,
}

/// The entrance for refusals that are to be kept.
#[derive(Clone)]
pub(crate) struct Refusals {
    somebodys: mpsc::Sender<LoggedRefusal>,
    anybodys: mpsc::Sender<LoggedRefusal>,
}

impl Refusals {
    /// Starts the tasks that write them.
    pub(crate) fn start(core: &tokio::runtime::Handle, store: Arc<Store>) -> Self {
        let start = |most| {
            let (send, receive) = mpsc::channel(most);
            core.spawn(write_refusals(store.clone(), receive, most));
            send
        };
        Self { somebodys: start(A_SECOND), anybodys: start(OF_STRANGERS) }
    }

    /// Keeps one, unless this second's are full: the log has it in any case.
    pub(crate) fn keep_refusal(&self, reference: &str, record: String, at: Timestamp, whose: Whose) {
        let refused = LoggedRefusal { org: OrgId::ONLY, reference: reference.into(), at, record };
        if self.queue_of(whose).try_send(refused).is_err() {
            tracing::debug!(reference, "too many refusals this second: this one is in the log alone");
        }
    }

    fn queue_of(&self, whose: Whose) -> &mpsc::Sender<LoggedRefusal> {
        match whose {
            Whose::Somebodys => &self.somebodys,
            Whose::Anybodys => &self.anybodys,
        }
    }

    /// Makes the channel into which the data plane hands its lines that have a reference number; a full channel drops
    /// them.
    pub(crate) fn of_the_data_plane(&self, core: &tokio::runtime::Handle) -> mpsc::Sender<Line> {
        let (send, mut lines) = mpsc::channel::<Line>(CROWD);
        let refusals = self.clone();
        core.spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Some(reference) = &line.reference {
                    let whose =
                        if line.who.is_some() || line.is_known { Whose::Somebodys } else { Whose::Anybodys };
                    // No record is written that would not be kept.
                    if refusals.queue_of(whose).capacity() > 0 {
                        refusals.keep_refusal(reference, line.to_record(), line.time, whose);
                    }
                }
            }
        });
        send
    }
}

async fn write_refusals(store: Arc<Store>, mut refusals: mpsc::Receiver<LoggedRefusal>, most: usize) {
    let mut batch = Vec::with_capacity(most);
    let (mut since, mut kept) = (Instant::now(), 0);
    while refusals.recv_many(&mut batch, most - kept).await > 0 {
        if since.elapsed() >= SECOND {
            (since, kept) = (Instant::now(), 0);
        }
        kept += batch.len();
        if let Err(error) = store.keep_refusals(std::mem::take(&mut batch)).await {
            tracing::warn!(%error, "refusals could not be kept: their reference numbers lead to the log alone");
        }
        if kept >= most {
            tokio::time::sleep_until(since + SECOND).await;
            (since, kept) = (Instant::now(), 0);
        }
    }
}
