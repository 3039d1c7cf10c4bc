//! What the system says of this process, under the names that every Prometheus client has for it (`process_…`).
//!
//! Read when somebody asks for the metrics. What cannot be read, as where `/proc` is hidden, is left out.

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The figures of this process.
#[derive(Debug)]
pub(crate) struct ProcessFigures;

/// One reading.
struct Reading {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    /// Unix time.
    started: Option<f64>,
}

impl Reading {
    #[expect(clippy::cast_precision_loss, reason = "ticks and seconds of a process are far below 2^53")]
    fn now() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
        let max_fds = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files),
            LimitValue::Unlimited => None,
        });
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads,
            open_fds: process.fd_count().ok().and_then(|count| u64::try_from(count).ok()),
            max_fds,
            started: boot_time_secs().ok().map(|booted| booted as f64 + seconds(stat.starttime)),
        })
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Ok(read) = Reading::now() else { return Ok(()) };
        let to = &mut encoder;
        tell(to, "process_cpu_seconds", "Time on processors", &ConstCounter::new(read.cpu_seconds))?;
        let gauge = |count: u64| ConstGauge::new(count);
        tell(to, "process_resident_memory_bytes", "Memory that is there", &gauge(read.resident_bytes))?;
        tell(to, "process_virtual_memory_bytes", "Addresses that are taken", &gauge(read.virtual_bytes))?;
        tell(to, "process_threads", "Threads", &ConstGauge::new(read.threads))?;
        if let Some(count) = read.open_fds {
            tell(to, "process_open_fds", "Open descriptors", &gauge(count))?;
        }
        if let Some(count) = read.max_fds {
            tell(to, "process_max_fds", "Descriptors that may be open", &gauge(count))?;
        }
        if let Some(started) = read.started {
            tell(
                to,
                "process_start_time_seconds",
                "When it was started, as Unix time",
                &ConstGauge::new(started),
            )?;
        }
        Ok(())
    }
}

fn tell(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
