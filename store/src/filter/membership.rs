//! Conditions on the members of groups and on the groups of users. Both are about the resource at the other end of a
//! row of `member`: its id, its kind and its name to show. Groups of a user are those around its groups too; circles
//! do no harm, since `union` visits each once.

use portcullis_scim::filter::CompareOp;
use portcullis_scim::schema::AttributePath;
use portcullis_scim::{Filter, ResourceKind};

use super::{
    ConditionWriter, Cost, LeafTest, NOTHING, WHOLE_DIRECTORY, WHOLE_PATH, all_parts, comparable_literal,
    join_tests, most_cost, read_leaf, rows_cost,
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
            let LeafTest::Compare(operator, _) = question else { return None };
            match path.leaf().name.as_ref() {
                _ if is_negated => None,
                "type" if asks_for_groups(path, question) => Some(Cost::Path),
                "value" if operator == CompareOp::Eq => Some(Cost::One),
                "display" => Some(rows_cost(path, question)),
                _ => None,
            }
        }
    }
}

/// Tells whether a condition holds for groups alone, of which there are fewer than people.
fn asks_for_groups(path: &AttributePath, question: LeafTest<'_>) -> bool {
    let LeafTest::Compare(CompareOp::Eq, literal) = question else { return false };
    let wanted = comparable_literal(path, literal);
    wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(ResourceKind::Group.name()))
}

/// The effort of finding users by a condition on one of their groups: there are fewer groups.
pub(super) fn group_cost(inner: &Filter) -> Cost {
    match member_cost(inner) {
        Some(cost) if !asks_type(inner) => cost.max(Cost::Value),
        _ => Cost::Path,
    }
}

/// Tells whether a condition on a group asks in which way the user is in it.
fn asks_type(filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().any(asks_type),
        Filter::Not(inner) => asks_type(inner),
        leaf => read_leaf(leaf).is_some_and(|(path, question, _)| {
            path.leaf().name == "type" && !matches!(question, LeafTest::Present)
        }),
    }
}

/// The part that finds resources with the least effort; none where none does.
fn least_part<'a>(parts: &[&'a Filter]) -> Option<&'a Filter> {
    let costs = parts.iter().filter_map(|part| member_cost(part).map(|cost| (cost, *part)));
    costs.min_by_key(|(cost, _)| *cost).map(|(_, part)| part)
}

impl ConditionWriter {
    /// A select of the groups of which one member meets all parts. [`member_cost`] has said that there is one.
    pub(super) fn find_teams(&mut self, parts: &[&Filter]) -> String {
        let Some(best) = least_part(parts) else { return NOTHING.to_owned() };
        let (t, m) = (self.name_table('t'), self.name_table('m'));
        let named = self.find_targets(best);
        let tests = self.test_targets(parts, &t, None);
        format!(
            "select {m}.team from resource {t} cross join member {m} \
             where {t}.organization = $1 and {t}.directory = $2 and {t}.rid in ({named}){tests} \
               and {m}.organization = $1 and {m}.directory = $2 and {m}.member = {t}.rid"
        )
    }

