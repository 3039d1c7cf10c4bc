//! A directory in memory: what a store does, in the plainest way, so that whole conversations can be replayed.
//!
//! Searches are the filter's own evaluation in memory, which a store's search agrees with. Every answer is checked
//! for what holds of all answers.

use bytes::Bytes;
use http::{Response, StatusCode};
use portcullis_policy::{ResourceId, Timestamp, fold};
use portcullis_scim::dialect::Rewrite;
use portcullis_scim::{
    Act, GroupPatch, ListPage, Member, Membership, Meta, Outcome, PagePlace, PageStart, Query, Resource,
    ResourceKind, ResourceRecord, Schemas, ScimError, ScimRequest, ScimType, ScimVersion, Search, Selection,
    Service, Version, Wanted, Write, answer_request, read_request, read_version_one,
};
use serde_json::Value;

const PUBLIC_URL: &str = "https://scim.example.test";
pub(crate) const BASE: &str = "https://scim.example.test/scim/v2";
pub(crate) const BASE_ONE: &str = "https://scim.example.test/scim/v1";

pub(crate) struct Directory {
    pub(crate) schemas: Schemas,
    pub(crate) service: Service,
    /// What the client speaks.
    pub(crate) version: ScimVersion,
    pub(crate) rules: Vec<Rewrite>,
    /// How many writes each piece of a Bulk had.
    pub(crate) pieces: Vec<usize>,
    resources: Vec<(ResourceId, Resource, Meta)>,
    clock: i64,
}

