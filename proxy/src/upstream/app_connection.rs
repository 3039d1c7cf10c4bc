//! A connection to an application: hyper's client connection as a value that is polled where it is used.
//!
//! Nothing is spawned: whoever drops a question, or the answer's body, closes the connection with it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_policy::HeaderCase;

use super::Upstream;
use super::address::AppAddress;
use super::app_socket::AppSocket;
use super::app_tls::AppTls;
use super::fault::UpstreamFault;
use super::filter::WakeFilter;
use super::heard::{Heard, Notes};
use super::outgoing_body::Outgoing;
use super::replay;
use crate::clock::{Wait, Waits};
use crate::field_set::{FieldKind, FieldSet};
use crate::told::Told;

/// A connection to an application.
pub(crate) struct AppConnection {
    pub(super) to: AppAddress,
    /// By what the application was known.
    pub(super) tls: Option<Arc<AppTls>>,
    /// As it was made to write.
    pub(super) case: HeaderCase,
    sender: SendRequest<Outgoing>,
    pub(super) connection: Connection<TokioIo<Heard>, Outgoing>,
    notes: Arc<Notes>,
    pub(super) filter: WakeFilter,
    after: Afterwards,
}

/// The use of a connection behind its last answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It can be asked again.
    Kept,
    /// Its request had a body, or its answer says how the connection goes on: it is looked at before it is kept.
    LookedAt,
    /// It is never asked again: its answer announced a body that has no place in it (RFC 9110 §6.4.1), and whoever sends
    /// it all the same would be read as answering the next person; or it came before the head of its question was out.
    Spent,
}

impl Afterwards {
    /// Judges by an answer's head, and by what was asked.
    fn of_answer(answer: &http::Response<Incoming>, is_head: bool, had_body: bool) -> Self {
        let (status, headers) = (answer.status(), answer.headers());
        let has = FieldSet::of_headers(headers);
        let has_no_body = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let announces = || {
            has.has(FieldKind::TransferEncoding)
                || headers.get(CONTENT_LENGTH).is_some_and(|length| *length != HeaderValue::from_static("0"))
        };
        if has_no_body && announces() {
            Self::Spent
        } else if had_body || answer.version() != Version::HTTP_11 || has.has(FieldKind::Connection) {
            Self::LookedAt
        } else {
            Self::Kept
        }
    }
}

/// A fault, and the request that met it where nothing of it was sent.
pub(super) type AskFailure = (UpstreamFault, Option<Box<http::Request<Outgoing>>>);

/// The bytes that may come before the head of an answer is whole, what only informs included.
const BEFORE_HEAD: usize = 256 * 1024;
/// The bytes of an answer that are read at once, and the number of fields it may have.
const READ: usize = 64 * 1024;
const FIELDS: usize = 200;

impl AppConnection {
    /// Speaks HTTP/1.1 on a socket.
    ///
    /// # Errors
    /// Where the socket is gone already.
    pub(super) async fn speak_over(
        socket: AppSocket,
        to: AppAddress,
        upstream: &Upstream,
    ) -> Result<Box<Self>, UpstreamFault> {
        let (case, tls) = (upstream.header_case, upstream.tls().cloned());
        let notes = Arc::new(Notes::default());
        let socket = Heard { socket, notes: notes.clone() };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ).max_headers(FIELDS).title_case_headers(case == HeaderCase::Title);
        let (sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(UpstreamFault::from_error)?;
        Ok(Box::new(Self {
            to,
            tls,
            case,
            sender,
            connection,
            notes,
            filter: WakeFilter::new(),
            after: Afterwards::LookedAt,
        }))
    }

    /// The use there is for it behind its last answer.
    pub(super) fn afterwards(&self) -> Afterwards {
        self.after
    }

    /// Tells whether it can serve a request now. Polling it sees the other side's end, or bytes that nobody asked for, and
    /// those that came this very moment too.
    pub(super) fn is_idle(&mut self) -> bool {
        self.notes.look(true);
        let context = &mut Context::from_waker(Waker::noop());
        let is_idle = self.connection.poll_without_shutdown(context).is_pending() && self.sender.is_ready();
        self.notes.look(false);
        is_idle
    }

    /// The last question once more, where it was noted and nothing came since.
    pub(super) fn unanswered(&self) -> Option<http::Request<Outgoing>> {
        if self.notes.heard_bytes() == 0 { replay::read_request(&self.notes.take_head()) } else { None }
    }

