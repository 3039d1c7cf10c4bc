//! Processes that are measured: started, looked at through `/proc`, and ended.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A child. Dropped, it is asked to end at once, and killed if it does not.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first: a killed master of nginx would leave its workers behind.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn children(pid: u32) -> Vec<Pid> {
    let said = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    said.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// A process and those it has begun, such as nginx's workers.
fn family(pid: u32) -> impl Iterator<Item = PathBuf> {
    let children = children(pid).into_iter().map(|child| child.as_raw_nonzero().get().unsigned_abs());
    std::iter::once(pid).chain(children).map(|pid| PathBuf::from(format!("/proc/{pid}")))
}

/// What these processes have used of the processor, user and system, by the scheduler's count.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    let tasks = pids.iter().flat_map(|pid| family(*pid)).flat_map(|of| of.join("task").read_dir().unwrap());
    let nanos = tasks.filter_map(|task| {
        let said = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        said.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// What these processes hold in memory, in KiB.
pub(crate) fn resident(pids: &[u32]) -> u64 {
    let of = pids.iter().flat_map(|pid| family(*pid));
    of.filter_map(|process| {
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    })
    .sum()
}

/// Where a program of the machine is, or of Debian's packages unpacked by `benches/peers`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let unpacked = std::env::var_os("PORTCULLIS_BENCH_PEERS").map(PathBuf::from);
    let unpacked = unpacked.into_iter().flat_map(|root| [root.join("usr/sbin"), root.join("usr/bin")]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    on_path.into_iter().chain(system).chain(unpacked).map(|of| of.join(program)).find(|path| path.is_file())
}
