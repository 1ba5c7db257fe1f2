//! A source of packets over another one: tracks that do not fit are encoded, the others pass.
//!
//! In: the packets of a file. Out: packets of the same file as if it had been made to fit. Each lap has encoders of its own, so
//! that all are alike and begin with a keyframe. Everything that can be pulled is, before the next packet is read: what waits
//! here are finished packets only. Runs on the thread that reads.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowcast_av::{
    AudioDecoder, Error as Media, Interrupt, MediaInfo, Packet, TimeBase, TrackInfo, VideoDecoder, VideoFrame,
};

use super::decode::{Decoded, FrameStage, TrackDecoder};
use super::encoders::Encoders;
use super::length::Length;
use super::leveling::{Leveling, Patience};
use super::meter::EncodingMeter;
use super::pictures::Pictures;
use super::plan::Plan;
use super::sounds::Sounds;
use super::spread::{Spread, Viewers};
use super::unheard::{Unheard, track_of_silence};
use crate::adapt::Dial;
use crate::clock::continuity::{Continuity, Forward, Side};
use crate::content::Probe;
use crate::error::Error;
use crate::event::EventKind;
use crate::mix::Mixing;
use crate::tracks::{Chosen, Selection};
use crate::transcode::packets::PacketSource;

/// Packets in a row that may be damaged before the rest of a track is given up for this lap.
const MOST_DAMAGED: u32 = 500;

/// A picture that is to be shown this many milliseconds before or after it is decoded, or more, has a wrong time: the picture before
/// it would be shown, and encoded, all the while.
const MOST_REORDERED: u64 = 10_000;

/// How others reach an encoder that is at work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Control {
    /// Ends it.
    pub(crate) interrupt: Interrupt,
    /// What it has done.
    pub(crate) meter: EncodingMeter,
    /// How long the file is that is read.
    pub(crate) length: Length,
    /// How long what comes out waits before it is on the air.
    pub(crate) ahead: Length,
    /// What its sound is mixed with.
    pub(crate) mixing: Option<Mixing>,
    /// How its loudness is waited for, if its sound is leveled.
    pub(crate) patience: Patience,
    /// What is told what it sees and hears.
    pub(crate) probe: Option<Probe>,
    /// What sets the bit rate of its pictures.
    pub(crate) dial: Dial,
}

impl Control {
    /// Moves what the mix has to tell.
    pub(crate) fn take_events(&self, notices: &mut Vec<EventKind>) {
        if let Some(mixing) = &self.mixing {
            mixing.take_events(notices);
        }
    }

    /// Bytes of samples that wait to be mixed.
    pub(crate) fn mixed_bytes(&self) -> usize {
        self.mixing.as_ref().map_or(0, Mixing::bytes)
    }

    /// Ends the encoder, and what it is mixed with.
    pub(crate) fn stop(&self) {
        self.interrupt.cancel();
        if let Some(mixing) = &self.mixing {
            mixing.stop();
        }
    }

    /// Whether the threads of the mix have ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.mixing.as_ref().is_none_or(Mixing::is_stopped)
    }
}

/// Encodes some of the tracks of `S`.
#[derive(Debug)]
pub(crate) struct Transcoder<S> {
    path: PathBuf,
    source: S,
    control: Control,
    media: MediaInfo,
    /// The tracks that are read: video and audio.
    inputs: [Option<(usize, TimeBase)>; 2],
    /// What is encoded: where its frames come from, and what encodes them.
    video: Option<(TrackDecoder<VideoDecoder>, Shown)>,
    /// Sound that is mixed goes on where the source has none: then there is no decoder.
    audio: Option<(Option<TrackDecoder<AudioDecoder>>, Sounds)>,
    unheard: Unheard,
    continuity: Continuity,
    ready: VecDeque<Packet>,
    notices: Vec<EventKind>,
    damage: Damage,
    state: State,
}

/// Where pictures go.
#[derive(Debug)]
enum Shown {
    Encoded(Box<Pictures>),
    /// To others: no packets come of them here.
    Spread(Box<Spread>),
}

impl FrameStage for Shown {
    type Frame = VideoFrame;

    fn take(&mut self, decoded: Decoded<VideoFrame>) {
        match self {
            Self::Encoded(pictures) => pictures.take(decoded),
            Self::Spread(spread) => spread.take(decoded),
        }
    }