    /// Sends one request, with what is told beside it, and waits for the head of its answer. With the fault comes the
    /// request, if nothing of it was sent. One that is noted has no body, and [`unanswered`](Self::unanswered) has it back.
    pub(super) fn send_request(
        &mut self,
        request: http::Request<Outgoing>,
        told: &Told,
        is_noted: bool,
        waits: &Waits,
    ) -> impl Future<Output = Result<http::Response<Incoming>, AskFailure>> {
        self.notes.begin_question(is_noted, told, self.case);
        let had_body = request.body().0.is_some();
        let is_head = request.method() == Method::HEAD;
        let asking = self.sender.try_send_request(request); // it is on its way: what waits holds no request
        let (connection, filter, notes) = (&mut self.connection, &self.filter, &self.notes);
        let after = &mut self.after;
        async move {
            let mut asking = pin!(asking);
            let mut answered = None; // an answer is large: it is put here, and not handed from poll to poll
            let fault = poll_fn(|context| {
                if waits.has_struck(Wait::Answer) {
                    return Poll::Ready(Some(UpstreamFault::Late));
                }
                filter.poll(context, |context| {
                    let ended = connection.poll_without_shutdown(context);
                    // It becomes ready through the connection alone.
                    match (asking.as_mut().poll(&mut Context::from_waker(Waker::noop())), ended) {
                        (Poll::Ready(answer), _) => {
                            answered = Some(answer);
                            Poll::Ready(None)
                        }
                        (Poll::Pending, Poll::Ready(ended)) => {
                            let fault =
                                ended.map_or_else(UpstreamFault::from_error, |()| UpstreamFault::Ended(None));
                            Poll::Ready(Some(fault))
                        }
                        (Poll::Pending, Poll::Pending) if notes.heard_bytes() > BEFORE_HEAD => {
                            Poll::Ready(Some(UpstreamFault::Answer("has no end of its head")))
                        }
                        (Poll::Pending, Poll::Pending) => Poll::Pending,
                    }
                })
            })
            .await;
            match answered {
                Some(Ok(answer)) => {
                    *after = match notes.has_asked() {
                        true => Afterwards::of_answer(&answer, is_head, had_body),
                        false => Afterwards::Spent,
                    };
                    Ok(answer)
                }
                Some(Err(mut error)) => {
                    let unsent = error.take_message().map(Box::new);
                    Err((UpstreamFault::from_error(error.into_error()), unsent))
                }
                None => Err((fault.unwrap_or(UpstreamFault::Ended(None)), None)),
            }
        }
    }

    /// The socket, and what was read of it already, after an answer that switched protocols.
    pub(crate) fn into_socket(self: Box<Self>) -> (AppSocket, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io.into_inner().socket, parts.read_buf)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;
    use crate::test;

    async fn speak_over(socket: TcpStream) -> Box<AppConnection> {
        let to = AppAddress::Tcp(socket.peer_addr().unwrap());
        let place = test::place();
        AppConnection::speak_over(AppSocket::Tcp(socket), to, &place.site().upstream).await.unwrap()
    }

    /// A connection that was asked once with this method, was answered with this, and what the application then does.
    async fn ask_once(
        method: Method,
        answer: &'static str,
        then: impl FnOnce(std::net::TcpStream) -> Option<std::net::TcpStream>,
    ) -> (Box<AppConnection>, Option<std::net::TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut application, _) = listener.accept().unwrap();
        let mut connection = speak_over(socket).await;
        let answering = std::thread::spawn(move || {
            let _ = application.read(&mut [0; 1024]).unwrap();
            application.write_all(answer.as_bytes()).unwrap();
            application
        });
        let mut request = http::Request::new(Outgoing(None));
        *request.method_mut() = method;
        request.headers_mut().insert("host", HeaderValue::from_static("wiki.test"));
        let waits = crate::clock::Clock::new().enter();
        let answer =
            connection.send_request(request, &Told::default(), false, &waits.waits).await.ok().unwrap();
        drop(answer.into_body());
        (connection, then(answering.join().unwrap()))
    }

    #[tokio::test]
    async fn who_answers_before_the_head_is_out_is_never_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut application, _) = listener.accept().unwrap();
        let sockets = [socket2::SockRef::from(&socket), socket2::SockRef::from(&application)];
        sockets[0].set_send_buffer_size(4 * 1024).unwrap();
        sockets[1].set_recv_buffer_size(4 * 1024).unwrap();
        let mut connection = speak_over(socket).await;
        let answering = std::thread::spawn(move || {
            application.write_all(EMPTY.as_bytes()).unwrap(); // to what it has not read
            application
        });
        let mut request = http::Request::new(Outgoing(None));
        request.headers_mut().insert("x-long", HeaderValue::from_bytes(&[b'x'; 300_000]).unwrap());
        let waits = crate::clock::Clock::new().enter();
        let asked = connection.send_request(request, &Told::default(), false, &waits.waits).await;
        drop(asked.ok().unwrap().into_body());
        let _application = answering.join().unwrap();
        assert!(connection.afterwards() == Afterwards::Spent);
    }

    const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn what_came_this_very_moment_is_seen() {
        let (mut connection, _application) = ask_once(Method::GET, EMPTY, Some).await;
        assert!(connection.is_idle());

        // The runtime has no turn between what the application does and the look: nothing is awaited.
        let (mut connection, _application) = ask_once(Method::GET, EMPTY, |mut application| {
            application.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nalice").unwrap();
            Some(application)
        })
        .await;
        assert!(!connection.is_idle(), "an answer that nobody asked for");

        let (mut connection, _) = ask_once(Method::GET, EMPTY, |_closed| None).await;
        assert!(!connection.is_idle(), "an end");
    }

    #[tokio::test]
    async fn an_answer_that_announces_a_body_it_cannot_have_is_the_last() {
        let after = async |method, answer| ask_once(method, answer, Some).await.0.afterwards();
        let with_length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let not_modified = "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n";
        for (method, answer) in
            [(Method::HEAD, with_length), (Method::HEAD, chunked), (Method::GET, not_modified)]
        {
            assert!(after(method, answer).await == Afterwards::Spent, "{answer}");
        }
        for (method, answer) in [
            (Method::HEAD, EMPTY),
            (Method::GET, EMPTY),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        ] {
            assert!(after(method, answer).await == Afterwards::Kept, "{answer}");
        }
        let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(after(Method::GET, closing).await == Afterwards::LookedAt);
    }
}
