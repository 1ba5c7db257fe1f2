//! The mix itself.
//!
//! In: samples of the source's own sound, run by run, and whatever the other inputs have by then. Out: as many samples of the sum, which
//! pass the ceiling nowhere. It waits for nothing. On the thread that encodes.

use std::sync::Arc;

use super::control::{MixFormat, Shared};
use super::ducker::Ducker;
use super::level::amplitude;
use super::limiter::Limiter;
use super::settings::Mixer;
use super::strip::Strip;

/// All inputs, and what they become.
#[derive(Debug)]
pub(crate) struct Desk {
    shared: Arc<Shared>,
    /// The source's own sound is the first.
    strips: Vec<Strip>,
    limiter: Limiter,
    /// The power of each sample of those that others give way to.
    powers: Vec<Vec<f64>>,
}

impl Desk {
    /// Mixes to this format.
    pub(crate) fn new(mixer: &Mixer, format: MixFormat) -> Self {
        let limiter = Limiter::new(amplitude(mixer.ceiling_dbfs), format.rate, format.channels);
        let shared = Arc::new(Shared::new(mixer, format, limiter.delay()));
        let settings = mixer.strips();
        let mut strips = Vec::new();
        for ((_, input), shared) in settings.iter().zip(&shared.inputs) {
            let mut strip = Strip::new(input, shared.queue.clone(), format.rate, format.channels);
            let key = |under: &String| settings.iter().position(|(name, _)| name == under);
            strip.ducker = input
                .ducking
                .as_ref()
                .and_then(|ducking| key(&ducking.under).map(|key| (key, Ducker::new(ducking, format.rate))));
            strips.push(strip);
        }
        let powers = vec![Vec::new(); strips.len()];
        Self { shared, strips, limiter, powers }
    }

    /// What the program reaches it by.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The source begins anew: what was held back of it before is not heard any more.
    pub(crate) fn begin(&mut self) {
        self.limiter.reset();
    }

    /// How many samples later it gives what it takes.
    pub(crate) const fn delay(&self) -> usize {
        self.limiter.delay()
    }

    /// Replaces samples of the source's own sound, one row for each channel, by those of the mix, [`delay`](Self::delay) samples before.
    pub(crate) fn process(&mut self, rows: &mut [Vec<f32>]) {
        let samples = rows.first().map_or(0, Vec::len);
        for (strip, control) in self.strips.iter_mut().zip(self.shared.controls.lock().iter()) {
            strip.follow(control);
        }
        let mut peaks = vec![0.0_f32; self.strips.len()];
        for (strip, peak) in self.strips.iter_mut().zip(&mut peaks) {
            strip.fetch(rows);
            *peak = strip.apply();
        }
        let keys: Vec<usize> =
            self.strips.iter().filter_map(|strip| strip.ducker.as_ref().map(|(key, _)| *key)).collect();
        for key in keys {
            let strip = &self.strips[key];
            self.powers[key] = (0..samples).map(|index| strip.power(index)).collect();
        }
        rows.iter_mut().for_each(|row| row.fill(0.0));
        for strip in &mut self.strips {
            if let Some((key, ducker)) = &mut strip.ducker {
                for (index, power) in self.powers[*key].iter().enumerate() {
                    let gain = ducker.next(*power) as f32;
                    strip.rows.iter_mut().for_each(|row| row[index] *= gain);
                }
            }
            for (sum, row) in rows.iter_mut().zip(&strip.rows) {
                sum.iter_mut().zip(row).for_each(|(sum, sample)| *sum += sample);
            }
        }
        self.limiter.process(rows);
        let meters = self.strips.iter().zip(&peaks).map(|(strip, peak)| {
            let ducked = strip.ducker.as_ref().map_or(1.0, |(_, ducker)| ducker.gain());
            (f64::from(*peak), ducked, strip.gaps())
        });
        let rate = self.shared.format.rate;
        self.shared.meters.lock().note(samples, rate, meters, self.limiter.take_lowest());
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.end();
    }
}
