//! Sheets that say what an application calls people: one column names a person of the directory, the others give them
//! attributes that no identity provider writes. What is there and what is in the sheet make a [`MappingPlan`].
//!
//! Nobody is made or put out by a sheet. The rule it protects: no value is ever at two people because it moved from one to
//! the other, since an application would take the second for the first.

use std::collections::{HashMap, HashSet};
use std::fmt;

use policy::fold::same_key;
use policy::{is_seen, shown};
use portcullis_policy as policy;

use crate::column::Column;
use crate::problem::RosterProblems;
use crate::sheet::{LONGEST_FIELD, Sheet, read_field};

/// The columns that may say who is meant; a sheet has one of them.
const KEYS: [Column; 3] = [Column::Email, Column::UserName, Column::ExternalId];

/// An attribute that a sheet may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedAttribute {
    /// Its canonical name: `urn:ietf:params:scim:schemas:extension:acme:2.0:User:appUserName`.
    pub path: String,
    /// True where no two people may have the same value.
    pub unique: bool,
    /// True where values are compared byte for byte.
    pub case_exact: bool,
}

impl MappedAttribute {
    /// The name without the schema's: `appUserName`.
    pub fn name(&self) -> &str {
        self.path.rsplit_once(':').map_or(&self.path, |(_, name)| name)
    }

    /// The value as it is compared.
    fn key(&self, value: &str) -> String {
        if self.case_exact { value.to_owned() } else { same_key(value) }
    }
}

/// A sheet that was understood completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    key: Column,
    /// The attributes that its columns give, by their places among those that it was read with.
    attributes: Vec<usize>,
    /// The rows, in the order of the file; no two name the same person in the same way.
    pub rows: Vec<MappingRow>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The person, as the column says that names people.
    pub person: String,
    /// The values, in the order of the columns; `None` takes away what is there.
    pub values: Vec<Option<String>>,
}

/// A person of the directory, as a sheet is compared with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappedPerson {
    /// `userName`.
    pub user_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// The address they are written to.
    pub email: Option<String>,
    /// The directory's word.
    pub active: bool,
    /// The attributes' values, in their order.
    pub values: Vec<Option<String>>,
}

/// One attribute's new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedChange {
    /// The attribute's canonical name.
    pub path: String,
    /// The value before.
    pub from: Option<String>,
    /// The new one; `None` takes it away.
    pub to: Option<String>,
}

/// Everything that changes of one person: it is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingStep {
    /// The place among the known people.
    pub known: usize,
    /// The column that named them, and what it said: a step is theirs who has it still.
    pub person: (Column, String),
    /// Their name.
    pub user_name: String,
    /// What they get.
    pub changes: Vec<MappedChange>,
}

/// The plan of a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingPlan {
    /// Values that somebody else gets are taken away first, all of them.
    pub clears: Vec<MappingStep>,
    /// The steps as the sheet has them.
    pub sets: Vec<MappingStep>,
    /// Rows that name nobody who is there: the line, and what it says.
    pub unknown: Vec<(u64, String)>,
    /// Active people whom no row names, by their places.
    pub unnamed: Vec<usize>,
}

/// One line: `alice@corp.test: appUserName=asmith (was al)`.
impl fmt::Display for MappingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", shown(&self.user_name))?;
        for (nth, MappedChange { path, from, to }) in self.changes.iter().enumerate() {
            let name = path.rsplit_once(':').map_or(path.as_str(), |(_, name)| name);
            let to = to.as_deref().map(shown).unwrap_or_default();
            write!(f, "{} {name}={to}", if nth == 0 { "" } else { ";" })?;
            if let Some(from) = from {
                write!(f, " (was {})", shown(from))?;
            }
        }
        Ok(())
    }
}

/// A column of a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MappingColumn {
    Key(Column),
    Attribute(usize),
    PassedOver,
}

