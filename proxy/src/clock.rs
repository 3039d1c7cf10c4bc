//! Clock: every time limit of a client's connection and of an exchange, in one place.
//!
//! A timer for each wait costs more than all six rooms; here a wait is a number in an atomic, and one clock a thread
//! looks at all of them ten times a second. A limit never strikes early, and a tenth of a second late at most. What is
//! struck is told by waking whoever polls it; what follows from it is decided there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_session::InFlight;
use slab::Slab;

/// Something that is waited for, with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The client: for the rest of a head, or for the next request.
    Head,
    /// The client: for the next piece of its body.
    Body,
    /// The application: for the first byte of its answer.
    Answer,
    /// The client: to take what is written to it.
    Take,
}

/// The waits of a connection, or of one stream of it; and the exchange it serves, as the register knows it.
#[derive(Debug)]
pub(crate) struct Waits {
    /// Its name in the register of exchanges in flight. An HTTP/1 connection has one for all its requests, for
    /// what ends one of them ends it.
    pub(crate) in_flight: InFlight,
    clock: Arc<Clock>,
    /// By [`Wait`]: the tick at which its time is up, 0 while it is not waited for, [`STRUCK`] once it was found due.
    due: [AtomicU64; 4],
    /// It must end although the register did not say so.
    ends: AtomicBool,
    /// It serves an exchange. A connection between two requests does not, nor does one that only carries streams.
    serves: AtomicBool,
    /// Its exchange has become a stream, which may go on for ever without a word.
    streams: AtomicBool,
    /// The tick at which something last passed, in either direction.
    moved: AtomicU64,
}

const STRUCK: u64 = u64::MAX;

impl Waits {
    /// Begins to wait, anew where it waited already.
    pub(crate) fn arm(&self, wait: Wait, limit: Duration) {
        self.due[wait as usize].store(self.clock.tick_after(limit), Ordering::Relaxed);
    }

    /// Begins to wait, unless it waits already.
    pub(crate) fn keep_armed(&self, wait: Wait, limit: Duration) {
        let due = &self.due[wait as usize];
        if due.load(Ordering::Relaxed) == 0 {
            due.store(self.clock.tick_after(limit), Ordering::Relaxed);
        }
    }

    /// Waits no more.
    pub(crate) fn disarm(&self, wait: Wait) {
        let due = &self.due[wait as usize];
        if due.load(Ordering::Relaxed) != 0 {
            due.store(0, Ordering::Relaxed);
        }
    }

    /// Tells whether it is waited for.
    pub(crate) fn is_armed(&self, wait: Wait) -> bool {
        self.due[wait as usize].load(Ordering::Relaxed) != 0
    }

    /// Tells whether its time is up.
    pub(crate) fn has_struck(&self, wait: Wait) -> bool {
        self.due[wait as usize].load(Ordering::Acquire) == STRUCK
    }

    /// Notes that an exchange begins.
    pub(crate) fn begin_exchange(&self) {
        self.serves.store(true, Ordering::Relaxed);
        self.streams.store(false, Ordering::Relaxed);
    }

    /// Notes that its exchange is over.
    pub(crate) fn end_exchange(&self) {
        self.serves.store(false, Ordering::Relaxed);
    }

    /// Notes that something passed, in either direction.
    pub(crate) fn note_progress(&self) {
        self.moved.store(self.clock.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Notes that its exchange is a stream from here on: an upgrade, or an answer that has no end of its own.
    pub(crate) fn become_stream(&self) {
        self.note_progress();
        self.streams.store(true, Ordering::Relaxed);
    }

    /// Tells whether it would hold up an end of the program for nothing: a stream on which nothing has passed since
    /// `tick`, or a connection between two requests.
    fn is_silent_since(&self, tick: u64) -> bool {
        !self.serves.load(Ordering::Relaxed)
            || self.streams.load(Ordering::Relaxed) && self.moved.load(Ordering::Relaxed) < tick
    }

    /// Ends it from inside: whoever polls it drops what it polls.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.in_flight.nudge();
    }

    /// Tells whether it was ended from inside.
    pub(crate) fn is_ended(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Tells whether its thread takes no new connections any more, and this one ends as soon as it is idle.
    pub(crate) fn is_leaving(&self) -> bool {
        self.clock.parting.load(Ordering::Relaxed) == LEAVES
    }

    /// Tells whether its thread takes no new connections any more: whatever is answered on this one is its last answer.
    pub(crate) fn is_last(&self) -> bool {
        self.clock.parting.load(Ordering::Relaxed) != STAYS
    }

    /// Strikes what is due. What stopped to be waited for meanwhile is not.
    fn strike_due(&self, now: u64) {
        let strike = |due: &AtomicU64| {
            let at = due.load(Ordering::Relaxed);
            at != 0
                && at <= now
                && due.compare_exchange(at, STRUCK, Ordering::Release, Ordering::Relaxed).is_ok()
        };
        // Each of them, not the first alone.
        if self.due.iter().filter(|due| strike(due)).count() > 0 {
            self.in_flight.nudge();
        }
    }
}

/// Counts ticks, and knows everything on its thread that waits.
#[derive(Debug)]
pub(crate) struct Clock {
    now: AtomicU64,
    entered: Mutex<Slab<Arc<Waits>>>,
    /// One of the three below.
    parting: AtomicU8,
}

/// Connections are taken, and stay.
const STAYS: u8 = 0;
/// Another process takes them: one that is here is still served, and closed by its last answer.
const YIELDS: u8 = 1;
/// None are taken: one that is here ends once it is idle.
const LEAVES: u8 = 2;

/// The time between two looks of the clock.
const TICK: Duration = Duration::from_millis(100);

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        let (now, parting) = (AtomicU64::new(1), AtomicU8::new(STAYS));
        Arc::new(Self { now, entered: Mutex::default(), parting })
    }

