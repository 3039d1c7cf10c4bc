//! How long things took, in buckets. Each thread has counts of its own, as with every figure that is written for every
//! request; whoever reads adds them up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::striped::{Apart, STRIPES, own_stripe};

/// The number of buckets, the last one for what is longer than every bound.
const BUCKETS: usize = 14;

/// A histogram of durations.
#[derive(Clone)]
pub(crate) struct Latency(Arc<Observed>);

struct Observed {
    /// The upper ends of the buckets but the last, in microseconds, rising.
    bounds: [u64; BUCKETS - 1],
    stripes: [Apart<BucketCounts>; STRIPES],
}

#[derive(Default)]
struct BucketCounts {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Latency {
    /// An empty one with these upper ends, in microseconds, rising.
    pub(crate) fn new(bounds: [u64; BUCKETS - 1]) -> Self {
        Self(Arc::new(Observed { bounds, stripes: Default::default() }))
    }

    /// Counts one.
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.0.bounds.partition_point(|bound| *bound < micros);
        let Apart(stripe) = &self.0.stripes[own_stripe()];
        stripe.counts[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The count of each bucket, and the sum of all in microseconds.
    fn figures(&self) -> ([u64; BUCKETS], u64) {
        let (mut counts, mut micros) = ([0; BUCKETS], 0_u64);
        for Apart(stripe) in &self.0.stripes {
            for (sum, count) in counts.iter_mut().zip(&stripe.counts) {
                *sum += count.load(Ordering::Relaxed);
            }
            micros = micros.wrapping_add(stripe.micros.load(Ordering::Relaxed));
        }
        (counts, micros)
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counts, _) = self.figures();
        write!(f, "Latency({})", counts.iter().sum::<u64>())
    }
}

impl EncodeMetric for Latency {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of a sum that is exact to 2^53 microseconds, 285 years"
    )]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (counts, micros) = self.figures();
        let seconds = |micros: u64| micros as f64 / 1e6;
        let ends = self.0.bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(micros), counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn threads_count_apart_and_are_added_up() {
        let latency = Latency::new(std::array::from_fn(|nth| 10 * (nth as u64 + 1)));
        let threads: Vec<_> = (0..20)
            .map(|nth: u64| {
                let latency = latency.clone();
                std::thread::spawn(move || {
                    for micros in [0, 10, 11, 130, 131, 1_000_000 * nth] {
                        latency.observe(Duration::from_micros(micros));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut registry = Registry::default();
        registry.register("took_seconds", "How long", latency);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE took_seconds histogram",
            "took_seconds_count 120",
            "took_seconds_bucket{le=\"0.00001\"} 41",
            "took_seconds_bucket{le=\"0.00002\"} 61",
            "took_seconds_bucket{le=\"0.00013\"} 81",
            "took_seconds_bucket{le=\"+Inf\"} 120",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
        assert!(text.contains("took_seconds_sum 190.00564"), "{text}");
    }
}
