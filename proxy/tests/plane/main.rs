//! The data plane over real sockets: a small application behind it, the real session crate, seams made of maps.
//!
//! Each test has its own application, sessions and server on free ports. Nothing sleeps to wait: tests wait for the
//! state they want, with a bound.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod assertion;
mod bodies;
mod client;
mod cut;
mod door;
mod drain;
mod faults;
mod floods;
mod framing;
mod h2c;
mod headers;
mod refusals;
mod reload;
mod rig;
mod smuggling;
mod streams;
mod trailers;
mod upgrades;
mod wire;
