//! The rehearsal IdP at `idp.localhost`: another site than the app, as in the field.
//!
//! Three things in one: the OpenID provider ([`OpenIdProvider`]), a page of four people to sign in as, and the directory
//! page, whose buttons make the SCIM client ([`Directory`]) push a change and show the call, its answer and the
//! milliseconds. It asks for no password and lets a deactivated person sign in, so that one sees Portcullis refuse
//! them. So it serves loopback names only (another `Host` is 421: a foreign name that resolves to this machine gets
//! nothing), and takes orders from its own pages alone.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawForm, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;
use portcullis_rig::provider::{
    AskError, AuthorizationRequest, OidcClient, OpenIdProvider, ProviderLogin, Signer,
};
use url::form_urlencoded;

use crate::directory::{ButtonAction, CallOutcome, Directory, Employee, ScimCall};

/// The rehearsal IdP.
pub(crate) struct RehearsalIdp {
    provider: OpenIdProvider,
    directory: Arc<Directory>,
    issuer: String,
    hosts: [String; 2],
    app_url: String,
    logout_url: String,
    policy: HeaderValue,
}

/// The addresses that the IdP's pages name.
pub(crate) struct IdpLinks {
    /// Ours, without a slash at its end.
    pub(crate) issuer: String,
    /// Our port, on 127.0.0.1.
    pub(crate) port: u16,
    /// The app's front page.
    pub(crate) app_url: String,
    /// The address at which the app's proxy signs people out.
    pub(crate) logout_url: String,
}

impl RehearsalIdp {
    /// An IdP for one client, with keys of its own.
    pub(crate) fn new(
        links: IdpLinks,
        client: OidcClient,
        directory: Arc<Directory>,
        random: Random,
    ) -> Arc<Self> {
        let IdpLinks { issuer, port, app_url, logout_url } = links;
        let provider = OpenIdProvider::new(&issuer, client, Signer::ed25519("rehearsal"), random);
        let hosts = [format!("idp.localhost:{port}"), format!("127.0.0.1:{port}")];
        // The answer to a form may redirect to the app, so form-action has to name it.
        let policy = format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
             form-action 'self' {}",
            app_url.trim_end_matches('/')
        );
        // The URL is made of ports by the rehearsal itself; were it odd, forms would still be kept to this site.
        let policy = HeaderValue::from_str(&policy)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'; form-action 'self'"));
        Arc::new(Self { provider, directory, issuer, hosts, app_url, logout_url, policy })
    }

    /// Its endpoints and pages.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(directory_page))
            .route("/directory", get(directory_page))
            .route("/directory/{person}/{act}", post(press_button))
            .route("/.well-known/openid-configuration", get(serve_provider))
            .route("/jwks", get(serve_provider))
            .route("/authorize", get(ask_who).post(person_chosen))
            .route("/token", post(serve_provider))
            .route("/userinfo", get(serve_provider).post(serve_provider))
            .route("/end-session", get(end_session).post(end_session_form))
            .route("/style.css", get(serve_style))
            .route("/icon.svg", get(serve_icon))
            .fallback(nothing_there)
            .layer(middleware::from_fn_with_state(self.clone(), guard_request))
            .with_state(self.clone())
    }

    fn browser(&self, headers: &HeaderMap) -> Option<ProviderLogin> {
        self.provider.browser(&session_cookie(headers)?)
    }
}

