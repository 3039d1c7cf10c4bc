//! The refusals that a reference number leads back to: a ring in the store, written in batches and never waited for.
//!
//! At most ten a second are kept; a flood is counted, not stored.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::Line;
use portcullis_store::{Refused, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many are kept a second.
const A_SECOND: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Where refusals are handed in.
#[derive(Clone)]
pub(crate) struct Refusals(mpsc::Sender<Refused>);

impl Refusals {
    /// Starts the task that writes them.
    pub(crate) fn start(core: &tokio::runtime::Handle, store: Arc<Store>) -> Self {
        let (send, receive) = mpsc::channel(A_SECOND);
        core.spawn(write(store, receive));
        Self(send)
    }

    /// Keeps one, unless this second's are full: the log has it in any case.
    pub(crate) fn keep(&self, reference: &str, record: String, at: Timestamp) {
        let refused = Refused { org: OrgId::ONLY, reference: reference.into(), at, record };
        if self.0.try_send(refused).is_err() {
            tracing::debug!(reference, "too many refusals this second: this one is in the log alone");
        }
    }

    /// Where the data plane hands in its lines that have a reference number; a full channel drops them.
    pub(crate) fn of_the_data_plane(&self, core: &tokio::runtime::Handle) -> mpsc::Sender<Line> {
        let (send, mut lines) = mpsc::channel::<Line>(A_SECOND);
        let refusals = self.clone();
        core.spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Some(reference) = &line.reference {
                    refusals.keep(reference, line.to_record(), line.time);
                }
            }
        });
        send
    }
}

async fn write(store: Arc<Store>, mut refusals: mpsc::Receiver<Refused>) {
    let mut batch = Vec::with_capacity(A_SECOND);
    let (mut since, mut kept) = (Instant::now(), 0);
    while refusals.recv_many(&mut batch, A_SECOND - kept).await > 0 {
        if since.elapsed() >= SECOND {
            (since, kept) = (Instant::now(), 0);
        }
        kept += batch.len();
        if let Err(error) = store.refused(std::mem::take(&mut batch)).await {
            tracing::warn!(%error, "refusals could not be kept: their reference numbers lead to the log alone");
        }
        if kept >= A_SECOND {
            tokio::time::sleep_until(since + SECOND).await;
            (since, kept) = (Instant::now(), 0);
        }
    }
}
