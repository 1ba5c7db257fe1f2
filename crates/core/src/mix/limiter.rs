//! A true-peak limiter that looks ahead: nothing it gives passes the ceiling, neither at samples nor between them.
//!
//! In: samples of all channels. Out: the same samples later, turned down together where a peak is near. Peaks are found as ITU-R BS.1770-4,
//! annex 2, has it: at four times the rate, with a longer filter than the one given there, and between those places along a parabola. The gain
//! that each peak needs is held over all samples the peak is made of, and averaged over the time it looks ahead: so the gain has arrived when
//! the peak does, and moves without a corner. Nothing is allocated once it is made.

use std::collections::VecDeque;

use super::level::{following, higher, is_below};
use super::sinc::{self, HALF, TAPS};

/// How much later samples come out, in seconds: that far it sees them coming.
const LATENCY: f64 = 0.0052;
/// How fast the gain comes back, in seconds.
const RELEASE: f64 = 0.08;
/// Places between two samples that are looked at.
const BETWEEN: [f64; 3] = [0.25, 0.5, 0.75];
/// From this part of the ceiling on, a peak between two places that are looked at may pass it: 1 / cos(π / 8) is 1.08.
const NEAR: f32 = 0.9;
/// Samples that are worked on at once.
const BLOCK: usize = 256;

/// One limiter for all channels of a sound.
#[derive(Debug)]
pub(super) struct Limiter {
    ceiling: f32,
    between: [[f32; TAPS]; BETWEEN.len()],
    /// Where no sample is above this, nothing between them is above the ceiling.
    far: f32,
    lines: Vec<Line>,
    /// Samples of a line that are kept from block to block.
    kept: usize,
    delay: usize,
    /// Of each sample of a block, the highest value of any channel around it, and the gain.
    peaks: [f32; BLOCK],
    gains: [f32; BLOCK],
    least: Least,
    release: f64,
    /// The gain as far as it has come back.
    held: f64,
    mean: Mean,
    /// Samples since any had to be turned down.
    resting: usize,
    /// After as many of them everything goes through as it is.
    window: usize,
    /// The lowest gain since it was asked.
    lowest: f64,
}

/// One channel.
#[derive(Debug)]
struct Line {
    /// The newest samples before the block, and the block.
    samples: Vec<f32>,
    /// Values between the samples of the block.
    between: [[f32; BLOCK]; BETWEEN.len()],
    /// The two values before the block.
    newest: [f32; 2],
}

impl Limiter {
    /// Keeps `channels` channels of `rate` hertz below `ceiling`, a factor of full scale.
    pub(super) fn new(ceiling: f64, rate: u32, channels: u32) -> Self {
        let delay = ((LATENCY * f64::from(rate)).round() as usize).max(TAPS + 1);
        let ahead = delay - TAPS;
        let kept = delay.max(TAPS);
        let between = BETWEEN.map(sinc::weights);
        let sum = |weights: &[f32; TAPS]| weights.iter().map(|weight| weight.abs()).sum::<f32>();
        let line = || Line {
            samples: vec![0.0; kept + BLOCK],
            between: [[0.0; BLOCK]; BETWEEN.len()],
            newest: [0.0; 2],
        };
        // A peak is made of HALF samples on each side, and belongs to one sample or the next: over all of these the gain stays.
        let held = ahead + 2 * (HALF + 1);
        Self {
            ceiling: ceiling as f32,
            far: ceiling as f32 / between.iter().map(sum).fold(1.0, f32::max),
            between,
            lines: (0..channels).map(|_| line()).collect(),
            kept,
            delay,
            peaks: [0.0; BLOCK],
            gains: [1.0; BLOCK],
            least: Least::new(held),
            release: following(RELEASE, rate),
            held: 1.0,
            mean: Mean::new(ahead),
            resting: held + ahead,
            window: held + ahead,
            lowest: 1.0,
        }
    }

    /// Forgets what it holds.
    pub(super) fn reset(&mut self) {
        for line in &mut self.lines {
            line.samples.fill(0.0);
            line.newest = [0.0; 2];
        }
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
        let samples = rows.first().map_or(0, Vec::len);
        for from in (0..samples).step_by(BLOCK) {
            self.process_block(rows, from, BLOCK.min(samples - from));
        }
    }

    fn process_block(&mut self, rows: &mut [Vec<f32>], from: usize, count: usize) {
        let kept = self.kept;
        self.peaks[..count].fill(0.0);
        for (line, row) in self.lines.iter_mut().zip(rows.iter()) {
            line.samples[kept..kept + count].copy_from_slice(&row[from..from + count]);
            line.look(kept, self.ceiling, self.far, &self.between, &mut self.peaks[..count]);
        }
        let rests = self.resting >= self.window && is_below(&self.peaks[..count], self.ceiling);
        if !rests {
            self.work_out_gains(count);
        }
        for (line, row) in self.lines.iter_mut().zip(rows.iter_mut()) {
            let delayed = &line.samples[kept - self.delay..kept - self.delay + count];
            let row = &mut row[from..from + count];
            if rests {
                row.copy_from_slice(delayed);
            } else {
                for ((to, sample), gain) in row.iter_mut().zip(delayed).zip(&self.gains) {
                    *to = (sample * gain).clamp(-self.ceiling, self.ceiling);
                }
            }
            line.samples.copy_within(count..count + kept, 0);
        }
    }

