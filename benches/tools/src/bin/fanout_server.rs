//! flowcast's RTMP server by itself, for measurements: one stream, and nothing printed while it runs.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use flowcast::{Config, Engine, RtmpServerExt};
use flowcast_bench::process;
use flowcast_bench::support::args::Args;
use flowcast_bench::support::{Result, json};

const USAGE: &str = "\
usage: fanout_server [--listen ADDR] [--merge MS]

  --listen ADDR  default 127.0.0.1:0; the first line of output is the address. Publish to live/demo, play live/demo
  --merge MS     what comes in so many milliseconds is sent to players at once; 0 for each tag by itself. Default 100

It ends when its standard input closes, and then prints one JSON object.";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse(USAGE, &["--listen", "--merge"], &[])?;
    let listen: String = args.last("--listen")?.unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let merge: Option<u64> = args.last("--merge")?;
    let _ = process::raise_open_files();
    let engine = Engine::new(Config::default())?;
    engine.keys().add("demo", "demo")?;
    let server = engine
        .rtmp_server(listen)
        .options(|options| {
            options.max_connections = 10_000;
            if let Some(merge) = merge {
                options.merge = Duration::from_millis(merge);
            }
        })
        .start()?;
    println!("{}", server.address());

    let mut input = std::io::stdin().lock();
    let mut late = Duration::ZERO;
    // Each line asks for the figures so far.
    while input.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
        for stream in engine.streams() {
            late = late.max(stream.stats().schedule_lag_max);
        }
        println!("{}", tell(&engine, &server.stats(), late));
    }
    server.stop(Duration::from_secs(5));
    Ok(())
}

fn tell(engine: &Engine, server: &flowcast::ServerStats, late: Duration) -> String {
    let streams = engine.streams();
    let stats: Vec<_> = streams.iter().map(|stream| stream.stats()).collect();
    let held: u64 = stats.iter().map(|stats| stats.bytes_held).sum();
    let drops: u64 = stats.iter().map(|stats| stats.drops).sum();
    json::Object::default()
        .value("players", server.players)
        .value("bytes_received", server.bytes_received)
        .value("bytes_sent", server.bytes_sent)
        .value("bytes_held", held)
        .value("drops", drops)
        .value("late_max_ms", late.as_millis())
        .value("threads", process::status("Threads"))
        .value("rss_kb", process::status("VmRSS"))
        .value("cpu_ms", process::cpu_time().as_millis())
        .finish()
}
