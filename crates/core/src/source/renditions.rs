//! Several sizes of one source.
//!
//! In: a source, and the renditions that are wanted of it. Out: a source for each of them. All that is asked of one that is opened is looked up
//! here; how it is opened is in `ladder.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Media, Source};
use crate::bit_rate::BitRate;
use crate::error::Error;
use crate::standby::Watchdog;
use crate::stream::is_name;
use crate::transcode::{Encoding, FrameRate, Mode, Profile};

/// Renditions of one source.
const MOST: usize = 8;
/// Lines, and pixels of a side.
const LINES: std::ops::RangeInclusive<u32> = 16..=4320;
const SIDES: std::ops::RangeInclusive<u32> = 16..=8192;
/// Bit rates, in kbit/s.
const KBPS: std::ops::RangeInclusive<u64> = 64..=100_000;

/// One size of a source, for [`Source::renditions`].
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::*; } }
/// use flowcast::BitRate;
/// use flowcast::encode::Rendition;
///
/// let hd = Rendition::lines(720).bit_rate(BitRate::from_kbps(3000)); // "720p"
/// let square = Rendition::size(480, 480).named("square");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    name: String,
    picture: Picture,
    bit_rate: Option<BitRate>,
    enlarged: bool,
}

/// What its pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    /// Those of the source.
    Source,
    /// Pixels of the shorter side; of the source's shape.
    Lines(u32),
    /// Width and height.
    Size((u32, u32)),
}

impl Rendition {
    /// Pictures with this many pixels on their shorter side, as 720 of 1280x720: an even number, 16 to 4320. The longer side follows from the shape
    /// of the source. It is called `720p` unless it is [named](Self::named).
    #[must_use]
    pub fn lines(lines: u32) -> Self {
        Self::of(format!("{lines}p"), Picture::Lines(lines))
    }

    /// Pictures of this width and height in pixels, both even, 16 to 8192. A source of another shape is fitted in. It is called `1280x720` unless
    /// it is [named](Self::named).
    #[must_use]
    pub fn size(width: u32, height: u32) -> Self {
        Self::of(format!("{width}x{height}"), Picture::Size((width, height)))
    }

    /// The pictures and the sound of the source as they are, not encoded. Its keyframes are where the source has them. It is called `source` unless
    /// it is [named](Self::named).
    #[must_use]
    pub fn source() -> Self {
        Self::of("source".to_owned(), Picture::Source)
    }

    fn of(name: String, picture: Picture) -> Self {
        Self { name, picture, bit_rate: None, enlarged: false }
    }

    /// What it is called, to find it in [`Renditions`]: a valid name of a stream.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Bits per second of its pictures, 64 kbit/s to 100 Mbit/s. Default: by its size, 5 Mbit/s for 1080 lines, 2.5 for 720, 1.26 for 480 and 0.77 for 360, and a fifth
    /// more above 30 frames a second.
    #[must_use]
    pub fn bit_rate(self, rate: BitRate) -> Self {
        Self { bit_rate: Some(rate), ..self }
    }

    /// Makes it of smaller pictures, too. Default: a rendition that is larger than what is published shows nothing, and says why.
    #[must_use]
    pub fn enlarged(self) -> Self {
        Self { enlarged: true, ..self }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the source as it is.
    pub(super) fn is_source(&self) -> bool {
        self.picture == Picture::Source
    }

    #[cfg(feature = "serde")]
    pub(super) fn parts(&self) -> (Picture, Option<BitRate>, bool) {
        (self.picture, self.bit_rate, self.enlarged)
    }

    /// Its size, of pictures that are shown in this one.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: it would be larger than these.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(super) fn size_of(&self, shown: (u32, u32)) -> Result<(u32, u32), Error> {
        let size = self.size_near(shown);
        if !self.enlarged && (size.0 > shown.0 || size.1 > shown.1) {
            let reason = format!(
                "{} would be {}x{}, larger than the source, which is {}x{}: Rendition::enlarged makes it all the same",
                self.name, size.0, size.1, shown.0, shown.1
            );
            return Err(Error::Config { name: "renditions", reason });
        }
        Ok(size)
    }

    fn size_near(&self, (width, height): (u32, u32)) -> (u32, u32) {
        match self.picture {
            Picture::Source => (width, height),
            Picture::Size(size) => size,
            Picture::Lines(lines) => {
                let (longer, shorter) = (width.max(height), width.min(height).max(1));
                let other = f64::from(lines) * f64::from(longer) / f64::from(shorter);
                let other = ((other / 2.0).round() as u32 * 2).clamp(16, 8192);
                if width >= height { (other, lines) } else { (lines, other) }
            }
        }
    }

