//! The rig's provider, behind the same [`Fetch`] that the program gives. By default it keeps the standard and checks
//! what a good provider checks; a test bends what it wants bent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response};
use portcullis_keys::{Random, Secret};
use portcullis_policy::{AppId, Timestamp};
use portcullis_rig::provider::{Bends, OidcClient, OpenIdProvider, Profile, Signer};
use portcullis_sso::{
    Ask, Assertion, AuthorizationResponse, ClientAuth, Fetch, FetchError, LoginRefusal, LogoutHint, OidcIdp,
    OidcSettings, Pending,
};
use serde_json::{Map, Value, json};
use url::Url;

pub(crate) const CLIENT: &str = "client-1";
pub(crate) const SECRET: &str = "s3cr3t/of+the client";
pub(crate) const CALLBACK: &str = "https://app.test/.portcullis/callback/op";
pub(crate) const NOW: Timestamp = Timestamp(1_900_000_000_000);

/// The provider, and the network before it. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) issuer: String,
    provider: Arc<OpenIdProvider>,
    network: Arc<Mutex<Network>>,
}

type Answering = Arc<dyn Fn(&Url) -> Result<Response<Bytes>, FetchError> + Send + Sync>;

#[derive(Default)]
struct Network {
    /// Answers in place of an endpoint, by its path.
    answers: HashMap<&'static str, Answering>,
    /// Every address that was asked for.
    asked: Vec<String>,
    /// Every ID token and access token that was given out.
    given: Vec<String>,
}

impl Op {
    pub(crate) fn new(issuer: &str) -> Self {
        Self::signing_with(issuer, Signer::rsa("key-1", 1))
    }

    pub(crate) fn signing_with(issuer: &str, signer: Signer) -> Self {
        let client = OidcClient {
            id: CLIENT.into(),
            secret: Secret::new(SECRET),
            redirect_uri: CALLBACK.into(),
            post_logout_uri: String::new(),
        };
        let provider = OpenIdProvider::new(issuer, client, signer, Random::from_system());
        let mut bends = provider.bends();
        // Addresses with a query, names of their own, and more algorithms than are taken: HS256 and none are no
        // algorithms here, whoever lists them.
        for (name, value) in [
            ("authorization_endpoint", json!(format!("{issuer}/authorize?tenant=1"))),
            ("userinfo_endpoint", json!(format!("{issuer}/me"))),
            ("end_session_endpoint", json!(format!("{issuer}/end?x=1"))),
            ("id_token_signing_alg_values_supported", json!(["RS256", "HS256", "ES256", "EdDSA", "none"])),
        ] {
            bends.metadata.insert(name.into(), value);
        }
        let person = json!({
            "sub": "alice-1", "name": "Alice", "email": "alice@example.test", "email_verified": true,
            "preferred_username": "alice", "groups": ["staff", "wiki"],
            // As some providers write it.
            "auth_time": NOW.seconds() as f64 - 12.345,
        });
        bends.person = person.as_object().cloned();
        bends.userinfo = Some(Map::new());
        drop(bends);
        Self { issuer: issuer.into(), provider: Arc::new(provider), network: Arc::default() }
    }

