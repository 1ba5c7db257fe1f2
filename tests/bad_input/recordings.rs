//! Recordings that cannot be made or not be finished.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use flowcast::av::SampleSpec;
use flowcast::{Error, Output, Source};

use crate::{Beside, chain};
use kit::rig::{Known, engine, wait_ended};
use kit::{PATIENCE, SmallDisk, run, wait_until};

#[test]
fn a_recording_that_cannot_be_created() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    let fifo = clip.beside("fifo.flv");
    run("mkfifo", [&fifo], PATIENCE);
    for (what, path, kind) in [
        ("a missing directory", clip.beside("missing/out.flv"), ErrorKind::NotFound),
        ("a directory", clip.directory.path().to_owned(), ErrorKind::IsADirectory),
        ("below a file", clip.file.join("out.flv"), ErrorKind::NotADirectory),
        ("a FIFO nobody reads", fifo, ErrorKind::InvalidInput),
        ("the file it is made from", clip.file.clone(), ErrorKind::InvalidInput),
    ] {
        let began = Instant::now();
        let error = engine.stream(Source::file(&clip.file).looped()).record(&path).start().expect_err(what);
        println!("recording to {what}: {} after {:?}: {}", error.code(), began.elapsed(), chain(&error));
        let Error::Recording { source, .. } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(source.kind(), kind, "{what}");
        assert_eq!((error.code(), error.is_retryable()), ("RECORDING_FAILED", false), "{what}");
        if what != "the file it is made from" {
            let error = beside.live.add_output(Output::record(&path)).expect_err(what);
            assert_eq!(error.code(), "RECORDING_FAILED", "{what}");
        }
    }
    assert_eq!(engine.running(), 1);
    beside.assert_unharmed(&clip);
}

/// A recording on a disk that has too little room: it ends with an error, and the stream goes on.
fn runs_out_of_room(clip: &Known, path: &Path) {
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, clip);
    let events = engine.events();
    let began = Instant::now();
    let output = beside.live.add_output(Output::record(path)).expect("there is room to create it");
    let error = wait_ended(&events, output, PATIENCE).expect("it ends with an error");
    println!(
        "no room on {}: {} after {:?}: {}",
        path.display(),
        error.code(),
        began.elapsed(),
        chain(&error)
    );
    let Error::Recording { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert_eq!((error.code(), error.is_retryable()), ("RECORDING_FAILED", false));
    let stats = beside.live.stats();
    assert!(
        wait_until(PATIENCE, || beside
            .live
            .stats()
            .outputs
            .iter()
            .any(|o| o.id == output && o.last_error.is_some())),
        "{stats}"
    );
    beside.assert_unharmed(clip);

    // On its own the stream ends with the same error.
    let live = engine.stream(Source::file(&clip.file).looped()).record(path).start().expect("it starts");
    let error = live.wait_timeout(PATIENCE).expect("it ends").expect_err("with an error");
    assert_eq!(error.code(), "RECORDING_FAILED");
}

#[test]
fn a_full_device() {
    runs_out_of_room(&Known::small(), Path::new("/dev/full"));
}

#[test]
fn a_disk_that_fills_up() {
    let Some(disk) = SmallDisk::mount() else { return };
    let spec =
        SampleSpec { gop_frames: 12, bitrate: 6_000_000, width: 640, height: 360, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let path = disk.path().join("full.flv");
    runs_out_of_room(&clip, &path);
    // What was written can be played.
    let length = fs::metadata(&path).expect("it is there").len();
    assert!(length > 900_000, "{length} bytes");
    let (played, complaints) = {
        let decoded = kit::decode(&path);
        (decoded.frames.len(), decoded.complaints)
    };
    println!("what fitted on the disk: {length} bytes, {played} frames; {complaints}");
    assert!(played > 10);
}
