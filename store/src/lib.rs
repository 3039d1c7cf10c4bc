//! The store: the only crate with SQL. Users, groups, accounts, links, sessions, and the log of what changed.
//!
//! Whatever changes access returns [`Committed`](portcullis_session::Committed): durable, and to be enforced before it
//! is answered. Resource, account, event, audit and revocation of a change are one transaction; log numbers are in the
//! order of commits. One task owns the only connection that writes, and removals overtake everything else in it. It
//! refuses a schema too new, a file on a network file system, and any login that does not match exactly one active
//! person (`docs/architecture.md`).
#![forbid(unsafe_code)]

mod account;
mod assertion_keys;
mod attr;
mod barred;
mod directory;
mod end;
mod engine;
mod epoch;
mod error;
mod file;
mod filter;
mod glance;
mod head;
mod idp_keys;
mod link;
mod lock;
mod log;
mod login;
mod member;
mod migrate;
mod named;
#[cfg(debug_assertions)]
mod plan;
mod refusal;
mod relink;
mod repeats;
mod resource;
mod script;
mod sealed_keys;
mod searched;
mod session;
mod spent;
mod standing;
mod store;
mod tidy;
mod tokens;
mod users;
mod verify;
mod writer;

pub use assertion_keys::{AssertionKeyRow, FormerKeys};
pub use directory::{DirectoryPerson, ScimAnswer, StepApplied, StepRefusal, WriteTerms, Written};
pub use end::{EndedAtIdp, IdpNotice, IdpSessions, Which};
pub use error::{Cause, OpenError, StoreError};
pub use file::look_at_file;
pub use glance::{DatabaseGlance, DirectoryGlance, GlancedPart, NewestPerson, glance_at};
pub use idp_keys::{DistrustedKey, IdpKeyRow, IdpKeyState, KeptIdpKeys, idp_keys_in};
pub use link::{Stranded, stranded_in};
pub use lock::{FileLock, LockHolder, NotLocked};
pub use log::{Audit, Event, Origin};
pub use login::{
    AdmissionRefusal, EmailDomains, Hint, LinkAttribute, LoggedIn, LoginAttributes, LoginError, NewSession,
    PeopleSource, VerifiedLogin,
};
pub use named::NamedAccounts;
pub use portcullis_policy::LinkTo;
pub use refusal::LoggedRefusal;
pub use relink::{RelinkTo, Relinkable, Relinked};
pub use repeats::Repeat;
pub use sealed_keys::{KeyLoss, KeysError, Replaced, VoidBar, keys_fault_in};
pub use session::SealedLogoutHint;
pub use standing::{Mode, Standing};
pub use store::Store;
pub use tidy::Retention;
pub use tokens::{AddedToken, NewToken, RotatedToken, TokenRow, TokenWarning, tokens_in};
pub use users::{LinkDetails, NewUser, SessionDetails, UserDetails, UserError, UserState, UserSummary};
pub use verify::{BrokenRow, RuleOutcome, StoreRule, VerifyError, verify_in};
