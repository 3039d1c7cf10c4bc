//! The cold road (R3): a session that is not in memory, or whose account is stale.
//!
//! The row is read as a hint only. Then the exchange is enrolled, and what is read after that may be believed.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{AppId, SessionHash, Timestamp};
use portcullis_proxy::{Load, LoadError};
use portcullis_session::{Enrolment, InFlight, Sessions};
use portcullis_store::Store;

/// How long a request waits for the read.
const READ: Duration = Duration::from_secs(1);

/// The seam of the data plane, on the core runtime.
pub(crate) fn load(core: tokio::runtime::Handle, sessions: Arc<Sessions>, store: Arc<Store>) -> Load {
    Arc::new(move |hash, app, exchange| {
        let (sessions, store) = (sessions.clone(), store.clone());
        let task = core.spawn(async move {
            tokio::time::timeout(READ, read(&sessions, &store, hash, app, &exchange)).await
        });
        Box::pin(async move {
            match task.await {
                Ok(Ok(read)) => read,
                Ok(Err(_)) => {
                    tracing::error!("a session was not read within 1 s: its request is refused with 503");
                    Err(LoadError::Unavailable)
                }
                Err(_) => Err(LoadError::Unavailable),
            }
        })
    })
}

/// Reads a session under an exchange that is enrolled first.
pub(crate) async fn read(
    sessions: &Sessions,
    store: &Store,
    hash: SessionHash,
    app: AppId,
    exchange: &InFlight,
) -> Result<Option<Enrolment>, LoadError> {
    let unavailable = |error: portcullis_store::StoreError| {
        tracing::error!(%error, "a session could not be read: its request is refused with 503");
        LoadError::Unavailable
    };
    let Some((org, account)) = store.hint(&hash).await.map_err(unavailable)? else { return Ok(None) };
    let cold = sessions.account(org, account).enrol(hash, exchange);
    let Some(stored) = store.stored(&hash).await.map_err(unavailable)? else { return Ok(None) };
    sessions.read(cold, &stored, app, Timestamp::now()).map(Some).map_err(LoadError::Ended)
}
