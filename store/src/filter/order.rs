//! The order of a list as SQL: one value of each resource, of a list the primary element's or else the first one's.

use portcullis_scim::{Sort, SortOrder};

use super::{AttributeHome, ConditionWriter};
use crate::attr::whole_value;

/// The value of a row `r` that an order goes by, as an expression.
#[derive(Clone, Debug)]
pub(super) struct OrderKey {
    pub(super) sql: String,
    /// True where it is a number; else it is text.
    pub(super) is_number: bool,
}

impl OrderKey {
    /// The term of `order by` in front of the order of creation.
    pub(super) fn order_by(&self, order: SortOrder) -> String {
        match order {
            SortOrder::Ascending => format!("{} asc nulls last, ", self.sql),
            SortOrder::Descending => format!("{} desc nulls first, ", self.sql),
        }
    }

    /// The condition on what stands behind a row with that value, in that place of the creation.
    pub(super) fn behind(&self, order: SortOrder, is_null: bool, value: &str, rid: &str) -> String {
        let key = &self.sql;
        match (order, is_null) {
            (SortOrder::Ascending, true) => format!("({key} is null and {value} is null and r.rid > {rid})"),
            (SortOrder::Ascending, false) => {
                format!("({key} is null or {key} > {value} or ({key} = {value} and r.rid > {rid}))")
            }
            (SortOrder::Descending, true) => {
                format!("({key} is not null or ({value} is null and r.rid > {rid}))")
            }
            (SortOrder::Descending, false) => {
                format!("({key} < {value} or ({key} = {value} and r.rid > {rid}))")
            }
        }
    }
}

impl ConditionWriter {
    /// The value of an order. What an index has found is sorted as it is; else the index in that order would be gone
    /// through for it.
    pub(super) fn order_key(&mut self, sort: &Sort, is_found: bool) -> Option<OrderKey> {
        let is_number = matches!(
            AttributeHome::of_path(self.kind, &sort.by),
            AttributeHome::Column("created" | "modified")
        );
        let sql = match AttributeHome::of_path(self.kind, &sort.by) {
            AttributeHome::Column("id") if is_found => format!("(r.id || {})", self.add_arg("")),
            AttributeHome::Column(column) if is_found => format!("(r.{column} + 0)"),
            AttributeHome::Column(column) => format!("r.{column}"),
            AttributeHome::Version => "cast(r.version as text)".to_owned(),
            AttributeHome::Rows => self.sort_value(sort),
            AttributeHome::Kind
            | AttributeHome::Meta
            | AttributeHome::Members
            | AttributeHome::Groups
            | AttributeHome::Nowhere => return None,
        };
        Some(OrderKey { sql, is_number })
    }

    fn sort_value(&mut self, sort: &Sort) -> String {
        let a = self.name_table('a');
        let pinned = self.pin_path(&a, &sort.by);
        let primary = sort.by.attribute().sub_attribute("primary").filter(|_| sort.by.attribute().multi);
        let first = match primary {
            Some(_) => {
                let p = self.name_table('p');
                let list = sort.by.as_str().rsplit_once('.').map_or(sort.by.as_str(), |(list, _)| list);
                let (path, truth) = (self.add_arg(format!("{list}.primary")), self.add_arg("true"));
                format!(
                    "exists (select 1 from attr {p} where {p}.organization = $1 and {p}.directory = $2 \
                     and {p}.kind = $3 and {p}.path = {path} and {p}.value = {truth} and {p}.rid = {a}.rid \
                     and {p}.item = {a}.item) desc, "
                )
            }
            None => String::new(),
        };
        format!(
            "(select {} from attr {a} where {pinned} and {a}.rid = r.rid order by {first}{a}.item limit 1)",
            whole_value(&a)
        )
    }
}
