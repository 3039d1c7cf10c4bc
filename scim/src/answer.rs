//! Writes answers: what came of a request, in the shape the client asked for (RFC 7644 §3).
//!
//! Addresses are built from the configured base URL, never from a header of the request. A user's PATCH answers
//! with the user; a group's answers 204, since groups are large, unless the client named attributes or the operator
//! chose otherwise. Every answer is `no-store`: it is about people.

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_policy::{GroupPatch, ResourceId};
use serde_json::{Map, Value, json};

use crate::bulk::BulkResults;
use crate::cursor::PageCursor;
use crate::discovery::Discovery;
use crate::endpoint::Endpoint;
use crate::error::ScimError;
use crate::limits::BulkLimits;
use crate::list::{cursor_response, list_response};
use crate::outcome::{ListPage, Outcome, PagePlace};
use crate::projection::Projection;
use crate::read::{Parameters, read_precondition};
use crate::resource::{ResourceRecord, Tag};
use crate::schema::{ResourceKind, Schemas};
use crate::version::ScimVersion;
use crate::version_one;
use crate::write::Precondition;

const BULK_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The settings by which one directory answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    public_url: String,
    group_patch: GroupPatch,
    bulk: BulkLimits,
}

impl Service {
    /// `public_url` is the address that clients reach this service at, such as `https://scim.example.com`.
    pub fn new(public_url: &str, group_patch: GroupPatch) -> Self {
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self { public_url, group_patch, bulk: BulkLimits::default() }
    }

    /// The same with other limits of a Bulk.
    #[must_use]
    pub fn with_bulk(self, bulk: BulkLimits) -> Self {
        Self { bulk, ..self }
    }

    /// The limits of a Bulk.
    pub fn bulk_limits(&self) -> BulkLimits {
        self.bulk
    }

    /// The base URL of a version, without a slash at its end.
    pub fn base(&self, version: ScimVersion) -> String {
        format!("{}{}", self.public_url, version.base_path())
    }
}

/// The shape in which a client wants its answer: read from the request before, and whether or not, it is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    version: ScimVersion,
    projection: Projection,
    is_patch: bool,
    unless: Option<Precondition>,
    media: &'static str,
}

impl Wanted {
    /// Reads what a request of SCIM 2.0 says about its answer.
    pub fn from_request<B>(schemas: &Schemas, request: &http::Request<B>) -> Self {
        Self::of_version(ScimVersion::Two, schemas, request)
    }

    /// The same for a request of either version, whose path is relative to the base URL of that version.
    pub fn of_version<B>(version: ScimVersion, schemas: &Schemas, request: &http::Request<B>) -> Self {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let (method, uri) = match version {
            ScimVersion::Two => (method.clone(), Some(uri.clone())),
            ScimVersion::One => match version_one::translate_head(method, uri, headers) {
                Ok((method, uri)) => (method, Some(uri)),
                Err(_) => (method.clone(), None),
            },
        };
        let projection = match uri.as_ref().map(|uri| (Endpoint::of_path(uri.path()), uri.query())) {
            Some((Ok(Endpoint::Collection(kind) | Endpoint::Resource(kind, _)), query)) => {
                Parameters::read_query(query)
                    .map(|parameters| parameters.read_projection(schemas, kind))
                    .unwrap_or_default()
            }
            _ => Projection::default(),
        };
        Self {
            version,
            projection,
            is_patch: method == Method::PATCH,
            unless: read_precondition(headers, &IF_NONE_MATCH),
            media: response_media_type(version, headers),
        }
    }
}

impl Wanted {
    /// Tells whether the answer shows the members of a group that was written.
    pub fn shows_members(&self, service: &Service) -> bool {
        let is_empty =
            self.is_patch && service.group_patch == GroupPatch::Empty && !self.projection.is_asked();
        !is_empty && self.projection.wants("members")
    }
}

/// `application/json` for a client that asks for it and not for SCIM's own type, as older ones do; version 1.1 has no
/// type of its own.
fn response_media_type(version: ScimVersion, headers: &HeaderMap) -> &'static str {
    let accepts = |media: &str| {
        let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
        fields.flat_map(|field| field.split(',')).any(|one| {
            let name = one.split(';').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case(media)
        })
    };
    let is_plain = version == ScimVersion::One || accepts("application/json");
    if is_plain && !accepts("application/scim+json") { "application/json" } else { "application/scim+json" }
}

