//! What this process uses.

use std::time::Duration;

/// CPU time of all threads of this process so far.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of this process in KiB; 0 where /proc does not tell.
pub fn rss_kb() -> u64 {
    status("VmRSS:")
}

/// Threads of this process; 0 where /proc does not tell.
pub fn threads() -> u64 {
    status("Threads:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
