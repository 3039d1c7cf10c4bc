//! Who is in right now: accounts, sessions and the exchanges in flight, in this process.
//!
//! Synchronous: no tokio, no SQL, no HTTP. It keeps the rules R1 to R9 of the revocation protocol
//! (`docs/architecture.md`) and protects one promise: once what a write takes away is
//! [applied](Sessions::apply_changes) and [cleared](Sessions::cleared), nothing that stood on it is left. The cache may
//! lose or bring back any entry at any time; whoever is let in was checked against marks that are never cached.
//!
//! With `--cfg portcullis_loom` the same code runs under loom (`tests/loom.rs`).
#![forbid(unsafe_code)]

mod account;
mod cache;
mod cleared;
mod committed;
mod enrolment;
mod epochs;
mod holds;
mod inflight;
mod loom_or_std;
mod registry;
mod session;
mod sessions;
mod stranger;
mod waiting;

pub use cleared::{Cleared, Cut, Gone};
pub use committed::Committed;
pub use enrolment::{Cold, Enrolment};
pub use holds::{DirectoryUser, HoldMark, HoldOn};
pub use inflight::{Ended, InFlight, Watch};
pub use registry::{AccountHolder, StaleAccount};
pub use session::{Described, Session, SessionSnapshot, SignedLine, StoredSession};
pub use sessions::{Figures, Sessions};
pub use stranger::Stranger;
