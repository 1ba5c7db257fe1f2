//! The sound of something live, on its way into a mix: it has a clock of its own.
//!
//! In: samples at the rate of the mix, as they come. Out: the same in the input's queue, a few more or a few less, so that neither too many nor too few
//! wait: what waits is how late the input is. On the thread of the input, which never waits for the mix.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::{LINE_AHEAD, MixFormat, Shared};
use super::level::samples;
use super::queue::SampleQueue;
use super::skew::Skew;
use crate::error::Error;
use crate::event::EventKind;

/// How much waits on average, in seconds: at first and at least, and at most. What comes late once is waited for from then on.
const LEAST: f64 = 0.15;
const MOST: f64 = 0.3;
/// So much more has to wait before the first is taken: it is taken a tenth of a second at once. In seconds.
const FIRST: f64 = 0.075;
/// By how much it grows each time nothing was there in time, and shrinks after a minute in which all was. In seconds.
const GROWS: f64 = 0.05;
const SHRINKS: f64 = 0.01;
const CALM: f64 = 60.0;
/// What is left out is faded over, in seconds.
const FADE: f64 = 0.01;

/// The end that something live gives its sound to. It comes up and is lost, as often as it likes.
#[derive(Debug)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    index: usize,
    queue: Arc<SampleQueue>,
    skew: Skew,
    /// What is to wait, in seconds.
    target: f64,
    /// Seconds of sound since something was late.
    calm: f64,
    ran_dry: u64,
    is_live: bool,
    /// Why it was lost, as it was told last.
    told: Option<&'static str>,
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>, index: usize, queue: Arc<SampleQueue>) -> Self {
        let MixFormat { rate, channels } = shared.format;
        let target = count(LEAST, rate);
        queue.set_reserve(count(LEAST + FIRST, rate));
        queue.finish();
        let skew = Skew::new(rate, channels, target);
        Self { shared, index, queue, skew, target: LEAST, calm: 0.0, ran_dry: 0, is_live: false, told: None }
    }

    /// The name of the input.
    pub(crate) fn name(&self) -> &str {
        &self.shared.inputs[self.index].name
    }

    /// What it takes.
    pub(crate) fn format(&self) -> MixFormat {
        self.shared.format
    }

    /// Whether nobody mixes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until nobody mixes any more, at most for so long.
    ///
    /// # Blocking
    ///
    /// Up to `most`.
    pub(crate) fn wait_over(&self, most: Duration) {
        self.queue.wait_closed(most);
    }

    /// Takes samples that have come, one row for each channel. Never waits.
    pub(crate) fn give(&mut self, rows: &[Vec<f32>]) {
        let begins = !self.is_live;
        if begins {
            self.set_live(true);
            self.told = None;
            self.queue.begin();
            self.skew.begin();
            self.shared.tell(EventKind::MixInputLive { input: self.name().to_owned() });
        }
        let coming = rows.first().map_or(0, Vec::len);
        self.adapt(coming);
        let rate = self.shared.format.rate;
        let mut stretched = self.skew.stretch(rows);
        if begins {
            for row in &mut stretched {
                let fade = count(FADE, rate);
                let begin = row.iter_mut().take(fade).enumerate();
                begin.for_each(|(index, sample)| *sample *= index as f32 / fade as f32);
            }
        }
        // As much is left as has to wait, or nothing would be taken.
        let left = count(self.target + FIRST, rate);
        let fade = count(FADE, rate);
        let most = count(LINE_AHEAD.as_secs_f64(), rate);
        let Some(before) = self.queue.push_over(&stretched, left, fade) else { return };
        if before + coming > most {
            // The mix stands still, or the sound came at once: where it is now says nothing of its clock.
            self.skew.begin_average();
        } else {
            self.skew.note(before, coming);
        }
        self.shared.inputs[self.index].drift.store(self.skew.drift_ppm().to_bits(), Ordering::Relaxed);
    }

    /// Nothing comes any more for now, or nothing has come yet, for this reason if it is known. What waits is still heard. Told once for as long as
    /// the reason is the same.
    pub(crate) fn lost(&mut self, error: Option<Error>) {
        let code = error.as_ref().map(Error::code);
        let is_news = self.is_live || (code.is_some() && code != self.told);
        if self.is_live {
            self.set_live(false);
            self.queue.fade_out(count(FADE, self.shared.format.rate));
            self.queue.finish();
        }
        if is_news {
            self.told = code;
            let input = self.name().to_owned();
            self.shared.tell(EventKind::MixInputLost { input, error });
        }
    }

    fn set_live(&mut self, is_live: bool) {
        self.is_live = is_live;
        self.shared.inputs[self.index].live.store(is_live, Ordering::Relaxed);
    }

    /// Waits longer for what was late, and less long where nothing has been for a while.
    fn adapt(&mut self, coming: usize) {
        let (rate, ran_dry) = (self.shared.format.rate, self.queue.ran_dry());
        self.calm += coming as f64 / f64::from(rate.max(1));
        let target = if std::mem::replace(&mut self.ran_dry, ran_dry) != ran_dry {
            self.calm = 0.0;
            self.skew.begin_average();
            (self.target + GROWS).min(MOST)
        } else if self.calm >= CALM {
            self.calm = 0.0;
            (self.target - SHRINKS).max(LEAST)
        } else {
            return;
        };
        self.target = target;
        self.skew.aim_at(count(target, rate));
        self.queue.set_reserve(count(target + FIRST, rate));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lost(None);
    }
}

