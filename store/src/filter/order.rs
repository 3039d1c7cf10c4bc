//! The order of a list as SQL: one value of each resource, of a list the primary element's or else the first one's.

use portcullis_scim::{Sort, SortOrder};

use super::{AttributeHome, ConditionWriter};
use crate::attr::whole_value;

impl ConditionWriter {
    /// The terms of `order by` in front of the order of creation. What an index has found is sorted as it is; else the
    /// index in that order would be gone through for it.
    pub(super) fn order_rows(&mut self, sort: &Sort, is_found: bool) -> String {
        let key = match AttributeHome::of_path(self.kind, &sort.by) {
            AttributeHome::Column("id") if is_found => format!("(r.id || {})", self.add_arg("")),
            AttributeHome::Column(column) if is_found => format!("(r.{column} + 0)"),
            AttributeHome::Column(column) => format!("r.{column}"),
            AttributeHome::Version => "cast(r.version as text)".to_owned(),
            AttributeHome::Rows => self.sort_value(sort),
            AttributeHome::Kind
            | AttributeHome::Meta
            | AttributeHome::Members
            | AttributeHome::Groups
            | AttributeHome::Nowhere => return String::new(),
        };
        match sort.order {
            SortOrder::Ascending => format!("{key} asc nulls last, "),
            SortOrder::Descending => format!("{key} desc nulls first, "),
        }
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
