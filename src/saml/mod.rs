//! SAML, as far as the program has to do with it: from the configuration to an identity provider, and its files in the state
//! folder. What its messages mean is the crate `sso`'s; what they do is in `own/saml.rs`.

mod changes;
mod keys;
mod metadata;

use std::path::Path;
use std::sync::Arc;

use portcullis_config::{
    BindingWord, File, IdpEntry, IdpInitiated, IdpProtocol, MetadataText, NewKeys, SamlEntry, UserSource,
};
use portcullis_policy::{PublicUrl, Timestamp};
use portcullis_sso::{
    AttributeNames, Fetch, Idp, IdpKey, IdpMetadata, Keep, KeyBook, KeyStanding, LoginRefusal, MetadataRules,
    MetadataSource, SamlIdp, SamlSettings, SpKeys,
};

use crate::idp_keys::IdpKeys;
use crate::log::error_chain;
use crate::settings;

pub(crate) use changes::{note_changes, settle_keys};
pub(crate) use keys::{SamlKeysError, has_keys, read_kept_keys};
pub(crate) use metadata::{kept_metadata, known_issuer};

/// The keys that SAML is spoken with: our own, and the word on those of identity providers.
pub(crate) struct SamlKeys {
    own: Arc<SpKeys>,
    book: Arc<KeyBook>,
}

/// Makes an identity provider of SAML, with the metadata that was fetched last.
pub(crate) fn make_idp(
    file: &File,
    idp: &IdpEntry,
    entry: &SamlEntry,
    keys: &Arc<SamlKeys>,
    fetch: Fetch,
) -> Idp {
    let (kept, keep): (_, Keep) = match &entry.block.metadata {
        MetadataText::Address(address) => (
            metadata::kept_metadata(&file.state, &idp.name, address),
            metadata::keeper(&file.state, &idp.name, address),
        ),
        MetadataText::Document(_) => (None, Arc::new(|_| {})),
    };
    let directory = !matches!(file.provisioning, UserSource::None);
    let place = SamlPlace { public_url: &file.public_url, prefix: &file.prefix, directory };
    let settings = read_settings(&place, idp, entry, keys.own.clone());
    let book = keys.book.clone();
    Idp::Saml(SamlIdp::new(settings, fetch, kept.as_deref(), keep, book, Timestamp::now()))
}

/// Reasons why SAML cannot be spoken as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamlError {
    #[error(transparent)]
    Keys(#[from] SamlKeysError),
    /// Metadata in a file, or in the configuration, that is none.
    #[error("idps.{name}.saml.metadata: {refusal}")]
    Metadata { name: String, refusal: LoginRefusal },
}

/// Reads our keys, made where there are none, where an identity provider of SAML is configured; and looks that metadata
/// which comes with the configuration is some: nobody's session ends because a file was overwritten.
///
/// # Errors
/// [`SamlError`].
pub(crate) fn open_files(
    file: &File,
    idp_keys: &IdpKeys,
    now: Timestamp,
) -> Result<Option<Arc<SamlKeys>>, SamlError> {
    for idp in &file.idps {
        // One that is over stops its own logins and nothing else.
        read_document(idp, Timestamp(0))
            .map_err(|refusal| SamlError::Metadata { name: idp.name.clone(), refusal })?;
    }
    let own = keys::load_keys(file, now)?;
    Ok(own.map(|own| Arc::new(SamlKeys { own, book: idp_keys.book.clone() })))
}

/// Tells of metadata that is over, or will be within two weeks, which stops the logins of its identity provider: each with
/// the key of the configuration it belongs to.
pub(crate) fn look_ahead(idps: &[IdpEntry], now: Timestamp) -> Vec<(String, String)> {
    let ends = |idp: &&IdpEntry| {
        read_document(idp, Timestamp(0)).is_ok() && read_document(idp, now.plus_ms(AHEAD_MS)).is_err()
    };
    let told = |idp: &IdpEntry| {
        let what = "its validUntil is over, or will be within 14 days: nobody new signs in by it then. Download it again, or \
                    give its address";
        (format!("idps.{}.saml.metadata", idp.name), what.to_owned())
    };
    idps.iter().filter(ends).map(told).collect()
}

