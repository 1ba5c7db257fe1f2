//! Who listens to files: two threads for all streams.
//!
//! In: files whose loudness is wanted, in the order they were asked for. Out: answers, which can be looked at or waited for. The threads let
//! others go first, and end when there is nothing to do. What nobody waits for any more is not measured to its end.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use flowcast_av::{Interrupt, MediaInfo, TrackInfo};
use parking_lot::{Condvar, Mutex};

use super::measure::{measure, sound_of};
use crate::error::Error;
use crate::loudness::LoudnessFacts;
use crate::scan::{Cache, Stamp};
use crate::sys::{Leave, panic_message, spawn, yield_to_others};

/// Decoders need some hundreds of kilobytes.
const STACK: usize = 1 << 20;
/// Files that are measured at once: a long one holds up no others.
const MOST_THREADS: usize = 2;
/// How often who waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

static EARS: LazyLock<Mutex<Ears>> = LazyLock::new(Mutex::default);

/// What is measured of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    path: PathBuf,
    /// `None` for the one that is played where nothing else decides.
    track: Option<usize>,
    /// `None` for as many as it has.
    channels: Option<u32>,
}

impl Key {
    fn new(path: &Path, track: Option<usize>, channels: Option<u32>) -> Self {
        Self { path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), track, channels }
    }
}

#[derive(Default)]
struct Ears {
    known: Cache<Key, LoudnessFacts>,
    /// What is measured, or waits for it.
    asked: VecDeque<Question>,
    threads: usize,
}

#[derive(Debug, Clone)]
struct Question {
    key: Key,
    stamp: Option<Stamp>,
    heard: Heard,
    /// A thread is at it.
    taken: bool,
}

/// The answer to a question. Clones are the same one; when the last goes, so does the question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Answer>);

#[derive(Debug, Default)]
struct Answer {
    result: Mutex<Option<Result<LoudnessFacts, Error>>>,
    answered: Condvar,
}

impl Heard {
    /// What was measured, if it is known by now.
    pub(crate) fn get(&self) -> Option<Result<LoudnessFacts, Error>> {
        self.0.result.lock().clone()
    }

    /// What was measured, as soon as that is known; `None` if it is not by then, or `interrupt` came.
    ///
    /// # Blocking
    ///
    /// Up to `until`, or else as long as measuring takes.
    pub(crate) fn wait(
        &self,
        until: Option<Instant>,
        interrupt: &Interrupt,
    ) -> Option<Result<LoudnessFacts, Error>> {
        let mut result = self.0.result.lock();
        loop {
            let now = Instant::now();
            if result.is_some() || interrupt.is_cancelled() || until.is_some_and(|until| now >= until) {
                return result.clone();
            }
            let next = until.map_or(now + LOOK, |until| until.min(now + LOOK));
            self.0.answered.wait_until(&mut result, next);
        }
    }

    pub(super) fn answer(&self, result: Result<LoudnessFacts, Error>) {
        *self.0.result.lock() = Some(result);
        self.0.answered.notify_all();
    }
}

/// When a file's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It begins now: before all others that wait.
    Now,
    /// It comes later.
    Later,
}

impl LoudnessFacts {
    /// Measures the sound of a file: of its first track that can be played, or the one that is marked default, in as many channels as
    /// it has. What is found is kept for as long as the file does not change, in memory, for the newest 1,024 files; a source that is
    /// [leveled](crate::Source::leveled) finds it there.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod loudness { pub use flowcast_core::*; } pub mod verdict { pub use flowcast_core::{*, verdict::*}; } }
    /// use flowcast::loudness::LoudnessFacts;
    /// use flowcast::verdict::Interrupt;
    ///
    /// let facts = LoudnessFacts::measure("intro.mp4", &Interrupt::new())?;
    /// println!("{:.1} LUFS, {:.1} dBTP", facts.integrated_lufs, facts.true_peak_dbtp);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: the file cannot be opened, has no sound that can be decoded, or `cancel` ended it.
    ///
    /// # Blocking
    ///
    /// On decoding all of the file's sound, until `cancel`.
    pub fn measure(path: impl AsRef<Path>, cancel: &Interrupt) -> Result<Self, Error> {
        let path = path.as_ref();
        let (key, before) = (Key::new(path, None, None), Stamp::of(path));
        if let Some(known) = before.and_then(|before| EARS.lock().known.get(&key, before)) {
            return Ok(*known);
        }
        let facts = measure(path, None, None, || cancel.is_cancelled())?;
        // What was changed while it was read is neither the old file nor the new one.
        if let Some(stamp) = before.filter(|stamp| Some(*stamp) == Stamp::of(path)) {
            EARS.lock().known.put(key, stamp, Arc::new(facts));
        }
        Ok(facts)
    }
}

/// Asks how loud a track of a file is, mixed to so many channels.
///
/// # Blocking
///
/// On the file's metadata.
pub(crate) fn listen(path: &Path, media: &MediaInfo, track: &TrackInfo, channels: u32, turn: Turn) -> Heard {
    let is_usual = sound_of(media).is_some_and(|usual| usual.index == track.index);
    let has_as_many = track.audio.as_ref().is_some_and(|audio| audio.channels == channels);
    let key = Key::new(path, (!is_usual).then_some(track.index), (!has_as_many).then_some(channels));
    ask(key, Stamp::of(path), turn)
}

