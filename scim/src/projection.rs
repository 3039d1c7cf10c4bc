//! Which attributes an answer holds (RFC 7644 §3.9): all, those of `attributes`, or all but `excludedAttributes`.
//!
//! What is `returned: always` cannot be excluded, what is `never` cannot be asked for. A name that no schema knows
//! asks for nothing and is passed over.

use serde_json::{Map, Value};

use crate::schema::{AttributePath, ResourceKind, Returned, Schemas};

/// What the client wants to see of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// Only these, and what is always there. `None`: everything.
    only: Option<Vec<AttributePath>>,
    without: Vec<AttributePath>,
}
