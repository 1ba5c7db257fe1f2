//! One item of a lane: a file that is played from a reel or directly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::flv::tag::Tag;

use super::direct::DirectFeed;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{LapFacts, Step, Taken};
use crate::reel::{Reel, SLOT_MS};
use crate::stats::EncodingStats;
use crate::stats::SourceMode;

/// Where an item's tags come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// A reel, from this slot on.
    Reel {
        /// The reel.
        reel: Arc<Reel>,
        /// The slot that is read next.
        slot: usize,
    },
    /// A worker with libav.
    Direct(DirectFeed),
}

/// What the time is counted from up to which an item is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// The zero of its clock.
    Zero,
    /// Its first picture, if a worker has given one: where an item is begun that was not read yet.
    Picture,
}

/// What reading an item gave.
#[derive(Debug)]
pub(super) enum Read {
    /// All tags of this slot.
    Slot(Arc<Reel>, usize),
    /// All tags up to this time of the item's clock, in milliseconds.
    UpTo(i64),
    /// Everything due was read.
    Due,
    /// Something due is not there yet.
    Dry,
    /// The lap was read to its end.
    LapEnd,
    /// It cannot be read any further.
    Failed(Error),
}

/// A file that is being played.
#[derive(Debug)]
pub(super) struct Item {
    path: PathBuf,
    feed: Feed,
    /// What its frames need from where it begins; empty until it was opened.
    headers: Vec<Tag>,
    /// They are to be compared with what was sent last.
    headers_due: bool,
    opened: bool,
    /// What the current lap is, once that is known.
    facts: Option<LapFacts>,
    /// What a lap of this item is, by the lap before.
    known: Option<LapFacts>,
    /// Its audio ends with its video.
    limited: bool,
    /// What follows goes on with the same sound.
    joins: bool,
    /// A worker said that the lap is over.
    ended: bool,
    /// Where the first frame of its video lies, as far as a worker gave it.
    lead: Option<i64>,
    /// Notes of the reel that were told.
    noted: usize,
    /// Whether it has audio.
    pub(super) has_audio: bool,
}

impl Item {
    /// An item that is read from `feed`. Unless it is `limited`, audio behind the end of its video is played, too.
    pub(super) fn new(path: &Path, feed: Feed, limited: bool) -> Self {
        let mut item = Self {
            path: path.to_owned(),
            feed,
            headers: Vec::new(),
            headers_due: false,
            opened: false,
            facts: None,
            known: None,
            limited,
            joins: false,
            ended: false,
            lead: None,
            noted: 0,
            has_audio: true,
        };
        match &item.feed {
            Feed::Reel { reel, slot } => {
                item.headers = reel.headers_at(*slot);
                (item.headers_due, item.opened) = (true, true);
            }
            Feed::Direct(_) => {}
        }
        item
    }

    /// An item whose headers are known already.
    pub(super) fn opened(path: &Path, feed: Feed, headers: Vec<Tag>, limited: bool) -> Self {
        Self { headers, headers_due: true, opened: true, ..Self::new(path, feed, limited) }
    }

    /// The same; it is one of the pieces of a stream. Where its sound ends is seen by where that of the next one begins, as cuts
    /// between pictures are never just between frames of sound.
    pub(super) fn joining(self) -> Self {
        Self { joins: true, ..self }
    }

    /// Whether what follows goes on with the same sound.
    pub(super) fn joins(&self) -> bool {
        self.joins
    }

