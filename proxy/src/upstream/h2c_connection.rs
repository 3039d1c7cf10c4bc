//! A connection to an application over HTTP/2, which carries one exchange at a time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};

use super::address::AppAddress;
use super::app_socket::AppSocket;
use super::fault::UpstreamFault;

/// The bytes of an answer that an application may send before they are taken, and of a connection's.
const WINDOW: u32 = 256 * 1024;
/// The room for messages of a few bytes, of which as many as a window holds may wait. The library charges 256 bytes for each,
/// and would end the connection of a server that sends many at once.
const SMALL_FRAMES: usize = WINDOW as usize / 5 * 256;
/// The bytes of the fields of an answer's head.
pub(super) const FIELDS: u32 = 64 * 1024;
/// The bytes of a request's body that are kept until the socket takes them.
const SEND: usize = 64 * 1024;

/// A connection to an application over HTTP/2.
pub(crate) struct H2cConnection {
    pub(super) to: AppAddress,
    pub(super) sender: SendRequest<Bytes>,
    connection: Connection<AppSocket, Bytes>,
}

impl H2cConnection {
    /// Speaks HTTP/2 over a socket to this address.
    ///
    /// # Errors
    /// It speaks something else, or breaks off.
    pub(super) async fn speak_over(socket: AppSocket, to: AppAddress) -> Result<Box<Self>, UpstreamFault> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(FIELDS)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND);
        let (sender, connection) = builder.handshake(socket).await.map_err(UpstreamFault::from_h2)?;
        Ok(Box::new(Self { to, sender, connection }))
    }

    /// Tells whether it can serve a request now.
    pub(super) fn is_idle(&mut self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let lives = Pin::new(&mut self.connection).poll(context).is_pending();
        lives && matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())))
    }

    /// Reads and writes what there is. The fault of its end, once it has one.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> Option<UpstreamFault> {
        match Pin::new(&mut self.connection).poll(context) {
            Poll::Pending => None,
            Poll::Ready(ended) => {
                Some(ended.map_or_else(UpstreamFault::from_h2, |()| UpstreamFault::Ended(None)))
            }
        }
    }
}
