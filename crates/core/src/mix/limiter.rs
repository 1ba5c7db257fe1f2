//! A limiter that looks ahead: no sample it gives passes the ceiling, and what is between samples hardly does.
//!
//! In: samples of all channels. Out: the same samples later, turned down together where a peak is near. The gain that each peak needs is
//! held over the time it looks ahead, and averaged over it: so the gain has arrived when the peak does, and moves without a corner.

use std::collections::VecDeque;

use super::level::following;
use super::sinc::{self, HALF, TAPS};

/// How far it looks ahead, in seconds, besides what peaks between samples take.
const AHEAD: f64 = 0.005;
/// How fast the gain comes back, in seconds.
const RELEASE: f64 = 0.08;
/// Places between two samples that are looked at.
const BETWEEN: [f64; 3] = [0.25, 0.5, 0.75];
/// What is below this part of the ceiling has no peak above it between samples.
const FAR: f32 = 0.5;

/// One limiter for all channels of a sound.
#[derive(Debug)]
pub(super) struct Limiter {
    ceiling: f32,
    between: [[f32; TAPS]; BETWEEN.len()],
    /// The newest samples of each channel, in a ring.
    lines: Vec<Vec<f32>>,
    at: usize,
    delay: usize,
    /// Samples since the last one that was not far below the ceiling.
    far: usize,
    least: Least,
    release: f64,
    /// The gain as far as it has come back.
    held: f64,
    mean: Mean,
    /// The lowest gain since it was asked.
    lowest: f64,
}

impl Limiter {
    /// Keeps `channels` channels of `rate` hertz below `ceiling`, a factor of full scale.
    pub(super) fn new(ceiling: f64, rate: u32, channels: u32) -> Self {
        let ahead = (AHEAD * f64::from(rate)).round().max(1.0) as usize;
        let delay = ahead + HALF;
        let lines = vec![vec![0.0; (delay + 1).max(TAPS)]; channels as usize];
        Self {
            ceiling: ceiling as f32,
            between: BETWEEN.map(sinc::weights),
            lines,
            at: 0,
            delay,
            far: TAPS,
            least: Least::new(delay + 1),
            release: following(RELEASE, rate),
            held: 1.0,
            mean: Mean::new(ahead),
            lowest: 1.0,
        }
    }

    /// Forgets what it holds.
    pub(super) fn reset(&mut self) {
        self.lines.iter_mut().for_each(|line| line.fill(0.0));
        self.far = TAPS;
    }

    /// How many samples later it gives what it takes.
    pub(super) const fn delay(&self) -> usize {
        self.delay
    }

    /// The lowest gain since this was asked last.
    pub(super) fn take_lowest(&mut self) -> f64 {
        std::mem::replace(&mut self.lowest, 1.0)
    }

    /// Replaces samples, one row for each channel, by those [`delay`](Self::delay) before them.
    pub(super) fn process(&mut self, rows: &mut [Vec<f32>]) {
        for index in 0..rows.first().map_or(0, Vec::len) {
            let length = self.lines.first().map_or(1, Vec::len);
            self.at = (self.at + 1) % length;
            let mut peak = 0.0_f32;
            for (line, row) in self.lines.iter_mut().zip(rows.iter()) {
                line[self.at] = row[index];
                peak = peak.max(row[index].abs());
            }
            self.far = if peak < FAR * self.ceiling { (self.far + 1).min(TAPS) } else { 0 };
            if self.far < TAPS {
                peak = peak.max(self.peak_between());
            }
            let needed = if peak > self.ceiling { f64::from(self.ceiling) / f64::from(peak) } else { 1.0 };
            let least = self.least.push(needed);
            self.held = least.min(self.held + (1.0 - self.held) * self.release);
            // What is so near to 1 that nobody hears it is 1: samples that need no limiter are not touched.
            if 1.0 - self.held < 1e-6 && least >= 1.0 {
                self.held = 1.0;
            }
            let gain = self.mean.push(self.held);
            self.lowest = self.lowest.min(gain);
            let from = (self.at + length - self.delay) % length;
            for (line, row) in self.lines.iter().zip(rows.iter_mut()) {
                row[index] = (line[from] * gain as f32).clamp(-self.ceiling, self.ceiling);
            }
        }
    }

    /// The highest value between the two samples in the middle of the newest ones.
    fn peak_between(&self) -> f32 {
        let mut peak = 0.0_f32;
        for line in &self.lines {
            let first = self.at + line.len() + 1 - TAPS;
            let mut sums = [0.0_f32; BETWEEN.len()];
            for tap in 0..TAPS {
                let sample = line[(first + tap) % line.len()];
                for (sum, weights) in sums.iter_mut().zip(&self.between) {
                    *sum += weights[tap] * sample;
                }
            }
            peak = sums.iter().fold(peak, |peak, sum| peak.max(sum.abs()));
        }
        peak
    }
}

/// The least of the newest values.
#[derive(Debug)]
struct Least {
    width: u64,
    count: u64,
    /// Values that nothing newer is below, with their numbers.
    rising: VecDeque<(u64, f64)>,
}

