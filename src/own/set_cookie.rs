//! The cookies that our pages set, of sessions and of logins under way: one set of attributes for all of them.

use http::HeaderValue;

/// A cookie of ours: host-only, for https, unseen by scripts, sent with navigations (RFC 6265bis §4.1).
pub(crate) fn set_cookie(name: &str, value: &str, seconds: Option<i64>) -> Option<HeaderValue> {
    build_cookie(name, value, seconds, cookie::SameSite::Lax)
}

/// A cookie of a login whose answer another site posts: browsers keep every other one from that.
pub(crate) fn set_cross_site_cookie(name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    build_cookie(name, value, Some(seconds), cookie::SameSite::None)
}

fn build_cookie(
    name: &str,
    value: &str,
    seconds: Option<i64>,
    same_site: cookie::SameSite,
) -> Option<HeaderValue> {
    let mut cookie =
        cookie::Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(same_site);
    if let Some(seconds) = seconds {
        cookie = cookie.max_age(cookie::time::Duration::seconds(seconds));
    }
    HeaderValue::try_from(cookie.build().to_string()).ok()
}

/// The same cookie taken away.
pub(crate) fn remove_cookie(name: &str) -> Option<HeaderValue> {
    set_cookie(name, "", Some(0))
}
