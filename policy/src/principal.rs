//! What is known of a person, and the principal that policy makes of it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::identity::{PreparedHeaders, SignedClaims};
use crate::{AccountId, Attributes, OrgId, Roles, RulesVersion, Seq};

/// Facts that the directory, or without one a verified login, states about somebody: verified, not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The account.
    pub account: AccountId,
    /// Its organization.
    pub org: OrgId,
    /// An id that stays this person's and is never another's: `id` of the SCIM User, without a directory a hash of issuer
    /// and subject.
    pub stable_id: Arc<str>,
    /// `userName` of the SCIM User; `None` without a directory.
    pub user_name: Option<Arc<str>>,
    /// `id` of the SCIM User; `None` without a directory.
    pub id: Option<Arc<str>>,
    /// `externalId` of the SCIM User.
    pub external_id: Option<Arc<str>>,
    /// The subject at the IdP that is linked.
    pub subject: Option<Arc<str>>,
    /// An address that may be believed: the directory's primary one, or a verified one of a login.
    pub email: Option<Arc<str>>,
    /// Everything else that is stated: for people and for the application. Roles come of it only where a directory states it
    /// and the bindings file says so.
    pub attributes: Attributes,
    /// Display names of all groups, nested ones included.
    pub groups: Arc<[Arc<str>]>,
}

/// A person who may sign in, as policy sees them now; roles and headers are resolved. Made by
/// `Policy::describe_person`.
#[derive(Clone, Debug)]
pub struct Principal {
    pub(crate) facts: Arc<Facts>,
    pub(crate) at: Seq,
    pub(crate) rules: RulesVersion,
    pub(crate) name: Arc<str>,
    pub(crate) roles: Roles,
    pub(crate) headers: PreparedHeaders,
}

impl Principal {
    /// The facts it was resolved from.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// The log number the facts were read at (rule R2).
    pub fn facts_at(&self) -> Seq {
        self.at
    }

    /// The configuration it was resolved with.
    pub fn rules_version(&self) -> RulesVersion {
        self.rules
    }

    /// The name that the application is told: the value of the user header, before encoding.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The resolved roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The identity headers, ready to be written; lower-case names.
    pub fn identity_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers.fields
    }

    /// The identity headers as lines of HTTP/1.1, each with its end.
    pub fn identity_lines(&self) -> &[u8] {
        &self.headers.lines
    }

    /// The claims that the signed header begins with; `None` where there is none.
    pub fn claims(&self) -> Option<&SignedClaims> {
        self.headers.claims.as_ref()
    }

    /// Tells whether the application would know this person just as `other`.
    pub fn is_told_as(&self, other: &Self) -> bool {
        self.headers.fields == other.headers.fields && self.headers.claims == other.headers.claims
    }

    /// The same person, read again at a later log number with nothing different.
    #[must_use]
    pub fn read_at(mut self, at: Seq) -> Self {
        self.at = at;
        self
    }
}
