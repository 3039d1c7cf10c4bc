//! The rate of a SCIM client: so many requests a second in the long run, so many at once.
//!
//! The rule it protects: a removal never waits behind other requests. So what takes access away has an allowance of its
//! own, ten times as large. It refuses to keep anything of strangers: only a token that is known has an allowance.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The rate that one token may keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScimRateLimit {
    /// Requests a second, 1 or more.
    pub(crate) per_second: u32,
    /// Requests at once, 1 or more.
    pub(crate) burst: u32,
}

/// The allowance that a request is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateClass {
    /// Writes that take access away.
    Removal,
    /// All others.
    Ordinary,
}

/// The factor by which more removals may come.
const REMOVALS: u32 = 10;

/// The requests of each token.
#[derive(Default)]
pub(crate) struct ScimRates {
    /// By the hash of a token: the time at which all that came would have been due, of removals and of the rest (GCRA).
    due: Mutex<HashMap<[u8; 32], [Option<Instant>; 2]>>,
}

/// Tokens above this number are looked through for those that have been still.
const MANY: usize = 256;

impl ScimRates {
    /// Counts a request.
    ///
    /// # Errors
    /// The whole seconds after which it may come again, 1 or more: it is not counted.
    pub(crate) fn count_request(
        &self,
        token: [u8; 32],
        counted: RateClass,
        limit: ScimRateLimit,
        now: Instant,
    ) -> Result<(), u32> {
        let (slot, factor) = match counted {
            RateClass::Removal => (1, REMOVALS),
            RateClass::Ordinary => (0, 1),
        };
        let each = Duration::from_secs(1) / limit.per_second.saturating_mul(factor).max(1);
        let ahead = each.saturating_mul(limit.burst.saturating_mul(factor).saturating_sub(1));
        let mut all = self.due.lock();
        if all.len() > MANY {
            all.retain(|_, due| due.iter().flatten().any(|due| *due > now));
        }
        let due = &mut all.entry(token).or_default()[slot];
        let next = due.map_or(now, |due| due.max(now));
        let early = next.saturating_duration_since(now).saturating_sub(ahead);
        if !early.is_zero() {
            let seconds = early.as_secs() + u64::from(early.subsec_nanos() > 0);
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        *due = Some(next + each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ScimRateLimit = ScimRateLimit { per_second: 2, burst: 4 };

    #[test]
    fn a_burst_is_taken_and_then_so_many_a_second() {
        let (rates, start) = (ScimRates::default(), Instant::now());
        let at =
            |ms| rates.count_request([1; 32], RateClass::Ordinary, LIMIT, start + Duration::from_millis(ms));
        for _ in 0..4 {
            assert_eq!(at(0), Ok(()));
        }
        assert_eq!((at(0), at(499)), (Err(1), Err(1)), "and a refusal costs nothing");
        assert_eq!((at(500), at(500), at(1000)), (Ok(()), Err(1), Ok(())));
        for _ in 0..4 {
            assert_eq!(at(60_000), Ok(()), "no more than a burst is saved up");
        }
        assert_eq!(at(60_000), Err(1));
        assert_eq!(
            at(0),
            Err(61),
            "whole seconds, rounded up, also where the clock of another thread is behind"
        );
    }

    #[test]
    fn a_flood_of_reads_delays_no_removal_and_no_other_token() {
        let (rates, now) = (ScimRates::default(), Instant::now());
        let count = |token, counted| rates.count_request([token; 32], counted, LIMIT, now);
        while count(1, RateClass::Ordinary).is_ok() {}
        for _ in 0..40 {
            assert_eq!(count(1, RateClass::Removal), Ok(()));
        }
        assert_eq!(count(1, RateClass::Removal), Err(1), "ten times as many, and not endless");
        assert_eq!(count(2, RateClass::Ordinary), Ok(()));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (rates, start) = (ScimRates::default(), Instant::now());
        for number in 0..2000_u32 {
            let mut token = [0; 32];
            token[..4].copy_from_slice(&number.to_be_bytes());
            let now = start + Duration::from_secs(number.into());
            assert_eq!(rates.count_request(token, RateClass::Ordinary, LIMIT, now), Ok(()));
        }
        assert!(rates.due.lock().len() <= MANY + 1);
    }
}
