//! The cold road (R3): a session that is not in memory, or whose account is stale.
//!
//! The row is read as a hint only. Then the exchange is enrolled, and what is read after that may be believed.

use std::sync::Arc;

use portcullis_policy::{AppId, SessionHash, Timestamp};
use portcullis_proxy::{Load, LoadError};
use portcullis_session::{Ended, Enrolment, InFlight};

use crate::core::{Core, EndsWith};

/// The seam of the data plane, on the core runtime.
pub(crate) fn session_loader(core: Arc<Core>) -> Load {
    Arc::new(move |hash, app, exchange| {
        let reading = core.clone();
        let task = core.runtime.spawn(async move { read_session(&reading, hash, app, &exchange).await });
        let ends = EndsWith(task.abort_handle());
        Box::pin(async move {
            let _ends = ends;
            task.await.unwrap_or(Err(LoadError::Unavailable))
        })
    })
}

/// Reads a session under an exchange that is enrolled first.
async fn read_session(
    Core { sessions, store, .. }: &Core,
    hash: SessionHash,
    app: AppId,
    exchange: &InFlight,
) -> Result<Option<Enrolment>, LoadError> {
    let unavailable = |error: portcullis_store::StoreError| {
        tracing::error!(%error, "a session could not be read: its request is refused with 503");
        LoadError::Unavailable
    };
    let Some((org, account)) = store.guess_owner(&hash).await.map_err(unavailable)? else { return Ok(None) };
    let cold = sessions.keep_account(org, account).enrol(hash, exchange);
    let Some(stored) = store.read_session(&hash).await.map_err(unavailable)? else { return Ok(None) };
    let ended = match sessions.read_session(cold, &stored, app, Timestamp::now()) {
        Ok(enrolment) => return Ok(Some(enrolment)),
        Err(ended) => ended,
    };
    let described = &stored.described;
    let fault = (ended == Ended::Forbidden)
        .then(|| sessions.policy().describe_person(&described.facts, described.at).err())
        .flatten();
    let Some(fault) = fault else { return Err(LoadError::Ended(ended)) };
    let account = described.facts.account.0;
    tracing::warn!(
        account,
        "the application cannot be told who this person is, so they are refused: {fault}"
    );
    Err(LoadError::Untold(fault))
}
