//! From a filter to SQL, set by set: a condition that an index serves becomes the set of rows it finds, everything else
//! a test of each row of such a set. Values are those of the table `attr`, or of `resource` and `member` for what these
//! hold themselves. Paths and values are arguments; the text is made of words of these files and numbers alone.
//!
//! The evaluation in memory (`portcullis_scim::Filter::matches`) is the reference; a property test holds the two
//! together (`tests/suite/filters.rs`). A filter that no index serves reads one path, or the directory, and says so in
//! its text, which is how `plan.rs` tells it from a mistake.

mod compare;
mod element;
mod membership;
mod order;

use portcullis_scim::filter::{CompareOp, Comparison, Literal};
use portcullis_scim::schema::{AttributePath, Type, Uniqueness};
use portcullis_scim::{Filter, ResourceKind, Sort, SortOrder};

use self::order::OrderKey;
use crate::engine::Arg;
use crate::resource::DirectoryKey;

/// Stands in a statement that looks at every resource of a kind.
const WHOLE_DIRECTORY: &str = "/* the whole directory */";
/// Stands in a statement that looks at every value of a path.
const WHOLE_PATH: &str = "/* every value of a path */";

/// A select that finds nothing.
const NOTHING: &str = "select 0 where 1 = 0";

/// A condition on rows `r` of the table `resource`.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Begins with `from resource r` and the place and the kind, which are `$1` to `$3`; tombstones are left out.
    pub(crate) sql: String,
    pub(crate) args: Vec<Arg<'static>>,
    /// `order by`: the order that was asked for, then that of creation.
    pub(crate) order: String,
    /// The value that the order asked for goes by, and its direction.
    key: Option<(OrderKey, SortOrder)>,
}

impl Condition {
    /// Resources of a kind that meet a filter, and their order.
    pub(crate) fn new(
        place: DirectoryKey,
        kind: ResourceKind,
        filter: Option<&Filter>,
        sort: Option<&Sort>,
    ) -> Self {
        let args = vec![place.org.into(), place.directory.into(), kind.name().into()];
        let mut writer = ConditionWriter { kind, args, names: 0 };
        let is_served = match filter {
            Some(filter) => find_cost(kind, filter).is_some(),
            None => sort.is_none(),
        };
        let whole = if is_served { "" } else { WHOLE_DIRECTORY };
        let mut sql = format!(
            "from resource r {whole} where r.organization = $1 and r.directory = $2 and r.kind = $3 \
             and r.deleted is null"
        );
        if let Some(filter) = filter {
            let parts = all_parts(filter);
            sql.push_str(&writer.narrow_rows(&parts, "r"));
        }
        let key = sort.and_then(|sort| Some((writer.order_key(sort, is_served)?, sort.order)));
        let first = key.as_ref().map(|(key, order)| key.order_by(*order)).unwrap_or_default();
        Self { sql, args: writer.args, order: format!("order by {first}r.rid"), key }
    }

    /// Leaves only what stands behind a row in the order, of which the order goes by that value: see [`OrderValue`].
    pub(crate) fn go_behind(&mut self, rid: i64, value: Option<Arg<'static>>) {
        let behind = match (&self.key, value) {
            (Some((key, order)), Some(value)) => {
                let (key, order, is_null) = (key.clone(), *order, value.is_null());
                let value = self.add_arg(value);
                let rid = self.add_arg(rid);
                key.behind(order, is_null, &value, &rid)
            }
            _ => format!("r.rid > {}", self.add_arg(rid)),
        };
        self.sql.push_str(" and ");
        self.sql.push_str(&behind);
    }

    /// The place of a further argument: `$4`, `$5`, …
    pub(crate) fn add_arg(&mut self, arg: impl Into<Arg<'static>>) -> String {
        self.args.push(arg.into());
        format!("${}", self.args.len())
    }
}

/// The question for the value by which one row has its place in an order.
#[derive(Debug)]
pub(crate) struct OrderValue {
    pub(crate) sql: String,
    pub(crate) args: Vec<Arg<'static>>,
    /// True where the value is a number; else it is text.
    pub(crate) is_number: bool,
}

