//! What we ask the provider for during a login: tokens for a code (RFC 6749 §4.1.3), claims for an access token (OIDC
//! Core §5.3).
//!
//! Codes, secrets and tokens are never part of a refusal. Written by hand and not taken from openidconnect, whose
//! errors carry whole answers with them, and which would refuse an answer before we can say what is wrong with its
//! ID token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use portcullis_keys::Secret;
use portcullis_policy::ClientAuth;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::settings::OidcSettings;
use crate::{Class, LoginRefusal};

/// The tokens that a code was redeemed for.
pub(super) struct TokenResponse {
    pub(super) id_token: Secret,
    /// Only where it is of a kind that can be sent as it is.
    pub(super) access_token: Option<Secret>,
}

/// What a request for tokens holds that must stand nowhere else, in every form in which an answer could repeat it.
pub(super) struct SentSecrets(Vec<Secret>);

impl SentSecrets {
    pub(super) fn of(settings: &OidcSettings, code: &Secret, verifier: &str) -> Self {
        let mut plain = vec![code.expose(), verifier];
        let mut joined = None;
        if let Some(secret) = &settings.client_secret {
            plain.push(secret.expose());
            joined = Some(join_credentials(&settings.client_id, secret));
        }
        let forms = plain.into_iter().flat_map(|text| [text.to_owned(), form_encode(text)]);
        Self(forms.chain(joined).filter(|text| !text.is_empty()).map(Secret::new).collect())
    }

    #[cfg(test)]
    pub(super) fn of_texts(texts: &[&str]) -> Self {
        Self(texts.iter().copied().map(Secret::new).collect())
    }

    /// A word of the answer as it may be told.
    pub(super) fn withhold<'a>(&self, word: &'a str) -> &'a str {
        if self.0.iter().any(|secret| word.contains(secret.expose())) { REPEATED } else { word }
    }
}

const REPEATED: &str = "(not told: it repeats what was sent)";

/// The request that redeems a code.
pub(super) fn token_request(
    settings: &OidcSettings,
    to: &Url,
    code: &Secret,
    verifier: &str,
) -> Option<Request<Bytes>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code.expose())
        .append_pair("redirect_uri", &settings.redirect_uri)
        .append_pair("code_verifier", verifier);
    let mut request = Request::post(to.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match (&settings.client_secret, settings.client_auth) {
        (Some(secret), ClientAuth::Basic) => {
            request = request.header(AUTHORIZATION, basic_credentials(&settings.client_id, secret)?);
        }
        (Some(secret), ClientAuth::Post) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose());
        }
        (None, _) => {
            form.append_pair("client_id", &settings.client_id);
        }
    }
    request.body(form.finish().into()).ok()
}

/// Name and secret are form-encoded before they are joined (RFC 6749 §2.3.1); ordinary Basic does not do that.
fn basic_credentials(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
    sensitive_header(&format!("Basic {}", join_credentials(client_id, secret)))
}

fn join_credentials(client_id: &str, secret: &Secret) -> String {
    STANDARD.encode(format!("{}:{}", form_encode(client_id), form_encode(secret.expose())))
}

fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn sensitive_header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads the answer of the token endpoint: of an answer the tokens, of an error its code. Whatever else is in it may
/// be of any kind.
pub(super) fn read_tokens(
    answer: &Response<Bytes>,
    sent: &SentSecrets,
) -> Result<TokenResponse, LoginRefusal> {
    let refuse =
        |got: String, remedy| LoginRefusal::new(Class::OidcTokenEndpoint, "tokens for the code", got, remedy);
    let found = serde_json::from_slice::<Map<String, Value>>(answer.body()).ok();
    let text = |name: &str| found.as_ref().and_then(|found| found.get(name)).and_then(Value::as_str);
    if answer.status() != StatusCode::OK {
        let is_busy = answer.status() == StatusCode::TOO_MANY_REQUESTS
            || matches!(answer.status().as_u16(), 502..=504)
            || matches!(text("error"), Some("temporarily_unavailable" | "server_error"));
        let Some(error) = text("error") else {
            return Err(refuse(answer.status().to_string(), BROKEN).passing(is_busy));
        };
        let description = text("error_description").map_or_else(String::new, |text| format!(": {text}"));
        let told = format!("{error}{description}");
        return Err(refuse(sent.withhold(&told).to_owned(), remedy_for(error)).passing(is_busy));
    }
    // The parser's own words may quote the answer, and the answer holds tokens.
    if found.is_none() {
        return Err(refuse(what_it_is(answer), BROKEN));
    }
    let Some(id_token) = text("id_token") else {
        return Err(refuse("no id_token".into(), "The scope openid must be allowed for this client."));
    };
    let is_bearer = match found.as_ref().and_then(|found| found.get("token_type")) {
        None | Some(Value::Null) => true,
        Some(kind) => kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
    };
    let access_token = text("access_token").filter(|_| is_bearer).map(Secret::new);
    Ok(TokenResponse { id_token: Secret::new(id_token), access_token })
}

const BROKEN: &str = "Look into the log of the identity provider.";

fn remedy_for(error: &str) -> &'static str {
    match error {
        "invalid_client" => "Check client_id, client_secret and client_auth (basic or post).",
        "invalid_grant" => {
            "The code was used before, is too old, or belongs to another login. Start again from the application."
        }
        "unauthorized_client" => {
            "Allow this client the authorization code grant. Some providers, Keycloak among them, say this of a wrong \
             client_secret too."
        }
        _ => BROKEN,
    }
}

/// The request for the claims that the ID token lacks.
pub(super) fn userinfo_request(to: &Url, access_token: &Secret) -> Option<Request<Bytes>> {
    let token = sensitive_header(&format!("Bearer {}", access_token.expose()))?;
    Request::get(to.as_str())
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, token)
        .body(Bytes::new())
        .ok()
}

/// The answer of the userinfo endpoint.
#[derive(Debug)]
pub(super) enum Userinfo {
    Plain(Map<String, Value>),
    /// A token, for providers that sign there (OIDC Core §5.3.2): not verified yet.
    Signed(Secret),
}

/// Reads the answer of the userinfo endpoint.
pub(super) fn read_userinfo(answer: &Response<Bytes>) -> Result<Userinfo, LoginRefusal> {
    let refuse = |got: String| {
        LoginRefusal::new(
            Class::OidcUserinfo,
            "claims as JSON, or signed",
            got,
            "Have the identity provider put the claims into the ID token, or let userinfo answer JSON.",
        )
    };
    if answer.status() != StatusCode::OK {
        return Err(refuse(answer.status().to_string()));
    }
    if let Ok(claims) = serde_json::from_slice(answer.body()) {
        return Ok(Userinfo::Plain(claims));
    }
    let token = std::str::from_utf8(answer.body()).map(str::trim).unwrap_or_default();
    let looks_signed = token.split('.').filter(|part| !part.is_empty()).count() == 3
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if looks_signed {
        return Ok(Userinfo::Signed(Secret::new(token)));
    }
    Err(refuse(what_it_is(answer)))
}

