//! Extensions that a configuration declares beside the standard's own, and the forms of text that their types ask for.

use super::{Attribute, ENTERPRISE_USER, Schema, Schemas};

impl Schemas {
    /// The schemas of RFC 7643 and further extensions of User. Their URNs and the names of their attributes are as
    /// RFC 7643 §2.1 has them, and none twice in whatever case: whoever declares them has seen to it.
    pub fn with_extensions(declared: Vec<Schema>) -> Self {
        let mut schemas = Self::core_schemas();
        schemas.user_extensions.extend(declared);
        schemas
    }

    /// A text that differs where two sets of declared extensions give one resource other
    /// [`search_rows`](crate::Resource::search_rows); empty where none are declared.
    pub fn search_outline(&self) -> String {
        let declared = self.user_extensions.iter().filter(|schema| *schema.urn != *ENTERPRISE_USER);
        let mut outlines: Vec<String> = declared
            .map(|schema| {
                let mut lines: Vec<String> = schema.attributes.iter().map(|row| outline_row(row)).collect();
                lines.sort_unstable();
                format!("{}\n{}", schema.urn, lines.concat())
            })
            .collect();
        outlines.sort_unstable();
        outlines.concat()
    }
}

/// Everything that a search row depends on. Whether a value must be unique bounds its length, so it is there too.
fn outline_row(row: &Attribute) -> String {
    let Attribute { name, kind, multi, required, case_exact, uniqueness, .. } = row;
    let mut line = format!(" {name} {kind:?} {multi} {required} {case_exact} {uniqueness:?}\n");
    let mut subs: Vec<String> = row.subs.iter().map(|sub| format!(" {}", outline_row(sub))).collect();
    subs.sort_unstable();
    line.push_str(&subs.concat());
    line
}

/// Tells whether a text holds only what a URI may hold (RFC 3986), and anything at all.
pub(crate) fn is_uri_text(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    !text.is_empty() && text.bytes().all(may)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;

    use super::*;
    use crate::schema::{Mutability, ResourceKind, Returned, Type, Uniqueness};

    pub(crate) fn row(name: &'static str, kind: Type) -> Attribute {
        Attribute {
            name: name.into(),
            kind,
            multi: false,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            uniqueness: Uniqueness::None,
            canonical: Cow::Borrowed(&[]),
            references: if kind == Type::Reference { &["uri"] } else { &[] },
            description: "Declared".into(),
            subs: Vec::new(),
        }
    }

    pub(crate) const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

    pub(crate) fn schema(rows: Vec<Attribute>) -> Schema {
        Schema {
            urn: ACME.into(),
            name: "acme".into(),
            description: "Declared".into(),
            attributes: rows.into_iter().map(Arc::new).collect(),
        }
    }

    /// An extension with an attribute of every type.
    pub(crate) fn every_type() -> Schema {
        let badge = Attribute {
            subs: vec![Arc::new(row("number", Type::Integer)), Arc::new(row("site", Type::String))],
            ..row("badge", Type::Complex)
        };
        schema(vec![
            row("costCenter", Type::String),
            Attribute { uniqueness: Uniqueness::Server, ..row("desk", Type::String) },
            row("contractor", Type::Boolean),
            row("level", Type::Integer),
            row("score", Type::Decimal),
            row("since", Type::DateTime),
            Attribute { case_exact: true, ..row("page", Type::Reference) },
            Attribute { multi: true, ..row("skills", Type::String) },
            badge,
        ])
    }

    #[test]
    fn uris_are_told_from_what_is_not() {
        for uri in ["https://wiki.example.com/~a?b#c", "../Users/1", "urn:example:a"] {
            assert!(is_uri_text(uri), "{uri}");
        }
        for wrong in ["", "a b", "https://é", "a<b>", "a\nb"] {
            assert!(!is_uri_text(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_outline_differs_where_rows_do_and_not_by_the_order() {
        let of = |schema: Schema| Schemas::with_extensions(vec![schema]).search_outline();
        assert_eq!(Schemas::core_schemas().search_outline(), "");
        let mut turned = every_type();
        turned.attributes.reverse();
        assert_eq!(of(every_type()), of(turned));
        let with = |change: fn(&mut Attribute)| {
            let mut changed = row("level", Type::Integer);
            change(&mut changed);
            of(schema(vec![changed]))
        };
        let plain = with(|_| ());
        for other in [
            with(|row| row.kind = Type::Decimal),
            with(|row| row.multi = true),
            with(|row| row.case_exact = true),
            with(|row| row.name = "Level".into()),
            with(|row| row.subs = vec![Arc::new(super::tests::row("a", Type::String))]),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn a_bare_name_of_the_enterprise_extension_becomes_ambiguous() {
        let schemas = Schemas::with_extensions(vec![every_type()]);
        let refused = schemas.resolve_name(ResourceKind::User, "costCenter").expect_err("two").to_string();
        assert!(refused.contains(ENTERPRISE_USER) && refused.contains(ACME), "{refused}");
        let whole = format!("{ACME}:costCenter");
        let found =
            schemas.resolve_name(ResourceKind::User, &whole.to_uppercase()).map(|path| path.to_string());
        assert_eq!(found, Ok(whole));
    }
}