/// The answer to a request.
pub fn answer_request(
    schemas: &Schemas,
    service: &Service,
    wanted: &Wanted,
    outcome: Result<Outcome, ScimError>,
) -> Response<Bytes> {
    match outcome {
        Ok(outcome) => Answering { schemas, service, wanted }.answer_outcome(&outcome),
        Err(error) => error_response(service, wanted, &error),
    }
}

struct Answering<'a> {
    schemas: &'a Schemas,
    service: &'a Service,
    wanted: &'a Wanted,
}

impl Answering<'_> {
    fn answer_outcome(&self, outcome: &Outcome) -> Response<Bytes> {
        match outcome {
            Outcome::Discovered(discovery) => self.with_body(StatusCode::OK, &self.discovery_body(discovery)),
            Outcome::Found(record) => {
                let tag = self.record_tag(record);
                if self.wanted.unless.as_ref().is_some_and(|known| known.names_tag(tag)) {
                    return with_etag(empty_response(StatusCode::NOT_MODIFIED), tag);
                }
                self.with_record(StatusCode::OK, record)
            }
            Outcome::Listed(page) => self.with_body(StatusCode::OK, &self.page_body(page)),
            Outcome::Created(record) => {
                let mut response = self.with_record(StatusCode::CREATED, record);
                set_header(&mut response, LOCATION, &resource_location(&self.base(), record));
                response
            }
            Outcome::Changed(record) => {
                let is_group_patch = self.wanted.is_patch && record.resource.kind() == ResourceKind::Group;
                let is_empty =
                    self.service.group_patch == GroupPatch::Empty && !self.wanted.projection.is_asked();
                if is_group_patch && is_empty {
                    return with_etag(empty_response(StatusCode::NO_CONTENT), self.record_tag(record));
                }
                self.with_record(StatusCode::OK, record)
            }
            Outcome::Deleted => empty_response(match self.wanted.version {
                ScimVersion::One => StatusCode::OK,
                ScimVersion::Two => StatusCode::NO_CONTENT,
            }),
            Outcome::Bulk(results) => self.with_body(StatusCode::OK, &self.bulk_body(results)),
        }
    }

    fn with_record(&self, status: StatusCode, record: &ResourceRecord) -> Response<Bytes> {
        with_etag(self.with_body(status, &Value::Object(self.record_body(record))), self.record_tag(record))
    }

    /// The ETag of what the client sees.
    fn record_tag(&self, record: &ResourceRecord) -> Tag {
        record.tag(self.wanted.projection.wants("groups"))
    }

    fn page_body(&self, page: &ListPage) -> Value {
        let body = |record| Value::Object(self.projected_body(record, &page.projection));
        let records = page.records.iter().map(body).collect();
        match (page.place, self.wanted.version) {
            (PagePlace::Index(start), ScimVersion::One) => version_one::list_body(page.total, start, records),
            (PagePlace::Index(start), ScimVersion::Two) => list_response(page.total, start, records),
            (PagePlace::Cursor(next), _) => {
                cursor_response(page.total, next.map(PageCursor::to_text), records)
            }
        }
    }

    fn discovery_body(&self, discovery: &Discovery) -> Value {
        let base = self.base();
        match self.wanted.version {
            ScimVersion::One => version_one::discovery_body(discovery, self.schemas, &base),
            ScimVersion::Two => discovery.body(self.schemas, &base, self.service.bulk),
        }
    }

    /// The base URL that the client asked below.
    fn base(&self) -> String {
        self.service.base(self.wanted.version)
    }

    /// A BulkResponse (RFC 7644 §3.7.3).
    fn bulk_body(&self, results: &BulkResults) -> Value {
        let operations = results.iter().map(|result| {
            let mut shown = Map::from_iter([("method".to_owned(), result.method.as_str().into())]);
            let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
            if let Some(bulk_id) = &result.bulk_id {
                put("bulkId", bulk_id.as_str().into());
            }
            if let Some((kind, id)) = &result.end.resource {
                put("location", resource_address(&self.base(), *kind, id).into());
            }
            if let Some(version) = &result.end.version {
                put("version", version.as_str().into());
            }
            let status = match &result.end.outcome {
                Ok(status) => *status,
                Err(error) => {
                    put("response", error_body(self.service, self.wanted.version, error));
                    error.status()
                }
            };
            put("status", status.as_str().into());
            Value::Object(shown)
        });
        json!({ "schemas": [BULK_RESPONSE], "Operations": operations.collect::<Vec<Value>>() })
    }

    fn record_body(&self, record: &ResourceRecord) -> Map<String, Value> {
        self.projected_body(record, &self.wanted.projection)
    }

    /// A resource as the client wants to see it.
    fn projected_body(&self, record: &ResourceRecord, projection: &Projection) -> Map<String, Value> {
        let base = &self.base();
        let mut tree = record.facts();
        if let Some(meta) = tree.get_mut("meta") {
            meta["location"] = resource_location(base, record).into();
            meta["version"] = record.tag(projection.wants("groups")).to_string().into();
        }
        add_references(&mut tree, "groups", |_| Some(collection_address(base, ResourceKind::Group)));
        add_references(&mut tree, "members", |member| {
            let kind =
                ResourceKind::ALL.into_iter().find(|kind| member.get("type") == Some(&kind.name().into()));
            kind.map(|kind| collection_address(base, kind))
        });
        // SCIM 1.1 knows no such attributes: `display` is one of those that every list may have.
        if self.wanted.version == ScimVersion::Two {
            projection.leave_out_unnamed(self.schemas, record.resource.kind(), &mut tree);
        }
        let tree = projection.project_tree(self.schemas, tree);
        match self.wanted.version {
            ScimVersion::One => version_one::resource_body(record.resource.kind(), tree),
            ScimVersion::Two => tree,
        }
    }

    fn with_body(&self, status: StatusCode, body: &Value) -> Response<Bytes> {
        json_response(status, self.wanted.media, body)
    }
}

