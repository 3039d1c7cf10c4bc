//! The rehearsal IdP's OpenID provider: small, and strict where the standard is.
//!
//! Authorization code with PKCE (S256 only), one client. It refuses a redirect URI that is not the registered one
//! byte for byte, and never redirects there; a code that was used before (what it gave is taken back, RFC 6749
//! §4.1.2); a verifier that does not fit. Every answer names the issuer (RFC 9207). Nothing is kept beyond memory.
//! It asks for no password: it is for rehearsal, and stands on loopback alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use portcullis_keys::{Random, Secret, SigningKey, equal, sha256};
use portcullis_policy::Timestamp;
use serde_json::{Value, json};
use url::Url;

/// The life of a code until it is redeemed, in milliseconds.
const CODE_MS: i64 = 60_000;

/// The life of a token, in milliseconds.
const TOKEN_MS: i64 = 300_000;

/// The number of sign-ins that are remembered; the oldest go first.
const MOST: usize = 1_000;

/// The one client this provider knows.
pub(crate) struct OidcClient {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    /// Compared byte for byte.
    pub(crate) redirect_uri: String,
    /// The address that a logout may send the browser back to; compared byte for byte.
    pub(crate) post_logout_uri: String,
}

/// The claims of the provider about a person.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) subject: String,
    pub(crate) name: String,
    pub(crate) user_name: String,
    pub(crate) email: String,
    pub(crate) group: String,
}

/// A browser that is signed in at the IdP.
#[derive(Clone)]
pub(crate) struct ProviderLogin {
    pub(crate) profile: Profile,
    /// The name of the sign-in in tokens (`sid`).
    sid: String,
    since: Timestamp,
}

/// The provider.
pub(crate) struct RehearsalProvider {
    issuer: String,
    client: OidcClient,
    key: SigningKey,
    desk: Mutex<ProviderState>,
}

#[derive(Default)]
struct ProviderState {
    codes: HashMap<String, Code>,
    tokens: HashMap<String, AccessToken>,
    browsers: HashMap<String, ProviderLogin>,
    /// ID tokens given out, and the sign-in each belongs to: a logout hint must be one of them.
    hints: HashMap<String, (Timestamp, String)>,
}

struct Code {
    challenge: String,
    nonce: String,
    scopes: Vec<String>,
    browser: ProviderLogin,
    expires: Timestamp,
    /// The access token it was redeemed for; a second use takes it back.
    spent: Option<String>,
}

struct AccessToken {
    profile: Profile,
    scopes: Vec<String>,
    expires: Timestamp,
}

/// An authorization request that may be answered at its redirect URI.
#[derive(Debug)]
pub(crate) struct AuthorizationRequest {
    state: Option<String>,
    nonce: String,
    challenge: String,
    scopes: Vec<String>,
    /// `prompt=none`: answer at once or not at all.
    pub(crate) silent: bool,
}

