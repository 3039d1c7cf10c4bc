//! The SCIM listener: who may write, and the order of a write. SCIM itself is the crate `scim`; rows are `store`'s.
//!
//! A request is answered in a task of its own and a write goes down the one road (R5): a client that hangs up stops nothing.
//! Taking away never waits for the disk (R6): where a removal cannot be committed within a second of being read, the
//! person is put on hold, out at once, until a later write on that user commits. Other writes wait: an answer that said
//! "repeat" while the write goes on would make the repeat a conflict. Reading belongs to its client and ends with it.
//! What is long to read, to compare or to write down is worked out beside the threads that serve.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use portcullis_keys::Random;
use portcullis_policy::{Change, DirectoryId, OrgId, ResourceId, Timestamp};
use portcullis_scim::{Act, Outcome, ResourceKind, Schemas, ScimError, Wanted, Write};
use portcullis_session::{DirectoryUser, HoldMark, HoldOn};
use portcullis_store::{Origin, ScimAnswer, StoreError, Written};

use super::PeerAddress;
use crate::core::{Core, EndsWith};
use crate::live::Current;
use crate::log::error_chain;
use crate::revocation::{Enforced, LEAVE, NotDone, Underway};
use crate::scim_clients::{ScimClient, ScimClients};
use crate::scim_rate::{RateClass, ScimRates};
use crate::strangers::StrangerLines;

/// The time after which a removal that was read and is not committed puts the person on hold.
const COMMIT: Duration = Duration::from_secs(1);
/// The time to find out whom a late group write concerns; then everybody is read again.
const CONCERNED: Duration = Duration::from_millis(250);
/// The time that what a POST cuts may take to leave: its repeat would be a conflict, so it had better be late.
const CREATED: Duration = Duration::from_secs(30);
/// Bodies above this many bytes are read beside the threads that serve.
const LONG: usize = 16 * 1024;
/// Names a request in the log, in the audit and to its client.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The time that a client may take to send its body.
const BODY: Duration = Duration::from_secs(30);
/// The largest body, in bytes. Announced as a limit in the answer.
const LARGEST: usize = 1024 * 1024;
/// The seconds a client is told to wait before it repeats.
const REPEAT: u32 = 2;

/// The listener that directories write to.
struct ScimListener {
    core: Arc<Core>,
    live: Arc<Current>,
    schemas: Arc<Schemas>,
    /// Lines about requests without a known token.
    strangers: StrangerLines,
    /// The requests of each token.
    rates: ScimRates,
}

/// The SCIM client that asks, for the audit and the log.
#[derive(Clone)]
struct Caller {
    /// The client that its token says.
    admitted: ScimClient,
    /// The name of the token.
    actor: Arc<str>,
    /// The address, as far as `log.client` lets it be kept.
    client: Option<Arc<str>>,
    /// The number of the request.
    request: Arc<str>,
}

impl Caller {
    fn origin(&self) -> Origin {
        Origin {
            client: self.client.clone(),
            reference: Some(self.request.clone()),
            ..Origin::of_actor(&self.actor)
        }
    }
}

/// Serves `/scim/v2`; what is asked elsewhere is told where that is.
pub(crate) fn scim_router(core: Arc<Core>, live: Arc<Current>, schemas: Arc<Schemas>) -> Router {
    let (strangers, rates) = (StrangerLines::at_most(1), ScimRates::default());
    let listener = ScimListener { core, live, schemas, strangers, rates };
    Router::new().fallback(serve_request).with_state(Arc::new(listener))
}

/// Hands the request to a task of its own at once, before a byte of its body is read: a client that has sent
/// everything and hangs up is heard. Only a read ends when its client is seen to leave.
async fn serve_request(State(listener): State<Arc<ScimListener>>, request: Request<Body>) -> Response<Body> {
    let is_read =
        matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path().ends_with("/.search"); // where nothing is written
    let runtime = listener.core.runtime.clone();
    let task = runtime.spawn(listener.handle_request(request));
    let _ends = is_read.then(|| EndsWith(task.abort_handle()));
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a SCIM request failed: the client gets 500");
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

/// A listener is opened at a start, and only where there is a directory: a reload cannot take it away.
fn not_configured() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = http::StatusCode::NOT_FOUND;
    answer
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

async fn collect_body(body: Body) -> Result<Bytes, ScimError> {
    let too_large = ScimError::TooLarge { what: "a request body", limit: "1 MiB" };
    match tokio::time::timeout(BODY, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large),
        Ok(Err(_)) | Err(_) => {
            Err(ScimError::of_type(portcullis_scim::ScimType::InvalidSyntax, "the body did not arrive whole"))
        }
    }
}

