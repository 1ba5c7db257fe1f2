//! What is mixed, and how: the settings a program gives.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::loudness::Loudness;
use crate::playlist::Playlist;
use crate::settings::settings;
use crate::sound_format::AudioFormat;

use super::level::SILENT_DB;

/// Inputs at most, the source's own sound among them.
const MOST_INPUTS: usize = 16;
/// The highest gain, in decibels.
pub(super) const MOST_DB: f64 = 30.0;
/// The longest fade.
pub(super) const LONGEST_FADE: Duration = Duration::from_secs(600);

/// Sounds that are mixed under or over the own sound of a source; see [`Source::with_mix`](crate::Source::with_mix).
///
/// The sum of all inputs is kept below a ceiling by a limiter that looks ahead, so that it never clips, however many are loud at once.
/// Gains, pans and mutes can be changed on the air: [`StreamRef::mixer`](crate::StreamRef::mixer).
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod mix { pub use flowcast_core::*; } }
/// use flowcast::mix::{MixInput, Mixer};
/// use flowcast::{Playlist, Source};
///
/// let music = MixInput::playlist(Playlist::files(["a.mp3", "b.mp3"]).shuffled()).gain_db(-10.0).duck_under("voice");
/// let mixer = Mixer::new().input("voice", MixInput::source()).input("music", music);
/// let show = Source::published("studio").with_mix(mixer);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a mixer does nothing until a source is given it"]
pub struct Mixer {
    pub(crate) inputs: Vec<(String, MixInput)>,
    pub(crate) ceiling_dbfs: f64,
}

impl Default for Mixer {
    fn default() -> Self {
        Self { inputs: Vec::new(), ceiling_dbfs: -1.0 }
    }
}

impl Mixer {
    /// The name of the source's own sound, where no input is [`MixInput::source`].
    pub const SOURCE: &'static str = "source";

    /// The source's own sound alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input. Its name, 1 to 64 characters without control characters, is how the program finds it on the air. At most 16, the
    /// source's own sound among them.
    pub fn input(mut self, name: impl Into<String>, input: MixInput) -> Self {
        self.inputs.push((name.into(), input));
        self
    }

    /// The level that the sum does not pass, at samples and between them (true peak), in decibels of full scale. Default -1, -20 to 0.
    pub fn ceiling_dbfs(mut self, ceiling: f64) -> Self {
        self.ceiling_dbfs = ceiling;
        self
    }

    /// All inputs, the source's own sound first.
    pub(crate) fn strips(&self) -> Vec<(String, MixInput)> {
        let (mut own, others): (Vec<_>, Vec<_>) =
            self.inputs.iter().cloned().partition(|(_, input)| input.feed == Feed::Source);
        if own.is_empty() {
            own.push((Self::SOURCE.to_owned(), MixInput::source()));
        }
        own.extend(others);
        own
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let (mut found, mut live_problems) = (Vec::new(), Vec::new());
        let mut fail = |name, reason: String| found.push(Error::Config { name, reason });
        if !(-20.0..=0.0).contains(&self.ceiling_dbfs) {
            fail("mixer.ceiling_dbfs", "must be -20 to 0".to_owned());
        }
        let strips = self.strips();
        if strips.len() > MOST_INPUTS {
            fail("mixer.input", format!("there are {}, at most {MOST_INPUTS}", strips.len()));
        }
        if strips.iter().filter(|(_, input)| input.feed == Feed::Source).count() > 1 {
            fail("mixer.input", "the source has one sound of its own".to_owned());
        }
        let named = |name: &str| strips.iter().filter(|(other, _)| other == name).count();
        for (name, input) in &strips {
            let is_usable = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
            if !is_usable {
                fail("mixer.input", "a name is 1 to 64 characters, no control characters".to_owned());
            } else if named(name) > 1 {
                fail("mixer.input", format!("{name:?} is the name of two"));
            }
            for (setting, reason) in input.problems() {
                fail(setting, format!("{name:?}: {reason}"));
            }
            if let Feed::Live(live) = &input.feed {
                live_problems.extend(live.0.problems());
            }
            let Some(ducking) = &input.ducking else { continue };
            if ducking.under == *name {
                fail("mixer.ducking", format!("{name:?} cannot give way to itself"));
            } else if named(&ducking.under) == 0 {
                fail(
                    "mixer.ducking",
                    format!("{name:?} gives way to {:?}, which is no input", ducking.under),
                );
            }
        }
        found.append(&mut live_problems);
        found
    }
}

