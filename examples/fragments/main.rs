//! Publishes fragments as one stream: the files that are put into a directory, in the order of their names.
//!
//! Without arguments it is the demo: it cuts a clip into fragments, pushes them to the embedded server one after another, plays the stream
//! and checks what arrives.
mod demo;
#[path = "../loop_file/player.rs"]
mod player;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::config::ReconnectPolicy;
use flowcast::fragment::{FragmentDirectory, FragmentOptions, FragmentPace};
use flowcast::{Config, Engine, EventKind, Source};
use serde::Serialize;
use support::outputs::OutputArgs;
use support::print::{out, round};
use support::progress::Progress;
use support::{Result, cli, events, print, process};

/// Publishes the fragments in a directory (complete MP4 files, or an init segment and segments) as one stream, in the order of their names,
/// and those that are put there while it runs.
///
/// Without arguments it is a demo: it cuts a clip into fragments, pushes them to the embedded server, plays the stream and checks what
/// arrives.
#[derive(Parser)]
#[command(name = "fragments", max_term_width = cli::WIDTH)]
struct Cli {
    /// The directory; without it the demo runs
    directory: Option<PathBuf>,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// End when all that is in the directory was played
    #[arg(long)]
    once: bool,

    /// Remove each file once it was played, so that a restart goes on where it was
    #[arg(long)]
    remove: bool,

    /// How fast a fragment goes out: realtime, or off for as fast as it is taken
    #[arg(long, value_name = "PACE", default_value = "realtime")]
    pace: FragmentPace,

    /// Bytes of a fragment that are read at once
    #[arg(long, value_name = "BYTES", default_value = "262144")]
    chunk_size: usize,

    /// Fragments that are held ahead
    #[arg(long, value_name = "N", default_value = "3")]
    ahead: usize,

    /// Dial a server again this many times, two seconds apart, before it is given up
    #[arg(long, value_name = "N", default_value = "5")]
    tries: u32,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,
}

/// What `--json` prints.
#[derive(Serialize, Default)]
struct Report {
    seconds: f64,
    published: u64,
    skipped: u64,
    late: u64,
    fragment_bytes: u64,
    slowest_ms: f64,
    bytes_sent: u64,
    drops: u64,
    reconnects: u64,
    cpu_ms: f64,
    rss_kb: u64,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(match (&cli.directory, cli.outputs.is_empty()) {
        (None, true) => demo::run(cli.json),
        (None, false) => cli::wrong::<Cli>("there is no directory to publish"),
        (Some(_), true) => {
            cli::wrong::<Cli>("there is no output: give --to URL, --record FILE.flv or --hls DIR")
        }
        (Some(directory), false) => run(&cli, directory),
    })
}

fn run(cli: &Cli, directory: &Path) -> Result<()> {
    let stop = support::stop_flag()?;
    let mut config = Config::from_env()?;
    config.reconnect = five_tries(cli.tries);
    let engine = Engine::new(config)?;
    let happened = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let options = FragmentOptions::default().with(|options| {
        options.pace = cli.pace;
        options.chunk_size = cli.chunk_size;
        options.fragment_buffer_size = cli.ahead;
    });
    let mut fragments = FragmentDirectory::new(directory).options(options);
    if cli.remove {
        fragments = fragments.removing();
    }
    let mut source = Source::fragments_in(fragments);
    if cli.once {
        source = source.once();
    }
    let live = cli.outputs.add(engine.stream(source), 0)?.start()?;

    let (mut report, progress) = (Report::default(), Progress::default());
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            report.hear(&event.kind);
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        if live.has_ended() {
            break;
        }
        let stats = live.stats();
        progress.show(format!(
            "{:.1} s  {:.0} kbit/s  {} fragments  {} left out  {} late",
            began.elapsed().as_secs_f64(),
            stats.bit_rate.kbps(),
            report.published,
            report.skipped,
            report.late
        ));
    }
    progress.clear();
    while let Some(event) = happened.next_timeout(Duration::ZERO) {
        report.hear(&event.kind);
    }
    report.cpu_ms = round((process::cpu_time() - cpu_before).as_secs_f64() * 1e3, 1);
    report.rss_kb = process::rss_kb();
    report.seconds = round(began.elapsed().as_secs_f64(), 2);
    let failure = live.wait_timeout(Duration::ZERO).and_then(std::result::Result::err);
    engine.shutdown(Duration::from_secs(5));
    let stats = live.stats();
    (report.bytes_sent, report.drops, report.reconnects) = (stats.bytes_sent, stats.drops, stats.reconnects);
    report.tell(cli.json)?;
    match failure {
        Some(error) => Err(flowcast::error::chain(&error).into()),
        None => Ok(()),
    }
}

/// A server that is lost is dialled again this often, every two seconds.
fn five_tries(tries: u32) -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::default();
    (policy.factor, policy.cap, policy.tries) = (1.0, policy.first, Some(tries.max(1)));
    policy
}

impl Report {
    fn hear(&mut self, kind: &EventKind) {
        match kind {
            EventKind::FragmentPublished { bytes, elapsed, total, .. } => {
                (self.published, self.fragment_bytes) = (*total, self.fragment_bytes + bytes);
                self.slowest_ms = round(elapsed.as_secs_f64() * 1e3, 1).max(self.slowest_ms);
            }
            EventKind::FragmentSkipped { .. } => self.skipped += 1,
            EventKind::FragmentLate { .. } => self.late += 1,
            _ => {}
        }
    }

    fn tell(&self, as_json: bool) -> Result<()> {
        if as_json {
            return print::json(self);
        }
        Ok(out!(
            "{} fragments, {:.1} MB, the slowest in {:.0} ms, {} left out, {} late, {:.1} s, {:.1} MB sent and recorded, \
             {:.0} ms CPU, {} MB resident, {} drops, {} reconnects",
            self.published,
            self.fragment_bytes as f64 / 1e6,
            self.slowest_ms,
            self.skipped,
            self.late,
            self.seconds,
            self.bytes_sent as f64 / 1e6,
            self.cpu_ms,
            self.rss_kb / 1024,
            self.drops,
            self.reconnects
        )?)
    }
}
