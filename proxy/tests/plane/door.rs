//! The door: who is let in while descriptors last, and how little a handshake that fails costs.

use std::time::Duration;

use portcullis_proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{empty, h2_send, h2c, piece, request};
use crate::rig::{Rig, Wish, wait_for};

const TAKEN: &str = "portcullis_sockets";
const TURNED_AWAY: &str = "portcullis_sockets_turned_away_total";
const HANDSHAKES: &str = "portcullis_tls_handshakes_failed_total";

fn is(rig: &Rig, name: &str, value: u32) -> bool {
    (rig.metric(name) - f64::from(value)).abs() < f64::EPSILON
}

/// A rig whose data plane has so many descriptors for clients and applications.
async fn with_room_for(share: usize) -> Rig {
    // The idle connections to the application have one for each of the two threads.
    let limits = Limits { sockets: Some(share + 2), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    assert!(is(&rig, "portcullis_sockets_limit", u32::try_from(share).unwrap()));
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_close_the_door_and_whoever_leaves_opens_it() {
    let rig = with_room_for(12).await;
    let mut held = Vec::new();
    for address in [rig.address, rig.secure, rig.address, rig.secure, rig.secure] {
        held.push(TcpStream::connect(address).await.unwrap()); // a handshake that never begins counts too
    }
    wait_for(|| is(&rig, TAKEN, 10)).await;
    let mut inside = rig.ask("GET /headers", &[&format!("Cookie: {}", rig.alice())]).await;
    assert_eq!(inside.answer().await.0.status, 200);
    for (count, address) in [(1, rig.address), (2, rig.secure)] {
        let mut outside = TcpStream::connect(address).await.unwrap();
        let read =
            tokio::time::timeout(Duration::from_secs(20), outside.read_u8()).await.expect("closed at once");
        assert!(read.is_err());
        wait_for(|| is(&rig, TURNED_AWAY, count)).await;
    }
    inside.say("GET /headers", &[&format!("Cookie: {}", rig.bob())]).await;
    assert_eq!(inside.answer().await.0.status, 200, "whoever was let in is served");
    held.clear();
    wait_for(|| is(&rig, TAKEN, 2)).await;
    assert_eq!(rig.ask("GET /x", &[]).await.answer().await.0.status, 401);
    drop(inside);
    wait_for(|| is(&rig, TAKEN, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_that_share_a_socket_count_each() {
    let rig = with_room_for(5).await;
    let cookie = rig.alice();
    let mut sender = h2c(&rig).await;
    let mut bodies = Vec::new();
    let events = || request("GET", "/events", &[("cookie", &cookie)], empty());
    for _ in 0..3 {
        bodies.push(h2_send(&mut sender, events()).await.into_body());
    }
    assert!(sender.begin(events()).await.is_err(), "there is no descriptor for its application's socket");
    assert!(is(&rig, TURNED_AWAY, 1));
    rig.upstream.mark("marked").await;
    for body in &mut bodies {
        assert_eq!(piece(body).await.unwrap().unwrap(), "hello\n", "its siblings live on");
    }
    bodies.pop();
    wait_for(|| is(&rig, TAKEN, 4)).await;
    assert_eq!(h2_send(&mut sender, events()).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_or_never_ends_is_counted() {
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let mut plain = TcpStream::connect(rig.secure).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n").await.unwrap();
    wait_for(|| is(&rig, HANDSHAKES, 1)).await;
    let mut silent = TcpStream::connect(rig.secure).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or_default(), 0);
    wait_for(|| is(&rig, HANDSHAKES, 2)).await;
}