impl Least {
    fn new(width: usize) -> Self {
        Self { width: width as u64, count: 0, rising: VecDeque::new() }
    }

    fn push(&mut self, value: f64) -> f64 {
        while self.rising.back().is_some_and(|(_, last)| *last >= value) {
            self.rising.pop_back();
        }
        self.rising.push_back((self.count, value));
        self.count += 1;
        while self.rising.front().is_some_and(|(number, _)| *number + self.width < self.count) {
            self.rising.pop_front();
        }
        self.rising.front().map_or(value, |(_, least)| *least)
    }
}

/// The mean of the newest values.
#[derive(Debug)]
struct Mean {
    values: Vec<f64>,
    at: usize,
    sum: f64,
}

impl Mean {
    fn new(width: usize) -> Self {
        Self { values: vec![1.0; width], at: 0, sum: width as f64 }
    }

    fn push(&mut self, value: f64) -> f64 {
        self.sum += value - std::mem::replace(&mut self.values[self.at], value);
        self.at += 1;
        if self.at == self.values.len() {
            // Rounding does not add up.
            (self.at, self.sum) = (0, self.values.iter().sum());
        }
        (self.sum / self.values.len() as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const RATE: u32 = 48_000;

    fn run(input: &[Vec<f32>], ceiling: f64) -> (Vec<Vec<f32>>, usize) {
        let mut limiter = Limiter::new(ceiling, RATE, input.len() as u32);
        let delay = limiter.delay();
        let mut out = vec![Vec::new(); input.len()];
        let samples = input[0].len();
        for from in (0..samples + delay).step_by(480) {
            let block = |row: &Vec<f32>| -> Vec<f32> {
                (from..(from + 480).min(samples + delay))
                    .map(|at| row.get(at).copied().unwrap_or(0.0))
                    .collect()
            };
            let mut rows: Vec<Vec<f32>> = input.iter().map(block).collect();
            limiter.process(&mut rows);
            out.iter_mut().zip(rows).for_each(|(out, row)| out.extend(row));
        }
        out.iter_mut().for_each(|row| drop(row.drain(..delay)));
        (out, delay)
    }

    /// The highest value at and between samples, by a longer filter than the limiter's.
    fn true_peak(row: &[f32]) -> f64 {
        let (half, mut peak) = (32_i64, 0.0_f64);
        for at in half..row.len() as i64 - half {
            for phase in 0..8 {
                let phase = f64::from(phase) / 8.0;
                let sum: f64 = (1 - half..=half)
                    .map(|tap| {
                        let x = tap as f64 - phase;
                        let sinc = if x.abs() < 1e-9 { 1.0 } else { (TAU / 2.0 * x).sin() / (TAU / 2.0 * x) };
                        let window = 0.5 + 0.5 * (TAU / 2.0 * x / (half as f64 + 1.0)).cos();
                        f64::from(row[(at + tap) as usize]) * sinc * window
                    })
                    .sum();
                peak = peak.max(sum.abs());
            }
        }
        peak
    }

    #[test]
    fn what_is_below_the_ceiling_is_not_touched() {
        let tone = |hertz: f64| {
            (0..9600)
                .map(|at| (0.88 * (TAU * hertz * f64::from(at) / 48_000.0).sin()) as f32)
                .collect::<Vec<_>>()
        };
        let input = vec![tone(997.0), tone(330.0)];
        let (out, delay) = run(&input, 10_f64.powf(-1.0 / 20.0));
        assert_eq!(out, input, "to the bit");
        assert!(delay <= 264, "{delay} samples, 5.5 ms");
    }

    #[test]
    fn nothing_passes_the_ceiling_at_or_between_samples() {
        let ceiling = 10_f64.powf(-1.0 / 20.0);
        let mut seed = 1_u32;
        let mut noise = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed) / f64::from(u32::MAX) * 2.0 - 1.0
        };
        let bursts: Vec<f32> = (0..24_000)
            .map(|at| if at / 2000 % 2 == 0 { (8.0 * noise()) as f32 } else { (0.2 * noise()) as f32 })
            .collect();
        // A quarter of the sampling rate, between whose samples the peaks are: 3 dB above them.
        let quarter: Vec<f32> =
            (0..24_000).map(|at| (TAU * (f64::from(at) / 4.0 + 0.125)).sin() as f32).collect();
        let square: Vec<f32> = (0..24_000).map(|at| if at / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut click = vec![0.0_f32; 24_000];
        click[12_000] = 20.0;
        for (name, row) in [("bursts", bursts), ("quarter", quarter), ("square", square), ("click", click)] {
            let (out, _) = run(&[row.clone(), row], ceiling);
            let peak = out[0].iter().fold(0.0_f64, |peak, sample| peak.max(f64::from(sample.abs())));
            assert!(peak <= ceiling + 1e-7, "{name}: {peak}");
            assert_eq!(out[0], out[1], "{name}: channels are turned down together");
            let between = true_peak(&out[0]);
            // Of noise up to half the sampling rate, and 18 dB too loud, a filter of 16 samples does not see all.
            let most = if name == "bursts" { 1.25 } else { 1.03 };
            assert!(between <= ceiling * most, "{name}: {between} between samples");
        }
    }
}
