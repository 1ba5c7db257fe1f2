//! Fragments on the air: pushed to real receivers, and put into a directory by a program that is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::encode::FrameRate;
use flowcast::fragment::{
    Fragment, FragmentDirectory, FragmentHealth, FragmentOptions, FragmentPace, FragmentPublisher, Pushed,
};
use flowcast::source::Fallback;
use flowcast::{Encoding, Error, EventKind, Events, Mode, Output, Profile, Source};
use kit::rig::{engine, push, read_flv, wait_event};
use kit::scripted::{Script, Scripted, Seen, hash};
use kit::{PATIENCE, decode, directory, wait_until};

use crate::assert_one_stream;

/// A fragment of a program that encodes each by itself, and the hashes of its pictures.
struct Made {
    file: PathBuf,
    pictures: Vec<u64>,
}

/// So many of them, of about this many seconds.
fn made(directory: &Path, count: usize, seconds: f64) -> Vec<Made> {
    let make = |number: usize| {
        let file = directory.join(format!("batch-{number}.mp4"));
        let spec = SampleSpec {
            fps: 25,
            seconds: seconds + 0.04 * (number % 3) as f64,
            b_frames: 2,
            audio: Some((44_100, 2)),
            ..SampleSpec::default()
        };
        sample_clip(&file, &spec).expect("libav makes the clip");
        Made { pictures: pictures(&file), file }
    };
    (0..count).map(make).collect()
}

fn pictures(file: &Path) -> Vec<u64> {
    let mut demuxer = Demuxer::open(file, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
    let tracks = &demuxer.media().tracks;
    let video = tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
    let mut found = Vec::new();
    while let Some(packet) = demuxer.read().expect("it reads") {
        if Some(packet.track) == video {
            found.push(hash(&packet.data));
        }
    }
    found
}

fn seen_pictures(tags: &[Seen]) -> Vec<u64> {
    tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.hash).collect()
}

fn all(made: &[Made]) -> Vec<u64> {
    made.iter().flat_map(|made| made.pictures.iter().copied()).collect()
}

#[track_caller]
fn wait_published(events: &Events, total: u64) {
    wait_event(events, PATIENCE, |event| match event.kind {
        EventKind::FragmentPublished { total: published, .. } if published == total => Some(()),
        _ => None,
    });
}

/// Paths, bytes and readers become one stream that a recording has whole; files may be removed once they are pushed.
#[test]
fn what_is_pushed_is_one_stream() {
    let directory = directory();
    let made = made(directory.path(), 6, 0.6);
    let engine = engine(|_| {});
    let publisher = FragmentPublisher::new();
    let file = directory.path().join("out.flv");
    let live =
        engine.stream(Source::fragments(&publisher)).to(Output::record(&file)).start().expect("a free place");
    let events = live.events();
    for (number, one) in made.iter().enumerate() {
        let fragment = match number % 3 {
            0 => Fragment::path(&one.file),
            1 => Fragment::bytes(fs::read(&one.file).expect("it is there")),
            _ => Fragment::reader(fs::File::open(&one.file).expect("it is there")),
        };
        let pushed = publisher.push(fragment).expect("it is taken");
        assert_eq!(pushed, Pushed::Queued { number: number as u64 + 1 });
        fs::remove_file(&one.file).expect("it is there");
    }
    publisher.finish();
    live.wait().expect("the stream ends behind the last one");
    assert_eq!(seen_pictures(&read_flv(&file)), all(&made));
    let (video, audio) = assert_one_stream(&file);
    assert!(video <= 42.0 && audio <= 48.0, "gaps of {video} and {audio} ms");
    wait_published(&events, made.len() as u64);
    assert_eq!(publisher.stats().published, made.len() as u64);
    assert!(publisher.push(Fragment::bytes(vec![1])).is_err(), "nobody plays it any more");
}

