//! The endpoints of SAML: where responses are posted to, single logout, and the document that describes us.
//!
//! A response is read only where this browser has a login under way, or the configuration takes those that nobody asked for
//! (`arrivals.rs`), and verified on a thread that may block (`saml_threads.rs`).
//! What it says is believed as that of OpenID Connect is.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use portcullis_config::IdpInitiated;
use portcullis_keys::{Random, sha256};
use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::{BodyAhead, ReadsBody, RefusalKind, Visitor};
use portcullis_sso::{
    Assertion, Class, Idp, LoginRefusal, LogoutArrival, LogoutMessage, Pending, Renewal, SamlIdp,
    SamlParameter, read_response,
};
use portcullis_store::{IdpNotice, IdpSessions};

use super::Own;
use super::back_channel::Obeyed;
use super::flows::{Flows, leaving_name};
use super::login::{Landing, NotIn, Replaces, redirect_to};
use super::reasons::STORE;
use super::set_cookie::remove_cookie;
use super::site::{AskedSite, SiteIdp};
use crate::pages::{Page, Stuck};

/// The longest form with a response: the response itself has at most 512 kB, and a form writes some bytes as three.
const LONGEST_FORM: usize = 800 * 1024;
/// The longest form with a logout message.
const LONGEST_LOGOUT: usize = 64 * 1024;
/// The longest RelayState, as in a query.
const LONGEST_STATE: usize = 2048;

impl Own {
    /// `saml/<idp>/…`.
    pub(super) async fn serve_saml(
        self: Arc<Self>,
        site: &Arc<AskedSite>,
        page: &str,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let nothing = || self.render_page(site, &Page::refused(RefusalKind::NotFound, None));
        let Some((name, page)) = page.split_once('/') else { return nothing() };
        let Some(entry) = site.find_idp(name).cloned() else { return nothing() };
        if entry.idp.as_saml().is_none() {
            return nothing();
        }
        let (reads, posts) =
            (matches!(*request.method(), Method::GET | Method::HEAD), request.method() == Method::POST);
        match page {
            "metadata" if reads => saml_metadata(&entry),
            "acs" if posts => self.clone().consume_response(site, &entry, request, visitor).await,
            "slo" if reads || posts => self.clone().answer_logout(site, &entry, request, visitor).await,
            "metadata" | "acs" => self.render_page(site, &Page::refused(RefusalKind::Method, None)),
            _ => nothing(),
        }
    }

    /// `saml/<idp>/acs`: a response, as the browser posts it from the identity provider's site.
    async fn consume_response(
        self: Arc<Self>,
        site: &Arc<AskedSite>,
        entry: &Arc<SiteIdp>,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let now = Timestamp::now();
        let mut flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let is_awaited = flows.awaits_form(entry.name());
        if request.extensions().get::<BodyAhead>().is_some() {
            return if is_awaited || entry.unsolicited != IdpInitiated::Off {
                ask_for_body(LONGEST_FORM)
            } else {
                self.without_login(site, entry, visitor)
            };
        }
        let form = match SamlForm::read_body(request.body(), "SAMLResponse") {
            Ok(form) => form,
            Err(refusal) => return self.not_in(site, entry.name(), refusal.into(), "", visitor, None),
        };
        let relay_state = form.relay_state.as_deref().unwrap_or_default();
        let mut flow = flows.take_login(relay_state);
        if flow.is_none() && is_awaited {
            // A tile that is pressed while a login is under way answers nothing, and that one goes on.
            let is_unasked = entry.unsolicited != IdpInitiated::Off
                && !is_message_id(relay_state)
                && self.names_no_request(&form, visitor, now).await;
            flow = if is_unasked { None } else { flows.take_only_login(entry.name()) };
        }
        let Some((cookie, pending)) = flow.filter(|(_, pending)| pending.is_answered_by_form()) else {
            // The answer to a login of ours whose cookie got lost would lead round and round.
            if entry.unsolicited == IdpInitiated::Off || is_message_id(relay_state) {
                return self.without_login(site, entry, visitor);
            }
            // A path of this app, or its front page: whoever wrote it, it leads nowhere else.
            let way = site.local_path(relay_state);
            if entry.unsolicited == IdpInitiated::Restart {
                return self.start_anew(site, entry, &way);
            }
            return self.receive_unsolicited(site, entry, form, &flows, &way, visitor).await;
        };
        let (rounds, return_to) = (pending.rounds(), self.whole_way(site, pending.return_to(), now));
        let reference = Random::from_system().draw_reference();
        let done = self.clone().admit_response(entry, pending, form, visitor, &reference, now).await;
        let landing = Landing { entry, cookie: &cookie, rounds, return_to: &return_to, reference, now };
        self.land_login(site, &flows, landing, visitor, done)
    }

