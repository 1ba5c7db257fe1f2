//! What a live encoder gets over, without a stream's thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast_av::encoder::VideoSettings;
use flowcast_av::{Demuxer, Interrupt, OpenOptions, SampleSpec, sample_clip};
use flowcast_rtmp::flv::tag::TagKind;
use flowcast_rtmp::flv::{audio, video};
use flowcast_rtmp::time::MediaTime;

use super::*;
use crate::config::Config;
use crate::driver::{SourceDriver, TurnClock};
use crate::engine::Engine;
use crate::engine::serving::{PublishOptions, ServerEngine};
use crate::id::StreamId;
use crate::pool::Scratch;
use crate::publish::published::{Published, Reader};
use crate::tracks::Carriage;
use crate::transcode::{
    EncoderDefaults, EncoderPlan, LibavEncoders, Mode, PictureEncoder, Profile, VideoCodec, Wish,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A device that can be busy, and that takes its time to be found.
#[derive(Debug, Default)]
struct Device {
    /// Openings that it refuses.
    busy: AtomicUsize,
    /// It is being looked for as long as this holds.
    is_hidden: AtomicBool,
    asked: AtomicUsize,
}

impl Encoders for Device {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while self.is_hidden.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        vec!["libx264".to_owned()]
    }

    fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
        let left = self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |busy| busy.checked_sub(1));
        match left {
            Ok(_) => Err(Media::NoFreeSession { name: "device".to_owned() }),
            Err(_) => LibavEncoders.open(track, settings),
        }
    }

    fn failed(&self, _: &str) {}
}

/// A live encoder, and what has come out of it.
struct Studio {
    poll: mio::Poll,
    encoder: LiveEncoder,
    out: Vec<Tag>,
    notices: Vec<EventKind>,
}

/// Encodes everything by these encoders.
fn start(encoders: Arc<dyn Encoders>, reader: Mailbox, mode: Mode, tune: Option<&str>) -> LiveEncoder {
    start_for(CpuMeter::default(), encoders, reader, mode, tune)
}

/// The same, for a stream with this meter.
pub(in crate::publish) fn start_for(
    cpu: CpuMeter,
    encoders: Arc<dyn Encoders>,
    reader: Mailbox,
    mode: Mode,
    tune: Option<&str>,
) -> LiveEncoder {
    let mut wish = Wish { mode: Some(mode), encoding: Profile::Ultra.into(), ..Wish::default() };
    wish.encoding.tune = tune.map(str::to_owned);
    let defaults = EncoderDefaults { prefer_hardware: false, fallback: true };
    LiveEncoder::start(LiveOptions {
        name: "studio".to_owned(),
        bounds: Config::default().read_ahead,
        reader,
        cpu,
        settling: Settling::new(wish, defaults),
        encoders,
        mixed: None,
        probe: None,
    })
    .expect("there are threads")
}

/// What a stream's thread waits with.
pub(in crate::publish) fn reader() -> (mio::Poll, Mailbox) {
    let poll = mio::Poll::new().expect("the kernel has one");
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("the kernel has one");
    let (mailbox, _commands) = Mailbox::new(waker);
    (poll, mailbox)
}