/// An error in SCIM's form (RFC 7644 §3.12), or in that of version 1.1.
fn error_response(service: &Service, wanted: &Wanted, error: &ScimError) -> Response<Bytes> {
    let body = error_body(service, wanted.version, error);
    let mut response = json_response(error.status(), wanted.media, &body);
    if let ScimError::MethodNotAllowed { allow } = error {
        set_header(&mut response, ALLOW, allow);
    }
    if let ScimError::Unauthorized(_) = error {
        set_header(&mut response, WWW_AUTHENTICATE, "Bearer realm=\"scim\"");
    }
    if let Some(seconds) = error.retry_after() {
        set_header(&mut response, RETRY_AFTER, &seconds.to_string());
    }
    response
}

fn error_body(service: &Service, version: ScimVersion, error: &ScimError) -> Value {
    let detail = match error {
        ScimError::NoSuchPlace => format!("{error}; the base URL is {}", service.base(version)),
        _ => error.to_string(),
    };
    if version == ScimVersion::One {
        return version_one::error_body(error.status(), &detail);
    }
    let mut body = json!({ "schemas": [ERROR], "status": error.status().as_str(), "detail": detail });
    if let Some(scim_type) = error.scim_type() {
        body["scimType"] = scim_type.as_str().into();
    }
    body
}

/// Gives each element of a list the address it stands for.
fn add_references(
    tree: &mut Map<String, Value>,
    name: &str,
    collection: impl Fn(&Map<String, Value>) -> Option<String>,
) {
    let Some(Value::Array(list)) = tree.get_mut(name) else { return };
    for element in list.iter_mut().filter_map(Value::as_object_mut) {
        let id = element.get("value").and_then(Value::as_str).map(path_segment);
        if let (Some(id), Some(collection)) = (id, collection(element)) {
            element.insert("$ref".to_owned(), format!("{collection}/{id}").into());
        }
    }
}

fn resource_location(base: &str, record: &ResourceRecord) -> String {
    resource_address(base, record.resource.kind(), &record.id)
}

fn resource_address(base: &str, kind: ResourceKind, id: &ResourceId) -> String {
    format!("{}/{}", collection_address(base, kind), path_segment(id.as_str()))
}

fn collection_address(base: &str, kind: ResourceKind) -> String {
    format!("{base}{}", kind.endpoint())
}

/// An id as a segment of a path.
fn path_segment(id: &str) -> String {
    const OUTSIDE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(id, OUTSIDE).to_string()
}

fn with_etag(mut response: Response<Bytes>, tag: Tag) -> Response<Bytes> {
    set_header(&mut response, ETAG, &tag.to_string());
    response
}

fn json_response(status: StatusCode, media: &'static str, body: &Value) -> Response<Bytes> {
    let mut response = empty_response(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    *response.body_mut() = Bytes::from(body.to_string());
    response
}

fn empty_response(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sets a header whose value this module made; one that no header can hold is left out.
fn set_header(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
