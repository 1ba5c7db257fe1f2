//! Snapshots and state files: what was started, what was changed on the air, where it goes on, and what is refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::driver::{OpenSource, SourceContext, SourceDriver, SourceOpening, SourceState};
use flowcast::fragment::FragmentPublisher;
use flowcast::overlay::Overlay;
use flowcast::state::{RestoreOptions, Resume, Snapshot, StateFile};
use flowcast::{Encoding, Engine, Error, Mode, Output, Playlist, Profile, ReelStore, Source};
use kit::rig::{Known, engine, read_flv};
use kit::{PATIENCE, wait_until};

/// Starts at once, and as often as asked.
fn options(resume: Resume) -> RestoreOptions {
    RestoreOptions::default().with(|options| {
        options.resume = resume;
        options.spread = Duration::ZERO;
        options.guard = None;
    })
}

/// Four seconds in pictures of four colours, with a keyframe every half second.
fn clip() -> Known {
    Known::made(&SampleSpec { seconds: 6.0, gop_frames: 12, ..SampleSpec::default() })
}

fn recording(clip: &Known, name: &str) -> Output {
    Output::record(clip.beside(name)).label(name)
}

/// A source of the program's own.
#[derive(Debug)]
struct Own;

impl OpenSource for Own {
    fn open(self: Box<Self>, _: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        Ok(self)
    }
}

impl SourceDriver for Own {
    fn pull(&mut self, _: &mut SourceContext<'_>) -> SourceState {
        SourceState::Running
    }
}

/// Until a stream has played so much of its file.
fn played(engine: &Engine, label: &str, at_least: Duration) -> bool {
    wait_until(PATIENCE, || {
        let streams = engine.streams();
        let stream = streams.iter().find(|stream| stream.label() == Some(label));
        stream.and_then(|stream| stream.stats().playing).is_some_and(|playing| playing.position >= at_least)
    })
}

#[test]
fn a_snapshot_has_what_was_started_and_changed_and_says_what_is_no_data() {
    let clip = clip();
    let engine = engine(|_| {});
    let list = Playlist::files([&clip.file]);
    let file = Source::file(&clip.file).looped();
    let live = engine.stream(file.clone()).label("file").owner("alice").to(recording(&clip, "a.flv"));
    let live = live.start().expect("it starts");
    let listed = engine.stream(Source::playlist(list.clone())).label("list").without_outputs().start();
    let listed = listed.expect("it starts");
    let own = engine.stream(Own).label("own").without_outputs().start().expect("it starts");
    let pushed = FragmentPublisher::new();
    let pushed = engine.stream(Source::fragments(&pushed)).label("pushed").without_outputs().start();
    let pushed = pushed.expect("it starts");
    let mut drawn = Encoding::new(Profile::Ultra);
    drawn.overlays = vec![Overlay::pixels(2, 2, vec![255; 16])];
    let drawn = file.clone().mode(Mode::Encode).encoding(drawn);
    let drawn = engine.stream(drawn).label("drawn").without_outputs().start().expect("it starts");
    let gone = engine.stream(file.clone()).label("gone").without_outputs().start().expect("it starts");
    gone.stop(PATIENCE).expect("it stops");

    live.add_output(recording(&clip, "b.flv")).expect("it is added");
    live.remove_output(live.output("a.flv").expect("it is there")).expect("it is removed");
    assert!(played(&engine, "list", Duration::from_millis(500)));
    let snapshot = engine.snapshot();
    list.add("later.mp4").expect("there is room");

    let labels: Vec<_> = snapshot.streams.iter().map(|stream| stream.spec.label.as_deref()).collect();
    assert_eq!(labels, [Some("file"), Some("list")], "in the order they were started");
    let [file_spec, list_spec] = &snapshot.streams[..] else { panic!("{snapshot:?}") };
    assert_eq!(file_spec.spec.owner.as_deref(), Some("alice"));
    assert_eq!(file_spec.spec.source, file);
    assert_eq!(file_spec.spec.outputs, [recording(&clip, "b.flv")]);
    assert_eq!(list_spec.spec.source, Source::playlist(Playlist::files([&clip.file])), "as it was then");
    let place = list_spec.place.as_ref().expect("it plays");
    assert_eq!((place.item, place.file.as_path()), (Some(0), clip.file.as_path()));
    assert!(place.offset >= Duration::from_millis(500) && place.length.is_some());
    let left: Vec<_> = snapshot.left_out.iter().map(|left| (left.stream, left.what.as_str())).collect();
    assert_eq!(left, [&own, &pushed, &drawn].map(|stream| (stream.id(), "the stream")));

    let json = serde_json::to_string(&snapshot).expect("it can be written");
    let read: Snapshot = serde_json::from_str(&json).expect("it can be read");
    assert_eq!(
        (&read.streams, read.taken, read.restarts),
        (&snapshot.streams, snapshot.taken, snapshot.restarts)
    );
    drop((live, listed, own, pushed, drawn));
}

