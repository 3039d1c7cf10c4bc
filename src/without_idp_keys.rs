//! A build without SAML: there are no signing keys that are kept.

use portcullis_store::{Store, StoreError};

pub(crate) use NoIdpKeys as IdpKeys;

/// There are none that are kept.
pub(crate) struct NoIdpKeys;

impl NoIdpKeys {
    /// Reads nothing.
    ///
    /// # Errors
    /// None.
    pub(crate) async fn load_kept(_: &Store) -> Result<Self, StoreError> {
        Ok(Self)
    }

    /// Nothing is held.
    pub(crate) fn has_holds(&self) -> bool {
        false
    }
}
