//! A write that is durable but not yet enforced.

use portcullis_policy::{Change, Seq};

use crate::Gone;

/// The result of a write of the store. Its value comes out only for a [`Gone`], the proof that what it takes away has
/// been cut and has left; so whoever wants to answer must have enforced.
#[derive(Debug)]
#[must_use = "a change is answered only after it is enforced"]
pub struct Committed<T> {
    value: T,
    changes: Vec<Change>,
    seq: Seq,
    takes_away: bool,
}

impl<T> Committed<T> {
    /// For the store alone. `changes` are there also for a write that changed nothing but leaves the user out (R5).
    pub fn new(value: T, changes: Vec<Change>, seq: Seq, takes_away: bool) -> Self {
        Self { value, changes, seq, takes_away }
    }

    /// The changes of access that it means.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Its log number.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Tells whether somebody may lose access by it, so that other processes are waited for.
    pub fn takes_away(&self) -> bool {
        self.takes_away
    }

    /// This write and one behind it as one.
    pub fn and_with<U, V>(mut self, later: Committed<U>, shape: impl FnOnce(T, U) -> V) -> Committed<V> {
        self.changes.extend(later.changes);
        Committed {
            value: shape(self.value, later.value),
            changes: self.changes,
            seq: self.seq.max(later.seq),
            takes_away: self.takes_away || later.takes_away,
        }
    }

    /// Another value under the same seal.
    pub fn map<U>(self, shape: impl FnOnce(T) -> U) -> Committed<U> {
        Committed {
            value: shape(self.value),
            changes: self.changes,
            seq: self.seq,
            takes_away: self.takes_away,
        }
    }

    /// Opens it.
    pub fn release(self, _gone: Gone) -> T {
        self.value
    }
}
