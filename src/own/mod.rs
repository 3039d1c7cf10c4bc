//! Our own pages: what is under the prefix of an app, and the pages that tell a person why they were refused.
//!
//! The data plane hands over whole requests (`portcullis_proxy::Pages`) and gets whole answers; everything here runs
//! on the core runtime. Whatever is not listed is 404 and never forwarded.

pub(crate) mod admission;
#[cfg(feature = "saml")]
mod arrivals;
mod back_channel;
mod choice;
mod flows;
mod login;
mod logout;
pub(crate) mod reasons;
pub(crate) mod relayed;
#[cfg(feature = "saml")]
pub(crate) mod saml;
#[cfg(feature = "saml")]
mod saml_threads;
mod set_cookie;
mod site;
mod tries;
mod ways;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use portcullis_keys::Random;
use portcullis_policy::Timestamp;
use portcullis_proxy::{KeepWay, NotSignedIn, Pages, Reference, RefusalKind, RefusalPage, Visitor};
use portcullis_sso::Class;

pub(crate) use self::site::{AskedSite, OwnSite, SiteIdp};
use crate::core::{Core, answer_undisturbed};
use crate::live::{Current, Live};
use crate::pages::{self, Page};
use crate::refusals::Whose;
use crate::strangers::StrangerLines;

/// The parts that our own pages work with.
pub(crate) struct Own {
    pub(crate) core: Arc<Core>,
    /// The configuration in force, which a login is admitted by. Everything else goes by the one that its request was
    /// decided under.
    live: Arc<Current>,
    /// Held by a login while it reads from the configuration who is admitted, until that is committed: a reload waits for
    /// those that may have read the one before.
    pub(crate) admitting: tokio::sync::RwLock<()>,
    /// Ways back and token requests: what is known of logins under way, in memory alone.
    under_way: UnderWay,
    /// Lines about refused logins that nobody's word stands behind.
    strangers: StrangerLines,
}

/// The page on which an identity provider says that sessions have ended (OpenID Connect Back-Channel Logout 1.0).
const BACK_CHANNEL: &str = "backchannel-logout";
/// The most of those lines in a minute.
const STRANGERS_LINES: u32 = 20;

/// Classes of refusals that anybody can cause.
const ANYBODYS: [Class; 16] = [
    Class::OidcState,
    Class::OidcIssParam,
    Class::OidcProviderError,
    Class::OidcLogoutToken,
    Class::SamlInResponseTo,
    Class::SamlTooLarge,
    Class::SamlMalformed,
    Class::SamlForbiddenXml,
    Class::SamlStructure,
    Class::SamlSignaturePolicy,
    Class::SamlUnsigned,
    Class::SamlSignatureInvalid,
    Class::SamlKeyWaiting,
    Class::SamlKeyDistrusted,
    Class::SamlDecrypt,
    Class::SamlStatus,
];

/// Tells whether anybody can cause this refusal, with neither the IdP's nor the store's word.
fn is_anybodys(reason: &str) -> bool {
    ANYBODYS.iter().any(|class| class.log_word() == reason)
        || [reasons::TRIES, reasons::BUSY, reasons::LOGOUT_CSRF].contains(&reason)
}

/// The memory of logins that are under way. A restart forgets it, and no login fails for that.
#[derive(Default)]
pub(crate) struct UnderWay {
    ways: ways::Ways,
    tries: tries::Tries,
    unanswered: back_channel::Unanswered,
    #[cfg(feature = "saml")]
    saml: saml_threads::SamlThreads,
    #[cfg(feature = "saml")]
    arrivals: arrivals::Arrivals,
}

/// The answer to whoever has to sign in first: the data plane has the words for it.
fn login_required() -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    answer.extensions_mut().insert(NotSignedIn);
    answer
}

/// The seam of the data plane: the pages of one configuration, to which it hands every request that it decided under
/// that one.
pub(crate) fn pages_seam(own: Arc<Own>, live: &Live) -> Pages {
    let site = live.site.clone();
    Arc::new(move |request| {
        let (own, site) = (own.clone(), site.clone());
        Box::pin(async move {
            let core = own.core.clone();
            let answer = own.serve_page(site, request);
            answer_undisturbed(&core.runtime, "a page of ours", answer).await.unwrap_or_else(|| {
                let mut answer =
                    Response::new(Bytes::from_static(b"Portcullis failed; its log has the reason.\n"));
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                answer
            })
        })
    })
}

/// Tells whether a page may write, or goes by what only the process that leads knows.
fn writes(page: &str) -> bool {
    let first = page.split('/').next().unwrap_or(page);
    ["login", "callback", "saml", "arrived", BACK_CHANNEL, "logout", "logged-out"].contains(&first)
}

