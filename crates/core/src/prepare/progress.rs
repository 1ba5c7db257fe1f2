//! The progress of a preparation.

use std::time::{Duration, Instant};

use crate::words::words;

/// Time between two reports.
const EVERY: Duration = Duration::from_millis(200);

/// The current stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrepareStage {
    /// The input is read to find out what has to be encoded.
    Scanning,
    /// Tracks are copied or encoded.
    Writing,
    /// The index is moved to the front, the result is read again and judged, and takes its name.
    Finishing,
}

words!(PrepareStage, "stage", Scanning = "scanning", Writing = "writing", Finishing = "finishing");

/// The progress of [`Prepare::run`](super::Prepare::run).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PrepareProgress {
    /// The current stage.
    pub stage: PrepareStage,
    /// Length of the pictures written.
    pub done: Duration,
    /// Length of those of the input; zero until it was scanned.
    pub total: Duration,
    /// Pictures written.
    pub frames: u64,
    /// Time since writing began.
    pub elapsed: Duration,
}

impl PrepareProgress {
    /// 0 to 100; 100 only once everything is written.
    #[must_use]
    pub fn percent(&self) -> f64 {
        match self.stage {
            PrepareStage::Scanning => 0.0,
            PrepareStage::Writing => {
                let share = self.done.as_secs_f64() / self.total.as_secs_f64().max(f64::MIN_POSITIVE);
                (share * 100.0).min(99.9)
            }
            PrepareStage::Finishing => 100.0,
        }
    }

    /// Pictures written per second.
    #[must_use]
    pub fn fps(&self) -> f64 {
        per_second(self.frames as f64, self.elapsed)
    }

    /// Seconds of media written per second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        per_second(self.done.as_secs_f64(), self.elapsed)
    }

    /// How long the rest will take at this rate; `None` as long as nothing is written.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let speed = Some(self.speed()).filter(|speed| *speed > 0.0)?;
        let rest = self.total.saturating_sub(self.done);
        Duration::try_from_secs_f64(rest.as_secs_f64() / speed).ok()
    }
}

fn per_second(count: f64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count / elapsed.as_secs_f64() }
}

/// Reports now and then.
pub(super) struct Meter<'a> {
    report: &'a mut dyn FnMut(&PrepareProgress),
    now: PrepareProgress,
    began: Instant,
    told: Instant,
}

impl<'a> Meter<'a> {
    pub(super) fn new(report: &'a mut dyn FnMut(&PrepareProgress)) -> Self {
        let now = PrepareProgress {
            stage: PrepareStage::Scanning,
            done: Duration::ZERO,
            total: Duration::ZERO,
            frames: 0,
            elapsed: Duration::ZERO,
        };
        let began = Instant::now();
        let mut meter = Self { report, now, began, told: began };
        meter.tell();
        meter
    }

    /// Writing begins; this is the total length.
    pub(super) fn write(&mut self, total: Duration) {
        self.began = Instant::now();
        self.now = PrepareProgress {
            stage: PrepareStage::Writing,
            done: Duration::ZERO,
            total,
            frames: 0,
            elapsed: Duration::ZERO,
        };
        self.tell();
    }

    /// Another picture was written.
    pub(super) fn picture(&mut self, done: Duration) {
        self.now.frames += 1;
        self.now.done = self.now.done.max(done);
        self.now.elapsed = self.began.elapsed();
        if self.told.elapsed() >= EVERY {
            self.tell();
        }
    }

    pub(super) fn finish(&mut self) {
        self.now.stage = PrepareStage::Finishing;
        self.now.elapsed = self.began.elapsed();
        self.tell();
    }

    pub(super) fn frames(&self) -> u64 {
        self.now.frames
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        (self.report)(&self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_what_is_done() {
        let mut progress = PrepareProgress {
            stage: PrepareStage::Writing,
            done: Duration::from_secs(30),
            total: Duration::from_secs(120),
            frames: 750,
            elapsed: Duration::from_secs(10),
        };
        assert_eq!((progress.percent(), progress.fps(), progress.speed()), (25.0, 75.0, 3.0));
        assert_eq!(progress.left(), Some(Duration::from_secs(30)));
        progress.done = Duration::from_secs(121);
        assert_eq!((progress.percent(), progress.left()), (99.9, Some(Duration::ZERO)));
        progress.stage = PrepareStage::Finishing;
        assert_eq!(progress.percent(), 100.0);
        progress = PrepareProgress { done: Duration::ZERO, elapsed: Duration::ZERO, ..progress };
        assert_eq!((progress.speed(), progress.left()), (0.0, None));
    }
}
