//! The endpoints that no person sees: discovery, the keys, tokens and userinfo, over HTTP.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use portcullis_policy::Timestamp;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::OpenIdProvider;
use super::signer::sign_token;
use super::token::TokenError;

impl OpenIdProvider {
    /// Answers a request for one of these endpoints, wherever the discovery document says that it is.
    pub fn serve(&self, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
        let path = request.uri().path();
        let document = self.discovery();
        let is_at = |name: &str| document[name].as_str().and_then(path_of).as_deref() == Some(path);
        let authorization = header_text(request, header::AUTHORIZATION);
        if path_of(&format!("{}{DISCOVERY}", self.issuer)).as_deref() == Some(path) {
            json_answer(StatusCode::OK, "application/json", &document)
        } else if is_at("jwks_uri") {
            json_answer(StatusCode::OK, "application/jwk-set+json", &self.jwks())
        } else if is_at("token_endpoint") && request.method() == Method::POST {
            let answer = read_form(request).and_then(|form| self.redeem(authorization, &form, now));
            answer_token(answer)
        } else if is_at("userinfo_endpoint") {
            self.answer_userinfo(authorization, now)
        } else {
            json_answer(StatusCode::NOT_FOUND, "application/json", &json!({}))
        }
    }

    fn answer_userinfo(&self, authorization: Option<&str>, now: Timestamp) -> Response<Bytes> {
        let Some(claims) = self.userinfo(authorization, now) else {
            let mut answer = text_answer(StatusCode::UNAUTHORIZED, "text/plain", String::new());
            challenge(answer.headers_mut(), "Bearer error=\"invalid_token\"");
            return answer;
        };
        let Some((signer, header)) = self.bends().signed_userinfo.clone() else {
            return json_answer(StatusCode::OK, "application/json", &claims);
        };
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let token = sign_token(&header, &claims, |message| signer.sign(algorithm, message));
        text_answer(StatusCode::OK, "application/jwt", token)
    }
}

/// The place of the discovery document below the issuer (OpenID Connect Discovery §4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

fn answer_token(redeemed: Result<Value, TokenError>) -> Response<Bytes> {
    let refused = match redeemed {
        Ok(tokens) => return json_answer(StatusCode::OK, "application/json", &tokens),
        Err(refused) => refused,
    };
    let (status, word) = refused.word();
    let body = json!({ "error": word, "error_description": refused.to_string() });
    let mut answer = json_answer(status, "application/json", &body);
    if refused == TokenError::Client {
        challenge(answer.headers_mut(), "Basic realm=\"rehearsal\"");
    }
    answer
}

fn read_form(request: &Request<Bytes>) -> Result<Vec<(String, String)>, TokenError> {
    let kind = header_text(request, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(TokenError::Request("the body is no form"));
    }
    Ok(form_urlencoded::parse(request.body()).into_owned().collect())
}

fn header_text(request: &Request<Bytes>, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// The path of an address; `None` where it is none.
fn path_of(address: &str) -> Option<String> {
    Url::parse(address).ok().map(|url| url.path().to_owned())
}

fn json_answer(status: StatusCode, kind: &'static str, body: &Value) -> Response<Bytes> {
    text_answer(status, kind, body.to_string())
}

fn text_answer(status: StatusCode, kind: &'static str, body: String) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

fn challenge(headers: &mut HeaderMap, how: &'static str) {
    headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(how));
}
