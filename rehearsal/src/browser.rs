//! A browser for the script: cookies, redirects, forms, and the headers by which browsers say what they are doing.
//!
//! It dials 127.0.0.1 and sends the name as `Host`, and it goes to `app.localhost` and `idp.localhost` only. Each
//! browser is one person's: it shares no cookie with another.

use bytes::Bytes;
use cookie::Cookie;
use http::{HeaderValue, Method, Request, StatusCode, header};
use portcullis_policy::Timestamp;
use url::{Url, form_urlencoded};

use crate::wire::{self, WireAnswer, WireError};

/// The most redirects that one navigation may take.
const HOPS: usize = 12;

/// One person's browser.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    cookies: Vec<StoredCookie>,
}

#[derive(Clone)]
struct StoredCookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

/// A page that a navigation ended on.
pub(crate) struct Landed {
    pub(crate) url: Url,
    pub(crate) answer: WireAnswer,
}

impl Landed {
    /// Gives the `Origin` that a form on this page sends. A page that is to give no referrer has no origin
    /// either (Fetch §3.2, "append a request Origin header").
    fn origin(&self) -> HeaderValue {
        let silent =
            self.answer.header(header::REFERRER_POLICY).is_some_and(|policy| policy == "no-referrer");
        let origin = self.url.origin().ascii_serialization();
        HeaderValue::from_str(&origin).ok().filter(|_| !silent).unwrap_or(HeaderValue::from_static("null"))
    }
}

/// Reasons why a navigation did not end on a page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowseError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a redirect to {0}, which is neither the app nor the IdP")]
    Elsewhere(String),
    #[error("more than {HOPS} redirects")]
    Round,
    #[error("a redirect without a usable Location")]
    Nowhere,
    #[error("a request that cannot be written")]
    Request(#[from] http::Error),
}

impl Browser {
    /// Types an address and follows where it leads.
    pub(crate) async fn open(&mut self, url: &Url) -> Result<Landed, BrowseError> {
        let first = self.navigation(Method::GET, url, None, Bytes::new())?;
        self.follow(url.clone(), None, first).await
    }

    /// Sends a form that stands on `page`, and follows.
    pub(crate) async fn submit(
        &mut self,
        page: &Landed,
        action: &Url,
        fields: &[(String, String)],
    ) -> Result<Landed, BrowseError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut first = self.navigation(Method::POST, action, Some(&page.url), Bytes::from(body))?;
        first.headers_mut().insert(header::ORIGIN, page.origin());
        self.follow(action.clone(), Some(page.url.clone()), first).await
    }

    /// One request of a script on a page of the same site: no redirect is followed.
    pub(crate) async fn fetch(&mut self, url: &Url, accept: &str) -> Result<WireAnswer, BrowseError> {
        let answer = wire::send_request(port_of(url)?, self.request_for(url, accept, &[])?).await?;
        self.keep(url, &answer);
        Ok(answer)
    }

    /// The request that [`Browser::fetch`] sends, with more headers, for whoever reads the answer in pieces.
    pub(crate) fn request_for(
        &self,
        url: &Url,
        accept: &str,
        more: &[(&str, &str)],
    ) -> Result<Request<Bytes>, BrowseError> {
        let mut request = self
            .plain(Method::GET, url)
            .header(header::ACCEPT, accept)
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-dest", "empty")
            .header("sec-fetch-site", "same-origin");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        Ok(request.body(Bytes::new())?)
    }

    /// The cookies that go to `url`, as one header line.
    pub(crate) fn cookies_for(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        let sent =
            self.cookies.iter().filter(|kept| kept.host == host && path_matches(&kept.path, url.path()));
        sent.map(|kept| format!("{}={}", kept.name, kept.value)).collect::<Vec<_>>().join("; ")
    }

    async fn follow(
        &mut self,
        mut url: Url,
        from: Option<Url>,
        mut request: Request<Bytes>,
    ) -> Result<Landed, BrowseError> {
        for _ in 0..HOPS {
            let answer = wire::send_request(port_of(&url)?, request).await?;
            self.keep(&url, &answer);
            if !is_redirect(answer.status) {
                return Ok(Landed { url, answer });
            }
            let to = answer.header(header::LOCATION).ok_or(BrowseError::Nowhere)?;
            let to = url.join(to).map_err(|_| BrowseError::Nowhere)?;
            request = self.navigation(Method::GET, &to, from.as_ref(), Bytes::new())?;
            url = to;
        }
        Err(BrowseError::Round)
    }

    fn navigation(
        &self,
        method: Method,
        url: &Url,
        from: Option<&Url>,
        body: Bytes,
    ) -> Result<Request<Bytes>, BrowseError> {
        let site = match from {
            None => "none",
            Some(from) if from.origin() == url.origin() => "same-origin",
            Some(from) if from.host_str() == url.host_str() => "same-site",
            Some(_) => "cross-site",
        };
        let mut request = self
            .plain(method.clone(), url)
            .header(header::ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .header("upgrade-insecure-requests", "1")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-user", "?1")
            .header("sec-fetch-site", site);
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        Ok(request.body(body)?)
    }

    fn plain(&self, method: Method, url: &Url) -> http::request::Builder {
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target = format!("{target}?{query}");
        }
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host_header(url))
            .header(header::USER_AGENT, "Mozilla/5.0 (rehearsal)");
        let cookies = self.cookies_for(url);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies);
        }
        request
    }

    fn keep(&mut self, url: &Url, answer: &WireAnswer) {
        let host = url.host_str().unwrap_or_default();
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let Some(Ok(cookie)) = line.to_str().ok().map(Cookie::parse) else { continue };
            let path = match cookie.path() {
                Some(path) if path.starts_with('/') => path.to_owned(),
                _ => default_path(url.path()),
            };
            self.cookies.retain(|kept| {
                (kept.host.as_str(), &*kept.path, &*kept.name) != (host, &*path, cookie.name())
            });
            if !is_over(&cookie) {
                let (name, value) = (cookie.name().to_owned(), cookie.value().to_owned());
                self.cookies.push(StoredCookie { host: host.to_owned(), path, name, value });
            }
        }
    }
}

