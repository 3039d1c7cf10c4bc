//! Refusing: the answer to a request that does not go up, whole, with its reference, its line and its count.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode, request};
use http_body_util::{BodyExt, Limited};
use portcullis_keys::Random;

use super::asked_by::AskedBy;
use super::detail::Trouble;
use super::form::{Asker, WAY_BACK, answer_refusal, login_address, set_field, way_back};
use super::page::{describe_visitor, kept_login, page_of};
use super::refusal::RequestRefusal;
use super::tell::{log_trouble, tell_record};
use crate::kind::Kind;
use crate::pages::RefusalPage;
use crate::rooms::identify::Identify;
use crate::rooms::record::Record;
use crate::rules::Rules;
use crate::upload::Upload;
use crate::wire::Malformed;

/// A body as short as this is read, so that the connection can be used again, and for so long.
const SHORT: usize = 64 * 1024;
const READING: Duration = Duration::from_secs(2);

/// The way out for refusals.
pub(crate) struct Refuse {
    /// The rules in force, where the host is nobody's.
    rules: Arc<ArcSwap<Rules>>,
    /// The room that knows who is signed in, for the pages.
    identify: Arc<Identify>,
    /// The longest pause of a body.
    idle: Duration,
}

impl Refuse {
    pub(crate) fn new(rules: Arc<ArcSwap<Rules>>, identify: Arc<Identify>, idle: Duration) -> Self {
        Self { rules, identify, idle }
    }

    /// Refuses a request. Its record says why.
    pub(crate) async fn refuse_request(
        &self,
        asker: &AskedBy,
        head: &request::Parts,
        upload: Option<Upload>,
        record: &mut Record,
        why: RequestRefusal,
    ) -> Response<Bytes> {
        let answer = self.build_answer(asker, head, record, why, None).await;
        if let Some(upload) = upload.filter(|_| asker.declared.is_some_and(|length| length <= SHORT as u64)) {
            let _ = tokio::time::timeout(READING, Limited::new(upload, SHORT).collect()).await;
        }
        answer
    }

    /// Answers a request whose head went up, and to which the application gave none.
    pub(crate) async fn for_application(
        &self,
        asker: &AskedBy,
        record: &mut Record,
        why: RequestRefusal,
        trouble: Option<&Trouble>,
    ) -> Response<Bytes> {
        let answer = self.build_answer(asker, &asker.bare_head(), record, why, trouble).await;
        if let (Some(trouble), Some(place)) = (trouble, record.place()) {
            let what = match why {
                RequestRefusal::Slow => "did not begin to answer in time",
                _ => "cannot be reached",
            };
            log_trouble(place, record, trouble, what);
        }
        answer
    }

    fn fill_record(
        &self,
        head: &request::Parts,
        record: &mut Record,
        why: RequestRefusal,
        trouble: Option<&Trouble>,
    ) {
        let place = record.place().cloned();
        let rules = place.map_or_else(|| self.rules.load_full(), |place| place.rules().clone());
        tell_record(record, &rules, head, self.idle, why, trouble);
    }

    async fn build_answer(
        &self,
        asker: &AskedBy,
        head: &request::Parts,
        record: &mut Record,
        why: RequestRefusal,
        trouble: Option<&Trouble>,
    ) -> Response<Bytes> {
        let reference = Random::from_system().draw_reference();
        let place = record.place().cloned();
        let target = asker.target.as_ref().map_or("/", PathAndQuery::as_str);
        let told = Asker { kind: asker.kind(), place: place.as_ref(), target, reference: &reference };
        let mut answer = answer_refusal(why, &told);
        if let Some(place) = place.as_ref().filter(|_| answer.status() == StatusCode::SEE_OTHER)
            && target.len() > WAY_BACK
            && let Some(way) = way_back(place, target)
            && let Some(login) =
                kept_login(describe_visitor(&self.identify, asker, record, place), place, way).await
        {
            set_field(&mut answer, LOCATION, login);
        }
        record.note_decision(why.decision(), why.log_word());
        let (status, needs_page) = (answer.status(), asker.kind().is_page() && answer.body().is_empty());
        if status != StatusCode::SEE_OTHER {
            self.fill_record(head, record, why, trouble);
            record.note(|line| line.reference = Some(reference.clone()));
        }
        if let Some(place) = place.as_ref().filter(|_| needs_page && status != StatusCode::SEE_OTHER) {
            let told = why.kind_told(asker.kind());
            let refused = RefusalPage {
                status,
                kind: told,
                reference: reference.clone(),
                login_url: login_address(place, None),
            };
            page_of(
                describe_visitor(&self.identify, asker, record, place),
                asker,
                place,
                refused,
                &mut answer,
            )
            .await;
            if answer.body().is_empty() {
                *answer.body_mut() = Bytes::from(format!("{}\n", told.few_words(&reference)));
                set_field(&mut answer, CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            }
        }
        answer
    }

    /// Refuses what is no request that is read here; its connection ends with the answer.
    pub(crate) fn refuse_head(
        &self,
        head: &request::Parts,
        record: &mut Record,
        why: Malformed,
    ) -> Response<Bytes> {
        let refused = RequestRefusal::from(why);
        let reference = Random::from_system().draw_reference();
        let asker = Asker { kind: Kind::Api, place: None, target: "/", reference: &reference };
        let mut answer = answer_refusal(refused, &asker);
        set_field(&mut answer, CONNECTION, HeaderValue::from_static("close"));
        record.note_decision(refused.decision(), refused.log_word());
        self.fill_record(head, record, refused, None);
        record.note(|line| {
            line.target = None;
            line.reference = Some(reference.clone());
        });
        let address = record.line().and_then(|line| record.recorder().written_client(line.client));
        tracing::debug!(reason = why.log_word(), client = address, "a head was refused");
        answer
    }
}
