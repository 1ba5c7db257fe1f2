//! From `start()` to the first media byte: a first stream of a file, one that finds its reel, the hundredth.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::{Config, Engine, Output, Source, StreamHandle};
use flowcast_bench::sink::{Options, Sink};
use flowcast_bench::support::{Result, exit, tenths};
use flowcast_bench::{process, reels};
use serde_json::json;

/// From start() to the first media byte: a first stream of a file, one that finds its reel, the hundredth.
///
/// Prints one JSON object a line: milliseconds from start() to the first byte after the publish, and CPU
/// milliseconds of the process in that time.
#[derive(Parser)]
struct Cli {
    /// What to loop to a sink within this process, whose CPU time is not counted
    file: PathBuf,

    /// Play from reels kept there: first with none of FILE, then with one; otherwise directly through libav
    #[arg(long, value_name = "DIR")]
    reels: Option<PathBuf>,

    /// Measure the Nth stream of the file beside the others, too
    #[arg(long, value_name = "N", default_value_t = 100)]
    streams: usize,
}

/// How long a stream may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

/// A stream's first media byte: its key, when, and the CPU time of all but the sink until then.
type First = (String, Instant, Duration);

struct Bench {
    sink: Sink,
    firsts: Receiver<First>,
}

fn run(cli: &Cli) -> Result<()> {
    let (file, streams, directory) = (&cli.file, cli.streams, cli.reels.as_deref());
    let _ = process::raise_open_files();
    let bench = Bench::new()?;

    let cold = if directory.is_some() { "cold reel" } else { "direct" };
    bench.alone(cold, file, directory, true)?;
    if directory.is_some() {
        bench.alone("warm reel", file, directory, false)?;
    }
    if streams > 1 {
        bench.last_of(streams, file, directory)?;
    }
    bench.sink.finish()?;
    Ok(())
}

impl Bench {
    fn new() -> Result<Self> {
        let (sender, firsts): (Sender<First>, _) = channel();
        let options = Options {
            on_first: Some(Box::new(move |name, at| {
                let cpu = process::cpu_time().saturating_sub(process::thread_cpu_time());
                let _ = sender.send((name.to_owned(), at, cpu));
            })),
            ..Options::default()
        };
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), options)?;
        Ok(Self { sink, firsts })
    }

    fn engine(directory: Option<&Path>, streams: usize) -> Result<Engine> {
        let mut config = Config::default();
        config.max_streams = streams;
        if let Some(directory) = directory {
            reels::keep_in(&mut config, directory);
        }
        Ok(Engine::new(config)?)
    }

    fn start(&self, engine: &Engine, file: &Path, key: &str) -> Result<StreamHandle> {
        let output = Output::rtmp_url(&format!("rtmp://{}/live/{key}", self.sink.address()));
        Ok(engine.stream(Source::file(file).looped()).to(output).start()?)
    }

    /// CPU time of this process but for the sink.
    fn cpu_time(&self) -> Duration {
        process::cpu_time().saturating_sub(self.sink.cpu_time())
    }

    /// Waits for the first media byte of the stream with this key.
    fn first(&self, key: &str) -> Result<First> {
        loop {
            let first = self.firsts.recv_timeout(PATIENCE)?;
            if first.0 == key {
                return Ok(first);
            }
        }
    }

    /// One stream in an engine of its own. With `settle`, its reel is complete before the engine ends.
    fn alone(&self, what: &str, file: &Path, directory: Option<&Path>, settle: bool) -> Result<()> {
        let engine = Self::engine(directory, 1)?;
        let key = what.replace(' ', "-");
        let (cpu, began) = (self.cpu_time(), Instant::now());
        let stream = self.start(&engine, file, &key)?;
        let (_, at, used) = self.first(&key)?;
        tell(what, 1, at - began, used.saturating_sub(cpu), &stream);
        if settle && directory.is_some() {
            reels::wait_for_cutter(&engine, Duration::from_secs(600));
        }
        engine.shutdown(Duration::from_secs(10));
        Ok(())
    }

    /// The last of many streams of one file, each started when the one before is on the air. What the others use
    /// meanwhile is taken off.
    fn last_of(&self, streams: usize, file: &Path, directory: Option<&Path>) -> Result<()> {
        let engine = Self::engine(directory, streams)?;
        let mut others = Vec::new();
        for number in 1..streams {
            let key = format!("other-{number}");
            others.push(self.start(&engine, file, &key)?);
            self.first(&key)?;
        }
        // A whole number of ticks, so that the others' work is evenly in it.
        let (cpu, began) = (self.cpu_time(), Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        let others_use = self.cpu_time().saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();

        let (cpu, began) = (self.cpu_time(), Instant::now());
        let stream = self.start(&engine, file, "last")?;
        let (_, at, used) = self.first("last")?;
        let took = at - began;
        let used = used.saturating_sub(cpu).saturating_sub(took.mul_f64(others_use));
        tell("last", streams, took, used, &stream);
        engine.shutdown(Duration::from_secs(10));
        Ok(())
    }
}

/// Figures are at most a second old, so the mode is waited for.
fn tell(what: &str, stream: usize, took: Duration, cpu: Duration, handle: &StreamHandle) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while handle.stats().bytes_sent == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let figures = json!({
        "what": what,
        "stream": stream,
        "ms": tenths(took),
        "cpu_ms": tenths(cpu),
        "mode": handle.stats().mode.to_string(),
    });
    println!("{figures}");
}
