//! Everything this process knows of who is in: the cache, and what must never be evicted.

use std::sync::{Arc, Weak};

use portcullis_policy::{
    AccountId, AppId, Change, Facts, OrgId, Pass, Policy, Scope, SessionHash, Timestamp,
};

use crate::account::{AccountState, Doomed, LiveAccount};
use crate::cache::Cache;
use crate::holds::{DirectoryUser, HoldMark, HoldOn};
use crate::loom_or_std::Ordering;
use crate::registry::{AccountHolder, Shared, StaleAccount};
use crate::session::{Described, Session, SessionSnapshot};
use crate::{Cleared, Cold, Cut, Ended, Enrolment, InFlight, Stranger};

/// The sessions, accounts and exchanges of this process.
#[derive(Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    cache: Cache,
}

/// The numbers of what there is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sessions in the cache, about.
    pub sessions: u64,
    /// Accounts held in memory.
    pub accounts: usize,
    /// Exchanges in the register that stand on a session.
    pub exchanges: usize,
    /// Exchanges in the register under public rules.
    pub strangers: usize,
}

impl Sessions {
    /// `capacity` sessions are kept without an exchange; one is idle after `idle_ms` milliseconds without a byte from
    /// its client.
    pub fn new(capacity: u64, idle_ms: i64, policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(Shared::new(idle_ms, policy)), cache: Cache::new(capacity) })
    }

    /// A session in memory. Nothing is believed of it before [`Session::enter`].
    pub fn find_session(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.cache.find_session(hash)
    }

    /// The one object of an account (R1). What it does next is [`AccountHolder::enrol`].
    pub fn keep_account(&self, org: OrgId, id: AccountId) -> AccountHolder {
        self.shared.hold(org, id)
    }

    /// Enrols an exchange whose rule is public, and puts it on its pass, in one step. `None` where the rules have moved
    /// since the pass was given: decide again (R4). `stripe` is any number; each thread that serves has one of its own.
    pub fn admit_stranger(&self, stripe: usize, exchange: &InFlight, pass: &Pass) -> Option<Stranger> {
        self.shared.strangers.admit_stranger(stripe, exchange, pass, || self.shared.rules_version())
    }

    /// The end of the cold road (R3): takes what was read after the enrolment, then checks like any other.
    ///
    /// # Errors
    /// Why the session is not good; the exchange has left the register then.
    pub fn read_session(
        &self,
        cold: Cold,
        stored: &SessionSnapshot,
        app: AppId,
        now: Timestamp,
    ) -> Result<Enrolment, Ended> {
        let session = cold.session().clone();
        let (org, account) = (session.org(), &session.holder().account);
        if stored.session.hash != session.hash() || stored.described.facts.account != session.account() {
            return Err(Ended::Unproven);
        }
        let scopes = [Scope::Deployment, Scope::Org(org), Scope::Idp(org, stored.session.idp.clone())];
        let epochs = scopes.map(|scope| self.shared.epochs.of_scope(scope));
        epochs.iter().zip(stored.epochs).for_each(|(epoch, now)| epoch.raise_to(now));

        let (doomed, read, verdict) = {
            let mut state = account.state.lock();
            session.is_born(&stored.session, epochs);
            let read = state.session_was_read();
            let doomed = state.describe(&stored.described, cold.known(), &self.shared.policy());
            (doomed, read, self.judge_session(&session, &state, stored, app, now))
        };
        self.finish(doomed);
        self.finish(read);
        let who = verdict?;
        self.cache.keep_session(&session);
        session.touch(now);
        Ok(cold.admit(who))
    }

    fn judge_session(
        &self,
        session: &Session,
        state: &AccountState,
        stored: &SessionSnapshot,
        app: AppId,
        now: Timestamp,
    ) -> Result<Result<Arc<portcullis_policy::Principal>, u64>, Ended> {
        session.check(state, app, now)?;
        if !stored.described.active {
            return Err(Ended::Revoked);
        }
        if state.is_nameless() {
            return Err(Ended::Forbidden);
        }
        Ok(state.current_principal(self.shared.rules_version()))
    }

    /// The epochs a login that begins now begins under: of the deployment, the organization, the IdP, as far as this
    /// process has heard. What it has not heard makes the login's end refuse it.
    pub fn epochs(&self, org: OrgId, idp: &str) -> [u64; 3] {
        let scopes = [Scope::Deployment, Scope::Org(org), Scope::Idp(org, idp.into())];
        scopes.map(|scope| self.shared.epochs.of_scope(scope).now())
    }

    /// Mark, drop, cut. Idempotent and in any order (R2, R5). Accounts to reconsider become stale until they are
    /// described again.
    pub fn apply_changes(&self, changes: &[Change]) -> Cut {
        let mut cut = Cut::default();
        for change in changes {
            match change {
                Change::Out(id, _) | Change::Ended(id, _) | Change::Reconsider(id) => {
                    self.visit(self.shared.find_account(*id), &mut cut, |state| state.apply(change));
                }
                Change::Epoch(scope, to) => {
                    self.shared.epochs.of_scope(scope.clone()).raise_to(*to);
                    self.visit(self.shared.accounts_where(|_| true), &mut cut, |state| state.apply(change));
                }
                Change::ReconsiderAll(org) => {
                    self.visit(
                        self.shared.accounts_where(|account| account.org == *org),
                        &mut cut,
                        |state| state.apply(change),
                    );
                }
            }
        }
        cut
    }

    /// Waits until everything the cut forbids has left the register.
    pub fn cleared(&self, cut: Cut) -> Cleared {
        Cleared::new(cut)
    }

    /// Takes what a stale account was read to be. What it no longer allows, or would be headed differently, is cut (R8).
    pub fn describe_account(&self, stale: &StaleAccount, described: &Described) -> Cut {
        let mut cut = Cut::default();
        self.visit(Some(stale.holder.clone()), &mut cut, |state| {
            state.describe(described, stale.known, &self.shared.policy())
        });
        cut
    }

    /// A stale account could not be read in time: all its exchanges that stand are cut. It stays stale.
    pub fn give_up(&self, stale: &StaleAccount) -> Cut {
        let mut cut = Cut::default();
        self.visit(Some(stale.holder.clone()), &mut cut, AccountState::scan_standing);
        cut
    }

    /// The moment in the order of holds; taken before a transaction on the user begins (R6).
    pub fn hold_mark(&self) -> HoldMark {
        self.shared.holds.mark()
    }

    /// Takes somebody out whose removal could not be stored. The mark ends the hold where the same transaction still
    /// commits.
    pub fn hold(&self, of: &HoldOn) -> (Cut, HoldMark) {
        let mark = self.shared.holds.set_hold(of.clone());
        let mut cut = Cut::default();
        match of {
            HoldOn::User(user) => self.visit(self.shared.accounts_where(|_| true), &mut cut, |state| {
                if state.resource.as_ref() == Some(user) { state.scan() } else { Doomed::default() }
            }),
            HoldOn::Account(org, account) => {
                let is_meant = |one: &LiveAccount| (one.org, one.id) == (*org, *account);
                self.visit(self.shared.accounts_where(is_meant), &mut cut, AccountState::scan);
            }
        }
        (cut, mark)
    }

    /// Ends a hold: a write of the same kind of word committed whose transaction began at `began`, after the hold.
    pub fn end_hold(&self, of: &HoldOn, began: HoldMark) {
        self.shared.holds.end_hold(of, began);
    }

    /// Tells whether a hold stands on an account, or on the user behind it.
    pub fn is_held(&self, org: OrgId, account: AccountId, user: Option<&DirectoryUser>) -> bool {
        self.shared.holds.stands(org, account, user)
    }

    /// The accounts in memory whose person is meant.
    pub fn accounts_where(&self, is_meant: impl Fn(&Facts) -> bool) -> Vec<(OrgId, AccountId)> {
        let accounts = self.shared.accounts_where(|_| true).into_iter().map(|holder| holder.account.clone());
        let meant =
            accounts.filter(|account| account.state.lock().facts().is_some_and(|facts| is_meant(&facts)));
        meant.map(|account| (account.org, account.id)).collect()
    }

    /// The holds that stand.
    pub fn holds(&self) -> Vec<HoldOn> {
        self.shared.holds.all_holds()
    }

    /// After a reload, and after the data plane has the new rules: raises their version, then resolves everybody anew
    /// and looks through the register (R4).
    pub fn review(&self, policy: Arc<Policy>) -> Cut {
        self.shared.enforce(policy);
        let mut cut = Cut::default();
        self.visit(self.shared.accounts_where(|_| true), &mut cut, |state| {
            state.review(&self.shared.policy())
        });
        for (stripe, bound, exchanges) in self.shared.strangers.review(|| self.shared.policy()) {
            cut.add_strangers(stripe, bound, exchanges);
        }
        cut
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policy()
    }

    /// Sets how long a session may be idle, in milliseconds, from now on.
    pub fn idle_after(&self, ms: i64) {
        self.shared.idle_ms.store(ms, Ordering::Relaxed);
    }

    /// After how many milliseconds without a byte from its client a session is idle.
    pub fn idle_ms(&self) -> i64 {
        self.shared.idle_ms.load(Ordering::Relaxed)
    }

    /// For how many milliseconds nothing may pass on an answer under a public rule; as long as a session may be idle,
    /// until this is called.
    pub fn strangers_quiet_after(&self, ms: i64) {
        self.shared.strangers.quiet_ms.store(ms, Ordering::Relaxed);
    }

    /// Ends the exchanges whose session is over by the clock, and answers to nobody on which nothing passes; called at
    /// least once a second (R9). The cut speaks of sessions alone.
    pub fn expire(&self, now: Timestamp) -> Cut {
        self.shared.strangers.expire(now);
        let mut cut = Cut::default();
        let busy = self.shared.accounts_where(|account| account.live.load(Ordering::Acquire) > 0);
        self.visit(busy, &mut cut, |state| state.scan_clock(now));
        cut
    }

    /// Sessions heard of since the last call, and when: for the store, in a batch.
    pub fn take_heard(&self) -> Vec<(SessionHash, Timestamp)> {
        let mut heard = Vec::new();
        for holder in self.shared.accounts_where(|_| true) {
            let sessions: Vec<Arc<Session>> =
                holder.account.state.lock().sessions.values().filter_map(Weak::upgrade).collect();
            // The guard is gone: one of these may be a session's last owner.
            heard.extend(sessions.iter().filter_map(|session| Some((session.hash(), session.unsaved()?))));
        }
        heard
    }

    /// Forgets all sessions without an exchange, as memory pressure might. Nobody is signed out.
    pub fn forget(&self) {
        self.cache.clear();
    }

    /// Counts what there is.
    pub fn figures(&self) -> Figures {
        let (accounts, exchanges) = self.shared.count();
        Figures { sessions: self.cache.len(), accounts, exchanges, strangers: self.shared.strangers.count() }
    }

    /// One critical section an account; wakes and drops after each.
    fn visit(
        &self,
        accounts: impl IntoIterator<Item = AccountHolder>,
        cut: &mut Cut,
        act: impl Fn(&mut AccountState) -> Doomed,
    ) {
        for holder in accounts {
            let (doomed, bound) = {
                let mut state = holder.account.state.lock();
                (act(&mut state), state.bound())
            };
            let exchanges = self.finish(doomed);
            cut.add_account(holder, bound, exchanges);
        }
    }

    fn finish(&self, doomed: Doomed) -> usize {
        let (exchanges, sessions) = doomed.wake();
        sessions.iter().for_each(|hash| self.cache.drop_session(hash));
        exchanges
    }
}
