//! Says how many more streams of some kinds this machine carries, and what ends first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use flowcast::{
    Capacity, CapacityOptions, Config, CostBasis, Engine, Machine, Mix, Receivers, Resource, StreamKind,
};
use support::args::Args;
use support::json::Object;
use support::{Result, exit, reels};

const USAGE: &str = "\
usage: capacity [--kbps N]... [--uplink MBIT] [--file FILE] [--reserve PERCENT] [--seconds N] [--streams N] [--local] [--json]

  --kbps N         a copied stream of N kbit/s, plain, over TLS and to two servers; may be given again
                   (default: 2650 in all three ways, and 6000 plain)
  --uplink MBIT    what streams may use of the network, Mbit/s
  --file FILE      measure with this file instead of made-up media; give its bitrate with --kbps
  --reserve N      percent of the cores to keep free (default 20; 0 says where media is lost)
  --seconds N      measure so long for each kind (default 1)
  --streams N      measure with so many streams at most (default 640)
  --local          the servers are on this machine, too
  --json           print one JSON object
";

fn main() -> ExitCode {
    exit(run())
}

fn run() -> Result<()> {
    let usage = format!("{USAGE}{}", reels::USAGE);
    let own = ["--kbps", "--uplink", "--file", "--reserve", "--seconds", "--streams"];
    let options: Vec<_> = own.into_iter().chain(reels::OPTIONS).collect();
    let args = Args::parse(&usage, &options, &["--local", "--json", reels::NO_REELS])?;
    let mut config = Config::from_env()?;
    // The machine is asked about, not the limit somebody set.
    config.max_streams = usize::MAX;
    config.reels = reels::store(&args)?;
    let engine = Engine::new(config)?;
    let asked = asked(&args)?;
    let kinds = kinds(&args)?;
    let mut found = Vec::new();
    for kind in kinds {
        if !args.has("--json") {
            eprintln!("measuring {kind} ...");
        }
        found.push((kind, engine.capacity_with(&Mix::of(kind), &asked)?));
    }
    if args.has("--json") {
        println!("{}", object(&found).finish());
    } else {
        tell(&found);
    }
    Ok(())
}

/// What is asked for.
fn asked(args: &Args) -> Result<CapacityOptions> {
    let mut options = CapacityOptions::default();
    options.uplink_kbps = args.last::<f64>("--uplink")?.map(|mbit| (mbit * 1000.0) as u64);
    options.file = args.last::<PathBuf>("--file")?;
    if let Some(percent) = args.last::<f64>("--reserve")? {
        options.cpu_reserve = percent / 100.0;
    }
    if let Some(seconds) = args.last("--seconds")? {
        options.benchmark = Duration::try_from_secs_f64(seconds)?;
    }
    if let Some(streams) = args.last("--streams")? {
        options.benchmark_streams = streams;
    }
    if args.has("--local") {
        options.receivers = Receivers::ThisMachine;
    }
    Ok(options)
}

fn kinds(args: &Args) -> Result<Vec<StreamKind>> {
    let ways = |kbps| {
        let plain = StreamKind::copy(kbps);
        [plain, plain.tls(), plain.outputs(2)]
    };
    let given = args.all("--kbps");
    if given.is_empty() {
        return Ok(ways(2650).into_iter().chain([StreamKind::copy(6000)]).collect());
    }
    let mut kinds = Vec::new();
    for text in given {
        kinds.extend(ways(text.parse().map_err(|_| format!("--kbps: {text:?} is not usable"))?));
    }
    Ok(kinds)
}

fn tell(found: &[(StreamKind, Capacity)]) {
    let Some((_, first)) = found.first() else { return };
    println!("{}\n", about(&first.machine));
    println!(
        "{:<32} {:>7}  {:<18} {:>9} {:>9} {:>8}  read",
        "kind", "streams", "then no", "CPU ms/s", "kbit/s", "KiB"
    );
    for (kind, capacity) in found {
        let cost = &capacity.kinds[0].cost;
        println!(
            "{:<32} {:>7}  {:<18} {:>9.3} {:>9.0} {:>8}  {}",
            kind.to_string(),
            capacity.more,
            capacity.limiting.to_string(),
            cost.cpu * 1000.0,
            cost.kbps,
            cost.memory >> 10,
            cost.mode
        );
    }
    println!();
    let mut told: Vec<&String> = Vec::new();
    for note in found.iter().flat_map(|(_, capacity)| &capacity.notes) {
        if !told.contains(&note) {
            println!("{note}");
            told.push(note);
        }
    }
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

fn object(found: &[(StreamKind, Capacity)]) -> Object {
    let mut object = Object::default();
    if let Some((_, Capacity { machine, .. })) = found.first() {
        object = object
            .value("cores", machine.cores)
            .value("cores_used", format!("{:.3}", machine.cores_used))
            .value("cores_used_by_others", format!("{:.3}", machine.cores_used_by_others))
            .optional("memory_left", machine.memory_left)
            .optional("descriptors_left", machine.descriptors_left)
            .optional("threads_left", machine.threads_left);
    }
    object.list("kinds", found.iter().map(|(kind, capacity)| kind_object(kind, capacity)))
}

fn kind_object(kind: &StreamKind, capacity: &Capacity) -> Object {
    let cost = &capacity.kinds[0].cost;
    let (basis, streams) = match cost.basis {
        CostBasis::Running { streams } => ("running", streams),
        CostBasis::Benchmark { streams } => ("benchmark", streams),
        _ => ("?", 0),
    };
    Object::default()
        .text("kind", &kind.to_string())
        .value("more", capacity.more)
        .text("limiting", &capacity.limiting.to_string())
        .text("mode", &cost.mode.to_string())
        .value("cpu_ms_per_stream_second", format!("{:.4}", cost.cpu * 1000.0))
        .optional(
            "receiver_cpu_ms_per_stream_second",
            cost.receiver_cpu.map(|cpu| format!("{:.4}", cpu * 1000.0)),
        )
        .value("disturbance", format!("{:.3}", cost.disturbance))
        .value("kbps", format!("{:.0}", cost.kbps))
        .value("memory", cost.memory)
        .value("descriptors", cost.descriptors)
        .value("threads", cost.threads)
        .text("measured_by", basis)
        .value("measured_streams", streams)
        .list(
            "resources",
            capacity.resources.iter().filter(|fit| fit.resource != Resource::ConfiguredLimit).map(|fit| {
                Object::default()
                    .text("resource", &fit.resource.to_string())
                    .value("left", fit.left)
                    .value("per_stream", fit.per_stream)
                    .value("fits", fit.fits)
            }),
        )
}
