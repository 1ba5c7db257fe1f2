//! Loops a media file to RTMP servers: by copying packets, or encoded where it does not fit.
//!
//! Without arguments it is the demo: it makes a short clip, starts the embedded server, loops the clip to it, plays it back
//! in process and checks what arrives.
mod demo;
#[path = "../support/encoding.rs"]
mod encoding;
mod player;
#[path = "../support/mod.rs"]
mod support;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use encoding::{Asked, EncodingArgs};
use flowcast::encode::QualityLadder;
use flowcast::error::chain;
use flowcast::stats::SourceMode;
use flowcast::stats::StreamStats;
use flowcast::{BitRate, Config, Engine, Source, StreamHandle};
use serde::Serialize;
use support::outputs::OutputArgs;
use support::print::{out, round};
use support::progress::Progress;
use support::reels::ReelArgs;
use support::{Result, cli, events, print, process};

/// Loops a media file to RTMP servers, recordings and HLS: by copying packets, or encoded where it does not fit.
///
/// Without arguments it is a demo: it makes a short clip, loops it to the embedded server, plays it back and
/// checks what arrives.
#[derive(Parser)]
#[command(name = "loop_file", max_term_width = cli::WIDTH)]
struct Cli {
    /// The file to loop; without it the demo runs
    file: Option<PathBuf>,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Run this many streams of the file, each with its own outputs
    #[arg(long, value_name = "N", default_value = "1")]
    streams: NonZeroUsize,

    /// Begin this many seconds into the file, at the keyframe before; with --no-reels at the file's beginning
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    start: Option<Duration>,

    /// Send silence if the file has no audio track
    #[arg(long)]
    silence: bool,

    /// Step down where the machine does not keep up with what is encoded, and back when there is room
    #[arg(long)]
    ladder: bool,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,

    #[command(flatten)]
    encoding: EncodingArgs,

    #[command(flatten)]
    reels: ReelArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    streams: usize,
    mode: String,
    asked_mode: String,
    encoder: &'a str,
    first_media_ms: Option<f64>,
    seconds: f64,
    bytes_sent: u64,
    cpu_ms_per_stream_second: f64,
    rss_kb: u64,
    threads: u64,
    bytes_held: u64,
    drops: u64,
    reconnects: u64,
    loops: u64,
    abandoned: usize,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(match (&cli.file, cli.outputs.is_empty()) {
        (None, true) => demo::run(cli.json),
        (None, false) => cli::wrong::<Cli>("there is no file to loop"),
        (Some(_), true) => {
            cli::wrong::<Cli>("there is no output: give --to URL, --record FILE.flv or --hls DIR")
        }
        (Some(file), false) => run(&cli, file),
    })
}

fn run(cli: &Cli, file: &Path) -> Result<()> {
    let streams = cli.streams.get();
    let stop = support::stop_flag()?;
    let mut config = Config::from_env()?;
    config.ladder = cli.ladder.then(QualityLadder::default);
    config.max_streams = config.max_streams.max(streams);
    config.reels = cli.reels.store();
    let mut asked = Asked::of(&cli.encoding, &config);
    let engine = Engine::new(config)?;
    let happened = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let running: Vec<StreamHandle> =
        (0..streams).map(|number| start(&engine, cli, file, number)).collect::<Result<_>>()?;

    let mut progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            asked.hear(&event.kind);
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        running.iter().for_each(|stream| asked.see(&stream.stats()));
        if running.iter().all(|stream| stream.has_ended()) {
            break;
        }
        if progress.is_shown() {
            let line = Total::of(&running).line(began.elapsed(), process::cpu_time() - cpu_before);
            progress.show(format!("{line}  {}", asked.text()));
            progress.show_outputs(running.iter().flat_map(|stream| stream.stats().outputs));
        }
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed(), process::cpu_time() - cpu_before);
    let (rss_kb, threads) = (process::rss_kb(), process::threads());
    let total = Total::of(&running);
    let failure = running.iter().find_map(|stream| stream.wait_timeout(Duration::ZERO)?.err());
    let report = engine.shutdown(Duration::from_secs(5));
    // What was recorded is counted once it is written, some of it at the end.
    let was_live =
        running.iter().any(|stream| stream.stats().outputs.iter().any(|output| output.bytes_sent > 0));
    let per_stream_second = cpu.as_secs_f64() * 1000.0 / (elapsed.as_secs_f64() * streams as f64);
    let first_media_ms = total.first_media.map(|time| round(time.as_secs_f64() * 1e3, 1));
    let report = Report {
        streams,
        mode: total.mode.to_string(),
        asked_mode: asked.mode().to_string(),
        encoder: asked.encoder(),
        first_media_ms,
        seconds: round(elapsed.as_secs_f64(), 2),
        bytes_sent: total.bytes_sent,
        cpu_ms_per_stream_second: round(per_stream_second, 4),
        rss_kb,
        threads,
        bytes_held: total.bytes_held,
        drops: total.drops,
        reconnects: total.reconnects,
        loops: total.laps,
        abandoned: report.abandoned,
    };
    if cli.json {
        print::json(&report)?;
    } else {
        report.tell(&asked)?;
    }
    match failure {
        Some(error) => Err(chain(&error).into()),
        None if !was_live => Err("no output was ever on the air".into()),
        None => Ok(()),
    }
}

