//! The rooms a request passes on this side of policy: Accept, Identify, Forward, Record. Route and Decide are policy's.
//!
//! [`crate::Gate`] calls them one after another.

pub(crate) mod accept;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod record;
pub(crate) mod recorder;
