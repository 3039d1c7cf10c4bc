//! Forward: the request as the application sees it, and the answer as the client does.
//!
//! It alone writes identity headers, cuts our cookie out and picks the upstream, and it is given a request only with a
//! [`portcullis_policy::Pass`]. Each direction is one pass over the fields: everything that must go, goes before
//! anything of ours is written. `X-Forwarded-Proto` and the host come from the public URL, never from the client.

mod underway;
mod upstream;

use bytes::BytesMut;
use http::header::{ALT_SVC, HOST, HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use portcullis_policy::Principal;

pub(crate) use underway::{Underway, forget_spelling};
pub use upstream::{HostSent, Upstream, UpstreamError, UpstreamSettings};

use crate::peer::Peer;
use crate::rules::{Place, Site};
use crate::trace::{TRACEPARENT, Trace, X_REQUEST_ID};
use crate::{caching, cookies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How many fields speak of the way a request came.
const OURS: usize = 6;

/// What an application says of its own connection to us.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// One year, of this name alone: what is below it is not ours to promise.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Makes a client's fields into what the application is told. Says how many were stripped.
///
/// `who` is `None` under a public rule: then nobody's identity goes up.
pub fn outgoing(
    headers: &mut HeaderMap,
    place: &Place,
    who: Option<&Principal>,
    peer: &Peer,
    trace: &Trace,
) -> usize {
    let (site, accept) = (place.site(), &place.rules().accept);
    let from_proxy = accept.trusted.contains(peer.address());
    let came_by = came_by(headers, peer, from_proxy);
    let stripped = accept.strip.clean(headers, from_proxy);
    cookies::cut_out(headers);

    let identity = who.map(Principal::headers).unwrap_or_default();
    headers.reserve(OURS + identity.len()); // it grows once and not twice
    headers.insert(HOST, place.host().clone());
    headers.insert(X_FORWARDED_PROTO, site.scheme.clone());
    headers.insert(X_FORWARDED_HOST, place.authority().clone());
    headers.insert(X_FORWARDED_FOR, came_by);
    headers.insert(X_REQUEST_ID, trace.request());
    headers.insert(TRACEPARENT, trace.parent());
    for (name, value) in identity {
        headers.insert(name.clone(), value.clone());
    }
    stripped
}

/// `X-Forwarded-For`: what a trusted proxy said, then our peer.
fn came_by(headers: &HeaderMap, peer: &Peer, from_proxy: bool) -> HeaderValue {
    if !from_proxy || !headers.contains_key(X_FORWARDED_FOR) {
        return peer.text().clone();
    }
    let mut all = BytesMut::new();
    for field in headers.get_all(X_FORWARDED_FOR) {
        all.extend_from_slice(field.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(peer.text().as_bytes());
    HeaderValue::from_maybe_shared(all.freeze()).unwrap_or_else(|_| peer.text().clone())
}

/// Makes an application's fields into what the client is told (design §11). Says how many cookies of ours it tried
/// to set.
pub fn incoming(headers: &mut HeaderMap, site: &Site, is_public: bool, switches: bool) -> usize {
    headers.remove(ALT_SVC);
    headers.remove(KEEP_ALIVE);
    let refused = cookies::refuse_set(headers);
    if !is_public && !switches {
        caching::make_private(headers);
    }
    if site.is_https && !switches && !headers.contains_key(STRICT_TRANSPORT_SECURITY) {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    refused
}

/// Whether an answer is a stream by nature, one that is cut when its person changes (rule R8).
pub(crate) fn is_stream(status: http::StatusCode, headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let starts = |with: &[u8]| kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    status == http::StatusCode::SWITCHING_PROTOCOLS
        || starts(b"text/event-stream")
        || starts(b"application/grpc")
}

/// What goes with every answer of our own on an https address.
pub(crate) fn hsts(site: &Site) -> Option<HeaderValue> {
    site.is_https.then_some(HSTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::{self, PEER};
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn up(fields: &[(&str, &str)], peer: IpAddr) -> HeaderMap {
        let mut headers = test::fields(fields);
        let place = test::place();
        let who = test::alice(place.rules().policy());
        outgoing(
            &mut headers,
            &place,
            Some(&who),
            &test::gate().peer(peer),
            &Trace::of(&HeaderMap::new(), false),
        );
        headers
    }

    #[test]
    fn the_application_is_told_who_where_and_how() {
        let up = up(&[("host", "wiki.test:81"), ("accept", "*/*"), ("cookie", "a=1")], PEER);
        for (name, value) in [
            ("host", "wiki.test"),
            ("x-forwarded-host", "wiki.test"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-user", "alice"),
            ("x-forwarded-email", "alice@wiki.test"),
            ("x-forwarded-groups", "Owners"),
            ("accept", "*/*"),
            ("cookie", "a=1"),
        ] {
            assert_eq!(up.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(up.get(X_REQUEST_ID).unwrap().len(), 32);
    }

    #[test]
    fn nothing_a_client_says_of_identity_or_way_is_left() {
        let forged = up(
            &[
                ("X_Forwarded_User", "mallory"),
                ("x-forwarded-user", "mallory"),
                ("x-forwarded-for", "127.0.0.1"),
                ("X_Forwarded_For", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "evil.test"),
                ("forwarded", "for=127.0.0.1"),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("cookie", "__Host-portcullis-00000000=stolen"),
            ],
            PEER,
        );
        let plain = up(&[], PEER);
        let names = |headers: &HeaderMap| {
            let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&forged), names(&plain));
        assert_eq!(forged.get_all("x-forwarded-user").iter().collect::<Vec<_>>(), ["alice"]);
        assert_eq!(forged["x-forwarded-for"], "198.51.100.9");
    }

    #[test]
    fn a_trusted_proxy_is_added_to_not_replaced() {
        let proxy = IpAddr::from([10, 0, 0, 1]);
        let up = up(
            &[
                ("x-forwarded-for", "203.0.113.1"),
                ("x-forwarded-for", "203.0.113.2"),
                ("x-real-ip", "9.9.9.9"),
            ],
            proxy,
        );
        assert_eq!(up["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 10.0.0.1");
        assert_eq!(up["x-real-ip"], "9.9.9.9");
        assert_eq!(up["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_public_rule_tells_nobodys_name() {
        let mut headers = test::fields(&[("x-forwarded-user", "mallory")]);
        outgoing(
            &mut headers,
            &test::place(),
            None,
            &test::gate().peer(PEER),
            &Trace::of(&HeaderMap::new(), false),
        );
        assert!(!headers.contains_key("x-forwarded-user"));
    }

    #[test]
    fn answers_are_private_and_keep_to_https() {
        let place = test::place();
        let down = |fields: &[(&str, &str)], public| {
            let mut headers = test::fields(fields);
            incoming(&mut headers, place.site(), public, false);
            headers
        };
        let answer = down(&[("cache-control", "public"), ("alt-svc", "h3=\":443\"")], false);
        assert_eq!(answer["cache-control"], "private");
        assert_eq!(answer["strict-transport-security"], "max-age=31536000");
        assert!(!answer.contains_key("alt-svc"));
        let own = down(&[("strict-transport-security", "max-age=1"), ("cache-control", "public")], true);
        assert_eq!(own["strict-transport-security"], "max-age=1");
        assert_eq!(own["cache-control"], "public");
        assert!(!own.contains_key("vary"));
    }

    #[test]
    fn streams_are_known_by_their_head() {
        let is = |status: u16, kind| {
            is_stream(status.try_into().unwrap(), &test::fields(&[("content-type", kind)]))
        };
        assert!(is(101, ""));
        assert!(is(200, "Text/Event-Stream; charset=utf-8"));
        assert!(is(200, "application/grpc+proto"));
        assert!(!is(200, "text/html"));
    }

    proptest! {
        /// Whatever fields a client sends, in whatever spelling: the identity fields are exactly the person's, and no
        /// other name folds onto one of them.
        #[test]
        fn identity_is_exactly_ours(
            fields in prop::collection::vec(("[xX][-_.][fF]orwarded[-_.~](user|email|groups|roles|preferred[-_]username)|[a-z_.-]{1,12}", "[ -~]{0,12}"), 0..12),
            trusted: bool,
        ) {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let peer = if trusted { IpAddr::from([10, 0, 0, 1]) } else { PEER };
            let up = up(&fields, peer);
            let who = test::alice(test::place().rules().policy());
            for (name, value) in &up {
                let folded: String = name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                if portcullis_policy::IDENTITY_HEADERS.contains(&folded.as_str()) {
                    prop_assert!(who.headers().contains(&(name.clone(), value.clone())), "{}: {:?}", name, value);
                }
            }
            for (name, _) in who.headers() {
                prop_assert_eq!(up.get_all(name).iter().count(), 1);
            }
        }
    }
}
