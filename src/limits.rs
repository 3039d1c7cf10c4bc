//! What the process asks of the system before it does anything else: open files, and small memory pages.
//!
//! Neither is worth a refusal to start. What came of it is told once the log is there. The files are shared out here
//! too, so that strangers' sockets leave enough for a removal.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limits of the system on this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Files and sockets it may have open; `None` is no limit.
    pub(crate) files: Option<u64>,
    /// The error of raising them; what they stayed at is the soft limit.
    files_failed: Option<Errno>,
    huge_pages_failed: Option<Errno>,
}

/// Sets what can be set. To be called first thing in `main`, before the allocator has grown.
pub(crate) fn set_limits() -> Limits {
    // A WebSocket takes two sockets; the usual soft limit of 1024 would end at five hundred of them.
    let before = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    // With huge pages an idle WebSocket takes 237 KiB instead of 65 with the allocator we use.
    let small = rustix::thread::disable_transparent_huge_pages(true);
    Limits {
        files: getrlimit(Resource::Nofile).current,
        files_failed: raised.err(),
        huge_pages_failed: small.err(),
    }
}

/// The shares of the open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The data plane: clients and applications together; `None` is no limit.
    pub(crate) proxy: Option<usize>,
    /// Connections to the SCIM listener.
    pub(crate) scim: usize,
    /// Connections to the health listener.
    pub(crate) health: usize,
    /// Connections to the admin socket.
    pub(crate) admin: usize,
}

/// The open files of the store, the logs, the runtimes and the connections to the IdP, with room to spare.
const OURS: usize = 96;
/// Below this many files there is hardly a data plane left.
const SMALL: u64 = 4096;

impl Shares {
    /// As things stand now.
    pub(crate) fn of_process() -> Self {
        Self::of_files(getrlimit(Resource::Nofile).current)
    }

    /// The smaller the limit, the fewer connections each listener takes; the data plane has the rest.
    pub(crate) fn of_files(files: Option<u64>) -> Self {
        let files = files.map(|files| usize::try_from(files).unwrap_or(usize::MAX));
        let part = |of: usize, least, most| files.map_or(most, |files| (files / of).clamp(least, most));
        let (scim, health, admin) = (part(16, 16, 256), part(32, 8, 64), part(32, 8, 32));
        let proxy = files.map(|files| files.saturating_sub(OURS + scim + health + admin));
        Self { proxy, scim, health, admin }
    }
}

impl Limits {
    /// Tells what came of it.
    pub(crate) fn log_limits(&self) {
        if let Some(error) = self.files_failed {
            let files = self.files.unwrap_or(u64::MAX);
            tracing::warn!(files, %error, "the limit of open files stays: raise LimitNOFILE, or ulimit -n");
        }
        if let Some(error) = self.huge_pages_failed {
            tracing::warn!(%error, "huge pages could not be switched off: idle WebSockets take more memory");
        }
        if let Some(files) = self.files.filter(|files| *files < SMALL) {
            let clients = Shares::of_files(self.files).proxy.unwrap_or_default() / 2;
            tracing::warn!(
                files,
                clients,
                "few files may be open: more than about so many clients at once are turned away. Raise LimitNOFILE, or ulimit -n"
            );
        }
        match self.files {
            Some(files) => tracing::debug!(files, "open files"),
            None => tracing::debug!("open files: no limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_plane_gets_what_the_others_leave() {
        let of = |files| Shares::of_files(Some(files));
        assert_eq!(of(256), Shares { proxy: Some(128), scim: 16, health: 8, admin: 8 });
        assert_eq!(of(1024), Shares { proxy: Some(800), scim: 64, health: 32, admin: 32 });
        assert_eq!(of(524_288), Shares { proxy: Some(523_840), scim: 256, health: 64, admin: 32 });
        assert_eq!(of(64).proxy, Some(0));
        assert_eq!(Shares::of_files(None), Shares { proxy: None, scim: 256, health: 64, admin: 32 });
    }

    #[test]
    fn the_soft_limit_is_the_hard_one_and_pages_are_small() {
        let limits = set_limits();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limits.files, now.maximum);
        assert_eq!(rustix::thread::transparent_huge_pages_are_disabled(), Ok(true));
    }
}
