//! Our own pages: what is under the prefix of an app, and the pages that tell a person why they were refused.
//!
//! The data plane hands over whole requests (`portcullis_proxy::Pages`) and gets whole answers; everything here runs
//! on the core runtime. Whatever is not listed is 404 and never forwarded.

mod flows;
mod login;
mod logout;
mod tries;
mod ways;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use portcullis_keys::{Keyring, Random};
use portcullis_policy::{Principal, Timestamp};
use portcullis_proxy::{KeepWay, Pages, Reference, RefusalKind, Refused, Visitor};
use portcullis_session::{InFlight, Sessions};
use portcullis_sso::{Class, Idp, OidcSettings};
use portcullis_store::Store;
use tokio::runtime::Handle;

use crate::metrics::Metrics;
use crate::pages::{self, Page, Place};
use crate::refusals::{Refusals, Whose};
use crate::revocation::Revocation;
use crate::strangers::Strangers;

/// What our own pages work with.
pub(crate) struct Own {
    pub(crate) core: Handle,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<Store>,
    pub(crate) refusals: Refusals,
    pub(crate) revocation: Revocation,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) site: ArcSwap<Site>,
    /// Held by a login while it reads from the site who is admitted, until that is committed: a reload waits for those
    /// that may have read the site before.
    pub(crate) admitting: tokio::sync::RwLock<()>,
    /// Ways back and token requests: what is known of logins under way, in memory alone.
    pub(crate) under_way: UnderWay,
    /// A reload has put another site in place.
    pub(crate) new_site: tokio::sync::Notify,
    /// Lines about refused logins that nobody's word stands behind.
    pub(crate) strangers: Strangers,
}

/// How many of those lines there are a minute.
pub(crate) const STRANGERS_LINES: u32 = 20;

/// Whether anybody can cause this refusal, with neither the IdP's nor the store's word.
fn is_anybodys(reason: &str) -> bool {
    [Class::State, Class::IssParam, Class::ProviderError].iter().any(|class| class.word() == reason)
        || [login::TRIES, login::BUSY, logout::LOGOUT_CSRF].contains(&reason)
}

/// What is known of logins that are under way. A restart forgets it, and no login fails for that.
#[derive(Default)]
pub(crate) struct UnderWay {
    ways: ways::Ways,
    tries: tries::Tries,
}

/// Reasons of refused logins that are neither the IdP's answer nor the store's word.
pub(crate) const REASONS: [&str; 6] =
    [login::STORE, login::INTERNAL, login::ROUNDS_IN_A_ROW, login::TRIES, login::BUSY, logout::LOGOUT_CSRF];

/// One app as its pages need it; made from the configuration, replaced by a reload.
pub(crate) struct Site {
    /// The host of `public_url`, as people know it.
    pub(crate) host: String,
    /// Scheme, host and port of `public_url`: what `Origin` must be.
    pub(crate) origin: String,
    /// The path of the front page, with its final slash.
    pub(crate) home: String,
    /// The path of our own pages, without a final slash.
    pub(crate) ours: String,
    /// The name of the session cookie.
    pub(crate) cookie: String,
    /// How much of a request's head the cookies of logins under way may take, in bytes.
    pub(crate) flow_bytes: usize,
    pub(crate) idp: Arc<Idp>,
    /// What the IdP was made from.
    pub(crate) oidc: OidcSettings,
    pub(crate) admission: crate::settings::Admission,
}

impl Site {
    /// Keeps the IdP of another site where nothing of it has changed, with the keys it has read.
    pub(crate) fn with_idp_of(self, before: &Site) -> Self {
        if self.oidc == before.oidc { Self { idp: before.idp.clone(), ..self } } else { self }
    }

    fn place(&self) -> Place<'_> {
        Place { app: &self.host, home: &self.home, ours: &self.ours }
    }

    /// A path of this app, or its front page: nothing that could lead to another origin.
    pub(crate) fn local_path(&self, path: &str) -> String {
        let base = self.home.trim_end_matches('/');
        portcullis_proxy::way_back(path, base, &self.ours).unwrap_or(&self.home).to_owned()
    }

    /// The answer to whoever is not a person in a window and has to sign in.
    pub(crate) fn login_required(&self) -> Response<Bytes> {
        let login_url = format!("{}/login", self.ours);
        let said = serde_json::json!({"error": "login_required", "login_url": login_url});
        let mut answer = pages::json(StatusCode::UNAUTHORIZED, &said);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Portcullis"));
        answer
    }
}

/// The seam of the data plane.
pub(crate) fn seam(own: Arc<Own>) -> Pages {
    Arc::new(move |request| {
        let own = own.clone();
        Box::pin(async move {
            let core = own.core.clone();
            match core.spawn(own.serve(request)).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "a page of ours failed");
                    let mut answer =
                        Response::new(Bytes::from_static(b"Portcullis failed; its log has the reason.\n"));
                    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    answer
                }
            }
        })
    })
}

