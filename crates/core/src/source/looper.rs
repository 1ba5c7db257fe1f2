//! A file, lap after lap, as one endless row of tags.
//!
//! In: packets of a demuxer. Out: tags in order of time, on a clock that starts at zero, with the seams between laps
//! placed by [`super::lap`]. Runs on the worker thread of a file source.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowcast_av::{Demuxer, Packet, TimeBase, TrackInfo};
use flowcast_rtmp::flv::tag::{Tag, TagBody};

use super::continuity::{Continuity, Forward, Side};
use super::interleave::Interleaver;
use super::lap::{AudioLap, Increasing, LapClock};
use super::shortfall::Shortfall;
use super::store::Store;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::Unit;
use crate::tagger::{Selection, Tagger};

/// Packets and bytes held at most until the first packet of each track is known.
const PRELUDE: (usize, usize) = (512, 4 << 20);
/// Places in a row that may be damaged before the rest of the file is given up for this lap.
const MAX_DAMAGED: u32 = 16;
/// Samples of an audio frame whose length the file does not tell: AAC-LC.
const DEFAULT_FRAME_SAMPLES: u32 = 1024;

/// How often a source is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Laps {
    /// Once.
    Once,
    /// For ever.
    Endless,
}

/// What the looper gives.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next tag.
    Tag(Tag),
    /// Something to tell, in order with the tags: a completed lap, a fault the source went on after.
    Notice(EventKind),
    /// The source is complete.
    End,
}

/// The video track's state.
#[derive(Debug)]
struct VideoTrack {
    unit: Unit,
    clock: Option<LapClock>,
    increasing: Increasing,
    /// The presentation time of this lap's first keyframe; nothing shown earlier belongs to the lap.
    keyframe: Option<i64>,
}

/// The audio track's state.
#[derive(Debug)]
struct AudioTrack {
    unit: Unit,
    lap: AudioLap,
    increasing: Increasing,
    last: Option<TagBody>,
    first_lap: bool,
    /// Frames that end before this only warm the decoder up.
    priming_until: i64,
}

/// Plays a file in laps.
#[derive(Debug)]
pub(crate) struct Looper {
    path: PathBuf,
    demuxer: Demuxer,
    tagger: Tagger,
    laps: Laps,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    interleaver: Interleaver,
    /// Packets read before the clock's zero was known.
    prelude: Option<VecDeque<Packet>>,
    prelude_bytes: usize,
    /// Where the clock's zero lies in the file, in milliseconds.
    zero: i64,
    ready: VecDeque<Step>,
    completed: u64,
    sent_in_lap: u64,
    shortfall: Shortfall,
    ended: bool,
    /// What a source that is played once failed with.
    failure: Option<flowcast_av::Error>,
    /// Places in a row that could not be read.
    damaged: u32,
    continuity: Continuity,
    store: Store,
}

fn unit(base: TimeBase) -> Unit {
    Unit { num: base.num.max(1), den: base.den.max(1) }
}

impl Looper {
    /// Plays what can be sent by copy of an open file.
    ///
    /// # Errors
    ///
    /// [`Error::NoPlayableTrack`].
    pub(crate) fn new(path: &Path, mut demuxer: Demuxer, laps: Laps) -> Result<Self, Error> {
        let selection = Selection::of(demuxer.media());
        if selection.is_empty() {
            let found =
                demuxer.media().tracks.iter().map(|track| track.codec.name().to_owned()).collect::<Vec<_>>();
            let found = if found.is_empty() { "no track at all".to_owned() } else { found.join(", ") };
            return Err(Error::NoPlayableTrack { path: path.to_owned(), found });
        }
        demuxer.select(&selection.indices());
        let video = selection.video.as_ref().map(|track| VideoTrack {
            unit: unit(track.time_base),
            clock: None,
            increasing: Increasing::default(),
            keyframe: None,
        });
        let audio = selection.audio.as_ref().map(AudioTrack::new);
        let shortfall =
            Shortfall::new(selection.video.as_ref().or(selection.audio.as_ref()).and_then(|t| t.frames));
        let tagger = Tagger::new(selection);
        let ready = tagger.headers().into_iter().map(Step::Tag).collect();
        Ok(Self {
            path: path.to_owned(),
            demuxer,
            interleaver: Interleaver::new(video.is_some(), audio.is_some()),
            tagger,
            laps,
            video,
            audio,
            prelude: Some(VecDeque::new()),
            prelude_bytes: 0,
            zero: 0,
            ready,
            completed: 0,
            sent_in_lap: 0,
            shortfall,
            ended: false,
            failure: None,
            damaged: 0,
            continuity: Continuity::new(Forward::File),
            store: Store::default(),
        })
    }

