//! CPU time of the threads that serve a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// CPU time of one stream, summed over the threads that work for it.
///
/// Each thread measures itself ([`CpuMeter::lap`]) and adds what it used since the last time; the sum outlives them.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuMeter(Arc<AtomicU64>);

/// What one thread last reported to its meter.
#[derive(Debug, Default)]
pub(crate) struct CpuLap {
    reported: Duration,
}

impl CpuMeter {
    /// CPU time used so far, up to the last report of each thread (at most a second old).
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Adds what the calling thread used since `lap` was last given.
    pub(crate) fn lap(&self, lap: &mut CpuLap) {
        let used = thread_cpu_time();
        let since = used.saturating_sub(lap.reported);
        lap.reported = used;
        self.0.fetch_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Counts the CPU time of a thread of a driver's own as that of the stream ([`StreamStats::cpu_time`](crate::StreamStats)).
#[derive(Debug, Default)]
pub struct ThreadMeter {
    meter: CpuMeter,
    lap: CpuLap,
}

impl ThreadMeter {
    pub(crate) fn new(meter: CpuMeter) -> Self {
        Self { meter, lap: CpuLap::default() }
    }

    /// Adds what the calling thread has used since this was last called, or since it started. Call it on that thread, about once a
    /// second, and when the thread ends.
    pub fn report(&mut self) {
        self.meter.lap(&mut self.lap);
    }
}

/// How much of the processor a thread leaves to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing takes long"))]
pub(crate) enum Leave {
    /// What it encodes is on the air: it lets the threads that send go first.
    Some,
    /// Nobody waits for it yet.
    Most,
}

/// Lets other threads go first, also before threads this one starts. Not every system gives threads a priority of their own.
pub(crate) fn yield_to_others(leave: Leave) {
    let nice = match leave {
        Leave::Some => 5,
        Leave::Most => 10,
    };
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice) {
        log::debug!("a thread keeps its priority: {error}");
    }
}

/// CPU time of the calling thread since it started.
pub(crate) fn thread_cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_uses_cpu_time_and_a_meter_sums_threads() {
        let meter = CpuMeter::default();
        let spin = |meter: CpuMeter| {
            let mut lap = CpuLap::default();
            let until = thread_cpu_time() + Duration::from_millis(5);
            while thread_cpu_time() < until {
                std::hint::spin_loop();
            }
            meter.lap(&mut lap);
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let meter = meter.clone();
                std::thread::spawn(move || spin(meter))
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread only spins");
        }
        assert!(meter.total() >= Duration::from_millis(10), "{:?}", meter.total());
    }
}
