//! Another bit rate while a stream is on the air: what is sent changes, and nothing else does; refused where nothing is encoded.

use std::path::Path;
use std::time::Duration;

use flowcast::encode::Adaptation;
use flowcast::stats::{RateReason, SourceMode};
use flowcast::{BitRate, Encoding, Engine, Error, EventKind, Mode, Output, Profile, Source, StreamHandle};
use kit::rig::{engine, engines, wait_event};
use kit::{Clip, PATIENCE, Peer, directory, text, turn, wait_until};

const HIGH: BitRate = BitRate::from_kbps(900);
const LOW: BitRate = BitRate::from_kbps(250);

fn kbps(rate: u64) -> BitRate {
    BitRate::from_kbps(rate)
}

fn recorded(engine: &Engine, clip: &Path, encoding: Encoding, to: &Path) -> StreamHandle {
    let source = Source::file(clip).looped().mode(Mode::Encode).encoding(encoding);
    engine.stream(source).to(Output::record(to)).start().expect("it can be encoded")
}

/// Waits until the stream is this much further than it is.
fn goes_on(stream: &StreamHandle, by: i64) {
    let until = stream.stats().media_time.as_millis() + by;
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() >= until), "{:?}", stream.stats());
}

/// What `ffmpeg` says of a file that it decodes whole: nothing, if it is in order.
fn complaints(file: &Path) -> String {
    let arguments = ["-nostdin", "-v", "error", "-xerror", "-i", text(file), "-f", "null", "-"];
    let mut decoder = Peer::spawn(Path::new("ffmpeg"), arguments);
    decoder.wait_success(PATIENCE);
    decoder.errors()
}

/// Bytes of the pictures of each second of a file.
fn seconds(file: &Path) -> Vec<u64> {
    let entries = ["-show_entries", "packet=pts_time,size", "-of", "csv=p=0"];
    let arguments = [&["-v", "error", "-select_streams", "v"][..], &entries[..], &[text(file)][..]].concat();
    let mut probe = Peer::spawn(Path::new("ffprobe"), arguments);
    probe.wait_success(PATIENCE);
    let mut seconds = Vec::new();
    for line in probe.output().lines() {
        let mut fields = line.split(',');
        let (Some(Ok(time)), Some(Ok(size))) =
            (fields.next().map(str::parse::<f64>), fields.next().map(str::parse::<u64>))
        else {
            continue;
        };
        let second = time as usize;
        seconds.resize(seconds.len().max(second + 1), 0);
        seconds[second] += size;
    }
    seconds
}

/// How like the looped clip each picture of a file is, the worst first: by `ssim`, from 0 to 1, or by `psnr`, in decibels.
fn likeness(file: &Path, clip: &Path, filter: &str) -> Vec<f64> {
    let graph =
        format!("[0:v]setpts=N/25/TB[a];[1:v]setpts=N/25/TB[b];[a][b]{filter}=stats_file=-:shortest=1");
    let (looped, compared) =
        (["-stream_loop", "-1", "-i", text(clip)], ["-lavfi", &graph, "-f", "null", "-"]);
    let arguments = [&["-nostdin", "-v", "error", "-i", text(file)][..], &looped[..], &compared[..]].concat();
    let mut compare = Peer::spawn(Path::new("ffmpeg"), arguments);
    compare.wait_success(PATIENCE);
    let name = if filter == "ssim" { " All:" } else { " psnr_avg:" };
    let line = |line: &str| line.split_once(name)?.1.split_whitespace().next()?.parse::<f64>().ok();
    let mut found: Vec<_> = compare.output().lines().filter_map(line).collect();
    found.sort_by(f64::total_cmp);
    found
}

/// No picture is broken, before a change, after it or in between: the worst is what the lower rate comes to.
fn assert_whole(file: &Path, clip: &Path) {
    for (filter, least) in [("ssim", 0.75), ("psnr", 19.0)] {
        let found = likeness(file, clip, filter);
        assert!(found.len() > 300, "{filter}: {} pictures", found.len());
        println!(
            "{filter}: the worst picture {:.3}, half of them up to {:.3}",
            found[0],
            found[found.len() / 2]
        );
        assert!(found[0] > least, "{filter}: {:?}", &found[..20]);
    }
}

/// Two rates, one after the other, by this encoder; the second that is the smallest, and the first few.
fn two_rates(encoder: &str, change: impl FnOnce(&mut Encoding)) -> (Vec<u64>, String) {
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let file = directory.path().join("rates.flv");
    // What is read ahead is sent before a change shows.
    let engine = engine(|config| config.read_ahead.items = 50);
    let events = engine.events();
    let encoding = Encoding::new(Profile::Ultra).with(|encoding| {
        encoding.video_bit_rate = Some(HIGH);
        change(encoding);
    });
    let stream = recorded(&engine, &clip, encoding, &file);
    goes_on(&stream, 4000);
    stream.set_bitrate(LOW).expect("it is encoded");
    let (from, to) = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::BitRateChanged { from, to, reason: RateReason::Asked, output: None, .. } => {
            Some((from, to))
        }
        _ => None,
    });
    assert_eq!((from, to), (HIGH, LOW));
    goes_on(&stream, 8000);
    let stats = stream.stats();
    let encoding = stats.encoding.as_ref().expect("it encodes");
    assert_eq!((encoding.target, encoding.lowered, encoding.raised), (LOW, 1, 0), "{encoding:?}");
    assert_eq!(encoding.encoder, encoder);
    stream.set_bitrate(HIGH).expect("it is encoded");
    goes_on(&stream, 6000);
    stream.stop(PATIENCE).expect("it ends");
    let (seconds, complaints) = (seconds(&file), complaints(&file));
    assert_whole(&file, &clip);
    println!("{encoder}: {seconds:?}");
    (seconds, complaints)
}

