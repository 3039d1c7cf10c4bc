//! Comparisons as SQL: of a value's row, which has a key of bounded length and the whole of a value that is longer, and
//! of any text.

use portcullis_scim::filter::{CompareOp, Literal, MAX_INDEXED};
use portcullis_scim::schema::{AttributePath, Type};

use super::{ConditionWriter, Cost, LeafTest, WHOLE_PATH, comparable_literal, rows_cost};
use crate::attr::{value_key, whole_value};

/// A text of at most so many bytes is compared with keys alone: whatever is cut is cut behind it.
const SURE: usize = MAX_INDEXED - 4;

impl ConditionWriter {
    /// A select of the row numbers that have such a value, in an element that meets `tests` as well.
    pub(super) fn find_values(
        &mut self,
        path: &AttributePath,
        question: LeafTest<'_>,
        tests: &[&portcullis_scim::Filter],
    ) -> String {
        let a = self.name_table('a');
        let whole = if rows_cost(path, question) == Cost::Path { WHOLE_PATH } else { "" };
        let mut sql = format!("select {a}.rid from attr {a} {whole} where ");
        sql.push_str(&self.pin_path(&a, path));
        sql.push_str(&self.compare_value(&a, path, question));
        for test in tests {
            sql.push_str(&format!(" and {}", self.test_within(test, &a)));
        }
        sql
    }

    /// A condition that holds where there is such a value among those that `near` names: of `{a}`, the row's table.
    pub(super) fn test_value(&mut self, path: &AttributePath, question: LeafTest<'_>, near: &str) -> String {
        let a = self.name_table('a');
        let near = near.replace("{a}", &a);
        let pinned = self.pin_path(&a, path);
        let compared = self.compare_value(&a, path, question);
        format!("exists (select 1 from attr {a} where {pinned} and {near}{compared})")
    }

    /// The beginning of the key.
    pub(super) fn pin_path(&mut self, a: &str, path: &AttributePath) -> String {
        let path = self.add_arg(path.to_string());
        format!("{a}.organization = $1 and {a}.directory = $2 and {a}.kind = $3 and {a}.path = {path}")
    }

    /// The comparison of a row's value, after an `and`; nothing where any value will do.
    pub(super) fn compare_value(&mut self, a: &str, path: &AttributePath, question: LeafTest<'_>) -> String {
        use CompareOp::{Eq, Ge, Gt, Le, Lt, Sw};
        let LeafTest::Compare(operator, literal) = question else { return String::new() };
        let Some(text) = comparable_literal(path, literal) else { return " and 1 = 0".to_owned() };
        let key = format!("{a}.value");
        let is_sure = text.len() <= SURE;
        match operator {
            Eq => {
                let value = self.add_arg(value_key(&text).into_owned());
                format!(" and {key} = {value}")
            }
            Gt | Ge | Lt | Le if is_sure => {
                let value = self.add_arg(text);
                format!(" and {key} {} {value}", sign(operator))
            }
            Sw if is_sure => self.range_from(&key, &text, true, true),
            Gt | Ge | Lt | Le | Sw => {
                let start = &text[..text.floor_char_boundary(SURE)];
                let is_below = matches!(operator, Lt | Le);
                let range = self.range_from(&key, start, !is_below, is_below || operator == Sw);
                let test = self.compare_text(&whole_value(a), operator, &text);
                format!("{range} and {test}")
            }
            _ => format!(" and {}", self.compare_text(&whole_value(a), operator, &text)),
        }
    }

    /// The range of keys that begin with a text, or one side of it; after an `and`.
    fn range_from(&mut self, key: &str, start: &str, has_least: bool, has_most: bool) -> String {
        let mut sql = String::new();
        if has_least && !start.is_empty() {
            let least = self.add_arg(start.to_owned());
            sql.push_str(&format!(" and {key} >= {least}"));
        }
        if let Some(next) = next_text(start).filter(|_| has_most) {
            let next = self.add_arg(next);
            sql.push_str(&format!(" and {key} < {next}"));
        }
        sql
    }

    /// The comparison of a text, whatever holds it, with one that is as the attribute compares it.
    pub(super) fn compare_text(&mut self, text: &str, operator: CompareOp, wanted: &str) -> String {
        use CompareOp::{Co, Ew, Sw};
        let length = wanted.chars().count();
        if length == 0 && matches!(operator, Co | Sw | Ew) {
            return format!("{text} is not null");
        }
        let wanted = self.add_arg(wanted.to_owned());
        match operator {
            Co => format!("instr({text}, {wanted}) > 0"),
            Sw => format!("substr({text}, 1, {length}) = {wanted}"),
            Ew => format!("substr({text}, -{length}) = {wanted}"),
            other => format!("{text} {} {wanted}", sign(other)),
        }
    }

    /// The comparison of a column, or of what is said of it. Each resource has it.
    pub(super) fn test_column(
        &mut self,
        column: &str,
        path: &AttributePath,
        question: LeafTest<'_>,
    ) -> String {
        let LeafTest::Compare(operator, literal) = question else { return "1 = 1".to_owned() };
        if let (Literal::Moment(moment), Type::DateTime) = (literal, path.leaf().kind) {
            return self.compare_moment(column, operator, moment.as_nanosecond());
        }
        match comparable_literal(path, literal) {
            Some(text) => self.compare_text(column, operator, &text),
            None => "1 = 0".to_owned(),
        }
    }

    /// The comparison of a moment, which is kept in whole milliseconds, with one in nanoseconds.
    fn compare_moment(&mut self, column: &str, operator: CompareOp, nanos: i128) -> String {
        use CompareOp::{Eq, Ge, Gt, Le, Lt};
        const MILLISECOND: i128 = 1_000_000;
        let before = nanos.div_euclid(MILLISECOND);
        let is_whole = nanos.rem_euclid(MILLISECOND) == 0;
        let behind = if is_whole { before } else { before + 1 };
        let at = match operator {
            Gt | Le => before,
            Ge | Lt => behind,
            Eq if is_whole => before,
            _ => i128::from(i64::MIN), // no moment that is kept
        };
        let at = self.add_arg(i64::try_from(at).unwrap_or(i64::MAX));
        format!("{column} {} {at}", sign(operator))
    }
}

fn sign(operator: CompareOp) -> &'static str {
    match operator {
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        _ => "=",
    }
}

/// The least text above all that begin with this one; none where there is none.
fn next_text(text: &str) -> Option<String> {
    let mut chars: Vec<char> = text.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            char::MAX => continue,
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        chars.extend(next);
        return Some(chars.into_iter().collect());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next_text;

    #[test]
    fn the_next_text_is_above_all_that_begin_with_one() {
        assert_eq!(next_text("ab").as_deref(), Some("ac"));
        assert_eq!(next_text("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(next_text("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(next_text("\u{10ffff}"), None);
        assert_eq!(next_text(""), None);
    }
}
