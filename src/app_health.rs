//! The application's own health check: where it is asked, and asking it.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_proxy::{ProbeError, Upstream};

/// The place where the app says how it is: `upstream.health`.
#[derive(Debug)]
pub(crate) struct AppHealth {
    /// The way to it: the one of requests.
    pub(crate) upstream: Upstream,
    /// The host of the public address.
    pub(crate) public: HeaderValue,
    /// `upstream.health`.
    pub(crate) path: PathAndQuery,
    /// The header by which the app knows its gate.
    pub(crate) secret: Option<(HeaderName, HeaderValue)>,
}

impl AppHealth {
    /// Asks once and gives the status. No redirect is followed, no body read.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub(crate) async fn probe(&self) -> Result<StatusCode, ProbeError> {
        self.upstream.probe(&self.public, &self.path, self.secret.as_ref()).await
    }
}
