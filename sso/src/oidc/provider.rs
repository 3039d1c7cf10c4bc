//! What is known of a provider, its metadata and its keys, and the only place that asks it for them.
//!
//! Both are kept while the provider is away: who was about to come in still comes in. One request at a time; a
//! provider that does not answer is asked again after five seconds at the earliest, and a key that is not known sends
//! us for the keys once a minute at most, so that a flood of callbacks never becomes a flood of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response, StatusCode};
use portcullis_policy::Timestamp;
use tokio::sync::Mutex;
use url::Url;

use super::hosts::Hosts;
use super::jwks::{self, KeySet};
use super::metadata::Metadata;
use super::settings::OidcSettings;
use crate::{Class, Fetch, FetchError, LoginRefusal};

/// A provider that failed is left alone so long, in milliseconds.
const RETRY_MS: i64 = 5_000;
/// Unknown keys cause one request in this time, in milliseconds.
const KEYS_MS: i64 = 60_000;

pub(super) struct Provider {
    issuer: String,
    hosts: Hosts,
    fetch: Fetch,
    known: ArcSwapOption<Known>,
    answering: AtomicBool,
    /// The number of times that asking came to an end.
    asked: AtomicU64,
    /// Held while the provider is asked.
    turn: Mutex<ProviderTurn>,
}

/// The last metadata and keys of a provider.
pub(super) struct Known {
    pub(super) metadata: Arc<Metadata>,
    pub(super) keys: KeySet,
}

#[derive(Default)]
struct ProviderTurn {
    failed: Option<(Timestamp, LoginRefusal)>,
    keys: Option<Timestamp>,
}

impl Provider {
    pub(super) fn new(settings: &OidcSettings, fetch: Fetch) -> Self {
        Self {
            issuer: settings.issuer.clone(),
            hosts: Hosts::new(&settings.issuer, &settings.allow, settings.loopback),
            fetch,
            known: ArcSwapOption::empty(),
            answering: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            turn: Mutex::default(),
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    /// Gives what is known, without asking.
    pub(super) fn cached(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    /// Gives what is known, for a login that is under way: asks only where nothing is known at all.
    pub(super) async fn known(&self, now: Timestamp) -> Result<Arc<Known>, LoginRefusal> {
        match self.cached() {
            Some(known) => Ok(known),
            None => self.answering(now).await,
        }
    }

    /// Gives what is known, for a new login: a provider that failed the last time is asked first whether it is back,
    /// so that people see a page of ours and not their browser's.
    pub(super) async fn answering(&self, now: Timestamp) -> Result<Arc<Known>, LoginRefusal> {
        let at_hand = || self.cached().filter(|_| self.is_answering());
        if let Some(known) = at_hand() {
            return Ok(known);
        }
        let before = self.asked.load(Ordering::Relaxed);
        let mut turn = self.turn.lock().await;
        // Whoever had the turn before us may have been answered, or not: that is our answer too.
        if let Some(known) = at_hand() {
            return Ok(known);
        }
        if let Some((at, refusal)) = &turn.failed
            && (are_within(now, *at, RETRY_MS) || self.asked.load(Ordering::Relaxed) != before)
        {
            return Err(refusal.clone());
        }
        self.ask_again(&mut turn, now).await
    }

    /// Asks for metadata and keys.
    pub(super) async fn refresh(&self, now: Timestamp) -> Result<Arc<Known>, LoginRefusal> {
        let mut turn = self.turn.lock().await;
        self.ask_again(&mut turn, now).await
    }

    /// The keys after `seen`, where there are any: those somebody else has brought meanwhile, or new ones, for which
    /// the provider is asked once a minute at most.
    pub(super) async fn keys_after(&self, seen: &Arc<Known>, now: Timestamp) -> Option<Arc<Known>> {
        let mut turn = self.turn.lock().await;
        if let Some(known) = self.cached().filter(|known| !Arc::ptr_eq(known, seen)) {
            return Some(known);
        }
        if turn.keys.is_some_and(|at| are_within(now, at, KEYS_MS)) {
            return None;
        }
        turn.keys = Some(now);
        match self.ask_for_keys(seen.metadata.clone()).await {
            Ok(known) => Some(known),
            Err(refusal) => {
                tracing::warn!(issuer = self.issuer, "keys not refreshed, the old ones stay: {refusal}");
                None
            }
        }
    }

    /// Sends a request to the provider; `what` is said where it fails.
    pub(super) async fn ask_provider(
        &self,
        class: Class,
        what: &'static str,
        request: Option<Request<Bytes>>,
    ) -> Result<Response<Bytes>, LoginRefusal> {
        let request = request.ok_or_else(|| {
            LoginRefusal::new(
                class,
                what,
                "an address or a secret that HTTP cannot carry",
                "Check issuer and client_secret.",
            )
        })?;
        match (self.fetch)(request).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                // Logins go on without userinfo: its silence says nothing of the rest.
                if class != Class::OidcUserinfo {
                    self.answering.store(false, Ordering::Relaxed);
                }
                Err(LoginRefusal::new(
                    class,
                    what,
                    error.chain(),
                    "Check that the identity provider is up and can be reached from this machine.",
                ))
            }
        }
    }

    async fn ask_again(&self, turn: &mut ProviderTurn, now: Timestamp) -> Result<Arc<Known>, LoginRefusal> {
        // Written before the answer is there: a browser that hangs up drops us here, and the next one must not ask at
        // once.
        let hung_up = LoginRefusal::new(
            Class::OidcMetadata,
            "an answer of the identity provider",
            "none yet",
            "Try again.",
        );
        turn.failed = Some((now, hung_up));
        let answer = self.ask_for_everything().await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(known) => {
                turn.failed = None;
                Ok(known)
            }
            Err(refusal) => {
                self.answering.store(false, Ordering::Relaxed);
                turn.failed = Some((now, refusal.clone()));
                Err(refusal)
            }
        }
    }