impl ScimListener {
    async fn handle_request(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let live = self.live.in_force();
        let Some(clients) = live.scim.clone() else { return not_configured() };
        let (head, body) = request.into_parts();
        let address = head.extensions.get::<PeerAddress>().map(|PeerAddress(address)| *address);
        let id: Arc<str> = Random::from_system().draw_reference().into();
        let mut request = Request::from_parts(head, Bytes::new());
        let is_ours = below_base(&mut request);
        let wanted = Wanted::from_request(&self.schemas, &request);
        let method = request.method().clone();
        let outcome = match self.check_token(&clients, request.headers(), address, &id) {
            Ok(_) if !is_ours => Err(ScimError::NoSuchPlace),
            Ok(_) => match collect_body(body).await {
                // Asked again: a body may take its time, and a reload may have taken the token away meanwhile.
                Ok(body) => match self.admit_now(request.headers(), address, &id) {
                    Ok(caller) => {
                        *request.body_mut() = body;
                        self.clone().carry_out_request(request, caller).await
                    }
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let is_stranger = matches!(outcome, Err(ScimError::Unauthorized(_)));
        let mut answer = self.answer_write(clients, wanted, outcome).await;
        if is_stranger {
            // A place at this port is for a directory: whoever is none has had theirs.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        self.core.metrics.count_scim(&method, answer.status());
        answer.map(Body::from)
    }

    /// Writes the answer down: what may be long, beside the threads that serve.
    async fn answer_write(
        &self,
        clients: Arc<ScimClients>,
        wanted: Wanted,
        outcome: Result<Outcome, ScimError>,
    ) -> Response<Bytes> {
        let is_long = match &outcome {
            Ok(Outcome::Listed(_)) => true,
            Ok(Outcome::Found(record) | Outcome::Created(record) | Outcome::Changed(record)) => {
                record.resource.kind() == ResourceKind::Group
            }
            _ => false,
        };
        let schemas = self.schemas.clone();
        let write = move || portcullis_scim::answer_request(&schemas, &clients.service, &wanted, outcome);
        if !is_long {
            return write();
        }
        tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the answer to a SCIM request could not be written down: the client gets 500");
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            answer
        })
    }

    /// Checks the bearer token against the configuration that is in force now.
    fn admit_now(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        id: &Arc<str>,
    ) -> Result<Caller, ScimError> {
        match &self.live.in_force().scim {
            Some(clients) => self.check_token(clients, headers, address, id),
            None => Err(ScimError::Unauthorized("no directory writes here".to_owned())),
        }
    }

    /// Checks the bearer token, before the body is read (RFC 6750 §2.1).
    fn check_token(
        &self,
        clients: &ScimClients,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        id: &Arc<str>,
    ) -> Result<Caller, ScimError> {
        let address = clients.client_address(address, headers);
        let client: Option<Arc<str>> =
            address.and_then(|address| clients.detail.shown_client(address)).map(Into::into);
        let (book, now) = (&self.core.tokens, Timestamp::now());
        match clients.admit_client(book, &self.core.keys, headers, address, now) {
            Ok(admitted) => {
                Ok(Caller { actor: admitted.name.clone(), admitted, client, request: id.clone() })
            }
            Err(why) => {
                if let Some(untold) = self.strangers.count_line(Instant::now()) {
                    tracing::warn!(
                        client = client.as_deref(), request = %id, untold,
                        "a SCIM request without a known token, or from elsewhere, was refused: {why}. If the directory sent it, look at portcullis token list and scim.allow"
                    );
                }
                Err(why)
            }
        }
    }

    async fn carry_out_request(
        self: Arc<Self>,
        request: Request<Bytes>,
        caller: Caller,
    ) -> Result<Outcome, ScimError> {
        let (org, directory) = (caller.admitted.org, caller.admitted.directory);
        let request = self.read_request(request).await?;
        self.count_request(&request, &caller.admitted)?;
        match request {
            portcullis_scim::ScimRequest::Discover(what) => Ok(Outcome::Discovered(what)),
            portcullis_scim::ScimRequest::Find(query) => self
                .core
                .store
                .answer_query(org, directory, &query)
                .await
                .map_err(|error| log_fault(&error, None, &caller))?,
            portcullis_scim::ScimRequest::Write(write) => {
                self.core.metrics.count_rewrites(&write.rewrites);
                self.carry_out_write(org, directory, write, caller, Instant::now()).await
            }
        }
    }

    /// Counts the request against what its token may send; what takes away is counted apart.
    fn count_request(
        &self,
        request: &portcullis_scim::ScimRequest,
        client: &ScimClient,
    ) -> Result<(), ScimError> {
        let Some(clients) = self.live.in_force().scim.clone() else { return Ok(()) };
        let counted = match request {
            portcullis_scim::ScimRequest::Write(write) if write.takes_away() => RateClass::Removal,
            _ => RateClass::Ordinary,
        };
        let counting = self.rates.count_request(client.hash, counted, clients.rate, Instant::now());
        counting.map_err(|retry_after| ScimError::TooManyRequests { retry_after })
    }

    /// Reads the request, a long one beside the threads that serve.
    async fn read_request(&self, request: Request<Bytes>) -> Result<portcullis_scim::ScimRequest, ScimError> {
        if request.body().len() <= LONG {
            return portcullis_scim::read_request(&self.schemas, &request);
        }
        let schemas = self.schemas.clone();
        let read = tokio::task::spawn_blocking(move || portcullis_scim::read_request(&schemas, &request));
        read.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a SCIM request could not be read: the client gets 500");
            Err(ScimError::Internal)
        })
    }

