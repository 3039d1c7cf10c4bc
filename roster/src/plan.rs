//! The plan of an import: what has to change so that the directory says what the file says. A pure function of both, so
//! that a dry run shows what a run would do, and a file that was half applied is finished by applying it again.

use std::collections::{HashMap, HashSet};
use std::fmt;

use policy::fold::unique_key;
use policy::shown;
use portcullis_policy as policy;
use serde::{Deserialize, Serialize};

use crate::column::Column;
use crate::problem::RosterProblems;
use crate::read::{Roster, RosterRow};

/// The people that a file speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Everybody: whoever is not in it is deactivated, and whoever is in it is active unless it says otherwise.
    Full,
    /// Some: nobody else is concerned.
    Partial,
}

/// A person who is in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPerson {
    /// `userName`.
    pub user_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// The address they are written to.
    pub email: Option<String>,
    /// The first name.
    pub given_name: Option<String>,
    /// The last name.
    pub family_name: Option<String>,
    /// A name for people.
    pub display_name: Option<String>,
    /// The directory's word.
    pub active: bool,
    /// The names of the groups that list them; not those around these.
    pub groups: Vec<String>,
}

/// A text that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The column that says it; neither `groups` nor `active`.
    pub column: Column,
    /// The new text; `None` takes it away.
    pub to: Option<String>,
}

/// The one word for what a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Somebody new.
    Create,
    /// Somebody who was out may sign in again.
    Reactivate,
    /// Somebody may no longer sign in.
    Deactivate,
    /// Everything else.
    Change,
}

/// Everything that changes of one person: it is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterStep {
    /// The line of the file; `None` for whoever is missing from it.
    pub line: Option<u64>,
    /// The place among the known people; `None` for somebody new.
    pub known: Option<usize>,
    /// The name before the step; of somebody new, the new one.
    pub user_name: String,
    /// The texts.
    pub changes: Vec<FieldChange>,
    /// The new word on whether they may sign in, where it is another.
    pub active: Option<bool>,
    /// Names of the groups they come into.
    pub joins: Vec<String>,
    /// Names of the groups they leave.
    pub leaves: Vec<String>,
    /// Somebody who is active is put out: deactivated, or made another person by another `externalId`.
    pub puts_out: bool,
}

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterPlan {
    /// Steps that take anything away. They are carried out first.
    pub removals: Vec<RosterStep>,
    /// The others.
    pub additions: Vec<RosterStep>,
    /// The people in the directory who are active now.
    pub active: usize,
    /// Those of them whom the plan puts out.
    pub put_out: usize,
}

impl RosterPlan {
    /// All steps, in their order.
    pub fn steps(&self) -> impl Iterator<Item = &RosterStep> {
        self.removals.iter().chain(&self.additions)
    }

    /// Tells whether it puts out more than `percent` of those who are active. Up to four people may always go, but
    /// never all of them.
    pub fn is_too_much(&self, percent: u8) -> bool {
        let is_many = self.put_out >= 5 || self.put_out == self.active;
        self.put_out > 0 && is_many && self.put_out * 100 > usize::from(percent) * self.active
    }
}

impl RosterStep {
    /// The kind.
    pub fn kind(&self) -> StepKind {
        match (self.known, self.active) {
            (None, _) => StepKind::Create,
            (_, Some(true)) => StepKind::Reactivate,
            (_, Some(false)) => StepKind::Deactivate,
            (_, None) => StepKind::Change,
        }
    }

    /// Tells whether it takes anything away from anybody.
    pub fn takes_away(&self) -> bool {
        self.puts_out || self.active == Some(false) || !self.leaves.is_empty()
    }
}

/// One line: `change alice@example.com: email=alice@corp.example; joins Staff`.
impl fmt::Display for RosterStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind() {
            StepKind::Create => "create",
            StepKind::Reactivate => "reactivate",
            StepKind::Deactivate => "deactivate",
            StepKind::Change => "change",
        };
        write!(f, "{verb} {}", shown(&self.user_name))?;
        let mut parts: Vec<String> = Vec::new();
        if self.line.is_none() {
            parts.push("not in the file".to_owned());
        }
        if self.known.is_none() && self.active == Some(false) {
            parts.push("inactive".to_owned());
        }
        if self.puts_out && self.active != Some(false) {
            parts.push("sessions end, since another externalId is another person".to_owned());
        }
        let is_new_name = |change: &&FieldChange| self.known.is_some() || change.column != Column::UserName;
        for change in self.changes.iter().filter(is_new_name) {
            let to = change.to.as_deref().map(shown).unwrap_or_default();
            parts.push(format!("{}={to}", change.column.name()));
        }
        for (word, groups) in [("joins", &self.joins), ("leaves", &self.leaves)] {
            parts.extend(groups.iter().map(|group| format!("{word} {}", shown(group))));
        }
        if parts.is_empty() { Ok(()) } else { write!(f, ": {}", parts.join("; ")) }
    }
}

