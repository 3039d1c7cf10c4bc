//! `idp list`, `idp approve`, `idp distrust`: an operator's word on the signing keys of identity providers.
//!
//! To distrust is to take away: it holds in this process before it is stored, and every session of whoever has the key is
//! over before the operator is told so. Nothing undoes it.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_policy::{Change, OrgId, Scope, Timestamp, shown};
use portcullis_sso::{BookListing, BookedKey, BookedState};
use portcullis_store::{DistrustedKey, Origin, StoreError, UserError};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::log::error_chain;
use crate::operator::Operator;
use crate::order::{ACTOR, BY};
use crate::order_error::OrderError;
use crate::person::format_rfc3339;
use crate::revocation::{LEAVE, NotDone};

/// The identity providers and their signing keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdpListing {
    pub(crate) idps: Vec<ListedIdp>,
    /// Distrusted fingerprints that are no listed key's.
    pub(crate) distrusted: Vec<String>,
}

/// One identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedIdp {
    pub(crate) name: String,
    /// None where it speaks OpenID Connect, or no metadata of it was read yet.
    pub(crate) keys: Vec<ListedKey>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedKey {
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub(crate) certificate: String,
    /// SHA-256 of the key itself.
    pub(crate) key: String,
    /// `in force`, `waiting`, `gone` or `distrusted`.
    pub(crate) state: String,
    pub(crate) since: String,
}

/// A key that was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApprovedKey {
    pub(crate) idp: String,
    pub(crate) certificate: String,
}

/// A key that was distrusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DistrustedListing {
    /// The fingerprints that are refused from now on.
    pub(crate) fingerprints: Vec<String>,
    pub(crate) idps: Vec<String>,
    /// The number of their sessions, where they could be counted in time.
    pub(crate) ended: Option<u32>,
    /// It was distrusted before.
    pub(crate) is_repeat: bool,
}

/// The time after which an order that is not committed is enforced all the same.
const COMMIT: Duration = Duration::from_secs(1);
/// The fewest digits that may stand for a whole fingerprint.
const FEWEST: usize = 16;

/// A fingerprint as it was typed: all of it, or its beginning.
struct TypedPrint(String);

impl TypedPrint {
    /// Reads it.
    ///
    /// # Errors
    /// [`OrderError::Refused`].
    fn read_text(text: &str) -> Result<Self, OrderError> {
        let digits: String =
            text.chars().filter(|c| !matches!(c, ':' | ' ')).collect::<String>().to_lowercase();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (FEWEST..=64).contains(&digits.len()) {
            return Ok(Self(digits));
        }
        if text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(OrderError::Refused(
                "that looks like the thumbprint of a key of OpenID Connect. Its keys are not kept here: they are read from \
                 the provider's own address, and one that it withdraws is gone within five minutes. Withdraw it there, and \
                 end sessions with portcullis user end-sessions"
                    .to_owned(),
            ));
        }
        Err(OrderError::Refused(format!(
            "{:?} is no fingerprint: it is the SHA-256 of a certificate or of its public key, 64 hexadecimal digits, or the \
             first {FEWEST} of one that portcullis idp list shows",
            shown(text)
        )))
    }

    /// Tells whether it is the certificate's, or the key's own.
    fn names_key(&self, key: &BookedKey) -> bool {
        self.is_either(&key.certificate, &key.key)
    }

    fn is_either(&self, certificate: &[u8; 32], key: &[u8; 32]) -> bool {
        [certificate, key].iter().any(|print| to_hex(print).starts_with(&self.0))
    }

    /// Gives the fingerprint, where all of it was typed.
    fn whole_print(&self) -> Option<[u8; 32]> {
        let mut print = [0; 32];
        if self.0.len() != 64 {
            return None;
        }
        for (byte, at) in print.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(self.0.get(at..at + 2)?, 16).ok()?;
        }
        Some(print)
    }
}

impl Operator {
    /// Lists the identity providers and their keys.
    pub(crate) fn list_idp_keys(&self) -> IdpListing {
        let BookListing { idps: found, mut distrusted, .. } = self.idp_keys.book.list_keys();
        let words: BTreeSet<[u8; 32]> = distrusted.iter().copied().collect();
        let mut idps: Vec<ListedIdp> = Vec::new();
        for (name, mut keys) in found {
            keys.sort_unstable_by_key(|key| (place_in_list(key, &words), key.since, key.certificate));
            let listed = keys.iter().map(|key| {
                distrusted.remove(&key.certificate);
                distrusted.remove(&key.key);
                listed_key(key, &words)
            });
            idps.push(ListedIdp { name, keys: listed.collect() });
        }
        for configured in &self.terms.relink_to {
            if idps.iter().all(|idp| idp.name != configured.idp) {
                idps.push(ListedIdp { name: configured.idp.clone(), keys: Vec::new() });
            }
        }
        idps.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        let mut distrusted: Vec<String> = distrusted.iter().map(to_hex).collect();
        distrusted.sort_unstable();
        IdpListing { idps, distrusted }
    }

