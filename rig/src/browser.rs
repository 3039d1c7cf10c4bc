//! A browser without a window: cookies by a browser's rules, redirects across sites, forms, and the headers by which
//! browsers say what they are doing. It goes to names below `localhost` and to loopback alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use url::{Host, Url};

use crate::html::{self, HtmlForm};
use crate::jar::{Asking, Jar, site_of};
use crate::stream::AnswerStream;
use crate::wire::{Answer, Connection, Dial, RequestBody, WireFault, in_time, whole};

/// The most redirects that one navigation may take.
const HOPS: usize = 20;

/// One browser profile.
#[derive(Clone)]
pub struct HeadlessBrowser {
    pub jar: Jar,
    origin: Url,
    inspect: Option<Inspect>,
}

/// A look at every page of the browser's own origin, whatever it was opened for.
type Inspect = Arc<dyn Fn(&BrowserPage) + Send + Sync>;

/// A page, as it came back.
#[derive(Clone, Debug)]
pub struct BrowserPage {
    pub url: Url,
    pub answer: Answer,
}

impl BrowserPage {
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
        let first = html::forms(&self.text()).into_iter().next();
        first.unwrap_or_else(|| panic!("no form on {}:\n{}", self.url, self.text()))
    }

    /// The address that it redirects to.
    pub fn location(&self) -> Option<Url> {
        self.target().expect("a usable Location")
    }

    fn target(&self) -> Result<Option<Url>, url::ParseError> {
        let to = self.header("location").filter(|_| self.status().is_redirection());
        to.map(|to| self.url.join(to)).transpose()
    }
}

