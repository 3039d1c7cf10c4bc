//! A WebSocket client that dials one address and says another name, as a browser on `*.localhost` would.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::wire::{self, WireFault, in_time};
use crate::{must, tls};

/// One open WebSocket.
pub struct WebSocket(WebSocketStream<Box<dyn ByteStream>>);

/// The bytes below it: a socket, or TLS on one.
trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> ByteStream for S {}

impl WebSocket {
    /// Opens one. `origin` is the app's origin: it gives `Host`, whether there is TLS, and, as a browser does, `Origin`.
    pub async fn open(
        address: SocketAddr,
        origin: &str,
        path: &str,
        cookie: &str,
    ) -> Result<Self, WireFault> {
        Self::open_with(address, origin, path, &[("cookie", cookie), ("origin", origin)]).await
    }

    /// Opens one with headers of one's own choice.
    pub async fn open_with(
        address: SocketAddr,
        origin: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, WireFault> {
        let url = format!("{}{path}", origin.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        in_time(async move {
            let unreached = |source| WireFault::Dial { address, source };
            let socket = wire::tcp(address, None).await.map_err(unreached)?;
            let name = request.uri().host().unwrap_or_default().to_owned();
            let stream: Box<dyn ByteStream> = if request.uri().scheme_str() == Some("wss") {
                Box::new(tls::connect(socket, &name, &[b"http/1.1"]).await.map_err(unreached)?)
            } else {
                Box::new(socket)
            };
            match client_async(request, stream).await {
                Ok((socket, _)) => Ok(Self(socket)),
                Err(tungstenite::Error::Http(response)) => Err(WireFault::Refused(response.status())),
                Err(cause) => Err(WireFault::Socket(Box::new(cause))),
            }
        })
        .await
    }

    /// Sends a text and reads it back, past whatever else comes.
    pub async fn echo(&mut self, text: &str) -> Result<(), tungstenite::Error> {
        self.0.send(Message::text(text)).await?;
        while let Some(message) = self.0.next().await {
            if message?.to_text().is_ok_and(|back| back == text) {
                return Ok(());
            }
        }
        Err(tungstenite::Error::ConnectionClosed)
    }

    /// Sends a text.
    pub async fn say(&mut self, text: &str) -> Result<(), tungstenite::Error> {
        self.0.send(Message::text(text)).await
    }

    /// Reads the next message, or `None` at the end, however it comes.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Reads to the end; panics if it does not come. What was read.
    pub async fn read_out(mut self) -> Vec<String> {
        let mut read = Vec::new();
        let reading = async {
            while let Some(text) = self.next().await {
                read.push(text);
            }
        };
        must("the end of a WebSocket", reading).await;
        read
    }
}
