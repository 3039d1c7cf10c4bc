//! What is left of a request once its head has gone up: as much as a refusal needs.

use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, request};
use portcullis_policy::SessionHash;

use crate::field_set::{FieldKind, FieldSet};
use crate::kind::{Kind, KindFacts};
use crate::origin::is_from_us;
use crate::rules::AppRules;

/// The facts of a request that a refusal needs, once its head has gone up.
#[derive(Clone, Debug)]
pub(crate) struct AskedBy {
    facts: KindFacts,
    /// A program, whatever its head says.
    is_program: bool,
    /// True where a page of this site sent it, as its browser says.
    pub(super) is_from_us: bool,
    /// The session its cookie speaks of. Nobody has looked whether it is good.
    pub(super) session: Option<SessionHash>,
    pub(super) target: Option<PathAndQuery>,
    /// The length of its body, where it said it and sends it unasked.
    pub(super) declared: Option<u64>,
}

impl AskedBy {
    /// Notes what a refusal would need to know, of nobody's session. `has`: the fields there are.
    pub(crate) fn from_head(head: &request::Parts, has: FieldSet) -> Self {
        let sends_unasked = has.has(FieldKind::ContentLength) && !has.has(FieldKind::Expect);
        Self {
            facts: KindFacts::from_head(&head.method, &head.headers),
            is_program: false,
            is_from_us: false,
            session: None,
            target: head.uri.path_and_query().cloned(),
            declared: if sends_unasked { declared_length(&head.headers) } else { None },
        }
    }

    /// The kind of client it is.
    pub(super) fn kind(&self) -> Kind {
        if self.is_program { Kind::Api } else { self.facts.kind() }
    }

    /// Answers as to a program, even where a person has typed it.
    pub(super) fn treat_as_program(&mut self) {
        self.is_program = true;
    }

    /// `Accept`, and `Accept-Language`.
    pub(super) fn wanted_page(&self) -> [(HeaderName, Option<&HeaderValue>); 2] {
        [(ACCEPT, self.facts.accept.as_ref()), (ACCEPT_LANGUAGE, self.facts.language.as_ref())]
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
