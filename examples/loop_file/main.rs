//! Loops a media file to RTMP servers: by copying packets, or encoded where it does not fit.
//!
//! Without arguments it is the demo: it makes a short clip, starts the embedded server, loops the clip to it, plays it back
//! in process and checks what arrives.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod demo;
#[path = "../support/encoding.rs"]
mod encoding;
mod player;
#[path = "../support/mod.rs"]
mod support;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use encoding::Asked;
use flowcast::{Config, Engine, Source, SourceMode, StreamHandle, StreamStats, chain};
use support::args::Args;
use support::progress::Progress;
use support::{Result, json, process, reels};

const USAGE: &str = "\
usage: loop_file [FILE] [--to URL]... [--record FILE.flv]... [--seconds N] [--streams N] [--start S] [--silence]
                 [--mode copy|auto|encode] [--platform P]... [--profile P] [--bitrate KBPS] [--size WxH] [--fps N]
                 [--encoder E] [--reels DIR] [--max-reel-bytes N] [--no-reels] [--ca FILE.pem] [--json]

  FILE           what to loop; without it a demo runs by itself
  --to URL       rtmp(s)://[user:password@]host/app/key or rtmp(s)://host/stream to send it to; {} in it becomes the stream's number
  --seconds N    end after N seconds; otherwise at Ctrl-C
  --streams N    so many streams of the file, each with its own outputs
  --start S      begin S seconds into the file, at the keyframe before; with --no-reels at 0
  --silence      send silence if the file has no audio track
  --record FILE  record to an FLV file; {} in it becomes the stream's number
  --existing W   if that file is there: number (default: archive-1.flv), append, replace or refuse
  --ca FILE      trust only the certificates in this PEM file for rtmps
  --json         print one JSON object with the figures as the last line
";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let usage = format!("{USAGE}{}\n{}", encoding::USAGE, reels::USAGE);
    let own = ["--to", "--seconds", "--streams", "--record", "--existing", "--ca", "--start"];
    let options: Vec<_> = own.into_iter().chain(encoding::OPTIONS).chain(reels::OPTIONS).collect();
    let args = Args::parse(&usage, &options, &["--json", "--silence", reels::NO_REELS])?;
    let file = match args.rest() {
        [file] => file,
        [] if args.all("--to").is_empty() && args.all("--record").is_empty() => {
            return demo::run(args.has("--json"));
        }
        _ => return Err(format!("one file, please\n{usage}").into()),
    };
    let streams = args.last::<NonZeroUsize>("--streams")?.map_or(1, NonZeroUsize::get);
    let seconds = args.seconds("--seconds")?;
    let stop = support::stop_flag()?;

    let mut config = Config::from_env()?;
    config.max_streams = config.max_streams.max(streams);
    config.reels = reels::store(&args)?;
    let mut asked = Asked::of(&args, &config)?;
    let engine = Engine::new(config)?;
    let events = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let running: Vec<StreamHandle> =
        (0..streams).map(|number| start(&engine, &args, file, number)).collect::<Result<_>>()?;

    let mut progress = Progress::default();
    let deadline = seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = events.next_timeout(Duration::from_millis(200)) {
            progress.clear();
            asked.hear(&event.kind);
            support::events::tell(event.stream, &event.kind);
        }
        running.iter().for_each(|stream| asked.see(&stream.stats()));
        if running.iter().all(|stream| stream.has_ended()) {
            break;
        }
        if progress.is_shown() {
            let total = Total::of(&running);
            let line = total.line(began.elapsed(), process::cpu_time() - cpu_before);
            progress.show(&format!("{line}  {}", asked.text()));
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
    if args.has("--json") {
        let object = json::Object::default()
            .value("streams", streams)
            .text("mode", &total.mode.to_string())
            .text("asked_mode", &asked.mode().to_string())
            .text("encoder", asked.encoder())
            .optional(
                "first_media_ms",
                total.first_media.map(|time| format!("{:.1}", time.as_secs_f64() * 1e3)),
            )
            .value("seconds", format!("{:.2}", elapsed.as_secs_f64()))
            .value("bytes_sent", total.bytes_sent)
            .value("cpu_ms_per_stream_second", format!("{per_stream_second:.4}"))
            .value("rss_kb", rss_kb)
            .value("threads", threads)
            .value("bytes_held", total.bytes_held)
            .value("drops", total.drops)
            .value("reconnects", total.reconnects)
            .value("loops", total.laps)
            .value("abandoned", report.abandoned);
        println!("{}", object.finish());
    } else {
        println!(
            "{streams} stream(s), {}, played {}, first media after {:.0} ms, {:.1} s, {:.1} MB sent and recorded, {per_stream_second:.2} ms CPU per stream-second, {} MB resident, \
             {} loops, {} drops, {} reconnects",
            asked.text(),
            total.mode,
            total.first_media.unwrap_or_default().as_secs_f64() * 1e3,
            elapsed.as_secs_f64(),
            total.bytes_sent as f64 / 1e6,
            rss_kb / 1024,
            total.laps,
            total.drops,
            total.reconnects
        );
    }
    match failure {
        Some(error) => Err(chain(error.as_ref()).into()),
        None if !was_live => Err("no output was ever on the air".into()),
        None => Ok(()),
    }
}

fn start(engine: &Engine, args: &Args, file: &str, number: usize) -> Result<StreamHandle> {
    let mut source = encoding::source(Source::file(file).looped(), args)?;
    if args.has("--silence") {
        source = source.with_silence();
    }
    if let Some(start) = args.seconds("--start")? {
        source = source.starting_at(start);
    }
    Ok(support::outputs::add(engine.stream(source), args, number)?.start()?)
}

/// Sums over all streams.
#[derive(Default)]
struct Total {
    /// Of the stream that does worst.
    mode: SourceMode,
    /// Of the stream that took longest.
    first_media: Option<Duration>,
    kbps: f64,
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
            kbps: sum.kbps + stats.kbps,
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
            "{:>6.1} s  {:>8.0} kbit/s  CPU {:>5.2} %  lag {:>4} ms  {} drops  {} reconnects  {} loops",
            elapsed.as_secs_f64(),
            self.kbps,
            cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
            self.lag.as_millis(),
            self.drops,
            self.reconnects,
            self.laps
        )
    }
}
