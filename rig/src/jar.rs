//! A cookie jar that keeps a browser's rules (RFC 6265bis): host-only, Path, Secure, SameSite, the `__Host-` prefix.

use cookie::SameSite;

/// One cookie, as a browser keeps it.
#[derive(Clone, Debug)]
pub struct JarCookie {
    pub name: String,
    pub value: String,
    pub host: String,
    pub path: String,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
}

/// The way in which a request came about, as far as SameSite looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// From a page of the same site, or typed.
    SameSite,
    /// A link or redirect from another site, GET, at the top of a window.
    Navigation,
    /// Anything else from another site.
    CrossSite,
}

/// The cookies of one browser.
#[derive(Clone, Default)]
pub struct Jar(Vec<JarCookie>);

impl Jar {
    /// Takes a `Set-Cookie` of a response of `url`. What a browser refuses is refused here as well.
    pub fn set(&mut self, url: &url::Url, line: &str) -> Option<JarCookie> {
        let set = cookie::Cookie::parse(line).ok()?;
        let path = set.path().filter(|path| path.starts_with('/'));
        let cookie = JarCookie {
            name: set.name().to_owned(),
            value: set.value().to_owned(),
            host: url.host_str()?.to_owned(),
            path: path.map_or_else(|| default_path(url.path()), str::to_owned),
            secure: set.secure() == Some(true),
            http_only: set.http_only() == Some(true),
            same_site: set.same_site().unwrap_or(SameSite::Lax),
        };
        let gone = match (set.max_age(), set.expires_datetime()) {
            (Some(age), _) => age.whole_seconds() <= 0,
            (None, Some(end)) => std::time::SystemTime::from(end) <= std::time::SystemTime::now(),
            (None, None) => set.value().is_empty(),
        };
        // Loopback names are trustworthy (measured with Chromium): Secure works there over http as well.
        let host_prefix = cookie.name.starts_with("__Host-");
        if host_prefix && (!cookie.secure || set.domain().is_some() || cookie.path != "/") {
            return None;
        }
        self.0.retain(|old| (&old.name, &old.host, &old.path) != (&cookie.name, &cookie.host, &cookie.path));
        if !gone {
            self.0.push(cookie.clone());
        }
        Some(cookie)
    }

    /// The `Cookie` header for a request.
    pub fn header(&self, url: &url::Url, asking: Asking) -> Option<String> {
        let fits = |cookie: &&JarCookie| {
            Some(cookie.host.as_str()) == url.host_str()
                && path_matches(url.path(), &cookie.path)
                && match asking {
                    Asking::SameSite => true,
                    Asking::Navigation => cookie.same_site != SameSite::Strict,
                    Asking::CrossSite => cookie.same_site == SameSite::None,
                }
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// All cookies of a host.
    pub fn of(&self, host: &str) -> Vec<&JarCookie> {
        self.0.iter().filter(|cookie| cookie.host == host).collect()
    }

    /// Puts a cookie there by hand, as a thief would.
    pub fn plant(&mut self, host: &str, name: &str, value: &str) {
        self.0.retain(|old| (old.name.as_str(), old.host.as_str()) != (name, host));
        self.0.push(JarCookie {
            name: name.to_owned(),
            value: value.to_owned(),
            host: host.to_owned(),
            path: "/".to_owned(),
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
        });
    }
}

fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => path[..end].to_owned(),
    }
}

fn path_matches(path: &str, cookie: &str) -> bool {
    path == cookie
        || path.strip_prefix(cookie).is_some_and(|rest| cookie.ends_with('/') || rest.starts_with('/'))
}

/// Gives the site of a host: below `localhost` the name before it and `localhost`; an address is its own site.
pub fn site_of(host: &str) -> String {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host.to_owned();
    }
    let labels: Vec<&str> = host.rsplit('.').take(2).collect();
    labels.into_iter().rev().collect::<Vec<_>>().join(".")
}

#[test]
fn the_jar_keeps_a_browsers_rules() {
    let app: url::Url = "http://app.localhost:1/a/b".parse().unwrap();
    let deep: url::Url = "http://deep.app.localhost:1/".parse().unwrap();
    let mut jar = Jar::default();
    assert!(jar.set(&app, "__Host-s=1; Path=/").is_none(), "a __Host- cookie is Secure");
    assert!(jar.set(&app, "__Host-s=1; Path=/; Secure; Domain=app.localhost").is_none(), "and host-only");
    assert!(jar.set(&app, "__Host-s=1; Path=/x; Secure").is_none(), "and of the whole host");
    assert!(jar.set(&app, "__Host-s=1; Path=/; Secure; HttpOnly; SameSite=Lax").is_some());
    assert!(jar.set(&app, "n=2; SameSite=None; Secure").is_some());
    assert_eq!(jar.header(&app, Asking::SameSite).as_deref(), Some("__Host-s=1; n=2"));
    assert_eq!(jar.header(&app, Asking::CrossSite).as_deref(), Some("n=2"));
    assert_eq!(jar.header(&deep, Asking::SameSite), None, "host-only cookies reach no name below");
    assert_eq!(
        jar.header(&"http://app.localhost:1/ab".parse().unwrap(), Asking::SameSite).as_deref(),
        Some("__Host-s=1")
    );
    jar.set(&app, "__Host-s=; Path=/; Secure; Max-Age=0");
    assert_eq!(jar.header(&app, Asking::SameSite).as_deref(), Some("n=2"));
    assert_eq!(site_of("idp.app.localhost"), "app.localhost");
    assert_eq!(site_of("127.0.0.1"), "127.0.0.1");
}

#[test]
fn cookies_go_back_where_they_came_from_and_nowhere_else() {
    let url = |text: &str| text.parse::<url::Url>().unwrap();
    let callback = url("http://app.localhost:8080/.portcullis/callback/x");
    let mut jar = Jar::default();
    let sent = |jar: &Jar, to: &url::Url| jar.header(to, Asking::SameSite).unwrap_or_default();
    jar.set(&callback, "__Host-s=1; Path=/; Secure");
    jar.set(&callback, "flow=2; Path=/.portcullis/callback");
    assert_eq!(sent(&jar, &url("http://app.localhost:8080/")), "__Host-s=1");
    assert_eq!(sent(&jar, &callback), "__Host-s=1; flow=2");
    assert_eq!(sent(&jar, &url("http://app.localhost:8080/.portcullis/callbacks")), "__Host-s=1");
    assert_eq!(sent(&jar, &url("http://idp.localhost:8080/")), "");

    jar.set(&callback, "flow=; Path=/.portcullis/callback; Max-Age=0");
    jar.set(&callback, "__Host-s=3; Path=/; Secure");
    assert_eq!(sent(&jar, &callback), "__Host-s=3");
    jar.set(&callback, "__Host-s=; Path=/; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(sent(&jar, &callback), "");
}
