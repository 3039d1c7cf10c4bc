//! An application that speaks HTTP/2 in the clear (h2c, by prior knowledge; RFC 9113 §3.3), as gRPC servers do.
//!
//! A connection carries one exchange at a time, as over HTTP/1.1: so what a cut drops is one exchange's, and everything of
//! it is polled where it is used. Both directions go on together, for as long as either has something to say; behind the
//! last piece of an answer its trailers are read, in which gRPC has the outcome.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, ResponseFuture};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request, response};

use super::address::AppAddress;
use super::app_socket::AppSocket;
use super::download::Download;
use super::fault::UpstreamFault;
use super::framing::is_framed_one_way;
use super::h2c_connection::{FIELDS, H2cConnection};
use super::h2c_download::{H2cDownload, Rising};
use super::{Upstream, pool};
use crate::clock::{Wait, Waits};
use crate::told::Told;
use crate::upload::Upload;

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
    let mut rising = Rising::new(upload, stream);
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
    let download = H2cDownload::new(body, rising, connection, has_no_body, length);
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
