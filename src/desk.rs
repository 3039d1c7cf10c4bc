//! The SCIM desk: who may write, and the order of a write. SCIM itself is the crate `scim`; rows are `store`'s.
//!
//! A write runs in a task of its own, spawned before its transaction begins (R5): a client that hangs up stops nothing.
//! Taking away never waits for the disk (R6): where a removal cannot be committed within a second of being read, the
//! person is put on hold, out at once, until a later write on that user commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use portcullis_keys::{Keyring, Purpose, equal};
use portcullis_policy::{Change, DirectoryId, OrgId, Timestamp};
use portcullis_scim::{Outcome, ResourceKind, Schemas, ScimError, Service, Wanted, Write};
use portcullis_session::{Committed, HoldMark, Sessions, Subject};
use portcullis_store::{Answer, Origin, Store, StoreError};
use tokio::runtime::Handle;

use crate::log::chain;
use crate::metrics::Metrics;
use crate::revocation::Revocation;

/// How long after it was read a removal may take to be committed before the person is put on hold.
const COMMIT: Duration = Duration::from_secs(1);
/// How long a client may take to send its body.
const BODY: Duration = Duration::from_secs(30);
/// The largest body, in bytes. Announced as a limit in the answer.
const LARGEST: usize = 1024 * 1024;
/// What a client is told to wait before it repeats, in seconds.
const REPEAT: u32 = 2;

/// Where directories write.
pub(crate) struct Desk {
    pub(crate) core: Handle,
    pub(crate) store: Arc<Store>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) revocation: Revocation,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) clients: ArcSwap<Clients>,
}

/// Who may write, and how they are answered; replaced by a reload.
pub(crate) struct Clients {
    /// The hashes of the tokens; the tokens themselves are not kept.
    pub(crate) tokens: Vec<[u8; 32]>,
    /// The base URL and how it answers.
    pub(crate) service: Service,
}

/// Serves `/scim/v2`; what is asked elsewhere is told where that is.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new().fallback(serve).with_state(desk)
}

