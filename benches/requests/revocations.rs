//! How long a removal takes: from the SCIM request to its answer, and to the end of the last WebSocket.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gate::Gate;

/// Opens `exchanges` idle WebSockets of one person, has the person removed, and prints what it took, several times.
pub(crate) async fn measure(gate: &mut Gate, exchanges: usize) {
    let rounds = if exchanges > 1_000 { 3 } else { 7 };
    let mut answers = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..rounds {
        let mut sockets = Vec::with_capacity(exchanges);
        for _ in 0..exchanges {
            sockets.push(open(gate).await);
        }
        let ended = sockets.into_iter().map(|mut socket| {
            tokio::spawn(async move {
                let mut byte = [0];
                let _ = socket.read(&mut byte).await;
                Instant::now()
            })
        });
        let ended: Vec<_> = ended.collect();
        let asked = Instant::now();
        gate.deactivate().await;
        answers.push(asked.elapsed());
        let mut last = asked;
        for end in ended {
            last = last.max(end.await.unwrap());
        }
        ends.push(last - asked);
        gate.again().await;
    }
    println!(
        "revocation with {exchanges} WebSockets: answered after {}, the last one ended after {} (median, worst of {rounds})",
        spread(answers),
        spread(ends),
    );
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: &Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
    format!("{} ms, {} ms", ms(&times[times.len() / 2]), times.last().map(ms).unwrap_or_default())
}

async fn open(gate: &Gate) -> TcpStream {
    let mut socket = TcpStream::connect(gate.address()).await.unwrap();
    let request = format!(
        "GET /socket HTTP/1.1\r\nhost: app.localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncookie: {}\r\n\r\n",
        gate.cookies[0]
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}
