//! An application that speaks HTTP/2 in the clear (h2c, by prior knowledge; RFC 9113 §3.3), as gRPC servers do.
//!
//! A connection carries one exchange at a time, as over HTTP/1.1: so what a cut drops is one exchange's, and everything of
//! it is polled where it is used. Both directions go on together, for as long as either has something to say; behind the
//! last piece of an answer its trailers are read, in which gRPC has the outcome.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request, response};
use http_body::{Body as _, Frame, SizeHint};

use super::address::AppAddress;
use super::app_socket::AppSocket;
use super::download::Download;
use super::fault::UpstreamFault;
use super::framing::is_framed_one_way;
use super::{Upstream, pool};
use crate::clock::{Wait, Waits};
use crate::told::Told;
use crate::upload::Upload;

/// The bytes of an answer that an application may send before they are taken, and of a connection's.
const WINDOW: u32 = 256 * 1024;
/// The room for messages of a few bytes, of which as many as a window holds may wait. The library charges 256 bytes for each,
/// and would end the connection of a server that sends many at once.
const SMALL_FRAMES: usize = WINDOW as usize / 5 * 256;
/// The bytes of the fields of an answer's head.
const FIELDS: u32 = 64 * 1024;
/// The bytes of a request's body that are kept until the socket takes them.
const SEND: usize = 64 * 1024;

/// A connection to an application over HTTP/2.
pub(crate) struct H2cConnection {
    pub(super) to: AppAddress,
    sender: SendRequest<Bytes>,
    connection: Connection<AppSocket, Bytes>,
}

impl H2cConnection {
    async fn speak_over(socket: AppSocket, to: AppAddress) -> Result<Box<Self>, UpstreamFault> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(FIELDS)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND);
        let (sender, connection) = builder.handshake(socket).await.map_err(UpstreamFault::from_h2)?;
        Ok(Box::new(Self { to, sender, connection }))
    }

    /// Tells whether it can serve a request now.
    pub(super) fn is_idle(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let lives = Pin::new(&mut self.connection).poll(context).is_pending();
        lives && matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())))
    }

    /// Reads and writes what there is. The fault of its end, once it has one.
    fn drive(&mut self, context: &mut Context<'_>) -> Option<UpstreamFault> {
        match Pin::new(&mut self.connection).poll(context) {
            Poll::Pending => None,
            Poll::Ready(ended) => {
                Some(ended.map_or_else(UpstreamFault::from_h2, |()| UpstreamFault::Ended(None)))
            }
        }
    }
}

/// The body of a request on its way up. It goes on while the answer comes down.
struct Rising {
    upload: Option<Upload>,
    stream: SendStream<Bytes>,
    /// A piece that the application has no room for yet.
    piece: Bytes,
}

impl Rising {
    /// Tells whether everything is said.
    fn is_over(&self) -> bool {
        self.upload.is_none()
    }

