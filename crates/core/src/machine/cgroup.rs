//! What the control groups of this process allow it, version 1 and 2, see cgroups(7).
//!
//! A limit of any group above ours holds for us, too: of each the tightest counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Limits and use of the groups this process is in; `None` where nothing is limited or told.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Limits {
    /// Cores' worth of CPU time.
    pub(crate) cores: Option<f64>,
    /// Bytes of memory that may still be taken, where there is a limit: page cache that can be given up counts as free.
    pub(crate) memory_left: Option<u64>,
    /// Bytes of memory that may be taken in all.
    pub(crate) memory: Option<u64>,
    /// Threads that may still be started.
    pub(crate) threads_left: Option<u64>,
}

/// A hierarchy of groups that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The group that is seen at the mount point.
    root: String,
    point: String,
    /// Controllers of a version 1 hierarchy; `None` for version 2.
    controllers: Option<Vec<String>>,
}

/// Reads the limits from the files under `root` (`/`).
pub(crate) fn limits(root: &Path) -> Limits {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), mounts(&read("proc/self/mountinfo")));
    let mut limits = Limits::default();
    for directory in directories(root, &groups, &mounts, "cpu") {
        tighten(&mut limits.cores, directory.cores());
    }
    for directory in directories(root, &groups, &mounts, "memory") {
        tighten(&mut limits.memory_left, directory.memory_left());
        tighten(&mut limits.memory, directory.memory_limit());
    }
    for directory in directories(root, &groups, &mounts, "pids") {
        tighten(&mut limits.threads_left, directory.threads_left());
    }
    limits
}

/// What the control groups of this process use, and what they may.
///
/// Of groups within each other the one with the tightest limit is told, else the innermost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct GroupUse {
    /// Bytes of memory its processes use, page cache included.
    pub memory_used: Option<u64>,
    /// Bytes of page cache in it that the kernel can give up.
    pub memory_cache: Option<u64>,
    /// The most bytes it may use; `None` without a limit.
    pub memory_limit: Option<u64>,
    /// CPU time its processes have used.
    pub cpu_time: Option<Duration>,
    /// Cores' worth of CPU time it may use; `None` without a limit.
    pub cores_limit: Option<f64>,
    /// Threads in it.
    pub threads: Option<u64>,
    /// The most threads there may be; `None` without a limit.
    pub threads_limit: Option<u64>,
}

/// Reads what is used from the files under `root` (`/`).
pub(crate) fn usage(root: &Path) -> GroupUse {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), mounts(&read("proc/self/mountinfo")));
    let find = |controller: &str| directories(root, &groups, &mounts, controller);
    let mut usage = GroupUse::default();
    let memory = find("memory");
    if let Some(tightest) = tightest(&memory, Directory::memory_limit) {
        usage.memory_limit = tightest.memory_limit();
        (usage.memory_used, usage.memory_cache) = (tightest.memory_used(), tightest.memory_cache());
    }
    let threads = find("pids");
    if let Some(tightest) = tightest(&threads, |directory| directory.number("pids.max")) {
        usage.threads_limit = tightest.number("pids.max");
        usage.threads = tightest.number("pids.current");
    }
    for directory in find("cpu") {
        tighten(&mut usage.cores_limit, directory.cores());
    }
    usage.cpu_time = find("cpuacct").iter().chain(&find("cpu")).find_map(Directory::cpu_time);
    usage
}

/// The directory with the smallest limit, the innermost of equals; the innermost if none has one.
fn tightest(directories: &[Directory], limit: impl Fn(&Directory) -> Option<u64>) -> Option<&Directory> {
    directories.iter().min_by_key(|directory| limit(directory).unwrap_or(u64::MAX))
}

fn tighten<T: PartialOrd + Copy>(limit: &mut Option<T>, other: Option<T>) {
    if let Some(other) = other
        && limit.is_none_or(|limit| other < limit)
    {
        *limit = Some(other);
    }
}

