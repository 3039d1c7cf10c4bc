//! A socket to an application over TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Connects to the first of these addresses that answers, each within `limit`.
///
/// # Errors
/// The last address's; `TimedOut` where it did not answer, `NotFound` where there is no address at all.
pub(crate) async fn connect_tcp(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                prepare_socket(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

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
