//! Upload: the body of a client's request, with its limit on pauses; whose session it keeps awake.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_session::Session;

use crate::clock::{Wait, Waits};
use crate::inbound::Inbound;
use crate::intake::Intake;
use crate::trailers::Trailers;
use crate::wire::Malformed;

/// The reason why a client's body came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadFault {
    /// The client stopped in the middle.
    Slow,
    /// It cannot be read.
    Malformed(Malformed),
    /// The client is gone.
    Gone,
}

impl fmt::Display for UploadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow => f.write_str("nothing came for too long"),
            Self::Malformed(why) => write!(f, "it cannot be read ({})", why.log_word()),
            Self::Gone => f.write_str("the client is gone"),
        }
    }
}

impl std::error::Error for UploadFault {}

/// The body of a client's request. Most requests have none, and what stands in its place is small.
pub(crate) struct Upload(Box<UploadState>);

struct UploadState {
    body: Incoming,
    inbound: Arc<Inbound>,
    waits: Arc<Waits>,
    intake: Arc<Intake>,
    /// The application's time begins anew with each piece.
    again: Option<Duration>,
    /// The fields behind it that go on.
    trailers: Trailers,
}

impl Upload {
    /// The body of a request on this connection.
    pub(crate) fn new(body: Incoming, inbound: Arc<Inbound>, waits: Arc<Waits>) -> Self {
        Self(Box::new(UploadState {
            body,
            inbound,
            waits,
            intake: Arc::default(),
            again: None,
            trailers: Trailers::default(),
        }))
    }

    /// It goes to an application that has so long to answer after each piece, for this session.
    pub(crate) fn goes_up(&mut self, session: Option<Arc<Session>>, first_byte: Duration) -> Arc<Intake> {
        self.0.again = Some(first_byte);
        self.0.intake.is_of(session);
        self.0.intake.clone()
    }

    /// Lets these fields follow it.
    pub(crate) fn announce_trailers(&mut self, trailers: Trailers) {
        self.0.trailers = trailers;
    }
}

impl UploadState {
    fn note_received(&self, length: usize) {
        self.intake.note_received(length);
        self.waits.note_progress();
        if let Some(again) = self.again.filter(|_| self.waits.is_armed(Wait::Answer)) {
            self.waits.arm(Wait::Answer, again);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let upload = &mut *self.get_mut().0;
        let polled = Pin::new(&mut upload.body).poll_frame(context);
        match polled {
            Poll::Pending if upload.waits.has_struck(Wait::Body) => Poll::Ready(Some(Err(UploadFault::Slow))),
            Poll::Pending => {
                upload.waits.keep_armed(Wait::Body, upload.inbound.idle);
                Poll::Pending
            }
            Poll::Ready(next) => {
                upload.waits.disarm(Wait::Body);
                Poll::Ready(match next {
                    Some(Ok(frame)) if frame.is_trailers() => upload.trailers.of_frame(frame).map(Ok),
                    Some(Ok(frame)) => {
                        if let Some(piece) = frame.data_ref().filter(|piece| !piece.is_empty()) {
                            upload.note_received(piece.len());
                        }
                        Some(Ok(frame))
                    }
                    Some(Err(_)) => Some(Err(match upload.inbound.malformed_body() {
                        Some(why) => UploadFault::Malformed(why),
                        None => UploadFault::Gone,
                    })),
                    None => None,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.waits.disarm(Wait::Body); // nobody asks for more of it
    }
}
