//! The demo: a clip is published, another one's sound is mixed under it, and the mix is checked on the other side: its pictures bit for
//! bit, its sound for gaps.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::mix::{MixInput, Mixer};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::{Config, Engine, Output, Playlist, RtmpServerExt, Source};
use serde::Serialize;

use crate::player;
use crate::support::print::{out, round};
use crate::support::{Result, print, process};

const LIMIT: Duration = Duration::from_secs(20);
/// Pictures that are played.
const WANTED: usize = 150;
/// Bytes of a video tag before the picture: frame type and codec, packet type, composition time.
const VIDEO_HEAD: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    frames_played: usize,
    frames_wrong: usize,
    sound_frames: usize,
    largest_sound_gap_ms: i64,
    music_peak_dbfs: f64,
    latency_ms: f64,
    rss_kb: u64,
    drops: u64,
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
    pictures: usize,
    wrong: usize,
    sound: usize,
    last_sound: Option<i64>,
    largest_gap: i64,
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let scratch = Scratch(std::env::temp_dir().join(format!("flowcast-mix-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let (clip, music) = (scratch.0.join("clip.mp4"), scratch.0.join("music.m4a"));
    sample_clip(&clip, &SampleSpec { width: 640, height: 360, fps: 30, ..SampleSpec::default() })?;
    let sound = SampleSpec {
        video: false,
        audio: Some((44_100, 1)),
        audio_seconds: Some(5.0),
        ..SampleSpec::default()
    };
    sample_clip(&music, &sound)?;
    let pictures = pictures(&clip)?;
    out!("made a clip of {} pictures, and music for it", pictures.len())?;

    let engine = Engine::new(Config::default())?;
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    let key = engine.keys().issue("studio")?;
    let mixer = Mixer::new()
        .input("voice", MixInput::source())
        .input("music", MixInput::playlist(Playlist::files([&music])).gain_db(-12.0));
    let mixed =
        engine.stream(Source::published("studio").with_mix(mixer)).to(Output::publish("mix")).start()?;
    let publisher = engine
        .stream(Source::file(&clip).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", server.address()), key))
        .start()?;
    out!("publishes to the server, which offers the mix as rtmp://{}/live/mix", server.address())?;

    let mut seen = Seen::default();
    let mut peak = f64::NEG_INFINITY;
    let handle = mixed.mixer().ok_or("it is mixed")?;
    player::play(&format!("rtmp://{}/live/mix", server.address()), LIMIT, |tag| {
        seen.take(tag, &pictures);
        if tag.is_audio() {
            let music = handle.stats().inputs.into_iter().find(|input| input.name == "music");
            peak = music.map_or(peak, |music| peak.max(music.peak_dbfs));
        }
        seen.pictures < WANTED
    })?;
    let latency = handle.stats().latency;
    let stats = mixed.stop(Duration::from_secs(5))?;
    publisher.stop(Duration::from_secs(5))?;
    server.stop(Duration::from_secs(5));
    out!(
        "played {} pictures, {} of them wrong, and {} frames of sound, at most {} ms apart; the music peaked at {peak:.1} dBFS",
        seen.pictures,
        seen.wrong,
        seen.sound,
        seen.largest_gap
    )?;
    if as_json {
        print::json(&Report {
            frames_played: seen.pictures,
            frames_wrong: seen.wrong,
            sound_frames: seen.sound,
            largest_sound_gap_ms: seen.largest_gap,
            music_peak_dbfs: round(peak, 1),
            latency_ms: round(latency.as_secs_f64() * 1e3, 2),
            rss_kb: process::rss_kb(),
            drops: stats.drops,
        })?;
    }
    if seen.pictures < WANTED || seen.wrong > 0 {
        return Err("pictures were missing or wrong".into());
    }
    if seen.largest_gap > 30 || peak < -60.0 {
        return Err("the mix was not heard without a gap".into());
    }
    out!("every picture is what was published, and the music is under its sound")?;
    Ok(())
}

/// The payload of every picture of a file.
fn pictures(clip: &Path) -> Result<HashSet<Vec<u8>>> {
    let mut demuxer = Demuxer::open(clip, &OpenOptions::default(), &Interrupt::new())?;
    let video =
        demuxer.media().tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
    let mut pictures = HashSet::new();
    while let Some(packet) = demuxer.read()? {
        if Some(packet.track) == video {
            pictures.insert(packet.data.to_vec());
        }
    }
    Ok(pictures)
}

impl Seen {
    fn take(&mut self, tag: &Tag, pictures: &HashSet<Vec<u8>>) {
        if tag.is_sequence_header() || tag.kind == TagKind::Script {
            return;
        }
        if tag.is_audio() {
            self.sound += 1;
            let at = tag.timestamp.as_millis();
            self.largest_gap = self.last_sound.replace(at).map_or(0, |last| self.largest_gap.max(at - last));
            return;
        }
        let body = tag.body.to_bytes();
        self.wrong += usize::from(!pictures.contains(body.get(VIDEO_HEAD..).unwrap_or_default()));
        self.pictures += 1;
    }
}
