//! What is encoded to another rate and another size while it is on the air, played with HLS by hls.js in Chromium: while it is on the air, and when it has ended.

use std::path::Path;
use std::time::Duration;

use flowcast::encode::QualityLadder;
use flowcast::output::{FileFormat, Hls};
use flowcast::playlist::ParameterChange;
use flowcast::{BitRate, Encoding, Mode, Output, Playlist, Profile, Source, StreamHandle};
use kit::rig::engine;
use kit::{Clip, Need, PATIENCE, Peer, Web, checkout, directory, need, turn, wait_until};

use crate::ladder::Burning;

fn goes_on(stream: &StreamHandle, by: i64) {
    let until = stream.stats().media_time.as_millis() + by;
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() >= until), "{}", stream.stats());
}

/// A browser that plays from the beginning until it has shown two sizes.
fn player(url: &str) -> Peer {
    let script = checkout().join("scripts/plays_hls_in_chromium.py");
    Peer::spawn(&script, [url, "--begin", "0", "--seconds", "6", "--sizes", "2"])
}

/// It has played both, and had no holes to get over. How often it waited says how busy this machine is.
#[track_caller]
fn assert_played(who: &str, mut player: Peer) {
    let succeeded = player.wait(3 * PATIENCE).success();
    let said = player.output();
    println!("{who}: {said}");
    assert!(succeeded, "{who}: {said}");
    let word = |name: &str| said.split_once(name).and_then(|(_, rest)| rest.split([',', '}']).next());
    let hole: f64 = word("\"hole_s\": ").and_then(|hole| hole.parse().ok()).expect("it says that");
    assert!(hole < 0.03, "{who}: {said}");
    let errors =
        said.split_once("\"errors\": [").and_then(|(_, rest)| rest.split(']').next()).expect("it says that");
    // What comes late is asked for again. MPEG-TS begins when the first picture is decoded, and that is shown a little later.
    let late = ["bufferStalledError", "fragLoadTimeOut", "levelLoadTimeOut"];
    let is_begin = |of: &str| of.starts_with("bufferSeekOverHole") && of.contains("seeking from 0 to 0.");
    let others: Vec<_> = errors
        .split('"')
        .filter(|of| !matches!(*of, "" | ", ") && !late.contains(of) && !is_begin(of))
        .collect();
    assert!(others.is_empty(), "{who}: {said}");
}

/// An output of MP4, and one of MPEG-TS.
fn hls(at: &Path) -> [Output; 2] {
    [FileFormat::Mp4, FileFormat::MpegTs].map(|format| {
        let hls = Hls::directory(at.join(format.as_str())).target_duration(Duration::from_secs(1)).event();
        Output::hls(hls.format(format))
    })
}

/// With pictures that are shown in another order than they are decoded.
#[test]
fn a_browser_plays_on_where_files_of_other_sizes_are_copied() {
    if !need(&[Need::Ffmpeg, Need::Chromium, Need::HlsJs]) {
        return;
    }
    let _turn = turn();
    let directory = directory();
    let at = directory.path();
    let clips = [(320, 180), (640, 360)]
        .map(|size| Clip { size, ..Clip::default() }.make(at, &format!("{}.mp4", size.0)));
    let engine = engine(|_| {});
    let source = Source::playlist(Playlist::files(clips).on_change(ParameterChange::Allow));
    let live = engine.stream(source).outputs(hls(at)).start().expect("it starts");
    goes_on(&live, 9000);
    live.stop(PATIENCE).expect("it runs");
    let web = Web::start(at);
    for format in ["mp4", "mpegts"] {
        assert_played(format, player(&web.url(&format!("/{format}/index.m3u8"))));
    }
}

#[test]
fn a_browser_plays_on_where_the_rate_and_the_size_change() {
    if !need(&[Need::Ffmpeg, Need::Chromium, Need::HlsJs]) {
        return;
    }
    let _turn = turn();
    let directory = directory();
    let at = directory.path();
    let clip = Clip { size: (640, 360), ..Clip::default() }.make(at, "clip.mp4");
    let engine = engine(|config| {
        config.read_ahead.items = 50;
        config.ladder = Some(QualityLadder::default().with(|ladder| {
            (ladder.lower_percent, ladder.raise_percent) = (10, 1);
        }));
    });
    let encoding = Encoding::new(Profile::Default).with(|encoding| {
        encoding.video_bit_rate = Some(BitRate::from_kbps(1200));
        encoding.gop = Duration::from_secs(1);
    });
    let source = Source::file(&clip).looped().mode(Mode::Encode).encoding(encoding);
    let live = engine.stream(source).outputs(hls(at));
    let live = live.start().expect("it can be encoded");
    let web = Web::start(at);
    let segments = || {
        std::fs::read_to_string(at.join("mp4/index.m3u8")).map_or(0, |text| text.matches("#EXTINF").count())
    };
    // On a busy machine the size changes before a browser is there: it begins at the beginning.
    assert!(wait_until(PATIENCE, || segments() >= 1), "{}", live.stats());
    let on_air = player(&web.url("/mp4/index.m3u8"));
    goes_on(&live, 2000);
    live.set_bitrate(BitRate::from_kbps(400)).expect("it is encoded");
    goes_on(&live, 2000);
    let burning = Burning::start();
    let rung = || live.stats().encoding.map_or(0, |encoding| encoding.rung);
    assert!(wait_until(PATIENCE, || rung() == 3), "{}", live.stats());
    goes_on(&live, 3000);
    drop(burning);
    live.stop(PATIENCE).expect("it was not lost");
    assert_played("MP4, on the air", on_air);
    for format in ["mp4", "mpegts"] {
        assert_played(format, player(&web.url(&format!("/{format}/index.m3u8"))));
    }
}
