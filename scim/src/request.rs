//! What a request asks, once it has been read: to discover, to find or to write.

use portcullis_policy::ResourceId;

use crate::bulk::Bulk;
use crate::cursor::PageCursor;
use crate::discovery::Discovery;
use crate::filter::{Filter, Sort};
use crate::projection::Projection;
use crate::schema::ResourceKind;
use crate::write::Write;

/// A request that was understood completely.
#[derive(Clone, Debug, PartialEq)]
pub enum ScimRequest {
    /// A question about what this service can do.
    Discover(Discovery),
    /// To read.
    Find(Query),
    /// To write.
    Write(Write),
    /// To write many times.
    Bulk(Bulk),
}

/// A request that reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Users or groups; of no meaning where both are searched.
    pub kind: ResourceKind,
    /// One, or those that match.
    pub selection: Selection,
    /// The attributes that are wanted; a store may leave out what [`Projection::wants`] denies.
    pub projection: Projection,
}

/// The resources to read.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// The one with that id.
    One(ResourceId),
    /// A page of those that match, in the order they were made unless another was asked for.
    Page(Search),
    /// A page of users and groups together, users first: the same search on either kind.
    PageOfAll(Box<[Search; 2]>),
}

/// The beginning of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// The first one wanted, counted from 1.
    Index(u64),
    /// Behind the resource that the page before ended with (RFC 9865); the first page has none.
    Cursor {
        /// The end of the page before.
        after: Option<PageCursor>,
        /// The sum of what is asked, which the next cursor holds.
        search: u64,
    },
}

impl PageStart {
    /// The cursor of the page behind one that ends with a resource.
    pub fn continue_after(self, kind: ResourceKind, after: i64, version: i64) -> Option<PageCursor> {
        match self {
            Self::Index(_) => None,
            Self::Cursor { search, .. } => Some(PageCursor { search, kind, after, version }),
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The condition.
    pub filter: Option<Filter>,
    /// The order, where one is asked for; the order of creation is its tie-break.
    pub sort: Option<Sort>,
    /// Where it begins.
    pub start: PageStart,
    /// The most resources to answer: 0 to [`MAX_COUNT`](crate::MAX_COUNT); 0 asks for the total alone.
    pub count: u64,
}