/// Reasons why an authorization request is not served.
#[derive(Debug)]
pub(crate) enum AskError {
    /// An unknown client, so that nobody is sent anywhere: a page says this.
    Stranger(&'static str),
    /// The client is told, at this address.
    Back(String),
}

/// Refusals of the token endpoint (RFC 6749 §5.2).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the client is not the registered one, or its secret is wrong")]
    Client,
    #[error("{0}")]
    Request(&'static str),
    #[error("only authorization_code is served")]
    GrantType,
    #[error("{0}")]
    Grant(&'static str),
}

impl TokenError {
    /// The status and the standard's word for it.
    pub(crate) fn word(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Client => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::Request(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::GrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Grant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        }
    }
}

/// Name and value pairs of a query or a form, decoded, in the order they came.
pub(crate) type Pairs = [(String, String)];

impl RehearsalProvider {
    /// A provider at `issuer` (no slash at its end) for one client, with a key of its own.
    pub(crate) fn new(issuer: &str, client: OidcClient, random: &mut Random) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(random.bytes::<6>());
        Self { issuer: issuer.to_owned(), client, key: SigningKey::new(&kid, random), desk: Mutex::default() }
    }

    /// The discovery document (OpenID Connect Discovery §3).
    pub(crate) fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"),
            "jwks_uri": at("/jwks"),
            "end_session_endpoint": at("/end-session"),
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "name",
                "preferred_username", "email", "email_verified", "groups"],
            "prompt_values_supported": ["none", "login", "select_account"],
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// The public key, as a JWK set.
    pub(crate) fn jwks(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.key.jwk())
    }

    /// Reads an authorization request (OpenID Connect Core §3.1.2.1).
    ///
    /// # Errors
    /// `Stranger` where the client or its redirect URI is not the registered one; `Back` for everything else.
    pub(crate) fn ask(&self, query: &Pairs) -> Result<AuthorizationRequest, AskError> {
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
    pub(crate) fn login_required(&self, ask: &AuthorizationRequest) -> String {
        self.back(&[("error", "login_required"), ("error_description", "nobody is signed in")], &ask.state)
    }

    /// Signs a browser in at the IdP: the value of its cookie.
    pub(crate) fn sign_in(&self, profile: Profile, random: &mut Random, now: Timestamp) -> Secret {
        let (cookie, sid) = (random.token(), random.reference());
        let mut desk = self.desk();
        evict_oldest(&mut desk.browsers, |browser| browser.since);
        desk.browsers.insert(cookie.expose().to_owned(), ProviderLogin { profile, sid, since: now });
        cookie
    }

    /// The browser a cookie belongs to.
    pub(crate) fn browser(&self, cookie: &str) -> Option<ProviderLogin> {
        self.desk().browsers.get(cookie).cloned()
    }

    /// Gives out a code for a browser: the address to send it to.
    pub(crate) fn grant(
        &self,
        ask: &AuthorizationRequest,
        browser: ProviderLogin,
        random: &mut Random,
        now: Timestamp,
    ) -> String {
        let code = random.token();
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
        evict_oldest(&mut desk.codes, |code| code.expires);
        desk.codes.insert(code.expose().to_owned(), kept);
        drop(desk);
        self.back(&[("code", code.expose())], &ask.state)
    }

    /// Redeems a code (RFC 6749 §4.1.3, RFC 7636 §4.6): the body of the token answer.
    ///
    /// # Errors
    /// A wrong client; a code that is unknown, expired or spent; a redirect URI or verifier that does not fit.
    pub(crate) fn redeem(
        &self,
        authorization: Option<&str>,
        form: &Pairs,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<Value, TokenError> {
        if !authorization.is_some_and(|header| self.is_client(header)) {
            return Err(TokenError::Client);
        }
        let given = |name: &str| {
            single_value(form, name).map_err(|Repeated| TokenError::Request("a parameter is given twice"))
        };
        match given("grant_type")? {
            Some("authorization_code") => {}
            Some(_) => return Err(TokenError::GrantType),
            None => return Err(TokenError::Request("grant_type is missing")),
        }
        if given("client_id")?.is_some_and(|id| id != self.client.id) {
            return Err(TokenError::Client);
        }
        let code_given = given("code")?.ok_or(TokenError::Request("code is missing"))?;
        let verifier = given("code_verifier")?.ok_or(TokenError::Request("code_verifier is missing"))?;

        let mut desk = self.desk();
        let ProviderState { codes, tokens, hints, .. } = &mut *desk;
        let code = codes.get_mut(code_given).ok_or(TokenError::Grant("the code is unknown"))?;
        if let Some(token) = &code.spent {
            tokens.remove(token);
            return Err(TokenError::Grant("the code was used before"));
        }
        // From here on it is spent, whatever comes: a second try is a second use.
        code.spent = Some(String::new());
        if code.expires <= now {
            return Err(TokenError::Grant("the code has expired"));
        }
        if given("redirect_uri")? != Some(&self.client.redirect_uri) {
            return Err(TokenError::Grant("the redirect URI is not the one of the authorization request"));
        }
        if !is_verifier(verifier) || !equal(s256_challenge(verifier).as_bytes(), code.challenge.as_bytes()) {
            return Err(TokenError::Grant("the code verifier does not fit the challenge"));
        }

        let mut claims = personal_claims(&code.browser.profile, &code.scopes);
        let stated = [
            ("iss", json!(self.issuer)),
            ("aud", json!(self.client.id)),
            ("iat", json!(now.seconds())),
            ("exp", json!(now.plus_ms(TOKEN_MS).seconds())),
            ("auth_time", json!(code.browser.since.seconds())),
            ("nonce", json!(code.nonce)),
            ("sid", json!(code.browser.sid)),
        ];
        claims.extend(stated.map(|(name, value)| (name.to_owned(), value)));
        let id_token = self.key.sign(&Value::Object(claims).to_string());
        let access = random.token();
        code.spent = Some(access.expose().to_owned());
        let token = AccessToken {
            profile: code.browser.profile.clone(),
            scopes: code.scopes.clone(),
            expires: now.plus_ms(TOKEN_MS),
        };
        let scope = code.scopes.join(" ");
        evict_oldest(hints, |(since, _)| *since);
        hints.insert(id_token.expose().to_owned(), (now, code.browser.sid.clone()));
        evict_oldest(tokens, |token| token.expires);
        tokens.insert(access.expose().to_owned(), token);
        Ok(json!({
            "access_token": access.expose(),
            "token_type": "Bearer",
            "expires_in": TOKEN_MS / 1000,
            "scope": scope,
            "id_token": id_token.expose(),
        }))
    }

    /// The claims of whoever an access token was given for (OpenID Connect Core §5.3); `None`: no good token.
    pub(crate) fn userinfo(&self, authorization: Option<&str>, now: Timestamp) -> Option<Value> {
        let token = credentials_of(authorization?, "Bearer")?;
        let desk = self.desk();
        let token = desk.tokens.get(token).filter(|token| now < token.expires)?;
        Some(Value::Object(personal_claims(&token.profile, &token.scopes)))
    }

    /// Tells whether a logout request may go ahead without asking: its hint is an ID token of this provider, and of
    /// the sign-in that the browser still has, if it has one (RP-Initiated Logout §2).
    pub(crate) fn may_sign_out(&self, request: &Pairs, cookie: Option<&str>) -> bool {
        let desk = self.desk();
        let Ok(Some(hint)) = single_value(request, "id_token_hint") else { return false };
        let Some((_, sid)) = desk.hints.get(hint) else { return false };
        cookie.and_then(|cookie| desk.browsers.get(cookie)).is_none_or(|browser| browser.sid == *sid)
    }

    /// Ends what a cookie stands for at the IdP.
    pub(crate) fn sign_out(&self, cookie: &str) {
        self.desk().browsers.remove(cookie);
    }

    /// Gives the address that a logout goes to afterwards: the registered address, if that is what was asked for by
    /// somebody known.
    pub(crate) fn after_logout(&self, request: &Pairs) -> Option<String> {
        let client = single_value(request, "client_id").ok()?;
        let hint = single_value(request, "id_token_hint").ok()?;
        let known = match (client, hint) {
            (Some(client), _) => client == self.client.id,
            (None, Some(hint)) => self.desk().hints.contains_key(hint),
            (None, None) => false,
        };
        let to = single_value(request, "post_logout_redirect_uri").ok()??;
        if !known || to != self.client.post_logout_uri {
            return None;
        }
        let state = single_value(request, "state").ok()?.map(str::to_owned);
        Some(with_query(to, state.iter().map(|state| ("state", state.as_str()))))
    }

    /// The redirect URI with an answer, the state as it came, and the issuer.
    fn back(&self, answer: &[(&str, &str)], state: &Option<String>) -> String {
        let state = state.iter().map(|state| ("state", state.as_str()));
        let pairs = answer.iter().copied().chain(state).chain([("iss", self.issuer.as_str())]);
        with_query(&self.client.redirect_uri, pairs)
    }

    /// Client authentication by `client_secret_basic`: both halves are form-encoded (RFC 6749 §2.3.1).
    fn is_client(&self, authorization: &str) -> bool {
        let Some(encoded) = credentials_of(authorization, "Basic") else { return false };
        let Some(pair) = STANDARD.decode(encoded).ok().and_then(|pair| String::from_utf8(pair).ok()) else {
            return false;
        };
        let Some((id, secret)) = pair.split_once(':') else { return false };
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
        let right_id = equal(&decoded(id), self.client.id.as_bytes());
        let right_secret = equal(&decoded(secret), self.client.secret.expose().as_bytes());
        right_id & right_secret
    }

    fn desk(&self) -> MutexGuard<'_, ProviderState> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A parameter that stands there more than once.
#[derive(Debug, PartialEq, Eq)]
struct Repeated;

/// The one value of a parameter; an empty one counts as left out (RFC 6749 §3.1).
fn single_value<'a>(pairs: &'a Pairs, name: &str) -> Result<Option<&'a str>, Repeated> {
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Repeated),
        (value, None) => Ok(value.filter(|value| !value.is_empty())),
    }
}