/// Asks a source for what it has.
pub(in crate::publish) fn pull(
    poll: &mio::Poll,
    out: &mut Vec<Tag>,
    notices: &mut Vec<EventKind>,
    from: impl FnOnce(&mut SourceContext<'_>) -> SourceState,
) -> SourceState {
    let (mut refills, mut scratch) = (Vec::new(), Scratch::default());
    from(&mut SourceContext {
        now: Instant::now(),
        clock: TurnClock::Still,
        readable: false,
        writable: false,
        tick: true,
        ticks_only: false,
        registry: poll.registry(),
        token: mio::Token(1),
        scratch: &mut scratch,
        tags: out,
        refills: &mut refills,
        notices,
    })
}

impl Studio {
    fn open(encoders: Arc<dyn Encoders>, mode: Mode, tune: Option<&str>) -> Self {
        let (poll, reader) = reader();
        let encoder = start(encoders, reader, mode, tune);
        Self { poll, encoder, out: Vec::new(), notices: Vec::new() }
    }

    fn take(&mut self) -> SourceState {
        let Self { poll, encoder, out, notices } = self;
        pull(poll, out, notices, |cx| encoder.pull(cx))
    }

    /// Takes until something is so.
    fn take_until(&mut self, what: &str, is_so: impl Fn(&Self, &SourceState) -> bool) -> SourceState {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = self.take();
            if is_so(self, &state) {
                return state;
            }
            assert!(Instant::now() < until, "not {what}: {state:?}, {:?}", self.notices);
            std::thread::yield_now();
        }
    }

    /// Plays tags to it, no faster than they are taken.
    fn publish(&mut self, tags: &[Tag]) {
        for portion in tags.chunks(8) {
            self.encoder.push(Instant::now(), portion.iter().cloned());
            self.take_until("taken", |studio, _| studio.encoder.inbox.waiting() == 0);
        }
    }

    /// The publication is over, and all of it has come out.
    fn end(&mut self) {
        self.encoder.end(Instant::now());
        self.take_until("over", |studio, _| studio.encoder.is_idle());
    }

    /// Nothing follows.
    fn finish(mut self) -> (SourceState, Vec<Tag>, Vec<EventKind>) {
        self.encoder.finish();
        let state = self.take_until("at its end", |_, state| !matches!(state, SourceState::Running));
        (state, std::mem::take(&mut self.out), std::mem::take(&mut self.notices))
    }

    /// What was told, in short.
    fn told(&self) -> Vec<String> {
        self.notices.iter().map(short).collect()
    }
}

fn short(notice: &EventKind) -> String {
    match notice {
        EventKind::SourceFault { error } => error.code().to_owned(),
        EventKind::TrackSkipped { track, .. } => format!("track {track}"),
        other => format!("{other:?}"),
    }
}

/// The tags of a clip of two seconds, as they are published from this time on.
fn clip(from: i64, spec: &SampleSpec) -> Vec<Tag> {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let path = directory.path().join("clip.mp4");
    sample_clip(&path, spec).expect("libav has the encoders");
    let mut file = Demuxer::open(&path, &OpenOptions::default(), &Interrupt::new()).expect("it is ours");
    let tagger = Tagger::new(Selection::of(file.media(), Carriage::Plain));
    let mut tags = tagger.headers();
    while let Some(packet) = file.read().expect("it can be read") {
        let base = file.media().track(packet.track).expect("it has it").time_base;
        let [dts, pts] = [packet.dts, packet.pts].map(|ticks| base.millis(ticks.expect("it has times")));
        let at = MediaTime::from_millis(dts);
        let tag = if tagger.is_video(packet.track) {
            tagger.video(at, pts - dts, packet.keyframe, packet.data)
        } else {
            tagger.audio(at, packet.data)
        };
        tags.push(tag.expect("FLV carries it"));
    }
    tags.sort_by_key(|tag| tag.timestamp.as_millis());
    for tag in &mut tags {
        tag.timestamp = MediaTime::from_millis(tag.timestamp.as_millis().max(0) + from);
    }
    tags
}

pub(in crate::publish) fn usual(from: i64) -> Vec<Tag> {
    clip(from, &SampleSpec::default())
}

/// Replaces the headers of a kind by one that no decoder takes.
fn spoil(tags: &mut [Tag], kind: TagKind) {
    for tag in tags.iter_mut().filter(|tag| tag.kind == kind && tag.is_sequence_header()) {
        let (at, noise) = (tag.timestamp, Bytes::from_static(&[0xFF; 7]));
        *tag = match kind {
            TagKind::Video => video::avc_sequence_header(noise, at),
            _ => audio::aac_sequence_header(noise, at),
        };
    }
}

fn pictures(tags: &[Tag], from: i64) -> usize {
    let is_picture = |tag: &&Tag| tag.is_video() && !tag.is_header() && tag.timestamp.as_millis() >= from;
    tags.iter().filter(is_picture).count()
}

