//! People as operators handle them: `user list`, `show`, `add`, `disable`, `enable`, `remove`, `end-sessions`. An
//! operator's `disable` is a word of its own beside the directory's `active`: neither overrules the other, and both
//! must let the person in. Whose word it is to remove somebody is asked before this is called.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use portcullis_policy::{
    AccountId, Attributes, Change, DirectoryId, OrgId, ResourceId, SessionHash, Timestamp, fold,
    has_hidden_end, shown,
};
use portcullis_scim::{Act, Resource, ResourceKind, Schemas, ScimError, ScimType, Write};
use portcullis_session::Committed;
use serde_json::json;

use crate::account::{self, directory_id};
use crate::barred::{self, Word};
use crate::directory::DirectoryWrite;
use crate::engine::{SqlRow, Tx};
use crate::log::{Origin, TxLog, account_name, commit_unchanged, still_out, subject_name};
use crate::named::{self, NamedAccounts};
use crate::resource::{self, DirectoryKey};
use crate::writer::Lane;
use crate::{Store, StoreError, end, member, session};

/// A person to be added by hand.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name, unique in the directory.
    pub user_name: String,
    /// An address.
    pub email: Option<String>,
    /// A name for people.
    pub display_name: Option<String>,
    /// The IdP's own id of the person, where people are matched by it.
    pub external_id: Option<String>,
}

/// The right of somebody to sign in, and who denies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// They may.
    Active,
    /// The directory says not.
    Inactive,
    /// An operator says not.
    Disabled,
    /// The directory has removed them.
    Deleted,
}

impl UserState {
    /// The word for tables.
    pub fn table_word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// A line of `user list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSummary {
    /// The account.
    pub account: AccountId,
    /// The directory; `None` for whom a login made.
    pub directory: Option<DirectoryId>,
    /// The `id` of the SCIM User.
    pub id: Option<ResourceId>,
    /// `userName`; without a directory the address, else the subject.
    pub name: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// The address that the directory, or without one a login, states.
    pub email: Option<String>,
    /// The groups they are in, nested ones included, by name: roles come from these.
    pub groups: Vec<String>,
    /// The attributes that the directory states; `None` without one.
    pub attributes: Option<Attributes>,
    /// The right to sign in.
    pub state: UserState,
    /// The IdP whose subject is linked.
    pub idp: Option<String>,
    /// The last login; `None` for whom a directory made and who has never signed in.
    pub used: Option<Timestamp>,
    /// The number of live sessions that an order has ended; 0 where nothing was ordered.
    pub ended: u32,
    /// The other accounts of the person, on which an order was carried out too; none where nothing was ordered.
    pub others: Vec<AccountId>,
}

/// Everything that is kept of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDetails {
    /// As `user list` has them.
    pub user: UserSummary,
    /// `externalId` of the SCIM User: mostly the provider's own id.
    pub external_id: Option<String>,
    /// The time the account was made.
    pub created: Timestamp,
    /// Accounts that bear a name of this one: what is ordered of it is ordered of these.
    pub others: Vec<AccountId>,
    /// The person's subjects at identity providers; none before the first login.
    pub links: Vec<LinkDetails>,
    /// The names of the groups that they are in only through other groups.
    pub nested: Vec<String>,
    /// Sessions that are live by everything but idleness, the newest first.
    pub sessions: Vec<SessionDetails>,
}

/// A subject at an IdP that is linked to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDetails {
    /// The IdP.
    pub idp: String,
    /// Its issuer.
    pub issuer: String,
    /// The person's name there.
    pub subject: String,
    /// The time the link was made.
    pub since: Timestamp,
}

/// A session as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDetails {
    /// The name in log lines.
    pub hash: SessionHash,
    /// The IdP that signed them in.
    pub idp: String,
    /// The time it was made.
    pub created: Timestamp,
    /// The time the client was last heard; some seconds behind.
    pub seen: Timestamp,
    /// The latest time at which it ends.
    pub expires: Timestamp,
}

