//! flowcast's RTMP server by itself, and its HTTP beside it, for measurements: one stream, and nothing printed while it runs.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flowcast::server::Relay;
use flowcast::{Config, Engine, RtmpServerExt};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, millis};
use serde_json::json;

/// flowcast's RTMP server by itself, for measurements: one stream, and nothing printed while it runs.
///
/// The first line of output is the address: publish to live/demo, play live/demo. Each line on standard input is
/// answered with a JSON object. It ends when its standard input closes.
#[derive(Parser)]
struct Cli {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,

    /// What comes in within this time is sent to players at once; 0 for each tag by itself. Otherwise 100
    #[arg(long, value_name = "MS", value_parser = millis)]
    merge: Option<Duration>,

    /// Serve HTTP as well: the second line of output is its address, with the stream at /live/demo.flv
    #[arg(long)]
    http: bool,

    /// Relay what players ask for from there: rtmp://HOST:PORT/live
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let engine = Engine::new(Config::default())?;
    engine.keys().add("demo", "demo")?;
    let mut server = engine.rtmp_server(&cli.listen).options(|options| {
        options.max_connections = 10_000;
        if let Some(merge) = cli.merge {
            options.merge = merge;
        }
    });
    if let Some(origin) = &cli.origin {
        server = server.relay(Relay::origin(origin).hold(Duration::from_secs(300)));
    }
    let server = server.start()?;
    println!("{}", server.address());
    let http = cli.http.then(|| {
        let options = flowcast_http::Options::default().with(|options| options.open_to_this_machine = true);
        flowcast_http::serve(&engine, "127.0.0.1:0", options)
    });
    let http = http.transpose()?;
    if let Some(http) = &http {
        println!("{}", http.address());
    }

    let mut input = std::io::stdin().lock();
    let mut late = Duration::ZERO;
    // Each line asks for the figures so far.
    while input.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
        for stream in engine.streams() {
            late = late.max(stream.stats().schedule_lag_max);
        }
        println!("{}", tell(&engine, &server.stats(), late));
    }
    if let Some(http) = http {
        http.stop(Duration::from_secs(5));
    }
    server.stop(Duration::from_secs(5));
    Ok(())
}

fn tell(engine: &Engine, server: &flowcast::server::ServerStats, late: Duration) -> String {
    let streams = engine.streams();
    let stats: Vec<_> = streams.iter().map(|stream| stream.stats()).collect();
    let held: u64 = stats.iter().map(|stats| stats.bytes_held).sum();
    let drops: u64 = stats.iter().map(|stats| stats.drops).sum();
    let figures = json!({
        "players": server.players,
        "accepted": server.accepted,
        "relays": server.relays,
        "bytes_received": server.bytes_received,
        "bytes_sent": server.bytes_sent,
        "bytes_held": held,
        "drops": drops,
        "late_max_ms": late.as_millis(),
        "threads": process::status("Threads"),
        "rss_kb": process::status("VmRSS"),
        "cpu_ms": process::cpu_time().as_millis(),
    });
    figures.to_string()
}
