//! Keeps an input in step whose clock is not the mix's.
//!
//! In: samples at the rate their sender's clock gives them, and how many wait to be mixed. Out: a few more or a few less of them, so that as many wait
//! as are meant to: the sound is stretched by so little that nobody hears it. Arithmetic only; on the thread of the input.

use std::f64::consts::PI;

/// By how much sound is stretched at most: 0.5 %, which is a twelfth of a semitone.
const MOST: f64 = 0.005;
/// Over how many seconds what waits is averaged: it goes up and down with every packet.
const AVERAGE: f64 = 4.0;
/// How fast a distance is made good: by so much of it a second; and how fast what comes back again and again is learned. Critically damped.
const PULL: f64 = 0.02;
const LEARN: f64 = PULL * PULL / 4.0;

/// Samples on each side of one that is worked out.
const HALF: usize = 16;
const TAPS: usize = 2 * HALF;
/// Places between two samples that weights are worked out for; between them, weights are interpolated.
const PHASES: usize = 256;

/// The input of one mix.
#[derive(Debug)]
pub(super) struct Skew {
    rate: f64,
    /// Samples that are to wait on average.
    target: f64,
    /// Samples that have waited on average lately.
    level: Option<f64>,
    /// How much faster the sender's clock is, as far as that is known.
    drift: f64,
    /// How much faster samples are used up than they come.
    speed: f64,
    kernel: Vec<[f32; TAPS]>,
    /// Samples of each channel that are still needed, and where the next one lies among them.
    rows: Vec<Vec<f32>>,
    at: f64,
}

impl Skew {
    /// For this rate in hertz, and number of channels, with `target` samples that are to wait.
    pub(super) fn new(rate: u32, channels: u32, target: usize) -> Self {
        let mut skew = Self {
            rate: f64::from(rate.max(1)),
            target: target as f64,
            level: None,
            drift: 0.0,
            speed: 0.0,
            kernel: (0..=PHASES).map(|phase| weights(phase as f64 / PHASES as f64)).collect(),
            rows: vec![Vec::new(); channels as usize],
            at: 0.0,
        };
        skew.begin();
        skew
    }

    /// Other samples follow, behind silence. What is known of the clock is kept: it may be the same one.
    pub(super) fn begin(&mut self) {
        for row in &mut self.rows {
            row.clear();
            row.resize(HALF - 1, 0.0);
        }
        (self.at, self.level, self.speed) = ((HALF - 1) as f64, None, self.drift);
    }

    /// What has waited so far says nothing of what waits from now on.
    pub(super) fn begin_average(&mut self) {
        self.level = None;
    }

    /// As many samples are to wait from now on.
    pub(super) fn aim_at(&mut self, target: usize) {
        self.target = target as f64;
    }

    /// How much faster the sender's clock is than the mix's, in millionths.
    pub(super) fn drift_ppm(&self) -> f64 {
        self.drift * 1e6
    }

    /// `waiting` samples wait before `coming` more are put to them.
    pub(super) fn note(&mut self, waiting: usize, coming: usize) {
        let (waiting, seconds) = (waiting as f64, coming as f64 / self.rate);
        let level = self.level.get_or_insert(waiting);
        *level += (1.0 - (-seconds / AVERAGE).exp()) * (waiting - *level);
        let off = (*level - self.target) / self.rate;
        let wanted = PULL * off + self.drift;
        self.speed = wanted.clamp(-MOST, MOST);
        // What cannot be followed anyway teaches nothing.
        if wanted == self.speed {
            self.drift = (self.drift + LEARN * off * seconds).clamp(-MOST, MOST);
        }
    }

    /// The same sound in a few more or less samples.
    pub(super) fn stretch(&mut self, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        for (kept, row) in self.rows.iter_mut().zip(rows) {
            kept.extend_from_slice(row);
        }
        let there = self.rows.first().map_or(0, Vec::len);
        let step = 1.0 + self.speed;
        let mut out = vec![Vec::with_capacity(rows.first().map_or(0, Vec::len) + 8); self.rows.len()];
        // The samples around the one that is worked out have to be there.
        while (self.at as usize) + HALF < there {
            let first = self.at as usize + 1 - HALF;
            let weights = self.weights(self.at.fract());
            for (out, row) in out.iter_mut().zip(&self.rows) {
                let mut sum = 0.0;
                for (weight, sample) in weights.iter().zip(&row[first..first + TAPS]) {
                    sum += weight * sample;
                }
                out.push(sum);
            }
            self.at += step;
        }
        let done = (self.at as usize + 1).saturating_sub(HALF).min(there);
        self.rows.iter_mut().for_each(|row| drop(row.drain(..done)));
        self.at -= done as f64;
        out
    }

