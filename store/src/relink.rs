//! Relinking by an operator: the subjects of an IdP that is not configured any more are the same subjects at the one
//! that is, as an operator knows who moved the IdP to another address. Nothing here guesses: each subject is taken over
//! byte for byte, and one that somebody at the new issuer has already is left alone.

use portcullis_policy::{AccountId, Change, OrgId, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::account;
use crate::barred;
use crate::engine::Tx;
use crate::log::{Origin, TxLog, account_name, commit_unchanged};
use crate::sealed_keys::BarKeys;
use crate::users::{self, UserSummary};
use crate::writer::Lane;
use crate::{Store, StoreError};

/// A person whose link would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relinkable {
    /// The person.
    pub user: UserSummary,
    /// The issuer that the link names now.
    pub issuer: String,
    /// The subject, which stays as it is.
    pub subject: String,
    /// The account that has that subject at the new issuer already: then the link stays where it is.
    pub taken_by: Option<AccountId>,
}

/// The IdP that is configured: where links move to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelinkTo {
    /// Its name.
    pub idp: String,
    /// Its issuer.
    pub issuer: String,
}

/// The result of one piece of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relinked {
    /// Links that moved.
    pub moved: u32,
    /// Links that stayed, because somebody has the subject already.
    pub taken: u32,
    /// The account at which the next piece begins; `None` where nothing is left.
    pub next: Option<AccountId>,
}

/// Links one transaction moves, so that the writer is soon free for others.
const PIECE: u32 = 50;

impl Store {
    /// Lists who is linked through the IdP `from` under another issuer than that of `to`, by account behind `after`:
    /// at most `limit`. Changes nothing.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn list_relinkable(
        &self,
        org: OrgId,
        from: &str,
        to: &RelinkTo,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Relinkable>, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        let mut found = Vec::new();
        for link in old_links(&mut tx, org, from, to, after, limit).await? {
            let user = users::read_one(&mut tx, &self.schemas, org, link.account).await?;
            let taken_by = taken_by(&mut tx, org, &to.issuer, &link.subject).await?;
            found.push(Relinkable { user, issuer: link.issuer, subject: link.subject, taken_by });
        }
        Ok(found)
    }

    /// Moves some of these links, and with the first piece what bars subjects of that IdP. To be called until nothing
    /// is left.
    ///
    /// # Errors
    /// Nothing of the piece has moved; [`StoreError::NoKeys`] before [`use_keys`](Self::use_keys).
    pub async fn relink_people(
        &self,
        org: OrgId,
        from: &str,
        to: &RelinkTo,
        after: Option<AccountId>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Relinked>, StoreError> {
        let keys = self.bar_keys.get().ok_or(StoreError::NoKeys)?.clone();
        let (from, to, origin) = (from.to_owned(), to.clone(), origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                if after.is_none() {
                    barred::bar_at(tx, &keys, org, &from, (&to.idp, &to.issuer)).await?;
                }
                relink_piece(tx, org, &from, &to, after, &keys, TxLog::new(org, None, &origin, now)).await
            })
        })
        .await
    }
}

struct OldLink {
    account: AccountId,
    issuer: String,
    subject: String,
}

async fn old_links(
    tx: &mut Tx,
    org: OrgId,
    from: &str,
    to: &RelinkTo,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<OldLink>, StoreError> {
    let sql = "select account, issuer, subject from link \
               where organization = $1 and account > $2 and idp = $3 and issuer <> $4 order by account limit $5";
    let after = after.unwrap_or(AccountId(0));
    let args = [org.into(), after.into(), from.into(), (&to.issuer).into(), i64::from(limit).into()];
    let rows = tx.rows(sql, &args).await?;
    rows.iter()
        .map(|row| {
            let (issuer, subject) = (row.text(1)?.to_owned(), row.text(2)?.to_owned());
            Ok(OldLink { account: AccountId(row.int(0)?), issuer, subject })
        })
        .collect()
}

async fn taken_by(
    tx: &mut Tx,
    org: OrgId,
    issuer: &str,
    subject: &str,
) -> Result<Option<AccountId>, StoreError> {
    let sql = "select account from link where organization = $1 and issuer = $2 and subject = $3";
    let row = tx.row(sql, &[org.into(), issuer.into(), subject.into()]).await?;
    row.map(|row| row.int(0).map(AccountId)).transpose()
}

async fn relink_piece(
    tx: &mut Tx,
    org: OrgId,
    from: &str,
    to: &RelinkTo,
    after: Option<AccountId>,
    keys: &BarKeys,
    mut log: TxLog,
) -> Result<Committed<Relinked>, StoreError> {
    let links = old_links(tx, org, from, to, after, PIECE).await?;
    let mut done = Relinked::default();
    if links.len() == PIECE as usize {
        done.next = links.last().map(|last| last.account);
    }
    for link in links {
        if taken_by(tx, org, &to.issuer, &link.subject).await?.is_some() {
            done.taken += 1;
            continue;
        }
        let keyed = keys.key_subject(&to.issuer, &link.subject);
        let (key, hash) = keyed.written();
        let sql = "update link set idp = $4, issuer = $5, keyed = $6, key = $7 \
                   where organization = $1 and issuer = $2 and subject = $3";
        let args = [
            org.into(),
            (&link.issuer).into(),
            (&link.subject).into(),
            (&to.idp).into(),
            (&to.issuer).into(),
            hash.into(),
            key.into(),
        ];
        tx.run(sql, &args).await?;
        // To the application it is the same person.
        let stable = account::stable_id(link.account, Some((&link.issuer, &link.subject)));
        let sql = "update account set stable_id = coalesce(stable_id, $3) \
                   where organization = $1 and id = $2 and resource is null";
        tx.run(sql, &[org.into(), link.account.into(), (&stable).into()]).await?;
        done.moved += 1;
        let detail = json!({ "from": from, "to": to.idp });
        log.did("account.relinked", &account_name(link.account), Some(link.account), detail);
        log.add_change(Change::Reconsider(link.account));
    }
    if done.moved == 0 { commit_unchanged(tx, done).await } else { log.seal(tx, done).await }
}
