//! A source of a program's own: a test card with a moving bar and a clock, made without libav and without an encoder.
//!
//! The card is in `card.rs`, `painting.rs` and `h264.rs`. It is checked against the contract of sources first.
mod card;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use card::{RATE, TestCard};
use clap::Parser;
use flowcast::driver::check::check_source;
use flowcast::{Config, Engine, Output, RtmpServerExt};
use serde::Serialize;
use support::outputs::OutputArgs;
use support::print::{note, out, round};
use support::progress::Progress;
use support::{Result, cli, events, print};

/// Sends a test card that the program makes itself: a moving bar, a clock, silence.
///
/// Without outputs it is put on an RTMP server of the program's own, where players find it as "card".
#[derive(Parser)]
#[command(name = "own_source", max_term_width = cli::WIDTH, after_help = EXAMPLES)]
struct Cli {
    /// Where the server listens if there are no outputs; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,

    /// The card is complete after this many seconds; otherwise it goes on until Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  own_source
  own_source --to rtmp://host/live/key
  own_source --seconds 10 --record card.flv";

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    media_ms: i64,
    bytes_sent: u64,
    drops: u64,
    mistakes: usize,
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let checked = check_source(TestCard::default);
    note(format_args!("checked: {checked}"));
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?)?;
    let happened = engine.events();
    let began = Instant::now();
    let pictures = cli.seconds.map(|seconds| (seconds.as_secs_f64() * RATE as f64).round() as u64);
    let builder = engine.stream(TestCard { pictures });
    let (builder, server) = if cli.outputs.is_empty() {
        let server = engine.rtmp_server(&cli.listen).start()?;
        note(format_args!("play rtmp://{}/live/card", server.address()));
        (builder.to(Output::publish("card")), Some(server))
    } else {
        (cli.outputs.add(builder, 0)?, None)
    };
    let card = builder.start()?;
    let progress = Progress::default();
    while !stop.load(Ordering::Relaxed) && !card.has_ended() {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        if progress.is_shown() {
            progress.show(format!("{}; {} players", card.stats(), card.players()));
        }
    }
    progress.clear();
    let ended = card.wait_timeout(Duration::ZERO);
    engine.shutdown(Duration::from_secs(5));
    let stats = card.stats();
    drop(server);
    if cli.json {
        print::json(&Report {
            seconds: round(began.elapsed().as_secs_f64(), 2),
            media_ms: stats.media_time.as_millis(),
            bytes_sent: stats.bytes_sent,
            drops: stats.drops,
            mistakes: checked.mistakes.len(),
        })?;
    } else {
        out!("{stats}")?;
    }
    match ended {
        Some(Err(error)) => Err(flowcast::error::chain(&error).into()),
        _ => Ok(()),
    }
}
