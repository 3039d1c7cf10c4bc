//! SCIM from the outside: requests in, answers out, a directory in memory in between.
#![allow(clippy::expect_used)] // what is not as it should be fails the test

mod corpus;
mod dialects;
mod model;
mod properties;
mod rules;
