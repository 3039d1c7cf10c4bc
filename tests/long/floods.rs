//! Floods: forged session cookies, HTTP/2 resets, heads without an end. Beside each a signed-in person is served, and a
//! removal takes effect before its answer; what a flood costs is printed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::rig::process::{cpu_time, resident_memory};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::until;
use crate::rig::visitor::Visitor;
use portcullis_rig::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, block, frame, reset,
};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const MALLORY: &str = "mallory@corp.test";
const MARK: &str = "written-after-the-answer";
/// How long a flood lasts, and how many clients make it.
const LASTS: Duration = Duration::from_secs(10);
const CLIENTS: usize = 32;
/// How much memory a flood may add, in KiB.
const KIB: u64 = 64 * 1024;

/// What one of many clients floods with. It adds to the count, and ends with the time.
#[derive(Clone)]
struct Flood {
    address: SocketAddr,
    host: String,
    cookie: String,
    until: Instant,
    count: Arc<AtomicU64>,
}

impl Flood {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn counts(&self, number: u64) {
        self.count.fetch_add(number, Ordering::Relaxed);
    }

    /// A connection; `None` where there is none to be had at the moment.
    async fn connect(&self) -> Option<TcpStream> {
        let socket = TcpStream::connect(self.address).await.ok()?;
        socket.set_nodelay(true).ok()?;
        Some(socket)
    }

    async fn h2(&self) -> Option<TcpStream> {
        let mut socket = self.connect().await?;
        socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.ok()?;
        Some(socket)
    }
}

/// Floods, serves somebody beside it, removes somebody else in the middle of it, and prints what it cost.
async fn beside<F, G>(what: &str, flood: F)
where
    F: Fn(Flood) -> G + Send + 'static,
    G: Future<Output = ()> + Send + 'static,
{
    let quiet = |settings: &mut Settings| {
        settings.level = "info";
        settings.access = "off".to_owned();
    };
    let stage = Stage::seeded(quiet, &[ALICE, BOB, MALLORY]).await;
    let (alice, bob, mallory) = (stage.visitor(ALICE), stage.visitor(BOB), stage.visitor(MALLORY));
    let mut socket = bob.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    for _ in 0..100 {
        assert_eq!(alice.status("/").await, 200);
    }
    let pid = stage.program.pid();
    let (memory, used, began) = (resident_memory(&[pid]), cpu_time(&[pid]), Instant::now());
    let one = Flood {
        address: stage.program.proxy(),
        host: alice.origin.split_once("://").unwrap().1.to_owned(),
        cookie: mallory.cookie.clone(),
        until: began + LASTS,
        count: Arc::default(),
    };
    // On a thread of its own: whoever asks beside the flood waits for the program, and not for the flood's clients.
    let clients = one.clone();
    let clients = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let flooding: JoinSet<()> = (0..CLIENTS).map(|_| flood(clients.clone())).collect();
            flooding.join_all().await;
        });
    });
    let served = tokio::spawn(keep_asking(alice.clone(), one.until));
    tokio::time::sleep(LASTS / 2).await;

    let before = one.count.load(Ordering::Relaxed);
    let removal = Instant::now();
    stage.directory.deactivate(stage.id(BOB)).await;
    let removal = removal.elapsed();
    stage.app.mark(MARK).await;
    assert!(!socket.read_out().await.iter().any(|text| text == MARK), "{what}: written after the answer");
    assert_eq!(bob.status("/").await, 401, "{what}");

    let served = served.await.unwrap();
    let most = resident_memory(&[pid]);
    clients.join().unwrap();
    let (count, took) = (one.count.load(Ordering::Relaxed), began.elapsed());
    assert!(before > 0 && count > before, "{what}: it went on, {before} and {count}");
    let used = (cpu_time(&[pid]) - used).as_secs_f64();
    let grown = most.saturating_sub(memory);
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let (rate, micros) = (count as f64 / took.as_secs_f64(), used * 1e6 / count as f64);
    println!(
        "{what}: {count}, {rate:.0}/s, {micros:.1} µs of CPU each, {:.0} % of a core; memory {} KiB more; beside it {} requests \
         served, median {:?}, slowest {:?}; a removal answered after {removal:?}",
        used * 100.0 / took.as_secs_f64(),
        grown,
        served.len(),
        served[served.len() / 2],
        served[served.len() - 1],
    );
    assert!(served.len() > 20, "{what}: {} requests were served beside it", served.len());
    assert!(grown < KIB, "{what}: {grown} KiB more");
    until("the end of what the flood began", || async {
        stage.program.metric("portcullis_exchanges").await == Some(0.0)
    })
    .await;
    assert_eq!(alice.status("/").await, 200);
}

