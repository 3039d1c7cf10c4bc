//! Asking an application: hyper's client connection as a value that is polled where it is used.
//!
//! Nothing is spawned: whoever drops the question, or the answer's body, closes the connection with it. A connection
//! goes back to the pool only when its answer was read to its end and nothing else has come of it.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::{fmt, io};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, request, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Upstream, connect, pool};
use crate::clock::{Wait, Waits};
use crate::upload::{Upload, UploadFault};

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The application cannot be connected to.
    Connect(io::Error),
    /// It did not begin to answer in time.
    Late,
    /// It closed the connection, or broke off.
    Ended(Option<hyper::Error>),
    /// Its answer can be read two ways, or not at all.
    Answer(&'static str),
    /// The client's body ended before its end.
    Upload(UploadFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("its name has no address")
            }
            Self::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("it cannot be connected to in time")
            }
            Self::Connect(error) => write!(f, "it cannot be connected to: {error}"),
            Self::Late => f.write_str("it did not begin to answer in time"),
            // The library's text says the kind of it; it does not quote what could not be read.
            Self::Ended(Some(error)) => write!(f, "it broke off: {error}"),
            Self::Ended(None) => f.write_str("it closed the connection"),
            Self::Answer(what) => write!(f, "its answer {what}"),
            Self::Upload(fault) => write!(f, "the client's body broke off: {fault}"),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn of(error: hyper::Error) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<UploadFault>()) {
            Some(fault) => Self::Upload(*fault),
            None => Self::Ended(Some(error)),
        }
    }
}

/// What is sent: the client's body, if it has one.
pub(crate) struct Outgoing(Option<Upload>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        match &mut self.0 {
            Some(upload) => Pin::new(upload).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A connection to an application.
pub(crate) struct AppConnection {
    pub(super) to: SocketAddr,
    sender: SendRequest<Outgoing>,
    connection: Connection<TokioIo<Heard>, Outgoing>,
    /// How many bytes came since the last question.
    heard: Arc<AtomicUsize>,
    filter: Filter,
}

/// How much may come before the head of an answer is whole, what only informs included.
const BEFORE_HEAD: usize = 256 * 1024;
/// How much of an answer is read at once, and how many fields it may have.
const READ: usize = 64 * 1024;
const FIELDS: usize = 200;

/// A socket that counts what comes.
struct Heard {
    socket: TcpStream,
    count: Arc<AtomicUsize>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = space.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, space);
        self.count.fetch_add(space.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl AppConnection {
    /// Speaks HTTP/1.1 on a socket.
    ///
    /// # Errors
    /// Where the socket is gone already.
    pub(crate) async fn over(socket: TcpStream) -> Result<Box<Self>, Fault> {
        let to = socket.peer_addr().map_err(Fault::Connect)?;
        let heard = Arc::new(AtomicUsize::new(0));
        let socket = Heard { socket, count: heard.clone() };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ).max_headers(FIELDS);
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.map_err(Fault::of)?;
        Ok(Box::new(Self { to, sender, connection, heard, filter: Filter::new() }))
    }

    /// Whether it can serve a request now. Polling it reads the other side's end, or bytes that nobody asked for.
    pub(super) fn is_idle(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        self.connection.poll_without_shutdown(context).is_pending() && self.sender.is_ready()
    }

    /// Sends one request and waits for the head of its answer. With the fault comes the request, if nothing of it was
    /// sent.
    async fn ask(
        &mut self,
        request: http::Request<Outgoing>,
        waits: &Waits,
    ) -> Result<http::Response<Incoming>, (Fault, Option<http::Request<Outgoing>>)> {
        self.heard.store(0, Ordering::Relaxed);
        let mut answer = pin!(self.sender.try_send_request(request));
        let (connection, filter, heard) = (&mut self.connection, &self.filter, &self.heard);
        let polled = poll_fn(|context| {
            if waits.has_struck(Wait::Answer) {
                return Poll::Ready(Err(Fault::Late));
            }
            filter.poll(context, |context| {
                let ended = connection.poll_without_shutdown(context);
                // It becomes ready through the connection alone.
                match (answer.as_mut().poll(&mut Context::from_waker(Waker::noop())), ended) {
                    (Poll::Ready(answer), _) => Poll::Ready(Ok(answer)),
                    (Poll::Pending, Poll::Ready(ended)) => {
                        Poll::Ready(Err(ended.map_or_else(Fault::of, |()| Fault::Ended(None))))
                    }
                    (Poll::Pending, Poll::Pending) if heard.load(Ordering::Relaxed) > BEFORE_HEAD => {
                        Poll::Ready(Err(Fault::Answer("has no end of its head")))
                    }
                    (Poll::Pending, Poll::Pending) => Poll::Pending,
                }
            })
        })
        .await;
        match polled {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(mut error)) => {
                let unsent = error.take_message();
                Err((Fault::of(error.into_error()), unsent))
            }
            Err(fault) => Err((fault, None)),
        }
    }

    /// The socket, and what was read of it already, after an answer that switched protocols.
    pub(crate) fn into_socket(self: Box<Self>) -> (TcpStream, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner().socket, parts.read_buf)
    }
}

