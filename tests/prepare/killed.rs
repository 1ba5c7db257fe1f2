//! A process that is killed on the way leaves the old output, and what else it leaves goes with the next preparation.

use std::fs;
use std::path::PathBuf;

use crate::{names, prepare};
use kit::{Need, PATIENCE, Peer, alone, directory, frame_hashes, make, need, role_arguments, wait_until};

const DIRECTORY: &str = "FLOWCAST_TEST_DIRECTORY";
const KILLS: u32 = 5;

#[test]
fn the_old_output_outlives_a_killed_process() {
    const TEST: &str = "killed::the_old_output_outlives_a_killed_process";
    if alone("killed") {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("a directory"));
        prepare(&directory.join("long.avi"), &directory.join("out.mp4"));
        return;
    }
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let clip = "-f lavfi -i testsrc2=s=640x360:r=30:d=60 -c:v mpeg4 -q:v 2";
    make(clips.path(), "long.avi", clip);
    let short = make(clips.path(), "short.avi", "-f lavfi -i testsrc2=s=320x240:r=25:d=1 -c:v mpeg4");
    let output = clips.path().join("out.mp4");
    prepare(&short, &output);
    let old = fs::read(&output).expect("it was made");
    let parts = || names(clips.path()).into_iter().filter(|name| name.ends_with(".part")).collect::<Vec<_>>();
    let (program, arguments) = role_arguments("killed", TEST);
    for kill in 0..KILLS {
        let environment = [(DIRECTORY, clips.path().as_os_str())];
        let mut child = Peer::spawn_with(&program, arguments.iter().map(PathBuf::from), &environment);
        // Each a little later: from an empty file to some hundred kilobytes.
        let size = || {
            parts()
                .iter()
                .filter_map(|part| fs::metadata(clips.path().join(part)).ok())
                .map(|data| data.len())
                .sum::<u64>()
        };
        let midway = wait_until(PATIENCE, || !parts().is_empty() && size() >= u64::from(kill) * 100_000);
        assert!(midway, "{}", child.report());
        child.kill();
        assert_eq!(fs::read(&output).expect("it is there"), old, "kill {kill}");
        assert_eq!(parts().len(), 1, "what the one before left is gone, what this one left is there");
    }
    let prepared = prepare(&short, &output);
    assert_eq!(parts(), [""; 0]);
    assert_eq!(frame_hashes(&prepared.path).len(), 25);
}