/// Reasons why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum BrowseFault {
    #[error(transparent)]
    Wire(#[from] WireFault),
    /// The origin alone: a query may hold a code.
    #[error("{0} is not on this machine")]
    Elsewhere(String),
    #[error("redirected without end: {0:?}")]
    Round(Vec<String>),
    #[error("an address that is none")]
    Address(#[from] url::ParseError),
    #[error("a request that cannot be written")]
    Request(#[from] http::Error),
}

/// The way in which a request is made.
struct Going<'a> {
    method: Method,
    url: Url,
    /// The page it comes from.
    from: Option<&'a Url>,
    /// Set where that page sends no referrer: its forms then say `Origin: null`.
    without_referrer: bool,
    is_navigation: bool,
    headers: &'a [(&'a str, &'a str)],
    /// The fields of a form.
    body: Option<String>,
}

impl<'a> Going<'a> {
    fn to(url: Url, from: Option<&'a Url>) -> Self {
        let (without_referrer, is_navigation) = (false, true);
        Self { method: Method::GET, url, from, without_referrer, is_navigation, headers: &[], body: None }
    }
}

impl HeadlessBrowser {
    /// Makes a fresh profile that knows which origin the app has.
    pub fn new(origin: &str) -> Self {
        Self { jar: Jar::default(), origin: origin.parse().unwrap(), inspect: None }
    }

    /// Looks so at every page of that origin from now on.
    #[must_use]
    pub fn inspecting(mut self, inspect: impl Fn(&BrowserPage) + Send + Sync + 'static) -> Self {
        self.inspect = Some(Arc::new(inspect));
        self
    }

    /// The origin of the app.
    pub fn origin(&self) -> &Url {
        &self.origin
    }

    /// Types an address, or a path of the app, and follows redirects to the end.
    pub async fn try_open(&mut self, url: &str) -> Result<BrowserPage, BrowseFault> {
        let first = self.go(Going::to(self.origin.join(url)?, None)).await?;
        self.try_follow(first).await
    }

    /// Follows the redirects of a page to the end.
    pub async fn try_follow(&mut self, mut page: BrowserPage) -> Result<BrowserPage, BrowseFault> {
        let mut trail = Vec::new();
        for _ in 0..HOPS {
            let Some(next) = page.target()? else { return Ok(page) };
            trail.push(next[..url::Position::AfterPath].to_owned());
            page = self.go(Going::to(next, Some(&page.url))).await?;
        }
        Err(BrowseFault::Round(trail))
    }

    /// Sends a form of a page and follows redirects to the end.
    pub async fn try_submit(
        &mut self,
        page: &BrowserPage,
        form: &HtmlForm,
    ) -> Result<BrowserPage, BrowseFault> {
        let first = self.try_submit_once(page, form).await?;
        self.try_follow(first).await
    }

    /// Sends a form of a page.
    pub async fn try_submit_once(
        &mut self,
        page: &BrowserPage,
        form: &HtmlForm,
    ) -> Result<BrowserPage, BrowseFault> {
        let mut going = Going::to(page.url.join(&form.action)?, Some(&page.url));
        going.without_referrer = page.header("referrer-policy") == Some("no-referrer");
        if form.method == "post" {
            going.method = Method::POST;
            going.body = Some(form.encoded());
        } else {
            going.url.set_query(Some(&form.encoded()));
        }
        self.go(going).await
    }

    /// Gets what a script on a page of the app gets: no navigation, no redirect followed.
    pub async fn try_fetch(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<BrowserPage, BrowseFault> {
        let from = self.origin.clone();
        let going =
            Going { method, headers, is_navigation: false, ..Going::to(from.join(url)?, Some(&from)) };
        self.go(going).await
    }

    /// Gets what a script gets, to be read while it comes. Cookies that it sets are not kept.
    pub async fn try_stream(&self, url: &str, headers: &[(&str, &str)]) -> Result<AnswerStream, BrowseFault> {
        let from = &self.origin;
        let going = Going { headers, is_navigation: false, ..Going::to(from.join(url)?, Some(from)) };
        let (address, request) = (address_of(&going.url)?, self.request(&going)?);
        Ok(AnswerStream::begin(address, dial_for(&going.url), request).await?)
    }

    /// Types an address, or a path of the app, and follows redirects to the end.
    pub async fn open(&mut self, url: &str) -> BrowserPage {
        page_of(url, self.try_open(url).await)
    }

    /// Types an address and looks at the first answer.
    pub async fn look(&mut self, url: &str) -> BrowserPage {
        let to = self.origin.join(url).unwrap();
        page_of(url, self.go(Going::to(to, None)).await)
    }

    /// Follows the redirects of a page to the end.
    pub async fn follow(&mut self, page: BrowserPage) -> BrowserPage {
        page_of("redirects", self.try_follow(page).await)
    }

    /// Follows redirects until one leads to an address that starts so; that one is not asked.
    pub async fn follow_until(&mut self, mut page: BrowserPage, stop: &str) -> Url {
        for _ in 0..HOPS {
            let next =
                page.location().unwrap_or_else(|| panic!("no redirect from {}: {}", page.url, page.text()));
            if next.as_str().starts_with(stop) {
                return next;
            }
            page = page_of(stop, self.go(Going::to(next, Some(&page.url))).await);
        }
        panic!("redirected without end, at last to {}", page.url);
    }

    /// Sends a form and follows redirects to the end.
    pub async fn submit(&mut self, page: &BrowserPage, form: &HtmlForm) -> BrowserPage {
        page_of(&form.action, self.try_submit(page, form).await)
    }

    /// Sends a form.
    pub async fn submit_once(&mut self, page: &BrowserPage, form: &HtmlForm) -> BrowserPage {
        page_of(&form.action, self.try_submit_once(page, form).await)
    }

    /// Gets what a script on a page of the app gets: no navigation, no redirect followed.
    pub async fn fetch(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> BrowserPage {
        page_of(url, self.try_fetch(method, url, headers).await)
    }

    /// Navigates from a page of another site, by GET or POST.
    pub async fn arrive_from(&mut self, from: &str, method: Method, url: &str) -> BrowserPage {
        let from: Url = from.parse().unwrap();
        let body = (method == Method::POST).then(|| "a=b".to_owned());
        let going = Going { method, body, ..Going::to(self.origin.join(url).unwrap(), Some(&from)) };
        page_of(url, self.go(going).await)
    }

    /// The `Cookie` header that the app's origin would get from its own page.
    pub fn cookies(&self) -> String {
        self.jar.header(&self.origin, Asking::SameSite).unwrap_or_default()
    }

    async fn go(&mut self, going: Going<'_>) -> Result<BrowserPage, BrowseFault> {
        let (address, request, url) = (address_of(&going.url)?, self.request(&going)?, going.url);
        let answer = in_time(async {
            let mut connection = Connection::dial(address, dial_for(&url)).await?;
            connection.send(request).await
        });
        let answer = answer.await?;
        for line in answer.headers.get_all("set-cookie") {
            self.jar.set(&url, &String::from_utf8_lossy(line.as_bytes()));
        }
        let page = BrowserPage { url, answer };
        if let Some(inspect) = &self.inspect
            && page.url.origin() == self.origin.origin()
        {
            inspect(&page);
        }
        Ok(page)
    }

    fn request(&self, going: &Going<'_>) -> Result<Request<RequestBody>, BrowseFault> {
        let Going { method, url, from, .. } = going;
        let host = url.host_str().unwrap_or_default();
        let is_same_site = from.is_none_or(|from| from.host_str().map(site_of) == Some(site_of(host)));
        let asking = match (is_same_site, going.is_navigation, method) {
            (true, ..) => Asking::SameSite,
            (false, true, &Method::GET | &Method::HEAD) => Asking::Navigation,
            _ => Asking::CrossSite,
        };
        let fetch_site = match from {
            None => "none",
            Some(from) if from.origin() == url.origin() => "same-origin",
            Some(_) if is_same_site => "same-site",
            Some(_) => "cross-site",
        };
        let (mode, dest, accept) = if going.is_navigation {
            ("navigate", "document", "text/html,application/xhtml+xml,*/*;q=0.8")
        } else {
            ("cors", "empty", "*/*")
        };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header("host", &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header("user-agent", "Mozilla/5.0 (rig)")
            .header("sec-fetch-site", fetch_site)
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest)
            .header("accept", accept);
        if *method == Method::POST
            && let Some(from) = from
        {
            let origin = from.origin().ascii_serialization();
            request = request.header("origin", if going.without_referrer { "null" } else { &origin });
        }
        if let Some(cookies) = self.jar.header(url, asking) {
            request = request.header("cookie", cookies);
        }
        if going.body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let mut request = request.body(whole(going.body.clone().unwrap_or_default()))?;
        let mut own = HeaderMap::new();
        for (name, value) in going.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(http::Error::from)?;
            own.append(name, HeaderValue::from_str(value).map_err(http::Error::from)?);
        }
        request.headers_mut().extend(own);
        Ok(request)
    }
}

#[track_caller]
fn page_of(what: &str, page: Result<BrowserPage, BrowseFault>) -> BrowserPage {
    page.unwrap_or_else(|fault| panic!("{what}: {fault:?}"))
}

/// Only browsers resolve *.localhost: the address is dialled, the name is said.
fn address_of(url: &Url) -> Result<SocketAddr, BrowseFault> {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        _ => false,
    };
    let port = url.port_or_known_default().filter(|_| is_here);
    let port = port.ok_or_else(|| BrowseFault::Elsewhere(url.origin().ascii_serialization()))?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

fn dial_for(url: &Url) -> Dial<'_> {
    Dial { tls: url.host_str().filter(|_| url.scheme() == "https"), ..Dial::default() }
}

#[test]
fn only_this_machine_is_dialled() {
    let dialled = |url: &str| address_of(&url.parse().unwrap()).map(|address| address.port());
    assert_eq!(dialled("http://app.localhost:81/").unwrap(), 81);
    assert_eq!(dialled("http://127.0.0.1:82/").unwrap(), 82);
    for wrong in ["http://evil.example:81/", "http://app.localhost.evil.example:1/", "http://192.0.2.1:80/"] {
        assert!(dialled(wrong).is_err(), "{wrong}");
    }
    let refused = dialled("https://evil.example/cb?code=secret").unwrap_err().to_string();
    assert!(!refused.contains("secret"), "{refused}");
}

#[test]
fn a_form_of_a_page_without_a_referrer_has_no_origin() {
    let (app, from): (Url, Url) =
        ("http://app.localhost:81/x".parse().unwrap(), "http://app.localhost:81/x?y".parse().unwrap());
    for (without_referrer, origin) in [(false, "http://app.localhost:81"), (true, "null")] {
        let going = Going { method: Method::POST, without_referrer, ..Going::to(app.clone(), Some(&from)) };
        let request = HeadlessBrowser::new("http://app.localhost:81").request(&going).unwrap();
        assert_eq!(request.headers()["origin"], origin);
    }
}
