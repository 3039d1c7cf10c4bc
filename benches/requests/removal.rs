//! How long a removal takes: from the SCIM request to its answer, and to the end of the last WebSocket.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::gate::Gate;
use crate::load::Protocol;
use crate::server::{Setup, Under};
use crate::{Options, memory, table};

/// Removes one person with more and more WebSockets open, and prints a table.
pub(crate) async fn measure(app: SocketAddr, options: &Options) {
    let setup = Setup { app, protocol: Protocol::H1, cores: options.cores, under: Under::Nothing };
    let mut gate = Gate::start(setup, "off").await;
    println!("\n### A removal\n");
    println!(
        "From the SCIM request to its answer, and to the end of the person's last WebSocket: median, worst.\n"
    );
    println!("| WebSockets of the person | answered after, ms | the last one ended after, ms | removals |");
    println!("|---|---|---|---|");
    for exchanges in [1, 100, 3_000] {
        let rounds = if exchanges > 1_000 { 3 } else { 7 };
        let (mut answers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (answered, ended) = remove(&mut gate, exchanges).await;
            answers.push(answered);
            ends.push(ended);
        }
        println!("| {exchanges} | {} | {} | {rounds} |", shown(&answers), shown(&ends));
    }
    println!(
        "\nEach is durable before it is answered: 4 KiB appended to a file beside that database and synced take {} ms.",
        shown(&sync_times(gate.folder()))
    );
}

/// Times what every removal waits for: the disk.
fn sync_times(folder: &Path) -> Vec<Duration> {
    let mut file = File::create(folder.join("sync")).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    times
}

/// Opens idle WebSockets of one person, has the person removed, and signs them in again.
async fn remove(gate: &mut Gate, exchanges: usize) -> (Duration, Duration) {
    let mut sockets = Vec::with_capacity(exchanges);
    for _ in 0..exchanges {
        let mut socket = TcpStream::connect(gate.address()).await.unwrap();
        memory::upgrade(&mut socket, &gate.cookies[0]).await;
        sockets.push(socket);
    }
    let ended = sockets.into_iter().map(|mut socket| {
        tokio::spawn(async move {
            let mut byte = [0];
            let _ = socket.read(&mut byte).await;
            Instant::now()
        })
    });
    let ended: Vec<_> = ended.collect();
    gate.read().await;
    let asked = Instant::now();
    gate.deactivate().await;
    let answered = asked.elapsed();
    let mut last = asked;
    for end in ended {
        last = last.max(end.await.unwrap());
    }
    gate.again().await;
    (answered, last - asked)
}

fn shown(times: &[Duration]) -> String {
    let [_, middle, most] = table::spread(times.iter().map(|time| time.as_secs_f64() * 1_000.0));
    format!("**{middle:.1}**, {most:.1}")
}
