//! Thumbnails: of every kind of source, on demand and to a file, and what is said where there is none.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flowcast::av::{Demuxer, Interrupt, JpegMaker, JpegOptions, OpenOptions, SampleSpec, sample_clip};
use flowcast::playlist::ParameterChange;
use flowcast::thumbnail::{Thumbnail, ThumbnailOptions};
use flowcast::{Error, EventKind, Output, Playlist, RtmpServerExt, Source};

use kit::rig::{Known, both_ways, engine, push, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, directory, ffmpeg_publish, files, make, need, wait_until};

fn usual() -> ThumbnailOptions {
    ThumbnailOptions::default()
}

/// What all keyframes of a file look like.
fn pictures(file: &Path) -> Vec<Vec<u8>> {
    pictures_at(file, JpegOptions::default().max_width)
}

/// The same, of up to this width.
fn pictures_at(file: &Path, max_width: u32) -> Vec<Vec<u8>> {
    let options = JpegOptions { max_width, ..JpegOptions::default() };
    let mut input =
        Demuxer::open(file, &OpenOptions::default(), &Interrupt::new()).expect("a clip that opens");
    let track = input.media().video().expect("a picture").clone();
    let (mut maker, mut found) = (JpegMaker::default(), Vec::new());
    while let Some(packet) = input.read().expect("a clip that reads") {
        if packet.track == track.index && packet.keyframe {
            let jpeg = maker.jpeg(&track, &packet, &options).expect("a picture that is whole");
            found.push(jpeg.data.to_vec());
        }
    }
    found
}

#[track_caller]
fn assert_shows(picture: &Thumbnail, file: &Path, what: &str) {
    assert!(pictures(file).iter().any(|one| *one == picture.jpeg), "{what}: it is no keyframe of the file");
}

#[test]
fn a_file_is_seen_whether_it_is_played_directly_or_from_a_reel() {
    let clip = Known::small();
    both_ways(|mode, engine, _| {
        let server = Scripted::start(Script::Record);
        let live =
            engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
        let first = live.thumbnail(&usual(), PATIENCE).expect("there is a picture");
        assert_shows(&first, &clip.file, mode);
        assert!(first.width <= 320 && first.height <= 320 && first.width % 2 == 0, "{mode}: {first:?}");
        let again = live.thumbnail(&usual(), PATIENCE).expect("there is a picture");
        assert!(again.jpeg == first.jpeg || again.time > first.time, "{mode}: a picture of before");
        let small = usual().with(|options| options.max_width = 64);
        let small = live.thumbnail(&small, PATIENCE).expect("there is a picture");
        assert_eq!(small.width, 64, "{mode}");
        // The picture moves on.
        let moves = || live.thumbnail(&usual(), PATIENCE).is_ok_and(|next| next.time > first.time);
        assert!(wait_until(PATIENCE, moves), "{mode}: it stays where it is");
        let failures: Vec<_> = live.errors();
        assert!(failures.is_empty(), "{mode}: {failures:?}");
    });
}

#[test]
fn where_the_size_changes_the_next_picture_has_it() {
    let directory = directory();
    let sizes = [(320, 180), (480, 270)];
    let clips = sizes.map(|(width, height)| {
        let file = directory.path().join(format!("{width}.mp4"));
        let spec = SampleSpec { width, height, gop_frames: 12, b_frames: 2, ..SampleSpec::default() };
        sample_clip(&file, &spec).expect("libav makes the clip");
        file
    });
    let (engine, server) = (engine(|_| {}), Scripted::start(Script::Record));
    let list = Playlist::files(&clips).on_change(ParameterChange::Allow);
    let looks = directory.path().join("looks.jpg");
    let whole = usual().with(|options| options.max_width = 480);
    let shown = Output::thumbnails(&looks, Duration::from_millis(200)).thumbnail_options(whole);
    let live = engine.stream(Source::playlist(list)).to(push(&server)).to(shown).start().expect("it starts");
    let known = clips.map(|clip| pictures_at(&clip, 480));
    // There and back, on demand and in the file.
    for place in [0, 1, 0, 1] {
        let is_shown = || {
            let picture = live.thumbnail(&whole, PATIENCE).expect("there is a picture");
            let other = sizes[usize::from(picture.width == sizes[1].0)];
            assert_eq!((picture.width, picture.height), other, "as large as it is");
            (picture.width, picture.height) == sizes[place] && known[place].contains(&picture.jpeg.to_vec())
        };
        assert!(wait_until(PATIENCE, is_shown), "{place}: {}", live.stats());
        let is_written = || fs::read(&looks).is_ok_and(|jpeg| known[place].contains(&jpeg));
        assert!(wait_until(PATIENCE, is_written), "{place}: {}", live.stats());
    }
    assert!(live.errors().is_empty(), "{:?}", live.errors());
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn many_who_ask_at_the_same_time_get_the_same_picture() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let server = Scripted::start(Script::Record);
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    let got: Vec<_> = std::thread::scope(|scope| {
        let ask = || live.thumbnail(&usual(), PATIENCE).expect("there is a picture");
        let asks: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asks.into_iter().map(|ask| ask.join().expect("it does not panic")).collect()
    });
    for picture in &got {
        assert_shows(picture, &clip.file, "one of many");
    }
}

