//! The table `refusal`: a ring of the last refusals, found by the reference number that the browser was shown. Written
//! in batches and without sync: a crash may cost the last second of it.

use portcullis_policy::{OrgId, Timestamp};

use crate::engine::Arg;
use crate::writer::Lane;
use crate::{Store, StoreError};

/// The number of refusals that are kept.
const KEPT: i64 = 10_000;

/// One refusal, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRefusal {
    /// The organization.
    pub org: OrgId,
    /// The reference number: `7Q2M-X4KD`.
    pub reference: String,
    /// The time of the refusal.
    pub at: Timestamp,
    /// The whole record, JSON; never a secret.
    pub record: String,
}

impl Store {
    /// Adds refusals to the ring; the oldest leave it.
    ///
    /// # Errors
    /// Nothing was added.
    pub async fn keep_refusals(&self, refusals: Vec<LoggedRefusal>) -> Result<(), StoreError> {
        if refusals.is_empty() {
            return Ok(());
        }
        self.write_in(Lane::Unsynced, move |tx| {
            Box::pin(async move {
                let last = tx.one("select coalesce(max(n), 0) from refusal", &[]).await?.int(0)?;
                let rows: Vec<Vec<Arg<'_>>> = refusals
                    .iter()
                    .zip(last + 1..)
                    .map(|(refused, n)| {
                        let LoggedRefusal { org, reference, at, record } = refused;
                        vec![n.into(), (*org).into(), reference.into(), (*at).into(), record.into()]
                    })
                    .collect();
                let newest = last + i64::try_from(rows.len()).unwrap_or(KEPT);
                tx.insert_rows("insert into refusal (n, organization, reference, at, record)", "", rows)
                    .await?;
                tx.run("delete from refusal where n <= $1", &[(newest - KEPT).into()]).await?;
                Ok(())
            })
        })
        .await
    }

    /// The refusal with that reference number, the newest where it was drawn twice.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find_refusal(&self, reference: &str) -> Result<Option<LoggedRefusal>, StoreError> {
        let mut tx = self.engine.listing().await?;
        let sql = "select organization, reference, at, record from refusal where reference = $1 \
                   order by n desc limit 1";
        let Some(row) = tx.row(sql, &[reference.into()]).await? else { return Ok(None) };
        Ok(Some(LoggedRefusal {
            org: OrgId(u32::try_from(row.int(0)?).unwrap_or_default()),
            reference: row.text(1)?.to_owned(),
            at: row.at(2)?,
            record: row.text(3)?.to_owned(),
        }))
    }
}
