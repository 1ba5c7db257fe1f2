//! Reads a file in laps.
//!
//! In: packets of a file, or of what is made of one. Out: for each lap its tags in order of time, on the file's own clock, which begins at zero, and
//! what the lap is to the sample. Where laps lie on the clock of a stream is not known here. Runs on a worker thread: the
//! cutter of a reel, or a stream that plays the file directly.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use flowcast_av::{Codec, Packet, TimeBase, TrackInfo, TrackKind};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::blocks::Blocks;
use super::shortfall::Shortfall;
use crate::clock::continuity::{Continuity, Forward, Side};
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{LapFacts, Step, Unit};
use crate::scan::{Damage, Patience};
use crate::tracks::{Carriage, Selection, Tagged, Tagger, Tracks};
use crate::transcode::PacketSource;

mod entry;
mod others;
mod sound;
#[cfg(test)]
mod tests;
mod video;

use others::{Next, Others};
use sound::AudioTrack;
use video::VideoTrack;

/// Packets and bytes held at most until the first packet of each track is known.
const PRELUDE: (usize, usize) = (512, 4 << 20);
/// Milliseconds of one track until the other one is not waited for any more: what is stored apart was put side by side before.
const PRELUDE_SPAN: i64 = 2000;

/// What happens to audio after the end of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Everything up to the file's end.
    Whole,
    /// Audio that a lap of the video's length never needs is left out.
    Looped,
    /// The same, but what is heard while the last picture is shown is kept: pictures are decoded some time before that, and what follows may have no
    /// sound of that time.
    Joined,
}

/// How far a lap was read.
#[derive(Debug)]
enum Progress {
    /// Packets are being read.
    Reading,
    /// The file was read to its end, what waits is handed out.
    Flushing,
    /// The lap is over.
    Over,
}

/// Reads one lap of a file after the other.
#[derive(Debug)]
pub(crate) struct LapReader {
    path: PathBuf,
    source: Box<dyn PacketSource>,
    tagger: Tagger,
    tail: Tail,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    /// Sound beside that, and up to where it belongs to the lap, once that is known.
    others: Others,
    others_until: i64,
    /// Behind the first picture, on the clock that begins at the zero: where data may go, once it was handed over.
    floor: Option<i64>,
    interleaver: Interleaver,
    /// Packets read before the clock's zero was known.
    prelude: Option<VecDeque<Packet>>,
    prelude_bytes: usize,
    /// The time of the first packet, in milliseconds.
    prelude_began: Option<i64>,
    /// Where the clock's zero lies in the file, in milliseconds.
    zero: i64,
    /// The time of the latest picture that was handed over, on the clock that begins there.
    handed: i64,
    ready: VecDeque<Step>,
    sent_in_lap: u64,
    shortfall: Shortfall,
    progress: Progress,
    /// What ended the lap early.
    failure: Option<Error>,
    patience: Patience,
    continuity: Continuity,
    /// By how many milliseconds that has moved the newest packet, and when that is.
    moved: i64,
    newest: i64,
    blocks: Blocks,
    /// Room for what the source tells.
    told: Vec<EventKind>,
}

fn unit(base: TimeBase) -> Unit {
    Unit { num: base.num.max(1), den: base.den.max(1) }
}

