//! The table `assertion_key`: the keys that the signed header is signed by, sealed by the master key.
//!
//! The rule it protects: an application hears of a key before the first header by it. So which key signs follows from the
//! ages of all of them ([`AssertionKeyRow::since`]), and a new one is only ever added; who wants the others gone at
//! once says so, and then there is but one.

use portcullis_keys::{AssertionKey, Keyring, Random};
use portcullis_policy::{OrgId, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::engine::Tx;
use crate::log::{Origin, TxLog};
use crate::writer::Lane;
use crate::{Store, StoreError};

/// A key as it is kept, opened.
#[derive(Debug)]
pub struct AssertionKeyRow {
    /// The time since which applications can know it.
    pub since: Timestamp,
    /// The key.
    pub key: AssertionKey,
}

/// What becomes of the keys before a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerKeys {
    /// They stay, until [`Store::drop_assertion_keys`] names them.
    Stay,
    /// They are gone, with the same write.
    Go,
}

/// A row: the name of a key, since when it is there, and the key sealed.
type SealedRow = (String, Timestamp, Vec<u8>);

impl Store {
    /// Reads the keys, the oldest first.
    ///
    /// # Errors
    /// The database does not answer, or a key was not sealed by this master key.
    pub async fn read_assertion_keys(&self, keys: &Keyring) -> Result<Vec<AssertionKeyRow>, StoreError> {
        let rows = read_rows(&mut self.engine.snapshot().await?).await?;
        let open = |(kid, since, sealed): SealedRow| match AssertionKey::open(&kid, &sealed, keys) {
            Some(key) => Ok(AssertionKeyRow { since, key }),
            None => Err(StoreError::Unreadable {
                table: "assertion_key",
                row: kid,
                what: "the key, which another master key sealed",
            }),
        };
        rows.into_iter().map(open).collect()
    }

    /// Lists the names of the keys, and since when they are there; the oldest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_assertion_keys(&self) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let rows = read_rows(&mut self.engine.snapshot().await?).await?;
        Ok(rows.into_iter().map(|(kid, since, _)| (kid, since)).collect())
    }

    /// Adds a key.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn add_assertion_key(
        &self,
        key: &AssertionKey,
        former: FormerKeys,
        (keys, random): (&Keyring, &mut Random),
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<()>, StoreError> {
        let (sealed, kid, origin) = (key.seal(keys, random), key.kid().to_owned(), origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                // A clock that was ahead: the new one is the last all the same.
                let newest =
                    tx.one("select coalesce(max(since), 0) from assertion_key", &[]).await?.int(0)?;
                let since = match former {
                    FormerKeys::Stay => Timestamp(now.0.max(newest + 1)),
                    FormerKeys::Go => now,
                };
                let gone = match former {
                    FormerKeys::Stay => 0,
                    FormerKeys::Go => tx.run("delete from assertion_key", &[]).await?,
                };
                let sql = "insert into assertion_key (kid, sealed, since) values ($1, $2, $3)";
                tx.run(sql, &[kid.as_str().into(), sealed.as_slice().into(), since.into()]).await?;
                let mut log = TxLog::new(OrgId::DEPLOYMENT, None, &origin, now);
                log.did("assertion_key.added", &kid, None, json!({ "gone": gone }));
                log.seal(tx, ()).await
            })
        })
        .await
    }

    /// Removes keys that no application needs any more.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn drop_assertion_keys(&self, kids: Vec<String>) -> Result<(), StoreError> {
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                for kid in kids {
                    tx.run("delete from assertion_key where kid = $1", &[kid.as_str().into()]).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// The keys as another master key seals them. Those that the former one does not open are removed: whoever starts makes one.
pub(crate) struct SealedAgain(Vec<(String, Option<Vec<u8>>)>);

impl SealedAgain {
    pub(crate) async fn seal_rows(
        tx: &mut Tx,
        former: Option<&Keyring>,
        keys: &Keyring,
        random: &mut Random,
    ) -> Result<Self, StoreError> {
        let again = read_rows(tx).await?.into_iter().map(|(kid, _, sealed)| {
            let opened = former.and_then(|former| AssertionKey::open(&kid, &sealed, former));
            (kid, opened.map(|key| key.seal(keys, random)))
        });
        Ok(Self(again.collect()))
    }

    pub(crate) async fn write_rows(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for (kid, sealed) in &self.0 {
            let kid = kid.as_str().into();
            match sealed {
                Some(sealed) => {
                    let sql = "update assertion_key set sealed = $2 where kid = $1";
                    tx.run(sql, &[kid, sealed.as_slice().into()]).await?;
                }
                None => drop(tx.run("delete from assertion_key where kid = $1", &[kid]).await?),
            }
        }
        Ok(())
    }
}

async fn read_rows(tx: &mut Tx) -> Result<Vec<SealedRow>, StoreError> {
    let rows = tx.rows("select kid, since, sealed from assertion_key order by since, kid", &[]).await?;
    rows.iter()
        .map(|row| {
            Ok((row.text(0)?.to_owned(), row.at(1)?, row.maybe_bytes(2)?.unwrap_or_default().to_vec()))
        })
        .collect()
}
