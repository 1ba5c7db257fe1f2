//! Sources that stall, and what stands in for them.

use std::sync::atomic::Ordering;

use super::air::{AFTER, Air, TICK, set};
use super::*;
use crate::content::{ContentWatch, Probe, Rules};
use crate::standby::{Reaction, Watchdog};
use crate::stats::{ContentFault, Seam};
use crate::sys::CpuMeter;
use crate::thumbnail::Studio;

#[test]
fn it_stands_in_after_its_time_and_gives_back_at_a_keyframe_of_a_steady_source() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    let beside = air.slate.beside.lock().expect("the source is known");
    assert_eq!((beside.sound, beside.has_pictures), (Some((44_100, 2)), true));
    assert!((beside.pictures.expect("H.264").rate.expect("measured") - 25.0).abs() < 0.1);
    set(&air.source.off, true);
    air.pass(1960);
    assert!(!air.on_air() && air.told().is_empty());
    air.pass(40);
    assert!(air.on_air() && !air.source.stopped.load(Ordering::SeqCst));
    assert_eq!(air.told(), ["fallback_began"]);
    // Back at once, but not for long.
    set(&air.source.off, false);
    air.pass(600);
    set(&air.source.off, true);
    air.pass(2400);
    set(&air.source.off, false);
    air.pass(960);
    assert!(air.on_air(), "a second of it has not come");
    air.pass(1040);
    assert!(!air.on_air(), "its keyframe came");
    assert_eq!(air.told(), ["fallback_ended"]);
    air.rig.assert_increasing();
    let (longest, most) = (air.longest(), AFTER.as_millis() as i64 + 2 * TICK as i64);
    assert!(longest <= most, "a gap of {longest} ms");
    let figures = air.rig.driver.fallback().expect("it has one");
    assert_eq!(figures.times, 1);
}

#[test]
fn headers_of_the_source_are_sent_again_when_it_is_back_and_equal_sound_is_not() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    set(&air.source.off, false);
    air.pass(4000);
    let said: Vec<_> =
        air.rig.tags.iter().filter(|tag| tag.is_header()).map(|tag| tag.body.to_bytes()).collect();
    // The source says its headers only once, as publishers do.
    assert_eq!(said, [H1, A1, H2, H1]);
    let before_key = air.rig.tags.windows(2).filter(|pair| pair[0].is_header() && pair[0].is_video()).skip(1);
    assert!(before_key.clone().all(|pair| pair[1].is_keyframe()) && before_key.count() == 2);
}

#[test]
fn what_changed_meanwhile_is_what_comes_back_and_the_fallback_is_made_anew() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    // The encoder at the other end is another one: its headers are sent, not those that were known.
    *air.source.headers.lock() = Some(headers(H2, A2));
    set(&air.source.off, false);
    air.pass(3400);
    assert!(!air.on_air());
    let said = air.rig.tags.iter().rev().filter(|tag| tag.is_header()).take(2);
    assert_eq!(said.map(|tag| tag.body.to_bytes()).collect::<Vec<_>>(), [A2, H2]);
    // A spare one is opened for the next time, beside what is on the air now.
    air.pass(1200);
    air.spare();
    assert_eq!(air.slate.beside.lock().expect("known").sound, Some((48_000, 2)));
    set(&air.source.off, true);
    air.pass(2000);
    assert!(air.on_air());
    assert_eq!(air.rig.driver.fallback().expect("it has one").times, 2);
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_fits_is_seamless_and_says_so() {
    for (slate, seam) in [(headers(H1, A1), Seam::Seamless), (headers(H2, A1), Seam::NewHeaders)] {
        let mut air = Air::new(Watchdog::default(), true, slate);
        air.pass(1200);
        air.spare();
        set(&air.source.off, true);
        air.pass(2000);
        let began = air.rig.notices.iter().find_map(|notice| match notice {
            EventKind::FallbackBegan { seam, after } => Some((*seam, *after)),
            _ => None,
        });
        assert_eq!(began, Some((seam, AFTER)));
    }
}

