//! In front of a gRPC server that nobody here wrote: calls of every kind, trailers, and the end of a stream whose person
//! is removed.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::needs;
use crate::rig::peer::{cache, rigs};
use crate::rig::process::Process;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::{ports, until, wire};

const ALICE: &str = "alice@corp.test";

fn python(script: &str) -> Command {
    let mut command = Command::new(cache().join("grpc/bin/python"));
    command.arg(rigs().join("grpc").join(script));
    command
}

/// A server, and a program before it that speaks HTTP/2 to it.
async fn stage() -> (Stage, Process, tempfile::TempDir, SocketAddr) {
    let (address, folder) = (ports::free(), tempfile::tempdir().unwrap());
    let log = File::create(folder.path().join("log")).unwrap();
    let mut command = python("server.py");
    command.arg(address.port().to_string()).stdout(log.try_clone().unwrap()).stderr(log);
    let server = Process::spawn(&mut command);
    until("the gRPC server", || async { wire::tcp(address, None).await.is_ok() }).await;
    let stage = Stage::seeded(|settings| settings.upstream = format!("h2c://{address}"), &[ALICE]).await;
    (stage, server, folder, address)
}

fn calls(visitor: &Visitor, call: &str) -> Command {
    let mut command = python("client.py");
    let authority = visitor.origin.split_once("://").unwrap().1;
    command.args([&visitor.address.to_string(), authority, &visitor.cookie, call]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

async fn call(visitor: &Visitor, call: &str) -> String {
    let mut command = calls(visitor, call);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_pass_with_their_trailers() {
    needs!("grpc");
    let (stage, _server, _folder, _) = stage().await;
    let (alice, stranger) = (stage.visitor(ALICE), stage.stranger());
    let said = call(&alice, "unary").await;
    assert!(
        said.contains("\"x-forwarded-user\": \"alice@corp.test\"") && !said.contains("mallory"),
        "{said}"
    );
    assert!(
        said.contains("\nhello\n") && said.contains("'x-trail': 'behind'") && said.ends_with("OK\n"),
        "{said}"
    );
    assert!(!said.contains("portcullis"), "{said}");
    assert_eq!(call(&alice, "refuse").await, "NOT_FOUND nothing of that name\n");
    assert_eq!(call(&alice, "talk").await, "heard 0\nheard 1\nheard 2\nOK\n");
    assert_eq!(call(&alice, "gather").await, "gathered 2000000\nOK\n");
    assert_eq!(call(&alice, "burst").await, "burst 0 19999 19999\nOK\n");
    assert_eq!(call(&alice, "large").await, "large 3000000\nOK\n");
    assert!(call(&stranger, "unary").await.starts_with("UNAUTHENTICATED "), "no session");
    assert_eq!(alice.socket("/ws").await.err(), Some(501));
    stage.program.logged(&["\"reason\":\"not_carried\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_person_it_is_for() {
    needs!("grpc");
    let (stage, server, _folder, _) = stage().await;
    let mut child = calls(&stage.visitor(ALICE), "tick").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "tick 0");
    stage.directory.deactivate(stage.id(ALICE)).await;
    let last =
        tokio::task::spawn_blocking(move || lines.map_while(Result::ok).last().unwrap()).await.unwrap();
    assert!(last.starts_with("CANCELLED") || last.starts_with("UNAVAILABLE"), "{last}");
    child.wait().unwrap();
    // And with its application.
    stage.directory.reactivate(stage.id(ALICE)).await;
    drop(server);
    assert_eq!(stage.stranger().status("/").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_goes_away_is_said_to_have() {
    needs!("grpc");
    let (stage, server, _folder, address) = stage().await;
    let alice = stage.visitor(ALICE);
    assert!(call(&alice, "unary").await.ends_with("OK\n"));
    let mut child = calls(&alice, "tick").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "tick 0");
    drop(server);
    let last =
        tokio::task::spawn_blocking(move || lines.map_while(Result::ok).last().unwrap()).await.unwrap();
    assert!(!last.starts_with("OK") && !last.starts_with("tick"), "{last}");
    child.wait().unwrap();
    until("the application's port to be closed", || async { wire::tcp(address, None).await.is_err() }).await;
    let said = call(&alice, "unary").await;
    assert!(said.starts_with("UNAVAILABLE "), "{said}");
}
