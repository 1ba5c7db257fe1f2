//! Several sizes of one source: all have the same times and keyframes, decoders have no complaint, and what becomes of one is no matter of the others.

use std::path::Path;

use flowcast::encode::Rendition;
use flowcast::stats::SourceMode;
use flowcast::{
    BitRate, Encoding, Engine, EventKind, Mode, Output, Profile, ReelStore, RtmpServerExt, Source,
    StreamHandle,
};
use kit::rig::{engine, wait_event};
use kit::{Clip, PATIENCE, Peer, directory, ffmpeg_publish, text, wait_until};

use crate::air::alone;

/// The clip: 2 s with a keyframe each second, so that those of the renditions, every half second, are of their own.
const CLIP: Clip = Clip { seconds: 6, rate: 25, gop: 25, b_frames: 2, audio: true, size: (640, 360) };

fn encoding() -> Encoding {
    Encoding::new(Profile::Ultra).with(|encoding| encoding.gop = std::time::Duration::from_millis(800))
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

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
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
    let _turn = alone();
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
    assert!((145..=151).contains(&times.len()), "{times:?}");
    // Every 800 ms.
    let steps: Vec<i64> =
        keys.windows(2).map(|two| ((number(&two[1]) - number(&two[0])) * 1000.0).round() as i64).collect();
    assert!(steps.len() >= 6 && steps.iter().all(|step| *step == 800), "{keys:?}");
    for name in ["240p", "square"] {
        assert_eq!(pictures(&file(name)), (times.clone(), keys.clone()), "{name}");
    }
    // A recording begins where its first picture is decoded: with B-frames that is before it is shown.
    let (of_source, _) = pictures(&file("source"));
    let since_first = |times: &[String]| -> Vec<i64> {
        times.iter().map(|time| ((number(time) - number(&times[0])) * 1000.0).round() as i64).collect()
    };
    assert_eq!(since_first(&of_source), since_first(&times), "and so has the source");
    let sound = |name| probe(&file(name), "a", &["-show_entries", "packet=pts_time,size"]);
    assert!(!sound("360p").is_empty());
    assert_eq!(sound("360p"), sound("240p"), "of the same sound");
    let sizes = |name| probe(&file(name), "a", &["-show_entries", "packet=size"]);
    assert!(sizes("source").ends_with(&sizes("360p")), "it fits, so it was not encoded");
    for (name, stream) in &streams {
        assert_decodes(&file(name));
        let encoding = stream.stats().encoding;
        assert_eq!(encoding.is_some(), name != "source", "{name}: {encoding:?}");
    }
}

#[test]
fn a_rendition_that_fails_is_stopped_or_comes_late_leaves_the_others() {
    let _turn = alone();
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
    let at = whole.stats().media_time.as_millis();
    assert!(passes(&whole, at + 4000), "{}", whole.stats());
    assert!(passes(&late, at + 3000), "{}", late.stats());
    // Its rate is its own.
    late.set_bitrate(BitRate::from_kbps(100)).expect("it is encoded");
    let target = |stream: &StreamHandle| stream.stats().encoding.map(|encoding| encoding.target);
    assert!(wait_until(PATIENCE, || target(&late) == Some(BitRate::from_kbps(100))), "{}", late.stats());
    assert!(target(&whole) > Some(BitRate::from_kbps(500)), "{}", whole.stats());
    for stream in [whole, late] {
        stream.stop(PATIENCE).expect("it ends");
    }
    large.stop(PATIENCE).expect("it waited for smaller sources");
    for name in ["360p", "240p", "180p"] {
        assert_decodes(&file(name));
    }
    let (times, keys) = pictures(&file("360p"));
    let longest = times.windows(2).map(|two| number(&two[1]) - number(&two[0])).fold(0.0, f64::max);
    assert!(longest < 0.042, "nothing is missing: {longest}");
    // Both files begin with their own first keyframe; from there on they are alike.
    let (_, later) = pictures(&file("180p"));
    let step = number(&keys[1]) - number(&keys[0]);
    assert!(later.len() >= 3, "{later:?}");
    let is_step = |two: &[String]| (number(&two[1]) - number(&two[0]) - step).abs() < 0.002;
    assert!(keys.windows(2).chain(later.windows(2)).all(is_step), "{keys:?} {later:?}");
}

#[test]
fn reels_of_a_file_in_several_sizes_have_keyframes_at_equal_times() {
    let _turn = alone();
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
fn what_is_published_comes_in_several_sizes_each_time() {
    let _turn = alone();
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
    for (_, stream) in streams {
        stream.stop(PATIENCE).expect("it runs well");
    }
    let file = |name: &str| directory.path().join(format!("{name}.flv"));
    let [one, other] = ["240p", "180p"].map(|name| {
        assert_decodes(&file(name));
        pictures(&file(name))
    });
    assert_eq!((size(&file("240p")), size(&file("180p"))), ("426,240".to_owned(), "320,180".to_owned()));
    // One was stopped before the other.
    let alike = |one: &[String], other: &[String]| one.iter().zip(other).all(|(one, other)| one == other);
    assert!(alike(&one.1, &other.1), "keyframes: {one:?} {other:?}");
    assert!(alike(&one.0, &other.0), "pictures: {one:?} {other:?}");
}
