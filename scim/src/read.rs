//! Reads requests: path, method, parameters and body in; a [`ScimRequest`] that is understood completely, or an error.
//!
//! Whatever is bounded is bounded before it is parsed. A request that comes through can be carried out as far as
//! its own words go; only what is stored can still refuse it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH};
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::bulk::read_bulk;
use crate::conform;
use crate::cursor::{PageCursor, sum_parts};
use crate::discovery::Discovery;
use crate::endpoint::{DiscoveryEndpoint, Endpoint};
use crate::error::{ScimError, ScimType};
use crate::filter::{Filter, Sort};
use crate::json;
use crate::limits::{BulkLimits, MAX_COUNT};
use crate::projection::Projection;
use crate::read_write::{WriteVerb, read_write};
use crate::request::{PageStart, Query, ScimRequest, Search, Selection};
use crate::schema::{ResourceKind, Schemas};
use crate::write::Precondition;

/// Reads a request whose path is relative to the base URL: `/Users`, `/Groups/{id}`, `/Schemas`.
///
/// # Errors
/// 400 with its `scimType` for what is malformed, 404 for a path that is none, 405, 413, 415, 501 for parts of the
/// standard that `ServiceProviderConfig` denies.
pub fn read_request(schemas: &Schemas, request: &http::Request<Bytes>) -> Result<ScimRequest, ScimError> {
    read_request_within(schemas, BulkLimits::default(), request)
}

/// The same with other limits of a Bulk.
///
/// # Errors
/// Those of [`read_request`].
pub fn read_request_within(
    schemas: &Schemas,
    limits: BulkLimits,
    request: &http::Request<Bytes>,
) -> Result<ScimRequest, ScimError> {
    read_straightened(schemas, limits, request, |_, _, _, body| Ok(body))
}

