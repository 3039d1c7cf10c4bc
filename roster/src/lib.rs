//! Rosters: files of people, for those whose directory cannot speak SCIM. CSV in, a [`Roster`] or all its problems out;
//! a roster and the people who are there make a [`RosterPlan`]. A [`Mapping`] says only what an application calls them.
//!
//! Everything here is a function of its arguments: no file is opened, nothing is written. The rule it protects: a file
//! with a problem changes nothing, and no field is guessed at. What could be read two ways is refused with its line.
#![forbid(unsafe_code)]

mod column;
mod csv;
mod mapping;
mod plan;
mod problem;
mod read;
mod sheet;

pub use column::Column;
pub use mapping::{
    MappedAttribute, MappedChange, MappedPerson, Mapping, MappingPlan, MappingRow, MappingStep, person_key,
    plan_mapping, read_mapping,
};
pub use plan::{Coverage, FieldChange, KnownPerson, RosterPlan, RosterStep, StepKind, plan_roster};
pub use problem::{RosterProblem, RosterProblems};
pub use read::{Roster, RosterRow, read_roster};
pub use sheet::{LARGEST_FILE, MOST_ROWS};
