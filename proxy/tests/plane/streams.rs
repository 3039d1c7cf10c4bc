//! WebSockets, event streams and what else does not end by itself: they pass, piece by piece.

use std::time::Duration;

use crate::client::{empty, h2_send, h2c, piece, request};
use crate::rig::{HOST, Rig, Wish, wait_for};
use bytes::Bytes;
use portcullis_proxy::Limits;
use portcullis_rig::tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const KEY: &str = "x3JJHMbDL1EzLkh9GBhXDw==";
pub(crate) const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
    "Sec-WebSocket-Version: 13",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_both_ways() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.field("upgrade")), (101, Some("websocket")));
    raw.until("ready\n").await;
    for text in ["one", "two"] {
        raw.send(text.as_bytes()).await;
        raw.until(text).await;
    }
    rig.upstream.mark("three").await;
    raw.until("three").await;
    drop(raw);
    let line = &rig.lines("/socket", 1).await[0];
    assert_eq!((&line["status"], &line["in"], &line["decision"]), (&101.into(), &6.into(), &"allow".into()));
    wait_for(|| rig.upstream.open() == 0).await;
}

/// Pingora itself ends a WebSocket whose 101 arrives before it has taken note of the end of the request.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_switch_at_once() {
    let rig = std::sync::Arc::new(Rig::new().await);
    let cookie = format!("Cookie: {}", rig.alice());
    let tasks = (0..32).map(|_| {
        let (rig, cookie) = (rig.clone(), cookie.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                let mut raw = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
                raw.until("ready\n").await;
                raw.send(b"ping").await;
                raw.until("ping").await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_through_tls() {
    let rig = Rig::new().await;
    let socket = TcpStream::connect(rig.secure).await.unwrap();
    let mut socket = tls::connect(socket, "wiki.localhost", &[b"http/1.1"]).await.unwrap();
    assert_eq!(tls::chosen_protocol(&socket), Some(&b"http/1.1"[..]));
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n{}\r\n\r\n",
        rig.alice(),
        UPGRADE.join("\r\n")
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"marked") {
        assert!(socket.read_buf(&mut read).await.unwrap() > 0);
        rig.upstream.mark("marked").await;
    }
    assert!(read.starts_with(b"HTTP/1.1 101"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_are_not_switched_to() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    for fields in [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
        ["Connection: Upgrade", "Upgrade: websocket, h2c"],
    ] {
        let fields = [&[cookie.as_str(), "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"][..], &fields].concat();
        let (head, body) = rig.ask("GET /headers", &fields).await.answer().await;
        assert_eq!(head.status, 200);
        assert!(!body.contains("upgrade") && !body.contains("http2-settings"), "{body}");
    }
    // An application that switches all the same is no application we understand.
    let (head, _) = rig.ask("GET /socket", &[&cookie]).await.answer().await;
    assert_eq!(head.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_passed_on_one_by_one() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let field = format!("Cookie: {cookie}");
    let mut raw = rig.ask("GET /events", &[&field]).await;
    assert_eq!(raw.head().await.field("content-type"), Some("text/event-stream"));
    let mut sender = h2c(&rig).await;
    let mut body =
        h2_send(&mut sender, request("GET", "/events", &[("cookie", &cookie)], empty())).await.into_body();
    raw.until("hello").await;
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "hello\n");
    // Each is seen before the next is written: nothing is held back.
    for event in ["first", "second", "third"] {
        rig.upstream.mark(event).await;
        raw.until(event).await;
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), event);
    }
    assert_eq!(rig.upstream.open(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_the_stream_behind_it() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut raw = rig.ask("GET /events", &[&format!("Cookie: {cookie}")]).await;
    raw.until("hello").await;
    drop(raw);
    wait_for(|| rig.upstream.open() == 0).await;
    let line = &rig.lines("/events", 1).await[0];
    assert_eq!((&line["ended"], &line["status"]), (&"client".into(), &200.into()));
    assert!((rig.metric("portcullis_exchanges")).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_outlive_the_limit_for_the_first_byte() {
    let rig = Rig::with(Wish { first_byte: Duration::from_millis(300), ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut socket = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    let mut stream = rig.ask("GET /stream", &[&cookie]).await;
    stream.until("hello").await;
    socket.head().await;
    // This one pauses for five times the limit in the middle of its body.
    let mut pause = rig.ask("GET /pause", &[&cookie]).await;
    pause.until("second").await;
    rig.upstream.mark("marked").await;
    socket.until("marked").await;
    stream.until("marked").await;
}

/// HTTP/2 without what hyper makes of it: a reset is told from an end.
async fn bare_h2(rig: &Rig) -> h2::client::SendRequest<Bytes> {
    bare_h2_that_takes(rig, 65_535).await
}

/// One whose streams take so many bytes, and no more.
async fn bare_h2_that_takes(rig: &Rig, window: u32) -> h2::client::SendRequest<Bytes> {
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, mut connection) =
        h2::client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(socket).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    // Behind the answer to a ping stand the settings: the client knows that it may.
    pings.ping(h2::Ping::opaque()).await.unwrap();
    sender = sender.ready().await.unwrap();
    assert!(sender.is_extended_connect_protocol_enabled());
    sender
}

/// A WebSocket over HTTP/2 (RFC 8441), or the status it is refused with.
async fn bridged(
    sender: &h2::client::SendRequest<Bytes>,
    protocol: &'static str,
    fields: &[(&str, &str)],
) -> Result<(h2::SendStream<Bytes>, h2::RecvStream), u16> {
    let mut asked = request("CONNECT", "/socket", &[fields, &[("sec-websocket-version", "13")]].concat(), ());
    asked.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, up) = sender.send_request(asked, false).unwrap();
    let answer = answer.await.unwrap();
    match answer.status().as_u16() {
        200 => Ok((up, answer.into_body())),
        status => Err(status),
    }
}

/// Reads up to a text. `Err` with the reason where the stream is reset before.
async fn read_until(down: &mut h2::RecvStream, text: &str) -> Result<(), Option<h2::Reason>> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let piece = tokio::time::timeout(Duration::from_secs(20), down.data()).await.unwrap();
        match piece {
            Some(Ok(piece)) => read.extend_from_slice(&piece),
            Some(Err(error)) => return Err(error.reason()),
            None => return Err(None),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_over_http2_passes_both_ways_and_is_cut_alone() {
    let rig = Rig::new().await;
    let (alice, bob) = (rig.alice(), rig.bob());
    let sender = bare_h2(&rig).await;
    let (mut up, mut cut) = bridged(&sender, "websocket", &[("cookie", &alice)]).await.unwrap();
    let (_stays_up, mut stays) = bridged(&sender, "websocket", &[("cookie", &bob)]).await.unwrap();
    read_until(&mut cut, "ready\n").await.unwrap();
    read_until(&mut stays, "ready\n").await.unwrap();
    up.send_data(Bytes::from_static(b"one"), false).unwrap();
    read_until(&mut cut, "one").await.unwrap();

    rig.take_out(1).await;
    rig.upstream.mark("marked").await;

    read_until(&mut stays, "marked").await.unwrap();
    assert_eq!(read_until(&mut cut, "marked").await, Err(Some(h2::Reason::CANCEL)), "reset, not ended");
    let line = &rig.lines("/socket", 1).await[0];
    assert_eq!((&line["ended"], &line["reason"]), (&"cut".into(), &"revoked".into()));
    assert_eq!((&line["status"], &line["in"]), (&200.into(), &3.into()));
    wait_for(|| rig.upstream.open() == 1).await;
    drop((_stays_up, stays));
    wait_for(|| rig.upstream.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_over_http2_is_refused_as_one() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let sender = bare_h2(&rig).await;
    let cookie = ("cookie", alice.as_str());
    let own = format!("http://{HOST}");
    assert_eq!(bridged(&sender, "websocket", &[]).await.err(), Some(401));
    assert_eq!(
        bridged(&sender, "websocket", &[cookie, ("origin", "http://evil.test")]).await.err(),
        Some(403)
    );
    assert!(bridged(&sender, "websocket", &[cookie, ("origin", &own)]).await.is_ok());
    assert_eq!(
        bridged(&sender, "connect-udp", &[cookie]).await.err(),
        Some(405),
        "no other protocol is ours"
    );
    assert_eq!(rig.upstream.asked(), ["/socket"]);
}

/// What a client leaves in our hands by taking nothing is ended by us: a page of ours, and the end of a WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_takes_nothing_is_let_go() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let (alice, bob) = (rig.alice(), rig.bob());

    let mut sender = bare_h2_that_takes(&rig, 0).await;
    let (answer, _) = sender.send_request(request("GET", "/", &[], ()), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(read_until(&mut answer.into_body(), "never").await.is_err());

    let sender = bare_h2_that_takes(&rig, 0).await;
    // Somebody else is on the connection, which stays for them: the stream alone is reset.
    let _bob = bridged(&sender, "websocket", &[("cookie", &bob)]).await.unwrap();
    let (_up, mut down) = bridged(&sender, "websocket", &[("cookie", &alice)]).await.unwrap();
    rig.take_out(1).await;
    assert_eq!(read_until(&mut down, "ready").await, Err(Some(h2::Reason::CANCEL)));
}
