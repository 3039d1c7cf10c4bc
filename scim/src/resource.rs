//! A resource: one tree in canonical form, with a schema beside it and no struct per kind (RFC 7643 §3).
//!
//! A [`Resource`] holds what clients may write and nothing else: no `id`, no `meta`, no `schemas`, no `groups`, and
//! never a `password`. Names are in canonical case, lists are lists, booleans are booleans, nothing is null or
//! empty: one state has one form, so two trees that differ are a change. A stored User always has `active`.

use std::fmt;

use portcullis_policy::{ResourceId, Timestamp};
use serde_json::{Map, Value};

use crate::schema::ResourceKind;

/// The attributes that clients give of a user or a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    kind: ResourceKind,
    pub(crate) tree: Map<String, Value>,
    /// Stored data of extensions that the schemas in force do not have, or have with another type.
    pub(crate) aside: Map<String, Value>,
}

impl Resource {
    pub(crate) fn new(kind: ResourceKind, tree: Map<String, Value>) -> Self {
        Self { kind, tree, aside: Map::new() }
    }

    /// The same resource with another tree: what is set aside stays.
    pub(crate) fn with_tree(&self, tree: Map<String, Value>) -> Self {
        Self { kind: self.kind, tree, aside: self.aside.clone() }
    }

    /// A resource that says nothing yet.
    pub fn empty(kind: ResourceKind) -> Self {
        Self::new(kind, Map::new())
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Text that is no JSON object.
    pub fn from_json(kind: ResourceKind, json: &str) -> Result<Self, Damaged> {
        serde_json::from_str(json).map(|tree| Self::new(kind, tree)).map_err(|_| Damaged)
    }

    /// The tree as text, for a store, with what is set aside. The same tree gives the same text.
    pub fn to_json(&self) -> String {
        let mut whole = self.tree.clone();
        for (urn, aside) in &self.aside {
            match (whole.get_mut(urn).and_then(Value::as_object_mut), aside.as_object()) {
                (Some(part), Some(aside)) => {
                    for (name, value) in aside {
                        part.entry(name).or_insert_with(|| value.clone());
                    }
                }
                _ => drop(whole.insert(urn.clone(), aside.clone())),
            }
        }
        Value::Object(whole).to_string()
    }

    /// User or Group.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// `userName` of a User.
    pub fn user_name(&self) -> Option<&str> {
        self.text_at("userName")
    }

    /// `displayName`.
    pub fn display_name(&self) -> Option<&str> {
        self.text_at("displayName")
    }

    /// `externalId`.
    pub fn external_id(&self) -> Option<&str> {
        self.text_at("externalId")
    }

    /// `active` of a User; a Group has none. A user who has none is not active: it was removed.
    pub fn active(&self) -> Option<bool> {
        self.tree.get("active").and_then(Value::as_bool)
    }

    /// The address a person is written to: the primary one, else the one for work, else the first.
    pub fn email(&self) -> Option<&str> {
        let emails: Vec<&Map<String, Value>> =
            self.tree.get("emails")?.as_array()?.iter().filter_map(Value::as_object).collect();
        let is_work = |email: &&&Map<String, Value>| {
            email.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("work"))
        };
        let chosen = emails
            .iter()
            .find(|email| email.get("primary") == Some(&Value::Bool(true)))
            .or_else(|| emails.iter().find(is_work))
            .or_else(|| emails.first())?;
        chosen.get("value")?.as_str()
    }

    /// The text at a canonical name of a single value: `userName`, `name.givenName`.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        match path.split_once('.') {
            None => self.tree.get(path)?.as_str(),
            Some((first, second)) => self.tree.get(first)?.get(second)?.as_str(),
        }
    }

    /// The ids of a Group's members, in order, none twice.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let members = self.tree.get("members").and_then(Value::as_array);
        members.into_iter().flatten().filter_map(|member| member.get("value")?.as_str())
    }

    /// Takes the members out, for a store that keeps them in a table of their own.
    pub fn take_members(&mut self) -> Vec<ResourceId> {
        let ids = self.members().map(ResourceId::new).collect();
        self.tree.remove("members");
        ids
    }

    /// Puts the members back, with what the store knows about each.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = Member>) {
        let list: Vec<Value> = members.into_iter().map(Member::into_value).collect();
        if list.is_empty() {
            self.tree.remove("members");
        } else {
            self.tree.insert("members".to_owned(), Value::Array(list));
        }
    }

    /// The schemas it uses: the base, and each extension it has data of.
    pub(crate) fn schemas(&self) -> Vec<&str> {
        let extensions = self.tree.keys().filter(|key| key.contains(':')).map(String::as_str);
        std::iter::once(self.kind.urn()).chain(extensions).collect()
    }

    /// Gives a new `active`, for a store that restores or takes out by other ways than a client's write.
    pub fn set_active(&mut self, active: bool) {
        self.tree.insert("active".to_owned(), Value::Bool(active));
    }
}

