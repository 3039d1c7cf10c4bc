//! What may be kept of an answer by whom: an answer for one person must not be handed to the next one by a shared
//! cache. The application's own `no-store` and `private` are kept; `public` and what speaks to content
//! delivery networks go.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, VARY};

use crate::field_set::{FieldKind, FieldSet, OF_SHARED_CACHES};

const UNSAID: HeaderValue = HeaderValue::from_static("private, no-cache");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");

/// Makes an answer for one person private. `has`: its fields.
pub(crate) fn make_private(headers: &mut HeaderMap, has: FieldSet) {
    let said = if has.has(FieldKind::CacheControl) { private_directives(headers) } else { UNSAID };
    headers.insert(CACHE_CONTROL, said);
    if has.has(FieldKind::SharedCaches) {
        for name in OF_SHARED_CACHES {
            headers.remove(name);
        }
    }
    if !has.has(FieldKind::Vary) || !varies_by_cookie(headers) {
        headers.append(VARY, COOKIE);
    }
}

fn varies_by_cookie(headers: &HeaderMap) -> bool {
    let mut varied =
        headers.get_all(VARY).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    varied.any(|word| {
        let word = word.trim_ascii();
        word == b"*" || word.eq_ignore_ascii_case(b"cookie")
    })
}

/// The directives that are left, and `private` where nothing as strict was said.
fn private_directives(headers: &HeaderMap) -> HeaderValue {
    let mut kept: Vec<u8> = Vec::new();
    let mut is_private = false;
    for directive in
        headers.get_all(CACHE_CONTROL).iter().flat_map(|field| split_directives(field.as_bytes()))
    {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        // A quote that is left open would swallow what another field says once they are joined.
        if name.eq_ignore_ascii_case(b"public")
            || name.eq_ignore_ascii_case(b"s-maxage")
            || is_open(directive)
        {
            continue;
        }
        // `private="x"` lets a shared cache keep all but the field x, so it does not count.
        is_private |= directive.eq_ignore_ascii_case(b"private") || name.eq_ignore_ascii_case(b"no-store");
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(directive);
    }
    if !is_private {
        let rest = std::mem::take(&mut kept);
        kept.extend_from_slice(b"private");
        if !rest.is_empty() {
            kept.extend_from_slice(b", ");
            kept.extend_from_slice(&rest);
        }
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)).unwrap_or(PRIVATE)
}

fn is_open(directive: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in directive {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

/// Splits at commas outside quoted strings (RFC 9110 §5.6.4); empty ones are left out.
fn split_directives(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    field
        .split(move |byte| {
            let ends = *byte == b',' && !quoted;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            ends
        })
        .map(<[u8]>::trim_ascii)
        .filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn after(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let has = FieldSet::of_headers(&headers);
        make_private(&mut headers, has);
        headers
    }

    fn said(fields: &[&str]) -> String {
        let fields: Vec<_> = fields.iter().map(|value| ("cache-control", *value)).collect();
        let headers = after(&fields);
        let mut found = headers.get_all(CACHE_CONTROL).iter();
        let one = found.next().unwrap().to_str().unwrap().to_owned();
        assert!(found.next().is_none());
        one
    }

    #[test]
    fn cache_control_becomes_private() {
        for (before, expected) in [
            (&[][..], "private, no-cache"),
            (&["public, max-age=600"], "private, max-age=600"),
            (&["max-age=600, s-maxage=60"], "private, max-age=600"),
            (&["PUBLIC"], "private"),
            (&["no-store"], "no-store"),
            (&["private, max-age=60"], "private, max-age=60"),
            (&["public", "no-store, public"], "no-store"),
            (&["private=\"set-cookie, x\", max-age=1"], "private, private=\"set-cookie, x\", max-age=1"),
            (&["x=\"a, public\", s-maxage=1"], "private, x=\"a, public\""),
            (&["no-cache"], "private, no-cache"),
            (&[" , ,"], "private"),
            (&["x=\"", "no-store"], "no-store"),
        ] {
            assert_eq!(said(before), expected, "{before:?}");
        }
    }

    #[test]
    fn vary_names_the_cookie_once() {
        let vary = |value| {
            let headers = after(&[("vary", value)]);
            headers.get_all(VARY).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(vary("Accept"), ["Accept", "Cookie"]);
        assert_eq!(vary("accept, COOKIE"), ["accept, COOKIE"]);
        assert_eq!(vary("*"), ["*"]);
        assert_eq!(after(&[]).get(VARY).unwrap(), "Cookie");
    }

    #[test]
    fn what_speaks_to_shared_caches_goes() {
        let headers =
            after(&[("surrogate-control", "max-age=9"), ("CDN-Cache-Control", "public"), ("expires", "0")]);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["expires", "cache-control", "vary"]
        );
    }

    proptest! {
        /// Whatever was said, no shared cache may keep it, and doing it twice changes nothing.
        #[test]
        fn always_private_and_stable(fields in prop::collection::vec("[a-z=\", \\\\-]{0,20}|public|s-maxage=1|private|no-store", 0..4)) {
            let fields: Vec<_> = fields.iter().map(|value| ("cache-control", value.as_str())).collect();
            let once = after(&fields);
            let one = once.get(CACHE_CONTROL).unwrap().clone();
            let words: Vec<_> = split_directives(one.as_bytes()).collect();
            prop_assert!(words.iter().any(|word| word.eq_ignore_ascii_case(b"private") || word.starts_with(b"no-store")));
            prop_assert!(!words.iter().any(|word| word.eq_ignore_ascii_case(b"public")));
            let mut twice = once.clone();
            make_private(&mut twice, FieldSet::of_headers(&once));
            prop_assert_eq!(twice.get(CACHE_CONTROL), Some(&one));
        }
    }
}
