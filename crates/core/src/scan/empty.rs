//! Time in which a file has neither a picture nor sound.

use std::time::Duration;

use flowcast_av::{MediaInfo, Packet, TimeBase};

use crate::clock::continuity::LONGEST_PICTURE;

/// What may lie between two packets without being counted, and what is a jump of the clock. Microseconds.
const USUAL: i64 = 10_000_000;
const JUMP: i64 = LONGEST_PICTURE * 1000;

/// Adds up what is empty.
#[derive(Debug)]
pub(super) struct Empty {
    bases: Vec<TimeBase>,
    newest: Option<i64>,
    micros: i64,
}

impl Empty {
    pub(super) fn new(media: &MediaInfo) -> Self {
        Self { bases: media.tracks.iter().map(|track| track.time_base).collect(), newest: None, micros: 0 }
    }

    /// Takes in the next packet of any track.
    pub(super) fn take(&mut self, packet: &Packet) {
        let Some(base) = self.bases.get(packet.track) else { return };
        let Some(time) = packet.dts.or(packet.pts) else { return };
        let time = base.rescale(time, TimeBase::MICROS);
        if let Some(newest) = self.newest {
            let step = time.saturating_sub(newest);
            if (USUAL..=JUMP).contains(&step) {
                self.micros = self.micros.saturating_add(step - USUAL);
            }
            // A clock that was set back goes on from there.
            if step < 0 && step > -JUMP {
                return;
            }
        }
        self.newest = Some(time);
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_micros(self.micros.unsigned_abs())
    }
}
