//! Fields behind a body: what is announced and may follow goes on, in either direction, and nothing else does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::client::{h2c, request};
use crate::rig::{Rig, Wish, application};
use crate::wire::{Wire, block};
use portcullis_rig::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, field, frame};

/// What a client announces and sends behind its body. The first alone may go on.
const SENT: [(&str, &str); 9] = [
    ("x-checksum", "good"),
    ("x-forwarded-user", "root"),
    ("x_forwarded_groups", "Owners"),
    ("remote-user", "root"),
    ("cookie", "a=b"),
    ("authorization", "Basic cm9vdA=="),
    ("host", "evil.test"),
    ("content-length", "3"),
    ("x-request-id", "mine"),
];

fn announcement() -> String {
    SENT.map(|(name, _)| name).join(", ")
}

/// An application that tells what it was sent, byte for byte, and with what number its connection has.
async fn listening() -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
    let (told, telling) = mpsc::unbounded_channel();
    let address = application(move |number, mut socket| {
        let told = told.clone();
        async move {
            let mut read = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&read).into_owned();
                let is_whole = match text.split_once("\r\n\r\n") {
                    Some((head, body)) if head.contains("chunked") => {
                        body.ends_with("\r\n\r\n") && body.contains("0\r\n")
                    }
                    Some((head, body)) => !head.contains("content-length: 5") || body.len() == 5,
                    None => false,
                };
                if is_whole {
                    read.clear();
                    let _ = told.send((number, text));
                    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                        Trailer: X-Sum, Set-Cookie, Content-Length\r\n\r\n2\r\nok\r\n0\r\n\
                        x-sum: 7\r\nset-cookie: sid=1\r\nx-unsaid: 8\r\ncontent-length: 9\r\n\r\n";
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
                if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        }
    })
    .await;
    (address, telling)
}

async fn rig() -> (Rig, mpsc::UnboundedReceiver<(usize, String)>) {
    let (address, told) = listening().await;
    (Rig::with(Wish { upstream: Some(address), ..Wish::default() }).await, told)
}

/// The head without a cookie line, and what stands behind the last chunk.
fn parts(text: &str) -> (&str, &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head, body.split_once("0\r\n").unwrap().1)
}

