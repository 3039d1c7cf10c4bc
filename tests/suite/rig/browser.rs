//! A browser without a window: cookies by a browser's rules, redirects across sites, forms. It looks at every response
//! of the program by itself, whatever the test is about: cookie flags, no secret, no identity header leaking out.

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderMap, Method, Request, StatusCode};
use url::Url;

use super::html::{self, HtmlForm};
use super::jar::{Asking, Jar, site};
use super::must;
use super::program::Program;
use super::watch::Watch;
use super::wire::{Answer, Connection, Dial, whole};

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

/// One browser profile.
#[derive(Clone)]
pub struct Browser {
    pub jar: Jar,
    /// Every address it went to, redirects included.
    pub trail: Vec<String>,
    ours: Url,
    watch: Watch,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Page {
    pub url: Url,
    pub answer: Answer,
}

impl Page {
    pub fn status(&self) -> StatusCode {
        self.answer.status
    }

    pub fn text(&self) -> String {
        self.answer.text()
    }

    pub fn json(&self) -> serde_json::Value {
        self.answer.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The first form that has a field of this name.
    pub fn form_with(&self, field: &str) -> Option<HtmlForm> {
        html::forms(&self.text()).into_iter().find(|form| form.has(field))
    }

    /// The first form.
    pub fn form(&self) -> HtmlForm {
        html::forms(&self.text())
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no form on {}:\n{}", self.url, self.text()))
    }

    /// Where it redirects to.
    pub fn location(&self) -> Option<Url> {
        if !self.status().is_redirection() {
            return None;
        }
        self.header("location").map(|to| self.url.join(to).unwrap())
    }
}

/// How a request is made.
struct Going<'a> {
    method: Method,
    url: Url,
    /// The page it comes from.
    from: Option<&'a Url>,
    /// Whether that page sends no referrer: its forms then say `Origin: null`.
    without_referrer: bool,
    mode: Mode,
    headers: HeaderMap,
    body: Option<(&'static str, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Navigate,
    Cors,
}

impl Browser {
    /// A fresh profile that knows which origin is the program's.
    pub fn new(program: &Program) -> Self {
        Self {
            jar: Jar::default(),
            trail: Vec::new(),
            ours: program.settings.origin().parse().unwrap(),
            watch: program.watch.clone(),
        }
    }

    /// A fresh profile for an origin without a program behind it.
    pub fn for_origin(origin: &str) -> Self {
        let ours = origin.parse().unwrap();
        Self { jar: Jar::default(), trail: Vec::new(), ours, watch: Watch::default() }
    }

    /// Types an address, or a path of the app, and follows redirects to the end.
    pub async fn open(&mut self, url: &str) -> Page {
        let url = self.ours.join(url).unwrap();
        let first = self.go(navigation(url, None)).await;
        self.follow(first).await
    }

    /// Types an address and looks at the first answer.
    pub async fn look(&mut self, url: &str) -> Page {
        let url = self.ours.join(url).unwrap();
        self.go(navigation(url, None)).await
    }

    /// Follows the redirects of a page to the end.
    pub async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..20 {
            let Some(next) = page.location() else { return page };
            page = self.go(navigation(next, Some(&page.url))).await;
        }
        panic!("redirected without end: {:#?}", self.trail);
    }

    /// Follows redirects until one leads to an address that starts so; that one is not asked.
    pub async fn follow_until(&mut self, mut page: Page, stop: &str) -> Url {
        for _ in 0..20 {
            let next =
                page.location().unwrap_or_else(|| panic!("no redirect from {}: {}", page.url, page.text()));
            if next.as_str().starts_with(stop) {
                return next;
            }
            page = self.go(navigation(next, Some(&page.url))).await;
        }
        panic!("redirected without end: {:#?}", self.trail);
    }

    /// Sends a form and follows redirects to the end.
    pub async fn submit(&mut self, page: &Page, form: &HtmlForm) -> Page {
        let first = self.submit_once(page, form).await;
        self.follow(first).await
    }

    /// Sends a form.
    pub async fn submit_once(&mut self, page: &Page, form: &HtmlForm) -> Page {
        let url = page.url.join(&form.action).unwrap();
        let encoded =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        let mut going = navigation(url, Some(&page.url));
        going.without_referrer = page.header("referrer-policy") == Some("no-referrer");
        if form.method == "post" {
            going.method = Method::POST;
            going.body = Some(("application/x-www-form-urlencoded", encoded.into_bytes()));
        } else {
            going.url.set_query(Some(&encoded));
        }
        self.go(going).await
    }

