//! The table `account`: a person who may sign in, with the generation that every revocation raises. Every SCIM User has
//! one; without a directory a login makes it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_keys::sha256;
use portcullis_policy::{
    AccountId, Attributes, DirectoryId, Facts, Generation, OrgId, ResourceId, Seq, Timestamp,
};
use portcullis_scim::{Resource, ResourceKind, Schemas};
use portcullis_session::Described;
use serde::{Deserialize, Serialize};

use crate::engine::{SqlRow, Tx};
use crate::resource::DirectoryKey;
use crate::script::Script;
use crate::{Store, StoreError, head, member, resource};

/// A row.
#[derive(Debug)]
pub(crate) struct AccountRow {
    pub(crate) id: AccountId,
    pub(crate) generation: Generation,
    /// The SCIM User behind it: directory and row number.
    pub(crate) user: Option<(DirectoryId, i64)>,
    /// The directory's word.
    pub(crate) active: bool,
    /// The operator's word.
    pub(crate) disabled: bool,
    pub(crate) told: Option<String>,
}

/// The facts that a login gave of a person without a directory; kept for the identity headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginFacts {
    pub(crate) email: Option<String>,
    pub(crate) attributes: Attributes,
    /// `None` where nothing was said of groups. Nobody gets a role from either, but what was said is not made up.
    pub(crate) groups: Option<Vec<String>>,
}

impl AccountRow {
    /// Columns: id, generation, directory, resource, active, disabled, told.
    pub(crate) fn read_row(row: &SqlRow) -> Result<Self, StoreError> {
        let user = match (row.maybe_int(2)?, row.maybe_int(3)?) {
            (Some(directory), Some(resource)) => Some((directory_id(directory)?, resource)),
            _ => None,
        };
        Ok(Self {
            id: AccountId(row.int(0)?),
            generation: Generation(row.int(1)?),
            user,
            active: row.flag(4)?,
            disabled: row.flag(5)?,
            told: row.maybe_text(6)?.map(str::to_owned),
        })
    }
}

/// A directory's number as it stands in a row.
pub(crate) fn directory_id(number: i64) -> Result<DirectoryId, StoreError> {
    u32::try_from(number).map(DirectoryId).map_err(|_| StoreError::Unreadable {
        table: "account",
        row: number.to_string(),
        what: "the directory",
    })
}

pub(crate) async fn load_account(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
) -> Result<Option<AccountRow>, StoreError> {
    let sql = "select id, generation, directory, resource, active, disabled, told from account \
               where organization = $1 and id = $2";
    tx.row(sql, &[org.into(), id.into()]).await?.as_ref().map(AccountRow::read_row).transpose()
}

/// An account that a row of another table names, so that it must be there.
pub(crate) async fn known_account(tx: &mut Tx, org: OrgId, id: AccountId) -> Result<AccountRow, StoreError> {
    load_account(tx, org, id).await?.ok_or(StoreError::Unreadable {
        table: "account",
        row: id.0.to_string(),
        what: "it is named but not there",
    })
}

/// Makes an account; without a SCIM User where `user` is `None`.
pub(crate) async fn create_account(
    tx: &mut Tx,
    org: OrgId,
    user: Option<(DirectoryId, i64)>,
    active: bool,
    now: Timestamp,
) -> Result<AccountRow, StoreError> {
    let id = AccountId(head::next_row(tx).await?);
    let mut script = Script::new();
    add_account(&mut script, org, id, user, active, now);
    tx.run_script(script).await?;
    Ok(AccountRow { id, generation: Generation(0), user, active, disabled: false, told: None })
}

/// Adds what inserts an account under a number that was drawn.
pub(crate) fn add_account(
    script: &mut Script<'_>,
    org: OrgId,
    id: AccountId,
    user: Option<(DirectoryId, i64)>,
    active: bool,
    now: Timestamp,
) {
    let sql = "insert into account \
               (organization, id, generation, directory, resource, active, disabled, created, used) \
               values ($1, $2, 0, $3, $4, $5, 0, $6, $6)";
    let (directory, rid) = user.unzip();
    let args = [org.into(), id.into(), directory.into(), rid.into(), active.into(), now.into()];
    script.add(sql, args);
}

