//! Who may come in and who may do what, as pure functions: no I/O, no clock, no async.
//!
//! The crate also owns the ids, the facts about a person, the [`Change`]s to access and the vocabulary of the
//! configuration that every other crate speaks of. The rule it protects: leave to forward a request is a [`Pass`], and only [`Policy::decide`] makes one.
#![forbid(unsafe_code)]

mod access_change;
mod address;
mod attributes;
mod decide;
pub mod fold;
mod folded;
mod identity;
mod ids;
mod index;
mod loopback;
mod network;
mod pattern;
mod principal;
mod readings;
mod roles;
mod routes;
mod shown;
mod vocabulary;

pub use access_change::{Change, Scope};
pub use address::{AddressError, HostPort, PublicUrl};
pub use attributes::Attributes;
pub use decide::{Decision, DenyReason, Pass};
pub use identity::{
    HEADER_BUDGET, HeaderEncoding, HeaderFault, HeaderPreset, HeaderRule, HeaderSource, HeaderText,
    IDENTITY_HEADERS, IdentityHeaders, PresetHeader, SIGNED_HEADER, SignedClaims, SignedHeader, TemplatePart,
    ToldGroups, UserFrom,
};
pub use ids::{
    AccountId, AppId, DirectoryId, Generation, OrgId, ResourceId, RulesVersion, Seq, SessionHash, Timestamp,
};
pub use loopback::is_loopback_name;
pub use network::{AllowedHost, Network, NetworkError};
pub use pattern::{Pattern, PatternError};
pub use principal::{Facts, Principal};
pub use roles::{AttributeBinding, BindingError, Bindings, GroupBinding, OutrankedRole, Resolution, Roles};
pub use routes::{Allow, App, Clash, OnChange, Policy, Route, RouteKey, Rule, RuleError, UpstreamPath};
pub use shown::{MOST, escaped, has_hidden_end, is_seen, shown};
pub use vocabulary::{
    ClientAuth, ENTERPRISE_USER, GroupPatch, HeaderCase, HostSent, LinkTo, LogClient, LogFormat, LogIdentity,
    LogTarget, USER_ATTRIBUTES, USER_LISTS,
};
