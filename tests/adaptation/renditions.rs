//! Several sizes of one source: all have the same times and keyframes, decoders have no complaint, and what becomes of one is no matter of the others.

use std::path::Path;
use std::time::Duration;

use flowcast::encode::Rendition;
use flowcast::state::{RestoreOptions, Snapshot};
use flowcast::stats::{SourceMode, StreamStats};
use flowcast::{
    BitRate, Encoding, Engine, EventKind, Mode, Output, Profile, ReelStore, RtmpServerExt, Source,
    StreamHandle, StreamRef,
};
use kit::rig::{engine, wait_event};
use kit::{Clip, PATIENCE, Peer, directory, ffmpeg_publish, text, turn, wait_until};

/// The clip: 2 s with a keyframe each second, so that those of the renditions, every half second, are of their own.
const CLIP: Clip = Clip { seconds: 6, rate: 25, gop: 25, b_frames: 2, audio: true, size: (640, 360) };

fn encoding() -> Encoding {
    Encoding::new(Profile::Ultra).with(|encoding| encoding.gop = Duration::from_millis(800))
}

/// Starts each of them, to a recording of its name.
fn record(
    engine: &Engine,
    source: Source,
    all: impl IntoIterator<Item = Rendition>,
    to: &Path,
) -> Vec<(String, StreamHandle)> {
    let ladder = source.encoding(encoding()).renditions(all).expect("they can be encoded");
    let start = |(name, source): (String, Source)| {
        let file = to.join(format!("{name}.flv"));
        let stream = engine.stream(source).to(Output::record(file)).start().expect("a free place");
        (name, stream)
    };
    ladder.into_iter().map(start).collect()
}

/// What `ffprobe` says of the first track of a kind, one line for each entry.
fn probe(file: &Path, track: &str, entries: &[&str]) -> Vec<String> {
    let base = ["-v", "error", "-select_streams", track];
    let arguments = [&base[..], entries, &["-of", "csv=p=0", text(file)][..]].concat();
    let mut probe = Peer::spawn(Path::new("ffprobe"), arguments);
    probe.wait_success(PATIENCE);
    probe.output().lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
}

fn size(file: &Path) -> String {
    probe(file, "v", &["-show_entries", "stream=width,height"]).concat()
}

/// Times of all pictures, and of those that are keyframes.
fn pictures(file: &Path) -> (Vec<String>, Vec<String>) {
    let lines = probe(file, "v", &["-show_entries", "packet=pts_time,flags"]);
    let time = |line: &String| line.split(',').next().unwrap_or_default().to_owned();
    let keys = lines.iter().filter(|line| line.contains(",K")).map(time).collect();
    let mut all: Vec<String> = lines.iter().map(time).collect();
    all.sort_by(|one, other| number(one).total_cmp(&number(other)));
    (all, keys)
}

