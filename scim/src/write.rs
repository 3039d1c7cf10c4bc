//! One write, as a request or an operation of a Bulk asks for it.

use portcullis_policy::ResourceId;

use crate::dialect::Rewrite;
use crate::patch::Patch;
use crate::resource::{Membership, Resource, Tag, Version};
use crate::schema::ResourceKind;

/// A request that writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The change.
    pub act: Act,
    /// The versions it may change; `None` for any.
    pub if_match: Option<Precondition>,
    /// Rewrites of the dialect that were needed to understand it, each named once; to be counted.
    pub rewrites: Vec<Rewrite>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Make a resource.
    Create(Resource),
    /// Replace one: what counts is [`Resource::replacing`] of the stored one.
    Replace(ResourceId, Resource),
    /// Change parts of one.
    Patch(ResourceKind, ResourceId, Patch),
    /// Remove one.
    Delete(ResourceKind, ResourceId),
}

impl Write {
    /// Users or groups.
    pub fn kind(&self) -> ResourceKind {
        match &self.act {
            Act::Create(resource) | Act::Replace(_, resource) => resource.kind(),
            Act::Patch(kind, ..) | Act::Delete(kind, _) => *kind,
        }
    }

    /// The resource it names; none for one that is to be made.
    pub fn id(&self) -> Option<&ResourceId> {
        match &self.act {
            Act::Create(_) => None,
            Act::Replace(id, _) | Act::Patch(_, id, _) | Act::Delete(_, id) => Some(id),
        }
    }

    /// Tells whether it may take access away, by its shape alone: it overtakes other writes. True for a DELETE, for a
    /// PUT or PATCH of a user that [deprovisions](Self::deprovisions), and for one of a group that can remove a
    /// member or rename the group, since roles are bound to names.
    pub fn takes_away(&self) -> bool {
        match &self.act {
            Act::Create(_) => false,
            Act::Delete(..) => true,
            Act::Replace(_, resource) => match resource.kind() {
                ResourceKind::User => self.deprovisions().is_some(),
                ResourceKind::Group => true,
            },
            Act::Patch(ResourceKind::User, ..) => self.deprovisions().is_some(),
            Act::Patch(ResourceKind::Group, _, patch) => patch.can_remove_access(),
        }
    }

    /// The members that a write on a group names: those of a POST or PUT, those that a PATCH adds or sets.
    pub fn members(&self) -> Vec<ResourceId> {
        match &self.act {
            Act::Create(resource) | Act::Replace(_, resource) => {
                resource.members().map(ResourceId::new).collect()
            }
            Act::Patch(_, _, patch) => patch.members(),
            Act::Delete(..) => Vec::new(),
        }
    }

    /// The user it puts out: of a DELETE, or of a PUT or PATCH that sets `active` to anything but true or (PATCH)
    /// removes it. While such a write cannot be committed, the user is on hold (rule R6).
    pub fn deprovisions(&self) -> Option<&ResourceId> {
        match &self.act {
            Act::Delete(ResourceKind::User, id) => Some(id),
            Act::Replace(id, resource) if resource.active() == Some(false) => Some(id),
            Act::Patch(ResourceKind::User, id, patch) if patch.can_deactivate() => Some(id),
            _ => None,
        }
    }
}

/// The versions that a condition names (RFC 9110 §13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// `*`: any, but there must be one.
    Any,
    /// One of these. Tags that this service never gave are left out; they match nothing.
    Versions(Vec<Tag>),
}

impl Precondition {
    /// Reads the values of `If-Match` or `If-None-Match`, or the `version` of an operation of a Bulk.
    pub(crate) fn of_fields<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let mut versions = Vec::new();
        for tag in fields.into_iter().flat_map(|field| field.split(',')).map(str::trim) {
            if tag == "*" {
                return Precondition::Any;
            }
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            versions.extend(inner.and_then(Tag::parse_opaque));
        }
        Precondition::Versions(versions)
    }

    /// Tells whether a resource of that version, of a user in these groups, meets it. Weak tags compare by what they
    /// hold, as SCIM's examples do; one that says nothing of groups is met whichever they are.
    pub fn admits(&self, version: Version, groups: &[Membership]) -> bool {
        match self {
            Precondition::Any => true,
            Precondition::Versions(tags) => tags.iter().any(|tag| {
                tag.version == version
                    && (tag.groups.is_none() || tag.groups == Membership::digest_groups(groups))
            }),
        }
    }

    /// Tells whether it names this very tag: the client has that representation already.
    pub(crate) fn names_tag(&self, tag: Tag) -> bool {
        match self {
            Precondition::Any => true,
            Precondition::Versions(tags) => tags.contains(&tag),
        }
    }
}
