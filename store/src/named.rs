//! Whom an operator means: the accounts of one person, by a name, an id, a number, an address or a subject.
//!
//! A person may have two accounts: the directory's, and one that a login made while no directory said who there is. What
//! keeps a person out by a name keeps out everybody who bears it (`login/matching.rs`), so an order about a person is
//! one about every account that bears a name of theirs, or it would say "out" of somebody who is in. Only a name that
//! was verified leads from a login's account to another: or somebody could choose whom an order about them hits.

use std::collections::BTreeSet;

use portcullis_policy::{AccountId, Attributes, DirectoryId, OrgId, fold};
use sqlx::AssertSqlSafe;

use crate::account::{self, LoginFacts};
use crate::attr::{value_key, whole_value};
use crate::engine::{Arg, SqlRow, Tx};
use crate::log::account_name;
use crate::resource::DIRECTORIES;
use crate::users::UserError;
use crate::{Store, StoreError};

/// The accounts of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAccounts {
    /// The one that was named; where a name is borne by several, the directory's.
    pub first: AccountId,
    /// The others that bear a name of it, in the order in which they were made.
    pub others: Vec<AccountId>,
}

impl NamedAccounts {
    /// All of them, the named one first.
    pub fn all_accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl Store {
    /// Finds whom `who` names, as of now: a `userName`, the id of a User, `account:N`, or without a directory an
    /// address or a subject.
    ///
    /// # Errors
    /// [`UserError::Unknown`] and [`UserError::Ambiguous`].
    pub async fn find_named(&self, org: OrgId, who: &str) -> Result<NamedAccounts, UserError> {
        find_person(&mut self.engine.snapshot().await?, org, who).await?
    }
}

/// The one person whom `who` names.
pub(crate) async fn find_person(
    tx: &mut Tx,
    org: OrgId,
    who: &str,
) -> Result<Result<NamedAccounts, UserError>, StoreError> {
    let candidates = find_candidates(tx, org, who).await?;
    let Some(first) = candidates.first().copied() else {
        return Ok(Err(UserError::Unknown(who.to_owned())));
    };
    let others = find_namesakes(tx, org, first).await?;
    if candidates.iter().all(|one| *one == first || others.contains(one)) {
        return Ok(Ok(NamedAccounts { first, others }));
    }
    let accounts = candidates.into_iter().map(account_name).collect::<Vec<_>>().join(", ");
    Ok(Err(UserError::Ambiguous { who: who.to_owned(), accounts }))
}

/// Everybody whom `who` can mean: those of a directory first, then in the order in which they were made.
async fn find_candidates(tx: &mut Tx, org: OrgId, who: &str) -> Result<Vec<AccountId>, StoreError> {
    if let Some(id) = AccountId::of_name(who) {
        return Ok(account::load_account(tx, org, id).await?.map(|_| id).into_iter().collect());
    }
    // Tombstones only by their id: their name may be somebody else's by now.
    let sql = format!(
        "{DIRECTORIES} \
               select r.account from place p cross join resource r \
               where r.organization = $1 and r.directory = p.directory and r.id = $2 and r.account is not null \
               union \
               select r.account from place p cross join attr t cross join resource r \
               where t.organization = $1 and t.directory = p.directory and t.kind = 'User' \
                 and t.path = 'userName' and t.value = $3 \
                 and r.organization = $1 and r.directory = t.directory and r.rid = t.rid \
                 and r.deleted is null and r.account is not null"
    );
    let args = [org.into(), who.into(), fold::same_key(who).into()];
    let mut found = account_ids(&tx.rows(AssertSqlSafe(sql), &args).await?)?;
    found.sort_unstable();
    let sql = "select l.account from link l \
               join account a on a.organization = l.organization and a.id = l.account \
               where l.organization = $1 and l.subject = $2 and a.directory is null";
    let mut alone: BTreeSet<AccountId> =
        account_ids(&tx.rows(sql, &[org.into(), who.into()]).await?)?.into_iter().collect();
    alone.extend(
        accounts_bearing(tx, org, |told| {
            told.email.as_deref().map(fold::same_key) == Some(fold::same_key(who))
        })
        .await?,
    );
    found.extend(alone);
    Ok(found)
}

/// The other accounts of the person: those that bear a name of this one, and those that bear a name of these.
async fn find_namesakes(tx: &mut Tx, org: OrgId, first: AccountId) -> Result<Vec<AccountId>, StoreError> {
    let (mut known, mut fresh) = (BTreeSet::from([first]), vec![first]);
    while let Some(id) = fresh.pop() {
        for other in bearing_a_name_of(tx, org, id).await? {
            if known.insert(other) {
                fresh.push(other);
            }
        }
    }
    known.remove(&first);
    Ok(known.into_iter().collect())
}

/// Accounts that bear a name of this one. Of a tombstone none: its name may be somebody else's by now.
async fn bearing_a_name_of(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
) -> Result<BTreeSet<AccountId>, StoreError> {
    let sql = "select name, deleted from resource where organization = $1 and account = $2";
    let mut found = BTreeSet::new();
    match tx.row(sql, &[org.into(), id.into()]).await? {
        Some(row) if row.maybe_int(1)?.is_some() => {}
        Some(row) => {
            let name = row.text(0)?.to_owned();
            let addresses = addresses_of(tx, org, id).await?;
            let is_theirs = |told: &LoginFacts| {
                let address = told.email.as_deref().map(fold::same_key);
                folded_names(told).any(|other| other == name)
                    || address.is_some_and(|address| addresses.contains(&address))
            };
            found.extend(accounts_bearing(tx, org, is_theirs).await?);
        }
        None => {
            let told = account::known_account(tx, org, id).await?.told;
            let told = account::read_told(id, told.as_deref())?;
            // The address alone tells, which was verified: a preferred name is anybody's to choose.
            if let (Some(own), Some(email)) = (folded_address(&told), &told.email) {
                let sql = "select account from resource where organization = $1 and name = $2 and kind = 'User' \
                             and deleted is null and account is not null";
                found.extend(account_ids(&tx.rows(sql, &[org.into(), (&own).into()]).await?)?);
                let at_home = with_attribute(tx, org, "emails.value", &fold::same_key(email)).await?;
                found.extend(at_home.into_iter().map(|(_, account)| account));
                found.extend(
                    accounts_bearing(tx, org, |told| folded_address(told).as_ref() == Some(&own)).await?,
                );
            }
        }
    }
    Ok(found)
}

/// The addresses of a directory's user, folded by [`fold::same_key`].
async fn addresses_of(tx: &mut Tx, org: OrgId, id: AccountId) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "select {} from resource r \
               cross join attr t on t.organization = r.organization and t.directory = r.directory and t.rid = r.rid \
               where r.organization = $1 and r.account = $2 and r.deleted is null and t.path = 'emails.value'",
        whole_value("t")
    );
    let rows = tx.rows(AssertSqlSafe(sql), &[org.into(), id.into()]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Every live user of the organization with that value of an attribute, folded as it is compared. One who has it twice
/// counts once.
pub(crate) async fn with_attribute(
    tx: &mut Tx,
    org: OrgId,
    path: &str,
    value: &str,
) -> Result<Vec<(DirectoryId, AccountId)>, StoreError> {
    let sql = format!(
        "{DIRECTORIES} \
               select distinct r.directory, r.account from place p cross join attr t cross join resource r \
               where t.organization = $1 and t.directory = p.directory and t.kind = 'User' \
                 and t.path = $2 and t.value = $3 \
                 and r.organization = $1 and r.directory = t.directory and r.rid = t.rid \
                 and r.deleted is null and r.account is not null"
    );
    let rows =
        tx.rows(AssertSqlSafe(sql), &[org.into(), path.into(), Arg::Text(Some(value_key(value)))]).await?;
    rows.iter().map(|row| Ok((account::directory_id(row.int(0)?)?, AccountId(row.int(1)?)))).collect()
}

/// Lists what somebody without a directory may be called by: folded as it folds names.
fn folded_names(told: &LoginFacts) -> impl Iterator<Item = String> {
    let preferred = told.attributes.first_text(Attributes::PREFERRED_USERNAME);
    [told.email.as_deref(), preferred].into_iter().flatten().map(fold::unique_key)
}

/// The address of somebody without a directory, folded likewise.
pub(crate) fn folded_address(told: &LoginFacts) -> Option<String> {
    told.email.as_deref().map(fold::unique_key)
}

/// Finds whom a login made and said something of, as long as a subject leads there or an operator keeps them out.
/// Read one by one: these are few, and an operator asks.
async fn accounts_bearing(
    tx: &mut Tx,
    org: OrgId,
    is_meant: impl Fn(&LoginFacts) -> bool,
) -> Result<Vec<AccountId>, StoreError> {
    let sql = "select a.id, a.told from account a where a.organization = $1 and a.directory is null \
         and (a.disabled = 1 \
           or exists (select 1 from link l where l.organization = a.organization and l.account = a.id)) \
         and a.told is not null";
    let mut found = Vec::new();
    for row in tx.rows(sql, &[org.into()]).await? {
        let id = AccountId(row.int(0)?);
        if is_meant(&account::read_told(id, row.maybe_text(1)?)?) {
            found.push(id);
        }
    }
    Ok(found)
}

fn account_ids(rows: &[SqlRow]) -> Result<Vec<AccountId>, StoreError> {
    rows.iter().map(|row| row.int(0).map(AccountId)).collect()
}