/// Times from the first one on, in milliseconds.
fn since_first(times: &[String]) -> Vec<i64> {
    times.iter().map(|time| ((number(time) - number(&times[0])) * 1000.0).round() as i64).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// Pictures, of 25 a second, that are missing between those that are there.
fn missing(times: &[String]) -> u64 {
    let places = |two: &[String]| ((number(&two[1]) - number(&two[0])) * 25.0).round() as u64;
    times.windows(2).map(|two| places(two).saturating_sub(1)).sum()
}

/// What was left out, by the encoder or on the way to an output, since the machine had no time for it.
fn left_out(stats: &StreamStats) -> u64 {
    let encoding = stats.encoding.as_ref();
    stats.drops + encoding.map_or(0, |of| of.drops.iter().map(|(_, count)| count).sum())
}

/// Decodes a file whole; `ffmpeg` says nothing if it is in order.
fn assert_decodes(file: &Path) {
    let arguments = ["-nostdin", "-v", "error", "-xerror", "-i", text(file), "-f", "null", "-"];
    let mut decoder = Peer::spawn(Path::new("ffmpeg"), arguments);
    decoder.wait_success(PATIENCE);
    assert_eq!(decoder.errors(), "", "{}", file.display());
}

#[test]
fn renditions_of_a_file_have_equal_times_and_keyframes_and_the_sizes_that_were_asked_for() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.mp4");
    let engine = engine(|_| {});
    let all = [
        Rendition::lines(360),
        Rendition::lines(240).bit_rate(BitRate::from_kbps(300)),
        Rendition::size(160, 160).named("square"),
        Rendition::source(),
    ];
    let streams = record(&engine, Source::file(&clip), all, directory.path());
    for (name, stream) in &streams {
        stream
            .wait_timeout(PATIENCE)
            .expect("it ends with the file")
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    assert_eq!(
        ["360p", "240p", "square", "source"].map(|name| size(&file(name))),
        ["640,360", "426,240", "160,160", "640,360"]
    );
    let (times, keys) = pictures(&file("360p"));
    let lost: u64 = streams.iter().map(|(_, stream)| left_out(&stream.stats())).sum();
    println!("left out: {lost}");
    // What its stream says was left out may be missing at the end, too.
    let (shown, own) = (times.len() as u64, left_out(&streams[0].1.stats()));
    assert!(shown <= 151 && shown + own >= 145, "{own} left out: {times:?}");
    // Every 800 ms.
    let steps: Vec<i64> =
        keys.windows(2).map(|two| ((number(&two[1]) - number(&two[0])) * 1000.0).round() as i64).collect();
    assert!(lost > 0 || steps.len() >= 6 && steps.iter().all(|step| *step == 800), "{keys:?}");
    for name in ["240p", "square"] {
        // What one of them had no time for is only missing there.
        let other = pictures(&file(name));
        assert!(lost > 0 || other == (times.clone(), keys.clone()), "{name}: {other:?}, {times:?} {keys:?}");
    }
    // A recording begins where its first picture is decoded: with B-frames that is before it is shown.
    let (of_source, _) = pictures(&file("source"));
    assert!(
        lost > 0 || since_first(&of_source) == since_first(&times),
        "and so has the source: {of_source:?}"
    );
    let sound = |name| probe(&file(name), "a", &["-show_entries", "packet=pts_time,size"]);
    assert!(!sound("360p").is_empty());
    assert_eq!(sound("360p"), sound("240p"), "of the same sound");
    let sizes = |name| probe(&file(name), "a", &["-show_entries", "packet=size"]);
    let (of_source, copied) = (sizes("source"), sizes("360p"));
    // What there was no time for is missing; the rest is in order.
    let mut rest = of_source.iter();
    let is_there = copied.iter().all(|size| rest.any(|other| other == size));
    assert!(is_there && (lost > 0 || of_source.ends_with(&copied)), "it fits, so it was not encoded");
    for (name, stream) in &streams {
        assert_decodes(&file(name));
        let encoding = stream.stats().encoding;
        assert_eq!(encoding.is_some(), name != "source", "{name}: {encoding:?}");
    }
}

#[test]
fn a_rendition_that_fails_is_stopped_or_comes_late_leaves_the_others() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.mp4");
    let engine = engine(|_| {});
    let events = engine.events();
    let all = [Rendition::lines(360), Rendition::lines(720), Rendition::lines(240), Rendition::lines(180)];
    let ladder =
        Source::file(&clip).looped().encoding(encoding()).renditions(all).expect("they can be encoded");
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    let start = |name: &str| {
        let source = ladder.get(name).cloned().expect("it is one of them");
        engine.stream(source).to(Output::record(file(name))).start().expect("a free place")
    };
    let [whole, large, stopped] = ["360p", "720p", "240p"].map(start);
    let fault = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::SourceFault { error } if event.stream == large.id() => Some(error.to_string()),
        _ => None,
    });
    assert!(fault.contains("larger than the source"), "{fault}");
    let passes = |stream: &StreamHandle, millis: i64| {
        wait_until(PATIENCE, || stream.stats().media_time.as_millis() >= millis)
    };
    assert!(passes(&stopped, 1500), "{}", stopped.stats());
    stopped.stop(PATIENCE).expect("it ends");
    let late = start("180p");
    // Its times are those of the others, and it begins some time after it is started.
    assert!(passes(&late, 1), "{}", late.stats());
    let at = late.stats().media_time.as_millis();
    for stream in [&whole, &late] {
        assert!(passes(stream, at + 4000), "{}", stream.stats());
    }
    // Its rate is its own.
    late.set_bitrate(BitRate::from_kbps(100)).expect("it is encoded");
    let target = |stream: &StreamHandle| stream.stats().encoding.map(|encoding| encoding.target);
    assert!(wait_until(PATIENCE, || target(&late) == Some(BitRate::from_kbps(100))), "{}", late.stats());
    assert!(target(&whole) > Some(BitRate::from_kbps(500)), "{}", whole.stats());
    let [whole, late] = [whole, late].map(|stream| left_out(&stream.stop(PATIENCE).expect("it ends")));
    println!("left out: {whole} of the first, {late} of the late one");
    large.stop(PATIENCE).expect("it waited for smaller sources");
    for name in ["360p", "240p", "180p"] {
        assert_decodes(&file(name));
    }
    let (times, keys) = pictures(&file("360p"));
    assert!(missing(&times) <= whole, "of {} nothing is missing but {whole}: {times:?}", times.len());
    // Both files begin with their own first keyframe; from there on they are alike.
    let (_, later) = pictures(&file("180p"));
    let step = number(&keys[1]) - number(&keys[0]);
    assert!(later.len() >= 3, "{later:?}");
    let is_step = |two: &[String]| (number(&two[1]) - number(&two[0]) - step).abs() < 0.002;
    let are_steps = keys.windows(2).chain(later.windows(2)).all(is_step);
    assert!(are_steps || whole + late > 0, "{keys:?} {later:?}");
}

