//! The application behind every proxy: nineteen bytes to a request, an echo on a WebSocket, and nothing else.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::bare::application;

/// What the application's answers end with.
pub(crate) const BODY: &[u8] = b"nineteen bytes here";

const PLAIN: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-type: text/plain\r\n\r\nnineteen bytes here";
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const ALLOWED: &[u8] = b"HTTP/1.1 204 No Content\r\nx-user: alice@corp.test\r\n\r\n";

/// Starts the application; it lives as long as the runtime.
pub(crate) async fn start() -> SocketAddr {
    application(|_, socket| answer(socket, PLAIN)).await
}

/// Serves as the authorizer that `auth_request` asks: it lets everybody in, and there is no cheaper one.
pub(crate) async fn authorize(address: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, ALLOWED));
    }
}

async fn answer(mut socket: TcpStream, plain: &[u8]) {
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0; 4 * 1024];
    let mut head = Vec::new();
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        head.extend_from_slice(&buffer[..read]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let is_upgrade = head[..end].windows(10).any(|ten| ten.eq_ignore_ascii_case(b"\nupgrade: "));
            head.drain(..end + 4);
            let answer = if is_upgrade { UPGRADE } else { plain };
            if socket.write_all(answer).await.is_err() {
                return;
            }
            if is_upgrade {
                return echo(socket, buffer).await;
            }
        }
    }
}

async fn echo(mut socket: TcpStream, mut buffer: Vec<u8>) {
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        if socket.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
