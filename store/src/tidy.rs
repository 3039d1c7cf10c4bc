//! What time takes away: sessions that are over, spent flows, tombstones, accounts nobody uses, old rows of the logs.
//! Nothing here decides about access: whatever is removed was worthless before. Cut into pieces that leave the writer
//! to others after a few milliseconds, however slow the disk is.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use portcullis_policy::{AccountId, OrgId, Timestamp};

use crate::engine::{Arg, SqlRow, Tx};
use crate::repeats::KEPT_MS;
use crate::writer::Lane;
use crate::{Store, StoreError, barred};

/// The times that things are kept, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A session nobody heard of for so long is over. Its row is kept an hour longer, since it may be behind: when
    /// clients were heard is written in batches.
    pub idle_ms: i64,
    /// A tombstone.
    pub tombstone_ms: i64,
    /// An account without a directory that nobody used.
    pub unused_ms: i64,
    /// Events: what changed.
    pub event_ms: i64,
    /// The audit: who did it.
    pub audit_ms: i64,
    /// Revocations: what it meant for access. Read by processes that are seconds behind.
    pub revocation_ms: i64,
    /// What came of operations that had an idempotency key.
    pub repeat_ms: i64,
    /// Refusals, by their reference numbers; never more than ten thousand.
    pub refusal_ms: i64,
}

impl Retention {
    /// 30 days for tombstones and refusals, 90 for unused accounts and events, 400 for the audit, 7 for revocations.
    /// `docs/operating.md` has the table.
    pub fn new(idle_ms: i64) -> Self {
        Self {
            idle_ms,
            tombstone_ms: 30 * DAY_MS,
            unused_ms: 90 * DAY_MS,
            event_ms: 90 * DAY_MS,
            audit_ms: 400 * DAY_MS,
            revocation_ms: 7 * DAY_MS,
            repeat_ms: KEPT_MS,
            refusal_ms: 30 * DAY_MS,
        }
    }
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Rows a piece removes at most.
const PIECE: usize = 200;
/// The longest a piece works, but for the row it is at: then the writer is free for others.
const SPAN: Duration = Duration::from_millis(5);
/// Rows one call looks for of each kind; the next call finds the rest.
const FOUND: i64 = 50_000;
/// Rows of a log that are looked at together.
const LOOKED_AT: i64 = 1_000;

impl Store {
    /// Removes what is past keeping and says how many rows that were. To be called now and then. What to remove is
    /// looked for beside the writer, and looked at again by it.
    ///
    /// # Errors
    /// What was removed until then stays removed.
    pub async fn tidy(&self, now: Timestamp, kept: Retention) -> Result<u64, StoreError> {
        let before = |ms: i64| now.plus_ms(ms.saturating_neg());
        let unheard = before(kept.idle_ms.saturating_add(HOUR_MS));
        Ok(self.tidy_sessions(now, unheard).await?
            + self.tidy_flows(now).await?
            + self.tidy_tombstones(before(kept.tombstone_ms)).await?
            + self.tidy_accounts(before(kept.unused_ms)).await?
            + self.tidy_log(&EVENTS, before(kept.event_ms)).await?
            + self.tidy_log(&AUDIT, before(kept.audit_ms)).await?
            + self.tidy_log(&REVOCATIONS, before(kept.revocation_ms)).await?
            + self.tidy_repeats(before(kept.repeat_ms)).await?
            + self.tidy_log(&REFUSALS, before(kept.refusal_ms)).await?)
    }

    async fn tidy_sessions(&self, now: Timestamp, unheard: Timestamp) -> Result<u64, StoreError> {
        let sql = "select hash from session where expires <= $1 or seen <= $2 limit $3";
        let found = self.select_rows(sql, &[now.into(), unheard.into(), FOUND.into()]).await?;
        let mut hashes = Vec::with_capacity(found.len());
        for row in &found {
            hashes.push(row.maybe_bytes(0)?.unwrap_or_default().to_vec());
        }
        self.in_pieces(hashes, move |tx, hash| {
            Box::pin(async move {
                let sql = "delete from session where hash = $1 and (expires <= $2 or seen <= $3)";
                tx.run(sql, &[hash.as_slice().into(), now.into(), unheard.into()]).await
            })
        })
        .await
    }

