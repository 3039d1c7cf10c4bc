//! Writing an answer of our own, whole, and reading what is left of a refused request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session as Exchange;

use crate::forward;
use crate::record::{Over, Record};

/// A body as short as this is read, so that the connection can be used again.
const SHORT: usize = 64 * 1024;
/// How much of a refused body is read, so that the client looks at the answer, and for how long.
const DRAINED: usize = 256 * 1024;
const DRAINING: Duration = Duration::from_secs(2);

/// Reads a short body whose length is known, so that the connection can be used again.
pub(super) async fn drain_small(exchange: &mut Exchange) {
    let head = exchange.req_header();
    let length =
        head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length <= SHORT) {
        drain(exchange).await;
    }
}

/// Reads on for a while: a socket closed over unread bytes is reset, and the client never sees why it was refused. One
/// that waits for `100 Continue` has sent nothing, and HTTP/2 has an end for each direction.
pub(super) async fn drain(exchange: &mut Exchange) {
    if exchange.is_http2() || exchange.req_header().headers.contains_key(http::header::EXPECT) {
        return;
    }
    let reading = async {
        let mut left = DRAINED;
        while let Ok(Some(piece)) = exchange.read_request_body().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAINING, reading).await;
}

/// Writes an answer of our own, whole. The record learns how that went.
pub(crate) async fn send(exchange: &mut Exchange, record: &mut Record, answer: Response<Bytes>) {
    let (mut parts, body) = answer.into_parts();
    parts.version = http::Version::HTTP_11;
    let headers = &mut parts.headers;
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if let Some(hsts) = record.place().and_then(|place| forward::hsts(place.site())) {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    let has_body = !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let is_head = exchange.req_header().method == Method::HEAD;
    let body = if is_head || !has_body { Bytes::new() } else { body };
    let (status, length) = (parts.status.as_u16(), body.len() as u64);
    record.note(|line| line.status = status);
    let sent = write(exchange, parts, body).await;
    record.over(if sent.is_ok() { Over::Done } else { Over::Client });
    if sent.is_ok() {
        record.note(|line| line.bytes_out = length);
    }
}

async fn write(exchange: &mut Exchange, parts: http::response::Parts, body: Bytes) -> pingora::Result<()> {
    let head = Box::new(pingora::http::ResponseHeader::from(parts));
    match &mut *exchange.downstream_session {
        // The end of the stream on the head itself: gRPC knows its status by that.
        ServerSession::H2(stream) if body.is_empty() => stream.write_response_header(head, true),
        session => {
            session.write_response_header(head).await?;
            session.write_response_body(body, true).await
        }
    }
}
