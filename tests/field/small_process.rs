//! A process with little: no thread is started that could not live in the address space that is left, a file that may not grow
//! ends its recording, and what runs goes on.

use flowcast::{Engine, Error, Source, StreamHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::time::Duration;

use kit::rig::{Known, engine, outputs, push, read_flv, wait_ended};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Peer, alone, role_arguments, run_alone, wait_until};

#[test]
fn a_stream_that_finds_no_address_space_is_refused_and_the_others_go_on() {
    const TEST: &str = "small_process::a_stream_that_finds_no_address_space_is_refused_and_the_others_go_on";
    if alone("small") {
        return refused();
    }
    print!("{}", run_alone("small", TEST, Duration::from_secs(60)));
}

fn start(engine: &Engine, clip: &Known, number: usize) -> Result<StreamHandle, Error> {
    let file = clip.beside(&format!("{number}.flv"));
    engine.stream(Source::file(&clip.file).looped()).record(file).start()
}

/// In bytes.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says it");
    let taken = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("it is there");
    taken.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

fn refused() {
    let clip = Known::small();
    let engine = engine(|config| (config.max_streams, config.max_streams_per_owner) = (1000, 1000));
    let first = start(&engine, &clip, 0).expect("nothing is limited yet");
    let goes_on = |live: &StreamHandle| {
        let before = live.stats().media_time.as_millis();
        wait_until(PATIENCE, || live.stats().media_time.as_millis() > before + 500)
    };
    assert!(goes_on(&first));
    let old = getrlimit(Resource::As);
    // Room for a few: glibc takes up to 128 MiB of addresses for a new thread, of which a stream has three.
    let limited = Rlimit { current: Some(address_space() + (768 << 20)), maximum: old.maximum };
    setrlimit(Resource::As, limited).expect("a limit may be lowered");
    let mut more = Vec::new();
    let error = loop {
        match start(&engine, &clip, 1 + more.len()) {
            Ok(live) => more.push(live),
            Err(error) => break error,
        }
        assert!(more.len() < 100, "the limit limits nothing");
    };
    println!("after {} more: {}: {}", more.len(), error.code(), flowcast::error::chain(&error));
    assert!(error.code() == "SYSTEM_RESOURCE" && error.is_retryable(), "{error:?}");
    assert!(!more.is_empty() && goes_on(&first) && more.iter().all(goes_on));
    setrlimit(Resource::As, old).expect("a limit may be raised again");
    more.push(start(&engine, &clip, 1 + more.len()).expect("there is room again"));
    assert!(more.iter().all(goes_on));
    let count = more.len();
    for live in more.into_iter().chain([first]) {
        live.stop(Duration::from_secs(5)).expect("it stops");
    }
    for number in 0..=count {
        clip.assert_gapless(&read_flv(Path::new(&clip.beside(&format!("{number}.flv")))));
    }
}

#[test]
fn a_file_that_may_not_grow_ends_its_recording_and_not_the_process() {
    const TEST: &str = "small_process::a_file_that_may_not_grow_ends_its_recording_and_not_the_process";
    if alone("file-size") {
        return file_size();
    }
    // As docs/embedding.md says: a program that is limited so has to ignore the signal that comes first.
    let (env, arguments) = role_arguments("file-size", TEST);
    let ignoring = ["--ignore-signal=XFSZ".to_owned()].into_iter().chain(arguments);
    let mut child = Peer::spawn(&env, ignoring);
    child.wait_success(Duration::from_secs(60));
    print!("{}", child.output());
}

fn file_size() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let file = clip.beside("limited.flv");
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: Some(100_000), maximum }).expect("a limit may be lowered");
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).record(&file).start();
    let live = live.expect("it starts");
    let recording = outputs(&live)[1];
    let error = wait_ended(&events, recording, PATIENCE).expect("the file may not grow");
    assert_eq!(error.code(), "RECORDING_FAILED", "{error:?}");
    let sent = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, sent + 50, PATIENCE), "the push goes on");
    live.stop(Duration::from_secs(5)).expect("it stops");
    clip.assert_gapless(&server.visits()[0].tags);
    let recorded = clip.assert_gapless(&read_flv(&file));
    println!("recorded {recorded} pictures: {}", flowcast::error::chain(&error));
}
