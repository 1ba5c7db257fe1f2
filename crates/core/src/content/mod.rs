//! Whether what a source shows is worth watching: not black, not frozen, not silent.
//!
//! In: the tags of a source, on the stream's thread. Out: that something has been wrong with it for too long, and that it is right again. Every few
//! seconds a second of pictures, from a keyframe on, and a second of sound are put aside and looked at on the threads that make thumbnails; the
//! stream's thread decodes nothing. Where live media is encoded, what its encoder sees and hears is taken instead ([`probe`]).

mod judge;
#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
mod look;
mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use parking_lot::Mutex;

use self::judge::Judge;
use self::look::Thumb;
pub(crate) use self::probe::Probe;
#[cfg(feature = "libav")]
pub(crate) use self::probe::{Eye, Hearing};
use crate::event::EventKind;
use crate::stats::ContentFault;
use crate::sys::CpuMeter;
use crate::thumbnail::Studio;

/// Pictures and sound of a sample, in milliseconds.
const SAMPLE_MS: i64 = 1000;
/// Pictures of a sample.
const PICTURES: usize = 60;
/// Bytes of a sample.
const MOST_BYTES: usize = 8 << 20;
/// A sample is complete after this long, whatever is missing.
const LONGEST: Duration = Duration::from_secs(15);

/// What is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The pictures have been black for so long.
    pub(crate) black: Option<Duration>,
    /// They have not moved.
    pub(crate) frozen: Option<Duration>,
    /// The sound has been below `silent_below_db`.
    pub(crate) silent: Option<Duration>,
    /// In decibels of full scale.
    pub(crate) silent_below_db: i8,
    /// How often it is looked at.
    pub(crate) every: Duration,
}

impl Rules {
    fn limit(&self, fault: ContentFault) -> Option<Duration> {
        match fault {
            ContentFault::Black => self.black,
            ContentFault::Frozen => self.frozen,
            ContentFault::Silent => self.silent,
        }
    }

    fn wants_pictures(&self) -> bool {
        self.black.is_some() || self.frozen.is_some()
    }

    fn wants_anything(&self) -> bool {
        self.wants_pictures() || self.silent.is_some()
    }
}

/// A part of a stream that is looked at.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is decoded"))]
struct Sample {
    /// The sequence headers of picture and sound.
    headers: [Option<Tag>; 2],
    /// Pictures from a keyframe on, and sound.
    pictures: Vec<Tag>,
    sound: Vec<Tag>,
    bytes: usize,
}

/// What is seen in it; `None` of what cannot be told.
#[derive(Debug, Default)]
struct Findings {
    black: Option<bool>,
    frozen: Option<bool>,
    silent: Option<bool>,
    /// Its first picture, small.
    thumb: Option<Arc<Thumb>>,
}

/// How far a look is.
#[derive(Debug)]
enum State {
    /// The next one is at this instant.
    Waiting(Instant),
    /// A sample is put aside, since this instant.
    Gathering(Instant, Sample),
    /// It is looked at; it was complete at this instant.
    Looking(Instant, Arc<Mutex<Option<Findings>>>),
}

/// A source whose content is watched.
#[derive(Debug)]
pub(crate) struct ContentWatch {
    rules: Rules,
    studio: Studio,
    cpu: CpuMeter,
    headers: [Option<Tag>; 2],
    state: State,
    judge: Judge,
    /// The picture of the look before.
    before: Option<Arc<Thumb>>,
    looks: u32,
    /// What an encoder finds, and when what was taken of that was found: of each fault.
    probe: Probe,
    probed: [Option<Instant>; 3],
}

impl ContentWatch {
    /// `probe` has what an encoder of the source finds, if there is one.
    pub(crate) fn new(rules: Rules, studio: Studio, cpu: CpuMeter, now: Instant, probe: Probe) -> Self {
        Self {
            probe,
            probed: [None; 3],
            rules,
            studio,
            cpu,
            headers: [None, None],
            state: State::Waiting(now + rules.every),
            judge: Judge::default(),
            before: None,
            looks: 0,
        }
    }

    /// Whether something is wrong with it, and that was told.
    pub(crate) fn is_alarming(&self) -> bool {
        self.judge.is_alarming()
    }

    /// The source is another one, or begins again: what was seen of it means nothing. The alarms that end with that.
    pub(crate) fn reset(&mut self, now: Instant) -> Vec<EventKind> {
        (self.headers, self.before) = ([None, None], None);
        self.probe.forget();
        self.state = State::Waiting(now + self.rules.every);
        self.judge.reset(now)
    }