/// Says who may ask at all, and sets the headers that every answer has.
async fn guard_request(State(idp): State<Arc<RehearsalIdp>>, request: Request, next: Next) -> Response {
    let known = header_text(request.headers(), header::HOST)
        .is_some_and(|host| idp.hosts.iter().any(|name| name == host));
    // Browsers name the page a form stands on. Programs, as at the token endpoint, send no Origin.
    let ours = request.method() != Method::POST
        || header_text(request.headers(), header::ORIGIN).is_none_or(|from| from == idp.issuer);
    let mut answer = if !known {
        (StatusCode::MISDIRECTED_REQUEST, "This is the rehearsal IdP; it serves idp.localhost only.\n")
            .into_response()
    } else if !ours {
        (StatusCode::FORBIDDEN, "Only the rehearsal IdP's own pages may send this.\n").into_response()
    } else {
        next.run(request).await
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, idp.policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // `no-referrer` would make browsers send `Origin: null` with our own forms.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    answer.headers_mut().extend(fixed);
    answer
}

// ── The OpenID provider ──────────────────────────────────────────────────────────────────────

/// The endpoints that no person sees.
async fn serve_provider(State(idp): State<Arc<RehearsalIdp>>, head: Parts, body: Bytes) -> Response {
    idp.provider.serve(&Request::from_parts(head, body), Timestamp::now()).map(Body::from)
}

#[derive(Template)]
#[template(path = "idp/sign-in.html")]
struct LoginPage<'a> {
    people: Vec<Employee>,
    query: &'a str,
    app_url: &'a str,
    signed_in: Option<String>,
    somebody_is_out: bool,
}

/// The authorization endpoint: the page of people.
async fn ask_who(
    State(idp): State<Arc<RehearsalIdp>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let ask = match idp.provider.ask(&form_pairs(query.as_bytes())) {
        Ok(ask) => ask,
        Err(refused) => return refuse_ask(refused),
    };
    let browser = idp.browser(&headers);
    match (ask.silent, browser) {
        (true, None) => see_other(&idp.provider.login_required(&ask)),
        (true, Some(browser)) => grant_code(&idp, &ask, browser),
        (false, browser) => {
            let people = idp.directory.people();
            render_page(&LoginPage {
                somebody_is_out: people.iter().any(|person| !person.active),
                people,
                query: &query,
                app_url: &idp.app_url,
                signed_in: browser.map(|browser| browser.profile.name),
            })
        }
    }
}

/// The same endpoint, after somebody was chosen.
async fn person_chosen(
    State(idp): State<Arc<RehearsalIdp>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    RawForm(form): RawForm,
) -> Response {
    let ask = match idp.provider.ask(&form_pairs(query.unwrap_or_default().as_bytes())) {
        Ok(ask) => ask,
        Err(refused) => return refuse_ask(refused),
    };
    let form = form_pairs(&form);
    let Some(person) = first_value(&form, "person").and_then(|key| idp.directory.person(key)) else {
        return message_page(
            StatusCode::BAD_REQUEST,
            "Nobody was chosen",
            "Go back and choose one of the four.",
        );
    };
    if let Some(old) = session_cookie(&headers) {
        idp.provider.sign_out(&old);
    }
    let fresh = idp.provider.sign_in(person.profile(), Timestamp::now());
    let Some(browser) = idp.provider.browser(fresh.expose()) else {
        return message_page(StatusCode::INTERNAL_SERVER_ERROR, "Not signed in", "Please try once more.");
    };
    with_cookie(grant_code(&idp, &ask, browser), &fresh)
}

fn grant_code(idp: &RehearsalIdp, ask: &AuthorizationRequest, browser: ProviderLogin) -> Response {
    see_other(&idp.provider.grant(ask, browser, Timestamp::now()))
}

fn refuse_ask(refused: AskError) -> Response {
    match refused {
        AskError::Back(to) => see_other(&to),
        AskError::Stranger(why) => message_page(StatusCode::BAD_REQUEST, "This sign-in cannot go on", why),
    }
}

#[derive(Template)]
#[template(path = "idp/sign-out.html")]
struct SignOut<'a> {
    request: &'a [(String, String)],
}

/// Logout, asked for by an app (OpenID Connect RP-Initiated Logout). Without a good hint a person is asked first.
async fn end_session(
    State(idp): State<Arc<RehearsalIdp>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    sign_out(&idp, &form_pairs(query.unwrap_or_default().as_bytes()), &headers)
}

async fn end_session_form(
    State(idp): State<Arc<RehearsalIdp>>,
    headers: HeaderMap,
    RawForm(form): RawForm,
) -> Response {
    sign_out(&idp, &form_pairs(&form), &headers)
}