#[test]
fn reels_of_a_file_in_several_sizes_have_keyframes_at_equal_times() {
    let _turn = turn();
    let directory = directory();
    // A lap is no multiple of the GOP.
    let clip = Clip { seconds: 2, ..CLIP }.make(directory.path(), "clip.mp4");
    let engine = engine(|config| config.reels = Some(ReelStore::new(directory.path().join("reels"))));
    let names = ["360p", "180p"];
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    let streams = names.map(|name| {
        let size = if name == "360p" { (640, 360) } else { (320, 180) };
        let encoding = encoding().with(|encoding| encoding.size = Some(size));
        let source = Source::file(&clip).looped().mode(Mode::Encode).encoding(encoding);
        engine.stream(source).to(Output::record(file(name))).start().expect("a free place")
    });
    let is_reel = |stream: &StreamHandle| {
        wait_until(PATIENCE, || {
            let stats = stream.stats();
            stats.mode == SourceMode::Reel && stats.media_time.as_millis() > 6500
        })
    };
    for stream in &streams {
        assert!(is_reel(stream), "{}", stream.stats());
    }
    for stream in streams {
        stream.stop(PATIENCE).expect("it runs well");
    }
    let [(one, keys), (other, other_keys)] = names.map(|name| pictures(&file(name)));
    let laps: Vec<i64> = keys.iter().take(9).map(|time| (number(time) * 1000.0).round() as i64).collect();
    assert_eq!(laps, [0, 800, 1600, 2000, 2800, 3600, 4000, 4800, 5600], "in each lap");
    assert!(keys.iter().zip(&other_keys).all(|(one, other)| one == other), "{keys:?} {other_keys:?}");
    assert!(one.iter().zip(&other).all(|(one, other)| one == other), "{one:?} {other:?}");
}

