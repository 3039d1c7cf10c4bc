//! From a filter to SQL: each look-up is a question to the narrow table `attr`, or to `resource` and `member` for what
//! these hold themselves. Paths and values are arguments; the text is made of words of this file and numbers alone.

use portcullis_scim::{Lookup, ResourceKind, ScimError, ScimType};

use crate::engine::Arg;
use crate::resource::DirectoryKey;

/// A condition on rows `r` of the table `resource`.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Begins with the place and the kind, which are `$1` to `$3`; tombstones are left out.
    pub(crate) sql: String,
    pub(crate) args: Vec<Arg<'static>>,
}

impl Condition {
    /// Resources of a kind that meet every look-up.
    ///
    /// # Errors
    /// `invalidFilter` for a look-up on what is not searched by.
    pub(crate) fn new(
        place: DirectoryKey,
        kind: ResourceKind,
        lookups: &[Lookup],
    ) -> Result<Self, ScimError> {
        let mut condition = Self {
            sql: "r.organization = $1 and r.directory = $2 and r.kind = $3 and r.deleted is null".to_owned(),
            args: vec![place.org.into(), place.directory.into(), kind.name().into()],
        };
        for lookup in lookups {
            condition.sql.push_str(" and ");
            match lookup.rows.as_slice() {
                [] => condition.sql.push_str("1 = 0"),
                [(path, id)] if path == "id" => {
                    let id = condition.add_arg(id);
                    condition.sql.push_str(&format!("r.id = {id}"));
                }
                rows if rows.iter().any(|(path, _)| path.starts_with("members.")) => {
                    condition.match_member(rows)?
                }
                rows => condition.match_values(rows),
            }
        }
        Ok(condition)
    }

    /// The place of a further argument: `$4`, `$5`, …
    pub(crate) fn add_arg(&mut self, text: &str) -> String {
        self.args.push(text.to_owned().into());
        format!("${}", self.args.len())
    }

    /// One element of the resource has every one of these values.
    fn match_values(&mut self, rows: &[(String, String)]) {
        self.sql.push_str("r.rid in (select a0.rid from attr a0");
        let mut wheres = String::new();
        for (n, (path, value)) in rows.iter().enumerate() {
            let (path, value) = (self.add_arg(path), self.add_arg(value));
            if n > 0 {
                self.sql.push_str(&format!(" cross join attr a{n}"));
                wheres.push_str(&format!(" and a{n}.rid = a0.rid and a{n}.item = a0.item"));
            }
            let and = if n == 0 { "" } else { " and " };
            wheres.push_str(&format!(
                "{and}a{n}.organization = $1 and a{n}.directory = $2 and a{n}.kind = $3 \
                 and a{n}.path = {path} and a{n}.value = {value}"
            ));
        }
        self.sql.push_str(&format!(" where {wheres})"));
    }

    /// One member of the group is as these rows say.
    ///
    /// # Errors
    /// `invalidFilter` unless the rows say who the member is: all of one kind is a question about everybody.
    fn match_member(&mut self, rows: &[(String, String)]) -> Result<(), ScimError> {
        if !rows.iter().any(|(path, _)| path == "members.value") {
            return Err(ScimError::of_type(ScimType::InvalidFilter, "groups are searched by members.value"));
        }
        self.sql.push_str(
            "r.rid in (select m.team from resource t cross join member m \
             where m.organization = $1 and m.directory = $2 and m.member = t.rid \
               and t.organization = $1 and t.directory = $2",
        );
        for (path, value) in rows {
            let column = match path.as_str() {
                "members.value" => "t.id",
                "members.type" => "t.kind",
                _ => {
                    let detail = format!("{path} cannot be searched by; members.value can");
                    return Err(ScimError::of_type(ScimType::InvalidFilter, detail));
                }
            };
            let value = self.add_arg(value);
            self.sql.push_str(&format!(" and {column} = {value}"));
        }
        self.sql.push(')');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{DirectoryId, OrgId};

    use super::*;

    const HERE: DirectoryKey = DirectoryKey { org: OrgId::ONLY, directory: DirectoryId::ONLY };

    fn lookup(rows: &[(&str, &str)]) -> Lookup {
        Lookup { rows: rows.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect() }
    }

    #[test]
    fn no_value_of_a_client_is_ever_part_of_the_text() {
        let attack = "x' or '1'='1";
        let lookups = [
            lookup(&[("userName", attack)]),
            lookup(&[("id", attack)]),
            lookup(&[("emails.type", attack), ("emails.value", attack)]),
            lookup(&[("members.value", attack)]),
        ];
        let condition = Condition::new(HERE, ResourceKind::User, &lookups).unwrap();
        assert!(!condition.sql.contains('\''), "{}", condition.sql);
        assert_eq!(condition.args.len(), 3 + 2 + 1 + 4 + 1);
    }

    #[test]
    fn what_no_table_holds_is_refused() {
        let lookups = [lookup(&[("members.display", "x")])];
        assert!(Condition::new(HERE, ResourceKind::Group, &lookups).is_err());
    }
}
