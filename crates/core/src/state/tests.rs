//! Where streams go on, and what holds a program back that dies again and again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::playlist::Playlist;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn saved(source: Source, item: Option<usize>, file: &str, offset: u64, length: Option<u64>) -> SavedStream {
    let place = Place { item, file: file.into(), offset: secs(offset), length: length.map(secs) };
    let spec = StreamSpec::new(source).without_outputs();
    SavedStream { spec, place: Some(place), sound_place: None }
}

/// All files are a minute long, but those that are called unknown.
fn look(file: &Path) -> Option<Duration> {
    (file != Path::new("unknown")).then_some(secs(60))
}

/// Item and offset; `None` if it would be over.
fn goes_on(stream: &SavedStream, resume: Resume, away: u64) -> Option<(Option<usize>, u64)> {
    match resumed(stream, resume, secs(away), &mut look) {
        Resumed::At(source) => Some((source.start_item, source.start_at.as_secs())),
        Resumed::Over => None,
    }
}

#[test]
fn a_file_goes_on_where_it_was_or_would_be_or_from_its_start() {
    use Resume::{FromStart, WhereItWas, WhereItWouldBe};
    let looped = saved(Source::file("a").looped().starting_at(secs(7)), None, "a", 50, Some(60));
    assert_eq!(goes_on(&looped, FromStart, 100), Some((None, 7)));
    assert_eq!(goes_on(&looped, WhereItWas, 100), Some((None, 50)));
    assert_eq!(goes_on(&looped, WhereItWouldBe, 5), Some((None, 55)));
    assert_eq!(goes_on(&looped, WhereItWouldBe, 10), Some((None, 0)));
    assert_eq!(goes_on(&looped, WhereItWouldBe, 24 * 3600 + 11), Some((None, 1)));
    let once = saved(Source::file("a"), None, "a", 50, None);
    assert_eq!(goes_on(&once, WhereItWouldBe, 9), Some((None, 59)));
    assert_eq!(goes_on(&once, WhereItWouldBe, 10), None, "it would have ended");
    assert_eq!(goes_on(&once, WhereItWas, 10), Some((None, 50)));
    let unknown = saved(Source::file("unknown"), None, "unknown", 50, None);
    assert_eq!(goes_on(&unknown, WhereItWouldBe, 1000), Some((None, 50)), "nobody knows how long it is");
}

#[test]
fn a_list_goes_on_with_the_item_it_would_have_come_to() {
    use Resume::{WhereItWas, WhereItWouldBe};
    let list = || Playlist::files(["a", "b", "c"]);
    let at = |list: Playlist| saved(Source::playlist(list), Some(1), "b", 50, Some(60));
    for (away, expected) in
        [(5, (1, 55)), (10, (2, 0)), (75, (0, 5)), (130, (1, 0)), (180, (1, 50)), (180 * 1000 + 70, (0, 0))]
    {
        let expected = Some((Some(expected.0), expected.1));
        assert_eq!(goes_on(&at(list()), WhereItWouldBe, away), expected, "after {away} s");
    }
    assert_eq!(goes_on(&at(list().once()), WhereItWouldBe, 69), Some((Some(2), 59)));
    assert_eq!(goes_on(&at(list().once()), WhereItWouldBe, 70), None, "all of it would have been played");
    assert_eq!(goes_on(&at(list().shuffled()), WhereItWouldBe, 9), Some((Some(1), 59)));
    assert_eq!(goes_on(&at(list().shuffled()), WhereItWouldBe, 11), Some((None, 0)), "any other one");
    assert_eq!(goes_on(&at(list().shuffled()), WhereItWas, 11), Some((Some(1), 50)));
    // The list has changed meanwhile.
    assert_eq!(goes_on(&at(Playlist::files(["x", "a", "b"])), WhereItWas, 0), Some((Some(2), 50)));
    assert_eq!(goes_on(&at(Playlist::files(["x", "y"])), WhereItWas, 0), Some((None, 0)));
    let unknown = Playlist::files(["a", "b", "unknown", "d"]);
    assert_eq!(goes_on(&at(unknown), WhereItWouldBe, 500), Some((Some(2), 0)), "no further than is known");
}

#[test]
fn the_sound_has_a_place_of_its_own() {
    let source = Source::video("rain").looped().with_audio(Playlist::files(["x", "y"]));
    let mut stream = saved(source, None, "rain", 10, Some(20));
    stream.sound_place =
        Some(Place { item: Some(1), file: "y".into(), offset: secs(30), length: Some(secs(60)) });
    let Resumed::At(source) = resumed(&stream, Resume::WhereItWouldBe, secs(35), &mut look) else {
        panic!("it goes on");
    };
    assert_eq!((source.start_at, source.sound_at), (secs(5), (Some(0), secs(5))));
}

#[test]
fn a_copy_of_a_list_stays_as_it_was() {
    let list = Playlist::files(["a", "b"]).shuffled();
    let source = Source::playlist(list.clone());
    let frozen = source.frozen();
    assert_eq!(frozen, source);
    list.add("c").expect("there is room");
    assert_ne!(frozen, source);
}

#[test]
fn a_program_that_dies_soon_again_and_again_is_held_longer_and_longer() {
    let guard = CrashGuard::default();
    let mut now = SystemTime::UNIX_EPOCH + secs(1_000_000);
    let mut restarts = Restarts::default();
    let mut held = Vec::new();
    for _ in 0..9 {
        let (hold, next) = guard.hold(restarts, now);
        held.push(hold.as_secs());
        restarts = next;
        // Each run lasts five seconds.
        now += hold + secs(5);
    }
    assert_eq!(held, [0, 0, 60, 120, 240, 480, 900, 900, 900]);
    // One that lasts begins anew.
    now += secs(60);
    let (hold, next) = guard.hold(restarts, now);
    assert_eq!((hold, next.short, next.held), (Duration::ZERO, 0, 0));
}

#[test]
fn what_was_ended_while_it_was_held_is_held_for_the_rest() {
    let guard = CrashGuard::default();
    let start = SystemTime::UNIX_EPOCH + secs(1_000_000);
    let before = Restarts { last: Some(start + secs(60)), short: 2, held: 1 };
    let (hold, next) = guard.hold(before, start + secs(20));
    assert_eq!((hold, next), (secs(40), before));
    // A clock that was set back by a year does not hold for a year.
    let (hold, _) = guard.hold(before, start - secs(365 * 24 * 3600));
    assert_eq!(hold, guard.hold_at_most);
    let (hold, _) = guard.hold(Restarts { held: 0, ..before }, start);
    assert_eq!(hold, Duration::ZERO);
}
