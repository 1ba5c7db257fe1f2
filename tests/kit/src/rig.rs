//! What the fault tests set up around flowcast: clips whose coded pictures are known, engines with short waits, and checks that
//! an output missed nothing.

use super::flv::whole_flv_tags;
use super::process::{directory, run, text};
use super::scripted::{Scripted, Seen, hash};
use flowcast::av::{Demuxer, Interrupt, OpenOptions, SampleSpec, TrackKind, sample_clip};
use flowcast::config::ReconnectPolicy;
use flowcast::{Config, Engine, Event, EventKind, Events, Output, OutputId, ReelStore, StreamRef};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A clip, and the hashes of its coded pictures in order.
#[derive(Debug)]
pub struct Known {
    /// Where it is.
    pub file: PathBuf,
    /// A directory of the test's own; the clip is in it.
    pub directory: TempDir,
    pictures: Vec<u64>,
}

impl Known {
    /// Two seconds at 25 frames a second, a keyframe every half second, with sound.
    pub fn small() -> Self {
        Self::made(&SampleSpec { gop_frames: 12, b_frames: 2, ..SampleSpec::default() })
    }

    /// Two seconds of noise at about 16 Mbit/s, a keyframe every half second, with sound. Takes the `ffmpeg` program.
    pub fn heavy() -> Self {
        let directory = directory();
        let file = directory.path().join("heavy.mp4");
        let picture = "testsrc2=size=640x360:rate=25,noise=alls=80:allf=t";
        let arguments = [
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-t",
            "2",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-t",
            "2",
            "-i",
            "sine=sample_rate=48000",
            "-c:a",
            "aac",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "12",
            "-keyint_min",
            "12",
            "-sc_threshold",
            "0",
            "-bf",
            "0",
            "-b:v",
            "16M",
            "-minrate",
            "16M",
            "-maxrate",
            "16M",
            "-bufsize",
            "4M",
            text(&file),
        ];
        run("ffmpeg", arguments, Duration::from_secs(60));
        Self::of(directory, file)
    }

    /// A clip of this kind.
    pub fn made(spec: &SampleSpec) -> Self {
        let directory = directory();
        let file = directory.path().join("clip.mp4");
        sample_clip(&file, spec).expect("libav makes the clip");
        Self::of(directory, file)
    }

    /// A file in a directory that is its own.
    pub fn of(directory: TempDir, file: PathBuf) -> Self {
        let mut demuxer =
            Demuxer::open(&file, &OpenOptions::default(), &Interrupt::new()).expect("a clip that opens");
        let tracks = &demuxer.media().tracks;
        let video = tracks.iter().find(|track| track.kind == TrackKind::Video).map(|track| track.index);
        let mut pictures = Vec::new();
        while let Some(packet) = demuxer.read().expect("a clip that reads") {
            if Some(packet.track) == video {
                pictures.push(hash(&packet.data));
            }
        }
        Self { file, directory, pictures }
    }

    /// The hashes of its coded pictures, in order.
    pub fn pictures(&self) -> &[u64] {
        &self.pictures
    }

    /// A file in the clip's directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The tags are the clip's pictures lap after lap, none missing, none twice, from a keyframe on; says how many.
    #[track_caller]
    pub fn assert_gapless(&self, tags: &[Seen]) -> usize {
        let pictures: Vec<_> = tags.iter().filter(|tag| tag.is_picture()).collect();
        let Some(first) = pictures.first() else { panic!("no picture arrived") };
        assert!(first.keyframe, "the first picture is no keyframe");
        let start = self.pictures.iter().position(|&hash| hash == first.hash).expect("a picture of the clip");
        for (number, picture) in pictures.iter().enumerate() {
            let expected = self.pictures[(start + number) % self.pictures.len()];
            assert_eq!(picture.hash, expected, "picture {number} at {} ms is not the next one", picture.time);
        }
        let steps = pictures.windows(2).map(|pair| pair[1].time - pair[0].time);
        assert!(steps.clone().all(|step| (1..=60).contains(&step)), "times: {:?}", steps.max());
        pictures.len()
    }