#[test]
fn a_source_that_never_came_is_stood_in_for_and_pushes_do_not_say_goodbye() {
    let mut air = Air::with_fallback();
    set(&air.source.off, true);
    set(&air.source.rests, true);
    air.pass(1000);
    assert!(air.rig.driver.is_resting(), "nothing to send so far");
    air.pass(1000);
    air.wait(Air::on_air);
    assert!(air.slate.beside.lock().is_none(), "nothing to be encoded to");
    assert!(!air.rig.driver.is_resting());
    set(&air.source.off, false);
    set(&air.source.rests, false);
    air.pass(4000);
    assert!(!air.on_air());
    // It is gone again: the stream waits for its fallback, with its pushes connected.
    set(&air.source.rests, true);
    assert!(!air.rig.driver.is_resting());
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_cannot_be_opened_is_told_once_and_tried_again() {
    let mut air = Air::with_fallback();
    set(&air.slate.fails, true);
    air.pass(1200);
    air.opened(|air| air.slate.count(), 1);
    air.wait(|air| !air.rig.notices.is_empty());
    set(&air.source.off, true);
    air.pass(5200);
    air.opened(|air| air.slate.count(), 2);
    // When the answer of the second try is taken, from when the third is waited for, is not known.
    set(&air.slate.fails, false);
    air.pass_until(Air::on_air);
    assert_eq!(air.told(), ["source_fault", "fallback_began"]);
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_fails_on_the_air_is_opened_again() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    let before = air.rig.tags.len();
    set(&air.slate.last().fails, true);
    air.pass(1000 + TICK);
    air.wait(|air| air.rig.tags.len() > before);
    assert_eq!(air.slate.count(), 2);
    assert_eq!(air.told(), ["fallback_began", "source_fault"], "it is the same fallback");
    set(&air.source.off, false);
    air.pass(4000);
    assert_eq!(air.told(), ["fallback_ended"]);
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_fails_right_after_it_began_is_opened_less_and_less() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    for wait in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        let before = (air.slate.count(), air.rig.tags.len());
        set(&air.slate.last().fails, true);
        air.pass(wait);
        assert_eq!((air.slate.count(), air.rig.tags.len()), before, "within {wait} ms");
        assert!(!air.on_air(), "nothing is on the air");
        air.pass(TICK);
        air.wait(|air| air.rig.tags.len() > before.1);
        assert_eq!(air.slate.count(), before.0 + 1);
    }
    // Once it has been on the air for a while, it is opened again at once.
    air.pass(60_000);
    let before = air.rig.tags.len();
    set(&air.slate.last().fails, true);
    air.pass(TICK);
    air.wait(|air| air.rig.tags.len() > before);
    let told = air.told();
    let count = |name| told.iter().filter(|told| **told == name).count();
    assert_eq!((count("fallback_began"), count("source_fault"), told.len()), (1, 9, 10), "{told:?}");
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_was_on_the_air_for_long_is_opened_again_as_if_it_had_never_failed() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    for wait in [1000, 2000] {
        set(&air.slate.last().fails, true);
        air.pass(wait + TICK);
        air.wait(Air::on_air);
    }
    // It stands in for a minute, and the source is back.
    air.pass(60_000);
    set(&air.source.off, false);
    air.pass_until(|air| !air.on_air());
    air.pass(2000);
    air.spare();
    set(&air.source.off, true);
    air.pass_until(Air::on_air);
    set(&air.slate.last().fails, true);
    air.pass(TICK);
    assert!(!air.on_air());
    let before = air.slate.count();
    air.pass(1000);
    air.wait(|air| air.slate.count() > before);
    air.rig.assert_increasing();
}

#[test]
fn a_fallback_that_is_on_the_air_ends_with_its_stream() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    assert_eq!(air.rig.driver.end_fallback(air.rig.now), None, "it has not begun");
    air.pass(2000);
    air.pass(400);
    let lasted = air.rig.driver.end_fallback(air.rig.now);
    assert_eq!(lasted, Some(Duration::from_millis(400)));
    let figures = air.rig.driver.fallback().expect("it has one");
    assert_eq!((figures.on_air, figures.times, Some(figures.time)), (false, 1, lasted));
    assert_eq!(air.rig.driver.end_fallback(air.rig.now), None, "once");
}

#[test]
fn a_source_that_fails_is_opened_again_and_one_that_ends_ends_the_stream() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.fails, true);
    air.pass(40);
    assert!(air.on_air(), "it is not waited for");
    assert!(air.source.stopped.load(Ordering::SeqCst));
    set(&air.again.fails, true);
    air.pass(1000);
    air.opened(|air| air.again.count(), 1);
    air.pass(40);
    set(&air.again.fails, false);
    air.pass(2000);
    air.opened(|air| air.again.count(), 2);
    air.pass(4000);
    assert!(!air.on_air());
    assert_eq!(air.told(), ["source_fault", "fallback_began", "source_fault", "fallback_ended"]);
    air.rig.assert_increasing();
    set(&air.again.last().ends, true);
    assert!(matches!(air.rig.turn(TICK).1, SourceState::Ended));
    let mut air = Air::new(Watchdog::default(), false, headers(H1, A1));
    air.pass(400);
    set(&air.source.fails, true);
    assert!(
        matches!(air.rig.turn(TICK).1, SourceState::Failed(Error::Driver { .. })),
        "nothing stands in for it"
    );
}

fn restarts() -> Watchdog {
    Watchdog::default().with(|rules| {
        rules.no_packet = Some(Duration::from_secs(1));
        rules.then = Reaction::Restart;
    })
}

