//! A legacy application, in this process: it shows what reached it, and holds every kind of stream open. On `mark` it
//! writes one text on all of them, from its own side; whatever a client reads of that text after a person is out is a
//! broken promise.
//!
//! `/ws` echoes, `/ws/clock` ticks by itself, `/events` is an event stream, `/download` never ends, `/upload` counts
//! what comes, `/hold` waits before it answers, `/becomes-events` waits and then is an event stream, `/cookie` sets
//! cookies of its own, `/page` opens a WebSocket. Everything else answers with the request as JSON.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

type Body = BoxBody<Bytes, Infallible>;

/// One request as it reached the application.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// All values of a header, joined by a bar.
    pub fn header(&self, name: &str) -> Option<String> {
        let all: Vec<_> =
            self.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        (!all.is_empty()).then(|| all.join("|"))
    }
}

#[derive(Clone, Default)]
struct Cue {
    /// Written on every stream once.
    mark: Option<Arc<str>>,
    /// What waits goes on.
    released: bool,
}

struct Shared {
    cue: watch::Sender<Cue>,
    seen: Mutex<Vec<Seen>>,
    uploaded: AtomicU64,
    sent: AtomicU64,
    open: AtomicU64,
    marked: AtomicU64,
}

/// The application. It ends when it is dropped.
#[derive(Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
    pub address: SocketAddr,
    _serving: Arc<Serving>,
}

impl Upstream {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts it where it is told.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            cue: watch::Sender::new(Cue::default()),
            seen: Mutex::default(),
            uploaded: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            open: AtomicU64::new(0),
            marked: AtomicU64::new(0),
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { shared, address, _serving: Arc::new(Serving(serving.abort_handle())) }
    }

    /// Writes `text` on every stream that is still open here, and waits until each has taken it or is gone.
    pub async fn mark(&self, text: &str) {
        self.shared.cue.send_modify(|cue| cue.mark = Some(text.into()));
        super::until("the marker on every stream", || {
            let done = self.shared.marked.load(Ordering::SeqCst) >= self.shared.open.load(Ordering::SeqCst);
            async move { done }
        })
        .await;
    }

    /// Lets what waits go on.
    pub fn release(&self) {
        self.shared.cue.send_modify(|cue| cue.released = true);
    }

    /// Everything that reached it so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests reached it so far.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many requests of a path reached it so far.
    pub fn count_of(&self, path: &str) -> usize {
        let of = |seen: &&Seen| seen.target.split('?').next() == Some(path);
        self.shared.seen.lock().unwrap().iter().filter(of).count()
    }

    /// The last request of a path.
    pub fn last(&self, path: &str) -> Option<Seen> {
        let of = |seen: &&Seen| seen.target.split('?').next() == Some(path);
        self.shared.seen.lock().unwrap().iter().rfind(of).cloned()
    }

    /// Bytes of uploads that reached it so far.
    pub fn uploaded(&self) -> u64 {
        self.shared.uploaded.load(Ordering::SeqCst)
    }

    /// Waits until nothing more goes out: everything on the way is full, because a client does not read.
    pub async fn stalls(&self) {
        let (mut last, mut same) = (0, 0);
        super::until("a stall", || {
            let sent = self.shared.sent.load(Ordering::SeqCst);
            same = if sent == last && sent > 0 { same + 1 } else { 0 };
            last = sent;
            let stalled = same > 20;
            async move { stalled }
        })
        .await;
    }

    /// Streams that are open on its side.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Waits until exactly so many streams are open on its side.
    pub async fn has_open(&self, wanted: u64) {
        super::until(&format!("{wanted} streams at the application"), || {
            let open = self.open();
            async move { open == wanted }
        })
        .await;
    }
}

/// The accepting task and, below it, the connections.
struct Serving(tokio::task::AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream is open from here until this is dropped.
struct Open {
    shared: Arc<Shared>,
    marked: bool,
}

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self { shared: shared.clone(), marked: false }
    }

    fn marked(&mut self) {
        if !std::mem::replace(&mut self.marked, true) {
            self.shared.marked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.marked {
            self.shared.marked.fetch_sub(1, Ordering::SeqCst);
        }
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections are children of this task: they end with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            let builder = auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let seen = Seen { method: request.method().clone(), target, headers: request.headers().clone() };
    shared.seen.lock().unwrap().push(seen.clone());
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/ws" => web_socket(request, &shared, false),
        "/ws/clock" => web_socket(request, &shared, true),
        "/events" => stream(&shared, "text/event-stream", Pace::Quiet),
        "/download" => stream(&shared, "application/octet-stream", Pace::Full),
        "/upload" => upload(request, &shared).await,
        "/hold" => {
            let (_open, text) = wait(&shared).await;
            plain(StatusCode::OK, text)
        }
        "/becomes-events" => {
            drop(wait(&shared).await);
            stream(&shared, "text/event-stream", Pace::Quiet)
        }
        "/slow" => std::future::pending().await,
        "/page" => {
            let mut response = plain(StatusCode::OK, PAGE.to_owned());
            response
                .headers_mut()
                .insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
            response
        }
        "/cookie" => {
            let mut response = plain(StatusCode::OK, "set".to_owned());
            let mut set = |line: &'static str| {
                response.headers_mut().append("set-cookie", http::HeaderValue::from_static(line));
            };
            set("legacy=1; Path=/");
            set("other=2");
            response
        }
        _ => echo(&seen, request).await,
    })
}