    /// Its bit rate at this size.
    pub(super) fn bit_rate_of(&self, (width, height): (u32, u32), rate: Option<FrameRate>) -> BitRate {
        self.bit_rate.unwrap_or_else(|| {
            let parts = f64::from(width) * f64::from(height) / (1280.0 * 720.0);
            let faster = if rate.is_some_and(|rate| rate.as_f64() > 31.0) { 1.2 } else { 1.0 };
            let kbps = (2500.0 * parts.powf(0.85) * faster).round() as u64;
            BitRate::from_kbps(kbps.clamp(*KBPS.start(), *KBPS.end()))
        })
    }

    fn problem(&self) -> Option<String> {
        let Self { name, picture, bit_rate, enlarged } = self;
        if !is_name(name) {
            return Some("a name is 1 to 128 letters, digits, '-', '_' or '.'".to_owned());
        }
        let is_even = |side: &u32| side.is_multiple_of(2);
        let is_right = match picture {
            Picture::Source if bit_rate.is_some() || *enlarged => {
                return Some(format!("{name} is the source as it is: it has no bit rate or size of its own"));
            }
            Picture::Source => true,
            Picture::Lines(lines) => LINES.contains(lines) && is_even(lines),
            Picture::Size((width, height)) => {
                [width, height].into_iter().all(|side| SIDES.contains(side) && is_even(side))
            }
        };
        if !is_right {
            return Some(format!(
                "{name}: sides must be even, lines 16 to 4320 and others 16 to 8192 pixels"
            ));
        }
        let kbps = BitRate::from_kbps(*KBPS.start())..=BitRate::from_kbps(*KBPS.end());
        if bit_rate.is_some_and(|rate| !kbps.contains(&rate)) {
            return Some(format!("{name}: the bit rate must be 64 kbit/s to 100 Mbit/s"));
        }
        None
    }
}

/// The sources of several renditions: the result of [`Source::renditions`].
///
/// Each is started as a stream of its own. They begin together if they are started together.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "each of them is to be started"]
pub struct Renditions {
    sources: Vec<(String, Source)>,
}

impl Renditions {
    /// The source of the rendition of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|(known, _)| known == name).map(|(_, source)| source)
    }

    /// What they are called, in the order they were given in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(name, _)| name.as_str())
    }
}

/// Name and source of each.
impl IntoIterator for Renditions {
    type Item = (String, Source);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.sources.into_iter()
    }
}

/// Which rendition a source is, and of what.
#[derive(Clone, PartialEq)]
pub(crate) struct Rung {
    /// What all of them are made of.
    pub(super) of: Source,
    pub(super) all: Vec<Rendition>,
    pub(super) this: usize,
    made: Made,
    /// Where in the file it was when it was saved.
    was_at: WasAt,
}

impl fmt::Debug for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rung").field("this", &self.rendition().map(Rendition::name)).finish_non_exhaustive()
    }
}

/// That sources were made by one call; what they are does not depend on it.
#[derive(Debug, Clone, Default)]
struct Made(Arc<()>);

impl PartialEq for Made {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A place in the file; what is played does not depend on it.
#[derive(Debug, Clone, Copy, Default)]
struct WasAt(Option<Duration>);

impl PartialEq for WasAt {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Rung {
    /// Where in their file all of them begin, if this is the first one.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(super) fn begins(&self) -> Duration {
        self.was_at.0.unwrap_or(self.of.start_at)
    }

    /// Whether both were saved, and are to go on.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(super) fn is_saved_with(&self, other: &Self) -> bool {
        self.was_at.0.is_some() && other.was_at.0.is_some()
    }

    /// Which one.
    pub(super) fn rendition(&self) -> Option<&Rendition> {
        self.all.get(self.this)
    }

    /// Whether both are renditions of one source, encoded in the same way.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.all == other.all && self.of == other.of
    }

    /// Whether both come from one call of [`Source::renditions`].
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(super) fn is_made_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.made.0, &other.made.0)
    }

    /// The same with lists that stay as they are now.
    pub(super) fn frozen(&self) -> Self {
        Self { of: self.of.frozen(), ..self.clone() }
    }

    /// The source that it is a part of.
    fn source(&self) -> Source {
        let mut source = self.of.clone();
        let Some(rendition) = self.rendition() else { return source };
        let wish = &mut source.wish;
        if rendition.is_source() {
            (wish.mode, wish.encoding) = (None, Encoding::default());
            wish.platforms.clear();
        } else {
            // What the source is like is not known yet: as most are.
            let size = rendition.size_near((1920, 1080));
            wish.mode = Some(wish.mode.unwrap_or(Mode::Auto));
            wish.encoding.video_bit_rate = Some(rendition.bit_rate_of(size, wish.encoding.frame_rate));
            wish.encoding.size = Some(size);
        }
        source.rung = Some(Box::new(self.clone()));
        source
    }

    /// What cannot work, whichever of them it is.
    fn problems(&self) -> Vec<Error> {
        let fail = |reason: String| Error::Config { name: "renditions", reason };
        let mut found: Vec<_> = self.all.iter().filter_map(Rendition::problem).map(fail).collect();
        if self.all.is_empty() {
            found.push(fail("there is none".to_owned()));
        }
        if self.all.len() > MOST {
            found.push(fail(format!("there are {}, and {MOST} are the most", self.all.len())));
        }
        for (index, rendition) in self.all.iter().enumerate() {
            if self.all[..index].iter().any(|before| before.name == rendition.name) {
                found.push(fail(format!("two are called {}", rendition.name)));
            }
        }
        found.extend(self.of.unfit_for_renditions(&self.all).map(|reason| fail(reason.to_owned())));
        found
    }
}

