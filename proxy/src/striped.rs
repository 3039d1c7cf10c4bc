//! What every thread writes for every request: each has a stripe of its own, so that no two cores write one cache line
//! for every request. Whoever reads adds the stripes up.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use prometheus_client::metrics::{counter, gauge};

/// The number of stripes; threads share them where there are more.
pub(crate) const STRIPES: usize = 16;

/// The stripe of this thread.
pub(crate) fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
    }
    MINE.with(Cell::get)
}

/// A value that shares no line of the cache with its neighbours. Two lines long: some processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

/// A number in stripes. What is taken away where it was added leaves no stripe below zero: then the sum of a reader that
/// is interrupted never says that nothing is there while something is.
#[derive(Debug, Default)]
pub(crate) struct Striped([Apart<AtomicI64>; STRIPES]);

impl Striped {
    /// Adds to the stripe that [`own_stripe`] named.
    pub(crate) fn add_at(&self, stripe: usize, number: i64) -> i64 {
        self.0[stripe].0.fetch_add(number, Ordering::Relaxed)
    }

    fn add(&self, number: i64) -> i64 {
        self.add_at(own_stripe(), number)
    }

    fn sum(&self) -> i64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

impl counter::Atomic<u64> for Striped {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, number: u64) -> u64 {
        self.add(number.cast_signed()).cast_unsigned()
    }

    fn get(&self) -> u64 {
        self.sum().cast_unsigned()
    }
}

impl gauge::Atomic<i64> for Striped {
    fn inc(&self) -> i64 {
        self.add(1)
    }

    fn inc_by(&self, number: i64) -> i64 {
        self.add(number)
    }

    fn dec(&self) -> i64 {
        self.add(-1)
    }

    fn dec_by(&self, number: i64) -> i64 {
        self.add(-number)
    }

    /// Of several that set at once the sum of their differences stands.
    fn set(&self, number: i64) -> i64 {
        let before = self.sum();
        self.add(number - before);
        before
    }

    fn get(&self) -> i64 {
        self.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    #[test]
    fn what_leaves_where_it_came_in_leaves_no_stripe_below_zero() {
        let gauge = Gauge::<i64, Striped>::default();
        let stripe = own_stripe();
        gauge.inner().add_at(stripe, 1);
        std::thread::scope(|scope| scope.spawn(|| gauge.inner().add_at(stripe, -1)).join().unwrap());
        assert!(gauge.inner().0.iter().all(|stripe| stripe.0.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn threads_add_up() {
        let (counter, gauge) = (Counter::<u64, Striped>::default(), Gauge::<i64, Striped>::default());
        std::thread::scope(|scope| {
            for _ in 0..STRIPES + 3 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.inc();
                        gauge.inc();
                    }
                });
            }
        });
        // Taken away elsewhere than it was added.
        std::thread::scope(|scope| scope.spawn(|| gauge.dec_by(1000)).join().unwrap());
        assert_eq!(counter.get(), 1000 * (STRIPES as u64 + 3));
        assert_eq!(gauge.get(), 1000 * (STRIPES as i64 + 2));
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }
}
