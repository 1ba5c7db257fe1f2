//! The demo: a clip goes round through the embedded server and is checked frame by frame on the other side.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::{Config, Engine, Output, RtmpServerExt, Source};
use serde::Serialize;

use crate::player;
use crate::support::print::{out, round};
use crate::support::progress::Progress;
use crate::support::{Result, print, process};

const CLIP_SECONDS: f64 = 3.0;
const LAPS: usize = 3;
const LIMIT: Duration = Duration::from_secs(17);
/// Bytes of a video tag before the picture: frame type and codec, packet type, composition time.
const VIDEO_HEAD: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    streams: usize,
    seconds: f64,
    bytes_sent: u64,
    cpu_ms_per_stream_second: f64,
    rss_kb: u64,
    drops: u64,
    reconnects: u64,
    loops: u64,
    frames_played: usize,
    frames_wrong: usize,
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the player saw.
#[derive(Default)]
struct Seen {
    headers: Vec<TagKind>,
    /// Where in the file the player joined.
    origin: Option<usize>,
    video: usize,
    audio: usize,
    first_is_keyframe: Option<bool>,
    wrong_pictures: usize,
    backward: usize,
    last: [Option<i64>; 2],
    largest_gap: [i64; 2],
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let scratch = Scratch(std::env::temp_dir().join(format!("flowcast-demo-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let clip = scratch.0.join("clip.mp4");
    let began = Instant::now();
    out!("{}", flowcast::versions())?;

    let spec = SampleSpec {
        width: 640,
        height: 360,
        fps: 30,
        seconds: CLIP_SECONDS,
        b_frames: 2,
        ..SampleSpec::default()
    };
    sample_clip(&clip, &spec)?;
    let pictures = pictures(&clip)?;
    out!(
        "made a clip: {} frames of {}x{}, {CLIP_SECONDS} s, {} KiB",
        pictures.len(),
        spec.width,
        spec.height,
        std::fs::metadata(&clip)?.len() / 1024
    )?;

    let engine = Engine::new(Config::default())?;
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    let key = engine.keys().issue("demo")?;
    out!("server: rtmp://{}/live/demo", server.address())?;
    let cpu_before = process::cpu_time();
    let live = engine
        .stream(Source::file(&clip).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", server.address()), key))
        .start()?;
    wait_for(|| !engine.keys().active().is_empty() && live.stats().bytes_sent > 0)?;

    let url = format!("rtmp://{}/live/demo", server.address());
    let mut seen = Seen::default();
    let progress = Progress::default();
    let wanted = pictures.len() * LAPS;
    player::play(&url, LIMIT, |tag| {
        seen.take(tag, &pictures);
        progress.show(format!("played {:>3} of {wanted} frames", seen.video));
        seen.video < wanted
    })?;
    progress.clear();

    let cpu = process::cpu_time() - cpu_before;
    let rss_kb = process::rss_kb();
    let stats = live.stop(Duration::from_secs(5))?;
    server.stop(Duration::from_secs(5));
    seen.tell(LAPS)?;
    let seconds = stats.uptime.as_secs_f64();
    out!(
        "sender: {seconds:.1} s, {} KB, {:.0} kbit/s, {:.2} ms of CPU per second, {} drops, {} reconnects, {} laps",
        stats.bytes_sent / 1000,
        stats.bytes_sent as f64 * 8.0 / 1000.0 / seconds,
        stats.cpu_time.as_secs_f64() * 1e3 / seconds,
        stats.drops,
        stats.reconnects,
        stats.laps
    )?;
    out!(
        "the whole process: {:.0} ms of CPU, {} MiB, {:.1} s",
        cpu.as_secs_f64() * 1e3,
        rss_kb / 1024,
        began.elapsed().as_secs_f64()
    )?;
    let verdict = seen.verdict();
    if as_json {
        print::json(&Report {
            streams: 1,
            seconds: round(seconds, 2),
            bytes_sent: stats.bytes_sent,
            cpu_ms_per_stream_second: round(stats.cpu_time.as_secs_f64() * 1e3 / seconds, 4),
            rss_kb,
            drops: stats.drops,
            reconnects: stats.reconnects,
            loops: stats.laps,
            frames_played: seen.video,
            frames_wrong: seen.wrong_pictures,
        })?;
    }
    verdict
}

/// The payload of every video packet of a file, in order.
fn pictures(clip: &Path) -> Result<Vec<Vec<u8>>> {
    let mut demuxer = Demuxer::open(clip, &OpenOptions::default(), &Interrupt::new())?;
    let video =
        demuxer.media().tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
    let mut pictures = Vec::new();
    while let Some(packet) = demuxer.read()? {
        if Some(packet.track) == video {
            pictures.push(packet.data.to_vec());
        }
    }
    Ok(pictures)
}

fn wait_for(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        if Instant::now() > deadline {
            return Err("the stream did not reach the server".into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

impl Seen {
    fn take(&mut self, tag: &Tag, pictures: &[Vec<u8>]) {
        if tag.is_sequence_header() || tag.kind == TagKind::Script {
            self.headers.push(tag.kind);
            return;
        }
        let track = usize::from(tag.is_audio());
        let time = tag.timestamp.as_millis();
        if let Some(last) = self.last[track].replace(time) {
            self.backward += usize::from(time <= last);
            self.largest_gap[track] = self.largest_gap[track].max(time - last);
        }
        if tag.is_audio() {
            self.audio += 1;
            return;
        }
        self.first_is_keyframe.get_or_insert(tag.is_keyframe());
        // The player joined at a keyframe somewhere in the file: from there on every frame is the next one of the file.
        let body = tag.body.to_bytes();
        let payload = body.get(VIDEO_HEAD..).unwrap_or_default();
        let find = || pictures.iter().position(|picture| picture == payload).unwrap_or(0);
        let start = *self.origin.get_or_insert_with(find);
        let expected = &pictures[(start + self.video) % pictures.len()];
        self.wrong_pictures += usize::from(payload != expected.as_slice());
        self.video += 1;
    }

    fn tell(&self, laps: usize) -> Result<()> {
        out!(
            "played {} video and {} audio frames over {} loop points: {} wrong, {} out of order, {} first",
            self.video,
            self.audio,
            laps - 1,
            self.wrong_pictures,
            self.backward,
            if self.first_is_keyframe == Some(true) { "a keyframe" } else { "no keyframe" }
        )?;
        out!(
            "largest distance of two frames: video {} ms, audio {} ms",
            self.largest_gap[0],
            self.largest_gap[1]
        )?;
        Ok(())
    }

    fn verdict(&self) -> Result<()> {
        let has = |kind| self.headers.contains(&kind);
        if !(has(TagKind::Video) && has(TagKind::Audio) && has(TagKind::Script)) {
            return Err("a header is missing".into());
        }
        if self.first_is_keyframe != Some(true) {
            return Err("the first frame was no keyframe".into());
        }
        if self.wrong_pictures + self.backward > 0 {
            return Err("frames were wrong or out of order".into());
        }
        if self.largest_gap[0] > 40 || self.largest_gap[1] > 30 {
            return Err("there was a gap".into());
        }
        out!("everything that was sent arrived, in order and without a gap")?;
        Ok(())
    }
}
