//! The metadata of an identity provider over time: how it is fetched, when again, and which keys it has then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use portcullis_policy::Timestamp;

use super::super::idp_key::{IdpKey, KeyStanding, refuse_standing, show_fingerprint, to_hex};
use super::super::settings::MetadataSource;
use super::super::{IdpMetadata, MetadataRules};
use super::{SamlIdp, refuse_metadata};
use crate::clock_gap::read_clock_gap;
use crate::{Fetch, LoginRefusal};

/// Metadata that could not be had is not asked for again by logins in this time, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// The outcome of fetching metadata for a signature that no known key made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There are other keys now, whoever fetched them.
    Changed,
    /// The keys are the same.
    Same,
    /// It was fetched a moment ago, in vain: whoever comes again in some seconds has it fetched anew.
    TooSoon,
}

/// The findings about one identity provider of SAML, asked without a login.
#[derive(Debug)]
pub struct SamlInquiry {
    /// Its metadata as it is now, each key under the word that counts; or why there is none.
    pub metadata: Result<IdpMetadata, LoginRefusal>,
    /// The gap between the clocks in milliseconds, positive where the provider's is ahead; `None` where nobody was asked, or no
    /// date came.
    pub clock_gap_ms: Option<i64>,
}

/// The keys in which new metadata differs from the metadata before it: fingerprints (SHA-256).
struct ChangedKeys {
    added: Vec<[u8; 32]>,
    removed: Vec<[u8; 32]>,
}

impl SamlIdp {
    /// Reads the metadata again: fetches it where it has an address. What was known before stays where this fails, as
    /// long as that document says. Tells whether its keys are others now.
    ///
    /// # Errors
    /// `metadata`, and the classes of a signature where a certificate is pinned.
    pub async fn refresh_metadata(&self, now: Timestamp) -> Result<bool, LoginRefusal> {
        let document = match &self.settings.metadata {
            MetadataSource::Document(text) => Ok(text.clone()),
            MetadataSource::Address(address) => self.fetch_document(address).await,
        };
        let read = document
            .and_then(|document| self.read_metadata(&document, now).map(|metadata| (document, metadata)));
        match read {
            Ok((document, metadata)) => {
                let changed = self.changed_keys(&metadata);
                if let Some(ChangedKeys { added, removed }) = &changed {
                    let show = |prints: &[[u8; 32]]| {
                        prints.iter().map(show_fingerprint).collect::<Vec<_>>().join(", ")
                    };
                    tracing::warn!(
                        idp = self.settings.name,
                        added = show(added),
                        removed = show(removed),
                        "the identity provider's metadata has other signing keys now"
                    );
                }
                if matches!(self.settings.metadata, MetadataSource::Address(_)) {
                    (self.keep)(&document);
                }
                self.settle_keys_of(&metadata, now);
                self.take_metadata(Ok(metadata), true);
                Ok(changed.is_some())
            }
            Err(refusal) => {
                self.answering.store(false, Ordering::Relaxed);
                *self.fault.lock() = Some(refusal.clone());
                Err(refusal)
            }
        }
    }

    /// Asks for the metadata, where it has an address, and concludes nothing of it: what is known stays as it is, nothing is
    /// kept, and no key is written into the book. `clock` is asked around the answer.
    pub async fn inquire(&self, clock: &(dyn Fn() -> Timestamp + Sync)) -> SamlInquiry {
        let sent = clock();
        let (document, clock_gap_ms) = match &self.settings.metadata {
            MetadataSource::Document(text) => (Ok(text.clone()), None),
            MetadataSource::Address(address) => match fetch_metadata(&self.fetch, address).await {
                Ok((document, headers)) => (Ok(document), read_clock_gap(&headers, sent, clock())),
                Err(refusal) => (Err(refusal), None),
            },
        };
        let metadata =
            document.and_then(|document| self.read_metadata(&document, clock())).map(|mut read| {
                read.signing = self.book.judge_keys(self.name(), self.settings.approves_keys, &read.signing);
                read
            });
        SamlInquiry { metadata, clock_gap_ms }
    }

    /// Writes the keys of what is known into the book, as those of today: once the configuration is in force that names this
    /// identity provider, and before anything newer is fetched.
    pub fn settle_keys(&self, now: Timestamp) {
        let pinned = self.settings.pinned.iter().filter_map(|der| IdpKey::from_certificate(der).ok());
        self.book.note_pinned(self.name(), pinned);
        if let Some(known) = self.known.load_full() {
            self.settle_keys_of(&known, now);
        }
    }

    fn settle_keys_of(&self, metadata: &IdpMetadata, now: Timestamp) {
        let (name, approves) = (self.name(), self.settings.approves_keys);
        for key in self.book.settle_keys(name, approves, &metadata.signing, now) {
            let print = to_hex(&key.fingerprint());
            tracing::warn!(
                idp = name,
                certificate = print,
                "a new signing key of the identity provider waits: nobody signs in by it. Compare its SHA-256 with the one that \
                 the provider shows on a screen of its own, then: portcullis idp approve {name} {print}"
            );
        }
    }

    /// Gives what is known now, to be compared with later.
    pub fn known_keys(&self) -> Vec<[u8; 32]> {
        self.known.load().as_ref().map(|known| fingerprints(known)).unwrap_or_default()
    }

