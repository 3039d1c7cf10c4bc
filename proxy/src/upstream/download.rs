//! The body of an answer on its way from an application.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::app_connection::AppConnection;
use super::fault::UpstreamFault;
use super::pool;

/// The body of an answer. It drives the connection it comes from, and gives it back at its end.
pub(crate) struct Download {
    body: Incoming,
    connection: Option<Box<AppConnection>>,
    /// True where the connection may be asked again after this answer.
    is_kept: bool,
}

impl Download {
    /// The body of an answer on this connection, which is kept behind it.
    pub(super) fn new(body: Incoming, connection: Box<AppConnection>) -> Self {
        Self { body, connection: Some(connection), is_kept: true }
    }

    /// The connection is asked nothing more.
    pub(super) fn not_kept(mut self) -> Self {
        self.is_kept = false;
        self
    }

    /// The next piece.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        let Some(from) = &mut self.connection else { return Poll::Ready(None) };
        let (body, connection) = (&mut self.body, &mut from.connection);
        let polled = from.filter.poll(context, |context| {
            let unheard = &mut Context::from_waker(Waker::noop());
            // It says that it wants more; then the connection reads more; then there may be some.
            match Pin::new(&mut *body).poll_frame(unheard) {
                Poll::Pending => {
                    let ended = connection.poll_without_shutdown(context).is_ready();
                    match Pin::new(&mut *body).poll_frame(unheard) {
                        Poll::Pending if ended => Poll::Ready(Some(Err(UpstreamFault::Ended(None)))),
                        polled => polled.map_err(UpstreamFault::from_error),
                    }
                }
                polled => polled.map_err(UpstreamFault::from_error),
            }
        });
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.give_back(),
            Poll::Ready(Some(Err(_))) => drop(self.connection.take()),
            _ => {}
        }
        polled
    }

    /// Tells whether nothing more comes.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The bytes that come, where that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// The connection, after an answer that switched protocols.
    pub(crate) fn into_connection(mut self) -> Option<Box<AppConnection>> {
        self.connection.take()
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.is_kept) {
            pool::give_back(connection);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
