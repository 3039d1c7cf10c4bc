//! Properties of every parser and of PATCH, on arbitrary input.

use std::sync::LazyLock;

use bytes::Bytes;
use portcullis_policy::{ResourceId, Timestamp};
use portcullis_scim::schema::{ENTERPRISE_USER as ENTERPRISE, USER};
use portcullis_scim::{
    Act, Filter, Meta, Resource, ResourceKind, ResourceRecord, Schemas, ScimRequest, Version, read_request,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::core_schemas);

fn request(method: &str, path: &str, body: &Value) -> http::Request<Bytes> {
    let request = http::Request::builder().method(method).uri(path).body(Bytes::from(body.to_string()));
    request.expect("a request")
}

fn record(resource: Resource) -> ResourceRecord {
    let meta = Meta { created: Timestamp(1), modified: Timestamp(2), version: Version(3) };
    ResourceRecord { id: ResourceId::new("u-1"), resource, meta, groups: Vec::new() }
}

fn created(body: &Value) -> Option<Resource> {
    match read_request(&SCHEMAS, &request("POST", "/Users", body)) {
        Ok(ScimRequest::Write(write)) => match write.act {
            Act::Create(resource) => Some(resource),
            _ => None,
        },
        _ => None,
    }
}

/// Few words, so that things meet.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a", "A", "b", "work", "Work", "home", "true", "", "é", "É", "K", "\u{212a}", "x\"y\\z"
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

/// The same few as [`searchable`] asks for.
fn few() -> impl Strategy<Value = String> {
    let words =
        prop::sample::select(vec!["a", "A", "b", "work", "Work", "home", "é", ""]).prop_map(str::to_owned);
    prop_oneof![4 => words, 1 => word()]
}

fn truth() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("True")),
        Just(json!("false")),
        Just(Value::Null)
    ]
}

/// A body that a client could have meant.
fn user() -> impl Strategy<Value = Value> {
    let email = (few(), few(), prop::bool::weighted(0.1)).prop_map(|(value, kind, primary)| {
        let mut email = json!({ "value": value, "type": kind });
        if primary {
            email["primary"] = json!(true);
        }
        email
    });
    (word(), word(), few(), truth(), prop::collection::vec(email, 0..4), few()).prop_map(
        |(name, external, title, active, emails, manager)| {
            json!({ "schemas": [USER], "userName": format!("n{name}"), "externalId": external, "title": title,
                    "active": active, "emails": emails, "name": { "givenName": title },
                    ENTERPRISE: { "manager": manager, "department": title } })
        },
    )
}

/// Names, most of which mean something.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "userName",
        "USERNAME",
        "externalId",
        "title",
        "active",
        "emails",
        "emails.value",
        "emails.type",
        "name.givenName",
        "name",
        "manager",
        "manager.value",
        "department",
        "id",
        "meta.created",
        "meta.lastModified",
        "groups.value",
        "members",
        "members.value",
        "displayName",
        "password",
        "roles",
        "x509Certificates",
        "nobody",
        "schemas",
        "urn:ietf:params:scim:schemas:core:2.0:User:userName",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
    ])
    .prop_map(str::to_owned)
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => word().prop_map(|word| Value::from(word).to_string()),
        1 => prop::sample::select(vec!["true", "FALSE", "null", "5", "\"2026-01-01T00:00:00Z\"", "\"1970-01-01T01:00:00.001+01:00\""])
            .prop_map(str::to_owned),
    ]
}

fn comparison(name: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let operator =
        prop::sample::select(vec!["eq", "EQ", "eq", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]);
    prop_oneof![
        9 => (name, operator, literal()).prop_map(|(name, operator, value)| format!("{name} {operator} {value}")),
        1 => word().prop_map(|_| "title pr".to_owned()),
    ]
}

/// Filters of the grammar's shape.
fn filter() -> impl Strategy<Value = String> {
    let sub = prop::sample::select(vec!["value", "type", "Type", "primary"]).prop_map(str::to_owned);
    let inner = prop::collection::vec(comparison(sub), 1..3).prop_map(|terms| terms.join(" and ")).boxed();
    let leaf = prop_oneof![
        5 => comparison(name()),
        1 => inner.clone().prop_map(|inner| format!("emails[{inner}]")),
        1 => (inner, literal()).prop_map(|(inner, value)| format!("emails[{inner}].value eq {value}")),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} and {right}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} or {right}")),
            1 => inner.clone().prop_map(|inner| format!("not({inner})")),
            1 => inner.prop_map(|inner| format!("( {inner} )")),
        ]
    })
}

