//! What waits: how much, what goes where there is no room, and what becomes of a program that stops.

use std::time::Duration;

use super::*;
use crate::sys::testing::{counting, poll};

/// A time in milliseconds, as microseconds.
const fn millis(millis: i64) -> i64 {
    1000 * millis
}

fn shown(tags: &[Tag]) -> Vec<(u32, i64)> {
    let mut shown = Vec::new();
    pictures(tags, |time, picture| shown.push((number(picture), time)));
    shown
}

#[test]
fn a_full_queue_does_what_the_program_says() {
    let sent = |when_full| {
        let mut studio = Studio::start(numbered(10).max_queue_size(3).pool_size(8).when_full(when_full));
        for number in 0..6 {
            studio.picture(number, at(millis(100 * i64::from(number)))).expect("it is taken");
        }
        studio.run_to(millis(1000));
        let mut numbers: Vec<_> = shown(&studio.tags).into_iter().map(|(number, _)| number).collect();
        numbers.dedup();
        (numbers, studio.sink.stats().dropped)
    };
    assert_eq!(sent(WhenFull::DropOldest), (vec![3, 4, 5], 3));
    assert_eq!(sent(WhenFull::DropNewest), (vec![0, 1, 2], 3));
}

#[test]
fn a_program_that_waits_is_let_go_as_pictures_are_shown_and_when_the_stream_ends() {
    let mut studio = Studio::start(numbered(10).max_queue_size(2));
    for number in 0..2 {
        studio.picture(number, at(millis(100 * i64::from(number)))).expect("there is room");
    }
    let frame = studio.sink.try_frame().expect("it runs").expect("the third");
    assert!(studio.sink.try_frame().expect("it runs").is_none(), "three are lent");
    let Err(TrySendError::Full(frame)) = studio.sink.try_send(frame, at(millis(200))) else {
        panic!("two wait already")
    };
    let (woken, waker) = counting();
    let mut ready = studio.sink.ready();
    assert!(poll(&mut ready, &waker).is_pending());
    let sink = studio.sink.clone();
    let sender = std::thread::spawn(move || sink.send(frame, at(millis(200))));
    studio.run_to(millis(50));
    sender.join().expect("it only sends").expect("there is room now");
    assert!(woken.times() >= 1);
    studio.run_to(millis(200));
    assert!(poll(&mut ready, &waker).is_ready());
    drop(ready);
    let held: Vec<_> = std::iter::from_fn(|| studio.sink.try_frame().expect("it runs")).collect();
    assert_eq!(held.len(), 3);
    let mut ready = studio.sink.ready();
    assert!(poll(&mut ready, &waker).is_pending());
    let sink = studio.sink.clone();
    let waiting = std::thread::spawn(move || sink.frame().map(drop));
    let Studio { sink, made, .. } = studio;
    drop(made);
    assert!(matches!(waiting.join().expect("it only waits"), Err(Error::Ended)));
    assert!(matches!(poll(&mut ready, &waker), std::task::Poll::Ready(Err(Error::Ended))));
    drop(held);
    assert!(matches!(sink.frame(), Err(Error::Ended)));
    assert!(matches!(sink.try_send_samples(&[0.0][..], When::Now), Err(Error::Frame { .. })), "no sound");
}

#[test]
fn large_pictures_wait_by_their_bytes() {
    let rate = FrameRate::whole(10);
    let frames = Frames::new(VideoFormat::new(PixelFormat::Rgba, 1920, 1080, rate)).pool_size(64);
    let (sink, made) = frames.when_full(WhenFull::DropNewest).made().expect("usable settings");
    made.channel().attach().expect("it is the first");
    let pixels = vec![0; 1920 * 1080 * 4];
    for _ in 0..12 {
        sink.send_copy(&[&pixels], &[1920 * 4], When::Now).expect("it is taken or dropped");
    }
    let stats = sink.stats();
    assert_eq!((stats.queued, stats.dropped), (8, 4), "8.3 MB each, 64 MiB in all");
}

