//! A provider in memory, behind the same [`Fetch`] that the program gives. By default it keeps the standard and checks
//! what a good provider checks; a test bends what it wants bent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use portcullis_keys::{Random, Secret, equal, sha256, sha384, sha512};
use portcullis_policy::{AppId, Timestamp};
use portcullis_sso::{
    Ask, Assertion, AuthorizationResponse, ClientAuth, Fetch, FetchError, Idp, LoginRefusal, OidcSettings,
    Pending,
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::signer::{Signer, token};

pub(crate) const CLIENT: &str = "client-1";
pub(crate) const SECRET: &str = "s3cr3t/of+the client";
pub(crate) const CALLBACK: &str = "https://app.test/.portcullis/callback/op";
pub(crate) const NOW: Timestamp = Timestamp(1_900_000_000_000);

/// Stands for the right `at_hash` until the algorithm is settled.
const OF_THIS_TOKEN: &str = "$at_hash";

/// The provider. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) issuer: String,
    inner: Arc<Mutex<Inner>>,
}

type Bend = Arc<dyn Fn(&mut Value, &mut Value) + Send + Sync>;
type Forge = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
type Answering = Arc<dyn Fn(&Url) -> Result<Response<Bytes>, FetchError> + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) signer: Signer,
    /// What the key set says; the signer's key by default.
    pub(crate) keys: Vec<Value>,
    /// Members of the metadata, over the good ones; null takes one out.
    pub(crate) metadata: Map<String, Value>,
    /// Claims of the person in the ID token, and at userinfo.
    pub(crate) person: Map<String, Value>,
    pub(crate) userinfo: Map<String, Value>,
    /// Who signs userinfo answers, under which header; they are plain JSON where nobody does.
    pub(crate) signed_userinfo: Option<(Signer, Value)>,
    /// Bends header and claims of an ID token before it is signed.
    pub(crate) bend: Option<Bend>,
    /// Signs in place of the signer.
    pub(crate) forge: Option<Forge>,
    /// Replaces the whole ID token.
    pub(crate) id_token: Option<String>,
    /// Answers in place of an endpoint, by its path.
    pub(crate) answers: HashMap<&'static str, Answering>,
    /// Whether PKCE is checked.
    pub(crate) checks_pkce: bool,
    /// Every address that was asked for.
    pub(crate) asked: Vec<String>,
    /// Every ID token and access token that was given out.
    pub(crate) given: Vec<String>,
    codes: HashMap<String, HashMap<String, String>>,
}

impl Op {
    pub(crate) fn new(issuer: &str) -> Self {
        Self::signing_with(issuer, Signer::rsa("key-1", 1))
    }

