//! One account in memory: its marks, its description, and the register of its exchanges in flight.
//!
//! Everything here happens under the account's mutex: enrol, scan, stand, describe, leave (R4). Whoever is to be woken
//! or dropped is collected and woken or dropped after the mutex is released, since a session's end takes it again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::Waker;

use portcullis_policy::{
    AccountId, Change, Facts, Generation, OnChange, OrgId, Pass, Policy, Principal, RulesVersion, Seq,
    SessionHash, Timestamp,
};
use slab::Slab;

use crate::holds::DirectoryUser;
use crate::loom_or_std::{AtomicUsize, Mutex, Ordering};
use crate::session::{Described, Session};
use crate::waiting::Waiting;
use crate::{Ended, InFlight};

#[derive(Debug)]
pub(crate) struct LiveAccount {
    pub(crate) id: AccountId,
    pub(crate) org: OrgId,
    /// Exchanges in the register; read without the mutex where a stale answer is harmless.
    pub(crate) live: AtomicUsize,
    pub(crate) state: Mutex<AccountState>,
}

#[derive(Debug)]
pub(crate) struct AccountState {
    /// Only grows (R2).
    pub(crate) generation: Generation,
    pub(crate) resource: Option<DirectoryUser>,
    pub(crate) sessions: HashMap<SessionHash, Weak<Session>>,
    /// The one snapshot that describes, and the pair it was resolved at; replaced only by a larger one (R2).
    principal: Option<Arc<Principal>>,
    resolved: Option<(Seq, RulesVersion)>,
    /// The number of times it became stale, and the count that the last read knew when it began (R3).
    staled: u64,
    read: u64,
    exchanges: Slab<EnrolledExchange>,
    tickets: u64,
    waiting: Waiting,
}

/// An exchange in the register.
#[derive(Debug)]
pub(crate) struct EnrolledExchange {
    exchange: InFlight,
    session: Arc<Session>,
    ticket: u64,
    /// The pass it stands on and the person its headers were written for.
    stands: Option<(Pass, Arc<Principal>)>,
    is_stream: bool,
}

/// The exchanges that are to be cut once the mutex is released.
#[derive(Debug, Default)]
#[must_use = "exchanges are marked but nobody woke them"]
pub(crate) struct Doomed {
    exchanges: Vec<InFlight>,
    wakers: Vec<Waker>,
    sessions: Vec<SessionHash>,
    /// Sessions whose last owner may be here: their end takes the mutex.
    kept: Vec<Arc<Session>>,
}

impl Doomed {
    /// Wakes all; says how many exchanges were cut and which sessions the cache can forget.
    pub(crate) fn wake(self) -> (usize, Vec<SessionHash>) {
        self.exchanges.iter().for_each(InFlight::nudge);
        self.wakers.into_iter().for_each(Waker::wake);
        (self.exchanges.len(), self.sessions)
    }

    fn merge(mut self, other: Doomed) -> Doomed {
        self.exchanges.extend(other.exchanges);
        self.wakers.extend(other.wakers);
        self.sessions.extend(other.sessions);
        self.kept.extend(other.kept);
        self
    }
}

