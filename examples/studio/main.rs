//! A whole streaming server: channels from a file, as `channels` runs them, an RTMP(S) server, and a page in the browser that shows and steers
//! it all.
//!
//! SIGHUP reads the file again, and only what has changed is touched. SIGTERM and Ctrl-C end everything in an orderly way, with exit code 0.
mod cluster;
#[path = "../channels/file.rs"]
mod file;
#[path = "../channels/fleet.rs"]
mod fleet;
mod kept;
mod keys;
#[path = "../channels/running.rs"]
mod running;
#[path = "../channels/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
#[path = "../channels/table.rs"]
mod table;
#[path = "../channels/work.rs"]
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use cluster::{Joining, Node};
use file::{File, HttpTable};
use fleet::{Changes, DEADLINE, Fleet};
use flowcast::state::{RestoreOptions, Snapshot, StateFile};
use flowcast::{Config, Engine, ReelStore, RtmpServer};
use flowcast_http::{HttpServer, Options, Scope, Token, serve};
use kept::{Disk, Kept};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use support::print::out;
use support::{Result, cli, events};
use table::Table;
use work::{Said, Work};

/// How often what runs is looked at, and what the page did is kept.
const TICK: Duration = Duration::from_millis(200);
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// Runs a streaming server with a page to see and steer it.
///
/// Without a file it begins empty, on this machine only: HTTP on 127.0.0.1:8080, RTMP on 127.0.0.1:1935, and its data in ./studio-data. The first
/// start prints a token, which the page asks for. The file is TOML: what the example `channels` takes, [http] and [cluster].
#[derive(Parser)]
#[command(name = "studio", max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// The file
    #[arg(value_name = "CONFIG.toml")]
    file: Option<PathBuf>,

    /// Only say what is wrong with the file: exit code 0 if nothing is
    #[arg(long, requires = "file")]
    check: bool,
}

const EXAMPLE: &str = r#"Example of a file:
  [http]
  listen = "127.0.0.1:8080"         # elsewhere: put a proxy with TLS in front of it
  data = "/var/lib/flowcast"        # the token, what runs, keys that the page issued

  [server]
  listen = "0.0.0.0:1935"
  rtmps = "0.0.0.0:1936"
  tls = ["chain.pem", "key.pem"]

  [cluster]                         # with other machines; see docs/jobs/cluster.md
  redis = "redis://10.0.0.2"
  address = "rtmp://10.0.0.5:1935/live"

  [channels.rain]
  source = { file = "rain.mp4", looped = true }
  outputs = [{ url = "rtmps://a.rtmps.youtube.com/live2/your-key" }, { publish = "rain" }]"#;

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let read = || cli.file.as_deref().map_or_else(|| Ok(File::default()), File::read);
    let file = read().map_err(|problems| problems.join("\n"))?;
    if cli.check {
        let File { channels, schedules, keys, .. } = &file;
        out!("ok: {} channels, {} of them scheduled, {} keys", channels.len(), schedules.len(), keys.len())?;
        return Ok(());
    }
    let (stop, reload) = (support::asked_by(&[SIGTERM, SIGINT])?, support::asked_by(&[SIGHUP])?);
    let at_start = fixed(&file);
    let http = file.http.clone().unwrap_or_default();
    let reels = file.engine.reels.clone().unwrap_or_else(|| http.data.join("reels"));
    let engine = Engine::new(Config::from_env()?.with(|config| config.reels = Some(ReelStore::new(reels))))?;
    let (happened, scheduled) = (engine.events(), engine.schedules().events());
    let mut table = Table::new();
    let kept = Kept::open(&http.data)?;
    kept.give_keys(&engine, &file)?;
    // Before the channels, which may play what is published.
    let joining = file.cluster.as_ref().map(|table| Joining::new(table, &engine)).transpose()?;
    let rtmp = server::serve(&engine, &file.server.clone().unwrap_or_default(), |server| match &joining {
        Some(joining) => joining.on(server, &engine),
        None => Ok(server),
    })?;
    let mut node = match (joining, &file.cluster) {
        (Some(joining), Some(table)) => Some(joining.enter(table, &engine, &rtmp)?),
        _ => None,
    };
    // With keys, or pushes could not go on: the file is its owner's alone.
    let state = file.engine.state.clone().unwrap_or_else(|| http.data.join("state"));
    let mut state = Some(StateFile::open(state)?.with_keys());
    if let Some(damage) = state.as_ref().and_then(StateFile::damage) {
        table.say(damage);
    }
    let before = state.as_ref().and_then(|state| state.snapshot().cloned());
    let of_file = before.map(|before| resume(&engine, before, &kept, &file, &table));
    let disk = Arc::new(Disk::new(engine.clone(), kept, file.clone()));
    let page = serve_http(&engine, &rtmp, &http, &disk, node.as_ref())?;
    let work = Work::begin(Fleet::new(engine.clone()), file.clone(), of_file)?;
    let (mut looked, mut shown) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        if let Some(event) = happened.next_timeout(TICK).filter(|event| events::text(event).is_some()) {
            table.say(event);
        }
        scheduled.try_iter().for_each(|event| table.say(event));
        node.iter_mut().flat_map(Node::said).for_each(|text| table.say(text));
        if work.is_over() {
            return Err("nothing looks after the channels any more".into());
        }
        for said in work.said() {
            match said {
                Said::Line(text) => table.say(text),
                Said::Changed(what, changes) => {
                    // What was kept has been gone on with. Kept before it is told: what is asked for from then on is saved.
                    if let Some(state) = state.take() {
                        disk.keep(engine.keep_state(state)?);
                    }
                    tell(&table, what, &changes)?;
                }
            }
        }
        if reload.swap(false, Ordering::Relaxed) {
            match read() {
                Ok(new) => {
                    if fixed(&new) != at_start {
                        table.say(
                            "engine.state, engine.reels, server, http and cluster are those of the start: to change them, restart",
                        );
                    }
                    disk.follow(new.clone());
                    work.change_to(new);
                }
                Err(problems) => {
                    problems.iter().for_each(|problem| table.say(problem));
                    out!("not reloaded: {} problems; everything goes on as it was", problems.len())?;
                }
            }
        }
        if table.is_shown() && shown.elapsed() >= SHOWN_EVERY {
            shown = Instant::now();
            // While channels change, the table stands still.
            work.rows().iter().for_each(|rows| table.show(rows));
        }
        if looked.elapsed() >= TICK {
            looked = Instant::now();
            if let Err(error) = disk.note() {
                table.say(format_args!("what the page did is not kept: {error}"));
            }
        }
    }
    table.clear();
    // The page still shows how streams go to other nodes.
    if let Some(node) = node {
        node.leave(&stop, |text| table.say(text));
    }
    // The page first: what it begins now would not last.
    page.stop(DEADLINE);
    // Whoever publishes is let go first: what is made from that ends as it would by itself.
    let published = rtmp.stop(DEADLINE);
    // This ends what a change of the channels waits for, too.
    let report = engine.shutdown(DEADLINE);
    disk.end();
    out!(
        "stopped {}, abandoned {}",
        report.stopped + published.stopped,
        report.abandoned + published.abandoned
    )?;
    Ok(())
}

