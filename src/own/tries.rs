//! How often strangers can make us ask the IdP for tokens: each such request carries our client secret, and one cookie
//! of a login under way would otherwise buy any number of them.
//!
//! A few tries a login, so many a minute and client address, so many at once. Nothing is stored, and every table is
//! bounded: where one is full, the bounds that need none still hold.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_policy::Timestamp;
use portcullis_sso::FLOW_MS;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The times that the answer to one login may be taken to the IdP: a person who reloads a page that failed needs a
/// second.
const A_LOGIN: u32 = 3;
/// The answers that a client address may bring a minute. A whole office may come from one address.
const A_MINUTE: u32 = 240;
const MINUTE_MS: i64 = 60_000;
/// The most token requests that are under way at once, in all.
const AT_ONCE: usize = 64;
/// The same, for one client address.
const AT_ONCE_CLIENT: usize = 16;
/// The time that one waits for a turn.
const WAIT: Duration = Duration::from_secs(5);
/// The most rows of a table.
const ROWS: usize = 20_000;
/// Client addresses share this many turnstiles; which two share one nobody outside can know.
const TURNSTILES: usize = 256;

/// Reasons why the IdP is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    /// The answer to this login was brought too often.
    Login,
    /// Too many come from this client address, or at once.
    Busy,
}

/// A turn at the token endpoint; given back when it is dropped.
#[derive(Debug)]
pub(super) struct TokenTurn {
    _client: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Counts, and the moment each began.
type Rows<K> = HashMap<K, (u32, Timestamp)>;

/// The tries of the last minutes.
pub(super) struct Tries {
    logins: Mutex<Rows<[u8; 32]>>,
    clients: Mutex<Rows<u64>>,
    all: Arc<Semaphore>,
    turnstiles: Vec<Arc<Semaphore>>,
    hash: RandomState,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            logins: Mutex::default(),
            clients: Mutex::default(),
            all: Arc::new(Semaphore::new(AT_ONCE)),
            turnstiles: std::iter::repeat_with(|| Arc::new(Semaphore::new(AT_ONCE_CLIENT)))
                .take(TURNSTILES)
                .collect(),
            hash: RandomState::new(),
        }
    }
}

impl Tries {
    /// Waits for a turn to take the answer to a login to the IdP.
    ///
    /// # Errors
    /// [`Enough`], where it was tried too often or nobody's turn ends within five seconds.
    pub(super) async fn take_turn(
        &self,
        login: [u8; 32],
        client: IpAddr,
        now: Timestamp,
    ) -> Result<TokenTurn, Enough> {
        let client = self.hash.hash_one(client_network(client));
        if !count_try(&self.logins, login, A_LOGIN, FLOW_MS, now) {
            return Err(Enough::Login);
        }
        if !count_try(&self.clients, client, A_MINUTE, MINUTE_MS, now) {
            return Err(Enough::Busy);
        }
        let turnstile = self.turnstiles[client as usize % TURNSTILES].clone();
        let turn = async {
            let _client = turnstile.acquire_owned().await.ok()?;
            let _all = self.all.clone().acquire_owned().await.ok()?;
            Some(TokenTurn { _client, _all })
        };
        tokio::time::timeout(WAIT, turn).await.ok().flatten().ok_or(Enough::Busy)
    }

    /// The login has brought somebody in: its answer is worth nothing any more, and nobody is asked about it.
    pub(super) fn spend_login(&self, login: [u8; 32], now: Timestamp) {
        self.logins.lock().insert(login, (A_LOGIN, now));
    }
}

/// Counts one more; false where there were `most` within `ms`.
fn count_try<K: Hash + Eq>(rows: &Mutex<Rows<K>>, key: K, most: u32, ms: i64, now: Timestamp) -> bool {
    let is_recent = |since: Timestamp| now.since_ms(since).unsigned_abs() < ms.unsigned_abs();
    let mut rows = rows.lock();
    if rows.len() >= ROWS && !rows.contains_key(&key) {
        rows.retain(|_, (_, since)| is_recent(*since));
        if rows.len() >= ROWS {
            rows.clear();
        }
    }
    let (count, since) = rows.entry(key).or_insert((0, now));
    if !is_recent(*since) {
        (*count, *since) = (0, now);
    }
    let is_one_of_them = *count < most;
    *count += u32::from(is_one_of_them);
    is_one_of_them
}

/// Whoever has an address of IPv6 has a whole network of them (RFC 6177): a /64 counts as one.
fn client_network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_900_000_000_000);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn login(number: u32) -> [u8; 32] {
        let mut login = [0; 32];
        login[..4].copy_from_slice(&number.to_be_bytes());
        login
    }

    #[tokio::test]
    async fn a_login_has_a_few_tries_and_one_that_went_well_none() {
        let tries = Tries::default();
        for _ in 0..A_LOGIN {
            assert!(tries.take_turn(login(1), HERE, NOW).await.is_ok());
        }
        assert_eq!(tries.take_turn(login(1), HERE, NOW).await.err(), Some(Enough::Login));
        assert!(tries.take_turn(login(2), HERE, NOW).await.is_ok());
        tries.spend_login(login(2), NOW);
        assert_eq!(tries.take_turn(login(2), HERE, NOW).await.err(), Some(Enough::Login));
        // Nobody can present it any more by then.
        assert!(tries.take_turn(login(1), HERE, NOW.plus_ms(FLOW_MS)).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_address_has_so_many_a_minute() {
        let tries = Tries::default();
        for number in 0..A_MINUTE {
            assert!(tries.take_turn(login(number), HERE, NOW).await.is_ok(), "{number}");
        }
        assert_eq!(tries.take_turn(login(9999), HERE, NOW).await.err(), Some(Enough::Busy));
        assert!(tries.take_turn(login(9998), "192.0.2.2".parse().unwrap(), NOW).await.is_ok());
        assert!(tries.take_turn(login(9997), HERE, NOW.plus_ms(MINUTE_MS)).await.is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| client_network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_under_way_at_once() {
        let tries = Tries::default();
        let mut turns = Vec::new();
        for number in 0..AT_ONCE_CLIENT {
            turns.push(tries.take_turn(login(number as u32), HERE, NOW).await.unwrap());
        }
        assert_eq!(tries.take_turn(login(100), HERE, NOW).await.err(), Some(Enough::Busy), "after a wait");
        turns.pop();
        assert!(tries.take_turn(login(101), HERE, NOW).await.is_ok(), "a turn was given back");
    }

    #[tokio::test]
    async fn the_tables_are_bounded() {
        let tries = Tries::default();
        for number in 0..ROWS as u32 + 10 {
            let client = IpAddr::V4(std::net::Ipv4Addr::from(number));
            assert!(tries.take_turn(login(number), client, NOW).await.is_ok());
        }
        assert!(tries.logins.lock().len() <= ROWS && tries.clients.lock().len() <= ROWS);
    }
}
