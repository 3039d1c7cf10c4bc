//! An upstream that answers nineteen bytes, a load that asks for them, and a process's CPU.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts the upstream; it lives as long as the process.
pub(crate) async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    address
}

async fn answer(mut socket: TcpStream) {
    const PLAIN: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-type: text/plain\r\n\r\nnineteen bytes here";
    const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0; 16 * 1024];
    let mut head = Vec::new();
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        head.extend_from_slice(&buffer[..read]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let is_upgrade = head[..end].windows(10).any(|ten| ten.eq_ignore_ascii_case(b"\nupgrade: "));
            head.drain(..end + 4);
            if socket.write_all(if is_upgrade { UPGRADE } else { PLAIN }).await.is_err() {
                return;
            }
        }
    }
}

/// One request with the cookie of one person a connection, asked again and again.
pub(crate) struct Load {
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
}

impl Load {
    /// A browser-like head.
    pub(crate) fn new(address: SocketAddr, host: &str, cookies: &[String]) -> Self {
        let request = |cookie: &String| {
            format!(
                "GET /dashboard?tab=1 HTTP/1.1\r\nhost: {host}\r\n\
                 user-agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\naccept: text/html,application/xhtml+xml\r\n\
                 accept-language: en-GB,en\r\naccept-encoding: gzip, br\r\n\
                 cookie: theme=dark; {cookie}; lang=en\r\n\
                 sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\nsec-fetch-site: none\r\n\r\n"
            )
            .into_bytes()
        };
        Self { address, requests: cookies.iter().map(request).collect() }
    }

    /// Asks about `requests` times over kept-alive connections; every answer must be the upstream's.
    pub(crate) async fn run(&self, requests: usize) {
        let each = requests / self.requests.len();
        let tasks = self.requests.iter().map(|request| {
            let (address, request) = (self.address, request.clone());
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 8 * 1024];
                for _ in 0..each {
                    socket.write_all(&request).await.unwrap();
                    let mut filled = 0;
                    while !buffer[..filled].ends_with(b"nineteen bytes here") {
                        let read = socket.read(&mut buffer[filled..]).await.unwrap();
                        assert!(read > 0, "the answer ended: {}", String::from_utf8_lossy(&buffer[..filled]));
                        filled += read;
                    }
                    assert!(buffer.starts_with(b"HTTP/1.1 200"));
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}

/// What a process has used of the processor, by the scheduler's count.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.filter_map(|task| {
        let said = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        said.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