/// Hands the request to a task of its own at once, before a byte of its body is read: a client that has sent
/// everything and hangs up is heard.
async fn serve(State(desk): State<Arc<Desk>>, request: Request<Body>) -> Response<Body> {
    let core = desk.core.clone();
    core.spawn(desk.hear(request)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a SCIM request failed: the client gets 500");
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

/// Makes the path relative to the base URL; false where it is not below it.
fn below_base(request: &mut Request<Bytes>) -> bool {
    const BASE: &str = "/scim/v2";
    let Some(target) = request.uri().path_and_query().map(|target| target.as_str()) else { return false };
    let Some(below) =
        target.strip_prefix(BASE).filter(|below| below.is_empty() || below.starts_with(['/', '?']))
    else {
        return false;
    };
    let below = if below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
    below.parse().map(|uri| *request.uri_mut() = uri).is_ok()
}

async fn collect(body: Body) -> Result<Bytes, ScimError> {
    let too_large = ScimError::TooLarge { what: "a request body", limit: "1 MiB" };
    match tokio::time::timeout(BODY, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large),
        Ok(Err(_)) | Err(_) => {
            Err(ScimError::invalid(portcullis_scim::ScimType::InvalidSyntax, "the body did not arrive whole"))
        }
    }
}

impl Desk {
    async fn hear(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let clients = self.clients.load_full();
        let (head, body) = request.into_parts();
        let mut request = Request::from_parts(head, Bytes::new());
        let is_ours = below_base(&mut request);
        let wanted = Wanted::by(&self.schemas, &request);
        let outcome = match self.admit(&clients, request.headers()) {
            Ok(()) if !is_ours => Err(ScimError::NoSuchPlace),
            Ok(()) => match collect(body).await {
                Ok(body) => {
                    *request.body_mut() = body;
                    self.clone().answer(&request).await
                }
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let answer = portcullis_scim::answer(&self.schemas, &clients.service, &wanted, outcome);
        self.metrics.scim(request.method(), answer.status());
        answer.map(Body::from)
    }

    /// Only a bearer of a known token is heard, before its body is read (RFC 6750 §2.1).
    fn admit(&self, clients: &Clients, headers: &HeaderMap) -> Result<(), ScimError> {
        let refused = |why: &str| Err(ScimError::Unauthorized(why.to_owned()));
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return refused("send one header Authorization: Bearer <the SCIM token>");
        };
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((scheme, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return refused("send the header Authorization: Bearer <the SCIM token>");
        };
        debug_assert!(!scheme.is_empty());
        let hash = self.keys.hash(Purpose::ScimToken, token.trim().as_bytes());
        // Every known token is compared, so the time says nothing about which one was nearly right.
        let known = clients.tokens.iter().fold(false, |known, one| known | equal(one, &hash));
        if known { Ok(()) } else { refused("the token is not one of this directory") }
    }

    async fn answer(self: Arc<Self>, request: &Request<Bytes>) -> Result<Outcome, ScimError> {
        let (org, directory) = (OrgId::ONLY, DirectoryId::ONLY);
        match portcullis_scim::read(&self.schemas, request)? {
            portcullis_scim::Request::Discover(what) => Ok(Outcome::Discovered(what)),
            portcullis_scim::Request::Find(query) => {
                self.store.find(org, directory, &query).await.map_err(|error| fault(&error))?
            }
            portcullis_scim::Request::Write(write) => {
                self.metrics.rewrites(&write.rewrites);
                let received = Instant::now();
                let task = self.core.clone().spawn(self.write(org, directory, write, received));
                task.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "the task of a SCIM write failed: the client is told to repeat it");
                    Err(ScimError::Internal)
                })
            }
        }
    }

    /// One write: commit, enforce, answer.
    async fn write(
        self: Arc<Self>,
        org: OrgId,
        directory: DirectoryId,
        write: Write,
        received: Instant,
    ) -> Result<Outcome, ScimError> {
        // Both are taken before the transaction begins.
        let began = self.sessions.hold_mark();
        let user =
            write.id().filter(|_| write.kind() == ResourceKind::User).map(|id| (directory, id.clone()));
        let removes = write.deprovisions().map(|id| (directory, id.clone()));
        let takes_away = write.takes_away();
        let mut commit = tokio::spawn({
            let store = self.store.clone();
            async move { store.write(org, directory, &write, &Origin::of("scim:default"), Timestamp::now()).await }
        });
        let late = COMMIT.saturating_sub(received.elapsed());
        let Ok(done) = tokio::time::timeout(late, &mut commit).await else {
            let held = match &removes {
                Some(subject) => {
                    Some((subject.clone(), self.hold(subject, "it has not committed within 1 s").await))
                }
                None => None,
            };
            if takes_away && held.is_none() {
                self.doubt(org);
            }
            // It may still commit: then it is enforced, and its own hold ends.
            self.core.spawn(self.clone().follow(commit, user, began, held));
            return Err(ScimError::Unavailable { retry_after: REPEAT });
        };
        match done.unwrap_or(Err(StoreError::Panicked)) {
            Ok(committed) => self.enforce(committed, user, began, received).await?,
            Err(error) => {
                match &removes {
                    Some(subject) => drop(self.hold(subject, &error.to_string()).await),
                    None if takes_away => self.doubt(org),
                    None => {}
                }
                Err(fault(&error))
            }
        }
    }

    /// The answer, a refusal included, once nobody is left whom the write forbids.
    async fn enforce(
        &self,
        committed: Committed<Answer>,
        user: Option<Subject>,
        began: HoldMark,
        received: Instant,
    ) -> Result<Answer, ScimError> {
        let (takes_away, says_something) = (committed.takes_away(), !committed.changes().is_empty());
        let answer = self
            .revocation
            .enforce(committed)
            .await
            .map_err(|_| ScimError::Unavailable { retry_after: REPEAT })?;
        // A refusal that found nothing to say of the user has not settled what the hold stands for.
        if let Some(user) = user.filter(|_| says_something || answer.is_ok()) {
            self.sessions.end_hold(&user, began);
        }
        if takes_away {
            self.metrics.revoked(received.elapsed());
        }
        Ok(answer)
    }

    /// Takes somebody out whose removal is not stored (R6).
    async fn hold(&self, subject: &Subject, why: &str) -> HoldMark {
        let (cut, mark) = self.sessions.hold(subject);
        tracing::error!(
            user = %subject.1, why,
            "a removal could not be stored: the person is out and on hold until a write on this user is committed. Look at the store"
        );
        // Whether all of it has left is said in the log; the client is told to repeat in any case.
        let _ = self.revocation.gone(cut).await;
        mark
    }

    /// A group write that takes away is in doubt: roles are read again before anybody is served on them.
    fn doubt(&self, org: OrgId) {
        tracing::error!(
            "a group write could not be stored in time: every account of the organization is read again"
        );
        drop(self.sessions.apply(&[Change::ReconsiderAll(org)]));
    }

    /// Waits for a transaction that was late, and enforces it if it commits.
    async fn follow(
        self: Arc<Self>,
        commit: tokio::task::JoinHandle<Result<Committed<Answer>, StoreError>>,
        user: Option<Subject>,
        began: HoldMark,
        held: Option<(Subject, HoldMark)>,
    ) {
        match commit.await.unwrap_or(Err(StoreError::Panicked)) {
            Ok(committed) => {
                let done = self.enforce(committed, user, began, Instant::now()).await;
                if let (Some((subject, mark)), Ok(Ok(_))) = (held, &done) {
                    self.sessions.end_hold(&subject, mark);
                }
                tracing::warn!(
                    enforced = done.is_ok(),
                    "a late SCIM write was committed after its client was told to repeat it"
                );
            }
            Err(error) => tracing::error!(%error, "a late SCIM write has failed"),
        }
    }

    /// Names the holds that stand; called once a minute.
    pub(crate) fn remind(&self) {
        for (_, user) in self.sessions.holds() {
            tracing::error!(%user, "on hold: a removal was not stored, and no later write on this user was committed");
        }
    }
}

fn fault(error: &StoreError) -> ScimError {
    tracing::error!(error = %chain(error), "the store failed a SCIM request: the client is told to repeat it");
    ScimError::Unavailable { retry_after: REPEAT }
}
