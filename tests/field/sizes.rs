//! Another size of picture while a stream is on the air: each output goes on, and `ffmpeg` decodes every picture of both sizes from what was sent
//! or written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::output::{FileFormat, Hls};
use flowcast::playlist::ParameterChange;
use flowcast::stats::OutputPhase;
use flowcast::{Engine, Output, Playlist, RtmpServerExt, Source, StreamHandle};
use kit::rig::{engine, quickly};
use kit::{
    Clip, FfmpegListen, Need, Nginx, PATIENCE, Shown, SrtListener, directory, ffmpeg_play, need, shown,
    wait_until,
};

/// Of pictures that are reordered the last ones may be missing where a stream was stopped.
const REORDERED: usize = 4;
/// From one keyframe to the next.
const GOP: usize = 25;

/// Two clips of two seconds, the second twice as wide and twice as high, and what is shown of them.
struct Sizes {
    source: Source,
    lap: Vec<Shown>,
}

impl Sizes {
    fn make(at: &Path) -> Self {
        let made = [("small.mp4", (320, 180)), ("large.mp4", (640, 360))]
            .map(|(name, size)| Clip { size, gop: GOP as u32, ..Clip::default() }.make(at, name));
        let lap = made.iter().flat_map(|file| shown(file)).collect();
        let source = Source::playlist(Playlist::files(made).on_change(ParameterChange::Allow));
        Self { source, lap }
    }

    /// These are its pictures, one after another, from a keyframe on, over two changes at least.
    #[track_caller]
    fn assert_all(&self, who: &str, pictures: &[Shown]) {
        let pictures = &pictures[..pictures.len().saturating_sub(REORDERED)];
        assert!(pictures.len() > self.lap.len(), "{who}: {} pictures", pictures.len());
        let first = self.lap.iter().position(|of| of.checksum == pictures[0].checksum);
        let first = first.unwrap_or_else(|| panic!("{who}: {:?} is in no clip", pictures[0]));
        assert_eq!(first % GOP, 0, "{who}: it begins with a keyframe");
        for (number, picture) in pictures.iter().enumerate() {
            let next = &self.lap[(first + number) % self.lap.len()];
            assert!(
                (picture.size, &picture.checksum) == (next.size, &next.checksum),
                "{who}: picture {number}, {picture:?}, is not the next one, {next:?}"
            );
        }
    }
}

/// Times go on, without a hole.
#[track_caller]
fn assert_times(who: &str, pictures: &[Shown]) {
    let steps: Vec<_> = pictures.windows(2).map(|pair| pair[1].millis - pair[0].millis).collect();
    assert!(steps.iter().all(|step| (1..=100).contains(step)), "{who}: {steps:?}");
}

/// The files of a recording, in order.
fn parts(first: &Path) -> Vec<PathBuf> {
    let (name, extension) = (first.with_extension(""), first.extension().unwrap_or_default().to_owned());
    let next = (1..).map(|number| format!("{}-{number}", name.display()));
    let next = next.map(|name| PathBuf::from(name).with_extension(&extension));
    [first.to_owned()].into_iter().chain(next).take_while(|file| file.exists()).collect()
}

fn goes_on_to(live: &StreamHandle, millis: i64) {
    let is_there = || live.stats().media_time.as_millis() >= millis;
    assert!(wait_until(PATIENCE, is_there), "{}", live.stats());
}

fn start(engine: &Engine, source: &Source, outputs: Vec<Output>) -> StreamHandle {
    let live = engine.stream(source.clone()).outputs(outputs).start().expect("it starts");
    let is_live = || live.stats().outputs.iter().all(|output| output.phase == OutputPhase::Live);
    assert!(wait_until(PATIENCE, is_live), "{}", live.stats());
    live
}

/// What an output lost because this machine gave its peer no time is lost up to a keyframe: then the pictures are not judged.
fn drops(live: &StreamHandle) -> Vec<u64> {
    let stats = live.stats();
    assert!(stats.outputs.iter().all(|output| output.failures == 0), "{stats}");
    let drops: Vec<_> = stats.outputs.iter().map(|output| output.drops).collect();
    assert!(drops.contains(&0), "none of them can be judged: {stats}");
    drops
}