#[test]
fn who_publishes_is_seen_without_players() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let directory = directory();
    let engine = engine(|_| {});
    engine.keys().add("studio", "secret").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let nobody = engine.stream(Source::published("studio")).record(directory.path().join("show.flv"));
    let nobody = nobody.start().expect("it waits for the studio");
    let late = nobody.thumbnail(&usual(), Duration::from_millis(300)).expect_err("there is nothing yet");
    assert!(matches!(late, Error::NotInTime { what: "thumbnail", .. }), "{late:?}");
    assert!(late.is_retryable() && late.code() == "NOT_IN_TIME");
    let url = format!("rtmp://{}/live/secret", server.address());
    let mut publisher = ffmpeg_publish(&clip.file, &url, 20);
    let picture = nobody.thumbnail(&usual(), PATIENCE).expect("there is a picture");
    assert_shows(&picture, &clip.file, "published");
    // The publication itself, which keeps its newest GOP for players.
    let published =
        engine.streams().into_iter().find(|stream| stream.id() != nobody.id()).expect("it is one");
    let picture = published.thumbnail(&usual(), PATIENCE).expect("there is a picture");
    assert_shows(&picture, &clip.file, "the publication");
    publisher.kill();
}

#[test]
fn where_there_is_no_picture_it_is_said_why() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let sound = make(directory.path(), "sound.mp4", "-f lavfi -i sine=frequency=440 -t 5 -c:a aac");
    let engine = engine(|_| {});
    let events = engine.events();
    let server = Scripted::start(Script::Record);
    let looks = Output::thumbnails(directory.path().join("sound.jpg"), Duration::from_millis(200));
    let live = engine.stream(Source::file(&sound).looped()).to(push(&server)).to(looks);
    let live = live.start().expect("it starts");
    let refused = live.thumbnail(&usual(), PATIENCE);
    // Asked in the first two seconds, it waits for a picture that may still come.
    let refused = refused.expect_err("it has no picture");
    assert!(matches!(refused, Error::NoPicture { .. }), "{refused:?}");
    let told = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::ThumbnailFailed { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(matches!(told, Error::NoPicture { .. }), "{told:?}");
    for (width, quality) in [(0, 75), (70_000, 75), (320, 0), (320, 101)] {
        let options = usual().with(|options| (options.max_width, options.quality) = (width, quality));
        let refused = live.thumbnail(&options, PATIENCE).expect_err("it cannot work");
        assert!(matches!(refused, Error::Config { .. }), "{refused:?}");
    }
    let stream = live.stream();
    live.stop(PATIENCE).expect("it stops");
    assert!(matches!(stream.thumbnail(&usual(), PATIENCE), Err(Error::Ended)));
    assert!(!directory.path().join("sound.jpg").exists());
}

