//! A socket that speaks HTTP/2 by hand, as no library would.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{HOST, Rig};
use portcullis_rig::frames::{
    self, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The socket. It acknowledges no settings and gives no window back.
pub(crate) struct Wire {
    pub(crate) socket: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    /// Says what every client says first, with these settings.
    pub(crate) async fn connect(rig: &Rig, settings: &[(u16, u32)]) -> Self {
        let mut wire = Self { socket: TcpStream::connect(rig.address).await.unwrap(), read: Vec::new() };
        wire.socket.set_nodelay(true).unwrap();
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        wire.send(PREFACE).await.unwrap();
        wire.send(&frame(SETTINGS, 0, 0, &payload)).await.unwrap();
        wire
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next frame; `None` where the connection has ended, however.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.read)).await;
            if read.expect("something in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.read.first_chunk::<9>()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        if self.read.len() < 9 + length {
            return None;
        }
        let payload = self.read.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads up to a frame that is looked for; panics where the connection ends before.
    pub(crate) async fn until(&mut self, mut is_it: impl FnMut(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            if is_it(&frame) {
                return frame;
            }
            seen.push((frame.kind, frame.stream, frame.code()));
        }
        panic!(
            "the connection ended; (kind, stream, code) of the last frames: {:?}",
            seen.iter().rev().take(5)
        );
    }

    /// Reads to the end of the connection; what it was told at last, where it was told anything.
    pub(crate) async fn farewell(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = frame.code();
            }
        }
        code
    }

    /// Waits until everything sent so far has been read.
    pub(crate) async fn is_read(&mut self) {
        self.send(&frame(PING, 0, 0, b"are read")).await.unwrap();
        self.until(|frame| frame.kind == PING && frame.payload == b"are read").await;
    }
}

/// One frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a reset or a farewell.
    pub(crate) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()))
    }

    /// Whether it is the head of an answer with this status: HPACK writes the usual ones as an index, the others by
    /// their digits, in Huffman's code.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        let written: &[u8] = match status {
            200 => &[0x88],
            401 => &[0x48, 0x82, 0x68, 0x01],
            408 => &[0x48, 0x83, 0x68, 0x0f, 0x7f],
            431 => &[0x48, 0x83, 0x69, 0x90, 0xff],
            _ => panic!("{status} is not known here"),
        };
        self.kind == HEADERS && self.payload.starts_with(written)
    }
}

/// The block of a request's head, for our host.
pub(crate) fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    frames::block(method, HOST, path, fields)
}

/// A GET, whole in one frame.
pub(crate) fn get(stream: u32, path: &str, cookie: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", path, &[("cookie", cookie)]))
}
