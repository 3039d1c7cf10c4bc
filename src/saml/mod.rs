//! SAML, as far as the program has to do with it: from the configuration to an identity provider, and its files in the state
//! folder. What its messages mean is the crate `sso`'s; what they do is in `own/saml.rs`.

mod keys;
mod metadata;

use std::sync::Arc;

use portcullis_config::{BindingWord, File, IdpEntry, MetadataText, SamlEntry, UserSource};
use portcullis_policy::Timestamp;
use portcullis_sso::{AttributeNames, Fetch, Idp, MetadataSource, SamlIdp, SamlSettings};

use crate::settings;

pub(crate) use keys::{SamlKeysError, load_keys};
pub(crate) use metadata::{keep_metadata, known_issuer};
pub(crate) use portcullis_sso::SpKeys as SamlKeys;

/// Makes an identity provider of SAML, with the metadata that was fetched last.
pub(crate) fn make_idp(
    file: &File,
    idp: &IdpEntry,
    entry: &SamlEntry,
    keys: &Arc<SamlKeys>,
    fetch: Fetch,
) -> Idp {
    let kept = match &entry.block.metadata {
        MetadataText::Address(address) => metadata::kept_metadata(&file.state, &idp.name, address),
        MetadataText::Document(_) => None,
    };
    let settings = read_settings(file, idp, entry, keys.clone());
    Idp::Saml(SamlIdp::new(settings, fetch, kept.as_deref(), Timestamp::now()))
}

fn read_settings(file: &File, idp: &IdpEntry, entry: &SamlEntry, keys: Arc<SamlKeys>) -> SamlSettings {
    let block = &entry.block;
    let ours = |page: &str| {
        format!(
            "{}{}{}/saml/{}/{page}",
            file.public_url.origin(),
            file.public_url.path(),
            file.prefix,
            idp.name
        )
    };
    SamlSettings {
        name: idp.name.clone(),
        metadata: match &block.metadata {
            MetadataText::Document(text) => MetadataSource::Document(text.clone()),
            MetadataText::Address(address) => MetadataSource::Address(address.clone()),
        },
        entity_id: block.issuer.as_ref().map(|issuer| issuer.as_str().to_owned()),
        pinned: block.metadata_certificate.as_ref().map(|pinned| pinned.ders().to_vec()).unwrap_or_default(),
        sp_entity_id: block.entity_id.as_ref().map_or_else(|| ours("metadata"), |id| id.as_str().to_owned()),
        acs_url: ours("acs"),
        slo_url: ours("slo"),
        keys,
        name_id_policy: block.name_id.uri().map(str::to_owned),
        force_authn: block.force_authn,
        authn_context: block.authn_context.clone(),
        posts_requests: block.binding == BindingWord::Post,
        allow_sha1: block.allow_sha1,
        allow_cbc: block.allow_cbc,
        subject: block.subject.clone(),
        names: AttributeNames {
            email: entry.email.clone(),
            name: entry.name.clone(),
            user_name: entry.user_name.clone(),
            groups: entry.groups.clone(),
        },
        link: (!matches!(file.provisioning, UserSource::None)).then(|| idp.link.claim.clone()),
        skew_ms: settings::to_ms(block.skew),
        loopback: file.public_url.is_loopback(),
    }
}