#[test]
fn a_source_that_rests_after_a_restart_is_left_alone() {
    let mut air = Air::new(restarts(), false, headers(H2, A1));
    air.pass(2000);
    set(&air.again.rests, true);
    set(&air.source.off, true);
    air.pass(1000);
    air.opened(|air| air.again.count(), 1);
    let again = air.again.last();
    air.wait(|air| air.rig.driver.is_resting());
    air.pass(60_000);
    assert!(air.rig.driver.is_resting(), "pushes hang up, and are dialled again when somebody publishes");
    assert!(air.again.count() == 1 && !again.stopped.load(Ordering::SeqCst), "{}", air.again.count());
    set(&again.rests, false);
    set(&again.off, false);
    air.pass(2000);
    assert_eq!(air.told(), ["source_stalled", "source_switched"]);
    assert!(!air.rig.driver.is_resting());
}

#[test]
fn a_source_that_opens_and_fails_right_away_is_opened_less_and_less() {
    let mut air = Air::new(restarts(), false, headers(H2, A1));
    air.pass(400);
    let mut last = air.source.clone();
    for wait in [1000, 2000, 4000, 8000] {
        let before = air.again.count();
        set(&last.fails, true);
        air.pass(TICK);
        assert_eq!(air.told().last(), Some(&"source_fault"));
        air.pass(wait - 2 * TICK);
        assert_eq!(air.again.count(), before, "within {wait} ms");
        air.pass(2 * TICK);
        air.opened(|air| air.again.count(), before + 1);
        last = air.again.last();
        air.wait(|air| {
            air.rig.notices.iter().any(|notice| matches!(notice, EventKind::SourceSwitched { .. }))
        });
        air.told();
    }
    // Once it has been on the air for a while, it is opened soon again.
    air.pass(61_000);
    let before = air.again.count();
    set(&last.fails, true);
    air.pass(1000 + 2 * TICK);
    air.opened(|air| air.again.count(), before + 1);
}

#[test]
fn sound_alone_gives_back_whoever_had_pictures_before() {
    // A radio, with pictures in its fallback, twice.
    let mut air = Air::with_fallback();
    set(&air.source.sound_alone, true);
    air.pass(1200);
    air.spare();
    for outage in 1..=2 {
        set(&air.source.off, true);
        air.wait(|air| air.rig.driver.bytes_held() > 0 || air.on_air());
        air.pass(4000);
        assert!(air.on_air(), "outage {outage}");
        set(&air.source.off, false);
        air.pass(4000);
        assert!(!air.on_air(), "outage {outage}");
    }
    // A publisher of pictures, and after that one of sound alone.
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(4000);
    assert!(air.on_air());
    set(&air.source.sound_alone, true);
    set(&air.source.off, false);
    air.pass(4000);
    assert!(air.on_air(), "its pictures are waited for");
    set(&air.source.began, true);
    air.pass(4000);
    assert!(!air.on_air());
    air.rig.assert_increasing();
}

#[test]
fn a_watchdog_tells_restarts_turns_to_the_fallback_or_ends() {
    let rules = |then| {
        Watchdog::default().with(|rules| {
            rules.no_packet = Some(Duration::from_secs(1));
            rules.no_keyframe = Some(Duration::from_secs(3));
            rules.then = then;
        })
    };
    let new = |then| Air::new(rules(then), then == Reaction::Fallback, headers(H2, A1));
    let mut air = new(Reaction::Tell);
    air.pass(2000);
    set(&air.source.off, true);
    air.pass(2000);
    assert_eq!(air.told(), ["source_stalled"], "once");
    set(&air.source.off, false);
    air.pass(1000);
    assert_eq!(air.told(), ["source_resumed"]);
    set(&air.source.keyless, true);
    air.pass(4000);
    assert_eq!(air.told(), ["keyframe_missing"]);
    set(&air.source.rests, true);
    set(&air.source.off, true);
    air.pass(9000);
    assert!(air.told().is_empty(), "nothing is expected of what rests");
    // Somebody comes, and needs a moment before the first frame.
    set(&air.source.rests, false);
    air.pass(920);
    assert!(air.told().is_empty(), "its time begins when something is expected of it");
    air.pass(120);
    assert_eq!(air.told(), ["source_stalled"]);

    let mut air = new(Reaction::Restart);
    air.pass(2000);
    set(&air.source.off, true);
    air.pass(1000);
    assert!(air.source.stopped.load(Ordering::SeqCst));
    air.wait(|air| air.rig.notices.len() == 2);
    assert_eq!(air.told(), ["source_stalled", "source_switched"]);
    air.pass(2000);
    air.rig.assert_increasing();
    assert!(air.longest() <= 1000 + 2 * TICK as i64, "{} ms", air.longest());

    let mut air = new(Reaction::Fallback);
    air.pass(1200);
    air.spare();
    set(&air.source.keyless, true);
    air.pass(4000);
    assert!(air.on_air(), "its pictures are of no use without a keyframe");
    assert_eq!(air.told(), ["keyframe_missing", "fallback_began"]);
    set(&air.source.keyless, false);
    air.pass(4000);
    assert!(!air.on_air());

    let mut air = new(Reaction::End);
    air.pass(2000);
    set(&air.source.off, true);
    air.pass(960);
    let (_, state) = air.rig.turn(TICK);
    let SourceState::Failed(error) = state else { panic!("{state:?}") };
    assert!(matches!(error, Error::SourceStalled { what: "packet", .. }), "{error}");
    assert_eq!(error.code(), "SOURCE_STALLED");
}

