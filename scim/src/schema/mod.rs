//! The schemas: what attributes there are and what each may hold (RFC 7643).
//!
//! Everything else in this crate asks these tables: the grammar resolves names against them, bodies are read by
//! them, discovery prints them. No rule about one attribute stands anywhere else, except what `active`, `members`
//! and `manager` mean. Names of attributes and schemas are compared without regard to ASCII case (RFC 7643 §2.1).

pub(crate) mod extensions;
mod name;
mod tables;

use std::borrow::Cow;
use std::sync::Arc;

pub(crate) use extensions::is_uri_text;
pub(crate) use name::NamedPart;
pub use name::{AttributePath, UnknownName};
pub(crate) use portcullis_policy::shown;

/// The core User schema.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core Group schema.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise extension of User.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The kind of resource that an endpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `/Users`.
    User,
    /// `/Groups`.
    Group,
}

impl ResourceKind {
    /// Both kinds.
    pub const ALL: [ResourceKind; 2] = [ResourceKind::User, ResourceKind::Group];

    /// The name as `meta.resourceType` says it.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::User => "User",
            ResourceKind::Group => "Group",
        }
    }

    /// The path of the collection below the base URL.
    pub fn endpoint(self) -> &'static str {
        match self {
            ResourceKind::User => "/Users",
            ResourceKind::Group => "/Groups",
        }
    }

    /// The URN of the base schema.
    pub fn urn(self) -> &'static str {
        match self {
            ResourceKind::User => USER,
            ResourceKind::Group => GROUP,
        }
    }
}

/// The type of an attribute's value (RFC 7643 §2.3), as far as the schemas here use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number, of 64 bits.
    Integer,
    /// A number, kept as a double.
    Decimal,
    /// A moment, as RFC 3339 writes it.
    DateTime,
    /// A URI.
    Reference,
    /// Base64; never searched.
    Binary,
    /// An object of sub-attributes.
    Complex,
}

/// The right to write an attribute (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// The service alone; what a client sends is ignored in POST and PUT and refused in PATCH.
    ReadOnly,
    /// Anybody, any time.
    ReadWrite,
    /// Set once; an element of a list is replaced as a whole.
    Immutable,
    /// Told as immutable (RFC 7643 §8.7.1), since a client may say it with a new element; but it follows from the rest of
    /// the element, and that is what is kept and shown.
    Derived,
    /// Taken, never told. Only `password`, and that is not even kept.
    WriteOnly,
}

/// The answers that an attribute is part of (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Whatever the client asks for.
    Always,
    /// Never, however it is asked for.
    Never,
    /// Unless the client asks for others or excludes it.
    Default,
    /// Where the client names it, and nowhere else.
    Request,
}

/// The resources among which a value must be unique (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniqueness {
    /// None: two resources may have the same value.
    None,
    /// Those of one directory.
    Server,
}

/// One attribute or sub-attribute: a row of the tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The name in its canonical case.
    pub name: Cow<'static, str>,
    /// The type of one value.
    pub kind: Type,
    /// True where it is a list.
    pub multi: bool,
    /// True where a resource must have it.
    pub required: bool,
    /// True where values are compared byte for byte; else by `portcullis_policy::fold::same_key`.
    pub case_exact: bool,
    /// The right to write it.
    pub mutability: Mutability,
    /// The answers that it is part of.
    pub returned: Returned,
    /// The resources among which it must be unique.
    pub uniqueness: Uniqueness,
    /// Suggested values; others are taken too.
    pub canonical: Cow<'static, [Cow<'static, str>]>,
    /// The kinds of resource that a reference may point to.
    pub references: &'static [&'static str],
    /// One sentence for `/Schemas`.
    pub description: Cow<'static, str>,
    /// Sub-attributes of a complex one.
    pub subs: Vec<Arc<Attribute>>,
}

impl Attribute {
    /// Tells whether this service says it, whatever a client says.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.mutability, Mutability::ReadOnly | Mutability::Derived)
    }

    /// The sub-attribute of that name, in any case.
    pub fn sub_attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        find_attribute(&self.subs, name)
    }
}

/// A base schema or an extension.
#[derive(Debug)]
pub struct Schema {
    /// Its URN.
    pub urn: Arc<str>,
    /// Its name.
    pub name: Cow<'static, str>,
    /// One sentence for `/Schemas`.
    pub description: Cow<'static, str>,
    /// Its attributes, without the common ones.
    pub attributes: Vec<Arc<Attribute>>,
}

impl Schema {
    /// The attribute of that name, in any case.
    pub fn attribute(&self, name: &str) -> Option<&Arc<Attribute>> {
        find_attribute(&self.attributes, name)
    }
}

/// Every schema a directory speaks.
#[derive(Debug)]
pub struct Schemas {
    common: Vec<Arc<Attribute>>,
    user: Schema,
    group: Schema,
    user_extensions: Vec<Schema>,
}

impl Schemas {
    /// The schemas of RFC 7643: User with its enterprise extension, and Group.
    pub fn core_schemas() -> Self {
        Self {
            common: tables::common_attributes(),
            user: tables::user_schema(),
            group: tables::group_schema(),
            user_extensions: vec![tables::enterprise_schema()],
        }
    }

    /// The base schema of a kind.
    pub fn base(&self, kind: ResourceKind) -> &Schema {
        match kind {
            ResourceKind::User => &self.user,
            ResourceKind::Group => &self.group,
        }
    }

    /// The extensions of a kind.
    pub fn extensions(&self, kind: ResourceKind) -> &[Schema] {
        match kind {
            ResourceKind::User => &self.user_extensions,
            ResourceKind::Group => &[],
        }
    }

    /// The extension with that URN, in any case.
    pub fn extension(&self, kind: ResourceKind, urn: &str) -> Option<&Schema> {
        self.extensions(kind).iter().find(|schema| schema.urn.eq_ignore_ascii_case(urn))
    }

    /// Every schema, for `/Schemas`.
    pub fn all_schemas(&self) -> impl Iterator<Item = &Schema> {
        [&self.user, &self.group].into_iter().chain(&self.user_extensions)
    }

    /// The attributes every resource has: `schemas`, `id`, `externalId`, `meta`.
    pub fn common_attributes(&self) -> &[Arc<Attribute>] {
        &self.common
    }

    /// The attribute of that name in the base schema of a kind or among the common ones.
    pub fn attribute(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Attribute>> {
        self.base(kind).attribute(name).or_else(|| find_attribute(&self.common, name))
    }
}

fn find_attribute<'a>(attributes: &'a [Arc<Attribute>], name: &str) -> Option<&'a Arc<Attribute>> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}