    /// One write: commit, enforce, answer.
    async fn carry_out_write(
        self: Arc<Self>,
        org: OrgId,
        directory: DirectoryId,
        write: Write,
        caller: Caller,
        received: Instant,
    ) -> Result<Outcome, ScimError> {
        // Taken before the transaction begins.
        let began = self.core.sessions.hold_mark();
        let write = Arc::new(write);
        let task = WriteTask { org, directory, write: write.clone(), caller, began, received };
        let removes = write.deprovisions().map(|id| (directory, id.clone()));
        let takes_away = write.takes_away();
        let patience = if matches!(write.act, Act::Create(_)) { CREATED } else { LEAVE };
        let (store, origin) = (self.core.store.clone(), task.caller.origin());
        let otherwise = task.refusal_of_additions();
        let writing = async move {
            let now = Timestamp::now();
            match otherwise {
                Some(refusal) => store.write_removal(org, directory, &write, refusal, &origin, now).await,
                None => store.write_resource(org, directory, &write, &origin, now).await,
            }
        };
        let mut underway = self.core.revocation.carry_out(writing, patience);
        // Only what takes away is answered before it is settled.
        let late = COMMIT.saturating_sub(received.elapsed());
        if takes_away && tokio::time::timeout(late, underway.wait_settled()).await.is_err() {
            let held = match &removes {
                Some(subject) => Some((
                    subject.clone(),
                    self.hold_person(subject, "it has not committed within 1 s").await,
                )),
                None => None,
            };
            if held.is_none() {
                self.doubt_concerned(&task).await;
            }
            // It may still commit: then it is enforced, and its own hold ends.
            tokio::spawn(self.clone().follow_late_write(underway, task, held));
            return Err(ScimError::Unavailable { retry_after: REPEAT });
        }
        let error = match underway.wait_done().await {
            Ok(enforced) => return self.settle_write(enforced, &task),
            Err(NotDone::NotGone(_)) => return Err(ScimError::Unavailable { retry_after: REPEAT }),
            Err(NotDone::Write(error)) => error,
            Err(NotDone::Panicked(_)) => StoreError::Panicked,
        };
        match &removes {
            Some(subject) => drop(self.hold_person(subject, &error.to_string()).await),
            None if takes_away => self.doubt_concerned(&task).await,
            None => {}
        }
        Err(log_fault(&error, task.write.id(), &task.caller))
    }

    /// The answer, a refusal included: nobody is left whom the write forbids.
    fn settle_write(&self, enforced: Enforced<Written>, task: &WriteTask) -> ScimAnswer {
        let Enforced { value: Written { answer, sessions }, exchanges, takes_away, is_change } = enforced;
        // A refusal that found nothing to say of the user has not settled what the hold stands for.
        if let Some(user) = task.user().filter(|_| is_change || answer.is_ok()) {
            self.core.sessions.end_hold(&HoldOn::User(user), task.began);
        }
        if takes_away {
            self.core.metrics.count_revoked(task.received.elapsed());
        }
        if let Ok(outcome) = &answer {
            task.log_outcome(outcome, sessions, exchanges);
        }
        answer
    }

    /// Takes somebody out whose removal is not stored (R6).
    async fn hold_person(&self, subject: &DirectoryUser, why: &str) -> HoldMark {
        let (cut, mark) = self.core.sessions.hold(&HoldOn::User(subject.clone()));
        tracing::error!(
            user = %subject.1, exchanges = cut.exchanges(), why,
            "a removal could not be stored: the person is out and on hold until a write on this user is committed. Look at the store"
        );
        // Whether all of it has left is said in the log; the client is told to repeat in any case.
        let _ = self.core.revocation.wait_gone(cut).await;
        mark
    }

