//! The health listener: is the process alive, should it get traffic, what has it counted, how is the app.
//!
//! It may be opened to a cluster, so it tells nothing that a stranger could use: no name, no address, no version of
//! a library. `/readyz` never asks the IdP or the app: their outage is not ours, and taking every process out of
//! service would only add to it. Every answer comes within seconds, whatever hangs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use portcullis_config::Expiry;
use portcullis_policy::Timestamp;
use portcullis_proxy::Exemplars;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::exposition::{Exposition, older_text};
use crate::app_health::AppHealth;
use crate::core::Core;
use crate::live::{Current, Live};
use crate::log::error_chain;
use crate::metrics::{Gauges, Metrics};

/// A question to the store whether it answers; the text says what is wrong, for the log.
type StoreProbe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Looks up what the metrics show of the state.
type Look = Arc<dyn Fn() -> Gauges + Send + Sync>;
/// The app's health check, as it is configured now.
type AppProbe = Arc<dyn Fn() -> Option<Arc<AppHealth>> + Send + Sync>;

/// The state that the listener serves from.
struct Health {
    /// Every metric of the process.
    registry: Registry,
    /// The requests by which some of them can be followed.
    exemplars: Exemplars,
    /// Those of the program.
    metrics: Arc<Metrics>,
    /// Asked before the metrics are written down.
    look: Look,
    /// Asked by `/readyz`.
    store: StoreProbe,
    /// Set when the process has begun to leave.
    draining: Arc<AtomicBool>,
    /// The app's own health check, if it has one.
    app: AppProbe,
}

/// The four addresses; everything else is 404. `draining` says that the process has begun to leave.
pub(crate) fn health_router(
    core: &Arc<Core>,
    live: &Arc<Current>,
    (registry, exemplars): (Registry, Exemplars),
    draining: Arc<AtomicBool>,
) -> Router {
    let (metrics, store) = (core.metrics.clone(), core.store.clone());
    let (looked, configured) = ((core.clone(), live.clone()), live.clone());
    serve_health(Health {
        registry,
        exemplars,
        metrics,
        look: Arc::new(move || read_gauges(&looked.0, &looked.1.in_force())),
        store: Arc::new(move || {
            let store = store.clone();
            Box::pin(async move { store.ping().await.map_err(|error| error_chain(&error).to_string()) })
        }),
        draining,
        app: Arc::new(move || configured.in_force().app_health.clone()),
    })
}

/// Reads the gauges that the metrics show, all of them from memory.
fn read_gauges(core: &Core, live: &Live) -> Gauges {
    let now = Timestamp::now().seconds();
    let left = |expiry: &Expiry| (expiry.kind, expiry.name.clone(), expiry.at - now);
    let ends = if live.scim.is_some() { core.tokens.list_ends() } else { Vec::new() };
    let tokens = ends.into_iter().map(|(name, end)| ("scim_token", name, end.seconds() - now));
    Gauges {
        figures: core.sessions.figures(),
        holds: core.sessions.holds().len(),
        replaced: core.revocation.predecessors().list().len(),
        idps: live
            .site
            .idps
            .iter()
            .map(|entry| (entry.name().to_owned(), entry.idp.is_answering()))
            .collect(),
        expires: core.certificates.expires().iter().map(left).chain(tokens).collect(),
    }
}