    /// The same; its first picture is known to be here, although it is begun behind that.
    pub(super) fn led_by(self, lead: Option<i64>) -> Self {
        Self { lead: lead.or(self.lead), ..self }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The reel it is played from, if it is.
    pub(super) fn reel(&self) -> Option<&Arc<Reel>> {
        match &self.feed {
            Feed::Reel { reel, .. } => Some(reel),
            Feed::Direct(_) => None,
        }
    }

    /// The worker that reads it, if one does.
    pub(super) fn direct(&mut self) -> Option<&mut DirectFeed> {
        match &mut self.feed {
            Feed::Reel { .. } => None,
            Feed::Direct(feed) => Some(feed),
        }
    }

    /// Whether a worker still reads its file.
    pub(super) fn is_being_read(&self) -> bool {
        match &self.feed {
            Feed::Reel { .. } => false,
            Feed::Direct(feed) => !feed.is_read(),
        }
    }

    /// The worker that reads it, if one does.
    pub(super) fn into_direct(self) -> Option<DirectFeed> {
        match self.feed {
            Feed::Reel { .. } => None,
            Feed::Direct(feed) => Some(feed),
        }
    }

    /// What a worker encodes for it.
    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        match &self.feed {
            Feed::Reel { .. } => None,
            Feed::Direct(feed) => feed.encoding(),
        }
    }

    /// Bytes read ahead.
    pub(super) fn bytes_held(&self) -> usize {
        match &self.feed {
            Feed::Reel { .. } => 0,
            Feed::Direct(feed) => feed.bytes_held(),
        }
    }

    /// How it is read.
    pub(super) fn mode(&self) -> SourceMode {
        match &self.feed {
            Feed::Reel { .. } => SourceMode::Reel,
            Feed::Direct(_) => SourceMode::Direct,
        }
    }

    /// The same item from here on from another feed, which has to begin where this one got.
    pub(super) fn replace_feed(&mut self, feed: Feed) {
        self.lead = self.lead();
        self.feed = feed;
        // Its own metadata was already sent.
        self.opened = true;
        self.known = self.known.or(self.facts);
        self.facts = None;
    }

    /// Looks whether its worker has opened it.
    pub(super) fn try_open(&mut self, notices: &mut Vec<EventKind>) -> Result<bool, Error> {
        let mut tags = Vec::new();
        let read = self.read((i64::MIN, Since::Zero), &mut tags, notices);
        match read {
            Read::Failed(error) => Err(error),
            _ => Ok(self.opened),
        }
    }

    /// Whether it is known what the item is.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// Whether audio ends with the video.
    pub(super) fn is_limited(&self) -> bool {
        self.limited
    }

    /// What the current lap is, once its end is known.
    pub(super) fn facts(&self) -> Option<LapFacts> {
        match &self.feed {
            Feed::Reel { reel, .. } => reel.facts(),
            Feed::Direct(_) => self.facts,
        }
    }

    /// What a lap of this item is, as far as any was seen.
    pub(super) fn known(&self) -> Option<LapFacts> {
        self.facts().or(self.known)
    }

    /// How long a lap is on the item's clock: as it was seen, before that as its file says.
    pub(super) fn length(&self) -> Option<Duration> {
        let seen = self.known().and_then(|lap| lap.end(self.lead().unwrap_or(0)));
        match &self.feed {
            Feed::Reel { .. } => seen,
            Feed::Direct(feed) => seen.or_else(|| feed.length()),
        }
    }

    /// Where the first frame of its video lies on its clock, in milliseconds, once that is known; sound before that is heard
    /// at the beginning of a stream only.
    pub(super) fn lead(&self) -> Option<i64> {
        match &self.feed {
            Feed::Reel { reel, .. } => reel.first_keyframe().map(|keyframe| keyframe.time_ms),
            Feed::Direct(_) => self.lead,
        }
    }

    /// The item's headers; before it was opened, none.
    pub(super) fn headers(&self) -> &[Tag] {
        &self.headers
    }

    /// The headers, once for each time they have to be compared with what was sent last: when the item begins, and with
    /// every lap, as they may have changed in the course of it.
    pub(super) fn take_headers(&mut self) -> Option<Vec<Tag>> {
        std::mem::take(&mut self.headers_due).then(|| self.headers.clone())
    }

    /// The next lap begins.
    pub(super) fn begin_lap(&mut self) {
        self.known = self.known();
        self.facts = None;
        self.headers_due = self.opened;
        match &mut self.feed {
            Feed::Reel { reel, slot } => {
                // A seek has begun it elsewhere.
                if std::mem::take(slot) > 0 {
                    self.headers = reel.headers().to_vec();
                }
            }
            Feed::Direct(_) => self.ended = false,
        }
    }

