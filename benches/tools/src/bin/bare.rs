//! The floor of a stream's cost: a thread that sleeps to its tick and writes that tick's bytes with one call.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast_bench::clip::{TICK, Ticks};
use flowcast_bench::support::{Result, exit, round, seconds, stop_flag};
use flowcast_bench::writer::Writer;
use flowcast_bench::{process, tls};
use serde_json::json;

/// The floor of a stream's cost: a thread that sleeps to its tick and writes that tick's bytes with one call.
///
/// The last line is a JSON object.
#[derive(Parser)]
struct Cli {
    /// The clip, an FLV file; its tags are prepared as RTMP bytes once, in memory that all threads share
    file: PathBuf,

    /// Address of `sink --raw`
    #[arg(long, value_name = "HOST:PORT")]
    to: SocketAddr,

    /// Threads, each with a connection
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// How long in all
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    seconds: Duration,

    /// Time before the window that is measured, which ends with the run
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,

    /// Send over TLS, and trust the authority in this PEM file
    #[arg(long, value_name = "FILE.pem")]
    ca: Option<PathBuf>,

    /// Begin each stream elsewhere in the clip, so that keyframes do not coincide
    #[arg(long)]
    spread: bool,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

/// What the threads share.
struct Common {
    ticks: Ticks,
    stop: AtomicBool,
    /// Whether lateness counts already.
    measuring: AtomicBool,
    latest_micros: AtomicU64,
    bytes: AtomicU64,
}

fn run(cli: &Cli) -> Result<()> {
    let (file, streams) = (&cli.file, cli.streams);
    let roots = match &cli.ca {
        Some(ca) => Some(tls::client(ca).map_err(|error| error.to_string())?),
        None => None,
    };
    let _ = process::raise_open_files();
    let stop = stop_flag()?;
    let ticks = Ticks::load(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let common = Arc::new(Common {
        ticks,
        stop: AtomicBool::new(false),
        measuring: AtomicBool::new(false),
        latest_micros: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });

    let mut writers = Vec::new();
    for _ in 0..streams {
        writers.push(Writer::connect(cli.to, roots.clone()).map_err(|error| error.to_string())?);
    }
    let began = Instant::now();
    let mut threads = Vec::new();
    for (number, writer) in (0..streams).zip(writers) {
        let (common, first) = (common.clone(), began + TICK * number / streams);
        let slot = if cli.spread { number as usize * common.ticks.bytes.len() / streams as usize } else { 0 };
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        threads.push(thread.spawn(move || common.stream(writer, first, slot))?);
    }

    let sleep_until = |at: Instant| {
        while !stop.load(Ordering::Relaxed) && Instant::now() < at {
            std::thread::sleep(at.saturating_duration_since(Instant::now()).min(Duration::from_secs(1)));
        }
    };
    sleep_until(began + cli.warm_up);
    common.measuring.store(true, Ordering::Relaxed);
    let (cpu, since) = (process::cpu_time(), Instant::now());
    sleep_until(began + cli.seconds);
    let (cpu, elapsed) = (process::cpu_time() - cpu, since.elapsed().as_secs_f64());
    let (rss, threads_now) = (process::status("VmRSS"), process::status("Threads"));
    common.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    let figures = json!({
        "streams": streams,
        "seconds": round(elapsed, 2),
        "kbps": round(common.ticks.kbps(), 1),
        "largest_tick_bytes": common.ticks.largest(),
        "bytes_sent": common.bytes.load(Ordering::Relaxed),
        "cpu_ms_per_stream_second": round(cpu.as_secs_f64() * 1e3 / elapsed / f64::from(streams), 4),
        "rss_kb": rss,
        "threads": threads_now,
        "late_max_ms": round(common.latest_micros.load(Ordering::Relaxed) as f64 / 1e3, 1),
    });
    println!("{figures}");
    Ok(())
}

impl Common {
    fn stream(&self, mut writer: Writer, first: Instant, slot: usize) -> io::Result<()> {
        let (mut next, mut sent, mut latest) = (first, 0, 0);
        for bytes in self.ticks.bytes.iter().cycle().skip(slot) {
            next += TICK;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let late =
                u64::try_from(Instant::now().saturating_duration_since(next).as_micros()).unwrap_or(u64::MAX);
            if late > latest && self.measuring.load(Ordering::Relaxed) {
                latest = late;
            }
            writer.write(bytes)?;
            sent += bytes.len() as u64;
        }
        self.latest_micros.fetch_max(latest, Ordering::Relaxed);
        self.bytes.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }
}
