//! What came of a request.

use crate::bulk::BulkResults;
use crate::cursor::PageCursor;
use crate::discovery::Discovery;
use crate::projection::Projection;
use crate::resource::ResourceRecord;

/// The result of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Discovery needs nobody's help.
    Discovered(Discovery),
    /// One resource, read.
    Found(ResourceRecord),
    /// A page of a list.
    Listed(ListPage),
    /// A resource was made, or a removed one restored.
    Created(ResourceRecord),
    /// A resource was replaced or patched, or was so already.
    Changed(ResourceRecord),
    /// A resource is gone.
    Deleted,
    /// Operations were carried out, each with an end of its own.
    Bulk(BulkResults),
}

/// The place of a page among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// It starts at that index, from 1: what was asked for.
    Index(u64),
    /// The next page begins at this cursor; none where this one is the last.
    Cursor(Option<PageCursor>),
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListPage {
    /// The number of resources that match in all.
    pub total: u64,
    /// The place of the page in the whole.
    pub place: PagePlace,
    /// The page itself, at most `count`.
    pub records: Vec<ResourceRecord>,
    /// The attributes of each that are wanted.
    pub projection: Projection,
}