#[test]
fn the_last_picture_stays_and_goes_after_a_while_where_something_stands_in() {
    for has_fallback in [false, true] {
        let hold = Duration::from_secs(1);
        let mut studio = Studio::start_with(with_sound(numbered(10)).hold(hold), has_fallback);
        studio.picture(1, When::Now).expect("it is taken");
        studio.run_to(millis(5000));
        studio.picture(2, When::Now).expect("it is taken");
        studio.run_to(millis(6000));
        let tags = std::mem::take(&mut studio.tags);
        let shown = shown(&tags);
        let first_of =
            |wanted: u32| shown.iter().find(|(number, _)| *number == wanted).expect("it is shown").1;
        let last = shown.iter().rev().find(|(number, _)| *number == 1).expect("it is shown").1;
        assert_eq!(first_of(1), 0);
        assert!((4900..=5100).contains(&first_of(2)), "{shown:?}");
        assert!(if has_fallback { (900..=1100).contains(&last) } else { last >= 4800 }, "{last}");
        // What comes back begins with a keyframe, and the sound with it.
        let back = tags.iter().find(|tag| tag.is_video() && tag.timestamp.as_millis() >= first_of(2));
        assert_eq!(back.expect("a picture").is_keyframe(), has_fallback);
        let times = |audio: bool| {
            let of_kind = tags.iter().filter(move |tag| tag.is_audio() == audio && !tag.is_script());
            of_kind.map(|tag| tag.timestamp.as_millis())
        };
        assert!(times(true).is_sorted() && times(false).is_sorted());
        let in_between = times(true).filter(|time| (1500..4500).contains(time)).count();
        assert_eq!(in_between > 0, !has_fallback, "silence goes with the picture");
    }
}

#[test]
fn a_worker_that_is_held_up_goes_on_at_its_clock() {
    let mut studio = Studio::start(with_sound(numbered(10)).pool_size(64));
    for number in 0..10 {
        studio.run_to(millis(100 * number));
        studio.picture(number as u32, at(millis(100 * number))).expect("it is taken");
    }
    // Half a second and more: the pictures between are not converted.
    for number in 10..20 {
        studio.set_clock(millis(100 * number));
        studio.picture(number as u32, at(millis(100 * number))).expect("it is taken");
    }
    studio.step(millis(1950));
    assert!(studio.sink.stats().skipped <= 1, "each place has one, but that of the last tick");
    for number in 20..60 {
        studio.set_clock(millis(100 * number));
        let sent = studio.sink.try_frame().expect("it runs").map(|mut frame| {
            draw(&mut frame, number as u32);
            studio.sink.try_send(frame, at(millis(100 * number))).is_ok()
        });
        assert!(sent.is_some());
    }
    studio.step(millis(5950));
    studio.run_to(millis(7000));
    let shown = shown(&studio.tags);
    assert!(shown.windows(2).all(|pair| pair[0].1 < pair[1].1), "{shown:?}");
    let longest = shown.windows(2).map(|pair| pair[1].1 - pair[0].1).max().expect("pictures");
    assert!((3000..=4500).contains(&longest), "{longest}: {shown:?}");
    let (_, last) = shown.last().expect("pictures");
    assert!((6300..=7000).contains(last), "{last}");
}

