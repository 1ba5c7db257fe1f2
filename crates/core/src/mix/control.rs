//! What the program and the mix share: levels that are to be, and levels that are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::level::{SILENT_DB, decibels};
use super::queue::SampleQueue;
use super::settings::{Feed, MixInput, Mixer, refuse};
use crate::error::Error;
use crate::event::EventKind;
use crate::sound_format::AudioFormat;

/// Samples of a program, or of a file, that wait at most, in milliseconds.
const PROGRAM_AHEAD: u64 = 500;
const FILE_AHEAD: u64 = 1000;
/// What waits of a live input at most: so late is it at most.
pub(super) const LINE_AHEAD: Duration = Duration::from_millis(500);
/// How fast a meter falls, in decibels a second.
const FALL_DB: f64 = 20.0;
/// Events that wait for the stream.
const MOST_EVENTS: usize = 256;

/// Rate and channels of a mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixFormat {
    /// In hertz.
    pub(crate) rate: u32,
    pub(crate) channels: u32,
}

/// The inputs, and what goes to and fro.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) format: MixFormat,
    pub(super) inputs: Vec<Input>,
    pub(super) controls: Mutex<Vec<Control>>,
    pub(super) meters: Mutex<Meters>,
    /// Samples that the limiter looks ahead.
    pub(super) delay: usize,
    events: Mutex<Vec<EventKind>>,
    over: AtomicBool,
}

/// One input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) queue: Option<Arc<SampleQueue>>,
    /// What the program gives, if it is the program that gives it.
    pub(super) samples: Option<AudioFormat>,
    /// A sink has been given out.
    pub(super) has_sink: AtomicBool,
    /// It is a list of files, which are there when they are wanted.
    pub(super) is_list: bool,
    /// It has a clock of its own, and whether sound comes of it.
    pub(super) is_line: bool,
    pub(super) live: AtomicBool,
    /// How much faster its clock is, in millionths: the bits of a float.
    pub(super) drift: AtomicU64,
    /// The file that is read.
    playing: Mutex<Option<PathBuf>>,
}

/// What an input is to be like.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub(super) gain_db: f64,
    /// How long it takes to get there.
    pub(super) over: Duration,
    pub(super) pan: f64,
    pub(super) muted: bool,
    /// Counts changes, and those of the gain: one may be to where it goes already, but in another time.
    pub(super) changes: u64,
    pub(super) gain_changes: u64,
}

/// What inputs are like.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// Peaks, as factors, and gains of duckers.
    pub(super) inputs: Vec<(f64, f64)>,
    pub(super) gaps: Vec<u64>,
    /// The gain of the limiter.
    pub(super) limiter: f64,
}

impl Shared {
    pub(super) fn new(mixer: &Mixer, format: MixFormat, delay: usize) -> Self {
        let strips = mixer.strips();
        let controls = strips.iter().map(|(_, input)| Control::of(input)).collect();
        let inputs: Vec<_> =
            strips.into_iter().map(|(name, input)| Input::new(name, &input, format)).collect();
        let meters =
            Meters { inputs: vec![(0.0, 1.0); inputs.len()], gaps: vec![0; inputs.len()], limiter: 1.0 };
        Self {
            format,
            inputs,
            controls: Mutex::new(controls),
            meters: Mutex::new(meters),
            delay,
            events: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    /// Nothing is mixed any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.inputs.iter().filter_map(|input| input.queue.as_ref()).for_each(|queue| queue.close());
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Keeps an event for the stream.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav no files are mixed"))]
    pub(super) fn tell(&self, event: EventKind) {
        let mut events = self.events.lock();
        if events.len() < MOST_EVENTS {
            events.push(event);
        }
    }

    /// Moves what there is to tell.
    pub(crate) fn take_events(&self, notices: &mut Vec<EventKind>) {
        notices.append(&mut self.events.lock());
    }

    /// Bytes of samples that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.iter().filter_map(|input| input.queue.as_ref()).map(|queue| queue.bytes()).sum()
    }

    pub(super) fn find(&self, name: &str) -> Result<usize, Error> {
        let found = self.inputs.iter().position(|input| input.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            refuse("mixer.input", format!("there is no {name:?}, there are {}", names.join(", ")))
        })
    }

