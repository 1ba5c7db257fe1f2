//! Channels from a file: what they play, where they go, when they run, and who may publish.
//!
//! SIGHUP reads the file again, and only what has changed is touched. SIGTERM and Ctrl-C end everything in an orderly way, with exit code 0.
mod file;
mod fleet;
mod running;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use file::{EngineTable, File};
use fleet::{Changes, DEADLINE, Fleet};
use flowcast::state::StateFile;
use flowcast::{Config, Engine, Error, ReelStore};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use support::print::out;
use support::{Result, cli, events};
use table::Table;
use work::{Said, Work};

/// How often what runs is looked at, and how often the table changes.
const TICK: Duration = Duration::from_millis(200);
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// Runs the channels of a file.
///
/// The file is TOML. [channels.NAME] is a stream: source, outputs, owner. [schedules.NAME] says when the channel of this name runs; one without
/// runs all the time. [keys] are the names somebody may publish under, with their keys; [server] listens for them. SIGHUP
/// reads the file again: channels that have not changed are not touched.
#[derive(Parser)]
#[command(name = "channels", max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// The file
    #[arg(value_name = "CONFIG.toml")]
    file: PathBuf,

    /// Only say what is wrong with the file: exit code 0 if nothing is
    #[arg(long)]
    check: bool,
}

const EXAMPLE: &str = r#"Example of a file:
  [server]
  listen = "0.0.0.0:1935"                # and rtmps = "0.0.0.0:1936" with tls = ["chain.pem", "key.pem"]

  [keys]
  studio = "a-secret-that-nobody-guesses"

  [channels.rain]
  source = { video = "rain.mp4", looped = true, audio = { dir = "music", shuffled = true } }
  outputs = [{ url = "rtmps://a.rtmps.youtube.com/live2/your-key" }, { publish = "rain" }]

  [channels.studio]
  source = { published = "studio" }
  outputs = [{ url = "rtmp://live.twitch.tv/app/your-key" }, { record = "studio.flv" }]

  [channels.evening]
  source = { file = "film.mp4", looped = true }
  outputs = [{ publish = "evening" }]

  [schedules.evening]
  zone = "Europe/Berlin"
  windows = [{ from = "20:00", to = "23:30" }, { days = ["sun"], from = "10:00", lasts = "2h" }]"#;

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let file = File::read(&cli.file).map_err(|problems| problems.join("\n"))?;
    if file.http.is_some() || file.cluster.is_some() {
        return Err("http and cluster: these are for the example `studio`".into());
    }
    if cli.check {
        let File { channels, schedules, keys, .. } = &file;
        out!("ok: {} channels, {} of them scheduled, {} keys", channels.len(), schedules.len(), keys.len())?;
        return Ok(());
    }
    let (stop, reload) = (support::asked_by(&[SIGTERM, SIGINT])?, support::asked_by(&[SIGHUP])?);
    let fixed = |file: &File| {
        let EngineTable { state, reels, .. } = &file.engine;
        (state.clone(), reels.clone(), file.server.clone())
    };
    let at_start = fixed(&file);
    let engine = engine(&file.engine)?;
    let (happened, scheduled) = (engine.events(), engine.schedules().events());
    let mut table = Table::new();
    // Before the channels, which may play what is published.
    let server = file.server.as_ref().map(|table| server::serve(&engine, table, Ok)).transpose()?;
    // With keys, or pushes could not go on: the file is its owner's alone.
    let state = file.engine.state.as_ref().map(|path| Ok::<_, Error>(StateFile::open(path)?.with_keys()));
    let mut state = state.transpose()?;
    if let Some(state) = &state {
        state.damage().iter().for_each(|damage| table.say(damage));
    }
    let kept = state.as_ref().and_then(|state| state.snapshot().cloned());
    let work = Work::begin(Fleet::new(engine.clone()), file, kept)?;
    let mut keeper = None;
    let mut shown = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Some(event) = happened.next_timeout(TICK).filter(|event| events::text(event).is_some()) {
            table.say(event);
        }
        scheduled.try_iter().for_each(|event| table.say(event));
        if work.is_over() {
            return Err("nothing looks after the channels any more".into());
        }
        for said in work.said() {
            match said {
                Said::Line(text) => table.say(text),
                Said::Changed(what, changes) => {
                    // What was kept has been gone on with.
                    if let Some(state) = state.take() {
                        keeper = Some(engine.keep_state(state)?);
                    }
                    tell(&table, what, &changes)?;
                }
            }
        }
        if reload.swap(false, Ordering::Relaxed) {
            match File::read(&cli.file) {
                Ok(file) => {
                    if fixed(&file) != at_start {
                        table.say("engine.state, engine.reels and server are those of the start: to change them, restart");
                    }
                    work.change_to(file);
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
    }
    table.clear();
    // Whoever publishes is let go first: what is made from that ends as it would by itself.
    let published = server.map(|server| server.stop(DEADLINE)).unwrap_or_default();
    // This ends what a change of the channels waits for, too.
    let report = engine.shutdown(DEADLINE);
    drop(keeper);
    out!(
        "stopped {}, abandoned {}",
        report.stopped + published.stopped,
        report.abandoned + published.abandoned
    )?;
    Ok(())
}

fn engine(table: &EngineTable) -> Result<Engine> {
    let config = Config::from_env()?.with(|config| config.reels = table.reels.as_ref().map(ReelStore::new));
    Ok(Engine::new(config)?)
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