fn serve_health(health: Health) -> Router {
    Router::new()
        .route("/livez", get(answer_alive))
        .route("/readyz", get(answer_ready))
        .route("/metrics", get(answer_metrics))
        .route("/app", get(answer_app))
        .fallback(|| async { text_answer(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics, /app\n") })
        .with_state(Arc::new(health))
}

/// The time that the store may take to say that it answers.
const STORE: Duration = Duration::from_secs(1);
/// The time that the app may take.
const APP: Duration = Duration::from_secs(5);

/// That this is answered is all there is to say: the loop turns.
async fn answer_alive() -> Response {
    text_answer(StatusCode::OK, "alive\n")
}

async fn answer_ready(State(health): State<Arc<Health>>) -> Response {
    if health.draining.load(Ordering::Acquire) {
        return text_answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match timeout(STORE, (health.store)()).await {
        Ok(Ok(())) => text_answer(StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(error, "not ready: the store does not answer");
            text_answer(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
        Err(_) => {
            tracing::warn!("not ready: the store did not answer within 1 s");
            text_answer(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

async fn answer_metrics(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    let wanted = Exposition::wanted_by(&headers);
    // The system is asked about this process too, which may take it a moment.
    let written = tokio::task::spawn_blocking(move || {
        health.metrics.set_gauges(&(health.look)());
        // Before the counts, so that each is of a request that they have.
        let exemplars = (wanted == Exposition::Open).then(|| health.exemplars.take());
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &health.registry)?;
        Ok::<_, fmt::Error>(match exemplars {
            Some(exemplars) => exemplars.add_to(&text),
            None => older_text(&text),
        })
    });
    let Ok(Ok(text)) = written.await else {
        return text_answer(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written down\n");
    };
    let kind = wanted.content_type();
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn answer_app(State(health): State<Arc<Health>>) -> Response {
    let Some(app) = (health.app)() else {
        return text_answer(StatusCode::NOT_FOUND, "upstream.health is not set\n");
    };
    match timeout(APP, app.probe()).await {
        Ok(Ok(status)) => text_answer(status, status.canonical_reason().unwrap_or_default()),
        Ok(Err(error)) => {
            tracing::warn!(error = %error_chain(&error), "the app's health check could not be asked");
            text_answer(StatusCode::BAD_GATEWAY, "the app cannot be reached\n")
        }
        Err(_) => text_answer(StatusCode::GATEWAY_TIMEOUT, "the app did not answer within 5 s\n"),
    }
}

fn text_answer(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::uri::PathAndQuery;
    use http::{HeaderValue, Request};
    use http_body_util::BodyExt as _;
    use portcullis_policy::{HeaderCase, HostPort, HostSent};
    use portcullis_proxy::{Upstream, UpstreamPlace, UpstreamSettings};
    use portcullis_session::Figures;
    use tower::ServiceExt as _;

    use super::*;

    fn health(store: StoreProbe) -> Health {
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let look: Look = Arc::new(|| {
            let figures = Figures { sessions: 7, accounts: 1, exchanges: 0, strangers: 0 };
            Gauges { figures, ..Gauges::default() }
        });
        Health {
            registry,
            exemplars: Exemplars::default(),
            metrics,
            look,
            store,
            draining: Arc::default(),
            app: Arc::new(|| None),
        }
    }

    fn well() -> StoreProbe {
        Arc::new(|| Box::pin(async { Ok(()) }))
    }

    async fn asked(health: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = health.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_until_it_drains() {
        let health = health(well());
        let draining = health.draining.clone();
        let health = serve_health(health);
        assert_eq!(asked(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(asked(&health, "/readyz").await, (StatusCode::OK, "ready\n".into()));
        draining.store(true, Ordering::Release);
        assert_eq!(asked(&health, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()));
        assert_eq!(asked(&health, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_or_hangs_is_not_ready_and_its_error_stays_here() {
        let fails: StoreProbe =
            Arc::new(|| Box::pin(async { Err("/var/lib/secret.db: disk I/O error".into()) }));
        let hangs: StoreProbe = Arc::new(|| Box::pin(std::future::pending()));
        for store in [fails, hangs] {
            let began = tokio::time::Instant::now();
            let (status, text) = asked(&serve_health(health(store)), "/readyz").await;
            assert_eq!(
                (status, text.as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
            );
            assert!(began.elapsed() <= STORE);
        }
    }

    #[tokio::test]
    async fn metrics_are_looked_up_when_asked_for() {
        let (status, text) = asked(&serve_health(health(well())), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("portcullis_sessions_cached 7\n") && !text.contains("# EOF"), "{text}");
    }

    #[tokio::test]
    async fn nothing_else_is_there() {
        for path in ["/", "/readyz/", "/debug", "/metrics/../users", "/.portcullis/me"] {
            assert_eq!(asked(&serve_health(health(well())), path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn the_app_is_passed_on_as_a_status() {
        assert_eq!(asked(&serve_health(health(well())), "/app").await.0, StatusCode::NOT_FOUND);

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
        let app = Arc::new(AppHealth {
            upstream: Upstream::new(&UpstreamSettings {
                at: UpstreamPlace::Http(dial),
                connect_timeout: Duration::from_secs(5),
                first_byte_timeout: Duration::from_secs(5),
                host: HostSent::Public,
                header_case: HeaderCase::Lower,
                path: portcullis_policy::UpstreamPath::default(),
            }),
            public: HeaderValue::from_static("wiki.example.com"),
            path: PathAndQuery::from_static("/healthz"),
            secret: None,
        });
        let health = serve_health(Health { app: Arc::new(move || Some(app.clone())), ..health(well()) });
        assert_eq!(asked(&health, "/app").await.0, StatusCode::IM_A_TEAPOT);

        serving.abort();
        assert!(serving.await.is_err());
        assert_eq!(asked(&health, "/app").await.0, StatusCode::BAD_GATEWAY);
    }
}
