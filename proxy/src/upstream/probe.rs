//! Asking an application how it is, on a connection of its own: the same way as requests go, and nobody's request.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use super::{Upstream, connect, h2c};

/// A reason why an application could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be connected to.
    #[error("{at} could not be reached")]
    Connect {
        /// Its address as configured.
        at: String,
        /// The system's reason, or that of TLS.
        source: std::io::Error,
    },
    /// It speaks something else.
    #[error("{at} did not answer in {}", if at.starts_with("h2c:") { "HTTP/2" } else { "HTTP/1.1" })]
    Http {
        /// Its address as configured.
        at: String,
        /// The library's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Upstream {
    /// Connects, with TLS where it is spoken, and lets go again: nothing is asked.
    ///
    /// # Errors
    /// [`ProbeError::Connect`].
    pub async fn probe_connection(&self) -> Result<(), ProbeError> {
        let addresses = self.addresses().await;
        let connected = connect::connect_app(&addresses, self.tls(), self.connect_timeout).await;
        connected.map(drop).map_err(|source| ProbeError::Connect { at: self.at().to_string(), source })
    }

    /// Asks for a path and gives the status. No redirect is followed, no body read; the caller limits the time of it all.
    /// `public` is the host of the public address, `secret` a header by which the application knows us.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub async fn probe(
        &self,
        public: &HeaderValue,
        path: &PathAndQuery,
        secret: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<StatusCode, ProbeError> {
        let at = || self.at().to_string();
        let addresses = self.addresses().await;
        let (socket, _) = connect::connect_app(&addresses, self.tls(), self.connect_timeout)
            .await
            .map_err(|source| ProbeError::Connect { at: at(), source })?;
        if self.speaks_h2c() {
            return h2c::ask_status(socket, self.host(public), path, secret)
                .await
                .map_err(|source| ProbeError::Http { at: at(), source });
        }
        let http = |source: hyper::Error| ProbeError::Http { at: at(), source: source.into() };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(http)?;
        let mut request = Request::get(path.clone())
            .header(header::HOST, self.host(public))
            .header(header::USER_AGENT, "portcullis")
            .header(header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|source| ProbeError::Http { at: at(), source: source.into() })?;
        if let Some((name, value)) = secret {
            request.headers_mut().insert(name, value.clone());
        }
        let asking = async { sender.send_request(request).await.map(|answer| answer.status()) };
        // Both in one future: when the answer is there, or time is up, the connection goes with it.
        tokio::select! {
            status = asking => status.map_err(http),
            Err(error) = connection => Err(http(error)),
        }
    }
}
