//! The logs: what they may say of people, what a stranger can make them say, and that nobody waits for who reads them.

use std::io::Read;
use std::process::Stdio;

use http::Request;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rig::program::{Program, open_log};
use crate::rig::settings::Settings;
use crate::rig::wire::{self, Connection};
use crate::rig::{must, ports, until};

/// A login that is refused before any IdP is asked: an answer without its flow.
async fn refused_login(program: &Program, code: &str) -> String {
    let request = Request::get(format!("/.portcullis/callback/op?code={code}&state=x"))
        .header("host", program.settings.origin().trim_start_matches("http://"))
        .body(wire::whole(""))
        .unwrap();
    let answer = Connection::open(program.proxy()).await.unwrap().send(request).await.unwrap();
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
    broken_heads(&program, 1).await;
    let line = program.logged(&["a head broke off"]).await;
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
    let long = "y".repeat(12_000); // a longer target is 414
    refused_login(&program, &long).await;
    let answer = wire::get(program.proxy(), "elsewhere.test", &format!("/{long}")).await.unwrap();
    assert_eq!(answer.status, 421);
    let line = program.logged(&["unknown_host"]).await;
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["path"].as_str().unwrap().chars().count(), 200);
    assert!(!program.log().contains(&"y".repeat(201)));
}

/// Anybody can answer for an IdP that was never asked: it is counted, and after twenty lines not told for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_nobody_asked_for_fill_no_log() {
    let program = Program::start(Settings::new(ports::free())).await;
    for _ in 0..60 {
        refused_login(&program, "x").await;
    }
    let counted = program.metric("portcullis_logins_total{outcome=\"oidc_state\"}").await;
    assert_eq!(counted, Some(60.0));
    // A line that comes later comes behind all of them.
    broken_heads(&program, 1).await;
    program.logged(&["a head broke off"]).await;
    assert_eq!(program.lines_with("login refused").len(), 20);
}

/// Heads that break off in the middle, one a connection.
async fn broken_heads(program: &Program, count: usize) {
    for _ in 0..count {
        let mut socket = TcpStream::connect(program.proxy()).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: broken-off.test\r\nX").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_neither_service_nor_the_end() {
    // `debug` says all that strangers cause: far more than a pipe and the queue before it hold.
    let mut program = Program::install(Settings::new(ports::free()));
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let stdout = open_log(program.folder(), "stdout.log");
    program.begin_into(stdout.into(), pipe.into()).await;
    broken_heads(&program, 3500).await;
    until("every broken head in the count", || async {
        program.metric("portcullis_broken_heads_total").await >= Some(3500.0)
    })
    .await;
    let origin = program.settings.origin();
    let host = origin.trim_start_matches("http://");
    let answer = must("an answer while nobody reads the log", wire::get(program.proxy(), host, "/")).await;
    assert_eq!(answer.unwrap().status, 401);

    // A signal is heard, and does not wait for the reader.
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("Portcullis serves"), "{text}");
    let mut told = text.lines().filter(|line| line.contains("a head broke off")).peekable();
    assert!(
        told.peek().is_some() && told.all(|line| line.contains(r#""level":"debug""#)),
        "no error is a stranger's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_come_out_where_somebody_reads() {
    let mut program = Program::install(Settings::new(ports::free()));
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let stdout = open_log(program.folder(), "stdout.log");
    program.begin_into(stdout.into(), pipe.into()).await;
    broken_heads(&program, 300).await;
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    let text = reading.join().unwrap().unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains("every exchange has ended"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_of_the_access_log_makes_no_signal_wait() {
    let mut program = Program::install(Settings::new(ports::free()));
    let (_unread, pipe) = std::io::pipe().unwrap();
    let stderr = open_log(program.folder(), "stderr.log");
    program.begin_into(Stdio::from(pipe), stderr.into()).await;
    let mut line = Connection::open(program.proxy()).await.unwrap();
    for _ in 0..40 {
        for _ in 0..500 {
            let ask = Request::get("/").header("host", "elsewhere.test").body(wire::whole("")).unwrap();
            assert_eq!(line.send(ask).await.unwrap().status, 421);
        }
        if program.metric("portcullis_access_log_dropped_total").await > Some(0.0) {
            break;
        }
    }
    assert!(program.metric("portcullis_access_log_dropped_total").await > Some(0.0), "the queue is full");

    program.reload(|_| {}).await;
    program.logged(&["the configuration is in force"]).await;
    drop(line);
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
}
