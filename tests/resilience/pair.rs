//! The primary and the backup ingest of one platform.

use std::collections::HashMap;

use flowcast::output::{Cutover, IfTaken};
use flowcast::rtmp::flv::TagKind;
use flowcast::{Error, EventKind, Events, Output, OutputId, Source};
use kit::rig::{Known, both_ways, engine, outputs, push, read_flv, wait_event, wait_retry};
use kit::scripted::{Script, Scripted, Seen};
use kit::{PATIENCE, wait_until};

fn pair(primary: &Scripted, backup: &Scripted) -> Output {
    push(primary).backup(&backup.url()).label("platform")
}

/// The media by kind and time.
fn by_time(tags: &[Seen]) -> HashMap<(bool, i64), u64> {
    let media = tags.iter().filter(|tag| !tag.header && tag.kind != TagKind::Script);
    media.map(|tag| ((tag.kind == TagKind::Video, tag.time), tag.hash)).collect()
}

fn hashes(tags: &[Seen], kind: TagKind) -> Vec<u64> {
    tags.iter().filter(|tag| tag.kind == kind && !tag.header).map(|tag| tag.hash).collect()
}

fn replaced(events: &Events, output: OutputId) -> Cutover {
    wait_event(events, PATIENCE, |event| match &event.kind {
        EventKind::OutputReplaced { output: it, cutover } if *it == output => Some(*cutover),
        _ => None,
    })
}

#[test]
fn the_backup_misses_nothing_while_the_primary_is_gone_and_both_have_the_same_times() {
    let clip = Known::small();
    both_ways(|mode, engine, directory| {
        let (mut primary, backup) = (Scripted::start(Script::Record), Scripted::start(Script::Record));
        let file = directory.join("all.flv");
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(pair(&primary, &backup))
            .record(&file)
            .start()
            .expect("it starts");
        let (events, output) = (live.events(), live.output("platform").expect("it has this label"));
        let other = live.output("platform (backup)").expect("it has this label");
        assert!(primary.wait_pictures(0, 20, PATIENCE) && backup.wait_pictures(0, 20, PATIENCE), "{mode}");
        primary.down();
        wait_retry(&events, output, PATIENCE);
        let pictures =
            |server: &Scripted| server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
        let until = pictures(&backup) + 60;
        assert!(backup.wait_pictures(0, until, PATIENCE), "{mode}: the backup is not on the air");
        primary.up();
        assert!(wait_until(PATIENCE, || primary.count() == 2), "{mode}: it is not dialled again");
        assert!(primary.wait_pictures(1, 40, PATIENCE), "{mode}: not on the air again");
        let stats = live.stop(PATIENCE).expect("it runs well");
        let of = |id: OutputId| stats.outputs.iter().find(|it| it.id == id).expect("it is among the figures");
        assert_eq!((of(output).backup_of, of(other).backup_of), (None, Some(output)), "{mode}");
        assert_eq!((of(output).reconnects, of(other).reconnects), (1, 0), "{mode}: {stats}");
        assert_eq!((of(other).failures, of(other).drops), (0, 0), "{mode}: {stats}");

        let (visits, backups) = (primary.visits(), backup.visits());
        assert_eq!((visits.len(), backups.len()), (2, 1), "{mode}");
        let backup = &backups[0].tags;
        clip.assert_gapless(backup);
        // Tag for tag what a recording of the same stream holds.
        let recorded = read_flv(&file);
        for kind in [TagKind::Video, TagKind::Audio] {
            let (sent, recorded) = (hashes(backup, kind), hashes(&recorded, kind));
            let begin = recorded.iter().position(|hash| *hash == sent[0]).expect("it was recorded");
            let there = recorded.get(begin..begin + sent.len()).unwrap_or(&recorded[begin..]);
            assert!(sent == there, "{mode}: {kind:?} of the backup is doubled or lost");
        }
        // The primary has the same at the same times, before and after.
        let at_backup = by_time(backup);
        let (begin, end) = (backup.iter().find(|tag| tag.keyframe).expect("it begins").time, {
            backup.iter().map(|tag| tag.time).max().expect("it has tags") - 100
        });
        let mut same = [0, 0];
        for (visit, same) in visits.iter().zip(&mut same) {
            clip.assert_gapless(&visit.tags);
            for (at, hash) in by_time(&visit.tags).into_iter().filter(|(at, _)| (begin..=end).contains(&at.1))
            {
                assert_eq!(at_backup.get(&at), Some(&hash), "{mode}: at {at:?}");
                *same += 1;
            }
        }
        let again = visits[1].tags.iter().find(|tag| tag.keyframe).expect("a keyframe").time;
        assert!(same[0] > 10 && same[1] > 40 && again > 1000, "{mode}: {same:?}, again at {again} ms");
        println!(
            "  {mode}: {} tags of the primary, each with the backup's time; none of its own lost",
            same[0] + same[1]
        );
    });
}