#[test]
fn what_waits_before_the_start_is_shown_from_its_begin_on() {
    for said in [true, false] {
        let mut studio = Studio::start(with_sound(numbered(10)).pool_size(64));
        // As if it had not started yet.
        studio.channel().detach(1);
        let when = |number: i64| if said { at(millis(100 * number)) } else { When::Now };
        for number in 0..40 {
            studio.set_clock(millis(100 * number));
            studio.picture(number as u32, when(number)).expect("the oldest goes");
        }
        assert_eq!(studio.channel().attach().expect("it is free"), 2);
        studio.channel().start();
        studio.zero += Duration::from_millis(3900);
        for number in 40..50 {
            studio.run_to(millis(100 * (number - 39)));
            studio.picture(number as u32, when(number)).expect("it is taken");
        }
        studio.run_to(millis(1500));
        let mut shown = shown(&studio.tags);
        shown.dedup_by_key(|(number, _)| *number);
        let first = if said { 10 } else { 39 };
        assert_eq!(shown.first(), Some(&(first, 0)), "{shown:?}");
        assert!(shown.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{shown:?}");
    }
}

#[test]
fn the_last_sink_ends_the_source_after_what_waits() {
    let mut studio = Studio::start(with_sound(numbered(10)));
    let other = studio.sink.clone();
    studio.picture(1, at(0)).expect("it is taken");
    studio.picture(2, at(millis(100))).expect("it is taken");
    studio.sink.send_samples(&[0.5; 8000][..], at(0)).expect("they are taken");
    let mut unfinished = other.frame().expect("one is free");
    draw(&mut unfinished, 3);
    let (nobody, _) = numbered(10).made().expect("usable settings");
    drop(std::mem::replace(&mut studio.sink, nobody));
    studio.run_to(millis(500));
    assert!(!studio.over, "there is another sink");
    drop(other);
    drop(unfinished);
    studio.run_to(millis(3000));
    assert!(studio.over);
    let shown = shown(&studio.tags);
    assert!(shown.iter().all(|(number, _)| matches!(number, 1 | 2)), "{shown:?}");
    let (_, last) = shown.last().expect("pictures");
    assert!((900..=1100).contains(last), "as long as its sound: {last}");
}

/// Lets go of the program's only sink.
fn end(studio: &mut Studio) {
    let (nobody, _) = numbered(10).made().expect("usable settings");
    drop(std::mem::replace(&mut studio.sink, nobody));
}

#[test]
fn sound_before_the_first_picture_is_not_kept_and_the_source_ends_without_one() {
    let mut studio = Studio::start(with_sound(numbered(10)));
    for step in 0..6000 {
        studio.run_to(millis(100 * step));
        studio.sink.send_samples(&[0.5; 800][..], at(millis(100 * step))).expect("they are taken");
        let waiting = studio.airing.heard.waiting();
        assert!(waiting <= 4000, "{waiting} samples wait after {step} times 800");
    }
    end(&mut studio);
    studio.run_to(millis(603_000));
    assert!(studio.over && studio.tags.is_empty());
}

/// A program whose clock is by six hundredths faster than the machine's, for 45 seconds.
fn run_fast(when_full: WhenFull, said: bool, pool_size: usize, max_queue_size: usize) {
    let frames = with_sound(numbered(10)).pool_size(pool_size).max_queue_size(max_queue_size);
    let mut studio = Studio::start(frames.when_full(when_full));
    for step in 0..450 {
        studio.run_to(millis(100 * step));
        let when = if said { at(millis(106 * step)) } else { When::Now };
        studio.picture(step as u32, when).expect("it is taken or dropped");
        studio.sink.send_samples(&[0.5; 848][..], when).expect("they are taken or dropped");
    }
    let (stats, what) = (studio.sink.stats(), format!("{when_full} {said} {pool_size} {max_queue_size}"));
    let heard = 45 * 8000;
    assert!(stats.silent_samples <= heard * 7 / 100, "{what}: {stats:?}");
    assert!(stats.timelines == 0 && studio.channel().sound_waiting() <= 17_000, "{what}: {stats:?}");
    let mut shown = shown(&studio.tags);
    shown.dedup_by_key(|(number, _)| *number);
    assert!(shown.windows(2).all(|pair| pair[0].0 < pair[1].0), "{what}: {shown:?}");
    let longest = shown.windows(2).map(|pair| pair[1].1 - pair[0].1).max().expect("pictures");
    assert!(longest <= 500, "{what}: a picture stays for {longest} ms");
    let last = shown.last().expect("pictures").0;
    assert!(last >= 400, "{what}: the last picture is {last}");
}

#[test]
fn a_program_that_is_too_fast_for_its_queue_is_heard_and_seen_without_its_surplus() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        run_fast(when_full, false, 64, 30);
        // Pictures, and sound, are what is too much first.
        run_fast(when_full, true, 64, 10);
        run_fast(when_full, true, 64, 30);
    }
    // Pictures that are lent are taken back.
    run_fast(WhenFull::DropOldest, true, 3, 30);
    run_fast(WhenFull::DropOldest, false, 3, 30);
}

