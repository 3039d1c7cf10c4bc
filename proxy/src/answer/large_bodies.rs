//! Turns at bodies for pages of ours that are larger than most: so many at once, and a few for one client.
//!
//! A turn lasts until the page has answered, for the body lies in memory so long.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The most of them: together 25 MiB.
const ALL: usize = 32;
/// The most of one client.
const A_CLIENT: usize = 3;
/// Clients share this many turnstiles; which two share one nobody outside can know.
const TURNSTILES: usize = 256;
/// The time that one waits for a turn.
const WAIT: Duration = Duration::from_secs(5);

/// The turns.
pub(crate) struct LargeBodies {
    all: Semaphore,
    clients: Vec<Semaphore>,
    hash: RandomState,
}

/// A turn; given back when it is dropped.
pub(super) struct LargeBodyTurn<'a> {
    _client: SemaphorePermit<'a>,
    _all: SemaphorePermit<'a>,
}

impl LargeBodies {
    pub(crate) fn new() -> Self {
        Self {
            all: Semaphore::new(ALL),
            clients: std::iter::repeat_with(|| Semaphore::new(A_CLIENT)).take(TURNSTILES).collect(),
            hash: RandomState::new(),
        }
    }

    /// Waits for a turn, five seconds at most.
    pub(super) async fn take_turn(&self, client: IpAddr) -> Option<LargeBodyTurn<'_>> {
        // Whoever has an address of IPv6 has a whole network of them (RFC 6177).
        let network = match client.to_canonical() {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address) >> 64 << 64,
        };
        let turnstile = &self.clients[self.hash.hash_one(network) as usize % TURNSTILES];
        let turn = async {
            let _client = turnstile.acquire().await.ok()?;
            let _all = self.all.acquire().await.ok()?;
            Some(LargeBodyTurn { _client, _all })
        };
        tokio::time::timeout(WAIT, turn).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_turns_to_others() {
        let bodies = LargeBodies::new();
        let client = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut turns = Vec::new();
        while let Some(turn) = bodies.take_turn(client(1)).await {
            turns.push(turn);
        }
        assert_eq!(turns.len(), A_CLIENT);
        // Somebody at another turnstile: of many clients nearly all are.
        let mut served = 0;
        for last in 2..12 {
            let turn = bodies.take_turn(client(last)).await;
            served += usize::from(turn.is_some());
        }
        assert!(served >= 9, "{served}");
        turns.pop();
        assert!(bodies.take_turn(client(1)).await.is_some(), "a turn was given back");
    }
}