/// The lines of `/proc/self/mountinfo` that are control groups, see proc_pid_mountinfo(5).
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (unescape(place.next()?), unescape(place.next()?));
        let mut kind = kind.split(' ');
        let controllers = match kind.next()? {
            "cgroup2" => None,
            "cgroup" => Some(kind.nth(1)?.split(',').map(str::to_owned).collect()),
            _ => return None,
        };
        Some(Mount { root, point, controllers })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Mount points have spaces and backslashes as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The path of our group in the hierarchy of `controllers` (version 2: `None`), out of `/proc/self/cgroup`.
fn group<'a>(groups: &'a str, controllers: Option<&[String]>) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let same = match controllers {
            None => names.is_empty(),
            Some(controllers) => {
                !names.is_empty() && names.split(',').all(|name| controllers.iter().any(|have| have == name))
            }
        };
        same.then_some(path)
    })
}

/// One group's directory.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The directories of our groups that may limit `controller`, innermost first.
fn directories(root: &Path, groups: &str, mounts: &[Mount], controller: &str) -> Vec<Directory> {
    let mut found = Vec::new();
    for mount in mounts {
        let version = match &mount.controllers {
            None => Version::Two,
            Some(names) if names.iter().any(|name| name == controller) => Version::One,
            Some(_) => continue,
        };
        let Some(group) = group(groups, mount.controllers.as_deref()) else { continue };
        let point = root.join(mount.point.trim_start_matches('/'));
        // In a container the group may lie outside of what is mounted: then the mount point is our group.
        let below = if mount.root == "/" { Some(group) } else { group.strip_prefix(mount.root.as_str()) };
        let below = below.unwrap_or_default().trim_start_matches('/');
        let inner = if below.split('/').any(|part| part == "..") { "" } else { below };
        let mut path = point.join(inner);
        loop {
            found.push(Directory { path: path.clone(), version });
            if path == point || !path.pop() {
                break;
            }
        }
    }
    found
}

impl Directory {
    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.read(name)?.trim().parse().ok()
    }

    fn cores(&self) -> Option<f64> {
        match self.version {
            Version::Two => cpu_max(&self.read("cpu.max")?),
            Version::One => {
                // Without a limit the quota is -1.
                let quota = self.number("cpu.cfs_quota_us")?;
                quotient(quota, self.number("cpu.cfs_period_us")?)
            }
        }
    }

    fn memory_limit(&self) -> Option<u64> {
        let limit = match self.version {
            Version::Two => {
                let (max, high) = (self.number("memory.max"), self.number("memory.high"));
                max.into_iter().chain(high).min()
            }
            Version::One => self.number("memory.limit_in_bytes"),
        };
        limit.filter(|&limit| limit < NO_LIMIT)
    }

    fn memory_used(&self) -> Option<u64> {
        self.number(match self.version {
            Version::Two => "memory.current",
            Version::One => "memory.usage_in_bytes",
        })
    }

    /// Page cache that can be given up.
    fn memory_cache(&self) -> Option<u64> {
        let name = match self.version {
            Version::Two => "inactive_file ",
            Version::One => "total_inactive_file ",
        };
        let stat = self.read("memory.stat")?;
        stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn memory_left(&self) -> Option<u64> {
        let limit = self.memory_limit()?;
        let (used, cache) = (self.memory_used().unwrap_or(0), self.memory_cache().unwrap_or(0));
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    }

    fn cpu_time(&self) -> Option<Duration> {
        match self.version {
            Version::Two => {
                let stat = self.read("cpu.stat")?;
                let used =
                    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
                used.map(Duration::from_micros)
            }
            Version::One => self.number("cpuacct.usage").map(Duration::from_nanos),
        }
    }

    fn threads_left(&self) -> Option<u64> {
        let limit = self.number("pids.max")?;
        Some(limit.saturating_sub(self.number("pids.current").unwrap_or(0)))
    }
}

/// Version 1 says "no limit" with the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// `cpu.max`: quota and period in microseconds; the quota is `max` where there is none.
fn cpu_max(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    let quota = fields.next()?.parse().ok()?;
    quotient(quota, fields.next().map_or(Some(100_000), |period| period.parse().ok())?)
}

fn quotient(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
