//! Loudness: what receivers get of items that differ, measured by FFmpeg.

use std::path::{Path, PathBuf};

use flowcast::av::Interrupt;
use flowcast::loudness::{Loudness, LoudnessFacts};
use flowcast::stats::SourceMode;
use flowcast::verdict::{Action, TrackVerdict};
use flowcast::{
    Config, Engine, Error, EventKind, Events, Mode, Output, Playlist, ReelStore, Source, StreamHandle,
};
use kit::rig::wait_event;
use kit::{
    Clip, FfmpegListen, Need, PATIENCE, Peer, directory, make, media, need, packet_hashes, text, wait_until,
};

use crate::assert_one_stream;

/// How long an item is, in seconds.
const LENGTH: u32 = 3;

/// Integrated loudness and true peak by FFmpeg, of a part of a file in seconds, if not of all of it.
pub(crate) fn measured(file: &Path, part: Option<(f64, f64)>) -> (f64, f64) {
    let cut = part.map_or_else(String::new, |(from, to)| {
        format!("asetpts=PTS-STARTPTS,atrim=start={from}:end={to},asetpts=PTS-STARTPTS,")
    });
    let filter = format!("{cut}ebur128=peak=true");
    let arguments =
        ["-nostdin", "-nostats", "-hide_banner", "-i", text(file), "-map", "0:a:0", "-af", &filter];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments.into_iter().chain(["-f", "null", "-"]));
    ffmpeg.wait_success(PATIENCE);
    let said = ffmpeg.errors();
    let summary = said.rsplit("Summary:").next().expect("a text").to_owned();
    let figure = |label: &str| -> f64 {
        let line = summary.lines().find_map(|line| line.trim().strip_prefix(label));
        let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        figure.unwrap_or_else(|| panic!("no {label} in {said}"))
    };
    (figure("I:"), figure("Peak:"))
}

/// A clip whose sound is noise of this loudness, in LUFS: even, or in bursts three times a second.
fn item(directory: &Path, number: usize, lufs: f64) -> PathBuf {
    let shape = if number.is_multiple_of(2) { "anull" } else { "tremolo=f=3:d=0.9" };
    let noise = |gain: f64| {
        format!(
            "-f lavfi -t {LENGTH} -i anoisesrc=c=pink:r=48000:a=0.5:seed={number},aformat=channel_layouts=stereo,{shape},volume={gain:.2}dB"
        )
    };
    let (mut gain, mut is) = (0.0, measured(&make(directory, &format!("{number}.wav"), &noise(0.0)), None).0);
    let picture = format!("-f lavfi -t {LENGTH} -i testsrc2=size=320x180:rate=25");
    // FFmpeg's encoder of AAC makes nothing that is as loud as the loudest masters.
    let codec = if lufs > -10.0 { "flac -sample_fmt s16 -strict -2" } else { "aac -b:a 192k" };
    let encoded = format!("-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -threads 1 -c:a {codec}");
    // A loud one is clipped when it is encoded, and needs more than that.
    for _ in 0..5 {
        gain += lufs - is;
        let file = make(directory, &format!("{number}.mp4"), &format!("{picture} {} {encoded}", noise(gain)));
        is = measured(&file, None).0;
        if (is - lufs).abs() < 0.5 {
            return file;
        }
    }
    panic!("{is} LUFS, meant to be {lufs}");
}

fn wait_media(live: &StreamHandle, seconds: f64) {
    let begin = live.stats().media_time.as_millis() as f64;
    let done =
        wait_until(3 * PATIENCE, || live.stats().media_time.as_millis() as f64 >= begin + seconds * 1000.0);
    assert!(done, "{}", live.stats());
}

/// What was told of loudness so far.
fn told(events: &Events) -> (Vec<(PathBuf, LoudnessFacts, f64)>, usize) {
    let (mut leveled, mut unknown) = (Vec::new(), 0);
    while let Some(event) = events.next_timeout(std::time::Duration::ZERO) {
        match event.kind {
            EventKind::Leveled { path, loudness, gain_db } => leveled.push((path, loudness, gain_db)),
            EventKind::LoudnessUnknown { .. } => unknown += 1,
            _ => {}
        }
    }
    (leveled, unknown)
}

