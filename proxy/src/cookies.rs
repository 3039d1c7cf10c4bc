//! Our cookies: finding ours, cutting all of them out before the application sees the rest, and keeping the
//! application from setting any.
//!
//! All `Cookie` fields count as one (HTTP/2 sends crumbs, RFC 9113 §8.2.3). Ours twice is no session: one of them
//! was planted. The rule protected: our cookie never reaches an application.

use bytes::{BufMut, BytesMut};
use http::header::{COOKIE, Entry, HeaderMap, HeaderValue, SET_COOKIE};
use memchr::memchr;
use portcullis_keys::sha256;
use portcullis_policy::PublicUrl;

/// The beginning of every session cookie's name; the app's own ending follows, see [`session_cookie`].
pub const SESSION_COOKIE: &str = "__Host-portcullis-";

/// The beginning of the name of every cookie of a login under way.
pub const FLOW_COOKIE: &str = "__Host-pcflow-";

/// The name of an app's session cookie: two apps on one host name but different ports must not share one.
pub fn session_cookie(public_url: &PublicUrl) -> String {
    use std::fmt::Write as _;
    let mut name = String::from(SESSION_COOKIE);
    for byte in &sha256(public_url.to_string().as_bytes())[..4] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Every cookie of a request, as name and value, in its order.
///
/// Bytes, not text: one cookie with a byte beyond ASCII hides no other (RFC 6265bis §5.7.3).
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    cookie_pairs(headers).map(split_pair)
}

/// The value of the one cookie with this name; `None` where there is none or more than one.
pub(crate) fn find_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut one = None;
    for field in headers.get_all(COOKIE) {
        for pair in split_field(field.as_bytes()) {
            let pair = pair.trim_ascii();
            if !pair.starts_with(name.as_bytes()) {
                continue;
            }
            let (found, value) = split_pair(pair);
            if found == name.as_bytes() && one.replace(value).is_some() {
                return None;
            }
        }
    }
    one
}

/// Takes every cookie of ours out and joins the rest into one field. Says whether any of ours was there.
pub(crate) fn cut_out(headers: &mut HeaderMap) -> bool {
    let Entry::Occupied(mut cookies) = headers.entry(COOKIE) else { return false };
    let (mut ours, mut fields) = (false, 0);
    let mut rest = BytesMut::with_capacity(cookies.iter().map(|field| field.len() + 2).sum());
    for field in cookies.iter() {
        fields += 1;
        for pair in split_field(field.as_bytes()).map(<[u8]>::trim_ascii) {
            if is_ours(pair) {
                ours = true;
            } else if !pair.is_empty() {
                if !rest.is_empty() {
                    rest.put_slice(b"; ");
                }
                rest.put_slice(pair);
            }
        }
    }
    if !ours && fields < 2 {
        return false;
    }
    match HeaderValue::from_maybe_shared(rest.freeze()) {
        Ok(rest) if !rest.is_empty() => drop(cookies.insert(rest)),
        _ => drop(cookies.remove()),
    }
    ours
}

/// Takes `Set-Cookie` fields that name a cookie of ours out of an application's answer; says how many.
pub(crate) fn refuse_set(headers: &mut HeaderMap) -> usize {
    let sets_ours = |field: &HeaderValue| {
        split_field(field.as_bytes()).next().is_some_and(|set| is_ours(set.trim_ascii()))
    };
    let ours = headers.get_all(SET_COOKIE).iter().filter(|field| sets_ours(field)).count();
    if ours > 0 {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|field| !sets_ours(field)).cloned().collect();
        headers.remove(SET_COOKIE);
        for field in kept {
            headers.append(SET_COOKIE, field);
        }
    }
    ours
}

/// Tells whether a pair is a cookie with a prefix of ours, a sibling app's too. Case is folded: a server that does
/// not care must not see it.
fn is_ours(pair: &[u8]) -> bool {
    pair.starts_with(b"__")
        && [SESSION_COOKIE, FLOW_COOKIE].iter().any(|prefix| {
            pair.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        })
}

/// Every pair of every field, without blanks around it.
fn cookie_pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(COOKIE).into_iter();
    fields.flat_map(|field| split_field(field.as_bytes())).map(<[u8]>::trim_ascii)
}

