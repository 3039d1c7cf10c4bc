//! The endpoints below the base URL: which one a path names (RFC 7644 §3.2).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use portcullis_policy::ResourceId;

use crate::error::ScimError;
use crate::schema::ResourceKind;

/// The endpoint that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Discovery(DiscoveryEndpoint<'a>),
    Collection(ResourceKind),
    /// `.search`, of one kind or of both.
    Search(Option<ResourceKind>),
    Resource(ResourceKind, ResourceId),
    Bulk,
    NotOffered(&'static str),
}

/// A discovery endpoint and the single item that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscoveryEndpoint<'a> {
    Config,
    ResourceTypes(Option<&'a str>),
    Schemas(Option<&'a str>),
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of_path(path: &'a str) -> Result<Self, ScimError> {
        let path = path.strip_prefix('/').ok_or(ScimError::NoSuchPlace)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let (first, second) = match path.split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (path, None),
        };
        if second.is_some_and(|second| second.is_empty() || second.contains('/')) {
            return Err(ScimError::NoSuchPlace);
        }
        let kind =
            ResourceKind::ALL.into_iter().find(|kind| kind.endpoint().strip_prefix('/') == Some(first));
        match (kind, first, second) {
            (Some(kind), _, Some(".search")) => Ok(Endpoint::Search(Some(kind))),
            (None, ".search", None) => Ok(Endpoint::Search(None)),
            (Some(kind), _, None) => Ok(Endpoint::Collection(kind)),
            (Some(kind), _, Some(id)) => Ok(Endpoint::Resource(kind, resource_id(kind, id)?)),
            (None, "ServiceProviderConfig", None) => Ok(Endpoint::Discovery(DiscoveryEndpoint::Config)),
            (None, "ResourceTypes", name) => Ok(Endpoint::Discovery(DiscoveryEndpoint::ResourceTypes(name))),
            (None, "Schemas", urn) => Ok(Endpoint::Discovery(DiscoveryEndpoint::Schemas(urn))),
            (None, "Me", _) => Ok(Endpoint::NotOffered("/Me")),
            (None, "Bulk", None) => Ok(Endpoint::Bulk),
            _ => Err(ScimError::NoSuchPlace),
        }
    }
}

/// An id from a path. One that this service could never have given names nothing.
fn resource_id(kind: ResourceKind, segment: &str) -> Result<ResourceId, ScimError> {
    let id = percent_decode_str(segment).decode_utf8().unwrap_or(Cow::Borrowed(""));
    let is_possible = !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control);
    let shown = if is_possible { id.as_ref() } else { "of that id" };
    let id = ResourceId::new(shown);
    if is_possible { Ok(id) } else { Err(ScimError::NotFound { kind, id }) }
}
