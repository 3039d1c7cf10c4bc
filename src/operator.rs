//! What an operator may order by hand: people in and out, and to be told: who there is and why, what was done, and
//! what a reference number means.
//!
//! A running program takes these orders on its admin socket; without one, the command line carries them out itself on
//! the store that it has locked. Either way it is this code, behind the same router, so both are the same road: what
//! takes away is committed and then enforced before the operator is told that it is done (R5). It refuses to add
//! people where a directory is meant to say who there is, and to remove whom it would bring back.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_policy::{AccountId, Bindings, DirectoryId, OrgId, Seq, Timestamp};
use portcullis_proxy::LogDetail;
use portcullis_session::Committed;
use portcullis_store::{
    Audit, LinkDetails, NewUser, Origin, RelinkTo, SessionDetails, Store, StoreError, UserDetails, UserError,
    UserState, UserSummary,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::log::chain;
use crate::order::{Order, facts};
use crate::revocation::{NotGone, Revocation};

/// Carries out orders.
pub(crate) struct Operator {
    pub(crate) core: Handle,
    pub(crate) store: Arc<Store>,
    pub(crate) revocation: Revocation,
    pub(crate) terms: ArcSwap<Terms>,
    /// Whether this process serves, so that somebody may be in. Else only the store is written.
    pub(crate) serves: bool,
    /// The identity provider that is configured: where `user relink` moves links to. A reload may change it; without
    /// a configuration there is none.
    pub(crate) relink_to: ArcSwapOption<RelinkTo>,
}

/// What the configuration says that orders go by; replaced by a reload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Whose word says who there is; `None` where no configuration could be read.
    pub(crate) people: Option<People>,
    /// The address of the app, for people.
    pub(crate) address: Option<String>,
    /// How people are named in the log.
    pub(crate) log: LogDetail,
}

/// Whose word says who there is: `provisioning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// A directory's, over SCIM.
    Directory,
    /// An operator's: `user add`.
    Invited,
    /// A login's.
    Login,
}

/// A person to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// What the IdP calls them: compared with the claim that `link` names, as `userName`.
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// The IdP's own id of the person, compared as `externalId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
}

/// Who was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) id: String,
    /// The address to send them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// One person, as `user list` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) account: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// What the bindings make of their groups; absent where no roles are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
    /// `active`, `inactive` (says the directory), `disabled` (says an operator), `deleted`, or `unused`: made under
    /// another `provisioning`, so that nobody signs in as it.
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idp: Option<String>,
    /// The last login: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<String>,
    /// How many live sessions an order ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<u32>,
    /// The other accounts that bear a name of this one: an order about it is carried out on them too. A list has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<i64>,
}

impl User {
    /// Whether anybody signs in as this account depends on whose word says who there is.
    fn under(mut self, people: Option<People>) -> Self {
        let is_of_directory = self.id.is_some();
        let is_used = people.is_none_or(|people| (people != People::Login) == is_of_directory);
        if !is_used && self.state == UserState::Active.word() {
            self.state = "unused".to_owned();
        }
        self
    }
}

/// One person, with everything that is kept of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    pub(crate) created: String,
    /// Out although it is not stored yet.
    pub(crate) on_hold: bool,
    pub(crate) links: Vec<Linked>,
    pub(crate) groups: Vec<InGroup>,
    /// Roles that the groups give and a line of `conflicts` takes.
    pub(crate) lost: Vec<LostRole>,
    /// The newest first, 100 at most.
    pub(crate) sessions: Vec<SignedIn>,
}

/// Who a person is at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Linked {
    pub(crate) idp: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) since: String,
}

/// A group of a person, and the roles that it gives by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InGroup {
    pub(crate) name: String,
    /// Only through another group.
    pub(crate) nested: bool,
    pub(crate) gives: Vec<String>,
}

/// A role that is not granted, and the stricter one that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostRole {
    pub(crate) role: String,
    pub(crate) to: String,
}

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    /// What log lines call it by.
    pub(crate) session: String,
    pub(crate) idp: String,
    pub(crate) since: String,
    pub(crate) heard: String,
    pub(crate) until: String,
}

/// Some of the audit, the newest first; `next` asks for those before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Audits {
    pub(crate) audits: Vec<Audited>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// One row of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) time: String,
    pub(crate) seq: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    pub(crate) detail: serde_json::Value,
}

/// Some of the people; `next` asks for those behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Users {
    pub(crate) users: Vec<User>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<i64>,
}