#[test]
fn what_is_recorded_has_every_picture_of_both_sizes() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let at = directory.path();
    let (sizes, engine) = (Sizes::make(at), engine(|config| config.backlog.keep = Duration::from_secs(30)));
    let recorded = ["flv", "mp4", "mkv", "ts"].map(|extension| at.join("recorded").with_extension(extension));
    let played = [FileFormat::Mp4, FileFormat::MpegTs].map(|format| (at.join(format.as_str()), format));
    let hls = |(at, format): &(PathBuf, FileFormat)| {
        let hls = Hls::directory(at).target_duration(Duration::from_secs(1)).event();
        Output::hls(hls.format(*format))
    };
    let outputs: Vec<_> = recorded.iter().map(Output::record).chain(played.iter().map(hls)).collect();
    let live = start(&engine, &sizes.source, outputs);
    goes_on_to(&live, 9000);
    let drops = drops(&live);
    let clip = live.clip(at.join("clip.mp4"), Duration::from_secs(6), PATIENCE).expect("it is kept");
    assert!(clip.more.len() >= 2, "{clip:?}");
    let files = [&clip.path].into_iter().chain(&clip.more);
    sizes.assert_all("clip", &files.flat_map(|file| shown(file)).collect::<Vec<_>>());
    live.stop(PATIENCE).expect("it runs");
    for (file, _) in recorded.iter().zip(&drops).filter(|(_, drops)| **drops == 0) {
        let who = file.extension().unwrap_or_default().to_string_lossy();
        let files = parts(file);
        // FLV says another size in the same file.
        assert_eq!(files.len() > 1, who != "flv", "{files:?}");
        let mut pictures = Vec::new();
        for file in files {
            let part = shown(&file);
            assert_times(&who, &part[..part.len().saturating_sub(REORDERED)]);
            assert!(who == "flv" || part.iter().all(|picture| picture.size == part[0].size), "{file:?}");
            pictures.extend(part);
        }
        sizes.assert_all(&who, &pictures);
    }
    for ((directory, format), _) in
        played.iter().zip(&drops[recorded.len()..]).filter(|(_, drops)| **drops == 0)
    {
        let (playlist, who) = (directory.join("index.m3u8"), format!("HLS, {format}"));
        let said = std::fs::read_to_string(&playlist).expect("a playlist");
        let changes = said.matches("#EXT-X-DISCONTINUITY\n").count();
        let headers = said.matches("#EXT-X-MAP").count();
        assert!(changes >= 3, "{who}: {said}");
        assert_eq!(headers, if *format == FileFormat::Mp4 { changes + 1 } else { 0 }, "{who}: {said}");
        let pictures = shown(&playlist);
        assert_times(&who, &pictures[..pictures.len().saturating_sub(REORDERED)]);
        sizes.assert_all(&who, &pictures);
        // Players put what is behind a change where the playlist says.
        let lengths = said.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
        let told: f64 = lengths.filter_map(|length| length.parse::<f64>().ok()).sum();
        let played = pictures.len() as f64 / 25.0;
        assert!((told - played).abs() < 0.15, "{who}: {told} s of {played} s: {said}");
    }
}

#[test]
fn what_is_sent_has_every_picture_of_both_sizes_in_one_connection() {
    if !need(&[Need::Ffmpeg, Need::Nginx, Need::Srt]) {
        return;
    }
    let directory = directory();
    let at = directory.path();
    let (sizes, engine) = (Sizes::make(at), engine(|_| {}));
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    let (nginx, mut ffmpeg) = (Nginx::start(&["live"]), FfmpegListen::start("live", "sizes"));
    let mut srt = SrtListener::start("latency=2000");
    let outputs = vec![
        Output::rtmp(&format!("rtmp://{}/live", nginx.address), "sizes"),
        Output::rtmp(&format!("rtmp://{}/live", ffmpeg.address), "sizes"),
        Output::url(&format!("srt://{}?latency=2000000", srt.address())).reconnect(quickly()),
        Output::publish("sizes"),
    ];
    let live = start(&engine, &sizes.source, outputs);
    let played = at.join("played.flv");
    let mut player = ffmpeg_play(&format!("rtmp://{}/live/sizes", server.address()), &played, None);
    let is_playing = || std::fs::metadata(&played).is_ok_and(|facts| facts.len() > 10_000);
    assert!(wait_until(PATIENCE, is_playing), "{}", player.report());
    let from = live.stats().media_time.as_millis();
    goes_on_to(&live, from + 9000);
    let drops = drops(&live);
    live.stop(PATIENCE).expect("it runs");
    srt.process().interrupt(PATIENCE);
    player.wait(PATIENCE);
    let files = [nginx.recording("live", "sizes"), ffmpeg.finish(PATIENCE).to_owned(), srt.file(), played];
    for ((who, file), _) in
        ["nginx", "ffmpeg", "SRT", "player"].iter().zip(files).zip(drops).filter(|(_, drops)| *drops == 0)
    {
        let pictures = shown(&file);
        assert_times(who, &pictures[..pictures.len().saturating_sub(REORDERED)]);
        sizes.assert_all(who, &pictures);
    }
}
