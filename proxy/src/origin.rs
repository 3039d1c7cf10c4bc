//! Origin: whose page is behind a request, as browsers say it. The proxy's rules against other sites are here.
//!
//! A browser says `Origin` and the fields of Fetch Metadata, which no page can set; a program that says none of them
//! passes. What a refusal looks like to who asks is another question (`kind.rs`).

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Method};

use crate::rules::AppRules;

/// Tells whether a WebSocket handshake comes from a page of another site. Without `Origin` it is no browser's and passes.
pub(crate) fn is_foreign(headers: &HeaderMap, place: &AppRules) -> bool {
    headers.get_all(ORIGIN).iter().any(|origin| origin.as_bytes() != place.site().origin.as_bytes())
}

/// Tells whether a page of another site is behind a request that changes something. An IdP's own answers
/// come from elsewhere by nature and are checked by what they carry.
pub(crate) fn is_foreign_form(method: &Method, headers: &HeaderMap, place: &AppRules, path: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let page = path.strip_prefix(place.own_path("").as_str()).unwrap_or_default();
    if ["callback/", "saml/", "backchannel-logout/"].iter().any(|answer| page.starts_with(answer)) {
        return false;
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match headers.get(ORIGIN).map(HeaderValue::as_bytes) {
        // Our own pages send no referrer, and a browser hides the origin of their forms with it; it still says whose
        // the form is, in a field that no page can set.
        Some(b"null") => site != Some(b"same-origin"),
        Some(origin) => origin != place.site().origin.as_bytes(),
        None => site.is_some_and(|site| site != b"same-origin" && site != b"none"),
    }
}

/// Tells whether a browser says that a page of this site sent it. Nothing else says so: a program says nothing.
pub(crate) fn is_from_us(headers: &HeaderMap, place: &AppRules) -> bool {
    headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes() == place.site().origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn a_websocket_of_another_site_is_foreign() {
        let foreign = |fields: &[(&str, &str)]| is_foreign(&test::fields(fields), &test::place());
        let upgrade = ("upgrade", "websocket");
        assert!(foreign(&[upgrade, ("origin", "https://evil.test")]));
        assert!(foreign(&[upgrade, ("origin", "https://wiki.test"), ("origin", "https://evil.test")]));
        assert!(foreign(&[upgrade, ("origin", "http://wiki.test")]));
        assert!(!foreign(&[upgrade, ("origin", "https://wiki.test")]));
        assert!(!foreign(&[upgrade]));
    }

    #[test]
    fn our_own_pages_take_forms_of_this_site_only() {
        let place = test::place();
        let elsewhere = |method: Method, fields: &[(&str, &str)], page: &str| {
            is_foreign_form(&method, &test::fields(fields), &place, &format!("/.portcullis/{page}"))
        };
        let evil = [("origin", "https://evil.test")];
        assert!(elsewhere(Method::POST, &evil, "logout"));
        assert!(elsewhere(Method::POST, &[("origin", "null")], "logout"));
        assert!(elsewhere(Method::POST, &[("origin", "null"), ("sec-fetch-site", "cross-site")], "logout"));
        assert!(!elsewhere(Method::POST, &[("origin", "null"), ("sec-fetch-site", "same-origin")], "logout"));
        assert!(elsewhere(Method::POST, &[evil[0], ("sec-fetch-site", "same-origin")], "logout"));
        assert!(elsewhere(Method::POST, &[("origin", "https://wiki.test:8443")], "logout"));
        assert!(elsewhere(Method::POST, &[("sec-fetch-site", "cross-site")], "logout"));
        assert!(elsewhere(Method::DELETE, &[("sec-fetch-site", "same-site")], "logout"));
        assert!(!elsewhere(Method::POST, &[("origin", "https://wiki.test")], "logout"));
        assert!(!elsewhere(Method::POST, &[], "logout"));
        assert!(!elsewhere(Method::GET, &evil, "login"));
        assert!(!elsewhere(Method::POST, &evil, "callback/okta"));
        assert!(!elsewhere(Method::POST, &evil, "backchannel-logout/okta"));
    }

    #[test]
    fn only_this_sites_origin_is_ours() {
        let ours = |fields: &[(&str, &str)]| is_from_us(&test::fields(fields), &test::place());
        assert!(ours(&[("origin", "https://wiki.test")]));
        assert!(!ours(&[("origin", "https://evil.test")]));
        assert!(!ours(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!ours(&[]));
    }
}