    /// A condition that holds where one member of the group `r` meets the filter.
    pub(super) fn test_team(&mut self, inner: &Filter, r: &str) -> String {
        if member_cost(inner).is_some() {
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
    pub(super) fn test_team_leaf(&mut self, path: &AttributePath, question: LeafTest<'_>, r: &str) -> String {
        let m = self.name_table('m');
        match question {
            LeafTest::Present => format!(
                "exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                 and {m}.team = {r}.rid)"
            ),
            LeafTest::Compare(..) => self.test_team(&compare_filter(path, question), r),
        }
    }

    /// The condition for a user without brackets.
    pub(super) fn test_person_leaf(
        &mut self,
        path: &AttributePath,
        question: LeafTest<'_>,
        r: &str,
    ) -> String {
        match question {
            LeafTest::Present => {
                let m = self.name_table('m');
                format!(
                    "exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                     and {m}.member = {r}.rid)"
                )
            }
            LeafTest::Compare(..) => {
                let people = self.find_people(&[&compare_filter(path, question)]);
                format!("{r}.rid in ({people})")
            }
        }
    }

    /// A select of everybody who is in a group that meets all parts, itself or through groups within it.
    pub(super) fn find_people(&mut self, parts: &[&Filter]) -> String {
        let named = least_part(parts).filter(|_| !parts.iter().any(|part| asks_type(part)));
        match named {
            Some(named) => self.find_people_below(named, parts),
            None => self.find_people_anywhere(parts),
        }
    }

    /// The same from some groups downwards: those that an index finds by the condition `named`.
    fn find_people_below(&mut self, named: &Filter, parts: &[&Filter]) -> String {
        let (s, b, m, all) =
            (self.name_table('s'), self.name_table('b'), self.name_table('m'), self.name_table('b'));
        let named = self.find_targets(named);
        let group = self.add_arg(ResourceKind::Group.name());
        let tests = self.test_targets(parts, &s, None);
        format!(
            "select {all}.rid from (with recursive below(rid) as ( \
               select {s}.rid from resource {s} where {s}.organization = $1 and {s}.directory = $2 \
                 and {s}.kind = {group} and {s}.deleted is null and {s}.rid in ({named}){tests} \
               union \
               select {m}.member from below {b} cross join member {m} \
               where {m}.organization = $1 and {m}.directory = $2 and {m}.team = {b}.rid) \
             select rid from below) {all}"
        )
    }

    /// The same over all groups: each with those around it first, which are few, and then its members.
    fn find_people_anywhere(&mut self, parts: &[&Filter]) -> String {
        let (s, a, up, b) =
            (self.name_table('s'), self.name_table('a'), self.name_table('m'), self.name_table('b'));
        let (t, m) = (self.name_table('t'), self.name_table('m'));
        let group = self.add_arg(ResourceKind::Group.name());
        let tests = self.test_targets(parts, &t, Some((&format!("{b}.team"), &format!("{m}.member"))));
        format!(
            "select {m}.member from (with recursive above(origin, team) as ( \
               select {s}.rid, {s}.rid from resource {s} {WHOLE_DIRECTORY} where {s}.organization = $1 \
                 and {s}.directory = $2 and {s}.kind = {group} and {s}.deleted is null \
               union \
               select {a}.origin, {up}.team from above {a} cross join member {up} \
               where {up}.organization = $1 and {up}.directory = $2 and {up}.member = {a}.team) \
             select origin, team from above) {b} cross join resource {t} cross join member {m} \
             where {t}.organization = $1 and {t}.directory = $2 and {t}.rid = {b}.team \
               and {m}.organization = $1 and {m}.directory = $2 and {m}.team = {b}.origin{tests}"
        )
    }

    /// Tests of `t`, each after an `and`.
    fn test_targets(&mut self, parts: &[&Filter], t: &str, pair: Option<(&str, &str)>) -> String {
        parts.iter().map(|part| format!(" and {}", self.test_target(part, t, pair))).collect()
    }

    /// A select of the row numbers of resources, all that meet a part among them.
    fn find_targets(&mut self, part: &Filter) -> String {
        match part {
            Filter::Any(branches) => {
                let sets: Vec<String> = branches.iter().map(|branch| self.find_targets(branch)).collect();
                sets.join(" union ")
            }
            Filter::All(parts) => match least_part(&parts.iter().collect::<Vec<&Filter>>()) {
                Some(best) => self.find_targets(best),
                None => NOTHING.to_owned(),
            },
            leaf => match read_leaf(leaf) {
                Some((path, question, _)) => self.find_named(path, question),
                None => NOTHING.to_owned(),
            },
        }
    }

    fn find_named(&mut self, path: &AttributePath, question: LeafTest<'_>) -> String {
        let LeafTest::Compare(_, literal) = question else { return NOTHING.to_owned() };
        if path.leaf().name == "value" {
            let (i, id) = (self.name_table('i'), comparable_literal(path, literal).unwrap_or_default());
            let id = self.add_arg(id);
            return format!(
                "select {i}.rid from resource {i} where {i}.organization = $1 and {i}.directory = $2 and {i}.id = {id}"
            );
        }
        if path.leaf().name == "type" {
            let (g, group) = (self.name_table('g'), self.add_arg(ResourceKind::Group.name()));
            return format!(
                "select {g}.rid from resource {g} {WHOLE_DIRECTORY} where {g}.organization = $1 \
                 and {g}.directory = $2 and {g}.kind = {group} and {g}.deleted is null"
            );
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
        sets.join(" union ")
    }

    /// A condition that holds where the resource `t` meets a filter on a member, or on a group; `pair` says which group, and who
    /// is in it.
    fn test_target(&mut self, filter: &Filter, t: &str, pair: Option<(&str, &str)>) -> String {
        match filter {
            Filter::All(parts) => join_tests(parts.iter().map(|part| self.test_target(part, t, pair)), "and"),
            Filter::Any(parts) => join_tests(parts.iter().map(|part| self.test_target(part, t, pair)), "or"),
            Filter::Not(inner) => format!("not ({})", self.test_target(inner, t, pair)),
            leaf => {
                let Some((path, question, is_negated)) = read_leaf(leaf) else { return "1 = 0".to_owned() };
                // Every member, and every group of a user, has an id, a type and a name.
                let test = match question {
                    LeafTest::Present => "1 = 1".to_owned(),
                    LeafTest::Compare(operator, literal) => {
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
    fn target_text(&mut self, path: &AttributePath, t: &str, pair: Option<(&str, &str)>) -> String {
        match (path.leaf().name.as_ref(), pair) {
            ("value", _) => format!("{t}.id"),
            ("type", None) => format!("lower({t}.kind)"),
            ("type", Some((team, member))) => {
                let m = self.name_table('m');
                let (direct, indirect) = (self.add_arg("direct"), self.add_arg("indirect"));
                format!(
                    "case when exists (select 1 from member {m} where {m}.organization = $1 and {m}.directory = $2 \
                     and {m}.team = {team} and {m}.member = {member}) then {direct} else {indirect} end"
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
fn compare_filter(path: &AttributePath, question: LeafTest<'_>) -> Filter {
    match question {
        LeafTest::Present => Filter::Present(path.clone()),
        LeafTest::Compare(operator, literal) => Filter::Compare(portcullis_scim::filter::Comparison {
            path: path.clone(),
            operator,
            value: literal.clone(),
        }),
    }
}
