//! Attributes that a configuration declares: unique ones, and what a start with another declaration makes of what is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_roster::{Column, MappedChange, MappingStep};
use portcullis_scim::schema::{Attribute, Mutability, Type, Uniqueness};
use portcullis_scim::{
    GroupPatch, Outcome, ResourceRecord, Schemas, ScimError, Service, Wanted, answer_request,
};
use portcullis_store::{Origin, Store};
use serde_json::{Value, json};

use crate::declared::{ACME, every_type, extension, row};
use crate::support::{ELSEWHERE, HERE, NOW, ORG, Rig, USER, user_path};

fn person(name: &str, custom: &Value) -> Value {
    json!({ "schemas": [USER, ACME], "userName": name, "active": true, ACME: custom })
}

fn set(name: &str, value: Value) -> Value {
    json!([{ "op": "replace", "path": format!("{ACME}:{name}"), "value": value }])
}

fn is_taken(answer: &Result<Outcome, ScimError>, attribute: &str, by: &str) -> bool {
    let path = format!("{ACME}:{attribute}");
    matches!(answer, Err(ScimError::Uniqueness { attribute, with, .. }) if *attribute == path && with == by)
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A user as a client sees it.
fn shown(rig: &Rig, record: ResourceRecord) -> Value {
    let request = http::Request::builder().uri("/Users/a").body(()).unwrap();
    let wanted = Wanted::from_request(&rig.schemas, &request);
    let service = Service::new("https://scim.test", GroupPatch::Empty);
    let answer = answer_request(&rig.schemas, &service, &wanted, Ok(Outcome::Found(record)));
    serde_json::from_slice(answer.body()).unwrap()
}

/// As many as a filter finds.
async fn found(rig: &Rig, filter: &str) -> u64 {
    rig.list(&format!("/Users?count=0&filter={}", encode(filter))).await.total
}

fn is_known(rig: &Rig, filter: &str) -> bool {
    portcullis_scim::Filter::parse_filter(&rig.schemas, portcullis_scim::ResourceKind::User, filter).is_ok()
}

#[tokio::test]
async fn a_value_that_must_be_unique_is_refused_with_whoever_has_it() {
    let rig = Rig::speaking(extension(every_type())).await;
    let long = "d".repeat(1_024);
    let ada = rig.post("/Users", person("ada", &json!({ "desk": "D-1", "number": 7 }))).await;
    let bob = rig.post("/Users", person("bob", &json!({ "desk": "", "number": -7 }))).await;
    let cleo = rig.post("/Users", person("cleo", &json!({ "desk": "" }))).await;
    for custom in [json!({ "desk": "d-1" }), json!({ "desk": "x", "number": 7 })] {
        let name = if custom["desk"] == "x" { "number" } else { "desk" };
        let answer = rig.write("POST", "/Users", person("eve", &custom)).await.value;
        assert!(is_taken(&answer, name, "ada"), "{answer:?}");
        let answer = rig.put(&user_path(&bob), person("bob", &custom)).await.value;
        assert!(is_taken(&answer, name, "ada"), "{answer:?}");
        let answer = rig.patch(&user_path(&cleo), set(name, custom[name].clone())).await.value;
        assert!(is_taken(&answer, name, "ada"), "{answer:?}");
    }
    assert_eq!(found(&rig, "desk eq \"D-1\"").await, 1, "nothing of what was refused is there");
    // What is its own may be written again; what is long as well as short; another directory is another matter.
    rig.put(&user_path(&ada), person("ada", &json!({ "desk": "D-1", "number": 7 }))).await.value.unwrap();
    rig.patch(&user_path(&ada), set("desk", json!(long))).await.value.unwrap();
    let answer = rig.patch(&user_path(&bob), set("desk", json!(long.to_uppercase()))).await.value;
    assert!(is_taken(&answer, "desk", "ada"), "{answer:?}");
    rig.write_in(ELSEWHERE, "POST", "/Users", None, person("far", &json!({ "number": 7 })))
        .await
        .value
        .unwrap();
    // Whoever is gone holds nothing; whoever comes back asks again.
    rig.delete(&user_path(&ada)).await.value.unwrap();
    rig.patch(&user_path(&bob), set("number", json!(7))).await.value.unwrap();
    let back = json!([{ "op": "replace", "path": "active", "value": true }]);
    let answer = rig.patch(&user_path(&ada), back.clone()).await.value;
    assert!(is_taken(&answer, "number", "bob"), "{answer:?}");
    let answer = rig.write("POST", "/Users", person("ada", &json!({ "number": 7 }))).await.value;
    assert!(is_taken(&answer, "number", "bob"), "{answer:?}");
    rig.patch(&user_path(&bob), set("number", json!(8))).await.value.unwrap();
    rig.patch(&user_path(&ada), back).await.value.unwrap();
    assert_eq!(found(&rig, "number eq 7").await, 1);
}

/// Nobody is kept in because somebody else has the same value since before it had to be unique.
#[tokio::test]
async fn people_who_share_a_value_since_before_can_still_be_put_out() {
    let rig = Rig::speaking(extension(vec![row("desk", Type::String), row("site", Type::String)])).await;
    let ada = rig.post("/Users", person("ada", &json!({ "desk": "D-1" }))).await;
    rig.post("/Users", person("bob", &json!({ "desk": "D-1" }))).await;
    let unique = Attribute { uniqueness: Uniqueness::Server, ..row("desk", Type::String) };
    let required = Attribute { required: true, ..row("site", Type::String) };
    let rig = rig.reopened_speaking(extension(vec![unique, required])).await;
    let answer =
        rig.write("POST", "/Users", person("eve", &json!({ "desk": "D-1", "site": "B" }))).await.value;
    assert!(matches!(answer, Err(ScimError::Uniqueness { .. })), "{answer:?}");
    assert!(rig.set_active(&ada, false).await.takes_away);
    let seen = rig.get(&user_path(&ada)).await.unwrap();
    assert_eq!(seen.resource.active(), Some(false));
    // Nor because something is required since: of whoever is inactive then, it is not asked.
    let mut echoed = person("ada", &json!({ "desk": "D-1" }));
    echoed["active"] = false.into();
    rig.put(&user_path(&ada), echoed.clone()).await.value.unwrap();
    // Nor where it says nothing of whether they are.
    echoed.as_object_mut().unwrap().remove("active");
    rig.put(&user_path(&ada), echoed).await.value.unwrap();
    rig.patch(&user_path(&ada), set("desk", json!("D-3"))).await.value.unwrap();
    rig.set_active(&ada, true).await.value.unwrap();
    assert!(
        rig.patch(&user_path(&ada), set("desk", json!("D-2"))).await.value.is_err(),
        "the site is required"
    );
    let whole = person("ada", &json!({ "desk": "D-2", "site": "B" }));
    rig.put(&user_path(&ada), whole).await.value.unwrap();
}

#[tokio::test]
async fn another_declaration_finds_by_what_it_says() {
    let first =
        || vec![row("costCenter", Type::String), row("level", Type::String), row("site", Type::String)];
    let rig = Rig::speaking(extension(first())).await;
    let mut people = Vec::new();
    // More than one piece, and somebody who has nothing of it.
    for n in 0..430 {
        let custom = json!({ "costCenter": format!("A-{}", n % 10), "level": n.to_string(), "site": "B" });
        people.push(rig.post("/Users", person(&format!("p{n}"), &custom)).await);
    }
    rig.add_user("plain").await;
    rig.delete(&user_path(&people[0])).await.value.unwrap();
    assert_eq!(found(&rig, &format!("{ACME}:costCenter eq \"a-3\"")).await, 43);
    assert_eq!(found(&rig, &format!("schemas eq \"{ACME}\"")).await, 429);

    // One gone, one of another type, one that is new, one compared in another way.
    let second = || {
        vec![
            Attribute { case_exact: true, ..row("costCenter", Type::String) },
            row("level", Type::Integer),
            row("score", Type::Decimal),
        ]
    };
    let rig = rig.reopened_speaking(extension(second())).await;
    assert!(!is_known(&rig, "site eq \"B\""));
    assert_eq!(found(&rig, &format!("{ACME}:costCenter eq \"A-3\"")).await, 43);
    assert_eq!(found(&rig, &format!("{ACME}:costCenter eq \"a-3\"")).await, 0);
    for (filter, total) in [("level pr", 0), ("level eq 7", 0), ("level ge 0", 0), ("score pr", 0)] {
        assert_eq!(found(&rig, filter).await, total, "{filter}");
    }
    let seen = rig.get(&user_path(&people[7])).await.unwrap();
    assert_eq!(shown(&rig, seen.clone())[ACME], json!({ "costCenter": "A-7" }));
    let tree: Value = serde_json::from_str(&seen.resource.to_json()).unwrap();
    assert_eq!(
        tree[ACME],
        json!({ "costCenter": "A-7", "level": "7", "site": "B" }),
        "the document has it still"
    );
    for record in rig.list("/Users?count=3").await.records {
        assert!(shown(&rig, record)[ACME].get("level").is_none());
    }
    let all = rig.list("/Users?sortBy=level").await;
    assert_eq!(all.records[0].id, people[1].id, "no old value is sorted by");
    let written = rig.patch(&user_path(&people[7]), set("level", json!(7))).await.value.unwrap();
    let Outcome::Changed(written) = written else { panic!() };
    assert_eq!(shown(&rig, written.clone())[ACME], json!({ "costCenter": "A-7", "level": 7 }));
    let tree: Value = serde_json::from_str(&written.resource.to_json()).unwrap();
    assert_eq!(tree[ACME], json!({ "costCenter": "A-7", "level": 7, "site": "B" }));
    assert_eq!(found(&rig, "level eq 7").await, 1);

    // A PUT says all that its client knows of; what it cannot know stays in the document.
    rig.put(&user_path(&people[8]), person("p8", &json!({ "score": 1 }))).await.value.unwrap();
    assert_eq!(found(&rig, "score eq 1").await, 1);

    // None at all, and all of it again.
    let rig = rig.reopened_speaking(Schemas::core_schemas()).await;
    assert_eq!(found(&rig, &format!("schemas eq \"{ACME}\"")).await, 0);
    assert_eq!(found(&rig, "costCenter pr").await, 0, "of the enterprise extension");
    let rig = rig.reopened_speaking(extension(first())).await;
    assert_eq!(found(&rig, "site eq \"b\"").await, 429);
    assert_eq!(found(&rig, "level eq \"12\"").await, 1);
    assert_eq!(found(&rig, "level pr").await, 428, "one is a number now");
}

/// Rows are made anew only where the declaration differs, and wholly where a start was cut off amidst.
#[tokio::test]
async fn rows_are_made_anew_once_and_wholly() {
    let rig = Rig::speaking(extension(vec![row("level", Type::Integer)])).await;
    for n in 0..250 {
        rig.post("/Users", person(&format!("p{n}"), &json!({ "level": n }))).await;
    }
    assert_eq!(rig.store.settle_search(|_| panic!("nothing is due")).await.unwrap(), None);
    rig.store.close().await;
    let other = Arc::new(extension(vec![row("level", Type::Decimal)]));
    let store = Store::open(&rig.path, other.clone()).await.unwrap();
    let told = AtomicU64::new(0);
    let settled = store.settle_search(|users| told.store(users, Ordering::Relaxed)).await.unwrap();
    assert_eq!((settled, told.into_inner()), (Some(250), 250));
    store.close().await;

    // A start that was cut off after its first piece, and then the former declaration again.
    let store = Store::open(&rig.path, Arc::new(extension(vec![row("level", Type::String)]))).await.unwrap();
    let mut pieces = 0;
    let cut = store.settle_search(|_| {
        pieces += 1;
        assert!(pieces < 1, "the start is cut off");
    });
    assert!(futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(cut)).await.is_err());
    store.close().await;
    let store = Store::open(&rig.path, other).await.unwrap();
    assert_eq!(store.settle_search(|_| ()).await.unwrap(), Some(250));
    store.close().await;
    let rig = rig.reopened_speaking(extension(vec![row("level", Type::Decimal)])).await;
    assert_eq!(found(&rig, "level lt 10").await, 10);
}

