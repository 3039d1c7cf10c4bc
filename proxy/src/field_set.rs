//! The fields that a head has, of those that somebody here asks for.
//!
//! Each question put to a map costs as much as a look at all names of an ordinary head, and a dozen are asked of every
//! request and of every answer. So the names are looked at once, and whoever asks reads a bit.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, ETAG, EXPECT, HOST, LAST_MODIFIED, ORIGIN,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderName};

/// A set of [`FieldKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(u32);

/// One field, or several that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum FieldKind {
    CacheControl = 1,
    Connection = 1 << 1,
    ContentLength = 1 << 2,
    ContentType = 1 << 3,
    Cookie = 1 << 4,
    Expect = 1 << 5,
    /// One of those that speak of this hop alone (RFC 9110 §7.6.1).
    Hop = 1 << 6,
    /// One that may be in the table of what a client may not say; that is looked up.
    MayBeListed = 1 << 7,
    SetCookie = 1 << 8,
    /// One that tells shared caches how long they may keep an answer.
    SharedCaches = 1 << 9,
    StrictTransport = 1 << 10,
    Trailer = 1 << 11,
    TransferEncoding = 1 << 12,
    Upgrade = 1 << 13,
    Vary = 1 << 14,
}

impl FieldSet {
    /// Looks at all names of a head.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |set, name| set | kinds_of(name)))
    }

    /// Tells whether there is one.
    pub(crate) fn has(self, kind: FieldKind) -> bool {
        self.0 & kind as u32 != 0
    }
}

/// Tells whether a field concerns one hop alone (RFC 9110 §7.6.1), or is a proxy's own to answer.
pub(crate) fn is_of_a_hop(name: &HeaderName) -> bool {
    kinds_of(name) & FieldKind::Hop as u32 != 0
}

/// Finds what a name is: one comparison of numbers for the names of the standards.
fn kinds_of(name: &HeaderName) -> u32 {
    use FieldKind as Kind;
    const fn both(one: FieldKind, other: FieldKind) -> u32 {
        one as u32 | other as u32
    }
    match *name {
        CACHE_CONTROL => Kind::CacheControl as u32,
        CONNECTION => both(Kind::Connection, Kind::Hop),
        CONTENT_LENGTH => Kind::ContentLength as u32,
        CONTENT_TYPE => Kind::ContentType as u32,
        COOKIE => Kind::Cookie as u32,
        EXPECT => both(Kind::Expect, Kind::Hop),
        SET_COOKIE => Kind::SetCookie as u32,
        STRICT_TRANSPORT_SECURITY => Kind::StrictTransport as u32,
        TRAILER => both(Kind::Trailer, Kind::Hop),
        TRANSFER_ENCODING => both(Kind::TransferEncoding, Kind::Hop),
        UPGRADE => both(Kind::Upgrade, Kind::Hop),
        VARY => Kind::Vary as u32,
        TE | ALT_SVC => Kind::Hop as u32,
        PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => both(Kind::Hop, Kind::MayBeListed),
        ACCEPT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | CONTENT_ENCODING | DATE | ETAG | HOST
        | LAST_MODIFIED | ORIGIN | REFERER | SERVER | USER_AGENT => 0,
        _ => kinds_of_text(name.as_str()),
    }
}

fn kinds_of_text(name: &str) -> u32 {
    let mut kinds = 0;
    if matches!(name, "keep-alive" | "proxy-connection" | "http2-settings") {
        kinds |= FieldKind::Hop as u32;
    }
    if may_be_listed(name) {
        kinds |= FieldKind::MayBeListed as u32;
    }
    if OF_SHARED_CACHES.contains(&name) {
        kinds |= FieldKind::SharedCaches as u32;
    }
    kinds
}

/// Fields by which an application speaks to shared caches past `Cache-Control`.
pub(crate) const OF_SHARED_CACHES: [&str; 7] = [
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "vercel-cdn-cache-control",
    "netlify-cdn-cache-control",
    "surrogate-control",
    "edge-control",
    "x-accel-expires",
];

/// Tells whether a name begins like one of the table in `strip.rs`: almost none of an ordinary request does, and only those are
/// compared with all of it.
pub(crate) fn may_be_listed(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', second, ..] => !second.is_ascii_alphanumeric(),
        [b'c', b'f', ..]
        | [b'c', b'l', b'i', ..]
        | [b'f', b'a', b's', ..]
        | [b'f', b'o', b'r', ..]
        | [b'p', b'r', b'o', ..]
        | [b'r', b'e', b'm', ..]
        | [b's', b's', b'l', ..]
        | [b't', b'r', b'a' | b'u', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn a_head_is_looked_through_once() {
        let set = |names: &[&str]| {
            let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
            FieldSet::of_headers(&test::fields(&fields))
        };
        assert_eq!(set(&["accept", "host", "user-agent", "sec-fetch-mode", "x"]), FieldSet::default());
        let some = set(&["accept", "Connection", "Cookie", "X_Forwarded_User"]);
        for kind in [FieldKind::Connection, FieldKind::Hop, FieldKind::Cookie, FieldKind::MayBeListed] {
            assert!(some.has(kind), "{kind:?}");
        }
        assert!(!some.has(FieldKind::Upgrade) && !some.has(FieldKind::Trailer));
        assert!(set(&["x-accel-expires"]).has(FieldKind::SharedCaches));
        assert!(set(&["Keep-Alive"]).has(FieldKind::Hop) && set(&["alt-svc"]).has(FieldKind::Hop));
    }
}
