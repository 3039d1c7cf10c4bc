//! The way from an operator who asks for an upgrade to the program that carries it out, and what became of the last one.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::operator::Operator;
use crate::order_error::OrderError;

/// What became of the last upgrade that was asked of a process. Of one that succeeded the next process tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UpgradeState {
    /// None was asked.
    #[default]
    None,
    /// The next process is on its way.
    UnderWay,
    /// It did not come to serve.
    Failed { error: String },
}

/// The upgrades of a process that serves.
#[derive(Debug)]
pub(crate) struct Upgrades {
    ask: mpsc::Sender<()>,
    state: Mutex<UpgradeState>,
}

impl Upgrades {
    /// The other half hears what is asked. A process that takes over is one that is on its way, until it has.
    pub(crate) fn new(is_succession: bool) -> (Self, mpsc::Receiver<()>) {
        let (ask, asked) = mpsc::channel(1);
        let state = if is_succession { UpgradeState::UnderWay } else { UpgradeState::None };
        (Self { ask, state: Mutex::new(state) }, asked)
    }

    /// Notes that this process has taken over.
    pub(crate) fn note_taken(&self) {
        *self.state.lock() = UpgradeState::None;
    }

    /// What became of the last one.
    pub(crate) fn state(&self) -> UpgradeState {
        self.state.lock().clone()
    }

    /// Notes that it is over, and why.
    pub(crate) fn note_failure(&self, error: String) {
        *self.state.lock() = UpgradeState::Failed { error };
    }
}

/// The answer to the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpgradeBegun {
    /// The process that is to be replaced.
    pub(crate) pid: u32,
}

impl Operator {
    /// Begins to have the next process take the place of this one; [`UpgradeState`] tells what becomes of it.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where one is under way.
    pub(crate) fn begin_upgrade(&self) -> Result<UpgradeBegun, OrderError> {
        let refused = |why: &str| OrderError::Refused(why.to_owned());
        let upgrades = self.upgrades.as_ref().ok_or_else(|| refused("this process serves nobody"))?;
        let mut state = upgrades.state.lock();
        if *state == UpgradeState::UnderWay {
            return Err(refused("an upgrade is under way"));
        }
        upgrades.ask.try_send(()).map_err(|_| refused("the program is leaving"))?;
        *state = UpgradeState::UnderWay;
        Ok(UpgradeBegun { pid: std::process::id() })
    }
}
