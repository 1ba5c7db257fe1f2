"""What a process uses, read from outside; for the measuring scripts."""

import pathlib
import re
import time


def cpu_seconds(pid):
    """The process's CPU time, threads that have ended included, to the nanosecond (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


def rss_kb(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))
