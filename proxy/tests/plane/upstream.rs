//! A small application that knows nothing of us. It shows what it was sent, and does what tests need of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SET_COOKIE, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::rig::application;

type Body = BoxBody<Bytes, Infallible>;

/// The application, as a test sees it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Written on every open stream.
    marks: broadcast::Sender<Bytes>,
    streams: AtomicUsize,
    /// Paths asked for, in order.
    asked: Mutex<Vec<String>>,
    /// Body bytes that were handed over.
    given: AtomicUsize,
    /// Body bytes that have arrived.
    taken: watch::Sender<u64>,
    /// Opens `/gated`.
    gate: watch::Sender<bool>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            marks: broadcast::channel(16).0,
            streams: AtomicUsize::new(0),
            asked: Mutex::default(),
            given: AtomicUsize::new(0),
            taken: watch::channel(0).0,
            gate: watch::channel(false).0,
        });
        let state = shared.clone();
        let address = application(move |_, socket| {
            let state = state.clone();
            async move {
                let service = hyper::service::service_fn(move |request| answer(state.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
            }
        })
        .await;
        Self { address, shared }
    }

    /// Writes on every open stream.
    pub(crate) fn mark(&self, text: &str) {
        let _ = self.shared.marks.send(Bytes::copy_from_slice(text.as_bytes()));
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }

    /// How many body bytes it got rid of.
    pub(crate) fn given(&self) -> usize {
        self.shared.given.load(Ordering::SeqCst)
    }

    /// Which paths were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits until this many body bytes have arrived in all.
    pub(crate) async fn has_taken(&self, bytes: u64) {
        let mut taken = self.shared.taken.subscribe();
        tokio::time::timeout(Duration::from_secs(10), taken.wait_for(|taken| *taken >= bytes))
            .await
            .unwrap()
            .unwrap();
    }

    /// Lets `/gated` answer.
    pub(crate) fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    shared.asked.lock().unwrap().push(path.clone());
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let mut response = Response::new(full(""));
    match first {
        // Every field it was sent, one a line.
        "headers" => {
            let lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
                .collect();
            *response.body_mut() =
                full(format!("{} {}\n{}", request.method(), request.uri(), lines.concat()));
        }
        // So many bytes.
        "bytes" => {
            let total: usize = rest.parse().unwrap();
            const PIECE: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);
            let pieces = stream::unfold((total, shared), |(left, shared)| async move {
                let length = left.min(PIECE.len());
                shared.given.fetch_add(length, Ordering::SeqCst);
                (left > 0).then(|| (Ok(Frame::data(PIECE.slice(..length))), (left - length, shared)))
            });
            *response.body_mut() = BodyExt::boxed(StreamBody::new(pieces));
        }
        // How many bytes it was sent.
        "count" => {
            let mut body = request.into_body();
            let mut total = 0u64;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                total += length;
                shared.taken.send_modify(|taken| *taken += length);
            }
            *response.body_mut() = full(total.to_string());
        }
        // A stream of marks: of events, or of whatever the path says.
        "events" | "stream" | "gated" => {
            if first == "gated" {
                let _ = shared.gate.subscribe().wait_for(|open| *open).await;
            }
            let kind = if first == "stream" { "application/x-ndjson" } else { "text/event-stream" };
            response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
            let marks = shared.marks.subscribe();
            let open = Open::new(&shared);
            let hello = stream::iter([Ok(Frame::data(Bytes::from_static(b"hello\n")))]);
            let marks = stream::unfold((marks, open), |(mut marks, open)| async move {
                let mark = marks.recv().await.ok()?;
                Some((Ok(Frame::data(mark)), (marks, open)))
            });
            *response.body_mut() = BodyExt::boxed(StreamBody::new(hello.chain(marks)));
        }
        // A socket that says hello, then every mark, and gives back what it is sent.
        "socket" => {
            let seen: Vec<String> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
            let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let _open = Open::new(&shared);
                let mut marks = shared.marks.subscribe();
                let mut socket = TokioIo::new(upgraded);
                let _ = socket.write_all(format!("{}\nready\n", seen.join(",")).as_bytes()).await;
                let mut buffer = [0; 4096];
                loop {
                    tokio::select! {
                        mark = marks.recv() => {
                            let Ok(mark) = mark else { return };
                            if socket.write_all(&mark).await.is_err() { return }
                        }
                        read = socket.read(&mut buffer) => match read {
                            Ok(0) | Err(_) => return,
                            Ok(length) => if socket.write_all(&buffer[..length]).await.is_err() { return },
                        }
                    }
                }
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            if let Some(accept) = key {
                response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
            }
        }
        // Tries what an application may not.
        "tricks" => {
            let headers = response.headers_mut();
            for field in
                ["sid=1; Path=/", "__Host-portcullis-00000000=x; Path=/; Secure", "__host-pcflow-a=y"]
            {
                headers.append(SET_COOKIE, field.parse().unwrap());
            }
            headers.insert("cache-control", "public, max-age=600".parse().unwrap());
            headers.insert("alt-svc", "h3=\":443\"".parse().unwrap());
        }
        "never" => std::future::pending().await,
        // A head in time, and a body that takes long.
        "pause" => {
            let pieces = stream::iter(["first\n", "second\n"]).then(|piece| async move {
                if piece != "first\n" {
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                }
                Ok(Frame::data(Bytes::from_static(piece.as_bytes())))
            });
            *response.body_mut() = BodyExt::boxed(StreamBody::new(pieces));
        }
        _ => *response.body_mut() = full("hello"),
    }
    Ok(response)
}

/// One open stream, counted.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}
