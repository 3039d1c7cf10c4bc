//! What can be read two ways is refused; what cannot is answered in its turn; and whatever one side sends, the next
//! person's request gets its own answer or none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use portcullis_proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::client::{empty, h2_get, h2_send, h2c, request};
use crate::rig::{HOST, Rig, Wish, application, wait_for};
use crate::streams::UPGRADE;

/// Heads that two readers would read in two ways, and what they are refused as.
const TWO_WAYS: [(&str, u16, &str); 22] = [
    ("GET / HTTP/1.1\nHost: HOST\r\n\r\n", 400, "line_end"),
    ("GET / HTTP/1.1\r\nHost: HOST\r\nA: b\n\r\n", 400, "line_end"),
    ("GET / HTTP/1.1\r\nHost: HOST\r\nA: b\rc\r\n\r\n", 400, "field_value"),
    ("GET / HTTP/1.1\r\nHost: HOST\r\nA: b\r\n folded\r\n\r\n", 400, "field_name"),
    ("GET / HTTP/1.1\r\nHost : HOST\r\n\r\n", 400, "field_name"),
    ("GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n", 400, "host"),
    ("GET / HTTP/1.1\r\n\r\n", 400, "host"),
    ("GET http://evil.test/ HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "other_host"),
    ("GET admin/users HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "target"),
    ("GET ?x HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "target"),
    ("GET /#x HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "target"),
    ("GET  / HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "request_line"),
    ("get / HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, "method"),
    ("GET / HTTP/1.2\r\nHost: HOST\r\n\r\n", 505, "version"),
    (
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        400,
        "content_length",
    ),
    ("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5, 5\r\n\r\n", 400, "content_length"),
    ("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: +5\r\n\r\n", 400, "content_length"),
    (
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "length_and_coding",
    ),
    ("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400, "transfer_encoding"),
    ("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n", 400, "transfer_encoding"),
    (
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "transfer_encoding",
    ),
    ("POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer_encoding"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_two_ways_is_refused_with_a_line_and_a_reference_and_closes() {
    let rig = Rig::new().await;
    for (head, status, reason) in TWO_WAYS {
        let head = head.replace("HOST", HOST);
        // Behind it what a second reader would take for a request of its own.
        let more = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let mut raw = rig.connect().await;
        raw.send(format!("{head}{more}").as_bytes()).await;
        let (answer, body) = raw.answer().await;
        assert_eq!(answer.status, status, "{head:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{head:?}");
        assert!(raw.rest().await.unwrap().is_empty(), "one answer, then the end: {head:?}");
        let reference = body.trim().rsplit(' ').next().unwrap().to_owned();
        let record = rig.record(&reference).await;
        assert_eq!((&record["reason"], &record["status"]), (&reason.into(), &status.into()), "{head:?}");
        assert_eq!(record["decision"], "bad");
    }
    assert!(rig.upstream.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_in_its_turn_behind_what_was_asked_before() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let good = format!("GET /headers HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    let mut raw = rig.connect().await;
    raw.send(format!("{good}{good}GET /slow HTTP/1.1\nHost: x\r\n\r\n{good}").as_bytes()).await;
    for status in [200, 200, 400] {
        assert_eq!(raw.answer().await.0.status, status);
    }
    assert!(raw.rest().await.unwrap().is_empty());
    assert_eq!(rig.upstream.asked(), ["/headers", "/headers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_come_in_pieces_of_any_size() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let head = format!(
        "POST /count HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let whole = format!("{head}5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n");
    for size in [1, 2, 3, 7, 50] {
        let mut raw = rig.connect().await;
        raw.socket.set_nodelay(true).unwrap();
        for piece in whole.as_bytes().chunks(size) {
            raw.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.answer().await.1, "15", "{size}");
        raw.say("GET /headers", &[&format!("Cookie: {cookie}")]).await;
        assert_eq!(raw.answer().await.0.status, 200, "the connection lives on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_can_be_read_two_ways_breaks_off() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    for body in
        ["5;ext=1\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n", "\r\n", "5\r\nhelloX"]
    {
        let mut raw = rig.ask("POST /count", &[&cookie, "Transfer-Encoding: chunked"]).await;
        raw.send(body.as_bytes()).await;
        raw.send(format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.0.status, 400, "{body:?}");
        assert!(raw.rest().await.unwrap_or_default().is_empty(), "{body:?}");
    }
    let line = &rig.lines("/count", 5).await[0];
    assert_eq!((&line["reason"], &line["decision"]), (&"chunk".into(), &"bad".into()));
    assert!(!rig.upstream.asked().contains(&"/smuggled".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_refused_upgrade_are_no_request() {
    let rig = Rig::new().await;
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", rig.alice());
    let upgrades: [&[&str]; 3] =
        [&UPGRADE, &["Connection: Upgrade", "Upgrade: h2c"], &["Connection: Upgrade", "Upgrade: x"]];
    for fields in upgrades {
        let mut raw = rig.ask("GET /socket", fields).await;
        raw.send(smuggled.as_bytes()).await;
        assert_eq!(raw.answer().await.0.status, 401);
        assert!(raw.rest().await.unwrap_or_default().is_empty());
    }
    assert!(rig.upstream.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_while_it_arrives() {
    let limits = Limits { head: 16 * 1024, ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let mut raw = rig.connect().await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}", "x".repeat(17 * 1024)).as_bytes()).await;
    assert_eq!(raw.answer().await.0.status, 431, "without its end having come");
    let mut raw = rig.connect().await;
    raw.send(format!("GET /{}", "x".repeat(17 * 1024)).as_bytes()).await;
    assert_eq!(raw.answer().await.0.status, 414);
    let mut raw = rig.connect().await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "A: b\r\n".repeat(200)).as_bytes()).await;
    assert_eq!(raw.answer().await.0.status, 431, "201 fields");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_not_told_in_chunks() {
    let rig = Rig::new().await;
    let mut raw = rig.connect().await;
    let head = format!("GET /bytes/100000 HTTP/1.0\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", rig.alice());
    raw.send(head.as_bytes()).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.field("transfer-encoding")), (200, None));
    assert_eq!(raw.rest().await.unwrap().len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_http2_goes_up_once_and_an_empty_one_has_a_length() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut sender = h2c(&rig).await;
    // The last piece is empty: some proxies send the one before it twice.
    let pieces = ["hello", ""].map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let body = BodyExt::boxed(StreamBody::new(stream::iter(pieces)));
    let answer = h2_send(&mut sender, request("POST", "/count", &[("cookie", &cookie)], body)).await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "5");
    let answer = h2_send(&mut sender, request("POST", "/headers", &[("cookie", &cookie)], empty())).await;
    let seen = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&seen).contains("content-length: 0"), "{seen:?}");
    let fields = [("cookie", cookie.as_str()), ("host", "evil.test")];
    assert_eq!(
        h2_get(&mut sender, "/headers", &fields).await.0.status,
        400,
        ":authority and Host are two hosts"
    );
}

/// Whoever takes nothing is let go, whatever they are sent: here redirects to login, one behind the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_takes_nothing_is_let_go() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut socket = socket.connect(rig.address).await.unwrap();
    let head = format!("GET /{} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/html\r\n\r\n", "x".repeat(1000));
    let sending = async {
        for _ in 0..20_000 {
            if socket.write_all(head.as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("all of it was taken");
    };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("it is let go");
}

/// An application that answers in a way of its own, in pieces; and how many tricks it has played to their end.
async fn answering(
    answer: impl Fn(&str) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let (answer, written) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let count = written.clone();
    let address = application(move |_, mut socket| {
        let (answer, count) = (answer.clone(), count.clone());
        async move {
            socket.set_nodelay(true).unwrap();
            let mut read = Vec::new();
            loop {
                let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                    if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                    continue;
                };
                let head: Vec<u8> = read.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                for piece in answer(&path) {
                    let is_gone = socket.write_all(&piece).await.is_err();
                    tokio::time::sleep(Duration::from_micros(300)).await;
                    if is_gone {
                        break;
                    }
                }
                if path.starts_with("/trick") {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    })
    .await;
    (address, written)
}

fn whole(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// After each trick of an application or a client, the next person's request on the same pool gets its own answer or a
/// 502, and never another's.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anothers_answer() {
    type Trick = fn(&str) -> Vec<Vec<u8>>;
    let tricks: [(&str, &str, Trick); 9] = [
        ("a byte too many", "GET", |path| vec![[whole(path), b"x".to_vec()].concat()]),
        ("two answers", "GET", |path| {
            vec![[whole(path), b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON".to_vec()].concat()]
        }),
        ("an answer too many, later", "GET", |path| {
            vec![whole(path), b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON".to_vec()]
        }),
        ("a body for HEAD", "HEAD", |path| vec![whole(path)]),
        ("a body behind 304", "GET", |_| {
            vec![b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nPOISON".to_vec()]
        }),
        ("early hints and more", "GET", |path| {
            vec![b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec(), whole(path)]
        }),
        ("two lengths", "GET", |_| {
            vec![b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 0\r\n\r\nPOISON".to_vec()]
        }),
        ("a length and a coding", "GET", |_| {
            vec![
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOISON"
                    .to_vec(),
            ]
        }),
        ("an answer before the body is whole", "POST", |path| vec![whole(path)]),
    ];
    for (name, method, trick) in tricks {
        let (upstream, written) =
            answering(move |path| if path.starts_with("/trick") { trick(path) } else { vec![whole(path)] })
                .await;
        let rig = Rig::with(Wish { upstream: Some(upstream), ..Wish::default() }).await;
        let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
        for round in 0..150 {
            let before = written.load(Ordering::SeqCst);
            let mut raw = rig.connect().await;
            let path = format!("/trick/{round}");
            if method == "POST" {
                raw.say(&format!("POST {path}"), &[&alice, "Content-Length: 10"]).await;
                raw.send(b"12345").await; // and the rest never comes
                let _ = raw.head().await;
            } else {
                raw.say(&format!("{method} {path}"), &[&alice]).await;
                let _ = raw.head().await;
            }
            drop(raw);
            // What comes at the very moment in which the next request goes out is its answer to any reader.
            wait_for(|| written.load(Ordering::SeqCst) > before).await;
            for next in 0..3 {
                let path = format!("/next/{round}/{next}");
                let (head, body) = rig.ask(&format!("GET {path}"), &[&bob]).await.answer().await;
                assert!(
                    (head.status == 200 && body == path) || head.status == 502,
                    "{name}: {} {body} for {path}",
                    head.status
                );
                assert!(!body.contains("POISON"), "{name}");
            }
        }
        wait_for(|| rig.metric("portcullis_exchanges").abs() < f64::EPSILON).await;
    }
}
