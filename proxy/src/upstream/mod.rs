//! Upstream: where requests go, and how they get there.
//!
//! `address.rs` knows the application's addresses, `app_tls.rs` by what it is known; `client.rs` asks on a connection that `pool.rs` kept or `connect.rs`
//! made, and `download.rs` is what comes back.

mod address;
mod app_connection;
mod app_socket;
mod app_tls;
mod client;
mod connect;
mod download;
mod fault;
mod filter;
mod framing;
mod h2c;
mod h2c_connection;
mod h2c_download;
mod heard;
mod outgoing_body;
mod pool;
mod probe;
mod replay;

pub use address::{Upstream, UpstreamPlace, UpstreamSettings};
pub(crate) use app_socket::AppSocket;
pub use app_tls::{AppTls, AppTlsError, AppTlsFiles};
pub(crate) use client::{ask_alone, send_request};
pub(crate) use download::Download;
pub(crate) use fault::UpstreamFault;
pub(crate) use pool::{MOST, keep_at_most, sweep_pool};
pub use probe::ProbeError;
