//! An answer of our own, made whole: what each of them says, its length, and that it was sent.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, STRICT_TRANSPORT_SECURITY};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::answer_body::{AnswerBody, CarriedExchange};
use crate::line::Over;
use crate::rooms::record::Record;

/// Adds the fields that every answer of ours has, a page, a redirect and a refusal alike, unless it says otherwise itself.
/// No other place knows them.
fn guard_own(headers: &mut HeaderMap) {
    const EVERY: [(&str, &str); 7] = [
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("vary", "Cookie"),
    ];
    for (name, value) in EVERY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Makes an answer of our own whole. Its record says that it was sent.
pub(crate) fn finish_answer(
    serving: CarriedExchange,
    mut record: Record,
    method: &Method,
    answer: Response<Bytes>,
) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    let headers = &mut parts.headers;
    guard_own(headers);
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
    Response::from_parts(parts, AnswerBody::of_our_own(serving, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_ours_is_guarded_and_may_say_more() {
        let mut bare = HeaderMap::new();
        guard_own(&mut bare);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(bare[name], value);
        }
        let policy = bare["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        let mut own = HeaderMap::new();
        own.insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
        guard_own(&mut own);
        assert_eq!(
            (own.len(), &own["x-frame-options"]),
            (bare.len(), &HeaderValue::from_static("SAMEORIGIN"))
        );
    }
}
