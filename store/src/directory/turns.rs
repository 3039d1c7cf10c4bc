//! Turns at a group: of several writes that change one group each is planned after the one before has committed, so
//! that no plan is made in vain and none has to be made in the writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_policy::{DirectoryId, OrgId, ResourceId};
use tokio::sync::OwnedMutexGuard;

type TurnKey = (OrgId, DirectoryId, ResourceId);

/// The groups that are being changed.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<TurnKey, Arc<tokio::sync::Mutex<()>>>>);

/// A turn; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct TurnGuard<'a> {
    turns: &'a Turns,
    key: TurnKey,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn at a group, in the order of asking.
    pub(crate) async fn take_turn(&self, key: TurnKey) -> TurnGuard<'_> {
        let turn = self.table().entry(key.clone()).or_default().clone();
        // Made first: whoever stops waiting leaves no entry behind.
        let mut held = TurnGuard { turns: self, key, guard: None };
        held.guard = Some(turn.lock_owned().await);
        held
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<TurnKey, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut table = self.turns.table();
        // Whoever waits or has the turn holds it too.
        if table.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            table.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_a_group_and_nothing_is_left() {
        let turns = Turns::default();
        let key = |id: &str| (OrgId::ONLY, DirectoryId::ONLY, ResourceId::new(id));
        let first = turns.take_turn(key("a")).await;
        let _other = turns.take_turn(key("b")).await;
        let mut second = Box::pin(turns.take_turn(key("a")));
        let mut gone = Box::pin(turns.take_turn(key("a")));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        let second = second.await;
        assert_eq!(turns.table().len(), 2);
        drop(second);
        assert_eq!(turns.table().len(), 1);
    }
}
