//! The tags of a publication as a source of packets.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use flowcast_av::{Error as Media, MediaInfo, Packet, TimeBase};
use flowcast_rtmp::flv::coded::{Coded, Part, coded};
use flowcast_rtmp::flv::tag::{Codec, Tag};

use super::inbox::{Entry, Inbox};
use super::tracks::{Known, is_frames};
use crate::error::Error;
use crate::event::EventKind;
use crate::transcode::PacketSource;

/// Media time looked at until a track that has not shown itself is taken as missing, in milliseconds.
const LOOK: i64 = 1000;
/// Bytes looked at.
const LOOK_BYTES: usize = 4 << 20;
/// A pause of this many milliseconds is the end: what follows is encoded as a new publication.
const PAUSE: i64 = 2000;
/// After a failure, what is published is tried again after this many milliseconds of it: a device may have a session to spare.
const TRY_AGAIN: i64 = 10_000;

/// Where tags come from, with those that were looked at already.
#[derive(Debug)]
pub(crate) struct Feed {
    name: String,
    inbox: Arc<Inbox>,
    ahead: VecDeque<Tag>,
    /// Metadata and sequence headers that hold: of video, of audio.
    metadata: Option<Tag>,
    headers: [Option<Tag>; 2],
    told: Told,
}

/// What was reported of a publication: everything is reported once.
#[derive(Debug, Default)]
struct Told {
    /// Tracks that are left out: video, audio.
    skipped: [bool; 2],
    /// Codes of faults.
    faults: Vec<&'static str>,
}

impl Feed {
    /// `name` is what is published.
    pub(crate) fn new(name: &str, inbox: Arc<Inbox>) -> Self {
        let (ahead, headers, told) = (VecDeque::new(), [None, None], Told::default());
        Self { name: name.to_owned(), inbox, ahead, metadata: None, headers, told }
    }

    /// The publication is over.
    fn end(&mut self) {
        (self.metadata, self.headers, self.told) = (None, [None, None], Told::default());
    }

    /// Whether a fault of this publication still has to be reported.
    pub(crate) fn is_news(&mut self, fault: &Error) -> bool {
        let code = fault.code();
        let is_news = !self.told.faults.contains(&code);
        if is_news {
            self.told.faults.push(code);
        }
        is_news
    }

    /// Tells of tracks that were `seen` and are not in `media`.
    fn tell_skipped(
        &mut self,
        seen: [Option<Codec>; 2],
        media: Option<&MediaInfo>,
        tell: &mut impl FnMut(EventKind),
    ) {
        let has = media.map_or([false; 2], |media| [media.video().is_some(), media.audio().is_some()]);
        for (track, codec) in seen.into_iter().enumerate() {
            let Some(codec) = codec.filter(|_| !has[track]) else { continue };
            if !std::mem::replace(&mut self.told.skipped[track], true) {
                let reason =
                    format!("{} of this kind, or damaged like this, cannot be decoded", codec.name());
                tell(EventKind::TrackSkipped { track, reason });
            }
        }
    }

    /// The tracks of what is published, once they have shown themselves; `None` once nothing more comes. What cannot be decoded
    /// is told.
    ///
    /// # Blocking
    ///
    /// Until there is a publisher.
    pub(crate) fn look(mut self, mut tell: impl FnMut(EventKind)) -> Option<TagPackets> {
        let mut seen = [None; 2];
        let (mut first, mut bytes) = (None, 0);
        let mut tags = std::mem::take(&mut self.ahead);
        loop {
            let tag = match tags.pop_front() {
                Some(tag) => tag,
                None => match self.inbox.recv(self.ahead.is_empty())? {
                    Entry::Tag(tag) => tag,
                    // It was too short to be anything.
                    Entry::End => {
                        self.end();
                        self.ahead.clear();
                        (seen, first, bytes) = ([None; 2], None, 0);
                        continue;
                    }
                },
            };
            let (at, side) = (tag.timestamp.as_millis(), usize::from(tag.is_audio()));
            bytes += tag.body.len();
            if tag.is_metadata() {
                self.metadata = Some(tag);
                continue;
            }
            if tag.is_script() {
                continue;
            }
            if tag.is_sequence_header() {
                self.headers[side] = Some(tag.clone());
            } else if is_frames(&tag) {
                seen[side] = seen[side].or(tag.codec());
                first = first.or(Some(at));
            } else {
                continue;
            }
            self.ahead.push_back(tag);
            let long = first.is_some_and(|first| at - first >= LOOK) || bytes >= LOOK_BYTES;
            let all = seen.iter().all(Option::is_some) && self.known().says_rate();
            if all || long {
                let media = self.known().describe();
                // More pictures may tell what the first did not.
                let is_whole = |media: &MediaInfo| media.video().is_some() && media.audio().is_some();
                if let Some(media) = media.filter(|media| long || is_whole(media)) {
                    self.ahead.append(&mut tags);
                    self.tell_skipped(seen, Some(&media), &mut tell);
                    return Some(TagPackets::new(self, media, seen));
                }
                if long {
                    self.tell_skipped(seen, None, &mut tell);
                    let error = Error::Media(Media::NoPlayableTrack { input: self.name.clone() });
                    if self.is_news(&error) {
                        tell(EventKind::SourceFault { error });
                    }
                    self.inbox.give_up();
                    self.ahead.clear();
                    (seen, first, bytes) = ([None; 2], None, 0);
                }
            }
        }
    }

    /// Keeps what holds for the tags that follow.
    fn note(&mut self, tag: &Tag) {
        if tag.is_metadata() {
            self.metadata = Some(tag.clone());
        } else if tag.is_sequence_header() {
            self.headers[usize::from(tag.is_audio())] = Some(tag.clone());
        }
    }

