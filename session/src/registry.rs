//! The registry: one [`LiveAccount`] object per person (R1), and what every account shares.
//!
//! It owns accounts with a count of what holds them: sessions, cold loads, a running `enforce`. A look-up takes the
//! object and raises the count in one step, the last release removes it in one step, so no two objects for one person
//! are ever in use. A shard's lock and an account's mutex are never held together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use portcullis_policy::{AccountId, OrgId, Policy, RulesVersion};

use crate::account::LiveAccount;
use crate::epochs::Epochs;
use crate::holds::Holds;
use crate::loom_or_std::{AtomicI64, AtomicU64, Mutex, Ordering};
use crate::stranger::StrangerRegister;

#[cfg(not(portcullis_loom))]
const SHARDS: usize = 64;
#[cfg(portcullis_loom)]
const SHARDS: usize = 1;

/// The state that all accounts of the process share.
#[derive(Debug)]
pub(crate) struct Shared {
    shards: Vec<Mutex<HashMap<AccountId, HeldAccount>>>,
    pub(crate) holds: Holds,
    pub(crate) epochs: Epochs,
    pub(crate) strangers: StrangerRegister,
    pub(crate) idle_ms: AtomicI64,
    rules: AtomicU64,
    policy: Mutex<Arc<Policy>>,
}

#[derive(Debug)]
struct HeldAccount {
    account: Arc<LiveAccount>,
    count: usize,
}

impl Shared {
    pub(crate) fn new(idle_ms: i64, policy: Arc<Policy>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            holds: Holds::default(),
            epochs: Epochs::default(),
            strangers: StrangerRegister::new(idle_ms),
            idle_ms: AtomicI64::new(idle_ms),
            rules: AtomicU64::new(policy.rules_version().0),
            policy: Mutex::new(policy),
        }
    }

    /// The version in force. Raised before a reload looks through the register.
    pub(crate) fn rules_version(&self) -> RulesVersion {
        RulesVersion(self.rules.load(Ordering::Acquire))
    }

    /// The policy in force. Read inside an account's critical section where it describes or judges.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.lock().clone()
    }

    pub(crate) fn enforce(&self, policy: Arc<Policy>) {
        let mut current = self.policy.lock();
        if policy.rules_version() > current.rules_version() {
            self.rules.store(policy.rules_version().0, Ordering::Release);
            *current = policy;
        }
    }

    fn shard_of(&self, id: AccountId) -> &Mutex<HashMap<AccountId, HeldAccount>> {
        let at = usize::try_from(id.0.unsigned_abs() % SHARDS as u64).unwrap_or_default();
        &self.shards[at]
    }

    /// The account's object, made if nobody holds one.
    pub(crate) fn hold(self: &Arc<Self>, org: OrgId, id: AccountId) -> AccountHolder {
        let mut shard = self.shard_of(id).lock();
        let held = shard
            .entry(id)
            .or_insert_with(|| HeldAccount { account: Arc::new(LiveAccount::new(org, id)), count: 0 });
        held.count += 1;
        AccountHolder { shared: self.clone(), account: held.account.clone() }
    }

    /// The account's object, if somebody holds one.
    pub(crate) fn find_account(self: &Arc<Self>, id: AccountId) -> Option<AccountHolder> {
        let mut shard = self.shard_of(id).lock();
        let held = shard.get_mut(&id)?;
        held.count += 1;
        Some(AccountHolder { shared: self.clone(), account: held.account.clone() })
    }

    /// Every account for which `wanted` says so; asked under the shard's lock, so it must not touch the mutex.
    pub(crate) fn accounts_where(
        self: &Arc<Self>,
        wanted: impl Fn(&LiveAccount) -> bool,
    ) -> Vec<AccountHolder> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for held in shard.lock().values_mut().filter(|held| wanted(&held.account)) {
                held.count += 1;
                all.push(AccountHolder { shared: self.clone(), account: held.account.clone() });
            }
        }
        all
    }

    pub(crate) fn count(&self) -> (usize, usize) {
        let mut figures = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock();
            figures.0 += shard.len();
            figures.1 += shard.values().map(|held| held.account.live.load(Ordering::Relaxed)).sum::<usize>();
        }
        figures
    }
}

/// Holds an account's object in memory; dropping it lets go.
#[derive(Debug)]
pub struct AccountHolder {
    pub(crate) shared: Arc<Shared>,
    pub(crate) account: Arc<LiveAccount>,
}

impl AccountHolder {
    /// The account it holds.
    pub fn id(&self) -> AccountId {
        self.account.id
    }
}

impl Clone for AccountHolder {
    fn clone(&self) -> Self {
        self.shared.hold(self.account.org, self.account.id)
    }
}

impl Drop for AccountHolder {
    fn drop(&mut self) {
        let mut shard = self.shared.shard_of(self.account.id).lock();
        if let Entry::Occupied(mut held) = shard.entry(self.account.id) {
            held.get_mut().count -= 1;
            if held.get().count == 0 {
                held.remove(); // this holder's own handle keeps the object until the lock is released
            }
        }
    }
}

/// An account that is to be read again, with the count the read must remember (R3).
#[derive(Debug)]
pub struct StaleAccount {
    pub(crate) holder: AccountHolder,
    pub(crate) known: u64,
}

impl StaleAccount {
    /// Its organization.
    pub fn org(&self) -> OrgId {
        self.holder.account.org
    }

    /// The account that is stale.
    pub fn id(&self) -> AccountId {
        self.holder.account.id
    }
}