#[test]
fn a_publication_that_cannot_be_encoded_is_a_fault_and_the_next_one_is_encoded() {
    let device = Arc::new(Device { busy: AtomicUsize::new(1), ..Device::default() });
    let mut studio = Studio::open(device, Mode::Encode, None);
    studio.publish(&usual(0));
    studio.take_until("given up", |studio, _| studio.encoder.has_given_up());
    assert!(studio.out.is_empty());
    studio.end();
    assert!(studio.encoder.has_given_up(), "outputs rest until something can be sent");
    studio.publish(&usual(10_000));
    studio.end();
    assert!(!studio.encoder.has_given_up());
    assert_eq!(studio.told(), ["ENCODER_FAILED"]);
    let (state, out, _) = studio.finish();
    assert!(matches!(state, SourceState::Ended), "{state:?}");
    assert_eq!((pictures(&out, 0), pictures(&out, 10_000)), (50, 50));
}

#[test]
fn a_publication_is_tried_again_as_long_as_it_lasts_and_its_fault_told_once() {
    let device = Arc::new(Device { busy: AtomicUsize::new(2), ..Device::default() });
    let mut studio = Studio::open(device, Mode::Encode, None);
    let spec = SampleSpec { seconds: 25.0, fps: 5, gop_frames: 5, ..SampleSpec::default() };
    studio.publish(&clip(0, &spec));
    studio.end();
    assert_eq!(studio.told(), ["ENCODER_FAILED"]);
    let (_, out, _) = studio.finish();
    let first = out.iter().find(|tag| tag.is_video() && !tag.is_header()).expect("it was encoded in the end");
    assert!(first.is_keyframe() && (20_000..24_000).contains(&first.timestamp.as_millis()), "{first:?}");
}

#[test]
fn figures_nothing_was_encoded_to_are_forgotten() {
    let device = Arc::new(Device { busy: AtomicUsize::new(1), ..Device::default() });
    let mut studio = Studio::open(device, Mode::Encode, None);
    studio.publish(&clip(0, &SampleSpec { width: 64, height: 36, ..SampleSpec::default() }));
    studio.end();
    studio.publish(&usual(10_000));
    studio.end();
    let (_, out, _) = studio.finish();
    let metadata = out.iter().find(|tag| tag.is_metadata()).expect("it says what it is");
    let said = flowcast_rtmp::flv::script::Metadata::parse(&metadata.body.to_bytes()).expect("it is ours");
    assert_eq!((said.width, said.height), (Some(320.0), Some(180.0)));
}

#[test]
fn a_stream_of_one_publication_that_cannot_be_encoded_ends_with_the_reason() {
    let device = Arc::new(Device { busy: AtomicUsize::new(1), ..Device::default() });
    let mut studio = Studio::open(device, Mode::Encode, None);
    studio.publish(&usual(0));
    let (state, ..) = studio.finish();
    assert!(matches!(&state, SourceState::Failed(error) if error.code() == "ENCODER_FAILED"), "{state:?}");
}

#[test]
fn settings_that_no_encoder_takes_end_the_stream() {
    let mut studio = Studio::open(Arc::new(LibavEncoders), Mode::Encode, Some("nonsense"));
    studio.encoder.push(Instant::now(), usual(0).into_iter());
    let state = studio.take_until("at its end", |_, state| !matches!(state, SourceState::Running));
    assert!(matches!(&state, SourceState::Failed(error) if error.code() == "ENCODER_FAILED"), "{state:?}");
}

#[test]
fn a_track_that_cannot_be_decoded_is_told_once_in_each_publication() {
    let mut studio = Studio::open(Arc::new(LibavEncoders), Mode::Encode, None);
    for from in [0, 20_000] {
        // A pause, after which it is looked at anew.
        for from in [from, from + 10_000] {
            let mut tags = usual(from);
            spoil(&mut tags, TagKind::Audio);
            studio.publish(&tags);
        }
        studio.end();
    }
    assert_eq!(studio.told(), ["track 1", "track 1"]);
    let (_, out, _) = studio.finish();
    assert_eq!(pictures(&out, 0), 200);
    assert!(!out.iter().any(Tag::is_audio));
}

