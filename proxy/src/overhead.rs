//! Overhead: the frames of HTTP/2 that carry nothing, and how many of them a client may send.
//!
//! A PING, a SETTINGS, a reset or a window update costs its sender nothing. The library bounds what it keeps of them,
//! and not how often they come; so the nine bytes in front of each frame are looked at as they pass. What carries
//! heads and bodies is bounded elsewhere, and nothing here is read twice or held back.

use std::time::{Duration, Instant};

/// The part of a frame that is read (RFC 9113 §4.1), and what stands in front of the first one (§3.4).
const HEAD: usize = 9;
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, and the flag of the last one of a body.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// A frame that carries nothing is worth so much time: that many may come in a second, and ten seconds' worth at once.
const WORTH: Duration = Duration::from_millis(10);
const AT_ONCE: Duration = Duration::from_secs(10);
/// So many more may come for each piece of an answer that the client was given: it says that it took it, some clients
/// twice for each 4 KiB. They may come late, so what was earned is kept; it was paid for with a piece each time.
const FOR_A_PIECE: usize = 16;
const MOST_KEPT: usize = 1 << 20;

/// The frames that have come on one connection.
#[derive(Debug)]
pub(crate) struct Overhead {
    /// The part of a frame's head that is there.
    head: [u8; HEAD],
    have: usize,
    /// The bytes of the preface, or of a frame behind its head, that are still to come.
    rest: usize,
    /// The time at which what has come is paid for.
    paid: Instant,
    /// The frames that were earned and have not come yet.
    earned: usize,
}

impl Overhead {
    /// Of a connection of which so many bytes have been read already, all of them of the preface.
    pub(crate) fn new(read: usize, now: Instant) -> Self {
        Self { head: [0; HEAD], have: 0, rest: PREFACE.len().saturating_sub(read), paid: now, earned: 0 }
    }

    /// Reads on; says how many frames have begun that carry nothing.
    pub(crate) fn count_frames(&mut self, mut bytes: &[u8]) -> u32 {
        let mut empty = 0;
        loop {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return empty;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                empty += u32::from(!carries_something(kind, flags, self.rest));
            }
        }
    }

    /// Tells whether so many frames more may have come, `pieces` of answers having been given meanwhile.
    pub(crate) fn may_come(&mut self, frames: u32, pieces: usize, now: Instant) -> bool {
        self.earned = self.earned.saturating_add(pieces.saturating_mul(FOR_A_PIECE)).min(MOST_KEPT);
        let by_piece = u32::try_from(self.earned).unwrap_or(u32::MAX).min(frames);
        self.earned -= by_piece as usize;
        self.paid = self.paid.max(now) + WORTH * (frames - by_piece);
        self.paid - now <= AT_ONCE
    }
}

/// Tells whether a frame has a head, a part of one, or a part of a body, or its end.
fn carries_something(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => length > 0 || flags & END_STREAM != 0,
        HEADERS | CONTINUATION => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let long = u32::try_from(length).unwrap().to_be_bytes();
        [&long[1..], &[kind, flags, 0, 0, 0, 1], &vec![0; length]].concat()
    }

    #[test]
    fn a_thousand_at_once_and_a_hundred_a_second_may_come() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut overhead = Overhead::new(0, begin);
        assert!(overhead.may_come(1000, 0, begin));
        assert!(!overhead.may_come(1, 0, begin));
        let mut overhead = Overhead::new(0, begin);
        assert!(overhead.may_come(1000, 0, begin));
        for second in 1..100 {
            assert!(overhead.may_come(100, 0, after(second * 1000)), "{second}");
        }
        assert!(!overhead.may_come(2, 0, after(99_001)));
    }

    #[test]
    fn whoever_is_given_something_may_say_that_they_took_it() {
        let begin = Instant::now();
        let mut overhead = Overhead::new(0, begin);
        for _ in 0..10_000 {
            assert!(overhead.may_come(16, 1, begin));
        }
        // Late, and all together: 8 MiB that were read later, each 4 KiB of it told twice.
        assert!(overhead.may_come(0, 512, begin));
        assert!(overhead.may_come(8192, 0, begin));
        assert!(overhead.may_come(1000, 0, begin));
        assert!(!overhead.may_come(1, 0, begin));
    }

    #[test]
    fn what_is_kept_for_later_has_a_bound() {
        let begin = Instant::now();
        let mut overhead = Overhead::new(0, begin);
        assert!(overhead.may_come(0, usize::MAX, begin));
        assert!(overhead.may_come(u32::try_from(MOST_KEPT).unwrap() + 1000, 0, begin));
        assert!(!overhead.may_come(1, 0, begin));
    }

    proptest! {
        /// However the bytes are cut: each frame is counted once, as what it is.
        #[test]
        fn pieces_change_nothing(
            frames in prop::collection::vec((0..12u8, any::<u8>(), 0..40usize), 0..20),
            mut cuts in prop::collection::vec(0..600usize, 0..10),
            read in 0..PREFACE.len() + 1,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)).collect();
            let bytes = [&PREFACE[read..], &bytes].concat();
            let expected = frames.iter().filter(|(kind, flags, length)| match kind {
                0 => *length == 0 && flags % 2 == 0,
                1 | 9 => false,
                _ => true,
            });
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let (mut overhead, mut at, mut counted) = (Overhead::new(read, Instant::now()), 0, 0);
            for cut in cuts {
                let cut = cut.min(bytes.len());
                counted += overhead.count_frames(&bytes[at..cut]);
                at = cut;
            }
            prop_assert_eq!(counted as usize, expected.count());
        }
    }
}
