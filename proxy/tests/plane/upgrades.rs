//! Upgrades: the handshake, and both directions to the last byte. The application is a bare socket here, so that it
//! can answer as no library would.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use portcullis_rig::wire::tcp;
use portcullis_rig::{raw::RawSocket, wait_for_stall};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::rig::{HOST, Rig, Wish, application, nobody, wait_for};
use crate::streams::{KEY, UPGRADE};

const PATIENCE: Duration = Duration::from_secs(20);
const FRAME: &[u8] = b"\x81\x05hello";

/// A connection to the application, and the head that came on it.
struct Call {
    number: usize,
    socket: TcpStream,
    head: String,
}

impl Call {
    /// A 101 that belongs to the key of [`UPGRADE`], with more fields and more bytes behind it.
    async fn switch(&mut self, fields: &str, more: &[u8]) {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\
             sec-websocket-accept: {}\r\n{fields}\r\n",
            derive_accept_key(KEY.as_bytes())
        );
        self.socket.write_all(&[head.as_bytes(), more].concat()).await.unwrap();
    }

    async fn echo(mut self) {
        let mut buffer = vec![0; 3000];
        while let Ok(length @ 1..) = self.socket.read(&mut buffer).await {
            if self.socket.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }
}

/// An application that does this with each connection, once its head was read.
async fn answering<F, G>(serve: F) -> SocketAddr
where
    F: Fn(Call) -> G + Send + Sync + 'static,
    G: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    application(move |number, mut socket| {
        let serve = serve.clone();
        async move {
            socket.set_nodelay(true).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = socket.read_u8().await else { return };
                head.push(byte);
            }
            serve(Call { number, socket, head: String::from_utf8(head).unwrap() }).await;
        }
    })
    .await
}

async fn rig(upstream: SocketAddr) -> Rig {
    Rig::with(Wish { upstream: Some(upstream), ..Wish::default() }).await
}

/// Asks for a WebSocket as alice.
async fn ask(rig: &Rig, cookie: &str, fields: &[&str]) -> RawSocket {
    let cookie = format!("Cookie: {cookie}");
    rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE, fields].concat()).await
}

