//! What the fuzzers of a login hold to be true of whatever a browser or a provider says. The same functions replay the
//! corpora on the stable compiler (`sso/tests/oidc/corpus.rs`).

use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use portcullis_keys::{Random, Secret, SigningKey};
use portcullis_policy::{AppId, Timestamp, is_loopback_name};
use portcullis_sso::{
    Ask, Assertion, AuthorizationResponse, Fetch, FetchError, LoginRefusal, OidcIdp, OidcSettings, is_public,
};

/// The callback: the text before the first line end is the query, the rest a form.
pub fn callback(data: &[u8]) {
    let (query, form) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], Some(&data[end + 1..])),
        None => (data, None),
    };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let outcome = AuthorizationResponse::read_callback(query, form)
        .and_then(|answer| Login::new(Said::default()).run(|_| answer));
    // Nobody can know the state of this login, so nobody gets anywhere with it.
    presentable(&outcome.expect_err("a state that nobody can know"));
}

/// A document of the provider: the first byte says which, the rest is its body.
pub fn document(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let body = Some(Bytes::copy_from_slice(body));
    let said = match first % 4 {
        0 => Said { discovery: body, ..Said::default() },
        1 => Said { keys: body, ..Said::default() },
        2 => Said { tokens: body, ..Said::default() },
        _ => Said { userinfo: body, ..Said::default() },
    };
    let signed_by_nobody = first % 4 == 2;
    match Login::new(said).answered() {
        Ok(assertion) => {
            assert!(!signed_by_nobody, "tokens that nobody signed");
            believable(&assertion);
        }
        Err(refusal) => presentable(&refusal),
    }
}

/// The text of an ID token. Nobody here has the key, so none comes in.
pub fn id_token(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    let tokens = serde_json::json!({ "id_token": token, "access_token": "a", "token_type": "Bearer" });
    let said = Said { tokens: Some(tokens.to_string().into()), ..Said::default() };
    presentable(&Login::new(said).answered().expect_err("a token that nobody signed"));
}

/// The claims of an ID token that the provider did sign; `$nonce` in them is the nonce of the login. True where
/// somebody came in.
pub fn claims(data: &[u8]) -> bool {
    let Ok(claims) = std::str::from_utf8(data) else { return false };
    let outcome = Login::new(Said { claims: claims.to_owned(), ..Said::default() }).answered();
    outcome.as_ref().map_or_else(presentable, believable);
    outcome.is_ok()
}

/// What holds of everybody who comes in.
fn believable(assertion: &Assertion) {
    assert_eq!((assertion.idp(), assertion.issuer()), ("op", ISSUER));
    assert!(!assertion.subject().is_empty() && assertion.subject().len() <= 255);
    assert!(!assertion.subject().contains(char::is_control));
    assert!(!assertion.email_verified() || assertion.email().is_some());
}

/// What holds of everything an operator reads.
fn presentable(refusal: &LoginRefusal) {
    let text = refusal.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(refusal.expected.chars().count() <= 201 && refusal.got.chars().count() <= 201, "{text}");
    assert!(!refusal.remedy.is_empty());
}

const ISSUER: &str = "https://op.test";
const NOW: Timestamp = Timestamp(1_900_000_000_000);

/// The nonce of every login here: the same seed makes it. A provider that is known to be good is asked for it.
static NONCE: LazyLock<String> = LazyLock::new(|| {
    let idp = OidcIdp::new(settings(), fetch(Arc::default()));
    let (_, url) = settled(idp.begin_login(&ask(), &mut Random::from_seed(1), NOW)).expect("a good provider");
    let nonce = url.split("nonce=").nth(1).and_then(|rest| rest.split('&').next());
    nonce.expect("a nonce").to_owned()
});

fn ask() -> Ask {
    Ask {
        app: AppId::ONLY,
        state: "s".repeat(22),
        return_to: "/".into(),
        rounds: 0,
        epochs: [0; 3],
        replaces: None,
    }
}

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new("1", &mut Random::from_seed(7)));

/// What a provider says; what is not said here is said as a good one would.
#[derive(Default)]
struct Said {
    discovery: Option<Bytes>,
    keys: Option<Bytes>,
    tokens: Option<Bytes>,
    userinfo: Option<Bytes>,
    claims: String,
}

struct Login {
    said: Arc<Said>,
}

impl Login {
    fn new(said: Said) -> Self {
        Self { said: Arc::new(said) }
    }

    /// Starts a login and brings a good answer to it.
    fn answered(&self) -> Result<Assertion, LoginRefusal> {
        self.run(|state| {
            AuthorizationResponse::read_callback(
                &format!("code=c&state={state}&iss=https%3A%2F%2Fop.test"),
                None,
            )
            .expect("a good answer")
        })
    }

    /// Starts a login and brings an answer to it, made from its state.
    fn run(&self, answer: impl FnOnce(&str) -> AuthorizationResponse) -> Result<Assertion, LoginRefusal> {
        let idp = OidcIdp::new(settings(), fetch(self.said.clone()));
        let (pending, _) = settled(idp.begin_login(&ask(), &mut Random::from_seed(1), NOW))?;
        let answer = answer(pending.state());
        settled(idp.finish_login(&pending, answer, NOW))
    }
}

fn settings() -> OidcSettings {
    OidcSettings {
        client_secret: Some(Secret::new("secret")),
        ..OidcSettings::new("op", ISSUER, "client", "https://app.test/callback")
    }
}

fn fetch(said: Arc<Said>) -> Fetch {
    Arc::new(move |request| {
        let uri = request.uri();
        let host = uri.host().unwrap_or_default();
        // Whatever a document names: never plain http, never this machine, never a private network.
        let address: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
        assert_eq!(uri.scheme_str(), Some("https"), "{uri}");
        assert!(!is_loopback_name(host) && address.map_or(true, is_public), "{uri}");
        let timeout = FetchError::Timeout { host: host.to_owned(), seconds: 5 };
        let answer = answer(&said, uri.path()).map(http::Response::new).ok_or(timeout);
        Box::pin(std::future::ready(answer))
    })
}

fn answer(said: &Said, path: &str) -> Option<Bytes> {
    let json = |value: serde_json::Value| Some(Bytes::from(value.to_string()));
    match path {
        "/.well-known/openid-configuration" => said.discovery.clone().or_else(|| {
            json(serde_json::json!({
                "issuer": ISSUER, "authorization_endpoint": "https://op.test/authorize",
                "token_endpoint": "https://op.test/token", "jwks_uri": "https://op.test/jwks",
                "userinfo_endpoint": "https://op.test/me",
            }))
        }),
        "/jwks" => said.keys.clone().or_else(|| Some(format!(r#"{{"keys":[{}]}}"#, KEY.jwk()).into())),
        "/token" => said.tokens.clone().or_else(|| {
            let issued = NOW.seconds();
            let good = serde_json::json!({
                "iss": ISSUER, "aud": "client", "sub": "s", "iat": issued, "exp": issued + 60, "nonce": "$nonce",
            });
            let claims = if said.claims.is_empty() { good.to_string() } else { said.claims.clone() };
            let token = KEY.sign(&claims.replace("$nonce", &NONCE));
            json(serde_json::json!({ "id_token": token.expose(), "access_token": "a", "token_type": "Bearer" }))
        }),
        "/me" => said.userinfo.clone().or_else(|| json(serde_json::json!({ "sub": "s", "email": "a@x.test" }))),
        _ => None,
    }
}

/// What comes of a future that never has to wait for anybody.
fn settled<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for somebody"),
    }
}
