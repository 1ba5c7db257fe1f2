//! Sources that replace each other.

use std::time::{Duration, Instant};

use super::*;
use crate::id::StreamId;
use crate::ring::Headers;
use crate::standby::{Addressed, At, OnAir, Outcome, Replacement, Replacing, Switch};
use crate::stats::Seam;

const WITHIN: Duration = Duration::from_secs(10);

/// A switch over a source that has sent these headers and pictures up to 1000 ms.
fn on_air(old: &Shared, sent: [Tag; 2]) -> Rig {
    let mut headers = Headers::default();
    sent.iter().for_each(|tag| assert!(headers.note(tag)));
    let mut driver = old.driver();
    Switch::wrap(&mut driver, OnAir { headers, newest: Some(MediaTime::from_millis(960)) }, true);
    let mut rig = Rig::new(driver);
    old.give([sound(970), picture(980), sound(990), picture(1000)]);
    assert_eq!(rig.turn(40).0.len(), 4);
    rig
}

fn replace(rig: &mut Rig, new: &Shared, at: At, seat: u64) -> Replacing {
    let (outcome, replacing) = Outcome::new(Box::new(|_| ()));
    let replacement = Replacement { driver: new.driver(), seat, at, within: WITHIN, fitted: false, outcome };
    rig.deliver(Box::new(replacement));
    replacing
}

fn outcome(replacing: &Replacing) -> Option<Result<Seam, Error>> {
    replacing.wait_timeout(Duration::ZERO)
}

#[test]
fn the_old_one_stays_until_the_new_one_gives_a_keyframe() {
    let (old, new) = (Shared::default(), Shared::default());
    let mut rig = on_air(&old, headers(H1, A1));
    let replacing = replace(&mut rig, &new, At::NextKeyframe, 1);
    assert!(rig.driver.is_due(), "it has a turn at once");
    old.give([picture(1040)]);
    new.give(headers(H1, A1));
    assert_eq!(seen(&rig.turn(40).0), [('p', 1040)]);
    old.give([sound(1075), picture(1080)]);
    new.give([picture(70_000), sound(70_010)]);
    assert_eq!(seen(&rig.turn(40).0), [('a', 1075), ('p', 1080)], "pictures without a keyframe are left out");
    assert!(outcome(&replacing).is_none() && !old.is_stopped());
    old.give([picture(1120)]);
    new.give([sound(70_030), key(70_040), sound(70_053), picture(70_080)]);
    assert_eq!(seen(&rig.turn(40).0), [('p', 1120), ('K', 1160), ('a', 1173), ('p', 1200)]);
    assert!(matches!(outcome(&replacing), Some(Ok(Seam::Seamless))) && old.is_stopped());
    assert!(matches!(rig.notices[..], [EventKind::SourceSwitched { seam: Seam::Seamless }]));
    old.give([picture(1160)]);
    new.give([picture(70_120)]);
    assert_eq!(seen(&rig.turn(40).0), [('p', 1240)], "the old one is gone");
    rig.assert_increasing();
}

#[test]
fn headers_are_sent_where_they_differ_and_sound_that_is_said_in_another_way_does_not() {
    for (video, audio, sent, seam) in [
        (H1, A1_LONG, "Kp", Seam::Seamless),
        (H2, A1, "VKp", Seam::NewHeaders),
        (H1, A2, "AKp", Seam::NewHeaders),
        (H2, A2, "VAKp", Seam::NewHeaders),
    ] {
        let (old, new) = (Shared::default(), Shared::default());
        let mut rig = on_air(&old, headers(H1, A1));
        let replacing = replace(&mut rig, &new, At::NextKeyframe, 1);
        new.give(headers(video, audio).into_iter().chain([key(0), picture(40)]));
        let came: String = seen(&rig.turn(40).0).iter().map(|(what, _)| what).collect();
        assert_eq!(came, sent);
        assert!(matches!(outcome(&replacing), Some(Ok(found)) if found == seam), "{sent}: {seam}");
    }
}

