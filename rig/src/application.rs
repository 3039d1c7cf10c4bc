//! A legacy application, in this process: it shows what reached it, and holds every kind of stream open. On `mark` it
//! writes one text on all of them, from its own side; whatever a client reads of that text after a person is out is a
//! broken promise.
//!
//! `/ws` echoes, `/ws/clock` ticks by itself, `/socket` is a socket without frames; `/events` and `/stream` say hello and
//! then every mark, `/download` never ends, `/bytes/N` does; `/upload` and `/count` count what comes; `/hold` waits
//! before it answers, `/becomes-events` waits and then is an event stream, `/slow` waits for ever, `/pause` in the
//! middle; `/cookie` sets cookies of its own and `/tricks` what it may not, `/page` opens a WebSocket. `/headers` is the
//! request as text, and everything else the request as JSON.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::wire::{RequestBody, whole};
use crate::{wait_for, wait_for_stall};

/// One request as it reached the application.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// The path.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// All values of a header, joined by a bar.
    pub fn header(&self, name: &str) -> Option<String> {
        let all: Vec<_> =
            self.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        (!all.is_empty()).then(|| all.join("|"))
    }
}

/// The last mark, and how many there were.
#[derive(Clone, Default)]
struct Mark {
    number: u64,
    text: Bytes,
}

#[derive(Default)]
struct ApplicationState {
    mark: watch::Sender<Mark>,
    /// Set where what waits may go on.
    released: watch::Sender<bool>,
    seen: Mutex<Vec<Seen>>,
    uploaded: AtomicU64,
    sent: AtomicU64,
    /// The streams that are open, each with the last mark that it has taken.
    open: Mutex<HashMap<u64, u64>>,
    opened: AtomicU64,
}

/// The application. It ends when it is dropped.
#[derive(Clone)]
pub struct Application {
    state: Arc<ApplicationState>,
    pub address: SocketAddr,
    _serving: Arc<Serving>,
}

