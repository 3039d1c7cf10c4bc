//! An OpenID provider nobody here wrote: npm `oidc-provider`, one process a run, one client a test.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use http::Request;
use serde_json::{Value, json};

use super::browser::{BrowserPage, HeadlessBrowser};
use super::settings::{Settings, rand};
use super::{peer, ports, wire};

/// The provider.
pub struct Op {
    child: Child,
    address: SocketAddr,
    pub issuer: String,
}

/// A client registered at it.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Op {
    /// The one of this run. It ends with the run, because its standard input does.
    pub fn shared() -> &'static Op {
        static SHARED: OnceLock<Op> = OnceLock::new();
        SHARED.get_or_init(Op::start)
    }

    /// One of its own, for a test that breaks it or rotates its keys.
    pub fn start() -> Op {
        let address = ports::free();
        let settings = json!({ "host": "idp.localhost", "port": address.port() });
        // Kept in the cache: why a provider ended is asked after the test that met its end.
        let log = peer::cache().join("op.out");
        let mut child = Command::new(peer::cache().join("node/bin/node"))
            .arg(peer::rigs().join("op/op.mjs"))
            .arg(settings.to_string())
            .env("PORTCULLIS_RIG_MODULES", peer::cache().join("op"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().append(true).create(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        let Some(issuer) = line.trim().strip_prefix("ready ") else {
            let _ = child.kill();
            panic!("oidc-provider did not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        Op { child, address, issuer: issuer.to_owned() }
    }

    /// Registers a client whose addresses are those of a program with these settings.
    pub async fn client(&self, settings: &Settings) -> Client {
        let client = Client::drawn();
        self.register(&client, settings, &["op"]).await;
        client
    }

    /// Registers a client under the names that a program with these settings may call its IdP.
    pub async fn register(&self, client: &Client, settings: &Settings, names: &[&str]) {
        let callbacks: Vec<String> = names.iter().map(|name| settings.callback(name)).collect();
        self.rig(
            "client",
            &json!({
                "client_id": client.id, "client_secret": client.secret, "redirect_uris": callbacks,
                "post_logout_redirect_uris": [settings.logged_out()],
            }),
        )
        .await;
    }

    /// Registers a client under one address that it may be led back to.
    pub async fn register_at(&self, client: &Client, callback: &str) {
        let said =
            json!({ "client_id": client.id, "client_secret": client.secret, "redirect_uris": [callback] });
        self.rig("client", &said).await;
    }

    /// Registers a client that is told of the ends of sessions at `heard_at`.
    pub async fn client_told_at(&self, settings: &Settings, heard_at: &str) -> Client {
        let client = Client::drawn();
        self.rig(
            "client",
            &json!({
                "client_id": client.id, "client_secret": client.secret, "redirect_uris": [settings.callback("op")],
                "post_logout_redirect_uris": [settings.logged_out()],
                "backchannel_logout_uri": heard_at, "backchannel_logout_session_required": true,
            }),
        )
        .await;
        client
    }

    /// The logout tokens that it has sent of a client.
    pub async fn logout_tokens(&self, client: &Client) -> Vec<String> {
        let tokens = self.rig("tokens", &json!({ "client_id": client.id })).await;
        tokens.as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    }

    /// Ends a browser's session there, and only there: the provider tells its clients.
    pub async fn end_session(&self, browser: &mut HeadlessBrowser) -> BrowserPage {
        let page = browser.open(&format!("{}/session/end", self.issuer)).await;
        let confirm =
            page.form_with("xsrf").unwrap_or_else(|| panic!("the provider's logout page: {}", page.text()));
        browser.submit(&page, &confirm.with("logout", "yes")).await
    }

    /// What it says of somebody from now on.
    pub async fn person(&self, name: &str, claims: Value) {
        self.rig("person", &json!({ "name": name, "claims": claims })).await;
    }

    /// Signs with a new key from now on; the old one stays published if `keep`.
    pub async fn rotate(&self, keep: bool) {
        self.rig("rotate", &json!({ "keep": keep })).await;
    }

    /// How it answers from now on: `up`, `down`, `slow`, `nonsense`.
    pub async fn mode(&self, mode: &str) {
        self.rig("mode", &json!({ "mode": mode })).await;
    }

    /// Token requests of this client wait from now on.
    pub async fn hold(&self, client: &Client) {
        self.rig("hold", &json!({ "client_id": client.id })).await;
    }

    /// Waits until a token request of this client waits.
    pub async fn holds(&self, client: &Client) {
        super::until("a token request", || async {
            self.rig("held", &json!({ "client_id": client.id })).await["count"] != json!(0)
        })
        .await;
    }

    /// What waits goes on.
    pub async fn release(&self, client: &Client) {
        self.rig("release", &json!({ "client_id": client.id })).await;
    }

    /// How often a path was asked.
    pub async fn asked(&self, path: &str) -> u64 {
        self.rig("seen", &json!({})).await[path].as_u64().unwrap_or(0)
    }

    async fn rig(&self, call: &str, body: &Value) -> Value {
        let request = Request::post(format!("/rig/{call}"))
            .header("host", "rig")
            .header("content-type", "application/json")
            .body(wire::whole(body.to_string()))
            .unwrap();
        wire::ask(self.address, request).await.unwrap_or_else(|fault| panic!("the rig: {fault:?}")).json()
    }
}

impl Client {
    /// One that no other test has.
    pub fn drawn() -> Self {
        Self { id: format!("client-{:x}", rand()), secret: format!("secret-{:016x}{:016x}", rand(), rand()) }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(mut input) = self.child.stdin.take() {
            let _ = input.flush();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs in: opens a path of the app, fills the provider's forms, and comes back. The page it ends on.
pub async fn sign_in(browser: &mut HeadlessBrowser, path: &str, name: &str) -> BrowserPage {
    let page = browser.open(path).await;
    finish_sign_in(browser, page, name).await
}

/// Follows the page that leads on by itself.
pub async fn lead_on(browser: &mut HeadlessBrowser, page: &BrowserPage) -> BrowserPage {
    browser.open(&onward_of(page)).await
}

/// The address that a page leads on to by itself.
pub fn onward_of(page: &BrowserPage) -> String {
    let text = page.text().replace("&#38;", "&");
    let to = text.split_once("content=\"0; url=").and_then(|(_, rest)| rest.split_once('"'));
    to.unwrap_or_else(|| panic!("it leads nowhere: {text}")).0.to_owned()
}

/// Fills the provider's forms from the first on.
pub async fn finish_sign_in(browser: &mut HeadlessBrowser, mut page: BrowserPage, name: &str) -> BrowserPage {
    for _ in 0..4 {
        let Some(form) = page.form_with("prompt") else { return page };
        let form = if form.has("login") { form.with("login", name).with("password", "any") } else { form };
        page = browser.submit(&page, &form).await;
    }
    panic!("the provider asks without end: {}", page.text());
}

/// Signs in at the provider up to the address that leads back to the app, which is not asked yet.
pub async fn sign_in_until(browser: &mut HeadlessBrowser, name: &str, callback: &str) -> url::Url {
    let mut page = browser.open("/").await;
    for _ in 0..4 {
        let form = page.form_with("prompt").unwrap_or_else(|| panic!("no form: {}", page.text()));
        let form = if form.has("login") { form.with("login", name).with("password", "any") } else { form };
        let is_last = !form.has("login");
        page = browser.submit_once(&page, &form).await;
        if is_last {
            return browser.follow_until(page, callback).await;
        }
        page = browser.follow(page).await;
    }
    panic!("the provider asks without end");
}