    /// Hands on what there is, as far as there is room.
    fn rise(&mut self, context: &mut Context<'_>) -> Result<(), UpstreamFault> {
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

/// Asks an application over HTTP/2. A request goes out a second time only where nothing of it was done, and the application
/// says so (RFC 9113 §8.7), or where a connection that was kept broke and asking twice changes nothing.
///
/// # Errors
/// [`UpstreamFault`].
pub(super) async fn send_request(
    upstream: &Upstream,
    head: Box<request::Parts>,
    told: &Told,
    upload: Option<Upload>,
    waits: &Waits,
) -> Result<(response::Parts, Download), UpstreamFault> {
    let addresses = upstream.addresses().await;
    let request = prepare_request(*head, told)?;
    let (mut connection, mut was_kept) = match pool::take_h2c(&addresses) {
        Some(connection) => (connection, true),
        None => (connect_anew(upstream, &addresses).await?, false),
    };
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    // One that was kept has just been looked at: what it does not take, a new one takes.
    if let Err(fault) = poll_fn(|context| connection.sender.poll_ready(context)).await {
        tracing::debug!(%fault, "an application's connection that was kept is of no use");
        (connection, was_kept) = (connect_anew(upstream, &addresses).await?, false);
    }
    let is_head = request.method() == Method::HEAD;
    // A body is gone once it was read.
    let again = upload.is_none().then(|| request.clone());
    let is_repeatable = was_kept && request.method().is_idempotent();
    let fault = match ask_once(connection, request, upload, waits).await {
        Ok(answered) => return read_answer(answered, is_head),
        Err(fault) => fault,
    };
    let Some(again) = again.filter(|_| fault.was_not_processed() || is_repeatable && fault.is_of_socket())
    else {
        return Err(fault);
    };
    waits.disarm(Wait::Answer);
    let connection = connect_anew(upstream, &addresses).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    read_answer(ask_once(connection, again, None, waits).await?, is_head)
}

/// An answer's head with what it stands on.
type H2cAnswered = (Response<RecvStream>, Rising, Box<H2cConnection>);

async fn ask_once(
    mut connection: Box<H2cConnection>,
    request: Request<()>,
    upload: Option<Upload>,
    waits: &Waits,
) -> Result<H2cAnswered, UpstreamFault> {
    let ends = upload.is_none();
    let (answer, stream) = connection.sender.send_request(request, ends).map_err(UpstreamFault::from_h2)?;
    let mut rising = Rising { upload, stream, piece: Bytes::new() };
    let answer = wait_for_answer(&mut connection, &mut rising, answer, waits).await?;
    Ok((answer, rising, connection))
}

async fn connect_anew(
    upstream: &Upstream,
    addresses: &[AppAddress],
) -> Result<Box<H2cConnection>, UpstreamFault> {
    let (socket, to) = upstream.connect(addresses).await?;
    let spoken = tokio::time::timeout(upstream.connect_timeout, H2cConnection::speak_over(socket, to));
    spoken.await.map_err(|_| UpstreamFault::Connect(std::io::ErrorKind::TimedOut.into()))?
}

/// The request with what is told beside it, and without what HTTP/2 has no place for (RFC 9113 §8.2.2).
fn prepare_request(mut head: request::Parts, told: &Told) -> Result<Request<()>, UpstreamFault> {
    let unfit = |_| UpstreamFault::Unfit("has a target or a host that cannot be asked for over HTTP/2");
    for name in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let host = head.headers.remove(HOST);
    for (name, value) in told.fields() {
        if let Some(name) = name {
            head.headers.append(name, value);
        }
    }
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = host.map(|host| Authority::try_from(host.as_bytes())).transpose().map_err(unfit)?;
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() =
        Uri::from_parts(uri).map_err(|_| UpstreamFault::Unfit("has a target without a host"))?;
    *request.headers_mut() = head.headers;
    Ok(request)
}

async fn wait_for_answer(
    connection: &mut H2cConnection,
    rising: &mut Rising,
    mut answer: ResponseFuture,
    waits: &Waits,
) -> Result<Response<RecvStream>, UpstreamFault> {
    poll_fn(|context| {
        if waits.has_struck(Wait::Answer) {
            return Poll::Ready(Err(UpstreamFault::Late));
        }
        let ended = connection.drive(context);
        if let Poll::Ready(answered) = Pin::new(&mut answer).poll(context) {
            return Poll::Ready(answered.map_err(UpstreamFault::from_h2));
        }
        if let Some(fault) = ended {
            return Poll::Ready(Err(fault));
        }
        if let Err(fault) = rising.rise(context) {
            return Poll::Ready(Err(fault));
        }
        // What was queued is written, and what came meanwhile wakes whoever asked for it.
        match connection.drive(context) {
            Some(fault) => Poll::Ready(Err(fault)),
            None => Poll::Pending,
        }
    })
    .await
}

fn read_answer(
    (answer, rising, connection): H2cAnswered,
    is_head: bool,
) -> Result<(response::Parts, Download), UpstreamFault> {
    let (head, body) = answer.into_parts();
    is_framed_one_way(&head.headers).map_err(UpstreamFault::Answer)?;
    let has_no_body = is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let state = if has_no_body || body.is_end_stream() { Falling::Over } else { Falling::Pieces };
    let left = length.filter(|_| state == Falling::Pieces);
    let download = H2cDownload { body, rising, state, left, connection: Some(connection) };
    Ok((head, Download::over_h2c(download)))
}

/// Asks for a path on a connection of its own, and gives the status; no body is read.
///
/// # Errors
/// It speaks something else, or breaks off.
pub(super) async fn ask_status(
    socket: AppSocket,
    host: &HeaderValue,
    path: &PathAndQuery,
    secret: Option<&(HeaderName, HeaderValue)>,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(FIELDS);
    let (sender, connection) = builder.handshake::<_, Bytes>(socket).await?;
    let authority = Authority::try_from(host.as_bytes())?;
    let uri =
        Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path.clone()).build()?;
    let mut request = Request::get(uri).header(USER_AGENT, "portcullis").body(())?;
    if let Some((name, value)) = secret {
        request.headers_mut().insert(name, value.clone());
    }
    let asking = async {
        let (answer, _) = sender.ready().await?.send_request(request, true)?;
        answer.await.map(|answer| answer.status())
    };
    // Both in one future: when the answer is there, or time is up, the connection goes with it.
    let mut asking = pin!(asking);
    tokio::select! {
        status = &mut asking => Ok(status?),
        ended = connection => match poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await {
            // It came with the end.
            Poll::Ready(status) => Ok(status?),
            Poll::Pending => Err(ended.err().map_or_else(|| "it closed the connection".into(), Into::into)),
        },
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