#[test]
fn what_cannot_be_decoded_at_all_is_told_once_and_the_next_publication_is_encoded() {
    let mut studio = Studio::open(Arc::new(LibavEncoders), Mode::Encode, None);
    let mut tags = clip(0, &SampleSpec { seconds: 5.0, ..SampleSpec::default() });
    spoil(&mut tags, TagKind::Audio);
    spoil(&mut tags, TagKind::Video);
    studio.publish(&tags);
    studio.take_until("given up", |studio, _| studio.encoder.has_given_up());
    studio.end();
    studio.publish(&usual(10_000));
    studio.end();
    assert_eq!(studio.told(), ["track 0", "track 1", "NO_PLAYABLE_TRACK"]);
    let (state, out, _) = studio.finish();
    assert!(matches!(state, SourceState::Ended), "{state:?}");
    assert_eq!(pictures(&out, 0), 50);
}

#[test]
fn what_an_encoder_leaves_out_stays_counted_for_its_stream() {
    let device = || Arc::new(Device { is_hidden: AtomicBool::new(true), ..Device::default() });
    let meter = CpuMeter::default();
    for sum in 1..=2u64 {
        let ((_poll, reader), device) = (reader(), device());
        let encoder = start_for(meter.clone(), device.clone(), reader, Mode::Encode, None);
        // Half a minute at once, while devices are looked for: ten seconds are kept.
        for from in [0, 10_000, 20_000] {
            encoder.push(Instant::now(), usual(from).into_iter());
        }
        let drops = encoder.drops();
        assert!(drops > 0);
        assert_eq!(meter.left_out(), sum * drops);
        device.is_hidden.store(false, Ordering::SeqCst);
        encoder.finish();
    }
}

/// An encoder that does not open, and one that does.
#[derive(Debug)]
struct Closed;

impl Encoders for Closed {
    fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
        ["closed", "libx264"].map(str::to_owned).into()
    }

    fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
        match settings.encoder.as_deref() {
            Some("closed") => Err(Media::NoFreeSession { name: "closed".to_owned() }),
            _ => LibavEncoders.open(track, settings),
        }
    }

    fn failed(&self, _: &str) {}
}

#[test]
fn an_encoder_that_takes_the_place_of_another_is_told() {
    let mut studio = Studio::open(Arc::new(Closed), Mode::Encode, None);
    studio.publish(&clip(0, &SampleSpec::default()));
    studio.end();
    let (_, out, notices) = studio.finish();
    assert!(!out.is_empty());
    let changed = notices.iter().filter_map(|notice| match notice {
        EventKind::EncoderChanged { from, to, error } => Some((from.as_str(), to.as_str(), error.code())),
        _ => None,
    });
    let busy = Error::Media(Media::NoFreeSession { name: "closed".to_owned() });
    assert_eq!(changed.collect::<Vec<_>>(), [("closed", "libx264", busy.code())], "{notices:?}");
}

#[test]
fn devices_are_looked_for_before_somebody_publishes_and_nothing_is_lost_meanwhile() {
    let device = Arc::new(Device { is_hidden: AtomicBool::new(true), ..Device::default() });
    let mut studio = Studio::open(device.clone(), Mode::Encode, None);
    studio.take_until("looking", |_, _| device.asked.load(Ordering::SeqCst) == 1);
    // Three seconds come while they are looked for.
    studio
        .encoder
        .push(Instant::now(), clip(0, &SampleSpec { seconds: 3.0, ..SampleSpec::default() }).into_iter());
    device.is_hidden.store(false, Ordering::SeqCst);
    studio.end();
    assert_eq!(studio.encoder.drops(), 0);
    let (_, out, _) = studio.finish();
    assert_eq!(pictures(&out, 0), 75);
}

