//! An RTMP server: publishers say a key, players a name, both under the app `live`. What is published can be restreamed and
//! recorded.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast::{
    Config, Departure, Engine, Output, RtmpServer, RtmpServerExt, ServerEvent, ServerEventKind, Source,
    StreamHandle, TlsIdentity, chain,
};
use metrics::Exposition;
use support::args::Args;
use support::progress::Progress;
use support::{Result, events, json, process};

const USAGE: &str = "\
usage: rtmp_server [--listen ADDR] [--tls CERT KEY] [--key NAME=KEY]... [--restream NAME=URL]... [--record NAME=FILE]...
                   [--existing W] [--metrics ADDR] [--max-connections N] [--merge MS] [--seconds N] [--json]

  --listen ADDR        host:port to listen on, default 127.0.0.1:1935; port 0 takes a free one
  --tls CERT KEY       speak RTMPS there, with this certificate chain and private key (PEM files)
  --key NAME=KEY       publishers to rtmp://ADDR/live/KEY are played at rtmp://ADDR/live/NAME; without any, one is made up
  --restream NAME=URL  push what is published under NAME to rtmp(s)://host/app/key as well, whenever it is
  --record NAME=FILE   record what is published under NAME to an FLV file
  --existing W         if that file is there: number (default: archive-1.flv), append, replace or refuse
  --metrics ADDR       host:port for http://ADDR/metrics, for Prometheus; port 0 takes a free one
  --max-connections N  default 1000
  --merge MS           send players what comes in this time in one write, 0 to 350, default 100; 0 sends at once
  --seconds N          end after N seconds; otherwise at Ctrl-C
  --json               print one JSON object with the figures as the last line";

