//! What a process has used, as the kernel counts it.

use std::time::Duration;

/// CPU, user and system, of all its threads. The kernel counts it in hundredths of a second.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may have blanks; user and system time are the 12th and 13th behind it.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
