//! What all recordings of an engine take of the disk together.
//!
//! In: how much each recording has written, and its files as they are complete. Out: whether there is room for more; where there is not, the oldest parts of
//! recordings that are cut are removed, whichever stream they are of. On the threads that write recordings: it looks at the file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::files::is_free;

/// The recordings of an engine. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recordings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Bytes that they may take; 0 for any number.
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Bytes of the files that are being written, by recording.
    growing: BTreeMap<u64, u64>,
    complete: Vec<Complete>,
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complete {
    /// Since when; the oldest come first.
    pub(crate) at: SystemTime,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// It is a part of a recording that is cut: it goes when there is no room.
    pub(crate) may_go: bool,
}

impl Recordings {
    /// Those of an engine, with this many bytes for all of them; 0 for any number.
    pub(crate) fn new(most: u64) -> Self {
        Self(Arc::new(Inner { most, state: Mutex::default() }))
    }

    /// A recording begins; `None` if nobody counts.
    pub(crate) fn begin(&self) -> Option<Seat> {
        if self.0.most == 0 {
            return None;
        }
        let mut state = self.0.state.lock();
        state.next += 1;
        let number = state.next;
        state.growing.insert(number, 0);
        Some(Seat { recordings: self.clone(), number })
    }
}

impl State {
    fn sum(&self) -> u64 {
        self.growing.values().sum::<u64>() + self.complete.iter().map(|file| file.bytes).sum::<u64>()
    }
}

/// One recording among those of its engine.
#[derive(Debug)]
pub(crate) struct Seat {
    recordings: Recordings,
    number: u64,
}

impl Seat {
    /// Bytes that all may take.
    pub(crate) fn most(&self) -> u64 {
        self.recordings.0.most
    }

    /// These files are complete, that which was written among them. One that is known counts once.
    pub(crate) fn complete(&self, files: Vec<Complete>) {
        let mut state = self.recordings.0.state.lock();
        state.growing.insert(self.number, 0);
        for file in files {
            state.complete.retain(|known| known.path != file.path);
            state.complete.push(file);
        }
        state.complete.sort();
    }

    /// The file that is being written has this many bytes: whether all recordings are within their bounds, once the oldest parts are removed that have to be.
    ///
    /// # Blocking
    ///
    /// On the file system, where something is to be removed.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let most = self.most();
        let mut state = self.recordings.0.state.lock();
        state.growing.insert(self.number, bytes);
        if state.sum() <= most {
            return true;
        }
        // Others may have removed some, or added to them.
        state.complete.retain_mut(|file| {
            let facts = fs::metadata(&file.path);
            facts.map(|facts| file.bytes = facts.len()).is_ok()
        });
        let mut place = 0;
        while state.sum() > most {
            let Some(file) = state.complete.get(place) else { return false };
            let may_go =
                file.may_go && fs::metadata(&file.path).is_ok_and(|facts| is_free(&file.path, &facts));
            if may_go && fs::remove_file(&file.path).is_ok() {
                log::info!("{}: removed, all recordings together have {most} bytes", file.path.display());
                state.complete.remove(place);
            } else {
                place += 1;
            }
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.recordings.0.state.lock().growing.remove(&self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_part_that_is_complete_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(10_000);
        let (one, other) = (recordings.begin().unwrap(), recordings.begin().unwrap());
        let file = |name: &str, bytes: usize| {
            let path = directory.path().join(name);
            fs::write(&path, vec![0; bytes]).unwrap();
            Complete { at: SystemTime::now(), path, bytes: bytes as u64, may_go: true }
        };
        one.complete(vec![file("old", 2000)]);
        assert!(one.has_room(5000));
        one.complete(vec![file("new", 5000)]);
        assert!(other.has_room(3000), "all have 10000 bytes");
        assert!(directory.path().join("old").exists(), "it was removed for bytes that are not there");
    }

    #[test]
    fn the_oldest_parts_of_all_recordings_go_and_whole_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(10_000);
        let (one, other) = (recordings.begin().unwrap(), recordings.begin().unwrap());
        let now = SystemTime::now();
        let file = |name: &str, age: u64, may_go: bool| {
            let path = directory.path().join(name);
            fs::write(&path, [0; 2000]).unwrap();
            Complete { at: now - Duration::from_secs(age), path, bytes: 2000, may_go }
        };
        one.complete(vec![file("whole", 90, false), file("old", 80, true), file("new", 10, true)]);
        other.complete(vec![file("middle", 50, true), file("deleted", 40, true)]);
        let there = || {
            let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        };
        assert!(one.has_room(0));
        fs::remove_file(directory.path().join("deleted")).unwrap();
        assert!(other.has_room(2000), "one was removed by somebody else");
        assert_eq!(there(), "middle new old whole");
        assert!(one.has_room(1000));
        assert_eq!(there(), "middle new whole", "the oldest part goes, of whichever recording");
        assert!(one.has_room(6000));
        assert_eq!(there(), "whole");
        assert!(!one.has_room(6001), "what is not cut stays");
        drop(other);
        assert!(one.has_room(8000), "a recording that is over writes no more");
        assert_eq!(there(), "whole");
        assert!(Recordings::new(0).begin().is_none());
    }
}
