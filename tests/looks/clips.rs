//! Clips: what was on the air lately, as files of every format.

use std::time::Duration;

use flowcast::output::Segments;
use flowcast::{Error, EventKind, Output, Source};

use kit::rig::{Known, both_ways, engine, push, read_flv, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, decode, need, packet_count, wait_until};

const KEEP: Duration = Duration::from_secs(30);
/// The longest group of pictures of what is played.
const GOP: Duration = Duration::from_secs(2);

fn keeps(config: &mut flowcast::Config) {
    config.backlog.keep = KEEP;
}

/// Waits until this much was on the air.
fn wait_media(server: &Scripted, seconds: i64) {
    let has = || {
        server.visits().first().is_some_and(|visit| visit.tags.iter().any(|tag| tag.time >= seconds * 1000))
    };
    assert!(wait_until(PATIENCE * 2, has), "it is not on the air for {seconds} s");
}

#[test]
fn a_clip_has_every_picture_from_a_keyframe_on_in_every_format() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    for (mode, reels) in [("direct", false), ("reel", true)] {
        let own = kit::directory();
        let engine = engine(|config| {
            keeps(config);
            config.reels = reels.then(|| flowcast::ReelStore::new(own.path().join("reels")));
        });
        let events = engine.events();
        let server = Scripted::start(Script::Record);
        let live =
            engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
        wait_media(&server, 6);
        for extension in ["flv", "mp4", "mkv", "ts"] {
            let path = own.path().join(format!("clip.{extension}"));
            let made = live.clip(&path, Duration::from_secs(3), PATIENCE).expect("there is enough");
            let what = format!("{mode} {extension}: {made:?}");
            assert_eq!((&made.path, made.more.len(), made.is_short), (&path, 0, false), "{what}");
            assert_eq!(std::fs::metadata(&path).ok().map(|facts| facts.len()), Some(made.bytes), "{what}");
            let length = made.to - made.from;
            assert!((Duration::from_millis(2900)..Duration::from_secs(9)).contains(&length), "{what}");
            let decoded = decode(&path);
            assert!(decoded.complaints.is_empty(), "{what}: {}", decoded.complaints);
            let pictures = packet_count(&path, "v");
            assert!(pictures as f64 >= length.as_secs_f64() * 25.0 - 5.0, "{what}: {pictures} pictures");
            if extension == "flv" {
                clip.assert_gapless(&read_flv(&path));
            }
            wait_event(&events, PATIENCE, |event| match &event.kind {
                EventKind::Recorded { path: told, .. } if *told == path => Some(()),
                _ => None,
            });
        }
        let path = own.path().join("clip.flv");
        let long = live.clip(&path, KEEP * 10, PATIENCE).expect("there is something");
        assert!(long.is_short && long.path == own.path().join("clip-1.flv"), "{mode}: {long:?}");
        let (is_all, is_full) = (long.from == Duration::ZERO, long.to - long.from >= KEEP - GOP);
        assert!(is_all || is_full, "{mode}: it has all there was, or as much as is kept: {long:?}");
        clip.assert_gapless(&read_flv(&long.path));
        // The stream did not notice.
        live.stop(PATIENCE).expect("it stops");
        clip.assert_gapless(&server.visits()[0].tags);
    }
}

#[test]
fn what_is_not_kept_is_not_in_the_clip_and_that_is_said() {
    let clip = Known::small();
    both_ways(|mode, engine, own| {
        let server = Scripted::start(Script::Record);
        let live =
            engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
        wait_media(&server, 3);
        match live.clip(own.join("clip.flv"), Duration::from_secs(30), PATIENCE) {
            Ok(short) => assert!(short.is_short && short.to - short.from < KEEP / 2, "{mode}: {short:?}"),
            Err(none) => {
                assert!(matches!(none, Error::NothingKept { .. }), "{mode}: {none:?}");
                assert!(none.is_retryable() && none.code() == "NOTHING_KEPT");
                // By the thread that would have written it.
                let is_gone = || !own.join("clip.flv").exists();
                assert!(wait_until(PATIENCE, is_gone), "{mode}: an empty file is left");
            }
        }
        let refused = live.clip(own.join("nowhere/clip.flv"), KEEP, PATIENCE).expect_err("no such directory");
        assert!(matches!(refused, Error::Recording { .. }), "{mode}: {refused:?}");
        let stream = live.stream();
        live.stop(PATIENCE).expect("it stops");
        assert!(matches!(stream.clip(own.join("late.flv"), KEEP, PATIENCE), Err(Error::Ended)));
        let is_gone = || !own.join("late.flv").exists();
        assert!(wait_until(PATIENCE, is_gone), "{mode}: an empty file is left");
    });
}

#[test]
fn what_the_stream_does_not_keep_is_read_from_its_recording() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    const LAST: Duration = Duration::from_secs(8);
    let clip = Known::small();
    let engine = engine(|_| {});
    let try_one = &|name: &str, extension: &str| {
        let own = kit::directory();
        let mut record = Output::record(own.path().join(name));
        if name.contains('{') {
            record = record.segments(Segments::every(Duration::from_secs(3)));
        }
        let live = engine.stream(Source::file(&clip.file).looped()).to(record).start().expect("it starts");
        let events = live.events();
        assert!(
            wait_until(PATIENCE * 2, || live.stats().media_time.as_millis() >= 12_000),
            "{}",
            live.stats()
        );
        let path = own.path().join(format!("clip.{extension}"));
        let made = live.clip(&path, LAST, PATIENCE).expect("it was recorded");
        let what = format!("{name} {extension}: {made:?}");
        assert_eq!((&made.path, made.more.len(), made.is_short), (&path, 0, false), "{what}");
        assert_eq!(std::fs::metadata(&path).ok().map(|facts| facts.len()), Some(made.bytes), "{what}");
        // What is not on the disk yet is not in it.
        let length = made.to - made.from;
        assert!(length >= LAST - GOP - Duration::from_secs(1), "{what}");
        let decoded = decode(&path);
        assert!(decoded.complaints.is_empty(), "{what}: {}", decoded.complaints);
        let pictures = packet_count(&path, "v");
        assert!(pictures as f64 >= length.as_secs_f64() * 25.0 - 5.0, "{what}: {pictures} pictures");
        if extension == "flv" {
            clip.assert_gapless(&read_flv(&path));
        }
        wait_event(&events, PATIENCE, |event| match &event.kind {
            EventKind::Recorded { path: told, .. } if *told == path => Some(()),
            _ => None,
        });
        // More than there ever was.
        let all = live.clip(own.path().join("all.flv"), KEEP * 10, PATIENCE).expect("it was recorded");
        assert!(all.is_short && all.from < GOP && all.to >= made.to, "{what} {all:?}");
        live.stop(PATIENCE).expect("it stops");
    };
    std::thread::scope(|scope| {
        for (name, extension) in [
            ("show.flv", "mp4"),
            ("show.mp4", "flv"),
            ("show.mkv", "ts"),
            ("show.ts", "mkv"),
            ("show-{number}.mp4", "flv"),
            ("show-{number}.flv", "mp4"),
        ] {
            scope.spawn(move || try_one(name, extension));
        }
    });
}