    /// Goes on with what the program has changed of `before`, whose place it takes, from its first sample on: inputs of the same name are
    /// as they were to be. Fades are at their ends.
    pub(super) fn go_on(&self, before: &Self) {
        let (mut controls, old) = (self.controls.lock(), before.controls.lock());
        for (input, control) in self.inputs.iter().zip(controls.iter_mut()) {
            let index = before.inputs.iter().position(|old| old.name == input.name);
            let Some(old) = index.and_then(|index| old.get(index)).filter(|old| old.changes > 0) else {
                continue;
            };
            (control.pan, control.muted) = (old.pan, old.muted);
            control.changes += 1;
            if old.gain_changes > 0 {
                (control.gain_db, control.over) = (old.gain_db, Duration::ZERO);
                control.gain_changes += 1;
            }
        }
    }

    /// Changes what an input is to be like.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Control)) -> Result<(), Error> {
        let index = self.find(name)?;
        if self.is_over() {
            return Err(Error::Ended);
        }
        if let Some(control) = self.controls.lock().get_mut(index) {
            change(control);
            control.changes += 1;
        }
        Ok(())
    }
}

impl Input {
    fn new(name: String, input: &MixInput, format: MixFormat) -> Self {
        let queue = |millis: u64| {
            let most = u64::from(format.rate) * millis / 1000;
            Some(Arc::new(SampleQueue::new(format.channels, usize::try_from(most).unwrap_or(usize::MAX))))
        };
        let line_ahead = u64::try_from(LINE_AHEAD.as_millis()).unwrap_or(0);
        let (queue, samples) = match &input.feed {
            Feed::Source => (None, None),
            Feed::Playlist(_) => (queue(FILE_AHEAD), None),
            Feed::Samples(format) => (queue(PROGRAM_AHEAD), Some(*format)),
            Feed::Device(format) => (queue(line_ahead), Some(*format)),
            Feed::Live(_) => (queue(line_ahead), None),
        };
        Self {
            name,
            queue,
            samples,
            has_sink: AtomicBool::new(false),
            is_list: matches!(input.feed, Feed::Playlist(_)),
            is_line: matches!(input.feed, Feed::Live(_) | Feed::Device(_)),
            live: AtomicBool::new(false),
            drift: AtomicU64::new(0.0_f64.to_bits()),
            playing: Mutex::default(),
        }
    }

    /// Says which file is read.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav no files are mixed"))]
    pub(super) fn plays(&self, path: Option<PathBuf>) {
        *self.playing.lock() = path;
    }

    pub(super) fn playing(&self) -> Option<PathBuf> {
        self.playing.lock().clone()
    }
}

impl Control {
    fn of(input: &MixInput) -> Self {
        Self {
            gain_db: input.gain_db.max(SILENT_DB),
            over: input.fade_in,
            pan: input.pan,
            muted: input.muted,
            changes: 0,
            gain_changes: 0,
        }
    }
}

impl Meters {
    /// Takes what a run of `samples` samples came to.
    pub(super) fn note(
        &mut self,
        samples: usize,
        rate: u32,
        peaks: impl Iterator<Item = (f64, f64, u64)>,
        limiter: f64,
    ) {
        let seconds = samples as f64 / f64::from(rate.max(1));
        let fall = 10_f64.powf(-FALL_DB * seconds / 20.0);
        for (meter, (peak, ducked, gaps)) in self.inputs.iter_mut().zip(&mut self.gaps).zip(peaks) {
            *meter.0 = (peak.max(meter.0.0 * fall), ducked);
            *meter.1 = gaps;
        }
        self.limiter = limiter.min((self.limiter / fall).min(1.0));
    }

    pub(super) fn peak_db(&self, index: usize) -> f64 {
        self.inputs.get(index).map_or(SILENT_DB, |(peak, _)| decibels(*peak))
    }

    pub(super) fn ducked_db(&self, index: usize) -> f64 {
        self.inputs.get(index).map_or(0.0, |(_, gain)| -decibels(*gain))
    }
}