impl Source {
    /// The same source in several sizes: it is read and decoded once, scaled for each of them, and encoded for each. The pictures of all have the same
    /// times, and keyframes at the same times, so that players can change from one to another. Sound is encoded once, or sent as it is if it fits.
    ///
    /// Each rendition is the source of a stream of its own, with outputs, recordings, figures and a [bit rate](crate::StreamRef::set_bitrate) of its own. Those
    /// that are started within two seconds begin together; one that comes later begins with a keyframe of the others. One that fails, or is
    /// stopped, takes nothing from the others. An encoder that does not keep up misses pictures; the others do not wait for it.
    ///
    /// How they are encoded is said by [`encoding`](Self::encoding) and [`platform`](Self::platform) before; sizes and bit rates are those of the renditions.
    /// Pictures are always encoded, whatever the [mode](Self::mode); with [`Mode::Encode`] sound is, too. For files, lists, and what is published or pulled.
    ///
    /// With a [store](crate::Config::reels), each rendition of a looped file plays a reel of its own, which is encoded once; all keep in step. Not with
    /// [`with_audio`](Self::with_audio), an adaptation or overlays that change: these, and all other files, are decoded and encoded while they play, and
    /// their pictures have to be of a codec that RTMP carries.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod encode { pub use flowcast_core::*; } }
    /// use flowcast::encode::Rendition;
    /// use flowcast::{Config, Engine, Output, Profile, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let ladder = Source::published("studio")
    ///     .encoding(Profile::Ultra)
    ///     .renditions([Rendition::source(), Rendition::lines(720), Rendition::lines(480)])?;
    /// for (name, source) in ladder {
    ///     engine.stream(source).to(Output::publish(format!("studio_{name}"))).start()?.detach();
    /// }
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: there is none, there are more than eight, or two of one name; one of them, or the source, cannot be encoded like this. That one is
    /// larger than the source is known only when that is seen: `start` says so for a looped file with a store, its stream for others.
    pub fn renditions(self, renditions: impl IntoIterator<Item = Rendition>) -> Result<Renditions, Error> {
        let (all, made, was_at) = (renditions.into_iter().collect(), Made::default(), WasAt::default());
        let rung = Rung { of: self, all, this: 0, made, was_at };
        if let Some(problem) = rung.problems().into_iter().next() {
            return Err(problem);
        }
        let of_place = |this: usize| {
            let rung = Rung { this, ..rung.clone() };
            Some((rung.rendition()?.name.clone(), rung.source()))
        };
        Ok(Renditions { sources: (0..rung.all.len()).filter_map(of_place).collect() })
    }

    /// A file that was saved goes on at `offset`; a rendition, where the others are that were saved with it.
    pub(crate) fn go_on_at(&mut self, offset: Duration) {
        match &mut self.rung {
            Some(rung) => rung.was_at = WasAt(Some(offset)),
            None => self.start_at = offset,
        }
    }

    /// What of a rendition cannot work.
    pub(super) fn rendition_problems(&self) -> Vec<Error> {
        let Some(rung) = &self.rung else { return Vec::new() };
        let mut found = rung.problems();
        let expected = Self { fallback: self.fallback.clone(), watchdog: self.watchdog, ..rung.source() };
        if *self != expected {
            let reason = "all but a fallback and a watchdog is to be said before Source::renditions";
            found.push(Error::Config { name: "renditions", reason: reason.to_owned() });
        }
        found
    }

