//! What it costs to watch many streams: the monitor's thread, that of usage records, and scrapes for Prometheus.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use flowcast::monitor::MonitorConfig;
use flowcast::server::prometheus_client::encoding::text::encode;
use flowcast::server::prometheus_client::registry::Registry;
use flowcast::server::{EncoderMetrics, EngineMetrics, StreamMetrics};
use flowcast::usage::UsageConfig;
use flowcast::{Config, Engine, Output, Source, StreamHandle};
use flowcast_bench::sink::{Options, Sink};
use flowcast_bench::support::{Result, exit, round, seconds};
use flowcast_bench::{process, reels};
use serde_json::{Value, json};

/// What it costs to watch many streams: the monitor's thread, that of usage records, and scrapes for Prometheus.
///
/// All streams loop one reel, to a sink within this process. Prints one JSON object a line.
#[derive(Parser)]
struct Cli {
    /// What to loop
    file: PathBuf,

    /// Where the reel is kept
    #[arg(long, value_name = "DIR")]
    reels: PathBuf,

    /// How many streams
    #[arg(long, value_name = "N", default_value_t = 1000)]
    streams: usize,

    /// How long the monitor is measured each time
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    seconds: Duration,

    /// How often a page is scraped
    #[arg(long, value_name = "N", default_value_t = 50)]
    scrapes: u32,
}

const PATIENCE: Duration = Duration::from_secs(180);
/// The monitor's thread, as the kernel has it.
const MONITOR: &str = "fc-monitor";
/// The thread that cuts usage records and hands them over.
const USAGE: &str = "fc-usage";

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), Options::default())?;
    let mut config = Config::default();
    (config.max_streams, config.max_streams_per_owner) = (cli.streams, cli.streams);
    reels::keep_in(&mut config, &cli.reels);
    let engine = Engine::new(config)?;
    let start = |engine: &Engine, number: usize| -> Result<StreamHandle> {
        let output = Output::rtmp_url(&format!("rtmp://{}/live/{number}", sink.address()));
        let stream = engine.stream(Source::file(&cli.file).looped()).to(output);
        Ok(stream.label(format!("channel {number}")).owner(format!("owner {}", number % 50)).start()?)
    };
    // The first one cuts the reel.
    let mut streams = vec![start(&engine, 0)?];
    reels::wait_for_cutter(&engine, PATIENCE);
    for number in 1..cli.streams {
        streams.push(start(&engine, number)?);
    }
    wait_for_air(&streams)?;

    let default = MonitorConfig::default().interval;
    tell("looks every second", cli.streams, monitor(&engine, Duration::from_secs(1), cli.seconds)?);
    tell("looks at the default interval", cli.streams, monitor(&engine, default, 2 * default)?);
    // A file that is played through libav has threads of which it has to be found out whose they are.
    let other = Engine::new(Config::default())?;
    let direct = start(&other, cli.streams)?;
    wait_for_air(std::slice::from_ref(&direct))?;
    let beside = monitor(&engine, Duration::from_secs(1), cli.seconds)?;
    tell("looks every second, a codec host beside them", cli.streams, beside);
    other.shutdown(Duration::from_secs(10));
    tell("usage records every second", cli.streams, usage(&engine, cli.seconds)?);

    for (what, registry) in registries(&engine) {
        tell(what, cli.streams, scrape(&registry, cli.scrapes)?);
    }
    engine.shutdown(Duration::from_secs(30));
    sink.finish()?;
    Ok(())
}