/// Few words and names, so that what is asked is often so.
fn searchable() -> impl Strategy<Value = String> {
    let few = prop::sample::select(vec!["\"a\"", "\"A\"", "\"b\"", "\"work\"", "\"Work\"", "\"é\"", "\"\""]);
    let field = prop::sample::select(vec![
        "title",
        "emails.value",
        "emails.type",
        "name.givenName",
        "manager",
        "department",
    ]);
    let sub = prop::sample::select(vec!["value", "type"]);
    let yes = prop::sample::select(vec![
        "active eq true",
        "id eq \"u-1\"",
        "emails.primary eq true",
        "emails[primary eq true]",
    ]);
    let term = (sub, few.clone()).prop_map(|(sub, value)| format!("{sub} eq {value}"));
    let inner = prop::collection::vec(term, 1..3).prop_map(|terms| terms.join(" and ")).boxed();
    let leaf = prop_oneof![
        4 => (field, few.clone()).prop_map(|(field, value)| format!("{field} eq {value}")),
        2 => (inner.clone(), few).prop_map(|(inner, value)| format!("emails[{inner}].value eq {value}")),
        2 => inner.prop_map(|inner| format!("emails[{inner}]")),
        1 => yes.prop_map(str::to_owned),
    ];
    prop::collection::vec(leaf, 1..4).prop_map(|terms| terms.join(" and "))
}

/// Any JSON at all, with names that SCIM knows now and then.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![
            name(),
            word(),
            prop::sample::select(vec!["value", "type", "primary", "$ref", "givenName", "manager"])
                .prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name(),
        1 => "\\PC{0,12}",
        2 => (filter(), prop::sample::select(vec!["", ".value", ".type", ".primary", ".x"])).prop_map(|(filter, sub)| format!("emails[{filter}]{sub}")),
        2 => (word(), prop::sample::select(vec!["", ".value", ".type", ".primary", ".display"]))
            .prop_map(|(kind, sub)| format!("emails[type eq {}]{sub}", Value::from(kind))),
    ]
}

fn operation() -> impl Strategy<Value = Value> {
    let op = prop::sample::select(vec!["add", "replace", "remove", "Add", "REPLACE", "Remove", "test"]);
    let value = prop_oneof![json_value(), word().prop_map(Value::from), truth()];
    (op, prop::option::weighted(0.8, path()), prop::option::weighted(0.9, value)).prop_map(
        |(op, path, value)| {
            let mut operation = json!({ "op": op });
            if let Some(path) = path {
                operation["path"] = path.into();
            }
            if let Some(value) = value {
                operation["value"] = value;
            }
            operation
        },
    )
}

/// Operations that a client could have meant.
fn meant() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "title",
        "TITLE",
        "name.givenName",
        "department",
        "manager",
        "externalId",
        "emails[type eq \"work\"].value",
        "emails[type eq \"home\"].display",
        "emails[value eq \"a\"].type",
        "ims.value",
        "userName",
    ]);
    let email = (few(), few(), any::<bool>(), 0..3)
        .prop_map(|(value, kind, primary, parts)| match parts {
            0 => json!({ "value": value }),
            1 => json!({ "value": value, "type": kind }),
            _ => json!({ "value": value, "type": kind, "primary": primary }),
        })
        .boxed();
    let emails = prop::collection::vec(email.clone(), 1..3);
    let gone = prop::sample::select(vec![
        "active",
        "title",
        "name",
        "name.givenName",
        "emails",
        "emails[type eq \"work\"]",
        "emails[primary eq true].type",
        "emails.type",
        "manager",
        ENTERPRISE,
        "emails[not (value sw \"a\")]",
    ]);
    let set = prop::sample::select(vec!["add", "replace", "Add", "Replace"]);
    prop_oneof![
        4 => (set.clone(), texts, few()).prop_map(|(op, path, value)| json!({ "op": op, "path": path, "value": value })),
        2 => (set.clone(), truth()).prop_map(|(op, value)| json!({ "op": op, "path": "active", "value": value })),
        2 => (set.clone(), emails.clone()).prop_map(|(op, emails)| json!({ "op": op, "path": "emails", "value": emails })),
        1 => (set.clone(), email.clone()).prop_map(|(op, email)| json!({ "op": op, "path": "emails[type eq \"work\"]", "value": email })),
        1 => (set, few(), emails.clone(), truth()).prop_map(|(op, text, emails, active)| json!({ "op": op, "value": {
                "title": text, "active": active, "emails": emails, "name.familyName": text, ENTERPRISE: { "manager": text } } })),
        1 => emails.prop_map(|emails| json!({ "op": "remove", "path": "emails", "value": emails })),
        2 => gone.prop_map(|path| json!({ "op": "Remove", "path": path })),
    ]
}

