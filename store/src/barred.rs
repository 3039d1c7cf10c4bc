//! The table `barred`: subjects whose person was removed, as keyed hashes. They do not enter without a directory's
//! word until whoever removed the person brings them back.

use portcullis_policy::{AccountId, OrgId, Timestamp};

use crate::StoreError;
use crate::engine::Tx;

/// Bars every subject that is linked to an account.
pub(crate) async fn bar(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into barred (organization, keyed, account, since) \
               select organization, keyed, account, $3 from link where organization = $1 and account = $2 \
               on conflict (organization, keyed) do update \
               set account = excluded.account, since = excluded.since";
    tx.run(sql, &[org.into(), account.into(), now.into()]).await.map(drop)
}

/// Whether a subject is barred.
pub(crate) async fn is_barred(tx: &mut Tx, org: OrgId, keyed: &[u8; 32]) -> Result<bool, StoreError> {
    let sql = "select 1 from barred where organization = $1 and keyed = $2";
    Ok(tx.row(sql, &[org.into(), keyed.as_slice().into()]).await?.is_some())
}

/// The directory has brought the person of an account back.
pub(crate) async fn lift(tx: &mut Tx, org: OrgId, account: AccountId) -> Result<(), StoreError> {
    tx.run("delete from barred where organization = $1 and account = $2", &[org.into(), account.into()])
        .await
        .map(drop)
}

/// A subject was matched to an active user.
pub(crate) async fn lift_subject(tx: &mut Tx, org: OrgId, keyed: &[u8; 32]) -> Result<(), StoreError> {
    tx.run(
        "delete from barred where organization = $1 and keyed = $2",
        &[org.into(), keyed.as_slice().into()],
    )
    .await
    .map(drop)
}