#[test]
fn schedules_are_kept_with_the_window_in_which_they_run_and_their_streams_are_not_started_twice() {
    use flowcast::schedule::{When, Window};
    use flowcast::spec::StreamSpec;

    let clip = clip();
    let state = clip.beside("state");
    let one = engine(|_| {});
    let keeper = one.keep_state(StateFile::open(&state).expect("it is free")).expect("it can be written");
    let spec = StreamSpec::new(Source::file(&clip.file).looped()).label("day").without_outputs();
    let all_day = Window::daily("00:00".parse().expect("a time")).lasting(Duration::from_secs(24 * 3600));
    one.schedule(spec, When::in_zone("UTC").window(all_day)).expect("it lies ahead");
    assert!(played(&one, "day", Duration::from_millis(200)), "its window has begun");
    let snapshot = one.snapshot();
    assert_eq!((snapshot.streams.len(), snapshot.schedules.len()), (0, 1));
    assert!(snapshot.schedules[0].began.is_some());
    keeper.sync().expect("it can be written");
    one.shutdown(PATIENCE);
    assert!(keeper.last_error().is_none(), "{:?}", keeper.last_error());
    drop((keeper, one));

    let two = engine(|_| {});
    let file = StateFile::open(&state).expect("it is free");
    assert_eq!(file.snapshot().map(|kept| kept.schedules.clone()), Some(snapshot.schedules));
    let (keeper, restored) = two.restore_state(file, &options(Resume::WhereItWas)).expect("it is whole");
    assert!(restored.failed_schedules.is_empty(), "{restored:?}");
    assert!(played(&two, "day", Duration::from_millis(200)), "it runs on");
    assert_eq!((two.streams().len(), two.schedules().list().len()), (1, 1));
    two.shutdown(PATIENCE);
    drop(keeper);
}

/// The number of the picture a recording begins with.
fn first_picture(clip: &Known, file: &Path) -> usize {
    let tags = read_flv(file);
    clip.assert_gapless(&tags);
    let first = tags.iter().find(|tag| tag.is_picture()).expect("a picture").hash;
    clip.pictures().iter().position(|hash| *hash == first).expect("one of the clip")
}