    /// Verifies, then signs in. The cookie comes back.
    async fn admit_response(
        self: Arc<Self>,
        entry: &Arc<SiteIdp>,
        pending: Pending,
        form: SamlForm,
        visitor: &Visitor,
        reference: &str,
        now: Timestamp,
    ) -> Result<HeaderValue, NotIn> {
        let names = visitor.detail.names_strangers();
        let login = sha256(pending.state().as_bytes());
        let _turn = self.under_way.tries.take_turn(login, visitor.client, now).await?;
        let assertion = self.verify_by_newest_keys(entry, Some(&pending), form, now).await?;
        let assertion =
            assertion.map_err(|refusal| NotIn::from(if names { refusal } else { refusal.unnamed() }))?;
        let subject = names.then(|| portcullis_policy::shown(assertion.subject()).into_owned());
        let entered =
            self.store_login(pending, assertion, visitor.clone(), Replaces::Anybody, reference, now).await;
        entered.map_err(|refusal| NotIn { subject, ..refusal })
    }

    /// Verifies a response; by keys that are fetched anew, where none that is known made its signature.
    pub(super) async fn verify_by_newest_keys(
        &self,
        entry: &Arc<SiteIdp>,
        pending: Option<&Pending>,
        form: SamlForm,
        now: Timestamp,
    ) -> Result<Result<Assertion, LoginRefusal>, NotIn> {
        let message: Arc<[u8]> = form.message.into();
        let seen = entry.idp.as_saml().map(SamlIdp::known_keys).unwrap_or_default();
        let mut assertion = self.verify_response(entry, pending, &message, now).await?;
        let is_foreign = |refusal: &LoginRefusal| refusal.class == Class::SamlSignatureInvalid;
        if assertion.as_ref().is_err_and(is_foreign)
            && let Some(idp) = entry.idp.as_saml()
        {
            match idp.renew_keys(&seen, now).await {
                Renewal::Changed => {
                    crate::saml::note_changes(&self.core, &entry.idp).await;
                    assertion = self.verify_response(entry, pending, &message, now).await?;
                }
                // Somebody's forgery is no reason to refuse for good who came by a new key.
                Renewal::TooSoon => {
                    if let Err(refusal) = &mut assertion {
                        refusal.passes = true;
                    }
                }
                Renewal::Same => {}
            }
        }
        Ok(assertion)
    }

    /// Tells whether a response says that it answers nothing. It is not verified: nothing hangs on it but whose check it goes
    /// to, and either check wants the same said by what is signed.
    async fn names_no_request(&self, form: &SamlForm, visitor: &Visitor, now: Timestamp) -> bool {
        let message = form.message.clone();
        let look = sha256(&[b"saml_look ".as_slice(), &message].concat());
        let Ok(_turn) = self.under_way.tries.take_turn(look, visitor.client, now).await else { return false };
        let reading = move || {
            let received = read_response(&message);
            received.is_ok_and(|received| received.unverified_in_response_to().is_none())
        };
        self.under_way.saml.run(reading).await.unwrap_or(false)
    }

