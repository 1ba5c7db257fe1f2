//! Outputs that begin again where another one was: numbers go on, seams are marked, and what is left over is removed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{advance, clock, listed, open, stream, try_open, write};
use crate::error::Error;
use crate::output::file::format::Format;
use crate::output::hls::{Hls, HlsStore};

const SECOND: Duration = Duration::from_secs(1);

/// The number behind a tag of a playlist.
fn number(playlist: &str, tag: &str) -> u64 {
    let line = playlist.lines().find_map(|line| line.strip_prefix(tag));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn playlist(directory: &Path) -> String {
    fs::read_to_string(directory.join("index.m3u8")).expect("a playlist")
}

#[test]
fn a_killed_output_goes_on_behind_what_it_had() {
    let directory = tempfile::tempdir().expect("a directory");
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    let settings = |path: &Path| Hls::directory(path).target_duration(2 * SECOND).window(10 * SECOND);
    let (mut made, _news) = open(&settings(&before));
    write(&mut made, &stream(0, 31));
    // What a kill leaves: no end, and half a segment.
    fs::create_dir(&after).expect("there is room");
    for entry in fs::read_dir(&before).expect("it is there").flatten() {
        fs::copy(entry.path(), after.join(entry.file_name())).expect("there is room");
    }
    let old = playlist(&after);
    assert!(
        fs::read_dir(&after)
            .expect("it is there")
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().ends_with(".partial") })
    );
    fs::write(after.join("seg-99999999999.m4s"), "of no playlist").expect("there is room");
    fs::write(after.join("precious.txt"), "of somebody else").expect("there is room");
    advance(33 * SECOND);
    let (mut made, _news) = open(&settings(&after));
    let names = |ending: &str| {
        let all = fs::read_dir(&after).expect("it is there").flatten();
        all.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    assert_eq!((names(".partial"), names("99.m4s"), names("precious.txt")), (0, 0, 1));
    write(&mut made, &stream(0, 5));
    let new = playlist(&after);
    let (first, last) = ("#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-DISCONTINUITY-SEQUENCE:");
    assert!(number(&new, first) > number(&old, first), "{new}");
    assert_eq!(new.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{new}");
    assert_eq!(number(&new, last), 0);
    assert!(listed(&after).iter().all(|name| after.join(name).exists()), "{new}");
    write(&mut made, &stream(5, 40).split_off(2));
    made.finish().expect("there is room");
    let late = playlist(&after);
    assert_eq!(
        (late.matches("#EXT-X-DISCONTINUITY\n").count(), number(&late, last)),
        (0, 1),
        "the seam left: {late}"
    );
    // The numbers are those of one stream.
    assert_eq!(number(&late, first) - number(&old, first), 2 + 20 - 5 + 5 - 2, "{old} {late}");
    assert!(names(".m4s") <= 14, "{} segments", names(".m4s"));
}

#[test]
fn an_end_is_told_and_taken_back_when_it_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("hls");
    let settings = || Hls::directory(&at).target_duration(2 * SECOND);
    let run = |settings: &Hls| {
        let (mut made, _news) = open(settings);
        write(&mut made, &stream(0, 8));
        made.finish().expect("there is room");
        advance(8 * SECOND);
        playlist(&at)
    };
    let first = run(&settings());
    assert!(first.ends_with("#EXT-X-ENDLIST\n"));
    let second = run(&settings().stays_open());
    assert!(!second.contains("ENDLIST") && second.contains("#EXT-X-DISCONTINUITY\n"), "{second}");
    assert!(number(&second, "#EXT-X-MEDIA-SEQUENCE:") >= number(&first, "#EXT-X-MEDIA-SEQUENCE:"));
    // What is a day old is not shown again, and its numbers are not given again.
    advance(86_400 * SECOND);
    let third = run(&settings());
    assert_eq!(third.matches("#EXTINF").count(), 4, "{third}");
    assert!(
        number(&third, "#EXT-X-MEDIA-SEQUENCE:") > number(&second, "#EXT-X-MEDIA-SEQUENCE:") + 3,
        "{third}"
    );
}

#[test]
fn a_playlist_that_is_lost_does_not_bring_numbers_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("hls");
    let run = || {
        let (mut made, _news) = open(&Hls::directory(&at).target_duration(SECOND));
        write(&mut made, &stream(0, 8));
        made.finish().expect("there is room");
        advance(9 * SECOND);
        number(&playlist(&at), "#EXT-X-MEDIA-SEQUENCE:")
    };
    let first = run();
    fs::remove_dir_all(&at).expect("it is removed");
    assert!(run() >= first + 8);
}

#[test]
fn one_output_at_a_time_has_a_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = HlsStore::new();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("hls"), &link).expect("a link");
    let places = [Hls::directory(directory.path().join("hls")), Hls::memory(&store)];
    let others = [Hls::directory(&link), Hls::memory(&store)];
    for (place, other) in places.into_iter().zip(others) {
        let (made, _news) = open(&place);
        for again in [&place, &other] {
            let error = try_open(again).err().expect("it is taken");
            assert!(
                matches!(&error, Error::Hls { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy),
                "{error}"
            );
        }
        drop(made);
        assert!(try_open(&other).is_ok());
    }
}

#[test]
fn what_is_no_playlist_of_an_output_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    for text in ["#EXTM3U\n#EXTINF:4,\nepisode.ts\n", "precious"] {
        fs::write(directory.path().join("index.m3u8"), text).expect("there is room");
        let error = try_open(&Hls::directory(directory.path())).err().expect("it is refused");
        assert!(
            matches!(&error, Error::Hls { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists),
            "{error}"
        );
        assert_eq!(playlist(directory.path()), text);
    }
    assert!(try_open(&Hls::directory(directory.path().join("none/there"))).is_err());
    assert!(clock() > std::time::SystemTime::UNIX_EPOCH);
}
