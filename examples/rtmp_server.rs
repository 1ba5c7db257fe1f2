//! An RTMP server: publishers say a key, players a name, both under the app `live`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast::{Config, Engine, EventKind, RtmpServerExt, chain};
use support::args::Args;
use support::progress::Progress;
use support::{Result, json, process};

const USAGE: &str = "\
usage: rtmp_server [--listen ADDR] [--key NAME=KEY]... [--max-connections N] [--seconds N] [--json]

  --listen ADDR        host:port to listen on, default 127.0.0.1:1935; port 0 takes a free one
  --key NAME=KEY       publishers to rtmp://ADDR/live/KEY are played at rtmp://ADDR/live/NAME; without any, one is made up
  --max-connections N  default 1000
  --seconds N          end after N seconds; otherwise at Ctrl-C
  --json               print one JSON object with the figures as the last line";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse(USAGE, &["--listen", "--key", "--max-connections", "--seconds"], &["--json"])?;
    if let Some(extra) = args.rest().first() {
        return Err(format!("what is {extra:?}?\n{USAGE}").into());
    }
    let listen: String = args.last("--listen")?.unwrap_or_else(|| "127.0.0.1:1935".to_owned());
    let seconds: Option<f64> = args.last("--seconds")?;
    let connections: Option<usize> = args.last("--max-connections")?;
    let stop = support::stop_flag()?;

    let engine = Engine::new(Config::from_env()?)?;
    for pair in args.all("--key") {
        let (name, key) = pair.split_once('=').ok_or("--key takes NAME=KEY")?;
        engine.keys().add(name, key)?;
    }
    let events = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let server = engine
        .rtmp_server(listen)
        .options(|options| options.max_connections = connections.unwrap_or(options.max_connections))
        .start()?;
    println!("listening on rtmp://{}/live", server.address());
    if args.all("--key").is_empty() {
        let key = engine.keys().issue("demo")?;
        println!("publish to rtmp://{}/live/{}", server.address(), key.reveal());
        println!("play       rtmp://{}/live/demo", server.address());
    }

    let mut progress = Progress::default();
    let deadline = seconds.map(|seconds| began + Duration::from_secs_f64(seconds));
    let mut published = 0u64;
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = events.next_timeout(Duration::from_millis(200)) {
            progress.clear();
            match &event.kind {
                EventKind::Started => {
                    published += 1;
                    eprintln!("{}: a publisher is on the air", event.stream);
                }
                EventKind::Ended { error: Some(error) } => {
                    eprintln!("{}: ended: {}", event.stream, chain(error.as_ref()))
                }
                EventKind::Ended { error: None } => eprintln!("{}: the publisher has left", event.stream),
                EventKind::OutputEnded { output, error: Some(error) } => {
                    eprintln!("{} {output}: a player was lost: {}", event.stream, chain(error.as_ref()));
                }
                _ => {}
            }
        }
        let stats = server.stats();
        progress.show(&format!(
            "{:>6.1} s  {} publishers  {} players  {:.1} MB in  {:.1} MB out  CPU {:.2} %",
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
    let abandoned = server.stop(Duration::from_secs(5));
    if args.has("--json") {
        let object = json::Object::default()
            .value("seconds", format!("{elapsed:.2}"))
            .value("published", published)
            .value("accepted", stats.accepted)
            .value("publishers", stats.publishers)
            .value("players", stats.players)
            .value("bytes_received", stats.bytes_received)
            .value("bytes_sent", stats.bytes_sent)
            .value("refused_full", stats.refused_full)
            .value("refused_publish", stats.refused_publish)
            .value("refused_play", stats.refused_play)
            .value("protocol_errors", stats.protocol_errors)
            .value("timeouts", stats.timeouts)
            .value("cpu_ms", format!("{:.1}", cpu * 1e3))
            .value("rss_kb", rss_kb)
            .value("abandoned", abandoned);
        println!("{}", object.finish());
    } else {
        println!(
            "{elapsed:.1} s, {published} published, {} connections, {:.1} MB in, {:.1} MB out, {:.0} ms CPU, {} MB resident",
            stats.accepted,
            stats.bytes_received as f64 / 1e6,
            stats.bytes_sent as f64 / 1e6,
            cpu * 1e3,
            rss_kb / 1024
        );
    }
    Ok(())
}