impl OrderValue {
    /// Of a row of that version; none where the order goes by nothing but the creation.
    pub(crate) fn of_row(
        place: DirectoryKey,
        kind: ResourceKind,
        sort: &Sort,
        rid: i64,
        version: i64,
    ) -> Option<Self> {
        let args =
            vec![place.org.into(), place.directory.into(), kind.name().into(), rid.into(), version.into()];
        let mut writer = ConditionWriter { kind, args, names: 0 };
        let OrderKey { sql: key, is_number } = writer.order_key(sort, true)?;
        let sql = format!(
            "select {key} from resource r where r.organization = $1 and r.directory = $2 and r.kind = $3 and r.rid = $4 \
             and r.version = $5 and r.deleted is null"
        );
        Some(Self { sql, args: writer.args, is_number })
    }
}

/// The effort of finding a set, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// One row, or few.
    One,
    /// The rows of one value.
    Value,
    /// The rows of one value that many have: a type.
    CommonValue,
    /// A range of an index.
    Range,
    /// Every value of a path.
    Path,
}

/// One question about one attribute. `ne` and null have become negations of these.
#[derive(Clone, Copy, Debug)]
enum LeafTest<'a> {
    Present,
    Compare(CompareOp, &'a Literal),
}

/// The question of a condition on one attribute, and whether its answer is turned round.
fn read_leaf(filter: &Filter) -> Option<(&AttributePath, LeafTest<'_>, bool)> {
    match filter {
        Filter::Present(path) => Some((path, LeafTest::Present, false)),
        Filter::Compare(Comparison { path, operator, value: Literal::Null }) => {
            Some((path, LeafTest::Present, *operator == CompareOp::Eq))
        }
        Filter::Compare(Comparison { path, operator: CompareOp::Ne, value }) => {
            Some((path, LeafTest::Compare(CompareOp::Eq, value), true))
        }
        Filter::Compare(Comparison { path, operator, value }) => {
            Some((path, LeafTest::Compare(*operator, value), false))
        }
        _ => None,
    }
}

/// The conditions that must all hold, however they are grouped.
fn all_parts(filter: &Filter) -> Vec<&Filter> {
    match filter {
        Filter::All(parts) => parts.iter().flat_map(all_parts).collect(),
        other => vec![other],
    }
}

/// The text that a value is compared with, as the rows of its attribute hold it; none for null.
fn comparable_literal(path: &AttributePath, literal: &Literal) -> Option<String> {
    literal.comparable(path.leaf())
}

/// The table that holds the values of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttributeHome {
    /// A column of `resource`.
    Column(&'static str),
    /// `meta.version`, of which a column holds the number.
    Version,
    /// `meta.resourceType`: the same for all.
    Kind,
    /// `meta` as a whole.
    Meta,
    /// The members of a group: the table `member`.
    Members,
    /// The groups of a user: the table `member`, upwards.
    Groups,
    /// An attribute of the other kind, which nobody here has.
    Nowhere,
    /// The table `attr`.
    Rows,
}

impl AttributeHome {
    fn of_path(kind: ResourceKind, path: &AttributePath) -> Self {
        if path.extension().is_some() {
            return AttributeHome::Rows;
        }
        match (path.attribute().name.as_ref(), path.sub_attribute().map(|sub| sub.name.as_ref())) {
            ("id", _) => AttributeHome::Column("id"),
            ("meta", Some("created")) => AttributeHome::Column("created"),
            ("meta", Some("lastModified")) => AttributeHome::Column("modified"),
            ("meta", Some("version")) => AttributeHome::Version,
            ("meta", Some("resourceType")) => AttributeHome::Kind,
            ("meta", _) => AttributeHome::Meta,
            ("members", _) if kind == ResourceKind::Group => AttributeHome::Members,
            ("groups", _) if kind == ResourceKind::User => AttributeHome::Groups,
            ("members" | "groups", _) => AttributeHome::Nowhere,
            _ => AttributeHome::Rows,
        }
    }
}

