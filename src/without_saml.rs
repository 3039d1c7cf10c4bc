//! A build without SAML: a configuration that asks for it is refused at the start.

use std::path::Path;
use std::sync::Arc;

use portcullis_config::{File, IdpEntry, IdpProtocol, SamlEntry};
use portcullis_policy::Timestamp;
use portcullis_sso::{Fetch, Idp};

pub(crate) use NoKeys as SamlKeys;
pub(crate) use NoSaml as SamlKeysError;

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
pub(crate) fn load_keys(file: &File, _: Timestamp) -> Result<Option<Arc<NoKeys>>, NoSaml> {
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
pub(crate) fn known_issuer(_: &Path, idp: &IdpEntry, _: Timestamp) -> Option<String> {
    match &idp.protocol {
        IdpProtocol::Oidc(oidc) => Some(oidc.issuer.as_str().to_owned()),
        IdpProtocol::Saml(_) => None,
    }
}

/// Keeps nothing.
pub(crate) async fn keep_metadata(_: &Idp, _: &Path) {}
