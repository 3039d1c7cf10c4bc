//! The admin API: an operator's orders over HTTP, on `<state>/admin.sock`.
//!
//! There is no password: the socket is 0600 in a folder that is 0700, and whoever owns the folder is the operator.
//! It is HTTP/1.1 and JSON so that `curl --unix-socket` is a client too. Nothing of it is reachable over TCP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRef, Json, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use portcullis_roster::LARGEST_FILE;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::traffic::Times;
use crate::core::answer_undisturbed;
use crate::import::ImportedBy;
use crate::log::error_chain;
use crate::operator::{NewPerson, Operator};
use crate::order_error::OrderError;
use crate::token_orders::{AskedRotation, AskedToken};

/// The times of the socket, which the operator alone can reach: a file of people takes as long as it takes.
pub(crate) const TIMES: Times = Times {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    exchange: Duration::from_secs(4 * 60 * 60),
};

/// The name of the socket in the state folder.
pub(crate) const SOCKET: &str = portcullis_config::ADMIN_SOCKET;

/// The body of an answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// A sentence for the operator.
    pub(crate) error: String,
}

/// `GET` and `POST /users`, `GET` and `DELETE /users/{name}`, `POST /users/{name}/disable`, `…/enable` and
/// `…/end-sessions`, `GET /audit`, `POST /import`, `POST /mapping`, `GET /refs/{reference}`,
/// `GET` and `POST /scim-tokens`, `POST /scim-tokens/{token}/rotate` and `…/revoke`,
/// `GET /condition`, `POST /upgrade`, `GET /assertion-keys`, `POST /assertion-keys/rotate`,
/// `GET /links/{idp}`, `POST /links/{idp}/relink`, `GET /idp-keys`, `POST /idp-keys/{fingerprint}/approve` and
/// `…/distrust`.
pub(crate) fn admin_router(operators: Operators) -> Router {
    let router = Router::new();
    #[cfg(feature = "saml")]
    let router = router
        .route("/idp-keys", get(list_idp_keys))
        .route("/idp-keys/{fingerprint}/approve", post(approve_idp_key))
        .route("/idp-keys/{fingerprint}/distrust", post(distrust_idp_key));
    router
        .route("/condition", get(describe_condition))
        .route("/upgrade", post(begin_upgrade))
        .route("/assertion-keys", get(list_assertion_keys))
        .route("/assertion-keys/rotate", post(rotate_assertion_key))
        .route("/scim-tokens", get(list_tokens).post(add_token))
        .route("/scim-tokens/{token}/rotate", post(rotate_token))
        .route("/scim-tokens/{token}/revoke", post(revoke_token))
        .route("/users", get(list_users).post(add_user))
        .route("/users/{name}", get(show_user).delete(remove_user))
        .route("/users/{name}/end-sessions", post(end_sessions))
        .route("/users/{name}/headers", get(explain_headers))
        .route("/audit", get(read_audit))
        .route("/import", post(import_file).layer(DefaultBodyLimit::max(LARGEST_FILE)))
        .route("/mapping", post(import_mapping).layer(DefaultBodyLimit::max(LARGEST_FILE)))
        .route("/users/{name}/disable", post(disable_user))
        .route("/users/{name}/enable", post(enable_user))
        .route("/refs/{reference}", get(find_reference))
        .route("/links/{idp}", get(list_links))
        .route("/links/{idp}/relink", post(move_links))
        .fallback(|| async { failed_answer(StatusCode::NOT_FOUND, "there is nothing here".to_owned()) })
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(from_fn(in_own_task))
        .with_state(operators)
}

/// A source of the operator that carries out an order: by the configuration that is in force when it comes.
#[derive(Clone)]
pub(crate) struct Operators(Arc<dyn Fn() -> Arc<Operator> + Send + Sync>);

impl Operators {
    /// Asks for one with each order.
    pub(crate) fn new(operator: impl Fn() -> Arc<Operator> + Send + Sync + 'static) -> Self {
        Self(Arc::new(operator))
    }
}