/// The effort of finding what meets a filter without looking at everybody; none where nothing serves it.
fn find_cost(kind: ResourceKind, filter: &Filter) -> Option<Cost> {
    match filter {
        Filter::All(parts) => parts.iter().filter_map(|part| find_cost(kind, part)).min(),
        Filter::Any(parts) => most_cost(parts, |part| find_cost(kind, part)),
        Filter::Not(_) => None,
        Filter::Element(path, inner) => match AttributeHome::of_path(kind, path) {
            AttributeHome::Rows => Some(element::find_cost(inner)),
            AttributeHome::Members => membership::member_cost(inner),
            AttributeHome::Groups => Some(membership::group_cost(inner)),
            _ => None,
        },
        leaf => {
            let (path, question, is_negated) = read_leaf(leaf)?;
            if is_negated {
                return None;
            }
            match AttributeHome::of_path(kind, path) {
                AttributeHome::Rows => Some(rows_cost(path, question)),
                AttributeHome::Column(_) => column_cost(path, question),
                AttributeHome::Members => membership::member_cost(leaf),
                AttributeHome::Groups if !matches!(question, LeafTest::Present) => {
                    Some(membership::group_cost(leaf))
                }
                _ => None,
            }
        }
    }
}

/// The largest effort of several; none where one of them is not served.
fn most_cost(parts: &[Filter], cost: impl Fn(&Filter) -> Option<Cost>) -> Option<Cost> {
    parts.iter().map(cost).collect::<Option<Vec<Cost>>>()?.into_iter().max()
}

fn rows_cost(path: &AttributePath, question: LeafTest<'_>) -> Cost {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Sw};
    let leaf = path.leaf();
    let is_unique = leaf.uniqueness == Uniqueness::Server || path.as_str() == "externalId";
    match question {
        LeafTest::Compare(Eq, literal) if is_unique && *literal != Literal::Null => Cost::One,
        LeafTest::Compare(Eq, Literal::Text(_)) if ["type", "schemas"].contains(&leaf.name.as_ref()) => {
            Cost::CommonValue
        }
        LeafTest::Compare(Eq, Literal::Text(_) | Literal::Number(_) | Literal::Moment(_)) => Cost::Value,
        LeafTest::Compare(Sw, Literal::Text(text)) if !text.is_empty() => Cost::Range,
        LeafTest::Compare(Gt | Ge | Lt | Le, _) => Cost::Range,
        _ => Cost::Path,
    }
}

fn column_cost(path: &AttributePath, question: LeafTest<'_>) -> Option<Cost> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt};
    match question {
        LeafTest::Compare(Eq, _) if path.leaf().kind != Type::DateTime => Some(Cost::One),
        LeafTest::Compare(Eq | Gt | Ge | Lt | Le, _) => Some(Cost::Range),
        _ => None,
    }
}

/// A filter being written down.
struct ConditionWriter {
    kind: ResourceKind,
    args: Vec<Arg<'static>>,
    names: usize,
}

impl ConditionWriter {
    /// The place of a further argument.
    fn add_arg(&mut self, arg: impl Into<Arg<'static>>) -> String {
        self.args.push(arg.into());
        format!("${}", self.args.len())
    }

