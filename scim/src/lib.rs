//! SCIM as functions: a request in, a [`Query`] or a [`Write`] out; a resource and a patch make a resource.
//!
//! No I/O, no clock, no store. A dialect layer turns what identity providers really send into what the standard
//! says; behind it stands a strict engine driven by the schema tables, which knows no vendors. SCIM 1.1 is translated
//! onto the same engine (`version_one`). The rule it protects: an operation is applied or it is an error. There is no
//! third outcome.
#![forbid(unsafe_code)]

mod answer;
mod aside;
mod bulk;
mod conform;
mod cursor;
pub mod dialect;
mod discovery;
mod endpoint;
mod error;
pub mod filter;
mod json;
mod limits;
mod list;
mod moment;
mod outcome;
mod patch;
mod projection;
mod put;
mod read;
mod read_only;
mod read_write;
mod request;
mod resource;
pub mod schema;
mod texts;
mod version;
mod version_one;
mod write;

pub use answer::{Service, Wanted, answer_request};
pub use bulk::{Bulk, BulkPlace, BulkResults, BulkWrite, RepeatKey};
pub use cursor::PageCursor;
pub use discovery::Discovery;
pub use error::{ScimError, ScimType};
pub use filter::{Filter, SearchRow, Sort, SortOrder};
pub use json::{MAX_BODY, MAX_LEVELS};
pub use limits::{BulkLimits, MAX_COUNT, REPEAT_SECONDS};
pub use moment::Moment;
pub use outcome::{ListPage, Outcome, PagePlace};
pub use patch::{MAX_OPERATIONS, MemberChanges, Patch};
pub use portcullis_policy::GroupPatch;
pub use projection::Projection;
pub use read::{read_request, read_request_within};
pub use request::{PageStart, Query, ScimRequest, Search, Selection};
pub use resource::{Damaged, Member, Membership, Meta, Resource, ResourceRecord, Tag, Version};
pub use schema::{ResourceKind, Schemas};
pub use version::ScimVersion;
pub use version_one::read_version_one;
pub use write::{Act, Precondition, Write};