    /// Fetches the metadata for a signature that none of the keys in `seen` made: the identity provider may have changed its
    /// key. One at a time, and after one that found nothing new not within five seconds, so that a flood of forgeries is no
    /// flood of requests.
    pub async fn renew_keys(&self, seen: &[[u8; 32]], now: Timestamp) -> Renewal {
        if matches!(self.settings.metadata, MetadataSource::Document(_)) {
            return Renewal::Same;
        }
        let mut last = self.asking.lock().await;
        if self.known_keys() != seen {
            return Renewal::Changed;
        }
        if last.is_some_and(|at| now.since_ms(at).unsigned_abs() < RETRY_MS) {
            return Renewal::TooSoon;
        }
        *last = Some(now);
        let is_new = matches!(self.refresh_metadata(now).await, Ok(true));
        if !is_new {
            return Renewal::Same;
        }
        *last = None;
        Renewal::Changed
    }

    /// Fetches the metadata for a login that cannot begin without. One at a time; after a failure not within five seconds.
    pub(super) async fn ask_for_metadata(&self, now: Timestamp) -> Result<Arc<IdpMetadata>, LoginRefusal> {
        let mut failed = self.asking.lock().await;
        if let Ok(known) = self.known(now) {
            return Ok(known);
        }
        if !failed.is_some_and(|at| now.since_ms(at).unsigned_abs() < RETRY_MS) {
            *failed = Some(now);
            self.refresh_metadata(now).await?;
            *failed = None;
        }
        self.known(now)
    }

    async fn fetch_document(&self, address: &str) -> Result<Arc<str>, LoginRefusal> {
        fetch_metadata(&self.fetch, address).await.map(|(document, _)| document)
    }

    pub(super) fn read_metadata(&self, document: &str, now: Timestamp) -> Result<IdpMetadata, LoginRefusal> {
        let pinned: Result<Vec<_>, _> =
            self.settings.pinned.iter().map(|der| IdpKey::from_certificate(der)).collect();
        let mut pinned = pinned?;
        // What is left must not be nothing: without a certificate metadata would need no signature.
        let distrusted = pinned.iter().find(|key| self.book.is_distrusted(key)).cloned();
        pinned.retain(|key| !self.book.is_distrusted(key));
        if let Some(key) = distrusted.filter(|_| pinned.is_empty()) {
            return Err(refuse_standing(&key.with_standing(KeyStanding::Distrusted)));
        }
        let rules = MetadataRules {
            entity_id: self.settings.entity_id.as_deref(),
            pinned: &pinned,
            allow_loopback: self.settings.loopback,
            now,
        };
        let metadata = IdpMetadata::read_document(document.as_bytes(), &rules)?;
        // People are of one issuer: another one behind the same address is somebody else's word until an operator says so.
        match self.entity_id.get() {
            Some(before) if *before != metadata.entity_id => Err(refuse_metadata(
                before,
                &metadata.entity_id,
                "The identity provider has another entity ID now. If that is meant, write it as saml.issuer and see \
                 portcullis user relink.",
            )),
            _ => Ok(metadata),
        }
    }

    pub(super) fn take_metadata(&self, read: Result<IdpMetadata, LoginRefusal>, answers: bool) {
        match read {
            Ok(metadata) => {
                let _ = self.entity_id.set(metadata.entity_id.clone());
                self.known.store(Some(Arc::new(metadata)));
                *self.fault.lock() = None;
                self.answering.store(answers, Ordering::Relaxed);
            }
            Err(refusal) => *self.fault.lock() = Some(refusal),
        }
    }

    fn changed_keys(&self, metadata: &IdpMetadata) -> Option<ChangedKeys> {
        let before = self.known.load_full()?;
        let (before, after) = (fingerprints(&before), fingerprints(metadata));
        let without = |these: &[[u8; 32]], those: &[[u8; 32]]| {
            these.iter().filter(|print| !those.contains(print)).copied().collect::<Vec<_>>()
        };
        let changed = ChangedKeys { added: without(&after, &before), removed: without(&before, &after) };
        (!changed.added.is_empty() || !changed.removed.is_empty()).then_some(changed)
    }
}

/// Fetches a document: it, and the fields of the answer.
async fn fetch_metadata(fetch: &Fetch, address: &str) -> Result<(Arc<str>, HeaderMap), LoginRefusal> {
    let what = "the metadata of the identity provider";
    let unusable = || refuse_metadata(what, "an address that HTTP cannot carry", "Check saml.metadata.");
    let request = Request::get(address).body(Bytes::new()).map_err(|_| unusable())?;
    let answer = fetch(request).await.map_err(|error| {
        let remedy = "Check saml.metadata, and that its address can be reached from this machine.";
        refuse_metadata(what, &error.chain(), remedy)
    })?;
    if answer.status() != StatusCode::OK {
        let remedy = if answer.status().is_redirection() {
            "Redirects are not followed. Write the address that the metadata itself has."
        } else {
            "Check saml.metadata: its address must lead to the metadata itself."
        };
        return Err(refuse_metadata(what, &format!("{} from {address}", answer.status()), remedy));
    }
    let text = std::str::from_utf8(answer.body())
        .map_err(|_| refuse_metadata("XML in UTF-8", "bytes that are no UTF-8", "Check saml.metadata."))?;
    Ok((text.into(), answer.headers().clone()))
}

fn fingerprints(metadata: &IdpMetadata) -> Vec<[u8; 32]> {
    metadata.signing.iter().map(IdpKey::fingerprint).collect()
}
