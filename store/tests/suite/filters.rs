//! Whatever a filter asks, the search in SQL selects whom the evaluation in memory selects, in the order that memory
//! sorts them: for random filters over random people and groups.

use portcullis_scim::{Outcome, ResourceKind, ResourceRecord, ScimRequest, Selection};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::declared::{ACME, every_type, extension};
use crate::support::{HERE, ORG, Rig, USER};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// As many directories, and filters asked of each.
const DIRECTORIES: u32 = 8;
const FILTERS: u32 = 120;

fn long(end: &str) -> String {
    format!("{}{end}", "é".repeat(600))
}

/// Few words, so that things meet; some are beyond what a key holds.
fn word() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = [
        "a",
        "A",
        "ab",
        "b",
        "ba",
        "work",
        "Work",
        "home",
        "é",
        "É",
        "%",
        "_",
        "\\",
        "'",
        "",
        "\u{10ffff}",
        "\u{d7ff}x",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend([long(""), long("a"), long("b"), long("B")]);
    prop::sample::select(words)
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    inner: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.6, inner)
}

fn element() -> impl Strategy<Value = Value> {
    (maybe(word()), maybe(word()), prop::bool::weighted(0.2)).prop_map(|(value, kind, primary)| {
        let mut element = json!({ "display": "d" });
        if let Some(value) = value {
            element["value"] = json!(value);
        }
        if let Some(kind) = kind {
            element["type"] = json!(kind);
        }
        if primary {
            element["primary"] = json!(true);
        }
        element
    })
}

/// At most one primary element: two are refused.
fn list() -> impl Strategy<Value = Value> {
    prop::collection::vec(element(), 0..4).prop_map(|mut list| {
        let mut has_primary = false;
        for element in &mut list {
            let is_primary = element.get("primary").is_some();
            if is_primary && has_primary {
                element.as_object_mut().unwrap().remove("primary");
            }
            has_primary |= is_primary;
        }
        Value::from(list)
    })
}

fn whole() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![i64::MIN, -10, -9, -1, 0, 1, 2, 9, 10, 100, i64::MAX]).prop_map(Value::from)
}

fn decimal() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![-10.5, -1.0, 0.0, 0.5, 1.0, 2.0, 10.0, 1e20]).prop_map(Value::from)
}

fn moment() -> impl Strategy<Value = Value> {
    let moments = vec![
        "2027-01-15T08:00:00Z",
        "2027-01-15T09:00:00+01:00",
        "2027-01-15T08:00:00.0005Z",
        "2026-12-31T23:59:59.5-02:00",
        "1969-07-20T20:17:40Z",
    ];
    prop::sample::select(moments).prop_map(Value::from)
}

