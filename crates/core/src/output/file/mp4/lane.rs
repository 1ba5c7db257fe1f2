//! One track of an MP4 file while it is written: samples on its clock, until a fragment takes them.
//!
//! In: samples with times in milliseconds. Out: samples with times in ticks of the track, each with its duration. On the writer's thread.

use bytes::Bytes;

use super::moov::{self, Part};
use super::table::Row;
use crate::output::media::{Sample, Track};

/// A frame of sound that comes this much off its place, in milliseconds, is put there all the same, or if it is less than its own length off.
const TOLERANCE_MS: i64 = 10;
/// How long the last picture is shown if there is no other, in milliseconds.
const PICTURE_MS: u32 = 40;

/// One track, while it is written.
#[derive(Debug)]
pub(in crate::output) struct Lane {
    pub(super) place: usize,
    track: Track,
    clock: Clock,
    /// The newest sample: how long it lasts is known with the one after it.
    last: Option<Placed>,
    /// What the next fragment has of the track: samples, and how long each lasts.
    run: Vec<(Placed, u32)>,
    /// How long the sample before lasted, in ticks.
    usual: u32,
}

/// A sample on the clock of its track.
#[derive(Debug)]
struct Placed {
    tick: i64,
    composition: i32,
    samples: u32,
    is_key: bool,
    data: Bytes,
}

/// The clock of a track.
#[derive(Debug)]
pub(super) struct Clock {
    hz: i64,
    /// Where the sample before was put.
    last: Option<i64>,
    /// Where it ends by its own length.
    end: i64,
}

impl Clock {
    pub(super) fn new(hz: i64) -> Self {
        Self { hz, last: None, end: 0 }
    }

    /// Where a sample goes whose tag says `ms`. Sound is counted in samples: tags say milliseconds, which are no whole number of them. What
    /// does not come where it should by more than a frame goes where its tag says.
    pub(super) fn place(&mut self, ms: i64, samples: u32) -> i64 {
        let said = (ms * self.hz + 500).div_euclid(1000);
        let samples = i64::from(samples);
        let tolerance = samples.max(self.hz * TOLERANCE_MS / 1000);
        let tick = match self.last {
            Some(_) if samples > 0 && (said - self.end).abs() <= tolerance => self.end,
            Some(last) => said.max(last + 1),
            None => said.max(0),
        };
        (self.last, self.end) = (Some(tick), tick + samples);
        tick
    }
}

impl Lane {
    pub(in crate::output) fn new(place: usize, track: Track) -> Self {
        let clock = Clock::new(i64::from(moov::clock(&track)));
        Self { place, track, clock, last: None, run: Vec::new(), usual: 0 }
    }

    /// Takes a sample: its duration is known with the next one.
    pub(in crate::output) fn take(&mut self, sample: Sample) {
        let Sample { dts_ms, pts_ms, is_key, samples, data, .. } = sample;
        let tick = self.clock.place(dts_ms, samples);
        // Pictures are counted in milliseconds: what moved in decoding is shown when it was to be shown.
        let composition = if self.track.is_video() { i32::try_from(pts_ms - tick).unwrap_or(0) } else { 0 };
        let placed = Placed { tick, composition, samples, is_key, data };
        if let Some(last) = self.last.replace(placed) {
            self.usual = u32::try_from(tick - last.tick).unwrap_or(u32::MAX);
            self.run.push((last, self.usual));
        }
    }

    /// The last sample lasts as long as it says, or as the one before.
    pub(in crate::output) fn end(&mut self) {
        if let Some(last) = self.last.take() {
            let usual = if self.usual == 0 { PICTURE_MS } else { self.usual };
            let duration = if last.samples > 0 { last.samples } else { usual };
            self.run.push((last, duration));
        }
    }

    /// What the next fragment has of it; `None` if there is nothing.
    pub(super) fn part(&self) -> Option<Part<'_>> {
        let (first, _) = self.run.first()?;
        let rows = self.run.iter().map(|(placed, duration)| Row {
            size: u32::try_from(placed.data.len()).unwrap_or(u32::MAX),
            duration: *duration,
            composition: placed.composition,
            is_key: placed.is_key,
        });
        Some(Part { place: self.place, track: &self.track, tick: first.tick, rows: rows.collect() })
    }

    /// Takes out the bytes of its samples, one by one.
    pub(in crate::output) fn drain(&mut self) -> impl Iterator<Item = Bytes> + '_ {
        self.run.drain(..).map(|(placed, _)| placed.data)
    }
}
