//! The table `barred`: subjects that are kept out, as keyed hashes, whatever account they would come to. Of whom a
//! directory removed, until it brings them back; of whom an operator disabled, until an operator enables them.
//!
//! The rule it protects: neither word is undone by a new name of the IdP, another `provisioning`, or the end of the
//! account. Whom a bar is for stands beside the hash as long as the account does, and goes with it.

use portcullis_policy::{AccountId, OrgId, Timestamp};

use crate::StoreError;
use crate::engine::Tx;
use crate::sealed_keys::{BarKeys, Keyed};

/// The source of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The directory's: the person was removed.
    Removed,
    /// An operator's.
    Disabled,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Disabled => "disabled",
        }
    }
}

/// Bars every subject that is linked to an account.
pub(crate) async fn bar_subjects(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    word: Word,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into barred (organization, keyed, word, key, account, since, idp, issuer, subject) \
               select organization, keyed, $3, key, account, $4, idp, issuer, subject from link \
               where organization = $1 and account = $2 \
               on conflict (organization, keyed, word) do update \
               set account = excluded.account, since = excluded.since, idp = excluded.idp, \
                 issuer = excluded.issuer, subject = excluded.subject";
    tx.run(sql, &[org.into(), account.into(), word.text().into(), now.into()]).await.map(drop)
}

/// Tells whether a subject is barred by that word, whichever key the bar was made by.
pub(crate) async fn is_barred(
    tx: &mut Tx,
    org: OrgId,
    keyed: &Keyed,
    word: Word,
) -> Result<bool, StoreError> {
    for hash in keyed.all_hashes() {
        let sql = "select 1 from barred where organization = $1 and keyed = $2 and word = $3";
        if tx.row(sql, &[org.into(), hash.as_slice().into(), word.text().into()]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

// Asked by organization and account as they stand, SQLite takes the key for the better way and reads every bar of the
// organization; a plus keeps it from that (`plan.rs`).

/// Whoever barred the person of an account has brought them back.
pub(crate) async fn lift_bars(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    word: Word,
) -> Result<(), StoreError> {
    let sql = "delete from barred where +organization = $1 and account = $2 and word = $3";
    tx.run(sql, &[org.into(), account.into(), word.text().into()]).await.map(drop)
}

/// A subject was matched to an active user: that is the directory's word. An operator's stands.
pub(crate) async fn lift_removed(tx: &mut Tx, org: OrgId, keyed: &Keyed) -> Result<(), StoreError> {
    for hash in keyed.all_hashes() {
        let sql = "delete from barred where organization = $1 and keyed = $2 and word = 'removed'";
        tx.run(sql, &[org.into(), hash.as_slice().into()]).await?;
    }
    Ok(())
}

/// The account goes for good: what it is for is forgotten, and nobody could name it any more to enable it, so an
/// operator's word becomes the directory's, who can bring the person back.
pub(crate) async fn forget_links(tx: &mut Tx, org: OrgId, account: AccountId) -> Result<(), StoreError> {
    let args = [org.into(), account.into()];
    let sql = "insert into barred (organization, keyed, word, key, account, since) \
               select organization, keyed, 'removed', key, account, since from barred \
               where +organization = $1 and account = $2 and word = 'disabled' on conflict do nothing";
    tx.run(sql, &args).await?;
    tx.run("delete from barred where +organization = $1 and account = $2 and word = 'disabled'", &args)
        .await?;
    let sql = "update barred set idp = null, issuer = null, subject = null where +organization = $1 and account = $2";
    tx.run(sql, &args).await.map(drop)
}

/// Bars again, by another key, whoever is still known.
pub(crate) async fn bar_again(tx: &mut Tx, keys: &BarKeys) -> Result<(), StoreError> {
    bar_under(tx, keys, "where subject is not null", &[], None).await
}

/// Bars under the issuer of another IdP, name and issuer `to`, whoever is barred as a subject of the IdP `from` and
/// still known: an operator said that the subjects are the same there.
pub(crate) async fn bar_at(
    tx: &mut Tx,
    keys: &BarKeys,
    org: OrgId,
    from: &str,
    to: (&str, &str),
) -> Result<(), StoreError> {
    let condition = "where organization = $1 and idp = $2 and issuer <> $3 and subject is not null";
    bar_under(tx, keys, condition, &[org.into(), from.into(), to.1.into()], Some(to)).await
}

async fn bar_under(
    tx: &mut Tx,
    keys: &BarKeys,
    condition: &'static str,
    args: &[crate::engine::Arg<'_>],
    to: Option<(&str, &str)>,
) -> Result<(), StoreError> {
    let sql =
        format!("select organization, word, account, since, idp, issuer, subject from barred {condition}");
    // Made of texts of this file alone.
    for row in tx.rows(sqlx::AssertSqlSafe(sql), args).await? {
        let (idp, issuer) = to.unwrap_or((row.text(4)?, row.text(5)?));
        let keyed = keys.key_subject(issuer, row.text(6)?);
        let (key, hash) = keyed.written();
        let sql = "insert into barred (organization, keyed, word, key, account, since, idp, issuer, subject) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";
        let args = [
            row.int(0)?.into(),
            hash.into(),
            row.text(1)?.into(),
            key.into(),
            row.int(2)?.into(),
            row.int(3)?.into(),
            idp.into(),
            issuer.into(),
            row.text(6)?.into(),
        ];
        tx.run(sql, &args).await?;
    }
    Ok(())
}
