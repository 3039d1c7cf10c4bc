//! The socket of an application as hyper sees it: it says what is told beside a request, and takes note of what passes:
//! how much of an answer has come, and which bytes a request is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use memchr::memchr;
use parking_lot::Mutex;
use portcullis_policy::HeaderCase;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::app_socket::{AppSocket, Unasked};
use crate::told::Told;

/// A socket that takes note of what passes.
pub(super) struct Heard {
    pub(super) socket: AppSocket,
    pub(super) notes: Arc<Notes>,
}

/// Notes of what has passed since the last question.
#[derive(Default)]
pub(super) struct Notes {
    heard: AtomicUsize,
    /// The next read is a look: nothing may have come.
    looks: AtomicBool,
    question: Mutex<OutgoingHead>,
}

/// A request on its way out. The library writes its head first and whole, whether or not the socket takes it all.
#[derive(Default)]
struct OutgoingHead {
    /// The library has not begun to write it.
    is_new: bool,
    /// The head is noted: it may be asked twice, for which copying the bytes costs a tenth of copying its fields.
    is_noted: bool,
    head: Vec<u8>,
    /// The bytes of the library's that go before what is told: what is left of the request line.
    line: usize,
    /// What is told behind the request line, and how much of it has gone.
    told: Vec<u8>,
    gone: usize,
    /// The bytes of the library's own head that have not gone.
    left: usize,
}

/// The memory that a connection keeps between two questions for each of its texts, in bytes.
const KEPT: usize = 4 * 1024;
/// The number of pieces that are written at once.
const PIECES: usize = 16;

impl Notes {
    /// Begins a new question; says what is told beside it, and whether its head is noted.
    pub(super) fn begin_question(&self, is_noted: bool, told: &Told, case: HeaderCase) {
        self.heard.store(0, Ordering::Relaxed);
        let question = &mut *self.question.lock();
        (question.is_new, question.is_noted) = (true, is_noted);
        (question.line, question.gone) = (0, 0);
        for text in [&mut question.head, &mut question.told] {
            text.clear();
            text.shrink_to(KEPT);
        }
        told.write_lines(case, &mut question.told);
    }

    /// Lets the next read fail where anything has come, an end too; or no longer.
    pub(super) fn look(&self, looks: bool) {
        self.looks.store(looks, Ordering::Relaxed);
    }

    /// Tells whether the head of the question has gone out whole, with what is told in it. An application may answer before:
    /// what is left would be the beginning of somebody else's question.
    pub(super) fn has_asked(&self) -> bool {
        let question = self.question.lock();
        !question.is_new && question.left == 0 && question.gone == question.told.len()
    }

    /// Counts the bytes that came since.
    pub(super) fn heard_bytes(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// The head that the library was to write since, without what is told beside it.
    pub(super) fn take_head(&self) -> Vec<u8> {
        std::mem::take(&mut self.question.lock().head)
    }
}

impl OutgoingHead {
    /// Looks at the first pieces that the library writes: a head.
    fn begin_writing(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.is_new = false;
        let line = pieces.first().and_then(|head| memchr(b'\n', head));
        self.line = 1 + line.ok_or_else(|| io::Error::other("a request without a line"))?;
        self.left = pieces.first().map_or(0, |head| head.len());
        if self.is_noted {
            pieces.iter().for_each(|piece| self.head.extend_from_slice(piece));
        }
        Ok(())
    }

    /// Writes on. Says how much of the library's own went out.
    fn poll_write(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_new {
            self.begin_writing(pieces)?;
        }
        let written = if self.gone == self.told.len() {
            ready!(Pin::new(socket).poll_write_vectored(context, pieces))?
        } else {
            ready!(self.poll_write_told(socket, context, pieces))?
        };
        self.left = self.left.saturating_sub(written);
        Poll::Ready(Ok(written))
    }

    /// Writes what is told between the request line and what follows it. Says how much of the library's own went out.
    fn poll_write_told(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (first, others) =
            pieces.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::WriteZero))?;
        let (line, rest) = first.split_at(self.line.min(first.len()));
        loop {
            let mut all = [IoSlice::new(&[]); PIECES];
            let told = &self.told[self.gone..];
            let parts = [line, told, rest].into_iter().chain(others.iter().map(|piece| &**piece));
            let mut count = 0;
            for (place, part) in all.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
                *place = IoSlice::new(part);
                count += 1;
            }
            let written = ready!(Pin::new(&mut *socket).poll_write_vectored(context, &all[..count]))?;
            let of_line = written.min(line.len());
            let of_told = (written - of_line).min(told.len());
            let of_rest = written - of_line - of_told;
            self.line -= of_line;
            self.gone += of_told;
            if of_line + of_rest > 0 || written == 0 {
                return Poll::Ready(Ok(of_line + of_rest));
            }
        }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.notes.looks.load(Ordering::Relaxed) && self.socket.look() == Unasked::Something {
            return Poll::Ready(Err(io::Error::other("the application sent something unasked, or its end")));
        }
        let before = space.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, space);
        self.notes.heard.fetch_add(space.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, notes } = self.get_mut();
        notes.question.lock().poll_write(socket, context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::{HeaderName, HeaderValue};

    use super::*;

    /// Takes so many bytes at a time, and every other time none.
    struct Narrow {
        width: usize,
        is_stuck: bool,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let narrow = self.get_mut();
            narrow.is_stuck = !narrow.is_stuck;
            if narrow.is_stuck {
                return Poll::Pending;
            }
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            let fits = &all[..narrow.width.min(all.len())];
            narrow.taken.extend_from_slice(fits);
            Poll::Ready(Ok(fits.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_is_told_stands_behind_the_request_line_however_little_the_socket_takes() {
        let mut told = Told::default();
        told.add_field(&HeaderName::from_static("x-forwarded-user"), &HeaderValue::from_static("alice"));
        let (head, body) =
            (&b"PUT /a HTTP/1.1\r\nhost: wiki.test\r\ncontent-length: 4\r\n\r\n"[..], &b"body"[..]);
        let whole =
            b"PUT /a HTTP/1.1\r\nx-forwarded-user: alice\r\nhost: wiki.test\r\ncontent-length: 4\r\n\r\nbody";
        for width in 1..=whole.len() {
            let (notes, mut socket) =
                (Notes::default(), Narrow { width, is_stuck: false, taken: Vec::new() });
            notes.begin_question(true, &told, HeaderCase::Lower);
            let context = &mut Context::from_waker(Waker::noop());
            // As the library does: what was taken is not shown again.
            let mut sent = 0;
            while sent < head.len() + body.len() {
                assert!(!notes.has_asked() || sent >= head.len(), "{width}");
                let pieces = [&head[sent.min(head.len())..], &body[sent.saturating_sub(head.len())..]]
                    .map(IoSlice::new);
                let written = notes.question.lock().poll_write(&mut socket, context, &pieces);
                if let Poll::Ready(written) = written {
                    let written = written.unwrap();
                    assert!(written > 0, "the library would take it for the end, width {width}");
                    sent += written;
                }
            }
            assert_eq!(String::from_utf8_lossy(&socket.taken), String::from_utf8_lossy(whole), "{width}");
            assert!(notes.has_asked(), "{width}");
            assert_eq!(notes.take_head(), [head, body].concat(), "what may be asked again has none of it");
        }
    }
}
