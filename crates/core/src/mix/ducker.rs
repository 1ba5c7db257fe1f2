//! Turns one sound down while another one is heard.

use super::level::{amplitude, following, samples};
use super::settings::Ducking;

/// Over how long the level of the other sound is averaged, in seconds.
const LISTEN: f64 = 0.005;

/// The gain of a sound that gives way to another.
#[derive(Debug)]
pub(super) struct Ducker {
    /// As power.
    threshold: f64,
    depth: f64,
    listen: f64,
    attack: f64,
    release: f64,
    hold: u64,
    power: f64,
    /// Samples for which it stays down.
    holding: u64,
    gain: f64,
}

impl Ducker {
    pub(super) fn new(settings: &Ducking, rate: u32) -> Self {
        let level = amplitude(settings.threshold_dbfs);
        Self {
            threshold: level * level,
            depth: amplitude(-settings.by_db),
            listen: following(LISTEN, rate),
            attack: following(settings.attack.as_secs_f64(), rate),
            release: following(settings.release.as_secs_f64(), rate),
            hold: samples(settings.hold.as_secs_f64(), rate),
            power: 0.0,
            holding: 0,
            gain: 1.0,
        }
    }

    /// The gain of the next sample, where the other sound has this `power`: the mean of the squares of its channels.
    pub(super) fn next(&mut self, power: f64) -> f64 {
        self.power += (power - self.power) * self.listen;
        if self.power >= self.threshold {
            self.holding = self.hold;
        } else {
            self.holding = self.holding.saturating_sub(1);
        }
        let (to, pace) = if self.holding > 0 { (self.depth, self.attack) } else { (1.0, self.release) };
        self.gain += (to - self.gain) * pace;
        self.gain
    }

    /// The gain of the last sample.
    pub(super) const fn gain(&self) -> f64 {
        self.gain
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_down_while_the_other_is_heard_and_comes_back_after_a_while() {
        let settings = Ducking::under("voice");
        let mut ducker = Ducker::new(&settings, 48_000);
        let mut run = |power: f64, seconds: f64| {
            (0..(seconds * 48_000.0) as usize).map(|_| ducker.next(power)).last().expect("some samples")
        };
        assert_eq!(run(0.0, 1.0), 1.0);
        assert_eq!(run(1e-6, 1.0), 1.0, "-60 dBFS is not heard");
        let down = run(0.1, 0.4);
        assert!((down - amplitude(-12.0)).abs() < 2e-3, "{down}");
        let held = run(0.0, settings.hold.as_secs_f64() * 0.9);
        assert!(held < amplitude(-11.0), "a pause for breath is held: {held}");
        let back = run(0.0, 4.0);
        assert!(back > 0.99, "{back}");
    }

    #[test]
    fn it_never_moves_by_more_than_its_attack() {
        let mut settings = Ducking::under("voice");
        settings.attack = Duration::from_millis(20);
        let mut ducker = Ducker::new(&settings, 48_000);
        let mut last = 1.0;
        for at in 0..48_000 {
            let gain = ducker.next(if at % 9600 < 4800 { 0.5 } else { 0.0 });
            assert!((gain - last).abs() < 1.1 / (0.02 * 48_000.0), "{at}: {last} to {gain}");
            last = gain;
        }
    }
}
