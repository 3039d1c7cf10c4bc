//! Conditions in brackets, on one element of a list: all rows of an element have its resource and its number.

use portcullis_scim::Filter;
use portcullis_scim::schema::AttributePath;

use super::{ConditionWriter, Cost, NOTHING, WHOLE_PATH, join_tests, most_cost, read_leaf, rows_cost};

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

impl ConditionWriter {
    /// A select of the row numbers of which one element meets all parts.
    pub(super) fn find_elements(&mut self, list: &AttributePath, parts: &[&Filter]) -> String {
        let costs = parts.iter().enumerate().filter_map(|(n, part)| part_cost(part).map(|cost| (cost, n)));
        let best = costs.min().map(|(_, n)| n);
        if let Some((n, (path, question, _))) = best.and_then(|n| Some((n, read_leaf(parts[n])?))) {
            let others = parts.iter().enumerate().filter(|(other, _)| *other != n).map(|(_, part)| *part);
            return self.find_values(path, question, &others.collect::<Vec<&Filter>>());
        }
        let e = self.name_table('e');
        let (pinned, empty) = (self.pin_path(&e, list), self.add_arg(""));
        let (whole, narrowed) = match best {
            Some(best) => ("", format!(" and {e}.rid in ({})", self.find_near(parts[best]))),
            None => (WHOLE_PATH, String::new()),
        };
        let tests: String = parts.iter().map(|part| format!(" and {}", self.test_within(part, &e))).collect();
        format!(
            "select {e}.rid from attr {e} {whole} where {pinned} and {e}.value = {empty}{narrowed}{tests}"
        )
    }

    /// A select of row numbers, all of those that meet a part among them. Not the set itself: that would repeat the other
    /// parts for each branch of an `or`.
    fn find_near(&mut self, part: &Filter) -> String {
        match part {
            Filter::Any(branches) => {
                let sets: Vec<String> = branches.iter().map(|branch| self.find_near(branch)).collect();
                sets.join(" union ")
            }
            Filter::All(parts) => {
                let best = parts.iter().filter_map(|part| part_cost(part).map(|cost| (cost, part)));
                match best.min_by_key(|(cost, _)| *cost) {
                    Some((_, best)) => self.find_near(best),
                    None => NOTHING.to_owned(),
                }
            }
            leaf => match read_leaf(leaf) {
                Some((path, question, _)) => self.find_values(path, question, &[]),
                None => NOTHING.to_owned(),
            },
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
