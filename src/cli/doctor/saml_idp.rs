//! One identity provider of SAML: metadata, the keys that it signs with and their ends, clocks, and how far it has got.

use std::sync::Arc;

use portcullis_config::{IdpEntry, SamlEntry, UserSource};
use portcullis_policy::Timestamp;
use portcullis_sso::{IdpKey, IdpMetadata, KeyStanding, MetadataSource, SamlIdp};

use super::check::{DoctorCheck, describe_span};
use super::checkup::Checkup;
use super::oidc::judge_clock;
use crate::idp_keys::read_book;
use crate::log::error_chain;
use crate::person::format_rfc3339;
use crate::saml::{self, SamlPlace};
use crate::terminal::count_things;

/// The time before its end from which a certificate or metadata deserves a look.
const AHEAD_MS: i64 = 30 * 24 * 3_600_000;

/// Asks for the metadata and judges it. Nothing of it is kept.
pub(super) async fn look_at_provider(
    checkup: &Checkup,
    idp: &IdpEntry,
    entry: &SamlEntry,
) -> Vec<DoctorCheck> {
    let (file, name, now) = (&checkup.file, idp.name.as_str(), Timestamp::now());
    let keys = match saml::read_kept_keys(&file.state, file.public_url.host(), now) {
        Ok(keys) => keys,
        Err(error) => return vec![DoctorCheck::failed_by("our_keys", name, &error_chain(&error))],
    };
    let place = SamlPlace {
        public_url: &file.public_url,
        prefix: &file.prefix,
        directory: !matches!(file.provisioning, UserSource::None),
    };
    let settings = saml::read_settings(&place, idp, entry, keys);
    let is_fetched = matches!(settings.metadata, MetadataSource::Address(_));
    let book = checkup.glance().map(|seen| read_book(seen.idp_keys.clone())).unwrap_or_default();
    let fetch = checkup.fetch.clone();
    let asked = SamlIdp::new(settings, fetch, None, Arc::new(|_| {}), Arc::new(book), now);
    let found = asked.inquire(&Timestamp::now).await;
    let mut checks = Vec::new();
    let mut issuer = asked.issuer();
    match &found.metadata {
        Ok(metadata) => {
            issuer.get_or_insert_with(|| metadata.entity_id.clone());
            checks.push(judge_metadata(name, metadata, now));
            checks.extend(metadata.warnings.iter().map(|odd| DoctorCheck::warn("metadata", name, odd, "")));
            checks.push(judge_keys(name, &metadata.signing, now));
        }
        Err(refusal) => checks.push(DoctorCheck::of_refusal("metadata", name, refusal)),
    }
    if is_fetched && found.metadata.is_ok() {
        checks.push(judge_clock(name, found.clock_gap_ms, asked.settings().skew_ms));
    }
    checks.push(DoctorCheck::ok(
        "addresses",
        name,
        format!(
            "the ACS URL there has to be {}, and the entity ID {}; only a login tells whether they are",
            asked.settings().acs_url,
            asked.settings().sp_entity_id
        ),
    ));
    checks.push(checkup.describe_idp_state(name, issuer.as_deref(), found.metadata.is_ok()));
    checks
}

fn judge_metadata(name: &str, metadata: &IdpMetadata, now: Timestamp) -> DoctorCheck {
    let entity_id = portcullis_policy::shown(&metadata.entity_id).into_owned();
    let Some(end) = metadata.valid_until else {
        return DoctorCheck::ok("metadata", name, format!("of {entity_id}, without an end"));
    };
    let detail = format!(
        "of {entity_id}, good for {}, until {}",
        describe_span(end.since_ms(now)),
        format_rfc3339(end)
    );
    if end.since_ms(now) < AHEAD_MS / 2 {
        let remedy = "Where it is a file, download it again or give its address: after its end nobody new signs in by it";
        return DoctorCheck::warn("metadata", name, detail, remedy);
    }
    DoctorCheck::ok("metadata", name, detail)
}

fn judge_keys(name: &str, keys: &[IdpKey], now: Timestamp) -> DoctorCheck {
    let count = |standing| keys.iter().filter(|key| key.standing() == standing).count();
    let (waiting, distrusted) = (count(KeyStanding::Waiting), count(KeyStanding::Distrusted));
    if count(KeyStanding::InForce) == 0 {
        return DoctorCheck::fail(
            "keys",
            name,
            format!("no signing key is in force: {waiting} wait, {distrusted} are distrusted"),
            format!(
                "Compare fingerprints with the provider's own screen, then portcullis idp approve {name}"
            ),
        );
    }
    let ends: Vec<Timestamp> = keys.iter().map(IdpKey::not_after).collect();
    let listed: Vec<String> = ends.iter().map(|end| format_rfc3339(*end)).collect();
    let keys = count_things(ends.len(), "signing key");
    let detail = format!("{keys}, certificate until {}", listed.join(", "));
    let nearest = ends.iter().min().map_or(i64::MAX, |end| end.since_ms(now));
    if waiting + distrusted > 0 {
        return DoctorCheck::warn(
            "keys",
            name,
            format!("{detail}; {waiting} wait for you, {distrusted} are distrusted"),
            "portcullis idp list shows them",
        );
    }
    if nearest < AHEAD_MS {
        return DoctorCheck::warn(
            "keys",
            name,
            detail,
            "The provider will change its certificate: see that saml.metadata is an address, or download the file again then. We \
             take the key past that end",
        );
    }
    DoctorCheck::ok("keys", name, detail)
}
