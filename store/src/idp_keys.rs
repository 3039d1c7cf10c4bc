//! A change of the keys by which an identity provider's word is believed: written down, for whoever asks later since when.

use portcullis_policy::{OrgId, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::log::{Origin, TxLog};
use crate::writer::Lane;
use crate::{Store, StoreError};

/// The keys of an identity provider that have come and gone, each as people write its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpKeyChange {
    /// The identity provider's name in the configuration.
    pub idp: String,
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

impl Store {
    /// Writes down that an identity provider has other signing keys: a row of the audit, and an event. Nobody's access
    /// changes by it.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn note_idp_keys(
        &self,
        org: OrgId,
        change: IdpKeyChange,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<()>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Ordinary, move |tx| {
            Box::pin(async move {
                let IdpKeyChange { idp, added, removed } = change;
                let mut log = TxLog::new(org, None, &origin, now);
                let detail = json!({ "idp": idp, "added": added, "removed": removed });
                log.add_audit("idp.keys", "changed", None, detail.clone());
                log.add_event("idp.keys_changed", format!("idp:{idp}"), detail);
                log.seal(tx, ()).await
            })
        })
        .await
    }
}
