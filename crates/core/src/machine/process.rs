//! What this process uses of the machine, as the kernel counts it.

use std::path::Path;
use std::time::Duration;

use super::cgroup::{self, GroupUse};
use super::{ROOT, Usage, proc, process_cpu};

/// What this process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ProcessUse {
    /// CPU time of all its threads.
    pub cpu_time: Duration,
    /// Bytes of memory that are resident; shared pages count whole. 0 where the system does not tell.
    pub resident: u64,
    /// The same with each shared page divided by the processes that share it; `None` where the system does not tell.
    pub proportional: Option<u64>,
    /// Its threads. 0 where the system does not tell.
    pub threads: u64,
    /// Descriptors that are open. 0 where the system does not tell.
    pub descriptors: u64,
    /// Its control groups, and their limits.
    pub group: GroupUse,
}

impl ProcessUse {
    /// Of this moment.
    ///
    /// # Blocking
    ///
    /// On the kernel, which goes through all pages of the process: a millisecond or a few.
    pub(crate) fn now() -> Self {
        let Usage { rss, threads, descriptors } = Usage::now();
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        Self {
            cpu_time: process_cpu(),
            resident: rss,
            proportional: proc::kilobytes(&rollup, "Pss"),
            threads,
            descriptors,
            group: cgroup::usage(Path::new(ROOT)),
        }
    }
}

/// Bytes that are resident, alone: cheaper than the rest.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_uses() {
        let used = ProcessUse::now();
        assert!(used.resident > 1 << 20 && used.threads > 0 && used.descriptors > 2, "{used:?}");
        assert!(used.cpu_time > Duration::ZERO);
        if let Some(proportional) = used.proportional {
            assert!(proportional > 0 && proportional <= 2 * used.resident, "{used:?}");
        }
        let (whole, alone) = (used.resident as f64, resident() as f64);
        assert!(alone > whole / 2.0 && alone < whole * 2.0, "{alone} of {whole}");
    }
}
