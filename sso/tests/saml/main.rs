//! SAML responses from outside of this code base, and what must become of each.
#![cfg(feature = "saml")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod captured;
mod cases;
mod corpus;
mod explained;
mod fuzzed_inputs;
mod keys;
mod logout_corpus;
mod metadata;
mod metadata_corpus;
mod no_files;
mod own_messages;
mod peers;
mod queries;
mod speed;
mod vectors;
