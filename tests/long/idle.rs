//! Ten thousand connections on which nothing happens: the gate serves beside them, a removal is answered, and each
//! takes little memory.

use std::time::{Duration, Instant};

use http::Method;

use crate::rig::process::resident_memory;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::wire::{Connection, whole};
use crate::rig::{must, raise_open_files, until};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const WANTED: usize = 10_000;
/// Fewer say nothing.
const ENOUGH: usize = 4_000;
/// How much an idle connection may take, in KiB: several times what it does.
const KIB: f64 = 96.0;

/// One connection that has served a request, and whose it is.
struct Idle {
    line: Connection,
    is_h2: bool,
    is_alices: bool,
}

impl Idle {
    async fn open(visitor: &Visitor, is_h2: bool, is_alices: bool) -> Self {
        let line = if is_h2 {
            Connection::open_h2(visitor.address).await
        } else {
            Connection::open(visitor.address).await
        };
        let mut idle = Self { line: line.unwrap(), is_h2, is_alices };
        assert_eq!(idle.status(visitor).await, 200);
        idle
    }

    async fn status(&mut self, visitor: &Visitor) -> u16 {
        let request =
            if self.is_h2 { visitor.request_h2(Method::GET, "/") } else { visitor.request(Method::GET, "/") };
        let sent = self.line.send(request.body(whole("")).unwrap());
        must("an answer on an idle connection", sent).await.unwrap().status.as_u16()
    }
}

/// The memory of a process once what it gives back has been given back.
async fn settled(pid: u32) -> u64 {
    tokio::time::sleep(Duration::from_secs(2)).await;
    resident_memory(&[pid])
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_hold_nobody_up() {
    raise_open_files();
    let quiet = |settings: &mut crate::rig::settings::Settings| {
        settings.level = "info";
        settings.access = "off".to_owned();
        settings.more = "limits:\n  idle: 10m\n".to_owned();
    };
    let stage = Stage::seeded(quiet, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of descriptors")]
    let room = stage.program.metric("portcullis_sockets_limit").await.unwrap() as usize / 2;
    let count = WANTED.min(room.saturating_sub(100));
    if count < ENOUGH {
        eprintln!("SKIPPED ten thousand idle connections: the limit of open files leaves room for {count}");
        return;
    }
    if count < WANTED {
        eprintln!("ONLY {count} idle connections: the limit of open files leaves no room for more");
    }
    for number in 0..100 {
        drop(Idle::open(&alice, number % 2 == 0, true).await);
    }
    let began = Instant::now();
    let (mut held, mut each) = (settled(stage.program.pid()).await, Vec::new());
    let mut idle = Vec::with_capacity(count);
    for is_h2 in [false, true] {
        let up_to = if is_h2 { count } else { count / 2 };
        let (before, many) = (held, up_to - idle.len());
        while idle.len() < up_to {
            let some = (idle.len()..up_to.min(idle.len() + 50)).map(|number| {
                let is_alices = number % 2 == 0;
                let visitor = if is_alices { alice.clone() } else { bob.clone() };
                tokio::spawn(async move { Idle::open(&visitor, is_h2, is_alices).await })
            });
            for connection in some.collect::<Vec<_>>() {
                idle.push(connection.await.unwrap());
            }
        }
        held = settled(stage.program.pid()).await;
        #[expect(clippy::cast_precision_loss, reason = "KiB")]
        each.push(held.saturating_sub(before) as f64 / many as f64);
    }
    let opened = began.elapsed();

    let mut served = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(bob.status("/").await, 200);
        served.push(began.elapsed());
    }
    served.sort_unstable();
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    let began = Instant::now();
    stage.directory.deactivate(stage.id(ALICE)).await;
    let removed = began.elapsed();
    stage.app.mark("written-after-the-answer").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "written-after-the-answer"));
    println!(
        "{count} idle connections, half of them HTTP/2: opened in {opened:?}; {:.1} KiB each over HTTP/1.1, {:.1} over \
         HTTP/2; a request on a connection of its own {:?}, the slowest of 200 {:?}; a removal answered after {removed:?}",
        each[0], each[1], served[100], served[199]
    );
    // They are what they were, and whose they were.
    for one in idle.iter_mut().step_by(49) {
        let (visitor, status) = if one.is_alices { (&alice, 401) } else { (&bob, 200) };
        assert_eq!(one.status(visitor).await, status);
    }
    assert!(each.iter().all(|each| *each < KIB), "{each:?} KiB");
    drop(idle);
    until("the end of them", || async {
        stage.program.metric("portcullis_sockets").await.is_some_and(|sockets| sockets < 10.0)
    })
    .await;
}