/// A page that opens a WebSocket and says how it is.
const PAGE: &str = "<!doctype html><title>legacy</title><p id=s>socket opening</p><script>
const s = document.getElementById('s'), w = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
w.onopen = () => s.textContent = 'socket open'; w.onclose = () => s.textContent = 'socket closed';</script>";

async fn echo(seen: &Seen, request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let json = serde_json::json!({
        "method": seen.method.as_str(), "target": seen.target, "headers": headers, "body": body.len(),
    });
    let mut response = plain(StatusCode::OK, json.to_string());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// Waits until released or marked; the marker is then the answer.
async fn wait(shared: &Arc<Shared>) -> (Open, String) {
    let mut open = Open::new(shared);
    let mut cue = shared.cue.subscribe();
    let cue = cue
        .wait_for(|cue| cue.mark.is_some() || cue.released)
        .await
        .map(|cue| cue.clone())
        .unwrap_or_default();
    open.marked();
    (open, cue.mark.map_or("released".to_owned(), |mark| mark.to_string()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// A greeting, then nothing until the marker.
    Quiet,
    /// As fast as it is taken.
    Full,
}

/// A body that never ends by itself. `hello` is its first line.
fn stream(shared: &Arc<Shared>, kind: &'static str, pace: Pace) -> Response<Body> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let mut open = Open::new(shared);
    let shared = shared.clone();
    tokio::spawn(async move {
        let mut cue = shared.cue.subscribe();
        let block = Bytes::from(vec![b'.'; 16 * 1024]);
        if sender.send("data: hello\n\n".into()).await.is_err() {
            return;
        }
        loop {
            let mark =
                async { cue.wait_for(|cue| cue.mark.is_some()).await.ok().and_then(|cue| cue.mark.clone()) };
            let fill = async {
                match pace {
                    Pace::Quiet => std::future::pending().await,
                    Pace::Full => sender.send(block.clone()).await,
                }
            };
            tokio::select! {
                biased;
                () = sender.closed() => return,
                mark = mark => {
                    let text = format!("data: {}\n\n", mark.unwrap_or_default());
                    // A slow reader leaves no room: the marker waits in line, which is as good as written.
                    open.marked();
                    let _ = sender.send(text.into()).await;
                    sender.closed().await;
                    return;
                }
                sent = fill => {
                    if sent.is_err() {
                        return;
                    }
                    shared.sent.fetch_add(block.len() as u64, Ordering::SeqCst);
                }
            }
        }
    });
    let frames = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|b| b.map(|b| Ok(Frame::data(b))))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}

/// Reads a body as it comes; answers when it ends, or with the marker.
async fn upload(request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    let mut open = Open::new(shared);
    let mut body = request.into_body();
    let mut cue = shared.cue.subscribe();
    loop {
        tokio::select! {
            biased;
            cue = cue.wait_for(|cue| cue.mark.is_some()) => {
                open.marked();
                let mark = cue.ok().and_then(|cue| cue.mark.clone());
                return plain(StatusCode::OK, mark.map(|mark| mark.to_string()).unwrap_or_default());
            }
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                    shared.uploaded.fetch_add(size, Ordering::SeqCst);
                }
                _ => return plain(StatusCode::OK, "the upload ended".to_owned()),
            }
        }
    }
}

fn web_socket(mut request: Request<Incoming>, shared: &Arc<Shared>, clock: bool) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        return plain(StatusCode::UPGRADE_REQUIRED, "a WebSocket is served here".to_owned());
    };
    let mut open = Open::new(shared);
    let shared = shared.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut cue = shared.cue.subscribe();
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        loop {
            let mark =
                async { cue.wait_for(|cue| cue.mark.is_some()).await.ok().and_then(|cue| cue.mark.clone()) };
            tokio::select! {
                biased;
                message = socket.next() => match message {
                    Some(Ok(message)) if message.is_text() || message.is_binary() => {
                        if socket.send(message).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
                mark = mark => {
                    let _ = socket.send(Message::text(mark.unwrap_or_default().to_string())).await;
                    open.marked();
                    while let Some(Ok(_)) = socket.next().await {}
                    return;
                }
                _ = ticks.tick(), if clock => {
                    if socket.send(Message::text("tick")).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, String::new());
    let headers = response.headers_mut();
    headers.insert("connection", http::HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", http::HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().unwrap());
    response
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}
