//! A lane: items played one after the other, without a gap, on the clock of a stream.
//!
//! In: items, each with its tags on its own clock. Out: turn by turn, tags on the stream's clock. Video sets how long an
//! item lasts (audio, where there is no video). Audio is a row of frames of equal length that never quite fits: each item
//! plays the whole number of frames that ends nearest to the next item's beginning; one is left out or repeated where that
//! is nearer, and silence is put where there are none. Positions are exact; only finished times are rounded, so nothing
//! accumulates however many laps are played.

use std::time::Duration;

use bytes::Bytes;
use flowcast_rtmp::flv::data;
use flowcast_rtmp::flv::tag::{Tag, TagBody, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::item::{Feed, Item, Read, Since};
use super::metadata::{self, sound_of, with_audio};
use super::turn::Turn;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{
    AudioLap, AudioPlace, OtherPlace, OtherRows, Placement, Position, SHORTEST_LAP, Unit, VideoPlace,
};
use crate::reel::SLOT_MS;

mod parameters;
mod sound;

use parameters::{Parameters, Sound};
use sound::{Chain, Row, Settled};

/// Audio that begins later than this behind what was sent before, in milliseconds, brings its header with it and not before.
const LONGEST_FRONT: i64 = 1000;

/// Microseconds, and what times that were rounded to milliseconds may be off by.
const MICROS: Unit = Unit { num: 1, den: 1_000_000 };
const ROUNDED: i64 = 1000;

/// Frames of sound that a piece of a stream may have fewer than its picture is long: the next one may begin with them.
const JOINED: i64 = 2;

/// How far a lane got.
#[derive(Debug)]
pub(super) enum Flow {
    /// Everything due was handed over.
    Due,
    /// More is due: a slot at a time, so that a stream that is late takes no more memory than one that is not.
    More,
    /// Something due is not there yet.
    Dry,
    /// The lap is over: the next item is to be begun with [`Lane::begin`].
    LapEnd,
    /// The item can be read no further.
    Failed(Error),
}

/// Who tells players what the stream is.
#[derive(Debug, Clone)]
pub(crate) enum MetadataRole {
    /// This lane; the audio that `companion` describes comes from another one.
    Sends {
        /// The sound, as metadata has it.
        companion: Option<metadata::Sound>,
    },
    /// Another lane.
    Silent,
}

/// One row of items.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Where the current item's clock has its zero.
    at: Position,
    /// Where the lap began, and where that is on the item's clock, in milliseconds.
    origin: (Position, i64),
    /// Whether anything was begun: what follows begins with its picture.
    begun: bool,
    /// It is not known yet where the item's picture begins.
    open: bool,
    /// Where the lap ends, once that is known, also in milliseconds.
    end: Option<(Position, i64)>,
    /// Where its picture begins, and how long one of its frames lasts in microseconds, once that is known; and the same of the lap before, if
    /// that was played to its end.
    picture: Option<(Position, i64)>,
    before: Option<(Position, i64)>,
    item: Option<Item>,
    chain: Option<Chain>,
    row: Option<Row>,
    /// Audio is made where items have none: the configuration to begin with.
    silence: Option<Bytes>,
    /// What the item that was begun last, or those before it, began with.
    parameters: Parameters,
    /// The bodies of the sequence headers that were sent last, at the beginning of an item or within.
    video_header: Option<TagBody>,
    audio_header: Option<TagBody>,
    /// Sound beside the first: its headers, and what was sent of it.
    other_headers: Vec<Tag>,
    others: OtherRows,
    metadata: MetadataRole,
    /// What was said of the sound last, once metadata was sent.
    described: Option<Option<metadata::Sound>>,
    /// Times of the last frames handed over.
    last_video: i64,
    last_audio: i64,
    /// Up to here everything was handed over, on the stream's clock.
    handed: i64,
    /// How far that was when the item began.
    begun_at: i64,
    /// The last frame of the lap, kept where it will be repeated.
    repeat: Option<Bytes>,
    /// Frames before this, on the item's clock, are left out: after a seek.
    video_from: i64,
    /// How far into the item this lap of it was entered, in milliseconds.
    entered: i64,
}

