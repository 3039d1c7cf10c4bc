//! The body of an answer on its way from an application.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::app_connection::AppConnection;
use super::fault::UpstreamFault;
use super::h2c_download::H2cDownload;
use super::pool;

/// The body of an answer. It drives the connection it comes from, and gives it back at its end.
pub(crate) struct Download(AnswerSource);

enum AnswerSource {
    H1(H1Download),
    H2c(Box<H2cDownload>),
}

/// The body of an answer over HTTP/1.1.
struct H1Download {
    body: Incoming,
    connection: Option<Box<AppConnection>>,
    /// True where the connection may be asked again after this answer.
    is_kept: bool,
}

impl Download {
    /// The body of an answer on this connection, which is kept behind it.
    pub(super) fn new(body: Incoming, connection: Box<AppConnection>) -> Self {
        Self(AnswerSource::H1(H1Download { body, connection: Some(connection), is_kept: true }))
    }

    /// The body of an answer over HTTP/2.
    pub(super) fn over_h2c(download: H2cDownload) -> Self {
        Self(AnswerSource::H2c(Box::new(download)))
    }

    /// The connection is asked nothing more.
    pub(super) fn not_kept(mut self) -> Self {
        if let AnswerSource::H1(download) = &mut self.0 {
            download.is_kept = false;
        }
        self
    }

    /// The next piece.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        match &mut self.0 {
            AnswerSource::H1(download) => download.poll_frame(context),
            AnswerSource::H2c(download) => download.poll_frame(context),
        }
    }

    /// Tells whether nothing more comes.
    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.0 {
            AnswerSource::H1(download) => download.body.is_end_stream(),
            AnswerSource::H2c(download) => download.is_end_stream(),
        }
    }

    /// Tells whether all of it was handed over, though its end may still be to come.
    pub(crate) fn has_all(&self) -> bool {
        match &self.0 {
            AnswerSource::H1(download) => download.body.is_end_stream(),
            AnswerSource::H2c(download) => download.has_all(),
        }
    }

    /// The bytes that come, where that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.0 {
            AnswerSource::H1(download) => download.body.size_hint(),
            AnswerSource::H2c(download) => download.size_hint(),
        }
    }

    /// The connection, after an answer that switched protocols.
    pub(crate) fn into_connection(self) -> Option<Box<AppConnection>> {
        match self.0 {
            AnswerSource::H1(mut download) => download.connection.take(),
            AnswerSource::H2c(_) => None,
        }
    }
}

impl H1Download {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
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

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.is_kept) {
            pool::give_back(connection);
        }
    }
}

impl Drop for H1Download {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
