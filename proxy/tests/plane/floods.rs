//! What HTTP/2 lets a client pile up, and what ends it. Whoever floods loses their own connection; a neighbour's goes
//! on, and nothing of what was begun stays in the register.

use std::time::Duration;

use portcullis_proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{empty, h2_send, h2c, piece, request};
use crate::rig::{Rig, Wish, wait_for};
use crate::wire::{Wire, block, get};
use portcullis_rig::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY,
    REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, indexed_field, reset,
};

/// How many exchanges are in flight.
fn live(rig: &Rig) -> f64 {
    rig.metric("portcullis_exchanges")
}

/// How many connections were ended because of a flood.
fn floods(rig: &Rig) -> f64 {
    rig.metric("portcullis_http2_floods_total")
}

/// Somebody else, with a stream open on a connection of their own.
struct Neighbour {
    body: hyper::body::Incoming,
    _sender: portcullis_rig::wire::Connection,
}

impl Neighbour {
    async fn on(rig: &Rig) -> Self {
        let (cookie, mut sender) = (rig.bob(), h2c(rig).await);
        let asked = request("GET", "/events", &[("cookie", &cookie)], empty());
        let mut body = h2_send(&mut sender, asked).await.into_body();
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), "hello\n");
        Self { body, _sender: sender }
    }

    /// Their stream goes on, and it is all that is left; with its end nothing is.
    async fn remains_alone(mut self, rig: &Rig) {
        wait_for(|| (live(rig) - 1.0).abs() < f64::EPSILON).await;
        rig.upstream.mark("still here").await;
        assert_eq!(piece(&mut self.body).await.unwrap().unwrap(), "still here");
        drop(self);
        wait_for(|| live(rig).abs() < f64::EPSILON).await;
        wait_for(|| rig.upstream.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_at_once_than_are_allowed_are_refused_and_the_others_go_on() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    let told = wire.until(|frame| frame.kind == SETTINGS && frame.flags & ACK == 0).await;
    let allowed = told.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(allowed[2..], 128_u32.to_be_bytes());

    for stream in (0..128).map(|number| 2 * number + 1) {
        wire.send(&get(stream, "/events", &alice)).await.unwrap();
        wire.until(|frame| frame.kind == DATA && frame.stream == stream).await;
    }
    wire.send(&get(257, "/events", &alice)).await.unwrap();
    let refused = wire.until(|frame| frame.stream == 257).await;
    assert_eq!(refused.code(), Some(REFUSED_STREAM));
    rig.upstream.mark("marked").await;
    let mut marked = 0;
    while marked < 128 {
        wire.until(|frame| frame.kind == DATA && frame.payload == b"marked").await;
        marked += 1;
    }
    // One that ends makes room for one.
    wire.send(&reset(1)).await.unwrap();
    wire.send(&get(259, "/headers", &alice)).await.unwrap();
    wire.until(|frame| frame.stream == 259 && frame.has_status(200)).await;

    // Whoever goes on asking for too many is let go of.
    wire.send(&get(261, "/events", &alice)).await.unwrap();
    wire.until(|frame| frame.kind == DATA && frame.stream == 261).await;
    for stream in (0..200).map(|number| 2 * number + 263) {
        if wire.send(&get(stream, "/events", &alice)).await.is_err() {
            break;
        }
    }
    assert_eq!(wire.farewell().await, Some(ENHANCE_YOUR_CALM));
    let asked = rig.upstream.asked().len();
    assert_eq!(asked, 131, "nothing that was refused went up");
    let mut neighbour = neighbour;
    assert_eq!(piece(&mut neighbour.body).await.unwrap().unwrap(), "marked");
    neighbour.remains_alone(&rig).await;
}

/// CVE-2023-44487: a stream and its reset, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    let pairs: Vec<u8> = (0..200)
        .map(|number| 2 * number + 1)
        .flat_map(|stream| [get(stream, "/events", &alice), reset(stream)].concat())
        .collect();
    let _ = wire.send(&pairs).await;
    assert_eq!(wire.farewell().await, Some(ENHANCE_YOUR_CALM));
    wait_for(|| floods(&rig) > 0.5).await;
    neighbour.remains_alone(&rig).await;
}

