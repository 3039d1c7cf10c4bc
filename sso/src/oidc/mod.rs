//! OpenID Connect: sends a browser to a provider and verifies what comes back (OIDC Core §3.1, the code flow with PKCE).
//!
//! [`Idp::finish`] is the order of the checks: does the answer belong to this login, does it come from the provider
//! asked, what is the code worth, is the ID token genuine and meant for us, who is it. An [`Assertion`] comes out at
//! the end or not at all. Nothing here knows users: linking is the store's.

mod answer;
mod claims;
mod exchange;
mod hosts;
mod id_token;
mod jwks;
mod metadata;
mod pending;
mod provider;
mod settings;

use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;
use serde_json::Value;

pub use answer::Answer;
pub(crate) use claims::Claims;
pub use pending::{Ask, FLOW_MS, Pending};
pub use settings::{ClaimNames, ClientAuth, OidcSettings, Subject};

use self::exchange::Tokens;
use self::id_token::Expected;
use self::metadata::Metadata;
use self::provider::{Known, Provider};
use crate::{Assertion, Class, Fetch, Refusal};

/// One OpenID provider.
pub struct Idp {
    settings: OidcSettings,
    provider: Provider,
}

impl Idp {
    /// A provider that has not been asked anything yet.
    pub fn new(settings: OidcSettings, fetch: Fetch) -> Self {
        Self { provider: Provider::new(&settings, fetch), settings }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How it is set up.
    pub fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Whether it answered the last time it was asked for anything; false before the first time.
    pub fn is_answering(&self) -> bool {
        self.provider.is_answering()
    }

    /// Asks for metadata and keys; called at the start and every few minutes. What was known before stays where this
    /// fails.
    ///
    /// # Errors
    /// `metadata`, where the provider does not answer or answers nonsense.
    pub async fn refresh(&self, now: Timestamp) -> Result<(), Refusal> {
        self.provider.refresh(now).await.map(drop)
    }

    /// Starts a login: what to remember, to be sealed into the browser's cookie, and where to send the browser.
    ///
    /// # Errors
    /// `metadata`, where the provider does not answer.
    pub async fn begin(
        &self,
        ask: &Ask,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(Pending, String), Refusal> {
        let known = self.provider.answering(now).await?;
        let pending = Pending::new(self.name(), &self.settings.issuer, ask, random, now);
        let url = self.authorization_url(&known.metadata, &pending);
        Ok((pending, url))
    }

    /// Verifies the answer to a login.
    ///
    /// # Errors
    /// The first check that fails, as its class.
    pub async fn finish(
        &self,
        pending: &Pending,
        answer: Answer,
        now: Timestamp,
    ) -> Result<Assertion, Refusal> {
        pending.fits(self.name(), &self.settings.issuer, &answer, now)?;
        let known = self.provider.known(now).await?;
        comes_from(pending.issuer(), known.metadata.names_issuer, &answer)?;
        let code = code_of(answer)?;
        let tokens = self.redeem(&known.metadata, &code, pending.verifier()).await?;
        let claims = self.verify(known.clone(), pending, &tokens, now).await?;
        let claims = self.complete(claims, &known.metadata, &tokens).await?;
        let person = claims.person(&self.settings)?;
        Ok(Assertion {
            idp: self.settings.name.clone(),
            issuer: self.settings.issuer.clone(),
            subject: person.subject,
            email: person.email,
            email_verified: person.email_verified,
            name: person.name,
            groups: person.groups,
            session_end: claims.session_end(),
            claims,
            id_token: tokens.id_token,
        })
    }

    /// Where to send a browser to be signed out at the provider too (RP-Initiated Logout §2), after our own session
    /// has ended. `None` where the provider offers no such place, as Google, or is not known yet.
    pub async fn logout_url(&self, hint: Option<&Secret>, back_to: &str, state: &str) -> Option<String> {
        let mut url = self.provider.cached()?.metadata.end_session.clone()?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(hint) = hint {
                query.append_pair("id_token_hint", hint.expose());
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

    fn authorization_url(&self, metadata: &Metadata, pending: &Pending) -> String {
        let verifier = PkceCodeVerifier::new(pending.verifier().to_owned());
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
            .append_pair("state", pending.state())
            .append_pair("nonce", pending.nonce())
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        url.into()
    }

    async fn redeem(&self, metadata: &Metadata, code: &Secret, verifier: &str) -> Result<Tokens, Refusal> {
        let request = exchange::token_request(&self.settings, &metadata.token, code, verifier);
        let answer = self.provider.ask(Class::TokenEndpoint, "tokens for the code", request).await?;
        exchange::tokens(&answer)
    }

    /// Verifies the ID token; where no key fits, once more with keys that are newer.
    async fn verify(
        &self,
        known: std::sync::Arc<Known>,
        pending: &Pending,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Result<Claims, Refusal> {
        let expected = Expected {
            issuer: pending.issuer(),
            client_id: &self.settings.client_id,
            nonce: pending.nonce(),
            access_token: tokens.access_token.as_ref(),
            skew_ms: self.settings.skew_ms,
            now,
        };
        let refusal = match id_token::verify(&tokens.id_token, &known.keys, &expected) {
            // A wrong signature too: a provider without key ids changes its key under the same (missing) name.
            Err(refusal) if matches!(refusal.class, Class::IdTokenKey | Class::IdTokenSignature) => refusal,
            verified => return verified.map(Claims::of_token),
        };
        let newer = self.provider.keys_after(&known, now).await.ok_or(refusal)?;
        id_token::verify(&tokens.id_token, &newer.keys, &expected).map(Claims::of_token)
    }

    /// Fetches what the ID token lacks. Entra's userinfo never says more than its ID token.
    async fn complete(
        &self,
        mut claims: Claims,
        metadata: &Metadata,
        tokens: &Tokens,
    ) -> Result<Claims, Refusal> {
        if self.settings.subject == Subject::Entra || claims.suffice(&self.settings) {
            return Ok(claims);
        }
        if let (Some(address), Some(access_token)) = (&metadata.userinfo, &tokens.access_token) {
            let request = exchange::userinfo_request(address, access_token);
            let answer = self.provider.ask(Class::Userinfo, "claims about the person", request).await?;
            claims.complete(exchange::userinfo(&answer)?)?;
        }
        Ok(claims)
    }
}

/// Whether the answer comes from the provider that was asked (RFC 9207): the defence against mix-up, where a bad
/// provider has us send a good one's code to itself.
fn comes_from(issuer: &str, always_said: bool, answer: &Answer) -> Result<(), Refusal> {
    let got = match answer.iss.as_deref() {
        Some(iss) if iss == issuer => return Ok(()),
        None if !always_said => return Ok(()),
        Some(iss) => iss,
        None => "none",
    };
    Err(Refusal::new(
        Class::IssParam,
        format_args!("iss {issuer}"),
        got,
        "Another identity provider answered. If it is the right one, write issuer exactly as it does.",
    ))
}

fn code_of(answer: Answer) -> Result<Secret, Refusal> {
    if let Some(error) = answer.error {
        let description = answer.error_description.map_or_else(String::new, |text| format!(": {text}"));
        let remedy = match error.as_str() {
            "access_denied" => "Assign the person to the application at the identity provider.",
            "invalid_scope" => "Ask for scopes that the identity provider knows: see scopes.",
            "temporarily_unavailable" | "server_error" => "Look into the log of the identity provider.",
            _ => {
                "Look up the error in the identity provider's log and check how the application is registered there."
            }
        };
        return Err(Refusal::new(
            Class::ProviderError,
            "a code",
            format_args!("{error}{description}"),
            remedy,
        ));
    }
    answer.code.filter(|code| !code.expose().is_empty()).ok_or_else(|| {
        Refusal::new(
            Class::ProviderError,
            "a code",
            "none",
            "The identity provider must answer with response_type code.",
        )
    })
}

impl Claims {
    /// When the provider wants the session to end, in seconds, where it says so.
    fn session_end(&self) -> Option<Timestamp> {
        let seconds = self.of_the_token("session_expiry").and_then(Value::as_f64)?;
        Some(Timestamp((seconds * 1000.0) as i64))
    }
}