impl LapReader {
    /// Reads what can be sent by copy of an open file, of these tracks.
    ///
    /// # Errors
    ///
    /// [`Error::NoPlayableTrack`].
    pub(crate) fn new(
        path: &Path,
        mut source: Box<dyn PacketSource>,
        (tracks, carriage): (Tracks, Carriage),
        tail: Tail,
    ) -> Result<Self, Error> {
        let mut selection = Selection::of(source.media(), carriage);
        match tracks {
            Tracks::Both => {}
            // Packets of what is encoded are those of two tracks.
            Tracks::All if source.encodes() => {}
            Tracks::All => selection = selection.with_others(source.media()),
            Tracks::Video => selection.audio = None,
            Tracks::Audio => selection.video = None,
        }
        // Tracks that were not requested are not reported.
        let unasked = match tracks {
            Tracks::Both | Tracks::All => None,
            Tracks::Video => Some(TrackKind::Audio),
            Tracks::Audio => Some(TrackKind::Video),
        };
        selection.skipped.retain(|(index, _)| {
            unasked.is_none()
                || source
                    .media()
                    .tracks
                    .iter()
                    .all(|track| track.index != *index || Some(track.kind) != unasked)
        });
        if selection.is_empty() {
            let found =
                source.media().tracks.iter().map(|track| track.codec.name().to_owned()).collect::<Vec<_>>();
            let found = if found.is_empty() { "no track at all".to_owned() } else { found.join(", ") };
            return Err(Error::NoPlayableTrack { path: path.to_owned(), found });
        }
        source.select(&selection.indices());
        let video = selection.video.as_ref().map(|track| {
            // Other codecs are not taken without one.
            VideoTrack::new(unit(track.time_base), track.config.is_some() || track.codec != Codec::H264)
        });
        let shortfall =
            Shortfall::new(selection.video.as_ref().or(selection.audio.as_ref()).and_then(|t| t.frames));
        let tagger = Tagger::new(selection);
        let audio = tagger.selection().audio.as_ref().map(|track| {
            let config = track.config.clone();
            let header =
                config.and_then(|config| tagger.sequence_header(track.index, config, MediaTime::ZERO));
            AudioTrack::new(track, header.as_ref())
        });
        let others = Others::new(tagger.selection().others.iter().chain(&tagger.selection().data));
        Ok(Self {
            path: path.to_owned(),
            source,
            interleaver: Interleaver::new(video.is_some(), audio.is_some()),
            tagger,
            tail,
            video,
            audio,
            others,
            others_until: i64::MAX,
            floor: None,
            prelude: Some(VecDeque::new()),
            prelude_bytes: 0,
            prelude_began: None,
            zero: 0,
            handed: i64::MIN,
            ready: VecDeque::new(),
            sent_in_lap: 0,
            shortfall,
            progress: Progress::Reading,
            failure: None,
            patience: Patience::default(),
            continuity: Continuity::new(Forward::File),
            moved: 0,
            newest: 0,
            blocks: Blocks::default(),
            told: Vec::new(),
        })
    }

    /// What is played and what is left out.
    pub(crate) fn selection(&self) -> &Selection {
        self.tagger.selection()
    }

    /// Whether any of it is encoded.
    pub(crate) fn encodes(&self) -> bool {
        self.source.encodes()
    }

    /// What a session begins with: metadata and the sequence headers known so far.
    pub(crate) fn headers(&self) -> Vec<Tag> {
        self.tagger.headers()
    }

