//! Refusing: the answer to a request that does not go up, whole, with its reference, its line and its count.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, request};
use http_body_util::{BodyExt, Limited};
use portcullis_keys::Random;
use portcullis_policy::DenyReason;

use super::asked_by::AskedBy;
use super::detail::{Seen, Trouble};
use super::form::{Asker, WAY_BACK, login, refusal, set, way_back};
use super::kind::Kind;
use super::refusal::{Refusal, few_words};
use crate::clock::Waits;
use crate::exchange::{Answer, Serving};
use crate::gate::Gate;
use crate::line::Over;
use crate::pages::Refused;
use crate::request::Request;
use crate::rooms::record::Record;
use crate::rules::Place;
use crate::upload::Upload;
use crate::upstream::Fault;
use crate::wire::Malformed;

/// A body as short as this is read, so that the connection can be used again, and for so long.
const SHORT: usize = 64 * 1024;
const READING: Duration = Duration::from_secs(2);

impl Gate {
    /// Notes what a refusal would need to know.
    pub(crate) fn asker(&self, head: &request::Parts, place: Option<&Place>) -> AskedBy {
        let session = place.and_then(|place| {
            let cookie = crate::cookies::find(&head.headers, &place.site().cookie)?;
            self.keys.open_cookie(place.app().id, cookie)
        });
        AskedBy { session, ..AskedBy::of(head) }
    }

    /// Refuses a request. Its record says why.
    pub(crate) async fn refuse(
        &self,
        asker: &AskedBy,
        head: &request::Parts,
        upload: Option<Upload>,
        record: &mut Record,
        why: Refusal,
    ) -> Response<Bytes> {
        let answer = self.answer(asker, head, record, why, None).await;
        if let Some(upload) = upload.filter(|_| asker.declared.is_some_and(|length| length <= SHORT as u64)) {
            let _ = tokio::time::timeout(READING, Limited::new(upload, SHORT).collect()).await;
        }
        answer
    }

    /// Answers a request whose head went up, and to which the application gave none.
    pub(crate) async fn answer_for_application(
        &self,
        asker: &AskedBy,
        record: &mut Record,
        why: Refusal,
        trouble: Option<&Trouble>,
    ) -> Response<Bytes> {
        let answer = self.answer(asker, &asker.bare_head(), record, why, trouble).await;
        if let (Some(trouble), Some(place)) = (trouble, record.place()) {
            let what = match why {
                Refusal::Slow => "did not begin to answer in time",
                _ => "cannot be reached",
            };
            say(place, record, trouble, what);
        }
        answer
    }

    /// The application broke off an answer that it had begun. The client sees it end; the line of the access log has a
    /// number that leads to why.
    pub(crate) fn tell_broken(&self, record: &mut Record, place: &Place, fault: &Fault) {
        self.recorder.metrics.broken.inc();
        let trouble = Trouble::of(fault, true, &place.site().upstream);
        record.note(|line| line.reference = Some(Random::system().reference()));
        let (head, ()) = http::Request::new(()).into_parts();
        self.tell(&head, record, Refusal::Unreachable, Some(&trouble));
        say(place, record, &trouble, "broke off its answer");
    }

    /// Puts into the record what a refusal was decided by.
    fn tell(&self, head: &request::Parts, record: &mut Record, why: Refusal, trouble: Option<&Trouble>) {
        let place = record.place().cloned();
        let rules = place.as_ref().map_or_else(|| self.rules.load_full(), |place| place.rules().clone());
        let Some(line) = record.line() else { return };
        let seen = Seen { rules: &rules, place: place.as_ref(), parts: head, line, idle: self.idle, trouble };
        let rule = matches!(why, Refusal::Denied(DenyReason::Role)).then(|| seen.rule().cloned()).flatten();
        let detail = self.recorder.takes_references().then(|| Box::new(seen.told(why)));
        record.note(|line| {
            line.refused_by = rule;
            line.detail = detail;
        });
    }