#[test]
fn a_file_has_the_newest_picture_and_is_never_half_a_file() {
    let clip = Known::small();
    let directory = directory();
    both_ways(|mode, engine, own| {
        let looks = Output::thumbnails(own.join("{stream}.jpg"), Duration::from_millis(300)).label("looks");
        let archive = own.join("archive.flv");
        let live = engine.stream(Source::file(&clip.file).looped()).label(mode).to(looks).record(archive);
        let live = live.start().expect("it starts");
        let file = own.join(format!("{mode}.jpg"));
        assert!(wait_until(PATIENCE, || file.exists()), "{mode}: there is none");
        let known = pictures(&clip.file);
        let mut seen = std::collections::HashSet::new();
        let all = wait_until(PATIENCE, || {
            let jpeg = fs::read(&file).expect("it is there at any time");
            assert!(known.contains(&jpeg), "{mode}: half a picture, or another one");
            seen.insert(jpeg);
            seen.len() == known.len().min(2)
        });
        assert!(all, "{mode}: it is not replaced");
        let output = live.output("looks").expect("it has a label");
        let shown = || live.stats().outputs.into_iter().find(|one| one.id == output).expect("it is there");
        assert!(
            wait_until(PATIENCE, || shown().path == Some(file.clone()) && shown().bytes_sent > 0),
            "{mode}"
        );
        live.remove_output(output).expect("it runs");
        live.stop(PATIENCE).expect("it stops");
        let left: Vec<_> =
            files(own).into_iter().filter(|file| file.to_string_lossy().contains(".part")).collect();
        assert!(left.is_empty(), "{mode}: {left:?}");
    });
    drop(directory);
}

#[test]
fn a_thumbnail_that_cannot_be_written_is_told_once_and_tried_again() {
    let clip = Known::small();
    let directory = directory();
    let (place, source) = (directory.path().join("place"), directory.path().join("source.mp4"));
    fs::create_dir(&place).expect("a directory");
    fs::copy(&clip.file, &source).expect("a copy");
    let engine = engine(|_| {});
    let events = engine.events();
    let server = Scripted::start(Script::Record);
    let looks = Output::thumbnails(place.join("look.jpg"), Duration::from_millis(200));
    let over = Output::thumbnails(&source, Duration::from_millis(200)).label("over");
    let live = engine.stream(Source::file(&source).looped()).to(push(&server)).to(looks).to(over);
    let live = live.start().expect("it starts");
    let over = live.output("over").expect("it has a label");
    let failure = |of_over: bool| {
        wait_event(&events, PATIENCE, |event| match &event.kind {
            EventKind::ThumbnailFailed { output, error } if (*output == over) == of_over => {
                Some(error.clone())
            }
            _ => None,
        })
    };
    let refused = failure(true);
    assert!(matches!(refused, Error::OutputUnwritable { .. }), "{refused:?}");
    assert_eq!(fs::read(&source).ok(), fs::read(&clip.file).ok(), "what is played is not written over");
    assert!(wait_until(PATIENCE, || place.join("look.jpg").exists()));
    fs::rename(&place, directory.path().join("gone")).expect("it moves");
    let refused = failure(false);
    assert!(matches!(refused, Error::OutputUnwritable { .. }), "{refused:?}");
    fs::create_dir(&place).expect("a directory");
    assert!(wait_until(PATIENCE, || place.join("look.jpg").exists()), "it was tried again");
    let more = std::iter::from_fn(|| events.next_timeout(Duration::ZERO))
        .filter(|event| matches!(event.kind, EventKind::ThumbnailFailed { .. }));
    assert_eq!(more.count(), 0, "each is told once");
    live.stop(PATIENCE).expect("it stops");
    let away = Output::thumbnails(directory.path().join("nowhere/look.jpg"), Duration::from_secs(5));
    let refused =
        engine.stream(Source::file(&source)).to(away).start().map(drop).expect_err("no such directory");
    assert!(matches!(refused, Error::OutputUnwritable { .. }), "{refused:?}");
}

#[test]
fn settings_that_cannot_work_or_have_no_effect_are_refused() {
    let engine = engine(|_| {});
    let every = Duration::from_secs(5);
    let quality = usual().with(|options| options.quality = 0);
    for (output, name) in [
        (Output::thumbnails("x.jpg", Duration::ZERO), "every"),
        (Output::thumbnails("{time}.jpg", Duration::from_millis(999)), "every"),
        (Output::thumbnails("{number}.jpg", every), "thumbnails"),
        (Output::thumbnails("{nonsense}.jpg", every), "thumbnails"),
        (Output::thumbnails("x.jpg", every).thumbnail_options(quality), "thumbnail.quality"),
        (Output::thumbnails("x.jpg", every).max_duration(every), "max_duration"),
        (Output::thumbnails("x.jpg", every).all_tracks(), "all_tracks"),
        (Output::record("x.flv").thumbnail_options(usual()), "thumbnail_options"),
        (Output::rtmp("rtmp://127.0.0.1/live", "key").thumbnail_options(usual()), "thumbnail_options"),
    ] {
        let refused = engine.stream(Source::file("no.mp4")).to(output).start().map(drop);
        match refused {
            Err(Error::Config { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