#[test]
fn a_source_that_comes_and_goes_at_random_leaves_one_stream() {
    let mut air = Air::with_fallback();
    let mut seed = 7u64;
    let mut random = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    let (mut began, mut silent) = (0, 0);
    for round in 0..1000 {
        let is_off = round % 2 == 1;
        set(&air.source.off, is_off);
        for _ in 0..1 + random(if is_off { 150 } else { 250 }) {
            air.pass(TICK);
            silent = if is_off { silent + TICK } else { 0 };
            // No time passes while something is opened.
            if !air.on_air() && silent >= 2000 {
                air.wait(Air::on_air);
            }
        }
        began += air.told().iter().filter(|name| **name == "fallback_began").count();
    }
    air.rig.assert_increasing();
    let passed = air.rig.tags.last().expect("media").timestamp.as_millis();
    assert!(began > 100, "{began}");
    assert!(passed > 3_000_000, "{passed}");
    let (longest, most) = (air.longest(), AFTER.as_millis() as i64 + 2 * TICK as i64);
    assert!(longest <= most, "a gap of {longest} ms");
}

#[test]
fn a_process_that_stood_still_has_not_been_given_nothing() {
    let watchdog = Watchdog::default().with(|rules| {
        rules.no_packet = Some(Duration::from_secs(1));
        rules.no_keyframe = Some(Duration::from_secs(3));
        rules.then = Reaction::End;
    });
    let mut air = Air::new(watchdog, true, headers(H2, A1_LONG));
    air.pass(1200);
    air.spare();
    // What the source gave meanwhile comes from a thread that has to wake up, too.
    set(&air.source.off, true);
    let (_, state) = air.rig.turn(30_000);
    assert!(matches!(state, SourceState::Running), "{state:?}");
    air.pass(400);
    set(&air.source.off, false);
    air.pass(2000);
    assert!(!air.on_air() && air.told().is_empty());
    // What is really silent is still found.
    set(&air.source.off, true);
    air.pass(960);
    assert_eq!(air.told(), [""; 0]);
    assert!(matches!(air.rig.turn(TICK).1, SourceState::Failed(Error::SourceStalled { .. })));
}

#[test]
fn an_opening_that_panics_is_told_and_tried_again() {
    let mut air = Air::with_fallback();
    air.pass(1200);
    air.spare();
    set(&air.again.panics, true);
    set(&air.source.fails, true);
    air.pass(1200);
    air.opened(|air| air.again.count(), 1);
    air.pass_until(|air| {
        let panicked =
            |notice: &EventKind| notice.error().is_some_and(|error| error.code() == "STREAM_PANICKED");
        air.rig.notices.iter().any(panicked)
    });
    set(&air.again.panics, false);
    air.pass_until(|air| air.again.count() == 2);
    air.pass_until(|air| !air.on_air());
}

#[test]
fn a_source_that_fails_while_its_content_is_wrong_is_not_judged_by_that_any_more() {
    let now = Instant::now();
    let minute = Some(Duration::from_secs(60));
    let rules = Rules {
        black: minute,
        frozen: None,
        silent: None,
        silent_below_db: -40,
        every: Duration::from_secs(10),
    };
    let mut content = ContentWatch::new(rules, Studio::new(1), CpuMeter::default(), now, Probe::default());
    content.raise(ContentFault::Black, now);
    let mut air = Air::looked_at(Watchdog::default(), true, headers(H2, A1_LONG), Some(content));
    air.pass(1200);
    air.spare();
    set(&air.source.off, true);
    air.pass(2000);
    set(&air.source.off, false);
    air.pass(8000);
    assert!(air.on_air(), "what it gives is black");
    set(&air.source.fails, true);
    air.pass(1000 + TICK);
    air.opened(|air| air.again.count(), 1);
    air.pass_until(|air| !air.on_air());
    let told = air.told();
    assert_eq!(told, ["fallback_began", "source_fault", "content_alarm_ended", "fallback_ended"]);
}