/// The same, but no faster than each stream is taken up: it has no more than a few that wait.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_a_few_at_a_time_end_the_connection_too() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    let mut streams = (0..).map(|number| 2 * number + 1);
    let mut begun = 0;
    while begun < 20_000 {
        let pairs: Vec<u8> = streams
            .by_ref()
            .take(10)
            .flat_map(|stream| [get(stream, "/slow", &alice), reset(stream)].concat())
            .collect();
        if wire.send(&pairs).await.is_err() || wire.send(&frame(PING, 0, 0, b"are read")).await.is_err() {
            break;
        }
        begun += 10;
        let mut is_open = true;
        while is_open {
            match wire.next().await {
                Some(frame) if frame.kind == PING => break,
                Some(_) => {}
                None => is_open = false,
            }
        }
        if !is_open {
            break;
        }
    }
    assert!((800..5_000).contains(&begun), "{begun} went through");
    wait_for(|| floods(&rig) > 0.5).await;
    neighbour.remains_alone(&rig).await;
}

/// CVE-2024-27316: a head whose end never comes. No acknowledgement of our settings is needed for any limit to hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_continued_without_end_ends_the_connection() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let begun = block("GET", "/events", &[("cookie", &alice)]);
    let many: Vec<u8> = (0..800).flat_map(|number| field(&format!("x-{number}"), "some value")).collect();
    let never = [&[0, 1, b'x', 127, 0xff, 0xff, 0xff, 0x7f][..], &[b'a'; 16_000]].concat();
    for (what, first, more) in [
        ("nothing more", begun.clone(), Vec::new()),
        ("fields", begun.clone(), many),
        ("one field", [begun.clone(), never].concat(), vec![b'a'; 16_000]),
    ] {
        let mut wire = Wire::connect(&rig, &[]).await;
        wire.send(&frame(HEADERS, END_STREAM, 1, &first)).await.unwrap();
        // Not one more than this is needed: its bytes are bounded by the frames.
        for _ in 0..6 {
            if wire.send(&frame(CONTINUATION, 0, 1, &more)).await.is_err() {
                break;
            }
        }
        let code = wire.farewell().await;
        assert!(matches!(code, Some(ENHANCE_YOUR_CALM | 9)), "{what}: {code:?}");
    }
    assert_eq!(rig.upstream.asked(), ["/events"], "the neighbour's alone");
    neighbour.remains_alone(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_over_http2_that_is_too_large_is_refused() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    // 72 KiB of fields, each within every other limit.
    let fields = [block("GET", "/headers", &[("cookie", &alice)]), field("x", &"a".repeat(8_000)).repeat(9)];
    let head = fields.concat();
    let pieces: Vec<&[u8]> = head.chunks(16_000).collect();
    let (last, first) = pieces.split_last().unwrap();
    wire.send(&frame(HEADERS, END_STREAM, 1, first[0])).await.unwrap();
    for piece in &first[1..] {
        wire.send(&frame(CONTINUATION, 0, 1, piece)).await.unwrap();
    }
    wire.send(&frame(CONTINUATION, END_HEADERS, 1, last)).await.unwrap();
    let answer = wire.until(|frame| frame.stream == 1).await;
    assert!(answer.has_status(431), "{answer:x?}");
    // The connection lives on.
    wire.send(&get(3, "/headers", &alice)).await.unwrap();
    wire.until(|frame| frame.stream == 3 && frame.has_status(200)).await;

    // What is small on the wire and large once it is read (a bomb of HPACK).
    let mut wire = Wire::connect(&rig, &[]).await;
    let bomb = [indexed_field("x", &"a".repeat(3_900)), vec![0x80 | 62; 12_000]].concat();
    let head = [block("GET", "/headers", &[("cookie", &alice)]), bomb].concat();
    wire.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).await.unwrap();
    assert_eq!(wire.farewell().await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(rig.upstream.asked(), ["/events", "/headers"]);
    neighbour.remains_alone(&rig).await;
}