/// Turns the body of a write into one of SCIM 2.0, before anything but its size, its type and its JSON was looked at.
pub(crate) type Straighten =
    fn(&Schemas, ResourceKind, WriteVerb<'_>, Map<String, Value>) -> Result<Map<String, Value>, ScimError>;

/// The same for a request whose bodies are not those of SCIM 2.0; the rest of it is.
pub(crate) fn read_straightened(
    schemas: &Schemas,
    limits: BulkLimits,
    request: &http::Request<Bytes>,
    straighten: Straighten,
) -> Result<ScimRequest, ScimError> {
    let parameters = Parameters::read_query(request.uri().query())?;
    let place = Endpoint::of_path(request.uri().path())?;
    match (&place, request.method()) {
        (Endpoint::Discovery(what), &Method::GET | &Method::HEAD) => {
            read_discovery(schemas, *what, &parameters)
        }
        (Endpoint::Discovery(_), _) => Err(ScimError::MethodNotAllowed { allow: "GET, HEAD" }),
        (Endpoint::NotOffered(what), _) => Err(ScimError::NotOffered { what }),
        (Endpoint::Collection(kind), &Method::GET | &Method::HEAD) => {
            read_search(schemas, Some(*kind), &parameters)
        }
        (Endpoint::Search(kind), &Method::POST) => {
            let body = read_body(request)?;
            conform::check_schemas(&body, SEARCH_REQUEST)?;
            read_search(schemas, *kind, &Parameters::read_body(&body)?)
        }
        (Endpoint::Bulk, &Method::POST) => {
            check_media_type(request.headers())?;
            read_bulk(request.body(), limits).map(ScimRequest::Bulk)
        }
        (Endpoint::Bulk, _) => Err(ScimError::MethodNotAllowed { allow: "POST" }),
        (Endpoint::Search(_), _) => Err(ScimError::MethodNotAllowed { allow: "POST" }),
        (Endpoint::Resource(kind, id), &Method::GET | &Method::HEAD) => {
            let projection = parameters.read_projection(schemas, *kind);
            Ok(ScimRequest::Find(Query { kind: *kind, selection: Selection::One(id.clone()), projection }))
        }
        (Endpoint::Collection(kind), &Method::POST) => {
            read_write_request(schemas, request, straighten, *kind, WriteVerb::Create)
        }
        (Endpoint::Resource(kind, id), &Method::PUT) => {
            read_write_request(schemas, request, straighten, *kind, WriteVerb::Replace(id))
        }
        (Endpoint::Resource(kind, id), &Method::PATCH) => {
            read_write_request(schemas, request, straighten, *kind, WriteVerb::Patch(id))
        }
        (Endpoint::Resource(kind, id), &Method::DELETE) => {
            read_write_request(schemas, request, straighten, *kind, WriteVerb::Delete(id))
        }
        (Endpoint::Collection(_), _) => Err(ScimError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
        (Endpoint::Resource(..), _) => {
            Err(ScimError::MethodNotAllowed { allow: "GET, HEAD, PUT, PATCH, DELETE" })
        }
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

/// Reads a request that writes.
fn read_write_request(
    schemas: &Schemas,
    request: &http::Request<Bytes>,
    straighten: Straighten,
    kind: ResourceKind,
    verb: WriteVerb<'_>,
) -> Result<ScimRequest, ScimError> {
    let body = match verb {
        WriteVerb::Delete(_) => Map::new(),
        _ => straighten(schemas, kind, verb, read_body(request)?)?,
    };
    let if_match = read_precondition(request.headers(), &IF_MATCH);
    read_write(schemas, kind, verb, body, if_match).map(ScimRequest::Write)
}

fn read_body(request: &http::Request<Bytes>) -> Result<Map<String, Value>, ScimError> {
    check_media_type(request.headers())?;
    json::read_object(request.body())
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ScimError> {
    if let Some(media) = headers.get(CONTENT_TYPE) {
        let media = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_json =
            ["application/scim+json", "application/json"].iter().any(|due| media.eq_ignore_ascii_case(due));
        if !is_json {
            return Err(ScimError::UnsupportedMediaType);
        }
    }
    // Nothing is unpacked here: a few bytes could become gigabytes.
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(ScimError::UnsupportedMediaType)
        }
        _ => Ok(()),
    }
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
        DiscoveryEndpoint::Config => Discovery::config_with(parameters.attributes.as_deref()),
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
    cursor: Option<String>,
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
            "cursor" => &mut self.cursor,
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
        let count = read_number("count", self.count.as_deref());
        let Some(cursor) = self.cursor.as_deref() else {
            let start = read_number("startIndex", self.start_index.as_deref())?.unwrap_or(1).max(1);
            let count = count?.unwrap_or(MAX_COUNT).min(MAX_COUNT);
            return Ok(Search { filter, sort, start: PageStart::Index(start), count });
        };
        if self.start_index.is_some() {
            let detail = "a page begins at a startIndex or at a cursor, not at both";
            return Err(ScimError::invalid_value(detail));
        }
        let count = match count {
            Ok(None) => MAX_COUNT,
            Ok(Some(count)) if count > 0 => count.min(MAX_COUNT),
            Ok(Some(_)) | Err(_) => {
                let detail = format!("count: a page by cursor holds 1 to {MAX_COUNT}");
                return Err(ScimError::of_type(ScimType::InvalidCount, detail));
            }
        };
        let search = self.sum_search(kind, among_all, sort.as_ref());
        let after = (!cursor.is_empty()).then(|| PageCursor::parse(cursor, search)).transpose()?;
        Ok(Search { filter, sort, start: PageStart::Cursor { after, search }, count })
    }

    /// Sums up what decides which resources stand in the list and in which order.
    fn sum_search(&self, kind: ResourceKind, among_all: bool, sort: Option<&Sort>) -> u64 {
        let part = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
        let whose = if among_all { "all" } else { kind.name() };
        // Declared otherwise, an attribute puts everybody in another order.
        let compared = sort.map(|sort| (sort.by.leaf().kind, sort.by.leaf().case_exact));
        let by = format!("{} {compared:?}", part(&self.sort_by));
        sum_parts(&[whose, &part(&self.filter), &by, &part(&self.sort_order)])
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
    Some(Precondition::of_fields(fields.filter_map(|field| field.to_str().ok())))
}
