//! A cookie jar that keeps a browser's rules (RFC 6265bis): host-only, Path, Secure, SameSite, the `__Host-` prefix.

/// One cookie, as a browser keeps it.
#[derive(Clone, Debug)]
pub struct Cookie {
    pub name: String,
    pub value: String,
    pub host: String,
    pub path: String,
    pub secure: bool,
    pub http_only: bool,
    pub same_site: SameSite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// How a request came about, as far as SameSite looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// From a page of the same site, or typed.
    SameSite,
    /// A link or redirect from another site, GET, at the top of a window.
    Navigation,
    /// Anything else from another site.
    CrossSite,
}

#[derive(Clone, Default)]
pub struct Jar(Vec<Cookie>);

impl Jar {
    /// Takes a `Set-Cookie` of a response of `url`. What a browser refuses is refused here as well.
    pub fn set(&mut self, url: &url::Url, line: &str) -> Option<Cookie> {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let host = url.host_str()?.to_owned();
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            host,
            path: default_path(url.path()),
            secure: false,
            http_only: false,
            same_site: SameSite::Lax,
        };
        let (mut gone, mut domain) = (value.is_empty(), false);
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "domain" => domain = true,
                "max-age" => gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "expires" => gone |= value.contains("1970"),
                "samesite" => {
                    cookie.same_site = match value.to_ascii_lowercase().as_str() {
                        "none" => SameSite::None,
                        "strict" => SameSite::Strict,
                        _ => SameSite::Lax,
                    }
                }
                _ => {}
            }
        }
        // Loopback names are trustworthy (measured with Chromium): Secure works there over http as well.
        let host_prefix = cookie.name.starts_with("__Host-");
        if host_prefix && (!cookie.secure || domain || cookie.path != "/") {
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
        let fits = |cookie: &&Cookie| {
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
    pub fn of(&self, host: &str) -> Vec<&Cookie> {
        self.0.iter().filter(|cookie| cookie.host == host).collect()
    }

    /// Puts a cookie there by hand, as a thief would.
    pub fn plant(&mut self, host: &str, name: &str, value: &str) {
        self.0.retain(|old| (old.name.as_str(), old.host.as_str()) != (name, host));
        self.0.push(Cookie {
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

/// The site of a host: below `localhost` the name before it and `localhost`; an address is its own site.
pub fn site(host: &str) -> String {
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
    assert_eq!(site("idp.app.localhost"), "app.localhost");
    assert_eq!(site("127.0.0.1"), "127.0.0.1");
}
