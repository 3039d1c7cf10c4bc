//! The logs: what they may say of people, what a stranger can make them say, and that nobody waits for who reads them.

use http::Request;

use crate::rig::program::Program;
use crate::rig::settings::Settings;
use crate::rig::wire::{self, Line};
use crate::rig::{ports, until};

/// A login that is refused before any IdP is asked: an answer without its flow.
async fn refused_login(program: &Program, code: &str) -> String {
    let request = Request::get(format!("/.portcullis/callback/op?code={code}&state=x"))
        .header("host", program.settings.origin().trim_start_matches("http://"))
        .body(wire::whole(""))
        .unwrap();
    let answer = Line::open(program.proxy()).await.unwrap().send(request).await.unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    program.logged(&["login refused"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_said_of_a_client_is_said_in_no_log() {
    let mut settings = Settings::new(ports::free());
    settings.access = "stdout\n  client: none".to_owned();
    let program = Program::start(settings).await;
    let line = refused_login(&program, "x").await;
    assert!(!line.contains("127.0.0.1"), "{line}");

    // A host that is not ours has no app whose rules could be asked.
    let answer = wire::get(program.proxy(), "elsewhere.test", "/").await.unwrap();
    assert_eq!(answer.status, 421);
    let line = program.logged(&["unknown_host", "elsewhere.test"]).await;
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(said["client"].is_null(), "{line}");
    let reference = said["ref"].as_str().unwrap();
    let mut told = String::new();
    until("the refusal under its number", || {
        let output = program.command(&["ref", reference]);
        told = String::from_utf8_lossy(&output.stdout).into_owned();
        let there = output.status.success();
        async move { there }
    })
    .await;
    assert!(told.contains("elsewhere.test") && !told.contains("127.0.0.1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_decides_what_is_said_from_then_on() {
    let mut program = Program::start(Settings::new(ports::free())).await;
    assert!(refused_login(&program, "x").await.contains("127.0.0.1"));
    program.reload(|settings| settings.access = "stdout\n  client: prefix".to_owned()).await;
    wire::get(program.proxy(), "elsewhere.test", "/").await.unwrap();
    let line = program.logged(&["unknown_host"]).await;
    assert!(line.contains("127.0.0.0/24"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_sends_is_cut_in_every_log_and_record() {
    let program = Program::start(Settings::new(ports::free())).await;
    let long = "y".repeat(20_000);
    refused_login(&program, &long).await;
    let answer = wire::get(program.proxy(), "elsewhere.test", &format!("/{long}")).await.unwrap();
    assert_eq!(answer.status, 421);
    let line = program.logged(&["unknown_host"]).await;
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["path"].as_str().unwrap().chars().count(), 200);
    assert!(!program.log().contains(&"y".repeat(201)));
}
