//! The table `search_schema`, and the rows of `attr` where the extensions that a configuration declares have changed.
//!
//! The rule it protects: whoever searches finds by the schemas that are in force, and by no row of former ones. The rows
//! are made anew in pieces, each a transaction of its own; one that did not get to its end begins again at the next
//! start.

use std::sync::Arc;

use portcullis_keys::sha256;
use portcullis_scim::{ResourceKind, Schemas};

use crate::attr::{self, PageEnd};
use crate::engine::Tx;
use crate::writer::Lane;
use crate::{Store, StoreError};

impl Store {
    /// Makes the search rows of every live user agree with the schemas, where they were made by others; tells after each
    /// piece how many users are done. `None` where nothing had changed. Nothing may search or write meanwhile.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged. What was done stays, and the next call begins anew.
    pub async fn settle_search(&self, mut tell: impl FnMut(u64)) -> Result<Option<u64>, StoreError> {
        let due = sha256(self.schemas.search_outline().as_bytes());
        let mut tx = self.engine.snapshot().await?;
        let known = known_digest(&mut tx).await?;
        drop(tx);
        if known == due {
            return Ok(None);
        }
        self.write_in(Lane::Ordinary, |tx| Box::pin(remember_digest(tx, &[]))).await?;
        let (mut last, mut done) = (PageEnd::default(), 0);
        loop {
            let schemas = self.schemas.clone();
            let piece = self
                .write_in(Lane::Ordinary, move |tx| {
                    Box::pin(async move { fill_piece(tx, schemas, last).await })
                })
                .await?;
            let Some((end, users)) = piece else { break };
            last = end;
            done += users;
            tell(done);
        }
        self.write_in(Lane::Ordinary, move |tx| Box::pin(async move { remember_digest(tx, &due).await }))
            .await?;
        Ok(Some(done))
    }
}

/// One piece: where it ended, and how many users it had. `None` behind the last one.
async fn fill_piece(
    tx: &mut Tx,
    schemas: Arc<Schemas>,
    mut last: PageEnd,
) -> Result<Option<(PageEnd, u64)>, StoreError> {
    let page = attr::next_page(tx, &schemas, &mut last).await?;
    if page.is_empty() {
        return Ok(None);
    }
    let mut users = 0;
    for (place, rid, resource) in page {
        if resource.kind() == ResourceKind::User {
            attr::settle_attributes(tx, place, rid, &schemas, &resource).await?;
            users += 1;
        }
    }
    Ok(Some((last, users)))
}

/// The digest of the declared extensions that rows were made by; empty while they are being made anew.
pub(crate) async fn known_digest(tx: &mut Tx) -> Result<Vec<u8>, StoreError> {
    let row = tx.row("select digest from search_schema where one = 1", &[]).await?;
    row.map_or_else(|| Ok(sha256(b"").to_vec()), |row| Ok(row.maybe_bytes(0)?.unwrap_or_default().to_vec()))
}

async fn remember_digest(tx: &mut Tx, digest: &[u8]) -> Result<(), StoreError> {
    let sql = "insert into search_schema (one, digest) values (1, $1) \
               on conflict (one) do update set digest = excluded.digest";
    tx.run(sql, &[digest.into()]).await.map(drop)
}
