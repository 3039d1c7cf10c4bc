//! What a request is to the browser that sent it, so that a refusal has a form it understands.
//!
//! A navigation is sent to login; to everything else a redirect would be a page where data was expected. Nothing here
//! grants anything: a client that lies about these fields chooses the form of its refusal.

use http::{HeaderMap, HeaderValue, Method};

/// The kind of client that asks.
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

/// The fields that say what asks, each as it came first. One look at the head finds them all: every request that goes
/// up is asked, and each question for one name costs as much.
#[derive(Debug, Default)]
pub(crate) struct KindFields<'a> {
    is_upgrade: bool,
    content_type: Option<&'a HeaderValue>,
    pub(crate) accept: Option<&'a HeaderValue>,
    pub(crate) language: Option<&'a HeaderValue>,
    mode: Option<&'a HeaderValue>,
    dest: Option<&'a HeaderValue>,
    purpose: Option<&'a HeaderValue>,
    sec_purpose: Option<&'a HeaderValue>,
}

impl<'a> KindFields<'a> {
    /// Looks through a head.
    pub(crate) fn from_headers(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            let field = match name.as_str() {
                "accept" => &mut said.accept,
                "accept-language" => &mut said.language,
                "content-type" => &mut said.content_type,
                "purpose" => &mut said.purpose,
                "sec-fetch-dest" => &mut said.dest,
                "sec-fetch-mode" => &mut said.mode,
                "sec-purpose" => &mut said.sec_purpose,
                "upgrade" => {
                    said.is_upgrade = true;
                    continue;
                }
                _ => continue,
            };
            field.get_or_insert(value);
        }
        said
    }
}

impl Kind {
    /// Reads it from the request. Accept has left `Upgrade` only on a WebSocket handshake.
    pub fn of_request(method: &Method, headers: &HeaderMap) -> Self {
        Self::from_fields(method, &KindFields::from_headers(headers))
    }

    /// Reads it from what the request says.
    pub(crate) fn from_fields(method: &Method, said: &KindFields<'_>) -> Self {
        let says = |field: Option<&HeaderValue>, wanted: &[u8]| {
            field.is_some_and(|value| contains_word(value.as_bytes(), wanted))
        };
        if said.is_upgrade {
            return Self::WebSocket;
        }
        if said.content_type.is_some_and(|value| starts_with_word(value.as_bytes(), b"application/grpc")) {
            return Self::Grpc;
        }
        if says(said.accept, b"text/event-stream") {
            return Self::EventStream;
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        let (mode, dest) = (said.mode.map(HeaderValue::as_bytes), said.dest.map(HeaderValue::as_bytes));
        let is_page = match (mode, dest) {
            (None, None) => says(said.accept, b"text/html"),
            (Some(b"navigate"), Some(b"iframe" | b"frame" | b"embed" | b"object")) => return Self::Frame,
            (Some(b"navigate"), Some(b"document")) => true,
            _ => false,
        };
        let is_ahead = says(said.purpose, b"prefetch") || says(said.sec_purpose, b"prefetch");
        match (is_page, reads, is_ahead) {
            (true, true, false) => Self::Navigation,
            (true, false, _) if *method != Method::OPTIONS => Self::Form,
            _ => Self::Api,
        }
    }

    /// Tells whether a person looks at the answer.
    pub fn is_page(self) -> bool {
        matches!(self, Self::Navigation | Self::Form | Self::Frame)
    }
}

fn starts_with_word(text: &[u8], with: &[u8]) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

/// `wanted` is lower case.
fn contains_word(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len())
        .any(|window| window[0].to_ascii_lowercase() == wanted[0] && window.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn kind(method: &str, fields: &[(&str, &str)]) -> Kind {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Kind::of_request(&method.parse().unwrap(), &headers)
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
