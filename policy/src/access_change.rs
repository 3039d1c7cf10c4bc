//! What a committed write means for access. The store states it, `session` enforces it.

use std::sync::Arc;

use crate::{AccountId, Generation, OrgId, SessionHash};

/// One change to access. What takes away only grows, so changes may come in any order, however often (rule R2):
/// no change says "active again".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sessions of the account born with a smaller generation are over.
    Out(AccountId, Generation),
    /// One session is over.
    Ended(AccountId, SessionHash),
    /// Sessions born before the scope's epoch are over.
    Epoch(Scope, u64),
    /// A description (name, groups, roles) of this account that has to be read again.
    Reconsider(AccountId),
    /// The same for every account of the organization: a change that touches more than a hundred.
    ReconsiderAll(OrgId),
}

/// The sessions that an epoch is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every session of the deployment.
    Deployment,
    /// Every session of one organization.
    Org(OrgId),
    /// Every session that one IdP of an organization signed in.
    Idp(OrgId, Arc<str>),
}
