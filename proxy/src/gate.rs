//! The gate: the table of contents of a request. Accept, Route, Identify, Decide, Forward, Record, one after another.
//!
//! A request goes up only with an [`Open`], which holds the leave that `Policy::decide` alone gives, and a place in the
//! register of exchanges that stands on that leave: a person's, or under a public rule nobody's. A fault anywhere ends in
//! an answer, never in forwarding.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Response, StatusCode, request};
use portcullis_keys::Keyring;
use portcullis_policy::{Decision, DenyReason, Route, RouteKey};
use portcullis_session::{Enrolment, Sessions};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use crate::access_log::AccessLog;
use crate::answer::{AskedBy, LargeBodies, Refuse, RequestRefusal, finish_answer, serve_own};
use crate::answer_body::{AnswerBody, CarriedExchange};
use crate::assertion::AssertionSigner;
use crate::clock::Waits;
use crate::exchange::Exchange;
use crate::field_set::{FieldKind, FieldSet};
use crate::latency::Exemplars;
use crate::line::Line;
use crate::metrics::Metrics;
use crate::open::Open;
use crate::origin;
use crate::peer::Peer;
use crate::request::GateRequest;
use crate::rooms::accept;
use crate::rooms::forward::{Failed, Forward};
use crate::rooms::identify::{Identify, Load, SessionSearch};
use crate::rooms::record::Record;
use crate::rooms::recorder::Recorder;
use crate::rules::Rules;
use crate::trace::Trace;
use crate::upload::Upload;
use crate::wire::Malformed;

/// The number of times that a request is decided anew because roles or rules moved meanwhile. No loop of the gate is
/// unbounded.
const ROUNDS: usize = 3;

/// The parts that the program hands to [`Gate::new`].
pub struct Parts {
    /// The first rules.
    pub rules: Rules,
    /// The sessions of this process.
    pub sessions: Arc<Sessions>,
    /// The keys that open cookies.
    pub keys: Arc<Keyring>,
    /// The key that signs who is there.
    pub signer: Arc<AssertionSigner>,
    /// The seam to the store.
    pub load: Load,
    /// The log that lines go to.
    pub log: AccessLog,
    /// The channel that lines with a reference number go to as well; a full channel drops them.
    pub references: Option<mpsc::Sender<Line>>,
    /// The longest wait of a connection between requests, and a body between two pieces, either way.
    pub idle: Duration,
}

/// Everything a request is decided with: the rooms, each with the handles it needs and no others. Accept comes with the
/// rules, since a reload changes it with them.
pub struct Gate {
    rules: Arc<ArcSwap<Rules>>,
    identify: Arc<Identify>,
    /// Whoever is in without a session stands in its register of strangers.
    sessions: Arc<Sessions>,
    forward: Forward,
    refuse: Refuse,
    /// Turns at a body for a page of ours that is larger than most.
    large_bodies: LargeBodies,
    pub(crate) recorder: Arc<Recorder>,
}

/// The fate of a request that is not refused.
#[derive(Debug)]
pub enum GateVerdict {
    /// It is one of our own pages.
    Own,
    /// It goes up.
    Open(Open),
}