    /// The slot of a reel that is to be read next: a place to go on at another way.
    pub(super) fn next_slot(&self) -> usize {
        match &self.feed {
            Feed::Reel { slot, .. } => *slot,
            Feed::Direct(_) => 0,
        }
    }

    /// Reads what is due at `until`; a reel, one slot of it.
    pub(super) fn read(
        &mut self,
        (until, since): (i64, Since),
        tags: &mut Vec<Tag>,
        notices: &mut Vec<EventKind>,
    ) -> Read {
        match &mut self.feed {
            Feed::Reel { reel, slot } => {
                let read = read_slot(reel, slot, until, tags);
                let notes = reel.notes(self.noted);
                self.noted += notes.len();
                notices.extend(notes.iter().map(|note| note.event(&self.path)));
                read
            }
            Feed::Direct(_) => self.read_direct((until, since), tags, notices),
        }
    }

    fn read_direct(
        &mut self,
        (until, since): (i64, Since),
        tags: &mut Vec<Tag>,
        notices: &mut Vec<EventKind>,
    ) -> Read {
        let Self { feed: Feed::Direct(feed), facts, headers, headers_due, opened, ended, lead, .. } = self
        else {
            return Read::Due;
        };
        if *ended {
            return Read::LapEnd;
        }
        let mut first = None;
        let sink = |step| match step {
            Step::Tag(tag) => {
                if first.is_none() && tag.is_video() && !tag.is_sequence_header() {
                    first = Some(tag.timestamp.as_millis());
                }
                tags.push(tag);
            }
            Step::Notice(kind) => notices.push(kind),
            Step::Ending(lap) => *facts = Some(lap),
            Step::End => *ended = true,
            // Where an item goes on from another feed, what it was begun with is no news, unless it is another file by now:
            // what holds in the middle of it was sent.
            Step::Opened(tags) => {
                *headers_due |= !*opened || !have_equal_headers(headers, &tags);
                *headers = tags;
                *opened = true;
            }
        };
        let (taken, until) = match since {
            Since::Zero => {
                let taken = feed.take(until, sink);
                *lead = lead.or(first);
                (taken, until)
            }
            Since::Picture => {
                let (taken, picture) = feed.take_from_picture(until, sink);
                *lead = lead.or(picture);
                (taken, until.saturating_add(picture.unwrap_or(0)))
            }
        };
        match taken {
            _ if *ended => Read::LapEnd,
            Taken::Failed(error) => Read::Failed(error),
            Taken::Ended => Read::LapEnd,
            Taken::Dry => Read::Dry,
            Taken::Due => Read::UpTo(until),
        }
    }
}

fn have_equal_headers(one: &[Tag], other: &[Tag]) -> bool {
    let bodies = |tags: &[Tag]| {
        let headers = tags.iter().filter(|tag| tag.is_sequence_header());
        headers.map(|tag| tag.body.clone()).collect::<Vec<_>>()
    };
    bodies(one) == bodies(other)
}

fn read_slot(reel: &Arc<Reel>, slot: &mut usize, until: i64, tags: &mut Vec<Tag>) -> Read {
    // Asked in this order: between the two it can only have grown.
    let (complete, failure) = (reel.is_complete(), reel.failure());
    if *slot >= reel.slots() {
        return match failure {
            _ if complete => Read::LapEnd,
            Some(error) => Read::Failed(error),
            None if slot_begin(*slot) > until => Read::Due,
            None => Read::Dry,
        };
    }
    if slot_begin(*slot) > until {
        return Read::Due;
    }
    match reel.read(*slot, tags) {
        Ok(()) => {
            *slot += 1;
            Read::Slot(reel.clone(), *slot - 1)
        }
        Err(error) => Read::Failed(error),
    }
}

fn slot_begin(slot: usize) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX).saturating_mul(SLOT_MS)
}