/// Has a request asked again, as it is, on a connection of its own: there the process answers that has taken over.
fn ask_elsewhere(request: &Request<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let here = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if let Ok(here) = HeaderValue::try_from(here) {
        answer.headers_mut().insert(header::LOCATION, here);
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Own {
    pub(crate) fn new(core: Arc<Core>, live: Arc<Current>) -> Self {
        Self {
            core,
            live,
            admitting: tokio::sync::RwLock::default(),
            under_way: UnderWay::default(),
            strangers: StrangerLines::at_most(STRANGERS_LINES),
        }
    }

    async fn serve_page(self: Arc<Self>, site: Arc<OwnSite>, request: Request<Bytes>) -> Response<Bytes> {
        let site = Arc::new(AskedSite::new(site, request.headers()));
        if let Some(refused) = request.extensions().get::<RefusalPage>() {
            return self.refusal_page(&site, refused, request.extensions().get::<Visitor>()).await;
        }
        let Some(visitor) = request.extensions().get::<Visitor>().cloned() else {
            return self.render_page(&site, &Page::refused(RefusalKind::NotFound, None));
        };
        if let Some(KeepWay(way)) = request.extensions().get() {
            return self.keep_way(&site, way);
        }
        let Some(page) =
            request.uri().path().strip_prefix(&site.ours).map(|rest| rest.trim_start_matches('/').to_owned())
        else {
            return self.render_page(&site, &Page::refused(RefusalKind::NotFound, None));
        };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let posts = request.method() == Method::POST;
        let answering = if writes(&page) { self.core.turn.begin_answer().await } else { None };
        if answering.is_none() && writes(&page) {
            return match page.split('/').next() {
                Some(BACK_CHANNEL) if posts => self.relay_back_channel(request, &visitor).await,
                _ => ask_elsewhere(&request),
            };
        }
        match page.split_once('/').unwrap_or((&page, "")) {
            ("login", "") if reads => self.begin_login(&site, &request, &visitor).await,
            ("login", "") if posts => self.choose_idp(&site, &request),
            ("callback", idp) if reads || posts => match site.find_idp(idp).cloned() {
                Some(entry) => self.finish_login(&site, &entry, &request, &visitor).await,
                None => self.finish_overtaken_login(&site, &request, &visitor).await,
            },
            #[cfg(feature = "saml")]
            ("saml", rest) => self.serve_saml(&site, rest, &request, &visitor).await,
            #[cfg(feature = "saml")]
            ("arrived", "") if reads || posts => self.finish_arrival(&site, &request, &visitor).await,
            (BACK_CHANNEL, idp) if posts => match site.find_idp(idp).cloned() {
                Some(entry) => self.end_by_token(&site, &entry, &request, &visitor).await,
                None => self.render_page(&site, &Page::refused(RefusalKind::NotFound, None)),
            },
            ("logout", "") if reads => self.ask_to_sign_out(&site, &visitor).await,
            ("logout", "") if posts => self.sign_out(&site, &request, &visitor).await,
            ("logged-out", "") if reads => self.signed_out(&site, &request),
            ("me", "") if reads => self.answer_me(&site, &visitor).await,
            ("ping", "") if reads => {
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            }
            ("jwks.json", "") if reads && site.signs => pages::keys_answer(&self.core.assertion_keys.shown()),
            ("login" | "logout" | "logged-out" | "me" | "ping", "") => {
                self.render_page(&site, &Page::refused(RefusalKind::Method, None))
            }
            (asset, "") if reads => pages::find_asset(asset)
                .unwrap_or_else(|| self.render_page(&site, &Page::refused(RefusalKind::NotFound, None))),
            _ => self.render_page(&site, &Page::refused(RefusalKind::NotFound, None)),
        }
    }

    /// Renders a page of this app. The number on it, if there is one, goes into the line of the access log as well.
    pub(crate) fn render_page(&self, site: &AskedSite, page: &Page<'_>) -> Response<Bytes> {
        let mut answer = pages::render_page(page, &site.page_links());
        if let Some(reference) = page.reference() {
            answer.extensions_mut().insert(Reference(reference.to_owned()));
        }
        answer
    }

    /// The page for a refusal of the data plane, which sets the status.
    async fn refusal_page(
        &self,
        site: &AskedSite,
        refused: &RefusalPage,
        visitor: Option<&Visitor>,
    ) -> Response<Bytes> {
        let reference = refused.reference.as_str();
        let return_to = refused.login_url.split_once("return_to=").map_or("", |(_, path)| path);
        let return_to = percent_encoding::percent_decode_str(return_to).decode_utf8_lossy();
        let return_to = site.local_path(&return_to);
        let who = match (refused.kind, visitor) {
            (RefusalKind::NotAllowed, Some(visitor)) => visitor.who.find_person().await,
            _ => None,
        };
        let who = who.as_ref().map_or("", |(who, _)| who.name());
        let (kind, reference) = (refused.kind, Some(reference));
        let mut answer =
            self.render_page(site, &Page::Refused { kind, who, return_to: &return_to, reference });
        // A page that says that the application failed has not itself failed.
        *answer.status_mut() = StatusCode::OK;
        answer
    }

    async fn answer_me(&self, site: &AskedSite, visitor: &Visitor) -> Response<Bytes> {
        match visitor.who.find_person().await {
            Some((who, expires)) => pages::answer_me(&who, expires, &site.page_links()),
            None => login_required(),
        }
    }

    /// Tells the operator why somebody was not let in, and gives the number that leads back to it: `reference`, where
    /// the login was called by one before. `subject` is what the IdP calls them, where that was verified.
    pub(crate) fn record_refusal(
        &self,
        idp: &str,
        reason: &'static str,
        text: &str,
        visitor: &Visitor,
        subject: Option<&str>,
        reference: Option<String>,
    ) -> String {
        let reference = reference.unwrap_or_else(|| Random::from_system().draw_reference());
        let client = visitor.detail.shown_client(visitor.client);
        let is_anybodys = is_anybodys(reason);
        if let Some(untold) = if is_anybodys { self.strangers.count_line(Instant::now()) } else { Some(0) } {
            let untold = (untold > 0).then_some(untold);
            tracing::warn!(
                "ref" = reference, idp, reason, subject, client = client.as_deref(),
                trace = %visitor.request_id, untold, "login refused: {text}"
            );
        }
        self.core.metrics.count_login(reason);
        let record = serde_json::json!({
            "what": "login refused", "idp": idp, "reason": reason, "detail": text, "subject": subject,
            "client": client, "trace": visitor.request_id,
        });
        let whose = if is_anybodys { Whose::Anybodys } else { Whose::Somebodys };
        self.core.refusals.keep_refusal(&reference, record.to_string(), Timestamp::now(), whose);
        reference
    }
}
