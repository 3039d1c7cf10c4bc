//! Asking an OpenID provider without a login: what it says of itself, of our redirect URI and of our secret.
//!
//! Four requests at most, each of which changes nothing there: metadata, keys, an authorization request with `prompt=none`
//! whose redirects nobody follows and that no browser's cookie goes with, and a token request with a code that was never
//! given out. What is secret is in none of the findings. The rule it protects: nothing is called right that the provider did
//! not show.

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response, StatusCode};
use portcullis_keys::{Random, Secret};
use portcullis_policy::{Timestamp, shown};
use serde_json::{Map, Value};
use url::Url;

use super::OidcIdp;
use super::algorithm::Algorithm;
use super::exchange::{self, SentSecrets};
use super::jwks::{self, KeySet};
use super::metadata::Metadata;
use crate::LoginRefusal;
use crate::clock_gap::{nearest_gap, read_clock_gap};
use crate::pending::OidcProof;

/// The findings about one OpenID provider.
#[derive(Debug)]
pub struct OidcInquiry {
    /// The metadata: what in it is there and cannot be used, or why there is none. Without it nothing else is known.
    pub metadata: Result<Vec<String>, LoginRefusal>,
    /// The keys that may verify a signature.
    pub keys: Option<Result<PublishedKeys, LoginRefusal>>,
    /// Scopes that are configured and that the metadata does not list; `None` where it lists none at all.
    pub unlisted_scopes: Option<Vec<String>>,
    /// The word on client id and redirect URI.
    pub redirect_uri: Option<AuthorizationWord>,
    /// The word on client id and secret.
    pub client_secret: Option<ClientWord>,
    /// The gap between the clocks in milliseconds, positive where the provider's is ahead; `None` where no answer had a date.
    pub clock_gap_ms: Option<i64>,
}

/// The keys of a provider, as far as ID tokens are verified with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// The number of keys that may verify a signature.
    pub count: usize,
    /// The algorithms that the metadata lists, that we take, and that some key is for.
    pub algorithms: Vec<&'static str>,
}

/// The provider's word on an authorization request. Foreign text in it is cut and cannot act on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationWord {
    /// It answered at our redirect URI, so it takes client and address.
    Taken,
    /// It refuses the redirect URI.
    OtherRedirectUri,
    /// It knows no such client.
    UnknownClient,
    /// It answered at our redirect URI with this error.
    Error(String),
    /// It showed a page, or led on to one of its own: only a login tells more.
    Untold(StatusCode),
    /// It could not be asked.
    Unasked(String),
}

/// The provider's word on our client id and secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientWord {
    /// It took them, and refused the code that was none (`invalid_grant`).
    Taken,
    /// It refused them: `invalid_client`, or a 401.
    Refused(String),
    /// It takes them, and not for this: `unauthorized_client`.
    NotAllowed,
    /// It answered something else.
    Untold(String),
    /// It could not be asked.
    Unasked(String),
}

impl OidcIdp {
    /// Asks the provider everything that can be known without a login. `clock` is asked around each answer.
    pub async fn inquire(&self, random: &mut Random, clock: &(dyn Fn() -> Timestamp + Sync)) -> OidcInquiry {
        let mut gaps = Vec::new();
        let mut found = OidcInquiry {
            metadata: Ok(Vec::new()),
            keys: None,
            unlisted_scopes: None,
            redirect_uri: None,
            client_secret: None,
            clock_gap_ms: None,
        };
        let read = self.inquire_document(clock, &mut gaps).await;
        let document = match read {
            Ok(document) => document,
            Err(refusal) => {
                found.metadata = Err(refusal);
                found.clock_gap_ms = nearest_gap(gaps);
                return found;
            }
        };
        let metadata = match self.provider.read_metadata(&document) {
            Ok(metadata) => metadata,
            Err(refusal) => {
                found.metadata = Err(refusal);
                found.clock_gap_ms = nearest_gap(gaps);
                return found;
            }
        };
        found.metadata = Ok(metadata.unusable.clone());
        found.unlisted_scopes = self.unlisted_scopes(&document);
        found.keys = Some(self.inquire_keys(&metadata, clock, &mut gaps).await);
        found.redirect_uri = Some(self.inquire_redirect_uri(&metadata, random, clock, &mut gaps).await);
        found.client_secret = Some(self.inquire_client(&metadata, random, clock, &mut gaps).await);
        found.clock_gap_ms = nearest_gap(gaps);
        found
    }

