//! Renditions without streams' threads: what one of them does with the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use flowcast_av::encoder::VideoSettings;
use flowcast_av::{Error as Media, Packet, VideoFrame};
use flowcast_rtmp::flv::tag::Tag;

use super::*;
use crate::bit_rate::BitRate;
use crate::config::Config;
use crate::event::EventKind;
use crate::publish::encoder::tests::{pull, reader, usual};
use crate::stats::DropReason;
use crate::transcode::{
    EncoderDefaults, EncoderPlan, LibavEncoders, Mode, PictureEncoder, Profile, VideoCodec, Wish,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Pictures of the clip, and of a GOP.
const PICTURES: usize = 50;
const GOP: usize = 20;

/// Encoders that are counted, of which those of one width fail after so many pictures.
#[derive(Debug, Default)]
struct Counted {
    opened: Mutex<Vec<u32>>,
    faulty: Option<(u32, usize)>,
}

impl Encoders for Counted {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        vec!["libx264".to_owned()]
    }

    fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
        self.opened.lock().push(settings.width);
        let left =
            self.faulty.filter(|(width, _)| *width == settings.width).map_or(usize::MAX, |(_, left)| left);
        Ok(Box::new(Failing { inner: LibavEncoders.open(track, settings)?, left }))
    }

    fn failed(&self, _: &str) {}
}

#[derive(Debug)]
struct Failing {
    inner: Box<dyn PictureEncoder>,
    left: usize,
}

impl Failing {
    fn one_more(&mut self) -> Result<(), Media> {
        let gone = || Media::Unavailable { what: "device", name: "faulty".to_owned() };
        self.left = self.left.checked_sub(1).ok_or_else(gone)?;
        Ok(())
    }
}

impl PictureEncoder for Failing {
    fn pixel_format(&self) -> &str {
        self.inner.pixel_format()
    }

    fn track(&self) -> &TrackInfo {
        self.inner.track()
    }

    fn set_bit_rate(&mut self, bit_rate: u64, vbv_bits: u64) -> bool {
        self.inner.set_bit_rate(bit_rate, vbv_bits)
    }

    fn push(&mut self, frame: &VideoFrame) -> Result<(), Media> {
        self.one_more()?;
        self.inner.push(frame)
    }

    fn push_keyframe(&mut self, frame: &VideoFrame) -> Result<(), Media> {
        self.one_more()?;
        self.inner.push_keyframe(frame)
    }

    fn pull(&mut self) -> Result<Option<Packet>, Media> {
        self.inner.pull()
    }

    fn finish(&mut self) -> Result<(), Media> {
        self.inner.finish()
    }
}

/// Gives some tags, and the others once it may.
struct Clip {
    tags: VecDeque<Tag>,
    held_back: usize,
    may_go_on: Arc<AtomicBool>,
}

impl SourceDriver for Clip {
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let held_back = if self.may_go_on.load(Ordering::SeqCst) { 0 } else { self.held_back };
        let now = self.tags.len().saturating_sub(held_back);
        cx.tags.extend(self.tags.drain(..now));
        if self.tags.is_empty() { SourceState::Ended } else { SourceState::Running }
    }
}

/// A group whose source stops in its middle until it may go on.
fn group(encoders: &Arc<Counted>, renditions: usize) -> (Arc<Group>, Arc<AtomicBool>) {
    let tags = VecDeque::from(usual(0));
    let may_go_on = Arc::new(AtomicBool::new(false));
    let clip = Clip { held_back: tags.len() / 2, tags, may_go_on: may_go_on.clone() };
    (group_of(clip, encoders, renditions), may_go_on)
}

fn group_of(clip: Clip, encoders: &Arc<Counted>, renditions: usize) -> Arc<Group> {
    let wish = Wish { mode: Some(Mode::Auto), encoding: Profile::Ultra.into(), ..Wish::default() };
    let options = GroupOptions {
        name: "clip".to_owned(),
        renditions,
        settling: Settling::new(wish, defaults()),
        encoders: encoders.clone(),
        tick: Duration::from_millis(5),
    };
    Arc::new(Group::start(options, |_| Ok(Box::new(clip))).expect("there are threads"))
}

