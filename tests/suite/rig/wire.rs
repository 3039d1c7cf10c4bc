//! HTTP on sockets of our own: one connection that stays open, HTTP/1.1 or HTTP/2, plain or TLS, whose reading can be
//! stalled to play a slow client. It dials the address it is given and says whatever name it is given.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// A request body: whole, or made while it is sent.
pub type Body = BoxBody<Bytes, Infallible>;

/// A body that is there at once.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text()))
    }

    /// A header, once, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Reads an answer to its end.
pub async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// One GET on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, Fault> {
    let request = Request::get(path).header("host", host).body(whole("")).unwrap();
    Line::open(address).await?.send(request).await
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("no connection: {0}")]
    Dial(#[from] io::Error),
    #[error("the connection ended before the answer did: {0}")]
    Broken(#[from] hyper::Error),
}

enum Sender {
    One(hyper::client::conn::http1::SendRequest<Body>),
    Two(hyper::client::conn::http2::SendRequest<Body>),
}

/// One connection. HTTP/1.1 serves one request after another, HTTP/2 many at a time.
pub struct Line {
    sender: Sender,
    stall: Stall,
}

/// How a connection is made.
#[derive(Clone, Copy)]
pub struct Dial<'a> {
    pub version: Version,
    /// The name asked for in TLS; plain where it is `None`.
    pub tls: Option<&'a str>,
    /// The size of the socket's receive buffer, where a slow client is played.
    pub receive_buffer: Option<u32>,
    /// The window of HTTP/2 streams and connection.
    pub window: u32,
}

impl Default for Dial<'_> {
    fn default() -> Self {
        Self { version: Version::HTTP_11, tls: None, receive_buffer: None, window: 64 * 1024 }
    }
}

impl Line {
    /// A plain HTTP/1.1 connection.
    pub async fn open(address: SocketAddr) -> Result<Self, Fault> {
        Self::dial(address, Dial::default()).await
    }

    /// An HTTP/2 connection, by prior knowledge.
    pub async fn open_h2(address: SocketAddr) -> Result<Self, Fault> {
        Self::dial(address, Dial { version: Version::HTTP_2, ..Dial::default() }).await
    }

    /// Any kind of connection.
    pub async fn dial(address: SocketAddr, how: Dial<'_>) -> Result<Self, Fault> {
        // Boxed: a TLS handshake is a large future, and every test holds one.
        Box::pin(async move {
            let stall = Stall::default();
            let socket = Slow { inner: tcp(address, how.receive_buffer).await?, stall: stall.clone() };
            let sender = match how.tls {
                None => shake(socket, how).await?,
                Some(name) => shake(tls(socket, name, how.version).await?, how).await?,
            };
            Ok(Self { sender, stall })
        })
        .await
    }

    /// Sends a request and reads its answer to the end.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Answer, Fault> {
        Ok(read(self.begin(request).await?).await?)
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn begin(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Fault> {
        Ok(match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    /// The switch that stops this client from reading its socket.
    pub fn stall(&self) -> Stall {
        self.stall.clone()
    }
}

async fn tls<S>(socket: S, name: &str, version: Version) -> io::Result<tokio_rustls::client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let alpn: &[u8] = if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let stream = tokio_rustls::TlsConnector::from(trusting(alpn)).connect(name, socket).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn), "the listener speaks what was asked for");
    Ok(stream)
}

async fn shake<S>(stream: S, how: Dial<'_>) -> Result<Sender, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    if how.version == Version::HTTP_2 {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(how.window).initial_connection_window_size(how.window);
        let (sender, driver) = builder.handshake(io).await?;
        tokio::spawn(driver);
        return Ok(Sender::Two(sender));
    }
    let (sender, driver) = hyper::client::conn::http1::handshake(io).await?;
    tokio::spawn(driver.with_upgrades());
    Ok(Sender::One(sender))
}

/// A TCP connection, with a receive buffer as small as the kernel allows where one is asked for.
pub async fn tcp(address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Stops a client from reading its socket, as a slow network would.
#[derive(Clone, Default)]
pub struct Stall {
    on: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    waker: Arc<std::sync::Mutex<Option<std::task::Waker>>>,
}

impl Stall {
    /// From now on nothing is read.
    pub fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// How many bytes were taken from the socket so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Reads again.
    pub fn end(&self) {
        self.on.store(false, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }
}

struct Slow<S> {
    inner: S,
    stall: Stall,
}

impl<S: AsyncRead + Unpin> AsyncRead for Slow<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        *self.stall.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.stall.on.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.stall.taken.fetch_add(buf.filled().len() - before, Ordering::SeqCst);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Slow<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The certificate authority of this run.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Portcullis test run");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate: certificate.der().clone(), issuer: rcgen::Issuer::new(params, key) }
    })
}

/// The key of every certificate of this run.
fn leaf_key() -> &'static rcgen::KeyPair {
    static KEY: OnceLock<rcgen::KeyPair> = OnceLock::new();
    KEY.get_or_init(|| rcgen::KeyPair::generate().unwrap())
}

/// What Chromium is given to believe in that key: SHA-256 of the public key, in base64.
pub fn leaf_key_hash() -> String {
    use base64::Engine;
    let hash = portcullis_keys::sha256(&rcgen::PublicKeyData::subject_public_key_info(leaf_key()));
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// A certificate for a name, signed by the authority of this run, and its key, both in PEM.
pub fn tls_files(host: &str) -> (String, String) {
    let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(leaf_key(), &authority().issuer).unwrap();
    (certificate.pem(), leaf_key().serialize_pem())
}

fn trusting(alpn: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority().certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}