/// Where the sound of an input comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Feed {
    /// The source's own sound.
    Source,
    Playlist(Playlist),
    /// The program gives samples as they are taken.
    Samples(AudioFormat),
    /// The program gives samples as they come, from something with a clock of its own.
    Device(AudioFormat),
    /// Something that comes as it happens.
    Live(Live),
}

/// What can be listened to beside the source.
pub(crate) trait Listened: fmt::Debug + Any + Send + Sync {
    /// All that cannot work.
    fn problems(&self) -> Vec<Error>;

    /// Whether it is the same.
    fn is(&self, other: &dyn Any) -> bool;
}

/// Something live that is listened to.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<dyn Listened>);

impl Live {
    pub(crate) fn new(listened: impl Listened) -> Self {
        Self(Arc::new(listened))
    }

    /// What it is.
    pub(crate) fn listened(&self) -> &dyn Any {
        &*self.0
    }
}

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(other.listened())
    }
}

/// One of the sounds that are mixed. Each is brought to the rate and the channels of the mix, which are 48,000 Hz and stereo unless
/// [`AudioEncoding`](crate::AudioEncoding) says otherwise.
///
/// An input that has nothing to give is silent; nothing waits for it.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an input does nothing until a mixer is given it"]
pub struct MixInput {
    pub(crate) feed: Feed,
    pub(crate) gain_db: f64,
    pub(crate) pan: f64,
    pub(crate) muted: bool,
    pub(crate) fade_in: Duration,
    pub(crate) ducking: Option<Ducking>,
    pub(crate) loudness: Option<Loudness>,
}

impl MixInput {
    /// The source's own sound. Every mixer has it; this gives it a name and settings.
    pub fn source() -> Self {
        Self::of(Feed::Source)
    }

    /// The sound of files, one after the other without a gap, decoded about a second ahead. An item that cannot be played is left out,
    /// with an event; a list of which nothing can be played is tried again after a pause that grows to 30 s.
    pub fn playlist(playlist: Playlist) -> Self {
        Self::of(Feed::Playlist(playlist))
    }

    /// Samples that the program gets from a device, such as a microphone: it gives them to the [`SampleSink`](crate::SampleSink) of the input, which never
    /// waits. A device has a clock of its own, which is followed: how late it is, and how, is as of [`published`](Self::published).
    ///
    /// ```
    /// # mod flowcast { pub mod frames { pub use flowcast_core::*; } pub mod mix { pub use flowcast_core::*; } }
    /// use flowcast::frames::AudioFormat;
    /// use flowcast::mix::{MixInput, Mixer};
    ///
    /// let microphone = MixInput::device(AudioFormat::i16(44_100, 1)).gain_db(6.0);
    /// let mixer = Mixer::new().input("microphone", microphone);
    /// ```
    pub fn device(format: AudioFormat) -> Self {
        Self::of(Feed::Device(format))
    }

    /// Samples that the program makes: it gives them to the [`SampleSink`](crate::SampleSink) of the input, half a second ahead at most.
    pub fn samples(format: AudioFormat) -> Self {
        Self::of(Feed::Samples(format))
    }

    pub(crate) const fn of(feed: Feed) -> Self {
        Self {
            feed,
            gain_db: 0.0,
            pan: 0.0,
            muted: false,
            fade_in: Duration::ZERO,
            ducking: None,
            loudness: None,
        }
    }

    /// Its gain in decibels, at most 30; -90 and less is silence. Default 0.
    pub fn gain_db(mut self, gain: f64) -> Self {
        // A number that any format can hold.
        self.gain_db = if gain == f64::NEG_INFINITY { SILENT_DB } else { gain };
        self
    }

    /// Its place from -1, the left channel alone, to 1, the right one alone. In the middle, the default 0, both are as they are. A mix
    /// with one channel has no places.
    pub fn pan(mut self, pan: f64) -> Self {
        self.pan = pan;
        self
    }

