//! A process that keeps its state is killed at random moments: what ran runs again, nothing twice, and nothing is left behind.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::state::{RestoreOptions, StateFile};
use flowcast::{Engine, Output, Playlist, ReelStore, RtmpServerExt, Source, StreamHandle};
use kit::rig::{Known, engine};
use kit::{PATIENCE, Peer, alone, files, role_arguments, wait_until};
use rustix::process::{Signal, kill_process};

/// How often it is killed.
const MOMENTS: usize = 50;
/// Streams at once, at most.
const MOST: usize = 6;
/// The latest moment, after the start of the process.
const LATEST_MS: u64 = 300;
const CLIP: &str = "FLOWCAST_TEST_CLIP";
const SERVER: &str = "FLOWCAST_TEST_SERVER";
const KINDS: [&str; 4] = ["push", "record", "list", "hub"];

/// A stream by its name, such as `push-3`.
fn start(engine: &Engine, clip: &Path, server: &str, name: &str) -> StreamHandle {
    let file = Source::file(clip).looped();
    let stream = match name.split('-').next() {
        Some("push") => engine.stream(file).to(Output::rtmp(server, format!("key-of-{name}"))),
        Some("record") => engine.stream(file).to(Output::record(clip.with_file_name(format!("{name}.flv")))),
        Some("list") => engine.stream(Source::playlist(Playlist::files([clip, clip]))).without_outputs(),
        _ => engine.stream(file).to(Output::publish(name)),
    };
    stream.label(name).owner("alice").start().expect("it starts")
}

/// The program that is killed.
fn child() {
    let given = |name: &str| std::env::var(name).expect("the test that starts this process says so");
    let (clip, server) = (PathBuf::from(given(CLIP)), given(SERVER));
    let store = ReelStore::new(clip.with_file_name("reels"));
    let engine = engine(|config| config.reels = Some(store));
    let signals = engine.shutdown_on_signals().expect("handlers can be installed");
    let file = StateFile::open(clip.with_file_name("state")).expect("the one before is dead");
    assert!(file.damage().is_none(), "{:?}", file.damage());
    let file = file.with_keys().write_every(Duration::ZERO).place_every(Duration::from_millis(20));
    let options = RestoreOptions::default().with(|options| {
        (options.spread, options.guard) = (Duration::ZERO, None);
    });
    let (keeper, restored) = engine.restore_state(file, &options).expect("it is whole");
    assert!(restored.failed.is_empty() && restored.over.is_empty(), "{restored:?}");
    let running = || {
        let labels = engine.streams().into_iter().filter_map(|stream| stream.label().map(str::to_owned));
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        labels.join(",")
    };
    println!("\nruns [{}]", running());
    let obeys = |line: &str| {
        match line.split_once(' ') {
            Some(("start", name)) => drop(start(&engine, &clip, &server, name).detach()),
            Some(("stop", name)) => {
                let streams = engine.streams();
                let stream = streams.iter().find(|stream| stream.label() == Some(name)).expect("it runs");
                stream.stop(PATIENCE).expect("it stops");
            }
            _ => panic!("{line}"),
        }
        keeper.sync().expect("it can be written");
        println!("\ndone {line}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| obeys(&line)));
        println!("\n{}", signals.wait());
        // Who reads the input waits for its end.
    });
}

/// Numbers by lot, the same for the same seed.
struct Lots(u64);