/// What cannot be played is refused or left out by name; what is late is told; the stream goes on, and what is pushed twice is played once.
#[test]
fn bad_and_late_fragments_do_not_end_the_stream() {
    let directory = directory();
    let made = made(directory.path(), 3, 0.4);
    let engine = engine(|_| {});
    let publisher = FragmentPublisher::new();
    let file = directory.path().join("out.flv");
    let live =
        engine.stream(Source::fragments(&publisher)).to(Output::record(&file)).start().expect("a free place");
    let events = live.events();
    for refused in [
        Fragment::path(directory.path().join("none.mp4")),
        Fragment::path(directory.path()),
        Fragment::bytes(Vec::new()),
        Fragment::bytes(&b"\0\0\0\x10styp\0\0\0\0msdh\0\0\0\x08moof"[..]),
    ] {
        let error = publisher.push(refused).expect_err("it is none");
        assert!(error.code().starts_with("FRAGMENT_UN"), "{error}");
    }
    assert!(
        publisher.push(b"<html>not found</html>".to_vec()).is_ok(),
        "its content is looked at when it is opened"
    );
    wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::FragmentSkipped { number: Some(1), .. } => Some(()),
        _ => None,
    });
    for one in &made {
        let fragment = || Fragment::path(&one.file).id(one.file.display().to_string());
        assert!(matches!(publisher.push(fragment()), Ok(Pushed::Queued { .. })));
        assert!(matches!(publisher.push(fragment()), Ok(Pushed::Duplicate)));
        // The next one comes when this one has been over for a while.
        wait_event(&events, PATIENCE, |event| {
            matches!(event.kind, EventKind::FragmentPublished { .. }).then_some(())
        });
        assert!(wait_until(PATIENCE, || publisher.health().as_str() == "bad"), "the stream waits");
        // Also of a fragment that is all sent at once.
        wait_event(&events, PATIENCE, |event| match event.kind {
            EventKind::SourceStalled { .. } => Some(()),
            _ => None,
        });
    }
    publisher.finish();
    live.wait().expect("it ends well");
    let heard: Vec<_> = std::iter::from_fn(|| events.next_timeout(Duration::ZERO)).collect();
    assert_eq!(seen_pictures(&read_flv(&file)), all(&made), "{heard:#?}");
    assert_one_stream(&file);
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.skipped, stats.duplicates, stats.late), (3, 1, 3, 2));
}

/// A server that is killed and started again gets the stream from a keyframe on, and nothing of what follows is missing.
#[test]
fn a_server_that_is_lost_gets_the_rest_from_a_keyframe_on() {
    let directory = directory();
    let made = made(directory.path(), 8, 0.8);
    let mut server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let publisher = FragmentPublisher::new();
    let live = engine.stream(Source::fragments(&publisher)).to(push(&server)).start().expect("a free place");
    let events = live.events();
    let pushing = std::thread::spawn({
        let (publisher, files) =
            (publisher.clone(), made.iter().map(|made| made.file.clone()).collect::<Vec<_>>());
        move || {
            for file in &files {
                publisher.push(file).expect("it is taken");
            }
            publisher.finish();
        }
    });
    wait_published(&events, 2);
    server.down();
    server.up();
    pushing.join().expect("all are taken");
    live.wait().expect("it ends well");
    let connections: Vec<_> = server.visits().into_iter().map(|visit| visit.tags).collect();
    assert!(connections.len() >= 2, "{} connections", connections.len());
    let known = all(&made);
    for tags in &connections {
        let seen = seen_pictures(tags);
        let Some(first) = seen.first() else { continue };
        let at = known.iter().position(|picture| picture == first).expect("a picture of a fragment");
        assert_eq!(seen, known[at..at + seen.len()], "in order, none missing");
    }
    assert_eq!(
        connections.last().map(|tags| seen_pictures(tags).last().copied()),
        Some(known.last().copied())
    );
}

