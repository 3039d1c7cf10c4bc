//! What is remembered of many, and for a while: a table that is bounded.

use std::collections::{HashMap, VecDeque};

/// The number of entries that a table remembers.
pub(super) const MOST: usize = 1_000;

/// A table whose oldest entries go first.
pub(super) struct RecentTable<T> {
    entries: HashMap<String, T>,
    /// The keys, oldest first; one that was taken out keeps its place until it would have gone.
    order: VecDeque<String>,
}

impl<T> RecentTable<T> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn insert(&mut self, key: &str, entry: T) {
        if self.order.len() == MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.order.push_back(key.to_owned());
        self.entries.insert(key.to_owned(), entry);
    }

    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.entries.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.entries.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
