//! What this process may use of the machine, and what of it is in use.
//!
//! Everything here is read from the kernel's files; what cannot be read (another system, a hidden `/proc`) limits nothing and
//! is said to be unknown.

mod cgroup;
mod proc;
pub(crate) mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

pub use self::cgroup::GroupUse;
pub use self::process::ProcessUse;

/// Where the kernel's files are.
const ROOT: &str = "/";

/// What this process may use, and what is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Machine {
    /// Cores' worth of CPU time this process may use: its affinity, and the quota of its control groups.
    pub cores: f64,
    /// Cores in use by this process while it was looked at.
    pub cores_used: f64,
    /// Cores in use by everything else on the machine, as far as this process could have them.
    pub cores_used_by_others: f64,
    /// Bytes of memory that can still be taken: what the machine has available, control groups and `RLIMIT_AS` allow.
    /// `None` where nothing tells.
    pub memory_left: Option<u64>,
    /// Bytes of memory this process has resident.
    pub memory_used: u64,
    /// Descriptors this process can still open (`RLIMIT_NOFILE`).
    pub descriptors_left: Option<u64>,
    /// Threads that can still be started: `RLIMIT_NPROC`, the machine's and the control groups' limits, and memory maps.
    pub threads_left: Option<u64>,
}

impl Machine {
    /// Looks at the machine.
    ///
    /// # Blocking
    ///
    /// For `window`: CPU use is measured over it.
    pub(crate) fn look(window: Duration) -> Self {
        let root = Path::new(ROOT);
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let since = BusySince::now();
        std::thread::sleep(window);
        let busy = since.busy();
        let usage = Usage::now();
        let groups = cgroup::limits(root);
        let cores = cores(&groups);
        Self {
            cores,
            cores_used: busy.own,
            cores_used_by_others: busy.others_on(cores),
            memory_left: memory_left(&read("proc/meminfo"), &read("proc/self/status"), groups.memory_left),
            memory_used: usage.rss,
            descriptors_left: limit(Resource::Nofile).map(|limit| limit.saturating_sub(usage.descriptors)),
            threads_left: threads_left(&read, usage.threads, groups.threads_left),
        }
    }

    /// Cores' worth of CPU time that are left of the share `1 - reserve` of those that may be used.
    #[must_use]
    pub fn cores_left(&self, reserve: f64) -> f64 {
        (self.cores * (1.0 - reserve) - self.cores_used - self.cores_used_by_others).max(0.0)
    }
}

/// Cores' worth of CPU time this process may use.
fn cores(groups: &cgroup::Limits) -> f64 {
    let affinity = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let affinity = affinity_cores().unwrap_or(affinity) as f64;
    groups.cores.map_or(affinity, |quota| quota.min(affinity))
}

/// What is in use of what this process may use: what is asked every second, and so is less than a [`Machine`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Cores' worth of CPU time this process may use.
    pub(crate) cores: f64,
    /// Cores in use by it, and by others of those that it may use.
    pub(crate) own: f64,
    pub(crate) others: f64,
    /// Bytes it has resident.
    pub(crate) resident: u64,
    /// Bytes of memory there are for it and for others, and those that are left; `None` where nothing tells.
    pub(crate) memory: Option<(u64, u64)>,
}

impl Load {
    /// CPU use from `since` on, and memory as it is.
    pub(crate) fn since(since: &BusySince) -> Self {
        let root = Path::new(ROOT);
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let (busy, groups) = (since.busy(), cgroup::limits(root));
        let (cores, meminfo) = (cores(&groups), read("proc/meminfo"));
        let left = memory_left(&meminfo, &read("proc/self/status"), groups.memory_left);
        let all = proc::kilobytes(&meminfo, "MemTotal").into_iter().chain(groups.memory).min();
        Self {
            cores,
            own: busy.own,
            others: busy.others_on(cores),
            resident: process::resident(),
            memory: all.zip(left),
        }
    }
}

/// Cores this process may run on.
fn affinity_cores() -> Option<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let count = rustix::thread::sched_getaffinity(None).ok()?.count();
        usize::try_from(count).ok().filter(|&count| count > 0)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// A soft limit of this process.
fn limit(resource: Resource) -> Option<u64> {
    getrlimit(resource).current
}

fn memory_left(meminfo: &str, status: &str, groups: Option<u64>) -> Option<u64> {
    let space =
        limit(Resource::As).map(|limit| limit.saturating_sub(proc::kilobytes(status, "VmSize").unwrap_or(0)));
    [proc::kilobytes(meminfo, "MemAvailable"), groups, space].into_iter().flatten().min()
}

/// A thread's stack and its guard page are a map each.
const MAPS_PER_THREAD: u64 = 2;

