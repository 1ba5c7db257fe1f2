//! The gain of a sound that is leveled.
//!
//! In: samples of files that follow each other, and the gain each of them is to have. Out: the same samples, that loud, and nowhere above the
//! ceiling. The limiter's look-ahead is taken out: the first sample that comes out is the first that went in, and the last is the last, whatever
//! the sizes of the frames. On the thread that encodes.

use std::time::Duration;

use super::control::MixFormat;
use super::level::{Ramp, amplitude, samples};
use super::limiter::Limiter;

/// A gain and a limiter, over frames with times.
#[derive(Debug)]
pub(crate) struct Leveler {
    format: MixFormat,
    gain: Ramp,
    limiter: Limiter,
    /// Samples of what the limiter gives at first that were never put in.
    hollow: usize,
    /// What comes out.
    ready: Vec<Vec<f32>>,
    /// The number of the first sample of it, and of the next one that goes in.
    begins: i64,
    expects: Option<i64>,
    /// No samples follow what is there.
    ended: bool,
}

impl Leveler {
    /// For sound of this format. `ceiling` and the gain are in decibels.
    pub(crate) fn new(ceiling: f64, gain: f64, format: MixFormat) -> Self {
        let limiter = Limiter::new(amplitude(ceiling), format.rate, format.channels);
        Self {
            format,
            gain: Ramp::still(amplitude(gain)),
            hollow: limiter.delay(),
            limiter,
            ready: vec![Vec::new(); format.channels as usize],
            begins: 0,
            expects: None,
            ended: false,
        }
    }

    /// Begins again, with this gain from the first sample on.
    pub(crate) fn begin(&mut self, gain: f64) {
        self.gain = Ramp::still(amplitude(gain));
        self.limiter.reset();
        self.hollow = self.limiter.delay();
        self.ready.iter_mut().for_each(Vec::clear);
        (self.expects, self.ended) = (None, false);
    }

    /// Moves to another gain within this time.
    pub(crate) fn fade(&mut self, gain: f64, over: Duration) {
        self.gain.go(amplitude(gain), samples(over.as_secs_f64(), self.format.rate));
    }

    /// Whether samples from number `pts` on do not follow those before. These have to be [completed](Self::complete) and taken out first.
    pub(crate) fn breaks_at(&self, pts: i64) -> bool {
        self.expects.is_some_and(|expects| expects != pts)
    }

    /// Ends what there is with silence, in whole frames of `size`; once it was taken out, samples with other times may follow.
    pub(crate) fn complete(&mut self, size: usize) {
        self.end();
        let whole = self.waiting().next_multiple_of(size.max(1));
        self.ready.iter_mut().for_each(|row| row.resize(whole, 0.0));
        self.expects = None;
    }

    /// Takes samples, one row for each channel; `pts` is the number of the first one. What is no number is silence.
    pub(crate) fn take(&mut self, mut rows: Vec<Vec<f32>>, pts: i64) {
        if self.expects.is_none() {
            (self.begins, self.hollow, self.ended) = (pts, self.limiter.delay(), false);
        }
        let count = rows.first().map_or(0, Vec::len);
        self.expects = Some(pts.saturating_add(i64::try_from(count).unwrap_or(0)));
        self.work(&mut rows);
    }

    /// No samples follow.
    pub(crate) fn end(&mut self) {
        if self.expects.is_some() && !self.ended {
            let mut rest = vec![vec![0.0; self.limiter.delay()]; self.format.channels as usize];
            self.work(&mut rest);
        }
        self.ended = true;
    }

