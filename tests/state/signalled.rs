//! SIGTERM and SIGINT, to a process of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::{Encoding, Engine, Mode, Output, Profile, ReelStore, RtmpServerExt, Source, StreamRef};
use kit::rig::{Known, engine, read_flv};
use kit::{PATIENCE, Peer, alone, role_arguments, wait_until};
use rustix::process::{Signal, kill_process};

/// Streams of each kind; five kinds, and the studio.
const EACH: usize = 40;
/// [`Config::force_stop_after`](flowcast::Config::force_stop_after).
const DEADLINE: Duration = Duration::from_secs(5);
/// Where the clip is, and where pushes go.
const CLIP: &str = "FLOWCAST_TEST_CLIP";
const SERVER: &str = "FLOWCAST_TEST_SERVER";

fn given(name: &str) -> String {
    std::env::var(name).expect("the test that starts this process says so")
}

/// The path of a recording.
fn recording(folder: &Path, kind: &str, number: usize) -> PathBuf {
    folder.join(format!("{kind}-{number}.flv"))
}

/// Two hundred streams of five kinds, and the one that others restream.
fn all_kinds(engine: &Engine, clip: &Path, server: &str) -> Vec<StreamRef> {
    let folder = clip.parent().expect("it is in a folder");
    let file = || Source::file(clip).looped();
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.size = Some((64, 36));
    let studio = engine.stream(file()).to(Output::publish("studio"));
    let mut streams = vec![studio.start().expect("the studio is on the air").detach()];
    for number in 0..EACH {
        let record = |kind: &str| Output::record(recording(folder, kind, number));
        let push = Output::rtmp(server, format!("key-{number}"));
        // A file that is played once is read directly; one that is looped, from its reel.
        let list = Source::playlist(flowcast::Playlist::files([clip; 500]).once());
        let kinds = [
            engine.stream(file()).to(push),
            engine.stream(list).to(record("list")),
            engine.stream(file().mode(Mode::Encode).encoding(encoding.clone())).to(record("encoded")),
            engine.stream(Source::published("studio")).to(record("restream")),
            engine.stream(file()).to(record("copy")).to(Output::publish(format!("hub-{number}"))),
        ];
        for kind in kinds {
            streams.push(kind.start().expect("it starts").detach());
        }
    }
    streams
}

/// The program that is sent the signal.
fn child() {
    let (clip, server) = (PathBuf::from(given(CLIP)), given(SERVER));
    let store = ReelStore::new(clip.with_file_name("reels"));
    let engine = engine(|config| {
        (config.reels, config.force_stop_after) = (Some(store), DEADLINE);
        (config.max_streams, config.max_streams_per_owner) = (1000, 1000);
    });
    let signals = engine.shutdown_on_signals().expect("handlers can be installed");
    let streams = all_kinds(&engine, &clip, &server);
    let is_sent = |stream: &StreamRef| {
        let stats = stream.stats();
        stats.media_time.as_millis() > 0 && stats.outputs.iter().any(|output| output.bytes_sent > 0)
    };
    // The studio and the hub have no peer that takes bytes.
    let on_air = || streams[1..].iter().all(is_sent);
    assert!(
        wait_until(PATIENCE * 3, on_air),
        "{} are not on the air",
        streams[1..].iter().filter(|s| !is_sent(s)).count()
    );
    println!("\non the air {}", streams.len());
    let report = signals.wait();
    println!("\n{report}");
    assert!(report.is_clean() && report.streams.len() == streams.len(), "{report}");
    let longest = report.streams.iter().map(|end| end.took).max().unwrap_or_default();
    println!("\nlongest {} ms", longest.as_millis());
}

#[test]
fn sigterm_ends_two_hundred_streams_of_all_kinds_in_order() {
    const TEST: &str = "signalled::sigterm_ends_two_hundred_streams_of_all_kinds_in_order";
    if alone("signalled") {
        return child();
    }
    let clip = Known::small();
    let receiving = engine(|config| config.max_streams_per_owner = 1000);
    for number in 0..EACH {
        receiving.keys().add(&format!("push-{number}"), format!("key-{number}")).expect("a usable key");
    }
    let server = receiving.rtmp_server("127.0.0.1:0");
    let server = server.options(|options| options.lobby_per_address = 1000).start().expect("a free port");
    let address = format!("rtmp://{}/live", server.address());
    let (program, arguments) = role_arguments("signalled", TEST);
    let environment = [(CLIP, clip.file.as_os_str()), (SERVER, address.as_ref())];
    let mut child = Peer::spawn_with(&program, arguments, &environment);
    let streams = child.wait_for_line("on the air ", PATIENCE * 4);
    assert_eq!(streams, (5 * EACH + 1).to_string());
    let asked = Instant::now();
    kill_process(child.pid(), Signal::TERM).expect("it runs");
    let status = child.wait(DEADLINE + PATIENCE);
    let took = asked.elapsed();
    assert!(status.success(), "{status}\n{}", child.report());
    let longest: u64 =
        child.wait_for_line("longest ", PATIENCE).trim_end_matches(" ms").parse().expect("a number");
    assert!(Duration::from_millis(longest) < DEADLINE, "{longest} ms");
    println!("201 streams: the last one ended after {longest} ms, the process after {} ms", took.as_millis());
    let mut tags = 0;
    for kind in ["list", "encoded", "restream", "copy"] {
        for number in 0..EACH {
            // Whole to the last byte.
            let recorded = read_flv(&recording(clip.directory.path(), kind, number));
            assert!(recorded.iter().any(|tag| tag.keyframe), "{kind} {number}");
            tags += recorded.len();
        }
    }
    println!("{} recordings are whole, {tags} tags", 4 * EACH);
}

#[test]
fn the_first_signal_shuts_down_and_the_second_ends_the_process() {
    const TEST: &str = "signalled::the_first_signal_shuts_down_and_the_second_ends_the_process";
    if alone("signalled-twice") {
        let engine = engine(|config| config.force_stop_after = Duration::from_secs(600));
        let signals = engine.shutdown_on_signals().expect("handlers can be installed");
        let _stuck = super::shutdown::Stuck::on(&engine);
        assert!(signals.report().is_none());
        println!("\non the air");
        // Waits for a thread that never answers.
        let report = signals.wait();
        panic!("nothing ends this but a second signal: {report}");
    }
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2)] {
        let (program, arguments) = role_arguments("signalled-twice", TEST);
        let mut child = Peer::spawn_with(&program, arguments, &[("RUST_LOG", "info".as_ref())]);
        child.wait_for_line("on the air", PATIENCE);
        kill_process(child.pid(), signal).expect("it runs");
        // Both signals may come together, and then count as one: it is sent until the second one has arrived.
        assert!(wait_until(PATIENCE, || {
            let _ = kill_process(child.pid(), signal);
            !child.is_running()
        }));
        assert_eq!(child.wait(PATIENCE).code(), Some(128 + number), "{}", child.report());
    }
}
