//! Whose turn it is: which process answers whatever writes, or goes by what only the process that leads knows.
//!
//! While a hand-over is decided, whoever asks waits. Then they are answered here as ever, or by the other process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The process that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This one.
    Here,
    /// It is being decided.
    Moving,
    /// The one that has taken over.
    Elsewhere,
}

/// The turn of this process.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    place: watch::Sender<Place>,
    /// The number of those that are being answered.
    answering: Arc<AtomicUsize>,
}

impl Default for Turn {
    fn default() -> Self {
        Self { place: watch::Sender::new(Place::Here), answering: Arc::default() }
    }
}

/// Something that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct TurnTaken(Arc<AtomicUsize>);

impl Drop for TurnTaken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turn {
    /// Begins to answer something. `None` where the other process has to.
    pub(crate) async fn begin_answer(&self) -> Option<TurnTaken> {
        let mut place = self.place.subscribe();
        loop {
            // Counted first, so that whoever moves away sees this one, or is seen.
            self.answering.fetch_add(1, Ordering::AcqRel);
            let answering = TurnTaken(self.answering.clone());
            match *place.borrow_and_update() {
                Place::Here => return Some(answering),
                Place::Elsewhere => return None,
                Place::Moving => {}
            }
            drop(answering);
            let _ = place.changed().await; // we hold the other half
        }
    }

    /// Tells whether the other process has to answer.
    pub(crate) fn is_elsewhere(&self) -> bool {
        *self.place.borrow() == Place::Elsewhere
    }

    /// Has whoever asks wait from now on, and gives what is being answered so long.
    pub(super) async fn move_away(&self, limit: Duration) {
        self.place.send_replace(Place::Moving);
        let over = async {
            while self.answering.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(limit, over).await;
    }

    /// It is this process's after all.
    pub(super) fn stay(&self) {
        self.place.send_replace(Place::Here);
    }

    /// It is the other one's.
    pub(super) fn leave(&self) {
        self.place.send_replace(Place::Elsewhere);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_waits_until_it_is_decided() {
        let turn = Turn::default();
        let first = turn.begin_answer().await.unwrap();
        let moving = tokio::spawn({
            let turn = turn.clone();
            async move { turn.move_away(Duration::from_secs(5)).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!moving.is_finished(), "what is being answered is waited for");
        let asking = |turn: &Turn| {
            let turn = turn.clone();
            tokio::spawn(async move { turn.begin_answer().await.is_some() })
        };
        let second = asking(&turn);
        drop(first);
        moving.await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!second.is_finished());
        turn.stay();
        assert!(second.await.unwrap());
        let held = turn.begin_answer().await;
        turn.move_away(Duration::from_secs(5)).await; // and no longer than it may
        let third = asking(&turn);
        turn.leave();
        assert!(!third.await.unwrap());
        drop(held);
    }
}