#[test]
fn ten_items_from_30_to_6_lufs_below_zero_arrive_within_1_lu_of_the_target_and_unclipped() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let levels = [-6.0, -30.0, -9.0, -27.0, -12.0, -24.0, -15.0, -21.0, -14.0, -18.0];
    let items: Vec<PathBuf> =
        levels.iter().enumerate().map(|(number, lufs)| item(directory.path(), number, *lufs)).collect();
    for (item, level) in items.iter().zip(levels) {
        // Known before they are played, whatever else this machine does.
        let facts = LoudnessFacts::measure(item, &Interrupt::new()).expect("it has sound");
        let (lufs, dbtp) = measured(item, None);
        println!("{}: {facts:?}, by FFmpeg {lufs} LUFS, {dbtp} dBTP", item.display());
        assert!((lufs - level).abs() < 0.6, "{}: {lufs} LUFS, meant to be {level}", item.display());
        assert!((facts.integrated_lufs - lufs).abs() <= 0.1, "{facts:?}, by FFmpeg {lufs} LUFS");
        assert!((facts.true_peak_dbtp - dbtp).abs() <= 0.3, "{facts:?}, by FFmpeg {dbtp} dBTP");
    }
    let mut listener = FfmpegListen::start("live", "leveled");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let source = Source::playlist(Playlist::files(&items).once()).leveled(Loudness::default());
    let url = listener.url.trim_end_matches("/leveled").to_owned();
    let events = engine.events();
    let live = engine.stream(source).to(Output::rtmp(&url, "leveled")).start().expect("it starts");
    let length = f64::from(LENGTH) * items.len() as f64;
    live.wait_timeout(4 * PATIENCE).unwrap_or_else(|| panic!("{}", live.stats())).expect("it runs well");
    let file = listener.finish(PATIENCE).to_owned();
    let (leveled, unknown) = told(&events);
    let paths: Vec<_> = leveled.iter().map(|(path, ..)| path.clone()).collect();
    assert_eq!((&paths, unknown), (&items, 0), "{leveled:?}");
    assert_one_stream(&file);
    let mut sent = items.iter().flat_map(|item| packet_hashes(item, "v"));
    let came = packet_hashes(&file, "v");
    assert!(
        came.iter().all(|hash| sent.any(|sent| sent == *hash)),
        "pictures are those of the items, in order"
    );
    assert!(came.len() as f64 >= 25.0 * (length - 1.0), "{} pictures", came.len());
    for (number, level) in levels.iter().enumerate() {
        let from = f64::from(LENGTH) * number as f64;
        let (lufs, dbtp) = measured(&file, Some((from + 0.3, from + f64::from(LENGTH) - 0.3)));
        println!("{level} LUFS: received {lufs} LUFS, {dbtp} dBTP");
        assert!((lufs + 14.0).abs() <= 1.0, "item {number} of {level} LUFS: {lufs} LUFS");
        // What AAC adds at 128 kbit/s.
        assert!(dbtp <= -1.0 + 0.9, "item {number} of {level} LUFS: {dbtp} dBTP");
    }
}

#[test]
fn a_loop_is_leveled_from_its_reel_and_its_picture_is_copied() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = item(directory.path(), 1, -26.0);
    let mut config = Config::default();
    config.reels = Some(ReelStore::new(directory.path().join("reels")));
    let mut first = None;
    // The second time it is found there, and says again what it was made of.
    for run in 0..2 {
        let engine = Engine::new(config.clone()).expect("a usable directory");
        let file = directory.path().join(format!("{run}.flv"));
        let source = Source::file(&clip).looped().leveled(Loudness::default());
        let events = engine.events();
        let live = engine.stream(source).record(&file).start().expect("it starts");
        assert!(wait_until(3 * PATIENCE, || live.stats().mode == SourceMode::Reel), "{}", live.stats());
        wait_media(&live, 2.5 * f64::from(LENGTH));
        live.stop(PATIENCE).expect("it runs well");
        let (leveled, _) = told(&events);
        let (path, facts, gain) = leveled.last().expect("it was told");
        assert_eq!(path, &clip);
        assert!(
            (facts.integrated_lufs + 26.0).abs() < 0.6 && (*gain - 12.0).abs() < 0.6,
            "{facts:?}, {gain}"
        );
        assert_eq!(first.get_or_insert(leveled.last().cloned()), &leveled.last().cloned());
        let (pictures, sound) = assert_one_stream(&file);
        assert!(pictures <= 41.0 && sound <= 24.0, "gaps of {pictures} and {sound} ms");
        let (sent, came) = (packet_hashes(&clip, "v"), packet_hashes(&file, "v"));
        let begin = sent.iter().position(|hash| Some(hash) == came.first()).expect("a picture of the clip");
        let laps = sent.iter().cycle().skip(begin);
        assert!(came.iter().zip(laps).all(|(came, sent)| came == sent), "pictures are copied");
        let recorded = came.len() as f64 / 25.0;
        let (lufs, dbtp) = measured(&file, Some((recorded - 2.0 * f64::from(LENGTH), recorded)));
        assert!((lufs + 14.0).abs() <= 1.0 && dbtp <= -0.1, "{lufs} LUFS, {dbtp} dBTP");
    }
}