impl Operators {
    /// The one of this moment.
    pub(crate) fn at_present(&self) -> Arc<Operator> {
        (self.0)()
    }
}

impl FromRef<Operators> for Arc<Operator> {
    fn from_ref(operators: &Operators) -> Self {
        operators.at_present()
    }
}

/// Answers each request in a task of its own: an operator who gives up waiting stops nothing.
async fn in_own_task(request: Request, next: Next) -> Response {
    answer_undisturbed(&Handle::current(), "an order", next.run(request)).await.unwrap_or_else(|| {
        failed_answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the task of the order failed: the log has the reason".to_owned(),
        )
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    after: Option<i64>,
}

async fn describe_condition(State(operator): State<Arc<Operator>>) -> Response {
    let missing = || OrderError::Unknown("this process serves nobody".to_owned());
    json_answer(StatusCode::OK, operator.describe_condition().ok_or_else(missing))
}

async fn begin_upgrade(State(operator): State<Arc<Operator>>) -> Response {
    json_answer(StatusCode::ACCEPTED, operator.begin_upgrade())
}

async fn list_users(
    State(operator): State<Arc<Operator>>,
    query: Result<Query<After>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(After { after })) => json_answer(StatusCode::OK, operator.list_users(after).await),
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn add_user(
    State(operator): State<Arc<Operator>>,
    person: Result<Json<NewPerson>, JsonRejection>,
) -> Response {
    match person {
        Ok(Json(person)) => json_answer(StatusCode::CREATED, operator.add_user(person).await),
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn show_user(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.show_user(&name).await)
}

async fn remove_user(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.remove_user(name).await)
}

async fn end_sessions(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.end_sessions(name).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditRange {
    before: Option<String>,
    limit: u32,
}

async fn read_audit(
    State(operator): State<Arc<Operator>>,
    query: Result<Query<AuditRange>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(AuditRange { before, limit })) => {
            json_answer(StatusCode::OK, operator.list_audits(before.as_deref(), limit).await)
        }
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

/// The order stands in the address, as JSON; the body is the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportQuery {
    order: String,
}

async fn import_file(
    State(operator): State<Arc<Operator>>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    file: Result<Bytes, BytesRejection>,
) -> Response {
    match read_order(query, file) {
        Ok((order, file)) => {
            json_answer(StatusCode::OK, operator.import_file(file, order, ImportedBy::Operator).await)
        }
        Err(answer) => *answer,
    }
}

async fn import_mapping(
    State(operator): State<Arc<Operator>>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    file: Result<Bytes, BytesRejection>,
) -> Response {
    match read_order(query, file) {
        Ok((order, file)) => json_answer(StatusCode::OK, operator.import_mapping(file, order).await),
        Err(answer) => *answer,
    }
}

/// The order and the file of an import, or what is answered without them.
fn read_order<T: DeserializeOwned>(
    query: Result<Query<ImportQuery>, QueryRejection>,
    file: Result<Bytes, BytesRejection>,
) -> Result<(T, Bytes), Box<Response>> {
    let order = match query {
        Ok(Query(ImportQuery { order })) => serde_json::from_str(&order).map_err(|error| error.to_string()),
        Err(rejection) => Err(rejection.body_text()),
    };
    let order = order.map_err(|what| Box::new(failed_answer(StatusCode::BAD_REQUEST, what)))?;
    match file {
        Ok(file) => Ok((order, file)),
        Err(rejection) => Err(Box::new(failed_answer(rejection.status(), rejection.body_text()))),
    }
}

async fn explain_headers(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.explain_headers(&name).await)
}

async fn disable_user(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.disable_user(name).await)
}

async fn enable_user(State(operator): State<Arc<Operator>>, Path(name): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.enable_user(name).await)
}

async fn find_reference(State(operator): State<Arc<Operator>>, Path(reference): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.find_reference(&reference).await)
}