const AHEAD_MS: i64 = 14 * 24 * 3600 * 1000;

/// Looks at the files of SAML without making any: each fault with the key of the configuration it belongs to.
pub(crate) fn look_at_files(idps: &[IdpEntry], state: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for idp in idps {
        if let Err(refusal) = read_document(idp, Timestamp(0)) {
            found.push((format!("idps.{}.saml.metadata", idp.name), refusal.to_string()));
        }
    }
    if idps.iter().any(|idp| matches!(idp.protocol, IdpProtocol::Saml(_)))
        && let Err(error) = keys::read_keys(state)
    {
        found.push(("state".to_owned(), error_chain(&error).to_string()));
    }
    found
}

/// Reads metadata that comes with the configuration; one that is fetched is looked at when it comes.
fn read_document(idp: &IdpEntry, now: Timestamp) -> Result<(), LoginRefusal> {
    let IdpProtocol::Saml(entry) = &idp.protocol else { return Ok(()) };
    let ders = entry.block.metadata_certificate.as_ref().map_or(&[][..], |pinned| pinned.ders());
    let pinned: Vec<IdpKey> =
        ders.iter().map(|der| IdpKey::from_certificate(der)).collect::<Result<_, _>>()?;
    let MetadataText::Document(text) = &entry.block.metadata else { return Ok(()) };
    let entity_id = entry.block.issuer.as_ref().map(|issuer| issuer.as_str());
    let rules = MetadataRules { entity_id, pinned: &pinned, allow_loopback: true, now };
    IdpMetadata::read_document(text.as_bytes(), &rules).map(drop)
}

