//! What a recording has of a stream's past: a clip of more than the stream itself keeps is read back from it.
//!
//! In: how much is wanted, from the caller's thread. The recording's driver says which files it has; they are read, and the clip is written, on the
//! caller's thread. Out: tags from a keyframe on, as far as they were written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stats::{OutputPhase, OutputTransport};
use crate::stream::StreamRef;
use crate::sys::Latch;

/// Complete files of a recording that are remembered: half a day of files of ten minutes.
const MOST_FILES: usize = 72;
/// The thread of a stream answers within its next turn, unless the machine is overloaded.
const ANSWER: Duration = Duration::from_secs(2);
/// What a recording has to have more than the stream itself, in milliseconds, to be worth reading.
const WORTH: i64 = 500;

/// The files of a recording, as its driver notes them.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Those that are complete, and where each begins in the recording.
    complete: VecDeque<(PathBuf, Duration)>,
    /// Where the one begins that is written.
    begins: Duration,
    /// It goes on behind media that was there before: its times are not those of the recording.
    is_continued: bool,
}

impl Log {
    pub(super) fn new(is_continued: bool) -> Self {
        Self { is_continued, ..Self::default() }
    }

    /// A file is complete.
    pub(super) fn note(&mut self, path: &Path, from: Duration, to: Duration) {
        self.complete.push_back((path.to_owned(), from));
        self.begins = to;
        if self.complete.len() > MOST_FILES {
            self.complete.pop_front();
        }
    }

    /// All files, `current` being written.
    fn files(&self, current: &Path) -> Vec<(PathBuf, i64)> {
        let mut files: Vec<_> =
            self.complete.iter().map(|(path, from)| (path.clone(), millis(*from))).collect();
        if files.last().is_none_or(|(last, _)| last != current) {
            files.push((current.to_owned(), millis(self.begins)));
        }
        files
    }

    /// What the driver answers: the recording begins at `base` of the stream's time, which is at `newest`, and the stream itself has the last
    /// `kept` of it, all in milliseconds.
    pub(super) fn answer(&self, current: &Path, base: i64, newest: i64, kept: Option<i64>) -> Option<Past> {
        (!self.is_continued).then(|| Past { base, newest, kept, files: self.files(current) })
    }
}

/// What a recording has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    /// Where it begins, and how far the stream is, in milliseconds of the stream's time.
    pub(super) base: i64,
    pub(super) newest: i64,
    /// How much the stream itself still has.
    kept: Option<i64>,
    /// Its files, and where each begins in the recording.
    pub(super) files: Vec<(PathBuf, i64)>,
}

/// Asks the driver of a recording what it has. One that is gone has nothing.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) last: Duration,
    pub(super) answer: Arc<Latch<Option<Past>>>,
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.answer.set(None);
    }
}

impl Past {
    /// Whether it has more of what is wanted than the stream itself.
    fn is_worth(&self, last: Duration) -> bool {
        let wanted = millis(last).min(self.newest - self.base);
        self.kept.is_none_or(|kept| kept < wanted - WORTH)
    }
}

/// The recording of the stream that goes back furthest, if it has more of the `last` so many seconds than the stream itself.
///
/// # Blocking
///
/// On the stream's thread, which answers with its next turn; up to `until`.
pub(super) fn find(stream: &StreamRef, last: Duration, until: Instant) -> Option<Past> {
    let outputs = stream.stats().outputs;
    let recordings = outputs.iter().filter(|output| {
        output.transport == OutputTransport::File
            && output.phase == OutputPhase::Live
            && output.path.is_some()
    });
    let answers = recordings.filter_map(|output| {
        let answer = Arc::new(Latch::default());
        stream.deliver_to(output.id, Box::new(Ask { last, answer: answer.clone() })).ok()?;
        answer.wait_until(Some(until.min(Instant::now() + ANSWER))).flatten()
    });
    answers.min_by_key(|past| past.base).filter(|past| past.is_worth(last))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_in_several_files_says_where_each_begins() {
        let seconds = Duration::from_secs;
        let mut log = Log::new(false);
        log.note(Path::new("a-0"), seconds(0), seconds(10));
        log.note(Path::new("a-1"), seconds(10), seconds(21));
        let past = log.answer(Path::new("a-2"), 500, 30_500, Some(2000)).expect("it has files");
        let files = [("a-0", 0), ("a-1", 10_000), ("a-2", 21_000)];
        assert_eq!(past.files, files.map(|(path, from)| (PathBuf::from(path), from)));
        assert!(past.is_worth(seconds(3)) && past.is_worth(seconds(100)) && !past.is_worth(seconds(2)));
        // The next one was not reported yet.
        let at_the_cut = log.answer(Path::new("a-1"), 500, 30_500, None).expect("it has files");
        assert_eq!(at_the_cut.files.len(), 2);
        assert!(Log::new(true).answer(Path::new("a"), 0, 0, None).is_none());
        (0..200).for_each(|number| log.note(Path::new("b"), seconds(21 + number), seconds(22 + number)));
        assert_eq!(log.complete.len(), MOST_FILES);
    }
}
