//! A login: from the app to the IdP and back, to a session of ours.
//!
//! What the IdP says is verified by `sso` before anything reads a field of it; who that is, and whether they may come
//! in, is decided by the store in one transaction. Every refusal has its reason in the log, the metric and under a
//! reference number; the browser sees the number alone.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use portcullis_keys::{Purpose, Random, sha256};
use portcullis_policy::{OrgId, SessionHash, Timestamp, UserFrom, shown};
use portcullis_proxy::{Kind, RefusalKind, Visitor};
use portcullis_session::Committed;
use portcullis_sso::{Ask, Assertion, AuthorizationResponse, Class, Departure, Idp, Pending};
use portcullis_store::{AdmissionRefusal, LoggedIn, LoginError, NewSession, Origin};

use super::flows::{Flows, Tab};
use super::reasons::{BUSY, INTERNAL, ROUNDS_IN_A_ROW, STORE, TRIES};
use super::set_cookie::{remove_cookie, set_cookie};
use super::site::{AskedSite, OwnSite, SiteIdp};
use super::tries::Enough;
use super::{Own, choice, login_required};
use crate::pages::{Page, Stuck};
use crate::revocation::NotDone;

/// The logins in a row that may come to nothing before a page says so.
const ROUNDS: u8 = 3;

/// A login that failed: everything the operator is told, nothing the browser is.
pub(crate) struct NotIn {
    /// One word: `reason` of the log, label of the metric.
    pub(crate) reason: &'static str,
    /// The whole sentence, with the remedy.
    pub(crate) text: String,
    /// The advice for the person.
    pub(crate) told: LoginAdvice,
    /// The subject's name at the IdP, as far as it was verified and may be written down.
    pub(crate) subject: Option<String>,
}

/// Somebody is in, by the terms of one configuration.
struct EnteredSite {
    signed_in: LoggedIn,
    site: Arc<OwnSite>,
    user_from: UserFrom,
}

/// A login whose answer was judged.
pub(super) struct Landing<'a> {
    pub(super) entry: &'a SiteIdp,
    /// The name of the cookie that held it.
    pub(super) cookie: &'a str,
    pub(super) rounds: u8,
    pub(super) return_to: &'a str,
    /// The number that the log, the audit and a page call it by.
    pub(super) reference: String,
    pub(super) now: Timestamp,
}

/// Whose live session a login may put an end to, in the browser that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// Anybody's: whoever asked for the login meant it.
    Anybody,
    /// That of the person who signs in: nobody here asked.
    SamePerson,
}

/// The advice to a person who is not let in, beside the reference number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginAdvice {
    /// To ask: it will be the same again.
    Refused,
    /// That the IdP does not answer.
    IdpDown,
    /// To try again in a moment: it passes.
    TryAgain,
    /// That we cannot check it now.
    Unavailable,
    /// Whether it is meant: another person is signed in with this browser. Nothing has happened yet.
    AskFirst,
}

impl From<portcullis_sso::LoginRefusal> for NotIn {
    fn from(refusal: portcullis_sso::LoginRefusal) -> Self {
        let text = format!("expected={} got={}. {}", refusal.expected, refusal.got, refusal.remedy);
        let told = match refusal.class {
            Class::OidcMetadata | Class::SamlMetadata => LoginAdvice::IdpDown,
            _ if refusal.passes => LoginAdvice::TryAgain,
            _ => LoginAdvice::Refused,
        };
        Self { reason: refusal.class.log_word(), text, told, subject: None }
    }
}

impl From<LoginError> for NotIn {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused(refusal) => {
                let text = format!("{refusal}. {}", refusal.remedy());
                Self { reason: refusal.log_word(), text, told: LoginAdvice::Refused, subject: None }
            }
            LoginError::OfAnother => {
                let text = format!("{error}: they are asked");
                Self { reason: INTERNAL, text, told: LoginAdvice::AskFirst, subject: None }
            }
            LoginError::Store(error) => Self::of_store(&error),
        }
    }
}

impl From<Enough> for NotIn {
    fn from(enough: Enough) -> Self {
        let (reason, text) = match enough {
            Enough::Login => (
                TRIES,
                "the answer to one login was brought more than three times. Somebody reloads it, or has it from \
                 somebody else: start again at the application",
            ),
            Enough::Busy => (
                BUSY,
                "too many logins are being finished at once, or from this client address in a minute (240). If they \
                 are people behind one proxy, see that trusted_proxies names it",
            ),
        };
        Self { reason, text: text.to_owned(), told: LoginAdvice::TryAgain, subject: None }
    }
}