#[test]
fn of_headers_only_the_one_that_changes_is_sent_again() {
    let mut studio = Studio::open(Arc::new(LibavEncoders), Mode::Auto, None);
    studio.publish(&usual(0));
    studio.end();
    let from = studio.out.len();
    studio.publish(&clip(10_000, &SampleSpec { audio: Some((44_100, 2)), ..SampleSpec::default() }));
    studio.end();
    let (_, out, notices) = studio.finish();
    assert!(notices.is_empty(), "{notices:?}");
    let headers = |tags: &[Tag]| {
        tags.iter().filter(|tag| tag.is_sequence_header()).map(|tag| tag.kind).collect::<Vec<_>>()
    };
    assert_eq!(headers(&out[..from]), [TagKind::Video, TagKind::Audio]);
    assert_eq!(headers(&out[from..]), [TagKind::Audio]);
}

/// A publisher that gives all at once, and stays until it may go.
struct Publisher {
    tags: Vec<Tag>,
    is_done: Arc<AtomicBool>,
}

impl SourceDriver for Publisher {
    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        cx.tags.append(&mut self.tags);
        if self.is_done.load(Ordering::SeqCst) { SourceState::Ended } else { SourceState::Running }
    }
}

type IsSo<'a> = dyn Fn(&Published, &[Tag], &[EventKind]) -> bool + 'a;

#[test]
fn outputs_rest_during_a_publication_that_cannot_be_encoded_and_go_on_with_the_next_one() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let (poll, mailbox) = reader();
    let device = Arc::new(Device { busy: AtomicUsize::new(1), ..Device::default() });
    let encoder = start(device, mailbox.clone(), Mode::Encode, None);
    let reader = Reader { id: StreamId(7), mailbox, bounds: Config::default().read_ahead };
    let mut source = Published::new(engine.hub().clone(), "studio".to_owned(), false, reader, Some(encoder));
    source.start(Instant::now());
    let (mut out, mut notices) = (Vec::new(), Vec::new());
    let mut pull_until = |what: &str, is_so: &IsSo<'_>| {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = pull(&poll, &mut out, &mut notices, |cx| source.pull(cx));
            assert!(matches!(state, SourceState::Running), "{state:?}");
            if is_so(&source, &out, &notices) {
                return out.len();
            }
            assert!(Instant::now() < until, "not {what}: {notices:?}");
            std::thread::yield_now();
        }
    };
    let begun = |notices: &[EventKind]| {
        notices.iter().filter(|notice| matches!(notice, EventKind::PublicationBegan { .. })).count()
    };
    let ended = |notices: &[EventKind]| {
        notices.iter().filter(|notice| matches!(notice, EventKind::PublicationEnded { .. })).count()
    };
    for round in 1..=2 {
        let claim = engine.hub().claim("studio", None).expect("the name is free");
        let is_done = Arc::new(AtomicBool::new(false));
        let publisher = Publisher { tags: usual(0), is_done: is_done.clone() };
        let options = PublishOptions { grace: Duration::ZERO, ..PublishOptions::default() };
        let publication = engine.publish(claim, Box::new(publisher), &options).expect("there are threads");
        if round == 1 {
            pull_until("begun", &|_, _, notices| begun(notices) == 1);
            let sent = pull_until("at rest", &|source, _, _| source.is_resting());
            assert_eq!(sent, 0);
        } else {
            pull_until("encoded", &|source, out, _| !source.is_resting() && pictures(out, 0) > 0);
        }
        is_done.store(true, Ordering::SeqCst);
        pull_until("over", &|source, _, notices| source.is_resting() && ended(notices) == round);
        let until = Instant::now() + PATIENCE;
        while engine.get(publication.id()).is_some() {
            assert!(Instant::now() < until, "the publisher has left");
            std::thread::yield_now();
        }
    }
    let told: Vec<_> = notices.iter().map(short).collect();
    assert_eq!(told.iter().filter(|told| *told == "ENCODER_FAILED").count(), 1, "{told:?}");
    assert_eq!((told.len(), pictures(&out, 0)), (5, 50), "{told:?}");
}
