//! Applications that speak HTTP/2 in their own ways: what their ends and refusals mean, and both directions at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use portcullis_rig::must;
use tokio::net::TcpListener;

use crate::client::{h2_send, h2c, request};
use crate::rig::{Rig, Wish};

/// What an application has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// An application of which each connection serves so many requests, by `answer`, and then says that it goes.
async fn application(
    each: usize,
    answer: impl Fn(usize, Request<RecvStream>, SendResponse<Bytes>) + Clone + Send + 'static,
) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
    let noted = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            noted.connections.fetch_add(1, Ordering::SeqCst);
            let (noted, answer) = (noted.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(socket).await else { return };
                let mut left = each;
                while let Some(Ok((request, respond))) = connection.accept().await {
                    answer(noted.requests.fetch_add(1, Ordering::SeqCst), request, respond);
                    left -= 1;
                    if left == 0 {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    });
    (address, seen)
}

async fn rig(upstream: SocketAddr) -> Rig {
    Rig::with(Wish { upstream: Some(upstream), h2c: true, ..Wish::default() }).await
}

fn text(length: usize) -> Response<()> {
    Response::builder().header("content-length", length).body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_by_itself_costs_no_connection_and_is_nobodys_fault() {
    let (address, seen) = application(usize::MAX, |_, request, mut respond| {
        tokio::spawn(async move {
            let is_head = request.method() == "HEAD";
            let mut body = respond.send_response(text(4), false).unwrap();
            if !is_head {
                body.send_data("late".into(), false).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = body.send_data(Bytes::new(), true);
        });
    })
    .await;
    let rig = rig(address).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.connect().await;
    for _ in 0..10 {
        raw.say("GET /late", &[&cookie]).await;
        assert_eq!(raw.answer().await.1, "late");
        raw.say("HEAD /late", &[&cookie]).await;
        assert_eq!(raw.head().await.status, 200);
    }
    for line in rig.lines("/late", 20).await {
        assert_eq!(line["ended"], "done", "{line}");
    }
    assert!(seen.connections.load(Ordering::SeqCst) <= 2, "{}", seen.connections.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_away_loses_nobodys_request() {
    let (address, seen) = application(3, |_, _, mut respond| {
        respond.send_response(text(2), false).unwrap().send_data("ok".into(), true).unwrap();
    })
    .await;
    let rig = rig(address).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.connect().await;
    for number in 0..100 {
        raw.say("GET /", &[&cookie]).await;
        let (head, body) = raw.answer().await;
        assert_eq!((head.status, body.as_str()), (200, "ok"), "{number}");
    }
    assert!(seen.connections.load(Ordering::SeqCst) >= 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_refused_unprocessed_is_asked_once_more() {
    let (address, seen) =
        application(usize::MAX, |number, request, mut respond| match (number % 2, request.uri().path()) {
            (0, "/once") | (_, "/always") => respond.send_reset(Reason::REFUSED_STREAM),
            _ => drop(respond.send_response(text(0), true)),
        })
        .await;
    let rig = rig(address).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.connect().await;
    raw.say("GET /once", &[&cookie]).await;
    assert_eq!(raw.answer().await.0.status, 200);
    raw.say("GET /always", &[&cookie]).await;
    assert_eq!(raw.answer().await.0.status, 502);
    assert_eq!(seen.requests.load(Ordering::SeqCst), 4, "twice each, and no more");
    raw.say("POST /always", &[&cookie, "Content-Length: 2"]).await;
    raw.send(b"ab").await;
    assert_eq!(raw.answer().await.0.status, 502);
    assert_eq!(seen.requests.load(Ordering::SeqCst), 5, "a body that is gone is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_goes_up_however_much_comes_down() {
    let (heard, mut hears) = tokio::sync::mpsc::channel(4);
    let (address, _) = application(usize::MAX, move |_, request, mut respond| {
        let (mut body, heard) = (request.into_body(), heard.clone());
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move {
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                let _ = heard.send(piece).await;
            }
        });
        tokio::spawn(async move {
            loop {
                down.reserve_capacity(16 * 1024);
                let room = std::future::poll_fn(|context| down.poll_capacity(context)).await;
                let Some(Ok(room)) = room else { return };
                if down.send_data(vec![b'd'; room].into(), false).is_err() {
                    return;
                }
            }
        });
    })
    .await;
    let rig = rig(address).await;
    let (say, said) = tokio::sync::mpsc::channel::<Bytes>(4);
    let body = futures_util::stream::unfold(said, |mut said| async move {
        let piece = said.recv().await?;
        Some((Ok(http_body::Frame::data(piece)), said))
    });
    let body = http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(body));
    let mut sender = h2c(&rig).await;
    let mut answer = h2_send(&mut sender, request("POST", "/talk", &[("cookie", &rig.alice())], body)).await;
    // It takes little, and slowly, of what comes without end.
    let taking = tokio::spawn(async move {
        while let Some(Ok(piece)) = crate::client::piece(answer.body_mut()).await {
            tokio::time::sleep(Duration::from_millis(if piece.len() > 1024 { 5 } else { 1 })).await;
        }
    });
    say.send("first".into()).await.unwrap();
    assert_eq!(must("the first piece", hears.recv()).await.unwrap(), "first");
    tokio::time::sleep(Duration::from_millis(300)).await;
    say.send("stop".into()).await.unwrap();
    assert_eq!(must("the second piece", hears.recv()).await.unwrap(), "stop");
    taking.abort();
}