    fn work(&mut self, packets: &mut VecDeque<Packet>, notices: &mut Vec<EventKind>) -> Result<bool, Error> {
        match self {
            Self::Encoded(pictures) => pictures.work(packets, notices),
            Self::Spread(spread) => spread.work(packets, notices),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The lap was read to its end; what codecs hold comes out.
    Draining,
    Over,
}

/// What could not be decoded, or is damaged as the container says.
#[derive(Debug, Default)]
struct Damage {
    /// In this lap, and in a row.
    packets: u64,
    in_a_row: u32,
    /// The first in this lap.
    first: Option<Error>,
    /// What was reported about the lap before.
    told: u64,
}

impl<S: PacketSource> Transcoder<S> {
    /// Encodes the open file at `path` by `plan`.
    ///
    /// # Errors
    ///
    /// There is no decoder for a track that is to be encoded, or no encoder opens.
    pub(crate) fn new(
        path: &Path,
        source: S,
        plan: &Plan,
        encoders: &Arc<dyn Encoders>,
        control: &Control,
    ) -> Result<Self, Error> {
        Self::open(path, source, plan, encoders, control, None)
    }

    /// The same, but pictures are decoded for `viewers`: only packets of sound come out.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new); there are no pictures.
    pub(crate) fn for_viewers(
        path: &Path,
        source: S,
        plan: &Plan,
        encoders: &Arc<dyn Encoders>,
        control: &Control,
        viewers: Box<dyn Viewers>,
    ) -> Result<Self, Error> {
        Self::open(path, source, plan, encoders, control, Some(viewers))
    }

    fn open(
        path: &Path,
        source: S,
        plan: &Plan,
        encoders: &Arc<dyn Encoders>,
        control: &Control,
        viewers: Option<Box<dyn Viewers>>,
    ) -> Result<Self, Error> {
        let mut media = source.media().clone();
        let chosen = Chosen::of(&media, plan.carriage);
        let place = |track: &TrackInfo| (track.index, track.time_base);
        let (mut video, mut notices) = (None, Vec::new());
        let mut inputs = [Selection::of(&media, plan.carriage).video.as_ref().map(place), None];
        if let Some(viewers) = viewers {
            let nothing = || Media::NoPlayableTrack { input: path.display().to_string() };
            let track = chosen.video.as_ref().ok_or_else(nothing)?;
            let shown = Shown::Spread(Box::new(Spread::new(track, viewers)));
            video = Some((TrackDecoder::open(track)?, shown));
            inputs[0] = Some(place(track));
        } else if let (Some(plan), Some(track)) = (&plan.video, &chosen.video) {
            let decoder = TrackDecoder::open(track)?;
            let mut opened = Pictures::open(track, plan, encoders, &control.dial)?;
            opened.on_air_after(&control.ahead);
            opened.watched_by(control.probe.clone());
            opened.measured_by(&control.meter);
            notices.extend(opened.take_change());
            inputs[0] = Some(place(track));
            replace(&mut media, opened.output());
            control.meter.name(opened.encoder());
            video = Some((decoder, Shown::Encoded(Box::new(opened))));
        }
        // With the picture that comes out: its sound is of the same programme.
        inputs[1] = Selection::of(&media, plan.carriage).audio.as_ref().map(place);
        let mut audio = None;
        let silence =
            control.mixing.as_ref().filter(|_| chosen.audio.is_none()).map(|_| track_of_silence(&media));
        if let (Some(plan), Some(track)) = (&plan.audio, chosen.audio.as_ref().or(silence.as_ref())) {
            let decoder = if silence.is_none() { Some(TrackDecoder::open(track)?) } else { None };
            let leveling = match &decoder {
                Some(_) => {
                    let wait = (&control.patience, &control.interrupt);
                    Leveling::open(path, (source.media(), track), plan, wait)?
                }
                None => None,
            };
            let opened = Sounds::open(track, plan, control, leveling)?;
            inputs[1] = decoder.as_ref().map(|_| place(track));
            if silence.is_some() {
                media.tracks.push(opened.output().clone());
            } else {
                replace(&mut media, opened.output());
            }
            if video.is_none() {
                control.meter.name(opened.encoder());
            }
            audio = Some((decoder, opened));
        }
        Ok(Self {
            path: path.to_owned(),
            source,
            control: control.clone(),
            media,
            inputs,
            video,
            audio,
            unheard: Unheard::default(),
            continuity: Continuity::new(Forward::File),
            ready: VecDeque::new(),
            notices,
            damage: Damage::default(),
            state: State::Reading,
        })
    }

    /// The track whose pictures are shown to viewers.
    pub(crate) fn shown(&self) -> Option<&TrackInfo> {
        let (index, _) = self.inputs[0].filter(|_| matches!(self.video, Some((_, Shown::Spread(_)))))?;
        self.media.track(index)
    }

    /// Takes a packet of the file.
    fn take(&mut self, mut packet: Packet) -> Result<(), Error> {
        let is = |input: Option<(usize, TimeBase)>| input.is_some_and(|(index, _)| index == packet.track);
        let [video, audio] = self.inputs;
        let (base, side) = match (is(video), is(audio)) {
            (true, _) => (video.map(|(_, base)| base), Side::Video),
            (_, true) => (audio.map(|(_, base)| base), Side::Audio),
            _ => return Ok(()),
        };
        if let Some(base) = base {
            self.mend_clock(&mut packet, side, base);
            self.keep_sound_up(&packet, side, base)?;
        }
        // One that the container calls damaged may lack nothing (the last one before a file was joined to another), and what a
        // decoder makes of one that does is better than none.
        let pushed = match (side, &mut self.video, &mut self.audio) {
            (Side::Video, Some((decoder, _)), _) => decoder.push(&packet),
            (Side::Audio, _, Some((Some(decoder), _))) => decoder.push(&packet),
            _ => {
                self.ready.push_back(packet);
                return Ok(());
            }
        };
        let pushed = pushed.and_then(|()| match packet.corrupt {
            true => {
                let message = "the container says that it is damaged".to_owned();
                Err(Media::Damaged { track: packet.track, pts: packet.pts, message })
            }
            false => Ok(()),
        });
        pushed.or_else(|error| self.tolerate(Error::Media(error)))
    }

    /// What is mixed is heard although the source's own sound does not come.
    fn keep_sound_up(&mut self, packet: &Packet, side: Side, base: TimeBase) -> Result<(), Error> {
        let Some((decoder, sounds)) = self.audio.as_mut().filter(|_| self.control.mixing.is_some()) else {
            return Ok(());
        };
        let Some(at) = packet.dts.or(packet.pts).map(|time| base.millis(time)) else { return Ok(()) };
        match side {
            Side::Audio => self.unheard.heard(at, sounds.ends()),
            Side::Video => {
                if let Some((from, to)) = self.unheard.silence_at(at, sounds.ends(), decoder.is_some()) {
                    sounds.take_silence(from, to)?;
                }
            }
        }
        Ok(())
    }

    /// Takes out a jump of the file's own clock, before a decoder sees it.
    fn mend_clock(&mut self, packet: &mut Packet, side: Side, base: TimeBase) {
        let is_shown_when = |pts: i64, dts: i64| base.millis(pts).abs_diff(base.millis(dts)) < MOST_REORDERED;
        if let (Some(pts), Some(dts)) = (packet.pts, packet.dts)
            && !is_shown_when(pts, dts)
        {
            packet.pts = Some(dts);
        }
        let Some(time) = packet.dts.or(packet.pts) else { return };
        // What is copied has to go on with its decoding times.
        let (shift, jumped) = match (&self.video, packet.pts) {
            (Some(_), Some(pts)) => self.continuity.shift_shown(side, base.millis(time), base.millis(pts)),
            _ => self.continuity.shift(side, base.millis(time)),
        };
        if jumped {
            self.notices.push(EventKind::ClockJumped { millis: -shift });
        }
        if shift != 0 {
            let ticks = TimeBase::MILLIS.rescale(shift, base);
            packet.pts = packet.pts.map(|pts| pts.saturating_add(ticks));
            packet.dts = packet.dts.map(|dts| dts.saturating_add(ticks));
        }
    }

    /// Counts what is damaged; other errors are the end.
    fn tolerate(&mut self, error: Error) -> Result<(), Error> {
        if !matches!(&error, Error::Media(media) if media.is_damage()) {
            return Err(error);
        }
        self.control.meter.damaged();
        self.damage.packets += 1;
        self.damage.in_a_row += 1;
        if self.damage.first.is_none() {
            self.damage.first = Some(error);
        }
        Ok(())
    }

    /// Counts a packet that comes out, if it is a picture that was encoded; of sound, if there are no such pictures.
    fn count(&self, packet: &Packet) {
        let meter = &self.control.meter;
        match (&self.video, &self.audio) {
            (Some((_, Shown::Encoded(video))), _) if video.output().index == packet.track => {
                meter.frame(packet.data.len(), video.pixels());
                meter.holds(video.held_bytes());
                meter.name(video.encoder());
            }
            (None, Some((_, audio))) if audio.output().index == packet.track => {
                meter.frame(packet.data.len(), 0)
            }
            _ => {}
        }
    }

    /// Brings something through the codecs, if there is anything.
    fn work(&mut self) -> Result<bool, Error> {
        let before = self.ready.len();
        let worked = match &mut self.video {
            Some((decoder, pictures)) => decoder.work(pictures, &mut self.ready, &mut self.notices),
            None => Ok(false),
        };
        let worked = match (worked, &mut self.audio) {
            (Ok(false), Some((Some(decoder), sounds))) => {
                decoder.work(sounds, &mut self.ready, &mut self.notices)
            }
            (Ok(false), Some((None, sounds))) => sounds.work(&mut self.ready, &mut self.notices),
            (worked, _) => worked,
        };
        if self.ready.len() > before {
            self.damage.in_a_row = 0;
        }
        worked.or_else(|error| self.tolerate(error).map(|()| true))
    }

    /// Nothing more is read of this lap.
    fn drain(&mut self) -> Result<(), Error> {
        self.state = State::Draining;
        let all_end = self.continuity.newest();
        if let Some((decoder, _)) = &mut self.video
            && let Err(error) = decoder.finish(all_end)
        {
            self.tolerate(Error::Media(error))?;
        }
        match &mut self.audio {
            Some((Some(decoder), _)) => {
                if let Err(error) = decoder.finish(all_end) {
                    self.tolerate(Error::Media(error))?;
                }
            }
            Some((None, sounds)) => sounds.take(Decoded::End { all_end }),
            None => {}
        }
        Ok(())
    }

    /// The lap is over: damage is reported, unless it was the same in the lap before.
    fn end(&mut self) {
        self.state = State::Over;
        let Damage { packets, first, told, .. } = std::mem::take(&mut self.damage);
        self.damage.told = packets;
        if let Some(first) = first.filter(|_| packets != told) {
            let reason = format!("{packets} packets are damaged, the first: {}", crate::error::chain(&first));
            let error = Error::SourceDamaged { path: self.path.clone(), reason };
            self.notices.push(EventKind::SourceFault { error });
        }
    }

    fn begin(&mut self) {
        self.continuity = Continuity::new(Forward::File);
        self.ready.clear();
        self.state = State::Reading;
    }
}

impl<S: PacketSource> PacketSource for Transcoder<S> {
    fn media(&self) -> &MediaInfo {
        &self.media
    }

    fn select(&mut self, tracks: &[usize]) {
        self.source.select(tracks);
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            if let Some(packet) = self.ready.pop_front() {
                self.count(&packet);
                return Ok(Some(packet));
            }
            if self.control.interrupt.is_cancelled() {
                return Err(Error::Media(Media::Cancelled { operation: "encode" }));
            }
            if self.state != State::Over && self.work()? {
                continue;
            }
            match self.state {
                State::Reading if self.damage.in_a_row >= MOST_DAMAGED => self.drain()?,
                State::Reading => match self.source.read()? {
                    Some(packet) => self.take(packet)?,
                    None => self.drain()?,
                },
                State::Draining => self.end(),
                State::Over => return Ok(None),
            }
        }
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.source.rewind()?;
        if let Some((decoder, shown)) = &mut self.video {
            decoder.rewind()?;
            if let Shown::Encoded(pictures) = shown {
                pictures.rewind()?;
                self.notices.extend(pictures.take_change());
            }
        }
        self.rewind_sound()?;
        self.begin();
        Ok(())
    }

    fn seek(&mut self, track: usize, dts: i64) -> bool {
        // Without an index everything up to there is decoded, but not encoded.
        let sought = self.seek_source(track, dts);
        let begun = sought.and_then(|()| {
            if let Some((decoder, Shown::Encoded(pictures))) = &mut self.video {
                decoder.rewind()?;
                let base = self.media.track(track).map_or(TimeBase::MILLIS, |track| track.time_base);
                pictures.begin_at(base.rescale(dts, pictures.output().time_base))?;
                self.notices.extend(pictures.take_change());
            }
            self.rewind_sound()
        });
        self.begin();
        if let Err(error) = &begun {
            log::warn!("{}: cannot go on elsewhere: {}", self.path.display(), crate::error::chain(error));
        }
        begun.is_ok()
    }

    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        notices.append(&mut self.notices);
        self.source.tell(notices);
    }

