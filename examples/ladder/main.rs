//! One file in several sizes: each rendition is a stream of its own, and all have the same times.
//!
//! Without arguments it is the demo: it makes a short clip, records three renditions of it, and checks that they have the same times and the
//! same keyframes.
mod demo;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::encode::Rendition;
use flowcast::error::chain;
use flowcast::{Config, Encoding, Engine, Output, Profile, Source, StreamHandle};
use serde::Serialize;
use support::print::{out, round};
use support::progress::Progress;
use support::reels::ReelArgs;
use support::{Result, cli, events, print, process};

/// Sends a file in several sizes to RTMP servers and recordings, again and again, with keyframes at the same times. Each size is encoded once and
/// kept as a reel; with --once, and without reels, all are encoded while the file plays, decoded once.
///
/// Without arguments it is a demo: it makes a short clip, records three renditions of it and checks them.
#[derive(Parser)]
#[command(name = "ladder", max_term_width = cli::WIDTH)]
struct Cli {
    /// The file; without it the demo runs
    file: Option<PathBuf>,

    /// Send each rendition to rtmp(s)://host/app/key; {} becomes its name, such as 720p. May be given several times
    #[arg(long, value_name = "URL")]
    to: Vec<String>,

    /// Record each rendition to a file; {} becomes its name. May be given several times
    #[arg(long, value_name = "FILE")]
    record: Vec<String>,

    /// The sizes: pixels of the shorter side
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "720,480,360")]
    lines: Vec<u32>,

    /// Send the file as it is, too, under the name "source"
    #[arg(long)]
    source: bool,

    /// Start each of them this many times; {} becomes its name and a number from the second on. They share its encoder
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=16))]
    copies: u32,

    /// Make sizes that are larger than the file, too
    #[arg(long)]
    enlarge: bool,

    /// How much is spent on encoding: ultra, low, default, high and others
    #[arg(long, value_name = "PROFILE", default_value = "ultra")]
    profile: Profile,

    /// Play the file once
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    reels: ReelArgs,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    cpu_ms: f64,
    rss_kb: u64,
    threads: u64,
    renditions: Vec<Figures>,
}

/// One of them.
#[derive(Serialize)]
struct Figures {
    name: String,
    pictures: u64,
    left_out: u64,
    bytes_sent: u64,
    drops: u64,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(match (&cli.file, cli.to.is_empty() && cli.record.is_empty()) {
        (None, true) => demo::run(cli.json),
        (None, false) => cli::wrong::<Cli>("there is no file to send"),
        (Some(_), true) => cli::wrong::<Cli>("there is no output: give --to URL or --record FILE.flv"),
        (Some(file), false) => run(&cli, file),
    })
}

fn run(cli: &Cli, file: &Path) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?.with(|config| config.reels = cli.reels.store()))?;
    let happened = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let running = start(&engine, cli, file)?;
    let progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        if running.iter().all(|(_, stream)| stream.has_ended()) {
            break;
        }
        let names = running
            .iter()
            .map(|(name, stream)| format!("{name} {:.0} kbit/s", stream.stats().bit_rate.kbps()));
        progress.show(format!(
            "{:.1} s  {}  CPU {:.1} %",
            began.elapsed().as_secs_f64(),
            names.collect::<Vec<_>>().join("  "),
            (process::cpu_time() - cpu_before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
        ));
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), (process::cpu_time() - cpu_before).as_secs_f64());
    let (rss_kb, threads) = (process::rss_kb(), process::threads());
    let failure =
        running.iter().find_map(|(name, stream)| Some((name, stream.wait_timeout(Duration::ZERO)?.err()?)));
    engine.shutdown(Duration::from_secs(5));
    let report = Report {
        seconds: round(elapsed, 2),
        cpu_ms: round(cpu * 1e3, 1),
        rss_kb,
        threads,
        renditions: running.iter().map(|(name, stream)| Figures::of(name, stream)).collect(),
    };
    if cli.json {
        print::json(&report)?;
    } else {
        report.tell()?;
    }
    match failure {
        Some((name, error)) => Err(format!("{name}: {}", chain(&error)).into()),
        None => Ok(()),
    }
}

/// Starts a stream for each rendition.
fn start(engine: &Engine, cli: &Cli, file: &Path) -> Result<Vec<(String, StreamHandle)>> {
    let of_lines = |lines: &u32| {
        let rendition = Rendition::lines(*lines);
        if cli.enlarge { rendition.enlarged() } else { rendition }
    };
    let all = cli.source.then(Rendition::source).into_iter().chain(cli.lines.iter().map(of_lines));
    let source = if cli.once { Source::file(file) } else { Source::file(file).looped() };
    let ladder = source.encoding(Encoding::new(cli.profile)).renditions(all)?;
    let mut running = Vec::new();
    let each = ladder.into_iter().flat_map(|(name, source)| {
        (1..=cli.copies).map(move |copy| {
            let name = if copy == 1 { name.clone() } else { format!("{name}-{copy}") };
            (name, source.clone())
        })
    });
    for (name, source) in each {
        let named = |text: &String| text.replace("{}", &name);
        let pushes = cli.to.iter().map(|url| Output::url(&named(url)));
        let records = cli.record.iter().map(|path| Output::record(named(path)));
        let stream = engine.stream(source).label(&name).outputs(pushes.chain(records)).start()?;
        running.push((name, stream));
    }
    Ok(running)
}

impl Figures {
    fn of(name: &str, stream: &StreamHandle) -> Self {
        let stats = stream.stats();
        let encoding = stats.encoding.as_ref();
        Self {
            name: name.to_owned(),
            pictures: encoding.map_or(0, |encoding| encoding.frames),
            left_out: encoding.map_or(0, |encoding| encoding.dropped),
            bytes_sent: stats.bytes_sent,
            drops: stats.drops,
        }
    }
}

impl Report {
    /// Prints it for a person.
    fn tell(&self) -> Result<()> {
        for Figures { name, pictures, left_out, bytes_sent, drops } in &self.renditions {
            let encoded = match (pictures, left_out) {
                (0, 0) => "nothing encoded on the air".to_owned(),
                _ => format!("{pictures} pictures encoded, {left_out} left out"),
            };
            let sent = *bytes_sent as f64 / 1e6;
            out!("{name}: {encoded}, {sent:.1} MB sent and recorded, {drops} drops")?;
        }
        Ok(out!("{:.1} s, {:.0} ms CPU, {} MB resident", self.seconds, self.cpu_ms, self.rss_kb / 1024)?)
    }
}
