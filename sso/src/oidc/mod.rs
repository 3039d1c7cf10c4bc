//! OpenID Connect: sends a browser to a provider and verifies what comes back (OIDC Core §3.1, the code flow with PKCE).
//!
//! [`OidcIdp::verify_answer`] is the order of the checks: does the answer belong to this login, does it come from the
//! provider asked, what is the code worth, is the ID token genuine and meant for us, who is it. [`OidcIdp::complete_login`]
//! then asks for what is still missing; an [`Assertion`] comes out at the end or not at all. Nothing here knows users:
//! linking is the store's, and so is whether somebody is known already ([`OidcIdp::recognize_person`]).

mod algorithm;
mod answer;
mod claims;
mod exchange;
mod hosts;
mod id_token;
mod inquiry;
mod jwks;
mod jws;
mod logout_token;
mod metadata;
mod provider;
mod settings;

use std::fmt;
use std::sync::Arc;

use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use portcullis_keys::{Random, Secret, equal_bytes};
use portcullis_policy::Timestamp;
use serde_json::{Map, Value};

pub use answer::AuthorizationResponse;
pub use inquiry::{AuthorizationWord, ClientWord, OidcInquiry, PublishedKeys};
pub use logout_token::LogoutNotice;
pub use settings::{ClaimNames, OidcSettings, SubjectClaim, Uses};

use self::algorithm::Algorithm;
use self::claims::{Claims, Lack};
use self::exchange::{SentSecrets, TokenResponse, Userinfo};
use self::id_token::Expected;
use self::jwks::KeySet;
use self::jws::TokenKind;
use self::logout_token::ExpectedLogout;
use self::metadata::Metadata;
use self::provider::{Known, Provider};
use crate::assertion::{HINT, IdpSession, LogoutHint};
use crate::pending::{OidcProof, Proof};
use crate::{Ask, Assertion, Class, Fetch, LoginRefusal, Pending};

/// One OpenID provider.
pub struct OidcIdp {
    settings: OidcSettings,
    provider: Provider,
}

