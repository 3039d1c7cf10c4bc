//! What this service says about itself: `/ServiceProviderConfig`, `/ResourceTypes`, `/Schemas` (RFC 7644 §4).
//!
//! The rule it protects: what is declared is true. A client that believes these answers is never surprised.

use std::sync::Arc;

/// What a client wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// What is offered.
    Config,
    /// The kinds of resources, or the one named.
    ResourceTypes(Option<crate::ResourceKind>),
    /// The schemas, or the one with that URN.
    Schemas(Option<Arc<str>>),
}
