//! A discarding RTMP(S) server for measurements: it takes every publisher and throws its media away.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowcast_bench::sink::{Options, Received, Report, Sink};
use flowcast_bench::support::args::Args;
use flowcast_bench::support::{Result, json};
use flowcast_bench::{process, tls};

const USAGE: &str = "\
usage: sink [--listen ADDR] [--raw] [--tls --ca FILE] [--round MS] [--each]

  --listen ADDR  default 127.0.0.1:0; the first line of output is the address
  --raw          no RTMP: everything is media from the first byte
  --tls          with a certificate made for this run; --ca FILE is where the authority to trust is written
  --round MS     look at the sockets only so often once everybody publishes: less work for both sides. Default 0
  --each         list every connection in the report

It ends at Ctrl-C, at SIGTERM, or when a pipe on its standard input closes, and then prints one JSON object: connections,
bytes behind each publish, kbit/s between each one's first and last media byte, its own CPU seconds.";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse(USAGE, &["--listen", "--ca", "--round"], &["--raw", "--tls", "--each"])?;
    if let Some(extra) = args.rest().first() {
        return Err(format!("what is {extra:?}?\n{USAGE}").into());
    }
    let listen: SocketAddr = args.last("--listen")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut options = Options { raw: args.has("--raw"), ..Options::default() };
    options.round = Duration::from_millis(args.last("--round")?.unwrap_or(0));
    if args.has("--tls") {
        let ca: PathBuf = args.last("--ca")?.ok_or("--tls needs --ca FILE")?;
        options.tls = Some(tls::server(&ca).map_err(|error| error.to_string())?);
    }
    let _ = process::raise_open_files();
    let stop = support::stop_flag()?;
    watch_input(&stop);

    let sink = Sink::start(listen, options)?;
    println!("{}", sink.address());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let report = sink.finish()?;
    for failure in &report.failures {
        eprintln!("sink: {failure}");
    }
    println!("{}", tell(&report, args.has("--each")));
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
    rates.sort_by(f64::total_cmp);
    let rate = |index: usize| rates.get(index).map(|rate| format!("{rate:.1}"));
    let mut object = json::Object::default()
        .value("connections", rates.len())
        .value("failures", report.failures.len())
        .value("bytes_received", report.connections.iter().map(|received| received.bytes).sum::<u64>())
        .optional("kbps_min", rate(0))
        .optional("kbps_median", rate(rates.len() / 2))
        .optional("kbps_max", rate(rates.len().saturating_sub(1)))
        .value("cpu_seconds", format!("{:.3}", process::cpu_time().as_secs_f64()))
        .value("rss_kb", process::status("VmRSS"));
    if each {
        let streams = report.connections.iter().map(|received| {
            json::Object::default()
                .text("name", &received.name)
                .value("bytes", received.bytes)
                .value("seconds", format!("{:.3}", received.elapsed().as_secs_f64()))
                .value("kbps", format!("{:.1}", received.kbps()))
        });
        object = object.list("streams", streams);
    }
    object.finish()
}