#[test]
fn both_are_replaced_and_removed_together() {
    let clip = Known::small();
    let servers = [(); 4].map(|()| Scripted::start(Script::Record));
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(pair(&servers[0], &servers[1]))
        .without_outputs()
        .start()
        .expect("it starts");
    let (events, ids) = (live.events(), outputs(&live));
    assert!(servers[..2].iter().all(|server| server.wait_pictures(0, 5, PATIENCE)));
    for wrong in [push(&servers[2]), pair(&servers[2], &servers[2])] {
        let error = live.replace_output(ids[0], wrong, IfTaken::Keep).expect_err("it cannot be");
        assert!(matches!(error, Error::Config { name: "output" | "backup", .. }), "{error}");
    }
    let error = live.replace_output(ids[1], push(&servers[2]), IfTaken::Keep).expect_err("the backup");
    assert!(matches!(error, Error::Config { name: "output", .. }), "{error}");
    live.replace_output(ids[0], pair(&servers[2], &servers[3]), IfTaken::Keep).expect("both are pushes");
    let cutovers = std::collections::BTreeMap::from_iter((0..2).map(|_| {
        wait_event(&events, PATIENCE, |event| match &event.kind {
            EventKind::OutputReplaced { output, cutover } => Some((*output, *cutover)),
            _ => None,
        })
    }));
    assert_eq!(
        cutovers.into_iter().collect::<Vec<_>>(),
        [(ids[0], Cutover::AtKeyframe), (ids[1], Cutover::AtKeyframe)]
    );
    assert!(servers[2..].iter().all(|server| server.wait_pictures(0, 5, PATIENCE)));
    #[cfg(feature = "state")]
    assert_eq!(engine.snapshot().streams[0].spec.outputs, [pair(&servers[2], &servers[3]).label("platform")]);
    live.replace_key(ids[0], "another-key", IfTaken::Keep).expect("both are pushes");
    assert_eq!(replaced(&events, ids[0]), Cutover::AtKeyframe);
    assert!(wait_until(PATIENCE, || servers[3].count() == 2), "the backup has the old key");
    live.remove_output(ids[1]).expect("it runs");
    for server in &servers {
        let all_closed = || server.visits().iter().all(|visit| visit.closed.is_some());
        assert!(wait_until(PATIENCE, all_closed), "still open");
    }
    assert_eq!((live.output("platform"), live.output("platform (backup)")), (None, None));
    #[cfg(feature = "state")]
    assert_eq!(engine.snapshot().streams[0].spec.outputs, []);
    live.add_output(pair(&servers[0], &servers[1])).expect("its labels are free");
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn of_a_pair_of_which_one_has_ended_the_other_is_replaced() {
    let clip = Known::small();
    for primary_ends in [false, true] {
        let refuses = Script::Refuse("NetStream.Publish.Denied", "no such key");
        let scripts = if primary_ends { [refuses, Script::Record] } else { [Script::Record, refuses] };
        let [primary, backup] = scripts.map(Scripted::start);
        let engine = engine(|_| {});
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(pair(&primary, &backup))
            .without_outputs()
            .start()
            .expect("it starts");
        let events = live.events();
        let [output, other] = outputs(&live)[..] else { panic!("{}", live.stats()) };
        let (ended, stays, server) =
            if primary_ends { (output, other, &backup) } else { (other, output, &primary) };
        let has_ended = |stats: &flowcast::stats::StreamStats| {
            let stats = stats.outputs.iter().find(|it| it.id == ended);
            stats.is_none_or(|stats| stats.phase == flowcast::stats::OutputPhase::Ended)
        };
        assert!(wait_until(PATIENCE, || has_ended(&live.stats())), "{}", live.stats());
        assert!(server.wait_pictures(0, 5, PATIENCE), "the other one notices nothing");
        live.replace_key(output, "another-key", IfTaken::Keep).expect("one of them is there");
        assert_eq!(replaced(&events, stays), Cutover::AtKeyframe);
        assert!(server.wait_pictures(1, 5, PATIENCE), "{}", live.stats());
        #[cfg(feature = "state")]
        {
            let kept = push(&primary).backup(&backup.url()).label("platform");
            let kept = engine.snapshot().streams[0].spec.outputs == [kept];
            assert!(!kept, "it has another key now");
        }
        let error = live.replace_key(other, "a-key", IfTaken::Keep).expect_err("the number of the backup");
        assert!(matches!(error, Error::Config { name: "output", .. }), "{error}");
        live.remove_output(output).expect("it runs");
        assert!(wait_until(PATIENCE, || server.visits()[1].closed.is_some()), "still open");
        live.stop(PATIENCE).expect("it runs well");
    }
}