/// What takes a restart to change.
fn fixed(file: &File) -> impl PartialEq + use<> {
    let engine = (file.engine.state.clone(), file.engine.reels.clone());
    (engine, file.server.clone(), file.http.clone(), file.cluster.clone())
}

/// Has the streams go on that the page began; what is left is for the channels.
fn resume(engine: &Engine, mut before: Snapshot, kept: &Kept, file: &File, table: &Table) -> Snapshot {
    let mut of_page = before.clone();
    let is_of_page = |label: Option<&str>| kept.is_of_page(label, file);
    of_page.streams.retain(|saved| is_of_page(saved.spec.label.as_deref()));
    of_page.schedules.retain(|schedule| is_of_page(schedule.spec.label.as_deref()));
    before.streams.retain(|saved| !is_of_page(saved.spec.label.as_deref()));
    before.schedules.retain(|schedule| !is_of_page(schedule.spec.label.as_deref()));
    let options = RestoreOptions::default().with(|options| {
        options.resume = file.engine.resume;
        options.spread = Duration::ZERO;
        options.guard = None;
    });
    let restored = engine.restore(of_page, &options);
    for (saved, error) in &restored.failed {
        let label = saved.spec.label.as_deref().unwrap_or("a stream");
        table.say(format_args!("{label}: {}", flowcast::error::chain(error)));
    }
    engine.forget_unrestored();
    before
}

fn serve_http(
    engine: &Engine,
    rtmp: &RtmpServer,
    table: &HttpTable,
    disk: &Arc<Disk>,
    node: Option<&Node>,
) -> Result<HttpServer> {
    let (secret, is_new) = kept::token(&table.data)?;
    let disk = disk.clone();
    let options = Options::default().rtmp_server(rtmp).saved_by(move || disk.save()).with(|options| {
        options.tokens.push(Token::new("studio", &secret, [Scope::Operate, Scope::Keys]));
        options.open_metrics = table.open_metrics;
        options.proxies.clone_from(&table.proxies);
    });
    let options = match node {
        Some(node) => node.shown(options),
        None => options,
    };
    let http = serve(engine, &table.listen, options)?;
    out!("open http://{}/", http.address())?;
    let path: &Path = &table.data.join("token");
    if is_new {
        out!("token: {}", secret.reveal())?;
    }
    out!("the token is in {}", path.display())?;
    Ok(http)
}

fn tell(table: &Table, what: &str, changes: &Changes) -> Result<()> {
    let Changes { added, changed, removed, untouched, failed } = changes;
    failed.iter().for_each(|text| table.say(text));
    out!(
        "{what}: {added} added, {changed} changed, {removed} removed, {untouched} untouched, {} failed",
        failed.len()
    )?;
    Ok(())
}
