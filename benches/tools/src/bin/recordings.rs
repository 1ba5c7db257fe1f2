//! What a recording costs beside a push: CPU time of streams that push, and of the same streams while they are recorded, too.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::{Config, Engine, Output, Source, StreamHandle};
use flowcast_bench::sink::{Options, Sink};
use flowcast_bench::support::{Result, exit, round};
use flowcast_bench::{process, reels};
use serde_json::json;

/// What a recording costs beside a push.
///
/// All streams loop FILE from its reel and push to a sink within this process, whose CPU time is not counted. Prints one JSON object for each pair
/// of windows: percent of a core for the pushes alone, and with a recording of each stream beside.
#[derive(Parser)]
struct Cli {
    /// What to loop
    file: PathBuf,

    /// Where the reel and the recordings are written; each recording is removed after its window
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,

    /// Formats to record, by extension
    #[arg(long, value_name = "EXTENSION", value_delimiter = ',', default_value = "flv,mp4,mkv,ts")]
    formats: Vec<String>,

    /// How many streams
    #[arg(long, value_name = "N", default_value_t = 50)]
    streams: usize,

    /// Seconds of a window
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    window: u64,

    /// Pairs of windows for each format
    #[arg(long, value_name = "N", default_value_t = 3)]
    pairs: u32,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let mut config = Config::default();
    (config.max_streams, config.max_streams_per_owner) = (cli.streams, cli.streams);
    reels::keep_in(&mut config, &cli.directory.join("reels"));
    let engine = Engine::new(config)?;
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), Options::default())?;
    let start = |number: usize| {
        let push = Output::rtmp_url(&format!("rtmp://{}/live/{number}", sink.address()));
        engine.stream(Source::file(&cli.file).looped()).to(push).start()
    };
    let streams: Vec<StreamHandle> = (0..cli.streams).map(start).collect::<std::result::Result<_, _>>()?;
    reels::wait_for_cutter(&engine, Duration::from_secs(60));
    let window = Duration::from_secs(cli.window);
    for format in &cli.formats {
        for pair in 0..cli.pairs {
            let alone = busy(&sink, window);
            let outputs: Vec<_> = streams
                .iter()
                .enumerate()
                .map(|(number, stream)| {
                    let path = cli.directory.join(format!("{number}.{format}"));
                    stream.add_output(Output::record(path)).map(|output| (stream, output))
                })
                .collect::<std::result::Result<_, _>>()?;
            let both = busy(&sink, window);
            for (stream, output) in outputs {
                stream.remove_output(output)?;
            }
            let bytes = remove(&cli.directory, format, &streams)?;
            println!(
                "{}",
                json!({
                    "format": format,
                    "pair": pair,
                    "streams": cli.streams,
                    "push_percent": round(alone, 2),
                    "with_recording_percent": round(both, 2),
                    "recording_to_push": round((both - alone) / alone, 3),
                    "megabytes": bytes / 1_000_000,
                    "errors": streams.iter().map(|stream| stream.errors().len()).sum::<usize>(),
                })
            );
        }
    }
    engine.shutdown(Duration::from_secs(10));
    sink.finish()?;
    Ok(())
}

/// CPU time of the process without the sink in a window, in percent of a core.
fn busy(sink: &Sink, window: Duration) -> f64 {
    let used = || process::cpu_time().saturating_sub(sink.cpu_time());
    let (cpu, began) = (used(), Instant::now());
    sleep(window);
    (used() - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

/// Waits for the recordings to be complete, and removes them; their bytes.
fn remove(directory: &Path, format: &str, streams: &[StreamHandle]) -> Result<u64> {
    let until = Instant::now() + Duration::from_secs(30);
    while streams.iter().any(|stream| stream.stats().outputs.len() > 1) && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    let mut bytes = 0;
    for number in 0..streams.len() {
        let path = directory.join(format!("{number}.{format}"));
        bytes += std::fs::metadata(&path)?.len();
        std::fs::remove_file(path)?;
    }
    Ok(bytes)
}