/// Compares a file with the directory.
///
/// A row is somebody's who has its `externalId`, else its `userName`, folded. A column that the file does not have leaves
/// what is stored alone; an empty field takes it away, but `active`, which it leaves.
///
/// # Errors
/// Rows that cannot all be true: two of them name one person, or one gives a person the name of another.
pub fn plan_roster(
    roster: &Roster,
    known: &[KnownPerson],
    coverage: Coverage,
) -> Result<RosterPlan, RosterProblems> {
    let mut problems = RosterProblems::default();
    let by_name: HashMap<String, usize> =
        known.iter().enumerate().map(|(nth, person)| (unique_key(&person.user_name), nth)).collect();
    let by_external_id: HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .filter_map(|(nth, person)| Some((person.external_id.as_deref()?, nth)))
        .collect();
    let mut plan =
        RosterPlan { active: known.iter().filter(|person| person.active).count(), ..RosterPlan::default() };
    let mut named_by: HashMap<usize, u64> = HashMap::with_capacity(roster.rows.len());
    for row in &roster.rows {
        let holder = by_name.get(&unique_key(&row.user_name)).copied();
        let by_id = row.external_id.as_deref().and_then(|id| by_external_id.get(id)).copied();
        let person = by_id.or(holder);
        if let (Some(person), Some(holder)) = (person, holder)
            && person != holder
        {
            problems.add(row.line, || {
                format!(
                    "userName \"{}\" is that of somebody else in the directory, with another externalId. Rename or remove \
                     that person first",
                    shown(&row.user_name)
                )
            });
        }
        if let Some(person) = person
            && let Some(first) = named_by.insert(person, row.line)
        {
            problems.add(row.line, || {
                format!(
                    "userName \"{}\" and line {first} name one person of the directory: one by userName, the other by externalId",
                    shown(&row.user_name)
                )
            });
        }
        plan.add_step(step_of(roster, row, person.map(|nth| (nth, &known[nth])), coverage));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if coverage == Coverage::Full {
        for (nth, person) in known.iter().enumerate() {
            if person.active && !named_by.contains_key(&nth) {
                plan.add_step(Some(RosterStep {
                    line: None,
                    known: Some(nth),
                    user_name: person.user_name.clone(),
                    changes: Vec::new(),
                    active: Some(false),
                    joins: Vec::new(),
                    leaves: Vec::new(),
                    puts_out: true,
                }));
            }
        }
    }
    // Whoever loses their access goes before whoever loses a group.
    plan.removals.sort_by_key(|step| !step.puts_out);
    Ok(plan)
}

impl RosterPlan {
    fn add_step(&mut self, step: Option<RosterStep>) {
        let Some(step) = step else { return };
        self.put_out += usize::from(step.puts_out);
        let list =
            if step.takes_away() && step.known.is_some() { &mut self.removals } else { &mut self.additions };
        list.push(step);
    }
}

/// The step of a row; `None` where everything is as it says.
fn step_of(
    roster: &Roster,
    row: &RosterRow,
    person: Option<(usize, &KnownPerson)>,
    coverage: Coverage,
) -> Option<RosterStep> {
    let nobody = KnownPerson::default();
    let before = person.map_or(&nobody, |(_, person)| person);
    let texts = [
        (Column::ExternalId, &before.external_id, &row.external_id),
        (Column::Email, &before.email, &row.email),
        (Column::GivenName, &before.given_name, &row.given_name),
        (Column::FamilyName, &before.family_name, &row.family_name),
        (Column::DisplayName, &before.display_name, &row.display_name),
    ];
    let mut changes = Vec::new();
    if before.user_name != row.user_name {
        changes.push(FieldChange { column: Column::UserName, to: Some(row.user_name.clone()) });
    }
    for (column, old, new) in texts {
        if roster.has(column) && old != new {
            changes.push(FieldChange { column, to: new.clone() });
        }
    }
    let (joins, leaves) = if roster.has(Column::Groups) {
        compare_groups(&before.groups, &row.groups)
    } else {
        Default::default()
    };
    let is_named = row.active.or_else(|| {
        let says_nothing = !roster.has(Column::Active);
        (coverage == Coverage::Full && says_nothing).then_some(true)
    });
    let active = match person {
        None => is_named.filter(|active| !active),
        Some((_, person)) => is_named.filter(|active| *active != person.active),
    };
    let is_another = changes.iter().any(|change| change.column == Column::ExternalId);
    let is_nothing = changes.is_empty() && active.is_none() && joins.is_empty() && leaves.is_empty();
    if is_nothing && person.is_some() {
        return None;
    }
    Some(RosterStep {
        line: Some(row.line),
        known: person.map(|(nth, _)| nth),
        user_name: person.map_or(&row.user_name, |(_, person)| &person.user_name).clone(),
        puts_out: before.active && (active == Some(false) || is_another),
        changes,
        active,
        joins,
        leaves,
    })
}

fn compare_groups(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let keys = |names: &[String]| -> HashSet<String> { names.iter().map(|name| unique_key(name)).collect() };
    let (old, new) = (keys(before), keys(after));
    let without = |names: &[String], others: &HashSet<String>| -> Vec<String> {
        names.iter().filter(|name| !others.contains(&unique_key(name))).cloned().collect()
    };
    (without(after, &old), without(before, &new))
}
