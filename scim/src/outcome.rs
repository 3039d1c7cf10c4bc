//! What came of a request.

use crate::bulk::BulkResults;
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

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListPage {
    /// The number of resources that match in all.
    pub total: u64,
    /// The index at which the page starts, from 1: what was asked for.
    pub start_index: u64,
    /// The page itself, at most `count`.
    pub records: Vec<ResourceRecord>,
    /// The attributes of each that are wanted.
    pub projection: Projection,
}
