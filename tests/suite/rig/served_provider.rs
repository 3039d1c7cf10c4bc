//! The rig's OpenID provider on a socket, for tests that bend what it says: any path may be answered in its place, and its
//! clock may be another one. It is asked at `idp.localhost`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;
use tokio::net::TcpListener;

use super::idp::Client;
use super::provider::{AskError, Bends, OidcClient, OpenIdProvider, Profile, Signer};

/// One of its answers, by a test.
type Bent = Arc<dyn Fn() -> Response<Bytes> + Send + Sync>;

/// The provider and what is bent at its socket.
#[derive(Clone)]
pub struct ServedProvider {
    shared: Arc<Shared>,
    pub issuer: String,
    pub client: Client,
}

struct Shared {
    provider: OpenIdProvider,
    answers: Mutex<HashMap<&'static str, Bent>>,
    /// How far its clock is ahead, in milliseconds.
    ahead_ms: Mutex<i64>,
    asked: Mutex<Vec<String>>,
    /// Whoever is signed in here.
    signed_in: Mutex<Option<Profile>>,
}

impl ServedProvider {
    /// Starts it for one client that comes back to this address.
    pub async fn start(redirect_uri: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://idp.localhost:{}", listener.local_addr().unwrap().port());
        let client = Client::drawn();
        let registered = OidcClient {
            id: client.id.clone(),
            secret: Secret::new(client.secret.as_str()),
            redirect_uri: redirect_uri.to_owned(),
            post_logout_uri: String::new(),
        };
        let provider = OpenIdProvider::new(&issuer, registered, Signer::ed25519("1"), Random::from_system());
        let shared = Arc::new(Shared {
            provider,
            answers: Mutex::default(),
            ahead_ms: Mutex::default(),
            asked: Mutex::default(),
            signed_in: Mutex::default(),
        });
        tokio::spawn(serve(listener, shared.clone()));
        Self { shared, issuer, client }
    }

    /// What is bent at the provider itself.
    pub fn inside(&self) -> MutexGuard<'_, Bends> {
        self.shared.provider.bends()
    }

    /// Answers in place of a path.
    pub fn answer(&self, path: &'static str, answer: impl Fn() -> Response<Bytes> + Send + Sync + 'static) {
        self.shared.answers.lock().unwrap().insert(path, Arc::new(answer));
    }

    /// Answers a path with this status and body.
    pub fn say(&self, path: &'static str, status: u16, body: impl Into<Bytes>) {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.into());
        self.answer(path, move || {
            let mut answer = Response::new(body.clone());
            *answer.status_mut() = status;
            answer
        });
    }

    /// Sets its clock ahead by so many milliseconds.
    pub fn set_ahead(&self, ms: i64) {
        *self.shared.ahead_ms.lock().unwrap() = ms;
    }

    /// Has everybody who comes from now on be this person, without a form.
    pub fn sign_in(&self, profile: Profile) {
        *self.shared.signed_in.lock().unwrap() = Some(profile);
    }

    /// Every path and query that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)): Result<(_, SocketAddr), _> = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let shared = shared.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let answer = shared.answer_request(&Request::from_parts(head, body));
                    Ok::<_, Infallible>(answer.map(Full::new))
                }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    fn answer_request(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.asked.lock().unwrap().push(request.uri().to_string());
        let now = Timestamp::now();
        let bent = self.answers.lock().unwrap().get(request.uri().path()).cloned();
        let mut answer = match bent {
            Some(bent) => bent(),
            None if request.uri().path() == "/authorize" => self.authorize(request),
            None => self.provider.serve(request, now),
        };
        let date = jiff::Timestamp::from_millisecond(now.0 + *self.ahead_ms.lock().unwrap()).unwrap();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        answer.headers_mut().insert(header::DATE, HeaderValue::from_str(&date).unwrap());
        answer
    }

    /// A browser with `prompt=none` is nobody's, whoever is signed in.
    fn authorize(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let query = request.uri().query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let to = match self.provider.ask(&pairs) {
            Err(AskError::Stranger(page)) => {
                let mut answer = Response::new(Bytes::from_static(page.as_bytes()));
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                return answer;
            }
            Err(AskError::Back(to)) => to,
            Ok(ask) if ask.silent => self.provider.login_required(&ask),
            Ok(ask) => match self.signed_in.lock().unwrap().clone() {
                Some(profile) => {
                    let now = Timestamp::now();
                    let cookie = self.provider.sign_in(profile, now);
                    self.provider.grant(&ask, self.provider.browser(cookie.expose()).unwrap(), now)
                }
                None => return Response::new(Bytes::from_static(b"<form>Who are you?</form>")),
            },
        };
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&to).unwrap());
        answer
    }
}