    /// The gain of each sample that comes out with this block.
    fn work_out_gains(&mut self, count: usize) {
        for (peak, gain) in self.peaks.iter().zip(&mut self.gains).take(count) {
            let needed = if *peak > self.ceiling { f64::from(self.ceiling) / f64::from(*peak) } else { 1.0 };
            let least = self.least.push(needed);
            self.held = least.min(self.held + (1.0 - self.held) * self.release);
            // What is so near to 1 that nobody hears it is 1: samples that need no limiter are not touched.
            if 1.0 - self.held < 1e-6 && least >= 1.0 {
                self.held = 1.0;
            }
            let mean = self.mean.push(self.held);
            self.resting = if self.held < 1.0 { 0 } else { self.resting.saturating_add(1) };
            self.lowest = self.lowest.min(mean);
            *gain = mean as f32;
        }
    }
}

impl Line {
    /// Takes the highest values at and between samples into `peaks`; those of the newest [`HALF`] samples come with the next block.
    fn look(
        &mut self,
        kept: usize,
        ceiling: f32,
        far: f32,
        weights: &[[f32; TAPS]; BETWEEN.len()],
        peaks: &mut [f32],
    ) {
        let (count, first) = (peaks.len(), kept + 1 - TAPS);
        let seen = &self.samples[first..kept + count];
        if is_below(seen, far) {
            self.newest = [0.0; 2];
            return;
        }
        for (values, weights) in self.between.iter_mut().zip(weights) {
            let values = &mut values[..count];
            values.fill(0.0);
            // Four at a time, so that sums are not fetched and put back for each.
            for (four, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|tap| &seen[4 * four + tap..][..count]);
                for ((((value, a), b), c), d) in values.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                    *value += weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
                }
            }
        }
        let [quarter, half, three] = &self.between;
        let (near, mut highest) = (NEAR * ceiling, 0.0_f32);
        let samples = seen[HALF - 1..].iter().zip(quarter).zip(half).zip(three);
        for (peak, (((a, b), c), d)) in peaks.iter_mut().zip(samples) {
            let [ab, cd] = [higher(a.abs(), b.abs()), higher(c.abs(), d.abs())];
            let value = higher(ab, cd);
            *peak = higher(*peak, value);
            highest = higher(highest, value);
        }
        let before = std::mem::replace(&mut self.newest, [half[count - 1], three[count - 1]]);
        if highest <= near && before[1].abs() <= near {
            return;
        }
        let [mut before, mut middle] = before;
        for (index, peak) in peaks.iter_mut().enumerate() {
            if *peak <= near && middle.abs() <= near {
                (before, middle) = (half[index], three[index]);
                continue;
            }
            for value in [seen[HALF - 1 + index], quarter[index], half[index], three[index]] {
                let height = middle.abs();
                if height > near && height >= before.abs() && height >= value.abs() {
                    *peak = peak.max(vertex(before, middle, value));
                }
                (before, middle) = (middle, value);
            }
        }
    }
}