/// A directory of which what was played is removed: a stream that is started again goes on with what is left.
#[test]
fn a_directory_is_played_in_order_and_what_was_played_is_removed() {
    let directory = directory();
    let spool = directory.path().join("spool");
    fs::create_dir(&spool).expect("it can be made");
    let made = made(directory.path(), 4, 0.5);
    fs::write(spool.join("batch-9.mp4.part"), "half").expect("it can be written");
    let put = |one: &Made| {
        let name = one.file.file_name().expect("it has one");
        fs::copy(&one.file, directory.path().join("copy")).expect("there is room");
        fs::rename(directory.path().join("copy"), spool.join(name)).expect("it is the same disk");
    };
    put(&made[0]);
    let source = || {
        let rules = FragmentDirectory::new(&spool).removing().settle(Duration::from_millis(50));
        Source::fragments_in(rules)
    };
    let engine = engine(|_| {});
    let first = directory.path().join("first.flv");
    let live = engine.stream(source()).to(Output::record(&first)).start().expect("a free place");
    let events = live.events();
    put(&made[1]);
    wait_published(&events, 2);
    assert!(wait_until(PATIENCE, || !spool.join("batch-1.mp4").exists()), "what was played is removed");
    live.stop(Duration::from_secs(5)).expect("it stops");
    put(&made[3]);
    put(&made[2]);
    let second = directory.path().join("second.flv");
    let live = engine.stream(source().once()).to(Output::record(&second)).start().expect("a free place");
    live.wait().expect("it ends behind the last one");
    assert_eq!(seen_pictures(&read_flv(&first)), all(&made[..2]));
    assert_eq!(seen_pictures(&read_flv(&second)), all(&made[2..]));
    let left: Vec<_> = fs::read_dir(&spool).expect("it is there").collect();
    assert!(wait_until(PATIENCE, || fs::read_dir(&spool).is_ok_and(|left| left.count() == 1)), "{left:?}");
}

/// Without a pace, a fragment is handed over as fast as it is taken, and no more than one ahead of real time.
#[test]
fn what_is_not_paced_goes_out_at_once() {
    let directory = directory();
    let made = made(directory.path(), 3, 2.0);
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let options = FragmentOptions::default().with(|options| options.pace = FragmentPace::Off);
    let publisher = FragmentPublisher::with_options(options);
    let live = engine.stream(Source::fragments(&publisher)).to(push(&server)).start().expect("a free place");
    let events = live.events();
    let begin = Instant::now();
    for one in &made {
        publisher.push(&one.file).expect("there is room");
    }
    publisher.finish();
    let elapsed = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::FragmentPublished { elapsed, total: 1, .. } => Some(elapsed),
        _ => None,
    });
    // A bystander of this machine: two seconds of media are two seconds when they are paced.
    println!("handed over in {elapsed:?}, {:?} after it was pushed", begin.elapsed());
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    live.wait().expect("it ends well");
    // Three fragments of two seconds: the last one is not begun before the first two would have been played.
    assert!(begin.elapsed() >= Duration::from_secs(4), "{:?}", begin.elapsed());
    let seen: Vec<_> = server.visits().iter().flat_map(|visit| seen_pictures(&visit.tags)).collect();
    assert_eq!(seen, all(&made));
}

/// A server at the end of a link that carries twice what is played gets a burst at that speed, and all of it: what waits on the way is ahead of real
/// time, and not behind.
#[test]
fn a_burst_to_a_slow_server_loses_nothing() {
    let directory = directory();
    let file = directory.path().join("batch.mp4");
    // Seconds of it fit into the buffers on the way.
    let spec = SampleSpec { seconds: 10.0, bitrate: 200_000, ..SampleSpec::default() };
    sample_clip(&file, &spec).expect("libav makes the clip");
    let bytes = fs::metadata(&file).expect("it was made").len();
    let server = Scripted::start_slow(Script::Record, u32::try_from(bytes / 5).expect("it is small"));
    let engine = engine(|_| {});
    let options = FragmentOptions::default().with(|options| options.pace = FragmentPace::Off);
    let publisher = FragmentPublisher::with_options(options);
    let live = engine.stream(Source::fragments(&publisher)).to(push(&server)).start().expect("a free place");
    publisher.push(&file).expect("there is room");
    publisher.finish();
    live.wait_timeout(PATIENCE).expect("it ends").expect("it ends well");
    let stats = live.stats();
    assert_eq!((stats.drops, stats.reconnects), (0, 0), "{stats}");
    println!("{bytes} bytes, handed over in {:?}", publisher.stats().last_elapsed);
    assert!(wait_until(PATIENCE, || server.visits().iter().all(|visit| visit.closed.is_some())));
    let visits = server.visits();
    assert_eq!(visits.len(), 1);
    assert_eq!(seen_pictures(&visits[0].tags), pictures(&file));
}

