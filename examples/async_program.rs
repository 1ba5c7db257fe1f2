//! flowcast in an async program: each file is a stream of its own, whose end is a task of tokio; events are awaited, and what
//! blocks runs in `spawn_blocking`.
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flowcast::error::chain;
use flowcast::stats::StreamStats;
use flowcast::{Config, Engine, Error, Source};
use support::outputs::OutputArgs;
use support::print::out;
use support::{Result, cli, events, print};
use tokio::task::{JoinSet, spawn_blocking};

/// How long streams may take to say goodbye.
const DEADLINE: Duration = Duration::from_secs(5);

/// Plays files at the same time, each as a stream of its own, from a program that runs on tokio. Ends when all
/// files are over, or at Ctrl-C.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = EXAMPLE)]
struct Cli {
    /// Files to play
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Play each file again and again
    #[arg(long)]
    looped: bool,

    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    #[command(flatten)]
    outputs: OutputArgs,
}

const EXAMPLE: &str = "\
Example:
  async_program intro.mp4 outro.mp4 --to rtmp://host/live/key-{}";

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    if cli.outputs.is_empty() {
        cli::wrong::<Cli>("there is no output: give --to URL or --record FILE.flv");
    }
    support::exit(run(cli))
}

/// One thread is enough: nothing here blocks it.
#[tokio::main(flavor = "current_thread")]
async fn run(cli: Cli) -> Result<()> {
    // A task of its own, so that it listens from the beginning.
    let mut interrupted = tokio::spawn(tokio::signal::ctrl_c());
    let config =
        Config::from_env()?.with(|config| config.max_streams = config.max_streams.max(cli.files.len()));
    let engine = Engine::new(config)?;
    let happened = engine.events();
    let mut streams = JoinSet::new();
    for (number, file) in cli.files.iter().enumerate() {
        let source = if cli.looped { Source::file(file).looped() } else { Source::file(file) };
        let label = file.file_name().unwrap_or_default().to_string_lossy();
        let builder = cli.outputs.add(engine.stream(source).label(label), number)?;
        // Opens the file, and may read all of it: nothing for a task.
        let live = spawn_blocking(move || builder.start()).await??;
        streams.spawn(async move {
            let outcome = live.ended().await;
            (live.stats(), outcome)
        });
    }

    let over = after(cli.seconds);
    tokio::pin!(over);
    let mut failed = None;
    loop {
        tokio::select! {
            Some(ended) = streams.join_next() => {
                failed = report(ended?)?.or(failed);
                if streams.is_empty() {
                    break;
                }
            }
            Some(event) = happened.recv() => events::text(&event).iter().for_each(print::note),
            () = &mut over => break,
            heard = &mut interrupted => break heard??,
        }
    }

    // The engine goes into the closure, so that it is dropped there: that blocks as well.
    let stopped = spawn_blocking(move || engine.shutdown(DEADLINE)).await?;
    while let Some(ended) = streams.join_next().await {
        failed = report(ended?)?.or(failed);
    }
    out!("stopped {}, abandoned {}", stopped.stopped, stopped.abandoned)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Says how a stream ended.
fn report((stats, outcome): (StreamStats, std::result::Result<(), Error>)) -> Result<Option<Error>> {
    let label = stats.label.as_deref().unwrap_or_default();
    match outcome {
        Ok(()) => {
            out!("{} {label}: over after {} ms of media", stats.id, stats.media_time.as_millis())?;
            Ok(None)
        }
        Err(error) => {
            out!("{} {label}: {}", stats.id, chain(&error))?;
            Ok(Some(error))
        }
    }
}

/// When the time given is over; never, if none is.
async fn after(seconds: Option<Duration>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(seconds).await,
        None => std::future::pending().await,
    }
}
