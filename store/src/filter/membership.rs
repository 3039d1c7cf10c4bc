//! Conditions on the members of groups and on the groups of users. Both are about the resource at the other end of a
//! row of `member`: its id, its kind and its name to show. Groups of a user are those around its groups too; circles
//! do no harm, since `union` visits each once.

use portcullis_scim::filter::CompareOp;
use portcullis_scim::schema::AttributePath;
use portcullis_scim::{Filter, ResourceKind};

use super::{
    Cost, Question, WHOLE_DIRECTORY, WHOLE_PATH, Writer, all_parts, comparable_literal, join_tests,
    most_cost, read_leaf, rows_cost,
};
use crate::attr::whole_value;

/// The effort of finding groups by a condition on one member.
pub(super) fn member_cost(inner: &Filter) -> Option<Cost> {
    match inner {
        Filter::All(parts) => parts.iter().filter_map(member_cost).min(),
        Filter::Any(parts) => most_cost(parts, member_cost),
        Filter::Not(_) | Filter::Element(..) => None,
        leaf => {
            let (path, question, is_negated) = read_leaf(leaf)?;
            let Question::Compare(operator, _) = question else { return None };
            match path.leaf().name.as_ref() {
                _ if is_negated => None,
                "value" if operator == CompareOp::Eq => Some(Cost::One),
                "display" => Some(rows_cost(path, question)),
                _ => None,
            }
        }
    }
}

/// The effort of finding users by a condition on one of their groups: there are fewer groups.
pub(super) fn group_cost(inner: &Filter) -> Cost {
    member_cost(inner).map_or(Cost::Path, |cost| cost.max(Cost::Value))
}

/// Tells whether a condition on a group asks in which way the user is in it.
fn asks_type(filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().any(asks_type),
        Filter::Not(inner) => asks_type(inner),
        leaf => read_leaf(leaf).is_some_and(|(path, question, _)| {
            path.leaf().name == "type" && !matches!(question, Question::Present)
        }),
    }
}

impl Writer {
    /// A select of the groups of which one member meets all parts. [`member_cost`] has said that there is one.
    pub(super) fn find_teams(&mut self, parts: &[&Filter]) -> String {
        let best =
            parts.iter().enumerate().filter_map(|(n, part)| member_cost(part).map(|cost| (cost, n))).min();
        let Some((_, best)) = best else { return "select 0 where 1 = 0".to_owned() };
        if let Filter::Any(branches) = parts[best] {
            let others = parts.iter().enumerate().filter(|(n, _)| *n != best).map(|(_, part)| *part);
            let others: Vec<&Filter> = others.collect();
            let sets: Vec<String> = branches
                .iter()
                .map(|branch| {
                    let parts: Vec<&Filter> =
                        all_parts(branch).into_iter().chain(others.iter().copied()).collect();
                    self.find_teams(&parts)
                })
                .collect();
            return sets.join(" union ");
        }
        let (t, m) = (self.name_table('t'), self.name_table('m'));
        let named = self.find_named(parts[best], &t);
        let tests: String =
            parts.iter().map(|part| format!(" and {}", self.test_target(part, &t, None))).collect();
        format!(
            "select {m}.team from resource {t} cross join member {m} \
             where {t}.organization = $1 and {t}.directory = $2{named}{tests} \
               and {m}.organization = $1 and {m}.directory = $2 and {m}.member = {t}.rid"
        )
    }

    /// A condition that holds where one member of the group `r` meets the filter.
    pub(super) fn test_team(&mut self, inner: &Filter, r: &str) -> String {
        if member_cost(inner).is_some_and(|cost| cost < Cost::Path) {
            let teams = self.find_teams(&all_parts(inner));
            return format!("{r}.rid in ({teams})");
        }
        let (t, m) = (self.name_table('t'), self.name_table('m'));
        let test = self.test_target(inner, &t, None);
        format!(
            "exists (select 1 from member {m} cross join resource {t} \
             where {m}.organization = $1 and {m}.directory = $2 and {m}.team = {r}.rid \
               and {t}.organization = $1 and {t}.directory = $2 and {t}.rid = {m}.member and {test})"
        )
    }

    /// The same for a condition without brackets.
    pub(super) fn test_team_leaf(&mut self, path: &AttributePath, question: Question<'_>, r: &str) -> String {
        let m = self.name_table('m');
        match question {
            Question::Present => format!(
                "exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                 and {m}.team = {r}.rid)"
            ),
            Question::Compare(..) => self.test_team(&compare_filter(path, question), r),
        }
    }

    /// The condition for a user without brackets.
    pub(super) fn test_person_leaf(
        &mut self,
        path: &AttributePath,
        question: Question<'_>,
        r: &str,
    ) -> String {
        match question {
            Question::Present => {
                let m = self.name_table('m');
                format!(
                    "exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                     and {m}.member = {r}.rid)"
                )
            }
            Question::Compare(..) => {
                let people = self.find_people(&[&compare_filter(path, question)]);
                format!("{r}.rid in ({people})")
            }
        }
    }

