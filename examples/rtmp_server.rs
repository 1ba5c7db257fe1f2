//! An RTMP server: publishers say a key, players a name, both under the app `live`. What is published can be restreamed and
//! recorded, and streams of other servers are offered beside.
#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::encode::Rendition;
use flowcast::server::{ServerEvent, ServerEventKind, TlsIdentity};
use flowcast::{Config, Engine, Output, Profile, RtmpServer, RtmpServerExt, Source, StreamHandle};
use metrics::Exposition;
use serde::Serialize;
use support::cli::Named;
use support::outputs::ExistingArgs;
use support::print::{out, round};
use support::progress::Progress;
use support::{Result, cli, events, print, process};

/// An RTMP server: publishers give a key, players a name, both under the app "live". What is published can be
/// sent on and recorded.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1935")]
    listen: String,

    /// Speak RTMPS there, with this certificate chain and this private key (PEM files)
    #[arg(long, num_args = 2, value_names = ["CERT.pem", "KEY.pem"])]
    tls: Vec<PathBuf>,

    /// What is published to rtmp://HOST/live/KEY is played at rtmp://HOST/live/NAME. May be given several times;
    /// without it a key for the name "demo" is made up
    #[arg(long = "key", value_name = "NAME=KEY", value_parser = cli::named())]
    keys: Vec<Named>,

    /// Most connections at once
    #[arg(long, value_name = "N", default_value = "1000")]
    max_connections: usize,

    /// Send players what comes in within this many milliseconds in one write, 0 to 350; 0 sends at once
    #[arg(long, value_name = "MS", default_value = "100", value_parser = clap::value_parser!(u64).range(..=350))]
    merge: u64,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Address for http://HOST:PORT/metrics, for Prometheus; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    /// Play rtmp(s)://host/app/name from another server, and offer it under NAME. May be given several times
    #[arg(long, value_name = "NAME=URL", value_parser = cli::named(), help_heading = "Inputs")]
    pull: Vec<Named>,

    /// Send what is published under NAME to rtmp(s)://host/app/key as well. May be given several times
    #[arg(long, value_name = "NAME=URL", value_parser = cli::named(), help_heading = "Outputs")]
    restream: Vec<Named>,

    /// Record what is published under NAME to an FLV file. May be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = cli::named(), help_heading = "Outputs")]
    record: Vec<Named>,

    /// Offer what is published under NAME in these sizes as well, pixels of the shorter side: 720,480 as NAME_720p
    /// and NAME_480p. It is decoded once. May be given several times
    #[arg(long, value_name = "NAME=N,N", value_parser = cli::named(), help_heading = "Outputs")]
    renditions: Vec<Named>,

    #[command(flatten, next_help_heading = "Outputs")]
    existing: ExistingArgs,

    /// Write a thumbnail (JPEG) of what is published under NAME to a file every 5 s. May be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = cli::named(), help_heading = "Outputs")]
    thumbnails: Vec<Named>,
}

const EXAMPLE: &str = "\
Example:
  rtmp_server --key studio=secret --restream studio=rtmp://host/live/key";

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    published: u64,
    accepted: u64,
    publishers: u64,
    players: u64,
    bytes_received: u64,
    bytes_sent: u64,
    refused_full: u64,
    refused_publish: u64,
    refused_play: u64,
    protocol_errors: u64,
    timeouts: u64,
    cpu_ms: f64,
    rss_kb: u64,
    abandoned: usize,
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;

    let engine = Engine::new(Config::from_env()?)?;
    let of_streams = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let server = start(&engine, cli)?;
    let told = server.events();
    let mut outgoing = start_pulls(&engine, cli)?;
    outgoing.extend(start_outputs(&engine, cli)?);
    outgoing.extend(start_renditions(&engine, cli)?);
    let metrics = cli.metrics.as_deref().map(|address| Exposition::of(&server, address)).transpose()?;
    if let Some(address) = metrics.as_ref().and_then(Exposition::address) {
        out!("metrics at http://{address}/metrics")?;
    }

    let progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    let mut published = 0u64;
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = told.next_timeout(Duration::from_millis(200)) {
            published += u64::from(matches!(event.kind, ServerEventKind::PublisherJoined { .. }));
            progress.say(text(&event));
        }
        while let Some(event) = of_streams.try_next() {
            if outgoing.iter().any(|stream| stream.id() == event.stream) {
                events::text(&event).iter().for_each(|text| progress.say(text));
            }
        }
        let stats = server.stats();
        progress.show(format!(
            "{:.1} s  {} publishers  {} players  {:.1} MB in  {:.1} MB out  CPU {:.2} %",
            began.elapsed().as_secs_f64(),
            stats.publishers,
            stats.players,
            stats.bytes_received as f64 / 1e6,
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
            published,
            accepted: stats.accepted,
            publishers: stats.publishers,
            players: stats.players,
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
            refused_full: stats.refused_full,
            refused_publish: stats.refused_publish,
            refused_play: stats.refused_play,
            protocol_errors: stats.protocol_errors,
            timeouts: stats.timeouts,
            cpu_ms: round(cpu * 1e3, 1),
            rss_kb,
            abandoned,
        })?;
    } else {
        out!(
            "{elapsed:.1} s, {published} published, {} connections, {:.1} MB in, {:.1} MB out, {:.0} ms CPU, {} MB resident",
            stats.accepted,
            stats.bytes_received as f64 / 1e6,
            stats.bytes_sent as f64 / 1e6,
            cpu * 1e3,
            rss_kb / 1024
        )?;
    }
    Ok(())
}

