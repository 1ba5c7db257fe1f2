//! Fifty days of stream time, on the virtual clock that drivers are checked with: beyond 2^31 and 2^32 ms. Times strictly increase in
//! each track, every lap is as long as the first, no picture is lost, and nothing grows. In a process of its own, because the heap is
//! counted per process.
//!
//! Six hours as a rule. All of it, in some minutes:
//!
//! ```text
//! cargo test --release -p flowcast --test month -- --ignored --nocapture
//! ```
#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::driver::check::Check;
use flowcast::driver::{
    OpenSource, Reads, SourceContext, SourceDriver, SourceOpening, SourceState, Tag, TagKind,
};
use flowcast::playlist::NothingPlays;
use flowcast::{Config, Engine, Error, Playlist, ReelStore, Source};
use kit::directory;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const SIX_HOURS: Duration = Duration::from_secs(6 * 3600);
/// The heap is looked at from then on.
const SETTLED: Duration = Duration::from_secs(3600);
/// More than 2^32 ms.
const MONTH: Duration = Duration::from_secs(50 * 86_400);
/// Bytes that are no leak: what is kept for another lap comes and goes.
const ENOUGH: usize = 256 << 10;
/// How far the media may be from the clock at the end, beside a tick: what a reader was late is not made up for.
const DRIFT: Duration = Duration::from_secs(2);

/// What was seen of a source while it played.
#[derive(Debug, Default)]
struct Seen {
    /// When media time began, and the clock of the newest turn.
    began: Option<(Instant, Instant)>,
    /// The newest time of pictures and of sound, milliseconds.
    newest: [Option<i64>; 2],
    pictures: u64,
    sounds: u64,
    /// The longest step of the sound, milliseconds.
    gap: i64,
    /// Files of a lap; each has one keyframe, its first picture.
    files: u64,
    /// When laps began, at numbers 0, 1, 2, 4, 8 and so on.
    laps: Vec<i64>,
    begun: u64,
    steps_back: u64,
    /// The heap after the first hour, and the most it was later.
    heap: Option<(usize, usize)>,
}

impl Seen {
    fn turn(&mut self, now: Instant, tags: &[Tag]) {
        for tag in tags.iter().filter(|tag| !tag.is_script() && !tag.is_header()) {
            let time = tag.timestamp.as_millis();
            let is_sound = tag.kind == TagKind::Audio;
            if let Some(before) = self.newest[usize::from(is_sound)].replace(time) {
                self.steps_back += u64::from(time <= before);
                self.gap = self.gap.max(if is_sound { time - before } else { 0 });
            }
            match is_sound {
                true => self.sounds += 1,
                false => self.pictures += 1,
            }
            if !is_sound && tag.is_keyframe() {
                let (lap, file) = (self.begun / self.files, self.begun % self.files);
                if file == 0 && (lap == 0 || lap.is_power_of_two()) {
                    self.laps.push(time);
                }
                self.begun += 1;
            }
        }
        let Some((began, newest)) = &mut self.began else { return };
        let is_new_hour =
            newest.duration_since(*began).as_secs() / 3600 != now.duration_since(*began).as_secs() / 3600;
        *newest = now;
        if is_new_hour && now.duration_since(*began) >= SETTLED {
            let heap = HEAP.current_usage();
            let (_, most) = self.heap.get_or_insert((heap, heap));
            *most = heap.max(*most);
        }
    }

    /// How far the media is, and how far the clock.
    fn progress(&self) -> (Duration, Duration) {
        let media = self.newest.iter().flatten().max().copied().unwrap_or_default();
        let clock = self.began.map(|(began, newest)| newest.duration_since(began)).unwrap_or_default();
        (Duration::from_millis(media.try_into().unwrap_or_default()), clock)
    }

    /// By how much a lap's beginning is elsewhere than all laps of the first one's length would have it, milliseconds.
    fn drift(&self) -> i64 {
        assert!(self.laps.len() > 2, "too few laps: {:?}", self.laps);
        let first = self.laps[0];
        // The length of a lap is no whole number of milliseconds: number 2n begins at twice the time of number n, rounded.
        let pairs = self.laps[1..].windows(2);
        pairs.map(|pair| ((pair[1] - first) - 2 * (pair[0] - first)).abs()).max().unwrap_or_default()
    }
}

/// A source that is looked at while it plays.
#[derive(Debug)]
struct Watched {
    source: Source,
    seen: Arc<Mutex<Seen>>,
}

struct Watching {
    driver: Box<dyn SourceDriver>,
    seen: Arc<Mutex<Seen>>,
}

impl OpenSource for Watched {
    fn check(&self) -> Result<(), Error> {
        OpenSource::check(&self.source)
    }

    fn reads(&self) -> Reads {
        self.source.reads()
    }

    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        let Self { source, seen } = *self;
        Ok(Box::new(Watching { driver: Box::new(source).open(cx)?, seen }))
    }
}

impl SourceDriver for Watching {
    fn start(&mut self, now: Instant) {
        // It is opened twice, and plays the second time.
        let files = lock(&self.seen).files;
        *lock(&self.seen) = Seen { began: Some((now, now)), files, ..Seen::default() };
        self.driver.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let before = cx.tags.len();
        let state = self.driver.pull(cx);
        lock(&self.seen).turn(cx.now, &cx.tags[before..]);
        state
    }