    async fn inquire_document(
        &self,
        clock: &(dyn Fn() -> Timestamp + Sync),
        gaps: &mut Vec<i64>,
    ) -> Result<Bytes, LoginRefusal> {
        let address = self.provider.document_address()?;
        let sent = clock();
        let answer =
            self.provider.get_document("the metadata of the identity provider", address.as_str()).await?;
        gaps.extend(read_clock_gap(answer.headers(), sent, clock()));
        Ok(answer.into_body())
    }

    async fn inquire_keys(
        &self,
        metadata: &Metadata,
        clock: &(dyn Fn() -> Timestamp + Sync),
        gaps: &mut Vec<i64>,
    ) -> Result<PublishedKeys, LoginRefusal> {
        let sent = clock();
        let answer =
            self.provider.get_document("the keys of the identity provider", metadata.jwks.as_str()).await?;
        gaps.extend(read_clock_gap(answer.headers(), sent, clock()));
        let keys = jwks::read_key_set(answer.body())?;
        let algorithms = fitting_algorithms(&metadata.id_token, &keys);
        Ok(PublishedKeys { count: keys.count_keys(), algorithms })
    }

    /// The scopes that the metadata does not list. Providers may leave out what they have (RFC 8414 §2), so none is wrong
    /// for that.
    fn unlisted_scopes(&self, document: &[u8]) -> Option<Vec<String>> {
        let document: Map<String, Value> = serde_json::from_slice(document).ok()?;
        let listed: Vec<&str> =
            document.get("scopes_supported")?.as_array()?.iter().filter_map(Value::as_str).collect();
        let is_unlisted = |scope: &&String| !listed.contains(&scope.as_str());
        (!listed.is_empty()).then(|| self.settings.scopes.iter().filter(is_unlisted).cloned().collect())
    }

    async fn inquire_redirect_uri(
        &self,
        metadata: &Metadata,
        random: &mut Random,
        clock: &(dyn Fn() -> Timestamp + Sync),
        gaps: &mut Vec<i64>,
    ) -> AuthorizationWord {
        let proof = OidcProof::draw(random);
        let state = random.draw_token();
        let endpoint = metadata.authorization.as_str();
        if let Err(refusal) = self.provider.check_fetched("authorization_endpoint", endpoint) {
            return AuthorizationWord::Unasked(format!(
                "{} is no address that is asked from here",
                refusal.got
            ));
        }
        let Ok(mut address) = Url::parse(&self.authorization_url(metadata, state.expose(), &proof)) else {
            return AuthorizationWord::Unasked("an address that HTTP cannot carry".to_owned());
        };
        // Nobody is signed in there, so whoever takes us answers at our address at once (OIDC Core §3.1.2.1).
        address.query_pairs_mut().append_pair("prompt", "none");
        let Ok(request) = Request::get(address.as_str()).body(Bytes::new()) else {
            return AuthorizationWord::Unasked("an address that HTTP cannot carry".to_owned());
        };
        let sent = clock();
        match self.provider.fetch_answer(request).await {
            Ok(answer) => {
                gaps.extend(read_clock_gap(answer.headers(), sent, clock()));
                read_authorization(&answer, &address, &self.settings.redirect_uri)
            }
            Err(error) => AuthorizationWord::Unasked(shown(&error.chain()).into()),
        }
    }

    async fn inquire_client(
        &self,
        metadata: &Metadata,
        random: &mut Random,
        clock: &(dyn Fn() -> Timestamp + Sync),
        gaps: &mut Vec<i64>,
    ) -> ClientWord {
        let (code, verifier) = (random.draw_token(), random.draw_token());
        let code = Secret::new(format!("portcullis-doctor-{}", code.expose()));
        let request = exchange::token_request(&self.settings, &metadata.token, &code, verifier.expose());
        let Some(request) = request else {
            return ClientWord::Unasked("client_id or client_secret cannot be sent by HTTP".to_owned());
        };
        let asked = clock();
        match self.provider.fetch_answer(request).await {
            Ok(answer) => {
                gaps.extend(read_clock_gap(answer.headers(), asked, clock()));
                read_client_word(&answer, &SentSecrets::of(&self.settings, &code, verifier.expose()))
            }
            Err(error) => ClientWord::Unasked(shown(&error.chain()).into()),
        }
    }
}