/// How high the parabola through three values goes, of which the middle one is the highest.
fn vertex(before: f32, middle: f32, after: f32) -> f32 {
    let (slope, curve) = ((after - before) / 2.0, before - 2.0 * middle + after);
    if curve == 0.0 { middle.abs() } else { (middle - slope * slope / (2.0 * curve)).abs() }
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
        Self { width: width as u64, count: 0, rising: VecDeque::with_capacity(width + 1) }
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

    /// The highest value at and between samples, at eight times the rate, by a longer filter than the limiter's.
    fn true_peak(row: &[f32]) -> f64 {
        let half = 32_i64;
        let weights = |phase: i64| -> Vec<f64> {
            let weight = |tap: i64| {
                let x = tap as f64 - phase as f64 / 8.0;
                let sinc = if x.abs() < 1e-9 { 1.0 } else { (TAU / 2.0 * x).sin() / (TAU / 2.0 * x) };
                sinc * (0.5 + 0.5 * (TAU / 2.0 * x / (half as f64 + 1.0)).cos())
            };
            (1 - half..=half).map(weight).collect()
        };
        let phases: Vec<Vec<f64>> = (0..8).map(weights).collect();
        let mut peak = 0.0_f64;
        for window in row.windows(2 * half as usize) {
            for weights in &phases {
                let sum: f64 = window.iter().zip(weights).map(|(x, weight)| f64::from(*x) * weight).sum();
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

    fn noise(seed: u32, count: usize, level: f64) -> Vec<f32> {
        let mut seed = seed;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed) / f64::from(u32::MAX) * 2.0 - 1.0
        };
        (0..count).map(|_| (level * next()) as f32).collect()
    }

    /// What of it is below 20 kHz.
    fn below_20_khz(row: &[f32]) -> Vec<f32> {
        let (half, cut) = (64_i64, 20_000.0 / 24_000.0);
        let weights: Vec<f64> = (-half..=half)
            .map(|tap| {
                let x = tap as f64 * cut;
                let sinc = if tap == 0 { 1.0 } else { (TAU / 2.0 * x).sin() / (TAU / 2.0 * x) };
                cut * sinc * (0.5 + 0.5 * (TAU / 2.0 * tap as f64 / (half as f64 + 1.0)).cos())
            })
            .collect();
        let of = |window: &[f32]| -> f32 {
            window.iter().zip(&weights).map(|(x, weight)| f64::from(*x) * weight).sum::<f64>() as f32
        };
        row.windows(weights.len()).map(of).collect()
    }

    #[test]
    fn nothing_passes_the_ceiling_at_or_between_samples() {
        let ceiling = 10_f64.powf(-1.0 / 20.0);
        let count = 12_000;
        // 18 dB too loud, up to half the sampling rate; in bursts, too.
        let loud = noise(1, count, 8.0);
        let audible = below_20_khz(&noise(2, count, 8.0));
        let bursts: Vec<f32> = noise(3, count, 8.0)
            .into_iter()
            .enumerate()
            .map(|(at, sample)| if at / 2000 % 2 == 0 { sample } else { 0.02 * sample })
            .collect();
        // A quarter of the sampling rate, between whose samples the peaks are: 3 dB above them.
        let quarter: Vec<f32> = (0..count).map(|at| (TAU * (at as f64 / 4.0 + 0.125)).sin() as f32).collect();
        // Tones whose peaks are nowhere near what is looked at.
        let high: Vec<f32> = (0..count).map(|at| (2.0 * (TAU * at as f64 * 0.412_3).sin()) as f32).collect();
        let square: Vec<f32> = (0..count).map(|at| if at / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut click = vec![0.0_f32; count];
        click[count / 2] = 20.0;
        // In decibels above the ceiling, between samples. Of noise near half the sampling rate no short filter sees all.
        for (name, row, most) in [
            ("noise", loud, 0.45),
            ("audible noise", audible, 0.1),
            ("bursts", bursts, 0.45),
            ("quarter", quarter, 0.1),
            ("high", high, 0.1),
            ("square", square, 0.1),
            ("click", click, 0.1),
        ] {
            let (out, _) = run(&[row.clone(), row], ceiling);
            let peak = out[0].iter().fold(0.0_f64, |peak, sample| peak.max(f64::from(sample.abs())));
            assert!(peak <= ceiling + 1e-7, "{name}: {peak}");
            assert_eq!(out[0], out[1], "{name}: channels are turned down together");
            let over = 20.0 * (true_peak(&out[0]) / ceiling).log10();
            assert!(over <= most, "{name}: {over:.3} dB above the ceiling between samples");
            assert!(over > -1.5, "{name}: {over:.3} dB, it is not turned down for nothing");
        }
    }

    #[test]
    fn what_comes_out_does_not_depend_on_how_it_is_cut() {
        let row = noise(4, 6000, 2.0);
        let mut whole = vec![row.clone()];
        Limiter::new(0.9, RATE, 1).process(&mut whole);
        let (mut limiter, mut pieces) = (Limiter::new(0.9, RATE, 1), Vec::new());
        let mut from = 0;
        for length in [1, 7, 255, 256, 257, 1024].into_iter().cycle() {
            let to = (from + length).min(row.len());
            let mut rows = vec![row[from..to].to_vec()];
            limiter.process(&mut rows);
            pieces.extend_from_slice(&rows[0]);
            from = to;
            if from == row.len() {
                break;
            }
        }
        assert_eq!(pieces, whole[0]);
    }

    #[test]
    #[ignore = "a measurement: docs/performance.md has the command"]
    #[allow(clippy::print_stdout, reason = "that is what it is for")]
    fn what_it_costs() {
        let second = 48_000;
        for (name, level) in [("far below the ceiling", 0.2), ("below it", 0.85), ("6 dB above it", 2.0)] {
            let (mut limiter, rows) =
                (Limiter::new(0.891, RATE, 2), vec![noise(5, second, level), noise(6, second, level)]);
            let begin = crate::sys::thread_cpu_time();
            for _ in 0..60 {
                limiter.process(&mut rows.clone());
            }
            let cost = (crate::sys::thread_cpu_time() - begin).as_secs_f64() * 1000.0 / 60.0;
            println!("{name}: {cost:.2} ms of CPU for a second of stereo at 48 kHz");
        }
    }
}
