//! What the figures say of a list on the air, of an output from its first moment, and of what it recovered from.

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::stats::{OutputPhase, OutputTransport, Playing};
use flowcast::{BitRate, EventKind, Playlist, Source};
use kit::rig::{Known, both_ways, engine, push, wait_event, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// A clip of this many seconds, with sound, or sound alone.
fn clip(directory: &Path, name: &str, seconds: f64, video: bool) -> PathBuf {
    let file = directory.join(name);
    let spec = SampleSpec { seconds, video, gop_frames: 12, ..SampleSpec::default() };
    sample_clip(&file, &spec).expect("libav makes the clip");
    file
}

fn is_length_of(playing: &Playing, seconds: f64) -> bool {
    playing.length.is_some_and(|length| (length.as_secs_f64() - seconds).abs() < 0.1)
}

#[test]
fn a_list_says_which_item_plays_and_where_with_the_event_that_begins_it() {
    both_ways(|mode, engine, directory| {
        let one = clip(directory, "one.mp4", 2.0, true);
        let other = clip(directory, "other.mp4", 3.0, true);
        let list = Playlist::files([&one, &other]);
        let items = list.items();
        let (say, said) = mpsc::channel();
        let watch = engine.watch();
        let subscription = engine.on_event(move |event| {
            if let EventKind::ItemStarted { path } = &event.kind {
                let stats = watch.stats().into_iter().find(|stats| stats.id == event.stream);
                let _ = say.send((path.clone(), stats));
            }
        });
        let live = engine
            .stream(Source::playlist(list))
            .record(directory.join("on-air.flv"))
            .start()
            .expect("it starts");
        let second = loop {
            let (path, stats) = said.recv_timeout(PATIENCE).expect("an item begins");
            let playing = stats.expect("the stream runs").playing;
            if let Some(playing) = playing.filter(|playing| path == other && playing.path == other) {
                break playing;
            }
            assert_ne!(path, other, "{mode}: the figures lag behind the event");
        };
        assert_eq!(second.item, Some(items[1].id), "{mode}");
        assert!(is_length_of(&second, 3.0), "{mode}: {second:?}");
        assert!(second.position < Duration::from_secs(2), "{mode}: {second:?}");
        let later = || live.stats().playing.filter(|now| now.path == other && now.position > second.position);
        assert!(wait_until(PATIENCE, || later().is_some()), "{mode}: {:?}", live.stats().playing);
        assert_eq!(live.stats().playing_sound, None, "{mode}");
        subscription.cancel();
        live.stop(PATIENCE).expect("it stops");
    });
}

#[test]
fn a_looped_file_begins_again_at_its_beginning_and_its_sound_has_a_place_of_its_own() {
    both_ways(|mode, engine, directory| {
        let file = clip(directory, "loop.mp4", 2.0, true);
        let song = clip(directory, "song.mp4", 30.0, false);
        let songs = Playlist::files([&song]);
        let items = songs.items();
        let live = engine
            .stream(Source::video(&file).looped().with_audio(songs))
            .record(directory.join("looped.flv"))
            .start()
            .expect("it starts");
        let events = live.events();
        wait_event(&events, PATIENCE, |event| {
            matches!(event.kind, EventKind::Looped { laps: 2 }).then_some(())
        });
        let stats = live.stats();
        let playing = stats.playing.clone().expect("it plays");
        assert!(playing.item.is_none() && playing.path == file, "{mode}: {playing:?}");
        assert!(is_length_of(&playing, 2.0), "{mode}: {playing:?}");
        assert!(playing.position <= Duration::from_millis(2600), "{mode}: {playing:?} in {stats}");
        // A song that is cut no faster than it is played has no length before it is cut.
        let sound = || live.stats().playing_sound.filter(|sound| sound.length.is_some());
        assert!(wait_until(PATIENCE * 3, || sound().is_some()), "{mode}: {:?}", live.stats().playing_sound);
        let sound = sound().expect("it was there");
        assert_eq!((&sound.path, sound.item), (&song, Some(items[0].id)), "{mode}");
        assert!(is_length_of(&sound, 30.0), "{mode}: {sound:?}");
        assert!(sound.position >= Duration::from_secs(2), "{mode}: {sound:?} after two laps");
        live.stop(PATIENCE).expect("it stops");
    });
}

#[test]
fn an_output_is_in_the_figures_at_once_and_forgets_what_it_recovered_from() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let mut server = Scripted::start(Script::Record);
    server.down();
    let began = SystemTime::now();
    let recording = clip.beside("recording.flv");
    let stream = engine.stream(Source::file(&clip.file).looped()).record(&recording);
    let live = stream.start().expect("it starts");
    let events = live.events();
    let transports: Vec<_> = live.stats().outputs.iter().map(|output| output.transport).collect();
    assert_eq!(transports, [OutputTransport::File]);
    let id = live.add_output(push(&server)).expect("it is added");
    let output = || live.stats().outputs.into_iter().find(|output| output.id == id);
    let at_once = output().expect("it is shown as soon as it is there");
    assert_eq!(at_once.transport, OutputTransport::Rtmp);
    assert!(at_once.name.starts_with("rtmp://") && !at_once.name.contains("a-stream-key"), "{at_once:?}");
    let error = wait_retry(&events, id, PATIENCE);
    assert!(wait_until(PATIENCE, || output().is_some_and(|output| output.last_error.is_some())));
    let failed = output().expect("it is shown");
    let failure = failed.last_error.clone().expect("it failed");
    assert_eq!((failure.code, &failure.text), (error.code(), &flowcast::error::chain(&error)));
    assert!(failed.failures >= 1 && (began..=SystemTime::now()).contains(&failure.at), "{failed:?}");
    server.up();
    let recovered =
        || output().filter(|output| output.phase == OutputPhase::Live && output.bit_rate > BitRate::ZERO);
    assert!(wait_until(PATIENCE, || recovered().is_some()), "{:?}", output());
    let recovered = recovered().expect("it is on the air");
    assert_eq!(recovered.last_error, None);
    assert!(recovered.failures >= failed.failures, "{recovered:?}");
    let sum: u64 = live.stats().outputs.iter().map(|output| output.bytes_sent).sum();
    assert!(
        sum > 0 && live.stats().outputs.iter().all(|output| output.bit_rate < BitRate::from_mbps(1000.0)),
        "{:?}",
        live.stats()
    );
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn events_say_when_they_happened_and_end_with_the_engine() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let began = SystemTime::now();
    let events = engine.events();
    let live = engine.stream(Source::file(&clip.file)).record(clip.beside("once.flv")).start();
    live.expect("it starts").wait().expect("it plays to its end");
    let limit = Instant::now() + PATIENCE;
    drop(engine);
    let told: Vec<_> = events.collect();
    assert!(Instant::now() < limit);
    let names: Vec<_> = told.iter().map(|event| event.kind.name()).collect();
    assert!(names.contains(&"started") && names.last() == Some(&"ended"), "{names:?}");
    for event in &told {
        assert!((began..=SystemTime::now()).contains(&event.at), "{event}");
        assert!(event.to_string().ends_with(&format!(": {}", event.kind)), "{event}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn pushes_and_recordings_are_collected_with_their_stream_and_no_key() {
    use flowcast::server::StreamMetrics;
    use flowcast::server::prometheus_client::encoding::text::encode;
    use flowcast::server::prometheus_client::registry::Registry;

    let clip = Known::small();
    let engine = engine(|_| {});
    let server = Scripted::start(Script::Record);
    let stream = engine.stream(Source::file(&clip.file).looped()).to(push(&server));
    let stream = stream.record(clip.beside("collected.flv")).to(flowcast::Output::publish("collected"));
    let live = stream.start().expect("it starts");
    let mut registry = Registry::default();
    registry.register_collector(Box::new(StreamMetrics::new(engine.watch())));
    let page = || {
        let mut page = String::new();
        encode(&mut page, &registry).expect("it is written");
        page
    };
    let line = |name: &str, transport: &str| {
        let page = page();
        let labels = |line: &&str| {
            line.starts_with(&format!("{name}{{stream=\"{}\"", live.stream().id()))
                && line.contains(transport)
        };
        let value = page.lines().find(labels)?.rsplit_once(' ')?.1.parse::<f64>();
        Some(value.expect("a number"))
    };
    let moves = |transport: &str| {
        line("output_live", transport) == Some(1.0)
            && line("output_bits_per_second", transport).is_some_and(|bits| bits > 0.0)
            && line("output_sent_bytes", transport).is_some_and(|bytes| bytes > 0.0)
    };
    let all = ["transport=\"rtmp\"", "transport=\"file\""];
    assert!(wait_until(PATIENCE, || all.iter().all(|transport| moves(transport))), "{}", page());
    assert!(line("stream_fps", "").is_some_and(|fps| fps > 0.0), "{}", page());
    let page = page();
    assert!(!page.contains("hub") && !page.contains("a-stream-key") && !page.contains("127."), "{page}");
    live.stop(PATIENCE).expect("it stops");
}
