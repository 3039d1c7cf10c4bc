//! An answer that is read while it comes, piece by piece.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::must;
use crate::tap::Tap;
use crate::wire::{Connection, Dial, RequestBody, WireFault, in_time};

/// An answer that is being read, and the connection it comes on.
pub struct AnswerStream {
    pub status: StatusCode,
    pub version: Version,
    /// The moment at which the last byte of the request was handed to the kernel.
    pub sent: Instant,
    /// Bytes read so far.
    pub read: usize,
    connection: Connection,
    body: Incoming,
    tail: Vec<u8>,
}

impl AnswerStream {
    /// Sends a request on a connection of its own and reads the head of its answer.
    pub async fn begin(
        address: SocketAddr,
        how: Dial<'_>,
        request: Request<RequestBody>,
    ) -> Result<Self, WireFault> {
        in_time(async move {
            let mut connection = Connection::dial(address, how).await?;
            let (head, body) = connection.begin(request).await?.into_parts();
            let (status, version, sent) = (head.status, head.version, connection.tap.last_write());
            Ok(Self { status, version, sent, read: 0, connection, body, tail: Vec::new() })
        })
        .await
    }

    /// Reads one piece; `None` at the end, however it comes.
    pub async fn piece(&mut self) -> Option<Bytes> {
        let piece = next_piece(&mut self.body).await?.ok()?;
        self.read += piece.len();
        Some(piece)
    }

    /// Reads until so many bytes have come.
    pub async fn at_least(&mut self, bytes: usize) {
        let reading = async {
            while self.read < bytes {
                assert!(self.piece().await.is_some(), "it ended after {} bytes", self.read);
            }
        };
        must("some bytes", reading).await;
    }

    /// Reads until a text has come.
    pub async fn until(&mut self, text: &str) {
        assert!(must(text, self.finds(text)).await, "it ended before the text");
    }

    /// Reads to the end, which must come; says whether a text was among it.
    pub async fn read_out(&mut self, text: &str) -> bool {
        let reading = async {
            let found = self.finds(text).await;
            while self.piece().await.is_some() {}
            found
        };
        must("the end of a stream", reading).await
    }

    /// Reads until a text has come, or the end.
    async fn finds(&mut self, text: &str) -> bool {
        loop {
            if self.tail.windows(text.len()).any(|window| window == text.as_bytes()) {
                self.tail.clear();
                return true;
            }
            // What may be the beginning of the text is kept.
            let keep = self.tail.len().saturating_sub(text.len());
            self.tail.drain(..keep);
            let Some(piece) = self.piece().await else { return false };
            self.tail.extend_from_slice(&piece);
        }
    }

    /// The tap on its socket.
    pub fn tap(&self) -> &Tap {
        &self.connection.tap
    }
}

/// Reads the next piece of a body; `None` at its end, `Err` where it was broken off.
pub async fn next_piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await?.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(piece) if piece.is_empty() => {}
            piece => return Some(piece),
        }
    }
}
