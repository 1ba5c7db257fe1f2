//! What one stream of a kind costs, and where that is known from.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::CapacityOptions;
use super::bench::{Figures, Plan};
use super::kind::{StreamKind, TransportKind};
use crate::bit_rate::BitRate;
use crate::config::Config;
use crate::error::Error;
use crate::machine::Machine;
use crate::stats::{SourceMode, StreamPhase, StreamStats};

/// This many streams of a kind must be on the air for their cost to count: each of a few costs more than each of many.
const ENOUGH: usize = 50;
/// A stream younger than this still has its start in its figures.
const YOUNG: Duration = Duration::from_secs(20);
/// Kernel memory of a thread (its kernel stack) and of a socket with nothing in it, bytes.
const KERNEL_PER_THREAD: u64 = 20 << 10;
const KERNEL_PER_OUTPUT: u64 = 6 << 10;
/// Media time in flight to a server far away, which the kernel keeps until it is acknowledged.
const IN_FLIGHT: f64 = 0.25;
/// TCP, IP and Ethernet headers of full segments.
const PACKETS: f64 = 1.045;
/// A TLS record adds 22 bytes to at most 16 KiB; records are as large as a tick's bytes allow.
const RECORDS: f64 = 1.002;

/// What one stream of a kind takes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// CPU seconds per second of its threads, the kernel's work in their name included.
    pub cpu: f64,
    /// CPU seconds per second its receivers take if they run on this machine; `None` if that was not measured.
    pub receiver_cpu: Option<f64>,
    /// Bytes of memory: what the process grows by, and an estimate of what the kernel keeps for it.
    pub memory: u64,
    /// Bits per second on the network, all outputs and packet headers included.
    pub bit_rate: BitRate,
    /// Descriptors.
    pub descriptors: u32,
    /// Threads.
    pub threads: u32,
    /// Cores that other processes used while this was measured: they make a stream dearer, by their use of caches. Measure
    /// again when the machine is quiet if this is more than a few percent.
    pub disturbance: f64,
    /// How the file is read.
    pub mode: SourceMode,
    /// Where this is known from.
    pub basis: CostBasis,
}

/// Where a cost is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostBasis {
    /// CPU time of streams of the kind that run in this engine, over their life; memory and the rest from a benchmark.
    Running {
        /// How many.
        streams: usize,
    },
    /// A self-benchmark.
    Benchmark {
        /// Streams it ran at once.
        streams: usize,
    },
}

impl Cost {
    pub(crate) fn of(kind: &StreamKind, figures: &Figures) -> Self {
        let outputs = f64::from(kind.outputs);
        let records = if kind.transport == TransportKind::Tls { RECORDS } else { 1.0 };
        let in_flight = figures.bit_rate.kbps() * 125.0 * IN_FLIGHT * outputs;
        let kernel =
            KERNEL_PER_THREAD * u64::from(figures.threads) + KERNEL_PER_OUTPUT * u64::from(kind.outputs);
        Self {
            cpu: figures.cpu,
            receiver_cpu: Some(figures.receiver_cpu),
            memory: figures.memory + kernel + in_flight as u64,
            bit_rate: figures.bit_rate.scaled(outputs * PACKETS * records),
            descriptors: figures.descriptors,
            threads: figures.threads,
            disturbance: figures.others,
            mode: figures.mode,
            basis: CostBasis::Benchmark { streams: figures.streams },
        }
    }

    /// The same with the CPU time of streams that run, if enough of them do.
    pub(crate) fn corrected(self, kind: &StreamKind, running: &[StreamStats]) -> Self {
        let alike: Vec<_> = running
            .iter()
            .filter(|stats| {
                stats.phase == StreamPhase::Running
                    && stats.uptime >= YOUNG
                    && stats.mode == self.mode
                    && kind.describes(stats)
            })
            .collect();
        if alike.len() < ENOUGH {
            return self;
        }
        let cpu: f64 = alike.iter().map(|stats| stats.cpu_time.as_secs_f64()).sum();
        let seconds: f64 = alike.iter().map(|stats| stats.uptime.as_secs_f64()).sum();
        Self { cpu: cpu / seconds, basis: CostBasis::Running { streams: alike.len() }, ..self }
    }
}

/// A benchmark that was run.
struct Known {
    kind: StreamKind,
    file: Option<PathBuf>,
    tick: Duration,
    reels: bool,
    at: Instant,
    cost: Cost,
}

/// Benchmarks of this process: what a stream costs is a fact of the machine, not of an engine.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
/// One benchmark at a time, or they measure each other.
static RUNNING: Mutex<()> = Mutex::new(());
/// Benchmarks remembered.
const REMEMBERED: usize = 64;