fn ask(key: Key, stamp: Option<Stamp>, turn: Turn) -> Heard {
    let mut ears = EARS.lock();
    if let Some(known) = stamp.and_then(|stamp| ears.known.get(&key, stamp)) {
        let heard = Heard::default();
        heard.answer(Ok(*known));
        return heard;
    }
    let same = |asked: &Question| asked.key == key && asked.stamp == stamp;
    let waiting = match ears.asked.iter().position(same) {
        Some(place) if ears.asked[place].taken || turn == Turn::Later => {
            return ears.asked[place].heard.clone();
        }
        Some(place) => ears.asked.remove(place),
        None => None,
    };
    let question = waiting.unwrap_or_else(|| Question { key, stamp, heard: Heard::default(), taken: false });
    let heard = question.heard.clone();
    match turn {
        Turn::Now => ears.asked.push_front(question),
        Turn::Later => ears.asked.push_back(question),
    }
    if ears.threads < MOST_THREADS {
        match spawn("fc-loud", STACK, work) {
            Ok(_) => ears.threads += 1,
            Err(source) if ears.threads == 0 => {
                let error = Error::System { what: "no thread to measure loudness", source: source.into() };
                ears.asked.drain(..).for_each(|asked| asked.heard.answer(Err(error.clone())));
            }
            Err(_) => {}
        }
    }
    heard
}

/// A thread: one file after the other.
fn work() {
    yield_to_others(Leave::Most);
    while let Some(Question { key, stamp, heard, .. }) = next() {
        // The queue's one, and ours.
        let is_over = || Arc::strong_count(&heard.0) <= 2;
        let run = || measure(&key.path, key.track, key.channels, is_over);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic) }));
        // What was changed while it was read is neither the old file nor the new one.
        let is_same = stamp.is_some() && Stamp::of(&key.path) == stamp;
        let mut ears = EARS.lock();
        if let (Ok(facts), Some(stamp), true) = (&result, stamp, is_same) {
            ears.known.put(key, stamp, Arc::new(*facts));
        }
        let was_left = matches!(&result, Err(Error::Media(flowcast_av::Error::Cancelled { .. })));
        if was_left && !is_over() {
            // Somebody has asked again meanwhile.
            let again = ears.asked.iter_mut().find(|asked| Arc::ptr_eq(&asked.heard.0, &heard.0));
            again.into_iter().for_each(|asked| asked.taken = false);
            continue;
        }
        ears.asked.retain(|asked| !Arc::ptr_eq(&asked.heard.0, &heard.0));
        drop(ears);
        heard.answer(result);
    }
}

/// The next question; `None` if there is none, and then this thread does not count any more.
fn next() -> Option<Question> {
    let mut ears = EARS.lock();
    ears.asked.retain(|asked| asked.taken || Arc::strong_count(&asked.heard.0) > 1);
    let next = ears.asked.iter_mut().find(|asked| !asked.taken).map(|asked| {
        asked.taken = true;
        asked.clone()
    });
    if next.is_none() {
        ears.threads -= 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use flowcast_av::{SampleSpec, sample_clip};

    use super::*;

    #[test]
    fn a_file_is_measured_once_and_again_when_it_has_changed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("clip.mp4");
        let make = |seconds: f64| {
            let spec = SampleSpec { width: 64, height: 64, seconds, ..SampleSpec::default() };
            sample_clip(&path, &spec).expect("it can be made");
        };
        make(2.0);
        let interrupt = Interrupt::new();
        let ask = |turn| ask(Key::new(&path, None, Some(1)), Stamp::of(&path), turn);
        let facts = ask(Turn::Now).wait(None, &interrupt).expect("an answer").expect("it has sound");
        assert!((-40.0..0.0).contains(&facts.integrated_lufs), "{facts:?}");
        assert_eq!(ask(Turn::Later).get().expect("it is known").expect("as before"), facts);
        let own = LoudnessFacts::measure(&path, &interrupt).expect("it has sound");
        assert!(own.integrated_lufs > facts.integrated_lufs, "in both channels it is louder than in one");
        make(1.0);
        assert!(ask(Turn::Now).get().is_none(), "it has changed");
        let file = flowcast_av::Demuxer::open(&path, &flowcast_av::OpenOptions::default(), &interrupt);
        let media = file.expect("it can be opened").media().clone();
        let track = sound_of(&media).expect("it has sound");
        let heard = listen(&path, &media, track, 1, Turn::Now);
        assert!(heard.wait(None, &interrupt).expect("an answer").is_ok());
        let nothing = Key::new(&dir.path().join("nothing.mp4"), None, None);
        assert!(super::ask(nothing, None, Turn::Now).wait(None, &interrupt).expect("an answer").is_err());
        let again = LoudnessFacts::measure(&path, &interrupt).expect("it has sound");
        interrupt.cancel();
        assert_eq!(LoudnessFacts::measure(&path, &interrupt).expect("it is known"), again);
        make(2.0);
        assert!(LoudnessFacts::measure(&path, &interrupt).is_err(), "it was called off");
        assert!(Heard::default().wait(None, &interrupt).is_none(), "who waits can be told to go");
        let until = Some(Instant::now());
        assert!(Heard::default().wait(until, &Interrupt::new()).is_none(), "and waits only so long");
    }
}