/// Asks the application. A request goes out a second time only where nothing of it was sent, or where the connection
/// had been idle and asking twice changes nothing.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn send(
    upstream: &Upstream,
    head: request::Parts,
    upload: Option<Upload>,
    waits: &Waits,
) -> Result<(response::Parts, Download), Fault> {
    let addresses = upstream.addresses().await;
    let mut request = http::Request::from_parts(head, Outgoing(upload));
    if let Some(mut connection) = pool::take(&addresses) {
        let repeatable = request.method().is_idempotent() && request.body().0.is_none();
        let copy = repeatable.then(|| copy_of(&request));
        waits.arm(Wait::Answer, upstream.first_byte_timeout);
        match connection.ask(request, waits).await {
            Ok(answer) => return read(answer, connection),
            Err((_, Some(unsent))) => request = unsent,
            // Not a byte came back: it was closed while it was idle.
            Err((Fault::Ended(_), None))
                if connection.heard.load(Ordering::Relaxed) == 0
                    && let Some(copy) = copy =>
            {
                request = copy;
            }
            Err((fault, None)) => return Err(fault),
        }
        waits.disarm(Wait::Answer);
    }
    let mut connection = connect_anew(upstream, &addresses).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.ask(request, waits).await {
        Ok(answer) => read(answer, connection),
        Err((fault, _)) => Err(fault),
    }
}

/// Asks on a connection of its own, which is never kept: for what may switch protocols.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn ask_alone(
    upstream: &Upstream,
    head: request::Parts,
    waits: &Waits,
) -> Result<(response::Parts, Download), Fault> {
    let mut connection = connect_anew(upstream, &upstream.addresses().await).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.ask(http::Request::from_parts(head, Outgoing(None)), waits).await {
        Ok(answer) => {
            let (head, mut download) = read(answer, connection)?;
            download.is_kept = false;
            Ok((head, download))
        }
        Err((fault, _)) => Err(fault),
    }
}

async fn connect_anew(upstream: &Upstream, addresses: &[SocketAddr]) -> Result<Box<AppConnection>, Fault> {
    match connect::tcp(addresses, upstream.connect_timeout).await {
        Ok(socket) => AppConnection::over(socket).await,
        Err(error) => {
            upstream.doubt();
            Err(Fault::Connect(error))
        }
    }
}

fn copy_of(request: &http::Request<Outgoing>) -> http::Request<Outgoing> {
    let mut copy = http::Request::new(Outgoing(None));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn read(
    answer: http::Response<Incoming>,
    connection: Box<AppConnection>,
) -> Result<(response::Parts, Download), Fault> {
    let (head, body) = answer.into_parts();
    is_framed_one_way(&head.headers).map_err(Fault::Answer)?;
    Ok((head, Download { body, connection: Some(connection), is_kept: true }))
}

/// The library reads on where two lengths agree, or a coding beside a length: somebody else might not.
fn is_framed_one_way(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("has a Transfer-Encoding other than chunked");
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err("has both Content-Length and Transfer-Encoding");
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err("has two Content-Lengths"),
        (Some(length), None) if !length.as_bytes().iter().all(u8::is_ascii_digit) => {
            Err("has a Content-Length that is no number")
        }
        _ => Ok(()),
    }
}

/// The body of an answer. It drives the connection it comes from, and gives it back at its end.
pub(crate) struct Download {
    body: Incoming,
    connection: Option<Box<AppConnection>>,
    /// Whether the connection may be asked again after this answer.
    is_kept: bool,
}

impl Download {
    /// The next piece.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(from) = &mut self.connection else { return Poll::Ready(None) };
        let (body, connection) = (&mut self.body, &mut from.connection);
        let polled = from.filter.poll(context, |context| {
            let unheard = &mut Context::from_waker(Waker::noop());
            // It says that it wants more; then the connection reads more; then there may be some.
            match Pin::new(&mut *body).poll_frame(unheard) {
                Poll::Pending => {
                    let ended = connection.poll_without_shutdown(context).is_ready();
                    match Pin::new(&mut *body).poll_frame(unheard) {
                        Poll::Pending if ended => Poll::Ready(Some(Err(Fault::Ended(None)))),
                        polled => polled.map_err(Fault::of),
                    }
                }
                polled => polled.map_err(Fault::of),
            }
        });
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Err(_))) => drop(self.connection.take()),
            _ => {}
        }
        polled
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// How much comes, where that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// The connection, after an answer that switched protocols.
    pub(crate) fn into_connection(mut self) -> Option<Box<AppConnection>> {
        self.connection.take()
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.is_kept) {
            pool::give_back(connection);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

/// Swallows the wake-ups that a connection gives its own task while that task polls it: it is polled again at once
/// instead, and the task is not.
struct Filter {
    state: Arc<FilterState>,
    waker: Waker,
}

struct FilterState {
    inside: AtomicBool,
    missed: AtomicBool,
    outside: AtomicWaker,
}

impl Wake for FilterState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.inside.load(Ordering::SeqCst) {
            self.missed.store(true, Ordering::SeqCst);
        } else {
            self.outside.wake();
        }
    }
}

impl Filter {
    fn new() -> Self {
        let state = Arc::new(FilterState {
            inside: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            outside: AtomicWaker::new(),
        });
        Self { waker: state.clone().into(), state }
    }

    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.state.outside.register(context.waker());
        let inner = &mut Context::from_waker(&self.waker);
        loop {
            self.state.inside.store(true, Ordering::SeqCst);
            let polled = poll(inner);
            self.state.inside.store(false, Ordering::SeqCst);
            if polled.is_ready() || !self.state.missed.swap(false, Ordering::SeqCst) {
                return polled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn an_answer_has_one_length_or_one_coding() {
        let framed = |fields: &[(&str, &str)]| is_framed_one_way(&test::fields(fields)).is_ok();
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(framed(&[]) && framed(&[(length, "0")]) && framed(&[(coding, "Chunked")]));
        for fields in [
            &[(length, "2"), (length, "2")][..],
            &[(length, "2, 2")],
            &[(length, "+2")],
            &[(length, "2"), (coding, "chunked")],
            &[(coding, "gzip, chunked")],
            &[(coding, "chunked, gzip")],
            &[(coding, "chunked"), (coding, "chunked")],
            &[(coding, "identity")],
        ] {
            assert!(!framed(fields), "{fields:?}");
        }
    }
}
