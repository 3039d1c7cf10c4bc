//! HTTP/2 by clients that nobody here wrote: nghttp and h2load, and Python's h2, which sends what it is told, however
//! wrong. Nothing of it reaches the application as another request than the one that was let in.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

const ALICE: &str = "alice@corp.test";

/// The host and port that the program is known by.
fn host_of(visitor: &Visitor) -> &str {
    visitor.origin.split_once("://").unwrap().1
}

async fn run(mut command: Command) -> String {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_every_rule_is_refused_and_smuggles_nothing() {
    needs!("http2");
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let proxy = stage.program.proxy();
    let mut command = Command::new(peer::cache().join("http2/bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rigs/http2/tricks.py"));
    command.args([proxy.ip().to_string(), proxy.port().to_string()]);
    let alice = stage.visitor(ALICE);
    command.args([host_of(&alice), &alice.cookie]);
    let said = run(command).await;
    let mut refused = 0;
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}"));
        let (trick, came) = (line["trick"].as_str().unwrap(), line["came"].as_str().unwrap());
        if trick.starts_with("good") {
            assert_eq!(came, "200", "{trick}");
        } else {
            assert!(["400", "405", "421", "reset", "goaway", "closed"].contains(&came), "{trick}: {came}");
            refused += 1;
        }
    }
    assert!(refused >= 35, "{said}");
    // Three that are good, and what shows only with its last byte that it is not: the application sees it break off.
    let seen = stage.app.seen();
    assert!(seen.iter().all(|seen| seen.target == "/") && (3..=4).contains(&seen.len()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttp_and_h2load_are_served() {
    needs!("nghttp");
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let url = format!("http://{}/", stage.program.proxy());
    let fields = [format!(":authority: {}", host_of(&alice)), format!("cookie: {}", alice.cookie)];
    let ask = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        command.args(fields.iter().flat_map(|field| ["-H", field]));
        command.arg(&url);
        command
    };
    let said = run(ask("nghttp", &["-n", "-v"])).await;
    assert!(said.contains(":status: 200"), "{said}");
    let said = run(ask("h2load", &["-n", "400", "-c", "4", "-m", "10"])).await;
    assert!(said.contains("400 succeeded") && said.contains("status codes: 400 2xx"), "{said}");
    assert_eq!(stage.app.count(), 401);
}
