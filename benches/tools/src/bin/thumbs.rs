//! What thumbnails of many streams cost: CPU time with and without them, in the same process.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::thumbnail::ThumbnailOptions;
use flowcast::{Config, Engine, Output, ReelStore, Source, StreamHandle};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit};
use serde_json::json;

/// What thumbnails of many streams cost.
///
/// Streams loop FILE, each from another place of it and without an output, so that nothing but thumbnails is measured. Prints one JSON object for
/// each pair of windows: percent of a core without thumbnails, and with a thumbnail of each stream every so often.
#[derive(Parser)]
struct Cli {
    /// What to loop
    file: PathBuf,

    /// How many streams
    #[arg(long, value_name = "N", default_value_t = 100)]
    streams: u32,

    /// Seconds between two thumbnails of a stream
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    every: u64,

    /// Seconds of a window
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    window: u64,

    /// Pairs of windows
    #[arg(long, value_name = "N", default_value_t = 3)]
    pairs: u32,

    /// Length of the file: the streams begin at places that are spread over it
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    length: u32,

    /// Have each stream's thumbnails differ from those of the others, so that none is known already: live streams, and not loops of a file
    #[arg(long)]
    distinct: bool,

    /// Seconds the streams run with thumbnails before the window begins: more than the file has for those of a loop
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    before: u64,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let directory = std::env::temp_dir().join(format!("thumbs-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = pairs(cli, &directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn pairs(cli: &Cli, directory: &Path) -> Result<()> {
    for pair in 0..cli.pairs {
        // An engine of its own for each, which knows no picture yet.
        let mut config = Config::default();
        (config.max_streams, config.max_streams_per_owner) = (cli.streams as usize, cli.streams as usize);
        config.reels = Some(ReelStore::new(directory.join("reels")));
        let engine = Engine::new(config)?;
        let place = |number: u32| Duration::from_secs(u64::from(cli.length)) * number / cli.streams;
        let streams: Vec<StreamHandle> = (0..cli.streams)
            .map(|number| {
                let source = Source::file(&cli.file).looped().starting_at(place(number));
                engine.stream(source).without_outputs().start()
            })
            .collect::<std::result::Result<_, _>>()?;
        // The reel is cut with the first one.
        sleep(Duration::from_secs(5));
        let window = Duration::from_secs(cli.window);
        let without = busy(window);
        for (number, stream) in streams.iter().enumerate() {
            let path = directory.join(format!("{number}.jpg"));
            let mut looks = Output::thumbnails(path, Duration::from_secs(cli.every));
            if cli.distinct {
                // As many qualities as there are streams; the picture is decoded for each of them.
                let quality = u8::try_from(number % 100).unwrap_or_default() + 1;
                looks = looks
                    .thumbnail_options(ThumbnailOptions::default().with(|options| options.quality = quality));
            }
            stream.add_output(looks)?;
        }
        sleep(Duration::from_secs(cli.before));
        let sum = || -> u64 {
            streams.iter().flat_map(|stream| stream.stats().outputs).map(|it| it.bytes_sent).sum()
        };
        let before = sum();
        let with = busy(window);
        // Figures are a second old at most.
        let bytes = sum() - before;
        let written = u64::from(cli.streams) * cli.window / cli.every;
        let errors: usize = streams.iter().map(|stream| stream.errors().len()).sum();
        println!(
            "{}",
            json!({
                "pair": pair,
                "streams": cli.streams,
                "without_percent": without,
                "with_percent": with,
                "thumbnails_percent": with - without,
                "ms_each": (with - without) / 100.0 * window.as_secs_f64() * 1000.0 / written as f64,
                "kilobytes_each": bytes as f64 / written as f64 / 1e3,
                "errors": errors,
            })
        );
        engine.shutdown(Duration::from_secs(10));
    }
    Ok(())
}

/// CPU time of the process in a window, in percent of a core.
fn busy(window: Duration) -> f64 {
    let (cpu, began) = (process::cpu_time(), Instant::now());
    sleep(window);
    (process::cpu_time() - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}
