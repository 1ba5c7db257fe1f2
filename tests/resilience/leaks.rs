//! Starting and stopping leaves nothing behind. Runs in a process of its own: other tests have threads and descriptors, too.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::{Engine, Output, RtmpServerExt, Source};

use crate::{Witness, stop_within};
use kit::rig::{Known, engine, push, resident_kib, threads_and_descriptors, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Peer, alone, own_address, role_arguments, run_alone, wait_until};

const CYCLES: usize = 200;
const STREAMS: usize = 4;
/// Laps of this many cycles, until one leaves the memory as it was.
const LAPS: usize = 5;
/// KiB that are not more than noise: five for each stream.
const ENOUGH: usize = 1024;

#[test]
fn two_hundred_streams_leave_nothing_behind() {
    if alone("leaks") {
        return cycles();
    }
    print!(
        "{}",
        run_alone("leaks", "leaks::two_hundred_streams_leave_nothing_behind", Duration::from_secs(80))
    );
}

fn cycles() {
    let clip = Known::small();
    let good = Scripted::start(Script::Record);
    let mute = Scripted::start(Script::Mute);
    let closing = Scripted::start(Script::Close);
    let nobody = format!("rtmp://{}/live", own_address());
    // Longer than the test: what is left behind for a deadline to clean up is found.
    let engine = engine(|config| {
        config.connect.handshake = Duration::from_secs(60);
        config.max_streams = 2 * STREAMS;
    });
    let outputs = |cycle: usize| match cycle % 4 {
        0 => push(&good),
        1 => push(&mute),
        2 => push(&closing),
        _ => Output::rtmp(&nobody, "key"),
    };
    let round = |from: usize| {
        std::thread::scope(|scope| {
            for number in 0..STREAMS {
                let (engine, clip, outputs, good) = (&engine, &clip, &outputs, &good);
                scope.spawn(move || one(engine, clip, outputs(from + number), good, number));
            }
        });
    };
    let all = || (0..CYCLES / STREAMS).for_each(|cycle| round(cycle * STREAMS));
    // What is made once and kept (the dialer, the allocator's arenas) is no leak.
    all();
    let settled = || wait_until(Duration::from_secs(5), || all_closed(&[&good, &mute, &closing]));
    assert!(settled(), "a connection is left open by the warm-up");
    let before = threads_and_descriptors();
    // The allocator still grows now and then without a leak; a leak grows in every lap.
    let mut grown = Vec::new();
    for _ in 0..LAPS {
        let resident = resident_kib();
        let began = Instant::now();
        all();
        let took = began.elapsed();
        let ended = Instant::now();
        assert!(settled(), "a connection is left open");
        let closed = ended.elapsed();
        let is_back = |(threads, descriptors): (usize, usize)| threads <= before.0 && descriptors <= before.1;
        let same = wait_until(Duration::from_secs(5), || is_back(threads_and_descriptors()));
        let after = (threads_and_descriptors(), resident_kib());
        println!(
            "{CYCLES} starts and stops in {took:?}: threads and descriptors {before:?} -> {:?}, resident {resident} -> {} KiB, \
             the last connection closed within {closed:?}",
            after.0, after.1
        );
        assert!(same, "threads and descriptors: {before:?} before, {:?} after", after.0);
        grown.push(after.1.saturating_sub(resident));
        if grown.last().is_some_and(|&grown| grown < ENOUGH) {
            break;
        }
    }
    assert!(grown.iter().any(|&grown| grown < ENOUGH), "KiB more with each lap: {grown:?}");
    assert_eq!((engine.running(), engine.abandoned(), engine.streams().len()), (0, 0, 0));
    drop(engine);
    let (threads, _) = before;
    let gone = wait_until(Duration::from_secs(5), || threads_and_descriptors().0 < threads);
    assert!(gone, "the dialer's thread outlives its engine");
}

fn one(engine: &Engine, clip: &Known, output: Output, good: &Scripted, number: usize) {
    let began = good.count();
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(output)
        .record(clip.beside(&format!("cycle-{number}.flv")))
        .start()
        .expect("the stream starts");
    // As far as it comes: to the air, or into whatever keeps it from there.
    wait_until(Duration::from_millis(100), || good.count() > began);
    stop_within(live, Duration::from_secs(5));
}

fn all_closed(servers: &[&Scripted]) -> bool {
    servers.iter().all(|server| server.visits().iter().all(|visit| visit.closed.is_some()))
}

#[test]
fn without_descriptors_what_runs_goes_on_and_the_rest_waits_or_is_refused() {
    const TEST: &str = "leaks::without_descriptors_what_runs_goes_on_and_the_rest_waits_or_is_refused";
    if alone("descriptors") {
        return no_descriptors();
    }
    let (program, arguments) = role_arguments("descriptors", TEST);
    let limited = [PathBuf::from("--nofile=120:120"), program];
    let mut child = Peer::spawn(
        Path::new("prlimit"),
        limited.into_iter().chain(arguments.into_iter().map(PathBuf::from)),
    );
    child.wait_success(Duration::from_secs(60));
    print!("{}", child.output());
}

fn no_descriptors() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let receiving = engine.rtmp_server("127.0.0.1:0").start().expect("it listens");
    let events = engine.events();
    let live = witness.start(&engine, &clip, None);
    let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(taken.len() > 20 && File::open("/dev/null").is_err());

    let error = engine
        .stream(Source::file(&clip.file).looped())
        .to(push(&server))
        .start()
        .expect_err("a stream needs descriptors");
    println!("no descriptor left: start is refused with {} ({error})", error.code());
    assert!(matches!(error.code(), "SYSTEM_RESOURCE" | "INPUT_IO"), "{error:?}");
    assert!(error.is_retryable());
    let error = live.add_output(Output::record(clip.beside("more.flv"))).expect_err("a file is a descriptor");
    assert_eq!(error.code(), "RECORDING_FAILED");
    let output = live.add_output(push(&server)).expect("it is dialled later");
    let error = wait_retry(&events, output, PATIENCE);
    println!("  a push is tried again after {} ({error})", error.code());
    assert_eq!(engine.running(), 1);
    // A client of the embedded server waits; the server does not spin.
    let used = || live.stats().cpu_percent;
    assert!(!witness.watch(&live, Duration::from_millis(1500), || used() > 50.0), "{}", live.stats());

    drop(taken);
    assert!(
        witness.watch(&live, PATIENCE, || server.wait_pictures(0, 5, Duration::ZERO)),
        "{}",
        live.stats()
    );
    receiving.stop(Duration::from_secs(1));
    stop_within(live, Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}
