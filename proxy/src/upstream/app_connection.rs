//! A connection to an application: hyper's client connection as a value that is polled where it is used.
//!
//! Nothing is spawned: whoever drops a question, or the answer's body, closes the connection with it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Version;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_policy::HeaderCase;
use tokio::net::TcpStream;

use super::fault::UpstreamFault;
use super::filter::WakeFilter;
use super::heard::{Heard, Notes};
use super::outgoing_body::Outgoing;
use super::replay;
use crate::clock::{Wait, Waits};

/// A connection to an application.
pub(crate) struct AppConnection {
    pub(super) to: SocketAddr,
    /// As it was made to write.
    pub(super) case: HeaderCase,
    sender: SendRequest<Outgoing>,
    pub(super) connection: Connection<TokioIo<Heard>, Outgoing>,
    notes: Arc<Notes>,
    pub(super) filter: WakeFilter,
    /// Its last request had a body, or the answer to it says how the connection goes on.
    may_be_spent: bool,
}

/// The bytes that may come before the head of an answer is whole, what only informs included.
const BEFORE_HEAD: usize = 256 * 1024;
/// The bytes of an answer that are read at once, and the number of fields it may have.
const READ: usize = 64 * 1024;
const FIELDS: usize = 200;

impl AppConnection {
    /// Speaks HTTP/1.1 on a socket.
    ///
    /// # Errors
    /// Where the socket is gone already.
    pub(super) async fn speak_over(socket: TcpStream, case: HeaderCase) -> Result<Box<Self>, UpstreamFault> {
        let to = socket.peer_addr().map_err(UpstreamFault::Connect)?;
        let notes = Arc::new(Notes::default());
        let socket = Heard { socket, notes: notes.clone() };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ).max_headers(FIELDS).title_case_headers(case == HeaderCase::Title);
        let (sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(UpstreamFault::from_error)?;
        Ok(Box::new(Self {
            to,
            case,
            sender,
            connection,
            notes,
            filter: WakeFilter::new(),
            may_be_spent: true,
        }))
    }

    /// Tells whether there may be no more use for it, so that it is worth a look before it is kept.
    pub(super) fn may_be_spent(&self) -> bool {
        self.may_be_spent
    }

    /// Tells whether it can serve a request now. Polling it reads the other side's end, or bytes that nobody asked
    /// for.
    pub(super) fn is_idle(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        self.connection.poll_without_shutdown(context).is_pending() && self.sender.is_ready()
    }

    /// The last question once more, where it was noted and nothing came since.
    pub(super) fn unanswered(&self) -> Option<http::Request<Outgoing>> {
        if self.notes.heard_bytes() == 0 { replay::read_request(&self.notes.take_head()) } else { None }
    }

    /// Sends one request and waits for the head of its answer. With the fault comes the request, if nothing of it was
    /// sent. One that is noted has no body, and [`unanswered`](Self::unanswered) has it back.
    pub(super) async fn send_request(
        &mut self,
        request: http::Request<Outgoing>,
        is_noted: bool,
        waits: &Waits,
    ) -> Result<http::Response<Incoming>, (UpstreamFault, Option<http::Request<Outgoing>>)> {
        self.notes.begin_question(is_noted);
        self.may_be_spent = request.body().0.is_some();
        let mut asking = pin!(self.sender.try_send_request(request));
        let (connection, filter, notes) = (&mut self.connection, &self.filter, &self.notes);
        let mut answered = None; // an answer is large: it is put here, and not handed from poll to poll
        let fault = poll_fn(|context| {
            if waits.has_struck(Wait::Answer) {
                return Poll::Ready(Some(UpstreamFault::Late));
            }
            filter.poll(context, |context| {
                let ended = connection.poll_without_shutdown(context);
                // It becomes ready through the connection alone.
                match (asking.as_mut().poll(&mut Context::from_waker(Waker::noop())), ended) {
                    (Poll::Ready(answer), _) => {
                        answered = Some(answer);
                        Poll::Ready(None)
                    }
                    (Poll::Pending, Poll::Ready(ended)) => {
                        let fault =
                            ended.map_or_else(UpstreamFault::from_error, |()| UpstreamFault::Ended(None));
                        Poll::Ready(Some(fault))
                    }
                    (Poll::Pending, Poll::Pending) if notes.heard_bytes() > BEFORE_HEAD => {
                        Poll::Ready(Some(UpstreamFault::Answer("has no end of its head")))
                    }
                    (Poll::Pending, Poll::Pending) => Poll::Pending,
                }
            })
        })
        .await;
        match answered {
            Some(Ok(answer)) => {
                let goes_on =
                    answer.version() == Version::HTTP_11 && !answer.headers().contains_key(CONNECTION);
                self.may_be_spent |= !goes_on;
                Ok(answer)
            }
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                Err((UpstreamFault::from_error(error.into_error()), unsent))
            }
            None => Err((fault.unwrap_or(UpstreamFault::Ended(None)), None)),
        }
    }

    /// The socket, and what was read of it already, after an answer that switched protocols.
    pub(crate) fn into_socket(self: Box<Self>) -> (TcpStream, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner().socket, parts.read_buf)
    }
}
