//! Processes beside the one that runs: ended in good order, and looked at through `/proc`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A child. Dropped, it is asked to end at once, and killed if it does not.
pub struct Process(Child);

impl Process {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Tells whether it has ended, by itself or not.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first: a killed master of nginx would leave its workers behind.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        for _ in 0..100 {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process and those it has begun, such as nginx's workers.
fn family_of(pid: u32) -> impl Iterator<Item = PathBuf> {
    let said = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = said.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    std::iter::once(pid).chain(children).map(|pid| PathBuf::from(format!("/proc/{pid}")))
}

/// Sums up the time that these processes have used of the processor, user and system, by the scheduler's count.
pub fn cpu_time(pids: &[u32]) -> Duration {
    let tasks =
        pids.iter().flat_map(|pid| family_of(*pid)).flat_map(|of| of.join("task").read_dir().unwrap());
    let nanos = tasks.filter_map(|task| {
        let said = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        said.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Sums up the memory of these processes, in KiB.
pub fn resident_memory(pids: &[u32]) -> u64 {
    let of = pids.iter().flat_map(|pid| family_of(*pid));
    of.filter_map(|process| {
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    })
    .sum()
}
