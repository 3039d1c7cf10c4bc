//! Forward: the request as the application sees it, and the answer as the client does.
//!
//! It alone writes identity headers, cuts our cookie out and picks the upstream, and it is given a request only with a
//! [`portcullis_policy::Pass`]. Each direction is one pass over the fields: everything that must go, goes before
//! anything of ours is written. `X-Forwarded-Proto` and the host come from the public URL, never from the client.

use std::borrow::Cow;
use std::future::pending;
use std::sync::Arc;

use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    STRICT_TRANSPORT_SECURITY, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode, Version, request, response};
use portcullis_policy::{Principal, Timestamp};

use crate::answer::{AskedBy, RequestRefusal, Trouble};
use crate::answer_body::{AnswerBody, CarriedExchange};
use crate::assertion::AssertionSigner;
use crate::client::Client;
use crate::clock::Wait;
use crate::exchange::Exchange;
use crate::field_set::{FieldKind, FieldSet};
use crate::hop::of_this_hop;
use crate::line::Over;
use crate::metrics::{Counter, Metrics};
use crate::networks::X_FORWARDED_FOR;
use crate::peer::Peer;
use crate::rooms::record::Record;
use crate::rules::{AppRules, Site};
use crate::strip::Strip;
use crate::told::Told;
use crate::trace::Trace;
use crate::trailers::Trailers;
use crate::tunnel::{self, Tunnel};
use crate::upload::{Upload, UploadFault};
use crate::upstream::{self, Download, UpstreamFault};
use crate::{caching, cookies};

/// The fields of a client as the application finds them, and what Portcullis adds to them.
#[derive(Debug)]
pub struct Rewritten {
    /// The lines that are ours.
    pub told: Told,
    /// The number of fields that a client may not say.
    pub stripped: usize,
}

/// Makes a client's fields into what goes up. What is ours to say stands beside them: whatever a client said under those
/// names is gone.
///
/// `who` is `None` under a public rule: then nobody's identity goes up.
pub fn rewrite_outgoing(
    headers: &mut HeaderMap,
    place: &AppRules,
    who: Option<&Principal>,
    peer: &Peer,
    trace: &Trace,
) -> Rewritten {
    let has = FieldSet::of_headers(headers);
    rewrite_known(headers, has, (place, None), who, peer, trace)
}

/// `has`: the fields there are, or were before some were taken out. Behind the place stands the name of the upstream, where
/// it is not the app's own.
fn rewrite_known(
    headers: &mut HeaderMap,
    has: FieldSet,
    (place, upstream): (&AppRules, Option<&str>),
    who: Option<&Principal>,
    peer: &Peer,
    trace: &Trace,
) -> Rewritten {
    let accept = &place.rules().accept;
    let from_proxy = peer.is_trusted(&accept.trusted);
    let mut told = Told::new();
    if let Some(who) = who {
        told.add_lines(who.identity_lines());
    }
    let way = place.way(upstream);
    told.add_told(&way.told);
    match came_by(headers, peer, from_proxy) {
        Some(way) => told.add_field(&X_FORWARDED_FOR, &way),
        None => told.add_told(peer.told()),
    }
    trace.tell(&mut told);
    let stripped = accept.strip.clean_headers(headers, has, from_proxy);
    if has.has(FieldKind::Cookie) {
        cookies::cut_out(headers);
    }
    headers.insert(HOST, way.host.clone());
    Rewritten { told, stripped }
}