    fn known(&self) -> Known<'_> {
        Known { metadata: self.metadata.as_ref(), headers: &self.headers, tags: &self.ahead }
    }
}

/// Packets of one publication, until it ends, pauses or becomes something else.
#[derive(Debug)]
pub(crate) struct TagPackets {
    feed: Feed,
    media: MediaInfo,
    /// The tracks of video and audio, by their numbers.
    tracks: [Option<usize>; 2],
    /// Their codecs, also where they cannot be decoded.
    codecs: [Option<Codec>; 2],
    /// Configurations that hold, and those the next packet has to say.
    configs: [Option<Bytes>; 2],
    changed: [Option<Bytes>; 2],
    newest: Option<i64>,
    over: bool,
}

impl TagPackets {
    fn new(feed: Feed, media: MediaInfo, codecs: [Option<Codec>; 2]) -> Self {
        let (video, audio) = (media.video(), media.audio());
        let tracks = [video, audio].map(|track| track.map(|track| track.index));
        let configs = [video, audio].map(|track| track.and_then(|track| track.config.clone()));
        let mut codecs = codecs;
        // libav may know a track by its header alone.
        for ((codec, header), track) in codecs.iter_mut().zip(&feed.headers).zip(tracks) {
            *codec = codec.or_else(|| header.as_ref().filter(|_| track.is_some())?.codec());
        }
        Self { feed, media, tracks, codecs, configs, changed: [None, None], newest: None, over: false }
    }

    /// What is left, for what comes next.
    pub(crate) fn into_feed(self) -> Feed {
        self.feed
    }

    /// Whether a fault of this publication still has to be reported.
    pub(crate) fn is_news(&mut self, fault: &Error) -> bool {
        self.feed.is_news(fault)
    }

    /// Leaves out what comes until it may be tried again, because it could not be encoded: another publication, something else
    /// in this one, or a keyframe some time later.
    ///
    /// # Blocking
    ///
    /// Until that comes.
    pub(crate) fn pass_over(&mut self) {
        self.feed.inbox.give_up();
        let mut since = None;
        while !self.over {
            let tag = match self.feed.ahead.pop_front() {
                Some(tag) => tag,
                None => match self.feed.inbox.recv(true) {
                    Some(Entry::Tag(tag)) => tag,
                    Some(Entry::End) => {
                        self.feed.end();
                        break;
                    }
                    None => break,
                },
            };
            let at = tag.timestamp.as_millis();
            let is_late = at - *since.get_or_insert(at) >= TRY_AGAIN;
            let is_entry = tag.is_keyframe() || (self.tracks[0].is_none() && is_frames(&tag));
            if self.begins_anew(&tag) || (is_late && is_entry) {
                self.feed.ahead.push_front(tag);
                break;
            }
            self.feed.note(&tag);
        }
        self.over = true;
    }

    /// The packet of a tag; `None` if it has none.
    fn packet(&mut self, tag: &Tag) -> Option<Packet> {
        let (at, side) = (tag.timestamp.as_millis(), usize::from(tag.is_audio()));
        let track = self.tracks[side]?;
        let Coded { codec, part } = coded(tag)?;
        let (data, pts) = match part {
            Part::Config(config) => {
                if Some(codec) == self.codecs[side] {
                    self.configure(side, config);
                }
                return None;
            }
            Part::Frames { data, composition_time } => (data, at + i64::from(composition_time)),
        };
        let ticks = |millis| {
            let base = self.media.track(track).map_or(TimeBase::MILLIS, |track| track.time_base);
            Some(TimeBase::MILLIS.rescale(millis, base))
        };
        let mut packet = Packet::new(track, ticks(pts), ticks(at), data);
        packet.keyframe = tag.is_audio() || tag.is_keyframe();
        packet.config = self.changed[side].take();
        Some(packet)
    }

    fn configure(&mut self, side: usize, config: Bytes) {
        if self.configs[side].as_ref() != Some(&config) {
            self.configs[side] = Some(config.clone());
            self.changed[side] = Some(config);
        }
    }

    /// Whether something else begins with this tag: a track that was not there, another codec, or time after a pause.
    fn begins_anew(&mut self, tag: &Tag) -> bool {
        let (at, side) = (tag.timestamp.as_millis(), usize::from(tag.is_audio()));
        // Of what was looked at the first frames of a track are of its codec: so this always gets on.
        let is_new = is_frames(tag) && tag.codec() != self.codecs[side];
        let paused = self.newest.is_some_and(|newest| at - newest >= PAUSE);
        self.newest = self.newest.max(Some(at));
        is_new || paused
    }
}

/// Lent, so that what is left is still there when encoding it fails.
impl PacketSource for &mut TagPackets {
    fn media(&self) -> &MediaInfo {
        &self.media
    }

    fn select(&mut self, _tracks: &[usize]) {}

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        while !self.over {
            let tag = match self.feed.ahead.pop_front() {
                Some(tag) => tag,
                None => match self.feed.inbox.recv(false) {
                    Some(Entry::Tag(tag)) => tag,
                    Some(Entry::End) => {
                        self.feed.end();
                        break;
                    }
                    None => break,
                },
            };
            if self.begins_anew(&tag) {
                self.feed.ahead.push_front(tag);
                break;
            }
            self.feed.note(&tag);
            if let Some(packet) = self.packet(&tag) {
                return Ok(Some(packet));
            }
        }
        self.over = true;
        Ok(None)
    }

    fn rewind(&mut self) -> Result<(), Error> {
        Err(Error::Ended)
    }

    fn seek(&mut self, _track: usize, _dts: i64) -> bool {
        false
    }
}
