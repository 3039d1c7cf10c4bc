//! One identity provider of SAML: what is known of it, what it is sent, and what becomes of its answers.
//!
//! Its metadata comes with the configuration or is fetched; what was known stays while it cannot be had. Everything that
//! reads a message of it is synchronous and takes a CPU some of its time: [`SamlIdp::verify_response`] and its kind
//! belong on a thread that may block.

mod renewal;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use portcullis_keys::Random;
use portcullis_policy::Timestamp;

pub use self::renewal::{Renewal, SamlInquiry};
use super::check::CheckList;
use super::idp_key::{IdpKey, KeyStanding, show_fingerprint};
use super::key_book::KeyBook;
use super::person::{AttributeSources, find_sources, read_person};
use super::settings::{MetadataSource, SamlSettings};
use super::{
    AuthnRequest, IdpMetadata, LogoutExpectations, LogoutOutcome, LogoutRequest, LogoutResponse, NameId,
    OwnLogoutRequest, OwnLogoutResponse, PostMessage, RedirectMessage, SamlBinding, SamlCheck, SamlEndpoint,
    SamlExpectations, SamlParameter, SignedMessage, SpDescription, VerifiedResponse, draw_message_id,
    read_logout_request, read_logout_response, verify_response, write_sp_metadata,
};
use crate::pending::Proof;
use crate::{Ask, Assertion, Class, Departure, Fetch, LoginRefusal, LogoutHint, Pending};

/// One identity provider of SAML.
pub struct SamlIdp {
    settings: SamlSettings,
    fetch: Fetch,
    known: ArcSwapOption<IdpMetadata>,
    /// The entity ID that its people are known under, also where the document that said so is over.
    entity_id: OnceLock<String>,
    /// The fault of the document, where there is no metadata.
    fault: Mutex<Option<LoginRefusal>>,
    answering: AtomicBool,
    /// The last time that the metadata was fetched for a login, in vain. Held while it is.
    asking: tokio::sync::Mutex<Option<Timestamp>>,
    /// Keeps a document that was fetched, for the next process.
    keep: Keep,
    /// The word on its keys.
    book: Arc<KeyBook>,
}

/// Keeps metadata that was fetched and verified. It is called before anything of it is trusted: a key that was withdrawn
/// must not come back with a restart.
pub type Keep = Arc<dyn Fn(&str) + Send + Sync>;

