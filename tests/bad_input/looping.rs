//! What happens to a file while it is looped.

use std::fs::{self, File, OpenOptions};
use std::time::{Duration, Instant};

use flowcast::av::SampleSpec;
use flowcast::{Error, EventKind, Events, Source, StreamHandle};

use crate::{Beside, chain};
use kit::rig::{Known, engine, push, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, box_at, make, need, text, wait_until};

/// A stream that loops a copy of the clip to a server of its own.
struct Looping {
    copy: std::path::PathBuf,
    server: Scripted,
    events: Events,
    live: StreamHandle,
}

impl Looping {
    fn start(engine: &flowcast::Engine, clip: &Known, name: &str) -> Self {
        let copy = clip.beside(name);
        fs::copy(&clip.file, &copy).expect("a copy in the directory");
        let server = Scripted::start(Script::Record);
        let events = engine.events();
        let live = engine.stream(Source::file(&copy).looped()).to(push(&server)).start().expect("it starts");
        assert!(server.wait_pictures(0, 20, PATIENCE));
        Self { copy, server, events, live }
    }

    /// Waits for this many laps from here on.
    fn laps(&self, more: u64) {
        let id = self.live.id();
        for _ in 0..more {
            wait_event(&self.events, PATIENCE, |event| match event.kind {
                EventKind::Looped { .. } if event.stream == id => Some(()),
                _ => None,
            });
        }
    }
}

fn long() -> Known {
    Known::made(&SampleSpec { gop_frames: 12, b_frames: 2, bitrate: 3_000_000, ..SampleSpec::default() })
}

#[test]
fn a_file_that_is_removed_or_replaced_goes_on_as_it_was_opened() {
    let clip = long();
    let engine = engine(|config| config.read_ahead.media = Duration::from_millis(500));
    let beside = Beside::start(&engine, &clip);
    for what in ["removed", "replaced by a rename", "replaced by a directory"] {
        let looping = Looping::start(&engine, &clip, "looped.mp4");
        match what {
            "removed" => fs::remove_file(&looping.copy).expect("it can be removed"),
            "replaced by a rename" => {
                let other = clip.beside("other.mp4");
                fs::write(&other, "no media at all").expect("a file in the directory");
                fs::rename(&other, &looping.copy).expect("it can be replaced");
            }
            _ => {
                fs::remove_file(&looping.copy).expect("it can be removed");
                fs::create_dir(&looping.copy).expect("a directory");
            }
        }
        looping.laps(2);
        let stats = looping.live.stats();
        looping.live.stop(Duration::from_secs(3)).expect("it stops");
        let sent = clip.assert_gapless(&looping.server.visits()[0].tags);
        println!("{what}: plays on, {sent} pictures without a gap; {stats}");
        let _ = fs::remove_file(&looping.copy);
        let _ = fs::remove_dir(&looping.copy);
    }
    beside.assert_unharmed(&clip);
}

#[test]
fn a_file_that_is_emptied_ends_the_stream_with_an_error() {
    let clip = long();
    let engine = engine(|config| config.read_ahead.media = Duration::from_millis(500));
    let beside = Beside::start(&engine, &clip);
    let looping = Looping::start(&engine, &clip, "emptied.mp4");
    let began = Instant::now();
    File::create(&looping.copy).expect("it can be truncated");
    let ended = looping.live.wait_timeout(PATIENCE).expect("it ends");
    let error: Error = ended.expect_err("with an error");
    println!("emptied: {} after {:?}: {}", error.code(), began.elapsed(), chain(&error));
    assert!(matches!(&error, Error::SourceDried { .. } | Error::Media(_)), "{error:?}");
    assert!(wait_until(PATIENCE, || looping.server.visits()[0].closed.is_some()), "its output is left open");
    drop(looping);
    beside.assert_unharmed(&clip);
}

#[test]
fn a_file_that_is_cut_in_two_is_told_about_and_does_not_spin() {
    let clip = long();
    let engine = engine(|config| config.read_ahead.media = Duration::from_millis(500));
    let beside = Beside::start(&engine, &clip);
    let looping = Looping::start(&engine, &clip, "cut.mp4");
    let id = looping.live.id();
    let length = fs::metadata(&looping.copy).expect("it is there").len();
    OpenOptions::new()
        .write(true)
        .open(&looping.copy)
        .and_then(|file| file.set_len(length / 2))
        .expect("it can be cut");
    let began = Instant::now();
    let fault = wait_event(&looping.events, PATIENCE, |event| match &event.kind {
        EventKind::SourceFault { error } | EventKind::Ended { error: Some(error) } if event.stream == id => {
            Some(error.clone())
        }
        _ => None,
    });
    println!("cut in two: {} after {:?}: {}", fault.code(), began.elapsed(), chain(&fault));
    assert!(matches!(fault.code(), "SOURCE_DAMAGED" | "INPUT_INVALID" | "LIBAV"), "{fault:?}");
    // It plays what is left of it, at the speed of life, or it has ended; either way it uses no CPU to speak of.
    looping.laps(2);
    let stats = looping.live.stats();
    assert!(stats.cpu_percent < 20.0, "{stats}");
    println!("  then: {stats}");
    looping.live.stop(Duration::from_secs(3)).expect("it stops");
    let tags = looping.server.visits()[0].tags.clone();
    let times: Vec<_> = tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times go back");
    let (first, last) = (&tags[0], &tags[tags.len() - 1]);
    let (media, real) = (last.time - first.time, (last.at - first.at).as_millis() as i64);
    assert!((media - real).abs() < 1000, "{media} ms of media in {real} ms");
    beside.assert_unharmed(&clip);
}

#[test]
fn a_file_that_ends_before_its_index_does_is_played_as_far_as_it_goes() {
    let clip = long();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    // The index is at the front; what it points to is not all there: a download that broke off.
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let arguments = format!("-i {} -c copy -movflags +faststart", text(&clip.file));
    let front = make(clip.directory.path(), "front.mp4", &arguments);
    let content = fs::read(&front).expect("it can be read");
    let mdat = box_at(&content, b"mdat");
    let moov = box_at(&content, b"moov");
    assert!(moov < mdat);
    for (what, bytes) in [("half of mdat", mdat + (content.len() - mdat) / 2), ("no mdat", mdat)] {
        fs::write(&front, &content[..bytes]).expect("a file in the directory");
        let server = Scripted::start(Script::Record);
        let events = engine.events();
        let started = engine.stream(Source::file(&front).looped()).to(push(&server)).start();
        let error = match started {
            Err(error) => error,
            Ok(live) => {
                let id = live.id();
                let error = wait_event(&events, PATIENCE, |event| match &event.kind {
                    EventKind::SourceFault { error } | EventKind::Ended { error: Some(error) }
                        if event.stream == id =>
                    {
                        Some(error.clone())
                    }
                    _ => None,
                });
                if what == "half of mdat" {
                    assert!(server.wait_pictures(0, 30, PATIENCE), "it does not play what is there");
                    live.stop(Duration::from_secs(3)).expect("it stops");
                }
                error
            }
        };
        println!("{what}: {}: {}", error.code(), chain(&error));
        assert!(
            matches!(
                error.code(),
                "INPUT_INVALID" | "SOURCE_DAMAGED" | "SOURCE_DRIED" | "LIBAV" | "INPUT_IO" | "INPUT_EMPTY"
            ),
            "{what}: {error:?}"
        );
    }
    beside.assert_unharmed(&clip);
}