/// A refusal that a reference number leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) reference: String,
    pub(crate) at: String,
    /// The whole record as it was kept.
    pub(crate) record: serde_json::Value,
}

/// Why an order was not carried out. Its text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// There is nobody, or nothing, of that name.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as it was said.
    #[error("{0}")]
    Refused(String),
    /// The store did not answer. What takes away may or may not have been committed: it is to be repeated.
    #[error("the store did not answer: nothing is certain, so repeat it")]
    Store(#[source] StoreError),
    /// It is not committed. Whoever it is about is out all the same, in the program that runs.
    #[error("{}", on_hold(*accounts, *exchanges, *is_read, why))]
    OnHold {
        /// How many accounts bear the name.
        accounts: usize,
        /// How many exchanges were cut.
        exchanges: usize,
        /// Whether the store could say whose they are.
        is_read: bool,
        /// What the store did.
        why: String,
    },
    /// It is committed and stands, but something it cut has not gone yet.
    #[error("it stands, but not everything that was cut has ended: repeat it")]
    NotGone(#[from] NotGone),
    /// The program failed.
    #[error("the task of the order failed: {0}")]
    Failed(String),
}

fn on_hold(accounts: usize, exchanges: usize, is_read: bool, why: &str) -> String {
    let out = match (accounts, is_read) {
        (0, _) => "nobody of that name is in at the moment, so nobody was put out".to_owned(),
        (_, true) => format!(
            "the person is out all the same, on hold in the program that runs, with {exchanges} exchanges ended"
        ),
        (_, false) => format!(
            "whoever of that name is in ({accounts} accounts) is out all the same, on hold in the program that runs, \
             with {exchanges} exchanges ended"
        ),
    };
    format!(
        "the order is not stored ({why}); {out}. A restart would let them in: repeat the order until it ends \
         with 0"
    )
}

/// How many people one answer holds.
const A_PAGE: u32 = 1000;

impl Operator {
    /// People in the order in which their accounts were made, behind the account `after`.
    ///
    /// # Errors
    /// [`NotDone::Store`].
    pub(crate) async fn users(&self, after: Option<i64>) -> Result<Users, NotDone> {
        let found = self.store.user_list(OrgId::ONLY, after.map(AccountId), A_PAGE).await;
        let policy = self.revocation.sessions().policy();
        let people = self.terms.load().people;
        let shown = |user| shown(user, policy.bindings()).under(people);
        let users: Vec<User> = found.map_err(NotDone::Store)?.into_iter().map(shown).collect();
        let whole = users.len() == A_PAGE as usize;
        let next = users.last().filter(|_| whole).map(|last| last.account);
        Ok(Users { users, next })
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`NotDone::Refused`] where people do not come by hand, or the name is taken or none.
    pub(crate) async fn add(self: Arc<Self>, person: Person) -> Result<Added, NotDone> {
        let terms = self.terms.load_full();
        if terms.people != Some(People::Invited) {
            return Err(NotDone::Refused(
                "people are added by hand only with provisioning: invited. Add the person at the identity \
                 provider"
                    .to_owned(),
            ));
        }
        let Person { name, email, display_name, external_id } = person;
        let user = NewUser { user_name: name.clone(), email: email.clone(), display_name, external_id };
        let adding = move |store: Arc<Store>| async move {
            store.user_add(OrgId::ONLY, DirectoryId::ONLY, user, &Origin::of(ACTOR), Timestamp::now()).await
        };
        let (id, _) = self.ordered(adding).await?;
        let facts = facts(AccountId(0), Some(id.as_str()), email.as_deref());
        let named = terms.log.user(&facts, Some(&name));
        tracing::info!(by = BY, user = named.as_deref(), "a person was added by hand");
        Ok(Added { id: id.to_string(), address: terms.address.clone() })
    }

    /// Everything that is kept of a person.
    ///
    /// # Errors
    /// [`NotDone::Unknown`], [`NotDone::Refused`] where the name names several.
    pub(crate) async fn show(&self, who: &str) -> Result<Shown, NotDone> {
        let now = Timestamp::now();
        let details = self.store.user_show(OrgId::ONLY, who, now).await?;
        let sessions = self.revocation.sessions();
        let subject = details.user.directory.zip(details.user.id.clone());
        let on_hold = sessions.is_held(OrgId::ONLY, details.user.account, subject.as_ref());
        let heard_after = now.plus_ms(sessions.idle_ms().saturating_neg());
        let mut shown = whole(details, sessions.policy().bindings(), on_hold, heard_after);
        shown.user = shown.user.under(self.terms.load().people);
        Ok(shown)
    }

    /// Removes a person as the directory would. Where one says who there is, it would bring them back: refused.
    ///
    /// # Errors
    /// As [`disable`](Self::disable); [`NotDone::Refused`] where it is not an operator's word.
    pub(crate) async fn remove(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        match self.terms.load().people {
            Some(People::Invited | People::Login) => {}
            Some(People::Directory) => {
                return Err(NotDone::Refused(
                    "the directory says who there is (provisioning: scim), and its next sync would bring them back. \
                     Remove the person at the identity provider; until that has come here, put them out with \
                     portcullis user disable"
                        .to_owned(),
                ));
            }
            None => {
                return Err(NotDone::Refused(
                    "whether a directory says who there is stands in the configuration, which was not read: name it \
                     with -c FILE. To put the person out now: portcullis user disable"
                        .to_owned(),
                ));
            }
        }
        let order =
            Order { what: "a person was removed by hand", verb: "user remove", who, takes_away: true };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_remove(OrgId::ONLY, &who, &Origin::of(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self, write).await
    }

    /// Ends every session of a person.
    ///
    /// # Errors
    /// As [`disable`](Self::disable).
    pub(crate) async fn end_sessions(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        let order = Order {
            what: "the sessions of a person were ended by hand",
            verb: "user end-sessions",
            who,
            takes_away: true,
        };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_end_sessions(OrgId::ONLY, &who, &Origin::of(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self, write).await
    }

    /// The audit, the newest first: `limit` rows before the one that `before` names.
    ///
    /// # Errors
    /// [`NotDone::Refused`] for a `before` that no answer gave; [`NotDone::Store`].
    pub(crate) async fn audits(&self, before: Option<&str>, limit: u32) -> Result<Audits, NotDone> {
        let place = |text: &str| {
            let (seq, n) = text.split_once('.')?;
            Some((Seq(seq.parse().ok()?), n.parse().ok()?))
        };
        let before = match before.map(|text| place(text).ok_or(text)) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(text)) => {
                return Err(NotDone::Refused(format!("{text:?} is not where an answer ended")));
            }
        };
        let limit = limit.min(A_PAGE);
        let found = self.store.audits_before(OrgId::ONLY, before, limit).await.map_err(NotDone::Store)?;
        let whole = found.len() == limit as usize;
        let next = found.last().filter(|_| whole).map(|last| format!("{}.{}", last.seq.0, last.n));
        Ok(Audits { audits: found.into_iter().map(audited).collect(), next })
    }

    /// Puts a person out until an operator lets them in again.
    ///
    /// # Errors
    /// [`NotDone::Unknown`], [`NotDone::Refused`] where the name names several.
    pub(crate) async fn disable(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        let order =
            Order { what: "a person was put out by hand", verb: "user disable", who, takes_away: true };
        let write = move |store: Arc<Store>, who: String| async move {
            store.user_disable(OrgId::ONLY, &who, &Origin::of(ACTOR), Timestamp::now()).await
        };
        order.carry_out(self, write).await
    }

    /// Takes a `disable` back.
    ///
    /// # Errors
    /// As [`disable`](Self::disable).
    pub(crate) async fn enable(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        let order =
            Order { what: "a person was let in again by hand", verb: "user enable", who, takes_away: false };
        let operator = self.clone();
        let write = move |store: Arc<Store>, who: String| async move {
            let (org, origin) = (OrgId::ONLY, Origin::of(ACTOR));
            let named = store.named(org, &who).await?;
            let sessions = operator.revocation.sessions();
            // Put out by an order that was never stored: what it would have ended does not come back with this one.
            let ended = match named.all().any(|account| sessions.is_held(org, account, None)) {
                true => Some(store.user_end_sessions(org, &who, &origin, Timestamp::now()).await?),
                false => None,
            };
            let enabled = store.user_enable(org, &who, &origin, Timestamp::now()).await?;
            Ok(match ended {
                Some(ended) => ended.and_with(enabled, |_, user| user),
                None => enabled,
            })
        };
        order.carry_out(self, write).await
    }

    /// What a reference number leads to.
    ///
    /// # Errors
    /// [`NotDone::Unknown`] where nothing is kept under it (any more).
    pub(crate) async fn reference(&self, reference: &str) -> Result<Told, NotDone> {
        match self.store.reference(reference).await.map_err(NotDone::Store)? {
            Some(refused) => Ok(Told {
                reference: refused.reference,
                at: rfc3339(refused.at),
                record: serde_json::from_str(&refused.record)
                    .unwrap_or(serde_json::Value::String(refused.record)),
            }),
            None => Err(NotDone::Unknown(format!(
                "nothing is kept under {reference}. The store has the last 10,000 refusals, ten a second at most; \
                 the log has every one"
            ))),
        }
    }

    /// Commits and enforces in a task of its own, spawned before the transaction begins: an operator who gives up
    /// waiting stops nothing. Says how many exchanges were cut.
    pub(crate) async fn ordered<T, W>(
        self: Arc<Self>,
        write: impl FnOnce(Arc<Store>) -> W + Send + 'static,
    ) -> Result<(T, usize), NotDone>
    where
        T: Send + 'static,
        W: Future<Output = Result<Committed<T>, UserError>> + Send,
    {
        let core = self.core.clone();
        let task = core.spawn(async move {
            let done = write(self.store.clone()).await?;
            Ok(self.revocation.enforce_and_count(done).await?)
        });
        task.await.unwrap_or_else(|error| Err(NotDone::Failed(error.to_string())))
    }
}

impl From<UserError> for NotDone {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown(_) => Self::Unknown(error.to_string()),
            UserError::Ambiguous { .. } | UserError::Refused(_) | UserError::NoEntry(_) => {
                Self::Refused(error.to_string())
            }
            UserError::Store(error) => {
                tracing::error!(error = %chain(&error), "an operator's order could not be carried out");
                Self::Store(error)
            }
        }
    }
}

