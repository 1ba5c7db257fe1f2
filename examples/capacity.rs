//! Says how many more streams of some kinds this machine carries, and what ends first.
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flowcast::capacity::{Capacity, CapacityOptions, Machine, Mix, Receivers, StreamKind};
use flowcast::{BitRate, Config, Engine};
use serde::Serialize;
use support::print::out;
use support::reels::ReelArgs;
use support::{Result, cli, exit, print, progress};

/// Measures how many more streams of some kinds this machine carries, and what runs out first.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH)]
struct Cli {
    /// Bit rate of a copied stream, such as 2650k or 6M, which is measured plain, over TLS and to two servers; may be
    /// given several times. Otherwise 2650k in all three ways, and 6M plain
    #[arg(long = "bitrate", value_name = "RATE")]
    bit_rates: Vec<BitRate>,

    /// What streams may use of the network, such as 1G; otherwise the network is no limit
    #[arg(long, value_name = "RATE")]
    uplink: Option<BitRate>,

    /// Measure with this file instead of made-up media; give its bit rate with --bitrate
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Percent of the cores to keep free, 0 to 95; 0 says where media is lost
    #[arg(long, value_name = "PERCENT", default_value = "20")]
    reserve: f64,

    /// How long each kind is measured, 1 to 60 seconds; starting takes about two seconds more
    #[arg(long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Duration,

    /// Most streams to measure with at once
    #[arg(long, value_name = "N", default_value = "640")]
    streams: usize,

    /// The servers are on this machine, too
    #[arg(long)]
    local: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reels: ReelArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// One for each kind, as if all further streams were of it.
    capacities: Vec<&'a Capacity>,
}

fn main() -> ExitCode {
    exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let mut config = Config::from_env()?;
    // The machine is asked about, not the limit somebody set.
    config.max_streams = usize::MAX;
    config.reels = cli.reels.store();
    let engine = Engine::new(config)?;
    let asked = asked(cli);
    let kinds = kinds(cli);
    let steps = progress::steps(kinds.len() as u64);
    let mut found = Vec::new();
    for kind in kinds {
        steps.set_message(format!("measuring {kind}"));
        found.push((kind, engine.capacity_with(&Mix::of(kind), &asked)?));
        steps.inc(1);
    }
    steps.finish_and_clear();
    if cli.json {
        let capacities = found.iter().map(|(_, capacity)| capacity).collect();
        return print::json(&Report { capacities });
    }
    tell(&found)
}

/// What is asked for.
fn asked(cli: &Cli) -> CapacityOptions {
    let mut options = CapacityOptions::default();
    options.uplink = cli.uplink;
    options.file = cli.file.clone();
    options.cpu_reserve = cli.reserve / 100.0;
    options.benchmark = cli.seconds;
    options.benchmark_streams = cli.streams;
    if cli.local {
        options.receivers = Receivers::ThisMachine;
    }
    options
}

fn kinds(cli: &Cli) -> Vec<StreamKind> {
    let ways = |rate| {
        let plain = StreamKind::copy(rate);
        [plain, plain.tls(), plain.outputs(2)]
    };
    if cli.bit_rates.is_empty() {
        let usual = [2650, 6000].map(BitRate::from_kbps);
        return ways(usual[0]).into_iter().chain([StreamKind::copy(usual[1])]).collect();
    }
    cli.bit_rates.iter().copied().flat_map(ways).collect()
}

fn tell(found: &[(StreamKind, Capacity)]) -> Result<()> {
    let Some((_, first)) = found.first() else { return Ok(()) };
    out!("{}\n", about(&first.machine))?;
    out!(
        "{:<32} {:>7}  {:<18} {:>9} {:>9} {:>8}  read",
        "kind",
        "streams",
        "then no",
        "CPU ms/s",
        "kbit/s",
        "KiB"
    )?;
    for (kind, capacity) in found {
        let cost = &capacity.kinds[0].cost;
        out!(
            "{:<32} {:>7}  {:<18} {:>9.3} {:>9.0} {:>8}  {}",
            kind.to_string(),
            capacity.more,
            capacity.limiting.to_string(),
            cost.cpu * 1000.0,
            cost.bit_rate.kbps(),
            cost.memory >> 10,
            cost.mode
        )?;
    }
    out!("")?;
    let mut told: Vec<&String> = Vec::new();
    for note in found.iter().flat_map(|(_, capacity)| &capacity.notes) {
        if !told.contains(&note) {
            out!("{note}")?;
            told.push(note);
        }
    }
    Ok(())
}

fn about(machine: &Machine) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    format!(
        "{:.2} cores ({:.2} in use by others), {} MiB of memory, {} descriptors and {} threads left",
        machine.cores,
        machine.cores_used_by_others,
        number(machine.memory_left.map(|bytes| bytes >> 20)),
        number(machine.descriptors_left),
        number(machine.threads_left)
    )
}