#[test]
fn renditions_of_a_looped_file_are_encoded_once_and_keep_in_step() {
    let _turn = turn();
    let directory = directory();
    // A lap is no multiple of the GOP.
    let clip = Clip { seconds: 3, ..CLIP }.make(directory.path(), "clip.mp4");
    let store = || ReelStore::new(directory.path().join("reels"));
    let engine = engine(|config| config.reels = Some(store()));
    let events = engine.events();
    let all = || [Rendition::lines(360), Rendition::lines(180), Rendition::source(), Rendition::lines(240)];
    let ladder =
        || Source::file(&clip).looped().encoding(encoding()).renditions(all()).expect("they can be encoded");
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    let of_first = ladder();
    let start = |name: &str, to: &str| {
        let source = of_first.get(name).cloned().expect("it is one of them");
        engine.stream(source).to(Output::record(file(to))).start().expect("a free place")
    };
    let streams = ["360p", "180p", "source"].map(|name| start(name, name));
    let passes = |stream: &StreamHandle, millis: i64| {
        wait_until(PATIENCE, || stream.stats().media_time.as_millis() >= millis)
    };
    for stream in &streams {
        assert!(passes(stream, 7000), "{}", stream.stats());
        assert_eq!(stream.stats().mode, SourceMode::Reel, "{}", stream.stats());
    }
    let position = |stream: &StreamHandle| {
        let playing = stream.stats().playing.expect("it plays a file");
        playing.position.as_secs_f64()
    };
    // One that comes later is where the others are.
    let late = start("240p", "late");
    assert!(passes(&late, 1000), "{}", late.stats());
    let is_near = || {
        let (one, other) = (position(&streams[0]), position(&late));
        let apart = (one - other).rem_euclid(3.0);
        apart.min(3.0 - apart) < 0.5
    };
    assert!(wait_until(PATIENCE, is_near), "{} and {}", streams[0].stats(), late.stats());
    // What has replaced the file is shown by all of them from one lap on.
    let other = Clip { seconds: 2, size: (640, 360), ..CLIP }.make(directory.path(), "other.mp4");
    std::fs::rename(&other, &clip).expect("one folder");
    let mut replaced = 0;
    wait_event(&events, PATIENCE, |event| {
        replaced += usize::from(matches!(event.kind, EventKind::SourceReplaced { .. }));
        (replaced == streams.len()).then_some(())
    });
    for stream in streams.iter().chain([&late]) {
        let until = stream.stats().media_time.as_millis() + 3000;
        assert!(passes(stream, until), "{}", stream.stats());
    }
    for stream in streams.into_iter().chain([late]) {
        stream.stop(PATIENCE).expect("it runs well");
    }
    for name in ["360p", "180p", "source", "late"] {
        assert_decodes(&file(name));
    }
    let [(one, keys), (two, two_keys), (of_source, _)] =
        ["360p", "180p", "source"].map(|name| pictures(&file(name)));
    let alike = |one: &[String], other: &[String]| one.iter().zip(other).all(|(one, other)| one == other);
    assert!(alike(&keys, &two_keys) && keys.len() > 12, "{keys:?} {two_keys:?}");
    assert!(alike(&one, &two), "{one:?} {two:?}");
    // With B-frames its first picture is decoded before it is shown: its recording begins later.
    let (of_encoded, of_source) = (since_first(&one), since_first(&of_source));
    assert!(
        of_encoded.iter().zip(&of_source).all(|(one, other)| one == other),
        "{of_encoded:?} {of_source:?}"
    );
    // In each lap.
    let laps: Vec<i64> = keys.iter().take(8).map(|time| (number(time) * 1000.0).round() as i64).collect();
    assert_eq!(laps, [0, 800, 1600, 2400, 3000, 3800, 4600, 5400]);
    let (_, late_keys) = pictures(&file("late"));
    let of_gop = late_keys.windows(2).all(|two| number(&two[1]) - number(&two[0]) < 0.802);
    assert!(of_gop && late_keys.len() > 4, "{late_keys:?}");
    // Larger than the source: refused when it is started, and no other waits for it.
    let larger = Source::file(&clip).looped().renditions([Rendition::lines(720)]).expect("it may be smaller");
    let source = larger.get("720p").cloned().expect("it is there");
    let refused = engine.stream(source).to(Output::record(file("720p"))).start().expect_err("it is larger");
    assert!(refused.to_string().contains("larger than the source"), "{refused}");
}

