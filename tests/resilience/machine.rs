//! The machine under a stream: its clock, a process that stands still, and too little time on a processor.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::{Output, Source};
use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{Apart, Need, PATIENCE, Peer, alone, need, role_arguments, run_alone, uptime};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{Witness, stop_within};

const CLIP: &str = "FLOWCAST_TEST_CLIP";
const SERVER: &str = "FLOWCAST_TEST_SERVER";

#[test]
fn an_uptime_that_passes_2_31_milliseconds_is_not_noticed() {
    const EDGE: u64 = 1 << 31;
    let how = Apart::Uptime(Duration::from_millis(EDGE).saturating_sub(Duration::from_secs(8)));
    if !alone("uptime") {
        if need(&[Need::Apart(how)]) {
            let test = "machine::an_uptime_that_passes_2_31_milliseconds_is_not_noticed";
            print!("{}", how.run("uptime", test, Duration::from_secs(120)));
        }
        return;
    }
    let now = || uptime().tv_sec as u64 * 1000 + uptime().tv_nsec as u64 / 1_000_000;
    let began = now();
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(|_| {});
    let live = witness.start(&engine, &clip, None);
    let is_on = now();
    assert!(witness.watch(&live, PATIENCE * 2, || now() > EDGE + 4000));
    stop_within(live, Duration::from_secs(3));
    println!("uptime {began} ms as it started, {is_on} on the air, {} at the end (2^31 is {EDGE})", now());
    assert!(began.abs_diff(EDGE) < 60_000, "the clock is the test's own");
    witness.assert_unharmed(&clip);
}

#[test]
fn a_process_that_stands_still_goes_on_where_it_was_and_makes_up_for_a_second_at_most() {
    if alone("still") {
        return stands_still();
    }
    let clip = Known::small();
    let (server, beside) = (Scripted::start(Script::Record), Scripted::start(Script::Record));
    let test = "machine::a_process_that_stands_still_goes_on_where_it_was_and_makes_up_for_a_second_at_most";
    let (program, arguments) = role_arguments("still", test);
    let url = server.url();
    let given = [(CLIP, clip.file.as_os_str()), (SERVER, OsStr::new(&url))];
    let mut child = Peer::spawn_with(&program, arguments, &given);
    let engine = engine(|_| {});
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&beside)).start().expect("it starts");
    assert!(server.wait_pictures(0, 40, PATIENCE), "{}", child.report());
    child.freeze();
    // For as long as another stream takes for ten seconds.
    let count = |server: &Scripted| server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(beside.wait_pictures(0, 1, PATIENCE));
    let (began, before) = (Instant::now(), count(&beside));
    assert!(beside.wait_pictures(0, before + 250, PATIENCE * 2));
    let (still, seen) = (began.elapsed(), count(&server));
    let goes_on = Instant::now();
    child.thaw();
    assert!(server.wait_pictures(0, seen + 100, PATIENCE), "{}", child.report());
    child.hang_up();
    child.wait_success(PATIENCE);
    stop_within(live, PATIENCE);
    assert_eq!(server.count(), 1, "it stayed connected");
    let tags = &server.visits()[0].tags;
    clip.assert_fresh_start(tags);
    let soon = goes_on + Duration::from_secs(1);
    let burst = tags.iter().filter(|tag| tag.is_picture() && (goes_on..soon).contains(&tag.at)).count();
    assert!(burst <= 3 * 25, "{burst} pictures in the first second");
    println!("stopped for {still:?}: {burst} pictures in the first second after it, none missing");
}

fn stands_still() {
    let given = |name| std::env::var(name).expect("the test gives it");
    let engine = engine(|_| {});
    let source = Source::file(Path::new(&given(CLIP))).looped();
    let live =
        engine.stream(source).to(Output::rtmp(&given(SERVER), "a-stream-key")).start().expect("it starts");
    // Until the test has seen enough.
    let _ = std::io::stdin().read(&mut [0]);
    stop_within(live, PATIENCE);
}

#[test]
fn a_copy_that_shares_one_processor_with_two_who_never_rest_loses_nothing() {
    if !alone("starved") {
        let test = "machine::a_copy_that_shares_one_processor_with_two_who_never_rest_loses_nothing";
        print!("{}", run_alone("starved", test, Duration::from_secs(120)));
        return;
    }
    // What is started from here on inherits it.
    let all = sched_getaffinity(None).expect("it may be asked");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("it runs on one"));
    sched_setaffinity(None, &one).expect("fewer are always allowed");
    for _ in 0..2 {
        // They end with the process.
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = engine(|_| {});
    let live = witness.start(&engine, &clip, None);
    assert!(witness.server.wait_pictures(0, 150, PATIENCE), "{}", live.stats());
    stop_within(live, Duration::from_secs(3));
    witness.assert_unharmed(&clip);
}
