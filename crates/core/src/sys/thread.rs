//! CPU time of the threads that serve a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What one stream has cost so far: CPU time, summed over the threads that work for it, and what was encoded or left out.
///
/// Each thread measures itself ([`CpuMeter::lap`]) and adds what it used since the last time; the sum outlives them. Threads that libav
/// started cannot: [`CodecThreads`](super::CodecThreads) adds what they used. Clones are the same meter.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuMeter(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// Nanoseconds.
    own: AtomicU64,
    /// Nanoseconds.
    codecs: AtomicU64,
    frames: AtomicU64,
    pixels: AtomicU64,
    /// Tags that encoders were too slow for.
    left_out: AtomicU64,
}

/// What one thread last reported to its meter.
#[derive(Debug, Default)]
pub(crate) struct CpuLap {
    reported: Duration,
}

impl CpuMeter {
    /// CPU time used so far, up to the last report of each thread (at most a second old).
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.own.load(Ordering::Relaxed))
    }

    /// CPU time of threads that libav started for the stream, as far as it was looked for.
    pub(crate) fn codecs(&self) -> Duration {
        Duration::from_nanos(self.0.codecs.load(Ordering::Relaxed))
    }

    /// Pictures, or frames of sound alone, and pixels that were encoded.
    pub(crate) fn encoded(&self) -> (u64, u64) {
        (self.0.frames.load(Ordering::Relaxed), self.0.pixels.load(Ordering::Relaxed))
    }

    /// Counts a picture that was encoded; of sound, no pixels.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn count_encoded(&self, pixels: u64) {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
        self.0.pixels.fetch_add(pixels, Ordering::Relaxed);
    }

    /// Tags of live sources that were left out because an encoder did not keep up.
    pub(crate) fn left_out(&self) -> u64 {
        self.0.left_out.load(Ordering::Relaxed)
    }

    /// Counts such tags.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn count_left_out(&self, tags: u64) {
        self.0.left_out.fetch_add(tags, Ordering::Relaxed);
    }

    /// Adds what the calling thread used since `lap` was last given.
    pub(crate) fn lap(&self, lap: &mut CpuLap) {
        let used = thread_cpu_time();
        let since = used.saturating_sub(lap.reported);
        lap.reported = used;
        self.0.own.fetch_add(nanos(since), Ordering::Relaxed);
    }

    /// Adds what a thread used that libav started.
    pub(super) fn add_codec(&self, used: Duration) {
        self.0.codecs.fetch_add(nanos(used), Ordering::Relaxed);
    }

    /// Moves all that was counted to `payers`, an equal part to each; it stays while there are none.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "what is encoded is shared"))]
    pub(crate) fn share_among(&self, payers: &[Self]) {
        let Some(count) = u64::try_from(payers.len()).ok().filter(|count| *count > 0) else { return };
        for sum in [|of| &of.own, |of| &of.codecs, |of| &of.frames, |of| &of.pixels, |of| &of.left_out]
            as [fn(&Sums) -> &AtomicU64; 5]
        {
            let all = sum(&self.0).swap(0, Ordering::Relaxed);
            for (place, payer) in payers.iter().enumerate() {
                let rest = if place == 0 { all % count } else { 0 };
                sum(&payer.0).fetch_add(all / count + rest, Ordering::Relaxed);
            }
        }
    }

    /// Tells it from other meters, as long as it is there.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
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
    fn what_is_shared_is_paid_for_once() {
        let (cost, payers) = (CpuMeter::default(), [CpuMeter::default(), CpuMeter::default()]);
        (0..5).for_each(|_| cost.count_encoded(100));
        cost.count_left_out(4);
        cost.share_among(&[]);
        assert_eq!(cost.encoded(), (5, 500), "nobody pays yet");
        cost.share_among(&payers);
        assert_eq!((cost.encoded(), cost.left_out()), ((0, 0), 0));
        assert_eq!(payers.each_ref().map(CpuMeter::encoded), [(3, 250), (2, 250)]);
        assert_eq!(payers.each_ref().map(CpuMeter::left_out), [2, 2]);
    }

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
