//! The demo: what is drawn goes round through the embedded server, and is decoded and read on the other side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast::av::{Codec, DecoderOptions, Packet, TimeBase, TrackInfo, TrackKind, VideoDecoder, VideoFrame};
use flowcast::rtmp::flv::Tag;
use flowcast::rtmp::flv::coded::{Part, coded};
use flowcast::{Config, Engine, Output, Profile, RtmpServerExt};
use serde::Serialize;

use crate::drawing::{BIT, BITS};
use crate::player;
use crate::support::print::{out, round};
use crate::support::progress::Progress;
use crate::support::{Result, print, process};
use crate::{frames, start_program};

const SIZE: (u32, u32) = (640, 360);
const FPS: u32 = 30;
/// Pictures that are looked at.
const WANTED: usize = 150;
const LIMIT: Duration = Duration::from_secs(17);

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    pictures: u64,
    repeated: u64,
    dropped: u64,
    bytes_sent: u64,
    cpu_ms_per_stream_second: f64,
    rss_kb: u64,
    pictures_played: usize,
    pictures_in_order: usize,
    largest_step_ms: i64,
    sound_frames: usize,
}

/// What the player saw.
#[derive(Default)]
struct Seen {
    decoder: Option<VideoDecoder>,
    /// Numbers of the pictures, and their times in milliseconds.
    pictures: Vec<(u32, i64)>,
    sound: usize,
}

/// Reads the number that is drawn into a picture.
fn number(picture: &VideoFrame) -> Result<u32> {
    let luma = picture.to_bytes()?;
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let row = (height - BIT / 2) * width;
    let is_light = |bit: usize| luma.get(row + bit * BIT + BIT / 2).is_some_and(|light| *light > 126);
    Ok((0..BITS).fold(0, |number, bit| number | u32::from(is_light(bit)) << bit))
}

impl Seen {
    fn take(&mut self, tag: &Tag) -> Result<()> {
        if tag.is_audio() && !tag.is_sequence_header() {
            self.sound += 1;
        }
        let Some(coded) = coded(tag).filter(|_| tag.is_video()) else { return Ok(()) };
        match coded.part {
            Part::Config(config) => {
                let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
                track.config = Some(config);
                self.decoder = Some(VideoDecoder::open(&track, &DecoderOptions::default())?);
            }
            Part::Frames { data, .. } => {
                let Some(decoder) = &mut self.decoder else { return Ok(()) };
                let time = tag.timestamp.as_millis();
                decoder.push(&Packet::new(0, Some(time), Some(time), data))?;
                while let Some(picture) = decoder.pull()? {
                    self.pictures.push((number(&picture)?, picture.pts().unwrap_or(time)));
                }
            }
        }
        Ok(())
    }

    fn in_order(&self) -> usize {
        self.pictures.windows(2).filter(|pair| pair[1].0 == pair[0].0 + 1).count()
    }

    fn largest_step(&self) -> i64 {
        self.pictures.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap_or(0)
    }

    fn verdict(&self) -> Result<()> {
        if self.pictures.len() < WANTED || self.sound == 0 {
            return Err("not everything arrived".into());
        }
        if self.pictures.windows(2).any(|pair| pair[1].0 < pair[0].0 || pair[1].1 <= pair[0].1) {
            return Err("pictures were out of order".into());
        }
        if self.largest_step() > 34 {
            return Err("a picture was shown too long".into());
        }
        // A machine that is busy draws late, and what is late is repeated.
        out!("what was drawn arrived, in order and at a constant rate")?;
        Ok(())
    }
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let began = Instant::now();
    out!("{}", flowcast::versions())?;
    let engine = Engine::new(Config::default())?;
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    let key = engine.keys().issue("demo")?;
    let url = format!("rtmp://{}/live/demo", server.address());
    out!("server: {url}")?;
    let cpu_before = process::cpu_time();
    let (sink, source) = frames(SIZE, FPS, false).open()?;
    let live = engine
        .stream(source.encoding(Profile::Ultra))
        .to(Output::rtmp(&format!("rtmp://{}/live", server.address()), key))
        .start()?;
    let stop = Arc::<AtomicBool>::default();
    let program = start_program(sink, stop.clone());
    let deadline = Instant::now() + LIMIT;
    while engine.keys().active().is_empty() || live.stats().bytes_sent == 0 {
        if Instant::now() > deadline {
            return Err("the stream did not reach the server".into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }

    let mut seen = Seen::default();
    let progress = Progress::default();
    let mut failure = None;
    player::play(&url, LIMIT, |tag| {
        failure = seen.take(tag).err();
        progress.show(format!("played {:>3} of {WANTED} pictures", seen.pictures.len()));
        failure.is_none() && seen.pictures.len() < WANTED
    })?;
    progress.clear();
    failure.map_or(Ok(()), Err)?;
    stop.store(true, Ordering::Relaxed);
    let frames = program.join().map_err(|_| "the program panicked")??;
    let cpu = process::cpu_time() - cpu_before;
    let rss_kb = process::rss_kb();
    let stats = live.stop(Duration::from_secs(5))?;
    server.stop(Duration::from_secs(5));
    let seconds = stats.uptime.as_secs_f64();
    out!(
        "drawn: {} pictures of {}x{} in {seconds:.1} s, {} repeated, {} dropped",
        frames.pictures,
        SIZE.0,
        SIZE.1,
        frames.repeated,
        frames.dropped
    )?;
    out!(
        "played: {} pictures, {} of them the next one, largest distance {} ms; {} frames of sound",
        seen.pictures.len(),
        seen.in_order() + 1,
        seen.largest_step(),
        seen.sound
    )?;
    out!(
        "the whole process, which also plays and decodes: {:.0} ms of CPU, {} MiB, {:.1} s",
        cpu.as_secs_f64() * 1e3,
        rss_kb / 1024,
        began.elapsed().as_secs_f64()
    )?;
    let verdict = seen.verdict();
    if as_json {
        print::json(&Report {
            seconds: round(seconds, 2),
            pictures: frames.pictures,
            repeated: frames.repeated,
            dropped: frames.dropped,
            bytes_sent: stats.bytes_sent,
            cpu_ms_per_stream_second: round(stats.cpu_time.as_secs_f64() * 1e3 / seconds, 4),
            rss_kb,
            pictures_played: seen.pictures.len(),
            pictures_in_order: seen.in_order() + 1,
            largest_step_ms: seen.largest_step(),
            sound_frames: seen.sound,
        })?;
    }
    verdict
}
