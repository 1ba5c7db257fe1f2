//! A process that is killed while it cuts leaves nothing behind that is not whole.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::stats::SourceMode;
use flowcast::{Output, Source};

use crate::{Air, stored, with_reels, with_store};
use kit::rig::{Known, read_flv};
use kit::{PATIENCE, Peer, alone, role_arguments, wait_until};

const KILLS: u32 = 24;
const DIRECTORY: &str = "FLOWCAST_TEST_DIRECTORY";

#[test]
fn what_is_left_of_a_killed_process_is_whole_or_removed() {
    const TEST: &str = "killed::what_is_left_of_a_killed_process_is_whole_or_removed";
    if alone("killed") {
        return loop_until_killed();
    }
    let spec =
        SampleSpec { gop_frames: 12, bitrate: 3_000_000, width: 640, height: 360, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let copies: Vec<_> = (0..4).map(|number| clip.beside(&format!("{number}.mp4"))).collect();
    let reels = clip.beside("reels");
    let (program, arguments) = role_arguments("killed", TEST);
    let (mut orphans, mut mid_way, mut on_air) = (0, 0, 0);
    for kill in 0..KILLS {
        // New files each time, so that there is always something to cut.
        for copy in &copies {
            fs::copy(&clip.file, copy).expect("there is room");
        }
        let environment = [(DIRECTORY, clip.directory.path().as_os_str())];
        let mut child = Peer::spawn_with(&program, arguments.iter().map(PathBuf::from), &environment);
        let parts = || stored(&reels, "part").len();
        if kill % 3 == 0 {
            // Late: some are complete, or all.
            let some = wait_until(PATIENCE, || stored(&reels, "reel").len() > kill as usize / 3 % 4);
            assert!(some, "{}", child.report());
        } else {
            assert!(wait_until(PATIENCE, || parts() > 0 || !child.is_running()), "{}", child.report());
        }
        child.kill();
        mid_way += u32::from(parts() > 0);
        let left = fs::read_dir(&reels).expect("it is there").count();

        let engine = with_reels(&reels);
        let stats = engine.reel_store_stats().expect("there is a store");
        orphans += stats.orphans_removed;
        let (data, indexes) = (stored(&reels, "flv"), stored(&reels, "reel"));
        assert_eq!(left as u64, stats.orphans_removed + (data.len() + indexes.len() + 1) as u64, "{stats:?}");
        let stems = |files: &[PathBuf]| {
            let mut stems: Vec<_> = files.iter().map(|file| file.with_extension("")).collect();
            stems.sort();
            stems
        };
        assert_eq!(stems(&data), stems(&indexes), "data and index come in pairs");
        assert_eq!(stats.reels, data.len(), "{stats:?}");
        data.iter().for_each(|data| assert!(read_flv(data).len() > 50));
        if kill % 4 == 0 {
            let air = Air::start(&engine, Source::file(&copies[kill as usize % copies.len()]).looped());
            air.wait_more(60);
            assert_eq!(air.told(), [""; 0]);
            assert_eq!(air.live.stats().mode, SourceMode::Reel);
            clip.assert_gapless(&air.stop());
            on_air += 1;
        }
    }
    println!(
        "{KILLS} kills, {mid_way} of them while cutting: {orphans} orphans removed, {on_air} streams fine"
    );
    assert!(mid_way > 5, "the kills come too late: {mid_way}");
    let names: Vec<_> =
        fs::read_dir(&reels).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(
        names.len(),
        1 + 2 * stored(&reels, "reel").len(),
        "nothing but pairs and the lock: {names:?}"
    );
}

fn loop_until_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("whoever starts it says where"));
    // So that cutting takes some time.
    let engine = with_store(&directory.join("reels"), |store| store.bytes_per_second = Some(4 << 20));
    let streams: Vec<_> = (0..4)
        .map(|number| {
            let copy = directory.join(format!("{number}.mp4"));
            let recording = Output::record(directory.join(format!("{number}.flv")));
            engine.stream(Source::file(&copy).looped()).to(recording).start().expect("it starts")
        })
        .collect();
    let ended = wait_until(Duration::from_secs(60), || streams.iter().any(|stream| stream.has_ended()));
    assert!(!ended);
}