#[test]
fn seams_do_not_add_up() {
    let mut on = Shared::default();
    let mut rig = on_air(&on, headers(H1, A1));
    let begin = rig.now;
    for seat in 1..=500 {
        let new = Shared::default();
        let replacing = replace(&mut rig, &new, At::NextKeyframe, seat);
        // It is 67 to 93 ms on the air, and 45 ms of media.
        new.give(headers(H1, A1).into_iter().chain([key(5), sound(6), picture(45), sound(50)]));
        rig.turn(67 + seat % 27);
        assert!(matches!(outcome(&replacing), Some(Ok(Seam::Seamless))));
        on = new;
    }
    on.give([picture(85)]);
    let (tags, _) = rig.turn(40);
    rig.assert_increasing();
    let passed = (rig.now - begin).as_millis() as i64;
    let off = tags[0].timestamp.as_millis() - 1000 - passed;
    assert!(off.abs() <= 100, "{off} ms off after {passed} ms");
}

#[test]
fn a_source_that_gives_no_keyframe_or_fails_leaves_the_old_one() {
    let (old, late, broken) = (Shared::default(), Shared::default(), Shared::default());
    let mut rig = on_air(&old, headers(H1, A1));
    let replacing = replace(&mut rig, &late, At::NextKeyframe, 1);
    late.give([picture(0)]);
    rig.turn(40);
    rig.turn(9_999);
    assert!(outcome(&replacing).is_none());
    rig.turn(1);
    assert!(matches!(outcome(&replacing), Some(Err(Error::SourceNotReady { after })) if after == WITHIN));
    assert!(late.is_stopped() && !old.is_stopped());
    let replacing = replace(&mut rig, &broken, At::NextKeyframe, 2);
    broken.turn(Turn::Failed);
    rig.turn(40);
    assert!(matches!(outcome(&replacing), Some(Err(Error::Driver { .. }))) && broken.is_stopped());
    old.give([picture(11_200)]);
    assert_eq!(seen(&rig.turn(40).0), [('p', 11_200)]);
}

#[test]
fn the_last_that_was_asked_for_takes_over_and_the_end_is_told() {
    let (old, first, second) = (Shared::default(), Shared::default(), Shared::default());
    let mut rig = on_air(&old, headers(H1, A1));
    let superseded = replace(&mut rig, &first, At::NextKeyframe, 1);
    let replacing = replace(&mut rig, &second, At::NextKeyframe, 2);
    assert!(matches!(outcome(&superseded), Some(Err(Error::Cancelled { .. }))) && first.is_stopped());
    // The old one ends meanwhile: the stream goes on, because another one comes.
    old.turn(Turn::Ended);
    assert!(matches!(rig.turn(40).1, SourceState::Running));
    second.give([key(0)]);
    assert_eq!(seen(&rig.turn(2_000).0), [('K', 3_040)], "where the stream would be by now");
    assert!(matches!(outcome(&replacing), Some(Ok(_))));
    let last = Shared::default();
    let replacing = replace(&mut rig, &last, At::NextKeyframe, 3);
    second.turn(Turn::Failed);
    assert!(matches!(rig.turn(40).1, SourceState::Running));
    assert!(matches!(rig.turn(10_000).1, SourceState::Failed(Error::Driver { .. })), "nothing came of it");
    assert!(matches!(outcome(&replacing), Some(Err(Error::SourceNotReady { .. }))));
    let replacing = replace(&mut rig, &Shared::default(), At::NextKeyframe, 4);
    rig.driver.stop();
    assert!(matches!(outcome(&replacing), Some(Err(Error::Ended))));
}