impl Own {
    async fn serve(self: Arc<Self>, request: Request<Bytes>) -> Response<Bytes> {
        let site = self.site.load_full();
        if let Some(refused) = request.extensions().get::<Refused>() {
            return self.refused(&site, refused, request.extensions().get::<Visitor>()).await;
        }
        let Some(visitor) = request.extensions().get::<Visitor>().cloned() else {
            return self.page(&site, &Page::NotFound);
        };
        if let Some(KeepWay(way)) = request.extensions().get() {
            return self.keep_way(&site, way);
        }
        let Some(page) =
            request.uri().path().strip_prefix(&site.ours).map(|rest| rest.trim_start_matches('/').to_owned())
        else {
            return self.page(&site, &Page::NotFound);
        };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let posts = request.method() == Method::POST;
        match page.split_once('/').unwrap_or((&page, "")) {
            ("login", "") if reads => self.begin(&site, &request, &visitor).await,
            ("callback", idp) if (reads || posts) && idp == site.idp.name() => {
                self.callback(&site, &request, &visitor).await
            }
            ("logout", "") if reads => self.ask_to_sign_out(&site, &visitor).await,
            ("logout", "") if posts => self.sign_out(&site, &request, &visitor).await,
            ("logged-out", "") if reads => self.signed_out(&site, &request),
            ("me", "") if reads => self.me(&site, &visitor).await,
            ("ping", "") if reads => {
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
                    .headers_mut()
                    .insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
                answer
            }
            ("login" | "logout" | "logged-out" | "me" | "ping", "") => {
                self.page(&site, &Page::MethodNotAllowed { reference: None })
            }
            (asset, "") if reads => pages::asset(asset).unwrap_or_else(|| self.page(&site, &Page::NotFound)),
            _ => self.page(&site, &Page::NotFound),
        }
    }

    /// Renders a page of this app. The number on it, if there is one, goes into the line of the access log as well.
    pub(crate) fn page(&self, site: &Site, page: &Page<'_>) -> Response<Bytes> {
        let mut answer = pages::render(page, &site.place());
        if let Some(reference) = page.reference() {
            answer.extensions_mut().insert(Reference(reference.to_owned()));
        }
        answer
    }

    /// The page for a refusal of the data plane, which sets the status.
    async fn refused(&self, site: &Site, refused: &Refused, visitor: Option<&Visitor>) -> Response<Bytes> {
        let reference = refused.reference.as_str();
        let return_to = refused.login_url.split_once("return_to=").map_or("", |(_, path)| path);
        let return_to = percent_encoding::percent_decode_str(return_to).decode_utf8_lossy();
        let return_to = site.local_path(&return_to);
        let who = match (refused.kind, visitor) {
            (RefusalKind::NotAllowed, Some(visitor)) => self.who(visitor).await,
            _ => None,
        };
        let who = who.as_ref().map_or("", |(who, _)| who.name());
        let mut answer = self.page(
            site,
            &match refused.kind {
                RefusalKind::FramedLogin => Page::Framed { return_to: &return_to },
                RefusalKind::FormNotSent => Page::FormNotSent,
                RefusalKind::NotAllowed => Page::NoAccess { who, reference },
                RefusalKind::OtherSite => Page::OtherSite { reference },
                RefusalKind::NotFound => Page::NotFound,
                RefusalKind::Method => Page::MethodNotAllowed { reference: Some(reference) },
                RefusalKind::Unreadable => Page::BadRequest { reference },
                RefusalKind::Unreachable => Page::Unreachable { reference },
                RefusalKind::Slow => Page::Slow { reference },
                RefusalKind::Unproven => Page::Unavailable { reference },
            },
        );
        // A page that says that the application failed has not itself failed.
        *answer.status_mut() = StatusCode::OK;
        answer
    }

    /// Who is signed in, checked like any exchange, and until when.
    pub(crate) async fn who(&self, visitor: &Visitor) -> Option<(Arc<Principal>, Timestamp)> {
        let (hash, now) = (visitor.session?, Timestamp::now());
        let exchange = InFlight::new();
        let warm = self.sessions.find(&hash).map(|session| session.enter(visitor.app, &exchange, now));
        let enrolment = match warm {
            Some(Ok(enrolment)) if enrolment.who().is_ok() => enrolment,
            Some(Err(_)) => return None,
            _ => {
                let read = crate::load::read(&self.sessions, &self.store, hash, visitor.app, &exchange).await;
                read.ok().flatten()?
            }
        };
        let expires = enrolment.session().expires()?;
        Some((enrolment.who().ok()?, expires))
    }

    async fn me(&self, site: &Site, visitor: &Visitor) -> Response<Bytes> {
        match self.who(visitor).await {
            Some((who, expires)) => pages::me(&who, expires, &site.place()),
            None => site.login_required(),
        }
    }

    /// Tells the operator why somebody was not let in, and gives the number that leads back to it: `reference`, where
    /// the login was called by one before. `subject` is what the IdP calls them, where that was verified.
    pub(crate) fn refuse(
        &self,
        idp: &str,
        reason: &'static str,
        text: &str,
        visitor: &Visitor,
        subject: Option<&str>,
        reference: Option<String>,
    ) -> String {
        let reference = reference.unwrap_or_else(|| Random::system().reference());
        let client = visitor.detail.client(visitor.client);
        let is_anybodys = is_anybodys(reason);
        if let Some(untold) = if is_anybodys { self.strangers.told(Instant::now()) } else { Some(0) } {
            let untold = (untold > 0).then_some(untold);
            tracing::warn!(
                "ref" = reference, idp, reason, subject, client = client.as_deref(),
                trace = %visitor.request_id, untold, "login refused: {text}"
            );
        }
        self.metrics.login(reason);
        let record = serde_json::json!({
            "what": "login refused", "idp": idp, "reason": reason, "detail": text, "subject": subject,
            "client": client, "trace": visitor.request_id,
        });
        let whose = if is_anybodys { Whose::Anybodys } else { Whose::Somebodys };
        self.refusals.keep(&reference, record.to_string(), Timestamp::now(), whose);
        reference
    }
}
