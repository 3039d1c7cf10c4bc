//! Reads requests: path, method, parameters and body in; a [`ScimRequest`] that is understood completely, or an error.
//!
//! Whatever is bounded is bounded before it is parsed. A request that comes through can be carried out as far as
//! its own words go; only what is stored can still refuse it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, IF_MATCH};
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use portcullis_policy::ResourceId;
use serde_json::{Map, Value};

use crate::conform;
use crate::dialect::Dialect;
use crate::discovery::Discovery;
use crate::error::ScimError;
use crate::filter::{Filter, Sort};
use crate::json;
use crate::patch::Patch;
use crate::projection::Projection;
use crate::request::{Act, MAX_COUNT, Precondition, Query, ScimRequest, Search, Selection, Write};
use crate::resource::Tag;
use crate::schema::{ResourceKind, Schemas};

/// Reads a request whose path is relative to the base URL: `/Users`, `/Groups/{id}`, `/Schemas`.
///
/// # Errors
/// 400 with its `scimType` for what is malformed, 404 for a path that is none, 405, 413, 415, 501 for parts of the
/// standard that `ServiceProviderConfig` denies.
pub fn read_request(schemas: &Schemas, request: &http::Request<Bytes>) -> Result<ScimRequest, ScimError> {
    let parameters = Parameters::read_query(request.uri().query())?;
    let place = Endpoint::of_path(request.uri().path())?;
    match (&place, request.method()) {
        (Endpoint::Discovery(what), &Method::GET | &Method::HEAD) => {
            read_discovery(schemas, *what, &parameters)
        }
        (Endpoint::Discovery(_), _) => Err(ScimError::MethodNotAllowed { allow: "GET" }),
        (Endpoint::NotOffered(what), _) => Err(ScimError::NotOffered { what }),
        (Endpoint::Collection(kind), &Method::GET | &Method::HEAD) => {
            read_search(schemas, Some(*kind), &parameters)
        }
        (Endpoint::Search(kind), &Method::POST) => {
            let body = read_body(request)?;
            conform::check_schemas(&body, SEARCH_REQUEST)?;
            read_search(schemas, *kind, &Parameters::read_body(&body)?)
        }
        (Endpoint::Search(_), _) => Err(ScimError::MethodNotAllowed { allow: "POST" }),
        (Endpoint::Resource(kind, id), &Method::GET | &Method::HEAD) => {
            let projection = parameters.read_projection(schemas, *kind);
            Ok(ScimRequest::Find(Query { kind: *kind, selection: Selection::One(id.clone()), projection }))
        }
        (Endpoint::Collection(kind), &Method::POST) => read_write(schemas, request, *kind, WriteVerb::Create),
        (Endpoint::Resource(kind, id), &Method::PUT) => {
            read_write(schemas, request, *kind, WriteVerb::Replace(id))
        }
        (Endpoint::Resource(kind, id), &Method::PATCH) => {
            read_write(schemas, request, *kind, WriteVerb::Patch(id))
        }
        (Endpoint::Resource(kind, id), &Method::DELETE) => {
            read_write(schemas, request, *kind, WriteVerb::Delete(id))
        }
        (Endpoint::Collection(_), _) => Err(ScimError::MethodNotAllowed { allow: "GET, POST" }),
        (Endpoint::Resource(..), _) => Err(ScimError::MethodNotAllowed { allow: "GET, PUT, PATCH, DELETE" }),
    }
}

/// The schema of a search by POST (RFC 7644 §3.4.3).
const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// A page of one kind, or of both.
fn read_search(
    schemas: &Schemas,
    kind: Option<ResourceKind>,
    parameters: &Parameters,
) -> Result<ScimRequest, ScimError> {
    let (kind, selection, projection) = match kind {
        Some(kind) => {
            let selection = Selection::Page(parameters.read_search(schemas, kind, false)?);
            (kind, selection, parameters.read_projection(schemas, kind))
        }
        None => {
            if parameters.sort_by.is_some() {
                let detail = "sortBy: both kinds together are not sorted; search below /Users or /Groups";
                return Err(ScimError::invalid_value(detail));
            }
            let [user, group] = ResourceKind::ALL;
            let searches =
                [parameters.read_search(schemas, user, true)?, parameters.read_search(schemas, group, true)?];
            let projection = parameters.read_projection(schemas, user);
            let projection = projection.joined_with(parameters.read_projection(schemas, group));
            (user, Selection::PageOfAll(Box::new(searches)), projection)
        }
    };
    Ok(ScimRequest::Find(Query { kind, selection, projection }))
}

