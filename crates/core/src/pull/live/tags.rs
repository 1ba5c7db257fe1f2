//! Packets of one or two inputs become the tags of one stream.
//!
//! In: open inputs that belong together: one, or one with the picture and one with the sound. Out: tags in the order of their times,
//! whose clock does not jump. On the worker's thread.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use flowcast_av::{Demuxer, Packet, TimeBase, TrackInfo};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::Setting;
use super::times::Times;
use crate::clock::Increasing;
use crate::clock::continuity::{Continuity, Forward};
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{Closed, Step, Stop, TagSender};
use crate::scan::{Damage, Patience};
use crate::tracks::{Carriage, Selection, Tagged, Tagger};

/// How far apart two inputs may begin, in milliseconds: more of the earlier one is left out.
const APART: i64 = 100;
/// The clock of MPEG-TS.
const SOURCE_CLOCK: TimeBase = TimeBase::new(1, 90_000);

/// The clock of an input, over all of its parts.
pub(super) struct Clock {
    continuity: Continuity,
    carriage: Carriage,
    /// Other sound and timed data go along.
    all_tracks: bool,
    /// What was told of tracks that are left out.
    told: Vec<(usize, String)>,
}

/// An input and the packet of it that comes next.
struct Lane {
    demuxer: Demuxer,
    /// Packets whose times are known, and the tracks they are of.
    ready: VecDeque<Packet>,
    times: Vec<(usize, Times)>,
    /// Tracks of data, whose packets have the times they have.
    data: Vec<usize>,
    is_over: bool,
    patience: Patience,
    /// What is added to the numbers of its tracks, so that each is of one input.
    offset: usize,
    /// Tracks that are read.
    selected: Vec<usize>,
}

/// Gives what an input goes on with that has ended, by its number; `None` if that was all, or what follows has nothing to do with it.
pub(super) type GoOn<'a> = &'a mut dyn FnMut(usize) -> Result<Option<Demuxer>, Stop>;

impl Clock {
    pub(super) fn new(setting: &Setting) -> Self {
        let Setting { carriage, all_tracks, .. } = *setting;
        Self { continuity: Continuity::new(Forward::Live), carriage, all_tracks, told: Vec::new() }
    }

    /// Plays these to their end.
    pub(super) fn play(
        &mut self,
        demuxers: Vec<Demuxer>,
        shown: &str,
        to: &mut Sink<'_>,
        go_on: GoOn<'_>,
    ) -> Result<(), Stop> {
        let (selection, mut lanes) = self.select(demuxers, shown, to)?;
        let mut part = Part::new(selection);
        for (number, lane) in lanes.iter_mut().enumerate() {
            lane.fill(&mut || go_on(number))?;
        }
        skip_to_common_start(&part, &mut lanes, go_on)?;
        loop {
            let earliest = lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.ready.is_empty());
            let Some((number, lane)) = earliest.min_by_key(|(_, lane)| part.decode_time(lane.ready.front()))
            else {
                break;
            };
            if let Some(packet) = lane.ready.pop_front() {
                part.take(packet);
            }
            lane.fill(&mut || go_on(number))?;
            while let Some(tag) = part.order.pull() {
                self.hand_over(tag, to)?;
            }
            to.flush();
        }
        while let Some(tag) = part.order.flush() {
            self.hand_over(tag, to)?;
        }
        to.flush();
        Ok(())
    }

    /// The picture of the first input that has one, the sound of the last.
    fn select(
        &mut self,
        demuxers: Vec<Demuxer>,
        shown: &str,
        to: &Sink<'_>,
    ) -> Result<(Selection, Vec<Lane>), Stop> {
        let (mut selection, mut lanes) = (Selection::default(), Vec::new());
        let (count, mut offset, mut found) = (demuxers.len(), 0, Vec::new());
        for (index, mut demuxer) in demuxers.into_iter().enumerate() {
            let media = demuxer.media();
            let tracks = media.tracks.len();
            found.extend(media.tracks.iter().map(|track| track.codec.to_string()));
            let mut own = Selection::of(media, self.carriage);
            if self.all_tracks && count == 1 {
                own = own.with_others(media);
            }
            let is_last = index + 1 == count;
            // Where the sound has an input of its own, that of the picture is another one.
            own.video = own.video.filter(|_| selection.video.is_none());
            own.audio = own.audio.filter(|_| is_last);
            let selected = own.indices();
            demuxer.select(&selected);
            let timed = own.video.iter().chain(&own.audio).chain(&own.others);
            let times = timed.map(|track| (track.index, Times::of(track))).collect();
            let data = own.data.iter().map(|track| track.index).collect();
            for skipped in own.skipped {
                if !self.told.contains(&skipped) {
                    self.told.push(skipped.clone());
                    let (track, reason) = skipped;
                    to.notify(EventKind::TrackSkipped { track, reason })?;
                }
            }
            let moved = |mut track: TrackInfo| {
                track.index += offset;
                track
            };
            selection.video = selection.video.or(own.video.map(moved));
            selection.audio = selection.audio.or(own.audio.map(moved));
            // Only of an input that is alone.
            (selection.others, selection.data) = (own.others, own.data);
            lanes.push(Lane {
                demuxer,
                ready: VecDeque::new(),
                times,
                data,
                is_over: false,
                patience: Patience::default(),
                offset,
                selected,
            });
            offset += tracks;
        }
        if selection.is_empty() {
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return Err(Error::NoPlayableTrack { path: PathBuf::from(shown), found }.into());
        }
        Ok((selection, lanes))
    }

    fn hand_over(&mut self, mut tag: Tag, to: &mut Sink<'_>) -> Result<(), Closed> {
        if let Some(notice) = self.continuity.mend(&mut tag, Instant::now()) {
            to.notify(notice)?;
        }
        to.send(tag)
    }
}