fn wait_for_air(streams: &[StreamHandle]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for stream in streams {
        while stream.stats().bytes_sent == 0 {
            if Instant::now() > deadline {
                return Err("not on the air in time".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// What the monitor's thread uses while it looks every `interval`.
fn monitor(engine: &Engine, interval: Duration, window: Duration) -> Result<Value> {
    let monitor = engine.monitor();
    monitor.set(MonitorConfig::default().with(|settings| settings.interval = interval))?;
    monitor.start()?;
    // The first look makes room for what is remembered; the window begins half way to the next.
    std::thread::sleep(interval / 2);
    let (begins, used, began) = (SystemTime::now(), thread_cpu(MONITOR)?, Instant::now());
    std::thread::sleep(window);
    let (used, took) = (thread_cpu(MONITOR)?.saturating_sub(used), began.elapsed());
    // Those before the window stay in the history until there is no room for them.
    let history = monitor.process_history();
    if history.first().is_none_or(|look| look.at > begins) {
        return Err("the monitor does not remember as much as was measured".into());
    }
    let looks = history.iter().filter(|look| look.at >= begins).count();
    let streams = monitor.loads().len();
    monitor.stop();
    if looks == 0 {
        return Err("the monitor did not look".into());
    }
    let each = used.as_secs_f64() / looks as f64;
    let default = MonitorConfig::default().interval.as_secs_f64();
    Ok(json!({
        "seen": streams,
        "looks": looks,
        "ms_per_look": round(each * 1e3, 3),
        "percent_of_a_core": round(used.as_secs_f64() / took.as_secs_f64() * 100.0, 4),
        "percent_at_the_default_interval": round(each / default * 100.0, 4),
    }))
}

/// What the thread of usage records uses while it cuts every second, and a callback takes them.
fn usage(engine: &Engine, window: Duration) -> Result<Value> {
    let (usage, interval) = (engine.usage(), Duration::from_secs(1));
    usage.set(UsageConfig::default().with(|settings| settings.interval = interval))?;
    let sink = usage.records(|_| {})?;
    std::thread::sleep(interval / 2);
    let records = || sink.status().delivered;
    let (before, used, began) = (records(), thread_cpu(USAGE)?, Instant::now());
    std::thread::sleep(window);
    let (used, took) = (thread_cpu(USAGE)?.saturating_sub(used), began.elapsed());
    let records = records() - before;
    sink.cancel(Duration::from_secs(1));
    if records == 0 {
        return Err("no records were cut".into());
    }
    let each = used.as_secs_f64() / records as f64;
    let share = used.as_secs_f64() / took.as_secs_f64();
    let default = UsageConfig::default().interval.as_secs_f64();
    Ok(json!({
        "records": records,
        "us_per_record": round(each * 1e6, 3),
        "percent_of_a_core": round(share * 100.0, 4),
        "percent_at_the_default_interval": round(share / default * 100.0, 4),
    }))
}

fn registries(engine: &Engine) -> [(&'static str, Registry); 4] {
    let of = |collectors: Vec<Box<dyn flowcast::server::prometheus_client::collector::Collector>>| {
        let mut registry = Registry::default();
        collectors.into_iter().for_each(|collector| registry.register_collector(collector));
        registry
    };
    let all = usize::MAX;
    [
        ("EngineMetrics without labels", of(vec![Box::new(EngineMetrics::new(engine).streams(0).owners(0))])),
        ("EngineMetrics", of(vec![Box::new(EngineMetrics::new(engine))])),
        (
            "EngineMetrics, all streams",
            of(vec![Box::new(EngineMetrics::new(engine).streams(all).owners(all))]),
        ),
        (
            "all collectors, all streams",
            of(vec![
                Box::new(EngineMetrics::new(engine).streams(all).owners(all)),
                Box::new(StreamMetrics::new(engine.watch()).streams(all)),
                Box::new(EncoderMetrics::new(engine).streams(all)),
            ]),
        ),
    ]
}

/// What this thread uses to write a page.
fn scrape(registry: &Registry, scrapes: u32) -> Result<Value> {
    let mut page = String::new();
    encode(&mut page, registry)?;
    let used = process::thread_cpu_time();
    for _ in 0..scrapes {
        page.clear();
        encode(&mut page, registry)?;
    }
    let used = (process::thread_cpu_time() - used).as_secs_f64() / f64::from(scrapes.max(1));
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    Ok(json!({ "ms": round(used * 1e3, 3), "series": series, "bytes": page.len() }))
}

/// CPU time of a thread of this process, by its name.
fn thread_cpu(name: &str) -> Result<Duration> {
    for task in std::fs::read_dir("/proc/self/task")?.flatten() {
        let read = |file: &str| std::fs::read_to_string(Path::join(&task.path(), file));
        if read("comm").is_ok_and(|found| found.trim_end() == name) {
            let nanos = read("schedstat")?.split_whitespace().next().unwrap_or_default().parse()?;
            return Ok(Duration::from_nanos(nanos));
        }
    }
    Err(format!("there is no thread {name}").into())
}

fn tell(what: &str, streams: usize, mut figures: Value) {
    figures["what"] = what.into();
    figures["streams"] = streams.into();
    println!("{figures}");
}