    /// The tracks that are played.
    pub(crate) fn selection(&self) -> &Selection {
        self.tagger.selection()
    }

    /// The next step.
    ///
    /// # Errors
    ///
    /// The source is over for good: a lap gave nothing.
    ///
    /// # Blocking
    ///
    /// On reading the file, until the demuxer's interrupt.
    pub(crate) fn next(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            if let Some(tag) = self.interleaver.pull() {
                return Ok(Step::Tag(tag));
            }
            if self.ended {
                return self.failure.take().map_or(Ok(Step::End), |error| Err(Error::Media(error)));
            }
            match self.demuxer.read() {
                Ok(Some(packet)) => {
                    self.damaged = 0;
                    self.take(packet);
                }
                Ok(None) => self.end_lap(None)?,
                // Behind a damaged place there may be more; only if there is not, the lap is over.
                Err(error @ (flowcast_av::Error::Cancelled { .. } | flowcast_av::Error::Timeout { .. })) => {
                    return Err(Error::Media(error));
                }
                Err(error) if self.damaged >= MAX_DAMAGED => self.end_lap(Some(error))?,
                Err(error) => {
                    self.damaged += 1;
                    if self.damaged == 1 {
                        self.fault(Error::Media(error));
                    }
                }
            }
        }
    }

    fn fault(&mut self, error: Error) {
        self.ready.push_back(Step::Notice(EventKind::SourceFault { error: Arc::new(error) }));
    }

    /// Bytes of tags that wait for their place in the order.
    pub(crate) fn bytes_held(&self) -> usize {
        self.interleaver.bytes() + self.prelude_bytes
    }

    /// Takes a packet, once the clock's zero is known: the earliest of the first packets of all tracks.
    fn take(&mut self, packet: Packet) {
        let Some(prelude) = &mut self.prelude else {
            return self.place(packet);
        };
        self.prelude_bytes += packet.data.len();
        prelude.push_back(packet);
        let seen = |track: &Option<TrackInfo>| {
            track.as_ref().is_none_or(|track| prelude.iter().any(|packet| packet.track == track.index))
        };
        let selection = self.tagger.selection();
        if (seen(&selection.video) && seen(&selection.audio))
            || prelude.len() >= PRELUDE.0
            || self.prelude_bytes >= PRELUDE.1
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
            return;
        }
        packet.data = self.store.keep(packet.data);
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
        if shift != 0 {
            let ticks = Unit::MILLIS.to(shift, unit);
            packet.pts = packet.pts.map(|pts| pts + ticks);
            packet.dts = packet.dts.map(|dts| dts + ticks);
        }
    }

    fn place_video(&mut self, packet: Packet) {
        let Some(track) = &mut self.video else { return };
        let (Some(dts), Some(pts)) = (packet.dts.or(packet.pts), packet.pts.or(packet.dts)) else { return };
        match track.keyframe {
            None if packet.keyframe => track.keyframe = Some(pts),
            // Nothing can be decoded before the first keyframe, and what is shown before it needs the end of another lap.
            None => return,
            Some(keyframe) if pts < keyframe => return,
            Some(_) => {}
        }
        let clock = track.clock.get_or_insert_with(|| LapClock::new(track.unit, dts));
        let decode = track.unit.to_millis(clock.place(dts));
        let composition = track.unit.to_millis(clock.place(pts)) - decode;
        clock.observe(dts, packet.duration);
        let at = track.increasing.next(decode - self.zero);
        if let Some(config) = packet.config {
            let header = self.tagger.sequence_header(packet.track, config, at);
            header.into_iter().for_each(|tag| self.interleaver.push(tag, 0));
        }
        if let Ok(tag) = self.tagger.video(at, composition, packet.keyframe, packet.data) {
            self.interleaver.push(tag, 0);
            self.sent_in_lap += 1;
        }
    }

    fn place_audio(&mut self, packet: Packet) {
        let Some(track) = &mut self.audio else { return };
        let Some(pts) = packet.pts.or(packet.dts) else { return };
        let at = track.unit.to(pts, track.lap.unit());
        if track.first_lap && packet.skip_start > 0 {
            track.priming_until = at + i64::from(packet.skip_start);
        }
        let priming = at + track.lap.frame() <= track.priming_until;
        let Some(exact) = track.lap.place(at, priming) else { return };
        // In the first lap the file's own times are kept to the letter; later laps are placed by counting samples.
        let millis =
            if track.first_lap { track.unit.to_millis(pts) } else { track.lap.unit().to_millis(exact) };
        let time = track.increasing.next(millis - self.zero);
        if let Some(config) = packet.config {
            let header = self.tagger.sequence_header(packet.track, config, time);
            header.into_iter().for_each(|tag| self.interleaver.push(tag, exact));
        }
        if let Ok(tag) = self.tagger.audio(time, packet.data) {
            track.last = Some(tag.body.clone());
            self.interleaver.push(tag, exact);
            self.sent_in_lap += 1;
        }
    }

    /// The file was read to its end, or as far as it could be.
    fn end_lap(&mut self, fault: Option<flowcast_av::Error>) -> Result<(), Error> {
        self.open_clock();
        if self.sent_in_lap == 0 {
            return Err(fault.map_or_else(|| Error::SourceDried { path: self.path.clone() }, Error::Media));
        }
        if self.laps == Laps::Endless {
            self.close_seam();
        }
        while let Some(tag) = self.interleaver.flush() {
            self.ready.push_back(Step::Tag(tag));
        }
        if let Some(reason) = self.shortfall.end_lap() {
            self.fault(Error::SourceDamaged { path: self.path.clone(), reason });
        }
        if self.laps == Laps::Once {
            self.ended = true;
            self.failure = fault;
            return Ok(());
        }
        self.completed += 1;
        self.ready.push_back(Step::Notice(EventKind::Looped { laps: self.completed }));
        self.sent_in_lap = 0;
        self.damaged = 0;
        self.continuity = Continuity::new(Forward::File);
        self.demuxer.rewind()?;
        Ok(())
    }

    /// Fits the lap's audio to its video and moves both clocks to the next lap.
    fn close_seam(&mut self) {
        let Some(audio) = &mut self.audio else {
            self.wrap_video();
            return;
        };
        let Some(clock) = self.video.as_mut().and_then(|video| video.clock.as_mut()) else {
            audio.lap.wrap(audio.lap.next() - audio.lap.nominal_begin(0));
            audio.first_lap = false;
            return;
        };
        let samples = audio.lap.unit();
        let mut end = clock.unit().to(clock.next_begin(), samples);
        let mut nominal = audio.lap.nominal_begin(end);
        while let Some(left_out) =
            self.interleaver.take_back_audio_if(|timed| !audio.lap.fits(timed.exact, nominal))
        {
            audio.lap.take_back(left_out.exact);
            audio.increasing.take_back(left_out.tag.timestamp);
        }
        if (audio.lap.next() - nominal) * 2 > audio.lap.frame() {
            // More audio than the interleaver would hold was sent already: the picture waits for it.
            clock.extend_to(audio.lap.next() - audio.lap.nominal_begin(0), samples);
            end = clock.unit().to(clock.next_begin(), samples);
            nominal = audio.lap.nominal_begin(end);
        }
        log::trace!("lap ends at {end} samples, audio goes on at {} (nominal {nominal})", audio.lap.next());
        if let Some(exact) = audio.lap.wrap(end)
            && let Some(body) = audio.last.clone()
        {
            let time = audio.increasing.next(samples.to_millis(exact) - self.zero);
            let tag = Tag::from_wire(flowcast_rtmp::flv::tag::TagKind::Audio, time, body.to_bytes());
            self.interleaver.push(tag, exact);
        }
        audio.first_lap = false;
        self.wrap_video();
    }

    fn wrap_video(&mut self) {
        if let Some(video) = &mut self.video {
            if let Some(clock) = &mut video.clock {
                clock.wrap();
            }
            video.keyframe = None;
        }
    }
}

impl AudioTrack {
    fn new(track: &TrackInfo) -> Self {
        let (rate, frame) =
            track.audio.as_ref().map_or((44_100, 0), |info| (info.sample_rate, info.frame_samples));
        let frame = if frame == 0 { DEFAULT_FRAME_SAMPLES } else { frame };
        Self {
            unit: unit(track.time_base),
            lap: AudioLap::new(rate, frame),
            increasing: Increasing::default(),
            last: None,
            first_lap: true,
            priming_until: i64::MIN,
        }
    }
}

#[cfg(test)]
mod tests;
