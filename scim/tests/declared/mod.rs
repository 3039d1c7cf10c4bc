//! Attributes that a configuration declares, of every type: for the tests of this crate and of the store.

use std::sync::Arc;

use portcullis_scim::Schemas;
use portcullis_scim::schema::{Attribute, Mutability, Returned, Schema, Type, Uniqueness};

pub(crate) const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

pub(crate) fn row(name: &'static str, kind: Type) -> Attribute {
    Attribute {
        name: name.into(),
        kind,
        multi: false,
        required: false,
        case_exact: kind == Type::Reference,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        uniqueness: Uniqueness::None,
        canonical: Vec::new().into(),
        references: if kind == Type::Reference { &["uri"] } else { &[] },
        description: "Declared".into(),
        subs: Vec::new(),
    }
}

pub(crate) fn extension(rows: Vec<Attribute>) -> Schemas {
    let attributes = rows.into_iter().map(Arc::new).collect();
    let (name, description) = ("acme".into(), "Declared".into());
    Schemas::with_extensions(vec![Schema { urn: ACME.into(), name, description, attributes }])
}

/// An attribute of every type, alone, in a list, and as a part.
pub(crate) fn every_type() -> Vec<Attribute> {
    let parts = [
        ("value", Type::Integer),
        ("type", Type::String),
        ("primary", Type::Boolean),
        ("since", Type::DateTime),
        ("weight", Type::Decimal),
    ];
    let parts = || parts.into_iter().map(|(name, kind)| Arc::new(row(name, kind))).collect();
    vec![
        row("costCenter", Type::String),
        Attribute { case_exact: true, ..row("code", Type::String) },
        Attribute { uniqueness: Uniqueness::Server, ..row("desk", Type::String) },
        Attribute { uniqueness: Uniqueness::Server, ..row("number", Type::Integer) },
        row("contractor", Type::Boolean),
        row("level", Type::Integer),
        row("score", Type::Decimal),
        row("since", Type::DateTime),
        row("page", Type::Reference),
        Attribute { multi: true, canonical: vec!["rust".into()].into(), ..row("skills", Type::String) },
        Attribute { multi: true, ..row("levels", Type::Integer) },
        Attribute { subs: parts(), ..row("badge", Type::Complex) },
        Attribute { multi: true, subs: parts(), ..row("devices", Type::Complex) },
    ]
}
