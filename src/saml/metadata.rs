//! Metadata of identity providers that was fetched: kept in the state folder for the next process, and for the time in which
//! its address does not answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_config::{IdpEntry, IdpProtocol, MetadataText};
use portcullis_keys::sha256;
use portcullis_policy::Timestamp;
use portcullis_sso::{IdpMetadata, Keep, MetadataRules};

/// The metadata that was fetched last from this address; `None` where none was kept.
pub(crate) fn kept_metadata(state: &Path, name: &str, address: &str) -> Option<String> {
    let path = metadata_path(state, name, address);
    let found = fs::metadata(&path).ok()?;
    if !found.is_file() || found.len() > MOST_BYTES {
        return None;
    }
    fs::read_to_string(path).ok()
}

/// Longer files were not kept by us.
const MOST_BYTES: u64 = 10 * 1024 * 1024;

fn write_metadata(state: &Path, name: &str, address: &str, document: &str) -> io::Result<()> {
    let path = metadata_path(state, name, address);
    if fs::read_to_string(&path).is_ok_and(|kept| kept == document) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, document)?;
    fs::rename(fresh, path)
}

fn metadata_path(state: &Path, name: &str, address: &str) -> PathBuf {
    let print: String = sha256(address.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    state.join(format!("metadata-{name}-{print}.xml"))
}

/// The name of an identity provider for itself, as far as it can be known without asking anybody.
pub(crate) fn known_issuer(state: &Path, idp: &IdpEntry) -> Option<String> {
    let saml = match &idp.protocol {
        IdpProtocol::Oidc(oidc) => return Some(oidc.issuer.as_str().to_owned()),
        IdpProtocol::Saml(saml) => saml,
    };
    if let Some(issuer) = &saml.block.issuer {
        return Some(issuer.as_str().to_owned());
    }
    let document = match &saml.block.metadata {
        MetadataText::Document(text) => text.to_string(),
        MetadataText::Address(address) => kept_metadata(state, &idp.name, address)?,
    };
    // Whose document it is does not change with its end.
    let rules = MetadataRules { entity_id: None, pinned: &[], allow_loopback: true, now: Timestamp(0) };
    IdpMetadata::read_document(document.as_bytes(), &rules).ok().map(|metadata| metadata.entity_id)
}

/// The function that keeps what is fetched for an identity provider.
pub(super) fn keeper(state: &Path, name: &str, address: &str) -> Keep {
    let (state, name, address) = (state.to_owned(), name.to_owned(), address.to_owned());
    Arc::new(move |document| {
        if let Err(error) = write_metadata(&state, &name, &address, document) {
            tracing::warn!(idp = name, %error, "metadata could not be kept: after a restart its address must answer");
        }
    })
}
