//! What is asked of a process that was replaced, on a connection that it had: the process that leads answers, through a
//! socket in the state folder, and the connection ends with the answer. A directory whose removal arrives in the middle
//! of a hand-over is answered like any other.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::turn::Turn;
use crate::listeners::PeerAddress;
use crate::log::error_chain;

/// The name of the socket in the state folder.
pub(crate) const SOCKET: &str = "relay.sock";
const _: () = assert!(SOCKET.len() <= portcullis_config::ADMIN_SOCKET.len());

/// Names the listener that was asked, and the client. Only what comes through the socket is read for them.
const PORT: HeaderName = HeaderName::from_static("x-portcullis-relayed-port");
const PEER: HeaderName = HeaderName::from_static("x-portcullis-relayed-peer");

/// Fields that are of one connection (RFC 9110 §7.6.1).
const OF_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    HeaderName::from_static("keep-alive"),
];

/// The same router, for as long as it is this process's turn; afterwards the one of this name in the process that leads.
pub(crate) fn answer_in_turn(router: Router, port: &'static str, turn: Turn, state: &Path) -> Router {
    let socket: Arc<Path> = state.join(SOCKET).into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let (turn, socket) = (turn.clone(), socket.clone());
        async move {
            let Some(_answering) = turn.begin_answer().await else {
                return relay_request(&socket, port, request).await;
            };
            next.run(request).await
        }
    }))
}

/// The router behind the socket, for those that were replaced: each of these by its name.
pub(crate) fn relay_router(ports: Vec<(&'static str, Router)>) -> Router {
    let ports: Arc<[(&'static str, Router)]> = ports.into();
    Router::new().fallback(move |mut request: Request| {
        let ports = ports.clone();
        async move {
            let asked = request.headers_mut().remove(PORT);
            let peer = request.headers_mut().remove(PEER);
            let peer = peer.as_ref().and_then(|peer| peer.to_str().ok()?.parse::<IpAddr>().ok());
            if let Some(peer) = peer {
                request.extensions_mut().insert(PeerAddress(peer));
            }
            let router = asked.and_then(|asked| {
                ports.iter().find(|(name, _)| asked.as_bytes() == name.as_bytes()).cloned()
            });
            match router {
                Some((_, router)) => {
                    router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})
                }
                None => StatusCode::NOT_FOUND.into_response(),
            }
        }
    })
}

/// Reasons why the process that leads could not be asked.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{} cannot be reached", .0.display())]
    Socket(PathBuf, #[source] io::Error),
    #[error("the process that leads broke off")]
    Broken(#[from] hyper::Error),
}

/// Has the process that leads answer; 503 where it cannot be asked, which the log says.
pub(crate) async fn relay_request(socket: &Path, port: &'static str, request: Request) -> Response {
    match ask_leader(socket, port, request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(
                port,
                error = %error_chain(&error),
                "a request on a connection from before the upgrade could not be handed on: it is answered 503"
            );
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")])
                .into_response()
        }
    }
}

async fn ask_leader(socket: &Path, port: &'static str, request: Request) -> Result<Response, RelayError> {
    let stream =
        UnixStream::connect(socket).await.map_err(|error| RelayError::Socket(socket.to_owned(), error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let is_h2 = request.version() == Version::HTTP_2;
    let mut answer = sender.send_request(prepare_request(request, port)).await?.map(Body::new);
    drop_fields_of_connection(answer.headers_mut());
    if !is_h2 {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// The request as it goes through the socket.
fn prepare_request(mut request: Request, port: &'static str) -> Request {
    let peer = request.extensions().get::<PeerAddress>().copied();
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.version_mut() = Version::HTTP_11;
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    let headers = request.headers_mut();
    drop_fields_of_connection(headers);
    if let Some(Ok(authority)) = authority.map(HeaderValue::try_from) {
        headers.entry(header::HOST).or_insert(authority);
    }
    headers.insert(PORT, HeaderValue::from_static(port));
    headers.remove(PEER);
    if let Some(Ok(peer)) = peer.map(|PeerAddress(peer)| HeaderValue::try_from(peer.to_string())) {
        headers.insert(PEER, peer);
    }
    request
}

fn drop_fields_of_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
}