/// The name and port as `Host` has them.
pub(crate) fn host_header(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

fn port_of(url: &Url) -> Result<u16, BrowseError> {
    match (url.scheme(), url.host_str(), url.port()) {
        ("http", Some("app.localhost" | "idp.localhost"), Some(port)) => Ok(port),
        // The origin alone: a query may hold a code.
        _ => Err(BrowseError::Elsewhere(url.origin().ascii_serialization())),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// RFC 6265 §5.1.4.
fn path_matches(path: &str, asked: &str) -> bool {
    asked
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

fn default_path(asked: &str) -> String {
    match asked.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder.to_owned(),
        _ => "/".to_owned(),
    }
}

fn is_over(cookie: &Cookie<'_>) -> bool {
    match (cookie.max_age(), cookie.expires_datetime()) {
        (Some(age), _) => age.whole_seconds() <= 0,
        (None, Some(end)) => end.unix_timestamp() <= Timestamp::now().seconds(),
        (None, None) => false,
    }
}

/// A form on a page: where it goes, and its fields as they stand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// The first form of a page that is sent by POST. Reads what our own pages write; it is no HTML parser.
pub(crate) fn form_of(page: &str) -> Option<Form> {
    let form = page.split("<form").skip(1).find(|form| {
        let head = form.split('>').next().unwrap_or_default();
        attribute_value(head, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"))
    })?;
    let (head, rest) = form.split_once('>')?;
    let inside = rest.split("</form").next().unwrap_or_default();
    let inputs = inside.split("<input").skip(1).filter_map(|input| input.split('>').next());
    let fields = inputs
        .filter_map(|input| {
            Some((attribute_value(input, "name")?, attribute_value(input, "value").unwrap_or_default()))
        })
        .collect();
    Some(Form { action: attribute_value(head, "action").unwrap_or_default(), fields })
}

fn attribute_value(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag.get(start..)?.split('"').next()?;
    Some(unescape_html(value))
}

/// Text as it was before a template escaped it.
fn unescape_html(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let known = after.split_once(';').and_then(|(name, rest)| Some((entity_char(name)?, rest)));
        rest = match known {
            Some((letter, rest)) => {
                plain.push(letter);
                rest
            }
            None => {
                plain.push('&');
                after
            }
        };
    }
    plain.push_str(rest);
    plain
}

fn entity_char(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::time::Instant;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn setting(lines: &[&str]) -> WireAnswer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, line.parse().unwrap());
        }
        let now = Instant::now();
        WireAnswer { status: StatusCode::OK, headers, body: Bytes::new(), sent: now, answered: now }
    }

    #[test]
    fn cookies_go_back_where_they_came_from_and_nowhere_else() {
        let mut browser = Browser::default();
        let app = url("http://app.localhost:8080/.portcullis/callback/x");
        browser.keep(&app, &setting(&["__Host-s=1; Path=/; Secure", "flow=2; Path=/.portcullis/callback"]));
        assert_eq!(browser.cookies_for(&url("http://app.localhost:8080/")), "__Host-s=1");
        assert_eq!(browser.cookies_for(&app), "__Host-s=1; flow=2");
        assert_eq!(
            browser.cookies_for(&url("http://app.localhost:8080/.portcullis/callbacks")),
            "__Host-s=1"
        );
        assert_eq!(browser.cookies_for(&url("http://idp.localhost:8080/")), "");

        browser.keep(&app, &setting(&["flow=; Path=/.portcullis/callback; Max-Age=0", "__Host-s=3; Path=/"]));
        assert_eq!(browser.cookies_for(&app), "__Host-s=3");
        browser.keep(&app, &setting(&["__Host-s=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]));
        assert_eq!(browser.cookies_for(&app), "");
    }

    #[test]
    fn a_page_without_a_referrer_has_no_origin() {
        let mut page = Landed { url: url("http://app.localhost:81/x?y"), answer: setting(&[]) };
        assert_eq!(page.origin(), "http://app.localhost:81");
        page.answer.headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        assert_eq!(page.origin(), "null");
    }

    #[test]
    fn only_the_app_and_the_idp_are_dialled() {
        assert_eq!(port_of(&url("http://app.localhost:81/")).unwrap(), 81);
        for wrong in
            ["https://app.localhost:81/", "http://evil.example:81/", "http://app.localhost.evil.example:1/"]
        {
            assert!(port_of(&url(wrong)).is_err(), "{wrong}");
        }
        let refused = port_of(&url("https://evil.example/cb?code=secret")).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn a_form_is_read_with_its_fields_unescaped() {
        let page = r#"<form action="/search"><input name="q"></form>
            <form method="POST" class="x" action="/out?a=1&amp;b=2">
            <input type="hidden" name="token" value="a&#34;b&#x26;c&d"><input name="empty">
            <button>Log out</button></form><input name="outside" value="1">"#;
        let form = form_of(page).unwrap();
        assert_eq!(form.action, "/out?a=1&b=2");
        let fields = [("token", "a\"b&c&d"), ("empty", "")];
        assert_eq!(form.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(form_of("<p>no form</p>"), None);
    }
}