    async fn verify_response(
        &self,
        entry: &Arc<SiteIdp>,
        pending: Option<&Pending>,
        message: &Arc<[u8]>,
        now: Timestamp,
    ) -> Result<Result<Assertion, LoginRefusal>, NotIn> {
        let (idp, pending, message) = (entry.idp.clone(), pending.cloned(), message.clone());
        let verifying = move || with_saml(&idp, |idp| idp.verify_response(pending.as_ref(), &message, now));
        self.under_way.saml.run(verifying).await
    }

    /// A response that belongs to no login of this browser: it is not read.
    pub(super) fn without_login(
        &self,
        site: &AskedSite,
        entry: &SiteIdp,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let text = "expected=the cookie of the login that this response belongs to got=none. The browser must accept \
                    cookies of the app's host; for a tile in the identity provider's portal set saml.idp_initiated: restart";
        let reason = Class::SamlInResponseTo.log_word();
        let reference = self.record_refusal(entry.name(), reason, text, visitor, None, None);
        self.render_page(site, &Page::LoginStuck { cause: Stuck::CookieLost, reference: &reference })
    }

    /// Begins a login of our own, where a response came that nobody here asked for: by a page, for a redirect from here
    /// would still be the other site's navigation.
    fn start_anew(&self, site: &AskedSite, entry: &SiteIdp, way: &str) -> Response<Bytes> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("idp", entry.name())
            .append_pair("return_to", way)
            .finish();
        self.render_page(site, &Page::Onward { to: &format!("{}/login?{query}", site.ours) })
    }

    /// `saml/<idp>/slo`: the identity provider ends sessions, or answers our wish to end one.
    async fn answer_logout(
        self: Arc<Self>,
        site: &Arc<AskedSite>,
        entry: &Arc<SiteIdp>,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        if request.extensions().get::<BodyAhead>().is_some() {
            return ask_for_body(LONGEST_LOGOUT);
        }
        let now = Timestamp::now();
        let flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let pending = flows.leaving(now).map(str::to_owned);
        match self.verify_logout(entry, request, pending, now).await {
            Ok(LogoutMessage::Request { request, subject, relay_state }) => {
                let notice = IdpNotice {
                    id: sha256(format!("saml_logout {} {}", request.issuer, request.id).as_bytes()),
                    until: request.replay_until,
                    sessions: IdpSessions {
                        org: OrgId::ONLY,
                        idp: entry.name().into(),
                        subject: Some(subject),
                        sessions: distinct(&request.session_indexes),
                    },
                };
                let live = match self.obey_notice(notice, now).await {
                    Obeyed::Done(live) => live,
                    Obeyed::Repeat => 0,
                    Obeyed::NotDone(error) => {
                        let reference = self.record_refusal(entry.name(), STORE, &error, visitor, None, None);
                        return self
                            .render_page(site, &Page::refused(RefusalKind::Unproven, Some(&reference)));
                    }
                };
                tracing::info!(idp = entry.name(), live, trace = %visitor.request_id, "the IdP has ended sessions");
                let Some(idp) = entry.idp.as_saml() else { return redirect_to(&site.home) };
                let answer =
                    idp.answer_logout(&request, relay_state.as_deref(), &mut Random::from_system(), now);
                match answer {
                    Some(departure) => self.depart(site, &departure),
                    None => self.render_page(site, &Page::SignedOut { at_idp: true }),
                }
            }
            Ok(LogoutMessage::Response(_)) => {
                let mut answer = redirect_to(&format!("{}/logged-out", site.ours));
                if let Some(removal) = remove_cookie(&leaving_name()) {
                    answer.headers_mut().append(header::SET_COOKIE, removal);
                }
                answer
            }
            Err(refusal) => self.not_in(site, entry.name(), refusal, "", visitor, None),
        }
    }

    async fn verify_logout(
        &self,
        entry: &Arc<SiteIdp>,
        request: &Request<Bytes>,
        pending: Option<String>,
        now: Timestamp,
    ) -> Result<LogoutMessage, NotIn> {
        let idp = entry.idp.clone();
        let verified = if request.method() == Method::POST {
            let (parameter, form) = read_logout_form(request.body())?;
            self.under_way
                .saml
                .run(move || {
                    let arrival = LogoutArrival::Form(parameter, &form.message);
                    with_saml(&idp, |idp| idp.verify_logout(&arrival, pending.as_deref(), now))
                })
                .await?
                .map(|message| message.with_relay_state(form.relay_state))
        } else {
            let query = request.uri().query().unwrap_or_default().to_owned();
            self.under_way
                .saml
                .run(move || {
                    let arrival = LogoutArrival::Query(&query);
                    with_saml(&idp, |idp| idp.verify_logout(&arrival, pending.as_deref(), now))
                })
                .await?
        };
        verified.map_err(NotIn::from)
    }
}