    fn is_due(&self) -> bool {
        self.driver.is_due()
    }

    fn deliver(
        &mut self,
        message: Box<dyn Any + Send>,
        registry: &flowcast::driver::mio::Registry,
        token: flowcast::driver::mio::Token,
    ) {
        self.driver.deliver(message, registry, token);
    }

    fn bytes_held(&self) -> usize {
        self.driver.bytes_held()
    }

    fn stop(&mut self) {
        self.driver.stop();
    }

    fn is_stopped(&mut self) -> bool {
        self.driver.is_stopped()
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One picture a second, one keyframe, and sound whose frames are no whole number of milliseconds long.
fn clip(directory: &Path, name: &str, seconds: f64) -> PathBuf {
    let file = directory.join(name);
    let spec = SampleSpec {
        fps: 1,
        seconds,
        gop_frames: 1000,
        audio: Some((11_025, 1)),
        bitrate: 20_000,
        ..SampleSpec::default()
    };
    sample_clip(&file, &spec).expect("a clip");
    file
}

/// Plays a source for as long as this, and says what was seen.
fn play(
    name: &str,
    files: u64,
    reels: &Path,
    source: impl Fn() -> Source + Send + 'static,
    media: Duration,
) -> Seen {
    // The heap is that of the process.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = Config::default().with(|config| {
        config.tick = Duration::from_secs(1);
        config.reels = Some(ReelStore::new(reels));
    });
    let engine = Engine::new(config).expect("usable settings");
    let seen = Arc::new(Mutex::new(Seen { files, ..Seen::default() }));
    let (watched, began) = (seen.clone(), Instant::now());
    let report = Check::new()
        .on(&engine)
        .media(media)
        .longest_turn(Duration::MAX)
        // Each second brings a picture, if only its reader gets to run.
        .thread_grace(Duration::from_secs(1))
        .source(move || Watched { source: source(), seen: watched.clone() });
    assert!(report.is_clean(), "{name}: {report}");
    assert!(report.media + Duration::from_secs(20) >= media, "{name}: only {:?} of media", report.media);
    let seen = std::mem::take(&mut *lock(&seen));
    let (media, clock) = seen.progress();
    let heap = seen.heap.expect("it played for more than an hour");
    println!(
        "{name}: {:.1} days in {:.0} s: {} files, {} pictures, {} sounds; newest {} ms, clock {} ms, drift of laps {} ms, sound apart {} ms, heap {:+} bytes",
        media.as_secs_f64() / 86_400.0,
        began.elapsed().as_secs_f64(),
        seen.begun,
        seen.pictures,
        seen.sounds,
        media.as_millis(),
        clock.as_millis(),
        seen.drift(),
        seen.gap,
        i64::try_from(heap.1).unwrap_or_default() - i64::try_from(heap.0).unwrap_or_default(),
    );
    assert!(seen.drift() <= 2, "{name}: laps began {:?}", seen.laps);
    assert_eq!(seen.steps_back, 0, "{name}: times strictly increase");
    assert!(heap.1 <= heap.0 + ENOUGH, "{name}: the heap was {} and then {} bytes", heap.0, heap.1);
    assert!(clock.abs_diff(media) <= DRIFT + Duration::from_secs(1), "{name}: {media:?} at {clock:?}");
    // Two frames of 92.9 ms: at a seam half of one may be left out or be there twice.
    assert!(seen.gap <= 186, "{name}: {} ms without sound", seen.gap);
    seen
}

fn loops(media: Duration) {
    let directory = directory();
    let file = clip(directory.path(), "loop.mp4", 8.0);
    let seen = play("loop", 1, &directory.path().join("reels"), move || Source::file(&file).looped(), media);
    // The lap that plays is not complete.
    assert_eq!(seen.pictures.div_ceil(8), seen.begun, "eight pictures in each lap");
}

fn lists(media: Duration) {
    let directory = directory();
    let files = [5.0, 8.0, 13.0].map(|seconds| clip(directory.path(), &format!("{seconds}.mp4"), seconds));
    let reels = directory.path().join("reels");
    // The next file may take longer to open than the virtual clock takes for the one before: none goes round meanwhile.
    let list = move || Source::playlist(Playlist::files(files.clone()).nothing_plays(NothingPlays::Wait));
    let seen = play("list", 3, &reels, list, media);
    let rounds = seen.begun.div_ceil(3);
    let pictures = 26 * (rounds - 1)..=26 * rounds;
    assert!(pictures.contains(&seen.pictures), "{} pictures in {rounds} rounds", seen.pictures);
}

#[test]
fn six_hours_of_a_loop_do_not_drift() {
    loops(SIX_HOURS);
}

#[test]
fn six_hours_of_a_list_do_not_drift() {
    lists(SIX_HOURS);
}

#[test]
#[ignore = "takes minutes"]
fn fifty_days_of_a_loop_do_not_drift() {
    loops(MONTH);
}

#[test]
#[ignore = "takes minutes"]
fn fifty_days_of_a_list_do_not_drift() {
    lists(MONTH);
}
