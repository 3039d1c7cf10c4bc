//! Large bodies, both ways, over every protocol: nothing is kept whole, nothing is lost.

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use portcullis_rig::wire::RequestBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{h2_send, h2c, h2s, piece, request};
use crate::rig::Rig;

const LARGE: usize = 100 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

fn large() -> RequestBody {
    const DATA: Bytes = Bytes::from_static(&[b'x'; PIECE]);
    let pieces = std::iter::repeat_with(|| Ok(Frame::data(DATA))).take(LARGE / PIECE);
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_come_down() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let path = format!("/bytes/{LARGE}");
    let mut raw = rig.ask(&format!("GET {path}"), &[&format!("Cookie: {cookie}"), "Connection: close"]).await;
    let head = raw.head().await;
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    let (mut total, mut buffer) = (raw.unread().len(), vec![0; 256 * 1024]);
    loop {
        match raw.socket.read(&mut buffer).await.unwrap() {
            0 => break,
            length => total += length,
        }
    }
    assert!(total > LARGE, "{total}");

    for mut sender in [h2c(&rig).await, h2s(&rig).await] {
        let mut body =
            h2_send(&mut sender, request("GET", &path, &[("cookie", &cookie)], crate::client::empty()))
                .await
                .into_body();
        let mut total = 0;
        while let Some(found) = piece(&mut body).await {
            total += found.unwrap().len();
        }
        assert_eq!(total, LARGE);
    }
    for line in rig.lines(&path, 3).await {
        assert_eq!((&line["out"], &line["ended"]), (&LARGE.into(), &"done".into()));
    }
}

/// Legal, and odd: a GET with a body that says no length. Its coding is not lost on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_get_goes_up_too() {
    let rig = Rig::new().await;
    let field = format!("Cookie: {}", rig.alice());
    for method in ["GET", "DELETE"] {
        let line = format!("{method} /count");
        let mut raw = rig.ask(&line, &[&field, "Transfer-Encoding: chunked"]).await;
        raw.send(b"3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(raw.answer().await.1, "3", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_up() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let field = format!("Cookie: {cookie}");
    let data = vec![b'x'; PIECE];
    let mut raw = rig.ask("POST /count/length", &[&field, &format!("Content-Length: {LARGE}")]).await;
    for _ in 0..LARGE / PIECE {
        raw.socket.write_all(&data).await.unwrap();
    }
    assert_eq!(raw.answer().await.1, LARGE.to_string());

    let mut raw = rig.ask("POST /count/chunked", &[&field, "Transfer-Encoding: chunked"]).await;
    let mut chunk = format!("{PIECE:x}\r\n").into_bytes();
    chunk.extend(&data);
    chunk.extend(b"\r\n");
    for _ in 0..LARGE / PIECE {
        raw.socket.write_all(&chunk).await.unwrap();
    }
    raw.send(b"0\r\n\r\n").await;
    assert_eq!(raw.answer().await.1, LARGE.to_string());

    let mut sender = h2c(&rig).await;
    let answer = h2_send(&mut sender, request("POST", "/count/h2", &[("cookie", &cookie)], large())).await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), LARGE.to_string());
    for path in ["/count/length", "/count/chunked", "/count/h2"] {
        assert_eq!(rig.lines(path, 1).await[0]["in"], LARGE, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_before_it_sends_is_answered_by_the_application() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("POST /count", &[&cookie, "Expect: 100-continue", "Content-Length: 5"]).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send(b"hello").await;
    assert_eq!(raw.answer().await.1, "5");
    // Nobody is told to send before it is known who asks.
    let (head, _) =
        rig.ask("POST /count", &["Expect: 100-continue", "Content-Length: 5"]).await.answer().await;
    assert_eq!(head.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.connect().await;
    for _ in 0..3 {
        raw.say("GET /headers", &[&cookie]).await;
        assert_eq!(raw.answer().await.0.status, 200);
        raw.say("GET /headers", &[]).await;
        assert_eq!(raw.answer().await.0.status, 401);
        raw.say("POST /x", &["Content-Length: 3"]).await;
        raw.send(b"abc").await;
        assert_eq!(raw.answer().await.0.status, 401);
    }
}