#[test]
fn a_stream_goes_on_where_it_was_where_it_would_be_or_from_its_start() {
    let clip = clip();
    for (mode, has_reels) in [("direct", false), ("reel", true)] {
        let store = ReelStore::new(clip.beside("reels"));
        let new = || engine(|config| config.reels = has_reels.then(|| store.clone()));
        let engine = new();
        let name = format!("{mode}.flv");
        let live = engine.stream(Source::file(&clip.file).looped()).label("file").to(recording(&clip, &name));
        let live = live.start().expect("it starts").detach();
        assert!(played(&engine, "file", Duration::from_millis(2200)));
        let mut snapshot = engine.snapshot();
        let place = snapshot.streams[0].place.clone().expect("it plays");
        engine.shutdown(PATIENCE);
        drop((live, engine));
        // Twelve pictures a GOP, 25 a second, 150 in all.
        let keyframe = |at: Duration| at.as_millis() as usize / 40 % 150 / 12 * 12;
        let was = keyframe(place.offset);
        let two = Duration::from_secs(2);
        for (resume, expected) in [
            (Resume::WhereItWas, was..=was),
            // As if it had been away for two seconds and a little.
            (Resume::WhereItWouldBe, keyframe(place.offset + two)..=keyframe(place.offset + two) + 12),
            (Resume::FromStart, 0..=0),
        ] {
            let engine = new();
            snapshot.taken = std::time::SystemTime::now() - two;
            let name = format!("{mode}-{resume}.flv");
            snapshot.streams[0].spec.outputs = vec![recording(&clip, &name)];
            let restored = engine.restore(snapshot.clone(), &options(resume));
            assert!(restored.failed.is_empty() && restored.over.is_empty(), "{restored:?}");
            let live = &restored.started[0];
            assert_eq!((live.label(), restored.started.len()), (Some("file"), 1));
            assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > 1000));
            // The spec is what it was: a snapshot of what was restored says no other beginning.
            assert_eq!(engine.snapshot().streams[0].spec, snapshot.streams[0].spec);
            engine.shutdown(PATIENCE);
            let first = first_picture(&clip, &clip.beside(&name));
            assert!(expected.contains(&first), "{mode} {resume}: picture {first}, not {expected:?}");
        }
    }
}

#[test]
fn what_would_have_ended_is_not_started_and_what_fails_is_kept() {
    let clip = clip();
    let one = engine(|_| {});
    let once =
        one.stream(Source::file(&clip.file)).label("once").without_outputs().start().expect("it starts");
    let moved = clip.beside("moved.mp4");
    fs::copy(&clip.file, &moved).expect("there is room");
    let lost = one.stream(Source::file(&moved).looped()).label("lost").without_outputs().start();
    let lost = lost.expect("it starts");
    assert!(played(&one, "once", Duration::from_millis(300)));
    assert!(played(&one, "lost", Duration::from_millis(300)));
    let mut snapshot = one.snapshot();
    drop((once, lost));
    fs::remove_file(&moved).expect("it was there");
    snapshot.taken -= Duration::from_secs(100);

    let engine = engine(|_| {});
    let restored = engine.restore(snapshot.clone(), &options(Resume::WhereItWouldBe));
    assert!(restored.started.is_empty());
    assert_eq!(restored.over[0].spec.label.as_deref(), Some("once"));
    let (stream, error) = &restored.failed[0];
    assert_eq!((stream.spec.label.as_deref(), error.http_status()), (Some("lost"), 404));
    // It is tried again at the next start.
    assert_eq!(engine.snapshot().streams, snapshot.streams[1..]);
    assert_eq!(engine.forget_unrestored(), 1);
    assert_eq!(engine.snapshot().streams, []);
}

#[test]
fn keys_are_kept_only_if_that_is_asked_for_and_hidden_ones_are_refused() {
    let clip = clip();
    let state = clip.beside("state");
    let push = || Output::rtmp("rtmp://127.0.0.1:9/live", "secret-key").label("push");
    for with_keys in [false, true] {
        let one = engine(|_| {});
        let file = StateFile::open(&state).expect("it can be opened");
        assert!(file.damage().is_none());
        let file = if with_keys { file.with_keys() } else { file };
        let keeper = one.keep_state(file).expect("it can be written");
        let live = one.stream(Source::file(&clip.file).looped()).label("push").to(push()).start();
        live.expect("it starts").detach();
        keeper.sync().expect("it can be written");
        one.shutdown(PATIENCE);
        drop((keeper, one));

        let text = fs::read_to_string(&state).expect("it is there");
        assert_eq!(text.contains("secret-key"), with_keys);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&state).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let two = engine(|_| {});
        let file = StateFile::open(&state).expect("it can be opened");
        let restored =
            two.restore(file.snapshot().cloned().expect("it is whole"), &options(Resume::FromStart));
        if with_keys {
            assert_eq!(two.snapshot().streams[0].spec.outputs, [push()]);
            assert_eq!(restored.started.len(), 1);
        } else {
            let (_, error) = &restored.failed[0];
            assert_eq!(error.code(), "SPEC_INVALID");
            assert!(error.to_string().contains("outputs[0]: key: hidden (****)"), "{error}");
        }
        two.shutdown(PATIENCE);
    }
}

