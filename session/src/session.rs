//! One signed-in browser, and what the store says about it.

use std::sync::{Arc, OnceLock};

use portcullis_policy::{
    AccountId, AppId, DirectoryId, Facts, Generation, OrgId, Principal, ResourceId, Seq, SessionHash,
    Timestamp,
};

use crate::account::AccountState;
use crate::epochs::Epoch;
use crate::loom_or_std::{AtomicBool, AtomicI64, Mutex, Ordering};
use crate::registry::AccountHolder;
use crate::{Ended, Enrolment, InFlight};

/// A session, its account and the epochs, as one read transaction tells them. Believed only if the transaction
/// began after the enrolment (R3).
#[derive(Clone, Debug)]
pub struct SessionSnapshot {
    /// The account.
    pub described: Described,
    /// The session.
    pub session: StoredSession,
    /// The epochs now: of the deployment, the organization, the IdP.
    pub epochs: [u64; 3],
}

/// An account as one read transaction tells it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The log number of the snapshot.
    pub at: Seq,
    /// The facts that are known of the person.
    pub facts: Arc<Facts>,
    /// The account's generation.
    pub generation: Generation,
    /// True where the person may be in at all.
    pub active: bool,
    /// The SCIM User behind the account, for holds (R6).
    pub resource: Option<(DirectoryId, ResourceId)>,
}

/// The row of a session.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// Its hash.
    pub hash: SessionHash,
    /// The app it belongs to.
    pub app: AppId,
    /// The IdP that signed it in.
    pub idp: Arc<str>,
    /// The account's generation when it was born.
    pub born: Generation,
    /// The epochs when it was born, in the order of [`SessionSnapshot::epochs`].
    pub born_epochs: [u64; 3],
    /// The time of its birth.
    pub created: Timestamp,
    /// The time at which the client was last heard.
    pub seen: Timestamp,
    /// Its absolute end, the IdP's own included.
    pub expires: Timestamp,
    /// True where it has ended.
    pub ended: bool,
}

/// One signed-in browser. Good while its account's generation and the epochs are those it was born with and it has
/// not itself ended.
#[derive(Debug)]
pub struct Session {
    hash: SessionHash,
    holder: AccountHolder,
    /// Set under the account's mutex, never cleared (R2).
    ended: AtomicBool,
    seen: AtomicI64,
    saved: AtomicI64,
    birth: OnceLock<Birth>,
    signed: Mutex<Vec<SignedLine>>,
}

/// A signed line about a session, for as long as it is shown again.
#[derive(Debug)]
pub struct SignedLine {
    /// The upstream that it is meant for; `None` for the app's own.
    pub upstream: Option<Box<str>>,
    /// Whom it speaks of: another snapshot of the person has another.
    pub who: Arc<Principal>,
    /// The number of the key that signed it.
    pub key: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// The line.
    pub line: Box<[u8]>,
}

/// The part of a session that never changes, known once it is read.
#[derive(Debug)]
struct Birth {
    app: AppId,
    idp: Arc<str>,
    generation: Generation,
    epochs: [(Arc<Epoch>, u64); 3],
    expires: Timestamp,
}

impl Session {
    /// A session nobody has read yet. It becomes the account's one object for the hash at the enrolment (R1).
    pub(crate) fn unread(hash: SessionHash, holder: AccountHolder) -> Self {
        Self {
            hash,
            holder,
            ended: AtomicBool::new(false),
            seen: AtomicI64::new(0),
            saved: AtomicI64::new(0),
            birth: OnceLock::new(),
            signed: Mutex::new(Vec::new()),
        }
    }

    /// Works on the lines that were last signed about it, one an upstream; nobody else does meanwhile. They say nothing of
    /// whether the session is good.
    pub fn with_signed_lines<T>(&self, work: impl FnOnce(&mut Vec<SignedLine>) -> T) -> T {
        work(&mut self.signed.lock())
    }

    /// The hash of its id.
    pub fn hash(&self) -> SessionHash {
        self.hash
    }

    /// The account it belongs to.
    pub fn account(&self) -> AccountId {
        self.holder.account.id
    }

    /// The organization.
    pub fn org(&self) -> OrgId {
        self.holder.account.org
    }