fn fitting_algorithms(listed: &[Algorithm], keys: &KeySet) -> Vec<&'static str> {
    listed
        .iter()
        .filter(|algorithm| keys.has_key_for(**algorithm))
        .map(|algorithm| algorithm.name())
        .collect()
}

/// Reads the answer to an authorization request that no browser sent.
fn read_authorization(answer: &Response<Bytes>, asked: &Url, redirect_uri: &str) -> AuthorizationWord {
    let status = answer.status();
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.filter(|_| status.is_redirection())
        && let Ok(to) = asked.join(location)
    {
        let error = to.query_pairs().chain(fragment_pairs(&to)).find(|(name, _)| name == "error");
        let error = error.map(|(_, word)| word.into_owned());
        if is_at(&to, redirect_uri) {
            return match error.as_deref() {
                None => AuthorizationWord::Taken,
                Some(word) if NOBODY_IS_IN.contains(&word) => AuthorizationWord::Taken,
                Some(word) => AuthorizationWord::Error(shown(word).into()),
            };
        }
        // Of its own pages: the address may say what the page would.
        return read_words(error.unwrap_or_default().as_bytes(), true)
            .unwrap_or(AuthorizationWord::Untold(status));
    }
    // Who is busy or broken has not looked at what we asked.
    let is_refusal = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    read_words(answer.body(), is_refusal).unwrap_or(AuthorizationWord::Untold(status))
}

/// The errors by which a provider says that nobody is signed in there (OIDC Core §3.1.2.6).
const NOBODY_IS_IN: [&str; 4] =
    ["login_required", "interaction_required", "consent_required", "account_selection_required"];

fn fragment_pairs(url: &Url) -> url::form_urlencoded::Parse<'_> {
    url::form_urlencoded::parse(url.fragment().unwrap_or_default().as_bytes())
}

/// Tells whether an address is the redirect URI with an answer.
fn is_at(to: &Url, redirect_uri: &str) -> bool {
    let Ok(ours) = Url::parse(redirect_uri) else { return false };
    to.origin() == ours.origin() && to.path() == ours.path()
}

/// Finds what a page says in words that no other page has. A page of an error may say it in plain words too; another page
/// may only repeat what we asked for, or have the words of every error in its script.
fn read_words(body: &[u8], is_refusal: bool) -> Option<AuthorizationWord> {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let text = ["redirect_uri=", "redirect_uri%3d", "client_id=", "client_id%3d"]
        .iter()
        .fold(text, |text, echoed| text.replace(echoed, ""));
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // Entra's numbers; Google's, Okta's and oidc-provider's own words.
    if says(&["aadsts700016"])
        || is_refusal
            && says(&[
                "invalid_client",
                "unauthorized_client",
                "deleted_client",
                "client not found",
                "unknown client",
                "no such client",
                "invalid client",
                "client is invalid",
            ])
    {
        return Some(AuthorizationWord::UnknownClient);
    }
    if says(&["aadsts50011"])
        || is_refusal && says(&["redirect_uri", "redirect uri", "redirecturi", "callback url"])
    {
        return Some(AuthorizationWord::OtherRedirectUri);
    }
    None
}