/// An answer that cannot be read, in a few words that show none of it.
fn what_it_is(answer: &Response<Bytes>) -> String {
    let kind =
        answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
    format!("{} bytes of {kind} that are not such JSON", answer.body().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(client_auth: ClientAuth, secret: Option<&str>) -> OidcSettings {
        OidcSettings {
            client_auth,
            client_secret: secret.map(Secret::new),
            ..OidcSettings::new("op", "https://op.test", "client id", "https://a.test/cb?x=1")
        }
    }

    fn request(settings: &OidcSettings) -> Request<Bytes> {
        let to = Url::parse("https://op.test/token").unwrap();
        token_request(settings, &to, &Secret::new("c+d"), "verifier").unwrap()
    }

    fn body(request: &Request<Bytes>) -> &str {
        std::str::from_utf8(request.body()).unwrap()
    }

    #[test]
    fn the_secret_goes_where_the_setting_says() {
        let sent = request(&settings(ClientAuth::Basic, Some("p:w%")));
        let wanted = format!("Basic {}", STANDARD.encode("client+id:p%3Aw%25"));
        assert_eq!(sent.headers()[AUTHORIZATION], wanted.as_str());
        assert!(sent.headers()[AUTHORIZATION].is_sensitive());
        assert_eq!(
            body(&sent),
            "grant_type=authorization_code&code=c%2Bd&redirect_uri=https%3A%2F%2Fa.test%2Fcb%3Fx%3D1&code_verifier=verifier"
        );

        let sent = request(&settings(ClientAuth::Post, Some("p:w%")));
        assert!(!sent.headers().contains_key(AUTHORIZATION));
        assert!(body(&sent).ends_with("&client_id=client+id&client_secret=p%3Aw%25"));

        let sent = request(&settings(ClientAuth::Basic, None));
        assert!(!sent.headers().contains_key(AUTHORIZATION));
        assert!(body(&sent).ends_with("&client_id=client+id"));
    }

    #[test]
    fn an_answer_that_repeats_what_was_sent_is_not_told() {
        for auth in [ClientAuth::Basic, ClientAuth::Post] {
            let settings = settings(auth, Some("p:w%"));
            let sent = request(&settings);
            let secrets = SentSecrets::of(&settings, &Secret::new("c+d"), "verifier");
            let header = sent.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
            for echo in [Some(body(&sent)), header, Some("p:w%"), Some("c+d"), Some("a verifier")] {
                let Some(echo) = echo else { continue };
                let told = serde_json::json!({"error": "invalid_request", "error_description": format!("got {echo}!")});
                let answer = Response::builder().status(400).body(Bytes::from(told.to_string())).unwrap();
                let refusal = read_tokens(&answer, &secrets).err().unwrap();
                assert_eq!(refusal.got, REPEATED, "{echo}");
            }
            assert_eq!(secrets.withhold("invalid_grant: too old"), "invalid_grant: too old");
        }
    }

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn answers_of_the_token_endpoint_are_told_apart() {
        let read = |status, body| read_tokens(&answer(status, body), &SentSecrets::of_texts(&[]));
        let found =
            read(200, r#"{"id_token":"i","access_token":"a","token_type":"bearer","expires_in":"x"}"#)
                .unwrap();
        assert_eq!((found.id_token.expose(), found.access_token.unwrap().expose()), ("i", "a"));
        let dpop = read(200, r#"{"id_token":"i","access_token":"a","token_type":"DPoP"}"#).unwrap();
        assert!(dpop.access_token.is_none());
        for (status, body, got) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"<b>used</b>"}"#,
                "invalid_grant: <b>used</b>",
            ),
            (401, r#"{"error":"invalid_client"}"#, "invalid_client"),
            (302, "", "302 Found"),
            (500, "<html>", "500 Internal Server Error"),
            (200, r#"{"access_token":"a"}"#, "no id_token"),
            (200, r#"{"id_token":7,"access_token":"hush"}"#, "no id_token"),
            (200, r#"["id_token"]"#, "12 bytes of no content type that are not such JSON"),
            (200, "<html>", "6 bytes of no content type that are not such JSON"),
        ] {
            let refusal = read(status, body).err().unwrap();
            assert_eq!((refusal.class, refusal.got.as_str()), (Class::OidcTokenEndpoint, got));
        }
    }

    #[test]
    fn a_token_that_is_no_header_is_not_sent() {
        let to = Url::parse("https://op.test/me").unwrap();
        assert!(userinfo_request(&to, &Secret::new("a\r\nHost: b")).is_none());
    }

    proptest! {
        #[test]
        fn junk_from_the_endpoints_is_refused(status in 200..600u16, body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let answer = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            prop_assert!(read_tokens(&answer, &SentSecrets::of_texts(&[])).is_err());
            prop_assert!(!matches!(read_userinfo(&answer), Ok(Userinfo::Plain(_))));
        }
    }
}
