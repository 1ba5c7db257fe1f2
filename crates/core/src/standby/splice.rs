//! The clock and the headers of a stream whose sources change.
//!
//! In: the tags of the source on the air, and the keyframe of the next one. Out: tags whose times increase, track by track, over the
//! seam; the sequence headers that differ from those that were sent last. Where a source was silent, the next one is put to
//! where the stream would be by now. Seams do not add up: the distance between the pictures at a seam is chosen so
//! that the stream stays with the clock it began by.

use std::time::{Duration, Instant};

use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::parameters::{Parameters, is_same_sound};
use crate::driver::SourceContext;
use crate::error::Error;
use crate::ring::{Headers, Refill};
use crate::stats::Seam;

/// The distance of two tags of a track where none has been seen, milliseconds.
const USUAL_STEP: i64 = 33;
/// Longer distances are gaps.
const LONGEST_STEP: i64 = 500;

/// What receivers have of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct OnAir {
    /// The headers that hold.
    pub(crate) headers: Headers,
    /// The newest time, once anything was sent.
    pub(crate) newest: Option<MediaTime>,
}

/// Joins the sources of a stream.
#[derive(Debug)]
pub(super) struct Splice {
    /// What was sent last.
    said: Headers,
    /// Pictures, and sound.
    tracks: [Track; 2],
    /// Until when pictures are shown.
    shown: Option<i64>,
    /// The newest time, and when it was handed over.
    newest: Option<(i64, Instant)>,
    /// A time of the stream and when it was due.
    origin: Option<(Instant, i64)>,
    /// By how much the source on the air is moved.
    shift: i64,
    /// When the source on the air began.
    begun: Option<Instant>,
    /// How often the headers have changed.
    revision: u64,
}

#[derive(Debug, Default)]
struct Track {
    last: Option<i64>,
    /// The distance of its last two tags.
    step: Option<i64>,
    /// Tags before this are left out: they belong to what was there before the seam.
    floor: Option<i64>,
    /// The time of the first tag of the source on the air, and how many came after it.
    first: Option<i64>,
    count: u32,
}

/// Where a source joins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Where the stream would be at this instant.
    At(Instant),
    /// Right behind what was there before.
    Next,
}

/// A source that joins.
#[derive(Debug)]
pub(super) struct Joint {
    /// The headers to be sent before its first tag.
    pub(super) headers: Vec<Tag>,
    /// What receivers see of it.
    pub(super) seam: Seam,
}

impl Splice {
    /// Of a stream that has sent this.
    pub(super) fn new(now: Instant, on_air: OnAir) -> Self {
        let newest = on_air.newest.map(MediaTime::as_millis);
        let track = || Track { last: newest, ..Track::default() };
        Self {
            said: on_air.headers,
            tracks: [track(), track()],
            shown: newest,
            newest: newest.map(|newest| (newest, now)),
            origin: newest.map(|newest| (now, newest)),
            shift: 0,
            begun: None,
            revision: 0,
        }
    }

    /// What was sent last of each header.
    pub(super) fn said(&self) -> &Headers {
        &self.said
    }