fn start(engine: &Engine, cli: &Cli, file: &Path, number: usize) -> Result<StreamHandle> {
    let mut source = cli.encoding.source(Source::file(file).looped());
    if cli.silence {
        source = source.with_silence();
    }
    if let Some(start) = cli.start {
        source = source.starting_at(start);
    }
    Ok(cli.outputs.add(engine.stream(source), number)?.start()?)
}

impl Report<'_> {
    /// Prints it for a person.
    fn tell(&self, asked: &Asked) -> Result<()> {
        let first = match self.first_media_ms {
            Some(millis) => format!("first media after {millis:.0} ms"),
            None => "no media sent".to_owned(),
        };
        Ok(out!(
            "{} stream{}, {}, played {}, {first}, {:.1} s, {:.1} MB sent and recorded, {:.2} ms CPU per stream-second, \
             {} MB resident, {} loops, {} drops, {} reconnects",
            self.streams,
            if self.streams == 1 { "" } else { "s" },
            asked.text(),
            self.mode,
            self.seconds,
            self.bytes_sent as f64 / 1e6,
            self.cpu_ms_per_stream_second,
            self.rss_kb / 1024,
            self.loops,
            self.drops,
            self.reconnects
        )?)
    }
}

/// Sums over all streams.
#[derive(Default)]
struct Total {
    /// Of the stream that does worst.
    mode: SourceMode,
    /// Of the stream that took longest.
    first_media: Option<Duration>,
    bit_rate: BitRate,
    bytes_sent: u64,
    bytes_held: u64,
    lag: Duration,
    drops: u64,
    reconnects: u64,
    laps: u64,
}

impl Total {
    fn of(streams: &[StreamHandle]) -> Self {
        streams.iter().map(|stream| stream.stats()).fold(Self::default(), |sum, stats: StreamStats| Self {
            mode: if sum.mode == SourceMode::Direct { sum.mode } else { stats.mode },
            first_media: sum.first_media.max(stats.first_media),
            bit_rate: [sum.bit_rate, stats.bit_rate].into_iter().sum(),
            bytes_sent: sum.bytes_sent + stats.bytes_sent,
            bytes_held: sum.bytes_held + stats.bytes_held,
            lag: sum.lag.max(stats.lag),
            drops: sum.drops + stats.drops,
            reconnects: sum.reconnects + stats.reconnects,
            laps: sum.laps + stats.laps,
        })
    }

    fn line(&self, elapsed: Duration, cpu: Duration) -> String {
        format!(
            "{:.1} s  {:.0} kbit/s  CPU {:.2} %  lag {} ms  {} drops  {} reconnects  {} loops",
            elapsed.as_secs_f64(),
            self.bit_rate.kbps(),
            cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
            self.lag.as_millis(),
            self.drops,
            self.reconnects,
            self.laps
        )
    }
}