impl NotIn {
    #[cfg(feature = "saml")]
    /// It passes: the person is told to try again.
    pub(crate) fn busy(reason: &'static str, text: &str) -> Self {
        Self { reason, text: text.to_owned(), told: LoginAdvice::TryAgain, subject: None }
    }

    fn of_store(error: &dyn std::fmt::Display) -> Self {
        Self { reason: STORE, text: format!("{error}"), told: LoginAdvice::Unavailable, subject: None }
    }
}

impl Own {
    /// `login`: only a navigation starts a flow.
    pub(crate) async fn begin_login(
        &self,
        site: &AskedSite,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        if visitor.kind != Kind::Navigation {
            return login_required();
        }
        let now = Timestamp::now();
        let query = request.uri().query().unwrap_or_default();
        let wanted = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to");
        let way = self.whole_way(site, wanted.as_ref().map_or("", |(_, path)| path), now);
        match choice::idp_of_request(site, request).cloned() {
            Some(entry) => self.start_login(site, &entry, request, visitor, &way, 0, now).await,
            None => {
                let short = self.short_way(site, &way, &mut Random::from_system(), now);
                self.ask_for_address(site, &short, false)
            }
        }
    }

    /// Sends a browser to the IdP; `way` is where it goes afterwards, `restarts` how often its tab has started over.
    #[expect(clippy::too_many_arguments, reason = "each is another thing, and all are passed on")]
    async fn start_login(
        &self,
        site: &AskedSite,
        entry: &SiteIdp,
        request: &Request<Bytes>,
        visitor: &Visitor,
        way: &str,
        restarts: u8,
        now: Timestamp,
    ) -> Response<Bytes> {
        let flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let rounds = flows.count_rounds(now);
        if rounds >= ROUNDS {
            // Several tabs that sign in one after the other look the same, but their session lasts.
            if visitor.who.find_person().await.is_some() {
                return redirect_to(way);
            }
            let reference = self.record_refusal(entry.idp.name(), ROUNDS_IN_A_ROW, "three logins in a row did not last: the browser loses the session cookie, or the session ends at once (look for a clock that is wrong)", visitor, None, None);
            return self
                .render_page(site, &Page::LoginStuck { cause: Stuck::EndedAtOnce, reference: &reference });
        }
        let mut random = Random::from_system();
        let short = self.short_way(site, way, &mut random, now);
        let tab = Tab { way: short.clone(), restarts };
        let state = tab.seal(&self.core.keys, visitor.app, &mut random);
        let epochs = self.core.sessions.epochs(OrgId::ONLY, entry.idp.name());
        let (return_to, replaces) = (way.to_owned(), visitor.session);
        let ask = Ask { app: visitor.app, state, return_to, rounds, epochs, replaces };
        let begun = match &*entry.idp {
            Idp::Oidc(idp) => {
                let begun = idp.begin_login(&ask, &mut random, now).await;
                begun.map(|(pending, location)| (pending, Departure::Redirect(location)))
            }
            #[cfg(feature = "saml")]
            Idp::Saml(idp) => idp.begin_login(&ask, &mut random, now).await,
        };
        match begun {
            Ok((pending, departure)) => {
                let mut answer = self.depart(site, &departure);
                for cookie in flows.login_cookie(pending, &short, site.flow_bytes, &mut random, now) {
                    answer.headers_mut().append(header::SET_COOKIE, cookie);
                }
                answer
            }
            Err(refusal) => {
                let refusal = NotIn { told: LoginAdvice::IdpDown, ..NotIn::from(refusal) };
                self.not_in(site, entry.name(), refusal, way, visitor, None)
            }
        }
    }

    /// Sends the browser to an IdP with a message.
    pub(super) fn depart(&self, site: &AskedSite, departure: &Departure) -> Response<Bytes> {
        match departure {
            Departure::Redirect(location) => redirect_to(location),
            Departure::Post(form) => {
                self.render_page(site, &Page::Forward { action: &form.action, fields: &form.fields })
            }
        }
    }

    /// A way back that is short enough for an address or a cookie: itself, or a reference to what is kept here. The
    /// reference carries the path, which is what is left where the rest is gone.
    pub(super) fn short_way(
        &self,
        site: &AskedSite,
        way: &str,
        random: &mut Random,
        now: Timestamp,
    ) -> String {
        if way.len() <= SHORT {
            return way.to_owned();
        }
        let path = way.split(['?', '#']).next().filter(|path| path.len() <= SHORT).unwrap_or_default();
        format!("{}/{KEPT}{}{path}", site.ours, self.under_way.ways.keep_way(way, random, now))
    }

