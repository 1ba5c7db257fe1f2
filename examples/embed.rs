//! A small playout service, as a program that embeds flowcast would be: orders come line by line on standard input, answers go to
//! standard output.
//!
//! An answer is any number of lines, the last of which begins with `ok` or `error CODE`. After `watch on`, lines that begin with
//! `event` come between answers. The log is on standard error.
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use flowcast::error::{UnknownName, chain};
use flowcast::event::Subscription;
use flowcast::server::prometheus_client::{encoding::text::encode, registry::Registry};
use flowcast::server::{EncoderMetrics, EngineMetrics, StreamMetrics};
use flowcast::stats::StreamStats;
use flowcast::thumbnail::ThumbnailOptions;
use flowcast::verdict::Facts;
use flowcast::{
    Config, Engine, Error, Output, OutputId, Platform, Playlist, ReelStore, RtmpServer, RtmpServerExt,
    Source, StreamId, StreamRef,
};
use support::cli::Named;
use support::{Result, cli, print};

/// How long a stream may take to say goodbye.
const DEADLINE: Duration = Duration::from_secs(5);

/// A playout service that is spoken to on standard input: `help` lists the orders.
#[derive(Parser)]
#[command(name = "embed", max_term_width = cli::WIDTH)]
struct Cli {
    /// Address for publishers and players; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1935")]
    listen: String,

    /// Cut each file once into a reel and keep it there; otherwise files are read as they are played
    #[arg(long, value_name = "DIR")]
    reels: Option<PathBuf>,

    /// Keep this much of each stream for clips
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    keep: Option<Duration>,
}

/// One line of standard input; words are separated by spaces.
#[derive(Parser)]
#[command(multicall = true, max_term_width = cli::WIDTH)]
struct Line {
    #[command(subcommand)]
    order: Order,
}

/// STREAM is the name a stream was started with, or its number.
#[derive(Subcommand)]
enum Order {
    /// Play files one after another, again and again
    Start {
        name: String,
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Send it there from the beginning, as `add` does; may be given several times
        #[arg(long, value_name = "LABEL=URL", value_parser = cli::named())]
        to: Vec<Named>,
    },
    /// Send a stream to rtmp(s)://host/app/key, offer it to players as publish:NAME, or record it to FILE.flv
    Add { stream: String, label: String, url: String },
    /// End an output
    Remove { stream: String, label: String },
    /// Each stream and its outputs in a line
    List,
    /// All figures of a stream as JSON
    Show { stream: String },
    /// What a stream plays now
    Playing { stream: String },
    /// Go on with the next file
    Next { stream: String },
    /// Write what a stream shows to FILE.jpg
    Thumbnail { stream: String, file: PathBuf },
    /// Write what was on the air in the last so many seconds to a file; as much as `--keep` says is there
    Clip { stream: String, file: PathBuf, seconds: f64 },
    /// What failed lately
    Errors { stream: String },
    /// Whether a platform takes a file as it is
    Judge { file: PathBuf, platform: String },
    /// Let somebody publish under a name, with this key or with a random one
    Key { name: String, key: Option<String> },
    /// Show events as they happen
    Watch { switch: Switch },
    /// All figures for Prometheus
    Metrics,
    /// Stop a stream
    Stop { stream: String },
    /// Stop everything
    Quit,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Why an order was not carried out: a stable code, and a text for people.
struct Refusal(&'static str, String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.code(), chain(&error))
    }
}

type Answer = std::result::Result<String, Refusal>;

struct Service {
    // Before the engine, which waits for its streams when it is dropped.
    server: RtmpServer,
    registry: Registry,
    lists: BTreeMap<StreamId, Playlist>,
    watching: Option<Subscription>,
    engine: Engine,
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let mut service = Service::start(cli)?;
    print::line(format_args!("ok listening on rtmp://{}/live", service.server.address()))?;
    for line in orders()? {
        let line = match Line::try_parse_from(line.split_whitespace()) {
            Ok(Line { order: Order::Quit }) => break,
            Ok(Line { order }) => service.carry_out(order).unwrap_or_else(|Refusal(code, text)| {
                // One line, whatever is in it.
                format!("error {code} {}", text.replace(['\r', '\n'], " "))
            }),
            // Also what `help` says.
            Err(error) if error.use_stderr() => format!("{error}error USAGE not an order"),
            Err(help) => format!("{help}ok"),
        };
        print::line(line)?;
    }
    print::line(service.stop())?;
    Ok(())
}

