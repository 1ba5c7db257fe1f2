//! One input of a mix: its samples, as loud and as far left or right as it is to be.

use std::sync::Arc;

use super::control::Control;
use super::ducker::Ducker;
use super::level::{Ramp, amplitude, is_below, peak, samples};
use super::queue::SampleQueue;
use super::settings::MixInput;

/// How long a change of gain, of place or of mute takes, in seconds.
const STEP: f64 = 0.01;
/// Nothing is louder, of 1: 60 dB above full scale.
const LOUDEST: f32 = 1000.0;
/// How long a sound that breaks off, or comes back, takes to fade, in seconds.
const EDGE: f64 = 0.005;

/// An input, as the mix works on it.
#[derive(Debug)]
pub(super) struct Strip {
    /// Where its samples come from; the source's own sound is handed over.
    queue: Option<Arc<SampleQueue>>,
    rate: u32,
    fader: Ramp,
    mute: Ramp,
    pan: Ramp,
    /// The change it has taken up last, and that of the gain.
    seen: u64,
    gain_seen: u64,
    /// Nothing was heard of it.
    is_new: bool,
    pub(super) ducker: Option<(usize, Ducker)>,
    pub(super) rows: Vec<Vec<f32>>,
    edge: Edge,
}

/// Where samples break off or come back.
#[derive(Debug)]
struct Edge {
    length: u64,
    /// The last sample of each channel.
    last: Vec<f32>,
    /// Samples since it broke off; `None` before the first sample, and while it goes on.
    since: Option<u64>,
    /// How far it has come back.
    back: Ramp,
    begun: bool,
    gaps: u64,
}

impl Strip {
    pub(super) fn new(input: &MixInput, queue: Option<Arc<SampleQueue>>, rate: u32, channels: u32) -> Self {
        let gain = amplitude(input.gain_db);
        let mut fader = Ramp::still(gain);
        if !input.fade_in.is_zero() {
            fader = Ramp::still(0.0);
            fader.go(gain, samples(input.fade_in.as_secs_f64(), rate));
        }
        let edge = Edge {
            length: samples(EDGE, rate),
            last: vec![0.0; channels as usize],
            since: None,
            back: Ramp::still(1.0),
            begun: false,
            gaps: 0,
        };
        Self {
            queue,
            rate,
            fader,
            mute: Ramp::still(if input.muted { 0.0 } else { 1.0 }),
            pan: Ramp::still(input.pan),
            seen: 0,
            gain_seen: 0,
            is_new: true,
            ducker: None,
            rows: vec![Vec::new(); channels as usize],
            edge,
        }
    }

    /// Takes up what the program has changed.
    pub(super) fn follow(&mut self, control: &Control) {
        let is_new = std::mem::replace(&mut self.is_new, false);
        if control.changes == self.seen {
            return;
        }
        self.seen = control.changes;
        // Before the first sample nothing is heard of a change.
        let step = if is_new { 0 } else { samples(STEP, self.rate) };
        let is_jump = is_new && control.over.is_zero();
        let over = if is_jump { 0 } else { samples(control.over.as_secs_f64().max(STEP), self.rate) };
        let heard = if control.muted { 0.0 } else { 1.0 };
        if control.gain_changes != self.gain_seen {
            self.gain_seen = control.gain_changes;
            self.fader.go(amplitude(control.gain_db), over);
        }
        for (ramp, to, length) in [(&mut self.mute, heard, step), (&mut self.pan, control.pan, step)] {
            if ramp.target() != to {
                ramp.go(to, length);
            }
        }
    }

    /// Fetches as many samples as `own` has, which are the source's.
    pub(super) fn fetch(&mut self, own: &[Vec<f32>]) {
        let Some(queue) = &self.queue else {
            for (row, own) in self.rows.iter_mut().zip(own) {
                row.clone_from(own);
            }
            self.clean();
            return;
        };
        let wanted = own.first().map_or(0, Vec::len);
        for row in &mut self.rows {
            row.clear();
            row.resize(wanted, 0.0);
        }
        let count = queue.take(&mut self.rows);
        let ends = queue.is_finished();
        self.clean();
        self.edge.smooth(&mut self.rows, count, ends);
    }

    /// What is no number is silence; what is far too loud stays a number with all that is done to it.
    fn clean(&mut self) {
        for row in self.rows.iter_mut().filter(|row| !is_below(row, LOUDEST)) {
            for sample in row {
                *sample = if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 };
            }
        }
    }

    /// Makes the samples as loud as they are to be; says how loud they are at most.
    pub(super) fn apply(&mut self) -> f32 {
        let resting = (self.fader.resting(), self.mute.resting(), self.pan.resting());
        let channels = self.rows.len();
        if let (Some(fader), Some(mute), Some(pan)) = resting {
            let both = fader * mute;
            for (channel, row) in self.rows.iter_mut().enumerate() {
                let gain = (both * place(pan, channel, channels)) as f32;
                if gain != 1.0 {
                    row.iter_mut().for_each(|sample| *sample *= gain);
                }
            }
        } else {
            for index in 0..self.rows.first().map_or(0, Vec::len) {
                let (both, pan) = (self.fader.next() * self.mute.next(), self.pan.next());
                for (channel, row) in self.rows.iter_mut().enumerate() {
                    row[index] *= (both * place(pan, channel, channels)) as f32;
                }
            }
        }
        self.rows.iter().map(|row| peak(row)).fold(0.0, f32::max)
    }

    /// The power of a sample: the mean of the squares of its channels.
    pub(super) fn power(&self, index: usize) -> f64 {
        let squares =
            self.rows.iter().filter_map(|row| row.get(index)).map(|sample| f64::from(*sample).powi(2));
        squares.sum::<f64>() / self.rows.len().max(1) as f64
    }

    /// How often its samples broke off.
    pub(super) fn gaps(&self) -> u64 {
        self.edge.gaps
    }
}

/// The factor of a channel of so many, where the whole is at `pan`. Channels beyond the front pair have no place, and neither has a
/// single one.
fn place(pan: f64, channel: usize, channels: usize) -> f64 {
    match channel {
        _ if channels < 2 => 1.0,
        0 => 1.0 - pan.max(0.0),
        1 => 1.0 + pan.min(0.0),
        _ => 1.0,
    }
}

impl Edge {
    /// Of these samples the first `count` are there. What is missing does not begin, nor end, with a jump.
    fn smooth(&mut self, rows: &mut [Vec<f32>], count: usize, ends: bool) {
        let wanted = rows.first().map_or(0, Vec::len);
        if count > 0 {
            if self.since.take().is_some() {
                self.back = Ramp::still(0.0);
                self.back.go(1.0, self.length);
            }
            self.begun = true;
            if self.back.resting().is_none() {
                for index in 0..count {
                    let gain = self.back.next() as f32;
                    rows.iter_mut().for_each(|row| row[index] *= gain);
                }
            }
            for (last, row) in self.last.iter_mut().zip(rows.iter()) {
                *last = row[count - 1];
            }
        }
        if count == wanted || !self.begun {
            return;
        }
        if self.since.is_none() {
            self.gaps += u64::from(!ends);
        }
        let mut since = self.since.unwrap_or(0);
        for index in count..wanted {
            if since >= self.length {
                break;
            }
            since += 1;
            let way = since as f64 / self.length as f64;
            let gain = (0.5 * (1.0 + (std::f64::consts::PI * way).cos())) as f32;
            for (last, row) in self.last.iter().zip(rows.iter_mut()) {
                row[index] = last * gain;
            }
        }
        self.since = Some(since);
    }
}
