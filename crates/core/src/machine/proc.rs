//! Texts of `/proc`, as plain functions of their text.

/// CPU time of all cores since boot, in ticks of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTimes {
    /// Of processes, interrupts, and what a hypervisor gave to others.
    pub(crate) busy: u64,
    /// Together with the idle time.
    pub(crate) total: u64,
}

/// The first line of `/proc/stat`, see proc_stat(5). Guest time is part of user time already.
pub(crate) fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut fields = line.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
    let [user, nice, system, idle] = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    let waiting = fields.next().unwrap_or(0);
    let interrupts: u64 = fields.take(3).sum();
    let busy = user + nice + system + interrupts;
    Some(CpuTimes { busy, total: busy + idle + waiting })
}

/// Lines of `/proc/stat` that stand for one core each.
pub(crate) fn cores(stat: &str) -> usize {
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    };
    stat.lines().filter(is_core).count()
}

/// A line of `/proc/meminfo` or `/proc/self/status` such as `MemAvailable:   24187444 kB`, in bytes.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// A line of `/proc/self/status` that is a bare number, such as `Threads:\t3`.
pub(crate) fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// Threads of the whole machine: the part after the slash in `/proc/loadavg`.
pub(crate) fn machine_threads(loadavg: &str) -> Option<u64> {
    loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  633092 48174 185601 2071146 12192 0 5183 866 0 0\n\
                        cpu0 300724 22027 83100 1067048 2687 0 1744 417 0 0\n\
                        cpu1 332367 26147 102500 1004098 9504 0 3438 449 0 0\n\
                        intr 1234 0 0\nctxt 99\n";

    #[test]
    fn cpu_times_are_summed_and_guests_not_counted_twice() {
        let busy = 633_092 + 48_174 + 185_601 + 5183 + 866;
        let expected = CpuTimes { busy, total: busy + 2_071_146 + 12_192 };
        assert_eq!(cpu_times(STAT), Some(expected));
        assert_eq!(cores(STAT), 2);
        // Linux 2.4 had four figures.
        assert_eq!(cpu_times("cpu 1 2 3 4\n"), Some(CpuTimes { busy: 6, total: 10 }));
        assert_eq!(cpu_times("cpu  1 2 x\n"), None);
        assert_eq!(cpu_times(""), None);
    }

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let meminfo = "MemTotal:       24684092 kB\nMemFree:  1 kB\nMemAvailable:   24187444 kB\n";
        assert_eq!(kilobytes(meminfo, "MemAvailable"), Some(24_187_444 * 1024));
        assert_eq!(kilobytes(meminfo, "Mem"), None);
        let status = "Name:\tflow\nVmSize:\t  2048 kB\nVmRSS:\t    1024 kB\nThreads:\t17\n";
        assert_eq!(kilobytes(status, "VmRSS"), Some(1 << 20));
        assert_eq!(number(status, "Threads"), Some(17));
        assert_eq!(number(status, "Thread"), None);
        assert_eq!(kilobytes("VmRSS: 99999999999999999999 kB", "VmRSS"), None);
    }

    #[test]
    fn threads_of_the_machine_follow_the_slash() {
        assert_eq!(machine_threads("0.20 0.18 0.12 1/88 19172\n"), Some(88));
        assert_eq!(machine_threads("0.20 0.18\n"), None);
    }
}
