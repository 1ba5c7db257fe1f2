//! The demo: a clip is played once in three sizes, each is recorded, and the recordings are checked: sizes, times of pictures, keyframes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, sample_clip};
use flowcast::encode::Rendition;
use flowcast::{Config, Engine, Output, Profile, Source};
use serde::Serialize;

use crate::support::print::out;
use crate::support::{Result, print, process};

const LIMIT: Duration = Duration::from_secs(60);
const SIZES: [(u32, u32, u32); 3] = [(360, 640, 360), (240, 426, 240), (180, 320, 180)];
/// Pictures of the clip.
const PICTURES: usize = 150;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    renditions: Vec<Recorded>,
    equal_times: bool,
    cpu_ms: u64,
    rss_kb: u64,
}

/// What was recorded of one of them.
#[derive(Serialize)]
struct Recorded {
    name: String,
    width: u32,
    height: u32,
    pictures: usize,
    keyframes: usize,
    bytes: usize,
    #[serde(skip)]
    times: Vec<(i64, bool)>,
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let scratch = Scratch(std::env::temp_dir().join(format!("flowcast-ladder-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let clip = scratch.0.join("clip.mp4");
    let spec =
        SampleSpec { width: 640, height: 360, seconds: 6.0, bitrate: 1_500_000, ..SampleSpec::default() };
    sample_clip(&clip, &spec)?;
    out!("made a clip of {PICTURES} pictures, 640x360")?;

    let engine = Engine::new(Config::default())?;
    let cpu_before = process::cpu_time();
    let all = SIZES.map(|(lines, ..)| Rendition::lines(lines));
    let ladder = Source::file(&clip).encoding(Profile::Ultra).renditions(all)?;
    let file = |name: &str| scratch.0.join(format!("{name}.flv"));
    let mut running = Vec::new();
    for (name, source) in ladder {
        running.push((engine.stream(source).to(Output::record(file(&name))).start()?, name));
    }
    out!("plays it once, decoded once, as {} streams", running.len())?;
    for (stream, name) in &running {
        stream.wait_timeout(LIMIT).ok_or_else(|| format!("{name} does not end"))??;
    }
    let cpu = process::cpu_time() - cpu_before;
    let recorded: Vec<_> =
        running.iter().map(|(_, name)| Recorded::read(name, &file(name))).collect::<Result<_>>()?;
    for of in &recorded {
        let Recorded { name, width, height, pictures, keyframes, bytes, .. } = of;
        out!("{name}: {width}x{height}, {pictures} pictures, {keyframes} keyframes, {bytes} bytes")?;
    }
    let equal_times = recorded.windows(2).all(|two| two[0].times == two[1].times);
    let are_right = recorded
        .iter()
        .zip(SIZES)
        .all(|(of, (_, width, height))| (of.width, of.height, of.pictures) == (width, height, PICTURES));
    if as_json {
        let cpu_ms = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
        print::json(&Report { renditions: recorded, equal_times, cpu_ms, rss_kb: process::rss_kb() })?;
    }
    if !equal_times {
        return Err("pictures or keyframes are not at the same times".into());
    }
    if !are_right {
        return Err("pictures are missing, or of another size".into());
    }
    out!("all have the same pictures and keyframes at the same times")?;
    Ok(())
}

impl Recorded {
    fn read(name: &str, file: &Path) -> Result<Self> {
        let mut demuxer = Demuxer::open(file, &OpenOptions::default(), &Interrupt::new())?;
        let track = demuxer.media().video().ok_or("there are no pictures")?.clone();
        let size = track.video.as_ref().map_or((0, 0), |video| (video.width, video.height));
        let (mut times, mut bytes) = (Vec::new(), 0);
        while let Some(packet) = demuxer.read()? {
            if packet.track == track.index {
                times.push((packet.pts.unwrap_or(0), packet.keyframe));
                bytes += packet.data.len();
            }
        }
        Ok(Self {
            name: name.to_owned(),
            width: size.0,
            height: size.1,
            pictures: times.len(),
            keyframes: times.iter().filter(|(_, is_keyframe)| *is_keyframe).count(),
            bytes,
            times,
        })
    }
}
