//! Responses that nobody here asked for, where the configuration accepts them: verified as any other, and then kept until
//! their browser comes back.
//!
//! Another site has posted them, and browsers keep the session cookie from that: so nobody knows yet whom the browser is
//! signed in as. It is sent to a page of ours, which it opens with all of its cookies, and only there the login is stored;
//! where another person is signed in, that page asks first. What is kept is in memory alone and counts once: a restart costs
//! another click at the provider.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use parking_lot::Mutex;
use portcullis_config::IdpInitiated;
use portcullis_keys::{Random, equal_bytes, sha256};
use portcullis_policy::{OrgId, SessionHash, Timestamp};
use portcullis_proxy::{Kind, Visitor};
use portcullis_sso::{Ask, Assertion, Class, FLOW_MS, Pending};

use super::flows::{Flows, arrived_name};
use super::login::{Landing, LoginAdvice, NotIn, Replaces, redirect_to};
use super::saml::SamlForm;
use super::site::{AskedSite, SiteIdp};
use super::{Own, login_required};
use crate::pages::{Page, Stuck};

/// The most responses that wait for their browsers, and the most bytes that they had when they came. Only a provider's own
/// word gets here.
const MOST: usize = 1024;
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The responses that wait.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<HashMap<String, Arrival>>);

/// A response that was verified, as a login of its own.
#[derive(Clone)]
struct Arrival {
    pending: Pending,
    assertion: Assertion,
    /// The name that a line may call the person by.
    subject: Option<String>,
    /// The bytes of the response.
    size: usize,
}

impl Arrivals {
    /// Keeps one under a number of 128 random bits. Whatever was kept of the same statement goes.
    fn keep_arrival(&self, arrival: Arrival, random: &mut Random, now: Timestamp) -> String {
        let number: String = random.draw_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut kept = self.0.lock();
        let statement = |arrival: &Arrival| arrival.assertion.replay().map(|replay| replay.id.clone());
        let new = statement(&arrival);
        kept.retain(|_, old| is_fresh(old, now) && (new.is_none() || statement(old) != new));
        let mut bytes = kept.values().map(|old| old.size).sum::<usize>() + arrival.size;
        while kept.len() >= MOST || bytes > MOST_BYTES {
            let oldest =
                kept.iter().min_by_key(|(_, old)| old.pending.started()).map(|(number, _)| number.clone());
            let Some(gone) = oldest.and_then(|oldest| kept.remove(&oldest)) else { break };
            bytes -= gone.size;
        }
        kept.insert(number.clone(), arrival);
        number
    }

    fn find_arrival(&self, number: &str, now: Timestamp) -> Option<Arrival> {
        self.0.lock().get(number).filter(|arrival| is_fresh(arrival, now)).cloned()
    }

    fn drop_arrival(&self, number: &str) {
        self.0.lock().remove(number);
    }
}

fn is_fresh(arrival: &Arrival, now: Timestamp) -> bool {
    (0..FLOW_MS).contains(&now.since_ms(arrival.pending.started()))
}

impl Own {
    /// Verifies a response that nobody here asked for, and sends its browser to the page where the login is stored.
    pub(super) async fn receive_unsolicited(
        &self,
        site: &AskedSite,
        entry: &Arc<SiteIdp>,
        form: SamlForm,
        flows: &Flows<'_>,
        way: &str,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let now = Timestamp::now();
        let mut random = Random::from_system();
        let state: String = random.draw_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let ask = Ask {
            app: visitor.app,
            state,
            return_to: way.to_owned(),
            rounds: flows.count_rounds(now),
            // Before the keys are read: whoever distrusts one in between finds a login that is overtaken.
            epochs: self.core.sessions.epochs(OrgId::ONLY, entry.name()),
            replaces: None,
        };
        match self.verify_unsolicited(entry, &ask, form, visitor, now).await {
            Ok(arrival) => {
                let number = self.under_way.arrivals.keep_arrival(arrival, &mut random, now);
                let mut answer = redirect_to(&format!("{}/arrived", site.ours));
                if let Some(cookie) = flows.arrived_cookie(number, &mut random, now) {
                    answer.headers_mut().append(header::SET_COOKIE, cookie);
                }
                answer
            }
            Err(refusal) => self.not_in(site, entry.name(), refusal, way, visitor, None),
        }
    }

