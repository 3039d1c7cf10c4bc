//! One person as orders by hand show them, and whose word says who there is.

use portcullis_policy::{Bindings, Timestamp};
use portcullis_store::{UserState, UserSummary};
use serde::{Deserialize, Serialize};

/// The source of people: `provisioning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// A directory's, over SCIM.
    Directory,
    /// An operator's: `user add`.
    Invited,
    /// A login's.
    Login,
}

/// One person, as `user list` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserListing {
    pub(crate) account: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// The roles that the bindings make of their groups; absent where no roles are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
    /// `active`, `inactive` (says the directory), `disabled` (says an operator), `deleted`, or `unused`: made under
    /// another `provisioning`, so that nobody signs in as it.
    pub(crate) state: String,
    /// True for whoever is out although it is not stored yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) on_hold: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idp: Option<String>,
    /// The last login: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<String>,
    /// The number of live sessions that an order ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<u32>,
    /// The other accounts that bear a name of this one: an order about it is carried out on them too. A list has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<i64>,
}

impl UserListing {
    /// Sets whose word says who there is: whether anybody signs in as this account depends on it.
    pub(crate) fn with_source(mut self, people: Option<People>) -> Self {
        let is_of_directory = self.id.is_some();
        let is_used = people.is_none_or(|people| (people != People::Login) == is_of_directory);
        if !is_used && self.state == UserState::Active.table_word() {
            self.state = "unused".to_owned();
        }
        self
    }
}

/// The roles that the bindings give; `None` where no bindings are known.
fn roles_of(user: &UserSummary, bindings: &Bindings) -> Option<Vec<String>> {
    let groups = user.groups.iter().map(String::as_str);
    let roles = bindings.resolve_stated(groups, user.attributes.as_ref()).roles;
    (!bindings.is_empty()).then(|| roles.names().iter().map(|role| (**role).to_owned()).collect())
}

/// Makes it of what the store has.
pub(crate) fn user_listing(user: UserSummary, bindings: &Bindings) -> UserListing {
    UserListing {
        roles: roles_of(&user, bindings),
        on_hold: false,
        ended: None,
        others: user.others.iter().map(|account| account.0).collect(),
        account: user.account.0,
        id: user.id.map(|id| id.to_string()),
        name: user.name,
        display_name: user.display_name,
        state: user.state.table_word().to_owned(),
        idp: user.idp,
        used: user.used.map(format_rfc3339),
    }
}

/// Writes a moment down, to the second.
pub(crate) fn format_rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default()
}