    async fn answer(
        &self,
        asker: &AskedBy,
        head: &request::Parts,
        record: &mut Record,
        why: Refusal,
        trouble: Option<&Trouble>,
    ) -> Response<Bytes> {
        let reference = Random::system().reference();
        let place = record.place().cloned();
        let target = asker.target.as_ref().map_or("/", PathAndQuery::as_str);
        let told = Asker { kind: asker.kind, place: place.as_ref(), target, reference: &reference };
        let mut answer = refusal(why, &told);
        if let Some(place) = place.as_ref().filter(|_| answer.status() == StatusCode::SEE_OTHER)
            && target.len() > WAY_BACK
            && let Some(way) = way_back(place, target)
            && let Some(login) = self.kept_login(asker, record, place, way).await
        {
            set(&mut answer, LOCATION, login);
        }
        record.decided(why.decision(), why.reason());
        let (status, needs_page) = (answer.status(), asker.kind.is_page() && answer.body().is_empty());
        if status != StatusCode::SEE_OTHER {
            self.tell(head, record, why, trouble);
            record.note(|line| line.reference = Some(reference.clone()));
        }
        if let Some(place) = place.as_ref().filter(|_| needs_page && status != StatusCode::SEE_OTHER) {
            let told = why.told(asker.kind);
            let refused =
                Refused { status, kind: told, reference: reference.clone(), login_url: login(place, None) };
            self.page_of(asker, record, place, refused, &mut answer).await;
            if answer.body().is_empty() {
                *answer.body_mut() = Bytes::from(format!("{}\n", few_words(told, &reference)));
                set(&mut answer, CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            }
        }
        answer
    }

    /// Refuses what is no request that is read here; its connection ends with the answer.
    pub(crate) fn refuse_head(&self, serving: Serving, waits: &Waits, why: Malformed) -> Response<Answer> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = Method::from_bytes(b"-").unwrap_or_default();
        let client = serving.client().clone();
        let request = Request { parts: &parts, bytes: 0, peer: &client.peer, exchange: &waits.in_flight };
        let mut record = self.record(&request);
        let refused = Refusal::from(why);
        let reference = Random::system().reference();
        let asker = Asker { kind: Kind::Api, place: None, target: "/", reference: &reference };
        let mut answer = refusal(refused, &asker);
        set(&mut answer, CONNECTION, HeaderValue::from_static("close"));
        record.decided(refused.decision(), refused.reason());
        self.tell(&parts, &mut record, refused, None);
        record.note(|line| {
            line.target = None;
            line.reference = Some(reference.clone());
        });
        let address = self.recorder.shown(client.peer.address());
        tracing::debug!(reason = why.word(), client = address, "a head was refused");
        own(serving, record, &Method::GET, answer)
    }
}

/// Tells the log what is wrong with the application.
fn say(place: &Place, record: &Record, trouble: &Trouble, what: &str) {
    let Trouble { upstream, cause, limit, .. } = trouble;
    let reference = record.line().and_then(|line| line.reference.as_deref());
    let (app, limit) = (&*place.site().name, limit.as_deref());
    tracing::warn!("ref" = reference, app, upstream, cause, limit, "the application {what}");
}

/// Makes an answer of our own whole. Its record says that it was sent.
pub(crate) fn own(
    serving: Serving,
    mut record: Record,
    method: &Method,
    answer: Response<Bytes>,
) -> Response<Answer> {
    let (mut parts, body) = answer.into_parts();
    let headers = &mut parts.headers;
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if let Some(hsts) = record.place().and_then(|place| place.site().hsts()) {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    let has_body = !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let body = if method == Method::HEAD || !has_body { Bytes::new() } else { body };
    record.note(|line| {
        line.status = parts.status.as_u16();
        line.bytes_out = body.len() as u64;
    });
    record.over(Over::Done);
    Response::from_parts(parts, Answer::own(serving, body))
}
