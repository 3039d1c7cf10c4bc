//! Limits that are announced: by `ServiceProviderConfig`, or in the answer that refuses what is beyond.

/// The most resources one page holds; a larger `count` is taken for this.
pub const MAX_COUNT: u64 = 1_000;
/// The most operations of a Bulk.
pub const MAX_BULK_OPERATIONS: usize = 1_000;
/// The largest body of a Bulk, in bytes.
pub const MAX_BULK_BODY: usize = 4 << 20;
/// The time that an operation with an idempotency key is remembered, in seconds.
pub const REPEAT_SECONDS: u64 = 24 * 60 * 60;
