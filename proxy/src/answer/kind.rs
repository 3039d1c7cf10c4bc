//! What a request is to the browser that sent it, so that a refusal has a form it understands (design §7).
//!
//! A navigation is sent to login; to everything else a redirect would be a page where data was expected. Nothing here
//! grants anything: a client that lies about these fields chooses the form of its refusal.

use http::header::{ACCEPT, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, Method};

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person opens a page.
    Navigation,
    /// A person sends a form.
    Form,
    /// A page inside a page.
    Frame,
    /// A WebSocket handshake.
    WebSocket,
    /// An `EventSource`.
    EventStream,
    /// A gRPC call.
    Grpc,
    /// A script or a program: everything else.
    Api,
}

impl Kind {
    /// Reads it from the request. Accept has left `Upgrade` only on a WebSocket handshake.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let says = |name: HeaderName, wanted: &[u8]| {
            headers.get(name).is_some_and(|value| contains(value.as_bytes(), wanted))
        };
        if headers.contains_key(UPGRADE) {
            return Self::WebSocket;
        }
        if headers.get(CONTENT_TYPE).is_some_and(|value| starts(value.as_bytes(), b"application/grpc")) {
            return Self::Grpc;
        }
        if says(ACCEPT, b"text/event-stream") {
            return Self::EventStream;
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        let mode = headers.get(SEC_FETCH_MODE).map(|value| value.as_bytes());
        let dest = headers.get(SEC_FETCH_DEST).map(|value| value.as_bytes());
        let is_page = match (mode, dest) {
            (None, None) => says(ACCEPT, b"text/html"),
            (Some(b"navigate"), Some(b"iframe" | b"frame" | b"embed" | b"object")) => return Self::Frame,
            (Some(b"navigate"), Some(b"document")) => true,
            _ => false,
        };
        let is_ahead = says(PURPOSE, b"prefetch") || says(SEC_PURPOSE, b"prefetch");
        match (is_page, reads, is_ahead) {
            (true, true, false) => Self::Navigation,
            (true, false, _) if *method != Method::OPTIONS => Self::Form,
            _ => Self::Api,
        }
    }

    /// Whether a person looks at the answer.
    pub fn is_page(self) -> bool {
        matches!(self, Self::Navigation | Self::Form | Self::Frame)
    }
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

fn starts(text: &[u8], with: &[u8]) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn kind(method: &str, fields: &[(&str, &str)]) -> Kind {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Kind::of(&method.parse().unwrap(), &headers)
    }

    #[test]
    fn each_kind_is_known_by_what_browsers_send() {
        let navigate = ("sec-fetch-mode", "navigate");
        let document = ("sec-fetch-dest", "document");
        let html = ("accept", "text/html,application/xhtml+xml");
        for (method, fields, expected) in [
            ("GET", vec![navigate, document], Kind::Navigation),
            ("HEAD", vec![navigate, document], Kind::Navigation),
            ("GET", vec![html], Kind::Navigation),
            ("GET", vec![("accept", "TEXT/HTML")], Kind::Navigation),
            ("GET", vec![navigate, document, ("purpose", "prefetch")], Kind::Api),
            ("GET", vec![navigate, document, ("sec-purpose", "prefetch;prerender")], Kind::Api),
            ("GET", vec![html, ("purpose", "prefetch")], Kind::Api),
            ("GET", vec![html, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], Kind::Api),
            ("GET", vec![html, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], Kind::Api),
            ("GET", vec![html, navigate], Kind::Api),
            ("POST", vec![navigate, document], Kind::Form),
            ("POST", vec![html], Kind::Form),
            ("OPTIONS", vec![html], Kind::Api),
            ("GET", vec![navigate, ("sec-fetch-dest", "iframe")], Kind::Frame),
            ("GET", vec![navigate, ("sec-fetch-dest", "object")], Kind::Frame),
            ("POST", vec![navigate, ("sec-fetch-dest", "frame")], Kind::Frame),
            ("GET", vec![("upgrade", "websocket"), html], Kind::WebSocket),
            ("GET", vec![("accept", "text/event-stream"), navigate, document], Kind::EventStream),
            ("POST", vec![("content-type", "application/grpc+proto")], Kind::Grpc),
            ("GET", vec![("accept", "*/*")], Kind::Api),
            ("GET", vec![], Kind::Api),
            ("DELETE", vec![("accept", "application/json")], Kind::Api),
        ] {
            assert_eq!(kind(method, &fields), expected, "{method} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind_and_only_a_reading_is_sent_to_login(
            method in "GET|HEAD|POST|PUT|OPTIONS|PROPFIND",
            fields in prop::collection::vec(("accept|purpose|sec-purpose|sec-fetch-mode|sec-fetch-dest|content-type", "[ -~]{0,20}"), 0..6),
        ) {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let kind = kind(&method, &fields);
            prop_assert!(kind != Kind::Navigation || method == "GET" || method == "HEAD");
        }
    }
}