/// An object of those that are there.
fn object(entries: Vec<(&str, Option<Value>)>) -> Value {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn part() -> impl Strategy<Value = Value> {
    let primary = prop::option::weighted(0.2, Just(json!(true)));
    (maybe(whole()), maybe(word()), maybe(moment()), maybe(decimal()), primary).prop_map(
        |(value, kind, since, weight, primary)| {
            let kind = kind.map(Value::from);
            let parts = [("value", value), ("type", kind), ("since", since), ("weight", weight)];
            object([parts.to_vec(), vec![("primary", primary)]].concat())
        },
    )
}

/// What an extension with an attribute of every type holds, but for what must be unique.
fn custom() -> impl Strategy<Value = Value> {
    let texts = (maybe(word()), maybe(word()), prop::collection::vec(word(), 0..3));
    let page = prop::sample::select(vec!["https://a.test", "https://A.test", "urn:b"]).prop_map(Value::from);
    let simple = (maybe(any::<bool>()), maybe(whole()), maybe(decimal()), maybe(moment()), maybe(page));
    let lists = (prop::collection::vec(whole(), 0..3), maybe(part()), prop::collection::vec(part(), 0..4));
    (texts, simple, lists).prop_map(|((center, code, skills), simple, (levels, badge, mut devices))| {
        let (contractor, level, score, since, page) = simple;
        let mut has_primary = false;
        for device in &mut devices {
            if has_primary {
                device.as_object_mut().unwrap().remove("primary");
            }
            has_primary |= device.get("primary").is_some();
        }
        object(vec![
            ("costCenter", center.map(Value::from)),
            ("code", code.map(Value::from)),
            ("contractor", contractor.map(Value::from)),
            ("level", level),
            ("score", score),
            ("since", since),
            ("page", page),
            ("skills", Some(skills.into())),
            ("levels", Some(levels.into())),
            ("badge", badge),
            ("devices", Some(devices.into())),
        ])
    })
}

fn person() -> impl Strategy<Value = Value> {
    let texts = (maybe(word()), maybe(word()), maybe(word()), maybe(word()), maybe(word()));
    let custom = custom();
    (texts, any::<bool>(), list(), list(), maybe(Just("MIIB".to_owned())), custom).prop_map(
        |((title, given, display, department, manager), active, emails, roles, certificate, custom)| {
            let mut body = json!({ "schemas": [USER], "active": active, "emails": emails, "roles": roles, ACME: custom });
            if let Some(title) = title {
                body["title"] = json!(title);
            }
            if let Some(given) = given {
                body["name"] = json!({ "givenName": given });
            }
            if let Some(display) = display {
                body["displayName"] = json!(display);
            }
            if department.is_some() || manager.is_some() {
                body[ENTERPRISE] = json!({});
            }
            if let Some(department) = department {
                body[ENTERPRISE]["department"] = json!(department);
            }
            if let Some(manager) = manager.filter(|manager| !manager.is_empty()) {
                body[ENTERPRISE]["manager"] = json!({ "value": manager });
            }
            if let Some(certificate) = certificate {
                body["x509Certificates"] = json!([{ "value": certificate }]);
            }
            body
        },
    )
}

/// Which of the people and of the earlier groups are in each group.
fn teams() -> impl Strategy<Value = Vec<(Vec<bool>, Vec<bool>)>> {
    let flags = |n| prop::collection::vec(prop::bool::weighted(0.3), n);
    prop::collection::vec((flags(8), flags(6)), 6)
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => word().prop_map(|word| Value::from(word).to_string()),
        2 => prop::sample::select(vec!["true", "false", "null", "\"user\"", "\"User\"", "\"direct\"", "\"indirect\"",
            "\"group-1\"", "\"GROUP-2\"", "\"person-3\"", "\"GROUP-\"", "\"person\"",
            "\"2027-01-15T08:00:00Z\"", "\"2027-01-15T09:00:02+01:00\"", "\"2027-01-15T08:00:01.0005Z\"",
            "\"W/\\\"1\\\"\""]).prop_map(str::to_owned),
        2 => (0..8usize).prop_map(|n| format!("\"ID{n}\"")),
    ]
}

fn leaf(names: Vec<&'static str>) -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["eq", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]);
    let names = prop::sample::select(names);
    prop_oneof![
        5 => (names.clone(), operator, literal()).prop_map(|(name, operator, value)| format!("{name} {operator} {value}")),
        1 => names.prop_map(|name| format!("{name} pr")),
    ]
}

/// A condition on a declared attribute with a value of its type.
fn typed() -> impl Strategy<Value = String> {
    let operator = || prop::sample::select(vec!["eq", "eq", "ne", "gt", "ge", "lt", "le"]);
    let texts = vec![
        "urn:ietf:params:scim:schemas:extension:acme:2.0:User:costCenter",
        "code",
        "desk",
        "page",
        "skills",
        "badge.type",
        "devices.type",
    ];
    let wholes = vec!["level", "number", "levels", "badge.value", "badge", "devices.value", "devices"];
    let decimals = vec!["score", "badge.weight", "devices.weight"];
    let moments = vec!["since", "badge.since", "devices.since"];
    let of = |names: Vec<&'static str>, values: BoxedStrategy<Value>| {
        let parts = (prop::sample::select(names), operator(), values);
        parts.prop_map(|(name, operator, value)| format!("{name} {operator} {value}"))
    };
    prop_oneof![
        3 => leaf(texts),
        3 => of(wholes, whole().boxed()),
        3 => of(decimals, decimal().boxed()),
        3 => of(moments, moment().boxed()),
        1 => leaf(vec!["contractor", "devices.primary", "badge", "devices", "skills", "levels", "level", "since"]),
        2 => (operator(), whole(), decimal()).prop_map(|(operator, value, weight)| format!(
            "devices[value {operator} {value} and (weight le {weight} or primary eq true)]"
        )),
        1 => (moment(), word()).prop_map(|(since, kind)| format!(
            "devices[not (since gt {since}) and type eq {}]", Value::from(kind)
        )),
    ]
}

fn joined(leaf: BoxedStrategy<String>) -> BoxedStrategy<String> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} and {right}")),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} or {right}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} or {right}) and {left}")),
            1 => inner.clone().prop_map(|inner| format!("not ({inner})")),
            1 => inner.prop_map(|inner| format!("({inner})")),
        ]
    })
    .boxed()
}