    pub(crate) fn signing_with(issuer: &str, signer: Signer) -> Self {
        let person = json!({
            "sub": "alice-1", "name": "Alice", "email": "alice@example.test", "email_verified": true,
            "preferred_username": "alice", "groups": ["staff", "wiki"],
        });
        let inner = Inner {
            keys: vec![signer.jwk()],
            signer,
            metadata: Map::new(),
            person: person.as_object().unwrap().clone(),
            userinfo: Map::new(),
            signed_userinfo: None,
            bend: None,
            forge: None,
            id_token: None,
            answers: HashMap::new(),
            checks_pkce: true,
            asked: Vec::new(),
            given: Vec::new(),
            codes: HashMap::new(),
        };
        Self { issuer: issuer.into(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// The provider's inside, to look at and to bend.
    pub(crate) fn inside(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
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
        self.inside().answers.insert(path, Arc::new(answer));
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.inside().asked.iter().filter(|url| Url::parse(url).unwrap().path() == path).count()
    }

    pub(crate) fn settings(&self) -> OidcSettings {
        OidcSettings {
            client_secret: Some(Secret::new(SECRET)),
            ..OidcSettings::new("op", &self.issuer, CLIENT, CALLBACK)
        }
    }

    pub(crate) fn idp(&self) -> Idp {
        Idp::new(self.settings(), self.fetch())
    }

    /// The function that stands for the network.
    pub(crate) fn fetch(&self) -> Fetch {
        let op = self.clone();
        Arc::new(move |request| {
            let op = op.clone();
            Box::pin(async move {
                // As a real network: somebody else may run while we wait.
                tokio::task::yield_now().await;
                op.serve(&request)
            })
        })
    }

    /// A whole login.
    pub(crate) async fn login(&self, idp: &Idp) -> Result<Assertion, LoginRefusal> {
        self.login_at(idp, NOW).await
    }

    pub(crate) async fn login_at(&self, idp: &Idp, now: Timestamp) -> Result<Assertion, LoginRefusal> {
        let (pending, url) = begin(idp, now).await?;
        let answer = AuthorizationResponse::read(&self.authorize(&url), None)?;
        idp.finish_login(&pending, answer, now).await
    }

    /// The browser at the provider: signs in at once and is sent back with this query.
    pub(crate) fn authorize(&self, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, wanted) in [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", CALLBACK),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked.get(name).map(String::as_str), Some(wanted), "{name}");
        }
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        let state = asked["state"].clone();
        let code = Random::system().token().expose().to_owned();
        self.inside().codes.insert(code.clone(), asked);
        query(&[("code", &code), ("state", &state), ("iss", &self.issuer)])
    }

    fn serve(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let url = Url::parse(&request.uri().to_string()).unwrap();
        let mut inner = self.inside();
        inner.asked.push(url.to_string());
        if let Some(answer) = inner.answers.get(url.path()).cloned() {
            drop(inner);
            return answer(&url);
        }
        Ok(match url.path() {
            "/.well-known/openid-configuration" => json_answer(200, &self.document(&inner)),
            "/jwks" => json_answer(200, &json!({"keys": inner.keys})),
            "/token" => match self.redeem(&mut inner, request) {
                Ok(tokens) => json_answer(200, &tokens),
                Err(error) => json_answer(400, &json!({"error": error})),
            },
            "/me" => {
                let bearer =
                    request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
                assert!(inner.given.iter().any(|given| given == bearer), "an access token of ours");
                match &inner.signed_userinfo {
                    Some((signer, header)) => {
                        let claims = Value::Object(inner.userinfo.clone());
                        let algorithm = header["alg"].as_str().unwrap_or_default();
                        let token = token(header, &claims, |message| signer.sign(algorithm, message));
                        let answer = Response::builder().header("content-type", "application/jwt");
                        answer.body(token.into()).unwrap()
                    }
                    None => json_answer(200, &Value::Object(inner.userinfo.clone())),
                }
            }
            _ => json_answer(404, &json!({})),
        })
    }

    fn document(&self, inner: &Inner) -> Value {
        let issuer = &self.issuer;
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "userinfo_endpoint": format!("{issuer}/me"),
            "end_session_endpoint": format!("{issuer}/end?x=1"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            // What is listed and what we take: HS256 and none are no algorithms here, whoever lists them.
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256", "EdDSA", "none"],
            "authorization_response_iss_parameter_supported": true,
        });
        for (name, value) in &inner.metadata {
            document[name] = value.clone();
        }
        document
    }

    fn redeem(&self, inner: &mut Inner, request: &Request<Bytes>) -> Result<Value, &'static str> {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(request.body()).into_owned().collect();
        if !is_our_client(request, &form) {
            return Err("invalid_client");
        }
        let grant = inner.codes.remove(&form["code"]).ok_or("invalid_grant")?;
        let challenge = URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes()));
        if inner.checks_pkce && challenge != grant["code_challenge"]
            || form["redirect_uri"] != grant["redirect_uri"]
        {
            return Err("invalid_grant");
        }
        let access_token = Random::system().token().expose().to_owned();
        let id_token = match &inner.id_token {
            Some(token) => token.clone(),
            None => self.id_token(inner, &grant["nonce"], &access_token),
        };
        inner.given.extend([access_token.clone(), id_token.clone()]);
        Ok(json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token,
        }))
    }

    fn id_token(&self, inner: &Inner, nonce: &str, access_token: &str) -> String {
        let mut header = json!({"alg": inner.signer.algorithm(), "typ": "JWT", "kid": inner.signer.kid});
        let now = NOW.seconds();
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            // As some providers write it.
            "auth_time": now as f64 - 12.345,
        });
        claims["at_hash"] = OF_THIS_TOKEN.into();
        for (name, value) in &inner.person {
            claims[name] = value.clone();
        }
        if let Some(bend) = &inner.bend {
            bend(&mut header, &mut claims);
        }
        let algorithm = header["alg"].as_str().unwrap_or_default().to_owned();
        if claims["at_hash"] == OF_THIS_TOKEN {
            let text = access_token.as_bytes();
            let half = match algorithm.as_str() {
                "RS384" | "PS384" | "ES384" => sha384(text)[..24].to_vec(),
                "RS512" | "PS512" | "ES512" | "EdDSA" => sha512(text)[..32].to_vec(),
                _ => sha256(text)[..16].to_vec(),
            };
            claims["at_hash"] = URL_SAFE_NO_PAD.encode(half).into();
        }
        token(&header, &claims, |message| match &inner.forge {
            Some(forge) => forge(message),
            None => inner.signer.sign(&algorithm, message),
        })
    }
}

/// Basic or post: one of them, and right.
fn is_our_client(request: &Request<Bytes>, form: &HashMap<String, String>) -> bool {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match request.headers().get("authorization") {
        Some(basic) => {
            let wanted =
                format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(CLIENT), encode(SECRET))));
            equal(basic.as_bytes(), wanted.as_bytes()) && !form.contains_key("client_secret")
        }
        None => {
            form.get("client_id").is_some_and(|id| id == CLIENT)
                && form.get("client_secret").is_some_and(|s| s == SECRET)
        }
    }
}

pub(crate) async fn begin(idp: &Idp, now: Timestamp) -> Result<(Pending, String), LoginRefusal> {
    let mut random = Random::system();
    let state = random.token().expose().to_owned();
    let ask = Ask { app: AppId(1), state, return_to: "/start".into(), rounds: 0, epochs: [0; 3] };
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
