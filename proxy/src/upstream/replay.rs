//! Asking twice: a request without a body, read back from the bytes that it was written as.

use http::{HeaderName, HeaderValue, Method, Uri};

use super::outgoing_body::Outgoing;

/// As many fields as a client may send, with what is added to them.
const FIELDS: usize = 256;

/// The request that these bytes are, where they are one, whole, and nothing else.
pub(super) fn read_request(head: &[u8]) -> Option<http::Request<Outgoing>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    if length != head.len() {
        return None;
    }
    let mut request = http::Request::new(Outgoing(None));
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(parsed.path?).ok()?;
    request.headers_mut().reserve(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_whole_head_is_read_back() {
        let head = b"GET /a?b HTTP/1.1\r\nHost: wiki.test\r\nX-A: 1\r\nX-A: \xe4\r\n\r\n";
        let read = read_request(head).unwrap();
        assert_eq!((read.method(), read.uri().to_string().as_str()), (&Method::GET, "/a?b"));
        let all: Vec<_> = read.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((read.headers()["host"].as_bytes(), all), (&b"wiki.test"[..], vec![&b"1"[..], b"\xe4"]));
        for end in 0..head.len() {
            assert!(read_request(&head[..end]).is_none(), "{end}");
        }
        assert!(read_request(&[head, &b"x"[..]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_request(&bytes);
        }
    }
}
