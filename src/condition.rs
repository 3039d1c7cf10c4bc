//! The condition of the program that runs, as far as it alone knows it: `portcullis doctor` asks for it on the admin socket.
//!
//! Counts and times, and the name of nobody.

use portcullis_policy::Timestamp;
use serde::{Deserialize, Serialize};

use crate::handover::{Former, UpgradeState};
use crate::limits::Shares;
use crate::operator::Operator;
use crate::person::format_rfc3339;

/// The condition of a program that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramCondition {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// The files that it may have open; `None` is no limit.
    pub(crate) files: Option<u64>,
    /// The clients at once that these are enough for, about; `None` is no limit.
    pub(crate) clients: Option<usize>,
    /// The calls of a directory since it started.
    pub(crate) scim: ScimCalls,
    /// What became of the last upgrade that was asked of it.
    #[serde(default)]
    pub(crate) upgrade: UpgradeState,
    /// The processes that it has replaced, and that still carry what had begun there.
    #[serde(default)]
    pub(crate) replaced: Vec<Former>,
}

/// The calls of a directory since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScimCalls {
    /// Those that were answered 401.
    pub(crate) unauthorized: u64,
    /// Those that were answered 403.
    #[serde(default)]
    pub(crate) forbidden: u64,
    /// Those that were answered 404.
    pub(crate) not_found: u64,
    /// The time of the last that succeeded.
    #[serde(default)]
    pub(crate) succeeded: Option<String>,
}

impl Operator {
    /// Tells the condition; `None` where this process does not serve.
    pub(crate) fn describe_condition(&self) -> Option<ProgramCondition> {
        let metrics = self.metrics.as_ref()?;
        let upgrades = self.upgrades.as_ref();
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Some(ProgramCondition {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            files,
            clients: Shares::of_files(files).proxy.map(|proxy| proxy / 2),
            scim: ScimCalls {
                unauthorized: metrics.scim_answers(401),
                forbidden: metrics.scim_answers(403),
                not_found: metrics.scim_answers(404),
                succeeded: metrics
                    .last_scim_call()
                    .map(|seconds| format_rfc3339(Timestamp(seconds.saturating_mul(1000)))),
            },
            upgrade: upgrades.map(|upgrades| upgrades.state()).unwrap_or_default(),
            replaced: self.revocation.predecessors().list(),
        })
    }
}
