//! The cut. By order, not by time: once what a removal forbids has left, the application writes a mark on every
//! stream, and no client may ever read it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use portcullis_policy::{AccountId, Change, Timestamp};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Raw, Valve, empty, h2_over, h2_send, h2c, piece, request};
use crate::rig::{HOST, IDLE, Rig, Wish, wait_for};
use crate::streams::UPGRADE;

/// What may still arrive after a cut (rule R10).
const RESIDUE: usize = 256 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_websocket_is_gone_and_its_line_is_written() {
    let rig = Rig::new().await;
    let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
    let mut cut = Raw::ask(&rig, "GET /socket/alice", &[&[alice.as_str()][..], &UPGRADE].concat()).await;
    let mut stays = Raw::ask(&rig, "GET /socket/bob", &[&[bob.as_str()][..], &UPGRADE].concat()).await;
    cut.until("ready\n").await;
    stays.until("ready\n").await;

    rig.take_out(1).await;
    rig.upstream.mark("marked");

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
    wait_for(|| rig.upstream.streams() == 1).await;

    let (head, _) = Raw::ask(&rig, "GET /headers", &[&alice]).await.answer().await;
    assert_eq!(head.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_gone_and_siblings_of_the_connection_live_on() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.alice(), rig.bob());
    let mut raw = Raw::ask(&rig, "GET /events", &[&format!("Cookie: {alice}")]).await;
    let mut sender = h2c(&rig).await;
    let mut cut =
        h2_send(&mut sender, request("GET", "/events", &[("cookie", &alice)], empty())).await.into_body();
    let mut stays =
        h2_send(&mut sender, request("GET", "/events", &[("cookie", &bob)], empty())).await.into_body();
    raw.until("hello").await;
    assert_eq!(piece(&mut cut).await.unwrap().unwrap(), "hello\n");
    assert_eq!(piece(&mut stays).await.unwrap().unwrap(), "hello\n");

    rig.take_out(1).await;
    rig.upstream.mark("marked");

    assert_eq!(piece(&mut stays).await.unwrap().unwrap(), "marked");
    assert!(piece(&mut cut).await.unwrap().is_err(), "the stream is reset, not ended");
    assert_eq!(raw.rest().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let answer = h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    assert_eq!(answer.status(), 200, "the connection lives on");
}

/// A socket that takes little: its receive buffer is small.
async fn narrow(rig: &Rig) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(rig.address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_over_http1_leaves_little() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut socket = narrow(&rig).await;
    let head = format!("GET /bytes/200000000 HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 1000];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut buffer).await.unwrap();
    is_stalled(&rig).await;

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
    let (socket, valve) = Valve::new(narrow(&rig).await);
    let mut sender = h2_over(socket, 16 * 1024 * 1024).await;
    // It carries two people: otherwise all of it would go with the one.
    h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    let asked = request("GET", "/bytes/200000000", &[("cookie", &alice)], empty());
    let mut body = h2_send(&mut sender, asked).await.into_body();
    piece(&mut body).await.unwrap().unwrap();
    valve.shut();
    is_stalled(&rig).await;

    rig.take_out(1).await;

    let before = valve.taken();
    valve.open();
    while let Some(Ok(_)) = piece(&mut body).await {}
    // Behind what was left of the stream comes the answer to somebody else on the same connection.
    let answer = h2_send(&mut sender, request("GET", "/headers", &[("cookie", &bob)], empty())).await;
    assert_eq!(answer.status(), 200);
    let left = valve.taken() - before;
    assert!(left <= RESIDUE, "{left} bytes after the cut");
    assert!(left > 0, "there was something to leave");
}

/// Waits until the application cannot write on: what it got rid of stands still.
async fn is_stalled(rig: &Rig) {
    let (mut last, mut same) = (0, 0);
    wait_for(|| {
        let given = rig.upstream.given();
        same = if given == last && given > 0 { same + 1 } else { 0 };
        last = given;
        same > 20
    })
    .await;
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
    let mut raw =
        Raw::ask(&rig, "POST /count", &[&format!("Cookie: {cookie}"), "Content-Length: 1000000"]).await;
    raw.send(&[b'x'; 1000]).await;
    let mut sender = h2c(&rig).await;
    let first = Ok(Frame::data(Bytes::from_static(&[b'x'; 1000])));
    let body = StreamBody::new(futures_util::stream::iter([first]).chain(futures_util::stream::pending()));
    sender.ready().await.unwrap();
    let answer = sender.send_request(request("POST", "/count", &[("cookie", &cookie)], BodyExt::boxed(body)));
    let answer = tokio::spawn(answer);
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
    let mut raw = Raw::ask(&rig, "GET /never", &[&format!("Cookie: {}", rig.alice())]).await;
    wait_for(|| rig.upstream.asked() == ["/never"]).await;
    rig.take_out(1).await;
    assert!(raw.rest().await.is_err());
    assert_eq!(raw.unread(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_one_session_and_not_the_other() {
    let rig = Rig::new().await;
    let (first, first_cookie) = rig.sign_in(1, "alice", &[]);
    let (_, second_cookie) = rig.sign_in(1, "alice", &[]);
    let mut ended = Raw::ask(&rig, "GET /events", &[&format!("Cookie: {first_cookie}")]).await;
    let mut stays = Raw::ask(&rig, "GET /events", &[&format!("Cookie: {second_cookie}")]).await;
    ended.until("hello").await;
    stays.until("hello").await;
    rig.enforce(&[Change::Ended(AccountId(1), first)]).await;
    rig.upstream.mark("marked");
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
    let mut upload =
        Raw::ask(&rig, "POST /count", &[&format!("Cookie: {talks}"), "Content-Length: 10"]).await;
    let mut events = Raw::ask(&rig, "GET /events", &[&format!("Cookie: {listens}")]).await;
    events.until("hello").await;
    upload.send(b"x").await;
    rig.upstream.has_taken(1).await;
    let began = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(1200)).await; // the clock of sessions counts in seconds
    upload.send(b"x").await;
    rig.upstream.has_taken(2).await;
    rig.upstream.mark("heard");
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
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        },
    );
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut open = Vec::new();
    for _ in 0..MANY {
        let mut raw = Raw::ask(&rig, "GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
        raw.until("ready\n").await;
        open.push(raw);
    }
    rig.take_out(1).await;
    rig.upstream.mark("marked");
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
    let mut raw = Raw::ask(&rig, "GET /gated", &[&cookie]).await;
    wait_for(|| rig.upstream.asked() == ["/gated"]).await;
    rig.regroup(1, &["Others"]);
    rig.describe(1).await; // a plain request runs on …
    rig.upstream.open_gate(); // … but its answer is an event stream, with headers that are not true any more
    assert!(raw.rest().await.is_err());
    assert_eq!(raw.unread(), b"", "its head was not passed on");
    let line = &rig.lines("/gated", 1).await[0];
    assert_eq!((&line["ended"], &line["reason"]), (&"cut".into(), &"changed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_when_its_person_changes_and_a_plain_answer_is_not() {
    let rig = Rig::with(Wish::default()).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut events = Raw::ask(&rig, "GET /events", &[&cookie]).await;
    let mut plain = Raw::ask(&rig, "GET /stream", &[&cookie]).await;
    events.until("hello").await;
    plain.until("hello").await;
    rig.regroup(1, &["Others"]);
    rig.describe(1).await;
    rig.upstream.mark("marked");
    plain.until("marked").await;
    assert!(events.rest().await.is_err());
    let (_, body) = Raw::ask(&rig, "GET /headers", &[&cookie]).await.answer().await;
    assert!(body.contains("x-forwarded-groups: Others"), "{body}");
}
