//! What is left of a request once its head has gone up: as much as a refusal needs.

use http::header::{CONTENT_LENGTH, EXPECT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, request};
use portcullis_policy::SessionHash;

use crate::kind::{Kind, KindFields};
use crate::origin::is_from_us;
use crate::rules::AppRules;

/// The facts of a request that a refusal needs, once its head has gone up.
#[derive(Clone, Debug)]
pub(crate) struct AskedBy {
    pub(super) kind: Kind,
    /// True where a page of this site sent it, as its browser says.
    pub(super) is_from_us: bool,
    pub(super) accept: Option<HeaderValue>,
    pub(super) language: Option<HeaderValue>,
    /// The session its cookie speaks of. Nobody has looked whether it is good.
    pub(super) session: Option<SessionHash>,
    pub(super) target: Option<PathAndQuery>,
    /// The length of its body, where it said it and sends it unasked.
    pub(super) declared: Option<u64>,
}

impl AskedBy {
    /// Notes what a refusal would need to know, of nobody's session.
    pub(crate) fn from_head(head: &request::Parts) -> Self {
        let said = KindFields::from_headers(&head.headers);
        Self {
            kind: Kind::from_fields(&head.method, &said),
            is_from_us: false,
            accept: said.accept.cloned(),
            language: said.language.cloned(),
            session: None,
            target: head.uri.path_and_query().cloned(),
            declared: declared_length(&head.headers).filter(|_| !head.headers.contains_key(EXPECT)),
        }
    }

    /// As much of the head as is left once it has gone up.
    pub(super) fn bare_head(&self) -> request::Parts {
        let (mut head, ()) = http::Request::new(()).into_parts();
        if let Some(target) = self.target.clone() {
            head.uri = target.into();
        }
        head
    }

    /// It is for this place: whether a page of this site sent it can be told.
    pub(crate) fn for_place(self, headers: &HeaderMap, place: &AppRules) -> Self {
        Self { is_from_us: is_from_us(headers, place), ..self }
    }

    /// It is this session's.
    pub(crate) fn with_session(self, session: Option<SessionHash>) -> Self {
        Self { session, ..self }
    }
}

/// The length of its body that a client declared, where it did.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