/// Reads the answer to a token request whose code is none.
fn read_client_word(answer: &Response<Bytes>, sent: &SentSecrets) -> ClientWord {
    let status = answer.status();
    let said = serde_json::from_slice::<Map<String, Value>>(answer.body()).ok();
    let error = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str);
    match error {
        Some("invalid_grant") => ClientWord::Taken,
        Some(word @ "invalid_client") => ClientWord::Refused(word.to_owned()),
        // Keycloak says unauthorized_client of a wrong secret.
        Some(word) if status == StatusCode::UNAUTHORIZED => {
            ClientWord::Refused(shown(sent.withhold(word)).into())
        }
        Some("unauthorized_client") => ClientWord::NotAllowed,
        Some(word) => ClientWord::Untold(shown(sent.withhold(word)).into()),
        None if status == StatusCode::UNAUTHORIZED => ClientWord::Refused(status.to_string()),
        None => ClientWord::Untold(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://app.test/.portcullis/callback/op";

    fn answer(status: u16, location: &str, body: &'static str) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if !location.is_empty() {
            answer.headers_mut().insert(LOCATION, location.parse().unwrap());
        }
        answer
    }

    #[test]
    fn nothing_is_called_right_that_the_provider_did_not_show() {
        use AuthorizationWord as Word;
        let asked = Url::parse("https://op.test/authorize?redirect_uri=x&client_id=y").unwrap();
        for (status, location, body, word) in [
            (302, "https://app.test/.portcullis/callback/op?error=login_required&state=s", "", Word::Taken),
            (303, "https://app.test/.portcullis/callback/op#error=interaction_required", "", Word::Taken),
            (
                302,
                "https://app.test/.portcullis/callback/op?error=invalid_scope",
                "",
                Word::Error("invalid_scope".into()),
            ),
            (302, "/login?next=%2Fauthorize", "", Word::Untold(StatusCode::FOUND)),
            (302, "https://app.test.evil.test/.portcullis/callback/op", "", Word::Untold(StatusCode::FOUND)),
            (302, "/error?error=redirect_uri_mismatch", "", Word::OtherRedirectUri),
            (200, "", "<form action='/login?redirect_uri=x&client_id=y'>", Word::Untold(StatusCode::OK)),
            (200, "", "AADSTS50011: The redirect URI 'x' does not match", Word::OtherRedirectUri),
            (200, "", "AADSTS700016: Application was not found", Word::UnknownClient),
            (400, "", "Error 400: redirect_uri_mismatch", Word::OtherRedirectUri),
            (400, "", "The redirect URI is not the registered one", Word::OtherRedirectUri),
            (400, "", "Invalid parameter: redirect_uri", Word::OtherRedirectUri),
            (400, "", "No such client is registered here: /authorize?redirect_uri=x", Word::UnknownClient),
            (
                400,
                "",
                "Something: /authorize?redirect_uri=x&client_id=y",
                Word::Untold(StatusCode::BAD_REQUEST),
            ),
            (500, "", "", Word::Untold(StatusCode::INTERNAL_SERVER_ERROR)),
            (
                200,
                "",
                "<script>errors={invalid_client:1,redirect_uri_mismatch:2}",
                Word::Untold(StatusCode::OK),
            ),
            (503, "", "busy: redirect_uri", Word::Untold(StatusCode::SERVICE_UNAVAILABLE)),
            (429, "", "slower: redirect_uri", Word::Untold(StatusCode::TOO_MANY_REQUESTS)),
        ] {
            let found = read_authorization(&answer(status, location, body), &asked, OURS);
            assert_eq!(found, word, "{status} {location} {body}");
        }
    }

    #[test]
    fn a_secret_is_taken_where_only_the_code_is_refused() {
        use ClientWord as Word;
        let sent = SentSecrets::of_texts(&["c0de"]);
        for (status, body, word) in [
            (400, r#"{"error":"invalid_grant"}"#, Word::Taken),
            (401, r#"{"error":"invalid_client"}"#, Word::Refused("invalid_client".into())),
            (400, r#"{"error":"invalid_client"}"#, Word::Refused("invalid_client".into())),
            (401, "no", Word::Refused("401 Unauthorized".into())),
            (401, r#"{"error":"unauthorized_client"}"#, Word::Refused("unauthorized_client".into())),
            (400, r#"{"error":"got (c0de)"}"#, Word::Untold("(not told: it repeats what was sent)".into())),
            (401, r#"{"error":"no c0de"}"#, Word::Refused("(not told: it repeats what was sent)".into())),
            (400, r#"{"error":"unauthorized_client"}"#, Word::NotAllowed),
            (400, r#"{"error":"invalid_request"}"#, Word::Untold("invalid_request".into())),
            (200, "<html>", Word::Untold("200 OK".into())),
            (500, "", Word::Untold("500 Internal Server Error".into())),
            (400, r#"{"error":7}"#, Word::Untold("400 Bad Request".into())),
        ] {
            assert_eq!(read_client_word(&answer(status, "", body), &sent), word, "{status} {body}");
        }
        let hostile = answer(400, "", "{\"error\":\"a\\u001b[2J\\r\\nok\"}");
        assert!(!format!("{:?}", read_client_word(&hostile, &sent)).contains('\u{1b}'));
    }
}