    /// As if a fault had been found.
    #[cfg(test)]
    pub(crate) fn raise(&mut self, fault: ContentFault, now: Instant) {
        self.judge.note(fault, true, now, Duration::ZERO);
    }

    /// Nothing is expected of it at the moment.
    pub(crate) fn rests(&mut self, now: Instant) -> Vec<EventKind> {
        self.before = None;
        self.probe.forget();
        self.state = State::Waiting(now + self.rules.every);
        self.judge.reset(now)
    }

    /// It gave these tags.
    pub(crate) fn note(&mut self, now: Instant, tags: &[Tag]) {
        let wanted = self.not_probed(now);
        for tag in tags.iter().filter(|tag| !tag.is_script() && tag.track() == 0) {
            let side = usize::from(!tag.is_video());
            if tag.is_sequence_header() {
                let known = self.headers[side].replace(tag.clone());
                if known.is_some_and(|known| known.body == tag.body) {
                    continue;
                }
                if let State::Gathering(since, sample) = &mut self.state
                    && !(sample.pictures.is_empty() && sample.sound.is_empty())
                {
                    // What was put aside belongs to the header before.
                    self.state = State::Gathering(*since, Sample::default());
                }
            } else if let State::Gathering(_, sample) = &mut self.state
                && !tag.is_header()
            {
                sample.add(tag, &wanted);
            }
        }
        let is_due = matches!(&self.state, State::Waiting(at) if now >= *at);
        if is_due {
            let next = State::Waiting(now + self.rules.every);
            let gathers = wanted.wants_anything();
            self.state = if gathers { State::Gathering(now, Sample::default()) } else { next };
        }
    }

    /// What no encoder looks for.
    fn not_probed(&self, now: Instant) -> Rules {
        let seen = self.probe.seen(now);
        let mut rules = self.rules;
        if seen.pictures.is_some() {
            (rules.black, rules.frozen) = (None, None);
        }
        if seen.sound.is_some() {
            rules.silent = None;
        }
        rules
    }

    /// What the encoder has found since the last time.
    fn check_probe(&mut self, now: Instant) -> Vec<EventKind> {
        let (seen, mut news) = (self.probe.seen(now), Vec::new());
        for (&fault, probed) in ContentFault::ALL.iter().zip(&mut self.probed) {
            let found = seen.found(fault, f64::from(self.rules.silent_below_db));
            if let (Some(limit), Some((at, found))) = (self.rules.limit(fault), found)
                && probed.replace(at) != Some(at)
            {
                news.extend(self.judge.note(fault, found, at, limit));
            }
        }
        news
    }

    /// Lets a sample that is complete be looked at, and says what was found of the one before. Called with ticks.
    pub(crate) fn check(&mut self, now: Instant) -> Vec<EventKind> {
        let mut news = self.check_probe(now);
        news.extend(self.check_sample(now));
        news
    }

    fn check_sample(&mut self, now: Instant) -> Vec<EventKind> {
        let wanted = self.not_probed(now);
        match &mut self.state {
            State::Waiting(_) => Vec::new(),
            State::Gathering(since, sample) => {
                let waited = now.saturating_duration_since(*since);
                let has_pictures = wanted.wants_pictures() && self.headers[0].is_some();
                let has_sound = wanted.silent.is_some() && self.headers[1].is_some();
                if sample.is_complete(has_pictures, has_sound) || waited >= LONGEST {
                    let mut sample = std::mem::take(sample);
                    sample.headers = self.headers.clone();
                    self.look(now, sample);
                }
                Vec::new()
            }
            State::Looking(at, answer) => {
                let Some(findings) = answer.lock().take() else { return Vec::new() };
                let at = *at;
                self.looks = self.looks.wrapping_add(1);
                // Not at even distances: a loop would show the same picture each time.
                let shift = self.rules.every / 16 * (self.looks.wrapping_mul(7) % 5);
                self.state = State::Waiting(at + self.rules.every - shift);
                if findings.thumb.is_some() {
                    self.before.clone_from(&findings.thumb);
                }
                let mut news = Vec::new();
                for (fault, found) in [
                    (ContentFault::Black, findings.black),
                    (ContentFault::Frozen, findings.frozen),
                    (ContentFault::Silent, findings.silent),
                ] {
                    if let (Some(limit), Some(found)) = (self.rules.limit(fault), found) {
                        news.extend(self.judge.note(fault, found, at, limit));
                    }
                }
                news
            }
        }
    }