    /// Puts a key that waits in force.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] where none of that fingerprint waits; [`OrderError::Refused`] where it was distrusted, or
    /// waits at several identity providers.
    pub(crate) async fn approve_idp_key(
        &self,
        idp: Option<&str>,
        text: &str,
    ) -> Result<ApprovedKey, OrderError> {
        let typed = TypedPrint::read_text(text)?;
        if typed.whole_print().is_none() {
            return Err(OrderError::Refused(
                "give all 64 digits: whoever made the key had a choice of how its fingerprint begins"
                    .to_owned(),
            ));
        }
        let BookListing { idps: found, distrusted, .. } = self.idp_keys.book.list_keys();
        let of_idp = found.into_iter().filter(|(name, _)| idp.is_none_or(|wanted| wanted == name));
        let named: Vec<(String, BookedKey)> = of_idp
            .flat_map(|(name, keys)| keys.into_iter().map(move |key| (name.clone(), key)))
            .filter(|(_, key)| typed.names_key(key))
            .collect();
        if named.iter().any(|(_, key)| is_distrusted(key, &distrusted.iter().copied().collect())) {
            return Err(OrderError::Refused(
                "this key was distrusted, and nothing undoes that: let the identity provider make another one".to_owned(),
            ));
        }
        let waiting: Vec<_> =
            named.iter().filter(|(_, key)| key.state == BookedState::Waiting).cloned().collect();
        let Some((idp, key)) = waiting.first().cloned() else {
            let why = match named.first() {
                Some((name, key)) if key.state == BookedState::InForce => {
                    format!("that key of {name} is in force: nothing waits")
                }
                Some((name, _)) => format!("that key is not in the metadata of {name} any more"),
                None => "no signing key of that fingerprint waits. See portcullis idp list".to_owned(),
            };
            return Err(OrderError::Unknown(why));
        };
        if waiting.iter().any(|(name, other)| *name != idp || other.key != key.key) {
            let names: BTreeSet<&str> = waiting.iter().map(|(name, _)| name.as_str()).collect();
            let names: Vec<_> = names.into_iter().collect();
            return Err(OrderError::Refused(format!(
                "that key waits at several identity providers ({}): name the one that you mean",
                names.join(", ")
            )));
        }
        let _writing = self.idp_keys.writing.lock().await;
        // It may wait since a moment ago, in memory alone.
        self.idp_keys.save_keys(&idp, &self.store, &self.revocation).await.map_err(from_store)?;
        let name = idp.clone();
        let approved = self
            .carry_out_order(move |store| async move {
                let origin = Origin::of_actor(ACTOR);
                let done = store.approve_idp_key(OrgId::ONLY, name, key.key, &origin, Timestamp::now()).await;
                done.map_err(UserError::from)
            })
            .await?;
        if !approved {
            return Err(OrderError::Unknown(
                "that key does not wait any more: see portcullis idp list".to_owned(),
            ));
        }
        self.idp_keys.book.approve_key(&idp, &key.key, Timestamp::now());
        let certificate = to_hex(&key.certificate);
        tracing::info!(by = BY, idp, certificate, "a signing key was approved by hand: it is in force");
        Ok(ApprovedKey { idp, certificate })
    }

