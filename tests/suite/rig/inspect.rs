//! A browser for the program that looks at every response by itself, whatever the test is about: cookie flags, no secret,
//! no identity header leaking out.

use super::browser::{BrowserPage, HeadlessBrowser};
use super::jar::Jar;
use super::program::Program;
use super::watch::Watch;

/// Headers of a response that would tell a visitor who the application thinks it is talking to.
const IDENTITY: [&str; 5] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-forwarded-preferred-username",
];

/// What the names of our session cookies begin with, and of those of logins under way.
pub const SESSION_COOKIE: &str = "__Host-portcullis-";
pub const FLOW_COOKIE: &str = "__Host-pcflow-";

impl Program {
    /// A fresh profile that looks at what this program answers.
    pub fn browser(&self) -> HeadlessBrowser {
        let watch = self.watch.clone();
        HeadlessBrowser::new(&self.settings.origin()).inspecting(move |page| {
            check_cookies(&watch, page);
            check(&watch, page);
        })
    }
}

/// The session cookie's name and value.
pub fn session_of(browser: &HeadlessBrowser) -> Option<(String, String)> {
    let of_session =
        |name: &str| name.starts_with("__Host-") && !name.contains("flow") && !name.contains("login");
    let host = browser.origin().host_str().unwrap();
    browser.jar.of(host).into_iter().find(|c| of_session(&c.name)).map(|c| (c.name.clone(), c.value.clone()))
}

/// What holds for every cookie of ours that the program sets.
fn check_cookies(watch: &Watch, page: &BrowserPage) {
    for line in page.answer.headers.get_all("set-cookie") {
        let line = line.to_str().unwrap();
        if !line.starts_with("__Host-") {
            continue;
        }
        let kept = Jar::default().set(&page.url, line);
        let cookie = kept.unwrap_or_else(|| panic!("a browser refuses this cookie: {line}"));
        let lawful = cookie.http_only && cookie.secure && cookie.path == "/";
        // The answer to a login of SAML is posted by another site: its cookie, and no other, comes along.
        let may_cross = cookie.name.starts_with(FLOW_COOKIE) && cookie.same_site == cookie::SameSite::None;
        assert!(lawful && (cookie.same_site == cookie::SameSite::Lax || may_cross), "flags of {line}");
        if cookie.value.len() >= 8 {
            watch.secret(&format!("cookie {}", cookie.name), &cookie.value);
        }
    }
}

/// What holds for every response of the program.
fn check(watch: &Watch, page: &BrowserPage) {
    for (name, value) in page.url.query_pairs() {
        if ["code", "state"].contains(&name.as_ref()) && value.len() >= 8 {
            watch.secret(&format!("the {name} of a login"), &value);
        }
    }
    watch.check(page.url.path(), &page.text());
    for (name, value) in &page.answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name != "set-cookie" && name != "location" {
            watch.check(&format!("header {name} of {}", page.url.path()), &value);
        }
        assert!(!IDENTITY.contains(&name.as_str()), "{name} leaks out of {}", page.url);
    }
    let own = page.url.path().starts_with("/.portcullis/");
    let html = page.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if own && html {
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{} has no policy: {policy}", page.url);
        assert!(policy.contains("frame-ancestors "), "{} may be framed", page.url);
        assert!(page.header("x-frame-options").is_some(), "{} may be framed", page.url);
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{}", page.url);
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "{}", page.url);
        assert!(!page.text().contains("<script"), "{} has a script", page.url);
    }
    let refused = page.status() == 401
        || page.status() == 403
        || page.location().is_some_and(|to| to.origin() != page.url.origin());
    if own && html || refused {
        let cache = page.header("cache-control").unwrap_or_default();
        assert!(cache.contains("no-store"), "{} may be cached: {cache}", page.url);
    }
}
