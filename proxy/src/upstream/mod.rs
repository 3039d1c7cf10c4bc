//! Upstream: where requests go, and how they get there.
//!
//! `address.rs` knows the application's addresses; `client.rs` asks on a connection that `pool.rs` kept or `connect.rs`
//! made, and `download.rs` is what comes back.

mod address;
mod app_connection;
mod client;
mod connect;
mod download;
mod fault;
mod filter;
mod heard;
mod outgoing_body;
mod pool;
mod replay;

pub use address::{Upstream, UpstreamSettings};
pub(crate) use client::{ask_alone, send_request};
pub(crate) use download::Download;
pub(crate) use fault::UpstreamFault;
pub(crate) use pool::{MOST, keep_at_most, sweep_pool};