impl OidcIdp {
    /// A provider that has not been asked anything yet.
    pub fn new(settings: OidcSettings, fetch: Fetch) -> Self {
        Self { provider: Provider::new(&settings, fetch), settings }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Gives its settings.
    pub fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Tells whether it answered the last time it was asked for anything; false before the first time.
    pub fn is_answering(&self) -> bool {
        self.provider.is_answering()
    }

    /// Asks for metadata and keys; called at the start and every few minutes. What was known before stays where this
    /// fails.
    ///
    /// # Errors
    /// `metadata`, where the provider does not answer or answers nonsense.
    pub async fn refresh_metadata(&self, now: Timestamp) -> Result<(), LoginRefusal> {
        self.provider.refresh(now).await.map(drop)
    }

    /// Starts a login: what to remember, to be sealed into the browser's cookie, and where to send the browser.
    ///
    /// # Errors
    /// `metadata`, where the provider does not answer.
    pub async fn begin_login(
        &self,
        ask: &Ask,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(Pending, String), LoginRefusal> {
        let known = self.provider.answering(now).await?;
        let proof = OidcProof::draw(random);
        let url = self.authorization_url(&known.metadata, &ask.state, &proof);
        let pending = Pending::new(self.name(), &self.settings.issuer, ask, Proof::Oidc(proof), now);
        Ok((pending, url))
    }

    /// Verifies the answer to a login, and asks userinfo for what the ID token lacks.
    ///
    /// # Errors
    /// The first check that fails, as its class.
    pub async fn finish_login(
        &self,
        pending: &Pending,
        answer: AuthorizationResponse,
        now: Timestamp,
    ) -> Result<Assertion, LoginRefusal> {
        let verified = self.verify_answer(pending, answer, now).await?;
        self.complete_login(verified, now).await
    }

    /// Verifies the answer to a login: who it is, is known afterwards.
    ///
    /// # Errors
    /// The first check that fails, as its class.
    pub async fn verify_answer(
        &self,
        pending: &Pending,
        answer: AuthorizationResponse,
        now: Timestamp,
    ) -> Result<Verified, LoginRefusal> {
        let proof = self.check_answer(pending, &answer, now)?;
        let known = self.provider.known(now).await?;
        comes_from(pending.issuer(), known.metadata.names_issuer, &answer)?;
        let code = code_of(answer)?;
        let tokens = self.redeem_code(&known.metadata, &code, &proof.verifier).await?;
        let expected = Expected {
            issuer: pending.issuer(),
            client_id: &self.settings.client_id,
            nonce: &proof.nonce,
            algorithms: &known.metadata.id_token,
            access_token: tokens.access_token.as_ref(),
            skew_ms: self.settings.skew_ms,
            now,
        };
        let token = &tokens.id_token;
        let (claims, known) = self
            .with_newest_keys(known.clone(), now, |keys| id_token::verify_id_token(token, keys, &expected))
            .await?;
        let claims = Claims::of_token(claims);
        let subject = claims.read_subject(&self.settings)?;
        Ok(Verified { subject, lack: claims.missing_claims(&self.settings), claims, tokens, known })
    }

    /// Makes the assertion. Userinfo is asked only where the ID token lacks what this login uses; its trouble refuses
    /// only the login that cannot do without.
    ///
    /// # Errors
    /// `userinfo`, or `id_token_claims` where it speaks of somebody else or claims that are used cannot be read.
    pub async fn complete_login(
        &self,
        mut verified: Verified,
        now: Timestamp,
    ) -> Result<Assertion, LoginRefusal> {
        let told = self.told_by_userinfo(&verified, now).await;
        let completed = told.and_then(|told| told.map_or(Ok(()), |told| verified.claims.add_userinfo(told)));
        if let Err(refusal) = completed {
            if verified.lack == Lack::Needed {
                return Err(refusal);
            }
            // Its words may name a person, and how much of that is written is not known here.
            let reason = refusal.class.log_word();
            tracing::info!(
                idp = self.settings.name,
                reason,
                "a login goes on without what userinfo would say"
            );
        }
        self.make_assertion(verified)
    }

    /// Makes the assertion of somebody who is known already: nothing but the subject is needed, and nobody is asked.
    ///
    /// # Errors
    /// `id_token_claims`, where claims that are used cannot be read.
    pub fn recognize_person(&self, verified: Verified) -> Result<Assertion, LoginRefusal> {
        self.make_assertion(verified)
    }

    fn make_assertion(&self, verified: Verified) -> Result<Assertion, LoginRefusal> {
        let person = verified.claims.read_person(&self.settings)?;
        Ok(Assertion {
            idp: self.settings.name.clone(),
            issuer: self.settings.issuer.clone(),
            subject: person.subject,
            is_durable: true,
            link: person.link,
            email: person.email,
            email_verified: person.email_verified,
            attributes: person.attributes,
            unverified_user_name: person.unverified_user_name,
            names_said: person.names_said,
            groups: person.groups,
            session_end: verified.claims.session_end(),
            idp_session: verified.claims.idp_session(),
            replay: None,
            logout: LogoutHint::Oidc { id_token: verified.tokens.id_token },
        })
    }

    /// Verifies a logout token: the provider's word that sessions have ended (OIDC Back-Channel Logout 1.0 §2.6).
    ///
    /// # Errors
    /// `metadata`, where the provider does not answer; else `logout_token`.
    pub async fn verify_logout_token(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<LogoutNotice, LoginRefusal> {
        let known = self.provider.known(now).await?;
        let expected = ExpectedLogout {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            algorithms: &known.metadata.id_token,
            skew_ms: self.settings.skew_ms,
            now,
        };
        let verify = |keys: &KeySet| logout_token::verify_logout_token(token, keys, &expected);
        // Whatever is wrong with it, anybody may have sent it: it is no word of the provider's.
        let as_logout = |refusal: LoginRefusal| LoginRefusal { class: Class::OidcLogoutToken, ..refusal };
        self.with_newest_keys(known.clone(), now, verify).await.map(|(notice, _)| notice).map_err(as_logout)
    }

    /// Makes the address to send a browser to, to be signed out at the provider too (RP-Initiated Logout §2), after
    /// our own session has ended. `None` where the provider offers no such place, as Google, or is not known yet. A
    /// hint above 4 KiB is left out: servers refuse such addresses, and the provider then asks the person instead.
    pub fn logout_url(&self, id_token: Option<&Secret>, back_to: &str, state: &str) -> Option<String> {
        let mut url = self.provider.cached()?.metadata.end_session.clone()?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(hint) = id_token.map(Secret::expose).filter(|hint| (1..=HINT).contains(&hint.len())) {
                query.append_pair("id_token_hint", hint);
            }
            query
                .append_pair("client_id", &self.settings.client_id)
                .append_pair("post_logout_redirect_uri", back_to)
                .append_pair("state", state);
        }
        Some(url.into())
    }

    /// The origin of [`Self::logout_url`], for the policy of the page whose button leads there.
    pub fn logout_origin(&self) -> Option<String> {
        let url = self.provider.cached()?.metadata.end_session.clone()?;
        Some(url.origin().ascii_serialization())
    }

    /// Checks that an answer may be the one to this login: asked of this provider, in time, with our state.
    fn check_answer<'a>(
        &self,
        pending: &'a Pending,
        answer: &AuthorizationResponse,
        now: Timestamp,
    ) -> Result<&'a OidcProof, LoginRefusal> {
        let refuse = |expected: &str, got: &str| {
            LoginRefusal::new(
                Class::OidcState,
                expected,
                got,
                "Nothing to set. Start again from the application.",
            )
        };
        pending
            .check_asked(self.name(), &self.settings.issuer, now)
            .map_err(|(expected, got)| refuse(&expected, got))?;
        let Proof::Oidc(proof) = pending.proof() else {
            return Err(refuse("an answer of SAML", "one of OpenID Connect"));
        };
        match &answer.state {
            Some(state) if equal_bytes(state.as_bytes(), pending.state().as_bytes()) => Ok(proof),
            Some(_) => Err(refuse("the state of this login", "another one")),
            None => Err(refuse("the state of this login", "none")),
        }
    }

