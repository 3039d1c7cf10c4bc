//! What an operator may order by hand: people in and out, and what a reference number means.
//!
//! A running program takes these orders on its admin socket; without one, the command line carries them out itself on
//! the store that it has locked. Either way it is this code, behind the same router, so both are the same road: what
//! takes away is committed and then enforced before the operator is told that it is done (R5). It refuses to add
//! people where a directory is meant to say who there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use portcullis_policy::{AccountId, DirectoryId, OrgId, Timestamp};
use portcullis_session::Committed;
use portcullis_store::{NewUser, Origin, RelinkTo, Store, StoreError, UserError, UserSummary};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::log::chain;
use crate::revocation::{NotGone, Revocation};

/// Carries out orders.
pub(crate) struct Operator {
    pub(crate) core: Handle,
    pub(crate) store: Arc<Store>,
    pub(crate) revocation: Revocation,
    /// Whether people come by `user add`: `provisioning: invited`. A reload may change it.
    pub(crate) invites: AtomicBool,
    /// The identity provider that is configured: where `user relink` moves links to. A reload may change it; without
    /// a configuration there is none.
    pub(crate) relink_to: ArcSwapOption<RelinkTo>,
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
    /// `active`, `inactive` (says the directory), `disabled` (says an operator) or `deleted`.
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idp: Option<String>,
    /// The last login, or when the account was made: RFC 3339.
    pub(crate) used: String,
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
    /// It is committed and stands, but something it cut has not gone yet.
    #[error("it stands, but not everything that was cut has ended: repeat it")]
    NotGone(#[from] NotGone),
    /// The program failed.
    #[error("the task of the order failed: {0}")]
    Failed(String),
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
        if !self.invites.load(Ordering::Acquire) {
            return Err(NotDone::Refused(
                "people are added by hand only with provisioning: invited. Add the person at the identity \
                 provider"
                    .to_owned(),
            ));
        }
        let Person { name: user_name, email, display_name, external_id } = person;
        let user = NewUser { user_name, email, display_name, external_id };
        let id = self
            .ordered(move |store| async move {
                store
                    .user_add(OrgId::ONLY, DirectoryId::ONLY, user, &Origin::of(ACTOR), Timestamp::now())
                    .await
            })
            .await?;
        Ok(Added { id: id.to_string() })
    }

    /// Puts a person out until an operator lets them in again.
    ///
    /// # Errors
    /// [`NotDone::Unknown`], [`NotDone::Refused`] where the name names several.
    pub(crate) async fn disable(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        let order = move |store: Arc<Store>| async move {
            store.user_disable(OrgId::ONLY, &who, &Origin::of(ACTOR), Timestamp::now()).await
        };
        self.ordered(order).await.map(shown)
    }

    /// Takes a `disable` back.
    ///
    /// # Errors
    /// As [`disable`](Self::disable).
    pub(crate) async fn enable(self: Arc<Self>, who: String) -> Result<User, NotDone> {
        let order = move |store: Arc<Store>| async move {
            store.user_enable(OrgId::ONLY, &who, &Origin::of(ACTOR), Timestamp::now()).await
        };
        self.ordered(order).await.map(shown)
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
    /// waiting stops nothing.
    pub(crate) async fn ordered<T, W>(
        self: Arc<Self>,
        write: impl FnOnce(Arc<Store>) -> W + Send + 'static,
    ) -> Result<T, NotDone>
    where
        T: Send + 'static,
        W: Future<Output = Result<Committed<T>, UserError>> + Send,
    {
        let core = self.core.clone();
        let task = core.spawn(async move {
            let done = write(self.store.clone()).await?;
            Ok(self.revocation.enforce(done).await?)
        });
        task.await.unwrap_or_else(|error| Err(NotDone::Failed(error.to_string())))
    }
}

impl From<UserError> for NotDone {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown(_) => Self::Unknown(error.to_string()),
            UserError::Ambiguous(_) | UserError::Refused(_) => Self::Refused(error.to_string()),
            UserError::Store(error) => {
                tracing::error!(error = %chain(&error), "an operator's order could not be carried out");
                Self::Store(error)
            }
        }
    }
}

/// Who does it, in the audit.
pub(crate) const ACTOR: &str = "cli";

fn shown(user: UserSummary) -> User {
    User {
        account: user.account.0,
        id: user.id.map(|id| id.to_string()),
        name: user.name,
        display_name: user.display_name,
        state: user.state.word().to_owned(),
        idp: user.idp,
        used: rfc3339(user.used),
    }
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default()
}