fn defaults() -> EncoderDefaults {
    EncoderDefaults { prefer_hardware: false, fallback: true }
}

/// A stream that shows a rendition of this width.
struct Stream {
    poll: mio::Poll,
    driver: RenditionDriver,
    dial: Dial,
    tags: Vec<Tag>,
    notices: Vec<EventKind>,
    state: SourceState,
}

impl Stream {
    fn of(group: &Arc<Group>, place: usize, width: u32) -> Self {
        Self::with(group, place, width, Config::default().read_ahead)
    }

    fn with(group: &Arc<Group>, place: usize, width: u32, bounds: QueueBounds) -> Self {
        let (poll, reader) = reader();
        let mut wish = Wish { mode: Some(Mode::Encode), encoding: Profile::Ultra.into(), ..Wish::default() };
        wish.encoding.size = Some((width, width * 3 / 4));
        wish.encoding.gop = Duration::from_millis(800);
        let plan = PlanPictures::new(move |track| match width {
            0 => Err(Error::Config { name: "renditions", reason: "too large".to_owned() }),
            _ => Ok(Settling::new(wish.clone(), defaults()).plan_pictures(track)),
        });
        let dial = Dial::default();
        let coming = Coming {
            place,
            plan: Some(plan),
            dial: dial.clone(),
            probe: None,
            cpu: CpuMeter::default(),
            reader,
            bounds,
            reading: None,
        };
        let mut driver = group.join(coming).expect("there are threads").expect("it plays");
        driver.start(Instant::now());
        let (tags, notices, state) = (Vec::new(), Vec::new(), SourceState::Running);
        Self { poll, driver, dial, tags, notices, state }
    }

    /// Takes until something is so.
    fn take_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            let Self { poll, driver, tags, notices, .. } = self;
            let state = pull(poll, tags, notices, |cx| driver.pull(cx));
            self.state = state;
            assert!(Instant::now() < until, "not {what}: {:?}, {:?}", self.state, self.notices);
            std::thread::yield_now();
        }
    }

    fn take_all(&mut self) {
        self.take_until("at its end", |stream| !matches!(stream.state, SourceState::Running));
    }

    fn leave(&mut self) {
        self.driver.stop();
        let until = Instant::now() + PATIENCE;
        while !self.driver.is_stopped() {
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }

    /// The times of its pictures, and of those that are keyframes.
    fn times(&self) -> (Vec<i64>, Vec<i64>) {
        let pictures = || self.tags.iter().filter(|tag| tag.is_video() && !tag.is_header());
        let time = |tag: &Tag| tag.timestamp.as_millis();
        (pictures().map(time).collect(), pictures().filter(|tag| tag.is_keyframe()).map(time).collect())
    }

    fn faults(&self) -> Vec<&'static str> {
        let faults = self.notices.iter().filter_map(|notice| match notice {
            EventKind::SourceFault { error } => Some(error.code()),
            _ => None,
        });
        faults.collect()
    }
}

#[test]
fn an_encoder_that_fails_takes_nothing_from_the_others() {
    let encoders = Arc::new(Counted { faulty: Some((160, 30)), ..Counted::default() });
    let (group, may_go_on) = group(&encoders, 3);
    may_go_on.store(true, Ordering::SeqCst);
    let mut streams = [(0, 320), (1, 160), (2, 0)].map(|(place, width)| Stream::of(&group, place, width));
    drop(group);
    streams.iter_mut().for_each(Stream::take_all);
    let [whole, failed, unfit] = &streams;
    let (times, keys) = whole.times();
    assert_eq!((times.len(), keys.len()), (PICTURES, PICTURES.div_ceil(GOP)), "{keys:?}");
    assert!(keys.iter().zip(0..).all(|(key, n)| *key == times[0] + n * 800), "{keys:?}");
    assert!(whole.faults().is_empty() && matches!(whole.state, SourceState::Ended));
    assert_eq!(failed.times().0, times[..failed.times().0.len()], "until then it was alike");
    assert!((20..=30).contains(&failed.times().0.len()), "{:?}", failed.times());
    assert_eq!(failed.faults(), ["ENCODER_FAILED"]);
    assert!(unfit.tags.is_empty());
    assert!(matches!(&unfit.state, SourceState::Failed(Error::Config { .. })), "{:?}", unfit.state);
    let mut opened = encoders.opened.lock().clone();
    opened.sort_unstable();
    assert_eq!(opened, [160, 320]);
}

