//! The listeners of the core runtime: SCIM, health and the admin socket. The data plane's are Pingora's.
//!
//! An address is bound before anything is served, so that a port in use is an error of the start and not a line in a
//! log. A connection has bounds on the size and the time of its head.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long requests under way may take once the process leaves.
const DRAIN: Duration = Duration::from_secs(5);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key}: {address} cannot be listened on. Is another process there, or the address not of this machine?"
)]
pub(crate) struct ListenError {
    key: &'static str,
    address: String,
    #[source]
    cause: io::Error,
}

/// A bound address that nobody serves yet.
pub(crate) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Binds an address of the configuration; `key` is what it is called there.
///
/// # Errors
/// [`ListenError`] with the key and the address.
pub(crate) async fn tcp(key: &'static str, address: SocketAddr) -> Result<Bound, ListenError> {
    let bound = TcpListener::bind(address).await;
    bound.map(Bound::Tcp).map_err(|cause| ListenError { key, address: address.to_string(), cause })
}

/// Binds a socket in the state folder, for the owner of the folder alone. The folder is locked, so a socket that is
/// there already is of a process that is gone.
///
/// # Errors
/// [`ListenError`] with the path.
pub(crate) fn unix(key: &'static str, path: &Path) -> Result<Bound, ListenError> {
    let bind = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let bound = bind().map(|listener| Bound::Unix(listener, path.to_owned()));
    bound.map_err(|cause| ListenError { key, address: path.display().to_string(), cause })
}

impl Bound {
    /// Serves until `stop` says so; what is under way then has a few seconds.
    pub(crate) fn serve(self, router: Router, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(serve(self, router, stop))
    }
}

async fn serve(bound: Bound, router: Router, mut stop: watch::Receiver<bool>) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = bound.accept() => accepted,
        };
        let router = TowerToHyperService::new(router.clone());
        match accepted {
            Ok(Accepted::Tcp(socket)) => {
                let _ = socket.set_nodelay(true);
                let connection = builder().serve_connection(TokioIo::new(socket), router).into_owned();
                tokio::spawn(watched(&connections, connection));
            }
            Ok(Accepted::Unix(socket)) => {
                let connection = builder().serve_connection(TokioIo::new(socket), router).into_owned();
                tokio::spawn(watched(&connections, connection));
            }
            Err(error) => {
                // Out of descriptors, most likely: what is under way gives some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
    if let Bound::Unix(_, path) = bound {
        let _ = std::fs::remove_file(path);
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Bound {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(socket, _)| Accepted::Tcp(socket)),
            Self::Unix(listener, _) => listener.accept().await.map(|(socket, _)| Accepted::Unix(socket)),
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // A client that closes its side once it has sent everything is still answered, and what it asked for is done.
    builder
        .http1()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(64 * 1024);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).max_header_list_size(64 * 1024);
    builder
}

fn watched<C>(connections: &GracefulShutdown, connection: C) -> impl Future<Output = ()> + use<C>
where
    C: hyper_util::server::graceful::GracefulConnection,
    C::Error: std::fmt::Display,
{
    let watched = connections.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection of the core listeners ended early");
        }
    }
}
