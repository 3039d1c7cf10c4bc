//! Trailers: the fields behind a body, and which of them go on (RFC 9110 §6.5).
//!
//! Whoever reads them may take them for fields of the head. So nothing goes on behind a body that says who asks, where
//! to, how a message is framed or kept, or who set a cookie; and of a request only what its head has announced, since
//! HTTP/1.1 has no other: where nothing is announced, nothing goes on.

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use crate::field_set::{FieldKind, FieldSet, is_of_a_hop};
use crate::hop::connection_options;
use crate::strip::Strip;

/// The fields that have their place in a head alone (RFC 9110 §6.5.1), beside the fields of one hop and those of
/// identity. Names are compared as those of [`Strip`] are, and a final `*` stands for any ending.
const OF_A_HEAD: [&str; 41] = [
    // framing, routing, and what the content is
    "content-length",
    "content-encoding",
    "content-type",
    "content-range",
    "content-location",
    "content-disposition",
    "content-security-policy*",
    "host",
    "max-forwards",
    "via",
    "x-http-method*",
    "x-method-override*",
    // who asks, and from where
    "authorization",
    "authentication-*",
    "www-authenticate",
    "proxy-*",
    "cookie*",
    "set-cookie*",
    "origin",
    "referer",
    "sec-*",
    "access-control-*",
    // what changes how a request is served, or an answer is kept
    "accept*",
    "cache-control",
    "pragma",
    "range",
    "if-*",
    "prefer",
    "age",
    "expires",
    "date",
    "etag",
    "last-modified",
    "location",
    "refresh",
    "retry-after",
    "vary",
    "warning",
    "clear-site-data",
    "strict-transport-security",
    "x-frame-options",
];

/// The names of a request's trailers that may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailers(Vec<HeaderName>);

impl Trailers {
    /// Reads what a head announces, before the fields of its hop are taken out.
    pub(crate) fn read_announced(headers: &HeaderMap, has: FieldSet, strip: &Strip) -> Self {
        if !has.has(FieldKind::Trailer) {
            return Self::default();
        }
        let is_named = |name: &HeaderName| {
            let name = name.as_str().as_bytes();
            connection_options(headers).any(|option| option.eq_ignore_ascii_case(name))
        };
        let fields = headers.get_all(TRAILER).into_iter();
        let names = fields
            .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| !is_barred(name, strip) && !is_named(name));
        Self(names.collect())
    }

    /// The field that announces them; `None` where there are none.
    pub(crate) fn announcing_field(&self) -> Option<HeaderValue> {
        let names: Vec<&str> = self.0.iter().map(HeaderName::as_str).collect();
        HeaderValue::try_from(names.join(", ")).ok().filter(|_| !names.is_empty())
    }

    /// Keeps of the last frame of a body what may go on; `None` where nothing does.
    pub(crate) fn of_frame(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut trailers = frame.into_trailers().ok()?;
        keep_fields(&mut trailers, |name| self.0.contains(name));
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }
}

/// Takes out of an answer's trailers what may not stand there. Over HTTP/2 they need no announcement.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, strip: &Strip) {
    keep_fields(trailers, |name| !is_barred(name, strip));
}

fn keep_fields(fields: &mut HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) {
    let doomed: Vec<HeaderName> = fields.keys().filter(|name| !is_kept(name)).cloned().collect();
    for name in doomed {
        fields.remove(name);
    }
}

/// Tells whether a name may not stand behind a body, whoever sends it.
fn is_barred(name: &HeaderName, strip: &Strip) -> bool {
    is_of_a_hop(name)
        || strip.is_barred_to_strangers(name.as_str())
        || Strip::has_match(&OF_A_HEAD, name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;
    use proptest::prelude::*;

    fn read(head: &HeaderMap, strip: &Strip) -> Trailers {
        Trailers::read_announced(head, FieldSet::of_headers(head), strip)
    }

    fn announced(fields: &[(&str, &str)]) -> Option<String> {
        let field = read(&test::fields(fields), &Strip::default()).announcing_field();
        field.map(|field| field.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_is_announced_and_may_follow_goes_on() {
        assert_eq!(
            announced(&[("trailer", "X-Checksum,grpc-status , Server-Timing")]).unwrap(),
            "x-checksum, grpc-status, server-timing"
        );
        assert_eq!(announced(&[("trailer", "a"), ("trailer", ", b,,")]).unwrap(), "a, b");
        assert_eq!(announced(&[("x-checksum", "1")]), None);
        assert_eq!(announced(&[("trailer", "")]), None);
        assert_eq!(announced(&[("trailer", "a b, c\u{e4}")]), None);
    }

    #[test]
    fn what_has_its_place_in_a_head_is_not_announced() {
        for name in [
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Connection",
            "Upgrade",
            "Host",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Cookie2",
            "Set-Cookie",
            "Cache-Control",
            "If-Match",
            "Range",
            "Content-Type",
            "Origin",
            "Sec-Fetch-Site",
            "X-Forwarded-User",
            "x_forwarded_user",
            "X-Forwarded-For",
            "Forwarded",
            "X-Real-IP",
            "Remote-User",
            "X-Request-Id",
            "traceparent",
            "X-HTTP-Method-Override",
        ] {
            assert_eq!(announced(&[("trailer", name)]), None, "{name}");
        }
        assert_eq!(announced(&[("trailer", "x-one, x-two"), ("connection", "X-One")]).unwrap(), "x-two");
        let more = Strip::new(["x-legacy"]);
        assert_eq!(read(&test::fields(&[("trailer", "X_Legacy")]), &more).announcing_field(), None);
    }

    proptest! {
        /// Whatever is announced and whatever follows: what goes on was announced, and may.
        #[test]
        fn nothing_goes_on_that_may_not(
            names in prop::collection::vec("[xX][-_.][fF]orwarded[-_.~](user|email|groups)|[Cc]ookie|[Hh]ost|content[-_](length|type)|x-[a-c]|[a-z_-]{1,9}", 0..8),
            sent in prop::collection::vec("[xX][-_.][fF]orwarded[-_.~](user|email|groups)|[Cc]ookie|[Hh]ost|x-[a-c]|[a-z_-]{1,9}", 0..8),
        ) {
            let head = test::fields(&[("trailer", &names.join(", "))]);
            let trailers = read(&head, &Strip::default());
            let fields: Vec<(&str, &str)> = sent.iter().chain(&names).map(|name| (name.as_str(), "v")).collect();
            let frame = trailers.of_frame(Frame::trailers(test::fields(&fields)));
            let passed = frame.map(|frame| frame.into_trailers().unwrap()).unwrap_or_default();
            for name in passed.keys() {
                prop_assert!(names.iter().any(|announced| name.as_str().eq_ignore_ascii_case(announced)), "{}", name);
                let folded: String = name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                prop_assert!(!portcullis_policy::IDENTITY_HEADERS.contains(&folded.as_str()), "{}", name);
                prop_assert!(!["host", "cookie", "content-length", "content-type"].contains(&folded.as_str()), "{}", name);
            }
            for name in ["x-a", "x-b", "x-c"] {
                prop_assert_eq!(passed.contains_key(name), names.iter().any(|announced| announced == name), "{}", name);
            }
        }
    }
}
