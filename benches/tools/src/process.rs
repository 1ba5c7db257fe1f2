//! What this process and the machine use.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process, those that have ended included.
#[must_use]
pub fn cpu_time() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Raises the limit of open files as far as it goes; returns what it is then.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Open file descriptors of this process; 0 where /proc does not tell.
#[must_use]
pub fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// A figure of /proc/self/status in KiB or in pieces, such as `VmRSS` or `Threads`; 0 where it is not there.
#[must_use]
pub fn status(name: &str) -> u64 {
    figure("/proc/self/status", name)
}

/// Memory this machine can still give, KiB; 0 where /proc does not tell.
#[must_use]
pub fn memory_available_kb() -> u64 {
    figure("/proc/meminfo", "MemAvailable")
}

/// Memory of all TCP sockets of this machine, both ends of loopback ones, KiB; 0 where /proc does not tell.
#[must_use]
pub fn tcp_memory_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    let pages =
        words.iter().position(|word| *word == "mem").and_then(|at| words.get(at + 1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64 / 1024
}

fn figure(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Time all processors together spent, to tell how busy the machine was between two looks.
#[derive(Debug, Clone, Copy)]
pub struct MachineTime {
    idle: u64,
    all: u64,
}

impl MachineTime {
    /// Reads it; zeros where /proc does not tell.
    #[must_use]
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        // user nice system idle iowait irq softirq steal; the guest times behind them are counted already.
        let ticks: Vec<u64> = fields.take(8).map(|field| field.parse().unwrap_or(0)).collect();
        Self { idle: ticks.iter().skip(3).take(2).sum(), all: ticks.iter().sum() }
    }

    /// Share of the processors that had nothing to do since `before`, 0 to 1.
    #[must_use]
    pub fn idle_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 1.0 } else { self.idle.saturating_sub(before.idle) as f64 / all as f64 }
    }
}
