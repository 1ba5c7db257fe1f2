//! A publisher whose picture and sound are encoded on their way into a recording, with the `ffmpeg` program at both ends.
#![cfg(feature = "libav")]

use std::path::Path;
use std::time::Duration;

use flowcast::encode::EncoderChoice;
use flowcast::stats::EncodingStats;
use flowcast::{Config, Encoding, Engine, Mode, Output, Profile, RtmpServerExt, Source};
use kit::bystander::Others;
use kit::{Need, Peer, ffmpeg7, need, run, wait_until};
#[cfg(feature = "metrics")]
use {flowcast::StreamHandle, flowcast::server::EncoderMetrics};

const PATIENCE: Duration = Duration::from_secs(60);

/// Pictures that an encoder may have left out without a fault of its own: as many as it says, if others had the machine meanwhile.
fn excused(dropped: u64, others: &Others) -> u64 {
    if others.share() >= 0.5 { dropped } else { dropped.min(10) }
}

/// What came of a publication that was recorded.
struct Outcome {
    /// The recording's streams, as ffprobe tells them.
    told: Vec<String>,
    /// How many pictures may be missing because the machine was too slow for them.
    excused: u64,
    encoded: EncodingStats,
}

/// Publishes with this program and these codecs, and records what it is encoded to.
fn publish(program: &Path, codecs: &str) -> Outcome {
    let others = Others::watch();
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("studio.flv");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    engine.keys().add("studio", "studio-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    // Little work, so that a busy machine has the time for it.
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.size = Some((160, 90));
    encoding.preset = Some("ultrafast".to_owned());
    encoding.encoder = EncoderChoice::Software;
    let source = Source::published("studio").once().mode(Mode::Encode).encoding(encoding);
    let live = engine.stream(source).to(Output::record(&file)).start().expect("a free place");
    let url = format!("rtmp://{}/live/studio-key", server.address());
    let publisher = format!(
        "-nostdin -v error -re -f lavfi -i testsrc2=size=320x180:rate=25:duration=4 -f lavfi -i \
         sine=frequency=440:sample_rate=22050:duration=4 -g 25 -pix_fmt yuv420p {codecs} -c:a aac -f flv {url}"
    );
    let mut publisher = Peer::spawn(program, publisher.split_whitespace());
    #[cfg(feature = "metrics")]
    watch(&engine, &live);
    publisher.wait_success(PATIENCE);
    live.wait_timeout(PATIENCE).expect("it ends with the publication").expect("it runs well");
    let encoded = live.stats().encoding.expect("it was encoded");
    assert_eq!((encoded.encoder.as_str(), encoded.damaged), ("libx264", 0), "{codecs}: {encoded:?}");
    let name = file.to_str().expect("a path in UTF-8");
    let entries = "stream=codec_name,width,height,sample_rate,channels,nb_read_frames";
    let asked = ["-v", "error", "-count_frames", "-show_entries", entries, "-of", "default=nk=1:nw=1", name];
    Outcome {
        told: run("ffprobe", asked, PATIENCE).lines().map(str::to_owned).collect(),
        excused: excused(encoded.dropped, &others),
        encoded,
    }
}

fn check(codecs: &str, outcome: &Outcome) {
    let Outcome { told, excused, encoded } = outcome;
    assert_eq!(told[..3], ["h264", "160", "90"], "{codecs}: {told:?}");
    let frames: u64 = told[3].parse().expect("a number");
    assert!(
        (10..=100).contains(&frames) && frames + excused >= 80,
        "{codecs}: {frames} of 100, {excused} excused: it begins with a keyframe that comes after the stream; {encoded:?}"
    );
    assert_eq!(told[4..7], ["aac", "48000", "2"], "{codecs}: {told:?}");
}

#[test]
fn a_publication_is_encoded_into_a_recording() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let codecs = "-c:v libx264 -preset ultrafast -bf 2";
    check(codecs, &publish(Path::new("ffmpeg"), codecs));
}