    async fn verify_unsolicited(
        &self,
        entry: &Arc<SiteIdp>,
        ask: &Ask,
        form: SamlForm,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<Arrival, NotIn> {
        let names = visitor.detail.names_strangers();
        let size = form.message.len();
        let message = sha256(&[b"saml_unsolicited ".as_slice(), &form.message].concat());
        let _turn = self.under_way.tries.take_turn(message, visitor.client, now).await?;
        let assertion = self.verify_by_newest_keys(entry, None, form, now).await?;
        let assertion =
            assertion.map_err(|refusal| NotIn::from(if names { refusal } else { refusal.unnamed() }))?;
        let subject = names.then(|| portcullis_policy::shown(assertion.subject()).into_owned());
        let pending = Pending::of_unsolicited(entry.name(), assertion.issuer(), ask, now);
        Ok(Arrival { pending, assertion, subject, size })
    }

    /// `arrived`: stores the login of a response that this browser has just brought. By GET it never replaces another
    /// person's session: then it asks, and the button of that page says yes.
    pub(super) async fn finish_arrival(
        self: Arc<Self>,
        site: &Arc<AskedSite>,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        if visitor.kind != Kind::Navigation && *request.method() != Method::POST {
            return login_required();
        }
        let now = Timestamp::now();
        let flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let found = flows
            .arrived_number(now)
            .and_then(|number| Some((number.to_owned(), self.under_way.arrivals.find_arrival(number, now)?)));
        let Some((number, arrival)) = found else { return self.without_arrival(site, visitor).await };
        let entry = site.find_idp(arrival.pending.idp());
        // A reload may have said otherwise since.
        let Some(entry) = entry.filter(|entry| entry.unsolicited == IdpInitiated::Accept).cloned() else {
            self.under_way.arrivals.drop_arrival(&number);
            return self.without_arrival(site, visitor).await;
        };
        let token = self.switch_token(&number, visitor.session.as_ref());
        let replaces = match *request.method() {
            Method::POST if is_token_of(request.body(), &token) => Replaces::Anybody,
            _ => Replaces::SamePerson,
        };
        let (pending, rounds) = (arrival.pending, flows.count_rounds(now));
        let return_to = self.whole_way(site, pending.return_to(), now);
        let reference = Random::from_system().draw_reference();
        let stored =
            self.clone().store_login(pending, arrival.assertion, visitor.clone(), replaces, &reference, now);
        let done: Result<HeaderValue, NotIn> = stored.await;
        if done.as_ref().is_err_and(|refusal| refusal.told == LoginAdvice::AskFirst) {
            let who = visitor.who.find_person().await;
            let who = who.as_ref().map_or("", |(who, _)| who.name());
            return self.render_page(site, &Page::Switch { who, token: &token });
        }
        self.under_way.arrivals.drop_arrival(&number);
        let done = done.map_err(|refusal| NotIn { subject: arrival.subject, ..refusal });
        let cookie = arrived_name();
        let landing =
            Landing { entry: &entry, cookie: &cookie, rounds, return_to: &return_to, reference, now };
        self.land_login(site, &flows, landing, visitor, done)
    }

    /// Nothing has arrived, or it is over. Who is signed in goes to the front page.
    async fn without_arrival(&self, site: &AskedSite, visitor: &Visitor) -> Response<Bytes> {
        if visitor.who.find_person().await.is_some() {
            return redirect_to(&site.home);
        }
        let text = "expected=a response that this browser brought within ten minutes got=none. Start again at the identity \
                    provider. The browser must accept cookies of the app's host";
        let reason = Class::SamlInResponseTo.log_word();
        let reference = self.record_refusal("", reason, text, visitor, None, None);
        self.render_page(site, &Page::LoginStuck { cause: Stuck::CookieLost, reference: &reference })
    }

    /// The token of the page that asks: of this response, and of the very session that it told of.
    fn switch_token(&self, number: &str, session: Option<&SessionHash>) -> String {
        let session = session.map(|session| session.0).unwrap_or_default();
        self.hash_form(&[b"arrived ".as_slice(), number.as_bytes(), &session].concat())
    }
}

fn is_token_of(body: &[u8], token: &str) -> bool {
    let given = url::form_urlencoded::parse(body).find(|(name, _)| name == "token");
    given.is_some_and(|(_, given)| equal_bytes(given.as_bytes(), token.as_bytes()))
}