    /// What a script on a page of the app gets: no navigation, no redirect followed.
    pub async fn fetch(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> Page {
        let from = self.ours.clone();
        let going = Going {
            method,
            url: self.ours.join(url).unwrap(),
            from: Some(&from),
            without_referrer: false,
            mode: Mode::Cors,
            headers: header_map(headers),
            body: None,
        };
        self.go(going).await
    }

    /// A navigation from a page of another site, GET or POST.
    pub async fn arrive_from(&mut self, from: &str, method: Method, url: &str) -> Page {
        let from: Url = from.parse().unwrap();
        let body = (method == Method::POST).then(|| ("application/x-www-form-urlencoded", b"a=b".to_vec()));
        let going = Going { method, body, ..navigation(self.ours.join(url).unwrap(), Some(&from)) };
        self.go(going).await
    }

    /// The `Cookie` header that the app's origin would get from its own page.
    pub fn cookies(&self) -> String {
        self.jar.header(&self.ours, Asking::SameSite).unwrap_or_default()
    }

    /// The session cookie's name and value.
    pub fn session(&self) -> Option<(String, String)> {
        let host = self.ours.host_str().unwrap();
        let of_session =
            |name: &str| name.starts_with("__Host-") && !name.contains("flow") && !name.contains("login");
        self.jar.of(host).into_iter().find(|c| of_session(&c.name)).map(|c| (c.name.clone(), c.value.clone()))
    }

    async fn go(&mut self, going: Going<'_>) -> Page {
        self.trail.push(format!("{} {}", going.method, going.url));
        let host = going.url.host_str().unwrap().to_owned();
        let same = going.from.is_none_or(|from| from.host_str().map(site) == Some(site(&host)));
        let asking = match (same, going.mode, &going.method) {
            (true, ..) => Asking::SameSite,
            (false, Mode::Navigate, &Method::GET | &Method::HEAD) => Asking::Navigation,
            _ => Asking::CrossSite,
        };
        let port = going.url.port_or_known_default().unwrap();
        let authority = going.url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let path = &going.url[url::Position::BeforePath..url::Position::AfterQuery];
        let fetch_site = match going.from {
            None => "none",
            Some(from) if from.origin() == going.url.origin() => "same-origin",
            Some(_) if same => "same-site",
            Some(_) => "cross-site",
        };
        let mut request = Request::builder().method(going.method.clone()).uri(path).header("host", authority);
        request = request.header("sec-fetch-site", fetch_site).header("user-agent", "suite");
        request = match going.mode {
            Mode::Navigate => request
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document")
                .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            Mode::Cors => request
                .header("sec-fetch-mode", "cors")
                .header("sec-fetch-dest", "empty")
                .header("accept", "*/*"),
        };
        if going.method == Method::POST
            && let Some(from) = going.from
        {
            let origin =
                if going.without_referrer { "null".to_owned() } else { from.origin().ascii_serialization() };
            request = request.header("origin", origin);
        }
        if let Some(cookies) = self.jar.header(&going.url, asking) {
            request = request.header("cookie", cookies);
        }
        let body = match going.body {
            Some((kind, bytes)) => {
                request = request.header("content-type", kind);
                whole(bytes)
            }
            None => whole(""),
        };
        let mut request = request.body(body).unwrap();
        request.headers_mut().extend(going.headers);
        // Only browsers resolve *.localhost: the address is dialled, the name is said.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tls = (going.url.scheme() == "https").then_some(host.as_str());
        let asked = async {
            let mut line = Connection::dial(address, Dial { tls, ..Dial::default() }).await?;
            line.send(request).await
        };
        let answer = must(going.url.as_str(), asked).await;
        let answer = answer.unwrap_or_else(|fault| panic!("{}: {fault:?}", going.url));
        let page = Page { url: going.url, answer };
        for line in page.answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let kept = self.jar.set(&page.url, line);
            if page.url.origin() == self.ours.origin() && line.starts_with("__Host-") {
                let cookie = kept.unwrap_or_else(|| panic!("a browser refuses this cookie: {line}"));
                let lawful = cookie.http_only && cookie.secure && cookie.path == "/";
                assert!(lawful && cookie.same_site == cookie::SameSite::Lax, "flags of {line}");
                if cookie.value.len() >= 8 {
                    self.watch.secret(&format!("cookie {}", cookie.name), &cookie.value);
                }
            }
        }
        if page.url.origin() == self.ours.origin() {
            self.check(&page);
        }
        page
    }

    /// What holds for every response of the program.
    fn check(&self, page: &Page) {
        for (name, value) in page.url.query_pairs() {
            if ["code", "state"].contains(&name.as_ref()) && value.len() >= 8 {
                self.watch.secret(&format!("the {name} of a login"), &value);
            }
        }
        self.watch.check(page.url.path(), &page.text());
        for (name, value) in &page.answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            if name != "set-cookie" && name != "location" {
                self.watch.check(&format!("header {name} of {}", page.url.path()), &value);
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
            || page.location().is_some_and(|to| to.origin() != self.ours.origin());
        if own && html || refused {
            let cache = page.header("cache-control").unwrap_or_default();
            assert!(cache.contains("no-store"), "{} may be cached: {cache}", page.url);
        }
    }
}

fn navigation(url: Url, from: Option<&Url>) -> Going<'_> {
    Going {
        method: Method::GET,
        url,
        from,
        without_referrer: false,
        mode: Mode::Navigate,
        headers: HeaderMap::new(),
        body: None,
    }
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), http::HeaderValue::from_str(value).unwrap())
    };
    headers.iter().map(parse).collect()
}
