//! A login: from the app to the IdP and back, to a session of ours.
//!
//! What the IdP says is verified by `sso` before anything reads a field of it; who that is, and whether they may come
//! in, is decided by the store in one transaction. Every refusal has its reason in the log, the metric and under a
//! reference number; the browser sees the number alone.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use portcullis_keys::{Purpose, Random};
use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::Visitor;
use portcullis_sso::{Answer, Ask, Assertion, Class, Pending};
use portcullis_store::{NewSession, Origin, SignInError};

use super::flows::{self, Flows};
use super::{Own, Site};
use crate::pages::{Page, Stuck};

/// How many logins in a row may come to nothing before a page says so.
const ROUNDS: u8 = 3;

/// Why somebody was not signed in: everything the operator is told, nothing the browser is.
pub(crate) struct NotIn {
    /// One word: `reason` of the log, label of the metric.
    pub(crate) reason: &'static str,
    /// The whole sentence, with the remedy.
    pub(crate) text: String,
    /// Whether the IdP could not be asked at all.
    pub(crate) idp_down: bool,
}

impl From<portcullis_sso::Refusal> for NotIn {
    fn from(refusal: portcullis_sso::Refusal) -> Self {
        let text = format!("expected={} got={}. {}", refusal.expected, refusal.got, refusal.remedy);
        Self { reason: refusal.class.word(), text, idp_down: refusal.class == Class::Metadata }
    }
}

impl From<SignInError> for NotIn {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Refused(refusal) => {
                let text = format!("{refusal}. {}", refusal.remedy());
                Self { reason: refusal.word(), text, idp_down: false }
            }
            SignInError::Store(error) => Self::store(&error),
        }
    }
}

impl NotIn {
    fn store(error: &dyn std::fmt::Display) -> Self {
        Self { reason: STORE, text: format!("{error}"), idp_down: false }
    }
}

impl Own {
    /// `login`: only a navigation starts a flow.
    pub(crate) async fn begin(
        &self,
        site: &Site,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        if !starts_a_page(request) {
            return site.login_required();
        }
        let now = Timestamp::now();
        let query = request.uri().query().unwrap_or_default();
        let wanted = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to");
        let return_to = site.local_path(wanted.as_ref().map_or("", |(_, path)| path));
        let flows = Flows::of(request.headers(), &self.keys, visitor.app);
        let rounds = flows.rounds(now);
        if rounds >= ROUNDS {
            let reference = self.refuse(site.idp.name(), "rounds", "three logins in a row did not last: the browser loses the session cookie, or the session ends at once (look for a clock that is wrong)", visitor);
            return self.page(site, &Page::LoginStuck { cause: Stuck::EndedAtOnce, reference: &reference });
        }
        let mut random = Random::system();
        let epochs = self.sessions.epochs(OrgId::ONLY, site.idp.name());
        let ask = Ask { app: visitor.app, return_to: return_to.clone(), rounds, epochs };
        match site.idp.begin(&ask, &mut random, now).await {
            Ok((pending, location)) => {
                let mut answer = redirect(&location);
                for cookie in flows.begin(pending, &mut random, now) {
                    answer.headers_mut().append(header::SET_COOKIE, cookie);
                }
                answer
            }
            Err(refusal) => {
                let refusal = NotIn::from(refusal);
                let reference = self.refuse(site.idp.name(), refusal.reason, &refusal.text, visitor);
                let idp = site.idp.name();
                self.page(site, &Page::IdpDown { idp, return_to: &return_to, reference: &reference })
            }
        }
    }

