//! What Record writes to: the counters, the access log, and the records under reference numbers.

use std::net::IpAddr;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::access_log::AccessLog;
use crate::line::Line;
use crate::log_detail::LogDetail;
use crate::metrics::Metrics;

/// The log and the metrics that lines and counts are written to; shared by all records.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) metrics: Metrics,
    pub(crate) log: AccessLog,
    /// Lines with a reference number go here as well, so that they can be looked up by it.
    pub(crate) references: Option<mpsc::Sender<Line>>,
    /// The detail in which people are written, by the configuration in force.
    pub(crate) detail: ArcSwap<LogDetail>,
}

impl Recorder {
    /// A client's address, as far as the configuration in force lets it be written.
    pub(crate) fn written_client(&self, client: IpAddr) -> Option<String> {
        self.detail.load().shown_client(client)
    }

    /// Tells whether one more record would be taken: in a flood of refusals none is, and then none need be made.
    pub(crate) fn takes_references(&self) -> bool {
        self.references.as_ref().is_some_and(|references| references.capacity() > 0)
    }
}
