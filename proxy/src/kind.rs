//! What a request is to the browser that sent it, so that a refusal has a form it understands.
//!
//! A navigation is sent to login; to everything else a redirect would be a page where data was expected. Nothing here
//! grants anything: a client that lies about these fields chooses the form of its refusal.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HOST, REFERER, UPGRADE, USER_AGENT,
};
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

/// The facts that say what asks, taken from a head that goes up: which kind they make is asked where a request is
/// refused, and most never are. Of each field the first counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct KindFacts {
    reads: bool,
    is_options: bool,
    is_upgrade: bool,
    is_grpc: bool,
    opens: Opened,
    /// A browser fetches it ahead, for nobody yet.
    is_ahead: bool,
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) language: Option<HeaderValue>,
}

/// The thing that a browser opens, by `Sec-Fetch-Mode` and `Sec-Fetch-Dest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opened {
    /// It says neither.
    #[default]
    Unsaid,
    Page,
    Frame,
    /// Something that is no page.
    Part,
}

impl Opened {
    fn from_fields(mode: Option<&HeaderValue>, dest: Option<&HeaderValue>) -> Self {
        match (mode.map(HeaderValue::as_bytes), dest.map(HeaderValue::as_bytes)) {
            (None, None) => Self::Unsaid,
            (Some(b"navigate"), Some(b"iframe" | b"frame" | b"embed" | b"object")) => Self::Frame,
            (Some(b"navigate"), Some(b"document")) => Self::Page,
            _ => Self::Part,
        }
    }
}

impl KindFacts {
    /// Looks through a head once. Accept has left `Upgrade` only on a WebSocket handshake.
    pub(crate) fn from_head(method: &Method, headers: &HeaderMap) -> Self {
        let [mut accept, mut language, mut content_type, mut mode, mut dest, mut purpose, mut sec_purpose] =
            [None; 7];
        let mut is_upgrade = false;
        for (name, value) in headers {
            let field = match *name {
                ACCEPT => &mut accept,
                ACCEPT_LANGUAGE => &mut language,
                CONTENT_TYPE => &mut content_type,
                UPGRADE => {
                    is_upgrade = true;
                    continue;
                }
                ACCEPT_ENCODING | COOKIE | HOST | REFERER | USER_AGENT => continue,
                _ => match name.as_str() {
                    "purpose" => &mut purpose,
                    "sec-fetch-dest" => &mut dest,
                    "sec-fetch-mode" => &mut mode,
                    "sec-purpose" => &mut sec_purpose,
                    _ => continue,
                },
            };
            field.get_or_insert(value);
        }
        Self {
            reads: *method == Method::GET || *method == Method::HEAD,
            is_options: *method == Method::OPTIONS,
            is_upgrade,
            is_grpc: content_type
                .is_some_and(|value| starts_with_word(value.as_bytes(), b"application/grpc")),
            opens: Opened::from_fields(mode, dest),
            is_ahead: says(purpose, b"prefetch") || says(sec_purpose, b"prefetch"),
            accept: accept.cloned(),
            language: language.cloned(),
        }
    }

    /// The kind that they make.
    pub(crate) fn kind(&self) -> Kind {
        if self.is_upgrade {
            return Kind::WebSocket;
        }
        if self.is_grpc {
            return Kind::Grpc;
        }
        if says(self.accept.as_ref(), b"text/event-stream") {
            return Kind::EventStream;
        }
        let is_page = match self.opens {
            Opened::Frame => return Kind::Frame,
            Opened::Page => true,
            Opened::Part => false,
            Opened::Unsaid => says(self.accept.as_ref(), b"text/html"),
        };
        match (is_page, self.reads, self.is_ahead) {
            (true, true, false) => Kind::Navigation,
            (true, false, _) if !self.is_options => Kind::Form,
            _ => Kind::Api,
        }
    }
}

impl Kind {
    /// Tells whether a person looks at the answer.
    pub fn is_page(self) -> bool {
        matches!(self, Self::Navigation | Self::Form | Self::Frame)
    }
}

fn says(field: Option<&HeaderValue>, wanted: &[u8]) -> bool {
    field.is_some_and(|value| contains_word(value.as_bytes(), wanted))
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
        KindFacts::from_head(&method.parse().unwrap(), &headers).kind()
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