    /// `callback/<idp>`: the IdP's answer, as the browser brought it.
    pub(crate) async fn callback(
        self: Arc<Self>,
        site: &Arc<Site>,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let now = Timestamp::now();
        let is_form = request.method() == http::Method::POST;
        let answer = match Answer::read(
            request.uri().query().unwrap_or_default(),
            is_form.then_some(request.body()),
        ) {
            Ok(answer) => answer,
            Err(refusal) => return self.not_in(site, refusal.into(), "", visitor),
        };
        let mut flows = Flows::of(request.headers(), &self.keys, visitor.app);
        let Some((cookie, pending)) = answer.state().and_then(|state| flows.take(state)) else {
            return self.without_flow(site, visitor);
        };
        let (rounds, return_to) = (pending.rounds(), pending.return_to().to_owned());
        let done = self.clone().admit(site.clone(), pending, answer, visitor.clone(), now).await;
        let mut response = match done {
            Ok(session) => {
                let mut response = redirect(&return_to);
                response.headers_mut().append(header::SET_COOKIE, session);
                if let Some(landed) = flows.land(rounds, &mut Random::system(), now) {
                    response.headers_mut().append(header::SET_COOKIE, landed);
                }
                response
            }
            Err(refusal) => self.not_in(site, refusal, &return_to, visitor),
        };
        if let Some(removal) = flows::removal(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, removal);
        }
        response
    }

    /// Verifies, then signs in and enforces in a task that nobody can drop (R5).
    async fn admit(
        self: Arc<Self>,
        site: Arc<Site>,
        pending: Pending,
        answer: Answer,
        visitor: Visitor,
        now: Timestamp,
    ) -> Result<HeaderValue, NotIn> {
        let names = visitor.detail.names_strangers();
        let down = |refusal: portcullis_sso::Refusal| {
            let refusal = if names { refusal } else { refusal.unnamed() };
            NotIn { idp_down: !site.idp.is_answering(), ..NotIn::from(refusal) }
        };
        let assertion = site.idp.finish(&pending, answer, now).await.map_err(down)?;
        let task =
            self.core.clone().spawn(async move { self.sign_in(&pending, &assertion, &visitor, now).await });
        task.await.unwrap_or_else(|error| {
            Err(NotIn {
                reason: "internal",
                text: format!("the task of the login failed: {error}"),
                idp_down: false,
            })
        })
    }

    /// Session, link, spent flow and audit record in one transaction; then enforced, for the session before this one
    /// ends with it. Returns the cookie.
    async fn sign_in(
        &self,
        pending: &Pending,
        assertion: &Assertion,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<HeaderValue, NotIn> {
        // Who is admitted is asked here, behind the wait for the IdP: a reload may have changed it meanwhile.
        let admitting = self.admitting.read().await;
        let site = self.site.load_full();
        let mut random = Random::system();
        let (id, hash) = self.keys.new_session(&mut random);
        let hint =
            self.keys.seal(Purpose::Session, &hash.0, assertion.id_token().expose().as_bytes(), &mut random);
        let session = NewSession {
            hash,
            expires: site.admission.expires(now, assertion.session_end()),
            id_token: Some(hint),
            replaces: visitor.session,
        };
        let asked = site.admission.sign_in(visitor.app, assertion, session, pending);
        let origin = Origin {
            client: visitor.detail.client(visitor.client).map(Into::into),
            reference: Some(visitor.request_id.as_str().into()),
            names: visitor.detail.names_strangers(),
            ..Origin::of("login")
        };
        let signed_in = self.store.sign_in(asked, &origin, now).await.map_err(|error| match error {
            SignInError::Refused(refusal) if !origin.names => {
                SignInError::Refused(Box::new(refusal.unnamed()))
            }
            error => error,
        })?;
        drop(admitting);
        let signed_in = self.revocation.enforce(signed_in).await.map_err(|error| NotIn::store(&error))?;
        self.metrics.login("accepted");
        let named = site.admission.user_from.of(&signed_in.facts).ok();
        let user = visitor.detail.user(&signed_in.facts, named.as_deref());
        let account = visitor.detail.names_strangers().then_some(signed_in.account.0);
        tracing::info!(idp = assertion.idp(), user = user.as_deref(), account, session = ?hash, trace = %visitor.request_id, first = signed_in.is_first, "signed in");
        let cookie = self.keys.seal_cookie(visitor.app, &id);
        flows::set(&site.cookie, cookie.expose(), None)
            .ok_or_else(|| NotIn::store(&"the cookie could not be written"))
    }

    /// An answer whose flow is gone: it came late, twice, or without its cookie.
    fn without_flow(&self, site: &Site, visitor: &Visitor) -> Response<Bytes> {
        if visitor.session.is_some() {
            // Whoever is signed in goes where they would have gone; who is not is asked again there.
            return redirect(&site.home);
        }
        let text = "expected=the cookie of the login that this answer belongs to got=none. The browser must accept \
                    cookies of the app's host, and the answer must come within 10 minutes, once";
        let reference = self.refuse(site.idp.name(), Class::State.word(), text, visitor);
        self.page(site, &Page::LoginStuck { cause: Stuck::CookieLost, reference: &reference })
    }

    fn not_in(&self, site: &Site, refusal: NotIn, return_to: &str, visitor: &Visitor) -> Response<Bytes> {
        let reference = self.refuse(site.idp.name(), refusal.reason, &refusal.text, visitor);
        let idp = site.idp.name();
        let page = if refusal.idp_down {
            Page::IdpDown { idp, return_to, reference: &reference }
        } else if refusal.reason == STORE {
            Page::Unavailable { reference: &reference }
        } else {
            Page::LoginRefused { reference: &reference }
        };
        self.page(site, &page)
    }
}

/// The reason of a login that the store could not answer.
pub(crate) const STORE: &str = "store";

/// Whether the request is the start of a page in a window: a navigation, and no prefetch (Fetch Metadata).
fn starts_a_page(request: &Request<Bytes>) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let prefetch =
        ["purpose", "sec-purpose"].iter().any(|name| header(name).is_some_and(|v| v.contains("prefetch")));
    let navigates = match header("sec-fetch-mode") {
        Some(mode) => mode == "navigate" && header("sec-fetch-dest").is_none_or(|dest| dest == "document"),
        None => header("accept").is_some_and(|accept| accept.contains("text/html")),
    };
    navigates && !prefetch && matches!(*request.method(), http::Method::GET | http::Method::HEAD)
}

/// A redirect of ours: never cached, never a method kept.
pub(crate) fn redirect(to: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    answer.headers_mut().insert(header::LOCATION, location);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