fn with_saml<T>(idp: &Idp, act: impl FnOnce(&SamlIdp) -> Result<T, LoginRefusal>) -> Result<T, LoginRefusal> {
    match idp.as_saml() {
        Some(idp) => act(idp),
        None => Err(refuse_form("a message of SAML", "an IdP of OpenID Connect")),
    }
}

/// The answer that asks for the body.
fn ask_for_body(most: usize) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    answer.extensions_mut().insert(ReadsBody(most));
    answer
}

/// Our metadata (SAML Metadata §2). It is public: keys and addresses.
fn saml_metadata(entry: &SiteIdp) -> Response<Bytes> {
    let Some(idp) = entry.idp.as_saml() else { return Response::new(Bytes::new()) };
    let mut answer = Response::new(Bytes::from(idp.sp_metadata()));
    let kind = HeaderValue::from_static("application/samlmetadata+xml");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// A form that carries a message of SAML (Bindings §3.5.4).
pub(crate) struct SamlForm {
    pub(crate) message: Vec<u8>,
    relay_state: Option<String>,
}

impl SamlForm {
    /// Reads the message under this name; each name once.
    pub(crate) fn read_body(body: &[u8], name: &str) -> Result<Self, LoginRefusal> {
        let (mut message, mut relay_state) = (None, None);
        for (found, value) in url::form_urlencoded::parse(body) {
            let twice = match &*found {
                "RelayState" => relay_state.replace(value.into_owned()).is_some(),
                found if found == name => message.replace(value.into_owned().into_bytes()).is_some(),
                _ => false,
            };
            if twice {
                return Err(refuse_form("each field of the form once", "one of them twice"));
            }
        }
        let message =
            message.ok_or_else(|| refuse_form(&format!("the field {name}"), "a form without it"))?;
        let is_odd = |state: &String| state.len() > LONGEST_STATE || state.contains(char::is_control);
        if relay_state.as_ref().is_some_and(is_odd) {
            return Err(refuse_form(
                "a RelayState of 2048 bytes at most",
                "a longer one, or control characters",
            ));
        }
        Ok(Self { message, relay_state })
    }
}

/// The names without those that stand twice.
fn distinct(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

/// Tells whether a state is the ID of a message of ours.
fn is_message_id(state: &str) -> bool {
    state
        .strip_prefix('_')
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn read_logout_form(body: &[u8]) -> Result<(SamlParameter, SamlForm), LoginRefusal> {
    let request = SamlForm::read_body(body, SamlParameter::Request.name());
    let response = SamlForm::read_body(body, SamlParameter::Response.name());
    match (request, response) {
        (Ok(form), Err(_)) => Ok((SamlParameter::Request, form)),
        (Err(_), Ok(form)) => Ok((SamlParameter::Response, form)),
        (Ok(_), Ok(_)) => Err(refuse_form("a request or a response", "both")),
        (Err(refusal), Err(_)) => Err(refusal),
    }
}

fn refuse_form(expected: &str, got: &str) -> LoginRefusal {
    LoginRefusal::of_form(expected, got)
}