/// Where tags go.
pub(super) struct Sink<'a> {
    pub(super) sender: &'a TagSender,
    pub(super) wake: &'a dyn Fn(),
    pub(super) fresh: bool,
}

impl Sink<'_> {
    fn notify(&self, notice: EventKind) -> Result<(), Closed> {
        self.sender.send(Step::Notice(notice))
    }

    fn send(&mut self, tag: Tag) -> Result<(), Closed> {
        self.fresh = true;
        self.sender.send(Step::Tag(tag))
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.fresh) {
            (self.wake)();
        }
    }
}

impl Lane {
    /// Reads until a packet is ready, or to the end of what it goes on with.
    fn fill(&mut self, go_on: &mut dyn FnMut() -> Result<Option<Demuxer>, Stop>) -> Result<(), Stop> {
        loop {
            self.read()?;
            if !self.ready.is_empty() {
                return Ok(());
            }
            let Some(mut demuxer) = go_on()? else { return Ok(()) };
            demuxer.select(&self.selected);
            (self.demuxer, self.is_over) = (demuxer, false);
        }
    }

    /// Reads until a packet is ready, or to the end; goes on behind what is damaged.
    fn read(&mut self) -> Result<(), Error> {
        while self.ready.is_empty() && !self.is_over {
            match self.demuxer.read() {
                Ok(Some(packet)) => {
                    self.patience.read();
                    if self.data.contains(&packet.track) {
                        self.put(vec![packet]);
                        continue;
                    }
                    let times = self.times.iter_mut().find(|(track, _)| *track == packet.track);
                    let packets = times.map_or_else(Vec::new, |(_, times)| times.take(packet));
                    self.put(packets);
                }
                Ok(None) => {
                    self.is_over = true;
                    let rest = self.times.iter_mut().flat_map(|(_, times)| times.release()).collect();
                    self.put(rest);
                }
                Err(error) => {
                    let error = Error::from(error);
                    match self.patience.failed(&error) {
                        Damage::First => log::debug!("{error}"),
                        Damage::Again => {}
                        Damage::TooMuch | Damage::Final => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, packets: Vec<Packet>) {
        let offset = self.offset;
        self.ready
            .extend(packets.into_iter().map(|packet| Packet { track: packet.track + offset, ..packet }));
    }
}

/// Tags of inputs between two breaks.
struct Part {
    tagger: Tagger,
    order: Interleaver,
    increasing: [Increasing; 2],
    /// The same of other sound.
    others: Vec<Increasing>,
    /// When the newest picture or sound is, in milliseconds.
    newest: i64,
    headers: Vec<Tag>,
}

impl Part {
    fn new(selection: Selection) -> Self {
        let order = Interleaver::live(selection.video.is_some(), selection.audio.is_some());
        let others = vec![Increasing::default(); selection.others.len()];
        let tagger = Tagger::new(selection);
        Self { headers: tagger.headers(), tagger, order, increasing: Default::default(), others, newest: 0 }
    }

    fn time_base(&self, track: usize) -> Option<TimeBase> {
        let selection = self.tagger.selection();
        let tracks =
            selection.video.iter().chain(&selection.audio).chain(&selection.others).chain(&selection.data);
        tracks.into_iter().find(|known| known.index == track).map(|track| track.time_base)
    }

    /// When a packet is decoded, in milliseconds; what says nothing of it comes first.
    fn decode_time(&self, packet: Option<&Packet>) -> i64 {
        let millis = |packet: &Packet| {
            let (dts, _) = self.tagger.times(packet)?;
            Some(self.time_base(packet.track)?.millis(dts))
        };
        packet.and_then(millis).unwrap_or(i64::MIN)
    }

    /// Takes a packet of what goes along; gives back any other.
    fn take_other(&mut self, packet: Packet) -> Option<Packet> {
        let number_in = |tracks: &[TrackInfo]| tracks.iter().position(|track| track.index == packet.track);
        let selection = self.tagger.selection();
        let (other, data) = (number_in(&selection.others), number_in(&selection.data));
        let (None, None) = (other, data) else {
            let base = self.time_base(packet.track)?;
            // Nothing is sent before the picture and the sound are announced.
            if self.headers.is_empty() {
                let ticks = packet.dts.or(packet.pts);
                let tag = match other {
                    Some(number) => ticks.and_then(|ticks| {
                        let at = self.others.get_mut(number)?.next(base.millis(ticks));
                        self.tagger.other(number, at, packet.data)
                    }),
                    // It says when it was sent, which is before what is sent with it is shown: it goes with that.
                    None => data.and_then(|number| {
                        let behind = ticks.map_or(0, |ticks| self.newest - base.millis(ticks));
                        let source_time =
                            ticks.map(|ticks| base.rescale(ticks, SOURCE_CLOCK).saturating_add(behind * 90));
                        let at = MediaTime::from_millis(self.newest);
                        self.tagger.data(number, at, source_time, &packet.data)
                    }),
                };
                tag.into_iter().for_each(|tag| self.order.push(tag, 0));
            }
            return None;
        };
        Some(packet)
    }

    fn take(&mut self, packet: Packet) {
        let Some(packet) = self.take_other(packet) else { return };
        let Some((dts, pts)) = self.tagger.times(&packet) else { return };
        let Some(base) = self.time_base(packet.track) else { return };
        let is_audio = !self.tagger.is_video(packet.track);
        let decode = base.millis(dts);
        let at = self.increasing[usize::from(is_audio)].next(decode);
        self.newest = at.as_millis();
        let Tagged { header, frame } = self.tagger.tags(packet, at, base.millis(pts) - decode);
        for tag in std::mem::take(&mut self.headers) {
            self.order.push(Tag { timestamp: at, ..tag }, 0);
        }
        for tag in header.into_iter().chain(frame) {
            self.order.push(tag, 0);
        }
    }
}

/// Leaves out what one input has before the other one begins.
fn skip_to_common_start(part: &Part, lanes: &mut [Lane], go_on: GoOn<'_>) -> Result<(), Stop> {
    let start =
        lanes.iter().filter_map(|lane| lane.ready.front()).map(|next| part.decode_time(Some(next))).max();
    let Some(start) = start.filter(|_| lanes.len() > 1) else { return Ok(()) };
    for (number, lane) in lanes.iter_mut().enumerate() {
        while !lane.ready.is_empty() && part.decode_time(lane.ready.front()) < start - APART {
            lane.ready.pop_front();
            lane.fill(&mut || go_on(number))?;
        }
    }
    Ok(())
}