enum WriteVerb<'a> {
    Create,
    Replace(&'a ResourceId),
    Patch(&'a ResourceId),
    Delete(&'a ResourceId),
}

fn read_write(
    schemas: &Schemas,
    request: &http::Request<Bytes>,
    kind: ResourceKind,
    verb: WriteVerb<'_>,
) -> Result<ScimRequest, ScimError> {
    let mut dialect = Dialect::new(schemas, kind);
    let act = match verb {
        WriteVerb::Delete(id) => Act::Delete(kind, id.clone()),
        WriteVerb::Patch(id) => {
            let body = read_body(request)?;
            Patch::check_bounds(&body)?;
            let body = dialect.rewrite_patch(body)?;
            Act::Patch(kind, id.clone(), Patch::read_body(schemas, kind, &body)?)
        }
        WriteVerb::Create => {
            let body = dialect.rewrite_resource(read_body(request)?)?;
            let mut resource = conform::read_resource(schemas, kind, &body)?;
            if kind == ResourceKind::User && resource.active().is_none() {
                resource.set_active(true);
            }
            Act::Create(resource)
        }
        WriteVerb::Replace(id) => {
            let body = dialect.rewrite_resource(read_body(request)?)?;
            Act::Replace(id.clone(), conform::read_resource(schemas, kind, &body)?)
        }
    };
    let if_match = read_precondition(request.headers(), &IF_MATCH);
    Ok(ScimRequest::Write(Write { act, if_match, rewrites: dialect.applied_rules() }))
}

fn read_body(request: &http::Request<Bytes>) -> Result<Map<String, Value>, ScimError> {
    if let Some(media) = request.headers().get(CONTENT_TYPE) {
        let media = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_json =
            ["application/scim+json", "application/json"].iter().any(|due| media.eq_ignore_ascii_case(due));
        if !is_json {
            return Err(ScimError::UnsupportedMediaType);
        }
    }
    json::read_object(request.body())
}

/// The endpoint that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Discovery(DiscoveryEndpoint<'a>),
    Collection(ResourceKind),
    /// `.search`, of one kind or of both.
    Search(Option<ResourceKind>),
    Resource(ResourceKind, ResourceId),
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
            (None, "Bulk", None) => Ok(Endpoint::NotOffered("Bulk")),
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

fn read_discovery(
    schemas: &Schemas,
    place: DiscoveryEndpoint<'_>,
    parameters: &Parameters,
) -> Result<ScimRequest, ScimError> {
    if parameters.filter.is_some() {
        return Err(ScimError::Forbidden("discovery answers everything; it cannot be filtered".to_owned()));
    }
    let named = |name: &str| percent_decode_str(name).decode_utf8_lossy().into_owned();
    let discovery = match place {
        DiscoveryEndpoint::Config => Discovery::Config,
        DiscoveryEndpoint::ResourceTypes(None) => Discovery::ResourceTypes(None),
        DiscoveryEndpoint::ResourceTypes(Some(name)) => {
            let name = named(name);
            let kind = ResourceKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(&name));
            Discovery::ResourceTypes(Some(kind.ok_or(ScimError::NotDescribed { what: "resource type" })?))
        }
        DiscoveryEndpoint::Schemas(None) => Discovery::Schemas(None),
        DiscoveryEndpoint::Schemas(Some(urn)) => {
            let urn = named(urn);
            let schema = schemas.all_schemas().find(|schema| schema.urn.eq_ignore_ascii_case(&urn));
            let schema = schema.ok_or(ScimError::NotDescribed { what: "schema" })?;
            Discovery::Schemas(Some(schema.urn.clone()))
        }
    };
    Ok(ScimRequest::Discover(discovery))
}

/// The parameters of a request; those that SCIM does not know are passed over (Entra's flags come as one).
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    filter: Option<String>,
    start_index: Option<String>,
    count: Option<String>,
    attributes: Option<String>,
    excluded: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
}