    /// Whether anything was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.newest.is_some()
    }

    /// How long the source on the air has been there.
    pub(super) fn on_air_for(&self, now: Instant) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun))
    }

    /// A number that changes with the headers.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// What is on the air. The frame rate is measured, once there is enough to measure.
    pub(super) fn parameters(&self) -> Parameters {
        /// Pictures of which a rate can be told.
        const ENOUGH: u32 = 10;
        let mut parameters = Parameters::of(&self.said);
        let [track, _] = &self.tracks;
        if let (Some(pictures), Some(first), Some(last)) = (&mut parameters.pictures, track.first, track.last)
            && track.count >= ENOUGH
            && last > first
        {
            pictures.rate = Some(f64::from(track.count) * 1000.0 / (last - first) as f64);
        }
        parameters
    }

    /// Moves the tags of the source on the air that it has put there since `from` to where they belong; `told` is how many of the
    /// context's tags could be made again before.
    pub(super) fn pass(&mut self, cx: &mut SourceContext<'_>, from: usize, told: usize) {
        let (mut kept, count) = (from, cx.tags.len());
        for index in from..count {
            if cx.tags.get_mut(index).is_some_and(|tag| self.place(cx.now, tag)) {
                cx.tags.swap(kept, index);
                kept += 1;
            }
        }
        cx.tags.truncate(kept);
        if kept < count {
            // Places in the tags hold no more.
            cx.refills.truncate(told);
        } else if self.shift != 0 {
            for made in cx.refills.iter_mut().skip(told) {
                let inner = std::mem::replace(&mut made.refill, Box::new(Nothing));
                made.refill = Box::new(Shifted { inner, shift: self.shift });
            }
        }
    }

    /// Moves a tag by the shift; `false` if it is to be left out.
    fn place(&mut self, now: Instant, tag: &mut Tag) -> bool {
        let time = tag.timestamp.as_millis().saturating_add(self.shift);
        tag.timestamp = MediaTime::from_millis(time);
        if tag.is_header() {
            self.revision += u64::from(self.said.note(tag));
            return true;
        }
        if tag.is_script() {
            return true;
        }
        let track = &mut self.tracks[usize::from(tag.is_audio())];
        if let Some(floor) = track.floor {
            if time < floor {
                return false;
            }
            track.floor = None;
        }
        self.said.note_frame(tag);
        if let Some(step) =
            track.last.map(|last| time - last).filter(|step| (1..=LONGEST_STEP).contains(step))
        {
            track.step = Some(step);
        }
        track.last = Some(track.last.map_or(time, |last| last.max(time)));
        match track.first {
            Some(_) => track.count = track.count.saturating_add(1),
            None => track.first = Some(time),
        }
        self.begun.get_or_insert(now);
        if tag.is_video() {
            let shown = time + composition_time(tag);
            self.shown = Some(self.shown.map_or(shown, |last| last.max(shown)));
        }
        self.origin.get_or_insert((now, time));
        if self.newest.is_none_or(|(newest, _)| newest <= time) {
            self.newest = Some((time, now));
        }
        true
    }

    /// Another source joins with `first`, a keyframe, in this `place`; `headers` hold for it. If it is `fitted`, it was encoded to
    /// what is on the air. Its tags are to be [passed](Self::pass) from now on.
    pub(super) fn join(&mut self, place: Place, headers: &Headers, first: &Tag, fitted: bool) -> Joint {
        let at = self.join_at(place, first);
        self.begun = None;
        self.shift = at.saturating_sub(first.timestamp.as_millis());
        for (track, is_first) in self.tracks.iter_mut().zip([first.is_video(), first.is_audio()]) {
            let after = track.last.map(|last| last + (track.step.unwrap_or(USUAL_STEP) / 2).max(1));
            track.floor = after.filter(|_| !is_first);
            (track.first, track.count) = (None, 0);
        }
        // `pass` moves them with the tags.
        let before = MediaTime::from_millis(first.timestamp.as_millis());
        let (mut differ, mut metadata) = (Vec::new(), None);
        let was = self.said.clone();
        for tag in headers.at(before) {
            if tag.is_script() {
                metadata = Some(tag);
            } else if !self.said.has(&tag) && !self.said.tags().any(|said| is_same_sound(said, &tag)) {
                differ.push(tag);
            }
        }
        let seam = if differ.is_empty() {
            Seam::Seamless
        } else if fitted && super::parameters::are_alike(&was, headers) {
            Seam::Encoded
        } else {
            Seam::NewHeaders
        };
        // What describes the same parameters need not be said again.
        let metadata = metadata.filter(|_| seam != Seam::Seamless);
        Joint { headers: metadata.into_iter().chain(differ).collect(), seam }
    }

    /// Where the first tag of a source that joins goes.
    fn join_at(&self, place: Place, first: &Tag) -> i64 {
        let Some((newest, since)) = self.newest else { return first.timestamp.as_millis() };
        let track = &self.tracks[usize::from(first.is_audio())];
        let step = track.step.unwrap_or(USUAL_STEP);
        let mut earliest = track.last.map_or(newest, |last| last + (step / 2).max(1));
        if first.is_video()
            && let Some(shown) = self.shown
        {
            earliest = earliest.max(shown + 1 - composition_time(first));
        }
        let millis = |passed: Duration| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let Place::At(now) = place else {
            return earliest.max(track.last.map_or(newest, |last| last + step));
        };
        // A source whose own clock was slower is not made up for by a gap.
        let latest = newest.saturating_add(millis(now.saturating_duration_since(since))).saturating_add(step);
        let usual = earliest.max(track.last.map_or(newest, |last| last + step));
        let target = self.origin.map_or(usual, |(origin, time)| {
            time.saturating_add(millis(now.saturating_duration_since(origin)))
        });
        // The usual distance, unless the stream is off its clock by more than that.
        match target - usual {
            off if off < -step => earliest,
            off if off <= step => usual,
            _ => target.min(latest).max(usual),
        }
    }
}

/// Presentation minus decoding time of a picture, milliseconds.
fn composition_time(tag: &Tag) -> i64 {
    match coded(tag).map(|coded| coded.part) {
        Some(Part::Frames { composition_time, .. }) => composition_time.into(),
        Some(Part::Config(_)) | None => 0,
    }
}

/// Makes tags again as they were moved.
#[derive(Debug)]
struct Shifted {
    inner: Box<dyn Refill>,
    shift: i64,
}

impl Refill for Shifted {
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error> {
        let from = tags.len();
        self.inner.refill(tags)?;
        for tag in tags.iter_mut().skip(from) {
            tag.timestamp = MediaTime::from_millis(tag.timestamp.as_millis().saturating_add(self.shift));
        }
        Ok(())
    }
}

/// Stands where a refill is being wrapped.
#[derive(Debug)]
struct Nothing;

impl Refill for Nothing {
    fn refill(&self, _tags: &mut Vec<Tag>) -> Result<(), Error> {
        Ok(())
    }
}