/// What the wire would carry.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn scim_type(&self) -> Option<&str> {
        self.body["scimType"].as_str()
    }
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self::answering(GroupPatch::Empty)
    }

    pub(crate) fn answering(group_patch: GroupPatch) -> Self {
        let service = Service::new(PUBLIC_URL, group_patch);
        Self {
            schemas: Schemas::core_schemas(),
            service,
            version: ScimVersion::Two,
            rules: Vec::new(),
            pieces: Vec::new(),
            resources: Vec::new(),
            clock: 0,
        }
    }

    /// One with other schemas.
    pub(crate) fn speaking(schemas: Schemas) -> Self {
        Self { schemas, ..Self::new() }
    }

    /// The same with a client of another version.
    pub(crate) fn of_version(self, version: ScimVersion) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, &[], Value::Null)
    }

    pub(crate) fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[], body)
    }

    pub(crate) fn put(&mut self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, &[], body)
    }

    pub(crate) fn delete(&mut self, path: &str) -> Answer {
        self.call("DELETE", path, &[], Value::Null)
    }

    /// A PATCH with these operations.
    pub(crate) fn patch(&mut self, path: &str, operations: Value) -> Answer {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
        self.call("PATCH", path, &[], serde_json::json!({ "schemas": schemas, "Operations": operations }))
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let path = path.replace(' ', "%20").replace('"', "%22");
        let mut request = http::Request::builder().method(method).uri(path).body(body).expect("a request");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a name");
            request.headers_mut().append(name, value.parse().expect("a value"));
        }
        self.send(&request)
    }

    pub(crate) fn send(&mut self, request: &http::Request<Bytes>) -> Answer {
        let wanted = Wanted::of_version(self.version, &self.schemas, request);
        let read = match self.version {
            ScimVersion::One => read_version_one,
            ScimVersion::Two => read_request,
        };
        let outcome = read(&self.schemas, request).and_then(|request| match request {
            ScimRequest::Discover(what) => Ok(Outcome::Discovered(what)),
            ScimRequest::Find(query) => self.find(&query),
            ScimRequest::Write(write) => self.write(&write),
            ScimRequest::Bulk(mut bulk) => loop {
                let piece = bulk.next_piece(&self.schemas);
                if piece.is_empty() {
                    break Ok(Outcome::Bulk(bulk.into_results()));
                }
                self.pieces.push(piece.len());
                for step in piece {
                    let answer = self.write(&step.write);
                    bulk.settle(step.place, answer);
                }
            },
        });
        checked(self.version, answer_request(&self.schemas, &self.service, &wanted, outcome))
    }

    /// Whether a person may come in.
    pub(crate) fn is_active(&self, id: &str) -> bool {
        self.resources.iter().any(|(other, user, _)| other.as_str() == id && user.active() == Some(true))
    }

    /// The first resource, as an operator changes it.
    pub(crate) fn first(&mut self) -> &mut Resource {
        &mut self.resources[0].1
    }

    /// The ids of a group's members.
    pub(crate) fn members(&self, id: &str) -> Vec<String> {
        let group = self.resources.iter().find(|(other, ..)| other.as_str() == id);
        group.map(|(_, group, _)| group.members().map(str::to_owned).collect()).unwrap_or_default()
    }

    fn find(&self, query: &Query) -> Result<Outcome, ScimError> {
        let all = self.resources.iter();
        let of_kind = all.clone().filter(|(_, resource, _)| resource.kind() == query.kind);
        match &query.selection {
            Selection::One(id) => {
                let missing = || ScimError::NotFound { kind: query.kind, id: id.clone() };
                of_kind
                    .filter(|(other, ..)| other == id)
                    .map(|entry| self.record(entry))
                    .next()
                    .ok_or_else(missing)
            }
            .map(Outcome::Found),
            Selection::Page(search) => {
                let mut found = Vec::new();
                for record in of_kind.map(|entry| self.record(entry)) {
                    let Some(filter) = &search.filter else {
                        found.push(record);
                        continue;
                    };
                    if filter.matches(&record) {
                        found.push(record);
                    }
                }
                if let Some(sort) = &search.sort {
                    found.sort_by(|left, right| sort.compare(left, right));
                }
                Ok(cut_page(found, search, query))
            }
            Selection::PageOfAll(searches) => {
                let mut found = Vec::new();
                for (kind, search) in ResourceKind::ALL.into_iter().zip(searches.iter()) {
                    let of_kind = all.clone().filter(|(_, resource, _)| resource.kind() == kind);
                    let meets = |record: &ResourceRecord| {
                        search.filter.as_ref().is_none_or(|filter| filter.matches(record))
                    };
                    found.extend(of_kind.map(|entry| self.record(entry)).filter(meets));
                }
                Ok(cut_page(found, &searches[0], query))
            }
        }
    }

    fn write(&mut self, write: &Write) -> Result<Outcome, ScimError> {
        self.clock += 1_000;
        self.rules.extend(&write.rewrites);
        let kind = write.kind();
        let Some(id) = write.id() else {
            let Act::Create(resource) = &write.act else { unreachable!("only a create has no id") };
            let id = ResourceId::new(&format!("u-{}", self.clock));
            self.admit(&id, resource)?;
            let now = Timestamp(self.clock);
            self.resources.push((
                id,
                resource.clone(),
                Meta { created: now, modified: now, version: Version(1) },
            ));
            return Ok(Outcome::Created(self.record(&self.resources[self.resources.len() - 1])));
        };
        let at =
            self.resources.iter().position(|(other, resource, _)| other == id && resource.kind() == kind);
        let at = at.ok_or_else(|| ScimError::NotFound { kind, id: id.clone() })?;
        let before = self.record(&self.resources[at]);
        let version = before.meta.version;
        if write.if_match.as_ref().is_some_and(|condition| !condition.admits(version, &before.groups)) {
            return Err(ScimError::PreconditionFailed { version: version.to_string() });
        }
        let mut after = match &write.act {
            Act::Replace(_, resource) => resource.replacing(&self.schemas, &before.resource)?,
            Act::Patch(_, _, patch) => patch.apply_to(&self.schemas, &before)?,
            Act::Create(_) | Act::Delete(..) => {
                self.resources.remove(at);
                for (_, group, _) in &mut self.resources {
                    let left: Vec<ResourceId> =
                        group.take_members().into_iter().filter(|member| member != id).collect();
                    group.set_members(left.into_iter().map(|id| Member { id, kind, display: None }));
                }
                return Ok(Outcome::Deleted);
            }
        };
        self.admit(id, &after)?;
        // Members are compared by id, in whatever order; all else as it stands.
        let mut was = before.resource;
        let (mut old, mut new) = (was.take_members(), after.clone().take_members());
        old.sort_unstable();
        new.sort_unstable();
        let members = after.take_members();
        if was != after || old != new {
            let meta = &mut self.resources[at].2;
            (meta.modified, meta.version) = (Timestamp(self.clock), Version(version.0 + 1));
        }
        after.set_members(members.into_iter().map(|id| Member { id, kind, display: None }));
        self.resources[at].1 = after;
        Ok(Outcome::Changed(self.record(&self.resources[at])))
    }

    /// Names are unique and members exist.
    fn admit(&self, id: &ResourceId, resource: &Resource) -> Result<(), ScimError> {
        let name = |resource: &Resource| match resource.kind() {
            ResourceKind::User => resource.user_name().map(fold::unique_key),
            ResourceKind::Group => resource.display_name().map(fold::unique_key),
        };
        let others = self.resources.iter().filter(|(other, ..)| other != id);
        for (_, other, _) in others.filter(|(_, other, _)| other.kind() == resource.kind()) {
            if name(other) == name(resource) {
                let attribute =
                    if resource.kind() == ResourceKind::User { "userName" } else { "displayName" };
                let with = other.user_name().or(other.display_name()).unwrap_or_default().to_owned();
                return Err(ScimError::Uniqueness {
                    kind: resource.kind(),
                    attribute: attribute.into(),
                    with,
                });
            }
        }
        let unknown =
            resource.members().find(|id| !self.resources.iter().any(|(other, ..)| other.as_str() == *id));
        match unknown {
            Some(_) => Err(ScimError::of_type(ScimType::InvalidValue, "a member is not in this directory")),
            None => Ok(()),
        }
    }

    fn record(&self, (id, resource, meta): &(ResourceId, Resource, Meta)) -> ResourceRecord {
        let mut resource = resource.clone();
        let members: Vec<Member> = resource.take_members().into_iter().map(|id| self.member(id)).collect();
        resource.set_members(members);
        let holds = |group: &Resource| group.members().any(|member| member == id.as_str());
        let groups = self.resources.iter().filter(|(_, group, _)| holds(group));
        let groups = groups.map(|(group, resource, _)| Membership {
            group: group.clone(),
            display: resource.display_name().unwrap_or_default().to_owned(),
            direct: true,
        });
        let groups = if resource.kind() == ResourceKind::User { groups.collect() } else { Vec::new() };
        ResourceRecord { id: id.clone(), resource, meta: *meta, groups }
    }

    fn member(&self, id: ResourceId) -> Member {
        let found = self.resources.iter().find(|(other, ..)| *other == id).map(|(_, resource, _)| resource);
        let kind = found.map_or(ResourceKind::User, Resource::kind);
        let display = found.and_then(|found| found.display_name().or(found.user_name())).map(str::to_owned);
        Member { id, kind, display }
    }
}

