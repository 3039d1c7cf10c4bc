//! Memory of sockets on which nothing happens: after one request, and WebSockets after one echo.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Options;
use crate::gate::Gate;
use crate::load::{HOST, Protocol, Socket, connect};
use crate::rig::process::resident_memory;
use crate::server::{Server, Setup, Under};

/// How many sockets are opened.
const SOCKETS: u32 = 1_000;

/// Measures each proxy freshly started, and prints a table.
pub(crate) async fn measure(app: SocketAddr, options: &Options) {
    let setup = Setup { app, protocol: Protocol::H1, cores: options.cores, under: Under::Nothing };
    println!("\n### Memory\n");
    println!("Resident memory that {SOCKETS} sockets add to a fresh process, KiB a socket.\n");
    println!("| | an idle socket, after one request | an idle WebSocket, after one echo |\n|---|---|---|");
    let nobody = [String::from("nobody=here")];
    for which in 0..4 {
        let mut row = Vec::new();
        for kind in [Kind::Plain, Kind::WebSocket] {
            let server = match which {
                0 => Server::nginx(setup).await,
                1 => Server::haproxy(setup).await,
                2 => Some(Server::pingora(setup).await),
                _ => {
                    let gate = Gate::start(setup, "off").await;
                    let added = added(gate.address(), &[gate.pid()], &gate.cookies, kind).await;
                    row.push(("**Portcullis**", added));
                    continue;
                }
            };
            let Some(server) = server else { continue };
            row.push((server.name, added(server.address, &server.pids(), &nobody, kind).await));
        }
        if let [(name, plain), (_, websocket)] = row[..] {
            println!("| {name} | {plain:.1} | {websocket:.1} |");
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    WebSocket,
}

async fn added(address: SocketAddr, pids: &[u32], cookies: &[String], kind: Kind) -> f64 {
    let warm = open(address, &cookies[0], kind).await;
    let before = settled(pids).await;
    let mut sockets = Vec::new();
    for (cookie, _) in cookies.iter().cycle().zip(0..SOCKETS) {
        sockets.push(open(address, cookie, kind).await);
    }
    let after = settled(pids).await;
    drop((warm, sockets));
    #[expect(clippy::cast_precision_loss, reason = "KiB")]
    let added = after.saturating_sub(before) as f64;
    added / f64::from(SOCKETS)
}

async fn settled(pids: &[u32]) -> u64 {
    tokio::time::sleep(Duration::from_secs(2)).await;
    resident_memory(pids)
}

async fn open(address: SocketAddr, cookie: &str, kind: Kind) -> Box<dyn Socket> {
    let mut socket = connect(address, Protocol::H1).await;
    if kind == Kind::WebSocket {
        upgrade(&mut *socket, cookie).await;
        let mut back = [0; 24];
        socket.write_all(b"an echo of 24 bytes here").await.unwrap();
        socket.read_exact(&mut back).await.unwrap();
    } else {
        let request = format!("GET /dashboard HTTP/1.1\r\nhost: {HOST}\r\ncookie: {cookie}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(crate::app::BODY) {
            answer.push(socket.read_u8().await.unwrap());
        }
    }
    socket
}

/// Opens so many WebSockets of one person, each after one echo.
pub(crate) async fn open_websockets(address: SocketAddr, cookie: &str, count: usize) -> Vec<Box<dyn Socket>> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(open(address, cookie, Kind::WebSocket).await);
    }
    sockets
}

/// Makes a WebSocket of it.
pub(crate) async fn upgrade<S: Socket + ?Sized>(socket: &mut S, cookie: &str) {
    let request = format!(
        "GET /socket HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncookie: {cookie}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
}