/// Raises the generation: every session born before is over. Returns the new one.
pub(crate) async fn raise_generation(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
) -> Result<Generation, StoreError> {
    let sql = "update account set generation = generation + 1 where organization = $1 and id = $2 \
               returning generation";
    Ok(Generation(tx.one(sql, &[org.into(), id.into()]).await?.int(0)?))
}

/// Takes down the directory's word.
pub(crate) async fn set_active(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
    active: bool,
) -> Result<(), StoreError> {
    let sql = "update account set active = $3 where organization = $1 and id = $2";
    tx.run(sql, &[org.into(), id.into(), active.into()]).await.map(drop)
}

/// Takes down the operator's word.
pub(crate) async fn set_disabled(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
    disabled: bool,
) -> Result<(), StoreError> {
    let sql = "update account set disabled = $3 where organization = $1 and id = $2";
    tx.run(sql, &[org.into(), id.into(), disabled.into()]).await.map(drop)
}

/// Takes down a login, and what it said of a person without a directory.
pub(crate) async fn set_used(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
    told: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "update account set used = $3, told = coalesce($4, told) where organization = $1 and id = $2";
    tx.run(sql, &[org.into(), id.into(), now.into(), told.into()]).await.map(drop)
}

/// Everything a description needs, from the snapshot of `tx`.
pub(crate) async fn describe_account(
    tx: &mut Tx,
    schemas: &Schemas,
    org: OrgId,
    account: AccountId,
) -> Result<Option<Described>, StoreError> {
    let sql = "select a.generation, a.active, a.disabled, a.told, a.directory, a.resource, \
                      r.id, r.doc, r.deleted, l.issuer, l.subject, h.seq, a.stable_id \
               from account a \
               join head h on h.one = 1 \
               left join resource r on r.organization = a.organization and r.directory = a.directory \
                 and r.rid = a.resource \
               left join link l on l.organization = a.organization and l.account = a.id and l.place = 0 \
               where a.organization = $1 and a.id = $2";
    let Some(row) = tx.row(sql, &[org.into(), account.into()]).await? else { return Ok(None) };
    let subject: Option<Arc<str>> = row.maybe_text(10)?.map(Arc::from);
    let is_gone = row.maybe_int(8)?.is_some();
    let (facts, resource) =
        match (row.maybe_int(4)?, row.maybe_int(5)?, row.maybe_text(6)?, row.maybe_text(7)?) {
            (Some(directory), Some(rid), Some(id), Some(doc)) => {
                let directory = directory_id(directory)?;
                let mut user = resource::parse_document(ResourceKind::User, id, doc)?;
                user.set_aside(schemas);
                let id = ResourceId::new(id);
                let groups = member::group_names(tx, DirectoryKey { org, directory }, rid).await?;
                (of_user(org, account, subject, (&id, &user, schemas), groups), Some((directory, id)))
            }
            _ => {
                let linked = row.maybe_text(9)?.zip(subject.as_deref());
                let told = read_told(account, row.maybe_text(3)?)?;
                let mut facts = of_login(org, account, linked, told);
                if let Some(kept) = row.maybe_text(12)? {
                    facts.stable_id = kept.into();
                }
                (facts, None)
            }
        };
    Ok(Some(Described {
        at: Seq(row.int(11)?),
        facts: Arc::new(facts),
        generation: Generation(row.int(0)?),
        active: row.flag(1)? && !row.flag(2)? && !is_gone,
        resource,
    }))
}

/// Everything that a User states, as headers and bindings know it.
pub(crate) fn attributes_of(user: &Resource, schemas: &Schemas) -> Attributes {
    let mut attributes = Attributes::default()
        .with_texts(Attributes::NAME, user.display_name().or_else(|| user.text_at("name.formatted")))
        .with_texts(Attributes::PREFERRED_USERNAME, user.user_name());
    for (name, texts) in user.attribute_texts(schemas) {
        attributes.add_texts(&name, texts);
    }
    attributes
}

