//! What the control groups of this process allow it, version 1 and 2, see cgroups(7).
//!
//! A limit of any group above ours holds for us, too: of each the tightest counts.

use std::path::{Path, PathBuf};

/// Limits and use of the groups this process is in; `None` where nothing is limited or told.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Limits {
    /// Cores' worth of CPU time.
    pub(crate) cores: Option<f64>,
    /// Bytes of memory that may still be taken, where there is a limit: page cache that can be given up counts as free.
    pub(crate) memory_left: Option<u64>,
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
    }
    for directory in directories(root, &groups, &mounts, "pids") {
        tighten(&mut limits.threads_left, directory.threads_left());
    }
    limits
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

    fn memory_left(&self) -> Option<u64> {
        let (limit, used, cache) = match self.version {
            Version::Two => {
                let max = self.number("memory.max");
                let high = self.number("memory.high");
                let limit = max.into_iter().chain(high).min()?;
                (limit, self.number("memory.current"), "inactive_file ")
            }
            Version::One => {
                let limit = self.number("memory.limit_in_bytes")?;
                (limit, self.number("memory.usage_in_bytes"), "total_inactive_file ")
            }
        };
        if limit >= NO_LIMIT {
            return None;
        }
        let stat = self.read("memory.stat").unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(used.unwrap_or(0).saturating_sub(cache)))
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
