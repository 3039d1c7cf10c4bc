//! Conditions in brackets, on one element of a list: all rows of an element have its resource and its number.

use portcullis_scim::Filter;
use portcullis_scim::schema::AttributePath;

use super::{Cost, WHOLE_PATH, Writer, all_parts, join_tests, most_cost, read_leaf, rows_cost};

/// The effort of finding elements.
pub(super) fn find_cost(inner: &Filter) -> Cost {
    part_cost(inner).unwrap_or(Cost::Path)
}

/// The effort of finding elements by one condition; none where all of the path are looked at.
fn part_cost(part: &Filter) -> Option<Cost> {
    match part {
        Filter::All(parts) => parts.iter().filter_map(part_cost).min(),
        Filter::Any(parts) => most_cost(parts, part_cost),
        Filter::Not(_) | Filter::Element(..) => None,
        leaf => {
            let (path, question, is_negated) = read_leaf(leaf)?;
            (!is_negated).then(|| rows_cost(path, question)).filter(|cost| *cost < Cost::Path)
        }
    }
}

impl Writer {
    /// A select of the row numbers of which one element meets all parts.
    pub(super) fn find_elements(&mut self, list: &AttributePath, parts: &[&Filter]) -> String {
        let best =
            parts.iter().enumerate().filter_map(|(n, part)| part_cost(part).map(|cost| (cost, n))).min();
        let Some((_, best)) = best else {
            let e = self.name_table('e');
            let (pinned, empty) = (self.pin_path(&e, list), self.add_arg(""));
            let tests: String =
                parts.iter().map(|part| format!(" and {}", self.test_within(part, &e))).collect();
            return format!(
                "select {e}.rid from attr {e} {WHOLE_PATH} where {pinned} and {e}.value = {empty}{tests}"
            );
        };
        let others: Vec<&Filter> =
            parts.iter().enumerate().filter(|(n, _)| *n != best).map(|(_, part)| *part).collect();
        if let Filter::Any(branches) = parts[best] {
            let sets: Vec<String> = branches
                .iter()
                .map(|branch| {
                    let parts: Vec<&Filter> =
                        all_parts(branch).into_iter().chain(others.iter().copied()).collect();
                    self.find_elements(list, &parts)
                })
                .collect();
            return sets.join(" union ");
        }
        match read_leaf(parts[best]) {
            Some((path, question, _)) => self.find_values(path, question, &others),
            None => "select 0 where 1 = 0".to_owned(),
        }
    }

    /// A condition that holds where one element of row `r` meets the filter.
    pub(super) fn test_element(&mut self, list: &AttributePath, inner: &Filter, r: &str) -> String {
        let e = self.name_table('e');
        let (pinned, empty) = (self.pin_path(&e, list), self.add_arg(""));
        let test = self.test_within(inner, &e);
        format!(
            "exists (select 1 from attr {e} where {pinned} and {e}.value = {empty} and {e}.rid = {r}.rid and {test})"
        )
    }

    /// A condition that holds where the element of a row `e` of `attr` meets the filter.
    pub(super) fn test_within(&mut self, filter: &Filter, e: &str) -> String {
        match filter {
            Filter::All(parts) => join_tests(parts.iter().map(|part| self.test_within(part, e)), "and"),
            Filter::Any(parts) => join_tests(parts.iter().map(|part| self.test_within(part, e)), "or"),
            Filter::Not(inner) => format!("not ({})", self.test_within(inner, e)),
            leaf => {
                let Some((path, question, is_negated)) = read_leaf(leaf) else { return "1 = 0".to_owned() };
                let near = format!("{{a}}.rid = {e}.rid and {{a}}.item = {e}.item");
                let test = self.test_value(path, question, &near);
                if is_negated { format!("not ({test})") } else { test }
            }
        }
    }
}