    async fn tidy_flows(&self, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "select organization, id from flow where until <= $1 limit $2";
        let found = self.select_rows(sql, &[now.into(), FOUND.into()]).await?;
        let mut flows = Vec::with_capacity(found.len());
        for row in &found {
            flows.push((row.int(0)?, row.maybe_bytes(1)?.unwrap_or_default().to_vec()));
        }
        self.in_pieces(flows, |tx, (org, id)| {
            Box::pin(async move {
                let sql = "delete from flow where organization = $1 and id = $2";
                tx.run(sql, &[(*org).into(), id.as_slice().into()]).await
            })
        })
        .await
    }

    async fn tidy_repeats(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "select organization, directory, key from repeat where at <= $1 limit $2";
        let found = self.select_rows(sql, &[before.into(), FOUND.into()]).await?;
        let mut keys = Vec::with_capacity(found.len());
        for row in &found {
            keys.push((row.int(0)?, row.int(1)?, row.maybe_bytes(2)?.unwrap_or_default().to_vec()));
        }
        self.in_pieces(keys, move |tx, (org, directory, key)| {
            Box::pin(async move {
                let sql =
                    "delete from repeat where organization = $1 and directory = $2 and key = $3 and at <= $4";
                tx.run(sql, &[(*org).into(), (*directory).into(), key.as_slice().into(), before.into()]).await
            })
        })
        .await
    }

    /// The person goes with the account; what bars them stays, as a hash.
    async fn tidy_tombstones(&self, deleted: Timestamp) -> Result<u64, StoreError> {
        let sql = "select organization, directory, rid, account from resource where deleted <= $1 limit $2";
        let found = self.select_rows(sql, &[deleted.into(), FOUND.into()]).await?;
        let mut tombstones = Vec::with_capacity(found.len());
        for row in &found {
            tombstones.push([row.int(0)?, row.int(1)?, row.int(2)?, row.maybe_int(3)?.unwrap_or_default()]);
        }
        self.in_pieces(tombstones, move |tx, [org, directory, rid, account]| {
            Box::pin(async move {
                let sql = "delete from resource \
                           where organization = $1 and directory = $2 and rid = $3 and deleted <= $4";
                let args = [(*org).into(), (*directory).into(), (*rid).into(), deleted.into()];
                let shredded = tx.run(sql, &args).await?;
                if shredded > 0 {
                    barred::forget_links(tx, read_organization(*org)?, AccountId(*account)).await?;
                    let sql = "delete from account where organization = $1 and id = $2";
                    tx.run(sql, &[(*org).into(), (*account).into()]).await?;
                }
                Ok(shredded)
            })
        })
        .await
    }

    /// Removes accounts that nobody uses any more. Whom an operator disabled stays: the row is what keeps them out.
    async fn tidy_accounts(&self, used: Timestamp) -> Result<u64, StoreError> {
        let sql = "select organization, id from account \
                   where directory is null and disabled = 0 and stable_id is null and used <= $1 limit $2";
        let found = self.select_rows(sql, &[used.into(), FOUND.into()]).await?;
        let mut accounts = Vec::with_capacity(found.len());
        for row in &found {
            accounts.push([row.int(0)?, row.int(1)?]);
        }
        self.in_pieces(accounts, move |tx, [org, id]| {
            Box::pin(async move {
                let sql = "delete from account where organization = $1 and id = $2 and directory is null \
                             and disabled = 0 and stable_id is null and used <= $3 and not exists (select 1 from session s \
                               where s.organization = account.organization and s.account = account.id)";
                tx.run(sql, &[(*org).into(), (*id).into(), used.into()]).await
            })
        })
        .await
    }