/// Lines of standard input, up to its end or until the user or the system asks to stop.
fn orders() -> Result<impl Iterator<Item = String>> {
    let (send, lines) = mpsc::channel();
    let stop = send.clone();
    ctrlc::set_handler(move || stop.send(None).unwrap_or_default())?;
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(std::result::Result::ok);
        let lines = lines.filter(|line| !line.trim().is_empty());
        // The receiver is gone once the service stops.
        let _ = lines.map(Some).chain([None]).try_for_each(|line| send.send(line));
    });
    Ok(lines.into_iter().map_while(|line| line))
}

impl Service {
    fn start(cli: &Cli) -> Result<Self> {
        let mut config = Config::from_env()?;
        config.reels = cli.reels.as_ref().map(ReelStore::new);
        config.backlog.keep = cli.keep.unwrap_or_default();
        let engine = Engine::new(config)?;
        let _ = engine.on_event(|event| print::note(event));
        let server = engine.rtmp_server(&cli.listen).start()?;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(EngineMetrics::new(&engine)));
        registry.register_collector(Box::new(StreamMetrics::new(engine.watch())));
        registry.register_collector(Box::new(EncoderMetrics::new(&engine)));
        registry.register_collector(Box::new(server.metrics()));
        Ok(Self { server, registry, lists: BTreeMap::new(), watching: None, engine })
    }

    /// Ends all that runs, under one deadline for each.
    fn stop(self) -> String {
        let published = self.server.stop(DEADLINE);
        let started = self.engine.shutdown(DEADLINE);
        let stopped = published.stopped + started.stopped;
        format!("ok stopped {stopped}, abandoned {}", published.abandoned + started.abandoned)
    }

    fn carry_out(&mut self, order: Order) -> Answer {
        match order {
            Order::Start { name, files, to } => self.start_stream(&name, files, to),
            Order::Add { stream, label, url } => {
                let output = self.find(&stream)?.add_output(output(&url).label(label))?;
                Ok(format!("ok {output}"))
            }
            Order::Remove { stream, label } => {
                let stream = self.find(&stream)?;
                let output = find_output(&stream, &label)?;
                stream.remove_output(output)?;
                Ok(format!("ok {output}"))
            }
            Order::List => {
                let streams = self.engine.watch().stats();
                let lines: String = streams.iter().map(|stats| in_a_line(stats) + "\n").collect();
                Ok(format!("{lines}ok {}", streams.len()))
            }
            Order::Show { stream } => json(&self.find(&stream)?.stats()),
            Order::Playing { stream } => playing(&self.find(&stream)?.stats()),
            Order::Next { stream } => {
                let list = self.lists.get(&self.find(&stream)?.id());
                list.ok_or_else(|| refuse("NO_LIST", "it plays what somebody publishes"))?.skip();
                Ok("ok".to_owned())
            }
            Order::Thumbnail { stream, file } => {
                let picture = self.find(&stream)?.thumbnail(&ThumbnailOptions::default(), DEADLINE)?;
                let written = std::fs::write(&file, &picture.jpeg);
                written.map_err(|error| refuse("NOT_WRITTEN", &format!("{}: {error}", file.display())))?;
                Ok(format!(
                    "ok {} x {} at {:.1} s",
                    picture.width,
                    picture.height,
                    picture.time.as_secs_f64()
                ))
            }
            Order::Clip { stream, file, seconds } => {
                let last = Duration::try_from_secs_f64(seconds)
                    .map_err(|error| refuse("USAGE", &format!("{seconds} s: {error}")))?;
                let clip = self.find(&stream)?.clip(file, last, DEADLINE)?;
                let (path, media) = (clip.path.display(), (clip.to - clip.from).as_secs_f64());
                Ok(format!("ok {path}: {media:.1} s{}", if clip.is_short { ", all there was" } else { "" }))
            }
            Order::Errors { stream } => Ok(errors(&self.find(&stream)?)),
            Order::Judge { file, platform } => judge(file, &platform),
            Order::Key { name, key } => self.let_publish(&name, key),
            Order::Watch { switch } => Ok(self.watch(switch)),
            Order::Metrics => self.metrics(),
            Order::Stop { stream } => {
                let stream = self.find(&stream)?;
                self.lists.remove(&stream.id());
                let last = stream.stop(DEADLINE)?;
                Ok(format!(
                    "ok {:.1} MB sent in {:.1} s",
                    last.bytes_sent as f64 / 1e6,
                    last.uptime.as_secs_f64()
                ))
            }
            Order::Quit => Ok("ok".to_owned()),
        }
    }

    /// Puts a list on the air. It needs no output to begin with: they are added and removed while it runs.
    fn start_stream(&mut self, name: &str, files: Vec<PathBuf>, to: Vec<Named>) -> Answer {
        if self.find(name).is_ok() {
            return Err(refuse("NAME_TAKEN", &format!("{name} is on the air")));
        }
        let list = Playlist::files(files);
        let stream = self
            .engine
            .stream(Source::playlist(list.clone()))
            .label(name)
            .outputs(to.iter().map(|to| output(&to.value).label(&to.name)))
            .without_outputs()
            .start()?
            .detach();
        self.lists.insert(stream.id(), list);
        Ok(format!("ok {}", stream.id()))
    }

    /// A stream by its number or its name.
    fn find(&self, name: &str) -> std::result::Result<StreamRef, Refusal> {
        let by_number = name.parse().ok().and_then(|id| self.engine.get(id));
        let by_name = || self.engine.streams().into_iter().find(|stream| stream.label() == Some(name));
        by_number.or_else(by_name).ok_or_else(|| refuse("NO_STREAM", &format!("there is no stream {name}")))
    }

    /// What is malformed and what is taken have codes of their own: the one is to be corrected, the other to be chosen anew.
    fn let_publish(&self, name: &str, key: Option<String>) -> Answer {
        match key {
            Some(key) => self.engine.keys().add(name, key)?,
            None => {
                let key = self.engine.keys().issue(name)?;
                return Ok(format!("ok {}", key.reveal()));
            }
        }
        Ok("ok".to_owned())
    }

    fn watch(&mut self, switch: Switch) -> String {
        if let Some(watching) = self.watching.take() {
            watching.cancel();
        }
        if matches!(switch, Switch::On) {
            self.watching = Some(self.engine.on_event(|event| {
                let json = serde_json::to_string(event).unwrap_or_else(|error| error.to_string());
                // Nobody may be reading.
                let _ = print::line(format_args!("event {json}"));
            }));
        }
        "ok".to_owned()
    }

    fn metrics(&self) -> Answer {
        let mut page = String::new();
        encode(&mut page, &self.registry).map_err(|error| refuse("METRICS", &error.to_string()))?;
        Ok(page + "ok")
    }
}