impl LiveAccount {
    pub(crate) fn new(org: OrgId, id: AccountId) -> Self {
        let state = AccountState {
            generation: Generation::default(),
            resource: None,
            sessions: HashMap::new(),
            principal: None,
            resolved: None,
            staled: 1, // not described is stale
            read: 0,
            exchanges: Slab::new(),
            tickets: 0,
            waiting: Waiting::default(),
        };
        Self { id, org, live: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Takes an exchange out of the register.
    pub(crate) fn leave(&self, key: usize) {
        let (entry, doomed) = {
            let mut state = self.state.lock();
            let entry = state.exchanges.remove(key);
            self.live.store(state.exchanges.len(), Ordering::Release);
            let doomed = state.note_settled(entry.ticket);
            (entry, doomed)
        };
        doomed.wake();
        drop(entry); // perhaps the session's last owner
    }
}

impl AccountState {
    // ── enrol and check ──

    pub(crate) fn enrol(
        &mut self,
        account: &LiveAccount,
        session: &Arc<Session>,
        exchange: &InFlight,
    ) -> usize {
        let ticket = self.tickets;
        self.tickets += 1;
        let (exchange, session) = (exchange.clone(), session.clone());
        let key = self.exchanges.insert(EnrolledExchange {
            exchange,
            session,
            ticket,
            stands: None,
            is_stream: false,
        });
        account.live.store(self.exchanges.len(), Ordering::Release);
        key
    }

    /// Gives who it is, as of now; `Err` with the count a read must remember, where a request has to take the cold
    /// road.
    pub(crate) fn current_principal(&self, in_force: RulesVersion) -> Result<Arc<Principal>, u64> {
        match (&self.principal, self.resolved) {
            (Some(principal), Some((_, rules))) if !self.is_stale() && rules >= in_force => {
                Ok(principal.clone())
            }
            _ => Err(self.staled),
        }
    }

    /// The facts of its last description, current or not.
    pub(crate) fn facts(&self) -> Option<Arc<Facts>> {
        self.principal.as_ref().map(|principal| principal.facts().clone())
    }

    /// Described, but without a name to give to the application.
    pub(crate) fn is_nameless(&self) -> bool {
        self.resolved.is_some() && self.principal.is_none()
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.read < self.staled
    }

    pub(crate) fn stale_count(&self) -> u64 {
        self.staled
    }

    pub(crate) fn has_exchanges(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// Puts an exchange on its pass; false where roles or rules moved since `who` was read, and where a mark forbids
    /// its session: until it stands nothing cuts it, so that whoever is refused here gets an answer.
    pub(crate) fn stand(
        &mut self,
        key: usize,
        pass: &Pass,
        who: &Arc<Principal>,
        in_force: RulesVersion,
    ) -> bool {
        let unmoved = !self.is_stale()
            && pass.rules_version() >= in_force
            && self.principal.as_ref().is_some_and(|now| Arc::ptr_eq(now, who));
        let unmarked = self.exchanges.get(key).is_some_and(|entry| entry.session.find_mark(self).is_none());
        let Some(entry) = self.exchanges.get_mut(key).filter(|_| unmoved && unmarked) else { return false };
        entry.stands = Some((pass.clone(), who.clone()));
        true
    }

    /// Makes the exchange a stream: from now on it is cut when its headers change. They may have changed already.
    pub(crate) fn become_stream(&mut self, key: usize) -> Result<(), Ended> {
        let now = self.principal.clone();
        let Some(entry) = self.exchanges.get_mut(key) else { return Err(Ended::Unproven) };
        if let Some(ended) = entry.exchange.reason() {
            return Err(ended);
        }
        entry.is_stream = true;
        match (&entry.stands, now) {
            (Some((pass, carried)), Some(now)) if pass.on_change() == OnChange::Cut => {
                carried.is_told_as(&now).then_some(()).ok_or(Ended::Changed)
            }
            _ => Ok(()),
        }
    }

    // ── marks ──

    /// Applies one change; marks first, then scans (R2, R5).
    pub(crate) fn apply(&mut self, change: &Change) -> Doomed {
        match change {
            Change::Out(_, generation) => self.generation = self.generation.max(*generation),
            Change::Ended(_, hash) => {
                if let Some(session) = self.sessions.get(hash).and_then(Weak::upgrade) {
                    session.end();
                    let ended = Doomed { sessions: vec![*hash], kept: vec![session], ..Doomed::default() };
                    return ended.merge(self.scan());
                }
            }
            Change::Epoch(..) => {}
            Change::Reconsider(_) | Change::ReconsiderAll(_) => {
                self.staled += 1;
                return Doomed::default();
            }
        }
        self.scan()
    }

    /// Cuts every exchange that stands and whose session the marks forbid.
    pub(crate) fn scan(&mut self) -> Doomed {
        self.doom(|state, entry| entry.session.find_mark(state))
    }

    /// Cuts every exchange whose session is over by the clock (R9).
    pub(crate) fn scan_clock(&mut self, now: Timestamp) -> Doomed {
        self.doom(|_, entry| entry.session.is_over(now))
    }

    /// Cuts every exchange that stands: what it stands on cannot be proven.
    pub(crate) fn scan_standing(&mut self) -> Doomed {
        self.doom(|_, _| Some(Ended::Unproven))
    }

    fn doom(&mut self, why: impl Fn(&AccountState, &EnrolledExchange) -> Option<Ended>) -> Doomed {
        let mut doomed = Doomed::default();
        for (_, entry) in self.exchanges.iter().filter(|(_, entry)| entry.stands.is_some()) {
            if entry.exchange.reason().is_none()
                && let Some(ended) = why(self, entry)
            {
                entry.exchange.mark(ended);
                doomed.exchanges.push(entry.exchange.clone());
                if !matches!(ended, Ended::Forbidden | Ended::Changed | Ended::Unproven) {
                    doomed.sessions.push(entry.session.hash());
                }
            }
        }
        doomed.sessions.dedup();
        doomed
    }

    // ── descriptions ──

    /// Takes what a read says. `known` is the stale count when the read began. Describes with the policy in force,
    /// which the caller reads inside this critical section, so that a reload comes wholly before or wholly after.
    pub(crate) fn describe(&mut self, described: &Described, known: u64, policy: &Policy) -> Doomed {
        self.generation = self.generation.max(described.generation);
        if self.resource.is_none() {
            self.resource.clone_from(&described.resource);
        }
        self.read = self.read.max(known);
        let doomed = self.scan();
        let pair = (described.at, policy.rules_version());
        if self.resolved.is_some_and(|resolved| pair <= resolved) {
            return doomed;
        }
        self.resolved = Some(pair);
        doomed.merge(self.redescribe(policy.describe_person(&described.facts, described.at).ok(), policy))
    }

    /// Resolves the facts at hand anew after a reload, and judges what stands.
    pub(crate) fn review(&mut self, policy: &Policy) -> Doomed {
        let Some((at, _)) = self.resolved.filter(|(_, rules)| *rules < policy.rules_version()) else {
            return Doomed::default();
        };
        // Without a principal there is nothing to resolve from: it stays with the old rules' number, so stale.
        let Some(facts) = self.principal.as_ref().map(|principal| principal.facts().clone()) else {
            return Doomed::default();
        };
        self.resolved = Some((at, policy.rules_version()));
        self.redescribe(policy.describe_person(&facts, at).ok(), policy)
    }

    /// Replaces the snapshot where anything differs, and compares each exchange with what it stands on (R8).
    fn redescribe(&mut self, principal: Option<Principal>, policy: &Policy) -> Doomed {
        let same = match (&principal, &self.principal) {
            (Some(new), Some(old)) => {
                new.facts() == old.facts() && new.roles() == old.roles() && new.is_told_as(old)
            }
            _ => false,
        };
        if !same {
            self.principal = principal.map(Arc::new);
        }
        let now = self.principal.clone();
        self.doom(|_, entry| {
            let (pass, carried) = entry.stands.as_ref()?;
            match &now {
                Some(now) if policy.still_allows(pass, now) => {
                    let differs = !carried.is_told_as(now);
                    (differs && entry.is_stream && pass.on_change() == OnChange::Cut)
                        .then_some(Ended::Changed)
                }
                _ => Some(Ended::Forbidden),
            }
        })
    }

    // ── waiting until they have left ──

    /// The ticket the next exchange gets: those below it enrolled before this moment.
    pub(crate) fn bound(&self) -> u64 {
        self.tickets
    }

    /// Counts the exchanges that enrolled before `bound` still have to leave: cut ones, forbidden ones, and ones
    /// whose session is not read yet.
    pub(crate) fn to_leave(&self, bound: u64) -> usize {
        let must_leave = |entry: &EnrolledExchange| {
            entry.ticket < bound
                && (entry.exchange.reason().is_some()
                    || !entry.session.is_read()
                    || entry.session.find_mark(self).is_some())
        };
        self.exchanges.iter().filter(|(_, entry)| must_leave(entry)).count()
    }

    pub(crate) fn wait(&mut self, bound: u64, left: usize, waker: Waker) -> usize {
        self.waiting.begin_wait(bound, left, waker)
    }

    pub(crate) fn stop_waiting(&mut self, key: usize) {
        self.waiting.end_wait(key);
    }

    /// Notes that an exchange left, or that its session was read: whoever counts it counts one less.
    pub(crate) fn note_settled(&mut self, ticket: u64) -> Doomed {
        Doomed { wakers: self.waiting.note_settled(ticket), ..Doomed::default() }
    }

    /// A session was read for the first time, so its exchanges no longer count as forbidden: whoever waits looks again.
    pub(crate) fn session_was_read(&self) -> Doomed {
        Doomed { wakers: self.waiting.all_wakers(), ..Doomed::default() }
    }
}