/// Frames that carry nothing, though their sender reads every answer and has a stream open.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_carry_nothing_end_the_connection() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let one = 1_u32.to_be_bytes();
    for (what, frame) in [
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("an answer to no PING", frame(PING, ACK, 0, b"12345678")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("SETTINGS that change the window", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("PRIORITY", frame(PRIORITY, 0, 99, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &one)),
        ("WINDOW_UPDATE of a stream", frame(WINDOW_UPDATE, 0, 1, &one)),
        ("a reset of what has ended", reset(3)),
        ("a kind that nobody knows", frame(0xfa, 0, 0, b"nothing")),
        ("the end of a stream that never was", frame(GOAWAY, 0, 0, &[0; 8])),
    ] {
        let mut wire = Wire::connect(&rig, &[]).await;
        wire.send(&get(1, "/events", &alice)).await.unwrap();
        wire.until(|frame| frame.kind == DATA && frame.stream == 1).await;
        wire.send(&[get(3, "/headers", &alice), reset(3)].concat()).await.unwrap();
        wire.is_read().await;
        let (mut down, mut up) = wire.socket.into_split();
        let reading = tokio::spawn(async move {
            let mut space = vec![0; 64 * 1024];
            while down.read(&mut space).await.unwrap_or(0) > 0 {}
        });
        let flood = frame.repeat(100);
        let mut sent = 0;
        let sending = async {
            while sent < 10_000_000 && !reading.is_finished() && up.write_all(&flood).await.is_ok() {
                sent += 100;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sending).await.expect("it is ended");
        assert!((1_000..10_000_000).contains(&sent), "{what}: {sent}");
    }
    wait_for(|| floods(&rig) > 9.5).await;
    neighbour.remains_alone(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_body_that_are_empty_end_the_connection() {
    let rig = Rig::new().await;
    let alice = rig.alice();
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    let head = frame(HEADERS, END_HEADERS, 1, &block("POST", "/count", &[("cookie", &alice)]));
    wire.send(&head).await.unwrap();
    let _ = wire.send(&frame(DATA, 0, 1, b"").repeat(200)).await;
    assert_eq!(wire.farewell().await, Some(ENHANCE_YOUR_CALM));
    wait_for(|| floods(&rig) > 0.5).await;
    neighbour.remains_alone(&rig).await;
}

/// Requests whose sender takes none of the answers: no more of them is read than the answers have room.
#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_answers_nobody_takes_are_not_read_on() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let neighbour = Neighbour::on(&rig).await;
    let mut wire = Wire::connect(&rig, &[]).await;
    let mut sent = 0;
    let sending = async {
        for stream in (0..).map(|number| 2 * number + 1) {
            if wire.send(&get(stream, "/", "")).await.is_err() {
                return;
            }
            sent += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("it is ended");
    let read = rig.metric("portcullis_requests_total{kind=\"login\"}");
    assert!(read < 100_000.0, "{read} of {sent}");
    neighbour.remains_alone(&rig).await;
}

/// A window of nothing: what waits for it is bounded, and ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_nothing_holds_up_little_and_not_for_long() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let alice = rig.alice();
    let mut wire = Wire::connect(&rig, &[(4, 0)]).await;
    for stream in [1, 3, 5] {
        wire.send(&get(stream, "/bytes/100000000", &alice)).await.unwrap();
    }
    for _ in 0..3 {
        let ended = wire.until(|frame| frame.kind == RST_STREAM).await;
        assert!(ended.stream <= 5);
    }
    assert!(rig.upstream.sent() < 30_000_000, "{}", rig.upstream.sent());
    wait_for(|| live(&rig).abs() < f64::EPSILON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_within_a_frame_is_let_go() {
    let limits =
        Limits { idle: Duration::from_secs(1), head_time: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let alice = rig.alice();
    let head = get(1, "/headers", &alice);
    let unfinished = frame(HEADERS, END_STREAM, 1, &block("GET", "/headers", &[("cookie", &alice)]));
    for begun in [&head[..4], &head[..20], &head[..head.len() - 1], &unfinished] {
        let mut wire = Wire::connect(&rig, &[]).await;
        wire.send(begun).await.unwrap();
        assert_eq!(wire.farewell().await, None, "{} bytes", begun.len());
    }
    assert!(rig.upstream.asked().is_empty());
    // Within a body it is the body that has come to a stop.
    let mut wire = Wire::connect(&rig, &[]).await;
    let head = frame(HEADERS, END_HEADERS, 1, &block("POST", "/count", &[("cookie", &alice)]));
    wire.send(&[head, frame(DATA, 0, 1, b"hello")[..11].to_vec()].concat()).await.unwrap();
    let answer = wire.until(|frame| frame.stream == 1 && frame.kind == HEADERS).await;
    assert!(answer.has_status(408), "{answer:x?}");
    wait_for(|| live(&rig).abs() < f64::EPSILON).await;
}