#[test]
fn renditions_of_a_looped_file_that_are_restored_go_on_together() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.mp4");
    let new = || engine(|config| config.reels = Some(ReelStore::new(directory.path().join("reels"))));
    let all = [Rendition::lines(360), Rendition::lines(180)];
    let ladder =
        Source::file(&clip).looped().encoding(encoding()).renditions(all).expect("they can be encoded");
    let before = new();
    let start = |(_, source): (String, Source)| {
        before.stream(source).without_outputs().start().expect("a free place").detach()
    };
    let streams: Vec<_> = ladder.into_iter().map(start).collect();
    let passes = |stream: &StreamRef, millis: i64| {
        wait_until(PATIENCE, || stream.stats().media_time.as_millis() >= millis)
    };
    assert!(streams.iter().all(|stream| passes(stream, 2500)));
    let mut snapshot = before.snapshot();
    before.shutdown(PATIENCE);
    let mut later = snapshot.clone();
    later.streams = snapshot.streams.split_off(1);
    let place = snapshot.streams[0].place.clone().expect("it plays a file").offset;
    assert!(place >= Duration::from_secs(1), "{place:?}");
    let after = new();
    let options = RestoreOptions::default().with(|options| options.guard = None);
    let restore = |snapshot: Snapshot| {
        let restored = after.restore(snapshot, &options);
        assert!(restored.failed.is_empty() && restored.started.len() == 1, "{restored:?}");
        restored.started[0].clone()
    };
    let position = |stream: &StreamRef| stream.stats().playing.map(|playing| playing.position.as_secs_f64());
    let one = restore(snapshot);
    assert!(wait_until(PATIENCE, || position(&one).is_some()), "{}", one.stats());
    let first = position(&one).expect("it plays a file");
    assert!(first + 0.8 >= place.as_secs_f64(), "{first}, and it was at {place:?}");
    // It does not wait for the other one any more.
    assert!(passes(&one, 500), "{}", one.stats());
    let other = restore(later);
    assert!(passes(&other, 500), "{}", other.stats());
    let are_near = || {
        let apart =
            position(&one).zip(position(&other)).map_or(3.0, |(one, other)| (one - other).rem_euclid(6.0));
        apart.min(6.0 - apart) < 0.5
    };
    assert!(wait_until(PATIENCE, are_near), "{} and {}", one.stats(), other.stats());
    after.shutdown(PATIENCE);
}

#[test]
fn what_is_published_comes_in_several_sizes_each_time() {
    let _turn = turn();
    let directory = directory();
    let clip = CLIP.make(directory.path(), "clip.flv");
    let engine = engine(|_| {});
    engine.keys().add("studio", "studio-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let all = [Rendition::lines(240), Rendition::lines(180)];
    let streams = record(&engine, Source::published("studio"), all, directory.path());
    let url = format!("rtmp://{}/live/studio-key", server.address());
    for round in 1..=2 {
        let frames = |stream: &StreamHandle| stream.stats().encoding.map_or(0, |encoding| encoding.frames);
        let wanted = streams.iter().map(|(_, stream)| frames(stream)).max().unwrap_or(0) + 120;
        let mut publisher = ffmpeg_publish(&clip, &url, 1000);
        for (name, stream) in &streams {
            assert!(wait_until(PATIENCE, || frames(stream) >= wanted), "{name}, {round}: {}", stream.stats());
        }
        publisher.interrupt(PATIENCE);
    }
    let stop = |(_, stream): (String, StreamHandle)| left_out(&stream.stop(PATIENCE).expect("it runs well"));
    let lost: u64 = streams.into_iter().map(stop).sum();
    println!("left out: {lost}");
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    let [one, other] = ["240p", "180p"].map(|name| {
        assert_decodes(&file(name));
        pictures(&file(name))
    });
    assert_eq!((size(&file("240p")), size(&file("180p"))), ("426,240".to_owned(), "320,180".to_owned()));
    // One was stopped before the other.
    let alike = |one: &[String], other: &[String]| one.iter().zip(other).all(|(one, other)| one == other);
    // What one of them had no time for is only missing there.
    assert!(lost > 0 || alike(&one.1, &other.1), "keyframes: {one:?} {other:?}");
    assert!(lost > 0 || alike(&one.0, &other.0), "pictures: {one:?} {other:?}");
}
