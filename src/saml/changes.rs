//! The keys that an identity provider signs with, over time: settled when their configuration comes into force, written
//! down when they change.

use std::sync::Arc;

use portcullis_policy::Timestamp;
use portcullis_sso::Idp;

use crate::core::Core;
use crate::log::error_chain;

/// Takes the metadata of these identity providers as today's: once their configuration is in force, before any of them is
/// asked for newer metadata.
pub(crate) fn settle_keys<'a>(idps: impl IntoIterator<Item = &'a Idp>) {
    let now = Timestamp::now();
    idps.into_iter().filter_map(Idp::as_saml).for_each(|saml| saml.settle_keys(now));
}

/// Writes down what has changed since this was last done. What cannot be written is in the log all the same, and written
/// the next time.
pub(crate) async fn note_changes(core: &Arc<Core>, idp: &Idp) {
    let Some(saml) = idp.as_saml() else { return };
    let (core, name) = (core.clone(), saml.name().to_owned());
    // In a task of its own: who waits for it may go away, and what was taken out of memory would be forgotten.
    let noting = core.runtime.clone().spawn(async move {
        let _writing = core.idp_keys.writing.lock().await;
        let saved = core.idp_keys.save_keys(&name, &core.store, &core.revocation).await;
        if let Err(error) = saved {
            tracing::warn!(idp = name, error = %error_chain(&error), "a change of signing keys could not be written down: it is tried again");
        }
    });
    let _ = noting.await; // a panic is in the log
}
