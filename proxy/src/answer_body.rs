//! The body of an answer, and the count of those that a client's connection carries.
//!
//! An exchange ends with the last byte of its answer, or with its cut: then the body breaks off, which hyper makes a
//! closed connection or a reset stream of.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::answer::tell_broken;
use crate::client::{Client, Stream};
use crate::clock::{Entered, Wait, Waits};
use crate::exchange::Exchange;
use crate::line::Over;
use crate::strip::Strip;
use crate::trailers;
use crate::upstream::{Download, UpstreamFault};

/// One of the exchanges that a client's connection carries; one less when it is dropped.
pub(crate) struct CarriedExchange {
    client: Arc<Client>,
    waits: Arc<Waits>,
    /// Over HTTP/2 the clock looks after each stream, and a stream may become a WebSocket.
    stream: Option<(Entered, Arc<Stream>)>,
}

impl CarriedExchange {
    pub(crate) fn new(
        client: Arc<Client>,
        waits: Arc<Waits>,
        stream: Option<(Entered, Arc<Stream>)>,
    ) -> Self {
        client.serving.fetch_add(1, Ordering::Relaxed);
        waits.begin_exchange();
        Self { client, waits, stream }
    }

    /// The stream it is served on; none over HTTP/1.1.
    pub(crate) fn stream(&self) -> Option<Arc<Stream>> {
        self.stream.as_ref().map(|(_, stream)| stream.clone())
    }

    /// The client whose connection it is on.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for CarriedExchange {
    fn drop(&mut self) {
        let left = self.client.serving.fetch_sub(1, Ordering::Relaxed) - 1;
        self.waits.end_exchange();
        if left == 0 && self.client.is_h2() {
            // Nobody may poll the connection again: it has nothing to write, and its client says nothing.
            self.client.waits.keep_armed(Wait::Head, self.client.limits.idle);
        }
    }
}

/// The body of an answer as hyper asks for it.
pub(crate) struct AnswerBody {
    content: Content,
    client: Arc<Client>,
    serving: Option<CarriedExchange>,
}

enum Content {
    /// One of our own.
    Own(Option<Bytes>),
    /// An application's.
    Passing(Box<Passing>),
}

/// An application's answer on its way down.
struct Passing {
    download: Download,
    /// None once the last byte was handed over.
    exchange: Option<Exchange>,
    /// The rest of a piece, still to be handed over.
    rest: Bytes,
    has_begun: bool,
    /// The application broke off: told with the next look, so that what came before is written out first.
    broken: Option<UpstreamFault>,
}

/// The reason why an answer breaks off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The exchange was cut.
    Cut,
    /// The application broke off.
    Upstream(UpstreamFault),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the exchange was cut"),
            Self::Upstream(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Broken {
    /// hyper resets a stream with the reason it finds here, and throws away what is queued of it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        static CANCEL: OnceLock<h2::Error> = OnceLock::new();
        match self {
            Self::Cut => Some(CANCEL.get_or_init(|| h2::Reason::CANCEL.into())),
            Self::Upstream(fault) => Some(fault),
        }
    }
}

impl AnswerBody {
    /// One of our own, whole.
    pub(crate) fn of_our_own(serving: CarriedExchange, body: Bytes) -> Self {
        let content = Content::Own(Some(body).filter(|body| !body.is_empty()));
        Self { content, client: serving.client.clone(), serving: Some(serving) }
    }

    /// That protocols are switched: what follows is the tunnel's.
    pub(crate) fn of_switch(client: Arc<Client>) -> Self {
        Self { content: Content::Own(None), client, serving: None }
    }

    /// An application's.
    pub(crate) fn of_application(serving: CarriedExchange, exchange: Exchange, download: Download) -> Self {
        let passing = Passing {
            download,
            exchange: Some(exchange),
            rest: Bytes::new(),
            has_begun: false,
            broken: None,
        };
        let content = Content::Passing(Box::new(passing));
        Self { content, client: serving.client.clone(), serving: Some(serving) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let answer = self.get_mut();
        match &mut answer.content {
            Content::Own(body) => {
                // Over HTTP/2 it may wait for room that never comes; nobody asks for more of it.
                if let Some(serving) = answer.serving.as_ref().filter(|_| answer.client.is_h2()) {
                    serving.waits.arm(Wait::Take, answer.client.limits.idle);
                    answer.client.flow.note_piece();
                }
                Poll::Ready(body.take().map(|body| Ok(Frame::data(body))))
            }
            Content::Passing(passing) => passing.poll_frame(context, &answer.client),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(body) => body.is_none(),
            Content::Passing(passing) => passing.is_end_stream(self.client.is_h2()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Content::Passing(passing) => passing.download.size_hint(),
        }
    }
}

impl Passing {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
        client: &Client,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        if exchange.waits.in_flight.reason().is_some() || exchange.waits.is_ended() {
            return Poll::Ready(Some(Err(Broken::Cut)));
        }
        if let Some(fault) = self.broken.take() {
            return Poll::Ready(Some(Err(Broken::Upstream(fault))));
        }
        let mut room = usize::MAX;
        if client.is_h2() {
            exchange.waits.disarm(Wait::Take); // it took what was handed over before
            room = ready!(client.poll_room(context));
        }
        self.has_begun = true;
        if self.rest.is_empty() {
            match ready!(self.download.poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => self.rest = piece,
                    Err(frame) => {
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        trailers::clean_trailers(&mut trailers, &Strip::default());
                        self.finish(); // nothing comes behind them
                        return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
                    }
                },
                Some(Err(fault)) => {
                    tell_broken(&mut exchange.record, &exchange.open, client.limits.idle, &fault);
                    exchange.record.finish_exchange(Over::Upstream);
                    self.broken = Some(fault);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {
                    self.finish();
                    return Poll::Ready(None);
                }
            }
        }
        let piece = self.rest.split_to(room.min(self.rest.len()));
        exchange.note_sent(piece.len());
        if client.is_h2() {
            client.flow.hands_over(piece.len());
            // Whoever does not ask for the next one has a client that takes nothing.
            exchange.waits.arm(Wait::Take, client.limits.idle);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn finish(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.record.finish_exchange(Over::Done);
        }
    }

    /// Over HTTP/2 an end is asked for like a piece: then all before it had room to go.
    fn is_end_stream(&self, is_h2: bool) -> bool {
        self.exchange.is_none()
            || (self.rest.is_empty() && self.download.is_end_stream() && !(is_h2 && self.has_begun))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.rest.is_empty() && self.download.has_all() {
            self.finish();
        }
    }
}
