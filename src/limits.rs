//! What the process asks of the system before it does anything else: open files, and small memory pages.
//!
//! Neither is worth a refusal to start. What came of it is told once the log is there.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Files and sockets it may have open; `None` is no limit.
    pub(crate) files: Option<u64>,
    /// Whether raising them failed, and what they stayed at is the soft limit.
    files_failed: Option<Errno>,
    huge_pages_failed: Option<Errno>,
}

/// Sets what can be set. To be called first thing in `main`, before the allocator has grown.
pub(crate) fn set() -> Limits {
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

impl Limits {
    /// Tells what came of it.
    pub(crate) fn tell(&self) {
        if let Some(error) = self.files_failed {
            let files = self.files.unwrap_or(u64::MAX);
            tracing::warn!(files, %error, "the limit of open files stays: raise LimitNOFILE, or ulimit -n");
        }
        if let Some(error) = self.huge_pages_failed {
            tracing::warn!(%error, "huge pages could not be switched off: idle WebSockets take more memory");
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
    fn the_soft_limit_is_the_hard_one_and_pages_are_small() {
        let limits = set();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limits.files, now.maximum);
        assert_eq!(rustix::thread::transparent_huge_pages_are_disabled(), Ok(true));
    }
}