    async fn ask_for_everything(&self) -> Result<Arc<Known>, LoginRefusal> {
        let address = self.document_address()?;
        let answer = self.get_document("the metadata of the identity provider", address.as_str()).await?;
        let metadata = self.read_metadata(answer.body())?;
        let before = self.cached();
        for unusable in &metadata.unusable {
            let is_known = before.as_ref().is_some_and(|known| known.metadata.unusable.contains(unusable));
            if !is_known {
                tracing::warn!(
                    issuer = self.issuer,
                    "the identity provider's metadata names what cannot be used and is taken as absent: {unusable}"
                );
            }
        }
        self.ask_for_keys(Arc::new(metadata)).await
    }

    async fn ask_for_keys(&self, metadata: Arc<Metadata>) -> Result<Arc<Known>, LoginRefusal> {
        let answer = self.get_document("the keys of the identity provider", metadata.jwks.as_str()).await?;
        let known = Arc::new(Known { keys: jwks::read_key_set(answer.body())?, metadata });
        self.known.store(Some(known.clone()));
        self.answering.store(true, Ordering::Relaxed);
        Ok(known)
    }

    /// The address of the metadata, judged.
    pub(super) fn document_address(&self) -> Result<Url, LoginRefusal> {
        self.check_fetched("issuer", &Metadata::document_address(&self.issuer))
    }

    /// Reads the metadata as a login would.
    pub(super) fn read_metadata(&self, document: &[u8]) -> Result<Metadata, LoginRefusal> {
        Metadata::read_document(document, &self.issuer, &self.hosts)
    }

    /// Judges an address that we would connect to ourselves.
    pub(super) fn check_fetched(&self, what: &str, url: &str) -> Result<Url, LoginRefusal> {
        self.hosts.check_fetched(what, url)
    }

    /// Sends a request and gives the answer as it is. Nothing is concluded of it for logins.
    pub(super) async fn fetch_answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        (self.fetch)(request).await
    }

    pub(super) async fn get_document(
        &self,
        what: &'static str,
        address: &str,
    ) -> Result<Response<Bytes>, LoginRefusal> {
        let request = Request::get(address).header(ACCEPT, "application/json").body(Bytes::new()).ok();
        let answer = self.ask_provider(Class::OidcMetadata, what, request).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let remedy = if answer.status().is_redirection() {
            "Redirects are not followed. Write issuer exactly as the identity provider does."
        } else {
            "Check issuer: its address and /.well-known/openid-configuration must lead to the provider's metadata."
        };
        Err(LoginRefusal::new(
            Class::OidcMetadata,
            what,
            format_args!("{} from {address}", answer.status()),
            remedy,
        ))
    }
}

/// Tells whether two moments are less than `ms` apart, whichever comes first: a clock may be set back.
fn are_within(now: Timestamp, then: Timestamp, ms: i64) -> bool {
    now.since_ms(then).unsigned_abs() < ms.unsigned_abs()
}
