//! Headless Chromium, driven through chromedriver's own protocol: JSON over HTTP, no library.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ports, until, wire};

/// A browser window. Closed when dropped.
pub struct Chromium {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: TempDir,
}

impl Chromium {
    /// Starts a driver and a window of this size. `arguments` are further switches of Chromium.
    pub async fn start(size: (u32, u32), arguments: &[String]) -> Self {
        let address = ports::free();
        let profile = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(profile.path().join("driver.log")).unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut chromium = Self { driver, address, session: String::new(), profile };
        until("chromedriver", || async { wire::get(address, "localhost", "/status").await.is_ok() }).await;
        let mut switches: Vec<String> = [
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]
        .map(str::to_owned)
        .to_vec();
        if rustix::process::geteuid().is_root() {
            switches.push("--no-sandbox".to_owned());
        }
        switches.push(format!("--window-size={},{}", size.0, size.1));
        switches.push(format!("--user-data-dir={}", chromium.profile.path().join("profile").display()));
        switches.extend(arguments.iter().cloned());
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": switches },
        } } });
        let made = chromium.call(Method::POST, "/session", Some(wanted)).await;
        made["sessionId"].as_str().unwrap().clone_into(&mut chromium.session);
        chromium
    }

    /// Goes to an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.ask(Method::POST, "url", Some(json!({ "url": url }))).await;
    }

    /// The title of the page.
    pub async fn title(&self) -> String {
        self.ask(Method::GET, "title", None).await.as_str().unwrap().to_owned()
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        self.run("return document.body ? document.body.innerText : ''")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Runs a script on the page and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.ask(Method::POST, "execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Clicks what a CSS selector finds first.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.ask(Method::POST, &format!("element/{element}/click"), Some(json!({}))).await;
    }

    /// Types into what a CSS selector finds first.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.ask(Method::POST, &format!("element/{element}/value"), Some(json!({ "text": text }))).await;
    }

    /// Waits until a person can read this on the page. A style sheet may show letters in another case.
    pub async fn reads(&self, text: &str) {
        let wanted = text.to_lowercase();
        until(&format!("\"{text}\" on the page"), || async {
            self.text().await.to_lowercase().contains(&wanted)
        })
        .await;
    }

    /// Opens a second window and goes there; gives its handle.
    pub async fn window(&self) -> String {
        let made = self.ask(Method::POST, "window/new", Some(json!({ "type": "tab" }))).await;
        let handle = made["handle"].as_str().unwrap().to_owned();
        self.switch(&handle).await;
        handle
    }

    /// The handle of the window it is in.
    pub async fn here(&self) -> String {
        self.ask(Method::GET, "window", None).await.as_str().unwrap().to_owned()
    }

    /// Goes to another window.
    pub async fn switch(&self, handle: &str) {
        self.ask(Method::POST, "window", Some(json!({ "handle": handle }))).await;
    }

    /// Shows pages as a telephone of this width would; a window cannot be as narrow.
    pub async fn narrow(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 640, "deviceScaleFactor": 2, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Shows pages of exactly this size; the frame of a window takes some of its own.
    pub async fn screen(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The cookies of a host as the browser keeps them, in its own words; no script can read ours.
    pub async fn cookies(&self, host: &str) -> Vec<Value> {
        let all = self.devtools("Network.getAllCookies", json!({})).await;
        let all = all["cookies"].as_array().unwrap();
        all.iter().filter(|cookie| cookie["domain"] == host).cloned().collect()
    }

    /// Puts a cookie in the place of the one of its name, as an answer of this origin would.
    pub async fn plant_cookie(&self, origin: &str, mut cookie: Value) {
        let fields = cookie.as_object_mut().unwrap();
        // Of a `__Host-` cookie no domain may be named.
        fields.retain(|field, _| {
            ["name", "value", "path", "secure", "httpOnly", "sameSite"].contains(&&**field)
        });
        fields.insert("url".to_owned(), origin.into());
        assert_eq!(self.devtools("Network.setCookie", cookie).await["success"], true);
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": command, "params": parameters });
        self.ask(Method::POST, "goog/cdp/execute", Some(command)).await
    }

    /// Writes a picture of the page.
    pub async fn picture(&self, file: &Path) {
        let picture = self.ask(Method::GET, "screenshot", None).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// The first element that a CSS selector finds; it may take a moment to be there.
    async fn element(&self, selector: &str) -> String {
        let wanted = serde_json::to_string(selector).unwrap();
        let is_there = format!("return document.querySelector({wanted}) !== null");
        for _ in 0..400 {
            if self.run(&is_there).await == true {
                let by = json!({ "using": "css selector", "value": selector });
                let found = self.ask(Method::POST, "element", Some(by)).await;
                return found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let url = self.run("return location.href").await;
        panic!("nothing is {selector} at {url}:\n{}", self.text().await);
    }

    async fn ask(&self, method: Method, what: &str, body: Option<Value>) -> Value {
        self.call(method, &format!("/session/{}/{what}", self.session), body).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(wire::whole(body.map(|body| body.to_string()).unwrap_or_default()))
            .unwrap();
        let answer = wire::ask(self.address, request).await;
        let answer = answer.unwrap_or_else(|fault| panic!("chromedriver: {fault:?}"));
        let json = answer.json();
        assert!(answer.status.is_success(), "{path}: {json}");
        json["value"].clone()
    }
}

impl Chromium {
    /// Ends the session, by hand: whoever drops this may be on any thread.
    fn end_session(&self) -> std::io::Result<()> {
        let mut socket = std::net::TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        let path = format!("/session/{}", self.session);
        write!(socket, "DELETE {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        socket.read(&mut [0; 64]).map(drop)
    }

    /// Processes that work in this window's profile.
    pub fn processes(profile: &Path) -> usize {
        let profile = profile.display().to_string();
        let has_it = |command: Vec<u8>| String::from_utf8_lossy(&command).contains(&profile);
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter(|process| std::fs::read(process.path().join("cmdline")).is_ok_and(has_it)).count()
    }

    /// The folder of everything this window keeps.
    pub fn profile(&self) -> &Path {
        self.profile.path()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Only a session that is ended ends its browser: a driver that is told to go leaves it behind.
        let _ = self.end_session();
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}
