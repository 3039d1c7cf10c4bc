//! The keyring: seal, open, hash, sign, random. The only crate that names ring.
//!
//! One master key of 32 bytes stands beside the database, never in it. Every other key is derived from it, one for
//! each purpose, so that no value made for one purpose is ever good for another. What it refuses: a key file that
//! others may read, a cookie whose tag is wrong (nothing is looked up for it), a sealed value of another context.
//! Secrets have types of their own, [`Secret`] and [`SessionId`], that never show themselves.
#![forbid(unsafe_code)]

mod assertion_key;
mod bar;
mod cookie;
mod digest;
mod keyring;
mod master;
mod message_key;
mod random;
mod secret;
mod signing;
mod verification;

pub use assertion_key::AssertionKey;
pub use bar::BarKey;
pub use cookie::SessionId;
pub use digest::{sha256, sha384, sha512};
pub use keyring::{Keyring, Purpose};
pub use master::KeyError;
pub use message_key::{MessageKey, MessageKeyError};
pub use random::{Random, read_reference};
pub use secret::{Secret, equal_bytes};
pub use signing::SigningKey;
pub use verification::{SignedHash, VerifyingKey};
