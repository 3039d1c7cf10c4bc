//! Names of attributes, as filters, projections and patches write them, resolved to one row of the tables.
//!
//! `userName`, `name.givenName`, `urn:ietf:params:scim:schemas:core:2.0:User:userName`, in any case. A bare name
//! that only an extension knows means that extension (rule 8 of the dialects); two that know it is an error that
//! names both. Whatever has an [`AttributePath`] has a known attribute.

use std::fmt;
use std::sync::Arc;

use portcullis_policy::shown;

use super::{Attribute, ResourceKind, Schema, Schemas, Type};

/// A known attribute, or sub-attribute, of one kind of resource.
#[derive(Clone, Debug)]
pub struct AttributePath {
    path: Arc<str>,
    extension: Option<Arc<str>>,
    attribute: Arc<Attribute>,
    sub: Option<Arc<Attribute>>,
}

impl AttributePath {
    /// The canonical name: `userName`, `emails.value`,
    /// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value`. One attribute has one.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The URN of the extension it belongs to; `None` for the base schema and the common attributes.
    pub fn extension(&self) -> Option<&Arc<str>> {
        self.extension.as_ref()
    }

    /// The attribute itself.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// The sub-attribute, where one is named.
    pub fn sub_attribute(&self) -> Option<&Arc<Attribute>> {
        self.sub.as_ref()
    }

    /// Gives what holds the value: the sub-attribute, or else the attribute.
    pub fn leaf(&self) -> &Attribute {
        self.sub.as_ref().unwrap_or(&self.attribute)
    }

    /// The same attribute with one of its sub-attributes named.
    pub(crate) fn with_sub(&self, sub: &Arc<Attribute>) -> Self {
        let whole = self.whole_attribute();
        let path = format!("{}.{}", whole.path, sub.name).into();
        AttributePath { path, sub: Some(sub.clone()), ..whole }
    }

    /// The whole attribute, without the sub-attribute.
    pub(crate) fn whole_attribute(&self) -> Self {
        AttributePath::new(self.extension.as_ref(), &self.attribute, None)
    }

    /// A complex attribute compared by itself means its `value` (RFC 7644 §3.4.2.2, PingFederate's `emails eq`).
    pub(crate) fn to_value(&self) -> Option<Self> {
        if self.leaf().kind != Type::Complex {
            return Some(self.clone());
        }
        self.attribute.sub_attribute("value").map(|sub| self.with_sub(sub))
    }

    pub(crate) fn new(
        extension: Option<&Arc<str>>,
        attribute: &Arc<Attribute>,
        sub: Option<&Arc<Attribute>>,
    ) -> Self {
        let mut path = String::new();
        if let Some(urn) = extension {
            path.push_str(urn);
            path.push(':');
        }
        path.push_str(&attribute.name);
        if let Some(sub) = sub {
            path.push('.');
            path.push_str(&sub.name);
        }
        AttributePath {
            path: path.into(),
            extension: extension.cloned(),
            attribute: attribute.clone(),
            sub: sub.cloned(),
        }
    }
}

impl PartialEq for AttributePath {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for AttributePath {}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Reasons why a name means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// Not a name at all.
    #[error("\"{0}\" is not the name of an attribute")]
    Malformed(String),
    /// No schema of that kind of resource has it.
    #[error("{kind} has no attribute \"{name}\"", kind = kind.name())]
    Unknown {
        /// The kind of resource.
        kind: ResourceKind,
        /// The name as it was written.
        name: String,
    },
    /// Several extensions have it.
    #[error("\"{name}\" is an attribute of {first} and of {second}: write the one that is meant in front")]
    Ambiguous {
        /// The name as it was written.
        name: String,
        /// One extension that has it.
        first: Arc<str>,
        /// Another one.
        second: Arc<str>,
    },
}

/// The thing that a name stands for in a PATCH: an attribute, or an extension as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedPart {
    Attribute(AttributePath),
    Extension(Arc<str>),
}

impl Schemas {
    /// Finds the attribute that `name` means for a kind of resource.
    ///
    /// # Errors
    /// A name that is malformed, unknown or ambiguous.
    pub fn resolve_name(&self, kind: ResourceKind, name: &str) -> Result<AttributePath, UnknownName> {
        match self.resolve_named(kind, name)? {
            NamedPart::Attribute(path) => Ok(path),
            NamedPart::Extension(urn) => Err(UnknownName::Unknown { kind, name: urn.to_string() }),
        }
    }

