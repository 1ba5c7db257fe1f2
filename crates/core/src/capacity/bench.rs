//! The self-benchmark: what a stream of some kind costs on this machine.
//!
//! It runs real streams: an engine of its own plays a file to a receiver on loopback that throws away what it gets, in real
//! time, at the real tick, with hundreds of streams at once: on a core that idles every wake-up begins with cold caches, so
//! that one of a hundred costs a third more than one of a thousand, and one alone twice as much. CPU time is read from the
//! clocks of the threads that serve the streams; the receiver's thread is measured apart.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::kind::{StreamKind, TransportKind};
use super::loopback::Loopback;
use super::loopback_tls::Identity;
use super::media;
use crate::bit_rate::BitRate;
use crate::config::{Config, ReelStore};
use crate::engine::Engine;
use crate::error::Error;
use crate::machine::{BusySince, Machine, Usage};
use crate::net::random;
use crate::net::tls::TlsRoots;
use crate::output::Output;
use crate::source::Source;
use crate::stats::{OutputPhase, SourceMode, StreamStats};
use crate::stream::StreamHandle;

/// Until all streams send.
const START: Duration = Duration::from_secs(10);
/// What starting cost is over this long after the last stream sends.
const SETTLE: Duration = Duration::from_millis(300);
/// A stream reports its rates once a second, with the tick after: a value that is read this long after a moment was measured after it.
const REPORT: Duration = Duration::from_millis(1150);
/// The benchmark sends at most this much for each core: a machine that streams already must go on doing so.
const PER_CORE: BitRate = BitRate::from_kbps(850_000);
/// There are this many times fewer streams that read their files directly: each takes megabytes, and they cost alike in any number.
const FEWER_DIRECT: usize = 4;
/// Bytes a stream takes at most, from a reel and directly.
const MEMORY_REEL: u64 = 1 << 20;
const MEMORY_DIRECT: u64 = 8 << 20;
/// Descriptors and threads a stream has at most, besides two descriptors for each output: its end and the receiver's.
const DESCRIPTORS: u64 = 4;
const THREADS: u64 = 2;
/// What it has at least. The process is counted as a whole, and what else it does may end meanwhile.
const LEAST_DESCRIPTORS: u32 = 1;
const LEAST_THREADS: u32 = 1;
/// What a worker reads ahead: in short strides, so that a second of it is a second's work.
const READ_AHEAD: Duration = Duration::from_secs(1);
/// Bitrates the streams must reach of what the file has.
const REACHED: f64 = 0.9;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kind: StreamKind,
    /// A file to play instead of made-up media; its bitrate then counts.
    pub(crate) file: Option<PathBuf>,
    /// How long the streams are measured for, at least a second.
    pub(crate) window: Duration,
    /// Most streams at once.
    pub(crate) streams: usize,
    pub(crate) machine: Machine,
    /// Files play from reels.
    pub(crate) reels: bool,
}

/// What came out, per stream.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) streams: usize,
    pub(crate) mode: SourceMode,
    /// Of the media.
    pub(crate) bit_rate: BitRate,
    /// CPU seconds per second, of the stream's own threads.
    pub(crate) cpu: f64,
    /// CPU seconds per second the receiver took for it.
    pub(crate) receiver_cpu: f64,
    /// Cores that other processes used meanwhile.
    pub(crate) others: f64,
    /// Bytes by which this process grew.
    pub(crate) memory: u64,
    pub(crate) descriptors: u32,
    pub(crate) threads: u32,
}

impl Plan {
    /// How many streams: what the machine surely carries besides what it does already.
    fn count(&self) -> usize {
        let each = self.kind.bit_rate.kbps() * f64::from(self.kind.outputs);
        let fit = PER_CORE.kbps() * self.machine.cores.max(0.25) / each;
        let share = |left: Option<u64>, each: u64| left.unwrap_or(u64::MAX) as f64 / each as f64 / 2.0;
        let descriptors =
            share(self.machine.descriptors_left, DESCRIPTORS + 2 * u64::from(self.kind.outputs));
        let threads = share(self.machine.threads_left, THREADS);
        let memory = share(self.machine.memory_left, if self.reels { MEMORY_REEL } else { MEMORY_DIRECT });
        let most = if self.reels { self.streams } else { self.streams / FEWER_DIRECT };
        (fit.min(descriptors).min(threads).min(memory) as usize).clamp(2, most.max(2))
    }