/// Stored text that is not a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored resource is damaged")]
pub struct Damaged;

/// One member of a group, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: ResourceId,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// Its name to show.
    pub display: Option<String>,
}

impl Member {
    fn into_value(self) -> Value {
        let mut member = Map::new();
        member.insert("value".to_owned(), self.id.as_str().into());
        member.insert("type".to_owned(), self.kind.name().into());
        if let Some(display) = self.display {
            member.insert("display".to_owned(), display.into());
        }
        Value::Object(member)
    }
}

/// A resource with what the store knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceRecord {
    /// Its id.
    pub id: ResourceId,
    /// The attributes that clients gave.
    pub resource: Resource,
    /// The times and the version.
    pub meta: Meta,
    /// The groups a User is in, nested ones included; empty for a Group.
    pub groups: Vec<Membership>,
}

impl ResourceRecord {
    /// The ETag of a representation with or without the groups.
    pub(crate) fn tag(&self, with_groups: bool) -> Tag {
        let groups = if with_groups { Membership::digest_groups(&self.groups) } else { None };
        Tag { version: self.meta.version, groups }
    }

    /// Everything a filter may ask about: the tree, and what the store knows. Without addresses.
    pub(crate) fn facts(&self) -> Map<String, Value> {
        let kind = self.resource.kind();
        let mut tree = self.resource.tree.clone();
        tree.insert("id".to_owned(), self.id.as_str().into());
        tree.insert("schemas".to_owned(), self.resource.schemas().into());
        tree.insert(
            "meta".to_owned(),
            serde_json::json!({
                "resourceType": kind.name(),
                "created": format_moment(self.meta.created),
                "lastModified": format_moment(self.meta.modified),
                "version": self.meta.version.to_string(),
            }),
        );
        // A list that is empty is said aloud: clients work out from it whom to remove (rauthy).
        match kind {
            ResourceKind::User => {
                tree.insert("groups".to_owned(), self.groups.iter().map(Membership::to_value).collect());
            }
            ResourceKind::Group => {
                tree.entry("members").or_insert_with(|| Value::Array(Vec::new()));
            }
        }
        tree
    }
}

/// A moment as RFC 3339 writes it, to the millisecond.
fn format_moment(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or_default();
    format!("{time:.3}")
}

/// The data that the store keeps beside each resource. The rest of `meta` follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The time it was made.
    pub created: Timestamp,
    /// The time of its last change; a write that changes nothing leaves it.
    pub modified: Timestamp,
    /// Grows with each change.
    pub version: Version,
}

/// A version of a resource: an ETag, always a weak one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{}\"", self.0)
    }
}

/// The content of an ETag of ours: a version and, where the representation shows a user's groups, which ones. Groups
/// change without a write to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The version of the resource.
    pub version: Version,
    /// The groups, as [`Membership::digest_groups`] sums them up; `None` where there are none or none were asked for.
    pub groups: Option<u64>,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.groups {
            None => self.version.fmt(f),
            Some(groups) => write!(f, "W/\"{}.{groups:016x}\"", self.version.0),
        }
    }
}

impl Tag {
    /// Reads what stands between the quotes.
    pub(crate) fn parse_opaque(opaque: &str) -> Option<Self> {
        match opaque.split_once('.') {
            None => Some(Self { version: Version(opaque.parse().ok()?), groups: None }),
            Some((version, groups)) => Some(Self {
                version: Version(version.parse().ok()?),
                groups: Some(u64::from_str_radix(groups, 16).ok()?),
            }),
        }
    }
}

/// One group a user is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The id of the group.
    pub group: ResourceId,
    /// Its `displayName`.
    pub display: String,
    /// True where the user is listed in it itself; else through a group within it.
    pub direct: bool,
}

impl Membership {
    /// A number that changes when the groups do: FNV-1a, which is the same in every release. `None` for no groups.
    pub fn digest_groups(groups: &[Membership]) -> Option<u64> {
        let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for group in groups {
            add(group.group.as_str().as_bytes());
            add(&[0]);
            add(group.display.as_bytes());
            add(&[0, u8::from(group.direct)]);
        }
        (!groups.is_empty()).then_some(sum)
    }

    fn to_value(&self) -> Value {
        serde_json::json!({
            "value": self.group.as_str(),
            "display": self.display,
            "type": if self.direct { "direct" } else { "indirect" },
        })
    }
}

/// Tells whether a value says nothing: null, an empty list, an empty object (RFC 7643 §2.5).
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