/// Fragments of different sizes, rates and sounds are encoded to one stream.
#[test]
fn fragments_that_differ_are_encoded_to_one_stream() {
    let directory = directory();
    let engine = engine(|_| {});
    let publisher = FragmentPublisher::new();
    let mut encoding = Encoding::new(Profile::Ultra);
    (encoding.size, encoding.frame_rate) = (Some((160, 90)), Some(FrameRate::whole(25)));
    encoding.gop = Duration::from_secs(1);
    let out = directory.path().join("out.flv");
    let source = Source::fragments(&publisher).mode(Mode::Encode).encoding(encoding);
    let live = engine.stream(source).to(Output::record(&out)).start().expect("a free place");
    let events = live.events();
    for (number, (size, fps, audio)) in [
        ((320, 180), 25, Some((44_100, 2))),
        ((160, 120), 30, Some((48_000, 1))),
        ((320, 180), 25, None),
        ((320, 180), 50, Some((44_100, 2))),
    ]
    .into_iter()
    .enumerate()
    {
        let file = directory.path().join(format!("{number}.mp4"));
        let (width, height) = size;
        let spec =
            SampleSpec { width, height, fps, audio, seconds: 1.2, b_frames: 2, ..SampleSpec::default() };
        sample_clip(&file, &spec).expect("libav makes the clip");
        publisher.push(&file).expect("it is taken");
    }
    publisher.finish();
    live.wait().expect("it ends well");
    wait_published(&events, 4);
    let (video, audio) = assert_one_stream(&out);
    assert!(video <= 82.0 && audio <= 48.0, "gaps of {video} and {audio} ms");
    let frames = decode(&out).frames.len();
    assert!((116..=124).contains(&frames), "{frames} pictures of 4.8 s");
    assert_eq!(publisher.stats().skipped, 0);
}

/// While no fragment comes, the fallback is on the air; it gives back with the next one.
#[test]
fn while_there_is_no_fragment_the_fallback_is_on_the_air() {
    let directory = directory();
    let made = made(directory.path(), 4, 1.2);
    let slate = directory.path().join("slate.mp4");
    let spec = SampleSpec { seconds: 1.0, audio: Some((44_100, 2)), ..SampleSpec::default() };
    sample_clip(&slate, &spec).expect("libav makes the clip");
    let engine = engine(|_| {});
    let publisher = FragmentPublisher::new();
    let fallback = Fallback::file(&slate).after(Duration::from_millis(500));
    let fallback = fallback.steady(Duration::ZERO).at_least(Duration::ZERO);
    let out = directory.path().join("out.flv");
    let live = engine
        .stream(Source::fragments(&publisher).fallback(fallback))
        .to(Output::record(&out))
        .start()
        .expect("a free place");
    let events = live.events();
    publisher.push(&made[0].file).expect("it is taken");
    wait_published(&events, 1);
    wait_event(&events, PATIENCE, |event| {
        matches!(event.kind, EventKind::FallbackBegan { .. }).then_some(())
    });
    assert!(matches!(publisher.health(), FragmentHealth::Bad(_)), "{}", publisher.health());
    let media = live.stats().media_time.as_millis();
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() >= media + 1000), "{}", live.stats());
    for one in &made[1..] {
        publisher.push(&one.file).expect("it is taken");
    }
    publisher.finish();
    live.wait_timeout(PATIENCE).expect("it ends").expect("it ends well");
    assert_eq!(live.stats().fallback.map(|fallback| fallback.times), Some(1));
    let seen = seen_pictures(&read_flv(&out));
    let (first, rest) = (&made[0].pictures, all(&made[1..]));
    assert!(seen.starts_with(first), "the first fragment is whole");
    let returned =
        seen.len() - seen.iter().rev().zip(rest.iter().rev()).take_while(|(one, other)| one == other).count();
    println!("{} of {} pictures behind the fallback", seen.len() - returned, rest.len());
    assert!(seen.len() - returned >= rest.len() - made[1].pictures.len(), "all but one fragment at most");
    assert!(returned >= first.len() + 25, "a second of the fallback is between");
    assert_one_stream(&out);
}

