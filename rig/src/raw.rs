//! A bare socket for HTTP/1.1, so that every byte is ours.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{must, wire};

/// A bare socket, and what was read of it and not asked for yet.
pub struct RawSocket {
    pub socket: TcpStream,
    host: String,
    read: Vec<u8>,
}

/// A head: its status, and its fields as they came.
#[derive(Debug)]
pub struct RawHead {
    pub status: u16,
    pub lines: Vec<String>,
}

impl RawHead {
    /// The value of a field that comes once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields(name);
        let one = all.next();
        assert!(all.next().is_none(), "{name} twice in {:?}", self.lines);
        one
    }

    /// The values of a field.
    pub fn fields<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        self.lines.iter().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(&name).then(|| value.trim())
        })
    }
}

impl RawSocket {
    /// Connects to an address, to say this host there.
    pub async fn connect(address: SocketAddr, host: impl Into<String>) -> Self {
        Self { socket: wire::tcp(address, None).await.unwrap(), host: host.into(), read: Vec::new() }
    }

    /// The same from an address of this machine.
    pub async fn connect_from(from: IpAddr, address: SocketAddr, host: impl Into<String>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let socket = socket.connect(address).await.unwrap();
        Self { socket, host: host.into(), read: Vec::new() }
    }

    /// Sends a request line, the host, and these fields.
    pub async fn say(&mut self, line: &str, fields: &[&str]) {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(format!("{line} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host).as_bytes()).await;
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Reads a head.
    pub async fn head(&mut self) -> RawHead {
        let text = self.until("\r\n\r\n").await;
        let mut lines = text.trim_end().split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        RawHead { status, lines: lines.collect() }
    }

    /// Reads a whole answer with a length.
    pub async fn answer(&mut self) -> (RawHead, String) {
        let head = self.head().await;
        let length = head.field("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await.unwrap() > 0, "closed inside a body");
        }
        let body = self.read.drain(..length).collect();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until this text was seen; gives everything up to its end.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(text.len()).position(|window| window == text.as_bytes()) {
                let seen: Vec<u8> = self.read.drain(..at + text.len()).collect();
                return String::from_utf8(seen).unwrap();
            }
            assert!(
                self.more().await.unwrap() > 0,
                "closed before {text:?}: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Reads to the end of the socket. `Err` where it was reset.
    pub async fn rest(&mut self) -> Result<Vec<u8>, io::Error> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.read))
    }

    /// What has been read and not been asked for yet.
    pub fn unread(&self) -> &[u8] {
        &self.read
    }

    async fn more(&mut self) -> Result<usize, io::Error> {
        must("something to read", self.socket.read_buf(&mut self.read)).await
    }
}