/// Starts the server and says where.
fn start(engine: &Engine, cli: &Cli) -> Result<RtmpServer> {
    for Named { name, value: key } in &cli.keys {
        engine.keys().add(name, key.as_str())?;
    }
    let mut builder = engine.rtmp_server(&cli.listen).options(|options| {
        options.max_connections = cli.max_connections;
        options.merge = Duration::from_millis(cli.merge);
    });
    let mut scheme = "rtmp";
    if let [certificate, key] = &cli.tls[..] {
        builder = builder.tls(TlsIdentity::from_pem_files(certificate, key)?);
        scheme = "rtmps";
    }
    let server = builder.start()?;
    let url = format!("{scheme}://{}/live", server.address());
    out!("listening on {url}")?;
    if cli.keys.is_empty() && cli.pull.is_empty() {
        let key = engine.keys().issue("demo")?;
        out!("publish to {url}/{}", key.reveal())?;
        out!("play       {url}/demo")?;
    }
    Ok(server)
}

/// One stream for each that is played from another server.
fn start_pulls(engine: &Engine, cli: &Cli) -> Result<Vec<StreamHandle>> {
    let start = |Named { name, value: url }: &Named| {
        let stream = engine.stream(Source::url(url)).to(Output::publish(name)).start()?;
        out!("{name} is pulled as {}", stream.id())?;
        Ok(stream)
    };
    cli.pull.iter().map(start).collect()
}

/// One stream for each name that is to be restreamed or recorded; it waits for the name and serves all of its outputs.
fn start_outputs(engine: &Engine, cli: &Cli) -> Result<Vec<StreamHandle>> {
    let mut outputs = BTreeMap::<&str, Vec<Output>>::new();
    for Named { name, value: url } in &cli.restream {
        outputs.entry(name).or_default().push(Output::url(url));
    }
    for Named { name, value: file } in &cli.record {
        outputs.entry(name).or_default().push(Output::record(file).existing(cli.existing.how));
    }
    for Named { name, value: file } in &cli.thumbnails {
        outputs.entry(name).or_default().push(Output::thumbnails(file, Duration::from_secs(5)));
    }
    let mut streams = Vec::new();
    for (name, outputs) in outputs {
        let stream = engine.stream(Source::published(name)).outputs(outputs).start()?;
        out!("{name} goes out as {}", stream.id())?;
        streams.push(stream);
    }
    Ok(streams)
}

/// One stream for each size of each name.
fn start_renditions(engine: &Engine, cli: &Cli) -> Result<Vec<StreamHandle>> {
    let mut streams = Vec::new();
    for Named { name, value: sizes } in &cli.renditions {
        let mut lines = Vec::new();
        for size in sizes.split(',') {
            lines.push(size.trim().parse::<u32>()?);
        }
        let ladder = Source::published(name)
            .encoding(Profile::Ultra)
            .renditions(lines.into_iter().map(Rendition::lines))?;
        for (size, source) in ladder {
            let offered = format!("{name}_{size}");
            let stream = engine.stream(source).label(&offered).to(Output::publish(&offered)).start()?;
            out!("{name} is offered as {offered}, {}", stream.id())?;
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// An event for a terminal, without its time.
fn text(event: &ServerEvent) -> String {
    let peer = event.peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
    format!("{peer}: {}", event.kind)
}