    pub(crate) fn resolve_named(&self, kind: ResourceKind, name: &str) -> Result<NamedPart, UnknownName> {
        if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
            return self.resolve_bare(kind, name).map(NamedPart::Attribute);
        }
        for extension in self.extensions(kind) {
            match below_urn(&extension.urn, name) {
                Some("") => return Ok(NamedPart::Extension(extension.urn.clone())),
                Some(rest) => {
                    return self.resolve_within(kind, extension, name, rest).map(NamedPart::Attribute);
                }
                None => {}
            }
        }
        match below_urn(&self.base(kind).urn, name) {
            Some(rest) if !rest.is_empty() => self.of_base(kind, name, rest).map(NamedPart::Attribute),
            _ => Err(UnknownName::Unknown { kind, name: shown(name).into_owned() }),
        }
    }

    fn resolve_bare(&self, kind: ResourceKind, name: &str) -> Result<AttributePath, UnknownName> {
        let (first, _) = split_name(name)?;
        if self.attribute(kind, first).is_some() {
            return self.of_base(kind, name, name);
        }
        let mut owners = self.extensions(kind).iter().filter(|schema| schema.attribute(first).is_some());
        match (owners.next(), owners.next()) {
            (Some(owner), None) => self.resolve_within(kind, owner, name, name),
            (Some(first), Some(second)) => Err(UnknownName::Ambiguous {
                name: shown(name).into_owned(),
                first: first.urn.clone(),
                second: second.urn.clone(),
            }),
            (None, _) => Err(UnknownName::Unknown { kind, name: shown(name).into_owned() }),
        }
    }

    fn of_base(&self, kind: ResourceKind, whole: &str, name: &str) -> Result<AttributePath, UnknownName> {
        let unknown = || UnknownName::Unknown { kind, name: shown(whole).into_owned() };
        let (first, second) = split_name(name)?;
        let attribute = self.attribute(kind, first).ok_or_else(unknown)?;
        let sub = second.map(|second| attribute.sub_attribute(second).ok_or_else(unknown)).transpose()?;
        Ok(AttributePath::new(None, attribute, sub))
    }

    fn resolve_within(
        &self,
        kind: ResourceKind,
        schema: &Schema,
        whole: &str,
        name: &str,
    ) -> Result<AttributePath, UnknownName> {
        let unknown = || UnknownName::Unknown { kind, name: shown(whole).into_owned() };
        let (first, second) = split_name(name)?;
        let attribute = schema.attribute(first).ok_or_else(unknown)?;
        let sub = second.map(|second| attribute.sub_attribute(second).ok_or_else(unknown)).transpose()?;
        Ok(AttributePath::new(Some(&schema.urn), attribute, sub))
    }
}

/// Gives what follows a schema's URN and its colon; empty where the name is the URN itself.
fn below_urn<'a>(urn: &str, name: &'a str) -> Option<&'a str> {
    if !name.get(..urn.len())?.eq_ignore_ascii_case(urn) {
        return None;
    }
    let rest = &name[urn.len()..];
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':').filter(|rest| !rest.is_empty()) }
}

/// `attribute` or `attribute.sub` (RFC 7644, figure 1: a letter or `$`, then letters, digits, `-`, `_`).
fn split_name(name: &str) -> Result<(&str, Option<&str>), UnknownName> {
    let (first, second) = match name.split_once('.') {
        Some((first, second)) => (first, Some(second)),
        None => (name, None),
    };
    if is_word(first) && second.is_none_or(is_word) {
        Ok((first, second))
    } else {
        Err(UnknownName::Malformed(shown(name).into_owned()))
    }
}

fn is_word(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'$')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ENTERPRISE_USER, USER};

    #[test]
    fn one_attribute_has_one_canonical_name() {
        let schemas = Schemas::core_schemas();
        let manager = format!("{ENTERPRISE_USER}:manager");
        let table = [
            ("username", "userName"),
            ("USERNAME", "userName"),
            ("EMAILS.Value", "emails.value"),
            ("externalid", "externalId"),
            ("meta.LASTMODIFIED", "meta.lastModified"),
            ("groups.$REF", "groups.$ref"),
            (&format!("{USER}:userName"), "userName"),
            (&format!("{}:name.givenname", USER.to_uppercase()), "name.givenName"),
            ("manager", &manager),
            (&manager, &manager),
            (&format!("{}:Manager.VALUE", ENTERPRISE_USER.to_uppercase()), &format!("{manager}.value")),
            (&format!("{USER}:id"), "id"),
        ];
        for (written, canonical) in table {
            let path = schemas.resolve_name(ResourceKind::User, written).map(|path| path.to_string());
            assert_eq!(path.as_deref(), Ok(canonical), "{written}");
        }
    }

    #[test]
    fn a_name_nobody_knows_is_an_error() {
        let schemas = Schemas::core_schemas();
        let enterprise = ENTERPRISE_USER;
        for wrong in [
            "",
            ".",
            "userName.",
            ".value",
            "user name",
            "userName.value",
            "emails.value.x",
            "favourite",
            "members",
            "urn:",
            "urn:x:y",
            USER,
            &format!("{USER}:"),
            &format!("{USER}:department"),
            enterprise,
            &format!("{enterprise}:"),
            &format!("{enterprise}:userName"),
            &format!("{enterprise}department"),
            "\u{fc}rn:x",
            "u\u{212a}",
        ] {
            assert!(schemas.resolve_name(ResourceKind::User, wrong).is_err(), "{wrong}");
        }
        assert!(schemas.resolve_name(ResourceKind::Group, "manager").is_err());
        assert!(schemas.resolve_name(ResourceKind::Group, "members.value").is_ok());
    }

    #[test]
    fn a_bare_name_that_two_extensions_know_is_refused_with_both() {
        let mut schemas = Schemas::core_schemas();
        let mut other = super::super::tables::enterprise_schema();
        other.urn = "urn:example:other".into();
        schemas.user_extensions.push(other);
        let refused =
            schemas.resolve_name(ResourceKind::User, "department").expect_err("ambiguous").to_string();
        assert!(refused.contains(ENTERPRISE_USER) && refused.contains("urn:example:other"), "{refused}");
        assert!(schemas.resolve_name(ResourceKind::User, "urn:example:other:department").is_ok());
    }
}
