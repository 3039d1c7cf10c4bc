//! Somebody signed in, as plain as it gets: a cookie and the sockets it opens. For tests about what happens to
//! exchanges; what pages look like is the browser's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::task::JoinHandle;

use super::application::Application;
use super::settings::Settings;
use super::stream::AnswerStream;
use super::websocket::WebSocket;
use super::wire::{self, Answer, Connection, Dial, RequestBody, WireFault, whole};
use super::{must, wait_for};

/// A client of the app with one cookie, or none.
#[derive(Clone)]
pub struct Visitor {
    pub address: SocketAddr,
    pub origin: String,
    pub cookie: String,
}

impl Visitor {
    /// Somebody with this `Cookie` header.
    pub fn new(settings: &Settings, cookie: &str) -> Self {
        Self { address: settings.proxy, origin: settings.origin(), cookie: cookie.to_owned() }
    }

    /// A request as a script on a page of the app makes it.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let host = self.origin.split_once("://").unwrap().1;
        let request = Request::builder().method(method).uri(path).header("host", host);
        let request = request.header("sec-fetch-mode", "cors").header("sec-fetch-site", "same-origin");
        let request = request.header("sec-fetch-dest", "empty").header("accept", "*/*");
        if self.cookie.is_empty() { request } else { request.header("cookie", &self.cookie) }
    }

    /// The same for HTTP/2, whose target carries scheme and authority.
    pub fn request_h2(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = self.request(method, &format!("{}{path}", self.origin));
        request.headers_mut().unwrap().remove("host");
        request
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|fault| panic!("{path}: {fault:?}"))
    }

    /// The same where the connection may break.
    pub async fn try_get(&self, path: &str) -> Result<Answer, WireFault> {
        wire::ask(self.address, self.request(Method::GET, path).body(whole("")).unwrap()).await
    }

    /// The status of one GET.
    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status.as_u16()
    }

    /// Opens a WebSocket, or says with which status it was refused.
    pub async fn socket(&self, path: &str) -> Result<WebSocket, u16> {
        let opened = WebSocket::open(self.address, &self.origin, path, &self.cookie).await;
        opened.map_err(|fault| fault.refusal())
    }

    /// Begins a GET whose answer does not end by itself.
    pub async fn stream(&self, path: &str, how: Dial<'_>) -> AnswerStream {
        let request = if how.version == http::Version::HTTP_2 {
            self.request_h2(Method::GET, path)
        } else {
            self.request(Method::GET, path)
        };
        let begun = AnswerStream::begin(self.address, how, request.body(whole("")).unwrap()).await;
        let stream = begun.unwrap_or_else(|fault| panic!("{path}: {fault:?}"));
        assert_eq!(stream.status, 200, "{path}");
        stream
    }

    /// Begins an upload that trickles until it is broken off, or answered.
    pub async fn upload(&self, path: &str) -> Upload {
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Some((Ok(Frame::data(Bytes::from_static(&[b'u'; 512]))), ()))
        });
        let body: RequestBody = BodyExt::boxed(StreamBody::new(trickle));
        let request = self.request(Method::POST, path).body(body).unwrap();
        let mut line = Connection::open(self.address).await.unwrap();
        Upload(tokio::spawn(async move { line.send(request).await }))
    }

    /// Begins a GET whose answer is waited for.
    pub fn waiting(&self, path: &'static str) -> Upload {
        let visitor = self.clone();
        Upload(tokio::spawn(async move {
            let request = visitor.request(Method::GET, path).body(whole("")).unwrap();
            Connection::open(visitor.address).await?.send(request).await
        }))
    }
}

/// A request that is under way.
pub struct Upload(JoinHandle<Result<Answer, WireFault>>);

impl Upload {
    /// What it came to.
    pub async fn outcome(self) -> Result<Answer, WireFault> {
        must("the end of a request", self.0).await.unwrap()
    }

    /// What it came to, as far as a marker goes: whether the client read it.
    pub async fn read(self, text: &str) -> bool {
        self.outcome().await.is_ok_and(|answer| answer.text().contains(text))
    }
}

/// One exchange of every kind, all of one person, all open.
pub struct Held {
    /// An idle one and a busy one, where there are WebSockets.
    sockets: Option<(WebSocket, WebSocket)>,
    events: AnswerStream,
    download: AnswerStream,
    download_h2: AnswerStream,
    upload: Upload,
    unanswered: Upload,
}

impl Held {
    /// How many exchanges that is.
    pub const COUNT: usize = 7;

    /// Opens one of every kind and waits until each is in use.
    pub async fn open(visitor: &Visitor, app: &Application) -> Self {
        let before = app.open();
        let mut idle = visitor.socket("/ws").await.expect("a WebSocket");
        idle.echo("hello").await.unwrap();
        let mut busy = visitor.socket("/ws/clock").await.expect("a WebSocket");
        assert!(must("a tick", busy.next()).await.is_some());
        let held = Self::open_requests(visitor, app).await;
        app.has_open(before + Self::COUNT).await;
        Self { sockets: Some((idle, busy)), ..held }
    }

    /// The same without WebSockets.
    pub async fn open_requests(visitor: &Visitor, app: &Application) -> Self {
        let (before, uploaded) = (app.open(), app.uploaded());
        let mut events = visitor.stream("/events", Dial::default()).await;
        events.at_least(5).await;
        let mut download = visitor.stream("/download", Dial::default()).await;
        download.at_least(64 * 1024).await;
        let mut download_h2 = visitor.stream("/download", Dial::h2()).await;
        download_h2.at_least(64 * 1024).await;
        let upload = visitor.upload("/upload").await;
        wait_for(|| app.uploaded() > uploaded).await;
        let unanswered = visitor.waiting("/hold");
        app.has_open(before + Self::COUNT - 2).await;
        Self { sockets: None, events, download, download_h2, upload, unanswered }
    }

    /// Every one of them ends, and none of them reads the marker.
    pub async fn ends_without(mut self, marker: &str) {
        if let Some((idle, busy)) = self.sockets.take() {
            for (which, socket) in [("idle", idle), ("busy", busy)] {
                let read = socket.read_out().await;
                assert!(!read.iter().any(|text| text == marker), "the {which} WebSocket read the marker");
            }
        }
        assert!(!self.events.read_out(marker).await, "the event stream read the marker");
        assert!(!self.download.read_out(marker).await, "the download read the marker");
        assert!(!self.download_h2.read_out(marker).await, "the download over HTTP/2 read the marker");
        assert!(!self.upload.read(marker).await, "the upload was answered with the marker");
        assert!(!self.unanswered.read(marker).await, "the waiting request was answered with the marker");
    }
}
