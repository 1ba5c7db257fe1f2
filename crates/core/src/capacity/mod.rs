//! How many more streams fit: what one costs on this machine, against what the machine has left.
//!
//! In: kinds of streams and how they are mixed. Out: a number, the resource that ends first, and what all of it was computed
//! from. Costs are measured ([`bench`]), not assumed; what is assumed is listed in [`Capacity::notes`].

mod bench;
mod cost;
mod costs;
mod fit;
mod kind;
mod loopback;
mod loopback_tls;
mod media;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use cost::{Cost, CostBasis};
pub use fit::ResourceFit;
pub use kind::{Mix, Processing, StreamKind, TransportKind};

use self::kind::LEAST;
use crate::admission::Costs;
use crate::bit_rate::BitRate;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, Resource};
use crate::machine::Machine;
use crate::stats::{OutputPhase, OutputStats, OutputTransport, StreamStats};

/// The CPU use of the machine is measured over this.
const LOOK: Duration = Duration::from_millis(300);

/// Other processes that use more than this share of the cores are mentioned.
const DISTURBED: f64 = 0.05;

/// Where the servers are that streams go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Receivers {
    /// On other machines.
    #[default]
    Elsewhere,
    /// On this one, over loopback: what taking the bytes off a socket costs counts, too. For test benches.
    ThisMachine,
}

/// What a capacity is computed with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CapacityOptions {
    /// The network's speed that streams may use; what is already running is subtracted, and each output counts. Default `None`: the
    /// network is no limit.
    pub uplink: Option<BitRate>,
    /// The share of the cores that stays free, 0.0 to 0.95. Default 0.2: near the full load ticks come late. With 0 the
    /// answer is where streams begin to lose media.
    pub cpu_reserve: f64,
    /// Bytes of memory that stay free. Default 64 MiB.
    pub memory_reserve: u64,
    /// Where the outputs' servers are. Default: elsewhere.
    pub receivers: Receivers,
    /// How long a benchmark measures, 1 to 60 s; starting and settling take about two seconds more. Of each second's
    /// figures the lowest count, so that longer helps on a machine that does other things, too. Default 1 s.
    pub benchmark: Duration,
    /// The most streams a benchmark runs at once, at least 2; a quarter of that where files are read directly, and fewer where
    /// they would take more than about a sixth of the machine. With few streams, each looks more expensive than among many. Default
    /// 640.
    pub benchmark_streams: usize,
    /// A benchmark of this process that is not older is used again; zero measures again. Default ten minutes.
    pub reuse: Duration,
    /// The file benchmarks play, which a kind's bitrate should be that of. Default `None`: media is made up.
    pub file: Option<PathBuf>,
}

impl Default for CapacityOptions {
    fn default() -> Self {
        Self {
            uplink: None,
            cpu_reserve: 0.2,
            memory_reserve: 64 << 20,
            receivers: Receivers::Elsewhere,
            benchmark: Duration::from_secs(1),
            benchmark_streams: 640,
            reuse: Duration::from_secs(600),
            file: None,
        }
    }
}

impl CapacityOptions {
    fn check(&self) -> Result<(), Error> {
        let fail = |reason: &str| Err(Error::Config { name: "capacity", reason: reason.to_owned() });
        if !(0.0..=0.95).contains(&self.cpu_reserve) {
            return fail("cpu_reserve must be 0.0 to 0.95");
        }
        if self.benchmark_streams < 2 {
            return fail("benchmark_streams must be at least 2");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.benchmark) {
            return fail("benchmark must be 1 s to 60 s");
        }
        Ok(())
    }
}

/// How many more streams of a mix fit, and why not more. `Display` gives a few lines for a terminal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Capacity {
    /// Streams that run in the engine now.
    pub streams_now: usize,
    /// Streams that fit besides those.
    pub more: u64,
    /// What ends first.
    pub limiting: Resource,
    /// Each kind of the mix.
    pub kinds: Vec<KindCapacity>,
    /// Each resource that is known to be limited.
    pub resources: Vec<ResourceFit>,
    /// The machine as it was found.
    pub machine: Machine,
    /// What was measured, and what was assumed.
    pub notes: Vec<String>,
}