    /// Rows of a log from its front, as long as they are old.
    async fn tidy_log(&self, log: &'static OldRows, until: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        for _ in 0..FOUND / LOOKED_AT {
            let mut old = Vec::new();
            for row in self.select_rows(log.oldest, &[LOOKED_AT.into()]).await? {
                if row.at(1)? > until {
                    break;
                }
                old.push(row.int(0)?);
            }
            old.dedup();
            if old.is_empty() {
                break;
            }
            let remove = log.remove;
            removed += self
                .in_pieces(old, move |tx, number| {
                    Box::pin(async move { tx.run(remove, &[(*number).into()]).await })
                })
                .await?;
        }
        Ok(removed)
    }

    async fn select_rows(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<SqlRow>, StoreError> {
        self.engine.listing().await?.rows(sql, args).await
    }

    /// Removes each of `keys`, a piece in a transaction.
    async fn in_pieces<K: Clone + Send + Sync + 'static>(
        &self,
        keys: Vec<K>,
        remove: impl for<'t> Fn(&'t mut Tx, &'t K) -> BoxFuture<'t, Result<u64, StoreError>>
        + Copy
        + Send
        + Sync
        + 'static,
    ) -> Result<u64, StoreError> {
        let (mut removed, mut done) = (0, 0);
        while done < keys.len() {
            let piece: Vec<K> = keys.iter().skip(done).take(PIECE).cloned().collect();
            let (worked, rows) = self
                .write_in(Lane::Ordinary, move |tx| {
                    Box::pin(async move {
                        let began = Instant::now();
                        let (mut worked, mut rows) = (0, 0);
                        for key in &piece {
                            rows += remove(tx, key).await?;
                            worked += 1;
                            if began.elapsed() >= SPAN {
                                break;
                            }
                        }
                        Ok((worked, rows))
                    })
                })
                .await?;
            done += worked;
            removed += rows;
        }
        Ok(removed)
    }
}

fn read_organization(number: i64) -> Result<OrgId, StoreError> {
    u32::try_from(number).map(OrgId).map_err(|_| StoreError::Unreadable {
        table: "resource",
        row: number.to_string(),
        what: "the organization",
    })
}

/// A table in the order of time, of which the front goes.
struct OldRows {
    /// The numbers and the times of the oldest rows.
    oldest: &'static str,
    remove: &'static str,
}

const EVENTS: OldRows = OldRows {
    oldest: "select seq, at from event order by seq, n limit $1",
    remove: "delete from event where seq = $1",
};
const AUDIT: OldRows = OldRows {
    oldest: "select seq, at from audit order by seq, n limit $1",
    remove: "delete from audit where seq = $1",
};
const REVOCATIONS: OldRows = OldRows {
    oldest: "select seq, at from revocation order by seq, n limit $1",
    remove: "delete from revocation where seq = $1",
};
const REFUSALS: OldRows = OldRows {
    oldest: "select n, at from refusal order by n limit $1",
    remove: "delete from refusal where n = $1",
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use portcullis_scim::Schemas;

    use super::*;

    #[tokio::test]
    async fn others_write_between_two_pieces_however_slow_a_row_is() {
        static GONE: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("portcullis.db"), Arc::new(Schemas::core_schemas()))
            .await
            .unwrap();
        let tidied = store.in_pieces((0..20_i64).collect(), |_, _| {
            Box::pin(async {
                let began = Instant::now();
                while began.elapsed() < SPAN {
                    std::hint::spin_loop();
                }
                GONE.fetch_add(1, Ordering::Relaxed);
                Ok(1)
            })
        });
        let other = async {
            let write = store.write_in(Lane::Ordinary, |tx| Box::pin(crate::head::next_seq(tx)));
            write.await.unwrap();
            GONE.load(Ordering::Relaxed)
        };
        let (tidied, gone_before) = tokio::join!(tidied, other);
        assert_eq!(tidied.unwrap(), 20);
        assert!(gone_before <= 3, "{gone_before} of 20 rows were removed before anybody else could write");
    }
}
