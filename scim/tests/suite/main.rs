//! SCIM from the outside: requests in, answers out, a directory in memory in between.
#![allow(clippy::expect_used)] // what is not as it should be fails the test

mod bodies;
mod bulk;
mod corpus;
mod custom;
#[path = "../declared/mod.rs"]
mod declared;
mod dialects;
mod model;
mod patch;
mod properties;
mod protocol;
mod search;
mod vectors;
mod version_one;
mod version_one_properties;
