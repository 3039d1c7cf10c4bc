//! The rooms a request passes on this side of policy: Accept, Identify, Forward, Record. Route and Decide are policy's.
//!
//! [`crate::Gate`] owns them and calls them one after another. Each is a struct that was given the handles it needs.
//! None imports the gate, and of another room it knows only what it is handed: a head, a record.

pub(crate) mod accept;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod record;
pub(crate) mod recorder;