fn refuse(code: &'static str, text: &str) -> Refusal {
    Refusal(code, text.to_owned())
}

/// What an address means. What it cannot mean is an error where the output is given to a stream.
fn output(url: &str) -> Output {
    match url.strip_prefix("publish:") {
        Some(name) => Output::publish(name),
        None if url.contains("://") => Output::url(url),
        None => Output::record(url),
    }
}

/// An output by its label or its number.
fn find_output(stream: &StreamRef, label: &str) -> std::result::Result<OutputId, Refusal> {
    let by_number = || label.parse::<OutputId>().ok();
    stream
        .output(label)
        .or_else(by_number)
        .ok_or_else(|| refuse("NO_OUTPUT", &format!("there is no output {label}")))
}

/// What failed lately, the newest last.
fn errors(stream: &StreamRef) -> String {
    let errors = stream.errors();
    let lines = errors.iter().map(|error| format!("{} {}: {error}\n", error.code, error.event));
    lines.chain(["ok".to_owned()]).collect()
}

/// A stream and its outputs, for people.
fn in_a_line(stats: &StreamStats) -> String {
    let label = stats.label.as_deref().unwrap_or("-");
    let mut line = format!("{} {label}: {}", stats.id, stats.bit_rate);
    for output in &stats.outputs {
        let name = output.label.as_deref().unwrap_or(&output.name);
        // A string takes everything.
        let _ = write!(line, "; {name} {} {}", output.phase, output.bit_rate);
        if let Some(failure) = &output.last_error {
            let _ = write!(line, " ({})", failure.code);
        }
    }
    line
}

fn playing(stats: &StreamStats) -> Answer {
    let playing = stats.playing.as_ref().ok_or_else(|| refuse("NOTHING", "nothing is playing"))?;
    let item = playing.item.map_or_else(|| "-".to_owned(), |item| item.to_string());
    let length =
        playing.length.map_or_else(|| "?".to_owned(), |length| format!("{:.1}", length.as_secs_f64()));
    Ok(format!("ok {item} {:.1}/{length} s {}", playing.position.as_secs_f64(), playing.path.display()))
}

fn judge(file: PathBuf, platform: &str) -> Answer {
    let platform: Platform =
        platform.parse().map_err(|unknown: UnknownName| refuse("NO_PLATFORM", &unknown.to_string()))?;
    let verdict = Facts::scan(file)?.verdict(&platform);
    let reasons = verdict.reasons.iter();
    let lines = reasons.map(|reason| format!("{} {}: {}\n", reason.severity, reason.code, reason.detail));
    Ok(lines.chain([format!("ok {}", verdict.action)]).collect())
}

fn json(stats: &StreamStats) -> Answer {
    let text = serde_json::to_string(stats).map_err(|error| refuse("JSON", &error.to_string()))?;
    Ok(format!("{text}\nok"))
}