    /// The IdP that signed it in; `None` before it is read.
    pub fn idp(&self) -> Option<&Arc<str>> {
        self.birth.get().map(|birth| &birth.idp)
    }

    /// Its absolute end; `None` before it is read.
    pub fn expires(&self) -> Option<Timestamp> {
        self.birth.get().map(|birth| birth.expires)
    }

    pub(crate) fn holder(&self) -> &AccountHolder {
        &self.holder
    }

    /// Enrols the exchange and checks, in one critical section: what is marked before is seen, what scans after
    /// finds the exchange (R4).
    ///
    /// # Errors
    /// Why the session is not good. The exchange has left the register then.
    pub fn enter(
        self: &Arc<Self>,
        app: AppId,
        exchange: &InFlight,
        now: Timestamp,
    ) -> Result<Enrolment, Ended> {
        Enrolment::warm(self, app, exchange, now)
    }

    /// Takes what the store says; under the account's mutex, the first reading counts.
    pub(crate) fn is_born(&self, stored: &StoredSession, epochs: [Arc<Epoch>; 3]) {
        let mut born = stored.born_epochs.into_iter();
        let epochs = epochs.map(|epoch| (epoch, born.next().unwrap_or_default()));
        let birth = Birth {
            app: stored.app,
            idp: stored.idp.clone(),
            generation: stored.born,
            epochs,
            expires: stored.expires,
        };
        if self.birth.set(birth).is_ok() {
            self.saved.fetch_max(stored.seen.0, Ordering::Relaxed);
        }
        self.seen.fetch_max(stored.seen.0.max(stored.created.0), Ordering::Relaxed);
        if stored.ended {
            self.end();
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.birth.get().is_some()
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Finds what the marks say against it, whatever the hour; `None` for a session nobody has read yet, unless it
    /// ended.
    pub(crate) fn find_mark(&self, state: &AccountState) -> Option<Ended> {
        if self.ended.load(Ordering::Acquire) {
            return Some(Ended::SignedOut);
        }
        let birth = self.birth.get()?;
        let passed = birth.epochs.iter().any(|(epoch, born)| epoch.now() > *born);
        if birth.generation < state.generation || passed {
            return Some(Ended::Revoked);
        }
        let holds = &self.holder.shared.holds;
        holds.stands(self.org(), self.account(), state.resource.as_ref()).then_some(Ended::OnHold)
    }

    /// Finds what the clock says against it (R9).
    pub(crate) fn is_over(&self, now: Timestamp) -> Option<Ended> {
        let birth = self.birth.get()?;
        if now >= birth.expires {
            return Some(Ended::Expired);
        }
        let idle = self.holder.shared.idle_ms.load(Ordering::Relaxed);
        (now.0.saturating_sub(self.seen.load(Ordering::Relaxed)) >= idle).then_some(Ended::Idle)
    }

    /// Everything that must hold before it lets an exchange in.
    pub(crate) fn check(&self, state: &AccountState, app: AppId, now: Timestamp) -> Result<(), Ended> {
        if let Some(ended) = self.find_mark(state).or_else(|| self.is_over(now)) {
            return Err(ended);
        }
        match self.birth.get() {
            Some(birth) if birth.app == app => Ok(()),
            Some(_) => Err(Ended::SignedOut),
            None => Err(Ended::Unproven),
        }
    }

    /// The client was heard.
    pub fn touch(&self, now: Timestamp) {
        // Most requests of a busy session fall within one second; they need not write a shared cache line.
        if now.0.saturating_sub(self.seen.load(Ordering::Relaxed)) >= 1000 {
            self.seen.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// Hands out the time at which the client was last heard, if that has not been handed out for saving yet.
    pub(crate) fn unsaved(&self) -> Option<Timestamp> {
        let seen = self.seen.load(Ordering::Relaxed);
        (self.saved.fetch_max(seen, Ordering::Relaxed) < seen).then_some(Timestamp(seen))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let this: *const Session = self;
        let mut state = self.holder.account.state.lock();
        // Another object may stand there already: enrolled after this one's last owner let go.
        if state.sessions.get(&self.hash).is_some_and(|held| std::ptr::eq(held.as_ptr(), this)) {
            state.sessions.remove(&self.hash);
        }
    }
}