#[test]
fn what_the_decoder_has_no_time_for_is_told_of_each_rendition() {
    let encoders = Arc::new(Counted::default());
    let much_later = usual(12_000).into_iter().filter(|tag| tag.is_video() && !tag.is_header());
    let tags: VecDeque<_> = usual(0).into_iter().chain(much_later).collect();
    let clip = Clip { tags, held_back: 0, may_go_on: Arc::new(AtomicBool::new(true)) };
    let group = group_of(clip, &encoders, 2);
    let mut streams = [(0, 320), (1, 160)].map(|(place, width)| Stream::of(&group, place, width));
    drop(group);
    for stream in &mut streams {
        stream.take_all();
        let figures = stream.driver.encoding().expect("it encodes");
        let left_out = [figures.drops.of(DropReason::FarBehind), figures.dropped];
        assert_eq!((stream.times().0.len(), left_out), (PICTURES, [PICTURES as u64; 2]), "{figures:?}");
    }
}

#[test]
fn streams_of_one_rendition_share_its_encoder_and_one_that_leaves_takes_nothing_from_the_other() {
    let encoders = Arc::new(Counted::default());
    let (group, may_go_on) = group(&encoders, 1);
    let [mut one, mut other] = [(); 2].map(|()| Stream::of(&group, 0, 320));
    let is_shown = |stream: &Stream| stream.times().0.len() >= 10;
    one.take_until("shown", is_shown);
    other.take_until("shown", is_shown);
    // Both may say what it is encoded to, and the least holds.
    let ask = |stream: &Stream, kbps| stream.dial.ask(BitRate::from_kbps(kbps)).expect("it is encoded");
    ask(&one, 300);
    ask(&other, 400);
    one.leave();
    assert!(one.dial.now().is_none(), "nothing is encoded for it any more");
    // One that comes later begins with a keyframe.
    let mut late = Stream::of(&group, 0, 320);
    may_go_on.store(true, Ordering::SeqCst);
    other.take_all();
    late.take_all();
    let (times, keys) = other.times();
    assert_eq!((times.len(), keys.len()), (PICTURES, PICTURES.div_ceil(GOP)));
    let (later, later_keys) = late.times();
    assert_eq!((later.first(), later.last()), (later_keys.first(), times.last()));
    assert!(keys.contains(&later[0]) && later[0] > times[0], "{later:?}");
    assert!(late.tags.iter().take(3).any(Tag::is_sequence_header), "with its headers");
    assert_eq!(*encoders.opened.lock(), [320]);
    // All leave: the threads end.
    drop(group);
    other.leave();
    late.leave();
}

#[test]
fn a_stream_that_takes_nothing_misses_pictures_and_holds_up_none_of_the_others() {
    let encoders = Arc::new(Counted::default());
    let (group, may_go_on) = group(&encoders, 1);
    let few = QueueBounds { items: 8, ..Config::default().read_ahead };
    let mut slow = Stream::with(&group, 0, 320, few);
    let mut other = Stream::of(&group, 0, 320);
    drop(group);
    other.take_until("ahead", |stream| stream.times().0.len() > few.items + 2);
    slow.take_until("given what waited", |stream| stream.times().0.len() >= 2);
    may_go_on.store(true, Ordering::SeqCst);
    other.take_all();
    slow.take_all();
    let ((times, keys), (shown, _)) = (other.times(), slow.times());
    assert_eq!((times.len(), other.driver.missed.pictures()), (PICTURES, 0));
    assert_eq!(shown.len() as u64 + slow.driver.missed.pictures(), PICTURES as u64, "{shown:?}");
    assert!(slow.driver.missed.pictures() > 0 && shown.starts_with(&times[..2]), "{shown:?}");
    let gaps: Vec<_> = shown.windows(2).filter(|two| two[1] - two[0] > 40).map(|two| two[1]).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|after| keys.contains(after)), "{gaps:?} {keys:?}");
    assert_eq!(*encoders.opened.lock(), [320]);
}
