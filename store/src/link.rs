//! The table `link`: which subject of which issuer is which account. One subject has one account, and an account has one
//! subject, by constraint; a second one only an operator makes, in another `place`.
//!
//! The IdP's name in the configuration is no part of the key: it stands beside it for people. So a new name signs in the
//! same people, and leaves out whom it left out before.

use std::path::Path;

use portcullis_policy::{AccountId, OrgId, Timestamp};

use crate::account::AccountRow;
use crate::engine::{Engine, Tx};
use crate::sealed_keys::{BarKeys, Keyed};
use crate::{Store, StoreError};

/// A subject, as it was verified.
#[derive(Clone, Debug)]
pub(crate) struct LinkKey {
    pub(crate) org: OrgId,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// The name of the IdP: not part of the key.
    pub(crate) idp: String,
    /// The keyed hashes of issuer and subject, for what must not keep them.
    pub(crate) keyed: Keyed,
}

/// Through which IdP an account is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Through {
    pub(crate) idp: String,
    pub(crate) issuer: String,
}

/// The account a subject is linked to.
pub(crate) async fn find_linked(tx: &mut Tx, key: &LinkKey) -> Result<Option<AccountRow>, StoreError> {
    let sql = "select a.id, a.generation, a.directory, a.resource, a.active, a.disabled, a.told from link l \
               join account a on a.organization = l.organization and a.id = l.account \
               where l.organization = $1 and l.issuer = $2 and l.subject = $3";
    let args = [key.org.into(), (&key.issuer).into(), (&key.subject).into()];
    tx.row(sql, &args).await?.as_ref().map(AccountRow::read_row).transpose()
}

/// Through which IdPs subjects are linked to an account.
pub(crate) async fn linked_through(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
) -> Result<Vec<Through>, StoreError> {
    let sql = "select idp, issuer from link where organization = $1 and account = $2";
    let rows = tx.rows(sql, &[org.into(), account.into()]).await?;
    rows.iter()
        .map(|row| Ok(Through { idp: row.text(0)?.to_owned(), issuer: row.text(1)?.to_owned() }))
        .collect()
}

impl Store {
    /// Tells whether a subject is linked to a person of a directory: then a login needs no claim to match them by. A
    /// hint; the login itself looks again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn is_linked(&self, org: OrgId, issuer: &str, subject: &str) -> Result<bool, StoreError> {
        let sql = "select a.resource from link l \
                   join account a on a.organization = l.organization and a.id = l.account \
                   where l.organization = $1 and l.issuer = $2 and l.subject = $3 \
                     and a.resource is not null";
        let args = [org.into(), issuer.into(), subject.into()];
        Ok(self.engine.snapshot().await?.row(sql, &args).await?.is_some())
    }
}

/// Links a subject to an account. A subject that was linked to another moves.
pub(crate) async fn make_link(
    tx: &mut Tx,
    key: &LinkKey,
    account: AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into link (organization, issuer, subject, idp, account, place, keyed, key, created) \
               values ($1, $2, $3, $4, $5, 0, $6, $7, $8) \
               on conflict (organization, issuer, subject) do update \
               set idp = excluded.idp, account = excluded.account, place = 0, keyed = excluded.keyed, \
                 key = excluded.key, created = excluded.created";
    let (number, hash) = key.keyed.written();
    let args = [
        key.org.into(),
        (&key.issuer).into(),
        (&key.subject).into(),
        (&key.idp).into(),
        account.into(),
        hash.into(),
        number.into(),
        now.into(),
    ];
    tx.run(sql, &args).await.map(drop)
}

/// Takes down what the IdP is called now.
pub(crate) async fn set_idp(tx: &mut Tx, key: &LinkKey) -> Result<(), StoreError> {
    let sql =
        "update link set idp = $4 where organization = $1 and issuer = $2 and subject = $3 and idp <> $4";
    let args = [key.org.into(), (&key.issuer).into(), (&key.subject).into(), (&key.idp).into()];
    tx.run(sql, &args).await.map(drop)
}

/// Removes every link of an account. Returns how many.
pub(crate) async fn remove_links(tx: &mut Tx, org: OrgId, account: AccountId) -> Result<u64, StoreError> {
    tx.run("delete from link where organization = $1 and account = $2", &[org.into(), account.into()]).await
}

/// Hashes the subject of every link by another key.
pub(crate) async fn hash_again(tx: &mut Tx, keys: &BarKeys) -> Result<(), StoreError> {
    for row in tx.rows("select organization, issuer, subject from link", &[]).await? {
        let keyed = keys.key_subject(row.text(1)?, row.text(2)?);
        let (number, hash) = keyed.written();
        let sql =
            "update link set keyed = $4, key = $5 where organization = $1 and issuer = $2 and subject = $3";
        let args = [row.int(0)?.into(), row.text(1)?.into(), row.text(2)?.into(), hash.into(), number.into()];
        tx.run(sql, &args).await?;
    }
    Ok(())
}

/// People who are linked through an issuer that is not configured: they cannot sign in as who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranded {
    /// The name of the IdP at the last login by it.
    pub idp: String,
    /// Its issuer.
    pub issuer: String,
    /// The number of people.
    pub people: i64,
}

impl Stranded {
    /// Says it to an operator, with what to do.
    pub fn sentence(&self) -> String {
        let Self { idp, people, .. } = self;
        let (are, them) = if *people == 1 { ("person is", "this person") } else { ("people are", "them") };
        format!(
            "{people} {are} linked through {idp}, which is no longer configured. If another provider has taken its \
             place, let {them} in again with replaces: {idp} of that one, or with portcullis user relink {idp}"
        )
    }
}

impl Store {
    /// Counts who is linked through issuers other than these, by IdP.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_stranded(&self, org: OrgId, issuers: &[&str]) -> Result<Vec<Stranded>, StoreError> {
        find_stranded(&mut self.engine.snapshot().await?, org, issuers).await
    }
}

/// The same of a database that a program may be running on: it is only read, and no lock is taken.
///
/// # Errors
/// It cannot be read, or is none of ours.
pub async fn stranded_in(path: &Path, org: OrgId, issuers: &[&str]) -> Result<Vec<Stranded>, StoreError> {
    let engine = Engine::new(path);
    let found = match engine.snapshot().await {
        Ok(mut tx) => find_stranded(&mut tx, org, issuers).await,
        Err(error) => Err(error),
    };
    engine.close().await;
    found
}

pub(crate) async fn find_stranded(
    tx: &mut Tx,
    org: OrgId,
    issuers: &[&str],
) -> Result<Vec<Stranded>, StoreError> {
    let sql =
        "select idp, issuer, count(*) from link where organization = $1 group by idp, issuer order by 1, 2";
    let mut found = Vec::new();
    for row in tx.rows(sql, &[org.into()]).await? {
        if !issuers.contains(&row.text(1)?) {
            let (idp, issuer) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
            found.push(Stranded { idp, issuer, people: row.int(2)? });
        }
    }
    Ok(found)
}
