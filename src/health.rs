//! The health listener: is the process alive, should it get traffic, what has it counted, how is the app.
//!
//! It may be opened to a cluster, so it tells nothing that a stranger could use: no name, no address, no version of
//! a library. `/readyz` never asks the IdP or the app: their outage is not ours, and taking every process out of
//! service would only add to it. Every answer comes within seconds, whatever hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use portcullis_policy::HostPort;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::{Metrics, Seen};

/// Whether the store answers; the text says what is wrong, for the log.
pub(crate) type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Looks up what the metrics show of the state.
pub(crate) type Look = Arc<dyn Fn() -> BoxFuture<'static, Seen> + Send + Sync>;

/// What the listener serves from.
pub(crate) struct Health {
    /// Every metric of the process.
    pub(crate) registry: Registry,
    /// Those of the program.
    pub(crate) metrics: Arc<Metrics>,
    /// Asked before the metrics are written down.
    pub(crate) look: Look,
    /// Asked by `/readyz`.
    pub(crate) store: Check,
    /// Set when the process has begun to leave.
    pub(crate) draining: AtomicBool,
    /// The app's own health check; replaced by a reload.
    pub(crate) app: ArcSwapOption<AppHealth>,
}

/// Where the app says how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppHealth {
    /// Host and port to dial.
    pub(crate) dial: HostPort,
    /// The `Host` the app is told.
    pub(crate) host: HeaderValue,
    /// `upstream.health`.
    pub(crate) path: PathAndQuery,
}

/// The four addresses; everything else is 404.
pub(crate) fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/app", get(app))
        .fallback(|| async { said(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics, /app\n") })
        .with_state(health)
}

/// How long the store may take to say that it answers.
const STORE: Duration = Duration::from_secs(1);
/// How long the app may take.
const APP: Duration = Duration::from_secs(5);

/// That this is answered is all there is to say: the loop turns.
async fn alive() -> Response {
    said(StatusCode::OK, "alive\n")
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    if health.draining.load(Ordering::Acquire) {
        return said(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match timeout(STORE, (health.store)()).await {
        Ok(Ok(())) => said(StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(error, "not ready: the store does not answer");
            said(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
        Err(_) => {
            tracing::warn!("not ready: the store did not answer within 1 s");
            said(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

async fn metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    if let Ok(seen) = timeout(STORE, (health.look)()).await {
        health.metrics.see(&seen);
    }
    let mut text = String::with_capacity(16 * 1024);
    if prometheus_client::encoding::text::encode(&mut text, &health.registry).is_err() {
        return said(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written down\n");
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The text is both: what OpenMetrics adds is a comment to the older format.
    let kind = if accept.contains("application/openmetrics-text") {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn app(State(health): State<Arc<Health>>) -> Response {
    let Some(app) = health.app.load_full() else {
        return said(StatusCode::NOT_FOUND, "upstream.health is not set\n");
    };
    match timeout(APP, ask(&app)).await {
        Ok(Ok(status)) => said(status, status.canonical_reason().unwrap_or_default()),
        Ok(Err(error)) => {
            tracing::warn!(error = %crate::log::chain(&error), "the app's health check could not be asked");
            said(StatusCode::BAD_GATEWAY, "the app cannot be reached\n")
        }
        Err(_) => said(StatusCode::GATEWAY_TIMEOUT, "the app did not answer within 5 s\n"),
    }
}

/// Why the app could not be asked.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("{dial} could not be reached")]
    Connect { dial: HostPort, source: std::io::Error },
    #[error("{dial} did not answer in HTTP/1.1")]
    Http { dial: HostPort, source: hyper::Error },
    #[error("the health check of {dial} is no request")]
    Request { dial: HostPort, source: http::Error },
}

/// Asks once and gives the status. No redirect is followed, no body read.
async fn ask(app: &AppHealth) -> Result<StatusCode, AppError> {
    let dial = || app.dial.clone();
    let port = app.dial.port().unwrap_or(80);
    let host = app.dial.host().trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, port))
        .await
        .map_err(|source| AppError::Connect { dial: dial(), source })?;
    let http = |source| AppError::Http { dial: dial(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(http)?;
    let request = Request::get(app.path.clone())
        .header(header::HOST, &app.host)
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

fn said(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use portcullis_session::Figures;
    use tower::ServiceExt as _;

    use super::*;

    fn health(store: Check) -> Arc<Health> {
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let look: Look = Arc::new(|| {
            let figures = Figures { sessions: 7, accounts: 1, exchanges: 0, strangers: 0 };
            Box::pin(async move { Seen { figures, ..Seen::default() } })
        });
        let draining = AtomicBool::new(false);
        Arc::new(Health { registry, metrics, look, store, draining, app: ArcSwapOption::empty() })
    }

    fn well() -> Check {
        Arc::new(|| Box::pin(async { Ok(()) }))
    }

    async fn asked(health: &Arc<Health>, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router(health.clone()).oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_until_it_drains() {
        let health = health(well());
        assert_eq!(asked(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(asked(&health, "/readyz").await, (StatusCode::OK, "ready\n".into()));
        health.draining.store(true, Ordering::Release);
        assert_eq!(asked(&health, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()));
        assert_eq!(asked(&health, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_or_hangs_is_not_ready_and_its_error_stays_here() {
        let fails: Check = Arc::new(|| Box::pin(async { Err("/var/lib/secret.db: disk I/O error".into()) }));
        let hangs: Check = Arc::new(|| Box::pin(std::future::pending()));
        for store in [fails, hangs] {
            let began = tokio::time::Instant::now();
            let (status, text) = asked(&health(store), "/readyz").await;
            assert_eq!(
                (status, text.as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
            );
            assert!(began.elapsed() <= STORE);
        }
    }

    #[tokio::test]
    async fn metrics_are_looked_up_when_asked_for() {
        let (status, text) = asked(&health(well()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("portcullis_sessions_cached 7\n") && text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn nothing_else_is_there() {
        for path in ["/", "/readyz/", "/debug", "/metrics/../users", "/.portcullis/me"] {
            assert_eq!(asked(&health(well()), path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn the_app_is_passed_on_as_a_status() {
        let health = health(well());
        assert_eq!(asked(&health, "/app").await.0, StatusCode::NOT_FOUND);

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = HostPort::new("127.0.0.1", Some(listener.local_addr().unwrap().port())).unwrap();
        let wiki = Router::new().route(
            "/healthz",
            get(|headers: HeaderMap| async move {
                let known = headers[header::HOST] == "wiki.example.com";
                if known { StatusCode::IM_A_TEAPOT } else { StatusCode::BAD_REQUEST }
            }),
        );
        let serving = tokio::spawn(async move { axum::serve(listener, wiki).await });
        let app = |dial: &HostPort| AppHealth {
            dial: dial.clone(),
            host: HeaderValue::from_static("wiki.example.com"),
            path: PathAndQuery::from_static("/healthz"),
        };
        health.app.store(Some(Arc::new(app(&dial))));
        assert_eq!(asked(&health, "/app").await.0, StatusCode::IM_A_TEAPOT);

        serving.abort();
        assert!(serving.await.is_err());
        assert_eq!(asked(&health, "/app").await.0, StatusCode::BAD_GATEWAY);
    }
}