/// `X-Forwarded-For` where a trusted proxy said one: that, then our peer.
fn came_by(headers: &HeaderMap, peer: &Peer, from_proxy: bool) -> Option<HeaderValue> {
    if !from_proxy || !headers.contains_key(X_FORWARDED_FOR) {
        return None;
    }
    let mut all = BytesMut::new();
    for field in headers.get_all(X_FORWARDED_FOR) {
        all.extend_from_slice(field.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(peer.address_text().as_bytes());
    HeaderValue::from_maybe_shared(all.freeze()).ok()
}

/// Makes an application's fields into what the client is told. Says how many cookies of ours it tried
/// to set.
pub fn rewrite_incoming(headers: &mut HeaderMap, site: &Site, is_public: bool, switches: bool) -> usize {
    let came = FieldSet::of_headers(headers);
    let trailers = Trailers::read_announced(headers, came, &Strip::default());
    of_this_hop(headers, came);
    // `Connection` may have taken out any of them.
    let has = if came.has(FieldKind::Connection) { FieldSet::of_headers(headers) } else { came };
    if !has.has(FieldKind::ContentLength) {
        announce_trailers(headers, &trailers);
    }
    let refused = if has.has(FieldKind::SetCookie) { cookies::refuse_set(headers) } else { 0 };
    if !is_public && !switches {
        caching::make_private(headers, has);
    }
    if let Some(hsts) = site.hsts().filter(|_| !switches && !has.has(FieldKind::StrictTransport)) {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    refused
}

/// Says in a head which fields follow its body. To HTTP/1.1 the library writes no others.
fn announce_trailers(headers: &mut HeaderMap, trailers: &Trailers) {
    if let Some(field) = trailers.announcing_field() {
        headers.insert(TRAILER, field);
    }
}

/// Tells whether an answer is a stream by nature, one that is cut when its person changes (rule R8).
pub(crate) fn is_stream(status: http::StatusCode, headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let starts = |with: &[u8]| kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    status == http::StatusCode::SWITCHING_PROTOCOLS
        || starts(b"text/event-stream")
        || starts(b"application/grpc")
}

/// The room that takes requests up, and answers down.
pub(crate) struct Forward {
    signer: Arc<AssertionSigner>,
    headers_stripped: Counter,
    set_cookies_refused: Counter,
    slow: Counter,
    unreachable: Counter,
}

/// A request that went up, and to which the application gave no answer.
pub(crate) struct Failed {
    pub(crate) serving: CarriedExchange,
    pub(crate) asker: AskedBy,
    pub(crate) method: Method,
    pub(crate) record: Record,
    pub(crate) why: RequestRefusal,
    /// The fault of the application, where it is the application.
    pub(crate) trouble: Option<Trouble>,
}

impl Forward {
    pub(crate) fn new(metrics: &Metrics, signer: Arc<AssertionSigner>) -> Self {
        Self {
            signer,
            headers_stripped: metrics.headers_stripped.clone(),
            set_cookies_refused: metrics.set_cookies_refused.clone(),
            slow: metrics.slow.clone(),
            unreachable: metrics.unreachable.clone(),
        }
    }

    /// Takes a request up, and its answer down. `has`: the fields of its head. One that asks to switch protocols asks for a
    /// WebSocket: Accept has left nothing else.
    ///
    /// # Errors
    /// [`Failed`] where there is no answer to take down.
    pub(crate) async fn send_request(
        &self,
        serving: CarriedExchange,
        mut exchange: Exchange,
        mut head: Box<request::Parts>,
        has: FieldSet,
        mut upload: Option<Upload>,
        asks_to_switch: bool,
    ) -> Result<Response<AnswerBody>, Box<Failed>> {
        let session = exchange.open.session();
        if let Some(session) = session {
            serving.client().note_account(session.account());
        }
        let asker = AskedBy::from_head(&head, has).with_session(session.map(|session| session.hash()));
        let method = head.method.clone();
        let (trailers, told) = self.rewrite_head(&mut exchange, &mut head, has, serving.client());
        let place = exchange.place().clone();
        let upstream = place.upstream(exchange.open.pass());
        let mut accept = None;
        let sent = if asks_to_switch {
            accept = tunnel::ask_for(&mut head.headers);
            upstream::ask_alone(upstream, head, &told, &exchange.waits).await
        } else {
            match &mut upload {
                Some(upload) => {
                    exchange.takes_along(upload);
                    // A body without a length goes up in chunks, whatever the method: it is never left out.
                    if !head.headers.contains_key(CONTENT_LENGTH) {
                        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                        announce_trailers(&mut head.headers, &trailers);
                        upload.announce_trailers(trailers);
                    }
                }
                // RFC 9110 §8.6: an empty body is said to be empty where one could be meant.
                None if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
                    head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
                }
                None => {}
            }
            upstream::send_request(upstream, head, &told, upload, &exchange.waits).await
        };
        exchange.waits.disarm(Wait::Answer);
        let fault = match sent {
            Ok((head, _)) if head.status == StatusCode::SWITCHING_PROTOCOLS && !asks_to_switch => {
                // Passed on, it would turn one connection's end into another protocol than its beginning.
                UpstreamFault::Answer("switches protocols, which was not asked for")
            }
            Ok((head, _))
                if head.status == StatusCode::SWITCHING_PROTOCOLS
                    && !tunnel::is_agreed(&head.headers, accept.as_deref()) =>
            {
                UpstreamFault::Answer("switches to something else than was asked for")
            }
            Ok((head, download)) => return Ok(self.pass_down(serving, exchange, head, download).await),
            Err(fault) => fault,
        };
        let (record, why, trouble) = self.fail(exchange, &fault).await;
        Err(Box::new(Failed { serving, asker, method, record, why, trouble }))
    }

    /// Makes the client's head into what goes up; says which fields may follow its body, and what is told beside it.
    fn rewrite_head(
        &self,
        exchange: &mut Exchange,
        head: &mut request::Parts,
        has: FieldSet,
        client: &Client,
    ) -> (Trailers, Told) {
        let strip = &exchange.place().rules().accept.strip;
        let trailers = Trailers::read_announced(&head.headers, has, strip);
        of_this_hop(&mut head.headers, has);
        let trace = exchange.record.line().and_then(|line| line.trace.as_ref());
        let trace =
            trace.map_or_else(|| Cow::Owned(Trace::from_headers(&head.headers, false)), Cow::Borrowed);
        let (place, who) = (exchange.open.place(), exchange.open.who());
        let upstream = exchange.open.pass().upstream();
        let Rewritten { mut told, stripped } = rewrite_known(
            &mut head.headers,
            has,
            (place, upstream),
            who.map(|who| &**who),
            &client.peer,
            &trace,
        );
        if let Some((who, session)) = who.zip(exchange.open.session())
            && let Some(claims) = who.claims()
        {
            self.signer.tell((who, claims), session, upstream, Timestamp::now(), &mut told);
        }
        if stripped > 0 {
            self.headers_stripped.inc_by(stripped as u64);
        }
        if head.uri.authority().is_some()
            && let Some(target) = head.uri.path_and_query().cloned()
        {
            head.uri = target.into();
        }
        let asked = head.uri.path_and_query();
        if let Some(seen) = asked.and_then(|asked| exchange.open.upstream().seen_target(asked)) {
            head.uri = seen.into();
        }
        head.version = Version::HTTP_11;
        head.extensions.clear(); // the library's own, of the client's connection
        (trailers, told)
    }

    /// Makes the application's head into what the client is told. A stream whose person has changed meanwhile is cut
    /// here, before its head is passed on (rule R8).
    async fn pass_down(
        &self,
        serving: CarriedExchange,
        mut exchange: Exchange,
        mut head: response::Parts,
        download: Download,
    ) -> Response<AnswerBody> {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_bridged = switches && serving.client().is_h2();
        exchange.record.note_status(if is_bridged { StatusCode::OK } else { head.status }.as_u16());
        let is_stream = is_stream(head.status, &head.headers);
        if is_stream {
            exchange.waits.become_stream();
        }
        if let Err(ended) = exchange.open.begin_answer(is_stream) {
            exchange.record.cut_short(ended);
            exchange.waits.end();
            return pending().await;
        }
        let is_public = exchange.open.pass().is_public();
        let refused = rewrite_incoming(&mut head.headers, exchange.place().site(), is_public, switches);
        if refused > 0 {
            self.set_cookies_refused.inc_by(refused as u64);
        }
        head.version = Version::HTTP_11;
        if !switches {
            return Response::from_parts(head, AnswerBody::of_application(serving, exchange, download));
        }
        head.headers.remove(CONTENT_LENGTH);
        head.extensions.clear();
        let (client, stream) = (serving.client().clone(), serving.stream());
        let tunnel = download.into_connection().map(|connection| {
            let (socket, early) = connection.into_socket();
            Tunnel::new(socket, early, exchange, move || serving.client().flow.note_piece())
        });
        match stream {
            None => {
                head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                *client.tunnel.lock() = tunnel;
            }
            // RFC 8441 §5.1: over HTTP/2 success is 200, and the accept key has no place.
            Some(stream) => {
                head.status = StatusCode::OK;
                head.headers.remove(SEC_WEBSOCKET_ACCEPT);
                tunnel.into_iter().for_each(|tunnel| stream.switch_to(tunnel));
            }
        }
        Response::from_parts(head, AnswerBody::of_switch(client))
    }

    /// Takes an exchange out of the register whose application or client failed, and says what it is to be answered
    /// with. A client that is gone is answered nothing.
    async fn fail(
        &self,
        mut exchange: Exchange,
        fault: &UpstreamFault,
    ) -> (Record, RequestRefusal, Option<Trouble>) {
        let why = match fault {
            UpstreamFault::Upload(UploadFault::Gone) => {
                exchange.record.note_end(Over::Client);
                exchange.waits.end();
                return pending().await;
            }
            UpstreamFault::Upload(UploadFault::Slow) => RequestRefusal::BodySlow,
            UpstreamFault::Upload(UploadFault::Malformed(why)) => RequestRefusal::from(*why),
            UpstreamFault::Late => RequestRefusal::Slow,
            // The application has no part in it, and anybody can ask for it.
            UpstreamFault::Unfit(_) => {
                RequestRefusal::Unacceptable("not_carried", StatusCode::NOT_IMPLEMENTED)
            }
            UpstreamFault::Connect(_) | UpstreamFault::Ended(_) | UpstreamFault::Answer(_) => {
                RequestRefusal::Unreachable
            }
        };
        match why {
            RequestRefusal::Slow => drop(self.slow.inc()),
            RequestRefusal::Unreachable => drop(self.unreachable.inc()),
            _ => {}
        }
        let is_ours = matches!(why, RequestRefusal::Slow | RequestRefusal::Unreachable);
        let trouble = is_ours.then(|| Trouble::from_fault(fault, false, exchange.open.upstream()));
        (exchange.into_record(), why, trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::{self, PEER};
    use proptest::prelude::*;
    use std::net::IpAddr;

    /// The fields as the application finds them.
    fn up(fields: &[(&str, &str)], peer: IpAddr) -> HeaderMap {
        let who = test::alice(test::place().rules().policy());
        gone_up(fields, Some(&who), peer)
    }

    fn gone_up(fields: &[(&str, &str)], who: Option<&Principal>, peer: IpAddr) -> HeaderMap {
        let mut headers = test::fields(fields);
        let (peer, trace) = (test::gate().make_peer(peer), Trace::from_headers(&HeaderMap::new(), false));
        let told = rewrite_outgoing(&mut headers, &test::place(), who, &peer, &trace).told;
        for (name, value) in &told.fields() {
            headers.append(name, value.clone());
        }
        headers
    }

    #[test]
    fn the_application_is_told_who_where_and_how() {
        let up = up(&[("host", "wiki.test:81"), ("accept", "*/*"), ("cookie", "a=1")], PEER);
        for (name, value) in [
            ("host", "wiki.test"),
            ("x-forwarded-host", "wiki.test"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-user", "alice"),
            ("x-forwarded-email", "alice@wiki.test"),
            ("x-forwarded-groups", "Owners"),
            ("accept", "*/*"),
            ("cookie", "a=1"),
        ] {
            assert_eq!(up.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(up["x-request-id"].len(), 32);
    }

    #[test]
    fn nothing_a_client_says_of_identity_or_way_is_left() {
        let forged = up(
            &[
                ("X_Forwarded_User", "mallory"),
                ("x-forwarded-user", "mallory"),
                ("x-forwarded-for", "127.0.0.1"),
                ("X_Forwarded_For", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "evil.test"),
                ("forwarded", "for=127.0.0.1"),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("cookie", "__Host-portcullis-00000000=stolen"),
            ],
            PEER,
        );
        let plain = up(&[], PEER);
        let names = |headers: &HeaderMap| {
            let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&forged), names(&plain));
        assert_eq!(forged.get_all("x-forwarded-user").iter().collect::<Vec<_>>(), ["alice"]);
        assert_eq!(forged["x-forwarded-for"], "198.51.100.9");
    }

    #[test]
    fn a_trusted_proxy_is_added_to_not_replaced() {
        let proxy = IpAddr::from([10, 0, 0, 1]);
        let up = up(
            &[
                ("x-forwarded-for", "203.0.113.1"),
                ("x-forwarded-for", "203.0.113.2"),
                ("x-real-ip", "9.9.9.9"),
            ],
            proxy,
        );
        assert_eq!(up["x-forwarded-for"], "203.0.113.1, 203.0.113.2, 10.0.0.1");
        assert_eq!(up["x-real-ip"], "9.9.9.9");
        assert_eq!(up["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_public_rule_tells_nobodys_name() {
        assert!(!gone_up(&[("x-forwarded-user", "mallory")], None, PEER).contains_key("x-forwarded-user"));
    }

    #[test]
    fn answers_are_private_and_keep_to_https() {
        let place = test::place();
        let down = |fields: &[(&str, &str)], public| {
            let mut headers = test::fields(fields);
            rewrite_incoming(&mut headers, place.site(), public, false);
            headers
        };
        let answer = down(&[("cache-control", "public"), ("alt-svc", "h3=\":443\"")], false);
        assert_eq!(answer["cache-control"], "private");
        assert_eq!(answer["strict-transport-security"], "max-age=31536000");
        assert!(!answer.contains_key("alt-svc"));
        let own = down(&[("strict-transport-security", "max-age=1"), ("cache-control", "public")], true);
        assert_eq!(own["strict-transport-security"], "max-age=1");
        assert_eq!(own["cache-control"], "public");
        assert!(!own.contains_key("vary"));
        let named = [("connection", "strict-transport-security, cache-control"), ("cache-control", "public")];
        let named = down(&[&named[..], &[("strict-transport-security", "max-age=1")]].concat(), false);
        assert_eq!(
            named["strict-transport-security"], "max-age=31536000",
            "what was of one hop is not there"
        );
        assert_eq!(named["cache-control"], "private, no-cache");
    }

    #[test]
    fn what_is_of_one_hop_or_named_so_is_taken_out() {
        let left = |fields: &[(&str, &str)]| {
            let mut headers = test::fields(fields);
            let has = FieldSet::of_headers(&headers);
            of_this_hop(&mut headers, has);
            headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        for name in [
            "Connection",
            "Upgrade",
            "Keep-Alive",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Expect",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "HTTP2-Settings",
            "Alt-Svc",
        ] {
            assert_eq!(left(&[("a", "1"), (name, "x"), (name, "y"), ("b", "2")]), ["a", "b"], "{name}");
        }
        let named = [("x-one", "1"), ("connection", "X-One, content-length"), ("content-length", "3")];
        assert_eq!(left(&named), ["content-length"]);
        assert_eq!(left(&[("x-one", "1"), ("te-x", "2")]), ["x-one", "te-x"]);
    }

    #[test]
    fn streams_are_known_by_their_head() {
        let is = |status: u16, kind| {
            is_stream(status.try_into().unwrap(), &test::fields(&[("content-type", kind)]))
        };
        assert!(is(101, ""));
        assert!(is(200, "Text/Event-Stream; charset=utf-8"));
        assert!(is(200, "application/grpc+proto"));
        assert!(!is(200, "text/html"));
    }

    proptest! {
        /// Whatever fields a client sends, in whatever spelling: the identity fields are exactly the person's, and no
        /// other name folds onto one of them.
        #[test]
        fn identity_is_exactly_ours(
            fields in prop::collection::vec(("[xX][-_.][fF]orwarded[-_.~](user|email|groups|roles|preferred[-_]username)|[a-z_.-]{1,12}", "[ -~]{0,12}"), 0..12),
            trusted: bool,
        ) {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let peer = if trusted { IpAddr::from([10, 0, 0, 1]) } else { PEER };
            let up = up(&fields, peer);
            let who = test::alice(test::place().rules().policy());
            for (name, value) in &up {
                let folded: String = name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                if portcullis_policy::IDENTITY_HEADERS.contains(&folded.as_str()) {
                    let said = (name.clone(), value.clone());
                    prop_assert!(who.identity_headers().contains(&said), "{}: {:?}", name, value);
                }
            }
            let ours = ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "traceparent"];
            for name in who.identity_headers().iter().map(|(name, _)| name.as_str()).chain(ours) {
                prop_assert_eq!(up.get_all(name).iter().count(), 1, "{}", name);
            }
        }
    }
}