fn threads_left(read: &dyn Fn(&str) -> String, own: u64, groups: Option<u64>) -> Option<u64> {
    let number = |path: &str| read(path).trim().parse::<u64>().ok();
    let all = proc::machine_threads(&read("proc/loadavg")).unwrap_or(own);
    let machine = [number("proc/sys/kernel/threads-max"), number("proc/sys/kernel/pid_max")];
    let machine = machine.into_iter().flatten().min().map(|limit| limit.saturating_sub(all));
    let user = limit(Resource::Nproc).map(|limit| limit.saturating_sub(own));
    let maps = number("proc/sys/vm/max_map_count").map(|limit| {
        let used = read("proc/self/maps").lines().count() as u64;
        limit.saturating_sub(used) / MAPS_PER_THREAD
    });
    [machine, user, maps, groups].into_iter().flatten().min()
}

/// What this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) rss: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

impl Usage {
    /// Of this moment; what cannot be read is 0.
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            rss: proc::kilobytes(&status, "VmRSS").unwrap_or(0),
            threads: proc::number(&status, "Threads").unwrap_or(0),
            descriptors: descriptors as u64,
        }
    }
}

/// How busy the machine is, in cores.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Busy {
    own: f64,
    others: f64,
    machine: f64,
}

impl Busy {
    fn between(first: &str, last: &str, own: f64) -> Self {
        let machine = proc::cores(last) as f64;
        let (Some(first), Some(last)) = (proc::cpu_times(first), proc::cpu_times(last)) else {
            return Self { own, others: 0.0, machine };
        };
        let busy = last.busy.saturating_sub(first.busy) as f64;
        let total = last.total.saturating_sub(first.total) as f64;
        let all = if total > 0.0 { busy / total * machine } else { 0.0 };
        Self { own, others: (all - own).max(0.0), machine }
    }

    /// Cores that others use of those that we may use: what runs on the rest takes nothing from us.
    fn others_on(&self, cores: f64) -> f64 {
        (self.others - (self.machine - cores).max(0.0)).max(0.0)
    }
}

/// A moment from which on it is asked how busy the machine was.
#[derive(Debug)]
pub(crate) struct BusySince {
    stat: String,
    cpu: Duration,
    at: Instant,
}

impl BusySince {
    pub(crate) fn now() -> Self {
        Self { stat: stat(), cpu: process_cpu(), at: Instant::now() }
    }

    /// Cores that other processes used since.
    pub(crate) fn others(&self) -> f64 {
        self.busy().others
    }

    fn busy(&self) -> Busy {
        let used = process_cpu().saturating_sub(self.cpu).as_secs_f64();
        Busy::between(&self.stat, &stat(), used / self.at.elapsed().as_secs_f64().max(1e-6))
    }
}

fn stat() -> String {
    std::fs::read_to_string("/proc/stat").unwrap_or_default()
}

/// CPU time this process has used.
pub(crate) fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_use_is_what_we_do_not() {
        let first = "cpu  100 0 0 900 0 0 0 0\ncpu0 1\ncpu1 1\n";
        let last = "cpu  150 0 0 950 0 0 0 0\ncpu0 1\ncpu1 1\n";
        // Half of two cores, a quarter of one by us.
        let busy = Busy::between(first, last, 0.25);
        assert_eq!(busy, Busy { own: 0.25, others: 0.75, machine: 2.0 });
        // Ours is measured by another clock, which may run a little ahead.
        assert_eq!(Busy::between(first, last, 1.1).others, 0.0);
        assert_eq!(Busy::between("", "", 0.5), Busy { own: 0.5, others: 0.0, machine: 0.0 });
    }

    #[test]
    fn a_load_has_a_part_of_what_there_is() {
        let load = Load::since(&BusySince::now());
        assert!(load.cores > 0.0 && load.own >= 0.0 && load.others <= load.cores);
        if cfg!(target_os = "linux") {
            let (all, left) = load.memory.expect("Linux tells");
            assert!(left <= all && load.resident > 0 && load.resident < all, "{load:?}");
        }
        // Six of eight cores are in use by others, and we may use four: two of those are theirs.
        assert_eq!(Busy { own: 1.0, others: 6.0, machine: 8.0 }.others_on(4.0), 2.0);
        assert_eq!(Busy { own: 1.0, others: 3.0, machine: 8.0 }.others_on(4.0), 0.0);
    }

    #[test]
    fn a_look_finds_cores_memory_and_limits() {
        let machine = Machine::look(Duration::from_millis(10));
        assert!(machine.cores > 0.0);
        assert!(machine.cores_left(0.0) <= machine.cores);
        if cfg!(target_os = "linux") {
            assert!(machine.memory_left.is_some_and(|bytes| bytes > 0));
            assert!(machine.threads_left.is_some_and(|threads| threads > 0));
            assert!(machine.memory_used > 0);
        }
    }

    #[test]
    fn the_tightest_limit_on_threads_counts() {
        let read = |path: &str| match path {
            "proc/loadavg" => "0 0 0 1/100 7".to_owned(),
            "proc/sys/kernel/threads-max" => "1000\n".to_owned(),
            "proc/sys/kernel/pid_max" => "400\n".to_owned(),
            "proc/sys/vm/max_map_count" => "504\n".to_owned(),
            "proc/self/maps" => "a\nb\nc\nd\n".to_owned(),
            _ => String::new(),
        };
        assert_eq!(threads_left(&read, 10, None), Some(250));
        assert_eq!(threads_left(&read, 10, Some(20)), Some(20));
    }
}
