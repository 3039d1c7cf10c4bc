//! The cut. By order, not by time: once what a removal forbids has left, the application writes a mark on every
//! stream, and no client may ever read it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use portcullis_policy::{AccountId, Change, Timestamp};
use portcullis_rig::raise_open_files;
use portcullis_rig::wire::{Connection, Dial, tcp};
use tokio::net::TcpStream;

use crate::client::{empty, h2_send, h2c, piece, request};
use crate::rig::{HOST, IDLE, Rig, Wish, wait_for};
use crate::streams::UPGRADE;

/// What may still arrive after a cut (rule R10).
const RESIDUE: usize = 256 * 1024;
/// The receive buffer of a client that takes little.
const NARROW: Option<u32> = Some(16 * 1024);

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_websocket_is_gone_and_its_line_is_written() {
    let rig = Rig::new().await;
    let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
    let mut cut = rig.ask("GET /socket/alice", &[&[alice.as_str()][..], &UPGRADE].concat()).await;
    let mut stays = rig.ask("GET /socket/bob", &[&[bob.as_str()][..], &UPGRADE].concat()).await;
    cut.until("ready\n").await;
    stays.until("ready\n").await;

    rig.take_out(1).await;
    rig.upstream.mark("marked").await;

    stays.until("marked").await;
    assert_eq!(cut.rest().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(!String::from_utf8_lossy(cut.unread()).contains("marked"));
    let line = &rig.lines("/socket/alice", 1).await[0];
    for (field, value) in [
        ("decision", "allow"),
        ("reason", "revoked"),
        ("ended", "cut"),
        ("user", "id-alice"),
        ("idp", "okta"),
        ("rule", "/**"),
        ("app", "wiki"),
        ("host", HOST),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(line["status"], 101);
    assert!((rig.metric("portcullis_cuts_total{kind=\"revoked\"}") - 1.0).abs() < f64::EPSILON);
    wait_for(|| rig.upstream.open() == 1).await;

    let (head, _) = rig.ask("GET /headers", &[&alice]).await.answer().await;
    assert_eq!(head.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_gone_and_siblings_of_the_connection_live_on() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.alice(), rig.bob());
    let mut raw = rig.ask("GET /events", &[&format!("Cookie: {alice}")]).await;
    let mut sender = h2c(&rig).await;
    let mut cut =
        h2_send(&mut sender, request("GET", "/events", &[("cookie", &alice)], empty())).await.into_body();
    let mut stays =
        h2_send(&mut sender, request("GET", "/events", &[("cookie", &bob)], empty())).await.into_body();
    raw.until("hello").await;
    assert_eq!(piece(&mut cut).await.unwrap().unwrap(), "hello\n");
    assert_eq!(piece(&mut stays).await.unwrap().unwrap(), "hello\n");

    rig.take_out(1).await;
    rig.upstream.mark("marked").await;

    assert_eq!(piece(&mut stays).await.unwrap().unwrap(), "marked");
    assert!(piece(&mut cut).await.unwrap().is_err(), "the stream is reset, not ended");
    assert_eq!(raw.rest().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let answer = h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    assert_eq!(answer.status(), 200, "the connection lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_over_http1_leaves_little() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut socket = tcp(rig.address, NARROW).await.unwrap();
    let head = format!("GET /bytes/200000000 HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 1000];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut buffer).await.unwrap();
    rig.upstream.stalls().await;

    rig.take_out(1).await;

    let left = residue(&mut socket).await;
    assert!(left <= RESIDUE, "{left} bytes after the cut");
    let line = &rig.lines("/bytes/200000000", 1).await[0];
    assert_eq!((&line["ended"], &line["reason"]), (&"cut".into(), &"revoked".into()));
    assert!(line["out"].as_u64().unwrap() < 20_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_over_http2_leaves_little() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.alice(), rig.bob());
    // A client that has room for 16 MiB, and then takes nothing.
    let how = Dial { receive_buffer: NARROW, window: 16 * 1024 * 1024, ..Dial::h2() };
    let mut sender = Connection::dial(rig.address, how).await.unwrap();
    // It carries two people: otherwise all of it would go with the one.
    h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    let asked = request("GET", "/bytes/200000000", &[("cookie", &alice)], empty());
    let mut body = h2_send(&mut sender, asked).await.into_body();
    piece(&mut body).await.unwrap().unwrap();
    sender.tap.shut();
    rig.upstream.stalls().await;

    rig.take_out(1).await;

    let before = sender.tap.taken();
    sender.tap.open();
    while let Some(Ok(_)) = piece(&mut body).await {}
    // Behind what was left of the stream comes the answer to somebody else on the same connection.
    let answer = h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    assert_eq!(answer.status(), 200);
    let left = sender.tap.taken() - before;
    assert!(left <= RESIDUE, "{left} bytes after the cut");
    assert!(left > 0, "there was something to leave");
}

/// What can still be read of a socket, whether it ends by a reset or not.
async fn residue(socket: &mut TcpStream) -> usize {
    let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        let read = tokio::io::AsyncReadExt::read(socket, &mut buffer);
        match tokio::time::timeout(Duration::from_secs(10), read).await.expect("an end") {
            Ok(0) | Err(_) => return total,
            Ok(length) => total += length,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_gone_over_both_protocols() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut raw = rig.ask("POST /count", &[&format!("Cookie: {cookie}"), "Content-Length: 1000000"]).await;
    raw.send(&[b'x'; 1000]).await;
    let mut sender = h2c(&rig).await;
    let first = Ok(Frame::data(Bytes::from_static(&[b'x'; 1000])));
    let body = StreamBody::new(futures_util::stream::iter([first]).chain(futures_util::stream::pending()));
    let asked = request("POST", "/count", &[("cookie", &cookie)], BodyExt::boxed(body));
    let answer = tokio::spawn(async move { sender.begin(asked).await });
    rig.upstream.has_taken(2000).await;

    rig.take_out(1).await;

    assert_eq!(raw.rest().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(answer.await.unwrap().is_err(), "the stream is reset");
    for line in rig.lines("/count", 2).await {
        assert_eq!((&line["ended"], &line["in"], &line["status"]), (&"cut".into(), &1000.into(), &0.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_yet_is_gone() {
    let rig = Rig::new().await;
    let mut raw = rig.ask("GET /slow", &[&format!("Cookie: {}", rig.alice())]).await;
    wait_for(|| rig.upstream.asked() == ["/slow"]).await;
    rig.take_out(1).await;
    assert!(raw.rest().await.is_err());
    assert_eq!(raw.unread(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_one_session_and_not_the_other() {
    let rig = Rig::new().await;
    let (first, first_cookie) = rig.sign_in(1, "alice", &[]);
    let (_, second_cookie) = rig.sign_in(1, "alice", &[]);
    let mut ended = rig.ask("GET /events", &[&format!("Cookie: {first_cookie}")]).await;
    let mut stays = rig.ask("GET /events", &[&format!("Cookie: {second_cookie}")]).await;
    ended.until("hello").await;
    stays.until("hello").await;
    rig.enforce(&[Change::Ended(AccountId(1), first)]).await;
    rig.upstream.mark("marked").await;
    stays.until("marked").await;
    assert!(ended.rest().await.is_err());
    let lines = rig.lines("/events", 1).await;
    assert_eq!(lines[0]["reason"], "signed_out");
}

/// Rule R9: bytes from the client keep a session from idling, bytes to it do not.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_is_not_idle_and_who_only_listens_is() {
    let rig = Rig::new().await;
    let (talks, listens) = (rig.sign_in(1, "alice", &[]).1, rig.sign_in(2, "bob", &[]).1);
    let mut upload = rig.ask("POST /count", &[&format!("Cookie: {talks}"), "Content-Length: 10"]).await;
    let mut events = rig.ask("GET /events", &[&format!("Cookie: {listens}")]).await;
    events.until("hello").await;
    upload.send(b"x").await;
    rig.upstream.has_taken(1).await;
    let began = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(1200)).await; // the clock of sessions counts in seconds
    upload.send(b"x").await;
    rig.upstream.has_taken(2).await;
    rig.upstream.mark("heard").await;
    events.until("heard").await;

    let _ = rig.sessions.expire(began.plus_ms(IDLE + 500));

    assert!(events.rest().await.is_err());
    upload.send(b"xxxxxxxx").await;
    assert_eq!(upload.answer().await.1, "10");
    assert_eq!(rig.lines("/events", 1).await[0]["reason"], "idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_idle_websockets_of_one_person_are_gone() {
    const MANY: usize = 3000;
    // Two sockets a WebSocket here, two in the client and the application, and all in one process.
    raise_open_files();
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut open = Vec::new();
    for _ in 0..MANY {
        let mut raw = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
        raw.until("ready\n").await;
        open.push(raw);
    }
    rig.take_out(1).await;
    rig.upstream.mark("marked").await;
    for mut raw in open {
        assert!(raw.rest().await.is_err());
        assert!(!String::from_utf8_lossy(raw.unread()).contains("marked"));
    }
    assert_eq!(rig.sessions.figures().exchanges, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_becomes_a_stream_after_its_person_changed_is_cut() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("GET /becomes-events", &[&cookie]).await;
    wait_for(|| rig.upstream.asked() == ["/becomes-events"]).await;
    rig.regroup(1, &["Others"]);
    rig.describe(1).await; // a plain request runs on …
    rig.upstream.release(); // … but its answer is an event stream, with headers that are not true any more
    assert!(raw.rest().await.is_err());
    assert_eq!(raw.unread(), b"", "its head was not passed on");
    let line = &rig.lines("/becomes-events", 1).await[0];
    assert_eq!((&line["ended"], &line["reason"]), (&"cut".into(), &"changed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_when_its_person_changes_and_a_plain_answer_is_not() {
    let rig = Rig::with(Wish::default()).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut events = rig.ask("GET /events", &[&cookie]).await;
    let mut plain = rig.ask("GET /stream", &[&cookie]).await;
    events.until("hello").await;
    plain.until("hello").await;
    rig.regroup(1, &["Others"]);
    rig.describe(1).await;
    rig.upstream.mark("marked").await;
    plain.until("marked").await;
    assert!(events.rest().await.is_err());
    let (_, body) = rig.ask("GET /headers", &[&cookie]).await.answer().await;
    assert!(body.contains("x-forwarded-groups: Others"), "{body}");
}