    /// Distrusts a key for ever, and ends every session of each identity provider that has or had it.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] for the beginning of a fingerprint that is no known key's; [`OrderError::IdpsOnHold`] where
    /// it is not stored.
    pub(crate) async fn distrust_idp_key(&self, text: &str) -> Result<DistrustedListing, OrderError> {
        let typed = TypedPrint::read_text(text)?;
        let BookListing { idps: found, pinned, .. } = self.idp_keys.book.list_keys();
        // What metadata is pinned to stands behind every key that it names.
        let signing =
            found.iter().flat_map(|(idp, keys)| keys.iter().map(move |key| (idp, key.certificate, key.key)));
        let behind =
            pinned.iter().flat_map(|(idp, keys)| keys.iter().map(move |key| (idp, key.certificate, key.key)));
        let all: Vec<(&String, [u8; 32], [u8; 32])> = signing.chain(behind).collect();
        let named = all.iter().filter(|(_, certificate, key)| typed.is_either(certificate, key));
        let keys: BTreeSet<[u8; 32]> = named.map(|(.., key)| *key).collect();
        let mut prints: BTreeSet<[u8; 32]> = typed.whole_print().into_iter().collect();
        if keys.len() > 1 {
            return Err(OrderError::Refused(
                "the fingerprints of several keys begin so: give the whole one".to_owned(),
            ));
        }
        if keys.is_empty() && prints.is_empty() {
            return Err(OrderError::Unknown(
                "no known signing key has a fingerprint that begins so. Give all 64 digits to distrust a key before it is \
                 seen"
                    .to_owned(),
            ));
        }
        let mut holders = BTreeSet::new();
        for (idp, certificate, key) in all.iter().filter(|(.., key)| keys.contains(key)) {
            prints.extend([*certificate, *key]);
            holders.insert((*idp).clone());
        }
        // First here: a login that reads the keys from now on finds it distrusted, and one that has read them before is
        // overtaken by the epoch.
        self.idp_keys.book.distrust_prints(&prints.iter().copied().collect::<Vec<_>>());
        let (store, asked, known) = (self.store.clone(), prints.clone(), holders.clone());
        let write = async move {
            let origin = Origin::of_actor(ACTOR);
            store.distrust_idp_key(OrgId::ONLY, asked, known, &origin, Timestamp::now()).await
        };
        let mut underway = self.revocation.carry_out(write, LEAVE);
        if self.serves && timeout(COMMIT, underway.wait_settled()).await.is_err() {
            // It may still commit: then it is enforced, and says the same.
            let idp_keys = self.idp_keys.clone();
            tokio::spawn(async move {
                if let Ok(done) = underway.wait_done().await {
                    idp_keys.end_hold(&done.value.idps);
                }
            });
            return Err(self.hold_idps(&holders, "it has not committed within 1 s").await);
        }
        let done = match underway.wait_done().await {
            Ok(done) => done,
            Err(NotDone::NotGone(error)) => return Err(error.into()),
            Err(NotDone::Write(error)) if self.serves => {
                let why = error_chain(&error).to_string();
                return Err(self.hold_idps(&holders, &why).await);
            }
            Err(error) => return Err(from_store(error)),
        };
        let DistrustedKey { idps, live, is_repeat } = done.value;
        self.idp_keys.end_hold(&idps);
        let fingerprints: Vec<String> = prints.iter().map(to_hex).collect();
        let exchanges = done.exchanges;
        tracing::warn!(
            by = BY,
            idps = idps.join(", "),
            fingerprints = fingerprints.join(", "),
            sessions = live,
            exchanges,
            "a signing key was distrusted by hand, for ever: every session of its identity providers has ended"
        );
        Ok(DistrustedListing { fingerprints, idps, ended: live, is_repeat })
    }

    /// Ends the sessions of these identity providers in this process, though it is not stored (R6): until the order is
    /// repeated and committed nobody is in by them.
    async fn hold_idps(&self, idps: &BTreeSet<String>, why: &str) -> OrderError {
        let sessions = self.revocation.sessions();
        let ended: Vec<Change> = idps
            .iter()
            .map(|idp| {
                let [.., now] = sessions.epochs(OrgId::ONLY, idp);
                let raised = self.idp_keys.hold_epoch(idp, now);
                Change::Epoch(Scope::Idp(OrgId::ONLY, idp.as_str().into()), raised)
            })
            .collect();
        let cut = sessions.apply_changes(&ended);
        let exchanges = cut.exchanges();
        let names: Vec<&str> = idps.iter().map(String::as_str).collect();
        tracing::error!(
            by = BY,
            order = "idp distrust",
            idps = names.join(", "),
            exchanges,
            why,
            "an order could not be stored: everybody of these identity providers is out, until it is repeated and committed, or this process ends. Look at the store"
        );
        match self.revocation.wait_held(cut).await {
            Ok(_) => OrderError::IdpsOnHold { exchanges, why: why.to_owned() },
            Err(error) => error.into(),
        }
    }
}

/// The place of a key in the list: what counts comes first.
fn place_in_list(key: &BookedKey, distrusted: &BTreeSet<[u8; 32]>) -> u8 {
    match key.state {
        _ if is_distrusted(key, distrusted) => 3,
        BookedState::InForce => 0,
        BookedState::Waiting => 1,
        BookedState::Gone => 2,
    }
}

fn listed_key(key: &BookedKey, distrusted: &BTreeSet<[u8; 32]>) -> ListedKey {
    let state = match key.state {
        _ if is_distrusted(key, distrusted) => "distrusted",
        BookedState::InForce => "in force",
        BookedState::Waiting => "waiting",
        BookedState::Gone => "gone",
    };
    ListedKey {
        certificate: to_hex(&key.certificate),
        key: to_hex(&key.key),
        state: state.to_owned(),
        since: format_rfc3339(key.since),
    }
}

fn is_distrusted(key: &BookedKey, distrusted: &BTreeSet<[u8; 32]>) -> bool {
    distrusted.contains(&key.certificate) || distrusted.contains(&key.key)
}

fn from_store(error: NotDone<StoreError>) -> OrderError {
    match error {
        NotDone::Write(error) => OrderError::Store(error),
        NotDone::NotGone(error) => error.into(),
        NotDone::Panicked(why) => OrderError::Failed(why),
    }
}

fn to_hex(print: &[u8; 32]) -> String {
    print.iter().map(|byte| format!("{byte:02x}")).collect()
}