/// Reads a sheet whose columns are one that names people and `attributes`, by their names or canonical names in any case.
/// Columns whose names are in `ignored` are passed over.
///
/// `accepts` says what is wrong with a value that an attribute cannot have.
///
/// # Errors
/// All its problems.
pub fn read_mapping(
    bytes: &[u8],
    attributes: &[MappedAttribute],
    ignored: &[String],
    accepts: impl Fn(&MappedAttribute, &str) -> Result<(), String>,
) -> Result<Mapping, RosterProblems> {
    let sheet = Sheet::open(bytes, "email")?;
    let mut problems = RosterProblems::default();
    let columns = read_columns(&sheet, attributes, ignored, &mut problems);
    let keys: Vec<Column> = columns
        .iter()
        .filter_map(|column| if let MappingColumn::Key(key) = column { Some(*key) } else { None })
        .collect();
    let given: Vec<usize> = columns
        .iter()
        .filter_map(|column| if let MappingColumn::Attribute(nth) = column { Some(*nth) } else { None })
        .collect();
    let key = match keys[..] {
        [key] => key,
        // What is wrong with the columns says more than what is missing then.
        [] if !problems.is_empty() => return Err(problems),
        [] => {
            let what = format!("no column says who is meant. Name one of {}", known_columns(attributes));
            return Err(and_one(problems, sheet.line, what));
        }
        [one, other, ..] => {
            let (one, other) = (one.name(), other.name());
            let what = format!(
                "{one} and {other} both say who is meant, and may say two people. To pass over one: --ignore {other}"
            );
            return Err(and_one(problems, sheet.line, what));
        }
    };
    if given.is_empty() && problems.is_empty() {
        let names: Vec<&str> = attributes.iter().map(MappedAttribute::name).collect();
        let what = format!("no column gives anything. Name one of {}", names.join(", "));
        return Err(RosterProblems::one(sheet.line, what));
    }
    let (mut rows, mut seen) = (Vec::new(), HashMap::new());
    sheet.read_rows(&mut problems, |line, fields, problems| {
        let Some(row) = read_row(line, &columns, (attributes, &accepts), &fields, problems) else {
            return;
        };
        if row.person.is_empty() {
            problems.add(line, || format!("the row has no {}", key.name()));
        } else if let Some(first) = seen.insert(person_key(key, &row.person), line) {
            problems.add(line, || {
                format!("{}: \"{}\" stands in line {first} too", key.name(), shown(&row.person))
            });
        } else {
            rows.push(row);
        }
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Mapping { key, attributes: given, rows })
}

fn and_one(mut problems: RosterProblems, line: u64, what: String) -> RosterProblems {
    problems.add(line, || what);
    problems
}

fn known_columns(attributes: &[MappedAttribute]) -> String {
    let keys: Vec<&str> = KEYS.into_iter().map(Column::name).collect();
    let names: Vec<&str> = attributes.iter().map(MappedAttribute::name).collect();
    format!("{} beside {}", keys.join(", "), names.join(", "))
}

fn read_columns(
    sheet: &Sheet<'_>,
    attributes: &[MappedAttribute],
    ignored: &[String],
    problems: &mut RosterProblems,
) -> Vec<MappingColumn> {
    let mut columns = Vec::with_capacity(sheet.header.len());
    for field in &sheet.header {
        let name = field.trim();
        if ignored.iter().any(|ignored| ignored.trim().eq_ignore_ascii_case(name)) {
            columns.push(MappingColumn::PassedOver);
            continue;
        }
        let column = match find_column(name, attributes) {
            Ok(column) if columns.contains(&column) => {
                problems.add(sheet.line, || format!("the column {} is there twice", shown(name)));
                MappingColumn::PassedOver
            }
            Ok(column) => column,
            Err(what) => {
                problems.add(sheet.line, || what);
                MappingColumn::PassedOver
            }
        };
        columns.push(column);
    }
    columns
}

fn find_column(name: &str, attributes: &[MappedAttribute]) -> Result<MappingColumn, String> {
    if let Some(nth) = attributes.iter().position(|attribute| attribute.path.eq_ignore_ascii_case(name)) {
        return Ok(MappingColumn::Attribute(nth));
    }
    let bare = |(nth, attribute): (usize, &MappedAttribute)| {
        attribute.name().eq_ignore_ascii_case(name).then_some(nth)
    };
    let found: Vec<usize> = attributes.iter().enumerate().filter_map(bare).collect();
    let key = KEYS.into_iter().find(|key| key.name().eq_ignore_ascii_case(name));
    match (&found[..], key) {
        ([], Some(key)) => Ok(MappingColumn::Key(key)),
        ([nth], None) => Ok(MappingColumn::Attribute(*nth)),
        ([], None) => {
            let (name, known) = (shown(name), known_columns(attributes));
            Err(format!(
                "\"{name}\" is no column of such a sheet ({known}). To pass over it: --ignore \"{name}\""
            ))
        }
        ([nth, ..], _) => Err(format!(
            "\"{}\" may be meant in two ways. Write it as {}, or as the other's whole name",
            shown(name),
            attributes[*nth].path
        )),
    }
}

/// None where the row has a problem.
fn read_row(
    line: u64,
    columns: &[MappingColumn],
    (attributes, accepts): (&[MappedAttribute], &impl Fn(&MappedAttribute, &str) -> Result<(), String>),
    fields: &[String],
    problems: &mut RosterProblems,
) -> Option<MappingRow> {
    let (before, mut person, mut values) = (problems.count(), String::new(), Vec::new());
    for (column, field) in columns.iter().zip(fields) {
        match column {
            MappingColumn::PassedOver => {}
            MappingColumn::Key(key) => {
                if let Some(value) = read_field(line, key.name(), field, LONGEST_FIELD, problems) {
                    // Of an id a blank at an end is a part.
                    let value = if *key == Column::ExternalId { field.as_str() } else { value };
                    value.clone_into(&mut person);
                }
            }
            MappingColumn::Attribute(nth) => {
                let attribute = &attributes[*nth];
                let name = attribute.name();
                let Some(value) = read_field(line, name, field, LONGEST_FIELD, problems) else { continue };
                if !value.chars().all(is_seen) {
                    problems.add(line, || {
                        format!("{name}: \"{}\" holds a character that nobody sees", shown(value))
                    });
                } else if let Err(what) = accepts(attribute, value) {
                    problems.add(line, || format!("{name}: \"{}\": {what}", shown(value)));
                }
                values.push((!value.is_empty()).then(|| value.to_owned()));
            }
        }
    }
    (problems.count() == before).then_some(MappingRow { line, person, values })
}

/// What a sheet and a person are compared by: an `externalId` byte for byte, names and addresses as SCIM compares them.
pub fn person_key(key: Column, text: &str) -> String {
    match key {
        // As a login finds people: look-alikes are others.
        Column::ExternalId => text.to_owned(),
        _ => same_key(text),
    }
}

/// Compares a sheet with the directory. `attributes` are those that it was read with, and that the people's values are of.
///
/// # Errors
/// Rows that cannot all be true: one names two people, or gives one a value that nobody else may have and somebody has.
pub fn plan_mapping(
    mapping: &Mapping,
    attributes: &[MappedAttribute],
    known: &[MappedPerson],
) -> Result<MappingPlan, RosterProblems> {
    let mut problems = RosterProblems::default();
    let mut by_key: HashMap<String, Vec<usize>> = HashMap::with_capacity(known.len());
    for (nth, person) in known.iter().enumerate() {
        let text = match mapping.key {
            Column::UserName => Some(&person.user_name),
            Column::ExternalId => person.external_id.as_ref(),
            _ => person.email.as_ref(),
        };
        if let Some(text) = text {
            by_key.entry(person_key(mapping.key, text)).or_default().push(nth);
        }
    }
    let (mut plan, mut named) = (MappingPlan::default(), HashMap::new());
    for row in &mapping.rows {
        match by_key.get(&person_key(mapping.key, &row.person)).map(Vec::as_slice) {
            None | Some([]) => plan.unknown.push((row.line, row.person.clone())),
            Some([nth]) => {
                named.insert(*nth, row);
                plan.sets.extend(step_of(mapping, attributes, row, *nth, &known[*nth]));
            }
            Some([one, other, ..]) => {
                let (one, other) = (&known[*one].user_name, &known[*other].user_name);
                problems.add(row.line, || {
                    format!(
                        "{}: \"{}\" is of two people, {} and {}. Name people by userName",
                        mapping.key.name(),
                        shown(&row.person),
                        shown(one),
                        shown(other)
                    )
                });
            }
        }
    }
    check_unique(mapping, attributes, known, &named, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    plan.unnamed = (0..known.len()).filter(|nth| known[*nth].active && !named.contains_key(nth)).collect();
    plan.clears = clears_before(attributes, &plan.sets);
    Ok(plan)
}

/// The step of a row; `None` where everything is as it says.
fn step_of(
    mapping: &Mapping,
    attributes: &[MappedAttribute],
    row: &MappingRow,
    known: usize,
    person: &MappedPerson,
) -> Option<MappingStep> {
    let mut changes = Vec::new();
    for (nth, to) in mapping.attributes.iter().zip(&row.values) {
        let from = person.values.get(*nth).cloned().flatten();
        if from != *to {
            changes.push(MappedChange { path: attributes[*nth].path.clone(), from, to: to.clone() });
        }
    }
    (!changes.is_empty()).then(|| MappingStep {
        known,
        person: (mapping.key, row.person.clone()),
        user_name: person.user_name.clone(),
        changes,
    })
}

/// Of an attribute that must be unique nobody gets a value that somebody else has in the end.
fn check_unique(
    mapping: &Mapping,
    attributes: &[MappedAttribute],
    known: &[MappedPerson],
    named: &HashMap<usize, &MappingRow>,
    problems: &mut RosterProblems,
) {
    for (column, nth) in mapping.attributes.iter().enumerate() {
        let attribute = &attributes[*nth];
        if !attribute.unique {
            continue;
        }
        // Whom the sheet does not name keeps what they have.
        let mut holders: HashMap<String, &str> = HashMap::new();
        for (place, person) in known.iter().enumerate().filter(|(place, _)| !named.contains_key(place)) {
            if let Some(value) = known[place].values.get(*nth).and_then(Option::as_ref) {
                holders.insert(attribute.key(value), &person.user_name);
            }
        }
        let mut rows: Vec<&MappingRow> = named.values().copied().collect();
        rows.sort_by_key(|row| row.line);
        for row in rows {
            let Some(value) = &row.values[column] else { continue };
            if let Some(holder) = holders.insert(attribute.key(value), &row.person) {
                problems.add(row.line, || {
                    format!(
                        "{}: \"{}\" is that of {} too, and must be unique",
                        attribute.name(),
                        shown(value),
                        shown(holder)
                    )
                });
            }
        }
    }
}

/// The steps that come first: whoever has a value that another step gives to somebody else loses it.
fn clears_before(attributes: &[MappedAttribute], sets: &[MappingStep]) -> Vec<MappingStep> {
    let by_path: HashMap<&str, &MappedAttribute> =
        attributes.iter().map(|attribute| (attribute.path.as_str(), attribute)).collect();
    let key = |path: &str, value: &str| by_path.get(path).map(|attribute| attribute.key(value));
    let mut given: HashMap<(&str, String), HashSet<usize>> = HashMap::new();
    for step in sets {
        for change in &step.changes {
            if let Some(key) = change.to.as_deref().and_then(|to| key(&change.path, to)) {
                given.entry((&change.path, key)).or_default().insert(step.known);
            }
        }
    }
    let clear = |step: &MappingStep| {
        let goes = |change: &&MappedChange| {
            let from = change.from.as_deref().and_then(|from| key(&change.path, from));
            let to = from.and_then(|from| given.get(&(change.path.as_str(), from)));
            to.is_some_and(|to| to.iter().any(|known| *known != step.known))
        };
        let changes: Vec<MappedChange> = step
            .changes
            .iter()
            .filter(goes)
            .map(|change| MappedChange { to: None, ..change.clone() })
            .collect();
        (!changes.is_empty()).then(|| MappingStep { changes, ..step.clone() })
    };
    sets.iter().filter_map(clear).collect()
}