    fn work(&mut self, rows: &mut [Vec<f32>]) {
        for sample in rows.iter_mut().flatten() {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        match self.gain.resting() {
            Some(1.0) => {}
            Some(gain) => {
                let gain = gain as f32;
                rows.iter_mut().flatten().for_each(|sample| *sample *= gain);
            }
            None => {
                for index in 0..rows.first().map_or(0, Vec::len) {
                    let gain = self.gain.next() as f32;
                    rows.iter_mut().for_each(|row| row[index] *= gain);
                }
            }
        }
        self.limiter.process(rows);
        let hollow = self.hollow.min(rows.first().map_or(0, Vec::len));
        self.hollow -= hollow;
        for (ready, row) in self.ready.iter_mut().zip(rows) {
            ready.extend_from_slice(&row[hollow..]);
        }
    }

    fn waiting(&self) -> usize {
        self.ready.first().map_or(0, Vec::len)
    }

    /// The next frame of `size` samples, after the [end](Self::end) a shorter one, and the number of its first sample.
    pub(crate) fn next(&mut self, size: usize) -> Option<(Vec<Vec<f32>>, i64)> {
        let waiting = self.waiting();
        let count = if self.ended { waiting.min(size) } else { size };
        if count == 0 || waiting < count {
            return None;
        }
        let rows = self.ready.iter_mut().map(|row| row.drain(..count).collect()).collect();
        let pts = self.begins;
        self.begins += i64::try_from(count).unwrap_or(0);
        Some((rows, pts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: MixFormat = MixFormat { rate: 48_000, channels: 2 };

    fn ramp(from: usize, count: usize) -> Vec<Vec<f32>> {
        let row: Vec<f32> = (from..from + count).map(|at| at as f32 / 100_000.0).collect();
        vec![row.clone(), row.iter().map(|sample| -sample).collect()]
    }

    fn drain(leveler: &mut Leveler, size: usize, out: &mut Vec<(usize, i64)>, samples: &mut Vec<f32>) {
        while let Some((rows, pts)) = leveler.next(size) {
            out.push((rows[0].len(), pts));
            assert!(rows[0].iter().zip(&rows[1]).all(|(left, right)| *left == -*right));
            samples.extend_from_slice(&rows[0]);
        }
    }

    #[test]
    fn as_many_samples_come_out_as_went_in_with_their_times() {
        let mut leveler = Leveler::new(-1.0, 0.0, FORMAT);
        for lap in 0..2 {
            let (mut frames, mut samples) = (Vec::new(), Vec::new());
            for (from, count) in [(0, 1024), (1024, 1024), (2048, 100)] {
                leveler.take(ramp(from, count), 5000 + from as i64);
                drain(&mut leveler, 1024, &mut frames, &mut samples);
            }
            leveler.end();
            drain(&mut leveler, 1024, &mut frames, &mut samples);
            assert_eq!(frames, [(1024, 5000), (1024, 6024), (100, 7048)], "lap {lap}");
            assert_eq!(samples, ramp(0, 2148)[0], "what is below the ceiling is not touched");
            leveler.begin(0.0);
        }
    }

    #[test]
    fn what_does_not_follow_begins_a_frame_of_its_own() {
        let mut leveler = Leveler::new(-1.0, 0.0, FORMAT);
        let (mut frames, mut samples) = (Vec::new(), Vec::new());
        leveler.take(ramp(0, 1500), 0);
        assert!(leveler.breaks_at(9000) && !leveler.breaks_at(1500));
        leveler.complete(1024);
        drain(&mut leveler, 1024, &mut frames, &mut samples);
        leveler.take(ramp(0, 1024), 9000);
        leveler.end();
        drain(&mut leveler, 1024, &mut frames, &mut samples);
        assert_eq!(frames, [(1024, 0), (1024, 1024), (1024, 9000)]);
        assert_eq!(samples[..1500], ramp(0, 1500)[0]);
        assert!(samples[1500..2048].iter().all(|sample| *sample == 0.0));
        assert_eq!(samples[2048..], ramp(0, 1024)[0]);
    }

    #[test]
    fn a_gain_moves_without_a_jump_and_stays_below_the_ceiling() {
        let tone = |from: usize| {
            let row: Vec<f32> = (from..from + 1024).map(|at| 0.2 * (at as f32 * 0.05).sin()).collect();
            vec![row.clone(), row.iter().map(|sample| -sample).collect()]
        };
        let mut leveler = Leveler::new(-1.0, 0.0, FORMAT);
        let (mut frames, mut samples) = (Vec::new(), Vec::new());
        for frame in 0..100 {
            if frame == 10 {
                leveler.fade(20.0, Duration::from_secs(1));
            }
            leveler.take(tone(frame * 1024), (frame * 1024) as i64);
            drain(&mut leveler, 1024, &mut frames, &mut samples);
        }
        let step = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(step < 0.06, "{step}");
        let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.85..=0.8913).contains(&peak), "{peak}");
        let before = samples[..9000].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((before - 0.2).abs() < 1e-3, "{before}");
        leveler.begin(-6.0);
        let mut rows = tone(0);
        rows[0][5] = f32::NAN;
        rows[1][5] = f32::INFINITY;
        leveler.take(rows, 0);
        leveler.end();
        let (rows, _) = leveler.next(1024).expect("a frame");
        assert!(rows.iter().flatten().all(|sample| sample.is_finite() && sample.abs() < 0.11));
    }
}