/// Twice the same publisher: the second time it says nothing that the stream does not know.
#[test]
fn a_publisher_that_comes_again_is_encoded_again() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    engine.keys().add("studio", "studio-key").expect("a usable key");
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.encoder = EncoderChoice::Software;
    let source = Source::published("studio").mode(Mode::Encode).encoding(encoding);
    let record = Output::record(directory.path().join("studio.flv"));
    let live = engine.stream(source).to(record).start().expect("a free place");
    let url = format!("rtmp://{}/live/studio-key", server.address());
    let publisher = format!(
        "-nostdin -v error -re -f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -f lavfi -i \
         sine=frequency=440:sample_rate=44100:duration=2 -g 25 -pix_fmt yuv420p -c:v libx264 -preset \
         ultrafast -c:a aac -f flv {url}"
    );
    let others = Others::watch();
    for round in 1..=2 {
        Peer::spawn(Path::new("ffmpeg"), publisher.split_whitespace()).wait_success(PATIENCE);
        let frames =
            || live.stats().encoding.map_or(0, |encoded| encoded.frames + excused(encoded.dropped, &others));
        assert!(wait_until(PATIENCE, || frames() >= 40 * round), "{round}: {}", live.stats());
    }
    live.stop(PATIENCE).expect("it runs well");
}

/// FFmpeg 7.1 publishes them over Enhanced RTMP.
#[test]
fn newer_codecs_are_encoded_to_what_everybody_takes() {
    if !need(&[Need::Ffmpeg, Need::Ffmpeg7]) {
        return;
    }
    for codecs in [
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=2",
        "-c:v libsvtav1 -preset 12 -svtav1-params lp=1",
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8",
    ] {
        check(codecs, &publish(&ffmpeg7(), codecs));
    }
}

/// The figures of the encoder, as long as it is at work.
#[cfg(feature = "metrics")]
fn watch(engine: &Engine, live: &StreamHandle) {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    let page = |most: Option<usize>| {
        let (metrics, mut registry) = (EncoderMetrics::new(engine), Registry::default());
        registry.register_collector(Box::new(match most {
            Some(most) => metrics.streams(most),
            None => metrics,
        }));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes everything");
        text
    };
    let value = |text: &str, name: &str, stream: &str, encoder: &str| {
        let wanted = format!("{name}{{stream=\"{stream}\",encoder=\"{encoder}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&wanted)?.parse::<f64>().ok())
    };
    let stream = live.id().to_string();
    let is_at_work = || value(&page(None), "encoder_fps", &stream, "libx264").is_some_and(|fps| fps > 5.0);
    assert!(wait_until(PATIENCE, is_at_work), "{}\n{}", page(None), live.stats());
    let text = page(None);
    let of =
        |name: &str| value(&text, name, &stream, "libx264").unwrap_or_else(|| panic!("no {name} in\n{text}"));
    assert!((50_000.0..8_000_000.0).contains(&of("encoder_bitrate")), "{text}");
    assert!(of("encoder_queue_size") <= 200.0 && of("encoder_dropped_frames") >= 0.0, "{text}");
    assert_eq!(of("flowcast_encoder_rung"), 0.0, "{text}");
    let reason = format!("{{stream=\"{stream}\",encoder=\"libx264\",reason=\"behind\"}} ");
    assert!(text.contains(&format!("flowcast_encoder_drops{reason}")), "{text}");
    assert!((0.0..10.0).contains(&of("encoder_rtmp_latency")), "{text}");
    for name in ["flowcast_encode_seconds", "flowcast_encoder_wait_seconds", "flowcast_encoded_lag_seconds"] {
        assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{text}");
        let count = of(&format!("{name}_count"));
        let all = format!("{name}_bucket{{le=\"+Inf\",stream=\"{stream}\",encoder=\"libx264\"}} ");
        let in_all = text.lines().find_map(|line| line.strip_prefix(&all)?.parse::<f64>().ok());
        // A recording is never behind.
        let is_counted = count > 0.0 || name.ends_with("lag_seconds");
        assert!(is_counted && in_all == Some(count), "{name}: {in_all:?} of {count}\n{text}");
    }
    let others = page(Some(0));
    assert!(value(&others, "encoder_fps", "(others)", "(others)").is_some(), "{others}");
    assert_eq!(value(&others, "encoder_fps", &stream, "libx264"), None, "{others}");
}
