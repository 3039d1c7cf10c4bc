//! How long things took, in buckets. Each thread has counts of its own, as with every figure that is written for every
//! request; whoever reads adds them up.
//!
//! A bucket may have an exemplar (OpenMetrics 1.0): one request that was counted there, by its trace. Whoever reads asks
//! for others by it, and the next request of each bucket leaves its trace, so that nothing but a look at a flag is done
//! for all the rest.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_policy::Timestamp;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::striped::{Apart, STRIPES, own_stripe};
use crate::trace::Trace;

/// The number of buckets, the last one for what is longer than every bound.
const BUCKETS: usize = 14;

/// A histogram of durations.
#[derive(Clone)]
pub(crate) struct Latency(Arc<Observed>);

struct Observed {
    /// The upper ends of the buckets but the last, in microseconds, rising.
    bounds: [u64; BUCKETS - 1],
    stripes: [Apart<BucketCounts>; STRIPES],
    /// The buckets of which an exemplar is asked for: set by whoever reads, seldom, and taken back by the next request.
    wanted: [AtomicBool; BUCKETS],
    exemplars: Mutex<[Option<Exemplar>; BUCKETS]>,
}

/// A request that was counted in a bucket.
#[derive(Clone, Debug)]
struct Exemplar {
    trace: String,
    micros: u64,
    at: Timestamp,
}

#[derive(Default)]
struct BucketCounts {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Latency {
    /// An empty one with these upper ends, in microseconds, rising.
    pub(crate) fn new(bounds: [u64; BUCKETS - 1]) -> Self {
        Self(Arc::new(Observed {
            bounds,
            stripes: Default::default(),
            wanted: Default::default(),
            exemplars: Mutex::default(),
        }))
    }

    /// Counts one, of the request with this trace.
    pub(crate) fn observe(&self, took: Duration, trace: Option<&Trace>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.0.bounds.partition_point(|bound| *bound < micros);
        let Apart(stripe) = &self.0.stripes[own_stripe()];
        stripe.counts[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.micros.fetch_add(micros, Ordering::Relaxed);
        if self.0.wanted[bucket].load(Ordering::Relaxed)
            && let Some(trace) = trace
        {
            self.keep_exemplar(bucket, micros, trace);
        }
    }

    #[cold]
    fn keep_exemplar(&self, bucket: usize, micros: u64, trace: &Trace) {
        // Of several at once, one.
        if self.0.wanted[bucket].swap(false, Ordering::Relaxed) {
            let exemplar = Exemplar { trace: trace.id().to_owned(), micros, at: Timestamp::now() };
            self.0.exemplars.lock()[bucket] = Some(exemplar);
        }
    }

    /// The exemplars that are there, by bucket; others are asked for.
    fn take_exemplars(&self) -> [Option<Exemplar>; BUCKETS] {
        let known = self.0.exemplars.lock().clone();
        self.0.wanted.iter().for_each(|wanted| wanted.store(true, Ordering::Relaxed));
        known
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

/// The histograms whose buckets may have exemplars, by name. Cloning shares them; the default has none.
#[derive(Clone, Debug, Default)]
pub struct Exemplars(Arc<[(&'static str, Latency)]>);

impl Exemplars {
    pub(crate) fn new(histograms: impl IntoIterator<Item = (&'static str, Latency)>) -> Self {
        Self(histograms.into_iter().collect())
    }

    /// Takes those that are there and asks for others. Whoever counts afterwards counts the request of each.
    pub fn take(&self) -> TakenExemplars {
        let of_each = self.0.iter().map(|(name, latency)| (*name, latency.take_exemplars()));
        TakenExemplars(of_each.collect())
    }
}

/// The exemplars of one scrape, by histogram and bucket.
#[derive(Clone, Debug)]
pub struct TakenExemplars(Vec<(&'static str, [Option<Exemplar>; BUCKETS])>);

impl TakenExemplars {
    /// Adds them to the text of all metrics, each behind the bucket it was counted in. For OpenMetrics alone: the older text
    /// has no room for them.
    pub fn add_to(self, text: &str) -> String {
        let mut with = String::with_capacity(text.len() + 4 * 1024);
        let of_each = self.0.into_iter().map(|(name, taken)| (format!("{name}_bucket{{"), taken.into_iter()));
        let mut of_each: Vec<_> = of_each.collect();
        for line in text.lines() {
            with.push_str(line);
            // The buckets of a histogram stand in their order.
            let bucket = of_each.iter_mut().find(|(begins, _)| line.starts_with(&**begins));
            if let Some(Exemplar { trace, micros, at }) = bucket.and_then(|(_, next)| next.next()).flatten() {
                let (seconds, ms) = (at.0.div_euclid(1000), at.0.rem_euclid(1000));
                // Writing into a text cannot fail.
                let _ = write!(with, " # {{trace_id=\"{trace}\"}} {} {seconds}.{ms:03}", in_seconds(micros));
            }
            with.push('\n');
        }
        with
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of a number that is exact to 2^53 microseconds, 285 years"
)]
fn in_seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counts, _) = self.figures();
        write!(f, "Latency({})", counts.iter().sum::<u64>())
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (counts, micros) = self.figures();
        let ends = self.0.bounds.iter().map(|bound| in_seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
        encoder.encode_histogram::<NoLabelSet>(in_seconds(micros), counts.iter().sum(), &buckets, None)
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
                        latency.observe(Duration::from_micros(micros), None);
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

    #[test]
    fn a_bucket_has_the_first_request_that_came_after_somebody_asked() {
        let latency = Latency::new(std::array::from_fn(|nth| 10 * (nth as u64 + 1)));
        let mut registry = Registry::default();
        registry.register("took_seconds", "How long", latency.clone());
        registry.register("took_seconds_too", "Another", Latency::new(latency.0.bounds));
        let exemplars = Exemplars::new([("took_seconds", latency.clone())]);
        let read = || {
            let mut text = String::new();
            let taken = exemplars.take();
            encode(&mut text, &registry).unwrap();
            let with = taken.add_to(&text);
            // Nothing else of the text is touched.
            let without: Vec<&str> = with.lines().map(|line| line.split(" # {").next().unwrap()).collect();
            assert_eq!(without, text.lines().collect::<Vec<_>>());
            with.lines().filter(|line| line.contains(" # {")).map(str::to_owned).collect::<Vec<_>>()
        };
        let request = |micros| {
            let trace = Trace::from_headers(&http::HeaderMap::new(), false);
            latency.observe(Duration::from_micros(micros), Some(&trace));
            trace.id().to_owned()
        };
        request(15);
        assert!(read().is_empty(), "nobody had asked");
        let (first, _, slow) = (request(15), request(16), request(1_000_000));
        // Without a trace there is nothing to follow, and the next one is as good.
        latency.observe(Duration::from_micros(5), None);
        let quick = request(4);
        let said = read();
        for (line, begins) in said.iter().zip([
            format!("took_seconds_bucket{{le=\"0.00001\"}} 2 # {{trace_id=\"{quick}\"}} 0.000004 "),
            format!("took_seconds_bucket{{le=\"0.00002\"}} 5 # {{trace_id=\"{first}\"}} 0.000015 "),
            format!("took_seconds_bucket{{le=\"+Inf\"}} 6 # {{trace_id=\"{slow}\"}} 1 "),
        ]) {
            assert!(line.starts_with(&begins), "{line}");
        }
        assert_eq!(said.len(), 3);
        let another = request(20);
        let said = read();
        assert!(said[1].contains(&another) && said[0].contains(&quick), "{said:?}");
    }
}
