//! The table `link`: which subject at which IdP is which account. One subject has one account, and an account has one
//! subject, by constraint; a second one only an operator makes, in another `place`.

use portcullis_policy::{AccountId, OrgId, Timestamp};

use crate::StoreError;
use crate::account::Account;
use crate::engine::Tx;

/// A subject at an IdP, as it was verified.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) org: OrgId,
    pub(crate) idp: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// The keyed hash of the three, for what must not keep them.
    pub(crate) keyed: [u8; 32],
}

/// The account a subject is linked to.
pub(crate) async fn find(tx: &mut Tx, key: &Key) -> Result<Option<Account>, StoreError> {
    let sql = "select a.id, a.generation, a.directory, a.resource, a.active, a.disabled, a.told from link l \
               join account a on a.organization = l.organization and a.id = l.account \
               where l.organization = $1 and l.idp = $2 and l.issuer = $3 and l.subject = $4";
    let args = [key.org.into(), (&key.idp).into(), (&key.issuer).into(), (&key.subject).into()];
    tx.row(sql, &args).await?.as_ref().map(Account::read).transpose()
}

/// Whether any subject is linked to the account.
pub(crate) async fn is_taken(tx: &mut Tx, org: OrgId, account: AccountId) -> Result<bool, StoreError> {
    let sql = "select 1 from link where organization = $1 and account = $2";
    Ok(tx.row(sql, &[org.into(), account.into()]).await?.is_some())
}

/// Links a subject to an account. A subject that was linked to another moves.
pub(crate) async fn make(
    tx: &mut Tx,
    key: &Key,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into link (organization, idp, issuer, subject, account, place, keyed, created) \
               values ($1, $2, $3, $4, $5, 0, $6, $7) \
               on conflict (organization, idp, issuer, subject) do update \
               set account = excluded.account, place = 0, created = excluded.created";
    let args = [
        key.org.into(),
        (&key.idp).into(),
        (&key.issuer).into(),
        (&key.subject).into(),
        account.into(),
        key.keyed.as_slice().into(),
        now.into(),
    ];
    tx.run(sql, &args).await.map(drop)
}

/// Removes every link of an account. Returns how many.
pub(crate) async fn remove(tx: &mut Tx, org: OrgId, account: AccountId) -> Result<u64, StoreError> {
    tx.run("delete from link where organization = $1 and account = $2", &[org.into(), account.into()]).await
}
