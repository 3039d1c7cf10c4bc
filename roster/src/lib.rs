//! Rosters: files of people, for those whose directory cannot speak SCIM. CSV in, a [`Roster`] or all its problems out;
//! a roster and the people who are there make a [`RosterPlan`].
//!
//! Everything here is a function of its arguments: no file is opened, nothing is written. The rule it protects: a file
//! with a problem changes nothing, and no field is guessed at. What could be read two ways is refused with its line.
#![forbid(unsafe_code)]

mod column;
mod csv;
mod plan;
mod problem;
mod read;

pub use column::Column;
pub use plan::{Coverage, FieldChange, KnownPerson, RosterPlan, RosterStep, StepKind, plan_roster};
pub use problem::{RosterProblem, RosterProblems};
pub use read::{LARGEST_FILE, MOST_ROWS, Roster, RosterRow, read_roster};
