//! Ways back that fit no cookie, kept at our side until their login is over.
//!
//! In memory only: a restart, or a flood that pushes one out, costs the query of a way back and nothing else, because
//! the reference to it carries the path. Bounded in bytes and number; the oldest goes first. A reference is 128 random
//! bits and gives nothing but an address of the app.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use portcullis_keys::Random;
use portcullis_policy::Timestamp;

/// All of them together, in bytes and in number.
const MOST_BYTES: usize = 16 * 1024 * 1024;
const MOST: usize = 4096;
/// The time that one is kept after it was last asked for, in milliseconds.
const KEPT_MS: i64 = 30 * 60 * 1000;

/// The ways back that are kept here.
#[derive(Default)]
pub(super) struct Ways(Mutex<WayTable>);

#[derive(Default)]
struct WayTable {
    ways: HashMap<String, (String, Timestamp)>,
    /// The oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

impl Ways {
    /// Keeps a way back; the number that leads to it, 32 hex digits.
    pub(super) fn keep_way(&self, way: &str, random: &mut Random, now: Timestamp) -> String {
        let number: String = random.draw_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut kept = self.0.lock();
        while let Some(oldest) = kept.order.front().cloned() {
            let is_full = kept.bytes + way.len() > MOST_BYTES || kept.order.len() >= MOST;
            let is_over = kept.ways.get(&oldest).is_none_or(|(_, at)| now.since_ms(*at) >= KEPT_MS);
            if !(is_full || is_over) {
                break;
            }
            kept.order.pop_front();
            if let Some((gone, _)) = kept.ways.remove(&oldest) {
                kept.bytes -= gone.len();
            }
        }
        kept.bytes += way.len();
        kept.order.push_back(number.clone());
        kept.ways.insert(number.clone(), (way.to_owned(), now));
        number
    }

    /// The way back of a number, unless it is over or was pushed out.
    pub(super) fn find_way(&self, number: &str, now: Timestamp) -> Option<String> {
        let kept = self.0.lock();
        kept.ways.get(number).filter(|(_, at)| now.since_ms(*at) < KEPT_MS).map(|(way, _)| way.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_900_000_000_000);

    #[test]
    fn a_way_back_is_found_until_it_is_over() {
        let (ways, mut random) = (Ways::default(), Random::from_seed(1));
        let number = ways.keep_way("/a?b", &mut random, NOW);
        assert_eq!(number.len(), 32);
        assert_eq!(ways.find_way(&number, NOW.plus_ms(KEPT_MS - 1)).as_deref(), Some("/a?b"));
        assert_eq!(ways.find_way(&number, NOW.plus_ms(KEPT_MS)), None);
        assert_eq!(ways.find_way("0", NOW), None);
    }

    #[test]
    fn a_flood_pushes_the_oldest_out_and_is_bounded() {
        let (ways, mut random) = (Ways::default(), Random::from_seed(1));
        let long = "/".repeat(16 * 1024);
        let first = ways.keep_way(&long, &mut random, NOW);
        let last = (0..2000).map(|_| ways.keep_way(&long, &mut random, NOW)).last().unwrap();
        assert!(ways.find_way(&first, NOW).is_none() && ways.find_way(&last, NOW).is_some());
        let bytes = |ways: &Ways| {
            let kept = ways.0.lock();
            assert_eq!(kept.ways.values().map(|(way, _)| way.len()).sum::<usize>(), kept.bytes);
            assert_eq!(kept.ways.len(), kept.order.len());
            kept.bytes
        };
        assert!(bytes(&ways) <= MOST_BYTES);
        for _ in 0..2 * MOST {
            ways.keep_way("/", &mut random, NOW);
        }
        assert!(ways.0.lock().order.len() <= MOST);
        // What is over makes room by itself.
        ways.keep_way("/x", &mut random, NOW.plus_ms(KEPT_MS));
        assert_eq!(bytes(&ways), 2);
    }
}
