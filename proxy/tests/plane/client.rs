//! The rig's clients, on the data plane of a test.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use portcullis_rig::must;
use portcullis_rig::stream;
use portcullis_rig::wire::{Answer, Connection, Dial, RequestBody, whole};

use crate::rig::{HOST, Rig};

pub(crate) fn empty() -> RequestBody {
    whole("")
}

/// HTTP/2 with prior knowledge.
pub(crate) async fn h2c(rig: &Rig) -> Connection {
    Connection::open_h2(rig.address).await.unwrap()
}

/// HTTP/2 over TLS.
pub(crate) async fn h2s(rig: &Rig) -> Connection {
    let how = Dial { tls: Some("wiki.localhost"), ..Dial::h2() };
    Connection::dial(rig.secure, how).await.unwrap()
}

pub(crate) fn request<B>(method: &str, path: &str, fields: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::builder().method(method).uri(format!("http://{HOST}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// A whole answer over HTTP/2, and its text.
pub(crate) async fn h2_get(sender: &mut Connection, path: &str, fields: &[(&str, &str)]) -> (Answer, String) {
    let answer = must(path, sender.send(request("GET", path, fields, empty()))).await.unwrap();
    let text = answer.text();
    (answer, text)
}

pub(crate) async fn h2_send(sender: &mut Connection, request: Request<RequestBody>) -> Response<Incoming> {
    must("an answer", sender.begin(request)).await.unwrap()
}

/// The next piece of a body; `None` at its end, `Err` where the stream was reset.
pub(crate) async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    must("a piece of a body", stream::next_piece(body)).await
}