/// Reasons why a person could not be handled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has that name, id or number.
    #[error("there is no user \"{}\"", shown(.0))]
    Unknown(String),
    /// Several people do.
    #[error("\"{who}\" names more than one user: {accounts}. Say which, as account:N")]
    Ambiguous {
        /// The name.
        who: String,
        /// Their accounts.
        accounts: String,
    },
    /// The name is taken, or not a name.
    #[error("the user could not be added: {0}")]
    Refused(ScimError),
    /// There is nothing to remove: no directory has ever said anything of them.
    #[error(
        "\"{0}\" has no entry that could be removed: a login made the account, and the next one would make it again. \
         To keep them out: portcullis user disable"
    )]
    NoEntry(String),
    /// The store could not answer.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

impl NewUser {
    fn resource(&self) -> Result<Resource, ScimError> {
        let refused = |detail: &str| Err(ScimError::of_type(ScimType::InvalidValue, detail));
        let has_control = self.user_name.chars().any(char::is_control);
        if self.user_name.is_empty() || has_hidden_end(&self.user_name) || has_control {
            return refused(
                "the name is empty, or has a blank or something unseen at an end, or a control character",
            );
        }
        if AccountId::of_name(&self.user_name).is_some() {
            return refused(
                "the name is as the number of an account: an order about it would be about another",
            );
        }
        let mut tree = json!({ "userName": self.user_name, "active": true });
        if let Some(email) = &self.email {
            if fold::email_domain(email).is_none() {
                return refused("the address must have one @ and a domain behind it");
            }
            tree["emails"] = json!([{ "value": email, "type": "work", "primary": true }]);
        }
        if let Some(name) = &self.display_name {
            tree["displayName"] = json!(name);
        }
        if let Some(id) = self.external_id.as_deref().filter(|id| !id.is_empty()) {
            tree["externalId"] = json!(id);
        }
        Resource::from_json(ResourceKind::User, &tree.to_string()).map_err(|_| ScimError::Internal)
    }
}

