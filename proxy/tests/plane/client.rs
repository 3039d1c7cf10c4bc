//! Clients: a bare socket for HTTP/1.1, so that every byte is ours, and hyper's for HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::rig::{HOST, Rig};

const PATIENCE: Duration = Duration::from_secs(20);

/// A bare socket.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    read: Vec<u8>,
}

/// A head, and what was read behind it.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) lines: Vec<String>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields(name);
        let one = all.next();
        assert!(all.next().is_none(), "{name} twice in {:?}", self.lines);
        one
    }

    pub(crate) fn fields<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        self.lines.iter().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(&name).then(|| value.trim())
        })
    }
}

impl Raw {
    pub(crate) async fn connect(rig: &Rig) -> Self {
        Self { socket: TcpStream::connect(rig.address).await.unwrap(), read: Vec::new() }
    }

    /// A request line, our host, and these fields.
    pub(crate) async fn ask(rig: &Rig, line: &str, fields: &[&str]) -> Self {
        let mut raw = Self::connect(rig).await;
        raw.say(line, fields).await;
        raw
    }

    pub(crate) async fn say(&mut self, line: &str, fields: &[&str]) {
        let fields: Vec<String> = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", fields.concat()).as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.more().await.unwrap() > 0,
                "closed before a head: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.trim_end().split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        Head { status, lines: lines.collect() }
    }

    /// A whole answer with a length.
    pub(crate) async fn answer(&mut self) -> (Head, String) {
        let head = self.head().await;
        let length = head.field("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await.unwrap() > 0, "closed inside a body");
        }
        let body = self.read.drain(..length).collect();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until this text was seen; gives everything up to its end.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(text.len()).position(|window| window == text.as_bytes()) {
                let seen: Vec<u8> = self.read.drain(..at + text.len()).collect();
                return String::from_utf8(seen).unwrap();
            }
            assert!(
                self.more().await.unwrap() > 0,
                "closed before {text:?}: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Reads to the end of the socket. `Err` where it was reset.
    pub(crate) async fn rest(&mut self) -> Result<Vec<u8>, io::Error> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.read))
    }

    /// What has been read and not been asked for yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.read
    }

    async fn more(&mut self) -> Result<usize, io::Error> {
        tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.read)).await.expect("something in time")
    }
}

pub(crate) type Body = BoxBody<Bytes, std::convert::Infallible>;

pub(crate) fn empty() -> Body {
    Full::new(Bytes::new()).boxed()
}

/// HTTP/2 with prior knowledge.
pub(crate) async fn h2c(rig: &Rig) -> SendRequest<Body> {
    h2_over(TcpStream::connect(rig.address).await.unwrap(), 65_535).await
}

/// HTTP/2 over TLS.
pub(crate) async fn h2s(rig: &Rig) -> SendRequest<Body> {
    let (socket, protocol) = tls(rig, &[b"h2", b"http/1.1"]).await;
    assert_eq!(protocol.as_deref(), Some(&b"h2"[..]));
    h2_over(socket, 65_535).await
}

/// TLS, offering these protocols; says which was chosen.
pub(crate) async fn tls(
    rig: &Rig,
    offered: &[&[u8]],
) -> (impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Option<Vec<u8>>) {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(rig.certificate.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let socket = TcpStream::connect(rig.secure).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("wiki.localhost").unwrap();
    let socket = connector.connect(name, socket).await.unwrap();
    let protocol = socket.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    (socket, protocol)
}

/// HTTP/2 with a window of this size for each stream.
pub(crate) async fn h2_over(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    window: u32,
) -> SendRequest<Body> {
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn request<B>(method: &str, path: &str, fields: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::builder().method(method).uri(format!("http://{HOST}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// A whole answer over HTTP/2.
pub(crate) async fn h2_get(
    sender: &mut SendRequest<Body>,
    path: &str,
    fields: &[(&str, &str)],
) -> (http::response::Parts, String) {
    let answer = h2_send(sender, request("GET", path, fields, empty())).await;
    let (parts, body) = answer.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) async fn h2_send(sender: &mut SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    sender.ready().await.unwrap();
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
}

/// The next piece of a body; `None` at its end, `Err` where the stream was reset.
pub(crate) async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("something in time")?;
        match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(piece) if piece.is_empty() => {}
            piece => return Some(piece),
        }
    }
}

/// A socket that can be told to take nothing, and counts what it took.
pub(crate) struct Valve {
    socket: TcpStream,
    state: Arc<ValveState>,
}

#[derive(Default)]
pub(crate) struct ValveState {
    is_shut: AtomicBool,
    taken: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl ValveState {
    pub(crate) fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Valve {
    pub(crate) fn new(socket: TcpStream) -> (Self, Arc<ValveState>) {
        let state = Arc::new(ValveState::default());
        (Self { socket, state: state.clone() }, state)
    }
}

impl AsyncRead for Valve {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        *self.state.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.state.is_shut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.state.taken.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Valve {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
