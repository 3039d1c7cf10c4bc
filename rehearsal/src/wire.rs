//! The rehearsal's own HTTP/1.1 client: one fresh socket to 127.0.0.1 per exchange, the name in `Host`.
//!
//! System resolvers do not know `*.localhost`, so nothing here resolves a name, and nothing dials another address.
//! What it is for is measuring: it remembers when the last byte of a request was handed to the kernel, which is
//! where the promise about revocation starts to count.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

/// The time that one exchange may take before it counts as not answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An answer read to its end is at most this long, in bytes.
const MOST: usize = 1 << 20;

/// An answer, read to its end.
pub(crate) struct WireAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The moment when the last byte of the request was handed to the kernel.
    pub(crate) sent: Instant,
    /// The moment when the last byte of the answer was read.
    pub(crate) answered: Instant,
}

impl WireAnswer {
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text, or nothing.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Reasons why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// No socket: nobody listens there, or the machine is out of sockets.
    #[error("127.0.0.1:{port} could not be reached")]
    Connect {
        port: u16,
        #[source]
        cause: io::Error,
    },
    /// The socket broke, or what came back is not HTTP.
    #[error("no answer from 127.0.0.1:{port}")]
    Broken {
        port: u16,
        #[source]
        cause: hyper::Error,
    },
    /// The body broke off, or is longer than this client reads.
    #[error("the answer of 127.0.0.1:{port} broke off or is longer than {MOST} bytes")]
    Body { port: u16 },
    /// Nothing came in time.
    #[error("127.0.0.1:{port} did not answer within {} s", PATIENCE.as_secs())]
    Late { port: u16 },
    /// The WebSocket was refused; the status is the proxy's or the app's.
    #[error("127.0.0.1:{port} did not open the WebSocket: {}", websocket_fault(.cause))]
    Socket {
        port: u16,
        #[source]
        cause: Box<tungstenite::Error>,
    },
}

/// Sends a request and reads its answer whole.
///
/// # Errors
/// No socket, no HTTP, a body above 1 MiB, or more than [`PATIENCE`].
pub(crate) async fn send_request(port: u16, request: Request<Bytes>) -> Result<WireAnswer, WireError> {
    let whole = async {
        let OpenAnswer { head, body, sent } = open_answer(port, request).await?;
        let body = Limited::new(body, MOST).collect().await.map_err(|_| WireError::Body { port })?.to_bytes();
        Ok(WireAnswer { status: head.status, headers: head.headers, body, sent, answered: Instant::now() })
    };
    timeout(PATIENCE, whole).await.unwrap_or(Err(WireError::Late { port }))
}

/// An answer whose body is still coming.
pub(crate) struct OpenAnswer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Incoming,
    /// The moment when the last byte of the request was handed to the kernel.
    pub(crate) sent: Instant,
}

/// Sends a request and hands back the head of its answer; the body is the caller's to read.
///
/// # Errors
/// No socket, no HTTP, or no head within [`PATIENCE`].
pub(crate) async fn open_answer(port: u16, request: Request<Bytes>) -> Result<OpenAnswer, WireError> {
    let head = async {
        let socket = dial_port(port).await?;
        let last_write = Arc::new(Mutex::new(Instant::now()));
        let io = TokioIo::new(Timed { socket, last_write: last_write.clone() });
        let broken = |cause| WireError::Broken { port, cause };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
        // Ends by itself: with the answer's body, or with the socket.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request.map(Full::new)).await.map_err(broken)?.into_parts();
        let sent = *last_write.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(OpenAnswer { head, body, sent })
    };
    timeout(PATIENCE, head).await.unwrap_or(Err(WireError::Late { port }))
}

/// Opens a WebSocket. `request` carries the URL with the app's name, the cookies and the origin.
///
/// # Errors
/// No socket, a refusal instead of 101, or no answer within [`PATIENCE`].
pub(crate) async fn open_websocket(
    port: u16,
    request: Request<()>,
) -> Result<WebSocketStream<TcpStream>, WireError> {
    let opening = async {
        let stream = dial_port(port).await?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .map_err(|cause| WireError::Socket { port, cause: Box::new(cause) })?;
        Ok(socket)
    };
    timeout(PATIENCE, opening).await.unwrap_or(Err(WireError::Late { port }))
}

async fn dial_port(port: u16) -> Result<TcpStream, WireError> {
    let unreached = |cause| WireError::Connect { port, cause };
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(unreached)?;
    socket.set_nodelay(true).map_err(unreached)?;
    Ok(socket)
}

fn websocket_fault(cause: &tungstenite::Error) -> String {
    match cause {
        tungstenite::Error::Http(answer) => answer.status().to_string(),
        other => other.to_string(),
    }
}

/// A socket that remembers when it was last written to.
struct Timed {
    socket: TcpStream,
    last_write: Arc<Mutex<Instant>>,
}

impl Timed {
    fn note(&self) {
        *self.last_write.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.note();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.note();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