    /// A connection starts as a decoder and a platform need it: the headers, then a keyframe, all at time zero; then it goes
    /// on without a gap.
    #[track_caller]
    pub fn assert_fresh_start(&self, tags: &[Seen]) {
        use flowcast::rtmp::flv::TagKind::{Audio, Script, Video};
        let opening: Vec<_> = tags.iter().take(4).map(|tag| (tag.kind, tag.header, tag.time)).collect();
        assert_eq!(
            opening,
            [(Script, false, 0), (Video, true, 0), (Audio, true, 0), (Video, false, 0)],
            "how the connection begins"
        );
        assert!(tags[3].keyframe, "the first picture is no keyframe");
        self.assert_gapless(tags);
    }
}

/// The tags of an FLV file, which must be whole, as a server would have seen them.
#[track_caller]
pub fn read_flv(file: &Path) -> Vec<Seen> {
    whole_flv_tags(file).iter().map(|tag| Seen::new(tag, Instant::now())).collect()
}

/// The longest time nothing arrived between two instants.
pub fn longest_silence(tags: &[Seen], from: Instant, to: Instant) -> Duration {
    let times = tags.iter().map(|tag| tag.at).filter(|at| (from..=to).contains(at));
    let times: Vec<_> = std::iter::once(from).chain(times).chain([to]).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// An engine with some settings changed.
pub fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::default();
    config.reconnect = quickly();
    change(&mut config);
    Engine::new(config).expect("settings that work")
}

/// An engine that plays files directly, and one that plays reels, which it keeps in `directory`.
pub fn engines(directory: &Path) -> [(&'static str, Engine); 2] {
    let reels = ReelStore::new(directory.join("reels"));
    [("direct", engine(|_| {})), ("reel", engine(|config| config.reels = Some(reels)))]
}

/// Runs a test directly and from reels, at the same time: the mode, the engine, and a directory of its own are given.
pub fn both_ways(run: impl Fn(&str, &Engine, &Path) + Sync) {
    let directories = [directory(), directory()];
    std::thread::scope(|scope| {
        let [direct, reel] = &directories;
        let run = &run;
        scope.spawn(move || run("direct", &engine(|_| {}), direct.path()));
        let reels = ReelStore::new(reel.path().join("reels"));
        scope.spawn(move || run("reel", &engine(|config| config.reels = Some(reels)), reel.path()));
    });
}

/// Dials again soon: after 200 ms on average, growing to 1 s.
pub fn quickly() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::default();
    policy.first = Duration::from_millis(200);
    policy.cap = Duration::from_secs(1);
    policy
}

/// The longest a policy like [`quickly`] waits: the cap and half of it, and some time to be noticed.
pub const LONGEST_WAIT: Duration = Duration::from_millis(1500 + 500);

/// A push to a scripted server.
pub fn push(server: &Scripted) -> Output {
    Output::rtmp(&server.url(), "a-stream-key")
}

/// Waits for an event that `matches`, and gives it back.
#[track_caller]
pub fn wait_event<T>(events: &Events, deadline: Duration, mut matches: impl FnMut(&Event) -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    let mut heard = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Some(event) = events.next_timeout(left) else {
            panic!("no such event within {deadline:?}, but {heard:#?}")
        };
        if let Some(found) = matches(&event) {
            return found;
        }
        heard.push(event);
    }
}

/// Waits until an output tries again, and says why.
#[track_caller]
pub fn wait_retry(events: &Events, wanted: OutputId, deadline: Duration) -> flowcast::Error {
    wait_event(events, deadline, |event| match &event.kind {
        EventKind::OutputRetrying { output, error, .. } if *output == wanted => Some(error.clone()),
        _ => None,
    })
}

/// Waits until an output has ended, and says why.
#[track_caller]
pub fn wait_ended(events: &Events, wanted: OutputId, deadline: Duration) -> Option<flowcast::Error> {
    wait_event(events, deadline, |event| match &event.kind {
        EventKind::OutputEnded { output, error } if *output == wanted => Some(error.clone()),
        _ => None,
    })
}

/// The numbers of a stream's outputs, in the order they were given.
pub fn outputs(stream: &StreamRef) -> Vec<OutputId> {
    super::wait_until(Duration::from_secs(5), || !stream.stats().outputs.is_empty());
    let mut ids: Vec<_> = stream.stats().outputs.iter().map(|output| output.id).collect();
    ids.sort_unstable();
    ids
}

/// Threads and descriptors of this process.
pub fn threads_and_descriptors() -> (usize, usize) {
    let count = |directory: &str| fs::read_dir(directory).map_or(0, Iterator::count);
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Resident memory of this process, KiB.
pub fn resident_kib() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4
}