impl Application {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ApplicationState::default());
        let serving = tokio::spawn(accept_connections(listener, state.clone()));
        Self { state, address, _serving: Arc::new(Serving(serving.abort_handle())) }
    }

    /// Writes `text` on every stream that is still open here, and waits until each has taken it or is gone.
    pub async fn mark(&self, text: &str) {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.state.mark.send_modify(|mark| *mark = Mark { number: mark.number + 1, text });
        let number = self.state.mark.borrow().number;
        wait_for(|| self.state.open.lock().unwrap().values().all(|taken| *taken >= number)).await;
    }

    /// Lets what waits go on.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Everything that reached it so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().iter().map(|seen| seen.path().to_owned()).collect()
    }

    /// Counts the requests that reached it so far.
    pub fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// Counts the requests of a path that reached it so far.
    pub fn count_of(&self, path: &str) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|seen| seen.path() == path).count()
    }

    /// The last request of a path.
    pub fn last(&self, path: &str) -> Option<Seen> {
        self.state.seen.lock().unwrap().iter().rfind(|seen| seen.path() == path).cloned()
    }

    /// Bytes of uploads that reached it so far.
    pub fn uploaded(&self) -> u64 {
        self.state.uploaded.load(Ordering::SeqCst)
    }

    /// Waits until so many bytes of uploads have reached it.
    pub async fn has_taken(&self, bytes: u64) {
        wait_for(|| self.uploaded() >= bytes).await;
    }

    /// Bytes of downloads that it got rid of so far.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Waits until nothing more goes out: everything on the way is full, because a client does not read.
    pub async fn stalls(&self) {
        wait_for_stall(|| self.sent()).await;
    }

    /// Streams that are open on its side.
    pub fn open(&self) -> usize {
        self.state.open.lock().unwrap().len()
    }

    /// Waits until exactly so many streams are open on its side.
    pub async fn has_open(&self, wanted: usize) {
        wait_for(|| self.open() == wanted).await;
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
struct OpenStream {
    state: Arc<ApplicationState>,
    id: u64,
    marks: watch::Receiver<Mark>,
}

impl OpenStream {
    fn new(state: &Arc<ApplicationState>) -> Self {
        let mut open = state.open.lock().unwrap();
        let id = state.opened.fetch_add(1, Ordering::SeqCst);
        let mut marks = state.mark.subscribe();
        // Whoever comes after a mark is written it as well: they may not be here either.
        if marks.borrow().number > 0 {
            marks.mark_changed();
        }
        open.insert(id, 0);
        Self { state: state.clone(), id, marks }
    }

    /// Waits for the next mark, and takes it. A slow reader leaves no room: the mark waits in line then, which is as
    /// good as written.
    async fn next(&mut self) -> Bytes {
        let _ = self.marks.changed().await;
        let mark = self.marks.borrow_and_update().clone();
        self.state.open.lock().unwrap().insert(self.id, mark.number);
        mark.text
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.state.open.lock().unwrap().remove(&self.id);
    }
}

async fn accept_connections(listener: TcpListener, state: Arc<ApplicationState>) {
    // Connections are children of this task: they end with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer_request(request, state.clone()));
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answered = Response<RequestBody>;

async fn answer_request(
    request: Request<Incoming>,
    state: Arc<ApplicationState>,
) -> Result<Answered, Infallible> {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let seen = Seen { method: request.method().clone(), target, headers: request.headers().clone() };
    state.seen.lock().unwrap().push(seen.clone());
    let path = request.uri().path().to_owned();
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    Ok(match (first, rest) {
        ("headers", _) => show_request(&request),
        ("ws", "") => web_socket(request, &state, false),
        ("ws", "clock") => web_socket(request, &state, true),
        ("socket", _) => bare_socket(request, &state),
        ("events", _) => stream_marks("text/event-stream", OpenStream::new(&state)),
        ("stream", _) => stream_marks("application/x-ndjson", OpenStream::new(&state)),
        ("becomes-events", _) => {
            drop(answer_when_released(&state).await);
            stream_marks("text/event-stream", OpenStream::new(&state))
        }
        ("download", _) => send_endlessly(&state),
        ("bytes", length) => send_bytes(length.parse().unwrap(), state),
        ("upload", _) => count_upload(request, &state, Some(OpenStream::new(&state))).await,
        ("count", _) => count_upload(request, &state, None).await,
        ("hold", _) => answer_when_released(&state).await,
        ("slow", _) => std::future::pending().await,
        // A head in time, and a body that takes long.
        ("pause", _) => stream_answer(
            "text/plain",
            stream::iter(["first\n", "second\n"]).then(|piece| async move {
                if piece != "first\n" {
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                }
                Bytes::from_static(piece.as_bytes())
            }),
        ),
        ("page", _) => with_fields(plain_answer(PAGE), &[("content-type", "text/html; charset=utf-8")]),
        ("cookie", _) => {
            with_fields(plain_answer("set"), &[("set-cookie", "legacy=1; Path=/"), ("set-cookie", "other=2")])
        }
        ("tricks", _) => with_fields(
            plain_answer(""),
            &[
                ("set-cookie", "sid=1; Path=/"),
                ("set-cookie", "__Host-portcullis-00000000=x; Path=/; Secure"),
                ("set-cookie", "__host-pcflow-a=y"),
                ("cache-control", "public, max-age=600"),
                ("alt-svc", "h3=\":443\""),
            ],
        ),
        _ => show_as_json(&seen, request).await,
    })
}

/// A page that opens a WebSocket and says how it is.
const PAGE: &str = "<!doctype html><title>legacy</title><p id=s>no socket yet</p><script>
const s = document.getElementById('s'), w = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
w.onopen = () => s.textContent = 'socket open'; w.onclose = () => s.textContent = 'socket closed';</script>";

/// The request line, and every field that came, one a line.
fn show_request(request: &Request<Incoming>) -> Answered {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    let lines: String = request.headers().iter().map(line).collect();
    plain_answer(format!("{} {}\n{lines}", request.method(), request.uri()))
}

async fn show_as_json(seen: &Seen, request: Request<Incoming>) -> Answered {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let json = serde_json::json!({
        "method": seen.method.as_str(), "target": seen.target, "headers": headers, "body": body.len(),
    });
    with_fields(plain_answer(json.to_string()), &[("content-type", "application/json")])
}

/// Waits until released or marked; the mark is then the answer.
async fn answer_when_released(state: &Arc<ApplicationState>) -> Answered {
    let mut open = OpenStream::new(state);
    let mut released = state.released.subscribe();
    tokio::select! {
        mark = open.next() => plain_answer(mark),
        _ = released.wait_for(|released| *released) => plain_answer("released"),
    }
}

/// Says hello and then every mark.
fn stream_marks(kind: &'static str, open: OpenStream) -> Answered {
    let hello = stream::iter([Bytes::from_static(b"hello\n")]);
    let marks = stream::unfold(open, |mut open| async move { Some((open.next().await, open)) });
    stream_answer(kind, hello.chain(marks))
}

/// So many bytes.
fn send_bytes(total: usize, state: Arc<ApplicationState>) -> Answered {
    const PIECE: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);
    let pieces = stream::unfold((total, state), |(left, state)| async move {
        let length = left.min(PIECE.len());
        state.sent.fetch_add(length as u64, Ordering::SeqCst);
        (left > 0).then(|| (PIECE.slice(..length), (left - length, state)))
    });
    stream_answer("application/octet-stream", pieces)
}

/// Bytes as fast as they are taken, and every mark between them.
fn send_endlessly(state: &Arc<ApplicationState>) -> Answered {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let mut open = OpenStream::new(state);
    let state = state.clone();
    tokio::spawn(async move {
        let block = Bytes::from(vec![b'.'; 16 * 1024]);
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                mark = open.next() => drop(sender.send(mark).await),
                Ok(()) = sender.send(block.clone()) => {
                    state.sent.fetch_add(block.len() as u64, Ordering::SeqCst);
                }
            }
        }
    });
    let pieces =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    stream_answer("application/octet-stream", pieces)
}