    fn encodes(&self) -> bool {
        true
    }

    fn take_left_out(&mut self) -> u64 {
        match &mut self.video {
            Some((_, Shown::Encoded(pictures))) => pictures.take_left_out(),
            _ => 0,
        }
    }

    fn bytes_held(&self) -> usize {
        self.source.bytes_held()
    }
}

impl<S: PacketSource> Transcoder<S> {
    fn rewind_sound(&mut self) -> Result<(), Error> {
        if let Some((decoder, sounds)) = &mut self.audio {
            if let Some(decoder) = decoder {
                decoder.rewind()?;
            }
            sounds.rewind()?;
        }
        Ok(())
    }

    fn seek_source(&mut self, track: usize, dts: i64) -> Result<(), Error> {
        let [video, audio] = self.inputs;
        let input = video.or(audio).filter(|(index, _)| *index == track);
        let from = self.media.track(track).map(|track| track.time_base);
        if let (Some((index, to)), Some(from)) = (input, from)
            && self.source.seek(index, from.rescale(dts, to))
        {
            return Ok(());
        }
        self.source.rewind()
    }
}

/// Describes the track again that is the one of its kind that is sent.
fn replace(media: &mut MediaInfo, output: &TrackInfo) {
    for track in &mut media.tracks {
        if track.index == output.index {
            *track = output.clone();
        } else if track.kind == output.kind {
            track.default = false;
        }
    }
}