fn sign_out(idp: &RehearsalIdp, request: &[(String, String)], headers: &HeaderMap) -> Response {
    let cookie = session_cookie(headers);
    // The guard lets only our own page post here from a browser.
    let confirmed = first_value(request, "confirmed") == Some("yes") && headers.contains_key(header::ORIGIN);
    let signed_in = idp.browser(headers).is_some();
    if signed_in && !confirmed && !idp.provider.may_sign_out(request, cookie.as_deref()) {
        return render_page(&SignOut { request });
    }
    if let Some(cookie) = cookie {
        idp.provider.sign_out(&cookie);
    }
    let answer = match idp.provider.after_logout(request) {
        Some(to) => see_other(&to),
        None => message_page(StatusCode::OK, "Signed out", "You are signed out at the rehearsal IdP."),
    };
    with_cookie(answer, &Secret::new(""))
}

// ── The directory ────────────────────────────────────────────────────────────────────────────

#[derive(Template)]
#[template(path = "idp/directory.html")]
struct DirectoryPage<'a> {
    people: Vec<Employee>,
    calls: Vec<ShownCall>,
    app_url: &'a str,
    logout_url: &'a str,
}

/// A call as the page shows it.
struct ShownCall {
    call: ScimCall,
    /// The answer's status, or nothing.
    status: Option<StatusCode>,
    answer: String,
    ms: Option<String>,
    good: bool,
}

impl ShownCall {
    fn new(call: ScimCall) -> Self {
        let ms = call.took().map(|took| format!("{:.1}", took.as_secs_f64() * 1000.0));
        let good = call.succeeded();
        let (status, answer) = match &call.outcome {
            CallOutcome::Answered { status, body, .. } => (Some(*status), cut_text(body)),
            CallOutcome::Unanswered(cause) => (None, cut_text(cause)),
        };
        Self { call, status, answer, ms, good }
    }
}

async fn directory_page(State(idp): State<Arc<RehearsalIdp>>) -> Response {
    render_page(&DirectoryPage {
        people: idp.directory.people(),
        calls: idp.directory.calls().into_iter().map(ShownCall::new).collect(),
        app_url: &idp.app_url,
        logout_url: &idp.logout_url,
    })
}

async fn press_button(
    State(idp): State<Arc<RehearsalIdp>>,
    Path((person, act)): Path<(String, String)>,
) -> Response {
    let (Some(person), Some(act)) = (idp.directory.person(&person), ButtonAction::named(&act)) else {
        return nothing_there().await;
    };
    // In a task of its own: a browser that goes away does not stop a push half-way.
    let directory = idp.directory.clone();
    let pushed = tokio::spawn(async move { directory.press(person.key, act).await });
    match pushed.await {
        Ok(_) => see_other("/directory#calls"),
        Err(_) => {
            message_page(StatusCode::INTERNAL_SERVER_ERROR, "Not pushed", "The push broke off. Press again.")
        }
    }
}

// ── Small things ─────────────────────────────────────────────────────────────────────────────

#[derive(Template)]
#[template(path = "idp/message.html")]
struct MessagePage<'a> {
    title: &'a str,
    words: &'a str,
}

async fn nothing_there() -> Response {
    message_page(StatusCode::NOT_FOUND, "Nothing here", "The rehearsal IdP has no such page.")
}

async fn serve_style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("pages/idp/idp.css")).into_response()
}

async fn serve_icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("pages/idp/icon.svg")).into_response()
}

fn message_page(status: StatusCode, title: &str, words: &str) -> Response {
    (status, render_page(&MessagePage { title, words })).into_response()
}

fn render_page(template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => Html(page).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be drawn.\n").into_response(),
    }
}

