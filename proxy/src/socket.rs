//! A client's socket, and by its number: the one place that borrows what Pingora owns.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// A client's socket: plain, or after its TLS handshake.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// Makes the close of a socket a reset: what the client has not taken yet is thrown away (rule R10). Called by
/// whoever owns it, before it is dropped.
#[allow(unsafe_code, reason = "Pingora tells the number of its sockets and lends none")]
pub(crate) fn reset_on_close(number: RawFd) {
    if number < 0 {
        return;
    }
    // SAFETY: the caller owns the socket and drops it after this call; nothing is awaited in between, so the number is
    // still that socket's. To be read again with each new version of Pingora.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
