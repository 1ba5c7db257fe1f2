//! A channel that never ends: pictures in a loop under a list of music, or a list of films.
//!
//! With commands on its standard input it is edited while it is on the air: `add FILE`, `skip`, `list`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "support/encoding.rs"]
mod encoding;
#[path = "support/mod.rs"]
mod support;

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use encoding::Asked;
use flowcast::{Config, Engine, EventKind, ParameterChange, Playlist, Source, StreamStats};
use support::args::Args;
use support::progress::Progress;
use support::{Result, json, process, reels};

const USAGE: &str = "\
usage: channel --video LOOP --audio LIST --to URL [--shuffle] [...]
       channel --playlist LIST --to URL [--shuffle] [...]

  LIST           a directory, an .m3u or .ffconcat list, or one media file
  --video LOOP   pictures that are looped; their own sound is left out
  --audio LIST   the sound that is played under them
  --playlist LIST  files with both, one after the other
  --to URL       rtmp(s)://host/app/key to send it to; may be given more than once
  --record FILE  record to an FLV file
  --existing W   if that file is there: number (default: archive-1.flv), append, replace or refuse
  --shuffle      in another order every round
  --once         end with the last item
  --refuse-changes  leave items out whose parameters differ from the one before
  --silence      send silence where there is no audio track
  --seconds N    end after N seconds; otherwise at Ctrl-C
  --ca FILE      trust only the certificates in this PEM file for rtmps
  --json         print one JSON object with the figures as the last line
";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let usage = format!("{USAGE}{}\n{}", encoding::USAGE, reels::USAGE);
    let own = ["--video", "--audio", "--playlist", "--to", "--record", "--existing", "--seconds", "--ca"];
    let options: Vec<_> = own.into_iter().chain(encoding::OPTIONS).chain(reels::OPTIONS).collect();
    let flags = ["--shuffle", "--once", "--refuse-changes", "--silence", "--json", reels::NO_REELS];
    let args = Args::parse(&usage, &options, &flags)?;
    if let Some(word) = args.rest().first() {
        return Err(format!("what is {word} for?\n{usage}").into());
    }
    let (source, list) = source(&args).map_err(|error| format!("{error}\n{usage}"))?;
    let seconds = args.seconds("--seconds")?;
    let stop = support::stop_flag()?;

    let mut config = Config::from_env()?;
    config.reels = reels::store(&args)?;
    let mut asked = Asked::of(&args, &config)?;
    let engine = Engine::new(config)?;
    let events = engine.events();
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let channel = support::outputs::add(engine.stream(source), &args, 0)?.start()?;
    edit_from_stdin(list);

    let mut progress = Progress::default();
    let mut items = 0u64;
    let mut skipped = 0u64;
    let deadline = seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed)
        && !channel.has_ended()
        && deadline.is_none_or(|deadline| Instant::now() < deadline)
    {
        if let Some(event) = events.next_timeout(Duration::from_millis(200)) {
            progress.clear();
            asked.hear(&event.kind);
            items += u64::from(matches!(event.kind, EventKind::ItemStarted { .. }));
            skipped += u64::from(matches!(event.kind, EventKind::ItemSkipped { .. }));
            support::events::tell(event.stream, &event.kind);
        }
        asked.see(&channel.stats());
        if progress.is_shown() {
            progress.show(&format!("{}; {}", channel.stats(), asked.text()));
        }
    }
    progress.clear();

    let (elapsed, cpu) = (began.elapsed(), process::cpu_time() - cpu_before);
    let ended = channel.wait_timeout(Duration::ZERO);
    let stats = channel.stats();
    engine.shutdown(Duration::from_secs(5));
    let cpu_ms = cpu.as_secs_f64() * 1000.0 / elapsed.as_secs_f64();
    report(&args, &asked, &stats, elapsed, cpu_ms, (items, skipped));
    match ended {
        Some(Err(error)) => Err(flowcast::chain(error.as_ref()).into()),
        _ => Ok(()),
    }
}

/// What is asked for, and the list that can be edited.
fn source(args: &Args) -> Result<(Source, Playlist)> {
    let list = |name: &str| -> Result<Option<Playlist>> {
        let Some(path) = args.last::<String>(name)? else { return Ok(None) };
        let mut list = list_of(Path::new(&path))?;
        if args.has("--shuffle") {
            list = list.shuffled();
        }
        if args.has("--once") {
            list = list.once();
        }
        if args.has("--refuse-changes") {
            list = list.on_change(ParameterChange::Refuse);
        }
        Ok(Some(list))
    };
    let (source, list) = match (args.last::<String>("--video")?, list("--audio")?, list("--playlist")?) {
        (Some(video), Some(audio), None) => (Source::video(video).looped().with_audio(audio.clone()), audio),
        (None, None, Some(playlist)) => (Source::playlist(playlist.clone()), playlist),
        _ => return Err("give --video and --audio, or --playlist".into()),
    };
    let source = encoding::source(source, args)?;
    Ok((if args.has("--silence") { source.with_silence() } else { source }, list))
}

fn list_of(path: &Path) -> Result<Playlist> {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    Ok(if path.is_dir() {
        Playlist::dir(path)?
    } else if extension
        .is_some_and(|extension| ["m3u", "m3u8", "ffconcat", "txt"].iter().any(|list| extension == *list))
    {
        Playlist::m3u(path)?
    } else {
        Playlist::files([path])
    })
}

/// Lets a person edit the list while it is on the air.
fn edit_from_stdin(list: Playlist) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
                ("skip", _) => list.skip(),
                ("add", file) if !file.is_empty() => match list.add(file.trim()) {
                    Ok(id) => eprintln!("added as {id}"),
                    Err(error) => eprintln!("{error}"),
                },
                ("list", _) => {
                    for item in list.items() {
                        eprintln!("{}: {}", item.id, item.path.display());
                    }
                }
                ("", _) => {}
                (other, _) => eprintln!("{other:?}: say skip, add FILE or list"),
            }
        }
    });
}

fn report(
    args: &Args,
    asked: &Asked,
    stats: &StreamStats,
    elapsed: Duration,
    cpu_ms: f64,
    items: (u64, u64),
) {
    if args.has("--json") {
        let object = json::Object::default()
            .text("mode", &stats.mode.to_string())
            .text("asked_mode", &asked.mode().to_string())
            .text("encoder", asked.encoder())
            .value("seconds", format!("{:.2}", elapsed.as_secs_f64()))
            .value("media_ms", stats.media_time.as_millis())
            .value("bytes_sent", stats.bytes_sent)
            .value("cpu_ms_per_second", format!("{cpu_ms:.4}"))
            .value("rss_kb", process::rss_kb())
            .value("items", items.0)
            .value("items_skipped", items.1)
            .value("laps", stats.laps)
            .value("drops", stats.drops)
            .value("reconnects", stats.reconnects);
        println!("{}", object.finish());
    } else {
        let (asked, played, left_out) = (asked.text(), items.0, items.1);
        println!("{stats}; {asked}; {played} items, {left_out} left out, {cpu_ms:.2} ms CPU per second");
    }
}