impl Parameters {
    /// Names in any case: a filter that is not seen would answer with everybody.
    pub(crate) fn read_query(query: Option<&str>) -> Result<Self, ScimError> {
        let mut read = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Ok(name) = decode_query(name) else { continue };
            let Some(place) = read.find_parameter(&name.to_ascii_lowercase())? else { continue };
            if place.is_some() {
                return Err(ScimError::invalid_syntax(format!("the parameter {name} stands there twice")));
            }
            let value = decode_query(value)
                .map_err(|()| ScimError::invalid_syntax(format!("{name} is not UTF-8")))?;
            *place = Some(value);
        }
        Ok(read)
    }

    /// The place of a parameter, by its name in lower case; `None` for one that SCIM does not know.
    fn find_parameter(&mut self, name: &str) -> Result<Option<&mut Option<String>>, ScimError> {
        Ok(Some(match name {
            "filter" => &mut self.filter,
            "startindex" => &mut self.start_index,
            "count" => &mut self.count,
            "attributes" => &mut self.attributes,
            "excludedattributes" => &mut self.excluded,
            "sortby" => &mut self.sort_by,
            "sortorder" => &mut self.sort_order,
            "cursor" => {
                return Err(ScimError::invalid_value("paging is by startIndex and count, not by cursor"));
            }
            _ => return Ok(None),
        }))
    }

    pub(crate) fn read_projection(&self, schemas: &Schemas, kind: ResourceKind) -> Projection {
        Projection::read_names(schemas, kind, self.attributes.as_deref(), self.excluded.as_deref())
    }

    /// The same parameters from the body of a search by POST; lists of names are lists there, numbers are numbers. What
    /// is null is left out.
    fn read_body(body: &Map<String, Value>) -> Result<Self, ScimError> {
        let mut read = Self::default();
        for (name, value) in body {
            let lower = name.to_ascii_lowercase();
            let Some(place) = read.find_parameter(&lower)? else { continue };
            *place = match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                Value::Number(number) if ["startindex", "count"].contains(&lower.as_str()) => {
                    Some(number.to_string())
                }
                Value::Array(names) if lower.ends_with("attributes") => {
                    let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
                    let names = names
                        .ok_or_else(|| ScimError::invalid_value(format!("{name} is a list of names")))?;
                    Some(names.join(","))
                }
                _ => {
                    let detail = format!("{name} does not have the type it has in SCIM");
                    return Err(ScimError::invalid_value(detail));
                }
            };
        }
        Ok(read)
    }

    /// The search on one kind; `among_all` where the other one is searched too, whose attributes nobody here has then
    /// (RFC 7644 §3.4.2.1).
    fn read_search(
        &self,
        schemas: &Schemas,
        kind: ResourceKind,
        among_all: bool,
    ) -> Result<Search, ScimError> {
        let parse = |text| match among_all {
            true => Filter::parse_among_all(schemas, kind, text),
            false => Filter::parse_filter(schemas, kind, text),
        };
        let filter = self.filter.as_deref().map(parse).transpose()?;
        let sort = self.sort_by.as_deref().filter(|by| !by.trim().is_empty());
        let sort =
            sort.map(|by| Sort::parse_sort(schemas, kind, by, self.sort_order.as_deref())).transpose()?;
        let start_index = read_number("startIndex", self.start_index.as_deref())?.unwrap_or(1).max(1);
        let count = read_number("count", self.count.as_deref())?.unwrap_or(MAX_COUNT).min(MAX_COUNT);
        Ok(Search { filter, sort, start_index, count })
    }
}

/// A whole number; a negative one is taken for 0, one too large for the largest (RFC 7644 §3.4.2.4).
fn read_number(name: &str, text: Option<&str>) -> Result<Option<u64>, ScimError> {
    let Some(text) = text else { return Ok(None) };
    let (digits, is_negative) = match text.trim().strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text.trim(), false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScimError::invalid_value(format!("{name} must be a whole number")));
    }
    // A store counts in 64 bits with a sign.
    let number = digits.parse().unwrap_or(u64::MAX).min(i64::MAX as u64);
    Ok(Some(if is_negative { 0 } else { number }))
}

/// A name or value of a query: `+` is a blank, as Entra and canaille write it.
fn decode_query(text: &str) -> Result<String, ()> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Cow::into_owned).map_err(|_| ())
}

/// `If-Match` or `If-None-Match` (RFC 9110 §13.1).
pub(crate) fn read_precondition(headers: &HeaderMap, name: &HeaderName) -> Option<Precondition> {
    let mut fields = headers.get_all(name).iter().peekable();
    fields.peek()?;
    let mut versions = Vec::new();
    for tag in
        fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')).map(str::trim)
    {
        if tag == "*" {
            return Some(Precondition::Any);
        }
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        versions.extend(inner.and_then(Tag::parse_opaque));
    }
    Some(Precondition::Versions(versions))
}
