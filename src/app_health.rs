//! The application's own health check: where it is asked, and asking it.

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use portcullis_policy::HostPort;
use tokio::net::TcpStream;

/// The place where the app says how it is: `upstream.health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppHealth {
    /// Host and port to dial.
    pub(crate) dial: HostPort,
    /// The `Host` the app is told.
    pub(crate) host: HeaderValue,
    /// `upstream.health`.
    pub(crate) path: PathAndQuery,
}

/// A reason why the app could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("{dial} could not be reached")]
    Connect { dial: HostPort, source: std::io::Error },
    #[error("{dial} did not answer in HTTP/1.1")]
    Http { dial: HostPort, source: hyper::Error },
    #[error("the health check of {dial} is no request")]
    Request { dial: HostPort, source: http::Error },
}

impl AppHealth {
    /// Asks once and gives the status. No redirect is followed, no body read.
    ///
    /// # Errors
    /// [`AppError`].
    pub(crate) async fn probe(&self) -> Result<StatusCode, AppError> {
        let dial = || self.dial.clone();
        let port = self.dial.port().unwrap_or(80);
        let host = self.dial.host().trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, port))
            .await
            .map_err(|source| AppError::Connect { dial: dial(), source })?;
        let http = |source| AppError::Http { dial: dial(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(http)?;
        let request = Request::get(self.path.clone())
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, "portcullis")
            .header(header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|source| AppError::Request { dial: dial(), source })?;
        let asking = async { sender.send_request(request).await.map(|answer| answer.status()) };
        // Both in one future: when the answer is there, or time is up, the connection goes with it.
        tokio::select! {
            status = asking => status.map_err(http),
            Err(error) = connection => Err(http(error)),
        }
    }
}