#[test]
fn another_bit_rate_is_sent_from_then_on_and_decoders_have_no_complaint() {
    let _turn = turn();
    // Filler, so that the rate does not depend on what is shown.
    let (seconds, complaints) = two_rates("libx264", |encoding| {
        encoding.filler = true;
        encoding.adaptation = Some(Adaptation::default());
    });
    assert_eq!(complaints, "");
    let (low, high) = (LOW.bps() / 8, HIGH.bps() / 8);
    let near = |bytes: u64, rate: u64| (rate * 3 / 4..rate * 5 / 4).contains(&bytes);
    assert!(near(seconds[2], high), "{seconds:?}");
    let lows = seconds.iter().filter(|bytes| near(**bytes, low)).count();
    assert!(lows >= 4, "{seconds:?}");
    let highs = seconds.iter().rev().skip(1).take_while(|bytes| near(**bytes, high)).count();
    assert!(highs >= 2, "{seconds:?}");
}

#[test]
fn an_encoder_that_keeps_its_rate_is_replaced_at_a_keyframe() {
    let _turn = turn();
    // x264 with the rate in its headers does not change it.
    let (seconds, complaints) = two_rates("libx264", |encoding| encoding.filler = true);
    assert_eq!(complaints, "");
    let (low, high) = (LOW.bps() / 8, HIGH.bps() / 8);
    let lows = seconds.iter().filter(|bytes| **bytes < low * 3 / 2).count();
    let highs = seconds.iter().filter(|bytes| **bytes > high * 3 / 4).count();
    assert!(lows >= 3 && highs >= 4, "{seconds:?}");
}

#[test]
fn a_bit_rate_is_refused_where_nothing_is_encoded_and_where_it_cannot_be() {
    let _turn = turn();
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let file = |name: &str| directory.path().join(name);
    let [(_, direct), (_, reels)] = engines(directory.path());
    let copy = direct
        .stream(Source::file(&clip).looped())
        .to(Output::record(file("copy.flv")))
        .start()
        .expect("it is copied");
    let refused = |stream: &StreamHandle, rate| stream.set_bitrate(rate).expect_err("it is refused");
    goes_on(&copy, 500);
    let error = refused(&copy, LOW);
    assert!(matches!(error, Error::NotEncoded { .. }), "{error:?}");
    assert_eq!((error.code(), error.http_status(), error.is_retryable()), ("NOT_ENCODED", 409, false));
    // From a reel: it was encoded before.
    let encoding = Encoding::new(Profile::Ultra);
    let reel = recorded(&reels, &clip, encoding.clone(), &file("reel.flv"));
    // On a busy machine the first lap is encoded as it plays.
    assert!(wait_until(PATIENCE, || reel.stats().mode == SourceMode::Reel), "{}", reel.stats());
    // What encoded it may still be ending.
    let is_refused = || matches!(reel.set_bitrate(LOW), Err(Error::NotEncoded { .. }));
    assert!(wait_until(PATIENCE, is_refused), "{}", reel.stats());
    // One that follows the network is encoded while it is on the air.
    let adapting = encoding.clone().with(|encoding| encoding.adaptation = Some(Adaptation::default()));
    let live = recorded(&reels, &clip, adapting.clone(), &file("live.flv"));
    assert_eq!(live.stats().mode, SourceMode::Direct);
    goes_on(&live, 500);
    live.set_bitrate(LOW).expect("it is encoded");
    for wrong in [kbps(63), kbps(60_000), kbps(200_000)] {
        let error = refused(&live, wrong);
        assert!(matches!(error, Error::Config { name: "bitrate", .. }), "{error:?}");
    }
    let ended = live.stream();
    live.stop(PATIENCE).expect("it ends");
    assert!(matches!(ended.set_bitrate(LOW), Err(Error::Ended)));
    // What is copied keeps its rate, and settings that cannot work are refused before anything starts.
    let start = |mode, encoding| {
        let source = Source::file(&clip).looped().mode(mode).encoding(encoding);
        direct.stream(source).to(Output::record(file("refused.flv"))).start().map(drop)
    };
    let copied = start(Mode::Copy, adapting.clone()).expect_err("it keeps its rate");
    assert!(copied.to_string().starts_with("encoding.adaptation"), "{copied}");
    let wrong = Adaptation::default().with(|adaptation| adaptation.calm = Duration::from_secs(1));
    let wrong = encoding.with(|encoding| encoding.adaptation = Some(wrong));
    let error = start(Mode::Encode, wrong).expect_err("it cannot work");
    assert!(error.to_string().starts_with("encoding.adaptation.calm"), "{error}");
}
