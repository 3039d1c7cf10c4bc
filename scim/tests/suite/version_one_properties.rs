//! Properties of SCIM 1.1: no input breaks the translation, and a PATCH of 1.1 does what the PATCH of 2.0 does that says
//! the same.

use std::sync::LazyLock;

use bytes::Bytes;
use portcullis_policy::{ResourceId, Timestamp};
use portcullis_scim::schema::{ENTERPRISE_USER, USER};
use portcullis_scim::{
    Act, Meta, Resource, ResourceKind, ResourceRecord, Schemas, ScimError, ScimRequest, ScimVersion, Version,
    Wanted, Write, read_request, read_version_one,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const CORE: &str = "urn:scim:schemas:core:1.0";
const ENTERPRISE: &str = "urn:scim:schemas:extension:enterprise:1.0";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::core_schemas);

fn request(method: &str, path: &str, body: &Value) -> http::Request<Bytes> {
    let request = http::Request::builder().method(method).uri(path).body(Bytes::from(body.to_string()));
    request.expect("a request")
}

fn written(read: Result<ScimRequest, ScimError>) -> Result<Write, ScimError> {
    match read? {
        ScimRequest::Write(write) => Ok(write),
        _ => unreachable!("it is a write"),
    }
}

/// What a PATCH leaves of somebody.
fn applied(write: &Write, before: &ResourceRecord) -> Result<Resource, ScimError> {
    match &write.act {
        Act::Patch(_, _, patch) => patch.apply_to(&SCHEMAS, before),
        _ => unreachable!("a PATCH is a patch"),
    }
}

fn before() -> ResourceRecord {
    let body = json!({ "schemas": [USER], "userName": "n", "title": "t", "active": true,
        "name": { "givenName": "g", "familyName": "f" },
        "emails": [{ "value": "a", "type": "work", "primary": true }, { "value": "b", "type": "home" }],
        ENTERPRISE_USER: { "department": "d", "manager": { "value": "m" } } });
    let Ok(Write { act: Act::Create(resource), .. }) =
        written(read_request(&SCHEMAS, &request("POST", "/Users", &body)))
    else {
        unreachable!("a user")
    };
    let meta = Meta { created: Timestamp(1), modified: Timestamp(2), version: Version(3) };
    ResourceRecord { id: ResourceId::new("u-1"), resource, meta, groups: Vec::new() }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "A", "b", "c", "work", "x\"y\\z", "é", "", "true"]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

/// One thing that both versions can say, each in its own words.
#[derive(Clone, Debug)]
struct Said {
    title: Option<String>,
    given: Option<String>,
    department: Option<String>,
    manager: Option<String>,
    active: Option<Value>,
    added: Vec<(String, String)>,
    deleted: Vec<String>,
    /// The names of 1.1 and of 2.0.
    removed: Vec<(&'static str, String)>,
}

fn said() -> impl Strategy<Value = Said> {
    let names = prop::sample::subsequence(
        vec![
            ("title", "title".to_owned()),
            ("urn:scim:schemas:core:1.0:nickName", "nickName".to_owned()),
            ("name.familyName", "name.familyName".to_owned()),
            ("active", "active".to_owned()),
            ("emails", "emails".to_owned()),
            ("emails.type", "emails.type".to_owned()),
            ("urn:scim:schemas:extension:enterprise:1.0:department", format!("{ENTERPRISE_USER}:department")),
            ("manager.managerId", format!("{ENTERPRISE_USER}:manager.value")),
            ("urn:scim:schemas:extension:enterprise:1.0", ENTERPRISE_USER.to_owned()),
            ("userName", "userName".to_owned()),
            ("nobody", "nobody".to_owned()),
        ],
        0..3,
    );
    let truth =
        prop::sample::select(vec![json!(true), json!(false), json!("False"), json!("no"), Value::Null]);
    let maybe = || prop::option::of(word());
    let emails = prop::collection::vec((word(), word()), 0..3);
    let truth = prop::option::weighted(0.3, truth);
    (maybe(), maybe(), maybe(), maybe(), truth, emails, prop::collection::vec(word(), 0..3), names).prop_map(
        |(title, given, department, manager, active, added, deleted, removed)| Said {
            title,
            given,
            department,
            manager,
            active,
            added,
            deleted,
            removed,
        },
    )
}

impl Said {
    fn in_one(&self) -> Value {
        let mut body = Map::new();
        let mut put =
            |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
        put("schemas", Some(json!([CORE])));
        put("title", self.title.clone().map(Value::from));
        put("name", self.given.as_ref().map(|given| json!({ "givenName": given })));
        let mut part = Map::new();
        part.extend(self.department.as_ref().map(|text| ("department".to_owned(), json!(text))));
        part.extend(self.manager.as_ref().map(|id| ("manager".to_owned(), json!({ "managerId": id }))));
        put(ENTERPRISE, (!part.is_empty()).then_some(Value::Object(part)));
        put("active", self.active.clone());
        let added = self.added.iter().map(|(value, kind)| json!({ "value": value, "type": kind }));
        let deleted =
            self.deleted.iter().map(|value| json!({ "operation": "delete", "type": "x", "value": value }));
        let emails: Vec<Value> = added.chain(deleted).collect();
        put("emails", (!emails.is_empty()).then_some(emails.into()));
        let names: Vec<&str> = self.removed.iter().map(|(name, _)| *name).collect();
        put("meta", (!names.is_empty()).then_some(json!({ "attributes": names })));
        Value::Object(body)
    }

