//! The token endpoint, and what its tokens are good for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use portcullis_keys::{sha256, sha384, sha512};
use portcullis_policy::Timestamp;
use serde_json::{Value, json};

use super::bends::Bends;
use super::client::credentials_of;
use super::pairs::{Pairs, Repeated, single_value};
use super::profile::Profile;
use super::signer::sign_token;
use super::{Code, OpenIdProvider, ProviderState, pkce};

/// The life of a token, in milliseconds.
pub(super) const TOKEN_MS: i64 = 300_000;

/// Stands for the right `at_hash` until the algorithm is settled.
const OF_THIS_TOKEN: &str = "$at_hash";

/// The meaning of an access token.
pub(super) struct AccessToken {
    profile: Profile,
    scopes: Vec<String>,
    expires: Timestamp,
}

/// Refusals of the token endpoint (RFC 6749 §5.2).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
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
    pub fn word(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Client => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::Request(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::GrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Grant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        }
    }
}

impl OpenIdProvider {
    /// Redeems a code (RFC 6749 §4.1.3, RFC 7636 §4.6): the body of the token answer.
    ///
    /// # Errors
    /// A wrong client; a code that is unknown, expired or spent; a redirect URI or verifier that does not fit.
    pub fn redeem(
        &self,
        authorization: Option<&str>,
        form: &Pairs,
        now: Timestamp,
    ) -> Result<Value, TokenError> {
        if !self.client.is_shown(authorization, form) {
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
        let code_given = given("code")?.ok_or(TokenError::Request("code is missing"))?;
        let verifier = given("code_verifier")?.ok_or(TokenError::Request("code_verifier is missing"))?;

        let bends = self.bends();
        let mut desk = self.desk();
        let ProviderState { random, codes, tokens, hints, .. } = &mut *desk;
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
        if bends.checks_pkce && !pkce::fits(verifier, &code.challenge) {
            return Err(TokenError::Grant("the code verifier does not fit the challenge"));
        }

        let access = random.draw_token();
        let id_token = match &bends.id_token {
            Some(token) => token.clone(),
            None => self.id_token(&bends, code, access.expose(), now),
        };
        code.spent = Some(access.expose().to_owned());
        let token = AccessToken {
            profile: code.browser.profile.clone(),
            scopes: code.scopes.clone(),
            expires: now.plus_ms(TOKEN_MS),
        };
        let scope = code.scopes.join(" ");
        hints.insert(&id_token, code.browser.sid.clone());
        tokens.insert(access.expose(), token);
        Ok(json!({
            "access_token": access.expose(),
            "token_type": "Bearer",
            "expires_in": TOKEN_MS / 1000,
            "scope": scope,
            "id_token": id_token,
        }))
    }

    /// The claims of whoever an access token was given for (OpenID Connect Core §5.3); `None`: no good token.
    pub fn userinfo(&self, authorization: Option<&str>, now: Timestamp) -> Option<Value> {
        let token = credentials_of(authorization?, "Bearer")?;
        let bent = self.bends().userinfo.clone();
        let desk = self.desk();
        let token = desk.tokens.get(token).filter(|token| now < token.expires)?;
        Some(Value::Object(bent.unwrap_or_else(|| token.profile.claims(&token.scopes))))
    }

    fn id_token(&self, bends: &Bends, code: &Code, access: &str, now: Timestamp) -> String {
        let mut header = json!({ "alg": bends.signer.algorithm(), "typ": "JWT", "kid": bends.signer.kid });
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.client.id,
            "iat": now.seconds(),
            "exp": now.plus_ms(TOKEN_MS).seconds(),
            "auth_time": code.browser.since.seconds(),
            "nonce": code.nonce,
            "sid": code.browser.sid,
            "at_hash": OF_THIS_TOKEN,
        });
        let person = bends.person.clone().unwrap_or_else(|| code.browser.profile.claims(&code.scopes));
        for (name, value) in person {
            claims[name] = value;
        }
        if let Some(bend) = &bends.bend {
            bend(&mut header, &mut claims);
        }
        let algorithm = header["alg"].as_str().unwrap_or_default().to_owned();
        if claims["at_hash"] == OF_THIS_TOKEN {
            claims["at_hash"] = at_hash(&algorithm, access).into();
        }
        sign_token(&header, &claims, |message| match &bends.forge {
            Some(forge) => forge(message),
            None => bends.signer.sign(&algorithm, message),
        })
    }
}

/// The left half of the access token's hash under the algorithm's own function (OpenID Connect Core §3.1.3.6).
fn at_hash(algorithm: &str, access: &str) -> String {
    let text = access.as_bytes();
    let half = match algorithm {
        "RS384" | "PS384" | "ES384" => sha384(text)[..24].to_vec(),
        "RS512" | "PS512" | "ES512" | "EdDSA" => sha512(text)[..32].to_vec(),
        _ => sha256(text)[..16].to_vec(),
    };
    URL_SAFE_NO_PAD.encode(half)
}
