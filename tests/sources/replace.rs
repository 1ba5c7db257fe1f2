//! `replace_source`: one source takes the place of another, and no output is touched.

use std::time::Duration;

use flowcast::source::{At, Seam};
use flowcast::stats::SourceMode;
use flowcast::{Error, EventKind, Output, Playlist, Source, StreamHandle};
use kit::rig::{Known, both_ways, engine, push, read_flv, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, directory, wait_until};

use crate::assert_one_stream;

/// Waits until the stream is this many milliseconds further.
fn wait_more(live: &StreamHandle, millis: i64) {
    let begin = live.stats().media_time.as_millis();
    let done = wait_until(PATIENCE, || live.stats().media_time.as_millis() >= begin + millis);
    assert!(done, "{}", live.stats());
}

#[test]
fn files_and_publications_take_each_others_place_and_no_output_notices() {
    let (first, second) = (Known::small(), Known::small());
    both_ways(|mode, engine, directory| {
        let server = Scripted::start(Script::Record);
        let file = directory.join("day.flv");
        let studio = engine
            .stream(Source::file(&second.file).looped())
            .to(Output::publish("studio"))
            .start()
            .expect("it starts");
        let live = engine
            .stream(Source::file(&first.file).looped())
            .to(push(&server))
            .record(&file)
            .start()
            .expect("it starts");
        let events = live.events();
        wait_more(&live, 1000);
        let seam = live.replace_source(Source::file(&second.file).looped(), At::NextKeyframe);
        let seam = seam.expect("it opens").wait().expect("it takes over");
        assert_eq!(seam, Seam::Seamless, "{mode}: the two are made in the same way");
        wait_event(&events, PATIENCE, |event| {
            matches!(event.kind, EventKind::SourceSwitched { seam: Seam::Seamless }).then_some(())
        });
        wait_more(&live, 1000);
        let seam = live.replace_source(Source::published("studio"), At::NextKeyframe);
        seam.expect("it opens").wait().expect("it takes over");
        assert!(wait_until(PATIENCE, || live.stats().mode == SourceMode::Live), "{mode}: {}", live.stats());
        wait_more(&live, 1000);
        let seam = live.replace_source(Source::file(&first.file).looped(), At::NextKeyframe);
        seam.expect("it opens").wait().expect("it takes over");
        wait_more(&live, 1000);
        let stats = live.stop(PATIENCE).expect("it runs well");
        assert_eq!((stats.drops, stats.reconnects, server.count()), (0, 0, 1), "{mode}: {stats}");
        studio.stop(PATIENCE).expect("it runs well");
        let (pictures, sound) = assert_one_stream(&file);
        assert!(pictures <= 200.0 && sound <= 250.0, "{mode}: gaps of {pictures} and {sound} ms");
        let headers = read_flv(&file).iter().filter(|tag| tag.header).count();
        assert_eq!(headers, 2, "{mode}: nothing that is known is said again");
    });
}

#[test]
fn an_item_of_a_list_is_left_at_its_end() {
    let (clip, next) = (Known::small(), Known::small());
    both_ways(|mode, engine, directory| {
        let file = directory.join("day.flv");
        let list = Playlist::files([&clip.file, &clip.file]);
        let live = engine.stream(Source::playlist(list)).record(&file).start().expect("it starts");
        wait_more(&live, 300);
        let taken = live.replace_source(Source::file(&next.file).looped(), At::ItemEnd).expect("it opens");
        assert_eq!(taken.wait().expect("it takes over"), Seam::Seamless, "{mode}");
        wait_more(&live, 1000);
        assert_eq!(live.stats().playing.expect("a file").path, next.file, "{mode}");
        live.stop(PATIENCE).expect("it runs well");
        assert_one_stream(&file);
        // Both clips have the same pictures: from the first one on, they follow each other without a gap.
        let pictures = clip.assert_gapless(&read_flv(&file));
        assert!(pictures > clip.pictures().len(), "{mode}: {pictures}");
    });
}

#[test]
fn a_source_that_does_not_come_up_leaves_the_stream_as_it_was() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let directory = directory();
    let file = directory.path().join("day.flv");
    let live = engine.stream(Source::file(&clip.file).looped()).record(&file).start().expect("it starts");
    let missing = live.replace_source(Source::file("missing.mp4"), At::NextKeyframe);
    assert!(matches!(missing, Err(Error::Media(_))), "{missing:?}");
    let within = Duration::from_millis(300);
    let nobody = live.replace_source_within(Source::published("nobody"), At::NextKeyframe, within);
    let nobody = nobody.expect("it opens").wait();
    let Err(error @ Error::SourceNotReady { after }) = nobody else { panic!("{nobody:?}") };
    assert_eq!((after, error.code(), error.http_status()), (within, "SOURCE_NOT_READY", 504));
    wait_more(&live, 500);
    // What it was not made from after all may be recorded over, and published; what it is made from may not.
    let circle = live.add_output(Output::publish("nobody"));
    circle.expect("the stream is not made from it");
    let fed = live.replace_source(Source::published("nobody"), At::NextKeyframe);
    assert!(matches!(fed, Err(Error::FeedsItself { .. })), "{fed:?}");
    let over = live.add_output(Output::record(&clip.file));
    assert!(matches!(over, Err(Error::Recording { .. })), "{over:?}");
    live.stop(PATIENCE).expect("it runs well");
    clip.assert_gapless(&read_flv(&file));
}

#[test]
fn what_is_replaced_is_let_go() {
    let (clip, next) = (Known::small(), Known::small());
    let engine = engine(|_| {});
    let directory = directory();
    let live = engine.stream(Source::file(&clip.file).looped()).without_outputs().start().expect("it starts");
    let seam = live.replace_source(Source::file(&next.file).looped(), At::NextKeyframe);
    seam.expect("it opens").wait().expect("it takes over");
    // The file before may be written to now, the one after may not.
    let over = live.add_output(Output::record(&next.file).existing(flowcast::Existing::Replace));
    assert!(matches!(over, Err(Error::Recording { .. })), "{over:?}");
    let over = live.add_output(Output::record(&clip.file).existing(flowcast::Existing::Replace));
    over.expect("nothing reads it any more");
    live.stop(PATIENCE).expect("it runs well");
    drop(directory);
}
