//! SCIM 2.0 as functions: a request in, a [`Query`] or a [`Write`] out; a resource and a patch make a resource.
//!
//! No I/O, no clock, no store. A dialect layer turns what identity providers really send into what the standard
//! says; behind it stands a strict engine driven by the schema tables, which knows no vendors. The rule it
//! protects: an operation is applied or it is an error. There is no third outcome.
#![forbid(unsafe_code)]

mod answer;
mod aside;
mod conform;
pub mod dialect;
mod discovery;
mod error;
pub mod filter;
mod json;
mod patch;
mod projection;
mod read;
mod request;
mod resource;
pub mod schema;

pub use answer::{Service, Wanted, answer_request};
pub use discovery::Discovery;
pub use error::{ScimError, ScimType};
pub use filter::{Filter, SearchRow, Sort, SortOrder};
pub use json::{MAX_BODY, MAX_LEVELS};
pub use patch::{MAX_OPERATIONS, Patch};
pub use portcullis_policy::GroupPatch;
pub use projection::Projection;
pub use read::read_request;
pub use request::{
    Act, ListPage, MAX_COUNT, Outcome, Precondition, Query, ScimRequest, Search, Selection, Write,
};
pub use resource::{Damaged, Member, Membership, Meta, Resource, ResourceRecord, Tag, Version};
pub use schema::{ResourceKind, Schemas};