const OPTIONS: &[&str] = &[
    "--listen",
    "--key",
    "--restream",
    "--record",
    "--existing",
    "--metrics",
    "--max-connections",
    "--merge",
    "--seconds",
];

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse_pairs(USAGE, OPTIONS, &["--tls"], &["--json"])?;
    if let Some(extra) = args.rest().first() {
        return Err(format!("what is {extra:?}?\n{USAGE}").into());
    }
    let seconds = args.seconds("--seconds")?;
    let stop = support::stop_flag()?;

    let engine = Engine::new(Config::from_env()?)?;
    let of_streams = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let server = start(&engine, &args)?;
    let told = server.events();
    let outgoing = start_outputs(&engine, &args)?;
    let metrics = args.last::<String>("--metrics")?.map(|address| expose(&server, &address)).transpose()?;
    if let Some(address) = metrics.as_ref().and_then(Exposition::address) {
        println!("metrics at http://{address}/metrics");
    }

    let mut progress = Progress::default();
    let deadline = seconds.and_then(|seconds| began.checked_add(seconds));
    let mut published = 0u64;
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = told.next_timeout(Duration::from_millis(200)) {
            progress.clear();
            published += u64::from(matches!(event.kind, ServerEventKind::PublisherJoined { .. }));
            tell(&event);
        }
        while let Some(event) = of_streams.try_next() {
            if outgoing.iter().any(|stream| stream.id() == event.stream) {
                progress.clear();
                events::tell(event.stream, &event.kind);
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
    drop(metrics);
    let deadline = Duration::from_secs(5);
    let abandoned = server.stop(deadline) + engine.shutdown(deadline).abandoned;
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

/// Starts the server and says where.
fn start(engine: &Engine, args: &Args) -> Result<RtmpServer> {
    let listen: String = args.last("--listen")?.unwrap_or_else(|| "127.0.0.1:1935".to_owned());
    let connections: Option<usize> = args.last("--max-connections")?;
    let merge: Option<u64> = args.last("--merge")?;
    if merge.is_some_and(|millis| millis > 350) {
        return Err("--merge takes 0 to 350 milliseconds".into());
    }
    for pair in args.all("--key") {
        let (name, key) = pair.split_once('=').ok_or("--key takes NAME=KEY")?;
        engine.keys().add(name, key)?;
    }
    let mut builder = engine.rtmp_server(listen).options(|options| {
        options.max_connections = connections.unwrap_or(options.max_connections);
        options.merge = merge.map_or(options.merge, Duration::from_millis);
    });
    let mut scheme = "rtmp";
    if let Some((certificate, key)) = args.pair("--tls") {
        builder = builder.tls(TlsIdentity::from_pem_files(certificate, key)?);
        scheme = "rtmps";
    }
    let server = builder.start()?;
    let url = format!("{scheme}://{}/live", server.address());
    println!("listening on {url}");
    if args.all("--key").is_empty() {
        let key = engine.keys().issue("demo")?;
        println!("publish to {url}/{}", key.reveal());
        println!("play       {url}/demo");
    }
    Ok(server)
}

/// One stream for each name that is to be restreamed or recorded; it waits for the name and serves all of its outputs.
fn start_outputs(engine: &Engine, args: &Args) -> Result<Vec<StreamHandle>> {
    let mut outputs = BTreeMap::<&str, Vec<Output>>::new();
    for pair in args.all("--restream") {
        let (name, url) = pair.split_once('=').ok_or("--restream takes NAME=URL")?;
        outputs.entry(name).or_default().push(Output::rtmp_url(url));
    }
    let existing = support::outputs::existing(args)?;
    for pair in args.all("--record") {
        let (name, file) = pair.split_once('=').ok_or("--record takes NAME=FILE")?;
        outputs.entry(name).or_default().push(Output::record(file).existing(existing));
    }
    let mut streams = Vec::new();
    for (name, outputs) in outputs {
        let mut outputs = outputs.into_iter();
        let Some(first) = outputs.next() else { continue };
        let stream = engine.stream(Source::published(name)).to(first);
        let stream = outputs.fold(stream, |stream, output| stream.to(output)).start()?;
        println!("{name} goes out as {}", stream.id());
        streams.push(stream);
    }
    Ok(streams)
}

fn expose(server: &RtmpServer, address: &str) -> Result<Exposition> {
    Exposition::start(address, page(server)?)
}

/// What makes the page.
#[cfg(feature = "metrics")]
fn page(server: &RtmpServer) -> Result<impl Fn() -> String + Send + 'static> {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(server.metrics()));
    Ok(move || {
        let mut page = String::new();
        // A string takes everything.
        let _ = prometheus_client::encoding::text::encode(&mut page, &registry);
        page
    })
}

#[cfg(not(feature = "metrics"))]
fn page(_server: &RtmpServer) -> Result<fn() -> String> {
    Err("--metrics: built without the feature `metrics`".into())
}

fn tell(event: &ServerEvent) {
    let peer = event.peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
    match &event.kind {
        ServerEventKind::ConnectionRefused { reason } => eprintln!("{peer}: not let in: {reason}"),
        ServerEventKind::PublishRefused { reason, app } => {
            eprintln!("{peer}: may not publish: {reason}, app {app:?}");
        }
        ServerEventKind::PlayRefused { reason, app } => {
            eprintln!("{peer}: may not play: {reason}, app {app:?}");
        }
        ServerEventKind::AcceptFailed { error } => eprintln!("cannot accept: {error}"),
        ServerEventKind::ConnectionFailed { error } => eprintln!("{}", chain(error.as_ref())),
        ServerEventKind::PublisherJoined { name, stream } => {
            eprintln!("{peer}: publishes {name} as {stream}")
        }
        ServerEventKind::PublisherReturned { name, .. } => eprintln!("{peer}: publishes {name} again"),
        ServerEventKind::PublisherTookOver { name, .. } => eprintln!("{peer}: took {name} over"),
        ServerEventKind::PublisherLeft { name, why, .. } => {
            eprintln!("{peer}: publishes {name} no more: {}", reason(why));
        }
        ServerEventKind::PlayerJoined { name, .. } => eprintln!("{peer}: plays {name}"),
        ServerEventKind::PlayerDropped { name, tags } => {
            eprintln!("{peer}: behind {name}, {tags} tags dropped")
        }
        ServerEventKind::PlayerLeft { name, why, .. } => {
            eprintln!("{peer}: plays {name} no more: {}", reason(why));
        }
        _ => {}
    }
}

fn reason(why: &Departure) -> String {
    match why {
        Departure::Failed(error) => chain(error.as_ref()),
        other => other.as_str().to_owned(),
    }
}
