//! Changes of the keys that an identity provider signs with, in audit and events.

use portcullis_policy::{OrgId, Timestamp};
use portcullis_sso::Idp;
use portcullis_store::{IdpKeyChange, Origin};

use crate::core::Core;

/// Writes down what has changed since this was last done. What cannot be written is in the log all the same.
pub(crate) async fn note_changes(core: &Core, idp: &Idp) {
    let Some(saml) = idp.as_saml() else { return };
    for changed in saml.take_changes() {
        let show = |prints: &[[u8; 32]]| prints.iter().map(show_print).collect::<Vec<_>>();
        let (added, removed) = (show(&changed.added), show(&changed.removed));
        let change = IdpKeyChange { idp: saml.name().to_owned(), added, removed };
        let (store, origin) = (core.store.clone(), Origin::of_actor("idp"));
        let noting = async move { store.note_idp_keys(OrgId::ONLY, change, &origin, Timestamp::now()).await };
        if let Err(error) = core.carry_out(noting).wait_done().await {
            tracing::warn!(idp = saml.name(), %error, "a change of signing keys could not be written into the audit");
        }
    }
}

fn show_print(print: &[u8; 32]) -> String {
    print.iter().map(|byte| format!("{byte:02x}")).collect()
}