    /// A select of everybody who is in a group that meets all parts, itself or through groups within it.
    pub(super) fn find_people(&mut self, parts: &[&Filter]) -> String {
        let of_type = parts.iter().any(|part| asks_type(part));
        let s = self.name_table('s');
        let best = parts
            .iter()
            .filter_map(|part| read_leaf(part).and_then(|_| member_cost(part)).map(|cost| (cost, *part)))
            .min_by_key(|(cost, _)| *cost);
        let named = best.map(|(_, part)| self.find_named(part, &s)).unwrap_or_default();
        let whole = if named.is_empty() { WHOLE_DIRECTORY } else { "" };
        let group = self.add_arg(ResourceKind::Group.name());
        let tests: String = parts
            .iter()
            .filter(|part| !asks_type(part))
            .map(|part| format!(" and {}", self.test_target(part, &s, None)))
            .collect();
        let seeds = format!(
            "select {s}.rid from resource {s} {whole} where {s}.organization = $1 and {s}.directory = $2 \
             and {s}.kind = {group} and {s}.deleted is null{named}{tests}"
        );
        let (b, m, b2) = (self.name_table('b'), self.name_table('m'), self.name_table('b'));
        if !of_type {
            return format!(
                "select {b2}.rid from (with recursive below(rid) as ({seeds} union \
                   select {m}.member from below {b} cross join member {m} \
                   where {m}.organization = $1 and {m}.directory = $2 and {m}.team = {b}.rid) \
                 select rid from below) {b2}"
            );
        }
        let (first, t) = (self.name_table('m'), self.name_table('t'));
        let tests: String =
            parts.iter().map(|part| format!(" and {}", self.test_target(part, &t, Some(&b2)))).collect();
        format!(
            "select {b2}.rid from (with recursive below(team, rid) as ( \
               select {first}.team, {first}.member from member {first} \
               where {first}.organization = $1 and {first}.directory = $2 and {first}.team in ({seeds}) union \
               select {b}.team, {m}.member from below {b} cross join member {m} \
               where {m}.organization = $1 and {m}.directory = $2 and {m}.team = {b}.rid) \
             select team, rid from below) {b2} cross join resource {t} \
             where {t}.organization = $1 and {t}.directory = $2 and {t}.rid = {b2}.team{tests}"
        )
    }

    /// A condition by which an index finds `t`, after an `and`; those it finds are tested as well.
    fn find_named(&mut self, leaf: &Filter, t: &str) -> String {
        let Some((path, question, _)) = read_leaf(leaf) else { return String::new() };
        let Question::Compare(_, literal) = question else { return String::new() };
        if path.leaf().name == "value" {
            let id = self.add_arg(comparable_literal(path, literal).unwrap_or_default());
            return format!(" and {t}.id = {id}");
        }
        let whole = if rows_cost(path, question) == Cost::Path { WHOLE_PATH } else { "" };
        let places = [
            (ResourceKind::Group, "displayName"),
            (ResourceKind::User, "displayName"),
            (ResourceKind::User, "userName"),
        ];
        let sets = places.map(|(kind, name)| {
            let a = self.name_table('a');
            let (kind, name) = (self.add_arg(kind.name()), self.add_arg(name));
            let compared = self.compare_value(&a, path, question);
            format!(
                "select {a}.rid from attr {a} {whole} where {a}.organization = $1 and {a}.directory = $2 \
                 and {a}.kind = {kind} and {a}.path = {name}{compared}"
            )
        });
        format!(" and {t}.rid in ({})", sets.join(" union "))
    }

    /// A condition that holds where the resource `t` meets a filter on a member, or on a group; `pair` is the table that
    /// says who is in which group.
    fn test_target(&mut self, filter: &Filter, t: &str, pair: Option<&str>) -> String {
        match filter {
            Filter::All(parts) => join_tests(parts.iter().map(|part| self.test_target(part, t, pair)), "and"),
            Filter::Any(parts) => join_tests(parts.iter().map(|part| self.test_target(part, t, pair)), "or"),
            Filter::Not(inner) => format!("not ({})", self.test_target(inner, t, pair)),
            leaf => {
                let Some((path, question, is_negated)) = read_leaf(leaf) else { return "1 = 0".to_owned() };
                // Every member, and every group of a user, has an id, a type and a name.
                let test = match question {
                    Question::Present => "1 = 1".to_owned(),
                    Question::Compare(operator, literal) => {
                        let text = self.target_text(path, t, pair);
                        let wanted = comparable_literal(path, literal).unwrap_or_default();
                        self.compare_text(&text, operator, &wanted)
                    }
                };
                if is_negated { format!("not ({test})") } else { test }
            }
        }
    }

    /// The text that stands at a sub-attribute, as it is compared.
    fn target_text(&mut self, path: &AttributePath, t: &str, pair: Option<&str>) -> String {
        match (path.leaf().name.as_ref(), pair) {
            ("value", _) => format!("{t}.id"),
            ("type", None) => format!("lower({t}.kind)"),
            ("type", Some(b)) => {
                let m = self.name_table('m');
                let (direct, indirect) = (self.add_arg("direct"), self.add_arg("indirect"));
                format!(
                    "case when exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                     and {m}.team = {b}.team and {m}.member = {b}.rid) then {direct} else {indirect} end"
                )
            }
            _ => {
                let names = ["displayName", "userName"].map(|name| {
                    let (d, name) = (self.name_table('d'), self.add_arg(name));
                    format!(
                        "(select {} from attr {d} where {d}.organization = $1 and {d}.directory = $2 \
                         and {d}.rid = {t}.rid and {d}.kind = {t}.kind and {d}.path = {name})",
                        whole_value(&d)
                    )
                });
                format!("coalesce({})", names.join(", "))
            }
        }
    }
}

/// The condition on one attribute as a filter.
fn compare_filter(path: &AttributePath, question: Question<'_>) -> Filter {
    match question {
        Question::Present => Filter::Present(path.clone()),
        Question::Compare(operator, literal) => Filter::Compare(portcullis_scim::filter::Comparison {
            path: path.clone(),
            operator,
            value: literal.clone(),
        }),
    }
}
