//! Asking an application: on a connection that was kept, or on a new one.
//!
//! A connection goes back to the pool only when its answer was read to its end and nothing else has come of it.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, request, response};
use hyper::body::Incoming;

use super::address::AppAddress;
use super::app_connection::AppConnection;
use super::download::Download;
use super::fault::UpstreamFault;
use super::outgoing_body::Outgoing;
use super::{Upstream, h2c, pool};
use crate::clock::{Wait, Waits};
use crate::field_set::{FieldKind, FieldSet};
use crate::told::Told;
use crate::upload::Upload;

/// Asks the application. A request goes out a second time only where nothing of it was sent, or where the connection
/// had been idle and asking twice changes nothing.
///
/// # Errors
/// [`UpstreamFault`].
pub(crate) async fn send_request(
    upstream: &Upstream,
    head: Box<request::Parts>,
    told: &Told,
    upload: Option<Upload>,
    waits: &Waits,
) -> Result<(response::Parts, Download), UpstreamFault> {
    if upstream.speaks_h2c() {
        return h2c::send_request(upstream, head, told, upload, waits).await;
    }
    let addresses = upstream.addresses().await;
    let mut request = http::Request::from_parts(*head, Outgoing(upload));
    if let Some(mut connection) = pool::take_connection(&addresses, upstream) {
        let is_repeatable = request.method().is_idempotent() && request.body().0.is_none();
        waits.arm(Wait::Answer, upstream.first_byte_timeout);
        match connection.send_request(request, told, is_repeatable, waits).await {
            Ok(answer) => return read_answer(answer, connection),
            Err((_, Some(unsent))) => request = *unsent,
            // Not a byte came back: it was closed while it was idle.
            Err((UpstreamFault::Ended(_), None))
                if is_repeatable && let Some(again) = connection.unanswered() =>
            {
                request = again;
            }
            Err((fault, None)) => return Err(fault),
        }
        waits.disarm(Wait::Answer);
    }
    let mut connection = connect_anew(upstream, &addresses).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.send_request(request, told, false, waits).await {
        Ok(answer) => read_answer(answer, connection),
        Err((fault, _)) => Err(fault),
    }
}

/// Asks on a connection of its own, which is never kept: for what may switch protocols.
///
/// # Errors
/// [`UpstreamFault`].
pub(crate) async fn ask_alone(
    upstream: &Upstream,
    head: Box<request::Parts>,
    told: &Told,
    waits: &Waits,
) -> Result<(response::Parts, Download), UpstreamFault> {
    if upstream.speaks_h2c() {
        return Err(UpstreamFault::Unfit("opens a WebSocket, which is carried to no application over h2c"));
    }
    let mut connection = connect_anew(upstream, &upstream.addresses().await).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.send_request(http::Request::from_parts(*head, Outgoing(None)), told, false, waits).await
    {
        Ok(answer) => {
            let (head, download) = read_answer(answer, connection)?;
            Ok((head, download.not_kept()))
        }
        Err((fault, _)) => Err(fault),
    }
}

async fn connect_anew(
    upstream: &Upstream,
    addresses: &[AppAddress],
) -> Result<Box<AppConnection>, UpstreamFault> {
    let (socket, to) = upstream.connect(addresses).await?;
    AppConnection::speak_over(socket, to, upstream).await
}

fn read_answer(
    answer: http::Response<Incoming>,
    connection: Box<AppConnection>,
) -> Result<(response::Parts, Download), UpstreamFault> {
    let (head, body) = answer.into_parts();
    is_framed_one_way(&head.headers).map_err(UpstreamFault::Answer)?;
    Ok((head, Download::new(body, connection)))
}

/// The library reads on where two lengths agree, or a coding beside a length: somebody else might not.
pub(super) fn is_framed_one_way(headers: &HeaderMap) -> Result<(), &'static str> {
    let has = FieldSet::of_headers(headers);
    if has.has(FieldKind::TransferEncoding) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let coding = codings.next().map_or(&b""[..], HeaderValue::as_bytes);
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err("has a Transfer-Encoding other than chunked");
        }
        if has.has(FieldKind::ContentLength) {
            return Err("has both Content-Length and Transfer-Encoding");
        }
    }
    if !has.has(FieldKind::ContentLength) {
        return Ok(());
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
