//! Limits that are announced: by `ServiceProviderConfig`, or in the answer that refuses what is beyond.

use crate::error::ScimError;

/// The most resources one page holds; a larger `count` is taken for this.
pub const MAX_COUNT: u64 = 1_000;
/// The limits of a Bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// The most operations.
    pub operations: usize,
    /// The largest body, in bytes.
    pub body: usize,
}

impl Default for BulkLimits {
    /// 1,000 operations and 4 MiB.
    fn default() -> Self {
        Self { operations: 1_000, body: 4 << 20 }
    }
}

impl BulkLimits {
    /// The refusal of a body that is larger.
    pub fn too_large(&self) -> ScimError {
        let what = "the body of a Bulk (maxPayloadSize)";
        ScimError::TooLarge { what, limit: show_size(self.body).into() }
    }
}

fn show_size(bytes: usize) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// The time that an operation with an idempotency key is remembered, in seconds.
pub const REPEAT_SECONDS: u64 = 24 * 60 * 60;