impl Gate {
    /// Joins the parts; what it counts is registered.
    pub fn new(parts: Parts, registry: &mut Registry) -> Arc<Self> {
        let Parts { rules, sessions, keys, signer, load, log, references, idle } = parts;
        sessions.strangers_quiet_after(i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        let detail = ArcSwap::from_pointee(rules.log);
        let recorder = Arc::new(Recorder { metrics: Metrics::register(registry), log, references, detail });
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let identify = Arc::new(Identify::new(sessions.clone(), keys, load, &recorder.metrics));
        Arc::new(Self {
            sessions,
            forward: Forward::new(&recorder.metrics, signer),
            refuse: Refuse::new(rules.clone(), identify.clone(), idle),
            identify,
            large_bodies: LargeBodies::new(),
            rules,
            recorder,
        })
    }

    /// The requests by which what it measures can be followed.
    pub fn exemplars(&self) -> Exemplars {
        self.recorder.metrics.exemplars()
    }

    /// Whoever is at the other end of a new socket.
    pub fn make_peer(&self, address: IpAddr) -> Arc<Peer> {
        Arc::new(Peer::new(address, self.recorder.clone()))
    }

    /// The same of a proxy that passes on a client it does not name.
    pub(crate) fn make_unnamed_peer(&self, address: IpAddr) -> Arc<Peer> {
        Arc::new(Peer::new(address, self.recorder.clone()).of_unnamed_client())
    }

    /// Serves one request: the six rooms, and the way to its answer.
    pub(crate) async fn serve_request(
        self: Arc<Self>,
        serving: CarriedExchange,
        waits: Arc<Waits>,
        mut head: Box<request::Parts>,
        upload: Option<Upload>,
        bytes: usize,
    ) -> Response<AnswerBody> {
        let mut has = FieldSet::of_headers(&head.headers);
        let asks_to_switch = has.has(FieldKind::Upgrade);
        let closes = asks_to_switch && !serving.client().is_h2();
        let mut is_websocket = false;
        if asks_to_switch {
            accept::drop_unwanted_upgrade(&mut head);
            accept::keep_apart(&mut head);
            has = FieldSet::of_headers(&head.headers);
            is_websocket = has.has(FieldKind::Upgrade);
        }
        let client = serving.client().clone();
        let asked = GateRequest { parts: &head, has, bytes, peer: &client.peer, exchange: &waits.in_flight };
        let mut record = self.begin_record(&asked);
        let mut answer = match self.pass(&asked, &mut record).await {
            Ok(GateVerdict::Open(open)) => {
                record.note_pass(open.pass());
                let exchange = Exchange::new(open, waits, record);
                match self.forward.send_request(serving, exchange, head, has, upload, is_websocket).await {
                    Ok(answer) => answer, // Record with its last byte
                    Err(failed) => self.answer_for_application(failed).await,
                }
            }
            Ok(GateVerdict::Own) => self.own_page(serving, &client.peer, &head, upload, record).await,
            Err(why) => self.refuse_request(serving, &head, upload, record, why).await,
        };
        if closes && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            // What a client sent behind its request for another protocol cannot be told from a request.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// Serves one of our own pages.
    async fn own_page(
        &self,
        serving: CarriedExchange,
        peer: &Peer,
        head: &request::Parts,
        mut upload: Option<Upload>,
        mut record: Record,
    ) -> Response<AnswerBody> {
        let mut asker = self.note_asker(head, &mut record);
        let page = match serve_own(
            &self.identify,
            &self.large_bodies,
            &mut asker,
            head,
            peer,
            &mut upload,
            &mut record,
        )
        .await
        {
            Ok(page) => page,
            Err(why) => self.refuse.refuse_request(&asker, head, upload, &mut record, why).await,
        };
        finish_answer(serving, record, &head.method, page)
    }

    /// Refuses a request.
    async fn refuse_request(
        &self,
        serving: CarriedExchange,
        head: &request::Parts,
        upload: Option<Upload>,
        mut record: Record,
        why: RequestRefusal,
    ) -> Response<AnswerBody> {
        let asker = self.note_asker(head, &mut record);
        let page = self.refuse.refuse_request(&asker, head, upload, &mut record, why).await;
        finish_answer(serving, record, &head.method, page)
    }

    /// Answers where the application, or the client, failed.
    async fn answer_for_application(&self, mut failed: Box<Failed>) -> Response<AnswerBody> {
        let Failed { asker, record, why, trouble, .. } = &mut *failed;
        let page = self.refuse.for_application(asker, record, *why, trouble.as_ref()).await;
        let Failed { serving, record, method, .. } = *failed;
        finish_answer(serving, record, &method, page)
    }

    /// Refuses what is no request that is read here; its connection ends with the answer.
    pub(crate) fn refuse_head(
        &self,
        serving: CarriedExchange,
        waits: &Waits,
        why: Malformed,
    ) -> Response<AnswerBody> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = Method::from_bytes(b"-").unwrap_or_default();
        let client = serving.client().clone();
        let request = GateRequest::new(&head, 0, &client.peer, &waits.in_flight);
        let mut record = self.begin_record(&request);
        let answer = self.refuse.refuse_head(&head, &mut record, why);
        finish_answer(serving, record, &Method::GET, answer)
    }

    /// Notes what a refusal, or a page of ours, needs to know of who asks.
    fn note_asker(&self, head: &request::Parts, record: &mut Record) -> AskedBy {
        let asker = AskedBy::from_head(head, FieldSet::of_headers(&head.headers));
        let Some(place) = record.place() else { return asker };
        let session = self.identify.spoken_of(&head.headers, place);
        let asker = asker.for_place(&head.headers, place).with_session(session);
        record.note(|line| line.is_known = session.is_some());
        asker
    }

    /// The record of a request that has just been read.
    pub fn begin_record(&self, request: &GateRequest<'_>) -> Record {
        Record::new(request)
    }

    /// The rooms up to the decision. Needs no socket.
    ///
    /// # Errors
    /// [`RequestRefusal`]. The record has learned by then whatever was found out.
    pub async fn pass(
        &self,
        request: &GateRequest<'_>,
        record: &mut Record,
    ) -> Result<GateVerdict, RequestRefusal> {
        let mut search = SessionSearch::default();
        for _ in 0..ROUNDS {
            let rules = self.rules.load(); // one file a round
            let from_proxy = request.peer.is_trusted(&rules.accept.trusted);
            let head = rules.accept.read_head(request.parts, request.has, request.bytes, request.peer)?; // Accept
            record.note_accepted(&head, || Trace::from_headers(head.headers, from_proxy));
            let place = request.peer.find_place(&rules, head.host);
            record.note_place(place.as_ref());
            drop(rules); // the place holds them from here on
            let place = place.ok_or(DenyReason::UnknownHost)?;
            let policy = place.rules().policy();
            let asked = RouteKey { host: head.host, target: head.target, method: head.method };
            let route = policy.find_route(&asked)?; // Route: the rules of every reading, or a page of ours
            if place.app().id != route.app().id {
                return Err(RequestRefusal::Fault);
            }
            if let Route::Ours { .. } = route {
                return Ok(GateVerdict::Own);
            }
            if head.is_upgrade && origin::is_foreign(head.headers, &place) {
                return Err(RequestRefusal::OtherSite);
            }
            let enrolment = if route.asks_who() {
                let found =
                    self.identify.find_session(&head, &place, request, &mut search, record.time()).await; // Identify
                if let Some(fault) = search.untold.take() {
                    record.note(|line| line.untold = Some(Box::new(fault)));
                }
                found?
            } else {
                None
            };
            let Ok(who) = enrolment.as_ref().map(Enrolment::current_principal).transpose() else {
                search.cold = true; // stale: the next round takes the cold road
                continue;
            };
            record.note_person(enrolment.as_ref(), who.as_ref());
            match policy.decide(&route, who.as_deref(), head.method, head.target) {
                Decision::Allow(pass) => {
                    let person = enrolment.zip(who);
                    if let Some(open) =
                        Open::put_on_pass(&self.sessions, place, pass, person, request.exchange)
                    {
                        return Ok(GateVerdict::Open(open));
                    }
                }
                Decision::Login => return Err(RequestRefusal::Login),
                Decision::Deny(reason) => return Err(RequestRefusal::Denied(reason)),
            }
        }
        Err(RequestRefusal::Unproven)
    }

    /// Tells whether a proxy at this address is believed.
    pub(crate) fn trusts_proxy(&self, address: IpAddr) -> bool {
        self.rules.load().accept.trusted.contains(address.to_canonical())
    }

    /// Takes new rules for every decision that begins from now on. The register is looked through afterwards, by
    /// [`Sessions::review`] (rule R4).
    pub fn replace_rules(&self, rules: Rules) {
        self.recorder.detail.store(Arc::new(rules.log));
        self.rules.store(Arc::new(rules));
    }
}

#[cfg(test)]
mod tests {
    use portcullis_session::InFlight;

    use super::*;
    use crate::test::{self, PEER};

    async fn ask(gate: &Arc<Gate>, uri: &str, host: &str) -> Result<GateVerdict, RequestRefusal> {
        let request = http::Request::builder().uri(uri).header("host", host).body(()).unwrap();
        let (parts, exchange) = (request.into_parts().0, InFlight::new());
        let peer = gate.make_peer(PEER);
        let request = GateRequest::new(&parts, 1, &peer, &exchange);
        let mut record = gate.begin_record(&request);
        gate.pass(&request, &mut record).await
    }

    #[tokio::test]
    async fn the_rooms_need_no_socket() {
        let gate = test::gate();
        assert!(matches!(ask(&gate, "/.portcullis/login", "wiki.test").await, Ok(GateVerdict::Own)));
        assert!(matches!(ask(&gate, "/page", "wiki.test:443").await, Err(RequestRefusal::Login)));
        let unknown = RequestRefusal::Denied(portcullis_policy::DenyReason::UnknownHost);
        assert_eq!(ask(&gate, "/page", "other.test").await.err(), Some(unknown));
    }
}