fn of_user(
    org: OrgId,
    account: AccountId,
    subject: Option<Arc<str>>,
    (id, user, schemas): (&ResourceId, &Resource, &Schemas),
    groups: Arc<[Arc<str>]>,
) -> Facts {
    Facts {
        account,
        org,
        stable_id: id.as_str().into(),
        id: Some(id.as_str().into()),
        external_id: user.external_id().map(Arc::from),
        subject,
        email: user.email().map(Arc::from),
        attributes: attributes_of(user, schemas),
        user_name: user.user_name().map(Arc::from),
        groups,
    }
}

/// The facts of a person without a directory; `linked` is the issuer that signs them in, and their subject there.
pub(crate) fn of_login(
    org: OrgId,
    account: AccountId,
    linked: Option<(&str, &str)>,
    told: LoginFacts,
) -> Facts {
    Facts {
        account,
        org,
        stable_id: stable_id(account, linked).into(),
        user_name: None,
        id: None,
        external_id: None,
        subject: linked.map(|(_, subject)| subject.into()),
        email: told.email.map(Into::into),
        attributes: told.attributes,
        groups: told.groups.unwrap_or_default().into_iter().map(Arc::from).collect(),
    }
}

/// Gives an account that a login has just made an id of its own, where the one that follows from its link is somebody's
/// already: an operator has moved that person's link to another issuer.
pub(crate) async fn keep_apart(
    tx: &mut Tx,
    org: OrgId,
    account: AccountId,
    linked: (&str, &str),
) -> Result<(), StoreError> {
    let follows = stable_id(account, Some(linked));
    let sql = "select 1 from account where organization = $1 and stable_id = $2";
    if tx.row(sql, &[org.into(), (&follows).into()]).await?.is_none() {
        return Ok(());
    }
    let own = format!("account:{} {}", account.0, linked.0);
    let own = stable_id(account, Some((&own, linked.1)));
    let sql = "update account set stable_id = $3 where organization = $1 and id = $2";
    tx.run(sql, &[org.into(), account.into(), (&own).into()]).await.map(drop)
}

/// The id of a person without a directory. The account's number is no such id: an account that nobody uses is removed, and
/// whoever comes back later gets another.
pub(crate) fn stable_id(account: AccountId, linked: Option<(&str, &str)>) -> String {
    match linked {
        // With its length before it, no issuer and subject read as another issuer and subject.
        Some((issuer, subject)) => {
            let hash = sha256(format!("stable id {}:{issuer}{subject}", issuer.len()).as_bytes());
            URL_SAFE_NO_PAD.encode(hash)
        }
        None => format!("account:{}", account.0),
    }
}

/// Reads the column `told`.
pub(crate) fn read_told(account: AccountId, told: Option<&str>) -> Result<LoginFacts, StoreError> {
    let damaged =
        StoreError::Unreadable { table: "account", row: account.0.to_string(), what: "what the login said" };
    told.map_or(Ok(LoginFacts::default()), |told| serde_json::from_str(told).map_err(|_| damaged))
}

impl Store {
    /// Describes an account, of one snapshot begun now; `None` where there is no such account.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn read_description(
        &self,
        org: OrgId,
        account: AccountId,
    ) -> Result<Option<Described>, StoreError> {
        describe_account(&mut self.engine.snapshot().await?, &self.schemas, org, account).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_written_or_not_at_all() {
        let facts = LoginFacts {
            email: Some("mia@corp.test".into()),
            attributes: Attributes::default()
                .with_texts(Attributes::NAME, ["Mia"])
                .with_texts(Attributes::PREFERRED_USERNAME, ["mia"]),
            groups: None,
        };
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(read_told(AccountId(1), Some(&text)).unwrap(), facts);
        for damaged in ["mia", "{}", r#"{"email":null,"groups":null}"#] {
            assert!(read_told(AccountId(1), Some(damaged)).is_err(), "{damaged}");
        }
    }
}