    /// Why there cannot be renditions of it.
    fn unfit_for_renditions(&self, all: &[Rendition]) -> Option<&'static str> {
        let encoding = &self.wish.encoding;
        let is_encoded = all.iter().any(|rendition| !rendition.is_source());
        let is_copy = self.wish.mode == Some(Mode::Copy) || encoding.profile == Profile::Copy;
        match &self.media {
            Media::Fragments(_) => {
                return Some("publish fragments, and make renditions of what is published");
            }
            #[cfg(feature = "libav")]
            Media::Frames(_) => return Some("publish frames, and make renditions of what is published"),
            Media::File { .. } | Media::Playlist(_) | Media::Published { .. } | Media::Pull(_) => {}
        }
        if self.rung.is_some() {
            return Some("it is a rendition already");
        }
        if self.mixer.is_some() {
            return Some("publish what is mixed, and make renditions of what is published");
        }
        if self.all_tracks {
            return Some("renditions have one track of sound");
        }
        if self.fallback.is_some() || self.watchdog != Watchdog::default() {
            return Some("a fallback and a watchdog are for each rendition: say so after Source::renditions");
        }
        if encoding.size.is_some() || encoding.video_bit_rate.is_some() || encoding.vbv_kbits.is_some() {
            return Some("each rendition has a size, a bit rate and a buffer of its own");
        }
        if is_copy && is_encoded {
            return Some("renditions are encoded: nothing can be with Mode::Copy");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: Source, all: Vec<Rendition>) -> String {
        source.renditions(all).expect_err("it cannot work").to_string()
    }

    #[test]
    fn what_cannot_work_is_named() {
        let live = || Source::published("studio");
        assert!(refused(live(), Vec::new()).contains("there is none"));
        let same = vec![Rendition::lines(720), Rendition::size(640, 360).named("720p")];
        assert!(refused(live(), same).contains("two are called 720p"));
        let many = (1..=9).map(|n| Rendition::lines(100 + 2 * n)).collect();
        assert!(refused(live(), many).contains("there are 9"));
        for wrong in [Rendition::lines(721), Rendition::lines(0), Rendition::size(640, 8194)] {
            assert!(refused(live(), vec![wrong]).contains("even"));
        }
        let slow = Rendition::lines(720).bit_rate(BitRate::from_kbps(10));
        assert!(refused(live(), vec![slow]).contains("64 kbit/s"));
        assert!(refused(live(), vec![Rendition::source().enlarged()]).contains("as it is"));
        assert!(refused(live(), vec![Rendition::lines(720).named("a b")]).contains("a name is"));
        let one = || vec![Rendition::lines(720)];
        assert!(refused(live().mode(Mode::Copy), one()).contains("Mode::Copy"));
        assert!(refused(live().fallback("slate.mp4"), one()).contains("fallback"));
        let sized = Encoding::default().with(|encoding| encoding.size = Some((640, 360)));
        assert!(refused(live().encoding(sized), one()).contains("of its own"));
        assert!(refused(Source::file("a.mp4").all_tracks(), one()).contains("one track"));
        let twice = live().renditions(one()).expect("it can be").get("720p").cloned().expect("it is there");
        assert!(refused(twice, one()).contains("already"));
    }

    #[test]
    fn what_is_said_afterwards_is_refused_but_for_what_stands_in() {
        let all = [Rendition::source(), Rendition::lines(720)];
        let ladder = Source::file("a.mp4").looped().renditions(all).expect("it can be");
        assert_eq!(ladder.names().collect::<Vec<_>>(), ["source", "720p"]);
        for (name, source) in ladder {
            assert!(source.problems().is_empty(), "{name}: {:?}", source.problems());
            assert!(source.clone().fallback("slate.mp4").problems().is_empty());
            let changed = source.starting_at(Duration::from_secs(1));
            assert!(changed.problems()[0].to_string().contains("before Source::renditions"));
        }
    }

    #[test]
    fn sizes_follow_the_shape_of_the_source_and_are_never_larger_unless_asked_for() {
        let size = |lines, shown| Rendition::lines(lines).size_of(shown).map_err(|error| error.to_string());
        assert_eq!(size(720, (1920, 1080)), Ok((1280, 720)));
        assert_eq!(size(480, (1920, 1080)), Ok((854, 480)));
        assert_eq!(size(480, (1080, 1920)), Ok((480, 854)));
        assert_eq!(size(720, (1280, 720)), Ok((1280, 720)));
        assert!(size(720, (640, 360)).expect_err("it is larger").contains("larger than the source"));
        assert_eq!(Rendition::lines(720).enlarged().size_of((640, 360)).ok(), Some((1280, 720)));
        assert!(Rendition::size(640, 640).size_of((640, 360)).is_err());
    }

    #[test]
    fn bit_rates_follow_the_size() {
        let kbps = |rendition: Rendition, rate| {
            let size = rendition.size_of((1920, 1080)).expect("it is smaller");
            rendition.bit_rate_of(size, Some(FrameRate::whole(rate))).bps() / 1000
        };
        let usual = [1080, 720, 480, 360].map(|lines| kbps(Rendition::lines(lines), 30));
        assert_eq!(usual, [4981, 2500, 1256, 769]);
        assert_eq!(kbps(Rendition::lines(1080), 60), 5977);
        assert_eq!(kbps(Rendition::lines(720).bit_rate(BitRate::from_kbps(3000)), 60), 3000);
    }
}