/// Who does it, in the audit and in the log.
pub(crate) const ACTOR: &str = "cli";
pub(crate) const BY: &str = "operator";

/// The roles that groups give; `None` where no bindings are known.
fn roles(groups: &[String], bindings: &Bindings) -> Option<Vec<String>> {
    let roles = bindings.resolve(groups.iter().map(String::as_str)).roles;
    (!bindings.is_empty()).then(|| roles.names().iter().map(|role| (**role).to_owned()).collect())
}

fn whole(details: UserDetails, bindings: &Bindings, on_hold: bool, heard_after: Timestamp) -> Shown {
    let UserDetails { user, created, others, links, nested, sessions } = details;
    let lost = bindings.resolve(user.groups.iter().map(String::as_str)).lost;
    let lost = lost.iter().map(|lost| LostRole { role: (*lost.role).to_owned(), to: (*lost.to).to_owned() });
    let group = |name: &String| InGroup {
        name: name.clone(),
        nested: nested.contains(name),
        gives: bindings.given_by(name).map(|role| (**role).to_owned()).collect(),
    };
    let link = |link: LinkDetails| {
        let LinkDetails { idp, issuer, subject, since } = link;
        Linked { idp, issuer, subject, since: rfc3339(since) }
    };
    let session = |session: SessionDetails| SignedIn {
        session: format!("{:?}", session.hash),
        idp: session.idp,
        since: rfc3339(session.created),
        heard: rfc3339(session.seen),
        until: rfc3339(session.expires),
    };
    let live = sessions.into_iter().filter(|session| session.seen > heard_after);
    Shown {
        email: user.email.clone(),
        created: rfc3339(created),
        on_hold,
        links: links.into_iter().map(link).collect(),
        groups: user.groups.iter().map(group).collect(),
        lost: lost.collect(),
        sessions: live.map(session).collect(),
        user: User { others: others.into_iter().map(|account| account.0).collect(), ..shown(user, bindings) },
    }
}

fn audited(audit: Audit) -> Audited {
    Audited {
        time: rfc3339(audit.at),
        seq: audit.seq.0,
        actor: audit.actor,
        action: audit.action,
        outcome: audit.outcome,
        account: audit.account.map(|account| account.0),
        client: audit.client,
        reference: audit.reference,
        detail: serde_json::from_str(&audit.detail).unwrap_or(serde_json::Value::String(audit.detail)),
    }
}

pub(crate) fn shown(user: UserSummary, bindings: &Bindings) -> User {
    User {
        roles: roles(&user.groups, bindings),
        ended: None,
        others: user.others.iter().map(|account| account.0).collect(),
        account: user.account.0,
        id: user.id.map(|id| id.to_string()),
        name: user.name,
        display_name: user.display_name,
        state: user.state.word().to_owned(),
        idp: user.idp,
        used: user.used.map(rfc3339),
    }
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default()
}