#[test]
fn a_program_that_catches_up_at_once_is_shown_again() {
    let frames = with_sound(numbered(10)).pool_size(64).max_queue_size(10);
    let mut studio = Studio::start(frames.when_full(WhenFull::DropOldest));
    for number in 0..200 {
        // It stands still for five seconds, and then gives at once what it would have given.
        let came = if (50..100).contains(&number) { 100 } else { number };
        studio.run_to(millis(100 * came));
        studio.picture(number as u32, at(millis(100 * number))).expect("it is taken");
        studio.sink.send_samples(&[0.5; 800][..], at(millis(100 * number))).expect("they are taken");
    }
    let mut shown = shown(&studio.tags);
    shown.dedup_by_key(|(number, _)| *number);
    let after = shown.iter().filter(|(_, time)| *time > 10_500);
    assert!(after.clone().count() >= 70, "{shown:?}");
    assert!(after.clone().all(|(number, time)| i64::from(*number) * 100 >= time - 3000), "{shown:?}");
}

#[test]
fn samples_of_any_number_wait_or_are_dropped_by_the_piece() {
    // One minute in one call.
    let minute = vec![0.5; 480_000];
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        for when in [When::Now, at(0)] {
            let studio = Studio::start(with_sound(numbered(10)).when_full(when_full));
            studio.sink.send_samples(&minute[..], when).expect("what has room is taken");
            let (waiting, dropped) = (studio.channel().sound_waiting(), studio.sink.stats().dropped_samples);
            assert!((15_000..=17_000).contains(&waiting), "{when_full}: {waiting}");
            assert_eq!(waiting as u64 + dropped, 480_000, "{when_full}");
        }
    }
    let mut studio = Studio::start(with_sound(numbered(10)));
    studio.picture(1, at(0)).expect("it is taken");
    let refused = studio.sink.try_send_samples(&minute[..], at(0));
    assert!(refused.is_err_and(|error| error.code() == "FRAME_REFUSED"), "there is never room for it");
    let sink = studio.sink.clone();
    let sender = std::thread::spawn(move || sink.send_samples(&minute[..], at(0)));
    let mut time = 0;
    while !sender.is_finished() {
        let waiting = studio.channel().sound_waiting();
        assert!(waiting <= 17_000, "{waiting}");
        if waiting < 16_000 {
            std::thread::yield_now();
            continue;
        }
        studio.run_to(time);
        time += millis(50);
    }
    sender.join().expect("it only sends").expect("all of it is taken");
    assert!((57_000..=58_500).contains(&(time / 1000)), "{time}");
    studio.run_to(millis(59_000));
    let stats = studio.sink.stats();
    assert_eq!((stats.samples, stats.dropped_samples, stats.silent_samples), (480_000, 0, 0));
}

#[test]
fn samples_that_overlap_those_before_are_taken_from_where_they_are_new() {
    let mut studio = Studio::start(with_sound(numbered(10)));
    studio.picture(1, at(0)).expect("it is taken");
    for step in 0..4 {
        studio.sink.send_samples(&[0.5; 4000][..], at(millis(250 * step))).expect("they do not go back");
    }
    studio.run_to(millis(1200));
    assert_eq!(studio.sink.stats().silent_samples, 0);
    assert_eq!(studio.sink.stats().late_samples, 0);
}

#[test]
fn a_sink_that_waits_for_a_picture_of_the_pool_is_told_when_another_one_sends() {
    // Not yet on the air, dropping the oldest, dropping the newest.
    for (when_full, is_running) in [
        (WhenFull::Block, false),
        (WhenFull::DropNewest, false),
        (WhenFull::DropOldest, true),
        (WhenFull::DropNewest, true),
    ] {
        let frames = numbered(10).pool_size(2).max_queue_size(1).when_full(when_full);
        let studio = Studio::start(frames);
        if !is_running {
            studio.channel().detach(1);
        }
        studio.picture(1, at(0)).expect("there is room");
        let frame = studio.sink.frame().expect("one is left");
        // The one that waits is taken.
        let other = studio.sink.try_frame().expect("it runs");
        let (woken, waker) = counting();
        let mut ready = studio.sink.ready();
        assert!(poll(&mut ready, &waker).is_pending(), "{when_full} {is_running}");
        studio.sink.send(frame, at(millis(100))).expect("it is taken or dropped");
        assert!(woken.times() >= 1, "{when_full} {is_running}");
        assert!(poll(&mut ready, &waker).is_ready(), "{when_full} {is_running}");
        drop(other);
    }
}