impl Lane {
    /// An empty lane; with `silence` (an AudioSpecificConfig) it has audio also where its items have none.
    pub(crate) fn new(metadata: MetadataRole, silence: Option<Bytes>) -> Self {
        Self {
            at: Position::ZERO,
            origin: (Position::ZERO, 0),
            begun: false,
            open: false,
            end: None,
            picture: None,
            before: None,
            item: None,
            chain: None,
            row: None,
            silence,
            parameters: Parameters::default(),
            video_header: None,
            audio_header: None,
            other_headers: Vec::new(),
            others: OtherRows::default(),
            metadata,
            described: None,
            last_video: i64::MIN,
            last_audio: i64::MIN,
            handed: 0,
            begun_at: 0,
            repeat: None,
            video_from: i64::MIN,
            entered: 0,
        }
    }

    /// The sound comes from another lane, and is as `companion` says, if that is known.
    pub(super) fn accompany(&mut self, companion: Option<metadata::Sound>) {
        self.metadata = MetadataRole::Sends { companion };
    }

    /// The item that is played.
    pub(super) fn item(&self) -> Option<&Item> {
        self.item.as_ref()
    }

    /// The item that is played.
    pub(super) fn item_mut(&mut self) -> Option<&mut Item> {
        self.item.as_mut()
    }

    /// Up to where the lane has handed everything over, in milliseconds of the stream's clock.
    pub(super) fn handed(&self) -> i64 {
        self.handed
    }

    /// How much of the current item was handed over, in milliseconds.
    pub(super) fn played(&self) -> i64 {
        self.handed - self.begun_at
    }