#[test]
fn a_damaged_file_is_refused_with_the_reason_and_the_last_good_one_is_used() {
    let clip = clip();
    let state = clip.beside("state");
    let start = |engine: &Engine, label: &str| {
        let file = Source::file(&clip.file).looped();
        engine.stream(file).label(label).without_outputs().start().expect("it starts").detach()
    };
    let one = engine(|_| {});
    let keeper = one.keep_state(StateFile::open(&state).expect("it is free")).expect("it can be written");
    let taken = StateFile::open(&state).expect_err("it is in use");
    assert_eq!((taken.code(), taken.http_status()), ("STATE_IN_USE", 409));
    start(&one, "first");
    keeper.sync().expect("it can be written");
    start(&one, "second");
    keeper.sync().expect("it can be written");
    drop(one);
    drop(keeper);
    let labels = |file: &StateFile| -> Vec<_> {
        let streams = file.snapshot().map(|snapshot| snapshot.streams.clone()).unwrap_or_default();
        streams.into_iter().filter_map(|stream| stream.spec.label).collect()
    };
    let whole = fs::read(&state).expect("it is there");
    assert_eq!(labels(&StateFile::open(&state).expect("it is free")), ["first", "second"]);

    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    let damages: [(&[u8], &str); 5] = [
        (&whole[..middle], "checksum"),
        (&flipped, "checksum"),
        (b"", "no first line"),
        (b"{\"streams\": []}\n", "no state of flowcast"),
        (b"flowcast-state 2 crc32 00000000\n{}", "another version"),
    ];
    for (bytes, reason) in damages {
        fs::write(&state, bytes).expect("there is room");
        let file = StateFile::open(&state).expect("there is a good one");
        let damage = file.damage().expect("it is damaged");
        assert_eq!(damage.code(), "STATE_DAMAGED");
        assert!(damage.to_string().contains(reason), "{damage}, not {reason}");
        assert!(!labels(&file).is_empty(), "{reason}: the last good one");
        assert_eq!(fs::read(clip.beside("state.damaged")).expect("it is put aside"), bytes);
        assert!(!state.exists());
    }
    // With no good one, nothing is touched, and the program decides.
    fs::write(&state, b"junk").expect("there is room");
    fs::write(clip.beside("state.last"), b"junk, too").expect("there is room");
    let refused = StateFile::open(&state).expect_err("both are damaged");
    assert_eq!(refused.code(), "STATE_DAMAGED");
    assert_eq!(fs::read(&state).expect("it stays"), b"junk");
}

#[test]
fn what_ran_at_the_shutdown_is_in_the_file_and_what_was_stopped_before_is_not() {
    let clip = clip();
    let state = clip.beside("state");
    let one = engine(|_| {});
    let file = StateFile::open(&state).expect("it is free").write_every(Duration::from_secs(3600));
    let keeper = one.keep_state(file).expect("it can be written");
    let start = |label: &str| {
        let file = Source::file(&clip.file).looped();
        one.stream(file)
            .label(label)
            .to(recording(&clip, &format!("{label}.flv")))
            .start()
            .expect("it starts")
    };
    let (stopped, runs) = (start("stopped"), start("runs").detach());
    stopped.stop(PATIENCE).expect("it stops");
    let report = one.shutdown(PATIENCE);
    assert!(report.is_clean(), "{report}");
    drop((runs, keeper, one));

    let two = engine(|_| {});
    let file = StateFile::open(&state).expect("it is free");
    let (keeper, restored) = two.restore_state(file, &options(Resume::WhereItWas)).expect("it is whole");
    let labels: Vec<_> = restored.started.iter().map(|stream| stream.label()).collect();
    assert_eq!((labels, restored.held), (vec![Some("runs")], Duration::ZERO));
    assert!(keeper.last_error().is_none() && keeper.writes() > 0);
    // A disk that refuses is told, and what was there stays.
    two.shutdown(PATIENCE);
}