/// The credentials of an `Authorization` header of this scheme; the scheme's case does not matter (RFC 9110 §11.1).
fn credentials_of<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (named, credentials) = authorization.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| credentials.trim_start_matches(' '))
}

fn with_query<'a>(address: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    match Url::parse(address) {
        Ok(mut url) => {
            url.query_pairs_mut().extend_pairs(pairs);
            // `extend_pairs` with nothing leaves a bare question mark.
            if url.query() == Some("") {
                url.set_query(None);
            }
            url.into()
        }
        // Both addresses are made by the rehearsal itself.
        Err(_) => address.to_owned(),
    }
}

fn s256_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

/// A challenge is the base64url of 32 bytes.
fn is_s256(challenge: &str) -> bool {
    URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|bytes| bytes.len() == 32)
}

/// 43 to 128 unreserved characters (RFC 7636 §4.1).
fn is_verifier(verifier: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

fn personal_claims(profile: &Profile, scopes: &[String]) -> serde_json::Map<String, Value> {
    let mut claims = serde_json::Map::new();
    claims.insert("sub".into(), json!(profile.subject));
    for scope in scopes {
        match scope.as_str() {
            "profile" => {
                claims.insert("name".into(), json!(profile.name));
                claims.insert("preferred_username".into(), json!(profile.user_name));
            }
            "email" => {
                claims.insert("email".into(), json!(profile.email));
                claims.insert("email_verified".into(), json!(true));
            }
            "groups" => {
                claims.insert("groups".into(), json!([profile.group]));
            }
            _ => {}
        }
    }
    claims
}

/// Makes room for one more by letting the oldest go.
fn evict_oldest<T>(map: &mut HashMap<String, T>, age: impl Fn(&T) -> Timestamp) {
    if map.len() >= MOST
        && let Some(oldest) = map.iter().min_by_key(|(_, kept)| age(kept)).map(|(key, _)| key.clone())
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLBACK: &str = "http://app.localhost:8080/.portcullis/callback/rehearsal";
    const GOODBYE: &str = "http://app.localhost:8080/.portcullis/logged-out";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_whole_sign_in() {
        let (provider, mut random) = provider();
        let to = sign_in(&provider, &mut random);
        assert_eq!(to.origin().ascii_serialization(), "http://app.localhost:8080");
        assert_eq!(part(&to, "state").as_deref(), Some("a b&c"));
        assert_eq!(part(&to, "iss").as_deref(), Some("http://idp.localhost:8083"));

        let code = part(&to, "code").unwrap();
        let answer =
            provider.redeem(Some(&basic("app", "s:3+%")), &token_form(&code), &mut random, NOW).unwrap();
        let claims = claims(answer["id_token"].as_str().unwrap());
        assert_eq!(claims["sub"], "p-1");
        assert_eq!(claims["nonce"], "n-1");
        assert_eq!(claims["aud"], "app");
        assert_eq!(claims["iss"], "http://idp.localhost:8083");
        assert_eq!(claims["exp"], 1_800_000_300);
        assert_eq!(claims["email_verified"], true);
        assert!(claims.get("groups").is_none(), "groups were not asked for");

        let bearer = format!("bearer {}", answer["access_token"].as_str().unwrap());
        assert_eq!(provider.userinfo(Some(&bearer), NOW).unwrap()["email"], "alice@fernhill.example");
        assert!(provider.userinfo(Some(&bearer), NOW.plus_ms(TOKEN_MS)).is_none());
        assert!(provider.userinfo(Some("Bearer nonsense"), NOW).is_none());
    }

    #[test]
    fn a_redirect_uri_is_compared_letter_for_letter_and_never_followed() {
        let (provider, _) = provider();
        for wrong in [
            "http://app.localhost:8080/.portcullis/callback/rehearsal/",
            "http://app.localhost:8080/.portcullis/callback/Rehearsal",
            "http://app.localhost:8080/.portcullis/callback/rehearsal?x=1",
            "http://APP.localhost:8080/.portcullis/callback/rehearsal",
            "http://app.localhost:8080/.portcullis/callback/../callback/rehearsal",
            "http://evil.example/",
            "javascript:alert(1)",
            "",
        ] {
            let query = changed(&ask_query(), "redirect_uri", wrong);
            assert!(matches!(provider.ask(&query), Err(AskError::Stranger(_))), "{wrong}");
        }
        let mut twice = ask_query();
        twice.push(("redirect_uri".into(), "http://evil.example/".into()));
        assert!(matches!(provider.ask(&twice), Err(AskError::Stranger(_))));
        assert!(matches!(
            provider.ask(&changed(&ask_query(), "client_id", "other")),
            Err(AskError::Stranger(_))
        ));
    }

    #[test]
    fn what_else_is_wrong_goes_back_with_the_state_and_the_issuer() {
        let (provider, _) = provider();
        for (name, value, error) in [
            ("response_type", "token", "unsupported_response_type"),
            ("response_type", "", "unsupported_response_type"),
            ("response_mode", "fragment", "invalid_request"),
            ("scope", "profile email", "invalid_scope"),
            ("code_challenge_method", "plain", "invalid_request"),
            ("code_challenge_method", "", "invalid_request"),
            ("code_challenge", VERIFIER.get(..20).unwrap(), "invalid_request"),
            ("code_challenge", "", "invalid_request"),
            ("nonce", "", "invalid_request"),
            ("request", "eyJ9", "request_not_supported"),
            ("request_uri", "http://x", "request_uri_not_supported"),
        ] {
            let Err(AskError::Back(to)) = provider.ask(&changed(&ask_query(), name, value)) else {
                panic!("{name}={value} was not sent back")
            };
            let to = Url::parse(&to).unwrap();
            assert!(to.as_str().starts_with(CALLBACK), "{to}");
            assert_eq!(part(&to, "error").as_deref(), Some(error), "{name}={value}");
            assert_eq!(part(&to, "state").as_deref(), Some("a b&c"), "{name}={value}");
            assert_eq!(part(&to, "iss").as_deref(), Some("http://idp.localhost:8083"));
        }
    }

    #[test]
    fn a_code_is_good_once_and_a_second_use_takes_its_token_back() {
        let (provider, mut random) = provider();
        let code = part(&sign_in(&provider, &mut random), "code").unwrap();
        let client = basic("app", "s:3+%");
        let answer = provider.redeem(Some(&client), &token_form(&code), &mut random, NOW).unwrap();
        let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        assert!(provider.userinfo(Some(&bearer), NOW).is_some());

        let again = provider.redeem(Some(&client), &token_form(&code), &mut random, NOW);
        assert_eq!(again.unwrap_err(), TokenError::Grant("the code was used before"));
        assert!(provider.userinfo(Some(&bearer), NOW).is_none());
    }

    #[test]
    fn a_wrong_verifier_spends_the_code() {
        let (provider, mut random) = provider();
        let client = basic("app", "s:3+%");
        for wrong in [&VERIFIER.replace('d', "e"), VERIFIER.get(..42).unwrap(), "", &s256_challenge(VERIFIER)]
        {
            let code = part(&sign_in(&provider, &mut random), "code").unwrap();
            let form = changed(&token_form(&code), "code_verifier", wrong);
            assert!(provider.redeem(Some(&client), &form, &mut random, NOW).is_err(), "{wrong}");
            if !wrong.is_empty() {
                let right = provider.redeem(Some(&client), &token_form(&code), &mut random, NOW);
                assert!(matches!(right, Err(TokenError::Grant(_))), "{wrong}");
            }
        }
    }

    #[test]
    fn the_token_endpoint_refuses_by_name() {
        let (provider, mut random) = provider();
        let good = basic("app", "s:3+%");
        for (client, name, value, word) in [
            (None, "", "", "invalid_client"),
            (Some(basic("app", "wrong")), "", "", "invalid_client"),
            (Some(basic("other", "s:3+%")), "", "", "invalid_client"),
            (Some("Basic !!".to_owned()), "", "", "invalid_client"),
            (Some(good.replace("Basic", "Bearer")), "", "", "invalid_client"),
            (Some(good.clone()), "client_id", "other", "invalid_client"),
            (Some(good.clone()), "grant_type", "password", "unsupported_grant_type"),
            (Some(good.clone()), "grant_type", "", "invalid_request"),
            (Some(good.clone()), "code", "", "invalid_request"),
            (Some(good.clone()), "code", "unknown", "invalid_grant"),
            (Some(good.clone()), "redirect_uri", GOODBYE, "invalid_grant"),
            (Some(good.clone()), "redirect_uri", "", "invalid_grant"),
        ] {
            let code = part(&sign_in(&provider, &mut random), "code").unwrap();
            let form = changed(&token_form(&code), name, value);
            let refused = provider.redeem(client.as_deref(), &form, &mut random, NOW).unwrap_err();
            assert_eq!(refused.word().1, word, "{name}={value}");
        }
        let code = part(&sign_in(&provider, &mut random), "code").unwrap();
        let late = provider.redeem(Some(&good), &token_form(&code), &mut random, NOW.plus_ms(CODE_MS));
        assert_eq!(late.unwrap_err(), TokenError::Grant("the code has expired"));
    }

    #[test]
    fn a_logout_needs_a_token_of_ours_and_the_registered_address() {
        let (provider, mut random) = provider();
        let cookie = provider.sign_in(alice(), &mut random, NOW);
        let browser = provider.browser(cookie.expose()).unwrap();
        let ask = provider.ask(&ask_query()).unwrap();
        let to = Url::parse(&provider.grant(&ask, browser, &mut random, NOW)).unwrap();
        let form = token_form(&part(&to, "code").unwrap());
        let answer = provider.redeem(Some(&basic("app", "s:3+%")), &form, &mut random, NOW).unwrap();
        let hint = answer["id_token"].as_str().unwrap();

        let request =
            pairs(&[("id_token_hint", hint), ("post_logout_redirect_uri", GOODBYE), ("state", "x")]);
        assert!(provider.may_sign_out(&request, Some(cookie.expose())));
        assert_eq!(provider.after_logout(&request).unwrap(), format!("{GOODBYE}?state=x"));
        let elsewhere = changed(&request, "post_logout_redirect_uri", "http://evil.example/");
        assert_eq!(provider.after_logout(&elsewhere), None);
        let forged = changed(&request, "id_token_hint", &format!("{hint}x"));
        assert!(!provider.may_sign_out(&forged, Some(cookie.expose())));
        assert_eq!(provider.after_logout(&forged), None);
        let other = provider.sign_in(alice(), &mut random, NOW);
        assert!(!provider.may_sign_out(&request, Some(other.expose())), "a hint of another sign-in");

        provider.sign_out(cookie.expose());
        assert!(provider.browser(cookie.expose()).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (provider, mut random) = provider();
        for _ in 0..MOST + 50 {
            sign_in(&provider, &mut random);
        }
        let desk = provider.desk();
        assert_eq!((desk.codes.len(), desk.browsers.len()), (MOST, MOST));
    }

    fn provider() -> (RehearsalProvider, Random) {
        let mut random = Random::seeded(7);
        let client = OidcClient {
            id: "app".into(),
            secret: Secret::new("s:3+%"),
            redirect_uri: CALLBACK.into(),
            post_logout_uri: GOODBYE.into(),
        };
        (RehearsalProvider::new("http://idp.localhost:8083", client, &mut random), random)
    }

    fn alice() -> Profile {
        Profile {
            subject: "p-1".into(),
            name: "Alice Archer".into(),
            user_name: "alice@fernhill.example".into(),
            email: "alice@fernhill.example".into(),
            group: "Engineering".into(),
        }
    }

    fn sign_in(provider: &RehearsalProvider, random: &mut Random) -> Url {
        let ask = provider.ask(&ask_query()).unwrap();
        let cookie = provider.sign_in(alice(), random, NOW);
        let browser = provider.browser(cookie.expose()).unwrap();
        Url::parse(&provider.grant(&ask, browser, random, NOW)).unwrap()
    }

    fn ask_query() -> Vec<(String, String)> {
        pairs(&[
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email"),
            ("state", "a b&c"),
            ("nonce", "n-1"),
            ("code_challenge", &s256_challenge(VERIFIER)),
            ("code_challenge_method", "S256"),
        ])
    }

    fn token_form(code: &str) -> Vec<(String, String)> {
        pairs(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn changed(pairs: &Pairs, name: &str, value: &str) -> Vec<(String, String)> {
        let others = pairs.iter().filter(|(key, _)| key != name).cloned();
        others.chain([(name.to_owned(), value.to_owned())]).collect()
    }

    fn basic(id: &str, secret: &str) -> String {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
    }

    fn part(url: &Url, name: &str) -> Option<String> {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn claims(token: &str) -> Value {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }
}
