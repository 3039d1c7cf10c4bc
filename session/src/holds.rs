//! Holds: people whose removal, by a directory or an operator, could not be stored yet (R6). Taking away never waits
//! for the disk.

use std::collections::HashMap;

use portcullis_policy::{AccountId, DirectoryId, OrgId, ResourceId};

use crate::loom_or_std::{AtomicUsize, Mutex, Ordering};

/// A SCIM User.
pub type DirectoryUser = (DirectoryId, ResourceId);

/// The person whom a hold is on. Each ends by the word that set it: a directory's by a later write on the user, an
/// operator's by a later order on the account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HoldOn {
    /// By a directory.
    User(DirectoryUser),
    /// By an operator.
    Account(OrgId, AccountId),
}

/// A moment in the order of holds. Taken before a transaction begins: only holds set before it end with its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldMark(u64);

/// The table of the process. Nothing was acknowledged for what stands here, so it ends with the process.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// The number of holds that stand; the check looks here first, and almost always that is all it looks at.
    standing: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    held: HashMap<HoldOn, u64>,
}

impl Holds {
    /// Tells whether one stands on an account, or on the user behind it.
    pub(crate) fn stands(&self, org: OrgId, account: AccountId, user: Option<&DirectoryUser>) -> bool {
        if self.standing.load(Ordering::Acquire) == 0 {
            return false;
        }
        let held = &self.table.lock().held;
        held.contains_key(&HoldOn::Account(org, account))
            || user.is_some_and(|user| held.contains_key(&HoldOn::User(user.clone())))
    }

    /// The moment now.
    pub(crate) fn mark(&self) -> HoldMark {
        HoldMark(self.table.lock().last)
    }

    /// Sets or renews a hold; the mark ends it where its own transaction commits late.
    pub(crate) fn set_hold(&self, of: HoldOn) -> HoldMark {
        let mut table = self.table.lock();
        table.last += 1;
        let number = table.last;
        table.held.insert(of, number);
        self.standing.store(table.held.len(), Ordering::Release);
        HoldMark(number)
    }

    /// Ends the hold if it was set before `mark`, or is the one that `mark` names.
    pub(crate) fn end_hold(&self, of: &HoldOn, mark: HoldMark) {
        let mut table = self.table.lock();
        if table.held.get(of).is_some_and(|number| *number <= mark.0) {
            table.held.remove(of);
            self.standing.store(table.held.len(), Ordering::Release);
        }
    }

    pub(crate) fn all_holds(&self) -> Vec<HoldOn> {
        self.table.lock().held.keys().cloned().collect()
    }
}