/// Samples of a length in seconds.
fn count(seconds: f64, rate: u32) -> usize {
    usize::try_from(samples(seconds, rate)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::f64::consts::TAU;

    use super::*;
    use crate::mix::settings::{Feed, Listened, Live, MixInput, Mixer};

    /// Low, so that ten minutes are not long: what is followed is time.
    const RATE: u32 = 4000;
    const LEVEL: f64 = 0.4;

    /// Stands for something that is listened to.
    #[derive(Debug)]
    struct Somebody;

    impl Listened for Somebody {
        fn problems(&self) -> Vec<Error> {
            Vec::new()
        }

        fn is(&self, other: &dyn Any) -> bool {
            other.is::<Self>()
        }
    }

    /// A sender whose clock is not ours, and the mix.
    struct Air {
        line: Line,
        queue: Arc<SampleQueue>,
        shared: Arc<Shared>,
        /// How much faster the sender's clock is.
        drift: f64,
        /// Samples that were given, and taken.
        given: usize,
        heard: Vec<f32>,
        /// The least and the most that has waited.
        least: usize,
        most: usize,
    }

    impl Air {
        fn new(drift: f64) -> Self {
            let mixer = Mixer::new().input("guest", MixInput::of(Feed::Live(Live::new(Somebody))));
            let format = MixFormat { rate: RATE, channels: 1 };
            let shared = Arc::new(Shared::new(&mixer, format, 0));
            let queue = shared.inputs[1].queue.clone().expect("it has one");
            let line = Line::new(shared.clone(), 1, queue.clone());
            let (given, heard, least, most) = (0, Vec::new(), usize::MAX, 0);
            Self { line, queue, shared, drift, given, heard, least, most }
        }

        fn tone(&self, count: usize) -> Vec<f32> {
            let at = |at: usize| (LEVEL * (TAU * 50.0 * at as f64 / f64::from(RATE)).sin()) as f32;
            (self.given..self.given + count).map(at).collect()
        }

        /// What comes and is mixed in this part of time, in milliseconds: three packets of 32 ms at once, and a tenth of a second at once.
        fn run(&mut self, millis: std::ops::Range<u64>, comes: bool, is_mixed: bool) {
            for now in millis {
                let due = now as f64 / 1000.0 * f64::from(RATE) * (1.0 + self.drift);
                while due >= (self.given + 3 * 128) as f64 {
                    for _ in 0..3 {
                        let samples = self.tone(128);
                        if comes {
                            self.line.give(&[samples]);
                        }
                        self.given += 128;
                    }
                    self.most = self.most.max(self.queue.waiting());
                }
                if is_mixed && now % 100 == 0 {
                    let mut rows = vec![vec![0.0; RATE as usize / 10]];
                    let count = self.queue.take(&mut rows);
                    if count > 0 {
                        self.heard.extend_from_slice(&rows[0]);
                        self.least = self.least.min(self.queue.waiting());
                    }
                }
            }
        }

        /// The sharpest bend of what was heard behind the first tenth of a second, and that of the tone.
        fn bends(&self) -> (f64, f64) {
            let second =
                |three: &[f32]| f64::from(three[0]) - 2.0 * f64::from(three[1]) + f64::from(three[2]);
            let heard = self.heard[400..].windows(3).map(|three| second(three).abs());
            (heard.fold(0.0, f64::max), LEVEL * (TAU * 50.0 / f64::from(RATE)).powi(2))
        }

        fn events(&self) -> Vec<(bool, Option<&'static str>)> {
            let mut events = Vec::new();
            self.shared.take_events(&mut events);
            let told = events.iter().map(|event| match event {
                EventKind::MixInputLive { input } if input == "guest" => (true, None),
                EventKind::MixInputLost { input, error } if input == "guest" => {
                    (false, error.as_ref().map(Error::code))
                }
                other => panic!("{other:?}"),
            });
            told.collect()
        }
    }

    fn millis(samples: usize) -> usize {
        samples * 1000 / RATE as usize
    }

    #[test]
    fn a_clock_that_is_a_thousandth_off_is_followed_for_ten_minutes() {
        for drift in [0.001, -0.001] {
            let mut air = Air::new(drift);
            air.run(0..600_000, true, true);
            let (bend, own) = air.bends();
            assert!(bend < own * 1.02 + 1e-4, "a click: {bend} for {own}");
            assert!(millis(air.most) < 400, "{} ms waited", millis(air.most));
            assert!(air.least > 0 && air.queue.ran_dry() == 0 && air.queue.dropped() == 0, "{}", air.least);
            let heard = f64::from_bits(air.shared.inputs[1].drift.load(Ordering::Relaxed));
            assert!((heard - drift * 1e6).abs() < 30.0, "{heard} ppm");
            // Once it is known, as much waits as is meant to.
            (air.least, air.most) = (usize::MAX, 0);
            air.run(600_000..620_000, true, true);
            assert!(millis(air.least) >= 40 && millis(air.most) <= 320, "{} to {}", air.least, air.most);
        }
    }

    #[test]
    fn an_input_that_is_lost_is_silent_and_comes_back_in_step() {
        let mut air = Air::new(0.0);
        air.run(0..10_000, true, true);
        assert_eq!(air.events(), [(true, None)]);
        assert!(air.shared.inputs[1].live.load(Ordering::Relaxed));
        air.line.lost(None);
        air.run(10_000..20_000, false, true);
        assert_eq!((air.queue.waiting(), air.queue.ran_dry()), (0, 0), "what had come was heard to its end");
        assert_eq!(air.events(), [(false, None)]);
        let refused = || Error::HttpStatus { host: "guest".to_owned(), status: 503 };
        (0..3).for_each(|_| air.line.lost(Some(refused())));
        assert_eq!(air.events(), [(false, Some(refused().code()))], "once for as long as it is the same");
        air.run(20_000..30_000, true, true);
        assert_eq!(air.events(), [(true, None)]);
        let (bend, own) = air.bends();
        // The fades at either end bend more than the tone, by far less than a jump.
        assert!(bend < own + 0.02, "a click: {bend} for {own}");
        assert!((40..400).contains(&millis(air.queue.waiting())), "{} ms", millis(air.queue.waiting()));
    }

    #[test]
    fn a_mix_that_stands_still_is_joined_where_the_input_is() {
        let mut air = Air::new(0.0);
        air.run(0..5000, true, true);
        air.run(5000..65_000, true, false);
        assert!(millis(air.most) <= 500 && air.queue.dropped() > 0, "{} ms waited", millis(air.most));
        air.run(65_000..70_000, true, true);
        let (bend, own) = air.bends();
        // Faded into each other, two parts of a tone that do not fit bend by a fiftieth of it.
        assert!(bend < own + 0.02, "a click: {bend} for {own}");
    }

    #[test]
    fn an_input_that_comes_unevenly_is_waited_for_longer_but_not_for_ever() {
        let mut air = Air::new(0.0);
        for minute in 0..3 {
            let begin = minute * 60_000;
            air.run(begin..begin + 30_000, true, true);
            // Half a second of it never comes.
            air.run(begin + 30_000..begin + 30_500, false, true);
            air.run(begin + 30_500..begin + 60_000, true, true);
        }
        assert_eq!(air.queue.ran_dry(), 3);
        assert!((air.line.target - 0.3).abs() < 1e-9, "{}", air.line.target);
        air.run(180_000..500_000, true, true);
        assert!((air.line.target - 0.25).abs() < 0.011, "{}", air.line.target);
    }
}