    /// Runs the streams and measures them.
    ///
    /// # Errors
    ///
    /// [`Error::Benchmark`] if they do not all get on the air or do not keep their bitrate; what starting a stream may fail
    /// with.
    pub(crate) fn run(&self, config: &Config) -> Result<Figures, Error> {
        let fail = |reason: String| Err(Error::Benchmark { reason });
        let directory = Directory::new()?;
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let file = directory.0.join("media.flv");
                media::write(&file, self.kind.bit_rate).map_err(|source| Error::System {
                    what: "no file for the self-benchmark",
                    source: source.into(),
                })?;
                file
            }
        };
        let identity = match self.kind.transport {
            TransportKind::Plain => None,
            TransportKind::Tls => Some(Identity::new()?),
        };
        let receiver = Loopback::start(identity.as_ref())?;
        let engine = Engine::new(settings(config, &directory.0))?;
        let before = Usage::now();
        let count = self.count();
        let streams = (0..count)
            .map(|_| start(&engine, &file, self.kind, &receiver, identity.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let deadline = Instant::now() + START;
        let publishers = u64::from(self.kind.outputs) * count as u64;
        while receiver.accepted() < publishers || streams.iter().any(|stream| !is_sending(&stream.stats())) {
            if Instant::now() >= deadline {
                return fail(format!("{} of {publishers} outputs got on the air", receiver.accepted()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(SETTLE);
        let (began, receiver_before, busy) = (Instant::now(), receiver.cpu(), BusySince::now());
        let rounds = (self.window.as_secs_f64() / REPORT.as_secs_f64()).round().max(1.0) as u32;
        // The first reports after this cover what was before it, too.
        std::thread::sleep(REPORT);
        let mut best: Option<Sum> = None;
        for _ in 0..rounds {
            std::thread::sleep(REPORT);
            let mut sum = Sum::default();
            streams.iter().for_each(|stream| sum.add(&stream.stats()));
            if best.as_ref().is_none_or(|best| sum.is_nearer(best)) {
                best = Some(sum);
            }
        }
        let sum = best.unwrap_or_default();
        let elapsed = began.elapsed().as_secs_f64();
        let others = busy.others();
        let receiver_cpu = receiver.cpu().saturating_sub(receiver_before).as_secs_f64() / elapsed;
        let after = Usage::now();
        let stats = streams.first().map(|stream| stream.stats());
        engine.shutdown(Duration::from_secs(5));
        let n = count as f64;
        let per_stream = |after: u64, before: u64| (after.saturating_sub(before) as f64 / n).round();
        let (bit_rate, cpu) = (sum.bit_rate.scaled(1.0 / sum.reports), sum.cpu / sum.reports);
        if self.file.is_none() && bit_rate < self.kind.bit_rate.scaled(REACHED) {
            return fail(format!("{count} streams reach {bit_rate} instead of {}", self.kind.bit_rate));
        }
        Ok(Figures {
            streams: count,
            mode: stats.map(|stats| stats.mode).unwrap_or_default(),
            bit_rate,
            cpu,
            receiver_cpu: receiver_cpu / n,
            others,
            memory: per_stream(after.rss, before.rss) as u64,
            // The receiver is in this process, too, with a descriptor for each output.
            descriptors: (per_stream(after.descriptors, before.descriptors) as u32)
                .saturating_sub(self.kind.outputs)
                .max(self.kind.outputs + LEAST_DESCRIPTORS),
            threads: (per_stream(after.threads, before.threads) as u32).max(LEAST_THREADS),
        })
    }
}

/// The settings of the engine the streams run on.
fn settings(config: &Config, directory: &Path) -> Config {
    let mut settings = config.clone();
    settings.max_streams = usize::MAX;
    settings.max_streams_per_owner = usize::MAX;
    settings.read_ahead.media = settings.read_ahead.media.min(READ_AHEAD);
    // A store of its own: the engine's belongs to the engine.
    settings.reels = config.reels.as_ref().map(|_| ReelStore::new(directory.join("reels")));
    settings
}

fn start(
    engine: &Engine,
    file: &Path,
    kind: StreamKind,
    receiver: &Loopback,
    identity: Option<&Identity>,
) -> Result<StreamHandle, Error> {
    let scheme = if identity.is_some() { "rtmps" } else { "rtmp" };
    let roots = identity.map_or(TlsRoots::Platform, |identity| identity.roots.clone());
    let output = |number: u32| {
        let url = format!("{scheme}://{}/capacity/{number}", receiver.address);
        Output::rtmp_url(&url).tls_roots(roots.clone())
    };
    let builder = engine.stream(Source::file(file).looped()).to(output(0));
    (1..kind.outputs).fold(builder, |builder, number| builder.to(output(number))).start()
}

fn is_sending(stats: &StreamStats) -> bool {
    stats.bytes_sent > 0 && stats.outputs.iter().all(|output| output.phase == OutputPhase::Live)
}

/// Reports added up.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    reports: f64,
    cpu: f64,
    bit_rate: BitRate,
}

impl Sum {
    fn add(&mut self, stats: &StreamStats) {
        self.reports += 1.0;
        self.cpu += stats.cpu_percent / 100.0;
        self.bit_rate = [self.bit_rate, stats.bit_rate].into_iter().sum();
    }

    /// Whether this round is nearer the truth than `other`. What else runs makes each bit dearer: the least disturbed round is
    /// that of the cheapest bits. What a round costs as a whole says less: streams that were kept from sending cost nothing.
    fn is_nearer(&self, other: &Self) -> bool {
        let each = |sum: &Self| sum.cpu / sum.bit_rate.kbps();
        self.bit_rate > BitRate::default()
            && (other.bit_rate <= BitRate::default() || each(self) < each(other))
    }
}

/// A directory of the benchmark's own.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self, Error> {
        let number = u64::from_le_bytes(random::bytes());
        let path = std::env::temp_dir().join(format!("flowcast-capacity-{number:016x}"));
        std::fs::create_dir(&path).map_err(|source| Error::System {
            what: "no directory for the self-benchmark",
            source: source.into(),
        })?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_without_sending_is_not_the_cheapest() {
        let sum = |cpu, kbps| Sum { reports: 4.0, cpu, bit_rate: BitRate::from_kbps(kbps) };
        let (starved, whole, busy) = (sum(0.001, 100), sum(0.004, 3200), sum(0.009, 3200));
        assert!(whole.is_nearer(&starved) && !starved.is_nearer(&whole));
        assert!(whole.is_nearer(&busy) && !busy.is_nearer(&whole));
        let nothing = Sum::default();
        assert!(starved.is_nearer(&nothing) && !nothing.is_nearer(&starved) && !nothing.is_nearer(&nothing));
    }

    #[test]
    fn a_benchmark_is_as_large_as_the_machine_bears() {
        let machine = Machine {
            cores: 2.0,
            cores_used: 0.0,
            cores_used_by_others: 0.0,
            memory_left: None,
            memory_used: 0,
            descriptors_left: None,
            threads_left: None,
        };
        let count = |kind, machine, reels| {
            let window = Duration::from_secs(1);
            Plan { kind, file: None, window, streams: 640, machine, reels }.count()
        };
        let copy = |kbps| StreamKind::copy(BitRate::from_kbps(kbps));
        let slow = copy(1000);
        assert_eq!(count(slow, machine, true), 640);
        assert_eq!(count(slow, machine, false), 160);
        assert_eq!(count(copy(10_000), machine, true), 170);
        assert_eq!(count(copy(10_000).outputs(5), machine, true), 34);
        assert_eq!(count(copy(10_000_000), machine, true), 2);
        // Half of what is left, and six for a stream of one output.
        assert_eq!(count(slow, Machine { descriptors_left: Some(240), ..machine }, true), 20);
        assert_eq!(count(slow, Machine { threads_left: Some(40), ..machine }, true), 10);
        assert_eq!(count(slow, Machine { memory_left: Some(100 << 20), ..machine }, true), 50);
        assert_eq!(count(slow, Machine { memory_left: Some(160 << 20), ..machine }, false), 10);
    }
}
