//! What came of a Bulk, operation by operation, in the order they were sent (RFC 7644 §3.7.3).

use http::StatusCode;
use portcullis_policy::ResourceId;

use crate::error::ScimError;
use crate::schema::ResourceKind;

/// The operations that were begun; those after the last error that `failOnErrors` admits are not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkResults(Vec<BulkResult>);

/// One operation that was begun.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BulkResult {
    /// The method as it was sent, in upper case.
    pub(crate) method: String,
    /// The `bulkId`, where one was sent.
    pub(crate) bulk_id: Option<String>,
    /// The end it came to.
    pub(crate) end: OperationEnd,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OperationEnd {
    /// The resource it is about; none for a POST that made nothing.
    pub(crate) resource: Option<(ResourceKind, ResourceId)>,
    /// The version that the resource has now, as a weak ETag.
    pub(crate) version: Option<String>,
    /// The status it would have had alone, or the error.
    pub(crate) outcome: Result<StatusCode, ScimError>,
}

impl BulkResults {
    pub(super) fn new(results: Vec<BulkResult>) -> Self {
        Self(results)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &BulkResult> {
        self.0.iter()
    }

    /// The number of operations that were begun, and of those that are errors.
    pub fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|result| result.end.outcome.is_err()).count())
    }
}
