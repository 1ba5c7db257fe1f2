//! Takes in the packets of the audio track.

use std::time::Duration;

use flowcast_av::{Codec, Packet, TrackInfo};

use super::clock::Follower;
use super::video::{micros, per_second};
use crate::bit_rate::BitRate;
use crate::verdict::{AudioFacts, Form};

/// Frames that only warm a decoder up, at most: what is hidden beyond them is an edit.
const MOST_PRIMING: u32 = 4;

/// What was seen of the audio track so far.
#[derive(Debug)]
pub(super) struct AudioTally {
    facts: AudioFacts,
    clock: Follower,
    bytes: u64,
    start: Option<i64>,
    end: i64,
    hidden: i64,
}

impl AudioTally {
    pub(super) fn new(info: &TrackInfo) -> Self {
        let audio = info.audio.as_ref();
        let facts = AudioFacts {
            track: info.index,
            codec: info.codec.name().to_owned(),
            profile: info.profile.clone(),
            sample_rate: audio.map_or(0, |audio| audio.sample_rate),
            channels: audio.map_or(0, |audio| audio.channels),
            frame_samples: audio.map_or(0, |audio| audio.frame_samples),
            has_config: info.codec != Codec::Aac || info.config.is_some(),
            edits: 1,
            ..AudioFacts::default()
        };
        Self { facts, clock: Follower::new(info.time_base), bytes: 0, start: None, end: i64::MIN, hidden: 0 }
    }

    /// Takes in the next packet.
    pub(super) fn take(&mut self, packet: &Packet) {
        let facts = &mut self.facts;
        facts.packets += 1;
        facts.largest_packet = facts.largest_packet.max(packet.data.len() as u64);
        facts.damaged += u64::from(packet.corrupt || packet.data.is_empty());
        facts.parameter_changes += u32::from(packet.config.is_some());
        let Some(times) = self.clock.follow(packet) else { return };
        self.bytes += packet.data.len() as u64;
        let skipped = |samples: u32| match facts.sample_rate {
            0 => 0,
            rate => i64::from(samples) * 1_000_000 / i64::from(rate),
        };
        let (before, after) = (skipped(packet.skip_start), skipped(packet.skip_end));
        let hidden = if packet.discard { times.duration } else { before.min(times.duration) };
        self.hidden = self.hidden.saturating_add(hidden);
        if !packet.discard {
            self.start.get_or_insert(times.pts + before);
            self.end = self.end.max(times.pts + times.duration - after.min(times.duration));
        }
    }

    /// All packets were seen. `form` is what was done to them as they were read.
    pub(super) fn finish(self, form: Option<Form>) -> AudioFacts {
        let start = self.start.unwrap_or(0);
        let length = (self.end.max(start) - start).max(0);
        let mut facts = self.facts;
        facts.form = form;
        facts.clock = self.clock.facts();
        facts.start_micros = start;
        facts.length = micros(length);
        facts.bit_rate = BitRate::from_bps(per_second(self.bytes, length));
        let hidden = micros(self.hidden);
        facts.hidden = if hidden > facts.frame() * MOST_PRIMING { hidden } else { Duration::ZERO };
        facts
    }
}
