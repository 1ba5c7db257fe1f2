//! Players of one stream, as load for a server under test: they read, discard, and say how they were served.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::io::BufRead;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use flowcast_bench::load::{Behaviour, Crowd};
use flowcast_bench::process;
use flowcast_bench::support::args::Args;
use flowcast_bench::support::{Result, json};

const USAGE: &str = "\
usage: players ADDR [--play APP/NAME] [--count N] [--parse-every N] [--round MS]

  ADDR             host:port of the server
  --play APP/NAME  what to play. Without it no RTMP is spoken: everything is media from the first byte
  --count N        default 1
  --parse-every N  of so many players one parses everything and sees whether times go on. Default 20
  --round MS       rest between two looks at the sockets: less work for both sides. Default 5

It prints `live` once every player has seen media. Each line on its standard input begins a window and prints one JSON object
about the window before; the end of the input ends it.";

/// How long all players together may take to join.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse(USAGE, &["--play", "--count", "--parse-every", "--round"], &[])?;
    let [to] = args.rest() else { return Err(format!("which server?\n{USAGE}").into()) };
    let to: SocketAddr = to.parse()?;
    let count: usize = args.last("--count")?.unwrap_or(1);
    let every: usize = args.last("--parse-every")?.unwrap_or(20).max(1);
    let round = Duration::from_millis(args.last("--round")?.unwrap_or(5));
    let _ = process::raise_open_files();

    let stream: Option<String> = args.last("--play")?;
    let mut crowd = Crowd::new(to, stream.as_deref()).map_err(|error| error.to_string())?;
    let behaviour = |index| if index % every == 0 { Behaviour::Parse } else { Behaviour::Discard };
    let mut on_tag = |_, _: &_, _| {};
    crowd.join((0..count).map(behaviour), PATIENCE, &mut on_tag).map_err(|error| error.to_string())?;
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
        std::thread::sleep(round);
    }
}

fn tell(crowd: &Crowd, elapsed: Duration) -> String {
    let players = &crowd.players;
    let seconds = elapsed.as_secs_f64();
    let mut rates: Vec<f64> =
        players.iter().map(|player| player.bytes as f64 * 8.0 / 1000.0 / seconds).collect();
    rates.sort_by(f64::total_cmp);
    let rate = |index: usize| rates.get(index).map(|rate| format!("{rate:.1}"));
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
    json::Object::default()
        .value("players", players.len())
        .value("seconds", format!("{seconds:.3}"))
        .optional("kbps_min", rate(0))
        .optional("kbps_median", rate(rates.len() / 2))
        .optional("kbps_max", rate(rates.len().saturating_sub(1)))
        .value("silence_max_ms", silence.as_millis())
        .value("tags_parsed", players.iter().map(|player| player.tags).sum::<u64>())
        .value("disorder", players.iter().map(|player| player.disorder).sum::<u64>())
        .value("ended", ended.len())
        .value("cpu_seconds", format!("{:.3}", process::cpu_time().as_secs_f64()))
        .finish()
}
