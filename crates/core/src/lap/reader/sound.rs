//! The sound of a lap: where its frames go, and silence where the file has none for a while.
//!
//! Silence is made in the file's own order, as the picture goes on: a file is read ahead, so that it is in its place however the
//! tags are used, in a reel or at once.

use bytes::Bytes;
use flowcast_av::{Packet, TrackInfo};
use flowcast_rtmp::flv::tag::{Tag, TagKind};

use super::super::measure::AudioMeasure;
use super::super::silence;
use super::unit;
use crate::clock::Increasing;
use crate::clock::interleave::Interleaver;
use crate::lap::Unit;

/// Frames that only warm a decoder up, at most. An edit list that hides more hides sound, which is played: its picture cannot
/// be left out either, where later pictures need it.
const MOST_PRIMING: i64 = 4;
/// Samples of an audio frame whose length the file does not tell: AAC-LC.
const DEFAULT_FRAME_SAMPLES: u32 = 1024;
/// Sound that comes as many milliseconds behind the picture that was handed over already is late.
const LATE: i64 = 1000;

/// The audio track's state.
#[derive(Debug)]
pub(super) struct AudioTrack {
    pub(super) unit: Unit,
    pub(super) lap: AudioMeasure,
    rate: u32,
    frame: u32,
    increasing: Increasing,
    /// Frames that end before this only warm the decoder up.
    priming_until: i64,
    /// A tag's body of a frame of silence, where the codec has one; and the one a lap begins with.
    silence: Option<Bytes>,
    initial: Option<Bytes>,
    /// Where the silence ends that was made last.
    filled_to: Option<i64>,
    /// What is missing before this is not wanted: reading went on here.
    floor: i64,
    /// The configuration of packets that were left out, for the next one.
    pub(super) config: Option<Bytes>,
    /// Packets of this lap that came too late for their picture, and those of the lap before, which were told.
    late: u64,
    told: u64,
}

impl AudioTrack {
    /// A track that is sent with this sequence header, if its codec has one.
    pub(super) fn new(track: &TrackInfo, header: Option<&Tag>) -> Self {
        let (rate, frame) =
            track.audio.as_ref().map_or((44_100, 0), |info| (info.sample_rate, info.frame_samples));
        let frame = if frame == 0 { DEFAULT_FRAME_SAMPLES } else { frame };
        let silence = header.and_then(|header| silence::silent_frame(&header.body, frame));
        Self {
            unit: unit(track.time_base),
            lap: AudioMeasure::new(rate, frame),
            rate,
            frame,
            increasing: Increasing::default(),
            priming_until: i64::MIN,
            initial: silence.clone(),
            silence,
            filled_to: None,
            floor: i64::MIN,
            config: None,
            late: 0,
            told: 0,
        }
    }

    /// Begins the next lap.
    pub(super) fn rewind(&mut self) {
        self.lap = AudioMeasure::new(self.rate, self.frame);
        self.increasing = Increasing::default();
        self.silence.clone_from(&self.initial);
        (self.filled_to, self.floor, self.config) = (None, i64::MIN, None);
    }

    /// Reading goes on elsewhere: at `at`, in samples, or a little before.
    pub(super) fn seek(&mut self, at: i64) {
        (self.filled_to, self.floor) = (None, at);
    }

    /// The format changes.
    pub(super) fn change(&mut self, header: &Tag) {
        self.silence = silence::silent_frame(&header.body, self.frame);
    }

    /// Takes a packet that begins at `at`, in samples: the millisecond it is sent at on a clock that begins at `zero`. `None` if
    /// something else was sent in its place.
    pub(super) fn take(
        &mut self,
        packet: &Packet,
        (pts, at): (i64, i64),
        zero: i64,
        handed: i64,
    ) -> Option<i64> {
        let millis = self.unit.to_millis(pts) - zero;
        let is_covered = self.filled_to.is_some_and(|end| at + self.lap.frame() / 2 < end);
        self.late += u64::from(is_covered || millis.saturating_add(LATE) < handed);
        if is_covered {
            return None;
        }
        let is_priming = i64::from(packet.skip_start) <= MOST_PRIMING * self.lap.frame();
        if packet.skip_start > 0 && is_priming && self.lap.start().is_none() {
            self.priming_until = at + i64::from(packet.skip_start);
        }
        self.lap.observe(at, at + self.lap.frame() <= self.priming_until);
        Some(self.increasing.next(millis).as_millis())
    }

    /// Puts silence before a frame at `at`, if there is a hole of a second before it, or the rest of one. Without any sound
    /// before it, the hole begins at `begin`.
    pub(super) fn bridge(&mut self, at: i64, begin: Option<i64>, zero: i64, interleaver: &mut Interleaver) {
        let Some(from) = self.begin_of_hole(begin) else { return };
        let goes_on = self.filled_to == Some(from);
        if goes_on || at - from >= i64::from(self.rate) {
            self.fill(from, at, zero, interleaver);
        }
    }

    /// Puts silence where there is no sound, up to `until`, in samples. Without any sound before it, from `begin` on.
    pub(super) fn fill_to(
        &mut self,
        until: i64,
        begin: Option<i64>,
        zero: i64,
        interleaver: &mut Interleaver,
    ) {
        if let Some(from) = self.begin_of_hole(begin) {
            self.fill(from, until, zero, interleaver);
        }
    }

    fn begin_of_hole(&self, begin: Option<i64>) -> Option<i64> {
        let end = self.lap.start().map(|_| self.lap.next());
        end.or(begin).map(|from| from.max(self.floor))
    }

    fn fill(&mut self, from: i64, until: i64, zero: i64, interleaver: &mut Interleaver) {
        let Some(body) = &self.silence else { return };
        let mut at = from;
        while at + self.lap.frame() <= until {
            self.lap.observe(at, false);
            let time = self.increasing.next(self.lap.unit().to_millis(at) - zero);
            interleaver.push(Tag::from_wire(TagKind::Audio, time, body.clone()), at);
            at = self.lap.next().max(at + 1);
            self.filled_to = Some(at);
        }
    }

    /// The lap is over: what came too late, unless it was the same in the lap before.
    pub(super) fn end_lap(&mut self) -> Option<String> {
        let late = std::mem::take(&mut self.late);
        if std::mem::replace(&mut self.told, late) == late || late == 0 {
            return None;
        }
        let instead =
            if self.silence.is_some() { "silence was sent in their place" } else { "they were sent late" };
        Some(format!("{late} packets of sound are stored too far behind their picture: {instead}"))
    }
}