/// One kind of a mix.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct KindCapacity {
    /// Which.
    pub kind: StreamKind,
    /// Streams of it among [`Capacity::more`].
    pub more: u64,
    /// What one takes.
    pub cost: Cost,
}

impl Engine {
    /// How many more streams of this mix the engine can run on this machine, with the defaults of [`CapacityOptions`].
    ///
    /// What a stream takes is measured by a self-benchmark: real streams of made-up media to a receiver on loopback in this
    /// process. Its result is used again for ten minutes. It takes up to about a sixth of the machine while it runs, a thread
    /// and a few descriptors per stream, and a few megabytes in the directory for temporary files. Where many streams of the
    /// kind run in this engine, their CPU time counts instead.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod capacity { pub use flowcast_core::*; } }
    /// use flowcast::{BitRate, Config, Engine};
    /// use flowcast::capacity::{Mix, StreamKind};
    ///
    /// # fn main() -> Result<(), flowcast::Error> {
    /// let engine = Engine::new(Config::default())?;
    /// let capacity = engine.capacity(&Mix::of(StreamKind::copy(BitRate::from_kbps(2650)).tls()))?;
    /// println!("{} more, then there is no {} left", capacity.more, capacity.limiting);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a mix with a weight that is not positive, or a kind below 64 kbit/s or without outputs;
    /// [`Error::Benchmark`] if the benchmark's streams cannot run, and
    /// what starting a stream may fail with.
    ///
    /// # Blocking
    ///
    /// Less than half a second, and about three seconds more for each kind that has to be measured. A machine too busy to
    /// get the benchmark's streams on the air ends it after ten.
    pub fn capacity(&self, mix: &Mix) -> Result<Capacity, Error> {
        self.capacity_with(mix, &CapacityOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// As for [`Engine::capacity`]; [`Error::Config`] for options outside of their ranges, too.
    ///
    /// # Blocking
    ///
    /// As for [`Engine::capacity`], with the duration of the benchmark as given.
    pub fn capacity_with(&self, mix: &Mix, options: &CapacityOptions) -> Result<Capacity, Error> {
        options.check()?;
        let shares = shares(mix)?;
        let machine = Machine::look(LOOK);
        let running: Vec<_> = self.streams().iter().map(|stream| stream.stats()).collect();
        let mut costs = Vec::with_capacity(shares.len());
        for (kind, share) in &shares {
            let cost = cost::measured(*kind, self.config(), options, &machine)?;
            costs.push((cost.corrected(kind, &running), *share));
        }
        let present = fit::Present {
            streams: self.running(),
            max_streams: self.config().max_streams,
            bit_rate: running.iter().map(sent).sum(),
        };
        let resources = fit::fits(&machine, &present, options, &costs);
        let (limiting, more) = resources
            .iter()
            .min_by_key(|fit| fit.fits)
            .map_or((Resource::Cpu, 0), |fit| (fit.resource, fit.fits));
        let parts = fit::divide(more, &shares.iter().map(|(_, share)| *share).collect::<Vec<_>>());
        let kinds: Vec<_> = shares
            .iter()
            .zip(&costs)
            .zip(parts)
            .map(|(((kind, _), (cost, _)), more)| KindCapacity { kind: *kind, more, cost: *cost })
            .collect();
        let notes = notes(&machine, options, &kinds);
        Ok(Capacity { streams_now: present.streams, more, limiting, kinds, resources, machine, notes })
    }
}

impl Capacity {
    /// A table of costs for [admission](crate::MeasuredAdmission) with what was measured here in place of its own figures.
    ///
    /// Of a kind with one RTMP output, the stream costs what was measured less [`Costs::push`]. Of one with one RTMPS output,
    /// [`Costs::tls_push`] is the rest; the kind over RTMP should be in the mix, too. Of one with several outputs, all but the stream is
    /// divided by them. The highest bit rate of the kinds is the one that files are taken to have.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod admission { pub use flowcast_core::*; } pub mod capacity { pub use flowcast_core::*; } }
    /// use flowcast::admission::{Costs, MeasuredAdmission};
    /// use flowcast::capacity::{Mix, StreamKind};
    /// use flowcast::{BitRate, Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let kind = StreamKind::copy(BitRate::from_kbps(2650));
    /// let capacity = engine.capacity(&Mix::of(kind).and(kind.tls(), 1.0))?;
    /// let costs = capacity.costs(Costs::default()); // to be kept in a file, say
    /// engine.set_admission(Some(MeasuredAdmission::default().with(|admission| admission.costs = costs)))?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    #[must_use]
    pub fn costs(&self, base: Costs) -> Costs {
        costs::filled(base, &self.kinds)
    }
}

/// The kinds with shares that add up to 1.
fn shares(mix: &Mix) -> Result<Vec<(StreamKind, f64)>, Error> {
    let usable = |weight: &f64| weight.is_finite() && *weight > 0.0;
    let fail = |reason: String| Err(Error::Config { name: "mix", reason });
    for (kind, weight) in mix.kinds() {
        if !usable(weight) {
            return fail(format!("the weight of {kind} must be positive"));
        }
        if kind.bit_rate < LEAST || kind.outputs == 0 {
            return fail(format!("{kind} must have at least {LEAST} and one output"));
        }
    }
    let sum: f64 = mix.kinds().iter().map(|(_, weight)| weight).sum();
    if !usable(&sum) {
        return fail("the weights are too large together".to_owned());
    }
    Ok(mix.kinds().iter().map(|(kind, weight)| (*kind, weight / sum)).collect())
}

/// What a stream sends to the network.
fn sent(stats: &StreamStats) -> BitRate {
    let is_network =
        |output: &OutputStats| matches!(output.transport, OutputTransport::Rtmp | OutputTransport::Rtmps);
    let live = |output: &&OutputStats| output.phase == OutputPhase::Live && is_network(output);
    stats.outputs.iter().filter(live).map(|_| stats.bit_rate).sum()
}

/// Whether looped files play from reels.
pub(crate) fn has_reels(config: &Config) -> bool {
    config.reels.is_some()
}

fn notes(machine: &Machine, options: &CapacityOptions, kinds: &[KindCapacity]) -> Vec<String> {
    let mut notes = Vec::new();
    for kind in kinds {
        notes.push(match kind.cost.basis {
            CostBasis::Running { streams } => {
                format!("{}: CPU time as of {streams} streams that run", kind.kind)
            }
            CostBasis::Benchmark { streams } => {
                format!("{}: measured with {streams} streams to a receiver on loopback", kind.kind)
            }
        });
        if kind.cost.disturbance > DISTURBED * machine.cores {
            notes.push(format!(
                "{}: measured while other processes used {:.1} cores, so rather too dear",
                kind.kind, kind.cost.disturbance
            ));
        }
    }
    notes.push(match options.receivers {
        Receivers::Elsewhere => {
            "assumed: sending to the network costs what sending over loopback does".to_owned()
        }
        Receivers::ThisMachine => "assumed: the receivers take bytes off their sockets unread".to_owned(),
    });
    notes.push("assumed: files are read from the page cache; a quarter of a second is in flight".to_owned());
    if options.uplink.is_none() {
        notes.push("assumed: the network is no limit".to_owned());
    }
    if machine.memory_left.is_none() {
        notes.push("unknown: how much memory is left".to_owned());
    }
    notes
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} more streams fit besides {}; then: {}", self.more, self.streams_now, self.limiting)?;
        for kind in &self.kinds {
            let cost = &kind.cost;
            writeln!(
                f,
                "  {} × {}, {}: {:.2} ms CPU and {:.0} kbit/s a second, {} KiB",
                kind.more,
                kind.kind,
                cost.mode,
                cost.cpu * 1000.0,
                cost.bit_rate.kbps(),
                cost.memory >> 10
            )?;
        }
        for fit in &self.resources {
            writeln!(
                f,
                "  {}: {:.4} left, {:.6} a stream, room for {}",
                fit.resource, fit.left, fit.per_stream, fit.fits
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

crate::settings::settings!(CapacityOptions);

#[cfg(test)]
mod tests;