/// Filters on a kind; what does not fit a type is refused when it is read, and passed over.
fn filter(kind: ResourceKind) -> BoxedStrategy<String> {
    let (names, lists) = match kind {
        ResourceKind::User => (
            vec![
                "userName",
                "title",
                "displayName",
                "name.givenName",
                "name",
                "active",
                "emails",
                "emails.value",
                "emails.type",
                "emails.primary",
                "roles",
                "department",
                "manager",
                "manager.value",
                "id",
                "externalId",
                "schemas",
                "meta.created",
                "meta.lastModified",
                "meta.version",
                "meta.resourceType",
                "meta",
                "groups",
                "groups.value",
                "groups.display",
                "groups.type",
                "x509Certificates",
                "nickName",
            ],
            vec!["emails", "roles", "groups", "groups", "x509Certificates"],
        ),
        ResourceKind::Group => (
            vec![
                "displayName",
                "id",
                "externalId",
                "members",
                "members.value",
                "members.display",
                "members.type",
                "schemas",
                "meta.created",
                "meta.lastModified",
                "meta.version",
                "meta.resourceType",
            ],
            vec!["members"],
        ),
    };
    let sub = joined(leaf(vec!["value", "type", "display", "primary"]).boxed());
    let sub_of_list = leaf(vec!["value", "type", "display"]).boxed();
    let lists = prop::sample::select(lists);
    joined(
        prop_oneof![
            4 => leaf(names),
            u32::from(kind == ResourceKind::User) * 4 => typed(),
            3 => (lists.clone(), prop_oneof![sub, joined(sub_of_list.clone())]).prop_map(|(list, inner)| format!("{list}[{inner}]")),
            1 => (lists, sub_of_list.clone(), sub_of_list).prop_map(|(list, inner, outer)| format!("{list}[{inner}].{outer}")),
        ]
        .boxed(),
    )
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Asks the store and memory the same, and compares.
async fn compare(rig: &Rig, all: &[ResourceRecord], kind: ResourceKind, filter: &str, sort: &str) -> bool {
    let target = format!("{}?filter={}{sort}", kind.endpoint(), encode(filter));
    let request = http::Request::builder().uri(target).body(bytes::Bytes::new()).unwrap();
    let Ok(ScimRequest::Find(query)) = portcullis_scim::read_request(&rig.schemas, &request) else {
        return false;
    };
    let Selection::Page(search) = &query.selection else { panic!() };
    let wanted = search.filter.as_ref().unwrap();
    let mut expected: Vec<&ResourceRecord> = all.iter().filter(|record| wanted.matches(record)).collect();
    if let Some(sort) = &search.sort {
        expected.sort_by(|left, right| sort.compare(left, right));
    }
    // Without optimisation, on a machine that does much else, the largest take longer than a read may: they are asked again.
    let mut answer = rig.store.answer_query(ORG, HERE, &query).await;
    for _ in 0..5 {
        if !matches!(answer, Err(portcullis_store::StoreError::TooLong(_))) {
            break;
        }
        answer = rig.store.answer_query(ORG, HERE, &query).await;
    }
    let Outcome::Listed(page) = answer.unwrap().unwrap() else { panic!() };
    let found: Vec<&str> = page.records.iter().map(|record| record.id.as_str()).collect();
    let expected: Vec<&str> = expected.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(found, expected, "{wanted} {sort}");
    assert_eq!(page.total, expected.len() as u64, "{wanted}");
    true
}

/// The same of users and groups together.
async fn compare_all(rig: &Rig, users: &[ResourceRecord], groups: &[ResourceRecord], filter: &str) {
    let body =
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": filter });
    let request =
        http::Request::builder().method("POST").uri("/.search").body(body.to_string().into()).unwrap();
    let Ok(ScimRequest::Find(query)) = portcullis_scim::read_request(&rig.schemas, &request) else { return };
    let Selection::PageOfAll(searches) = &query.selection else { panic!() };
    let [of_users, of_groups] = searches.each_ref().map(|search| search.filter.as_ref().unwrap());
    let users = users.iter().filter(|record| of_users.matches(record));
    let expected: Vec<&str> = users
        .chain(groups.iter().filter(|record| of_groups.matches(record)))
        .map(|found| found.id.as_str())
        .collect();
    let Outcome::Listed(page) = rig.store.answer_query(ORG, HERE, &query).await.unwrap().unwrap() else {
        panic!()
    };
    let found: Vec<&str> = page.records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!((found.len() as u64, found), (page.total, expected), "{filter}");
}

#[test]
fn the_search_selects_whom_memory_selects() {
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut draw = |strategy: &BoxedStrategy<String>| strategy.new_tree(&mut runner).unwrap().current();
    let (users, groups) = (filter(ResourceKind::User), filter(ResourceKind::Group));
    let mut bodies =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let sorts = [
        "",
        "&sortBy=title",
        "&sortBy=emails&sortOrder=descending",
        "&sortBy=roles.type",
        "&sortBy=meta.lastModified&sortOrder=descending",
        "&sortBy=id",
        "&sortBy=department",
        "&sortBy=active",
        "&sortBy=schemas&sortOrder=descending",
        "&sortBy=meta.version",
        "&sortBy=manager",
        "&sortBy=level",
        "&sortBy=score&sortOrder=descending",
        "&sortBy=since",
        "&sortBy=skills",
        "&sortBy=levels&sortOrder=descending",
        "&sortBy=devices",
        "&sortBy=devices.weight&sortOrder=descending",
        "&sortBy=badge.since",
        "&sortBy=contractor",
        "&sortBy=page",
    ];
    let mut asked = 0;
    for directory in 0..DIRECTORIES {
        runtime.block_on(async {
            let rig = Rig::speaking(extension(every_type())).await;
            let people = prop::collection::vec(person(), 8).new_tree(&mut bodies).unwrap().current();
            let mut ids = Vec::new();
            for (n, mut body) in people.into_iter().enumerate() {
                body["userName"] = json!(format!("person-{n}"));
                if n % 2 == 0 {
                    body[ACME]["desk"] = json!(format!("a{n}"));
                    body[ACME]["number"] = json!(n);
                }
                ids.push(rig.post("/Users", body).await.id);
            }
            let mut made = Vec::new();
            for (n, (in_it, below)) in
                teams().new_tree(&mut bodies).unwrap().current().into_iter().enumerate()
            {
                let people = ids.iter().zip(in_it).filter(|(_, is_in)| *is_in).map(|(id, _)| id);
                let below = made.iter().zip(below).filter(|(_, is_in)| *is_in).map(|(id, _)| id);
                let members: Vec<Value> =
                    people.chain(below).map(|id| json!({ "value": id.as_str() })).collect();
                let body =
                    json!({ "schemas": [GROUP], "displayName": format!("Group-{n}"), "members": members });
                made.push(rig.post("/Groups", body).await.id);
            }
            // A circle, a change, somebody without `active`, somebody removed, somebody of another directory.
            let last = made.last().unwrap();
            let add = json!([{ "op": "add", "path": "members", "value": [{ "value": last.as_str() }] }]);
            rig.patch(&format!("/Groups/{}", made[0]), add).await.value.unwrap();
            let changed = json!([{ "op": "replace", "path": "title", "value": long("b") }]);
            rig.patch(&format!("/Users/{}", ids[1]), changed).await.value.unwrap();
            let unsaid = json!([{ "op": "remove", "path": "active" }]);
            rig.patch(&format!("/Users/{}", ids[2]), unsaid).await.value.unwrap();
            rig.delete(&format!("/Users/{}", ids[0])).await.value.unwrap();
            rig.write_in(crate::support::ELSEWHERE, "POST", "/Users", None, crate::support::user("a")).await;
            let all = rig.list("/Users").await.records;
            let all_groups = rig.list("/Groups").await.records;
            for n in 0..FILTERS {
                let name = |mut text: String| {
                    for (n, id) in ids.iter().chain(&made).enumerate() {
                        text = text.replace(&format!("\"ID{n}\""), &format!("\"{id}\""));
                    }
                    text
                };
                let sort = sorts[(directory * FILTERS + n) as usize % sorts.len()];
                let of_users = name(draw(&users));
                asked += u32::from(compare(&rig, &all, ResourceKind::User, &of_users, sort).await);
                if n % 4 == 0 {
                    compare_all(&rig, &all, &all_groups, &of_users).await;
                }
                asked += u32::from(
                    compare(&rig, &all_groups, ResourceKind::Group, &name(draw(&groups)), "").await,
                );
            }
        });
    }
    assert!(asked > DIRECTORIES * FILTERS / 2, "{asked} filters were understood");
    println!("{asked} filters");
}

/// The largest filters that are read are answered too: no statement is beyond what the database takes.
#[tokio::test]
async fn filters_at_every_limit_are_answered() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_group("crew", &[]).await;
    let users = rig.list("/Users").await.records;
    let groups = rig.list("/Groups").await.records;
    let many = |term: &str, word: &str, n: usize| vec![term; n].join(word);
    for term in [
        "userName co \"a\"",
        "title pr",
        "id eq \"x\"",
        "groups.display eq \"crew\"",
        "emails.value sw \"a\"",
    ] {
        for word in [" and ", " or "] {
            assert!(compare(&rig, &users, ResourceKind::User, &many(term, word, 32), "").await);
        }
        let halves = format!("({}) and ({})", many(term, " or ", 16), many(term, " or ", 16));
        assert!(compare(&rig, &users, ResourceKind::User, &halves, "").await);
        let deep = format!("{}{term}{}", "not (".repeat(15), ")".repeat(15));
        assert!(compare(&rig, &users, ResourceKind::User, &deep, "").await);
    }
    for (list, kind, records) in [
        ("emails", ResourceKind::User, &users),
        ("groups", ResourceKind::User, &users),
        ("members", ResourceKind::Group, &groups),
    ] {
        for term in ["value eq \"a\"", "display co \"a\"", "type eq \"direct\""] {
            let halves = format!("({}) and ({})", many(term, " or ", 15), many(term, " or ", 16));
            for inner in [many(term, " and ", 31), many(term, " or ", 31), halves] {
                assert!(compare(&rig, records, kind, &format!("{list}[{inner}]"), "&sortBy=id").await);
            }
        }
    }
    let long = format!("title sw \"{}\"", "é".repeat(2_000));
    assert!(compare(&rig, &users, ResourceKind::User, &long, "").await);
}

