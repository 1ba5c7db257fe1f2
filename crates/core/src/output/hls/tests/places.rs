//! A place that takes nothing for a while: segments of that time are lost, and nothing else.

use std::fs;
use std::time::Duration;

use super::{advance, listed, open, stream, write};
use crate::event::EventKind;
use crate::output::file::format::Format;
use crate::output::hls::Hls;

const SECOND: Duration = Duration::from_secs(1);

/// Files of this kind may be somebody else's, or all that is left of an archive.
#[test]
fn only_files_of_its_own_playlist_are_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (foreign, event) = (directory.path().join("foreign"), directory.path().join("event"));
    fs::create_dir(&foreign).expect("there is room");
    for name in ["seg-1.ts", "seg-2.m4s", "init-1.mp4"] {
        fs::write(foreign.join(name), "of another playlist").expect("there is room");
    }
    let (mut made, _news) = open(&Hls::directory(&foreign).target_duration(2 * SECOND));
    write(&mut made, &stream(0, 10));
    made.finish().expect("there is room");
    for name in ["seg-1.ts", "seg-2.m4s", "init-1.mp4"] {
        assert!(foreign.join(name).exists(), "{name} is gone");
    }
    let count = || fs::read_dir(&event).expect("it is there").flatten().count();
    let settings = Hls::directory(&event).target_duration(2 * SECOND).event();
    let (mut made, _news) = open(&settings);
    write(&mut made, &stream(0, 10));
    made.finish().expect("there is room");
    advance(20 * SECOND);
    let before = count();
    fs::remove_file(event.join("index.m3u8")).expect("it is there");
    let (made, _news) = open(&settings);
    drop(made);
    assert!(count() >= before - 1, "the archive is gone: {} of {before} files", count());
    assert!(
        fs::read_dir(&event)
            .expect("it is there")
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().starts_with("seg-") })
    );
}

#[test]
fn an_output_outlives_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("hls");
    let (mut made, news) = open(&Hls::directory(&at).target_duration(2 * SECOND));
    let tags = stream(0, 60);
    let part = |from: i64, to: i64| -> Vec<_> {
        let in_it = |ms: i64| (from * 1000..to * 1000).contains(&ms);
        tags.iter().filter(|tag| in_it(tag.timestamp.as_millis())).cloned().collect()
    };
    write(&mut made, &part(0, 10));
    assert!(matches!(news.try_recv(), Ok(EventKind::OutputLive { failures: 0, .. })));
    let old = fs::read_to_string(at.join("index.m3u8")).expect("a playlist");
    fs::remove_dir_all(&at).expect("it is removed");
    write(&mut made, &part(10, 20));
    let told: Vec<_> = news.try_iter().collect();
    assert!(told.len() >= 4, "{told:?}");
    assert!(told.iter().all(|told| matches!(told, EventKind::OutputRetrying { .. })), "{told:?}");
    assert!(!at.exists(), "it may have been a mount");
    fs::create_dir(&at).expect("there is room");
    advance(20 * SECOND);
    write(&mut made, &part(20, 30));
    let told: Vec<_> = news.try_iter().collect();
    assert!(matches!(told.last(), Some(EventKind::OutputLive { failures: 4.., .. })), "{told:?}");
    let new = fs::read_to_string(at.join("index.m3u8")).expect("a playlist");
    let names = listed(&at);
    assert!(names.iter().all(|name| at.join(name).exists()), "{names:?}");
    // Players that were there see that it goes on.
    assert_eq!(new.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{new}");
    assert!(!names.iter().any(|name| name.ends_with(".m4s") && old.contains(name.as_str())), "{new}");
    write(&mut made, &part(30, 60));
    made.finish().expect("there is room");
    assert!(news.try_iter().next().is_none());
}