    /// The way back itself, judged: a path of the app, or its front page.
    pub(super) fn whole_way(&self, site: &AskedSite, way: &str, now: Timestamp) -> String {
        let reference =
            way.strip_prefix(&site.ours).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(KEPT));
        match reference {
            Some(reference) => {
                let (number, path) = reference.split_at(reference.find('/').unwrap_or(reference.len()));
                site.local_path(&self.under_way.ways.find_way(number, now).unwrap_or_else(|| path.to_owned()))
            }
            None => site.local_path(way),
        }
    }

    /// The login page for a way back that is too long for its address.
    pub(super) fn keep_way(&self, site: &AskedSite, way: &str) -> Response<Bytes> {
        let way = site.local_path(way);
        let short = self.short_way(site, &way, &mut Random::from_system(), Timestamp::now());
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &short).finish();
        redirect_to(&format!("{}/login?{query}", site.ours))
    }

    /// `callback/<idp>`: the IdP's answer, as the browser brought it.
    pub(crate) async fn finish_login(
        self: Arc<Self>,
        site: &Arc<AskedSite>,
        entry: &Arc<SiteIdp>,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let now = Timestamp::now();
        let is_form = request.method() == http::Method::POST;
        let answer = match AuthorizationResponse::read_callback(
            request.uri().query().unwrap_or_default(),
            is_form.then_some(request.body()),
        ) {
            Ok(answer) => answer,
            Err(refusal) => return self.not_in(site, entry.name(), refusal.into(), "", visitor, None),
        };
        let mut flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let Some((cookie, pending)) = answer.state().and_then(|state| flows.take_login(state)) else {
            return self.without_flow(site, Some(entry), request, &answer, visitor, now).await;
        };
        let (rounds, return_to) = (pending.rounds(), self.whole_way(site, pending.return_to(), now));
        // The number that the log, the audit and a page call this login by.
        let reference = Random::from_system().draw_reference();
        let done =
            self.clone().admit_person(entry.clone(), pending, answer, visitor.clone(), &reference, now).await;
        let landing = Landing { entry, cookie: &cookie, rounds, return_to: &return_to, reference, now };
        self.land_login(site, &flows, landing, visitor, done)
    }

    /// Answers a login that has come to its end: back to where it began, or the page of its refusal. Its cookie goes.
    pub(super) fn land_login(
        &self,
        site: &AskedSite,
        flows: &Flows<'_>,
        landing: Landing<'_>,
        visitor: &Visitor,
        done: Result<HeaderValue, NotIn>,
    ) -> Response<Bytes> {
        let Landing { entry, cookie, rounds, return_to, reference, now } = landing;
        let mut response = match done {
            Ok(session) => {
                let mut response = redirect_to(return_to);
                response.headers_mut().append(header::SET_COOKIE, session);
                let landed = flows.landed_cookie(rounds, &mut Random::from_system(), now);
                for cookie in landed.into_iter().chain(choice::remember_idp(site, entry.name())) {
                    response.headers_mut().append(header::SET_COOKIE, cookie);
                }
                response
            }
            Err(refusal) => self.not_in(site, entry.name(), refusal, return_to, visitor, Some(reference)),
        };
        if let Some(removal) = remove_cookie(cookie) {
            response.headers_mut().append(header::SET_COOKIE, removal);
        }
        response
    }

    /// Verifies, then signs in.
    async fn admit_person(
        self: Arc<Self>,
        entry: Arc<SiteIdp>,
        pending: Pending,
        answer: AuthorizationResponse,
        visitor: Visitor,
        reference: &str,
        now: Timestamp,
    ) -> Result<HeaderValue, NotIn> {
        let names = visitor.detail.names_strangers();
        let down = |refusal: portcullis_sso::LoginRefusal| {
            let refusal = NotIn::from(if names { refusal } else { refusal.unnamed() });
            if entry.idp.is_answering() { refusal } else { NotIn { told: LoginAdvice::IdpDown, ..refusal } }
        };
        let Some(idp) = entry.idp.as_oidc() else {
            let text = "expected=an answer of SAML got=one of OpenID Connect. Nothing to set: the IdP spoke it before";
            let (reason, told) = (Class::OidcState.log_word(), LoginAdvice::Refused);
            return Err(NotIn { reason, text: text.to_owned(), told, subject: None });
        };
        let login = sha256(pending.state().as_bytes());
        let _turn = match answer.has_code() {
            true => Some(self.under_way.tries.take_turn(login, visitor.client, now).await?),
            false => None,
        };
        let verified = idp.verify_answer(&pending, answer, now).await.map_err(down)?;
        let subject = names.then(|| shown(verified.subject()).into_owned());
        let entered = async {
            // Whoever is linked already needs no claim, so nobody is asked for one.
            let is_known = !verified.is_complete()
                && entry
                    .admission
                    .is_known(&self.core.store, &idp.settings().issuer, verified.subject())
                    .await;
            let assertion = if is_known {
                idp.recognize_person(verified).map_err(down)?
            } else {
                idp.complete_login(verified, now).await.map_err(down)?
            };
            self.clone().store_login(pending, assertion, visitor, Replaces::Anybody, reference, now).await
        };
        entered.await.map_err(|refusal| NotIn { subject, ..refusal })
    }

    /// Session, link, spent flow and audit record in one transaction; then enforced, for the session before this one
    /// ends with it. Returns the cookie.
    pub(super) async fn store_login(
        self: Arc<Self>,
        pending: Pending,
        assertion: Assertion,
        visitor: Visitor,
        replaces: Replaces,
        reference: &str,
        now: Timestamp,
    ) -> Result<HeaderValue, NotIn> {
        let (login, idp) = (sha256(pending.state().as_bytes()), assertion.idp().to_owned());
        let (id, hash) = self.core.keys.new_session(&mut Random::from_system());
        let (told, session) = (visitor.clone(), (hash, replaces));
        let entering = self.clone().enter_app(pending, assertion, told, session, reference.into(), now);
        let enforced = self.core.carry_out(entering).wait_done().await.map_err(|error| match error {
            NotDone::Write(error) => NotIn::from(error),
            NotDone::NotGone(error) => NotIn::of_store(&error),
            NotDone::Panicked(error) => {
                let text = format!("the task of the login failed: {error}");
                NotIn { reason: INTERNAL, text, told: LoginAdvice::Refused, subject: None }
            }
        })?;
        let EnteredSite { signed_in, site, user_from } = enforced.value;
        self.under_way.tries.spend_login(login, now);
        self.core.metrics.count_login("accepted");
        let named = user_from.name_of(&signed_in.facts).ok();
        let user = visitor.detail.shown_user(&signed_in.facts, named.as_deref());
        let account = visitor.detail.names_strangers().then_some(signed_in.account.0);
        tracing::info!("ref" = reference, idp, user = user.as_deref(), account, session = ?hash, trace = %visitor.request_id, first = signed_in.is_first, "signed in");
        let cookie = self.core.keys.seal_cookie(visitor.app, &id);
        set_cookie(&site.cookie, cookie.expose(), None)
            .ok_or_else(|| NotIn::of_store(&"the cookie could not be written"))
    }

    /// The transaction of a login, by the configuration that is in force when it begins: who is admitted is asked here,
    /// behind the wait for the IdP, during which a reload may have changed it.
    async fn enter_app(
        self: Arc<Self>,
        pending: Pending,
        assertion: Assertion,
        visitor: Visitor,
        (hash, replaces): (SessionHash, Replaces),
        reference: Arc<str>,
        now: Timestamp,
    ) -> Result<Committed<EnteredSite>, LoginError> {
        let _admitting = self.admitting.read().await; // until it is committed
        let site = self.live.in_force().site.clone();
        // Gone since it was asked: whoever it signed in is out.
        let entry = site
            .find_idp(assertion.idp())
            .cloned()
            .ok_or_else(|| LoginError::Refused(Box::new(AdmissionRefusal::Overtaken { scope: "the IdP" })))?;
        let admission = &entry.admission;
        let hint = assertion.logout_hint().to_text();
        let hint = self.core.keys.seal(
            Purpose::Session,
            &hash.0,
            hint.expose().as_bytes(),
            &mut Random::from_system(),
        );
        let session = NewSession {
            hash,
            expires: admission.session_end(now, assertion.session_end()),
            logout_hint: Some(hint),
            idp_subject: assertion.idp_session().subject.clone(),
            idp_session: assertion.idp_session().session.clone(),
            // The cookie stays away where another site posts: then the login knows from its beginning.
            replaces: visitor.session.or(pending.replaces()),
            spares_others: replaces == Replaces::SamePerson,
        };
        let policy = self.core.revocation.sessions().policy();
        let asked = admission.verified_login(visitor.app, &assertion, session, &pending, policy.clone());
        let origin = Origin {
            client: visitor.detail.shown_client(visitor.client).map(Into::into),
            reference: Some(reference),
            names: visitor.detail.names_strangers(),
            ..Origin::of_actor("login")
        };
        let signed_in = self.core.store.log_in(asked, &origin, now).await.map_err(|error| match error {
            LoginError::Refused(refusal) if !origin.names => LoginError::Refused(Box::new(refusal.unnamed())),
            error => error,
        })?;
        let user_from = policy.identity().user;
        Ok(signed_in.map(|signed_in| EnteredSite { signed_in, site, user_from }))
    }

    /// `callback/<another>`: the answer to a login that began before a reload gave the IdP another name. It starts over, if
    /// it is one of ours; anything else is nothing.
    pub(super) async fn finish_overtaken_login(
        &self,
        site: &AskedSite,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let form = (request.method() == http::Method::POST).then_some(&request.body()[..]);
        let answer =
            AuthorizationResponse::read_callback(request.uri().query().unwrap_or_default(), form).ok();
        let is_ours = |state: &str| Tab::open_state(state, &self.core.keys, visitor.app).is_some();
        match answer.filter(|answer| answer.state().is_some_and(is_ours)) {
            Some(answer) => self.without_flow(site, None, request, &answer, visitor, Timestamp::now()).await,
            None => self.render_page(site, &Page::refused(RefusalKind::NotFound, None)),
        }
    }

    /// An answer whose flow is gone: it came late, twice, or without its cookie, as of a tab that others pushed out.
    /// Nothing of it is believed. Who is signed in goes where the tab was going; who is not starts over, unseen.
    pub(super) async fn without_flow(
        &self,
        site: &AskedSite,
        entry: Option<&SiteIdp>,
        request: &Request<Bytes>,
        answer: &AuthorizationResponse,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Response<Bytes> {
        let tab = answer.state().and_then(|state| Tab::open_state(state, &self.core.keys, visitor.app));
        let way = self.whole_way(site, tab.as_ref().map_or("", |tab| &tab.way), now);
        let idp = entry.map_or("", SiteIdp::name);
        if let Some(refusal) = answer.error() {
            let names = visitor.detail.names_strangers();
            let refusal = if names { refusal } else { refusal.unnamed() };
            return self.not_in(site, idp, refusal.into(), &way, visitor, None);
        }
        if visitor.who.find_person().await.is_some() {
            return redirect_to(&way);
        }
        if let Some(tab) = tab.filter(|tab| tab.restarts < RESTARTS)
            && visitor.kind == Kind::Navigation
        {
            let known = entry.or_else(|| site.only_idp().map(|entry| &**entry));
            return match known
                .or_else(|| choice::remembered_idp(site, request.headers()).map(|entry| &**entry))
            {
                Some(entry) => {
                    self.start_login(site, entry, request, visitor, &way, tab.restarts + 1, now).await
                }
                None => {
                    let short = self.short_way(site, &way, &mut Random::from_system(), now);
                    self.ask_for_address(site, &short, false)
                }
            };
        }
        let text = "expected=the cookie of the login that this answer belongs to got=none. The browser must accept \
                    cookies of the app's host";
        let reference = self.record_refusal(idp, Class::OidcState.log_word(), text, visitor, None, None);
        self.render_page(site, &Page::LoginStuck { cause: Stuck::CookieLost, reference: &reference })
    }

    /// `reference` is the number that the login has been called by, if it was.
    pub(super) fn not_in(
        &self,
        site: &AskedSite,
        idp: &str,
        refusal: NotIn,
        way: &str,
        visitor: &Visitor,
        reference: Option<String>,
    ) -> Response<Bytes> {
        let NotIn { reason, text, subject, .. } = &refusal;
        let reference = self.record_refusal(idp, reason, text, visitor, subject.as_deref(), reference);
        let reference = reference.as_str();
        let way = || self.short_way(site, way, &mut Random::from_system(), Timestamp::now());
        match refusal.told {
            LoginAdvice::IdpDown => {
                self.render_page(site, &Page::IdpDown { idp, return_to: &way(), reference })
            }
            LoginAdvice::TryAgain => self.render_page(site, &Page::TryAgain { return_to: &way(), reference }),
            LoginAdvice::Unavailable => {
                self.render_page(site, &Page::refused(RefusalKind::Unproven, Some(reference)))
            }
            // Nobody comes this far with a question: only `arrivals` has one.
            LoginAdvice::Refused | LoginAdvice::AskFirst => {
                self.render_page(site, &Page::LoginRefused { reference })
            }
        }
    }
}

/// The times that a tab starts over by itself before a page says that its cookie gets lost.
const RESTARTS: u8 = 2;
/// A way back longer than this is kept at our side where it would stand in an address, in bytes.
const SHORT: usize = 256;
/// The segment between the path of our own pages and the number of a way back that is kept here.
const KEPT: &str = "kept/";

/// A redirect of ours: never cached, never a method kept.
pub(crate) fn redirect_to(to: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}
