//! The SCIM listener: who may ask, and how much. SCIM itself is the crate `scim`; rows are `store`'s; a write goes its way in
//! `write.rs`, many of them in `bulk.rs`.
//!
//! A request is answered in a task of its own: a client that hangs up stops nothing. Reading belongs to its client and ends
//! with it. What is long to read, to compare or to write down is worked out beside the threads that serve.

mod bulk;
mod write;

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
use portcullis_policy::Timestamp;
use portcullis_scim::{
    BulkLimits, MAX_BODY, Outcome, ResourceKind, Schemas, ScimError, ScimRequest, ScimVersion, Wanted,
};
use portcullis_store::Origin;
use tokio::sync::Semaphore;

use self::bulk::BULKS_AT_ONCE;
use self::write::log_fault;
use super::PeerAddress;
use crate::core::{Core, EndsWith};
use crate::live::Current;
use crate::scim_clients::{ScimClient, ScimClients};
use crate::scim_rate::{RateClass, ScimRates};
use crate::strangers::StrangerLines;

/// Bodies above this many bytes are read beside the threads that serve.
const LONG: usize = 16 * 1024;
/// Names a request in the log, in the audit and to its client.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The time that a client may take to send its body.
const BODY: Duration = Duration::from_secs(30);

/// The listener that directories write to.
struct ScimListener {
    core: Arc<Core>,
    live: Arc<Current>,
    schemas: Arc<Schemas>,
    /// Lines about requests without a known token.
    strangers: StrangerLines,
    /// The requests of each token.
    rates: ScimRates,
    /// Room for Bulks.
    bulks: Semaphore,
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

/// Serves `/scim/v2`, and `/scim/v1` for older connectors; what is asked elsewhere is told where the first is.
pub(crate) fn scim_router(core: Arc<Core>, live: Arc<Current>, schemas: Arc<Schemas>) -> Router {
    let (strangers, rates) = (StrangerLines::at_most(1), ScimRates::default());
    let bulks = Semaphore::new(BULKS_AT_ONCE);
    let listener = ScimListener { core, live, schemas, strangers, rates, bulks };
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

/// The version whose base URL the request is below, whose path is made relative to it; `None` where it is below neither.
fn below_base(request: &mut Request<Bytes>) -> Option<ScimVersion> {
    let target = request.uri().path_and_query()?.as_str();
    let (version, below) = ScimVersion::of_target(target)?;
    let below = if below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
    below.parse().map(|uri| *request.uri_mut() = uri).ok()?;
    Some(version)
}

/// Tells whether it is one to `/Bulk`, which version 2.0 alone has, of a path that is relative to the base URL.
fn is_bulk(version: ScimVersion, request: &Request<Bytes>) -> bool {
    version == ScimVersion::Two && request.uri().path().trim_end_matches('/') == "/Bulk"
}

/// Reads a body within its limits: those of a Bulk, where it is one.
async fn collect_body(body: Body, bulk: Option<BulkLimits>) -> Result<Bytes, ScimError> {
    let (largest, too_large) = match bulk {
        Some(limits) => (limits.body, limits.too_large()),
        None => (MAX_BODY, ScimError::TooLarge { what: "a request body", limit: "1 MiB".into() }),
    };
    match tokio::time::timeout(BODY, Limited::new(body, largest).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large),
        // It may come whole the next time: a removal that stalled is to be repeated.
        Err(_) => Err(ScimError::Stalled { seconds: BODY.as_secs() }),
        Ok(Err(_)) => {
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
        let below = below_base(&mut request);
        let version = below.unwrap_or(ScimVersion::Two);
        let bulk = is_bulk(version, &request).then(|| clients.service.bulk_limits());
        let wanted = Wanted::of_version(version, &self.schemas, &request);
        let shows_members = wanted.shows_members(&clients.service);
        let method = request.method().clone();
        let outcome = match self.check_token(&clients, request.headers(), address, &id) {
            Ok(_) if below.is_none() => Err(ScimError::NoSuchPlace),
            Ok(_) => match collect_body(body, bulk).await {
                // Asked again: a body may take its time, and a reload may have taken the token away meanwhile.
                Ok(body) => match self.admit_now(request.headers(), address, &id) {
                    Ok(caller) => {
                        *request.body_mut() = body;
                        self.clone().carry_out_request(version, request, caller, address, shows_members).await
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
            Ok(Outcome::Listed(_) | Outcome::Bulk(_)) => true,
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
        version: ScimVersion,
        request: Request<Bytes>,
        caller: Caller,
        address: Option<IpAddr>,
        shows_members: bool,
    ) -> Result<Outcome, ScimError> {
        let (org, directory) = (caller.admitted.org, caller.admitted.directory);
        let headers = request.headers().clone();
        let _room = match is_bulk(version, &request) {
            true => Some(self.wait_for_bulks().await?),
            false => None,
        };
        let request = self.read_request(version, request).await?;
        self.count_request(&request, &caller.admitted)?;
        match request {
            ScimRequest::Discover(what) => Ok(Outcome::Discovered(what)),
            ScimRequest::Find(query) => self
                .core
                .store
                .answer_query(org, directory, &query)
                .await
                .map_err(|error| log_fault(&error, None, &caller))?,
            ScimRequest::Write(write) => {
                self.core.metrics.count_rewrites(&write.rewrites);
                let mut answers =
                    self.carry_out_writes(vec![(write, None)], &caller, Instant::now(), shows_members).await;
                answers.pop().unwrap_or(Err(ScimError::Internal))
            }
            ScimRequest::Bulk(bulk) => self.carry_out_bulk(bulk, &caller, &headers, address).await,
        }
    }

    /// Counts the request against what its token may send; what takes away is counted apart.
    fn count_request(&self, request: &ScimRequest, client: &ScimClient) -> Result<(), ScimError> {
        let Some(clients) = self.live.in_force().scim.clone() else { return Ok(()) };
        let counted = match request {
            ScimRequest::Write(write) if write.takes_away() => RateClass::Removal,
            ScimRequest::Bulk(bulk) if bulk.changes_anything() => RateClass::Removal,
            _ => RateClass::Ordinary,
        };
        let counting = self.rates.count_request(client.hash, counted, clients.rate, Instant::now());
        counting.map_err(|retry_after| ScimError::TooManyRequests { retry_after })
    }

    /// Reads the request, a long one beside the threads that serve.
    async fn read_request(
        &self,
        version: ScimVersion,
        request: Request<Bytes>,
    ) -> Result<ScimRequest, ScimError> {
        let limits = self.live.in_force().scim.as_ref().map(|clients| clients.service.bulk_limits());
        let limits = limits.unwrap_or_default();
        let read = move |schemas: &Schemas, request: &Request<Bytes>| match version {
            ScimVersion::One => portcullis_scim::read_version_one(schemas, request),
            ScimVersion::Two => portcullis_scim::read_request_within(schemas, limits, request),
        };
        if request.body().len() <= LONG {
            return read(&self.schemas, &request);
        }
        let schemas = self.schemas.clone();
        let read = tokio::task::spawn_blocking(move || read(&schemas, &request));
        read.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a SCIM request could not be read: the client gets 500");
            Err(ScimError::Internal)
        })
    }
}