    /// A group write that takes away is in doubt: the roles of whoever it may concern are read again before they are
    /// served on them. Everybody's only where it cannot be said who that is.
    async fn doubt_concerned(&self, task: &WriteTask) {
        let WriteTask { org, directory, write, .. } = task;
        let concerned = self.core.store.concerned_accounts(*org, *directory, write);
        let changes = match tokio::time::timeout(CONCERNED, concerned).await {
            Ok(Ok(accounts)) => accounts.into_iter().map(Change::Reconsider).collect(),
            Ok(Err(_)) | Err(_) => vec![Change::ReconsiderAll(*org)],
        };
        tracing::error!(
            group = write.id().map(|id| id.as_str()),
            accounts =
                if matches!(*changes, [Change::ReconsiderAll(_)]) { None } else { Some(changes.len()) },
            "a group write could not be stored in time: the accounts it concerns are read again, all of the organization where their number is missing here"
        );
        drop(self.core.sessions.apply_changes(&changes));
    }

    /// Waits for a transaction that was late, and for its enforcement if it commits.
    async fn follow_late_write(
        self: Arc<Self>,
        underway: Underway<Written, StoreError>,
        task: WriteTask,
        held: Option<(DirectoryUser, HoldMark)>,
    ) {
        match underway.wait_done().await.map(|enforced| self.settle_write(enforced, &task)) {
            done @ (Ok(_) | Err(NotDone::NotGone(_))) => {
                if let (Some((subject, mark)), Ok(Ok(_))) = (held, &done) {
                    self.core.sessions.end_hold(&HoldOn::User(subject), mark);
                }
                tracing::warn!(
                    enforced = done.is_ok(), id = task.write.id().map(ResourceId::as_str), request = %task.caller.request,
                    "a late SCIM write was committed after its client was told to repeat it"
                );
            }
            Err(error) => tracing::error!(
                %error, id = task.write.id().map(ResourceId::as_str), request = %task.caller.request,
                "a late SCIM write has failed"
            ),
        }
    }
}

fn log_fault(error: &StoreError, id: Option<&ResourceId>, caller: &Caller) -> ScimError {
    let Caller { actor, client, request, .. } = caller;
    let (id, client) = (id.map(ResourceId::as_str), client.as_deref());
    tracing::error!(
        error = %error_chain(error), id, %actor, client, %request,
        "the store failed a SCIM request: the client is told to repeat it"
    );
    ScimError::Unavailable { retry_after: REPEAT }
}

/// One write under way: what was asked, by whom, and when.
struct WriteTask {
    org: OrgId,
    directory: DirectoryId,
    write: Arc<Write>,
    caller: Caller,
    began: HoldMark,
    received: Instant,
}

impl WriteTask {
    /// The user it is about.
    fn user(&self) -> Option<DirectoryUser> {
        let id = self.write.id().filter(|_| self.write.kind() == ResourceKind::User)?;
        Some((self.directory, id.clone()))
    }

    /// The answer to whatever does more than to take away, where the token has expired: a person should hear of each.
    fn refusal_of_additions(&self) -> Option<ScimError> {
        let refusal = self.caller.admitted.refusal_of_additions()?;
        let Caller { actor, client, request, .. } = &self.caller;
        tracing::warn!(
            %actor, client = client.as_deref(), %request, id = self.write.id().map(ResourceId::as_str),
            "an expired SCIM token writes: only what takes access away is carried out. Enter a new one at the identity provider: portcullis token rotate"
        );
        Some(ScimError::Unauthorized(refusal))
    }

    /// Says what came about. Names stay out of the log: an id leads to them.
    fn log_outcome(&self, outcome: &Outcome, sessions: u32, exchanges: usize) {
        let Caller { actor, client, request, .. } = &self.caller;
        let client = client.as_deref();
        let ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        let kind = self.write.kind();
        let id = match outcome {
            Outcome::Created(record) | Outcome::Changed(record) => Some(&record.id),
            _ => self.write.id(),
        };
        let (id, what) = (id.map(|id| id.as_str()), kind.name());
        match (outcome, kind) {
            (Outcome::Created(_), _) => {
                tracing::info!(id, %actor, client, %request, ms, "SCIM: a {what} was created");
            }
            (Outcome::Deleted, ResourceKind::User) => tracing::info!(
                id, sessions, exchanges, ms, %actor, client, %request,
                "SCIM: a User was removed and is out: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
            ),
            (Outcome::Deleted, ResourceKind::Group) => {
                tracing::info!(id, exchanges, ms, %actor, client, %request, "SCIM: a Group was removed");
            }
            (Outcome::Changed(record), ResourceKind::User) if record.resource.active() == Some(false) => {
                tracing::info!(
                    id, sessions, exchanges, ms, %actor, client, %request,
                    "SCIM: a User is inactive and out: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
                );
            }
            (Outcome::Changed(_), _) if sessions > 0 || exchanges > 0 => tracing::info!(
                id, sessions, exchanges, ms, %actor, client, %request,
                "SCIM: a {what} was changed: {sessions} sessions and {exchanges} exchanges ended within {ms} ms"
            ),
            _ => tracing::debug!(id, ms, %actor, client, %request, "SCIM: a {what} was written"),
        }
    }
}