/// Filters and whom they select, as data: `tests/filters.txt`.
#[tokio::test]
async fn the_table_of_filters_holds() {
    const TABLE: &str = include_str!("../filters.txt");
    let rig = Rig::new().await;
    let long = format!("{}end", "t".repeat(3_000));
    let mut people = [
        json!({ "userName": "anna", "title": "Boss", "active": true, "externalId": "X1",
            "name": { "givenName": "Anna", "familyName": "Sand" },
            "emails": [{ "value": "anna@corp.test", "type": "work", "primary": true },
                       { "value": "anna@home.test", "type": "home" }],
            ENTERPRISE: { "department": "Sales" } }),
        json!({ "userName": "Bob", "displayName": "Bobby", "active": false,
            "emails": [{ "value": "bob@corp.test", "type": "work" }],
            ENTERPRISE: { "department": "sales", "manager": { "value": "M-1" } } }),
        json!({ "userName": "cleo", "active": true, "emails": [{ "value": "cleo@corp.test", "type": "home" }],
            "roles": [{ "value": "admin", "type": "x" }, { "value": "viewer" }] }),
        json!({ "userName": "d\u{e9}", "active": true, "title": long, "locale": "de-DE",
            "x509Certificates": [{ "value": "MIIB" }] }),
    ];
    let mut letters = Vec::new();
    for (letter, body) in ["a", "b", "c", "d"].into_iter().zip(&mut people) {
        body["schemas"] = json!([USER, ENTERPRISE]);
        letters.push((letter, rig.post("/Users", body.clone()).await.id));
    }
    for (letter, name, members, external) in
        [("o", "Ops", vec![0, 1], None), ("l", "All", vec![4, 2], None), ("e", "Empty", vec![], Some("G9"))]
    {
        let members: Vec<Value> =
            members.into_iter().map(|n: usize| json!({ "value": letters[n].1.as_str() })).collect();
        let mut body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        if let Some(external) = external {
            body["externalId"] = json!(external);
        }
        letters.push((letter, rig.post("/Groups", body).await.id));
    }
    let all = [rig.list("/Users").await.records, rig.list("/Groups").await.records];
    let mut wrong = Vec::new();
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for row in rows {
        let (kind, rest) = row.split_once(": ").unwrap();
        let (filter, selected) = rest.rsplit_once(": ").unwrap();
        let (kind, records) = match kind {
            "u" => (ResourceKind::User, &all[0]),
            _ => (ResourceKind::Group, &all[1]),
        };
        let mut text = filter.replace("LONG", &long);
        for (letter, id) in &letters {
            text = text.replace(&format!("\"ID-{letter}\""), &format!("\"{id}\""));
        }
        let found = match portcullis_scim::Filter::parse_filter(&rig.schemas, kind, &text) {
            Err(_) => "400".to_owned(),
            Ok(filter) => {
                compare(&rig, records, kind, &text, "").await;
                let found = records.iter().filter(|record| filter.matches(record));
                let letter =
                    |record: &ResourceRecord| letters.iter().find(|(_, id)| *id == record.id).unwrap().0;
                let found: String = found.map(letter).collect();
                if found.is_empty() { "-".to_owned() } else { found }
            }
        };
        if found != selected {
            wrong.push(format!("{row} (found {found})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
