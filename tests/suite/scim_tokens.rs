//! Tokens of a directory, as an operator makes and takes them: shown once and kept as a hash, revoked at once, expired for
//! all but removals, counted each for itself.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, user};
use crate::rig::program::Program;
use crate::rig::raw::RawSocket;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::{self, WriteLock};
use crate::rig::stage::Stage;

/// Runs an order that succeeds: what it printed to standard output and to standard error.
fn ordered(program: &Program, words: &[&str]) -> (String, String) {
    let output = program.command(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn refused(program: &Program, words: &[&str]) -> String {
    let output = program.command(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A token of an order that makes one; every answer from now on is looked through for it.
fn token(program: &Program, words: &[&str]) -> String {
    let (out, told) = ordered(program, words);
    let token = out.strip_suffix('\n').unwrap().to_owned();
    assert!(
        token.starts_with("pcs_") && token.len() == 47 && !token.contains(char::is_whitespace),
        "{out:?}"
    );
    assert!(!told.contains(&token), "{told}");
    program.watch.secret("a token of an order", &token);
    token
}

fn new(program: &Program, name: &str, expires: &str) -> String {
    token(program, &["token", "new", "--scim", "--name", name, "--expires", expires])
}

fn client(program: &Program, token: &str) -> DirectoryClient {
    program.directory().with_token(token)
}

async fn status(client: &DirectoryClient) -> u16 {
    client.send(Method::GET, "/Users?count=0", None).await.status.as_u16()
}

fn listed(program: &Program) -> Vec<Value> {
    let (out, _) = ordered(program, &["token", "list", "--json"]);
    let listing: Value = serde_json::from_str(&out).unwrap();
    listing["tokens"].as_array().unwrap().clone()
}

fn states(program: &Program) -> Vec<(String, String)> {
    let text = |token: &Value, key: &str| token[key].as_str().unwrap().to_owned();
    listed(program).iter().map(|token| (text(token, "name"), text(token, "state"))).collect()
}

fn last_audits(program: &Program, count: &str) -> Vec<Value> {
    let (out, _) = ordered(program, &["audit", "tail", "--json", "-n", count]);
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Moves the ends of all tokens while nothing runs.
async fn set_ends(program: &Program, sql: &'static str) {
    let mut database = sqlite_lock::open(&program.database()).await;
    sqlx::query(sql).execute(&mut database).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_writes_under_its_name_until_it_is_revoked() {
    let mut stage = Stage::start().await;
    let okta = new(&stage.program, "okta", "90d");
    let directory = client(&stage.program, &okta);
    let made = directory.send(Method::POST, "/Users", Some(&user("new@corp.test", "n"))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let line = stage.program.logged(&["info", "a User was created"]).await;
    assert!(line.contains("\"actor\":\"scim:default/okta-1\""), "{line}");
    assert_eq!(last_audits(&stage.program, "1")[0]["actor"], "scim:default/okta-1");
    assert_eq!(status(&stage.directory).await, 200, "the one of the configuration goes on beside it");
    let taken = refused(&stage.program, &["token", "new", "--scim", "--name", "okta"]);
    assert!(taken.contains("token rotate okta"), "{taken}");

    // A reload and a restart keep it.
    stage.program.reload(|settings| settings.level = "debug").await;
    assert_eq!(status(&directory).await, 200);
    stage.restart().await;
    let directory = client(&stage.program, &okta);
    assert_eq!(status(&directory).await, 200);
    let list = listed(&stage.program);
    assert_eq!((&list[0]["state"], list[0]["used"].is_string()), (&json!("live"), true), "{list:?}");

    let (said, _) = ordered(&stage.program, &["token", "revoke", "okta"]);
    assert!(said.contains("okta (number 1)"), "{said}");
    stage.program.logged(&["a SCIM token was revoked by hand", "scim:default/okta-1"]).await;
    let answer = directory.send(Method::GET, "/Users?count=0", None).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert!(answer.header("content-type").unwrap().starts_with("application/scim+json"));
    let (again, _) = ordered(&stage.program, &["token", "revoke", "1"]);
    assert!(again.contains("It was before"), "{again}");
    stage.restart().await;
    assert_eq!(status(&client(&stage.program, &okta)).await, 401);
    let audits = last_audits(&stage.program, "20");
    let of_tokens: Vec<&str> = audits
        .iter()
        .filter_map(|row| row["action"].as_str().filter(|action| action.starts_with("token.")))
        .collect();
    assert_eq!(of_tokens, ["token.created", "token.revoked"]);

    // The secret is nowhere: not in the log, nor in the database and what is beside it.
    assert!(!stage.program.log().contains(&okta) && !stage.program.log().contains(&okta[4..]));
    stage.stop().await;
    for entry in std::fs::read_dir(stage.program.database().parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = bytes.windows(32).any(|window| window == &okta.as_bytes()[4..36]);
        assert!(!found, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_on_connections_that_are_open_and_of_bodies_half_sent() {
    let stage = Stage::start().await;
    let okta = new(&stage.program, "okta", "90d");
    let header = format!("authorization: Bearer {okta}");
    let mut open = RawSocket::connect(stage.program.settings.scim, "scim").await;
    open.say("GET /scim/v2/ServiceProviderConfig", &[&header]).await;
    assert_eq!(open.head().await.status, 200);
    let body = user("late@corp.test", "late").to_string();
    let mut half = RawSocket::connect(stage.program.settings.scim, "scim").await;
    let length = format!("content-length: {}", body.len());
    half.say("POST /scim/v2/Users", &[&header, "content-type: application/scim+json", &length]).await;
    half.send(&body.as_bytes()[..10]).await;
    assert_eq!(status(&client(&stage.program, &okta)).await, 200);

    ordered(&stage.program, &["token", "revoke", "okta"]);
    half.send(&body.as_bytes()[10..]).await;
    assert_eq!(half.head().await.status, 401);
    let found = stage.directory.find("userName eq \"late@corp.test\"").await;
    assert_eq!(found["totalResults"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_though_the_disk_does_not_answer() {
    let stage = Stage::start().await;
    let okta = new(&stage.program, "okta", "90d");
    let lock = WriteLock::take(&stage.program.database()).await;
    let said = refused(&stage.program, &["token", "revoke", "okta"]);
    assert!(said.contains("repeat the order"), "{said}");
    assert_eq!(status(&client(&stage.program, &okta)).await, 401);
    lock.release().await;
    ordered(&stage.program, &["token", "revoke", "okta"]);
    assert_eq!(states(&stage.program), [("okta".to_owned(), "revoked".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_rotated_with_an_overlap() {
    let stage = Stage::start().await;
    let first = new(&stage.program, "okta", "90d");
    let second = token(&stage.program, &["token", "rotate", "okta", "--overlap", "1h"]);
    assert_ne!(first, second);
    for token in [&first, &second] {
        assert_eq!(
            client(&stage.program, token).create(&user(&token[..9], &token[..9])).await["active"],
            true
        );
    }
    let third = token(&stage.program, &["token", "rotate", "2", "--overlap", "0s"]);
    let directory = client(&stage.program, &second);
    let answer = directory.send(Method::POST, "/Users", Some(&user("eve@corp.test", "e"))).await;
    assert_eq!(answer.status, 401, "its overlap was nothing");
    assert_eq!(status(&client(&stage.program, &third)).await, 200);
    let expected = ["live", "expired", "live"].map(|state| ("okta".to_owned(), state.to_owned()));
    assert_eq!(states(&stage.program), expected);
    ordered(&stage.program, &["token", "revoke", "okta"]);
    for token in [&first, &second, &third] {
        assert_eq!(status(&client(&stage.program, token)).await, 401, "all of the name");
    }
    assert!(refused(&stage.program, &["token", "rotate", "okta"]).contains("no such token"));
    assert!(refused(&stage.program, &["token", "revoke", "nobody"]).contains("no such token"));
}

/// What design and docs say: for thirty days it reads and takes away, and does nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_takes_away_and_does_nothing_else() {
    let mut stage = Stage::seeded(|_| {}, &["alice@corp.test", "bob@corp.test"]).await;
    let okta = new(&stage.program, "okta", "90d");
    let ids = [stage.id("alice@corp.test"), stage.id("bob@corp.test")].map(str::to_owned);
    let [alice, bob] = &ids;
    let crew = stage.directory.group("Crew", &[alice, bob]).await;
    stage.stop().await;
    set_ends(&stage.program, "update token set expires = (unixepoch() - 60) * 1000").await;
    stage.program.begin().await;
    let directory = client(&stage.program, &okta);

    for path in ["/Users?count=1", "/ServiceProviderConfig"] {
        assert_eq!(directory.send(Method::GET, path, None).await.status, 200, "{path}");
    }
    let set = |path: &str, value: Value| json!([{ "op": "replace", "path": path, "value": value }]);
    let refusals = [
        directory.send(Method::POST, "/Users", Some(&user("eve@corp.test", "e"))).await,
        directory.patch(alice, set("userName", json!("eve@corp.test"))).await,
        directory.patch(alice, set("active", json!(true))).await,
        directory.patch_group(&crew, set("displayName", json!("Admins"))).await,
    ];
    for answer in refusals {
        assert_eq!(answer.status, 401, "{}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("expired at 20") && detail.contains("takes access away"), "{detail}");
    }
    let mut socket = stage.visitor("alice@corp.test").socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    directory.deactivate(alice).await;
    socket.read_out().await;
    assert_eq!(directory.patch(alice, set("active", json!(true))).await.status, 401);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{bob}\"]") }]);
    assert!(directory.patch_group(&crew, remove).await.status.is_success());
    assert_eq!(directory.delete(bob).await, 204);
    let told = stage.program.lines_with("an expired SCIM token writes");
    assert_eq!(told.len(), 8, "each of them: {told:?}");
    assert!(
        told.iter().all(|line| line.contains("\"level\":\"warn\"") && line.contains("okta-1")),
        "{told:?}"
    );

    stage.stop().await;
    set_ends(&stage.program, "update token set expires = (unixepoch() - 31 * 86400) * 1000").await;
    stage.program.begin().await;
    stage.program.logged(&["warn", "has ended and is used all the same"]).await;
    let directory = client(&stage.program, &okta);
    assert_eq!(directory.send(Method::DELETE, &format!("/Groups/{crew}"), None).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_end_people_are_told_once_and_the_metric_says_it_always() {
    let mut stage = Stage::start().await;
    new(&stage.program, "okta", "10d");
    let left = stage.program.metric("portcullis_expires_seconds").await.unwrap();
    assert!(left > 9.9 * 86_400.0 && left <= 10.0 * 86_400.0, "{left}");
    for _ in 0..2 {
        stage.restart().await;
        stage.program.logged(&["warn", "a SCIM token ends soon", "token rotate okta"]).await;
    }
    assert_eq!(stage.program.lines_with("a SCIM token ends soon").len(), 1, "once, over restarts");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_program_says_how_to_make_one_and_a_stopped_one_takes_it() {
    let mut stage = Stage::with(|settings| settings.scim_token = String::new()).await;
    stage.program.logged(&["warn", "there is no SCIM token", "token new --scim --name okta"]).await;
    assert_eq!(status(&client(&stage.program, "anything-of-some-length")).await, 401);
    assert_eq!(status(&client(&stage.program, "")).await, 401);
    let (_, said) = ordered(&stage.program, &["check"]);
    assert!(said.contains("token new --scim"), "{said}");
    let running = new(&stage.program, "okta", "90d");
    assert_eq!(status(&client(&stage.program, &running)).await, 200);
    let (_, said) = ordered(&stage.program, &["check"]);
    assert!(!said.contains("token new --scim"), "{said}");
    stage.stop().await;
    let stopped = new(&stage.program, "entra", "90d");
    ordered(&stage.program, &["token", "revoke", "okta"]);
    stage.program.begin().await;
    assert_eq!(status(&client(&stage.program, &stopped)).await, 200);
    assert_eq!(status(&client(&stage.program, &running)).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_in_one_header_and_nowhere_else() {
    let stage = Stage::start().await;
    let okta = new(&stage.program, "okta", "90d");
    let bearer = format!("authorization: Bearer {okta}");
    let lower = format!("authorization: bearer {okta}");
    let broken = format!("authorization: Bearer {} {}", &okta[..20], &okta[20..]);
    let basic = format!("authorization: Basic {okta}");
    let in_query = format!("/scim/v2/Users?access_token={okta}");
    let plain = "/scim/v2/Users";
    for (path, fields, wanted) in [
        (plain, vec![&bearer], 200),
        (plain, vec![&lower], 200),
        (plain, vec![&bearer, &bearer], 401),
        (plain, vec![&broken], 401),
        (plain, vec![&basic], 401),
        (in_query.as_str(), vec![], 401),
    ] {
        let mut raw = RawSocket::connect(stage.program.settings.scim, "scim").await;
        let mut said: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
        said.push("connection: close");
        raw.say(&format!("GET {path}"), &said).await;
        assert_eq!(raw.head().await.status, wanted, "{said:?}");
    }
    for kind in ["application/json", "application/scim+json"] {
        let mut raw = RawSocket::connect(stage.program.settings.scim, "scim").await;
        raw.say("GET /scim/v2/Users", &[&format!("accept: {kind}")]).await;
        let (head, body) = raw.answer().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((head.status, &body["status"]), (401, &json!("401")));
        assert!(head.field("content-type").unwrap().starts_with(kind), "{:?}", head.lines);
        assert!(head.field("www-authenticate").unwrap().starts_with("Bearer"), "{:?}", head.lines);
    }
    assert!(!stage.program.log().contains(&okta));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reads_is_told_to_wait_and_delays_no_removal() {
    let rate = |settings: &mut Settings| settings.scim_more = "  rate:\n    per_second: 1\n    burst: 20\n";
    let stage = Stage::seeded(rate, &["alice@corp.test"]).await;
    let (okta, entra) = (new(&stage.program, "okta", "90d"), new(&stage.program, "entra", "90d"));
    let directory = client(&stage.program, &okta);
    let mut refused = None;
    for _ in 0..200 {
        let answer = directory.send(Method::GET, "/ServiceProviderConfig", None).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a flood is refused");
    assert_eq!((refused.status.as_u16(), refused.json()["status"].clone()), (429, json!("429")));
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(refused.json()["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    let mut socket = stage.visitor("alice@corp.test").socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    directory.deactivate(stage.id("alice@corp.test")).await;
    socket.read_out().await;
    assert_eq!(status(&client(&stage.program, &entra)).await, 200, "another token has its own");
    // It is let in again without a restart.
    let waiting = async {
        while status(&directory).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it may go on");
}

/// Through a trusted proxy the client's own address counts, and what a client says of itself does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_from_the_networks_that_may_write_alone() {
    let allow = |settings: &mut Settings| {
        settings.scim_more = "  allow: [192.0.2.0/24]\n";
        settings.more = "trusted_proxies: [127.0.0.1]\n".to_owned();
    };
    let mut stage = Stage::with(allow).await;
    let bearer = format!("authorization: Bearer {}", new(&stage.program, "okta", "90d"));
    for (fields, wanted) in [
        (&[bearer.as_str()][..], 403),
        (&[&bearer, "x-forwarded-for: 192.0.2.7"], 200),
        (&[&bearer, "x-forwarded-for: 192.0.2.7, 198.51.100.1"], 403),
        (&["x-forwarded-for: 192.0.2.7"], 401),
    ] {
        let mut raw = RawSocket::connect(stage.program.settings.scim, "scim").await;
        raw.say("GET /scim/v2/Users", &[fields, &["connection: close"]].concat()).await;
        assert_eq!(raw.head().await.status, wanted, "{fields:?}");
    }
    stage.program.logged(&["warn", "scim.allow", "127.0.0.1"]).await;
    stage.program.reload(|settings| settings.more.clear()).await;
    let mut raw = RawSocket::connect(stage.program.settings.scim, "scim").await;
    let fields = [bearer.as_str(), "x-forwarded-for: 192.0.2.7", "connection: close"];
    raw.say("GET /scim/v2/Users", &fields).await;
    assert_eq!(raw.head().await.status, 403, "nobody is trusted any more");
}
