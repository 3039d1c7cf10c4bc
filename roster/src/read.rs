//! Reading a file of people: columns and rows. Every problem is found before the file is refused.

use std::collections::HashMap;

use portcullis_policy::{AccountId, fold, has_hidden_end, shown};

use crate::column::{Column, Columns};
use crate::problem::RosterProblems;
use crate::sheet::{LONGEST_FIELD, Sheet, read_field};

/// The longest list of groups, in bytes.
const LONGEST_LIST: usize = 16 * 1024;
/// The separator of groups within their field.
const BETWEEN_GROUPS: char = '|';

/// A file of people that was understood completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub(crate) columns: Columns,
    /// The rows, in the order of the file; no two have the same `userName`, folded.
    pub rows: Vec<RosterRow>,
}

/// One row. A field whose column is not there, or in which nothing stands, is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The name that a login is compared with.
    pub user_name: String,
    /// The identity provider's own id of the person.
    pub external_id: Option<String>,
    /// An address.
    pub email: Option<String>,
    /// The first name.
    pub given_name: Option<String>,
    /// The last name.
    pub family_name: Option<String>,
    /// A name for people.
    pub display_name: Option<String>,
    /// The names of the groups, none twice when folded.
    pub groups: Vec<String>,
    /// The right to sign in; `None` keeps what is stored.
    pub active: Option<bool>,
}

impl Roster {
    /// Tells whether the file has a column.
    pub fn has(&self, column: Column) -> bool {
        self.columns.contains(&column)
    }
}

/// Reads a file. Columns whose names are in `ignored`, in any case, are passed over.
///
/// # Errors
/// All its problems.
pub fn read_roster(bytes: &[u8], ignored: &[String]) -> Result<Roster, RosterProblems> {
    let sheet = Sheet::open(bytes, "userName")?;
    let mut problems = RosterProblems::default();
    let columns = read_header(sheet.line, &sheet.header, ignored, &mut problems);
    let mut rows = Vec::new();
    let mut seen = NamesSeen::default();
    sheet.read_rows(&mut problems, |line, fields, problems| {
        if let Some(row) = read_row(line, &columns, &fields, problems) {
            seen.note_row(&row, problems);
            rows.push(row);
        }
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Roster { columns: columns.into_iter().flatten().collect(), rows })
}

/// The columns in their order; `None` for one that is passed over.
fn read_header(
    line: u64,
    fields: &[String],
    ignored: &[String],
    problems: &mut RosterProblems,
) -> Vec<Option<Column>> {
    let mut columns: Vec<Option<Column>> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.trim();
        if ignored.iter().any(|ignored| ignored.trim().eq_ignore_ascii_case(name)) {
            columns.push(None);
            continue;
        }
        let column = Column::by_name(name);
        match column {
            Some(column) if columns.contains(&Some(column)) => {
                problems.add(line, || format!("the column {} is there twice", column.name()));
            }
            Some(_) => {}
            None => problems.add(line, || unknown_column(name)),
        }
        columns.push(column);
    }
    if !columns.contains(&Some(Column::UserName)) {
        problems.add(line, || {
            "there is no column userName. The first line of the file names its columns".to_owned()
        });
    }
    columns
}

fn unknown_column(name: &str) -> String {
    let name = shown(name);
    match Column::nearest(&name) {
        Some(near) => format!(
            "\"{name}\" is no column that is known; perhaps {} is meant. To pass over it: --ignore \"{name}\"",
            near.name()
        ),
        None => {
            let known: Vec<&str> = Column::ALL.into_iter().map(Column::name).collect();
            format!(
                "\"{name}\" is no column that is known ({}). To pass over it: --ignore \"{name}\"",
                known.join(", ")
            )
        }
    }
}

