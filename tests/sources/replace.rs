//! `replace_source`: one source takes the place of another, and no output is touched.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::driver::mio::{Registry, Token};
use flowcast::driver::{OpenSource, SourceContext, SourceDriver, SourceMailbox, SourceOpening, SourceState};
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

/// A source that only listens. It is told something while it is opened, before its driver is anywhere.
#[derive(Debug, Clone, Default)]
struct Listens {
    fails: bool,
    heard: Arc<Mutex<Vec<u32>>>,
    mailbox: Arc<OnceLock<SourceMailbox>>,
}

impl OpenSource for Listens {
    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        let mailbox = self.mailbox.get_or_init(|| cx.mailbox());
        assert!(mailbox.send(Box::new(1u32)) && mailbox.send(Box::new(2u32)), "the stream runs");
        if self.fails { Err(Error::Ended) } else { Ok(self) }
    }
}

impl SourceDriver for Listens {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        SourceState::Running
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, _: &Registry, _: Token) {
        let number = message.downcast::<u32>().expect("it is sent nothing else");
        self.heard.lock().expect("no panic").push(*number);
    }
}

#[test]
fn what_a_source_is_sent_while_it_is_opened_reaches_it_and_no_other() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let live = engine.stream(Source::file(&clip.file).looped()).without_outputs().start().expect("it starts");
    let failed = Listens { fails: true, ..Listens::default() };
    assert!(live.replace_source(failed.clone(), At::NextKeyframe).is_err());
    // The first time there is one driver, the second time one of several.
    for round in 0..2 {
        let source = Listens::default();
        let _replacing = live.replace_source(source.clone(), At::NextKeyframe).expect("it opens");
        let heard = || source.heard.lock().expect("no panic").clone();
        let left = failed.mailbox.get().expect("it was opened");
        assert!(!left.send(Box::new(9u32)), "there is no driver for it");
        let mailbox = source.mailbox.get().expect("it was opened");
        assert!(mailbox.send(Box::new(3u32)));
        assert!(wait_until(PATIENCE, || heard().len() >= 3), "round {round}: {:?}", heard());
        assert_eq!(heard(), [1, 2, 3], "round {round}");
    }
    assert!(failed.heard.lock().expect("no panic").is_empty());
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn what_plays_is_kept_from_recordings_as_long_as_it_plays() {
    // Its item does not end while the test looks.
    let clip = Known::made(&SampleSpec { seconds: 60.0, gop_frames: 12, ..SampleSpec::default() });
    let [later, next] = [(); 2].map(|()| Known::small());
    let engine = engine(|_| {});
    let list = Playlist::files([&clip.file]);
    let live = engine.stream(Source::playlist(list.clone())).without_outputs().start().expect("it starts");
    // It plays on although it is not on its list any more; another source is opened beside it.
    let playing = list.items()[0].id;
    list.add(&later.file).expect("it has room");
    list.remove(playing);
    let record = |path| live.add_output(Output::record(path).existing(flowcast::Existing::Replace));
    let _waits = live.replace_source(Source::file(&next.file).looped(), At::ItemEnd).expect("it opens");
    for path in [&clip.file, &later.file, &next.file] {
        let refused = record(path);
        assert!(matches!(refused, Err(Error::Recording { .. })), "{}: {refused:?}", path.display());
    }
    // What is published is no file: all of them are free.
    let studio = engine
        .stream(Source::file(&Known::small().file).looped())
        .to(Output::publish("studio"))
        .start()
        .expect("it starts");
    let seam = live.replace_source(Source::published("studio"), At::NextKeyframe).expect("it opens");
    seam.wait().expect("it takes over");
    for path in [&clip.file, &later.file, &next.file] {
        record(path).expect("nothing reads it any more");
    }
    live.stop(PATIENCE).expect("it runs well");
    studio.stop(PATIENCE).expect("it runs well");
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