fn cut_page(found: Vec<ResourceRecord>, search: &Search, query: &Query) -> Outcome {
    let total = found.len() as u64;
    let skip = match search.start {
        PageStart::Index(start) => usize::try_from(start - 1).unwrap_or(usize::MAX),
        // Here a place is how many stand before it.
        PageStart::Cursor { after, .. } => {
            after.map_or(0, |cursor| usize::try_from(cursor.after).unwrap_or(0))
        }
    };
    let records: Vec<ResourceRecord> = found.into_iter().skip(skip).take(search.count as usize).collect();
    let end = skip + records.len();
    let place =
        match search.start {
            PageStart::Index(start) => PagePlace::Index(start),
            PageStart::Cursor { .. } if (end as u64) < total => PagePlace::Cursor(
                search.start.continue_after(query.kind, i64::try_from(end).unwrap_or(i64::MAX), 0),
            ),
            PageStart::Cursor { .. } => PagePlace::Cursor(None),
        };
    Outcome::Listed(ListPage { total, place, records, projection: query.projection.clone() })
}

/// What holds of every answer.
fn checked(version: ScimVersion, response: Response<Bytes>) -> Answer {
    let (head, bytes) = response.into_parts();
    let body: Value =
        if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    assert_eq!(head.headers["cache-control"], "no-store");
    assert!(!text.contains("placeholder") && !text.contains("correct horse"), "a password came back: {text}");
    if let Some(version) = body["meta"]["version"].as_str() {
        assert_eq!(head.headers["etag"], version);
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    if is_error && version == ScimVersion::One {
        let error = &body["Errors"][0];
        assert_eq!(
            (body.as_object().map(|all| all.len()), error.as_object().map(|one| one.len())),
            (Some(1), Some(2))
        );
        assert_eq!(error["code"], head.status.as_str());
        assert!(error["description"].as_str().is_some_and(|said| !said.is_empty()));
    } else if is_error {
        assert_eq!(body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
        assert_eq!(body["status"], head.status.as_str());
        assert!(!body["detail"].as_str().expect("a detail").is_empty());
        let typed = matches!(head.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT);
        assert_eq!(body["scimType"].is_string(), typed, "{body}");
    }
    if head.status == StatusCode::CREATED {
        let location = head.headers["location"].to_str().expect("text");
        assert!(location.starts_with(if version == ScimVersion::One { BASE_ONE } else { BASE }));
        assert!(body["meta"]["location"].as_str().is_none_or(|told| told == location));
    }
    if bytes.is_empty() {
        let deleted = if version == ScimVersion::One { 200 } else { 204 };
        assert!([deleted, 204, 304].contains(&head.status.as_u16()), "{}", head.status);
        assert!(!head.headers.contains_key("content-type"));
    } else {
        let media = head.headers["content-type"].to_str().expect("text");
        assert!(["application/scim+json", "application/json"].contains(&media), "{media}");
        // 1.1 knows none of the names of 2.0.
        assert!(version == ScimVersion::Two || !text.contains("urn:ietf:params:scim:api"), "{text}");
        assert!(version == ScimVersion::Two || !text.contains("schemas:core:2.0"), "{text}");
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// A directory with three users `a`, `b`, `c` and their ids.
pub(crate) fn three() -> (Directory, [String; 3]) {
    let mut at = Directory::new();
    let ids = ["a", "b", "c"].map(|name| {
        let user = serde_json::json!({ "schemas": [portcullis_scim::schema::USER], "userName": format!("{name}@corp.test"), "title": name,
                           "emails": [{ "type": "work", "value": format!("{name}@corp.test"), "primary": true },
                                      { "type": "home", "value": format!("{name}@home.test") }] });
        at.post("/Users", user).id()
    });
    (at, ids)
}