/// What an operator gave somebody stays theirs when a client removes them and brings them back, unless somebody else has
/// it since and it must be unique.
#[tokio::test]
async fn what_operators_write_outlives_a_removal() {
    let app = Attribute {
        mutability: Mutability::ReadOnly,
        uniqueness: Uniqueness::Server,
        ..row("appUserName", Type::String)
    };
    let rig = Rig::speaking(extension(vec![app, row("site", Type::String)])).await;
    let path = format!("{ACME}:appUserName");
    let map = async |who: &ResourceRecord, to: Option<&str>| {
        let change = MappedChange { path: path.clone(), from: None, to: to.map(str::to_owned) };
        let origin = Origin::of_actor("operator");
        let name = who.resource.user_name().unwrap().to_owned();
        let person = (Column::UserName, name.clone());
        let step = MappingStep { known: 0, person, user_name: name, changes: vec![change] };
        let done = rig.store.apply_mapping(ORG, HERE, who.id.clone(), step, &origin, NOW).await;
        rig.done(done.unwrap()).await.value
    };
    let is_found = async |name: &str| found(&rig, &format!("appUserName eq \"{name}\"")).await == 1;
    let ada = rig.post("/Users", person("ada", &json!({ "site": "B", "appUserName": "no" }))).await;
    let bob = rig.post("/Users", person("bob", &json!({}))).await;
    map(&ada, Some("asmith")).await.unwrap();
    assert!(is_found("ASMITH").await && !is_found("no").await);
    let answer = map(&bob, Some("Asmith")).await;
    assert!(matches!(&answer, Err(ScimError::Uniqueness { with, .. }) if with == "ada"), "{answer:?}");
    rig.put(&user_path(&ada), person("ada", &json!({}))).await.value.unwrap();
    assert!(is_found("asmith").await);

    let back = || json!([{ "op": "replace", "path": "active", "value": true }]);
    rig.delete(&user_path(&ada)).await.value.unwrap();
    let gone = map(&ada, Some("other")).await;
    assert!(matches!(gone, Err(ScimError::NotFound { .. })), "{gone:?}");
    rig.patch(&user_path(&ada), back()).await.value.unwrap();
    assert!(is_found("asmith").await, "by a PATCH");
    rig.delete(&user_path(&ada)).await.value.unwrap();
    assert_eq!(rig.post("/Users", person("ada", &json!({}))).await.id, ada.id);
    assert!(is_found("asmith").await, "by a POST");

    for by_post in [true, false] {
        rig.delete(&user_path(&ada)).await.value.unwrap();
        map(&bob, Some("asmith")).await.unwrap();
        if by_post {
            assert_eq!(rig.post("/Users", person("ada", &json!({}))).await.id, ada.id);
        } else {
            rig.patch(&user_path(&ada), back()).await.value.unwrap();
        }
        assert!(is_found("asmith").await, "bob has it alone");
        map(&bob, None).await.unwrap();
        assert!(!is_found("asmith").await);
        map(&ada, Some("asmith")).await.unwrap();
    }
    let known = rig.store.directory_people(ORG, HERE).await.unwrap();
    let values: Vec<_> = known.iter().map(|person| person.read_only[0].as_deref()).collect();
    assert_eq!(values, [Some("asmith"), None]);
}