    fn authorization_url(&self, metadata: &Metadata, state: &str, proof: &OidcProof) -> String {
        let verifier = PkceCodeVerifier::new(proof.verifier.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let mut scopes: Vec<&str> = self.settings.scopes.iter().map(String::as_str).collect();
        if !scopes.contains(&"openid") {
            scopes.insert(0, "openid");
        }
        let mut url = metadata.authorization.clone();
        // The provider's own query stays (Google's has one).
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.settings.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", &proof.nonce)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        url.into()
    }

    async fn redeem_code(
        &self,
        metadata: &Metadata,
        code: &Secret,
        verifier: &str,
    ) -> Result<TokenResponse, LoginRefusal> {
        let request = exchange::token_request(&self.settings, &metadata.token, code, verifier);
        let answer =
            self.provider.ask_provider(Class::OidcTokenEndpoint, "tokens for the code", request).await?;
        exchange::read_tokens(&answer, &SentSecrets::of(&self.settings, code, verifier))
    }

    /// Verifies something with the provider's keys; where none fits, once more with keys that are newer.
    async fn with_newest_keys<T>(
        &self,
        known: Arc<Known>,
        now: Timestamp,
        verify: impl Fn(&KeySet) -> Result<T, LoginRefusal>,
    ) -> Result<(T, Arc<Known>), LoginRefusal> {
        let refusal = match verify(&known.keys) {
            // A wrong signature too: a provider without key ids changes its key under the same (missing) name.
            Err(refusal) if matches!(refusal.class, Class::OidcIdTokenKey | Class::OidcIdTokenSignature) => {
                refusal
            }
            verified => return verified.map(|verified| (verified, known)),
        };
        let newer = self.provider.keys_after(&known, now).await.ok_or(refusal)?;
        verify(&newer.keys).map(|verified| (verified, newer))
    }

    /// Asks userinfo for what the ID token lacks. `None` where nobody need be asked, or nobody can be: Entra's userinfo
    /// never says more than its ID token.
    async fn told_by_userinfo(
        &self,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, LoginRefusal> {
        if verified.lack == Lack::Nothing || self.settings.subject == SubjectClaim::Entra {
            return Ok(None);
        }
        let metadata = &verified.known.metadata;
        let (Some(address), Some(access_token)) = (&metadata.userinfo, &verified.tokens.access_token) else {
            return Ok(None);
        };
        let request = exchange::userinfo_request(address, access_token);
        let answer =
            self.provider.ask_provider(Class::OidcUserinfo, "claims about the person", request).await?;
        match exchange::read_userinfo(&answer)? {
            Userinfo::Plain(claims) => Ok(Some(claims)),
            Userinfo::Signed(token) => {
                let verify = |keys: &KeySet| self.signed_userinfo(&token, keys, &metadata.signed_userinfo);
                let verified = self.with_newest_keys(verified.known.clone(), now, verify).await;
                let as_userinfo = |refusal| LoginRefusal { class: Class::OidcUserinfo, ..refusal };
                verified.map(|(claims, _)| Some(claims)).map_err(as_userinfo)
            }
        }
    }

    /// Verifies a signed answer of userinfo: the provider's signature, and its issuer and audience where it names them
    /// (OIDC Core §5.3.2). The caller compares `sub`.
    fn signed_userinfo(
        &self,
        token: &Secret,
        keys: &KeySet,
        allowed: &[Algorithm],
    ) -> Result<Map<String, Value>, LoginRefusal> {
        let refuse = |expected: &str, got: &str| {
            LoginRefusal::new(
                Class::OidcUserinfo,
                expected,
                got,
                "The identity provider's userinfo answer is broken.",
            )
        };
        let malformed = |got: &str| refuse("claims as JSON, or signed", got);
        let claims =
            jws::verify_signature(token.expose(), keys, allowed, TokenKind::Plain, malformed)?.claims;
        let said = |name: &str| claims.get(name).filter(|value| !value.is_null());
        if said("iss").is_some_and(|issuer| issuer != self.settings.issuer.as_str()) {
            return Err(refuse(&format!("userinfo of {}", self.settings.issuer), "that of another issuer"));
        }
        let is_ours = |audience: &Value| audience == self.settings.client_id.as_str();
        let is_for_us = |audience: &Value| match audience {
            Value::Array(audiences) => audiences.iter().any(is_ours),
            audience => is_ours(audience),
        };
        if said("aud").is_some_and(|audience| !is_for_us(audience)) {
            let expected = format!("userinfo for {}", self.settings.client_id);
            return Err(refuse(&expected, "that for another client"));
        }
        Ok(claims)
    }
}

/// An answer that was verified: who it is, is known, and what is said of them may still be incomplete.
pub struct Verified {
    subject: String,
    claims: Claims,
    lack: Lack,
    tokens: TokenResponse,
    known: Arc<Known>,
}

impl Verified {
    /// Gives the subject, as [`Assertion::subject`] says it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Tells whether the ID token says everything that this login uses.
    pub fn is_complete(&self) -> bool {
        self.lack == Lack::Nothing
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified(subject {})", self.subject)
    }
}

/// Tells whether the answer comes from the provider that was asked (RFC 9207): the defence against mix-up, where a
/// bad provider has us send a good one's code to itself.
fn comes_from(issuer: &str, always_said: bool, answer: &AuthorizationResponse) -> Result<(), LoginRefusal> {
    let got = match answer.iss.as_deref() {
        Some(iss) if iss == issuer => return Ok(()),
        None if !always_said => return Ok(()),
        Some(iss) => iss,
        None => "none",
    };
    Err(LoginRefusal::new(
        Class::OidcIssParam,
        format_args!("iss {issuer}"),
        got,
        "Another identity provider answered. If it is the right one, write issuer exactly as it does.",
    ))
}

fn code_of(answer: AuthorizationResponse) -> Result<Secret, LoginRefusal> {
    if let Some(refusal) = answer.error() {
        return Err(refusal);
    }
    answer.code.filter(|code| !code.expose().is_empty()).ok_or_else(|| {
        LoginRefusal::new(
            Class::OidcProviderError,
            "a code",
            "none",
            "The identity provider must answer with response_type code.",
        )
    })
}

impl Claims {
    /// Gives what the provider calls the person and, where it says so, its own session (Back-Channel Logout §2.1).
    fn idp_session(&self) -> IdpSession {
        let said = |name| self.of_the_token(name).and_then(Value::as_str).map(str::to_owned);
        IdpSession { subject: said("sub").unwrap_or_default(), session: said("sid") }
    }

    /// Gives the end of the session that the provider wants, in seconds, where it says so.
    fn session_end(&self) -> Option<Timestamp> {
        let seconds = self.of_the_token("session_expiry").and_then(Value::as_f64)?;
        Some(Timestamp((seconds * 1000.0) as i64))
    }
}
