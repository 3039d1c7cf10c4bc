//! A file of rows under named columns, whatever they mean: encoding, separator, first line, rows of as many fields.

use portcullis_policy::shown;

use crate::csv::{CsvRecords, SEPARATORS};
use crate::problem::RosterProblems;

/// The largest file: 64 MiB.
pub const LARGEST_FILE: usize = 64 * 1024 * 1024;
/// The most rows.
pub const MOST_ROWS: usize = 200_000;
/// The longest field, in bytes; also the longest name of a group.
pub(crate) const LONGEST_FIELD: usize = 1024;

/// A file whose first line was read.
pub(crate) struct Sheet<'a> {
    /// The first line's number.
    pub(crate) line: u64,
    /// The names in it, as they are written.
    pub(crate) header: Vec<String>,
    records: CsvRecords<'a>,
}

impl<'a> Sheet<'a> {
    /// Opens a file. `wanted` is a column that its first line must name, for whoever sent an empty one.
    pub(crate) fn open(bytes: &'a [u8], wanted: &str) -> Result<Self, RosterProblems> {
        let text = read_text(bytes)?;
        let header_text = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let separators = find_separators(header_text)?;
        let mut records = CsvRecords::new(text, separators);
        let Some(header) = records.next() else {
            let what = format!("the file is empty. Its first line names the columns, {wanted} among them");
            return Err(RosterProblems::one(1, what));
        };
        match header.fields {
            Ok(fields) => Ok(Self { line: header.line, header: fields, records }),
            Err(what) => Err(RosterProblems::one(header.line, what)),
        }
    }

    /// Hands over each row that has as many fields as the first line; any other is a problem.
    pub(crate) fn read_rows(
        self,
        problems: &mut RosterProblems,
        mut read: impl FnMut(u64, Vec<String>, &mut RosterProblems),
    ) {
        let wanted = self.header.len();
        for (nth, record) in self.records.enumerate() {
            if nth == MOST_ROWS {
                problems.add(record.line, || {
                    format!(
                        "the file has more than {MOST_ROWS} rows. Split it, and import the parts as partial files"
                    )
                });
                break;
            }
            match record.fields {
                Ok(fields) if fields.len() == wanted => read(record.line, fields, problems),
                Ok(fields) => problems.add(record.line, || {
                    let has = fields.len();
                    format!("{has} fields, and the first line has {wanted}. Put quotes around a field that holds the separator")
                }),
                Err(what) => problems.add(record.line, || what.to_owned()),
            }
        }
    }
}

/// The value of a field, without blanks around it; `None` for one that has a problem.
pub(crate) fn read_field<'f>(
    line: u64,
    name: &str,
    field: &'f str,
    longest: usize,
    problems: &mut RosterProblems,
) -> Option<&'f str> {
    let value = field.trim_matches([' ', '\t']);
    if value.len() > longest {
        problems.add(line, || format!("{} is longer than {longest} bytes", shown(name)));
        return None;
    }
    if value.chars().any(char::is_control) {
        problems.add(line, || format!("{} holds a control character, perhaps an end of line", shown(name)));
        return None;
    }
    Some(value)
}

fn read_text(bytes: &[u8]) -> Result<&str, RosterProblems> {
    if bytes.len() > LARGEST_FILE {
        return Err(RosterProblems::one(
            1,
            "the file is larger than 64 MiB. Split it, and import the parts as partial files",
        ));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(RosterProblems::one(1, "the file is UTF-16. Save it as CSV in UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let what =
            "not UTF-8; perhaps Latin-1, as older spreadsheets write it. Save the file as CSV in UTF-8";
        RosterProblems::one(u64::try_from(line).unwrap_or(u64::MAX), what)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The separator is the one that the first line has. Where it has none, there is one column, and either would be a
/// second field in a row.
fn find_separators(header: &str) -> Result<&'static [char], RosterProblems> {
    // What stands in quotes separates nothing.
    let bare: String = header.split('"').step_by(2).collect();
    match (bare.contains(','), bare.contains(';')) {
        (true, true) => Err(RosterProblems::one(
            1,
            "the first line has both , and ; and so could be read in two ways. Separate its columns by one of them",
        )),
        (true, false) => Ok(&[',']),
        (false, true) => Ok(&[';']),
        (false, false) => Ok(&SEPARATORS),
    }
}
