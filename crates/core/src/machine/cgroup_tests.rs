//! Trees of files as kernels show them.

use super::*;

/// A tree that is removed again.
struct Tree(PathBuf);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let number = u64::from_le_bytes(crate::net::random::bytes());
        let root = std::env::temp_dir().join(format!("flowcast-cgroup-{number:016x}"));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("it is below the root")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        Self(root)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const V2: (&str, &str) = (
    "proc/self/mountinfo",
    "24 1 0:22 / /proc rw - proc proc rw\n\
     35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
);

#[test]
fn in_version_2_the_tightest_group_above_counts() {
    let tree = Tree::new(&[
        V2,
        ("proc/self/cgroup", "0::/system.slice/flow.service\n"),
        ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/flow.service/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.high", "536870912\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.current", "209715200\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.stat", "anon 5\nfile 9\ninactive_file 104857600\n"),
        ("sys/fs/cgroup/system.slice/flow.service/pids.max", "512\n"),
        ("sys/fs/cgroup/system.slice/flow.service/pids.current", "12\n"),
    ]);
    let expected = Limits {
        cores: Some(1.5),
        memory_left: Some((512 << 20) - (100 << 20)),
        memory: Some(512 << 20),
        threads_left: Some(500),
    };
    assert_eq!(limits(&tree.0), expected);
}

#[test]
fn in_version_1_each_controller_has_its_own_tree() {
    let tree = Tree::new(&[
        (
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        ),
        ("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/a\n0::/\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n"),
        ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "700000\n"),
        ("sys/fs/cgroup/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 200000\n"),
    ]);
    let expected =
        Limits { cores: Some(0.5), memory_left: Some(500_000), memory: Some(1_000_000), threads_left: None };
    assert_eq!(limits(&tree.0), expected);
}

#[test]
fn a_container_that_sees_only_its_own_group_finds_it_at_the_mount_point() {
    let mountinfo = "35 24 0:30 /docker/abc /sys/fs/cgroup ro - cgroup cgroup rw,cpu\n";
    for group in ["1:cpu:/docker/abc", "1:cpu:/elsewhere/abc", "1:cpu:/../abc"] {
        let tree = Tree::new(&[
            ("proc/self/mountinfo", mountinfo),
            ("proc/self/cgroup", group),
            ("sys/fs/cgroup/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(limits(&tree.0).cores, Some(2.0), "{group}");
    }
}

#[test]
fn what_is_missing_or_nonsense_limits_nothing() {
    assert_eq!(limits(Path::new("/nowhere/at/all")), Limits::default());
    let tree = Tree::new(&[
        V2,
        ("proc/self/cgroup", "0::/x\ngarbage\n\n7\n"),
        ("sys/fs/cgroup/x/cpu.max", "100000 0\n"),
        ("sys/fs/cgroup/x/memory.max", "lots\n"),
        ("sys/fs/cgroup/x/pids.max", "max\n"),
    ]);
    assert_eq!(limits(&tree.0), Limits::default());
}

#[test]
fn mount_points_with_spaces_are_found() {
    let found = mounts("35 24 0:30 / /sys/fs/c\\040group rw - cgroup2 none rw\n");
    assert_eq!(found.first().map(|mount| mount.point.as_str()), Some("/sys/fs/c group"));
    assert_eq!(cpu_max("50000"), Some(0.5));
}

#[test]
fn what_is_used_is_told_beside_the_limit_in_version_2() {
    let tree = Tree::new(&[
        V2,
        ("proc/self/cgroup", "0::/system.slice/flow.service\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "8388608\n"),
        ("sys/fs/cgroup/system.slice/memory.current", "4194304\n"),
        ("sys/fs/cgroup/system.slice/memory.stat", "anon 5\ninactive_file 1024\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/flow.service/memory.current", "2097152\n"),
        ("sys/fs/cgroup/system.slice/flow.service/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/system.slice/flow.service/cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
        ("sys/fs/cgroup/system.slice/flow.service/pids.max", "512\n"),
        ("sys/fs/cgroup/system.slice/flow.service/pids.current", "12\n"),
    ]);
    let expected = GroupUse {
        memory_used: Some(4 << 20),
        memory_cache: Some(1024),
        memory_limit: Some(8 << 20),
        cpu_time: Some(Duration::from_millis(1500)),
        cores_limit: Some(0.5),
        threads: Some(12),
        threads_limit: Some(512),
    };
    assert_eq!(usage(&tree.0), expected);
}

#[test]
fn what_is_used_is_told_beside_the_limit_in_version_1_and_without_one() {
    let tree = Tree::new(&[
        (
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n",
        ),
        ("proc/self/cgroup", "4:cpu,cpuacct:/flow\n3:memory:/flow\n"),
        ("sys/fs/cgroup/memory/flow/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/flow/memory.usage_in_bytes", "4096\n"),
        ("sys/fs/cgroup/memory/flow/memory.stat", "inactive_file 3\ntotal_inactive_file 7\n"),
        ("sys/fs/cgroup/cpu,cpuacct/flow/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/flow/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/flow/cpuacct.usage", "2500000000\n"),
    ]);
    let expected = GroupUse {
        memory_used: Some(4096),
        memory_cache: Some(7),
        cpu_time: Some(Duration::from_millis(2500)),
        ..GroupUse::default()
    };
    assert_eq!(usage(&tree.0), expected);
    assert_eq!(usage(&Tree::new(&[]).0), GroupUse::default(), "no groups at all");
}