fn operations() -> impl Strategy<Value = Value> {
    let one = prop_oneof![12 => meant(), 1 => operation()];
    prop::collection::vec(one, 1..6).prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_a_filter_or_an_error(text in "\\PC{0,200}") {
        for kind in ResourceKind::ALL {
            let _ = Filter::parse_filter(&SCHEMAS, kind, &text);
        }
    }

    #[test]
    fn a_filter_printed_reads_as_itself(text in prop_oneof![filter(), searchable()]) {
        if let Ok(filter) = Filter::parse_filter(&SCHEMAS, ResourceKind::User, &text) {
            let printed = filter.to_string();
            let again = Filter::parse_filter(&SCHEMAS, ResourceKind::User, &printed);
            prop_assert_eq!(again, Ok(filter), "{}", printed);
        }
    }

    #[test]
    fn a_negation_is_the_opposite(body in user(), text in prop_oneof![3 => searchable(), 1 => filter()]) {
        let filter = Filter::parse_filter(&SCHEMAS, ResourceKind::User, &text);
        let (Some(resource), Ok(filter)) = (created(&body), filter) else {
            return Ok(());
        };
        let record = record(resource);
        let found = filter.matches(&record);
        prop_assert_eq!(Filter::Not(Box::new(filter)).matches(&record), !found);
    }

    #[test]
    fn a_resource_survives_its_store(body in user()) {
        let Some(resource) = created(&body) else { return Ok(()) };
        let json = resource.to_json();
        let stored = Resource::from_json(ResourceKind::User, &json).expect("what was written");
        prop_assert_eq!(&stored, &resource);
        prop_assert_eq!(stored.to_json(), json);
        prop_assert!(resource.active().is_some());
    }

    #[test]
    fn a_patch_is_the_same_as_its_operations_one_by_one_and_leaves_canonical_form(
        body in user(), operations in operations(),
    ) {
        let Some(resource) = created(&body) else { return Ok(()) };
        let before = record(resource);
        let patch = |operations: &Value| {
            let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
            match read_request(&SCHEMAS, &request("PATCH", "/Users/u-1", &body))? {
                ScimRequest::Write(write) => Ok(write),
                _ => unreachable!("a PATCH is a write"),
            }
        };
        let apply = |operations: &Value, before: &ResourceRecord| match patch(operations)?.act {
            Act::Patch(_, _, patch) => patch.apply_to(&SCHEMAS, before),
            _ => unreachable!("a PATCH is a patch"),
        };
        let whole = apply(&operations, &before);
        let mut stepped = Ok(before.resource.clone());
        for operation in operations.as_array().expect("a list") {
            stepped = stepped.and_then(|resource| apply(&json!([operation]), &record(resource)));
        }
        // Operations refused for their shape are refused before any is applied, so only success must agree.
        prop_assert_eq!(whole.is_ok(), stepped.is_ok(), "{:?} / {:?}", whole, stepped);
        let Ok(after) = whole else { return Ok(()) };
        prop_assert_eq!(Ok(&after), stepped.as_ref());
        // What a patch leaves is what the same body by POST would have been, which makes who says nothing of it active.
        let mut again: Value = serde_json::from_str(&after.to_json()).expect("JSON");
        again["schemas"] = json!([USER]);
        let mut canonical = after.clone();
        canonical.set_active(after.active().unwrap_or(true));
        prop_assert_eq!(created(&again), Some(canonical), "{}", operations);
        if before.resource.active() == Some(true) && after.active() != Some(true) {
            prop_assert!(patch(&operations).expect("it was read").deprovisions().is_some());
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in json_value(), operations in json_value()) {
        let mut resource = body.clone();
        if let Value::Object(map) = &mut resource {
            map.insert("schemas".to_owned(), json!([USER]));
            map.insert("userName".to_owned(), json!("x"));
        }
        let patch = json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "add", "value": operations }] });
        for (method, path, body) in [
            ("POST", "/Users", &body), ("POST", "/Users", &resource), ("PUT", "/Users/u", &resource), ("POST", "/Groups", &body),
            ("PATCH", "/Users/u", &body), ("PATCH", "/Users/u", &patch), ("PATCH", "/Groups/g", &patch),
        ] {
            let _ = read_request(&SCHEMAS, &request(method, path, body));
        }
    }
}