    /// It is not heard until it is [unmuted](crate::MixerRef::unmute). It runs on meanwhile.
    pub fn muted(mut self) -> Self {
        self.muted = true;
        self
    }

    /// How long it takes to reach its gain when the stream begins. Default 0, at most 10 minutes.
    pub fn fade_in(mut self, length: Duration) -> Self {
        self.fade_in = length;
        self
    }

    /// It gives way to the input of this name, by the defaults of [`Ducking`].
    pub fn duck_under(self, name: impl Into<String>) -> Self {
        self.ducking(Ducking::under(name))
    }

    /// It gives way to another input. Default: to none.
    pub fn ducking(mut self, ducking: Ducking) -> Self {
        self.ducking = Some(ducking);
        self
    }

    /// Brings each of its files to the same loudness, in front of its gain; the ceiling is that of the [mixer](Mixer::ceiling_dbfs). A file
    /// is measured while the one before plays. One that begins before its loudness is known waits for it for 0.4 s at most; then it plays at the
    /// gain of the one before if that turns it down, else as it is, and moves to its own within 3 s once that is known. Only for a
    /// [playlist](Self::playlist). Default: files are as they are.
    pub fn leveled(mut self, loudness: Loudness) -> Self {
        self.loudness = Some(loudness);
        self
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push((name, reason.to_owned()));
        if let Some(loudness) = &self.loudness {
            if !matches!(self.feed, Feed::Playlist(_)) {
                fail("mixer.leveled", "only files have a loudness that is known before");
            }
            for problem in loudness.problems() {
                if let Error::Config { name, reason } = problem {
                    fail(name, &reason);
                }
            }
        }
        if check_gain(self.gain_db).is_err() {
            fail("mixer.gain_db", GAIN);
        }
        if check_pan(self.pan).is_err() {
            fail("mixer.pan", PAN);
        }
        if self.fade_in > LONGEST_FADE {
            fail("mixer.fade_in", "must be at most 10 min");
        }
        if let Some(ducking) = &self.ducking {
            if !(0.0..=60.0).contains(&ducking.by_db) || ducking.by_db == 0.0 {
                fail("mixer.ducking.by_db", "must be above 0, at most 60");
            }
            if !(-80.0..=0.0).contains(&ducking.threshold_dbfs) {
                fail("mixer.ducking.threshold_dbfs", "must be -80 to 0");
            }
            if [ducking.attack, ducking.release, ducking.hold].iter().any(|length| *length > MOST_DUCKING) {
                fail("mixer.ducking", "attack, release and hold must be at most 10 s");
            }
        }
        if let Feed::Samples(format) | Feed::Device(format) = &self.feed
            && let Err(Error::Config { name, reason }) = format.check("mixer.samples")
        {
            fail(name, &reason);
        }
        found
    }
}

const MOST_DUCKING: Duration = Duration::from_secs(10);
const GAIN: &str = "a gain is a number, at most 30 dB";
const PAN: &str = "a pan is from -1 to 1";

/// Refuses gains that are none; what cannot be heard is the least there is, which can be written as a number.
pub(super) fn check_gain(db: f64) -> Result<f64, Error> {
    let is_gain = db == f64::NEG_INFINITY || (db.is_finite() && db <= MOST_DB);
    if is_gain { Ok(db.max(SILENT_DB)) } else { Err(refuse("mixer.gain_db", GAIN)) }
}

/// Refuses pans that are none.
pub(super) fn check_pan(pan: f64) -> Result<f64, Error> {
    if (-1.0..=1.0).contains(&pan) { Ok(pan) } else { Err(refuse("mixer.pan", PAN)) }
}

pub(super) fn refuse(name: &'static str, reason: impl Into<String>) -> Error {
    Error::Config { name, reason: reason.into() }
}