    /// A name for a table that no other has.
    fn name_table(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    /// Conditions on rows `r`, each after an `and`: the set of the one that is found with the least effort, and tests of
    /// the others.
    fn narrow_rows(&mut self, parts: &[&Filter], r: &str) -> String {
        let costs = parts.iter().enumerate();
        let costs = costs.filter_map(|(n, part)| find_cost(self.kind, part).map(|cost| (cost, n)));
        let best = costs.min().map(|(_, n)| n);
        let mut sql = String::new();
        if let Some(best) = best {
            let set = self.find_rows(parts[best]);
            sql.push_str(&format!(" and {r}.rid in ({set})"));
        }
        for (_, part) in parts.iter().enumerate().filter(|(n, _)| Some(*n) != best) {
            let test = self.test_row(part, r);
            sql.push_str(&format!(" and {test}"));
        }
        sql
    }

    /// A select of the row numbers of everything that meets a filter, and at most of tombstones and the other kind.
    /// [`find_cost`] has said that there is one.
    fn find_rows(&mut self, filter: &Filter) -> String {
        match filter {
            Filter::All(_) => {
                let r = self.name_table('r');
                let narrowed = self.narrow_rows(&all_parts(filter), &r);
                format!(
                    "select {r}.rid from resource {r} where {r}.organization = $1 and {r}.directory = $2{narrowed}"
                )
            }
            Filter::Any(parts) => {
                let sets: Vec<String> = parts.iter().map(|part| self.find_rows(part)).collect();
                sets.join(" union ")
            }
            Filter::Element(path, inner) => match AttributeHome::of_path(self.kind, path) {
                AttributeHome::Members => self.find_teams(&all_parts(inner)),
                AttributeHome::Groups => self.find_people(&all_parts(inner)),
                _ => self.find_elements(path, &all_parts(inner)),
            },
            leaf => match read_leaf(leaf) {
                Some((path, question, _)) => match AttributeHome::of_path(self.kind, path) {
                    AttributeHome::Column(column) => {
                        let r = self.name_table('r');
                        let test = self.test_column(&format!("{r}.{column}"), path, question);
                        format!(
                            "select {r}.rid from resource {r} where {r}.organization = $1 and {r}.directory = $2 \
                             and {r}.kind = $3 and {r}.deleted is null and {test}"
                        )
                    }
                    AttributeHome::Members => self.find_teams(&[leaf]),
                    AttributeHome::Groups => self.find_people(&[leaf]),
                    _ => self.find_values(path, question, &[]),
                },
                None => NOTHING.to_owned(), // a negation is never found, only tested
            },
        }
    }

    /// A condition that holds for a row `r` if it meets the filter.
    fn test_row(&mut self, filter: &Filter, r: &str) -> String {
        match filter {
            Filter::All(parts) => join_tests(parts.iter().map(|part| self.test_row(part, r)), "and"),
            Filter::Any(parts) => join_tests(parts.iter().map(|part| self.test_row(part, r)), "or"),
            Filter::Not(inner) => format!("not ({})", self.test_row(inner, r)),
            Filter::Element(path, inner) => match AttributeHome::of_path(self.kind, path) {
                AttributeHome::Members => self.test_team(inner, r),
                AttributeHome::Groups => {
                    let people = self.find_people(&all_parts(inner));
                    format!("{r}.rid in ({people})")
                }
                AttributeHome::Rows => self.test_element(path, inner, r),
                _ => "1 = 0".to_owned(),
            },
            leaf => match read_leaf(leaf) {
                Some((path, question, true)) => format!("not ({})", self.test_leaf(path, question, r)),
                Some((path, question, false)) => self.test_leaf(path, question, r),
                None => "1 = 0".to_owned(),
            },
        }
    }

    fn test_leaf(&mut self, path: &AttributePath, question: LeafTest<'_>, r: &str) -> String {
        match AttributeHome::of_path(self.kind, path) {
            AttributeHome::Column(column) => self.test_column(&format!("{r}.{column}"), path, question),
            AttributeHome::Version => {
                let (before, behind) = (self.add_arg("W/\""), self.add_arg("\""));
                let version = format!("({before} || cast({r}.version as text) || {behind})");
                self.test_column(&version, path, question)
            }
            AttributeHome::Kind => self.test_column("$3", path, question),
            AttributeHome::Meta => "1 = 1".to_owned(),
            AttributeHome::Nowhere => "1 = 0".to_owned(),
            AttributeHome::Members => self.test_team_leaf(path, question, r),
            AttributeHome::Groups => self.test_person_leaf(path, question, r),
            AttributeHome::Rows => self.test_value(path, question, &format!("{{a}}.rid = {r}.rid")),
        }
    }
}

fn join_tests(tests: impl Iterator<Item = String>, word: &str) -> String {
    let tests: Vec<String> = tests.collect();
    format!("({})", tests.join(&format!(" {word} ")))
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{DirectoryId, OrgId};
    use portcullis_scim::Schemas;

    use super::*;

    const HERE: DirectoryKey = DirectoryKey { org: OrgId::ONLY, directory: DirectoryId::ONLY };

    #[test]
    fn no_value_of_a_client_is_ever_part_of_the_text() {
        let schemas = Schemas::core_schemas();
        let attack = "\"x' or '1'='1\"";
        for (kind, filters) in [
            (
                ResourceKind::User,
                vec![
                    "userName eq A",
                    "id sw A",
                    "emails[type eq A and value co A]",
                    "groups.value eq A",
                    "meta.version ew A",
                ],
            ),
            (
                ResourceKind::Group,
                vec!["members.value eq A", "members[display ne A]", "not (displayName gt A)"],
            ),
        ] {
            for text in filters {
                let filter = Filter::parse_filter(&schemas, kind, &text.replace('A', attack)).unwrap();
                let sort = Sort::parse_sort(&schemas, kind, "displayName", None).unwrap();
                let condition = Condition::new(HERE, kind, Some(&filter), Some(&sort));
                assert!(!format!("{}{}", condition.sql, condition.order).contains('\''), "{}", condition.sql);
            }
        }
    }
}