/// A WebSocket of alice's whose client takes little: its receive buffer is small.
async fn narrow(rig: &Rig) -> TcpStream {
    let mut socket = tcp(rig.address, Some(16 * 1024)).await.unwrap();
    let head = format!("GET /socket HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n", rig.alice());
    socket.write_all(format!("{head}{}\r\n\r\n", UPGRADE.join("\r\n")).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    socket
}

/// 400 upgrades, eight at a time; each must give its frame, and give back what it is sent.
async fn none_is_lost(upstream: SocketAddr) {
    let rig = Arc::new(rig(upstream).await);
    let cookie = rig.alice();
    let each = stream::iter(0..400).map(|number| {
        let (rig, cookie) = (rig.clone(), cookie.clone());
        tokio::spawn(async move {
            let mut raw = ask(&rig, &cookie, &[]).await;
            assert_eq!(raw.head().await.status, 101, "{number}");
            raw.until("\u{1}").await; // the key of the frame is not text: what follows it is
            raw.until("hello").await;
            raw.send(b"ping").await;
            raw.until("ping").await;
        })
    });
    each.buffer_unordered(8).for_each(|ended| async move { ended.unwrap() }).await;
    assert_eq!(rig.lines("/socket", 400).await.iter().filter(|line| line["ended"] == "done").count(), 400);
    wait_for(|| rig.metric("portcullis_exchanges").abs() < f64::EPSILON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_a_frame_in_one_write_are_never_lost() {
    none_is_lost(
        answering(|mut call| async {
            call.switch("", b"\x01hello").await;
            call.echo().await;
        })
        .await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_soon_after_the_upgrade_is_never_lost() {
    none_is_lost(
        answering(|mut call| async {
            call.switch("", b"").await;
            // From at once to 400 µs: no timer is that fine.
            let later = Instant::now() + Duration::from_micros(call.number as u64 % 41 * 10);
            while Instant::now() < later {
                tokio::task::yield_now().await;
            }
            call.socket.write_all(b"\x01hello").await.unwrap();
            call.echo().await;
        })
        .await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_both_ways_in_order() {
    const TOTAL: usize = 10_000_000;
    let rig = rig(answering(|mut call| async {
        call.switch("", b"").await;
        call.echo().await;
    })
    .await)
    .await;
    let sent: Vec<u8> = (0..TOTAL).map(|at| (at / 251 + at) as u8).collect();
    let (mut from, mut to) = narrow(&rig).await.into_split();
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            to.write_all(&sent).await.unwrap();
            to
        }
    });
    // It takes little at a time: each of the four sockets has to wait for the next one.
    let mut got = vec![0; TOTAL];
    tokio::time::timeout(PATIENCE * 3, from.read_exact(&mut got)).await.unwrap().unwrap();
    assert!(got == sent, "the bytes came in another order");
    drop((sending.await.unwrap(), from));
    let line = &rig.lines("/socket", 1).await[0];
    assert_eq!((&line["in"], &line["out"], &line["ended"]), (&TOTAL.into(), &TOTAL.into(), &"done".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_websocket_waits_for_its_client_and_its_cut_leaves_little() {
    let given = Arc::new(AtomicUsize::new(0));
    let counted = given.clone();
    let rig = rig(answering(move |mut call| {
        let given = counted.clone();
        async move {
            call.switch("", b"").await;
            let piece = vec![b'x'; 64 * 1024];
            while let Ok(length) = call.socket.write(&piece).await {
                given.fetch_add(length, Ordering::SeqCst);
            }
            given.store(usize::MAX, Ordering::SeqCst);
        }
    })
    .await)
    .await;
    let mut socket = narrow(&rig).await;
    socket.read_exact(&mut [0; 1000]).await.unwrap();
    wait_for_stall(|| given.load(Ordering::SeqCst) as u64).await;
    let last = given.load(Ordering::SeqCst);
    // What the kernel holds between the application and us is not ours to bound; it is far from all it would send.
    assert!(last < 32 * 1024 * 1024, "{last} bytes are held");

    rig.take_out(1).await;

    let (mut left, mut buffer) = (0, vec![0; 64 * 1024]);
    let end = loop {
        match tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap() {
            Ok(0) => break None,
            Err(error) => break Some(error.kind()),
            Ok(length) => left += length,
        }
    };
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset));
    assert!(left <= 256 * 1024, "{left} bytes after the cut");
    wait_for(|| given.load(Ordering::SeqCst) == usize::MAX).await;
    let line = &rig.lines("/socket", 1).await[0];
    assert_eq!((&line["ended"], &line["reason"]), (&"cut".into(), &"revoked".into()));
    assert!(line["out"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_refuses_is_passed_on() {
    for (answer, body) in [
        ("HTTP/1.1 403 Forbidden\r\nkeep-alive: timeout=5\r\ncontent-length: 6\r\n\r\nnot so", "not so"),
        (
            "HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnot\r\n3\r\n so\r\n0\r\n\r\n",
            "3\r\nnot\r\n3\r\n so\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\nconnection: close\r\n\r\nnot so",
            "6\r\nnot so\r\n0\r\n\r\n", // an end that can be told from a break
        ),
    ] {
        let rig = rig(answering(move |mut call| async move {
            call.socket.write_all(answer.as_bytes()).await.unwrap();
            if !answer.contains("close") {
                call.echo().await; // it would keep its connection
            }
        })
        .await)
        .await;
        let mut raw = ask(&rig, &rig.alice(), &[]).await;
        let head = raw.head().await;
        assert_eq!(
            (head.status, head.field("connection"), head.field("keep-alive")),
            (403, Some("close"), None)
        );
        assert_eq!(head.field("cache-control"), Some("private, no-cache"));
        assert_eq!(String::from_utf8(raw.rest().await.unwrap()).unwrap(), body);
        let line = &rig.lines("/socket", 1).await[0];
        assert_eq!((&line["status"], &line["ended"], &line["out"]), (&403.into(), &"done".into(), &6.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_breaks_off_has_no_end() {
    let rig = rig(answering(|mut call| async move {
        let part = b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nnot\r\n3";
        call.socket.write_all(part).await.unwrap();
    })
    .await)
    .await;
    let mut raw = ask(&rig, &rig.alice(), &[]).await;
    assert_eq!(raw.head().await.status, 403);
    assert!(!raw.rest().await.unwrap_or_default().ends_with(b"0\r\n\r\n"));
    assert_eq!(rig.lines("/socket", 1).await[0]["ended"], "upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_was_not_asked_for_is_no_answer() {
    let right = derive_accept_key(KEY.as_bytes());
    for (fields, status) in [
        (format!("upgrade: websocket\r\nsec-websocket-accept: {right}"), 101),
        ("upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), 502),
        ("upgrade: websocket".to_owned(), 502),
        (
            format!("upgrade: websocket\r\nsec-websocket-accept: {right}\r\nsec-websocket-accept: {right}"),
            502,
        ),
        (format!("upgrade: h2c\r\nsec-websocket-accept: {right}"), 502),
        (format!("sec-websocket-accept: {right}"), 502),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{fields}\r\n\r\n");
        let rig = rig(answering(move |mut call| {
            let answer = answer.clone();
            async move {
                call.socket.write_all(answer.as_bytes()).await.unwrap();
                call.echo().await;
            }
        })
        .await)
        .await;
        let mut raw = ask(&rig, &rig.alice(), &[]).await;
        assert_eq!(raw.head().await.status, status, "{fields}");
        if status == 502 {
            raw.rest().await.unwrap();
            let line = &rig.lines("/socket", 1).await[0];
            assert_eq!((&line["status"], &line["reason"]), (&502.into(), &"unreachable".into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_silent_or_away_is_answered_for() {
    let silent = answering(|call| call.echo()).await;
    let wish = Wish { upstream: Some(silent), first_byte: Duration::from_millis(300), ..Wish::default() };
    let slow = Rig::with(wish).await;
    let mut raw = ask(&slow, &slow.alice(), &[]).await;
    assert_eq!(raw.head().await.status, 504);
    let away = rig(nobody().await).await;
    assert_eq!(ask(&away, &away.alice(), &[]).await.head().await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_end_ends_both() {
    let (told, mut telling) = mpsc::unbounded_channel();
    let rig = rig(answering(move |mut call| {
        let told = told.clone();
        async move {
            call.switch("", FRAME).await;
            if call.number == 0 {
                call.socket.write_all(b"the last words").await.unwrap();
                return;
            }
            let mut read = Vec::new();
            call.socket.read_to_end(&mut read).await.unwrap();
            let _ = told.send(read);
        }
    })
    .await)
    .await;
    let cookie = rig.alice();
    let mut raw = ask(&rig, &cookie, &[]).await;
    raw.head().await;
    assert_eq!(raw.rest().await.unwrap(), [FRAME, b"the last words"].concat());

    let mut raw = ask(&rig, &cookie, &[]).await;
    raw.head().await;
    raw.send(b"bye").await;
    raw.socket.shutdown().await.unwrap();
    let read = tokio::time::timeout(PATIENCE, telling.recv()).await.unwrap().unwrap();
    assert_eq!(read, b"bye");
    assert_eq!(raw.rest().await.unwrap(), FRAME);
    let lines = rig.lines("/socket", 2).await;
    assert!(lines.iter().all(|line| line["ended"] == "done"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_not_waited_for() {
    let (told, mut telling) = mpsc::unbounded_channel();
    let rig = rig(answering(move |mut call| {
        let told = told.clone();
        async move {
            let _ = told.send("asked");
            let mut read = Vec::new();
            let _ = call.socket.read_to_end(&mut read).await;
            let _ = told.send("left");
        }
    })
    .await)
    .await;
    let raw = ask(&rig, &rig.alice(), &[]).await;
    assert_eq!(telling.recv().await, Some("asked"));
    drop(raw);
    assert_eq!(tokio::time::timeout(PATIENCE, telling.recv()).await.unwrap(), Some("left"));
    let line = &rig.lines("/socket", 1).await[0];
    assert_eq!((&line["ended"], &line["status"]), (&"client".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_early_is_not_lost() {
    let (told, mut telling) = mpsc::unbounded_channel();
    let (go, going) = tokio::sync::watch::channel(false);
    let rig = rig(answering(move |mut call| {
        let (told, mut going) = (told.clone(), going.clone());
        async move {
            let _ = told.send(Vec::new());
            going.wait_for(|go| *go).await.unwrap();
            call.switch("", b"").await;
            let mut read = vec![0; 15];
            call.socket.read_exact(&mut read).await.unwrap();
            let _ = told.send(read);
        }
    })
    .await)
    .await;
    let mut raw = rig.connect().await;
    let head = format!("GET /socket HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n", rig.alice());
    raw.send(format!("{head}{}\r\n\r\nfirst", UPGRADE.join("\r\n")).as_bytes()).await;
    telling.recv().await.unwrap();
    raw.send(b"next").await;
    go.send(true).unwrap();
    raw.head().await;
    raw.send(b"wards!").await;
    assert_eq!(tokio::time::timeout(PATIENCE, telling.recv()).await.unwrap().unwrap(), b"firstnextwards!");
    assert_eq!(rig.lines("/socket", 1).await[0]["in"], 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_our_hop_and_nothing_of_the_clients() {
    let (told, mut telling) = mpsc::unbounded_channel();
    let rig = rig(answering(move |mut call| {
        let told = told.clone();
        async move {
            let _ = told.send(call.head.clone());
            call.switch("content-length: 3\r\nkeep-alive: timeout=5\r\nset-cookie: a=b\r\n", b"").await;
            call.echo().await;
        }
    })
    .await)
    .await;
    let cookie = format!("Cookie: {}; theirs=1", rig.alice());
    let fields = [
        cookie.as_str(),
        "Connection: keep-alive, Upgrade, X-Hop",
        "Upgrade: WebSocket",
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: chat",
        "X-Forwarded-User: mallory",
        "X-Hop: 1",
        "TE: trailers",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ];
    let mut raw = rig.ask("GET /socket//%7e?a=%2F&b", &fields).await;
    let head = raw.head().await;
    assert_eq!(
        (head.status, head.field("connection"), head.field("upgrade")),
        (101, Some("Upgrade"), Some("websocket"))
    );
    assert_eq!((head.field("content-length"), head.field("keep-alive")), (None, None));
    assert_eq!(head.field("set-cookie"), Some("a=b"));
    let seen = telling.recv().await.unwrap();
    let (line, seen) = seen.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /socket//%7e?a=%2F&b HTTP/1.1");
    let mut seen: Vec<String> = seen.trim_end().split("\r\n").map(str::to_owned).collect();
    let mut all = |name: &str| {
        let (found, left) =
            seen.drain(..).partition(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        seen = left;
        found
    };
    let is =
        |found: Vec<String>, value: &str| assert!(found.len() == 1 && found[0].ends_with(value), "{found:?}");
    is(all("connection"), ": Upgrade");
    is(all("upgrade"), ": websocket");
    is(all("x-forwarded-user"), ": alice");
    is(all("sec-websocket-protocol"), ": chat");
    is(all("cookie"), ": theirs=1");
    assert_eq!(
        all("x-hop").len() + all("te").len() + all("http2-settings").len() + all("keep-alive").len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_body_or_a_false_connection_field_goes_nowhere() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    for field in [
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Connection: Upgrade, Host",
        "Connection: Upgrade, X-Forwarded-For",
        "Connection: Upgrade, X-Forwarded-User",
        "Connection: Upgrade, Sec-WebSocket-Key",
        "Connection: Upgrade, \"x\"",
        "Connection: a,b,c,d,e,f,g,h,i,j",
    ] {
        let mut raw = ask(&rig, &cookie, &[field]).await;
        assert_eq!(raw.head().await.status, 400, "{field}");
    }
    assert!(rig.upstream.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_websocket_lives_on() {
    let address = answering(|mut call| async {
        call.switch("", b"").await;
        tokio::time::sleep(Duration::from_millis(1500)).await; // three times the limit
        call.socket.write_all(b"still here").await.unwrap();
        call.echo().await;
    })
    .await;
    let limits = portcullis_proxy::Limits { idle: Duration::from_millis(500), ..Default::default() };
    let rig = Rig::with(Wish { upstream: Some(address), limits, ..Wish::default() }).await;
    let mut raw = ask(&rig, &rig.alice(), &[]).await;
    raw.until("still here").await;
}