/// Whoever is brought back while an attribute is not declared, or with another type, has it again when it is.
#[tokio::test]
async fn what_is_set_aside_outlives_a_removal_too() {
    let app = || Attribute { mutability: Mutability::ReadOnly, ..row("appUserName", Type::String) };
    let rig = Rig::speaking(extension(vec![app()])).await;
    let mut people = Vec::new();
    for name in ["ada", "bob"] {
        let made = rig.post("/Users", person(name, &json!({}))).await;
        let change =
            MappedChange { path: format!("{ACME}:appUserName"), from: None, to: Some(format!("app-{name}")) };
        let step = MappingStep {
            known: 0,
            person: (Column::UserName, name.to_owned()),
            user_name: name.to_owned(),
            changes: vec![change],
        };
        let origin = Origin::of_actor("operator");
        let done = rig.store.apply_mapping(ORG, HERE, made.id.clone(), step, &origin, NOW).await;
        rig.done(done.unwrap()).await.value.unwrap();
        people.push(made);
    }
    let mut rig = rig;
    for schemas in [Schemas::core_schemas(), extension(vec![row("appUserName", Type::Integer)])] {
        let undeclared = rig.reopened_speaking(schemas).await;
        let (ada, bob) = (user_path(&people[0]), user_path(&people[1]));
        undeclared.delete(&ada).await.value.unwrap();
        let back = undeclared.post("/Users", json!({ "schemas": [USER], "userName": "ada" })).await;
        assert_eq!(back.id, people[0].id);
        undeclared.put(&bob, json!({ "schemas": [USER], "userName": "bob" })).await.value.unwrap();
        let declared = undeclared.reopened_speaking(extension(vec![app()])).await;
        for name in ["ada", "bob"] {
            assert_eq!(found(&declared, &format!("appUserName eq \"app-{name}\"")).await, 1, "{name}");
        }
        rig = declared;
    }
}