/// Lists the keys of metadata that are not believed: each with the key of the configuration that it belongs to.
pub(crate) fn list_unbelieved(idps: &[IdpEntry], state: &Path, book: &KeyBook) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for idp in idps {
        let IdpProtocol::Saml(entry) = &idp.protocol else { continue };
        let document = match &entry.block.metadata {
            MetadataText::Document(text) => Some(text.to_string()),
            MetadataText::Address(address) => metadata::kept_metadata(state, &idp.name, address),
        };
        let entity_id = entry.block.issuer.as_ref().map(|issuer| issuer.as_str());
        let rules = MetadataRules { entity_id, pinned: &[], allow_loopback: true, now: Timestamp(0) };
        let read = document.map(|document| IdpMetadata::read_document(document.as_bytes(), &rules));
        // What is no metadata was told already.
        let Some(Ok(metadata)) = read else { continue };
        let approves = entry.block.keys == NewKeys::Approve;
        for key in book.judge_keys(&idp.name, approves, &metadata.signing) {
            let print: String = key.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
            let why = match key.standing() {
                KeyStanding::InForce => continue,
                KeyStanding::Waiting => {
                    format!("waits until you say so: portcullis idp approve {} {print}", idp.name)
                }
                KeyStanding::Distrusted => "was distrusted, and nobody signs in by it".to_owned(),
            };
            found.push((
                format!("idps.{}.saml.metadata", idp.name),
                format!("the signing key whose certificate has the SHA-256 {print} {why}"),
            ));
        }
    }
    found
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
    keys: Arc<SpKeys>,
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
        approves_keys: block.keys == NewKeys::Approve,
        accepts_unsolicited: block.idp_initiated == IdpInitiated::Accept,
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use portcullis_config::Environment;
    use portcullis_keys::Random;
    use portcullis_sso::{Assertion, Class, SpKey};
    use serde_json::Value;

    use super::*;

    fn vectors() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/saml")
    }

    fn read_json(name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(vectors().join(name)).unwrap()).unwrap()
    }

    /// The preset that the corpus calls so.
    fn preset_of(vendor: &str) -> &str {
        match vendor {
            "pingone" | "pingfederate" => "ping",
            "plain" => "generic",
            vendor => vendor,
        }
    }

    /// The metadata of an identity provider of the corpus, in a configuration with its preset.
    fn configuration(idp: &Value) -> String {
        let certificates: String = idp["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pem| {
                let body: String =
                    pem.as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
                format!(
                    "<KeyDescriptor use='signing'><KeyInfo xmlns='http://www.w3.org/2000/09/xmldsig#'><X509Data>\
                     <X509Certificate>{body}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
                )
            })
            .collect();
        let metadata = format!(
            "<EntityDescriptor xmlns='urn:oasis:names:tc:SAML:2.0:metadata' entityID='{}'><IDPSSODescriptor \
             protocolSupportEnumeration='urn:oasis:names:tc:SAML:2.0:protocol'>{certificates}<SingleSignOnService \
             Binding='urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect' Location='https://idp.test/sso'/>\
             </IDPSSODescriptor></EntityDescriptor>",
            idp["entity_id"].as_str().unwrap()
        );
        format!(
            "public_url: https://app.example.test\nupstream: http://127.0.0.1:3000\nprovisioning: none\nstate: /nowhere\n\
             headers:\n  user: subject\nidps:\n  idp:\n    preset: {}\n    saml:\n      metadata: \"{metadata}\"\n      \
             subject: SUBJECT\n",
            preset_of(idp["preset"].as_str().unwrap())
        )
    }

    fn examined(case: &Value, idp: &Value, keys: &Arc<SamlKeys>) -> Result<Assertion, Class> {
        let transient =
            case["expect"]["name_id_format"].as_str().is_some_and(|format| format.ends_with(":transient"));
        let subject = if transient { "      subject: urn:oid:0.9.2342.19200300.100.1.1\n" } else { "" };
        let text = configuration(idp).replace("      subject: SUBJECT\n", subject);
        let loaded = portcullis_config::load_text(
            Path::new("portcullis.yaml"),
            text.as_bytes(),
            &Environment::with_variables([]),
        );
        let file = loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).file;
        let IdpProtocol::Saml(entry) = &file.idps[0].protocol else { panic!("not SAML") };
        let fetch: Fetch = Arc::new(|_| Box::pin(std::future::pending()));
        let made = make_idp(&file, &file.idps[0], entry, keys, fetch);
        let message = std::fs::read(vectors().join(case["file"].as_str().unwrap())).unwrap();
        let now = Timestamp(case["now"].as_i64().unwrap());
        let saml = made.as_saml().unwrap();
        let field = STANDARD.encode(message);
        saml.examine_response(case["request_id"].as_str(), field.as_bytes(), now)
            .outcome
            .map_err(|refusal| refusal.class)
    }

    /// Each product's attributes, as its documentation has them, are found under its preset.
    #[test]
    fn every_preset_finds_its_products_attributes() {
        let made = SpKey::generate("app.example.test", Timestamp(0), &mut Random::from_system()).unwrap();
        let own = Arc::new(SpKeys::read_pairs(&[(made.pkcs8_pem, made.certificate_pem)]).unwrap());
        let keys = Arc::new(SamlKeys { own, book: Arc::default() });
        let (cases, idps) = (read_json("cases.json"), read_json("idps.json"));
        let mut seen = 0;
        for case in cases.as_array().unwrap() {
            let idp = &idps[case["idp"].as_str().unwrap()];
            let name = case["name"].as_str().unwrap();
            let (Some(vendor), true) = (idp["preset"].as_str(), case["expect"]["accepted"] == true) else {
                continue;
            };
            let outcome = examined(case, idp, &keys);
            if case["expect"]["mapping"] == "refuse" || name.contains("groups-link") {
                assert_eq!(outcome.err(), Some(Class::SamlSubject), "{name}");
                continue;
            }
            // Without an attribute that is the same tomorrow nobody is anybody.
            if vendor == "simplesamlphp" {
                assert_eq!(outcome.err(), Some(Class::SamlSubject), "{name}");
                continue;
            }
            let assertion = outcome.unwrap_or_else(|class| panic!("{name}: {class:?}"));
            assert_eq!(assertion.email(), Some("alice@example.test"), "{name}");
            let says_groups = !["salesforce"].contains(&vendor);
            let groups = assertion.groups().unwrap_or_default();
            if case["expect"]["unspecified_attributes"].is_null() {
                assert_eq!(!groups.is_empty(), says_groups, "{name}: {groups:?}");
            }
            seen += 1;
        }
        assert!(seen >= 22, "{seen}");
    }
}