/// Wakes the thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest runtime: a wake-up that is lost is a test that never ends.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Async programs wait for room as threads do; a push that is dropped while it waits is none, and one that is waiting at the end is told.
#[test]
fn an_async_program_pushes_without_a_thread() {
    let directory = directory();
    let made = made(directory.path(), 5, 0.5);
    let engine = engine(|_| {});
    let options = FragmentOptions::default().with(|options| options.fragment_buffer_size = 1);
    let publisher = FragmentPublisher::with_options(options);
    let out = directory.path().join("out.flv");
    // Nobody plays it yet: one is held, the next one waits.
    block_on(publisher.push_async(&made[0].file)).expect("there is room");
    let mut given_up = publisher.push_async(&made[4].file);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut given_up).poll(&mut cx).is_pending());
    drop(given_up);
    let live =
        engine.stream(Source::fragments(&publisher)).to(Output::record(&out)).start().expect("a free place");
    for (number, one) in made.iter().enumerate().skip(1) {
        let pushed = block_on(publisher.push_async(Fragment::path(&one.file).id(number.to_string())));
        assert!(matches!(pushed, Ok(Pushed::Queued { .. })), "{pushed:?}");
        let again = block_on(publisher.push_async(Fragment::path(&one.file).id(number.to_string())));
        assert!(matches!(again, Ok(Pushed::Duplicate)), "{again:?}");
    }
    publisher.finish();
    let late = block_on(publisher.push_async(&made[0].file));
    assert!(matches!(late, Err(Error::Ended)), "{late:?}");
    live.wait().expect("it ends well");
    assert_eq!(seen_pictures(&read_flv(&out)), all(&made));
    let stats = publisher.stats();
    assert!(stats.buffer_full >= 1 && stats.published == 5, "{stats:?}");
}

/// Who waits for room when the stream ends is woken and told, in a task and in a thread.
#[test]
fn who_waits_for_room_is_told_of_the_end() {
    let directory = directory();
    let made = made(directory.path(), 1, 0.5);
    let engine = engine(|_| {});
    let options = FragmentOptions::default().with(|options| options.fragment_buffer_size = 1);
    let publisher = FragmentPublisher::with_options(options);
    let source = Source::fragments(&publisher);
    let live = engine.stream(source).to(Output::record(directory.path().join("out.flv"))).start();
    let live = live.expect("a free place");
    let file = made[0].file.clone();
    let pushing = [false, true].map(|waits_in_a_task| {
        let (publisher, file) = (publisher.clone(), file.clone());
        std::thread::spawn(move || {
            loop {
                let pushed = if waits_in_a_task {
                    block_on(publisher.push_async(&file))
                } else {
                    publisher.push(&file)
                };
                if let Err(error) = pushed {
                    return error;
                }
            }
        })
    });
    assert!(wait_until(PATIENCE, || publisher.stats().buffer_full >= 2));
    live.stop(PATIENCE).expect("it stops");
    for pushing in pushing {
        let error = pushing.join().expect("it does not panic");
        assert!(matches!(error, Error::Ended), "{error}");
    }
}