/// The cost of a kind, from a benchmark that is young enough or a new one.
pub(crate) fn measured(
    kind: StreamKind,
    config: &Config,
    options: &CapacityOptions,
    machine: &Machine,
) -> Result<Cost, Error> {
    let _one = RUNNING.lock();
    let reels = super::has_reels(config);
    let same = |known: &Known| {
        known.kind == kind && known.file == options.file && known.tick == config.tick && known.reels == reels
    };
    let young = |known: &&Known| same(known) && known.at.elapsed() < options.reuse;
    if let Some(known) = KNOWN.lock().iter().find(young) {
        return Ok(known.cost);
    }
    let plan = Plan {
        kind,
        file: options.file.clone(),
        window: options.benchmark,
        streams: options.benchmark_streams,
        machine: *machine,
        reels,
    };
    let mut cost = Cost::of(&kind, &plan.run(config)?);
    let mut known = KNOWN.lock();
    // Memory that an earlier benchmark left to the allocator is taken again without the process growing: what the first one
    // took is nearer the truth.
    let alike = known.iter().filter(|known| known.cost.mode == cost.mode);
    cost.memory = alike.map(|known| known.cost.memory).chain([cost.memory]).max().unwrap_or(0);
    known.retain(|known| !same(known));
    if known.len() == REMEMBERED {
        known.remove(0);
    }
    let file = options.file.clone();
    known.push(Known { kind, file, tick: config.tick, reels, at: Instant::now(), cost });
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OutputId, StreamId};
    use crate::stats::{OutputPhase, OutputStats, OutputTransport};

    fn kind() -> StreamKind {
        StreamKind::copy(BitRate::from_kbps(2000))
    }

    fn benchmark(kind: &StreamKind) -> Cost {
        let figures = Figures {
            streams: 100,
            mode: SourceMode::Reel,
            bit_rate: BitRate::from_kbps(2000),
            cpu: 0.001,
            receiver_cpu: 0.0001,
            others: 0.0,
            memory: 10_000,
            descriptors: 3,
            threads: 1,
        };
        Cost::of(kind, &figures)
    }

    fn running(number: u64, name: &str) -> StreamStats {
        let mut stats = StreamStats::new(StreamId(number), None);
        stats.phase = StreamPhase::Running;
        stats.mode = SourceMode::Reel;
        stats.uptime = Duration::from_secs(100);
        stats.cpu_time = Duration::from_millis(50);
        stats.bit_rate = BitRate::from_kbps(2100);
        let mut output = OutputStats::new(OutputId(0), None, name.to_owned());
        output.phase = OutputPhase::Live;
        output.transport = OutputTransport::Rtmp;
        stats.outputs.push(output);
        stats
    }

    #[test]
    fn the_network_carries_each_output_and_the_kernel_keeps_what_is_in_flight() {
        let (one, two) = (benchmark(&kind()), benchmark(&kind().outputs(2)));
        assert_eq!((one.bit_rate, two.bit_rate), (BitRate::from_kbps(2090), BitRate::from_kbps(4180)));
        assert_eq!(two.memory - one.memory, KERNEL_PER_OUTPUT + 62_500);
    }

    #[test]
    fn many_streams_that_run_say_what_one_costs() {
        let kind = kind();
        let alike: Vec<_> = (0..60).map(|number| running(number, "rtmp://host/app/****")).collect();
        let cost = benchmark(&kind).corrected(&kind, &alike);
        assert_eq!(cost.basis, CostBasis::Running { streams: 60 });
        assert!((cost.cpu - 0.0005).abs() < 1e-9);
        assert_eq!(cost.memory, benchmark(&kind).memory);
    }

    #[test]
    fn few_streams_and_streams_of_other_kinds_do_not() {
        let kind = kind();
        let as_benchmark = |change: &dyn Fn(&mut StreamStats), count: u64| {
            let mut streams: Vec<_> =
                (0..count).map(|number| running(number, "rtmp://host/app/****")).collect();
            streams.iter_mut().for_each(change);
            benchmark(&kind).corrected(&kind, &streams) == benchmark(&kind)
        };
        assert!(!as_benchmark(&|_| {}, 60));
        assert!(as_benchmark(&|_| {}, 49));
        assert!(as_benchmark(&|stats| stats.uptime = Duration::from_secs(5), 60));
        assert!(as_benchmark(&|stats| stats.bit_rate = BitRate::from_kbps(6000), 60));
        assert!(as_benchmark(&|stats| stats.mode = SourceMode::Direct, 60));
        assert!(as_benchmark(&|stats| stats.phase = StreamPhase::Ended, 60));
        assert!(as_benchmark(&|stats| stats.outputs[0].transport = OutputTransport::Rtmps, 60));
        assert!(as_benchmark(&|stats| stats.outputs.push(stats.outputs[0].clone()), 60));
    }
}