#[test]
fn what_would_be_copied_is_encoded_and_a_verdict_says_so() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let file = directory.path().join("recorded.flv");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let quiet = Loudness::default().with(|loudness| loudness.target_lufs = -30.0);
    let events = engine.events();
    let source = Source::file(&clip).mode(Mode::Auto).leveled(quiet);
    let live = engine.stream(source).record(&file).start().expect("it starts");
    let verdict = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::Judged { verdict, .. } => Some(verdict.clone()),
        _ => None,
    });
    assert_eq!((verdict.video, verdict.audio), (TrackVerdict::Copy, TrackVerdict::Encode), "{verdict:?}");
    assert_ne!(verdict.action, Action::Copy);
    let details: Vec<_> = verdict.reasons.iter().map(|reason| reason.detail.as_str()).collect();
    assert!(details.iter().any(|detail| detail.contains("loudness")), "{details:?}");
    live.wait_timeout(3 * PATIENCE).expect("it ends").expect("it runs well");
    assert_eq!(packet_hashes(&file, "v"), packet_hashes(&clip, "v"));
    let (lufs, _) = measured(&file, None);
    let (leveled, unknown) = told(&events);
    assert!(unknown > 0 || (leveled.len() == 1 && (lufs + 30.0).abs() <= 1.0), "{lufs} LUFS, {leveled:?}");
}

#[test]
fn a_setting_without_effect_or_that_cannot_work_is_refused() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let refused = |source: Source| match engine.stream(source).to(Output::record("never.flv")).start() {
        Err(Error::Config { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let wrong = Loudness::default().with(|loudness| loudness.target_lufs = 0.0);
    assert_eq!(refused(Source::file("a.mp4").leveled(wrong)), "loudness.target_lufs");
    for source in
        [Source::published("studio"), Source::url("rtmp://localhost/live/a"), Source::fragments_in(".")]
    {
        assert_eq!(refused(source.leveled(Loudness::default())), "leveled");
    }
}

/// Compares with FFmpeg.
fn compare(file: &Path) {
    let Ok(facts) = LoudnessFacts::measure(file, &Interrupt::new()) else { return };
    let (lufs, dbtp) = measured(file, None);
    println!("{}: {facts:?}, by FFmpeg {lufs} LUFS, {dbtp} dBTP", file.display());
    assert!((facts.integrated_lufs - lufs.max(-70.0)).abs() <= 0.15, "{}", file.display());
    assert!((facts.true_peak_dbtp - dbtp.max(-90.0)).abs() <= 0.4, "{}", file.display());
}

#[test]
fn real_footage_is_as_loud_as_ffmpeg_measures_it() {
    if let (true, Some(file)) = (need(&[Need::Ffmpeg]), media("bigbuckbunny.mp4")) {
        compare(&file);
    }
}

#[test]
#[ignore = "decodes all of the test media twice"]
fn all_test_media_are_as_loud_as_ffmpeg_measures_them() {
    let Some(first) = media("bigbuckbunny.mp4") else { return };
    let mut folders = vec![first.parent().expect("a folder").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in kit::files(&folder) {
            if entry.is_dir() { folders.push(entry) } else { compare(&entry) }
        }
    }
}
