//! The body of an answer over HTTP/2, and that of its request, which goes on up meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame, SizeHint};

use super::fault::UpstreamFault;
use super::h2c_connection::H2cConnection;
use super::pool;
use crate::upload::Upload;

/// The body of a request on its way up. It goes on while the answer comes down.
pub(super) struct Rising {
    upload: Option<Upload>,
    stream: SendStream<Bytes>,
    /// A piece that the application has no room for yet.
    piece: Bytes,
}

impl Rising {
    /// The body on this stream; `None` for none.
    pub(super) fn new(upload: Option<Upload>, stream: SendStream<Bytes>) -> Self {
        Self { upload, stream, piece: Bytes::new() }
    }

    /// Tells whether everything is said.
    fn is_over(&self) -> bool {
        self.upload.is_none()
    }

    /// Hands on what there is, as far as there is room.
    pub(super) fn rise(&mut self, context: &mut Context<'_>) -> Result<(), UpstreamFault> {
        while let Some(upload) = &mut self.upload {
            if !self.piece.is_empty() {
                self.stream.reserve_capacity(self.piece.len());
                match self.stream.poll_capacity(context) {
                    Poll::Pending | Poll::Ready(Some(Ok(0))) => return Ok(()),
                    Poll::Ready(Some(Ok(room))) => {
                        let part = self.piece.split_to(room.min(self.piece.len()));
                        self.stream.send_data(part, false).map_err(UpstreamFault::from_h2)?;
                    }
                    // It wants no more of it, and may answer all the same (RFC 9113 §8.1).
                    Poll::Ready(Some(Err(_)) | None) => self.upload = None,
                }
                continue;
            }
            match Pin::new(upload).poll_frame(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => self.piece = piece,
                    // Where it wants no more of it, that is said when the answer is read.
                    Err(frame) => {
                        self.upload = None;
                        let _ = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                    }
                },
                Poll::Ready(None) => {
                    self.upload = None;
                    let _ = self.stream.send_data(Bytes::new(), true);
                }
                Poll::Ready(Some(Err(fault))) => {
                    self.upload = None;
                    self.stream.send_reset(Reason::CANCEL);
                    return Err(UpstreamFault::Upload(fault));
                }
            }
        }
        Ok(())
    }
}

/// What of an answer is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Falling {
    Pieces,
    Trailers,
    Over,
}

/// The body of an answer over HTTP/2. It drives the connection it comes from, and gives it back at its end.
pub(super) struct H2cDownload {
    body: RecvStream,
    rising: Rising,
    state: Falling,
    /// The bytes that are still to come, as the head announces them.
    left: Option<u64>,
    connection: Option<Box<H2cConnection>>,
}

impl H2cDownload {
    /// The body of an answer to a request whose own body may still be on its way up; `length` as the head announces it.
    pub(super) fn new(
        body: RecvStream,
        rising: Rising,
        connection: Box<H2cConnection>,
        has_no_body: bool,
        length: Option<u64>,
    ) -> Self {
        let state = if has_no_body || body.is_end_stream() { Falling::Over } else { Falling::Pieces };
        let left = length.filter(|_| state == Falling::Pieces);
        Self { body, rising, state, left, connection: Some(connection) }
    }

    /// The next piece, or the trailers.
    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        if self.state == Falling::Over {
            self.give_back();
            return Poll::Ready(None);
        }
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        // The request goes on however much of the answer waits.
        let risen = self.rising.rise(context);
        // More is read once what was read is taken: else the socket would be emptied before anybody asks.
        let mut polled = Self::poll_body(&mut self.body, &mut self.state, context);
        if polled.is_pending() {
            let ended = connection.drive(context);
            // What came with its last bytes is read first.
            polled = Self::poll_body(&mut self.body, &mut self.state, context);
            if let (Poll::Pending, Some(fault)) = (&polled, risen.err().or(ended)) {
                polled = Poll::Ready(Some(Err(fault)));
            }
        } else if !self.rising.is_over() {
            // What was said is written; its end is told when the answer has none.
            let _ = connection.drive(context);
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&polled, &mut self.left) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64));
        }
        match &polled {
            Poll::Ready(Some(Err(_))) => drop(self.connection.take()),
            Poll::Ready(_) if self.state == Falling::Over => self.give_back(),
            _ => {}
        }
        polled
    }

    fn poll_body(
        body: &mut RecvStream,
        state: &mut Falling,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        if *state == Falling::Pieces {
            match body.poll_data(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) => {
                    // It is on its way down: as much may come again.
                    let _ = body.flow_control().release_capacity(piece.len());
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(UpstreamFault::from_h2(error))));
                }
                Poll::Ready(None) => *state = Falling::Trailers,
            }
        }
        match body.poll_trailers(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(UpstreamFault::from_h2(error)))),
            Poll::Ready(Ok(trailers)) => {
                *state = Falling::Over;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    /// Tells whether nothing more comes.
    pub(super) fn is_end_stream(&self) -> bool {
        self.state == Falling::Over || self.body.is_end_stream()
    }

    /// Tells whether all of it was handed over, though the end of the stream may still be to come.
    pub(super) fn has_all(&self) -> bool {
        self.is_end_stream() || self.left == Some(0)
    }

    /// The bytes that come, where that is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match (self.state, self.left) {
            (Falling::Over, _) => SizeHint::with_exact(0),
            (_, Some(left)) => SizeHint::with_exact(left),
            (_, None) => SizeHint::default(),
        }
    }

    /// Keeps the connection where both directions are through.
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.rising.is_over()) {
            pool::give_back_h2c(connection);
        }
    }
}

impl Drop for H2cDownload {
    /// Whoever knows the length asks for nothing behind the last byte, where the end of the stream may stand by itself. The
    /// stream goes with this, and the next one has a number of its own.
    fn drop(&mut self) {
        if self.has_all() {
            self.give_back();
        }
    }
}
