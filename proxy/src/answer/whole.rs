//! An answer of our own, made whole: what each of them says, its length, and that it was sent.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::exchange::{AnswerBody, CarriedExchange};
use crate::line::Over;
use crate::rooms::record::Record;

/// Makes an answer of our own whole. Its record says that it was sent.
pub(crate) fn finish_answer(
    serving: CarriedExchange,
    mut record: Record,
    method: &Method,
    answer: Response<Bytes>,
) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    let headers = &mut parts.headers;
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if let Some(hsts) = record.place().and_then(|place| place.site().hsts()) {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    let has_body = !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let body = if method == Method::HEAD || !has_body { Bytes::new() } else { body };
    record.note(|line| {
        line.status = parts.status.as_u16();
        line.bytes_out = body.len() as u64;
    });
    record.note_end(Over::Done);
    Response::from_parts(parts, AnswerBody::own(serving, body))
}