    fn in_two(&self) -> Value {
        let is_removed = |name: &str| self.removed.iter().any(|(_, removed)| removed == name);
        let sets_emails = !self.added.is_empty() || !self.deleted.is_empty();
        let is_set = |name: &str| match name {
            "title" => self.title.is_some(),
            "active" => self.active.is_some(),
            "emails" => !self.added.is_empty(),
            name => name.ends_with(":department") && self.department.is_some(),
        };
        let mut operations = Vec::new();
        for (_, name) in self.removed.iter().filter(|(_, name)| !is_set(name)) {
            operations.push(json!({ "op": "remove", "path": name }));
        }
        let mut set = |path: &str, value: Option<Value>| {
            operations.extend(value.map(|value| json!({ "op": "replace", "path": path, "value": value })));
        };
        set("title", self.title.clone().map(Value::from));
        set("name.givenName", self.given.clone().map(Value::from));
        set(&format!("{ENTERPRISE_USER}:department"), self.department.clone().map(Value::from));
        set(&format!("{ENTERPRISE_USER}:manager"), self.manager.as_ref().map(|id| json!({ "value": id })));
        set("active", self.active.clone());
        let element = |(value, kind): &(String, String)| json!({ "value": value, "type": kind });
        if is_removed("emails") && sets_emails {
            let added: Vec<Value> = self.added.iter().map(element).collect();
            if !added.is_empty() {
                operations.push(json!({ "op": "replace", "path": "emails", "value": added }));
            }
        } else {
            if !self.deleted.is_empty() {
                let deleted: Vec<Value> =
                    self.deleted.iter().map(|value| json!({ "value": value })).collect();
                operations.push(json!({ "op": "remove", "path": "emails", "value": deleted }));
            }
            for email in &self.added {
                let path = format!("emails[value eq {}]", Value::from(email.0.as_str()));
                operations.push(json!({ "op": "add", "path": path, "value": element(email) }));
            }
        }
        json!({ "schemas": [PATCH_OP], "Operations": operations })
    }
}

/// Anything, of names and values that mean something here.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        word().prop_map(Value::from),
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(7),
            json!("delete"),
            json!([]),
            json!({}),
            json!([CORE])
        ]),
    ];
    let key = prop_oneof![
        6 => prop::sample::select(vec![
            "userName", "displayName", "title", "active", "emails", "members", "groups", "name", "value", "operation", "meta",
            "attributes", "managerId", "manager", "schemas", "id", "Operations", "emails[type eq \"work\"]", ENTERPRISE,
            ENTERPRISE_USER, CORE, "urn:scim:schemas:core:1.0:title", "urn:scim:schemas:extension:enterprise:1.0:manager",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_patch_of_1_1_is_the_patch_of_2_0_that_says_the_same(said in said()) {
        let (one, two) = (said.in_one(), said.in_two());
        prop_assume!(two["Operations"] != json!([]));
        let before = before();
        let one = written(read_version_one(&SCHEMAS, &request("PATCH", "/Users/u-1", &one)));
        let two = written(read_request(&SCHEMAS, &request("PATCH", "/Users/u-1", &two)));
        let after = |write: &Result<Write, ScimError>| match write {
            Ok(write) => applied(write, &before).map_err(|error| error.status()),
            Err(error) => Err(error.status()),
        };
        prop_assert_eq!(after(&one), after(&two), "{:?} / {:?}", one, two);
        if let (Ok(one), Ok(two)) = (one, two) {
            prop_assert_eq!(one.takes_away(), two.takes_away());
            prop_assert_eq!(one.deprovisions(), two.deprovisions());
        }
    }

    #[test]
    fn any_body_is_read_or_refused_and_puts_nobody_out_unseen(body in anything(), fill in any::<bool>()) {
        let mut body = body;
        if let (Value::Object(map), true) = (&mut body, fill) {
            map.insert("schemas".to_owned(), json!([CORE]));
        }
        let before = before();
        for kind in ResourceKind::ALL {
            let (all, one) = (kind.endpoint().to_owned(), format!("{}/u-1", kind.endpoint()));
            for (method, path) in [("POST", &all), ("PUT", &one), ("PATCH", &one)] {
                let Ok(ScimRequest::Write(write)) = read_version_one(&SCHEMAS, &request(method, path, &body)) else { continue };
                let (Act::Patch(ResourceKind::User, _, patch), true) = (&write.act, kind == ResourceKind::User) else { continue };
                if patch.apply_to(&SCHEMAS, &before).is_ok_and(|after| after.active() != Some(true)) {
                    prop_assert!(write.deprovisions().is_some(), "{}", body);
                }
            }
        }
    }

    #[test]
    fn any_address_is_read_or_refused(path in "[/A-Za-z.%0-9]{0,20}", name in "[a-zA-Z]{0,12}|filter|attributes|sortBy", value in "\\PC{0,40}") {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [path.as_str(), "Users", "Groups/g"] {
            let uri = format!("/{path}?{name}={value}");
            let Ok(request) = http::Request::builder().uri(uri).body(Bytes::new()) else { continue };
            let _ = (read_version_one(&SCHEMAS, &request), Wanted::of_version(ScimVersion::One, &SCHEMAS, &request));
        }
    }
}