    /// What is bent at the provider, to look at and to bend.
    pub(crate) fn inside(&self) -> MutexGuard<'_, Bends> {
        self.provider.bends()
    }

    /// Bends header and claims of every ID token.
    pub(crate) fn bend(&self, bend: impl Fn(&mut Value, &mut Value) + Send + Sync + 'static) {
        self.inside().bend = Some(Arc::new(bend));
    }

    /// Answers in place of an endpoint.
    pub(crate) fn answer(
        &self,
        path: &'static str,
        answer: impl Fn(&Url) -> Result<Response<Bytes>, FetchError> + Send + Sync + 'static,
    ) {
        self.network().answers.insert(path, Arc::new(answer));
    }

    /// Has the provider answer at every endpoint again.
    pub(crate) fn answer_all(&self) {
        self.network().answers.clear();
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.network().asked.iter().filter(|url| Url::parse(url).unwrap().path() == path).count()
    }

    /// Every address that was asked for.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.network().asked.clone()
    }

    /// Every ID token and access token that was given out.
    pub(crate) fn given(&self) -> Vec<String> {
        self.network().given.clone()
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap()
    }

    pub(crate) fn settings(&self) -> OidcSettings {
        OidcSettings {
            client_secret: Some(Secret::new(SECRET)),
            ..OidcSettings::new("op", &self.issuer, CLIENT, CALLBACK)
        }
    }

    pub(crate) fn idp(&self) -> OidcIdp {
        OidcIdp::new(self.settings(), self.fetch())
    }

    /// The function that stands for the network.
    pub(crate) fn fetch(&self) -> Fetch {
        let op = self.clone();
        Arc::new(move |request| {
            let op = op.clone();
            Box::pin(async move {
                // As a real network: somebody else may run while we wait.
                tokio::task::yield_now().await;
                let url = Url::parse(&request.uri().to_string()).unwrap();
                let mut network = op.network();
                network.asked.push(url.to_string());
                let answer = network.answers.get(url.path()).cloned();
                drop(network);
                answer.map_or_else(|| Ok(op.serve(&request)), |answer| answer(&url))
            })
        })
    }

    fn serve(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let answer = self.provider.serve(request, NOW);
        let tokens = serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
        let given = ["access_token", "id_token"].into_iter().filter_map(|name| tokens[name].as_str());
        self.network().given.extend(given.map(str::to_owned));
        answer
    }

    /// A whole login.
    pub(crate) async fn login(&self, idp: &OidcIdp) -> Result<Assertion, LoginRefusal> {
        self.login_at(idp, NOW).await
    }

    pub(crate) async fn login_at(&self, idp: &OidcIdp, now: Timestamp) -> Result<Assertion, LoginRefusal> {
        let (pending, url) = begin(idp, now).await?;
        let answer = AuthorizationResponse::read_callback(&self.authorize(&url), None)?;
        idp.finish_login(&pending, answer, now).await
    }

    /// The browser at the provider: signs in at once and is sent back with this query.
    pub(crate) fn authorize(&self, url: &str) -> String {
        let asked: Vec<_> = Url::parse(url).unwrap().query_pairs().into_owned().collect();
        let ask = self.provider.ask(&asked).unwrap();
        let browser = self.provider.sign_in(alice(), NOW);
        let browser = self.provider.browser(browser.expose()).unwrap();
        Url::parse(&self.provider.grant(&ask, browser, NOW)).unwrap().query().unwrap().to_owned()
    }
}

/// Who signs in. What is said of them is what the bends say.
fn alice() -> Profile {
    let text = |text: &str| text.to_owned();
    Profile {
        subject: text("alice-1"),
        name: text(""),
        user_name: text(""),
        email: text(""),
        group: text(""),
    }
}

pub(crate) async fn begin(idp: &OidcIdp, now: Timestamp) -> Result<(Pending, String), LoginRefusal> {
    let mut random = Random::from_system();
    let state = random.draw_token().expose().to_owned();
    let ask =
        Ask { app: AppId(1), state, return_to: "/start".into(), rounds: 0, epochs: [0; 3], replaces: None };
    idp.begin_login(&ask, &mut random, now).await
}

pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A query with one parameter changed, or taken out.
pub(crate) fn with(query: &str, name: &str, value: Option<&str>) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != name));
    if let Some(value) = value {
        out.append_pair(name, value);
    }
    out.finish()
}

pub(crate) fn json_answer(status: u16, body: &Value) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.to_string().into())
        .unwrap()
}

pub(crate) fn text_answer(status: u16, body: &'static str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "text/html")
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

/// The settings with the secret in the form.
pub(crate) fn posting(settings: OidcSettings) -> OidcSettings {
    OidcSettings { client_auth: ClientAuth::Post, ..settings }
}

/// The ID token that a login brought.
pub(crate) fn id_token_of(assertion: &Assertion) -> &str {
    let LogoutHint::Oidc { id_token } = assertion.logout_hint() else { panic!("no ID token") };
    id_token.expose()
}
