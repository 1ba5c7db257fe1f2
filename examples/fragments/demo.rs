//! The demo: fragments that are each a file of their own go through the embedded server as one stream, and are checked picture by picture on
//! the other side.

use std::time::{Duration, Instant};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::fragment::{Fragment, FragmentPublisher};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::{Config, Engine, Output, RtmpServerExt, Source};
use serde::Serialize;

use crate::player;
use crate::support::print::{out, round};
use crate::support::progress::Progress;
use crate::support::{Result, print, process};

const FRAGMENTS: usize = 6;
const SECONDS: f64 = 1.0;
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of a video tag before the picture: frame type and codec, packet type, composition time.
const VIDEO_HEAD: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    fragments: usize,
    published: u64,
    frames_played: usize,
    frames_wrong: usize,
    longest_video_gap_ms: i64,
    longest_audio_gap_ms: i64,
    rss_kb: u64,
}

/// What the player saw.
#[derive(Default)]
struct Seen {
    pictures: Vec<Vec<u8>>,
    last: [Option<i64>; 2],
    longest: [i64; 2],
}

impl Seen {
    fn take(&mut self, tag: &Tag) {
        if tag.is_sequence_header() || tag.kind == TagKind::Script {
            return;
        }
        let is_video = tag.kind == TagKind::Video;
        if is_video {
            self.pictures.push(tag.body.to_bytes().get(VIDEO_HEAD..).unwrap_or_default().to_vec());
        }
        let (side, time) = (usize::from(!is_video), tag.timestamp.as_millis());
        if let (Some(last), Some(longest)) = (self.last.get_mut(side), self.longest.get_mut(side)) {
            *longest = (*longest).max(time - last.unwrap_or(time));
            *last = Some(time);
        }
    }
}

pub(crate) fn run(as_json: bool) -> Result<()> {
    let began = Instant::now();
    out!("{}", flowcast::versions())?;
    let engine = Engine::new(Config::default())?;
    let server = engine.rtmp_server("127.0.0.1:0").start()?;
    let key = engine.keys().issue("demo")?;
    let publisher = FragmentPublisher::new();
    let to = Output::rtmp(&format!("rtmp://{}/live", server.address()), key);
    let live = engine.stream(Source::fragments(&publisher)).to(to).start()?;

    // Each is a file of its own, with its own clock, B-frames, and priming before its sound.
    let clip = std::env::temp_dir().join(format!("flowcast-fragment-{}.mp4", std::process::id()));
    let (mut fragments, mut expected) = (Vec::new(), Vec::new());
    for number in 0..FRAGMENTS {
        let spec = SampleSpec {
            width: 640,
            height: 360,
            seconds: SECONDS + 0.04 * number as f64,
            b_frames: 2,
            audio: Some((44_100, 2)),
            ..SampleSpec::default()
        };
        let made = sample_clip(&clip, &spec).map_err(Into::into).and_then(|_| pictures(&clip));
        let bytes = std::fs::read(&clip);
        let _ = std::fs::remove_file(&clip);
        expected.extend(made?);
        fragments.push(bytes?);
    }
    let bytes: usize = fragments.iter().map(Vec::len).sum();
    out!("made {FRAGMENTS} fragments, {} KiB, {} pictures", bytes / 1024, expected.len())?;

    let pushing = {
        let publisher = publisher.clone();
        std::thread::spawn(move || {
            for (number, fragment) in fragments.into_iter().enumerate() {
                // Waits while three are held.
                publisher.push(Fragment::bytes(fragment).id(format!("batch-{number}")))?;
            }
            publisher.finish();
            Ok::<_, flowcast::Error>(())
        })
    };
    let wait = Instant::now();
    while live.stats().bytes_sent == 0 && wait.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut seen, progress) = (Seen::default(), Progress::default());
    let url = format!("rtmp://{}/live/demo", server.address());
    let wanted = expected.len();
    player::play(&url, LIMIT, |tag| {
        seen.take(tag);
        progress.show(format!("played {:>3} of {wanted} pictures", seen.pictures.len()));
        true
    })?;
    progress.clear();
    pushing.join().map_err(|_| "the thread that pushes panicked")??;
    live.wait()?;
    let stats = publisher.stats();
    server.stop(Duration::from_secs(5));

    // The player joins at a keyframe, with the first fragment at the latest.
    let origin = seen.pictures.first().and_then(|first| expected.iter().position(|known| known == first));
    let expected = expected.get(origin.unwrap_or(0)..).unwrap_or_default();
    let differing = seen.pictures.iter().zip(expected).filter(|(seen, known)| seen != known).count();
    let wrong = differing + seen.pictures.len().abs_diff(expected.len());
    let [video, audio] = seen.longest;
    out!(
        "played {} pictures, {wrong} wrong; the longest gap is {video} ms between pictures, {audio} ms between frames of sound",
        seen.pictures.len()
    )?;
    out!("{} fragments published, publishing goes {}", stats.published, publisher.health())?;
    if as_json {
        print::json(&Report {
            seconds: round(began.elapsed().as_secs_f64(), 2),
            fragments: FRAGMENTS,
            published: stats.published,
            frames_played: seen.pictures.len(),
            frames_wrong: wrong,
            longest_video_gap_ms: video,
            longest_audio_gap_ms: audio,
            rss_kb: process::rss_kb(),
        })?;
    }
    if wrong > 0 || stats.published != FRAGMENTS as u64 || audio > 2 * 24 {
        return Err("what was played is not what was pushed".into());
    }
    Ok(())
}

/// The coded pictures of a file, in their order.
fn pictures(path: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    let mut file = Demuxer::open(path, &OpenOptions::default(), &Interrupt::new())?;
    let tracks = &file.media().tracks;
    let video = tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
    let mut found = Vec::new();
    while let Some(packet) = file.read()? {
        if Some(packet.track) == video {
            found.push(packet.data.to_vec());
        }
    }
    Ok(found)
}