/// A logout message of the identity provider, as it came.
pub enum LogoutArrival<'a> {
    /// In the query of the address, its octets as they were sent.
    Query(&'a str),
    /// In a field of a form.
    Form(SamlParameter, &'a [u8]),
}

/// A logout message of the identity provider that was verified.
pub enum LogoutMessage {
    /// It asks us to end sessions. `relay_state` goes back with the answer.
    Request {
        /// What it asks for.
        request: LogoutRequest,
        /// The person, as sessions keep them.
        subject: String,
        /// Its own state.
        relay_state: Option<String>,
    },
    /// It answers a request of ours.
    Response(LogoutResponse),
}

impl LogoutMessage {
    /// The same with the state of its form, which no signature covers: it only goes back.
    #[must_use]
    pub fn with_relay_state(self, state: Option<String>) -> Self {
        match self {
            Self::Request { request, subject, .. } => Self::Request { request, subject, relay_state: state },
            response => response,
        }
    }
}

/// The findings in a response that was captured.
pub struct Examination {
    /// Every check that was made, in its order.
    pub checks: Vec<SamlCheck>,
    /// The response, where it was verified: also where the person it names is not taken.
    pub verified: Option<VerifiedResponse>,
    /// The attributes that say what is known of the person.
    pub sources: AttributeSources,
    /// The person, or the first check that failed.
    pub outcome: Result<Assertion, LoginRefusal>,
}

impl SamlIdp {
    /// An identity provider that has not been asked anything yet. `kept` is the document that was fetched last, by a process
    /// before this one. Nothing is written into the `book` until [`Self::settle_keys`].
    pub fn new(
        settings: SamlSettings,
        fetch: Fetch,
        kept: Option<&str>,
        keep: Keep,
        book: Arc<KeyBook>,
        now: Timestamp,
    ) -> Self {
        let idp = Self {
            settings,
            fetch,
            known: ArcSwapOption::empty(),
            entity_id: OnceLock::new(),
            fault: Mutex::default(),
            answering: AtomicBool::new(false),
            asking: tokio::sync::Mutex::default(),
            keep,
            book,
        };
        let document = match &idp.settings.metadata {
            MetadataSource::Document(text) => Some(text.clone()),
            MetadataSource::Address(_) => kept.map(Arc::from),
        };
        if let Some(document) = document {
            // Whose document it is does not change with its end.
            if let Ok(metadata) = idp.read_metadata(&document, Timestamp(0)) {
                let _ = idp.entity_id.set(metadata.entity_id);
            }
            let read = idp.read_metadata(&document, now);
            idp.take_metadata(read, matches!(idp.settings.metadata, MetadataSource::Document(_)));
        }
        idp
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Gives its settings.
    pub fn settings(&self) -> &SamlSettings {
        &self.settings
    }

    /// Gives its entity ID, where it is known.
    pub fn issuer(&self) -> Option<String> {
        self.settings.entity_id.clone().or_else(|| self.entity_id.get().cloned())
    }

    /// Tells whether its metadata could be read the last time.
    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    /// Gives what is odd in its metadata, as sentences.
    pub fn warnings(&self) -> Vec<String> {
        self.known.load().as_ref().map(|known| known.warnings.clone()).unwrap_or_default()
    }

    /// Starts a login: what to remember, to be sealed into the browser's cookie, and how to send the browser.
    ///
    /// # Errors
    /// `metadata`, where nothing is known of it.
    pub async fn begin_login(
        &self,
        ask: &Ask,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(Pending, Departure), LoginRefusal> {
        let known = match self.known(now) {
            Ok(known) => known,
            Err(_) => self.ask_for_metadata(now).await?,
        };
        let id = draw_message_id(random);
        let endpoint = choose_endpoint(&known.sso, self.settings.posts_requests).ok_or_else(|| {
            refuse_metadata(
                "an address of single sign-on",
                "none",
                "Look at the metadata of the identity provider.",
            )
        })?;
        let request = AuthnRequest {
            id: &id,
            destination: &endpoint.location,
            issuer: &self.settings.sp_entity_id,
            acs_url: &self.settings.acs_url,
            force_authn: self.settings.force_authn,
            name_id_policy: self.settings.name_id_policy.as_deref(),
            requested_authn_context: &self.settings.authn_context,
            issue_instant: now,
        };
        let message = request.write_message();
        let departure = match endpoint.binding {
            SamlBinding::Redirect => {
                Departure::Redirect(message.to_redirect_url(Some(&id), &self.settings.keys.signer))
            }
            SamlBinding::Post => Departure::Post(message.to_post_form(Some(&id), &self.settings.keys.signer)),
        };
        // The RelayState names the flow: the ID itself, which is short enough for every identity provider (Bindings §3.4.3).
        let ask = Ask { state: id, ..ask.clone() };
        Ok((Pending::new(self.name(), &known.entity_id, &ask, Proof::Saml, now), departure))
    }

    /// Verifies a response: the answer to a login of ours, or, where there is none, one that nobody asked for.
    ///
    /// # Errors
    /// The first check that failed, by its class.
    pub fn verify_response(
        &self,
        pending: Option<&Pending>,
        field: &[u8],
        now: Timestamp,
    ) -> Result<Assertion, LoginRefusal> {
        let known = self.known(now)?;
        if let Some(pending) = pending {
            self.check_pending(pending, &known, now)?;
        }
        let keys = self.judge_keys(&known);
        let expected = self.expect_response(&known, &keys, pending.map(Pending::state), now);
        let verified = verify_response(field, &expected, &mut Vec::new())?;
        read_person(&self.settings, &known.entity_id, verified)
    }

    /// Looks into a response that was captured: makes the same checks, and keeps what each of them found. Whether it came
    /// before is not looked at. `request` is the ID of the login that it belongs to; `None` where nobody asked for it.
    pub fn examine_response(&self, request: Option<&str>, field: &[u8], now: Timestamp) -> Examination {
        let (mut checks, mut verified) = (Vec::new(), None);
        let outcome = self.explain_response(request, field, now, &mut checks, &mut verified);
        let sources =
            verified.as_ref().map(|verified| find_sources(&self.settings, verified)).unwrap_or_default();
        Examination { checks, verified, sources, outcome }
    }

    fn explain_response(
        &self,
        request: Option<&str>,
        field: &[u8],
        now: Timestamp,
        checks: &mut Vec<SamlCheck>,
        found: &mut Option<VerifiedResponse>,
    ) -> Result<Assertion, LoginRefusal> {
        let known = CheckList::new(checks)
            .require("metadata", self.known(now), |known| self.describe_metadata(known))?;
        let keys = self.judge_keys(&known);
        // Nobody waits for it, and a disagreement of the two verifications is what a capture is looked into for.
        let expected =
            SamlExpectations { ask_engine_always: true, ..self.expect_response(&known, &keys, request, now) };
        let verified = verify_response(field, &expected, checks)?;
        let person = read_person(&self.settings, &known.entity_id, found.insert(verified).clone());
        CheckList::new(checks).require("person", person, |person| {
            let lasts = "a name for good: it is kept, and recognised at the next login";
            if person.is_durable { lasts } else { "a name for now: it is matched anew at each login" }
                .to_owned()
        })
    }

    fn expect_response<'a>(
        &'a self,
        known: &'a IdpMetadata,
        keys: &'a [IdpKey],
        request: Option<&'a str>,
        now: Timestamp,
    ) -> SamlExpectations<'a> {
        SamlExpectations {
            idp_entity_id: &known.entity_id,
            sp_entity_id: &self.settings.sp_entity_id,
            acs_url: &self.settings.acs_url,
            keys,
            decryption_keys: &self.settings.keys.decryption,
            skew_ms: self.settings.skew_ms,
            allow_sha1: self.settings.allow_sha1,
            allow_cbc: self.settings.allow_cbc,
            in_response_to: request,
            allow_unsolicited: self.settings.accepts_unsolicited,
            authn_context: &self.settings.authn_context,
            now,
            ask_engine_always: false,
        }
    }

    /// Makes the document that describes us to the identity provider.
    pub fn sp_metadata(&self) -> String {
        let formats: Vec<String> = self.settings.name_id_policy.clone().into_iter().collect();
        write_sp_metadata(&SpDescription {
            entity_id: &self.settings.sp_entity_id,
            acs_url: &self.settings.acs_url,
            slo_url: Some(&self.settings.slo_url),
            signing: &self.settings.keys.certificates,
            encryption: &self.settings.keys.certificates,
            name_id_formats: &formats,
        })
    }

    /// Writes the request to end the session there too: how to send the browser, and the ID that the answer must name.
    /// `None` where the identity provider has no single logout, or the hint is another protocol's.
    pub fn begin_logout(
        &self,
        hint: &LogoutHint,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<(String, Departure)> {
        let LogoutHint::Saml { name_id, session_index } = hint else { return None };
        let known = self.known.load_full()?;
        let endpoint = choose_endpoint(&known.slo, false)?;
        let (id, indexes) = (draw_message_id(random), Vec::from_iter(session_index.clone()));
        let message = OwnLogoutRequest {
            id: &id,
            destination: &endpoint.location,
            issuer: &self.settings.sp_entity_id,
            issue_instant: now,
            not_on_or_after: now.plus_ms(LOGOUT_MS),
            name_id,
            session_indexes: &indexes,
        }
        .write_message();
        let departure = match endpoint.binding {
            SamlBinding::Redirect => {
                Departure::Redirect(message.to_redirect_url(Some(&id), &self.settings.keys.signer))
            }
            SamlBinding::Post => Departure::Post(message.to_post_form(Some(&id), &self.settings.keys.signer)),
        };
        Some((id, departure))
    }

    /// The origin of the address of single logout, for the policy of the page whose button leads there.
    pub fn logout_origin(&self) -> Option<String> {
        let known = self.known.load_full()?;
        let location = url::Url::parse(&choose_endpoint(&known.slo, false)?.location).ok()?;
        Some(location.origin().ascii_serialization())
    }

    /// Verifies a logout message. `pending` is the ID of the one request of ours that this browser has made.
    ///
    /// # Errors
    /// The first check that failed, by its class.
    pub fn verify_logout(
        &self,
        arrival: &LogoutArrival<'_>,
        pending: Option<&str>,
        now: Timestamp,
    ) -> Result<LogoutMessage, LoginRefusal> {
        let known = self.known(now)?;
        let keys = self.judge_keys(&known);
        let message: SignedMessage = match *arrival {
            LogoutArrival::Query(query) => RedirectMessage::read_query(query)?.verify(&keys)?,
            LogoutArrival::Form(parameter, field) => {
                PostMessage::read_field(parameter, field)?.verify(&keys)?
            }
        };
        let expected = LogoutExpectations {
            idp_entity_id: &known.entity_id,
            slo_url: &self.settings.slo_url,
            decryption_keys: &self.settings.keys.decryption,
            skew_ms: self.settings.skew_ms,
            now,
        };
        match message.parameter() {
            SamlParameter::Request => {
                let request = read_logout_request(&message, &expected)?;
                let subject = self.session_subject(&request.name_id, &known.entity_id);
                let relay_state = message.relay_state().map(str::to_owned);
                Ok(LogoutMessage::Request { request, subject, relay_state })
            }
            SamlParameter::Response => {
                read_logout_response(&message, pending, &expected).map(LogoutMessage::Response)
            }
        }
    }

    /// Writes the answer to a request that was carried out. `None` where the identity provider names no address for it.
    pub fn answer_logout(
        &self,
        request: &LogoutRequest,
        relay_state: Option<&str>,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<Departure> {
        let known = self.known.load_full()?;
        let endpoint = choose_endpoint(&known.slo, false)?;
        let id = draw_message_id(random);
        let message = OwnLogoutResponse {
            id: &id,
            destination: endpoint.response_location(),
            issuer: &self.settings.sp_entity_id,
            issue_instant: now,
            in_response_to: &request.id,
            outcome: LogoutOutcome::Success,
        }
        .write_message();
        Some(match endpoint.binding {
            SamlBinding::Redirect => {
                Departure::Redirect(message.to_redirect_url(relay_state, &self.settings.keys.signer))
            }
            SamlBinding::Post => {
                Departure::Post(message.to_post_form(relay_state, &self.settings.keys.signer))
            }
        })
    }

    /// The person of a name, as sessions keep them.
    pub(super) fn session_subject(&self, name_id: &NameId, entity_id: &str) -> String {
        name_id.canonical_text(entity_id, &self.settings.sp_entity_id)
    }

    /// Gives its keys under the word that counts now: asked at each signature, so that an operator's word counts at once.
    fn judge_keys(&self, known: &IdpMetadata) -> Vec<IdpKey> {
        let keys = self.book.judge_keys(self.name(), self.settings.approves_keys, &known.signing);
        // Whoever has the key that signed the metadata could have written every other one there.
        if known.pinned.iter().any(|key| self.book.is_distrusted(key)) {
            return keys.into_iter().map(|key| key.with_standing(KeyStanding::Distrusted)).collect();
        }
        keys
    }

    /// The keys and the name in metadata, for people; the name last, as it may be long.
    fn describe_metadata(&self, known: &IdpMetadata) -> String {
        let show = |key: &IdpKey| {
            let word = match key.standing() {
                KeyStanding::InForce => "",
                KeyStanding::Waiting => " (waiting)",
                KeyStanding::Distrusted => " (distrusted)",
            };
            format!("{}{word}", show_fingerprint(&key.fingerprint()))
        };
        let prints: Vec<_> = self.judge_keys(known).iter().take(4).map(show).collect();
        format!("certificates by SHA-256: {}; {}", prints.join(", "), known.entity_id)
    }

    fn known(&self, now: Timestamp) -> Result<Arc<IdpMetadata>, LoginRefusal> {
        if let Some(known) = self.known.load_full() {
            if known.valid_until.is_none_or(|until| until > now) {
                return Ok(known);
            }
            return Err(refuse_metadata(
                "metadata that is valid",
                "metadata past its validUntil",
                "Download the metadata of the identity provider again, or give its address, so that it is fetched.",
            ));
        }
        Err(self.fault.lock().clone().unwrap_or_else(|| {
            refuse_metadata("the metadata of the identity provider", "none yet", "Try again in a moment.")
        }))
    }

    fn check_pending(
        &self,
        pending: &Pending,
        known: &IdpMetadata,
        now: Timestamp,
    ) -> Result<(), LoginRefusal> {
        let refuse = |expected: &str, got: &str| {
            let remedy = "Nothing to set. Start again from the application.";
            LoginRefusal::new(Class::SamlInResponseTo, expected, got, remedy)
        };
        pending
            .check_asked(self.name(), &known.entity_id, now)
            .map_err(|(expected, got)| refuse(&expected, got))?;
        match pending.proof() {
            Proof::Saml => Ok(()),
            Proof::Oidc(_) => Err(refuse("an answer of OpenID Connect", "a SAML response")),
        }
    }
}

/// The time that a logout request of ours counts, in milliseconds.
const LOGOUT_MS: i64 = 5 * 60 * 1000;

/// Chooses among the addresses of one kind: the binding that is wished, else the other one.
fn choose_endpoint(endpoints: &[SamlEndpoint], wishes_post: bool) -> Option<&SamlEndpoint> {
    let wished = if wishes_post { SamlBinding::Post } else { SamlBinding::Redirect };
    endpoints.iter().find(|endpoint| endpoint.binding == wished).or_else(|| endpoints.first())
}

fn refuse_metadata(expected: &str, got: &str, remedy: &'static str) -> LoginRefusal {
    LoginRefusal::new(Class::SamlMetadata, expected, got, remedy)
}
