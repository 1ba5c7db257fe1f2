//! The demo: a clip is published to the embedded server, recorded in all formats, and compared picture by picture.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::output::Segments;
use flowcast::{Config, Engine, Event, EventKind, Output, RtmpServerExt, Source};
use serde::Serialize;

use crate::Recorded;
use crate::support::print::{out, round};
use crate::support::{Result, print};

const CLIP_SECONDS: f64 = 3.0;
/// What is recorded of the clip, which goes round.
const RECORDED: Duration = Duration::from_secs(8);
const PART: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(30);
/// The recordings: one in parts, and one of each format.
const FILES: [&str; 5] = ["part-{number}.mp4", "whole.mp4", "whole.mkv", "whole.ts", "whole.flv"];

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    files: Vec<Recorded>,
    pictures: usize,
    wrong: usize,
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let scratch = Scratch(std::env::temp_dir().join(format!("flowcast-record-{}", std::process::id())));
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
    let made = pictures(&clip)?;
    out!("made a clip: {} frames of {}x{}, {CLIP_SECONDS} s", made.len(), spec.width, spec.height)?;

    let engine = Engine::new(Config::default())?;
    let happened = engine.events();
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    let key = engine.keys().issue("demo")?;
    out!("publishing it to rtmp://{}/live, and recording it in {} ways", server.address(), FILES.len())?;
    let outputs = FILES.iter().map(|file| {
        let output = Output::record(scratch.0.join(file)).max_duration(RECORDED);
        if file.contains('{') { output.segments(Segments::every(PART)) } else { output }
    });
    let recording = engine.stream(Source::published("demo")).outputs(outputs).start()?;
    let publisher = engine
        .stream(Source::file(&clip).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", server.address()), key))
        .start()?;

    let (mut files, mut ended) = (Vec::new(), 0);
    while ended < FILES.len() {
        let Some(event) = happened.next_timeout(Duration::from_millis(200)) else {
            if began.elapsed() > LIMIT {
                return Err("the recordings did not end".into());
            }
            continue;
        };
        ended += usize::from(take(&event, &mut files)?);
    }
    recording.stop(Duration::from_secs(5))?;
    publisher.stop(Duration::from_secs(5))?;
    server.stop(Duration::from_secs(5));

    let (pictures, wrong) = compare(&files, &made)?;
    out!("compared {pictures} pictures with the clip: {wrong} wrong")?;
    let seconds = round(began.elapsed().as_secs_f64(), 1);
    if wrong == 0 {
        out!("every file has every picture, in order")?;
    }
    if as_json {
        print::json(&Report { seconds, files, pictures, wrong })?;
    }
    if wrong > 0 { Err("pictures were wrong".into()) } else { Ok(()) }
}

/// Takes what an event tells; whether a recording ended.
fn take(event: &Event, files: &mut Vec<Recorded>) -> Result<bool> {
    files.extend(Recorded::of(event));
    match &event.kind {
        EventKind::OutputEnded { error: Some(error), .. } => Err(error.clone().into()),
        kind => Ok(matches!(kind, EventKind::OutputEnded { .. })),
    }
}

/// How many pictures are in the files, one recording after another, and how many of them do not follow the one before as in the clip.
fn compare(files: &[Recorded], made: &[Vec<u8>]) -> Result<(usize, usize)> {
    let (mut count, mut wrong) = (0, 0);
    for pattern in FILES {
        let (before, after) = pattern.split_once("{number}").unwrap_or((pattern, ""));
        let is_of = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(before) && name.ends_with(after)
        };
        let mut next = None;
        for Recorded { path, from, to, bytes } in files.iter().filter(|file| is_of(&file.path)) {
            let there = pictures(path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            out!("{name}: {from:.1} s to {to:.1} s, {} pictures, {} KB", there.len(), bytes / 1000)?;
            for picture in &there {
                let at = next.unwrap_or_else(|| made.iter().position(|known| known == picture).unwrap_or(0));
                wrong += usize::from(made.get(at) != Some(picture));
                next = Some((at + 1) % made.len());
            }
            count += there.len();
        }
        if next.is_none() {
            return Err(format!("{pattern} was not recorded").into());
        }
    }
    Ok((count, wrong))
}

/// The coded picture in a packet of H.264, which is its last unit: MPEG-TS puts the parameter sets before it.
fn coded(packet: &[u8]) -> &[u8] {
    let mut rest = packet;
    while let Some((length, units)) = rest.split_first_chunk::<4>() {
        let Some((_, next)) = units.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        if next.is_empty() {
            return units;
        }
        rest = next;
    }
    packet
}

/// The coded pictures of a file, in order.
fn pictures(file: &Path) -> Result<Vec<Vec<u8>>> {
    let mut demuxer = Demuxer::open(file, &OpenOptions::default(), &Interrupt::new())?;
    let video =
        demuxer.media().tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
    let mut pictures = Vec::new();
    while let Some(packet) = demuxer.read()? {
        if Some(packet.track) == video {
            pictures.push(coded(&packet.data).to_vec());
        }
    }
    Ok(pictures)
}