/// Reads a body as it comes; answers with its length when it ends, or with a mark where it is open for one.
async fn count_upload(
    request: Request<Incoming>,
    state: &Arc<ApplicationState>,
    mut open: Option<OpenStream>,
) -> Answered {
    let mut body = request.into_body();
    let mut total = 0;
    loop {
        let mark = async {
            match &mut open {
                Some(open) => open.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            mark = mark => return plain_answer(mark),
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                    total += size;
                    state.uploaded.fetch_add(size, Ordering::SeqCst);
                }
                _ => return plain_answer(total.to_string()),
            }
        }
    }
}

fn web_socket(mut request: Request<Incoming>, state: &Arc<ApplicationState>, clock: bool) -> Answered {
    if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        let mut response = plain_answer("a WebSocket is served here");
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return response;
    }
    let switched = switch_protocols(&request);
    let mut open = OpenStream::new(state);
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        loop {
            let say = tokio::select! {
                biased;
                message = socket.next() => match message {
                    Some(Ok(message)) if message.is_text() || message.is_binary() => message,
                    Some(Ok(_)) => continue,
                    _ => return,
                },
                mark = open.next() => Message::text(String::from_utf8_lossy(&mark).into_owned()),
                _ = ticks.tick(), if clock => Message::text("tick"),
            };
            if socket.send(say).await.is_err() {
                return;
            }
        }
    });
    switched
}

/// A socket that says which fields it was asked with, then every mark, and gives back what it is sent.
fn bare_socket(mut request: Request<Incoming>, state: &Arc<ApplicationState>) -> Answered {
    let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
    let (hello, switched) = (format!("{}\nready\n", names.join(",")), switch_protocols(&request));
    let state = state.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut open = OpenStream::new(&state);
        let mut socket = TokioIo::new(upgraded);
        let mut say = Bytes::from(hello);
        let mut buffer = [0; 4096];
        while socket.write_all(&say).await.is_ok() {
            say = tokio::select! {
                mark = open.next() => mark,
                read = socket.read(&mut buffer) => match read {
                    Ok(length @ 1..) => Bytes::copy_from_slice(&buffer[..length]),
                    _ => return,
                },
            };
        }
    });
    switched
}

/// The answer that protocols are switched.
fn switch_protocols(request: &Request<Incoming>) -> Answered {
    let mut response = with_fields(plain_answer(""), &[("connection", "upgrade"), ("upgrade", "websocket")]);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
        let accept = derive_accept_key(key.as_bytes()).parse().unwrap();
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn plain_answer(text: impl Into<Bytes>) -> Answered {
    Response::new(whole(text))
}

fn stream_answer(
    kind: &'static str,
    pieces: impl stream::Stream<Item = Bytes> + Send + Sync + 'static,
) -> Answered {
    let body = StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece))));
    with_fields(Response::new(BodyExt::boxed(body)), &[("content-type", kind)])
}

fn with_fields(mut response: Answered, fields: &[(&'static str, &'static str)]) -> Answered {
    for (name, value) in fields {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}