fn is_clean(text: &str) {
    let (head, behind) = parts(text);
    let announced: Vec<&str> = head.lines().filter(|line| line.starts_with("trailer:")).collect();
    assert_eq!(announced, ["trailer: x-checksum"], "{text}");
    assert_eq!(behind, "x-checksum: good\r\n\r\n", "{text}");
    assert_eq!(head.matches("x-forwarded-user: alice").count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_of_http1_goes_up_and_none_that_is_forged() {
    let (rig, mut told) = rig().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let trailers: String = SENT.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let announced = format!("Trailer: {}", announcement());
    let mut raw =
        rig.ask("POST /", &[&cookie, "Transfer-Encoding: chunked", "TE: trailers", &announced]).await;
    raw.send(format!("5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes()).await;
    let (_, text) = told.recv().await.unwrap();
    is_clean(&text);
    // And down, to whoever says that they take some: what was announced and may.
    let head = raw.head().await;
    assert_eq!((head.status, head.field("trailer")), (200, Some("x-sum")));
    assert_eq!(raw.until("\r\n\r\n").await, "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");

    // Nothing is announced, so nothing goes on; and the connection serves the next, in both directions.
    raw.say("POST /", &[&cookie, "Transfer-Encoding: chunked"]).await;
    raw.send(format!("5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes()).await;
    let (number, text) = told.recv().await.unwrap();
    assert!(!text.contains("trailer") && parts(&text).1 == "\r\n", "{text}");
    assert_eq!(number, 0, "the application's connection is kept behind trailers");
    assert_eq!(raw.head().await.status, 200);
    assert_eq!(raw.until("\r\n\r\n").await, "2\r\nok\r\n0\r\n\r\n", "it did not say that it takes any");
    let lines = rig.lines("/", 2).await;
    assert!(lines.iter().all(|line| line["ended"] == "done"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connection_names_does_not_follow_a_body() {
    let (rig, mut told) = rig().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let fields =
        [cookie.as_str(), "Transfer-Encoding: chunked", "Connection: x-checksum", "Trailer: x-checksum, x-b"];
    let mut raw = rig.ask("POST /", &fields).await;
    raw.send(b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nX-B: 2\r\n\r\n").await;
    let (_, text) = told.recv().await.unwrap();
    assert_eq!(parts(&text).1, "x-b: 2\r\n\r\n", "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_of_http2_goes_up_and_none_that_is_forged() {
    let (rig, mut told) = rig().await;
    let alice = rig.alice();
    let mut wire = Wire::connect(&rig, &[]).await;
    let (announced, body) = (announcement(), frame(DATA, 0, 1, b"hello"));
    let head = block("POST", "/", &[("cookie", &alice), ("trailer", &announced)]);
    let trailers: Vec<u8> = SENT.iter().flat_map(|(name, value)| field(name, value)).collect();
    let end = frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers);
    wire.send(&[frame(HEADERS, END_HEADERS, 1, &head), body, end].concat()).await.unwrap();
    let (_, text) = told.recv().await.unwrap();
    is_clean(&text);
    wire.until(|frame| frame.stream == 1 && frame.kind == HEADERS && frame.flags & END_STREAM != 0).await;

    // A body that has a length goes up with it, and has no room for trailers.
    let fields = [("cookie", alice.as_str()), ("trailer", "x-checksum"), ("content-length", "5")];
    let head = block("POST", "/", &fields);
    let end = frame(HEADERS, END_STREAM | END_HEADERS, 3, &field("x-checksum", "good"));
    wire.send(&[frame(HEADERS, END_HEADERS, 3, &head), frame(DATA, 0, 3, b"hello"), end].concat())
        .await
        .unwrap();
    let (number, text) = told.recv().await.unwrap();
    assert!(text.ends_with("\r\n\r\nhello") && !text.contains("trailer"), "{text}");
    assert_eq!(number, 0, "the application's connection is kept behind trailers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_of_an_answer_comes_down_over_http2() {
    use http_body_util::BodyExt;
    let (rig, _told) = rig().await;
    let alice = rig.alice();
    let mut sender = h2c(&rig).await;
    let asked = request("GET", "/", &[("cookie", &alice)], crate::client::empty());
    let answer = crate::client::h2_send(&mut sender, asked).await;
    assert_eq!(answer.headers()["trailer"], "x-sum");
    let body = answer.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap();
    let mut names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["x-sum", "x-unsaid"], "they need no announcement there");
    assert_eq!(rig.lines("/", 1).await[0]["ended"], "done");
}

/// Beyond the library's own bound there would be no answer at all: ours is below it.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_are_too_many_or_too_long_are_told_so() {
    let (rig, _told) = rig().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let fields = [cookie.as_str(), "Transfer-Encoding: chunked", "Trailer: x-a"];
    let many = "x-a: 1\r\n".repeat(201);
    let long = format!("x-a: {}\r\n", "a".repeat(5_000)).repeat(4);
    let just = format!("x-a: {}\r\n", "a".repeat(3_900)).repeat(4);
    for (trailers, status) in [(many, 431), (long, 431), ("x-a: 1\r\n".repeat(200), 200), (just, 200)] {
        let mut raw = rig.ask("POST /", &fields).await;
        raw.send(format!("5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes()).await;
        let head = raw.head().await;
        assert_eq!(head.status, status, "{} bytes", trailers.len());
    }
    let lines = rig.lines("/", 4).await;
    assert_eq!(lines.iter().filter(|line| line["status"] == 431).count(), 2, "{lines:?}");
}