    /// The weights for a place between two samples.
    fn weights(&self, place: f64) -> [f32; TAPS] {
        let scaled = place * PHASES as f64;
        let below = (scaled as usize).min(PHASES - 1);
        let (one, other) = (&self.kernel[below], &self.kernel[below + 1]);
        let share = (scaled - below as f64) as f32;
        let mut weights = [0.0; TAPS];
        for (weight, (one, other)) in weights.iter_mut().zip(one.iter().zip(other)) {
            *weight = one + share * (other - one);
        }
        weights
    }
}

/// Weights of the samples around a place that is `phase` (0 to 1) behind the sample number [`HALF`] - 1 of them; a sinc behind Blackman's window.
/// They sum up to 1.
fn weights(phase: f64) -> [f32; TAPS] {
    let mut weights = [0.0_f64; TAPS];
    for (tap, weight) in weights.iter_mut().enumerate() {
        let x = tap as f64 - (HALF as f64 - 1.0) - phase;
        let sinc = if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
        let place = (x / HALF as f64).clamp(-1.0, 1.0);
        *weight = sinc * (0.42 + 0.5 * (PI * place).cos() + 0.08 * (2.0 * PI * place).cos());
    }
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| (weight / sum) as f32)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(hertz: f64, rate: f64, from: usize, count: usize) -> Vec<f32> {
        (from..from + count).map(|at| (0.5 * (TAU * hertz * at as f64 / rate).sin()) as f32).collect()
    }

    #[test]
    fn without_a_distance_sound_passes_as_it_is() {
        let mut skew = Skew::new(48_000, 2, 100);
        let mut out = vec![Vec::new(); 2];
        for from in (0..9600).step_by(960) {
            skew.note(100, 960);
            let rows = [tone(997.0, 48_000.0, from, 960), tone(3000.0, 48_000.0, from, 960)];
            out.iter_mut().zip(skew.stretch(&rows)).for_each(|(out, row)| out.extend(row));
        }
        for (out, hertz) in out.iter().zip([997.0, 3000.0]) {
            let meant = tone(hertz, 48_000.0, 0, 9600);
            assert!(out.len() >= 9600 - 2 * HALF, "{}", out.len());
            assert!(out.iter().zip(&meant).all(|(is, meant)| (is - meant).abs() < 1e-6));
        }
    }

    #[test]
    fn stretched_sound_is_the_same_sound() {
        // Too much waits by far: it is used up as fast as can be.
        let mut skew = Skew::new(48_000, 1, 0);
        let mut out = Vec::new();
        for from in (0..48_000).step_by(1000) {
            skew.note(48_000, 1000);
            assert_eq!(skew.speed, MOST);
            out.extend(skew.stretch(&[tone(5000.0, 48_000.0, from, 1000)]).remove(0));
        }
        let meant = tone(5000.0 * (1.0 + MOST), 48_000.0, 0, out.len());
        assert!((47_600..=47_800).contains(&out.len()), "{}", out.len());
        let off = out.iter().zip(&meant).skip(TAPS).map(|(is, meant)| (is - meant).abs()).fold(0.0, f32::max);
        assert!(off < 2e-4, "{off}");
    }

    #[test]
    fn a_drift_is_learned_and_kept() {
        let (mut skew, mut waiting) = (Skew::new(1000, 1, 150), 150.0_f64);
        for _ in 0..6000 {
            // A clock that is 0.02 % slow.
            let given = 100.0 * (1.0 - 0.0002);
            skew.note(waiting as usize, 100);
            waiting += given / (1.0 + skew.speed) - 100.0;
        }
        assert!((skew.drift_ppm() + 200.0).abs() < 20.0, "{}", skew.drift_ppm());
        assert!((waiting - 150.0).abs() < 2.0, "{waiting}");
        skew.begin();
        assert!((skew.drift_ppm() + 200.0).abs() < 20.0);
    }
}