/// Splits a field at its semicolons.
fn split_field(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(b';', text);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Name and value, without blanks around them. A pair without `=` is all name.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', pair) {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (pair.trim_ascii(), b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_policy::HostPort;
    use proptest::prelude::*;

    const OURS: &str = "__Host-portcullis-0a1b2c3d";

    fn jar(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_str(field).unwrap());
        }
        headers
    }

    fn left(fields: &[&str]) -> Vec<String> {
        let mut headers = jar(fields);
        cut_out(&mut headers);
        headers.get_all(COOKIE).iter().map(|field| field.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_name_is_the_apps_own() {
        let name = |port, path| {
            let at = HostPort::new("wiki.example.com", port).unwrap();
            session_cookie(&PublicUrl::new(true, at, path).unwrap())
        };
        // Another name would sign everybody out who came before.
        assert_eq!(name(None, ""), "__Host-portcullis-efc1361d");
        assert_eq!(name(Some(8443), "/x"), "__Host-portcullis-b66e29a1");
    }

    #[test]
    fn ours_is_found_once_or_not_at_all() {
        for (fields, expected) in [
            (vec![format!("{OURS}=v")], Some("v")),
            (vec![format!("a=1; {OURS}=v; b=2")], Some("v")),
            (vec!["a=1".into(), format!("{OURS}=v")], Some("v")),
            (vec![format!(" {OURS} = v ;")], Some("v")),
            (vec![format!("{OURS}=v; {OURS}=w")], None),
            (vec![format!("{OURS}=v"), format!("{OURS}=v")], None),
            (vec![format!("{OURS}x=v")], None),
            (vec![format!("{}=v", OURS.to_lowercase())], None),
            (vec![format!("a={OURS}=v")], None),
            (vec![OURS.into()], Some("")),
            (vec![], None),
        ] {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            assert_eq!(find_cookie(&jar(&fields), OURS), expected.map(str::as_bytes), "{fields:?}");
        }
    }

    #[test]
    fn what_is_left_is_one_field_without_ours() {
        for (fields, expected) in [
            (&["a=1; b=2"][..], &["a=1; b=2"][..]),
            (&["a=1", "b=2"], &["a=1; b=2"]),
            (&["__Host-portcullis-ffffffff=x"], &[]),
            (&["a=1; __Host-portcullis-ffffffff=x; __Host-pcflow-9=y; b=2"], &["a=1; b=2"]),
            (&["a=1;__HOST-PORTCULLIS-ffffffff =x"], &["a=1"]),
            (&["__Host-portcullis-=x", "c"], &["c"]),
            (&["", ";;"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(left(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn an_ordinary_field_is_not_touched() {
        let odd = ["a=1;b=2 ;  c"];
        assert_eq!(left(&odd), odd);
    }

    #[test]
    fn an_app_cannot_set_ours() {
        let mut headers = HeaderMap::new();
        for field in [
            "sid=1; Path=/",
            "__Host-portcullis-ffffffff=x; Secure",
            " __host-PORTCULLIS-a = x",
            "__Host-pcflow-1=; Max-Age=0",
            "theme=__Host-portcullis-",
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_static(field));
        }
        assert_eq!(refuse_set(&mut headers), 3);
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(kept, ["sid=1; Path=/", "theme=__Host-portcullis-"]);
        assert_eq!(refuse_set(&mut headers), 0);
    }

    #[test]
    fn bytes_beyond_ascii_hide_no_cookie() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(b"a=\xff\xfe; caf\xc3\xa9=1; b=2").unwrap());
        headers.append(COOKIE, HeaderValue::from_bytes(b"\x80; c = 3 ").unwrap());
        let found: Vec<_> = cookies(&headers).collect();
        let expected: [(&[u8], &[u8]); 5] =
            [(b"a", b"\xff\xfe"), (b"caf\xc3\xa9", b"1"), (b"b", b"2"), (b"\x80", b""), (b"c", b"3")];
        assert_eq!(found, expected);
        assert_eq!(find_cookie(&headers, "b"), Some(&b"2"[..]));
    }

    proptest! {
        /// Whatever stands beside it, a cookie is found: every byte that a header may hold, `;` aside.
        #[test]
        fn no_byte_hides_a_cookie(
            before in prop::collection::vec((0x20..=0xff_u8).prop_filter("no end", |b| !matches!(b, b';' | 0x7f)), 0..20),
        ) {
            let mut field = before;
            field.extend_from_slice(b"; ours=1");
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_bytes(&field).unwrap());
            prop_assert_eq!(cookies(&headers).last(), Some((&b"ours"[..], &b"1"[..])));
        }

        /// Whatever else is in the jar, ours never stays, and every other pair stays as it was, in its order.
        #[test]
        fn ours_never_stays_and_the_rest_does(
            fields in prop::collection::vec(prop::collection::vec(("[ -:<-~]{0,12}", any::<bool>()), 0..5), 0..4),
        ) {
            let made: Vec<String> = fields.iter().map(|pairs| {
                let pairs: Vec<String> = pairs.iter()
                    .map(|(text, ours)| if *ours { format!("{SESSION_COOKIE}{text}") } else { text.clone() })
                    .collect();
                pairs.join(";")
            }).collect();
            let made: Vec<&str> = made.iter().map(String::as_str).collect();
            let left = left(&made);
            prop_assert!(left.len() <= made.len().max(1));
            let wanted: Vec<String> = made.iter().flat_map(|field| field.split(';'))
                .map(|pair| pair.trim().to_owned())
                .filter(|pair| !pair.is_empty() && !is_ours(split_pair(pair.as_bytes()).0))
                .collect();
            let seen: Vec<String> = left.iter().flat_map(|field| field.split(';'))
                .map(|pair| pair.trim().to_owned()).filter(|pair| !pair.is_empty()).collect();
            prop_assert_eq!(seen, wanted);
        }

        /// The session is the one that a plain reading of all pairs finds.
        #[test]
        fn finding_agrees_with_a_plain_reading(fields in prop::collection::vec("[ab=; ]{0,12}", 0..4)) {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let plain: Vec<String> = fields.iter().flat_map(|field| field.split(';'))
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (name.trim() == "a").then(|| value.trim().to_owned())
                }).collect();
            let expected = (plain.len() == 1).then(|| plain[0].clone().into_bytes());
            prop_assert_eq!(find_cookie(&jar(&fields), "a").map(<[u8]>::to_vec), expected);
        }
    }
}
