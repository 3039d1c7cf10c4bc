//! The authorization endpoint: what a client asks for through a browser, and the code that the browser carries back.

use portcullis_policy::Timestamp;

use super::pairs::{Pairs, Repeated, single_value, with_query};
use super::pkce::is_s256;
use super::{OpenIdProvider, ProviderLogin};

/// The life of a code until it is redeemed, in milliseconds.
pub(super) const CODE_MS: i64 = 60_000;

/// A code that was given out.
pub(super) struct Code {
    pub(super) challenge: String,
    pub(super) nonce: String,
    pub(super) scopes: Vec<String>,
    pub(super) browser: ProviderLogin,
    pub(super) expires: Timestamp,
    /// The access token it was redeemed for; a second use takes it back.
    pub(super) spent: Option<String>,
}

/// An authorization request that may be answered at its redirect URI.
#[derive(Debug)]
pub struct AuthorizationRequest {
    state: Option<String>,
    nonce: String,
    challenge: String,
    scopes: Vec<String>,
    /// `prompt=none`: answer at once or not at all.
    pub silent: bool,
}

/// Reasons why an authorization request is not served.
#[derive(Debug)]
pub enum AskError {
    /// An unknown client, so that nobody is sent anywhere: a page says this.
    Stranger(&'static str),
    /// The client is told, at this address.
    Back(String),
}

impl OpenIdProvider {
    /// Reads an authorization request (OpenID Connect Core §3.1.2.1).
    ///
    /// # Errors
    /// `Stranger` where the client or its redirect URI is not the registered one; `Back` for everything else.
    pub fn ask(&self, query: &Pairs) -> Result<AuthorizationRequest, AskError> {
        if single_value(query, "client_id") != Ok(Some(&self.client.id)) {
            return Err(AskError::Stranger("No such client is registered here."));
        }
        if single_value(query, "redirect_uri") != Ok(Some(&self.client.redirect_uri)) {
            return Err(AskError::Stranger("The redirect URI is not the registered one, letter for letter."));
        }
        let state = single_value(query, "state").ok().flatten().map(str::to_owned);
        let back =
            |error, why| AskError::Back(self.back(&[("error", error), ("error_description", why)], &state));
        let asked = |name: &str| {
            single_value(query, name)
                .map_err(|Repeated| back("invalid_request", "a parameter is given twice"))
        };
        asked("state")?;
        if asked("request")?.is_some() {
            return Err(back("request_not_supported", "request objects are not served"));
        }
        if asked("request_uri")?.is_some() {
            return Err(back("request_uri_not_supported", "request objects are not served"));
        }
        if asked("response_type")? != Some("code") {
            return Err(back("unsupported_response_type", "only response_type=code is served"));
        }
        if asked("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(back("invalid_request", "only response_mode=query is served"));
        }
        let scopes: Vec<String> =
            asked("scope")?.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
        if !scopes.iter().any(|scope| scope == "openid") {
            return Err(back("invalid_scope", "the scope openid is missing"));
        }
        let challenge = asked("code_challenge")?.unwrap_or_default();
        if asked("code_challenge_method")? != Some("S256") || !is_s256(challenge) {
            return Err(back("invalid_request", "PKCE with S256 is required"));
        }
        let nonce = asked("nonce")?.unwrap_or_default();
        if nonce.is_empty() {
            return Err(back("invalid_request", "a nonce is required"));
        }
        let silent = asked("prompt")?.is_some_and(|prompt| prompt == "none");
        let (nonce, challenge) = (nonce.to_owned(), challenge.to_owned());
        Ok(AuthorizationRequest { state, nonce, challenge, scopes, silent })
    }

    /// Gives the address at which `prompt=none` ends when nobody is signed in.
    pub fn login_required(&self, ask: &AuthorizationRequest) -> String {
        self.back(&[("error", "login_required"), ("error_description", "nobody is signed in")], &ask.state)
    }

    /// Gives out a code for a browser: the address to send it to.
    pub fn grant(&self, ask: &AuthorizationRequest, browser: ProviderLogin, now: Timestamp) -> String {
        let AuthorizationRequest { nonce, challenge, scopes, .. } = ask;
        let kept = Code {
            challenge: challenge.clone(),
            nonce: nonce.clone(),
            scopes: scopes.clone(),
            browser,
            expires: now.plus_ms(CODE_MS),
            spent: None,
        };
        let mut desk = self.desk();
        let code = desk.random.draw_token();
        desk.codes.insert(code.expose(), kept);
        drop(desk);
        self.back(&[("code", code.expose())], &ask.state)
    }

    /// The redirect URI with an answer, the state as it came, and the issuer.
    fn back(&self, answer: &[(&str, &str)], state: &Option<String>) -> String {
        let state = state.iter().map(|state| ("state", state.as_str()));
        let pairs = answer.iter().copied().chain(state).chain([("iss", self.issuer.as_str())]);
        with_query(&self.client.redirect_uri, pairs)
    }
}