    /// The next step of the lap; after its end, [`LapReader::rewind`] begins the next one.
    ///
    /// # Errors
    ///
    /// The source is over for good: the lap gave nothing, or reading it was interrupted.
    ///
    /// # Blocking
    ///
    /// On reading the file, until its interrupt.
    pub(crate) fn next(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            match self.progress {
                Progress::Reading => {
                    self.fill_silence();
                    if let Some(tag) = self.interleaver.pull() {
                        if tag.is_video() {
                            self.handed = tag.timestamp.as_millis();
                            self.floor.get_or_insert(self.handed + 1);
                        }
                        return Ok(self.in_order(tag));
                    }
                    self.read()?;
                }
                Progress::Flushing => match self.interleaver.flush() {
                    Some(tag) => return Ok(self.in_order(tag)),
                    None => {
                        self.hand_others(i64::MAX);
                        self.progress = Progress::Over;
                    }
                },
                Progress::Over => return Ok(Step::End),
            }
        }
    }

    /// Reads until there is a tag to hand over, or nothing more to be read.
    ///
    /// # Errors
    ///
    /// As [`LapReader::next`].
    ///
    /// # Blocking
    ///
    /// As [`LapReader::next`].
    pub(crate) fn prime(&mut self) -> Result<(), Error> {
        while matches!(self.progress, Progress::Reading) {
            if let Some(tag) = self.interleaver.pull() {
                self.hand_others(tag.timestamp.as_millis());
                self.ready.push_back(Step::Tag(tag));
                break;
            }
            self.read()?;
        }
        Ok(())
    }

    /// The next step, of a tag and of other sound that comes before it. Nothing else is ready.
    fn in_order(&mut self, tag: Tag) -> Step {
        self.hand_others(tag.timestamp.as_millis());
        let Some(first) = self.ready.pop_front() else { return Step::Tag(tag) };
        self.ready.push_back(Step::Tag(tag));
        first
    }

    /// Gets other sound ready, up to `until`.
    fn hand_others(&mut self, until: i64) {
        let until = until.min(self.others_until);
        let sounds = self.tagger.selection().others.len();
        while let Some(Next { number, time, source_time, data }) =
            self.others.next(self.zero, until, self.floor)
        {
            let at = MediaTime::from_millis(time);
            let tag = match number.checked_sub(sounds) {
                Some(number) => self.tagger.data(number, at, source_time, &data),
                None => self.tagger.other(number, at, data),
            };
            self.ready.extend(tag.map(Step::Tag));
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        let read = self.source.read();
        self.source.tell(&mut self.told);
        self.ready.extend(self.told.drain(..).map(Step::Notice));
        match read {
            Ok(Some(packet)) => {
                self.patience.read();
                self.take(packet);
                Ok(())
            }
            Ok(None) => self.end_lap(None),
            Err(error) => match self.patience.failed(&error) {
                Damage::First => {
                    self.fault(error);
                    Ok(())
                }
                Damage::Again => Ok(()),
                // Behind a damaged place there may be more; only if there is not, the lap is over.
                Damage::TooMuch => self.end_lap(Some(error)),
                Damage::Final => Err(error),
            },
        }
    }

    /// What ended the lap before the end of the file, once it is over.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Begins the next lap.
    ///
    /// # Errors
    ///
    /// The file cannot be read from its beginning again.
    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        self.source.rewind()?;
        if let Some(video) = &mut self.video {
            *video = VideoTrack::new(video.unit, video.begins_with_header);
        }
        if let Some(audio) = &mut self.audio {
            audio.rewind();
        }
        self.sent_in_lap = 0;
        self.handed = i64::MIN;
        self.patience = Patience::default();
        self.continuity = Continuity::new(Forward::File);
        self.others.clear();
        (self.others_until, self.moved, self.floor) = (i64::MAX, 0, None);
        self.progress = Progress::Reading;
        Ok(())
    }

    fn fault(&mut self, error: Error) {
        self.ready.push_back(Step::Notice(EventKind::SourceFault { error }));
    }

    /// Bytes of tags that wait for their place in the order.
    pub(crate) fn bytes_held(&self) -> usize {
        self.interleaver.bytes() + self.prelude_bytes + self.others.bytes() + self.source.bytes_held()
    }

    /// Takes a packet, once the clock's zero is known: the earliest of the first packets of all tracks.
    fn take(&mut self, mut packet: Packet) {
        if self.others.has(packet.track) {
            packet.data = self.blocks.keep(packet.data);
            return self.others.push(packet, self.moved, self.newest);
        }
        let Some(prelude) = &mut self.prelude else {
            return self.place(packet);
        };
        self.prelude_bytes += packet.data.len();
        let track = if self.tagger.is_video(packet.track) {
            self.video.as_ref().map(|video| video.unit)
        } else {
            self.audio.as_ref().map(|audio| audio.unit)
        };
        let time = packet.dts.or(packet.pts).map(|dts| track.unwrap_or(Unit::MILLIS).to_millis(dts));
        let began = *self.prelude_began.get_or_insert(time.unwrap_or(0));
        let span = time.map_or(0, |time| time.saturating_sub(began));
        prelude.push_back(packet);
        let seen = |track: &Option<TrackInfo>| {
            track.as_ref().is_none_or(|track| prelude.iter().any(|packet| packet.track == track.index))
        };
        let selection = self.tagger.selection();
        if (seen(&selection.video) && seen(&selection.audio))
            || prelude.len() >= PRELUDE.0
            || self.prelude_bytes >= PRELUDE.1
            || span >= PRELUDE_SPAN
        {
            self.open_clock();
        }
    }

    fn open_clock(&mut self) {
        let Some(prelude) = self.prelude.take() else { return };
        self.prelude_bytes = 0;
        let mut first: [Option<i64>; 2] = [None; 2];
        for packet in &prelude {
            let is_video = self.tagger.is_video(packet.track);
            let unit = self.unit_of(is_video);
            if let Some(dts) = packet.dts.or(packet.pts) {
                let first = &mut first[usize::from(is_video)];
                *first = first.or(Some(unit.to_millis(dts)));
            }
        }
        self.zero = first.into_iter().flatten().min().unwrap_or(0);
        for packet in prelude {
            self.place(packet);
        }
    }

    fn unit_of(&self, video: bool) -> Unit {
        let unit = if video {
            self.video.as_ref().map(|video| video.unit)
        } else {
            self.audio.as_ref().map(|audio| audio.unit)
        };
        unit.unwrap_or(Unit::MILLIS)
    }

    fn place(&mut self, mut packet: Packet) {
        if self.video.is_none() || self.tagger.is_video(packet.track) {
            self.shortfall.packet(packet.corrupt);
        }
        if packet.corrupt || packet.data.is_empty() {
            // What it states about the packets after it holds all the same.
            if self.tagger.is_video(packet.track) {
                self.video
                    .iter_mut()
                    .for_each(|track| track.config = packet.config.take().or(track.config.take()));
            } else {
                self.audio
                    .iter_mut()
                    .for_each(|track| track.config = packet.config.take().or(track.config.take()));
            }
            return;
        }
        packet.data = self.blocks.keep(packet.data);
        self.mend_clock(&mut packet);
        if self.tagger.is_video(packet.track) {
            self.place_video(packet);
        } else {
            self.place_audio(packet);
        }
    }

    /// Takes out a jump of the file's own clock.
    fn mend_clock(&mut self, packet: &mut Packet) {
        let is_video = self.tagger.is_video(packet.track);
        let unit = self.unit_of(is_video);
        let Some(time) = packet.dts.or(packet.pts) else { return };
        let side = if is_video { Side::Video } else { Side::Audio };
        let (shift, jumped) = self.continuity.shift(side, unit.to_millis(time));
        if jumped {
            self.ready.push_back(Step::Notice(EventKind::ClockJumped { millis: -shift }));
        }
        (self.moved, self.newest) = (shift, unit.to_millis(time).saturating_add(shift));
        if shift != 0 {
            let ticks = Unit::MILLIS.to(shift, unit);
            packet.pts = packet.pts.map(|pts| pts + ticks);
            packet.dts = packet.dts.map(|dts| dts + ticks);
        }
    }

    fn place_video(&mut self, mut packet: Packet) {
        let Some(track) = &mut self.video else { return };
        packet.config = packet.config.or(track.config.take());
        track.has_header |= packet.config.is_some();
        let Some((dts, pts)) = self.tagger.times(&packet) else { return };
        match track.keyframe {
            None if packet.keyframe && track.has_header => {
                track.keyframe = Some(pts);
                track.held = Some(packet);
                return;
            }
            // Nothing can be decoded before the first keyframe and its configuration.
            None => {
                track.config = packet.config;
                return self.shortfall.before_start();
            }
            // What is shown before the first keyframe needs the end of another lap.
            Some(keyframe) if pts < keyframe => {
                track.config = packet.config.or(track.config.take());
                // The keyframe takes the place of what is left out, or the lap would be decoded longer than it is shown.
                if let Some(held) = &mut track.held {
                    held.dts = Some(dts);
                }
                return;
            }
            Some(_) => {}
        }
        self.place_held();
        self.place_frame(packet, dts, pts);
    }

    fn place_held(&mut self) {
        if let Some(packet) = self.video.as_mut().and_then(|track| track.held.take())
            && let Some((dts, pts)) = self.tagger.times(&packet)
        {
            self.place_frame(packet, dts, pts);
        }
    }

    fn place_frame(&mut self, packet: Packet, dts: i64, pts: i64) {
        let Some(track) = &mut self.video else { return };
        let decode = track.unit.to_millis(dts);
        let composition = track.unit.to_millis(pts) - decode;
        track.lap.observe(dts, pts, packet.duration);
        let at = track.increasing.next(decode - self.zero);
        let Tagged { header, frame } = self.tagger.tags(packet, at, composition);
        if let Some(header) = header {
            self.interleaver.push(header, 0);
        }
        if let Some(frame) = frame {
            self.interleaver.push(frame, 0);
            self.sent_in_lap += 1;
        }
    }

    fn place_audio(&mut self, mut packet: Packet) {
        let begin = self.picture_begin();
        let Some(track) = &mut self.audio else { return };
        let Some(pts) = packet.pts.or(packet.dts) else { return };
        let at = track.unit.to(pts, track.lap.unit());
        track.bridge(at, begin, self.zero, &mut self.interleaver);
        let Some(time) = track.take(&packet, (pts, at), self.zero, self.handed) else { return };
        let time = MediaTime::from_millis(time);
        packet.config = packet.config.or(track.config.take());
        let Tagged { header, frame } = self.tagger.tags(packet, time, 0);
        if let Some(header) = header {
            track.change(&header);
            self.interleaver.push(header, at);
        }
        if let Some(frame) = frame {
            self.interleaver.push(frame, at);
            self.sent_in_lap += 1;
        }
    }

    /// Makes silence up to the next picture, if that goes out without sound.
    fn fill_silence(&mut self) {
        let Some(until) = self.interleaver.video_alone() else { return };
        let begin = self.picture_begin();
        let Some(track) = &mut self.audio else { return };
        let until = Unit::MILLIS.to(until + self.zero, track.lap.unit());
        track.fill_to(until, begin, self.zero, &mut self.interleaver);
    }

    /// Where the lap's picture begins, in samples of the sound.
    fn picture_begin(&self) -> Option<i64> {
        let (video, audio) = (self.video.as_ref()?, self.audio.as_ref()?);
        Some(video.unit.to(video.lap.first()?, audio.lap.unit()))
    }

    /// The file was read to its end, or as far as it could be.
    fn end_lap(&mut self, fault: Option<Error>) -> Result<(), Error> {
        while let Some(packet) = self.source.rest() {
            self.take(packet);
        }
        self.open_clock();
        self.place_held();
        if self.sent_in_lap == 0 {
            return Err(fault.unwrap_or_else(|| Error::SourceDried { path: self.path.clone() }));
        }
        let facts = self.measure();
        if self.tail == Tail::Looped {
            let begin = self.video.as_ref().and_then(|video| Some(video.unit.to_millis(video.lap.first()?)));
            let end = facts.end(begin.map_or(0, |begin| begin - self.zero));
            let last = end.and_then(|end| i64::try_from(end.as_millis()).ok());
            self.others_until = last.map_or(i64::MAX, |end| end - 1);
        }
        if let Some(reason) = self.shortfall.take_lead() {
            self.fault(Error::SourceDamaged { path: self.path.clone(), reason });
        }
        self.shortfall.left_out(self.source.take_left_out());
        if let Some(reason) = self.shortfall.end_lap() {
            self.fault(Error::SourceDamaged { path: self.path.clone(), reason });
        }
        if let Some(reason) = self.audio.as_mut().and_then(AudioTrack::end_lap) {
            self.fault(Error::SourceDamaged { path: self.path.clone(), reason });
        }
        self.ready.push_back(Step::Ending(facts));
        self.failure = fault;
        self.progress = Progress::Flushing;
        Ok(())
    }

    /// What the lap was; leaves audio out that lies behind the end of the video.
    fn measure(&mut self) -> LapFacts {
        let mut video = self.video.as_ref().and_then(|video| video.lap.lap());
        let begin = self.video.as_ref().and_then(|video| Some((video.lap.first()?, video.unit)));
        let Some(audio) = &mut self.audio else { return LapFacts { video, audio: None } };
        let samples = audio.lap.unit();
        if let (Some(video), Some(start), Tail::Looped | Tail::Joined) =
            (&mut video, audio.lap.start(), self.tail)
        {
            // The next lap begins with its picture; sound that comes before that is left out there, and none is between.
            let start = begin.map_or(start, |(first, unit)| start.max(unit.to(first, samples)));
            // A lap that is played after others may begin up to half a frame early: one frame more than fits is kept.
            let mut end = start + video.unit.to(video.length, samples);
            if self.tail == Tail::Joined {
                let shown = self.video.as_ref().and_then(|video| video.lap.shown_until());
                end = end.max(shown.map_or(end, |shown| video.unit.to(shown, samples)));
            }
            while let Some(beyond) = self.interleaver.take_back_audio_if(|timed| timed.exact > end + 1) {
                audio.lap.take_back(beyond.exact);
            }
            if audio.lap.next() - end > 2 * audio.lap.frame() {
                // More audio than the interleaver would hold was handed out already: the picture waits for it.
                video.length = video.length.max(samples.to(audio.lap.next() - start, video.unit));
            }
        }
        LapFacts { video, audio: audio.lap.lap(Unit::MILLIS.to(self.zero, samples)) }
    }
}