#[test]
fn an_item_is_played_to_its_end() {
    let (old, new) = (Shared::default(), Shared::default());
    old.0.lock().items = true;
    new.0.lock().items = true;
    let mut rig = on_air(&old, headers(H1, A1));
    let replacing = replace(&mut rig, &new, At::ItemEnd, 1);
    new.give(headers(H1, A1).into_iter().chain([key(0), picture(40)]));
    for turn in 1..=500 {
        old.give([picture(1000 + turn * 40)]);
        rig.turn(40);
    }
    assert!(outcome(&replacing).is_none() && new.0.lock().started.is_none(), "it waits for its turn");
    // A piece of music beside it ends nothing.
    old.turn(Turn::Notice(EventKind::ItemStarted { path: "song.m4a".into() }, Vec::new()));
    assert!(rig.turn(0).0.is_empty());
    assert!(outcome(&replacing).is_none() && new.0.lock().started.is_none(), "it is not its turn");
    assert_eq!(rig.notices.drain(..).count(), 1, "the music is told");
    let next = headers(H2, A1).into_iter().chain([key(21_080), picture(21_120)]);
    let tags = [picture(21_040)].into_iter().chain(next).collect();
    old.turn(Turn::Notice(EventKind::ItemStarted { path: "next.mp4".into() }, tags));
    assert_eq!(seen(&rig.turn(40).0), [('p', 21_040), ('K', 21_080), ('p', 21_120)]);
    assert!(matches!(outcome(&replacing), Some(Ok(Seam::Seamless))));
    assert_eq!(rig.notices.len(), 1, "the next item never began: {:?}", rig.notices);
}

#[test]
fn a_source_that_is_replaced_takes_its_fallback_along_and_leaves_its_figures() {
    let (old, new, last) = (Shared::default(), Shared::default(), Shared::default());
    let stats = |on_air, times, seconds| FallbackStats {
        on_air,
        ready: false,
        times,
        time: Duration::from_secs(seconds),
    };
    let mut rig = on_air(&old, headers(H1, A1));
    old.0.lock().fallback = Some(stats(true, 2, 7));
    let _first = replace(&mut rig, &new, At::NextKeyframe, 1);
    new.give([key(0)]);
    rig.turn(40);
    let names: Vec<_> = rig.notices.drain(..).map(|notice| notice.name()).collect();
    assert_eq!(names, ["fallback_ended", "source_switched"], "what began has an end");
    assert_eq!(rig.driver.fallback(), Some(stats(false, 2, 10)), "the new one has none");
    let _second = replace(&mut rig, &last, At::NextKeyframe, 2);
    last.0.lock().fallback = Some(stats(true, 1, 5));
    last.give([key(0)]);
    rig.turn(40);
    assert_eq!(rig.driver.fallback(), Some(stats(true, 3, 15)));
    assert_eq!(rig.driver.end_fallback(rig.now), Some(LASTED));
    assert_eq!(rig.driver.fallback(), Some(stats(false, 3, 18)));
}

#[test]
fn messages_reach_the_source_they_are_for() {
    let (old, new) = (Shared::default(), Shared::default());
    let mut rig = on_air(&old, headers(H1, A1));
    let _replacing = replace(&mut rig, &new, At::NextKeyframe, 1);
    rig.deliver(Box::new(StreamId(7)));
    rig.deliver(Box::new(Addressed { seat: 1, message: Box::new(StreamId(8)) }));
    rig.deliver(Box::new(Addressed { seat: 2, message: Box::new(StreamId(9)) }));
    new.give([key(0)]);
    rig.turn(40);
    rig.deliver(Box::new(StreamId(7)));
    rig.deliver(Box::new(Addressed { seat: 1, message: Box::new(StreamId(8)) }));
    assert_eq!((old.0.lock().messages, new.0.lock().messages), (1, 2));
}

#[test]
fn nothing_begins_before_media_time_does() {
    let (old, new) = (Shared::default(), Shared::default());
    let mut driver = old.driver();
    Switch::wrap(&mut driver, OnAir::default(), false);
    let mut rig = Rig::new(driver);
    rig.driver = {
        let mut driver = old.driver();
        Switch::wrap(&mut driver, OnAir::default(), false);
        driver
    };
    let replacing = replace(&mut rig, &new, At::NextKeyframe, 1);
    new.give([key(300)]);
    assert!(rig.turn(40).0.is_empty() && new.0.lock().started.is_none());
    rig.driver.start(Instant::now());
    assert_eq!(seen(&rig.turn(40).0), [('K', 300)]);
    assert!(matches!(outcome(&replacing), Some(Ok(_))));
}
