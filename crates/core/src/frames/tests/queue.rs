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
