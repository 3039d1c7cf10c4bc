//! What time takes away: sessions that are over, spent flows, tombstones, accounts nobody uses. Nothing here decides
//! about access: whatever is removed was worthless before. Cut into pieces that leave the writer to others.

use portcullis_policy::Timestamp;

use crate::writer::Lane;
use crate::{Store, StoreError};

/// How long things are kept, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A session nobody heard of for so long is over. Its row is kept an hour longer, since it may be behind: when
    /// clients were heard is written in batches.
    pub idle_ms: i64,
    /// A tombstone.
    pub tombstone_ms: i64,
    /// An account without a directory that nobody used.
    pub unused_ms: i64,
}

impl Retention {
    /// 30 days for tombstones, 90 for unused accounts.
    pub fn new(idle_ms: i64) -> Self {
        Self { idle_ms, tombstone_ms: 30 * DAY_MS, unused_ms: 90 * DAY_MS }
    }
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Rows a piece removes at most.
const PIECE: i64 = 200;

impl Store {
    /// Removes what is past keeping and says how many rows that were. To be called now and then.
    ///
    /// # Errors
    /// What was removed until then stays removed.
    pub async fn tidy(&self, now: Timestamp, kept: Retention) -> Result<u64, StoreError> {
        let before = |ms: i64| now.plus_ms(-ms);
        let over = "select hash from session where expires <= $1 or seen <= $2 limit $3";
        let over = format!("delete from session where hash in ({over})");
        let mut removed =
            self.in_pieces(over, vec![now, before(kept.idle_ms.saturating_add(HOUR_MS))]).await?;
        let spent = "select organization, id from flow where until <= $1 limit $2";
        let spent = format!("delete from flow where (organization, id) in ({spent})");
        removed += self.in_pieces(spent, vec![now]).await?;
        // The account goes first, with its sessions; its rows of `barred` stay, as hashes.
        let shredded = "select organization, account from resource where deleted <= $1 limit $2";
        let accounts = format!("delete from account where (organization, id) in ({shredded})");
        removed += self.in_pieces(accounts, vec![before(kept.tombstone_ms)]).await?;
        let tombs = "select organization, directory, rid from resource where deleted <= $1 limit $2";
        let tombs = format!("delete from resource where (organization, directory, rid) in ({tombs})");
        removed += self.in_pieces(tombs, vec![before(kept.tombstone_ms)]).await?;
        // Whom an operator disabled stays: the row is what keeps them out.
        let unused = "select organization, id from account a where a.directory is null and a.disabled = 0 \
                      and a.active = 1 and a.used <= $1 and not exists (select 1 from session s \
                        where s.organization = a.organization and s.account = a.id) limit $2";
        let unused = format!("delete from account where (organization, id) in ({unused})");
        removed += self.in_pieces(unused, vec![before(kept.unused_ms)]).await?;
        Ok(removed)
    }

    /// Runs a removal that ends with `limit`, until a piece finds less than its limit.
    async fn in_pieces(&self, sql: String, times: Vec<Timestamp>) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let (sql, times) = (sql.clone(), times.clone());
            let piece = self
                .write_in(Lane::Ordinary, move |tx| {
                    Box::pin(async move {
                        let mut args: Vec<_> = times.into_iter().map(Into::into).collect();
                        args.push(PIECE.into());
                        // Made of texts of this file alone.
                        tx.run(sqlx::AssertSqlSafe(sql), &args).await
                    })
                })
                .await?;
            removed += piece;
            if piece < PIECE.unsigned_abs() {
                return Ok(removed);
            }
        }
    }
}
