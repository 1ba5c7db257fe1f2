//! What was reported to a stream about its files: each thing once per file, however often it is played.
//!
//! In: notices of an item, from its reel or from the worker that reads it. Out: those that are news.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::event::EventKind;

/// Most things remembered; then all is forgotten, and may be told again.
const MOST: usize = 8192;

/// What was reported.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<u64>);

impl Told {
    /// Takes out of `notices`, from number `from` on, what was already reported about `path`.
    pub(super) fn filter(&mut self, path: &Path, from: usize, notices: &mut Vec<EventKind>) {
        if notices.len() > from {
            let mut number = 0;
            notices.retain(|notice| {
                number += 1;
                number <= from || self.is_new(path, notice)
            });
        }
    }

    /// Another file lies at a path.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn is_new(&mut self, path: &Path, notice: &EventKind) -> bool {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        match notice {
            EventKind::TrackSkipped { track, reason } => (0, track, reason).hash(&mut hasher),
            EventKind::SourceFault { error } => (1, error.to_string()).hash(&mut hasher),
            EventKind::ClockJumped { millis } => (2, millis).hash(&mut hasher),
            _ => return true,
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_a_file_and_nothing_else_is_held_back() {
        let skipped = |track| EventKind::TrackSkipped { track, reason: "cover art".to_owned() };
        let mut told = Told::default();
        let mut tell = |path: &str, kinds: Vec<EventKind>| {
            let mut notices = vec![skipped(1)];
            notices.extend(kinds);
            told.filter(Path::new(path), 1, &mut notices);
            notices.len() - 1
        };
        assert_eq!(tell("a", vec![skipped(1), skipped(2), skipped(1)]), 2);
        assert_eq!(tell("a", vec![skipped(1), EventKind::Looped { laps: 1 }, skipped(3)]), 2);
        assert_eq!(tell("b", vec![skipped(1), EventKind::ClockJumped { millis: 5 }]), 2);
        assert_eq!(tell("b", vec![EventKind::ClockJumped { millis: 5 }]), 0);
        assert_eq!(tell("b", vec![EventKind::Looped { laps: 2 }, EventKind::Looped { laps: 2 }]), 2);
    }
}
