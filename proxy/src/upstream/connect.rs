//! A socket to an application: connected, and with TLS shaken hands, within one limit.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::address::AppAddress;
use super::app_socket::{AppSocket, RecordSocket};
use super::app_tls::AppTls;
use super::{Upstream, UpstreamFault};

impl Upstream {
    /// Connects to the first of its addresses that answers. Where none does they are looked up anew.
    ///
    /// # Errors
    /// [`UpstreamFault::Connect`].
    pub(super) async fn connect(
        &self,
        addresses: &[AppAddress],
    ) -> Result<(AppSocket, AppAddress), UpstreamFault> {
        connect_app(addresses, self.tls(), self.connect_timeout).await.map_err(|error| {
            self.look_up_anew();
            UpstreamFault::Connect(error)
        })
    }
}

/// Connects to the first of these addresses that answers, each within `limit`. Says which it was.
///
/// # Errors
/// The most telling one: where something answered and was refused here, that, and not that nothing listens at the next
/// address. `TimedOut` where it did not answer, `NotFound` where there is no address at all.
pub(crate) async fn connect_app(
    addresses: &[AppAddress],
    tls: Option<&Arc<AppTls>>,
    limit: Duration,
) -> io::Result<(AppSocket, AppAddress)> {
    let mut told = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let error = match tokio::time::timeout(limit, connect_to(address, tls)).await {
            Ok(Ok(socket)) => return Ok((socket, address.clone())),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if told.kind() == io::ErrorKind::NotFound || error.kind() != io::ErrorKind::ConnectionRefused {
            told = error;
        }
    }
    Err(told)
}

async fn connect_to(address: &AppAddress, tls: Option<&Arc<AppTls>>) -> io::Result<AppSocket> {
    let socket = match address {
        AppAddress::Unix(path) => {
            let connected = connect_unix(path).await;
            // A path that is not there is nothing that listens; an address that is not there is a name without one.
            return connected.map(AppSocket::Unix).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other(format!("{}: {error}", path.display())),
                _ => error,
            });
        }
        AppAddress::Tcp(address) => TcpStream::connect(address).await?,
    };
    prepare_socket(&socket);
    match tls {
        None => Ok(AppSocket::Tcp(socket)),
        Some(tls) => {
            let shaken = tls.connector.connect(tls.name.clone(), RecordSocket::new(socket)).await?;
            Ok(AppSocket::Tls(Box::new(shaken)))
        }
    }
}

/// Where a queue is full, TCP waits by itself; here the system says so at once (connect(2), `EAGAIN`), and it is asked again.
/// The caller limits the time.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL).await,
            connected => return connected,
        }
    }
}

/// The time between two tries where a queue is full.
const FULL: Duration = Duration::from_millis(5);

/// Small writes go out at once, and an application that vanished without a word is noticed. A socket that does not take
/// these is no better or worse a socket.
fn prepare_socket(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}
