//! Answer: whatever is not forwarded leaves here, and nowhere else is a status chosen.
//!
//! `refusal.rs` has a row for each refusal and for each kind of page, `form.rs` what it looks like to who asks, and `refuse.rs` answers with it,
//! its reference, its line and its count among it. A person's page comes through [`crate::Pages`] (`page.rs`); where
//! that fails, a few words do. No refusal is ever kept by a cache, and none says where the application is. What the
//! operator is told is in `detail.rs` and `tell.rs`; `own.rs` serves our own pages, and `whole.rs` ends every answer.

mod asked_by;
mod detail;
mod form;
mod large_bodies;
mod own;
mod page;
mod refusal;
mod refuse;
mod tell;
mod whole;

pub(crate) use self::asked_by::AskedBy;
pub(crate) use self::detail::Trouble;
pub(crate) use self::large_bodies::LargeBodies;
pub(crate) use self::own::serve_own;
pub use self::refusal::{RefusalKind, RequestRefusal};
pub(crate) use self::refuse::Refuse;
pub(crate) use self::tell::tell_broken;
pub(crate) use self::whole::finish_answer;