async fn list_links(
    State(operator): State<Arc<Operator>>,
    Path(idp): Path<String>,
    query: Result<Query<LinkRange>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(LinkRange { to, after })) => {
            json_answer(StatusCode::OK, operator.list_links(&idp, to.as_deref(), after).await)
        }
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn move_links(
    State(operator): State<Arc<Operator>>,
    Path(idp): Path<String>,
    query: Result<Query<LinkRange>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(LinkRange { to, .. })) => json_answer(StatusCode::OK, operator.move_links(idp, to).await),
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn list_tokens(State(operator): State<Arc<Operator>>) -> Response {
    json_answer(StatusCode::OK, Ok(operator.list_tokens()))
}

async fn add_token(
    State(operator): State<Arc<Operator>>,
    asked: Result<Json<AskedToken>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(asked)) => json_answer(StatusCode::CREATED, operator.add_token(asked).await),
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn rotate_token(
    State(operator): State<Arc<Operator>>,
    Path(token): Path<String>,
    asked: Result<Json<AskedRotation>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(asked)) => json_answer(StatusCode::CREATED, operator.rotate_token(&token, asked).await),
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn revoke_token(State(operator): State<Arc<Operator>>, Path(token): Path<String>) -> Response {
    json_answer(StatusCode::OK, operator.revoke_token(&token).await)
}

async fn list_assertion_keys(State(operator): State<Arc<Operator>>) -> Response {
    json_answer(StatusCode::OK, operator.list_assertion_keys().await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedKey {
    #[serde(default)]
    now: bool,
}

async fn rotate_assertion_key(
    State(operator): State<Arc<Operator>>,
    query: Result<Query<AskedKey>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(AskedKey { now })) => {
            json_answer(StatusCode::CREATED, operator.rotate_assertion_key(now).await)
        }
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

#[cfg(feature = "saml")]
async fn list_idp_keys(State(operator): State<Arc<Operator>>) -> Response {
    json_answer(StatusCode::OK, Ok(operator.list_idp_keys()))
}

#[cfg(feature = "saml")]
async fn approve_idp_key(
    State(operator): State<Arc<Operator>>,
    Path(fingerprint): Path<String>,
    query: Result<Query<OfIdp>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(OfIdp { idp })) => {
            json_answer(StatusCode::OK, operator.approve_idp_key(idp.as_deref(), &fingerprint).await)
        }
        Err(rejection) => failed_answer(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

#[cfg(feature = "saml")]
async fn distrust_idp_key(
    State(operator): State<Arc<Operator>>,
    Path(fingerprint): Path<String>,
) -> Response {
    json_answer(StatusCode::OK, operator.distrust_idp_key(&fingerprint).await)
}

/// The identity provider whose key is meant.
#[cfg(feature = "saml")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfIdp {
    idp: Option<String>,
}

/// The links that are meant: those that would move to this identity provider, behind an account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRange {
    to: Option<String>,
    after: Option<i64>,
}

fn json_answer(success: StatusCode, outcome: Result<impl Serialize, OrderError>) -> Response {
    match outcome {
        Ok(value) => (success, [(header::CACHE_CONTROL, "no-store")], Json(value)).into_response(),
        Err(error) => {
            let status = match &error {
                OrderError::Unknown(_) => StatusCode::NOT_FOUND,
                OrderError::Refused(_) => StatusCode::CONFLICT,
                OrderError::Store(_)
                | OrderError::OnHold { .. }
                | OrderError::TokensOnHold { .. }
                | OrderError::NotGone(_) => StatusCode::SERVICE_UNAVAILABLE,
                #[cfg(feature = "saml")]
                OrderError::IdpsOnHold { .. } => StatusCode::SERVICE_UNAVAILABLE,
                OrderError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            failed_answer(status, error_chain(&error).to_string())
        }
    }
}

fn failed_answer(status: StatusCode, error: String) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Failure { error })).into_response()
}
