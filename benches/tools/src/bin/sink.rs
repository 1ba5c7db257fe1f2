//! A discarding RTMP(S) server for measurements: it takes every publisher and throws its media away.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use flowcast_bench::sink::{Options, Received, Report, Sink};
use flowcast_bench::support::{Result, exit, millis, round, spread, stop_flag};
use flowcast_bench::{process, tls};
use serde_json::json;

/// A discarding RTMP(S) server for measurements: it takes every publisher and throws its media away.
///
/// The first line of output is the address. It ends at Ctrl-C, at SIGTERM, or when a pipe on its standard input
/// closes, and then prints one JSON object: connections, bytes behind each publish, kbit/s between each one's first
/// and last media byte, its own CPU seconds.
#[derive(Parser)]
struct Cli {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// No RTMP: everything is media from the first byte
    #[arg(long)]
    raw: bool,

    /// Speak TLS, with a certificate made for this run
    #[arg(long, requires = "ca")]
    tls: bool,

    /// Where the authority to trust is written
    #[arg(long, value_name = "FILE.pem")]
    ca: Option<PathBuf>,

    /// Time between two looks at the sockets once everybody publishes: less work for both sides
    #[arg(long, value_name = "MS", default_value = "0", value_parser = millis)]
    round: Duration,

    /// List every connection in the report
    #[arg(long)]
    each: bool,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let mut options = Options { raw: cli.raw, round: cli.round, ..Options::default() };
    if let Some(ca) = cli.ca.as_ref().filter(|_| cli.tls) {
        options.tls = Some(tls::server(ca).map_err(|error| error.to_string())?);
    }
    let _ = process::raise_open_files();
    let stop = stop_flag()?;
    watch_input(&stop);

    let sink = Sink::start(cli.listen, options)?;
    println!("{}", sink.address());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let report = sink.finish()?;
    for failure in &report.failures {
        eprintln!("sink: {failure}");
    }
    println!("{}", tell(&report, cli.each));
    Ok(())
}

/// Sets `stop` when the pipe on the standard input closes. Other inputs say nothing about the caller.
fn watch_input(stop: &Arc<AtomicBool>) {
    let is_pipe = std::fs::metadata("/proc/self/fd/0").is_ok_and(|input| input.file_type().is_fifo());
    if is_pipe {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            while input.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn tell(report: &Report, each: bool) -> String {
    let mut rates: Vec<f64> = report.connections.iter().map(Received::kbps).collect();
    let [least, median, most] = spread(&mut rates);
    let mut figures = json!({
        "connections": rates.len(),
        "failures": report.failures.len(),
        "bytes_received": report.connections.iter().map(|received| received.bytes).sum::<u64>(),
        "kbps_min": least,
        "kbps_median": median,
        "kbps_max": most,
        "cpu_seconds": round(process::cpu_time().as_secs_f64(), 3),
        "rss_kb": process::status("VmRSS"),
    });
    if each {
        let streams = report.connections.iter().map(|received| {
            json!({
                "name": received.name,
                "bytes": received.bytes,
                "seconds": round(received.elapsed().as_secs_f64(), 3),
                "kbps": round(received.kbps(), 1),
            })
        });
        figures["streams"] = streams.collect();
    }
    figures.to_string()
}
