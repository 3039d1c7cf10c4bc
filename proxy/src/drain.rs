//! How a server goes: what it still carries once it takes nothing new, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::gate::Gate;

/// A stream on which nothing has passed for so long holds up no end of the program (docs/operating.md).
const SILENCE: Duration = Duration::from_secs(2);
/// The time between two looks of a drain whether it is done.
const LOOK: Duration = Duration::from_millis(20);
/// The longest time for dropping the rest.
pub(crate) const LAST: Duration = Duration::from_secs(2);

/// The way in which a server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It does not.
    Stay,
    /// Another process serves its sockets: it takes no more connections, and those it has may stay so long.
    Yield(Duration),
    /// It takes no more connections, and what is in flight may take so long.
    Leave(Duration),
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Streams that were ended because nothing else was left, and nothing passed on them.
    pub silent: usize,
    /// Exchanges that were still in flight when the time was up, and were broken off.
    pub left: usize,
}

/// What a server still has that takes nothing new.
pub(crate) struct WhatIsLeft<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) clocks: &'a [Arc<Clock>],
    pub(crate) sockets: &'a AtomicUsize,
}

impl WhatIsLeft<'_> {
    /// The number of exchanges.
    pub(crate) fn live(&self) -> usize {
        usize::try_from(self.gate.recorder.metrics.live.get()).unwrap_or_default()
    }

    /// Waits as long as it is told.
    pub(crate) async fn wait_drained(&self, mut parting: watch::Receiver<Parting>) -> Drained {
        let told = *parting.borrow_and_update();
        let limit = match told {
            Parting::Stay => Duration::ZERO,
            Parting::Leave(limit) => limit,
            Parting::Yield(limit) => {
                tokio::select! {
                    () = self.wait_closed() => return Drained { silent: 0, left: 0 },
                    () = tokio::time::sleep(limit) => return Drained { silent: 0, left: self.live() },
                    told = parting.wait_for(|parting| !matches!(parting, Parting::Yield(_))) => match told.as_deref() {
                        Ok(Parting::Leave(limit)) => *limit,
                        _ => Duration::ZERO,
                    },
                }
            }
        };
        tokio::select! {
            silent = self.wait_silent() => Drained { silent, left: 0 },
            () = tokio::time::sleep(limit) => Drained { silent: 0, left: self.live() },
        }
    }

    /// Waits until every socket is closed.
    async fn wait_closed(&self) {
        while self.sockets.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until nothing is left but streams on which nothing passes, and gives how many those are.
    async fn wait_silent(&self) -> usize {
        let is_silent = || self.clocks.iter().all(|clock| clock.only_silence(SILENCE));
        while self.live() > 0 && !is_silent() {
            tokio::time::sleep(LOOK).await;
        }
        if self.live() == 0 {
            // HTTP/2 writes the last bytes of an answer after its exchange has ended.
            let _ = tokio::time::timeout(LAST, self.wait_closed()).await;
        }
        self.live()
    }
}