/// How an input gives way to another one: it is turned down while the other is heard.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Ducking {
    /// The name of the input it gives way to, whose level is taken behind that one's own gain.
    pub under: String,
    /// By how many decibels, up to 60. Default 12.
    #[cfg_attr(feature = "serde", serde(default = "usual_depth"))]
    pub by_db: f64,
    /// The level from which on the other is heard, in decibels of full scale, -80 to 0. Default -40.
    #[cfg_attr(feature = "serde", serde(default = "usual_threshold"))]
    pub threshold_dbfs: f64,
    /// How fast it goes down: it has come 63 % of the way after this. Default 50 ms, at most 10 s.
    #[cfg_attr(feature = "serde", serde(default = "usual_attack", with = "crate::written::span"))]
    pub attack: Duration,
    /// How fast it comes back. Default 500 ms, at most 10 s.
    #[cfg_attr(feature = "serde", serde(default = "usual_release", with = "crate::written::span"))]
    pub release: Duration,
    /// How long it stays down after the other was heard last. Default 300 ms, at most 10 s.
    #[cfg_attr(feature = "serde", serde(default = "usual_hold", with = "crate::written::span"))]
    pub hold: Duration,
}

settings!(Ducking);

impl Ducking {
    /// The defaults, under the input of this name.
    #[must_use]
    pub fn under(name: impl Into<String>) -> Self {
        Self {
            under: name.into(),
            by_db: usual_depth(),
            threshold_dbfs: usual_threshold(),
            attack: usual_attack(),
            release: usual_release(),
            hold: usual_hold(),
        }
    }
}

const fn usual_depth() -> f64 {
    12.0
}

const fn usual_threshold() -> f64 {
    -40.0
}

const fn usual_attack() -> Duration {
    Duration::from_millis(50)
}

const fn usual_release() -> Duration {
    Duration::from_millis(500)
}

const fn usual_hold() -> Duration {
    Duration::from_millis(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mixer: &Mixer) -> Vec<&'static str> {
        let name = |error: Error| match error {
            Error::Config { name, .. } => name,
            other => panic!("{other}"),
        };
        mixer.problems().into_iter().map(name).collect()
    }

    fn music() -> MixInput {
        MixInput::playlist(Playlist::files(["a.mp3"]))
    }

    #[test]
    fn the_own_sound_is_always_there_and_first() {
        let named = Mixer::new().input("music", music()).input("voice", MixInput::source().gain_db(3.0));
        let names: Vec<_> = named.strips().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["voice", "music"]);
        let unnamed = Mixer::new().input("music", music().duck_under(Mixer::SOURCE));
        assert_eq!(unnamed.strips()[0].0, "source");
        assert!(unnamed.problems().is_empty() && named.problems().is_empty());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let with = |input| Mixer::new().input("music", input);
        for (mixer, name) in [
            (with(music().gain_db(31.0)), "mixer.gain_db"),
            (with(music().gain_db(f64::NAN)), "mixer.gain_db"),
            (with(music().pan(1.5)), "mixer.pan"),
            (with(music().fade_in(Duration::from_secs(601))), "mixer.fade_in"),
            (
                with(music().leveled(Loudness::default().with(|loudness| loudness.target_lufs = 1.0))),
                "loudness.target_lufs",
            ),
            (with(MixInput::source().leveled(Loudness::default())), "mixer.leveled"),
            (with(music().duck_under("voice")), "mixer.ducking"),
            (with(music().duck_under("music")), "mixer.ducking"),
            (
                with(music().ducking(Ducking::under("source").with(|ducking| ducking.by_db = 0.0))),
                "mixer.ducking.by_db",
            ),
            (
                with(music().ducking(Ducking::under("source").with(|ducking| ducking.threshold_dbfs = 1.0))),
                "mixer.ducking.threshold_dbfs",
            ),
            (
                with(music().ducking(
                    Ducking::under("source").with(|ducking| ducking.hold = Duration::from_secs(11)),
                )),
                "mixer.ducking",
            ),
            (with(music()).ceiling_dbfs(1.0), "mixer.ceiling_dbfs"),
            (with(MixInput::samples(AudioFormat::f32(1, 2))), "mixer.samples"),
            (with(music()).input("", music()), "mixer.input"),
            (with(music()).input("a\nb", music()), "mixer.input"),
            (with(MixInput::source()).input("voice", MixInput::source()), "mixer.input"),
        ] {
            assert_eq!(names(&mixer), [name], "{mixer:?}");
        }
        assert_eq!(names(&with(music()).input("music", music())), ["mixer.input"; 2], "a name is one's own");
        let many = (0..16).fold(Mixer::new(), |mixer, number| mixer.input(number.to_string(), music()));
        assert_eq!(names(&many), ["mixer.input"]);
    }
}
