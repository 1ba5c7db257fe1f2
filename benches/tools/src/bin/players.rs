//! Players of one stream, as load for a server under test: they read, discard, and say how they were served.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io::BufRead;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast_bench::load::{Behaviour, Crowd};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, millis, round, spread};
use serde_json::json;

/// Players of one stream, as load for a server under test: they read, discard, and say how they were served.
///
/// It prints `live` once every player has seen media. Each line on its standard input begins a window and prints
/// one JSON object about the window before; the end of the input ends it.
#[derive(Parser)]
struct Cli {
    /// Address of the server
    #[arg(value_name = "HOST:PORT")]
    to: SocketAddr,

    /// What to play; without it no RTMP is spoken: everything is media from the first byte
    #[arg(long, value_name = "APP/NAME")]
    play: Option<String>,

    /// What to get by HTTP: /live/NAME.flv. It is discarded, not parsed
    #[arg(long, value_name = "PATH", conflicts_with = "play")]
    get: Option<String>,

    /// How many players
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,

    /// Of this many players one parses everything and sees whether times go on
    #[arg(long, value_name = "N", default_value = "20")]
    parse_every: NonZeroUsize,

    /// Rest between two looks at the sockets: less work for both sides
    #[arg(long, value_name = "MS", default_value = "5", value_parser = millis)]
    round: Duration,
}

/// How long all players together may take to join.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let crowd = match &cli.get {
        Some(path) => Crowd::of_http(cli.to, path),
        None => Crowd::new(cli.to, cli.play.as_deref()),
    };
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    let behaviour = |index| if index % cli.parse_every == 0 { Behaviour::Parse } else { Behaviour::Discard };
    let mut on_tag = |_, _: &_, _| {};
    crowd.join((0..cli.count).map(behaviour), PATIENCE, &mut on_tag).map_err(|error| error.to_string())?;
    println!("live");

    let (lines, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    crowd.mark();
    let mut since = Instant::now();
    loop {
        match asked.try_recv() {
            Ok(_) => {
                println!("{}", tell(&crowd, since.elapsed()));
                crowd.mark();
                since = Instant::now();
            }
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            Err(mpsc::TryRecvError::Empty) => {}
        }
        crowd.turn(Duration::from_millis(200), &mut on_tag).map_err(|error| error.to_string())?;
        std::thread::sleep(cli.round);
    }
}

fn tell(crowd: &Crowd, elapsed: Duration) -> String {
    let players = &crowd.players;
    let seconds = elapsed.as_secs_f64();
    let mut rates: Vec<f64> =
        players.iter().map(|player| player.bytes as f64 * 8.0 / 1000.0 / seconds).collect();
    let [least, median, most] = spread(&mut rates);
    // One that got nothing since has been silent until now.
    let silence = players
        .iter()
        .map(|player| if player.bytes == 0 { elapsed } else { player.silence })
        .max()
        .unwrap_or_default();
    let ended: Vec<&String> = players.iter().filter_map(|player| player.ended.as_ref()).collect();
    if let Some(why) = ended.first() {
        eprintln!("players: {} ended: {why}", ended.len());
    }
    let figures = json!({
        "players": players.len(),
        "seconds": round(seconds, 3),
        "kbps_min": least,
        "kbps_median": median,
        "kbps_max": most,
        "silence_max_ms": silence.as_millis(),
        "tags_parsed": players.iter().map(|player| player.tags).sum::<u64>(),
        "disorder": players.iter().map(|player| player.disorder).sum::<u64>(),
        "ended": ended.len(),
        "cpu_seconds": round(process::cpu_time().as_secs_f64(), 3),
    });
    figures.to_string()
}
