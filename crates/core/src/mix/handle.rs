//! The mix in the hands of the program: what can be changed on the air, and what can be seen.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::{Input, Shared};
use super::level::{SILENT_DB, decibels};
use super::settings::{LONGEST_FADE, check_gain, check_pan, refuse};
use super::sink::SampleSink;
use crate::error::Error;

/// The mixer of a stream on the air: cheap to clone, does not keep the stream alive. From [`StreamRef::mixer`](crate::StreamRef::mixer).
///
/// What is changed is heard after what is encoded already, and takes 10 ms, or as long as a fade is said to take: no change clicks.
#[derive(Debug, Clone)]
pub struct MixerRef {
    shared: Arc<Shared>,
}

impl MixerRef {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Goes on with what the program has changed of `before`, whose place it takes.
    pub(crate) fn go_on(&self, before: &Self) {
        if !Arc::ptr_eq(&self.shared, &before.shared) {
            self.shared.go_on(&before.shared);
        }
    }

    /// One that nothing mixes.
    #[cfg(test)]
    pub(crate) fn unused(mixer: &super::settings::Mixer) -> Self {
        let format = super::control::MixFormat { rate: 48_000, channels: 2 };
        Self::new(Arc::new(Shared::new(mixer, format, 0)))
    }

    /// The names of its inputs, the source's own sound first.
    #[must_use]
    pub fn inputs(&self) -> Vec<String> {
        self.shared.inputs.iter().map(|input| input.name.clone()).collect()
    }

    /// Sets the gain of an input, in decibels, at most 30; -90 and less is silence.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that no input has, or what is no gain; [`Error::Ended`].
    pub fn set_gain_db(&self, input: &str, gain: f64) -> Result<(), Error> {
        self.fade(input, gain, Duration::ZERO)
    }

    /// Moves the gain of an input within this time, at most 10 minutes, from where it is.
    ///
    /// # Errors
    ///
    /// As of [`set_gain_db`](Self::set_gain_db), and [`Error::Config`] for a longer fade.
    pub fn fade(&self, input: &str, gain_db: f64, over: Duration) -> Result<(), Error> {
        let gain = check_gain(gain_db)?;
        if over > LONGEST_FADE {
            return Err(refuse("mixer.fade", "must be at most 10 min"));
        }
        self.shared.change(input, |control| {
            (control.gain_db, control.over) = (gain, over);
            control.gain_changes += 1;
        })
    }

    /// Places an input, from -1, left, to 1, right.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that no input has, or what is no place; [`Error::Ended`].
    pub fn set_pan(&self, input: &str, pan: f64) -> Result<(), Error> {
        let pan = check_pan(pan)?;
        self.shared.change(input, |control| control.pan = pan)
    }

    /// Makes an input silent; it runs on.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that no input has; [`Error::Ended`].
    pub fn mute(&self, input: &str) -> Result<(), Error> {
        self.shared.change(input, |control| control.muted = true)
    }

    /// Lets an input be heard again.
    ///
    /// # Errors
    ///
    /// As of [`mute`](Self::mute).
    pub fn unmute(&self, input: &str) -> Result<(), Error> {
        self.shared.change(input, |control| control.muted = false)
    }

    /// Where the samples of an input go that is [`MixInput::samples`](crate::MixInput::samples) or [`MixInput::device`](crate::MixInput::device). There is one at a time; when it is dropped,
    /// another one may be taken.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that no such input has, or whose sink is taken; [`Error::Ended`]; [`Error::NotBuilt`] without libav.
    pub fn sink(&self, input: &str) -> Result<SampleSink, Error> {
        let index = self.shared.find(input)?;
        SampleSink::take(&self.shared, index)
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> MixerStats {
        let controls = self.shared.controls.lock().clone();
        let meters = self.shared.meters.lock();
        let rate = f64::from(self.shared.format.rate.max(1));
        let one = |(index, input): (usize, &Input)| {
            let control = controls.get(index);
            let waiting = input.queue.as_ref().map_or(0, |queue| queue.waiting());
            MixInputStats {
                name: input.name.clone(),
                gain_db: control.map_or(SILENT_DB, |control| control.gain_db),
                pan: control.map_or(0.0, |control| control.pan),
                muted: control.is_some_and(|control| control.muted),
                peak_dbfs: meters.peak_db(index),
                ducked_db: meters.ducked_db(index),
                waiting: Duration::from_secs_f64(waiting as f64 / rate),
                gaps: meters.gaps.get(index).copied().unwrap_or(0),
                dropped_samples: input.queue.as_ref().map_or(0, |queue| queue.dropped()),
                playing: input.playing(),
                live: input.is_line.then(|| input.live.load(Ordering::Relaxed)),
                drift_ppm: f64::from_bits(input.drift.load(Ordering::Relaxed)),
            }
        };
        MixerStats {
            inputs: self.shared.inputs.iter().enumerate().map(one).collect(),
            limited_db: -decibels(meters.limiter),
            latency: Duration::from_secs_f64(self.shared.delay as f64 / rate),
        }
    }

    /// Whether the stream has ended, or plays another source.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.is_over()
    }
}

/// How a mixer stands. Meters rise at once and fall by 20 dB a second.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MixerStats {
    /// Its inputs, the source's own sound first.
    pub inputs: Vec<MixInputStats>,
    /// By how many decibels the limiter turns the sum down.
    pub limited_db: f64,
    /// How much later samples come out than they would without the mixer.
    pub latency: Duration,
}

/// How an input of a mixer stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MixInputStats {
    /// Its name.
    pub name: String,
    /// The gain that is set, in decibels: during a fade, where it goes.
    pub gain_db: f64,
    /// The place that is set, -1 to 1.
    pub pan: f64,
    /// It is muted.
    pub muted: bool,
    /// Its peak behind gain, mute and place, in decibels of full scale, at least -90.
    pub peak_dbfs: f64,
    /// By how many decibels it gives way to another input.
    pub ducked_db: f64,
    /// Sound that waits to be mixed. It is how late a live input is.
    pub waiting: Duration,
    /// How often it had nothing to give, after it had begun.
    pub gaps: u64,
    /// Samples of each channel that were dropped, because the program, or what is live, gave more than there was room for.
    pub dropped_samples: u64,
    /// The file it plays, a second ahead.
    pub playing: Option<PathBuf>,
    /// Whether sound comes of it, where it has a clock of its own ([`MixInput::published`](crate::MixInput::published), [`url`](crate::MixInput::url),
    /// [`device`](crate::MixInput::device));
    /// `None` where it is not.
    pub live: Option<bool>,
    /// How much faster its clock is than the mix's, in millionths, as far as that is known; of a live input.
    pub drift_ppm: f64,
}