/// None where the row has a problem.
fn read_row(
    line: u64,
    columns: &[Option<Column>],
    fields: &[String],
    problems: &mut RosterProblems,
) -> Option<RosterRow> {
    let mut row = RosterRow { line, ..RosterRow::default() };
    let before = problems.count();
    for (column, field) in columns.iter().zip(fields) {
        let Some(column) = *column else { continue };
        let longest = if column == Column::Groups { LONGEST_LIST } else { LONGEST_FIELD };
        let Some(value) = read_field(line, column.name(), field, longest, problems) else { continue };
        let text = (!value.is_empty()).then(|| value.to_owned());
        match column {
            Column::UserName => row.user_name = text.unwrap_or_default(),
            Column::ExternalId => row.external_id = text,
            Column::GivenName => row.given_name = text,
            Column::FamilyName => row.family_name = text,
            Column::DisplayName => row.display_name = text,
            Column::Email => {
                if text.as_deref().is_some_and(|text| fold::email_domain(text).is_none()) {
                    problems.add(line, || {
                        format!("email: \"{}\" must have one @ and a domain behind it", shown(value))
                    });
                }
                row.email = text;
            }
            Column::Groups => match read_groups(value) {
                Ok(groups) => row.groups = groups,
                Err(what) => problems.add(line, || what),
            },
            Column::Active => match read_flag(value) {
                Ok(active) => row.active = active,
                Err(()) => problems.add(line, || {
                    format!("active: \"{}\" is neither true, yes or 1 nor false, no or 0", shown(value))
                }),
            },
        }
    }
    let has_name = columns.contains(&Some(Column::UserName));
    if has_name && row.user_name.is_empty() && problems.count() == before {
        problems.add(line, || "the row has no userName".to_owned());
    }
    if has_hidden_end(&row.user_name) {
        problems.add(line, || {
            format!("userName: \"{}\" has a blank or something unseen at an end", shown(&row.user_name))
        });
    }
    if AccountId::of_name(&row.user_name).is_some() {
        problems.add(line, || {
            format!("userName: \"{}\" is written as the number of an account", shown(&row.user_name))
        });
    }
    (problems.count() == before).then_some(row)
}

fn read_groups(value: &str) -> Result<Vec<String>, String> {
    let mut groups: HashMap<String, ()> = HashMap::new();
    let mut list = Vec::new();
    for name in
        value.split(BETWEEN_GROUPS).map(|name| name.trim_matches([' ', '\t'])).filter(|name| !name.is_empty())
    {
        if name.contains(';') {
            return Err(format!("groups: \"{}\" holds a ; and groups are separated by |", shown(name)));
        }
        if name.len() > LONGEST_FIELD {
            return Err(format!("groups: a name is longer than {LONGEST_FIELD} bytes"));
        }
        if groups.insert(fold::unique_key(name), ()).is_none() {
            list.push(name.to_owned());
        }
    }
    Ok(list)
}

fn read_flag(value: &str) -> Result<Option<bool>, ()> {
    match value.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" | "yes" | "1" => Ok(Some(true)),
        "false" | "no" | "0" => Ok(Some(false)),
        _ => Err(()),
    }
}

/// The names that earlier rows have.
#[derive(Default)]
struct NamesSeen {
    user_names: HashMap<String, u64>,
    external_ids: HashMap<String, u64>,
}

impl NamesSeen {
    fn note_row(&mut self, row: &RosterRow, problems: &mut RosterProblems) {
        if let Some(first) = self.user_names.get(&fold::unique_key(&row.user_name)) {
            let first = *first;
            problems.add(row.line, || {
                format!("userName: \"{}\" is the name of line {first} too", shown(&row.user_name))
            });
        } else {
            self.user_names.insert(fold::unique_key(&row.user_name), row.line);
        }
        let Some(external_id) = &row.external_id else { return };
        if let Some(first) = self.external_ids.get(external_id) {
            let first = *first;
            problems.add(row.line, || {
                format!("externalId: \"{}\" is that of line {first} too", shown(external_id))
            });
        } else {
            self.external_ids.insert(external_id.clone(), row.line);
        }
    }
}