impl Store {
    /// Adds a person to a directory by hand.
    ///
    /// # Errors
    /// [`UserError::Refused`] where the name or the external id is taken, or is none.
    pub async fn user_add(
        &self,
        org: OrgId,
        directory: DirectoryId,
        user: NewUser,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<ResourceId>, UserError> {
        let resource = user.resource().map_err(UserError::Refused)?;
        let (schemas, origin) = (self.schemas.clone(), origin.clone());
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let place = DirectoryKey { org, directory };
                let ended = AtomicU32::new(0);
                let desk = DirectoryWrite::of_operator(place, &schemas, &origin, now, &ended);
                match desk.add_user(tx, &resource).await? {
                    Ok((log, record)) => Ok(Ok(log.seal(tx, record.id).await?)),
                    Err(refusal) => Ok(Err(UserError::Refused(refusal))),
                }
            })
        })
        .await?
    }

    /// An operator puts a person out: sessions end, logins are refused until [`user_enable`](Self::user_enable).
    /// `who` is a `userName`, the id of a User, `account:N`, or without a directory an address or a subject; it stands
    /// for every account of that person ([`NamedAccounts`]), in each of these orders.
    ///
    /// # Errors
    /// [`UserError::Unknown`] and [`UserError::Ambiguous`].
    pub async fn user_disable(
        &self,
        org: OrgId,
        who: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<UserSummary>, UserError> {
        self.user_switch(org, who, true, origin, now).await
    }

    /// Takes an operator's `disable` back. Whom the directory says to be inactive stays out.
    ///
    /// # Errors
    /// As [`user_disable`](Self::user_disable).
    pub async fn user_enable(
        &self,
        org: OrgId,
        who: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<UserSummary>, UserError> {
        self.user_switch(org, who, false, origin, now).await
    }

    async fn user_switch(
        &self,
        org: OrgId,
        who: &str,
        disabled: bool,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<UserSummary>, UserError> {
        let (who, origin, schemas) = (who.to_owned(), origin.clone(), self.schemas.clone());
        let lane = if disabled { Lane::Removal } else { Lane::Ordinary };
        self.write_in(lane, move |tx| {
            Box::pin(async move {
                match named::find_person(tx, org, &who).await? {
                    Ok(named) => {
                        Ok(Ok(switch_accounts(tx, (org, &schemas), &named, disabled, &origin, now).await?))
                    }
                    Err(unknown) => Ok(Err(unknown)),
                }
            })
        })
        .await?
    }

    /// Removes a person as a DELETE of the directory would: a tombstone; sessions end, links go, and whoever they let in
    /// is barred. Removing somebody again changes nothing and is enforced again (R5).
    ///
    /// # Errors
    /// As [`user_disable`](Self::user_disable); [`UserError::NoEntry`] for whom a login made.
    pub async fn user_remove(
        &self,
        org: OrgId,
        who: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<UserSummary>, UserError> {
        let mut tx = self.engine.snapshot().await?;
        let named = named::find_person(&mut tx, org, who).await??;
        let mut entry = None;
        for id in named.all_accounts() {
            let user = read_one(&mut tx, &self.schemas, org, id).await?;
            if let (Some(directory), Some(resource)) = (user.directory, user.id.clone()) {
                entry = Some((user, directory, resource));
                break;
            }
        }
        // Whichever was named: the directory's is the one that can be removed.
        let Some((mut user, directory, resource)) = entry else {
            return Err(UserError::NoEntry(who.to_owned()));
        };
        let first = user.account;
        let others: Vec<AccountId> = named.all_accounts().filter(|id| *id != first).collect();
        user.ended = session::live_of(&mut tx, org, first, now).await?;
        drop(tx); // the writes are the writer's
        let act = Act::Delete(ResourceKind::User, resource);
        let write = Write { act, if_match: None, rewrites: Vec::new() };
        user.state = UserState::Deleted;
        // The only other answer is that nobody is there any more, who is removed then.
        if others.is_empty() {
            return Ok(self.write_resource(org, directory, &write, origin, now).await?.map(|_| user));
        }
        // Those first: once the name is a tombstone's it leads to nobody, and a repeat would not find them.
        let with = origin.clone();
        user.others.clone_from(&others);
        let buried = self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move { bury_namesakes(tx, org, &others, &with, now).await })
        });
        let buried = buried.await?;
        let done = self.write_resource(org, directory, &write, origin, now).await?;
        Ok(buried.and_with(done, |live, _| UserSummary { ended: user.ended + live, ..user }))
    }

    /// Ends every session of a person, who may sign in again.
    ///
    /// # Errors
    /// As [`user_disable`](Self::user_disable).
    pub async fn user_end_sessions(
        &self,
        org: OrgId,
        who: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<UserSummary>, UserError> {
        let (who, origin, schemas) = (who.to_owned(), origin.clone(), self.schemas.clone());
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move {
                let named = match named::find_person(tx, org, &who).await? {
                    Ok(named) => named,
                    Err(unknown) => return Ok(Err(unknown)),
                };
                let mut log = TxLog::new(org, None, &origin, now);
                let mut live = 0;
                for id in named.all_accounts() {
                    live += end::end_account(tx, org, id, &mut log, now).await?;
                }
                let first = read_one(tx, &schemas, org, named.first).await?;
                let user = UserSummary { ended: live, others: named.others, ..first };
                Ok(Ok(log.seal(tx, user).await?))
            })
        })
        .await?
    }

    /// Everything that is kept of the person whom `who` names, as of one moment.
    ///
    /// # Errors
    /// As [`user_disable`](Self::user_disable).
    pub async fn user_show(&self, org: OrgId, who: &str, now: Timestamp) -> Result<UserDetails, UserError> {
        let mut tx = self.engine.snapshot().await?;
        let NamedAccounts { first: id, others } = named::find_person(&mut tx, org, who).await??;
        let user = read_one(&mut tx, &self.schemas, org, id).await?;
        let args = [org.into(), id.into()];
        let sql = "select created, directory, resource from account where organization = $1 and id = $2";
        let row = tx.one(sql, &args).await?;
        let created = row.at(0)?;
        let nested = match (row.maybe_int(1)?, row.maybe_int(2)?) {
            (Some(directory), Some(rid)) => {
                let place = DirectoryKey { org, directory: directory_id(directory)? };
                let mut groups = member::find_memberships(&mut tx, place, &[rid]).await?;
                let groups = groups.remove(&rid).unwrap_or_default().into_iter();
                groups.filter(|group| !group.direct).map(|group| group.display).collect()
            }
            _ => Vec::new(),
        };
        let sql = "select idp, issuer, subject, created from link where organization = $1 and account = $2 \
                   order by place";
        let links = tx.rows(sql, &args).await?;
        let link = |row: &SqlRow| {
            let text = |column| row.text(column).map(str::to_owned);
            Ok(LinkDetails { idp: text(0)?, issuer: text(1)?, subject: text(2)?, since: row.at(3)? })
        };
        let links = links.iter().map(link).collect::<Result<_, StoreError>>()?;
        let sessions = session::list_live(&mut tx, org, id, now).await?;
        let described = account::describe_account(&mut tx, &self.schemas, org, id).await?;
        let external_id =
            described.and_then(|described| described.facts.external_id.as_deref().map(str::to_owned));
        Ok(UserDetails { user, external_id, created, others, links, nested, sessions })
    }

    /// Accounts of an organization in the order they were made, those of removed users among them: at most `limit`
    /// after `after`.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn user_list(
        &self,
        org: OrgId,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<UserSummary>, StoreError> {
        let mut tx = self.engine.listing().await?;
        let args = [org.into(), after.unwrap_or(AccountId(0)).into(), i64::from(limit).into()];
        let sql = "select a.id, a.directory, a.active, a.disabled, a.told, a.used, r.id, r.doc, r.deleted, \
                     l.idp, l.subject, a.resource, a.used > a.created \
                   from account a \
                   left join resource r on r.organization = a.organization and r.directory = a.directory \
                     and r.rid = a.resource \
                   left join link l on l.organization = a.organization and l.account = a.id and l.place = 0 \
                   where a.organization = $1 and a.id > $2 order by a.id limit $3";
        let rows = tx.rows(sql, &args).await?;
        read_summaries(&mut tx, &self.schemas, org, &rows).await
    }
}