impl Lots {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What runs once `line` was obeyed.
fn obeyed(runs: &BTreeSet<String>, line: &str) -> BTreeSet<String> {
    let mut runs = runs.clone();
    match line.split_once(' ') {
        Some(("start", name)) => assert!(runs.insert(name.to_owned())),
        Some((_, name)) => assert!(runs.remove(name)),
        None => panic!("{line}"),
    }
    runs
}

/// What it says that runs.
fn said(child: &mut Peer) -> Vec<String> {
    let runs = child.wait_for_line("runs [", PATIENCE * 2);
    let runs = runs.trim_end_matches(']');
    runs.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_process_that_is_killed_at_fifty_moments_goes_on_with_what_ran() {
    const TEST: &str = "killed::a_process_that_is_killed_at_fifty_moments_goes_on_with_what_ran";
    if alone("killed") {
        return child();
    }
    let begin = Instant::now();
    let clip = Known::small();
    let receiving = engine(|config| config.max_streams_per_owner = 1000);
    for number in 0..=MOMENTS * 3 {
        let name = format!("push-{number}");
        receiving.keys().add(&name, format!("key-of-{name}")).expect("a usable key");
    }
    let server = receiving.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let address = format!("rtmp://{}/live", server.address());
    let (program, arguments) = role_arguments("killed", TEST);
    let environment = [(CLIP, clip.file.as_os_str()), (SERVER, address.as_ref())];
    let spawn = || Peer::spawn_with(&program, &arguments, &environment);
    let seed = u64::from_le_bytes(std::array::from_fn(|at| std::process::id().to_le_bytes()[at % 4])) | 1;
    let mut lots = Lots(seed);
    // What may run now: an order that was not confirmed may have been obeyed or not.
    let (mut possible, mut names, mut while_restoring, mut confirmed) = (vec![BTreeSet::new()], 0, 0, 0);
    let check = |runs: &[String], possible: &[BTreeSet<String>], moment: usize| {
        let set: BTreeSet<_> = runs.iter().cloned().collect();
        assert_eq!(set.len(), runs.len(), "moment {moment} of seed {seed}: {runs:?} has one twice");
        assert!(possible.contains(&set), "moment {moment} of seed {seed}: {set:?}, none of {possible:?}");
        set
    };
    for moment in 0..MOMENTS {
        let mut child = spawn();
        let dies = Instant::now() + Duration::from_millis(lots.below(LATEST_MS));
        let runs = match lots.below(3) {
            // At any moment of its start.
            0 => None,
            _ => Some(said(&mut child)),
        };
        let Some(runs) = runs else {
            std::thread::sleep(dies.saturating_duration_since(Instant::now()));
            child.kill();
            while_restoring += usize::from(!child.output().contains("runs ["));
            continue;
        };
        let mut now = check(&runs, &possible, moment);
        let mut lines = Vec::new();
        let mut expected = now.clone();
        for _ in 0..=lots.below(3) {
            let full = expected.len() >= MOST;
            let line = match (expected.iter().nth(lots.below(MOST as u64) as usize), full) {
                (Some(name), _) if full || lots.below(2) == 0 => format!("stop {name}"),
                _ => {
                    names += 1;
                    format!("start {}-{names}", KINDS[names % KINDS.len()])
                }
            };
            expected = obeyed(&expected, &line);
            lines.push(line);
        }
        lines.iter().for_each(|line| child.say(line));
        std::thread::sleep(Duration::from_millis(lots.below(60)));
        child.kill();
        let output = child.output();
        let done = lines.iter().filter(|line| output.contains(&format!("\ndone {line}\n"))).count();
        confirmed += done;
        for line in &lines[..done] {
            now = obeyed(&now, line);
        }
        possible = vec![now.clone()];
        possible.extend(lines.get(done).map(|line| obeyed(&now, line)));
    }
    // Once more, and to an end in order.
    let mut child = spawn();
    let runs = said(&mut child);
    let runs = check(&runs, &possible, MOMENTS);
    let pushes = runs.iter().filter(|name| name.starts_with("push")).count();
    let published =
        || receiving.streams().iter().filter(|stream| stream.stats().media_time.as_millis() > 0).count();
    assert!(wait_until(PATIENCE, || published() >= pushes), "{} of {pushes}", published());
    kill_process(child.pid(), Signal::TERM).expect("it runs");
    child.hang_up();
    child.wait_success(PATIENCE);
    let left: Vec<_> = files(clip.directory.path()).into_iter().chain(files(&clip.beside("reels"))).collect();
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let orphans: Vec<_> = left.iter().map(|path| name(path)).filter(|name| name.ends_with(".part")).collect();
    assert_eq!(orphans, Vec::<String>::new(), "nothing half written is left");
    for flv in left
        .iter()
        .filter(|path| name(path).starts_with("record") && path.extension().is_some_and(|e| e == "flv"))
    {
        // What was killed may end in the middle of a tag; up to there it can be read.
        kit::flv_tags(flv);
    }
    println!(
        "{MOMENTS} moments of seed {seed} in {:.1} s, {while_restoring} while it was starting; {confirmed} orders confirmed, {} streams at the end",
        begin.elapsed().as_secs_f64(),
        runs.len()
    );
}
