//! HTTP on sockets of our own: one connection that stays open, HTTP/1.1 or HTTP/2, plain or TLS, with a tap on it. It
//! dials the address it is given and says whatever name it is given.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite;

use crate::tap::Tap;
use crate::{NET, tls};

/// A request body: whole, or made while it is sent.
pub type RequestBody = BoxBody<Bytes, Infallible>;

/// Makes a body that is there at once.
pub fn whole(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into()).boxed()
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The moment at which the last byte of the request was handed to the kernel.
    pub sent: Instant,
    /// The moment at which the last byte of the answer was read.
    pub answered: Instant,
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

/// Sends one request on an HTTP/1.1 connection of its own, and reads its answer.
pub async fn ask(address: SocketAddr, request: Request<RequestBody>) -> Result<Answer, WireFault> {
    in_time(async { Connection::open(address).await?.send(request).await }).await
}

/// Sends one GET on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, WireFault> {
    ask(address, Request::get(path).header("host", host).body(whole("")).unwrap()).await
}

/// Bounds what has a fault of its own for coming late.
pub(crate) async fn in_time<T>(what: impl Future<Output = Result<T, WireFault>>) -> Result<T, WireFault> {
    tokio::time::timeout(NET, what).await.unwrap_or(Err(WireFault::Late))
}

/// Reasons why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireFault {
    #[error("{address} could not be reached")]
    Dial { address: SocketAddr, source: io::Error },
    #[error("the connection ended before the answer did")]
    Broken(#[from] hyper::Error),
    #[error("no answer within {} s", NET.as_secs())]
    Late,
    #[error("the WebSocket was refused: {0}")]
    Refused(StatusCode),
    #[error("the WebSocket broke off")]
    Socket(#[source] Box<tungstenite::Error>),
}

impl WireFault {
    /// The status with which a WebSocket was refused, or 0.
    pub fn refusal(&self) -> u16 {
        if let Self::Refused(status) = self { status.as_u16() } else { 0 }
    }
}

enum Sender {
    One(hyper::client::conn::http1::SendRequest<RequestBody>),
    Two(hyper::client::conn::http2::SendRequest<RequestBody>),
}

/// One connection. HTTP/1.1 serves one request after another, HTTP/2 many at a time.
pub struct Connection {
    sender: Sender,
    /// The tap on its socket.
    pub tap: Tap,
}

/// The manner in which a connection is made.
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

impl Dial<'_> {
    /// HTTP/2, by prior knowledge where it is plain.
    pub fn h2() -> Self {
        Self { version: Version::HTTP_2, ..Self::default() }
    }
}

impl Connection {
    /// Opens a plain HTTP/1.1 connection.
    pub async fn open(address: SocketAddr) -> Result<Self, WireFault> {
        Self::dial(address, Dial::default()).await
    }

    /// Opens an HTTP/2 connection, by prior knowledge.
    pub async fn open_h2(address: SocketAddr) -> Result<Self, WireFault> {
        Self::dial(address, Dial::h2()).await
    }

    /// Opens any kind of connection.
    pub async fn dial(address: SocketAddr, how: Dial<'_>) -> Result<Self, WireFault> {
        let unreached = |source| WireFault::Dial { address, source };
        // Boxed: a TLS handshake is a large future, and every test holds one.
        Box::pin(async move {
            let (socket, tap) = Tap::on(tcp(address, how.receive_buffer).await.map_err(unreached)?);
            let Some(name) = how.tls else { return Ok(Self { sender: shake(socket, how).await?, tap }) };
            let protocols: &[&[u8]] = &[b"h2", b"http/1.1"];
            let offered = if how.version == Version::HTTP_2 { protocols } else { &protocols[1..] };
            let stream = tls::connect(socket, name, offered).await.map_err(unreached)?;
            assert_eq!(
                tls::chosen_protocol(&stream),
                Some(offered[0]),
                "the listener speaks what was asked for"
            );
            Ok(Self { sender: shake(stream, how).await?, tap })
        })
        .await
    }

    /// Sends a request and reads its answer to the end.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Answer, WireFault> {
        let (head, body) = self.begin(request).await?.into_parts();
        let sent = self.tap.last_write();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body, sent, answered: Instant::now() })
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn begin(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, WireFault> {
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

/// Opens a TCP connection, with a receive buffer as small as the kernel allows where one is asked for.
pub async fn tcp(address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