    /// How much of the current item was handed over in this lap, on the item's clock.
    pub(super) fn position(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.handed - self.at.millis()).unwrap_or(0))
    }

    /// Where the beginning of the current lap is on the stream's clock, in milliseconds.
    pub(super) fn lap_began(&self) -> i64 {
        self.at.millis()
    }

    /// Which parameters of what plays would change if `item` followed; `None` if none would.
    pub(super) fn differs(&self, item: &Item) -> Option<&'static str> {
        self.parameters.change(&Parameters::of(item))
    }

    /// Begins `item` where the last one ended, `offset` milliseconds into it (at a keyframe).
    pub(super) fn begin(&mut self, item: Item, offset: i64) {
        self.open = self.begun && offset == 0 && item.lead().is_none();
        self.item = Some(item);
        self.begun_at = self.handed;
        self.entered = offset;
        self.begin_lap(if offset > 0 { offset } else { self.lead() });
    }

    /// The picture of what is begun next comes `ticks` of `unit` after that of the item before, by the clock of who made both. If that is within a frame of
    /// where the item ended, it begins there, and so keeps to that clock. Otherwise it follows without a gap; how much later than that it would be, in
    /// milliseconds.
    pub(super) fn follow(&mut self, ticks: i64, unit: Unit) -> i64 {
        let Some((begin, frame)) = self.before.take() else { return 0 };
        let meant = begin.plus(ticks, unit);
        let off = meant.to(MICROS) - self.at.to(MICROS);
        if off.abs() <= frame + ROUNDED {
            self.at = meant;
            return 0;
        }
        MICROS.to_millis(off)
    }

    /// Begins the next lap of the same item.
    pub(super) fn begin_again(&mut self) {
        if let Some(item) = &mut self.item {
            item.begin_lap();
        }
        self.entered = 0;
        self.begin_lap(self.lead());
    }

    /// How far into the item it is begun behind others: at its picture.
    fn lead(&self) -> i64 {
        self.item.as_ref().filter(|_| self.begun).and_then(Item::lead).unwrap_or(0)
    }

    /// The lap begins `offset` milliseconds into its item.
    fn set_origin(&mut self, offset: i64) {
        self.origin = (self.at, offset);
        if offset > 0 {
            self.at = self.at.plus(-offset, Unit::MILLIS);
        }
    }

    fn begin_lap(&mut self, offset: i64) {
        self.set_origin(offset);
        self.begun = true;
        self.video_from = if offset > 0 { offset } else { i64::MIN };
        (self.end, self.picture) = (None, None);
        self.row = None;
        self.repeat = None;
        let known = self.item.as_ref().and_then(|item| item.known());
        if let Some(AudioLap { rate, frame, start, .. }) = known.and_then(|facts| facts.audio) {
            self.begin_row(rate, frame, start, offset);
        }
    }

    /// Leaves the current item at once; the next one begins where this one was left.
    pub(super) fn cut(&mut self) {
        if let (Some(chain), Some(row)) = (&mut self.chain, &self.row) {
            chain.next = row.begin + row.sent.max(row.from) * i64::from(chain.frame);
        }
        self.at = Position::from_millis(self.handed);
        self.item = None;
        self.row = None;
        (self.end, self.picture, self.before) = (None, None, None);
    }

    /// The item goes on from another feed, which will say where it ends.
    pub(super) fn go_on(&mut self, feed: Feed) {
        if let Some(item) = &mut self.item {
            item.replace_feed(feed);
        }
        self.end = None;
        if let Some(row) = &mut self.row {
            row.settled = None;
        }
    }

    /// Forgets the item that was played to its end.
    pub(super) fn leave(&mut self) {
        self.item = None;
    }

    /// Hands over what is due at `due`, up to the end of the lap.
    pub(super) fn pull(&mut self, due: i64, turn: &mut Turn, notices: &mut Vec<EventKind>) -> Flow {
        loop {
            let from = turn.tags.len();
            let Some(item) = &mut self.item else { return Flow::LapEnd };
            let since = if self.open { Since::Picture } else { Since::Zero };
            let read = item.read((due - self.at.millis(), since), &mut turn.tags, notices);
            if self.open {
                // A picture comes together with the sound before it: behind that, there is none.
                self.open = turn.tags.len() == from && item.lead().is_none();
                if let Some(lead) = item.lead() {
                    self.set_origin(lead);
                }
            }
            let shift = self.at.millis();
            let prefix = self.headers(shift, &turn.tags[from..]);
            let placement = self.placement(shift, &turn.tags[from..]);
            let slot = match &read {
                Read::Slot(reel, slot) => Some((reel.clone(), *slot)),
                _ => None,
            };
            let changes = turn.place(prefix, placement, slot, from);
            let read_to = turn.tags.len();
            self.fill_front(from, turn);
            self.note(&turn.tags[from..read_to]);
            if changes {
                self.note_headers(&turn.tags[from..read_to]);
            }
            match read {
                Read::Slot(_, slot) => {
                    let end = shift + (slot as i64 + 1) * SLOT_MS;
                    self.handed = self.handed.max(end);
                    self.fill(self.handed, turn);
                    if end <= due {
                        return Flow::More;
                    }
                }
                Read::UpTo(millis) => {
                    self.handed = self.handed.max(shift + millis + 1);
                    self.fill(due, turn);
                    return Flow::Due;
                }
                Read::Due => {
                    self.fill(due, turn);
                    return Flow::Due;
                }
                Read::LapEnd => {
                    self.settle();
                    let is_due = self.end.is_none_or(|(_, millis)| millis <= due);
                    self.fill(if is_due { i64::MAX } else { due + SLOT_MS }, turn);
                    if !is_due {
                        return Flow::Due;
                    }
                    self.end_lap();
                    return Flow::LapEnd;
                }
                Read::Dry => {
                    if let Some(tag) = turn.tags.get(from..).and_then(<[Tag]>::last) {
                        self.handed = self.handed.max(tag.timestamp.as_millis());
                    }
                    // Silence does not run ahead of what is late.
                    self.fill(self.handed, turn);
                    return Flow::Dry;
                }
                Read::Failed(error) => return Flow::Failed(error),
            }
        }
    }

    /// The headers that have to be sent before `tags`, which begin an item or a lap.
    fn headers(&mut self, at: i64, tags: &[Tag]) -> Vec<Tag> {
        let Some(item) = &mut self.item else { return Vec::new() };
        let Some(headers) = item.take_headers() else { return Vec::new() };
        let mut changed = Vec::new();
        let mut has_audio = false;
        for tag in &headers {
            let held = match tag.kind {
                TagKind::Script if !data::is_data(tag) => continue,
                _ if tag.is_script() || tag.track() != 0 => {
                    if note_other(&mut self.other_headers, tag) {
                        self.others.note_header(tag);
                        changed.push(tag.clone());
                    }
                    continue;
                }
                TagKind::Video => &mut self.video_header,
                _ => {
                    has_audio = true;
                    &mut self.audio_header
                }
            };
            if held.as_ref() != Some(&tag.body) {
                *held = Some(tag.body.clone());
                changed.push(tag.clone());
            }
        }
        let parameters = Parameters::of(item);
        let becomes_plain = matches!(parameters.audio, Some(Sound::Plain(_)));
        if becomes_plain {
            // MP3 has no header: whichever was sent does not hold any more.
            has_audio = true;
            self.audio_header = None;
        }
        let is_new = self.parameters.change(&parameters).is_some();
        self.parameters.replace(&parameters);
        if !has_audio && let Some(config) = self.silence.clone().filter(|_| self.audio_header.is_none()) {
            let header = flowcast_rtmp::flv::audio::aac_sequence_header(config, MediaTime::ZERO);
            self.audio_header = Some(header.body.clone());
            self.parameters.audio = Some(Sound::Header(header.body.clone()));
            changed.push(header);
        }
        item.has_audio = has_audio;
        if let MetadataRole::Sends { companion } = &self.metadata
            && let Some(metadata) = headers.iter().find(|tag| tag.is_metadata())
        {
            let metadata = with_audio(metadata, self.audio_header.as_ref(), *companion);
            // Where a codec has no header, a change shows here only.
            let sound = sound_of(&metadata);
            if !changed.is_empty() || is_new || self.described != Some(sound) {
                self.described = Some(sound);
                changed.insert(0, metadata);
            }
        }
        self.renew_silence();
        let begin = at + tags.first().map_or(0, |tag| tag.timestamp.as_millis());
        let next = self.chain.as_ref().map(|chain| Unit::sample(chain.rate).to_millis(chain.next));
        let front = next.filter(|&front| begin - front < LONGEST_FRONT);
        for tag in &mut changed {
            // Not before what the header is not for: the last frames of an item may reach into the next one. And not behind
            // what fills the gap before the first frame.
            let (begin, after) = match tag.kind {
                TagKind::Video => (begin, self.last_video),
                TagKind::Audio => (front.map_or(begin, |front| front.min(begin)), self.last_audio),
                TagKind::Script => (begin, i64::MIN),
            };
            tag.timestamp = MediaTime::from_millis(begin.max(after));
        }
        changed
    }

    /// Where some of the item's tags goes.
    fn placement(&mut self, shift: i64, tags: &[Tag]) -> Placement {
        let video = VideoPlace { shift, from: self.video_from, after: self.last_video };
        let others = (!self.others.is_empty()).then(|| OtherPlace { video, rows: self.others.clone() });
        if self.row.is_none()
            && let Some(first) = tags.iter().find(|tag| is_main_sound(tag))
        {
            let (rate, frame) = self.audio_format(first);
            let start = Unit::MILLIS.to(first.timestamp.as_millis(), Unit::sample(rate));
            self.begin_row(rate, frame, start, self.entered);
        }
        self.settle();
        let audio = self.row.map(|row| AudioPlace {
            shift: Unit::sample(row.grid.rate).to_millis(row.begin) - row.grid.first,
            grid: row.grid,
            from: row.from,
            until: row.settled.and_then(|settled| settled.wanted).unwrap_or(i64::MAX),
            after: self.last_audio,
        });
        Placement { video: Some(video), audio, others }
    }

    /// Finds out where the lap ends, as soon as that is known, and what it makes of the audio.
    fn settle(&mut self) {
        let settled = self.end.is_some() && self.row.is_none_or(|row| row.settled.is_some());
        let Some(item) = self.item.as_ref().filter(|_| !settled) else { return };
        let Some(facts) = item.facts() else { return };
        if self.end.is_none() {
            let end = match (facts.video, facts.audio) {
                (Some(video), _) => {
                    let (begin, offset) = self.origin;
                    let before = item.lead().unwrap_or(0) - offset;
                    let begin = if before == 0 { begin } else { begin.plus(before, Unit::MILLIS) };
                    let frames = i64::try_from(video.frames).unwrap_or(i64::MAX).max(1);
                    self.picture = Some((begin, video.unit.to(video.length, MICROS) / frames));
                    begin.plus(video.length, video.unit)
                }
                (None, Some(audio)) => self.at.plus(audio.end - audio.start, Unit::sample(audio.rate)),
                (None, None) => return,
            };
            // A file that was cut off behind our back ends where it was left.
            let end = if end.millis() > self.last_video { end } else { Position::from_millis(self.handed) };
            self.end = Some((end, end.millis()));
        }
        let (Some(row), Some((end, _))) = (&mut self.row, self.end) else { return };
        let step = i64::from(row.grid.frame);
        let has = facts.audio.map_or(row.from, |audio| round_div(audio.end - row.start, step));
        let samples = Unit::sample(row.grid.rate);
        // The next lap begins with its picture; where its sound comes later, this one's lasts that much longer.
        let lead = Unit::MILLIS.to(item.lead().unwrap_or(0), samples);
        let later = facts.audio.map_or(0, |audio| (audio.start - lead).max(0));
        let wanted = match facts.video {
            None => Some(has),
            Some(_) if item.joins() => {
                // The first frames may be priming or sound that an edit list hides: either way, no more than this is missing. What it has beyond
                // its end is heard with its last pictures.
                let end = end.to(samples) - row.begin;
                Some(has.max(round_div(end + (row.start - lead).max(0), step) - JOINED))
            }
            Some(_) if item.is_limited() => Some(round_div(end.to(samples) + later - row.begin, step)),
            Some(_) => None,
        };
        row.settled = Some(Settled { has, wanted });
    }

    /// Takes note of what was handed over.
    fn note(&mut self, tags: &[Tag]) {
        if !self.others.is_empty() {
            for tag in
                tags.iter().filter(|tag| tag.is_audio() && !tag.is_sequence_header() && tag.track() != 0)
            {
                self.others.take(tag.track(), tag, tag.timestamp.as_millis());
            }
        }
        let newest = |kind| {
            let is_it = |tag: &&Tag| tag.kind == kind && !tag.is_sequence_header() && tag.track() == 0;
            let of_kind = tags.iter().rfind(is_it);
            of_kind.map(|tag| (tag.timestamp.as_millis(), tag))
        };
        if let Some((time, _)) = newest(TagKind::Video) {
            self.last_video = time;
        }
        let Some((time, tag)) = newest(TagKind::Audio) else { return };
        self.last_audio = time;
        let Some(row) = &mut self.row else { return };
        let shift = Unit::sample(row.grid.rate).to_millis(row.begin) - row.grid.first;
        row.sent = row.sent.max(row.grid.number(time - shift) + 1);
        if let Some(Settled { has, wanted: Some(wanted) }) = row.settled
            && row.sent == has
            && wanted > has
        {
            self.repeat = Some(Bytes::copy_from_slice(&tag.body.to_bytes()));
        }
    }

    /// Takes note of the headers that were handed over: what begins next is compared with these.
    fn note_headers(&mut self, tags: &[Tag]) {
        for tag in tags.iter().filter(|tag| tag.is_sequence_header() && tag.track() == 0) {
            match tag.kind {
                TagKind::Video => self.video_header = Some(tag.body.clone()),
                TagKind::Audio => self.audio_header = Some(tag.body.clone()),
                TagKind::Script => {}
            }
        }
        self.renew_silence();
    }

    fn end_lap(&mut self) {
        if let (Some(row), Some(chain)) = (self.row, &mut self.chain) {
            chain.next = row.begin + row.sent * i64::from(row.grid.frame);
        }
        self.before = self.picture.take();
        let end = self.end.take().map_or_else(|| Position::from_millis(self.handed), |(end, _)| end);
        // Whatever a file claims, time goes on.
        let shortest = self.origin.0.plus(SHORTEST_LAP, Unit::MILLIS);
        let end = if end.millis() < shortest.millis() { shortest } else { end };
        self.handed = self.handed.max(end.millis());
        self.at = end;
        self.row = None;
    }
}

/// Whether it is a frame of the first sound track.
fn is_main_sound(tag: &Tag) -> bool {
    tag.is_audio() && !tag.is_sequence_header() && tag.track() == 0
}

/// Takes note of the header of a track beside the first; false if it is the one that is known.
fn note_other(known: &mut Vec<Tag>, header: &Tag) -> bool {
    match known.iter_mut().find(|known| (known.kind, known.track()) == (header.kind, header.track())) {
        Some(known) if known.body == header.body => return false,
        Some(known) => known.clone_from(header),
        None => known.push(header.clone()),
    }
    true
}

/// Rounded to nearest, halves up.
fn round_div(value: i64, by: i64) -> i64 {
    (2 * value + by).div_euclid(2 * by)
}

#[cfg(all(test, feature = "libav"))]
mod tests;