/// Takes down an operator's word on every account of a person.
async fn switch_accounts(
    tx: &mut Tx,
    (org, schemas): (OrgId, &Schemas),
    named: &NamedAccounts,
    disabled: bool,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<UserSummary>, StoreError> {
    let first = read_one(tx, schemas, org, named.first).await?;
    let mut log = TxLog::new(org, first.directory, origin, now);
    let (mut live, mut still) = (0, Vec::new());
    for id in named.all_accounts() {
        let before = account::known_account(tx, org, id).await?;
        if before.disabled == disabled {
            still.push((id, before.generation));
            continue;
        }
        account::set_disabled(tx, org, id, disabled).await?;
        let kind = if disabled {
            live += session::live_of(tx, org, id, now).await?;
            barred::bar_subjects(tx, org, id, Word::Disabled, now).await?;
            log.add_change(Change::Out(id, account::raise_generation(tx, org, id).await?));
            "user.disabled"
        } else {
            barred::lift_bars(tx, org, id, Word::Disabled).await?;
            "user.enabled"
        };
        log.did(kind, &subject_of(tx, schemas, org, id).await?, Some(id), json!({}));
    }
    let user = UserSummary {
        ended: live,
        others: named.others.clone(),
        ..read_one(tx, schemas, org, named.first).await?
    };
    if still.len() == named.all_accounts().count() {
        return if disabled { still_out(tx, still, user).await } else { commit_unchanged(tx, user).await };
    }
    if disabled {
        still.into_iter().for_each(|(id, generation)| log.add_change(Change::Out(id, generation)));
    }
    log.seal(tx, user).await
}

/// Puts those out who bear a name of somebody who is being removed: no subject of theirs lets anybody in again.
async fn bury_namesakes(
    tx: &mut Tx,
    org: OrgId,
    others: &[AccountId],
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<u32>, StoreError> {
    let mut log = TxLog::new(org, None, origin, now);
    let mut live = 0;
    for id in others.iter().copied() {
        live += session::live_of(tx, org, id, now).await?;
        barred::bar_subjects(tx, org, id, Word::Removed, now).await?;
        log.add_change(Change::Out(id, account::raise_generation(tx, org, id).await?));
        log.did("user.removed", &account_name(id), Some(id), json!({}));
    }
    log.seal(tx, live).await
}

/// Names an account as an event does: by the User, where there is one.
async fn subject_of(tx: &mut Tx, schemas: &Schemas, org: OrgId, id: AccountId) -> Result<String, StoreError> {
    Ok(subject_name(id, read_one(tx, schemas, org, id).await?.id.as_ref().map(ResourceId::as_str)))
}

pub(crate) async fn read_one(
    tx: &mut Tx,
    schemas: &Schemas,
    org: OrgId,
    id: AccountId,
) -> Result<UserSummary, StoreError> {
    let sql = "select a.id, a.directory, a.active, a.disabled, a.told, a.used, r.id, r.doc, r.deleted, \
                 l.idp, l.subject, a.resource, a.used > a.created \
               from account a \
               left join resource r on r.organization = a.organization and r.directory = a.directory \
                 and r.rid = a.resource \
               left join link l on l.organization = a.organization and l.account = a.id and l.place = 0 \
               where a.organization = $1 and a.id = $2";
    let row = tx.one(sql, &[org.into(), id.into()]).await?;
    let mut one = read_summaries(tx, schemas, org, &[row]).await?;
    one.pop().ok_or(StoreError::Unreadable {
        table: "account",
        row: id.0.to_string(),
        what: "it is named but not there",
    })
}

/// Rows as [`read_summary`] reads them, with the groups of whoever is in a directory.
async fn read_summaries(
    tx: &mut Tx,
    schemas: &Schemas,
    org: OrgId,
    rows: &[SqlRow],
) -> Result<Vec<UserSummary>, StoreError> {
    let mut users = rows.iter().map(|row| read_summary(row, schemas)).collect::<Result<Vec<_>, _>>()?;
    let mut of_directory: BTreeMap<DirectoryId, Vec<(usize, i64)>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let (Some(directory), Some(rid)) = (users[at].directory, row.maybe_int(11)?) {
            of_directory.entry(directory).or_default().push((at, rid));
        }
    }
    for (directory, people) in of_directory {
        let rids: Vec<i64> = people.iter().map(|(_, rid)| *rid).collect();
        let mut groups = member::find_memberships(tx, DirectoryKey { org, directory }, &rids).await?;
        for (at, rid) in people {
            let groups = groups.remove(&rid).unwrap_or_default();
            users[at].groups = groups.into_iter().map(|group| group.display).collect();
        }
    }
    Ok(users)
}

/// Columns: account, directory, active, disabled, told, used, id, doc, deleted, idp, subject, resource, was used.
fn read_summary(row: &SqlRow, schemas: &Schemas) -> Result<UserSummary, StoreError> {
    let account = AccountId(row.int(0)?);
    let id = row.maybe_text(6)?.map(ResourceId::new);
    let told = account::read_told(account, row.maybe_text(4)?)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut attributes = None;
    let (name, display_name, email, groups) = match (&id, row.maybe_text(7)?) {
        (Some(id), Some(doc)) => {
            let mut user = resource::parse_document(ResourceKind::User, id.as_str(), doc)?;
            user.set_aside(schemas);
            attributes = Some(account::attributes_of(&user, schemas));
            (owned(user.user_name()), owned(user.display_name()), owned(user.email()), Vec::new())
        }
        _ => (
            told.email.clone().or(owned(row.maybe_text(10)?)),
            told.attributes.first_text(Attributes::NAME).map(str::to_owned),
            told.email,
            told.groups.unwrap_or_default(),
        ),
    };
    let state = match (row.maybe_int(8)?.is_some(), row.flag(3)?, row.flag(2)?) {
        (true, ..) => UserState::Deleted,
        (_, true, _) => UserState::Disabled,
        (_, _, false) => UserState::Inactive,
        _ => UserState::Active,
    };
    Ok(UserSummary {
        account,
        directory: row.maybe_int(1)?.map(directory_id).transpose()?,
        id,
        name: name.unwrap_or_else(|| account_name(account)),
        display_name,
        email,
        groups,
        attributes,
        state,
        idp: owned(row.maybe_text(9)?),
        // Until the first login it says when the account was made.
        used: (row.maybe_int(1)?.is_none() || row.flag(12)?).then(|| row.at(5)).transpose()?,
        ended: 0,
        others: Vec::new(),
    })
}
