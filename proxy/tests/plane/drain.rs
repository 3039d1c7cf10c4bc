//! The end of a run: what is in flight may end, what comes is turned away.

use std::time::Duration;

use portcullis_proxy::Parting;
use tokio::net::TcpStream;

use crate::client::{empty, h2_send, h2c, piece, request};
use crate::rig::{Rig, Wish};
use crate::streams::UPGRADE;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_ends_at_once_and_its_port_is_free() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_secs(60)).await;
    let mut idle = rig.ask("GET /", &[]).await;
    assert_eq!(idle.answer().await.0.status, 401);
    assert_eq!(rig.stop().await.left, 0);
    assert_eq!(idle.rest().await.unwrap_or_default(), b"", "a connection that rests is closed");
    assert!(TcpStream::connect(rig.address).await.is_err());
    std::net::TcpListener::bind(rig.address).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_served_to_its_end() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_secs(60)).await;
    let cookie = rig.alice();
    let mut raw = rig.ask("GET /pause", &[&format!("Cookie: {cookie}")]).await;
    raw.until("first").await;
    let mut sender = h2c(&rig).await;
    let mut body =
        h2_send(&mut sender, request("GET", "/pause", &[("cookie", &cookie)], empty())).await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "first\n");
    let stopping = async { rig.stop().await };
    let serving = async {
        raw.until("second").await;
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), "second\n");
        assert!(piece(&mut body).await.is_none(), "a whole answer");
    };
    let (drained, ()) = tokio::join!(stopping, serving);
    assert_eq!(drained.left, 0);
    for line in rig.lines("/pause", 2).await {
        assert_eq!(line["ended"], "done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_streams_alone_hold_no_end_up() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_secs(600)).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut socket = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    socket.until("ready\n").await;
    let drained = rig.stop().await; // ten minutes are allowed, and the socket would stay for ever
    assert_eq!((drained.silent, drained.left), (1, 0));
    let _ = socket.rest().await;
    assert_eq!(rig.lines("/socket", 1).await[0]["ended"], "stopped");
    assert_eq!(rig.sessions.figures().exchanges, 0, "nothing is left in the register");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_broken_off_and_written_down() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_millis(300)).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    raw.until("ready\n").await;
    assert_eq!(rig.stop().await.left, 1);
    let _ = raw.rest().await;
    assert_eq!(rig.lines("/socket", 1).await[0]["ended"], "stopped");
    assert_eq!(rig.sessions.figures().exchanges, 0, "nothing is left in the register");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_yields_serves_what_is_here_once_more_and_takes_nobody() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_millis(300)).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut idle = rig.ask("GET /", &[&cookie]).await;
    assert_eq!(idle.answer().await.0.field("connection"), None);
    let mut begun = rig.connect().await; // not a byte of it has come
    let mut busy = rig.ask("GET /pause", &[&cookie]).await;
    busy.until("first").await;
    let mut sender = h2c(&rig).await;
    let mut socket = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    socket.until("ready\n").await;

    rig.parting.send_replace(Parting::Yield(Duration::from_secs(600)));
    // Its sockets are closed once the threads have heard of it.
    while TcpStream::connect(rig.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    busy.until("second").await;
    for kept in [&mut begun, &mut idle] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        kept.say("GET /", &[&cookie]).await;
        let (head, _) = kept.answer().await;
        assert_eq!((head.status, head.field("connection")), (200, Some("close")));
        assert_eq!(kept.rest().await.unwrap_or_default(), b"");
    }
    drop(busy);
    // Over HTTP/2 a client is told by GOAWAY.
    assert!(sender.begin(request("GET", "/", &[], empty())).await.is_err());
    drop(sender);
    // The stream goes on, however silent it is.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!rig.running.as_ref().unwrap().is_finished());
    socket.send(b"still here\n").await;
    socket.until("still here\n").await;
    drop(socket);
    let drained = rig.ended().await;
    assert_eq!((drained.silent, drained.left), (0, 0), "it ends with the last of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_yielded_may_still_be_told_to_leave() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_secs(600)).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut socket = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    socket.until("ready\n").await;
    rig.parting.send_replace(Parting::Yield(Duration::from_secs(600)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let drained = rig.stop().await;
    assert_eq!((drained.silent, drained.left), (1, 0), "a silent stream holds it up no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yield_has_an_end() {
    let mut rig = Rig::draining(Wish::default(), Duration::from_secs(600)).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut socket = rig.ask("GET /socket", &[&[cookie.as_str()][..], &UPGRADE].concat()).await;
    socket.until("ready\n").await;
    rig.parting.send_replace(Parting::Yield(Duration::from_millis(300)));
    let drained = rig.ended().await;
    assert_eq!((drained.silent, drained.left), (0, 1));
}
