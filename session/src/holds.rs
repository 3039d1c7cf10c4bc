//! Holds: people whose removal could not be stored yet (R6). Taking away never waits for the disk.

use std::collections::HashMap;

use portcullis_policy::{DirectoryId, ResourceId};

use crate::sync::{AtomicUsize, Mutex, Ordering};

/// The SCIM User that a hold is on.
pub type Subject = (DirectoryId, ResourceId);

/// A moment in the order of holds. Taken before a transaction begins: only holds set before it end with its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldMark(u64);

/// The table of the process. Nothing was acknowledged for what stands here, so it ends with the process.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// How many stand; the check looks here first, and almost always that is all it looks at.
    standing: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    held: HashMap<Subject, u64>,
}

impl Holds {
    pub(crate) fn stands(&self, of: Option<&Subject>) -> bool {
        self.standing.load(Ordering::Acquire) > 0
            && of.is_some_and(|of| self.table.lock().held.contains_key(of))
    }

    /// The moment now.
    pub(crate) fn mark(&self) -> HoldMark {
        HoldMark(self.table.lock().last)
    }

    /// Sets or renews a hold; the mark ends it where its own transaction commits late.
    pub(crate) fn set(&self, of: Subject) -> HoldMark {
        let mut table = self.table.lock();
        table.last += 1;
        let number = table.last;
        table.held.insert(of, number);
        self.standing.store(table.held.len(), Ordering::Release);
        HoldMark(number)
    }

    /// Ends the hold if it was set before `mark`, or is the one that `mark` names.
    pub(crate) fn end(&self, of: &Subject, mark: HoldMark) {
        let mut table = self.table.lock();
        if table.held.get(of).is_some_and(|number| *number <= mark.0) {
            table.held.remove(of);
            self.standing.store(table.held.len(), Ordering::Release);
        }
    }

    pub(crate) fn all(&self) -> Vec<Subject> {
        self.table.lock().held.keys().cloned().collect()
    }
}
