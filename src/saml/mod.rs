//! SAML, as far as the program has to do with it: from the configuration to an identity provider, and its files in the state
//! folder. What its messages mean is the crate `sso`'s; what they do is in `own/saml.rs`.

mod keys;
mod metadata;

use std::sync::Arc;

use portcullis_config::{BindingWord, File, IdpEntry, MetadataText, SamlEntry, UserSource};
use portcullis_policy::{PublicUrl, Timestamp};
use portcullis_sso::{AttributeNames, Fetch, Idp, MetadataSource, SamlIdp, SamlSettings};

use crate::settings;

pub(crate) use keys::{SamlKeysError, has_keys, load_keys, read_kept_keys};
pub(crate) use metadata::{keep_metadata, kept_metadata, known_issuer};
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
    let directory = !matches!(file.provisioning, UserSource::None);
    let place = SamlPlace { public_url: &file.public_url, prefix: &file.prefix, directory };
    let settings = read_settings(&place, idp, entry, keys.clone());
    Idp::Saml(SamlIdp::new(settings, fetch, kept.as_deref(), Timestamp::now()))
}

/// The place of this service provider: the addresses that an IdP of SAML sends people to, and what it finds there.
pub(crate) struct SamlPlace<'a> {
    pub(crate) public_url: &'a PublicUrl,
    pub(crate) prefix: &'a str,
    /// True where people are matched in a directory.
    pub(crate) directory: bool,
}

/// Joins what is known of an identity provider and of us.
pub(crate) fn read_settings(
    place: &SamlPlace<'_>,
    idp: &IdpEntry,
    entry: &SamlEntry,
    keys: Arc<SamlKeys>,
) -> SamlSettings {
    let SamlPlace { public_url, prefix, directory } = *place;
    let block = &entry.block;
    let ours =
        |page: &str| format!("{}{}{prefix}/saml/{}/{page}", public_url.origin(), public_url.path(), idp.name);
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
        link: directory.then(|| idp.link.claim.clone()),
        skew_ms: settings::to_ms(block.skew),
        loopback: public_url.is_loopback(),
    }
}
