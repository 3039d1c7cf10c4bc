//! A build without SAML: a configuration that asks for it is refused at the start.

use std::path::Path;
use std::sync::Arc;

use portcullis_config::{File, IdpEntry, IdpProtocol, SamlEntry};
use portcullis_policy::Timestamp;
use portcullis_sso::{Fetch, Idp};

use crate::core::Core;
use crate::idp_keys::IdpKeys;

pub(crate) use NoKeys as SamlKeys;
pub(crate) use NoSaml as SamlError;

/// There are none.
pub(crate) enum NoKeys {}

/// SAML is asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "idps.{name}.saml: this build of Portcullis has no SAML. Take one with the feature saml, which is the default"
)]
pub(crate) struct NoSaml {
    name: String,
}

/// Refuses a configuration with an identity provider of SAML.
///
/// # Errors
/// [`NoSaml`].
pub(crate) fn open_files(file: &File, _: &IdpKeys, _: Timestamp) -> Result<Option<Arc<NoKeys>>, NoSaml> {
    match file.idps.iter().find(|idp| matches!(idp.protocol, IdpProtocol::Saml(_))) {
        Some(idp) => Err(NoSaml { name: idp.name.clone() }),
        None => Ok(None),
    }
}

/// Makes none: there are no keys.
pub(crate) fn make_idp(_: &File, _: &IdpEntry, _: &SamlEntry, keys: &Arc<NoKeys>, _: Fetch) -> Idp {
    match **keys {}
}

/// The name of an identity provider for itself.
pub(crate) fn known_issuer(_: &Path, idp: &IdpEntry) -> Option<String> {
    match &idp.protocol {
        IdpProtocol::Oidc(oidc) => Some(oidc.issuer.as_str().to_owned()),
        IdpProtocol::Saml(_) => None,
    }
}

/// Finds nothing: what is asked for is refused at the start.
pub(crate) fn look_at_files(_: &[IdpEntry], _: &Path) -> Vec<(String, String)> {
    Vec::new()
}

/// Finds nothing either.
pub(crate) fn look_ahead(_: &[IdpEntry], _: Timestamp) -> Vec<(String, String)> {
    Vec::new()
}

/// Settles nothing.
pub(crate) fn settle_keys<'a>(_: impl IntoIterator<Item = &'a Idp>) {}

/// Notes nothing.
pub(crate) async fn note_changes(_: &Arc<Core>, _: &Idp) {}