    /// Runs the clock, and `every_second` once a second; dropping the future stops it.
    pub(crate) async fn run(self: Arc<Self>, mut every_second: impl FnMut()) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            if self.tick().is_multiple_of(10) {
                every_second();
            }
        }
    }

    fn tick(&self) -> u64 {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        for (_, waits) in &*self.entered.lock() {
            waits.strike_due(now);
        }
        now
    }

    /// Tells whether all that is left is streams on which nothing has passed for `silence`.
    pub(crate) fn only_silence(&self, silence: Duration) -> bool {
        let ticks = u64::try_from(silence.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX);
        let since = self.now.load(Ordering::Relaxed).saturating_sub(ticks);
        self.entered.lock().iter().all(|(_, waits)| waits.is_silent_since(since))
    }

    /// The tick that is surely not before `limit` has passed.
    fn tick_after(&self, limit: Duration) -> u64 {
        let ticks = limit.as_millis().div_ceil(TICK.as_millis());
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        self.now.load(Ordering::Relaxed).saturating_add(ticks).saturating_add(1).min(STRUCK - 1)
    }

    /// Begins to look after something that may wait; the other half of what it gives ends that when it is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        let waits = Arc::new(Waits {
            in_flight: InFlight::new(),
            clock: self.clone(),
            due: Default::default(),
            ends: AtomicBool::new(false),
            serves: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            moved: AtomicU64::new(self.now.load(Ordering::Relaxed)),
        });
        let key = self.entered.lock().insert(waits.clone());
        Entered { waits, key }
    }

    /// Waits until connections are to end once they are idle, for what nobody looks after yet; a tenth of a second late at
    /// most.
    pub(crate) async fn wait_leaving(&self) {
        while self.parting_word() != LEAVES {
            tokio::time::sleep(TICK).await;
        }
    }

    fn parting_word(&self) -> u8 {
        self.parting.load(Ordering::Relaxed)
    }

    /// Tells every connection that its next answer is the last.
    pub(crate) fn yield_place(&self) {
        self.part_with(YIELDS);
    }

    /// Tells every connection that it is to end once it is idle.
    pub(crate) fn drain(&self) {
        self.part_with(LEAVES);
    }

    fn part_with(&self, parting: u8) {
        self.parting.store(parting, Ordering::Relaxed);
        for (_, waits) in &*self.entered.lock() {
            waits.in_flight.nudge();
        }
    }
}

/// Something the clock looks after, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) waits: Arc<Waits>,
    key: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let gone = self.waits.clock.entered.lock().try_remove(self.key);
        drop(gone); // not under the lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_strikes_early() {
        let clock = Clock::new();
        let entered = clock.enter();
        entered.waits.arm(Wait::Head, TICK * 3);
        for _ in 0..3 {
            clock.tick();
            assert!(!entered.waits.has_struck(Wait::Head));
        }
        clock.tick();
        assert!(entered.waits.has_struck(Wait::Head) && !entered.waits.has_struck(Wait::Body));
    }

    #[test]
    fn what_is_no_longer_waited_for_is_never_late() {
        let clock = Clock::new();
        let (begun, never) = (clock.enter(), clock.enter());
        begun.waits.arm(Wait::Answer, TICK);
        begun.waits.disarm(Wait::Answer);
        for _ in 0..10 {
            clock.tick();
        }
        assert!(!begun.waits.has_struck(Wait::Answer) && !never.waits.has_struck(Wait::Take));
    }

    #[test]
    fn what_comes_in_pieces_gives_time_and_what_is_kept_armed_does_not() {
        let clock = Clock::new();
        let entered = clock.enter();
        entered.waits.keep_armed(Wait::Take, TICK * 8);
        for _ in 0..8 {
            entered.waits.arm(Wait::Body, TICK * 2);
            entered.waits.keep_armed(Wait::Take, TICK * 8);
            clock.tick();
        }
        assert!(!entered.waits.has_struck(Wait::Body) && !entered.waits.has_struck(Wait::Take));
        for _ in 0..3 {
            clock.tick();
        }
        assert!(entered.waits.has_struck(Wait::Body) && entered.waits.has_struck(Wait::Take));
    }

    #[test]
    fn two_limits_at_once_both_strike() {
        let clock = Clock::new();
        let entered = clock.enter();
        entered.waits.arm(Wait::Body, TICK);
        entered.waits.arm(Wait::Answer, TICK);
        for _ in 0..3 {
            clock.tick();
        }
        assert!(entered.waits.has_struck(Wait::Body) && entered.waits.has_struck(Wait::Answer));
    }

    #[test]
    fn silence_is_of_streams_alone_and_takes_its_time() {
        let (clock, silence) = (Clock::new(), TICK * 2);
        assert!(clock.only_silence(silence));
        let (stream, waiting) = (clock.enter(), clock.enter());
        stream.waits.begin_exchange();
        stream.waits.become_stream();
        let tick = |times| (0..times).for_each(|_| assert!(clock.tick() > 0));
        tick(2);
        assert!(!clock.only_silence(silence), "not yet, and a moment may be cut short by no tick");
        tick(1);
        assert!(clock.only_silence(silence), "a connection between two requests is nothing");
        stream.waits.note_progress();
        assert!(!clock.only_silence(silence));
        tick(3);
        assert!(clock.only_silence(silence));
        // An answer that the application is still thinking about is not silence.
        waiting.waits.begin_exchange();
        tick(99);
        assert!(!clock.only_silence(silence));
        waiting.waits.end_exchange();
        assert!(clock.only_silence(silence));
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let clock = Clock::new();
        drop(clock.enter());
        assert!(clock.entered.lock().is_empty());
    }
}