    /// Has a sample looked at.
    fn look(&mut self, now: Instant, sample: Sample) {
        let answer = Arc::new(Mutex::new(None));
        let (slot, rules, before) = (answer.clone(), self.rules, self.before.clone());
        let work = move || {
            let look = std::panic::AssertUnwindSafe(|| look::look(&sample, &rules, before.as_deref()));
            // Without an answer it would be waited for, for ever.
            let findings = std::panic::catch_unwind(look).unwrap_or_default();
            *slot.lock() = Some(findings);
        };
        self.state = match self.studio.lend(&self.cpu, Box::new(work)) {
            Ok(()) => State::Looking(now, answer),
            Err(error) => {
                log::warn!("the content of a source cannot be looked at: {}", crate::error::chain(&error));
                State::Waiting(now + self.rules.every)
            }
        };
    }

    /// Bytes put aside.
    pub(crate) fn bytes_held(&self) -> usize {
        let sample = match &self.state {
            State::Gathering(_, sample) => sample.bytes,
            State::Waiting(_) | State::Looking(..) => 0,
        };
        sample + self.before.as_ref().map_or(0, |before| before.bytes_held())
    }
}

impl Sample {
    fn add(&mut self, tag: &Tag, rules: &Rules) {
        if self.bytes >= MOST_BYTES {
            return;
        }
        let list = if tag.is_video() {
            let is_wanted = rules.wants_pictures()
                && span(&self.pictures) < SAMPLE_MS
                && self.pictures.len() < PICTURES
                && (!self.pictures.is_empty() || tag.is_keyframe());
            is_wanted.then_some(&mut self.pictures)
        } else {
            let is_wanted = rules.silent.is_some() && span(&self.sound) < SAMPLE_MS;
            is_wanted.then_some(&mut self.sound)
        };
        if let Some(list) = list {
            self.bytes += tag.body.len();
            list.push(tag.clone());
        }
    }

    /// Whether all that is wanted is in it, of what the source has.
    fn is_complete(&self, has_pictures: bool, has_sound: bool) -> bool {
        let pictures = !has_pictures || span(&self.pictures) >= SAMPLE_MS || self.pictures.len() >= PICTURES;
        let sound = !has_sound || span(&self.sound) >= SAMPLE_MS;
        self.bytes >= MOST_BYTES || (pictures && sound && self.bytes > 0)
    }
}

/// Milliseconds from the first of these to the last.
fn span(tags: &[Tag]) -> i64 {
    match (tags.first(), tags.last()) {
        (Some(first), Some(last)) => last.timestamp.millis_since(first.timestamp),
        _ => 0,
    }
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use flowcast_av::{ColorInfo, FramePool, VideoFormat};
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn watch(probe: &Probe, now: Instant) -> ContentWatch {
        let limit = Some(EVERY);
        let rules = Rules { black: limit, frozen: limit, silent: None, silent_below_db: -40, every: EVERY };
        ContentWatch::new(rules, Studio::new(1), CpuMeter::default(), now, probe.clone())
    }

    fn keyframe() -> Tag {
        let body = bytes::Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
        Tag::from_wire(TagKind::Video, MediaTime::ZERO, body)
    }

    #[test]
    fn what_an_encoder_sees_is_not_decoded_once_more() {
        let (probe, began) = (Probe::default(), Instant::now());
        let mut eye = Eye::new(probe.clone());
        let (mut seen, mut unseen) = (watch(&probe, began), watch(&Probe::default(), began));
        let format = VideoFormat {
            width: 64,
            height: 36,
            pixel_format: "yuv420p".to_owned(),
            sample_aspect: None,
            color: ColorInfo::default(),
        };
        let mut black = FramePool::new(&format).expect("a format").get().expect("memory");
        black.plane_mut(0).fill(16);
        let black = black.into_frame();
        let mut raised = Vec::new();
        for tenth in 0..250 {
            let now = began + Duration::from_millis(100 * tenth);
            eye.see_at(now, &black);
            for watch in [&mut seen, &mut unseen] {
                watch.note(now, &[keyframe()]);
            }
            for news in seen.check(now) {
                let EventKind::ContentAlarm { fault, after } = news else { panic!("{news:?}") };
                raised.push((fault, after.as_secs()));
            }
            assert!(matches!(seen.state, State::Waiting(_)), "nothing is put aside");
        }
        // The first picture says nothing of motion.
        assert_eq!(raised, [(ContentFault::Black, 10), (ContentFault::Frozen, 10)]);
        assert!(matches!(unseen.state, State::Gathering(..)), "where nobody sees it, a sample is");
        assert_eq!(seen.reset(began + Duration::from_secs(25)).len(), 2);
    }
}
