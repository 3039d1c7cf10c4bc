//! Logins against a provider in memory that does as it is told, good or bad: what must come in comes in, and every
//! attack of the list is refused with its own reason, without a fetch it should not cause and without a secret in
//! what the operator reads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod attacks;
mod availability;
mod corpus;
mod login;
mod logout;
mod provider;