/// Asks one time after another; how long each took, the slowest last.
async fn keep_asking(visitor: Visitor, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        assert_eq!(visitor.status("/").await, 200);
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort_unstable();
    took
}

/// Cookies of the right name and length, each another, none of them ours.
#[tokio::test(flavor = "multi_thread")]
async fn forged_cookies() {
    beside("forged cookies", |flood| async move {
        let mut number = 0_u64;
        while flood.goes_on() {
            let Some(mut socket) = flood.connect().await else { continue };
            let mut read = Vec::new();
            while flood.goes_on() {
                let requests: String = (0..8).map(|_| forged(&flood, &mut number)).collect();
                if socket.write_all(requests.as_bytes()).await.is_err() {
                    break;
                }
                let mut answers = 0;
                while answers < 8 {
                    if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        break;
                    }
                    while let Some(length) = answer(&read) {
                        assert!(read.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&read));
                        read.drain(..length);
                        answers += 1;
                    }
                }
                flood.counts(answers);
                if answers < 8 {
                    break;
                }
            }
        }
    })
    .await;
}

fn forged(flood: &Flood, number: &mut u64) -> String {
    *number += 1;
    let (name, value) = flood.cookie.split_once('=').unwrap();
    // Another one each time: the end, which is the seal, or nothing but letters.
    let other = format!("{number:012}");
    let (kept, seal) = value.split_at(value.len() - other.len());
    let kept = if number.is_multiple_of(2) { kept.to_owned() } else { "a".repeat(kept.len()) };
    assert_ne!(seal, other);
    format!("GET / HTTP/1.1\r\nhost: {}\r\ncookie: {name}={kept}{other}\r\n\r\n", flood.host)
}

/// The length of the answer that stands first, where it is whole.
fn answer(read: &[u8]) -> Option<usize> {
    let end = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    Some(end + length.parse::<usize>().unwrap()).filter(|whole| *whole <= read.len())
}

/// Streams of somebody who is signed in, each reset at once, on one connection after another.
#[tokio::test(flavor = "multi_thread")]
async fn resets() {
    beside("HTTP/2 resets", |flood| async move {
        let head = block("GET", &flood.host, "/", &[("cookie", &flood.cookie)]);
        while flood.goes_on() {
            let Some(mut socket) = flood.h2().await else { continue };
            let (mut streams, mut space) = ((0..).map(|number| 2 * number + 1), vec![0; 64 * 1024]);
            while flood.goes_on() {
                let some: Vec<u8> = streams
                    .by_ref()
                    .take(16)
                    .flat_map(|stream| {
                        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head), reset(stream)].concat()
                    })
                    .collect();
                // What is answered has been read, and all before it.
                let asked = [some, frame(PING, 0, 0, b"are read")].concat();
                if socket.write_all(&asked).await.is_err() || !reads(&mut socket, &mut space).await {
                    break;
                }
                flood.counts(16);
            }
        }
    })
    .await;
}

/// Whether the answer to a ping comes.
async fn reads(socket: &mut TcpStream, space: &mut [u8]) -> bool {
    while let Ok(length @ 1..) = socket.read(space).await {
        if space[..length].windows(8).any(|window| window == b"are read") {
            return true;
        }
    }
    false
}

/// Heads that are continued, and continued.
#[tokio::test(flavor = "multi_thread")]
async fn heads_without_an_end() {
    beside("heads without an end", |flood| async move {
        let head = block("GET", &flood.host, "/", &[]);
        let more = frame(CONTINUATION, 0, 1, &portcullis_rig::frames::field("x", &"a".repeat(16_000)));
        let all = [frame(HEADERS, END_STREAM, 1, &head), more.repeat(20)].concat();
        while flood.goes_on() {
            let Some(mut socket) = flood.h2().await else { continue };
            let _ = socket.write_all(&all).await;
            let mut space = vec![0; 16 * 1024];
            while socket.read(&mut space).await.unwrap_or(0) > 0 {}
            flood.counts(1);
        }
    })
    .await;
}
