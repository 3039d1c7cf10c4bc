//! Lines of the log that anybody can cause: so many a minute, so that a flood buries nothing and fills no disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// A limit on the lines that anybody can cause: so many lines a minute, and the next one counts the others.
pub(crate) struct StrangerLines {
    most: u32,
    state: Mutex<LineCount>,
}

/// The beginning of the minute, the number of its lines, and the number of lines since the last that were not told.
#[derive(Default)]
struct LineCount {
    since: Option<Instant>,
    lines: u32,
    untold: u64,
}

impl StrangerLines {
    /// At most so many lines a minute.
    pub(crate) fn at_most(most: u32) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// Counts a line and gives how many were not told of since the last; `None` where this one is not to be told of
    /// either.
    pub(crate) fn count_line(&self, now: Instant) -> Option<u64> {
        let mut told = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| now.saturating_duration_since(since) >= MINUTE) {
            (told.since, told.lines) = (Some(now), 0);
        }
        if told.lines == self.most {
            told.untold += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_minute_that_count_the_rest() {
        let strangers = StrangerLines::at_most(1);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(strangers.count_line(at(0)), Some(0));
        for second in 1..60 {
            assert_eq!(strangers.count_line(at(second)), None);
        }
        assert_eq!(strangers.count_line(at(60)), Some(59));
        assert_eq!(strangers.count_line(at(61)), None);
        assert_eq!(strangers.count_line(at(200)), Some(1));

        let strangers = StrangerLines::at_most(2);
        let told: Vec<_> = (0..4).map(|second| strangers.count_line(at(second))).collect();
        assert_eq!(told, [Some(0), Some(0), None, None]);
        assert_eq!(strangers.count_line(at(60)), Some(2));
    }
}
