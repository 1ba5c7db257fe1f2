//! An RTMP server at the edge of others: what players ask for is pulled from an origin for the first of them, and given up a while after the
//! last has left.
#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::server::Relay;
use flowcast::{Config, Engine, RtmpServer, RtmpServerExt};
use metrics::Exposition;
use serde::Serialize;
use support::cli::Named;
use support::print::{out, round};
use support::progress::Progress;
use support::{Result, cli, events, print, process};

/// An RTMP server at the edge of others: players of rtmp://HOST/live/NAME get what an origin has under NAME. It is pulled once for all of
/// them, and only while there are any.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// The origin: rtmp(s)://host/app, or with {name} where the name is to stand. Given again, the next is asked where the ones before it do not
    /// have the stream, or cannot be reached
    #[arg(long, value_name = "URL", required = true)]
    origin: Vec<String>,

    /// Relay only names that fit: * stands for any letters, ? for one. May be given several times
    #[arg(long, value_name = "PATTERN")]
    names: Vec<String>,

    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1935")]
    listen: String,

    /// Give a stream up this many seconds after its last player has left
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = cli::seconds)]
    linger: Duration,

    /// Keep players for this many seconds when the origin is lost
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = cli::seconds)]
    hold: Duration,

    /// Let players wait this many seconds for a stream to come up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = cli::seconds)]
    wait: Duration,

    /// Most streams that are pulled at once
    #[arg(long, value_name = "N", default_value = "100")]
    max_pulls: usize,

    /// Most connections at once
    #[arg(long, value_name = "N", default_value = "1000")]
    max_connections: usize,

    /// Send players what comes in within this many milliseconds in one write, 0 to 350; 0 sends at once
    #[arg(long, value_name = "MS", default_value = "100", value_parser = clap::value_parser!(u64).range(..=350))]
    merge: u64,

    /// What is published to rtmp://HOST/live/KEY is played under NAME, and not pulled. May be given several times
    #[arg(long = "key", value_name = "NAME=KEY", value_parser = cli::named())]
    keys: Vec<Named>,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Address for http://HOST:PORT/metrics, for Prometheus; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  relay --origin rtmp://origin-a/live --origin rtmp://origin-b/live --names 'show-*'";

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    accepted: u64,
    players: u64,
    relays: u64,
    relays_begun: u64,
    relays_failed: u64,
    bytes_sent: u64,
    refused_play: u64,
    cpu_ms: f64,
    rss_kb: u64,
    abandoned: usize,
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(config(cli)?)?;
    let of_streams = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let server = start(&engine, cli)?;
    let told = server.events();
    let metrics = cli.metrics.as_deref().map(|address| Exposition::of(&server, address)).transpose()?;
    if let Some(address) = metrics.as_ref().and_then(Exposition::address) {
        out!("metrics at http://{address}/metrics")?;
    }

    let progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = told.next_timeout(Duration::from_millis(200)) {
            let peer = event.peer.map_or_else(String::new, |peer| format!("{peer}: "));
            progress.say(format!("{peer}{}", event.kind));
        }
        while let Some(event) = of_streams.try_next() {
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        let stats = server.stats();
        progress.show(format!(
            "{:.1} s  {} streams pulled  {} players  {:.1} MB out  CPU {:.2} %",
            began.elapsed().as_secs_f64(),
            stats.relays,
            stats.players,
            stats.bytes_sent as f64 / 1e6,
            (process::cpu_time() - cpu_before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
        ));
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), (process::cpu_time() - cpu_before).as_secs_f64());
    let (stats, rss_kb) = (server.stats(), process::rss_kb());
    drop(metrics);
    let deadline = Duration::from_secs(5);
    let abandoned = server.stop(deadline).abandoned + engine.shutdown(deadline).abandoned;
    if cli.json {
        print::json(&Report {
            seconds: round(elapsed, 2),
            accepted: stats.accepted,
            players: stats.players,
            relays: stats.relays,
            relays_begun: stats.relays_begun,
            relays_failed: stats.relays_failed,
            bytes_sent: stats.bytes_sent,
            refused_play: stats.refused_play,
            cpu_ms: round(cpu * 1e3, 1),
            rss_kb,
            abandoned,
        })?;
    } else {
        out!(
            "{elapsed:.1} s, {} pulled, {} not to be had, {} connections, {:.1} MB out, {:.0} ms CPU, {} MB resident",
            stats.relays_begun,
            stats.relays_failed,
            stats.accepted,
            stats.bytes_sent as f64 / 1e6,
            cpu * 1e3,
            rss_kb / 1024
        )?;
    }
    Ok(())
}

/// Of the environment; the engine takes as many streams as may be pulled, unless that says otherwise.
fn config(cli: &Cli) -> Result<Config> {
    let mut config = Config::from_env()?;
    if std::env::var_os("MAX_CONCURRENT_STREAMS_GLOBAL").is_none() {
        config.max_streams = cli.max_pulls.max(1);
    }
    Ok(config)
}

/// Starts the server and says where.
fn start(engine: &Engine, cli: &Cli) -> Result<RtmpServer> {
    for Named { name, value: key } in &cli.keys {
        engine.keys().add(name, key.as_str())?;
    }
    let mut origins = cli.origin.iter();
    let first = Relay::origin(origins.next().ok_or("--origin is missing")?);
    let relay = origins.fold(first, Relay::or);
    let relay = cli.names.iter().fold(relay, Relay::names);
    let relay = relay.linger(cli.linger).hold(cli.hold).wait(cli.wait).max_pulls(cli.max_pulls);
    let server = engine.rtmp_server(&cli.listen).relay(relay).options(|options| {
        options.max_connections = cli.max_connections;
        options.merge = Duration::from_millis(cli.merge);
    });
    let server = server.start()?;
    out!("listening on rtmp://{}/live", server.address())?;
    Ok(server)
}
