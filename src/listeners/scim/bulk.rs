//! Bulk on the one road: piece by piece, each committed and enforced before the next begins. What the operations mean and
//! in which order they may go is said by the crate `scim`.
//!
//! The rule it protects: an operation of a Bulk is admitted, committed and enforced as it would be alone, and a removal from
//! elsewhere overtakes it between two commits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use portcullis_scim::{Bulk, BulkWrite, Outcome, ScimError};
use portcullis_store::Repeat;
use tokio::sync::SemaphorePermit;

use super::write::REPEAT;
use super::{Caller, ScimListener};

/// The most Bulks that are read and carried out at a time: each holds some megabytes.
pub(super) const BULKS_AT_ONCE: usize = 4;
/// The time that a Bulk waits for others.
const TURN: Duration = Duration::from_secs(20);

impl ScimListener {
    /// Waits until a Bulk may be read.
    pub(super) async fn wait_for_bulks(&self) -> Result<SemaphorePermit<'_>, ScimError> {
        match tokio::time::timeout(TURN, self.bulks.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ScimError::Unavailable { retry_after: REPEAT }),
        }
    }

    /// Carries out a Bulk. The token is looked at again before each piece: it may be taken away meanwhile.
    pub(super) async fn carry_out_bulk(
        self: &Arc<Self>,
        bulk: Bulk,
        caller: &Caller,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Outcome, ScimError> {
        let began = Instant::now();
        let mut bulk = bulk;
        loop {
            let (left, piece) = self.next_piece(bulk).await?;
            bulk = left;
            if piece.is_empty() {
                break;
            }
            let received = Instant::now();
            let mut places = Vec::with_capacity(piece.len());
            let answers = match self.admit_now(headers, address, &caller.request) {
                Ok(caller) => {
                    let mut writes = Vec::with_capacity(piece.len());
                    for BulkWrite { place, write, repeat } in piece {
                        self.core.metrics.count_rewrites(&write.rewrites);
                        let repeat = repeat.map(|repeat| Repeat::new(&caller.admitted.hash, &repeat));
                        places.push(place);
                        writes.push((write, repeat));
                    }
                    self.carry_out_writes(writes, &caller, received, false).await
                }
                Err(refusal) => {
                    places.extend(piece.iter().map(|write| write.place));
                    vec![Err(refusal); places.len()]
                }
            };
            for (place, answer) in places.into_iter().zip(answers) {
                bulk.settle(place, answer);
            }
        }
        let results = bulk.into_results();
        let (operations, errors) = results.counts();
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            operations, errors, ms, actor = %caller.actor, client = caller.client.as_deref(), request = %caller.request,
            "SCIM: a Bulk was carried out: {errors} of {operations} operations are errors"
        );
        Ok(Outcome::Bulk(results))
    }

    /// Reads the next operations, beside the threads that serve.
    async fn next_piece(&self, mut bulk: Bulk) -> Result<(Bulk, Vec<BulkWrite>), ScimError> {
        let schemas = self.schemas.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let piece = bulk.next_piece(&schemas);
            (bulk, piece)
        });
        reading.await.map_err(|error| {
            tracing::error!(%error, "the operations of a Bulk could not be read: the client gets 500");
            ScimError::Internal
        })
    }
}