fn see_other(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// The browser's sign-in at the IdP. Loopback only, over plain http, so without `Secure`.
const COOKIE: &str = "rehearsal_idp";

/// Sets the cookie; an empty value takes it away.
fn with_cookie(mut answer: Response, fresh: &Secret) -> Response {
    let gone = if fresh.expose().is_empty() { "; Max-Age=0" } else { "" };
    let line = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax{gone}", fresh.expose());
    if let Ok(line) = HeaderValue::from_str(&line) {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
    answer
}

fn session_cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then(|| value.to_owned()))
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn form_pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

fn first_value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An answer as long as a page can bear.
fn cut_text(text: &str) -> String {
    const MOST: usize = 2_000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use crate::directory::ScimTarget;

    const ASK: &str = "/authorize?response_type=code&client_id=app&redirect_uri=http%3A%2F%2Fapp.localhost%3A1%2Fcb\
        &scope=openid&state=s&nonce=n&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
        &code_challenge_method=S256";

    #[tokio::test]
    async fn only_its_own_names_are_served() {
        for (host, status) in [
            ("idp.localhost:2", 200),
            ("127.0.0.1:2", 200),
            ("idp.localhost", 421),
            ("idp.localhost:3", 421),
            ("evil.example", 421),
            ("evil.example:2", 421),
            ("", 421),
        ] {
            let request = Request::get("/directory").header(header::HOST, host).body(Body::empty()).unwrap();
            assert_eq!(answer(request).await.0.as_u16(), status, "{host}");
        }
    }

    #[tokio::test]
    async fn only_its_own_pages_may_press_a_button() {
        for (origin, status) in [
            ("http://idp.localhost:2", 303),
            ("http://app.localhost:1", 403),
            ("http://evil.example", 403),
            ("null", 403),
        ] {
            let request = Request::post("/directory/alice/deactivate").header(header::ORIGIN, origin);
            let request = request.header(header::HOST, "idp.localhost:2").body(Body::empty()).unwrap();
            assert_eq!(answer(request).await.0.as_u16(), status, "{origin}");
        }
    }

    #[tokio::test]
    async fn a_state_that_looks_like_markup_stays_text() {
        let ask = ASK.replace("state=s", "state='%22%3E%3Cscript%3E");
        let request = Request::get(ask).header(header::HOST, "idp.localhost:2");
        let (status, headers, page) = answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("state=&#39;%22%3E%3Cscript%3E"), "{page}");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
    }

    #[tokio::test]
    async fn choosing_somebody_sends_a_code_back_and_a_stranger_nowhere() {
        let choose = |path: &str, form: &'static str| {
            let request = Request::post(path).header(header::HOST, "idp.localhost:2");
            let request = request.header(header::ORIGIN, "http://idp.localhost:2");
            let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            request.body(Body::from(form)).unwrap()
        };
        let (status, headers, _) = answer(choose(ASK, "person=alice")).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        let to = headers[header::LOCATION].to_str().unwrap();
        assert!(to.starts_with("http://app.localhost:1/cb?code=") && to.contains("&state=s&iss="), "{to}");
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");

        for (path, form) in [
            (ASK.to_owned(), "person=mallory"),
            (ASK.to_owned(), ""),
            (ASK.replace("app.localhost", "evil.example"), "person=alice"),
        ] {
            let (status, headers, _) = answer(choose(&path, form)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {form}");
            assert!(!headers.contains_key(header::LOCATION));
        }
    }

    async fn answer(request: Request) -> (StatusCode, HeaderMap, String) {
        let links = IdpLinks {
            issuer: "http://idp.localhost:2".into(),
            port: 2,
            app_url: "http://app.localhost:1/".into(),
            logout_url: "http://app.localhost:1/logout".into(),
        };
        let client = OidcClient {
            id: "app".into(),
            secret: Secret::new("s"),
            redirect_uri: "http://app.localhost:1/cb".into(),
            post_logout_uri: "http://app.localhost:1/bye".into(),
        };
        let directory = Arc::new(Directory::new(ScimTarget { port: 1, token: Secret::new("t") }));
        let idp = RehearsalIdp::new(links, client, directory, Random::from_seed(5));
        let (head, body) = idp.router().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}
