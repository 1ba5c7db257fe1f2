//! A directory whose files are published as they come.
//!
//! In: a directory, looked at a few times a second. Out: its files as fragments, in the order of their names, each once it is not written
//! to any more. On a thread of its own, which also removes what was published, if that is wanted.

use std::cmp::Ordering as Order;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::media::Fragment;
use super::queue::{Claim, Feed, Shared};
use super::{FragmentOptions, Pushed};
use crate::error::{Error, chain};
use crate::sys::Worker;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// After a look it rests so many times as long as that took, but no longer than this.
const REST: u32 = 9;
const LONGEST_REST: Duration = Duration::from_secs(5);
/// Bounds of [`FragmentDirectory::settle`].
const LONGEST: Duration = Duration::from_secs(3600);
/// Names of files that are being written.
const UNFINISHED: [&str; 5] = ["part", "partial", "tmp", "temp", "crdownload"];
const STACK: usize = 128 << 10;

/// A directory that is watched: what is put there is published, in the order of the names (`batch-9.mp4` before `batch-10.mp4`). See
/// [`Source::fragments_in`](crate::Source::fragments_in).
///
/// A file counts once it has kept its size and its time for [`settle`](Self::settle); moved there from the same file system, it is whole at
/// once. Hidden files, and those that end in `.part`, `.partial`, `.tmp`, `.temp` and `.crdownload`, are left alone. Links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct FragmentDirectory {
    pub(crate) path: PathBuf,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "crate::written::is_default"))]
    pub(crate) options: FragmentOptions,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "crate::written::is_default"))]
    remove: bool,
    #[cfg_attr(
        feature = "serde",
        serde(default = "settle", skip_serializing_if = "is_settle", with = "crate::written::span")
    )]
    settle: Duration,
    /// That of [`Source::once`](crate::Source::once), which is where it is written.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) once: bool,
    /// What watches it for a stream.
    #[cfg_attr(feature = "serde", serde(skip))]
    slot: Slot,
}

/// What watches a directory, for all copies of the source of one stream: opened again, it goes on.
#[derive(Debug, Clone, Default)]
struct Slot(Arc<Mutex<Weak<Watched>>>);

/// It is no setting.
impl PartialEq for Slot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Slot {}

const fn settle() -> Duration {
    Duration::from_millis(500)
}

#[cfg(feature = "serde")]
fn is_settle(time: &Duration) -> bool {
    *time == settle()
}

impl<P: Into<PathBuf>> From<P> for FragmentDirectory {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

impl FragmentDirectory {
    /// The files of this directory, those that are there and those that come.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let options = FragmentOptions::default();
        let slot = Slot::default();
        Self { path: path.into(), options, remove: false, settle: settle(), once: false, slot }
    }

    /// How they are held and handed on. Default: the default options.
    pub fn options(mut self, options: FragmentOptions) -> Self {
        self.options = options;
        self
    }

    /// Removes each file once it was played to its end, so that a program that is killed goes on with the one that was on the air. What
    /// cannot be played stays there. Default: files are kept, and a stream that is started again begins with the first.
    pub fn removing(mut self) -> Self {
        self.remove = true;
        self
    }

    /// For how long a file keeps its size and time until it counts as complete; at most an hour. Default 500 ms.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// All that cannot work.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        if self.settle > LONGEST {
            let reason = "must be at most an hour".to_owned();
            found.push(Error::Config { name: "settle", reason });
        }
        found
    }

    /// Another stream begins with it.
    pub(super) fn begin(&mut self) {
        self.slot = Slot::default();
    }

    /// While this is held, it is watched on, and opened again it goes on behind what was played; `None` before it is opened.
    pub(super) fn claim(&self) -> Option<Claim> {
        let watched = self.slot.0.lock().upgrade()?;
        Some(watched.shared.claim().with(watched.clone()))
    }

    /// Begins to watch it, or goes on with what does.
    ///
    /// # Errors
    ///
    /// [`Error::FragmentUnreadable`]: it is no directory, or cannot be read.
    pub(crate) fn open(&self) -> Result<Feed, Error> {
        fs::read_dir(&self.path).map_err(|source| Error::FragmentUnreadable {
            fragment: self.path.display().to_string(),
            source: Arc::new(source),
        })?;
        let mut slot = self.slot.0.lock();
        if let Some(watched) = slot.upgrade() {
            let feed = watched.shared.attach()?;
            return Ok(feed.with(watched));
        }
        let shared = Arc::new(Shared::new(self.options.clone()));
        let feed = shared.attach()?;
        let common = Arc::new(Common { removes: self.remove, ..Common::default() });
        let mut watcher = Watcher {
            rules: self.clone(),
            shared: shared.clone(),
            common: common.clone(),
            seen: HashMap::new(),
            is_told: false,
        };
        let thread = Worker::start("a watcher of a directory", "fc-fragments".to_owned(), STACK, move || {
            watcher.run();
        })
        .map_err(|source| Error::System {
            what: "no thread to watch the directory",
            source: source.into(),
        })?;
        let watched = Arc::new(Watched { shared, common, _thread: thread });
        *slot = Arc::downgrade(&watched);
        Ok(feed.with(watched))
    }
}

/// What the stream's thread and the watcher have in common.
#[derive(Debug, Default)]
struct Common {
    over: AtomicBool,
    removes: bool,
    /// What was played to its end since the watcher looked last, and before that.
    published: Mutex<[Vec<PathBuf>; 2]>,
    /// Where those are that are removed once they are published, by their numbers. Names need not be text.
    paths: Mutex<HashMap<u64, PathBuf>>,
}

impl Common {
    fn note_published(&self, number: u64) {
        if let Some(path) = self.paths.lock().remove(&number) {
            self.published.lock()[0].push(path);
        }
    }

    /// Removes what was published by the last time, so that outputs have had time to send it; or all of it, once they have.
    fn remove(&self, all: bool) {
        let due = {
            let [fresh, sent] = &mut *self.published.lock();
            let mut due = std::mem::replace(sent, std::mem::take(fresh));
            if all {
                due.append(sent);
            }
            due
        };
        for path in due {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                log::warn!("{}: cannot be removed: {error}", path.display());
            }
        }
    }
}

/// A directory that is being watched. Dropped, it is not any more.
#[derive(Debug)]
pub(crate) struct Watched {
    shared: Arc<Shared>,
    common: Arc<Common>,
    _thread: Worker,
}

impl Watched {
    /// The fragment of this number was played to its end.
    pub(super) fn published(&self, number: u64) {
        self.common.note_published(number);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.common.over.store(true, Ordering::Release);
        // A program that ends with its stream leaves none there that would be played again.
        self.common.remove(true);
    }
}

/// A file, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: Option<SystemTime>,
    since: Instant,
    pushed: bool,
}

struct Watcher {
    rules: FragmentDirectory,
    shared: Arc<Shared>,
    common: Arc<Common>,
    seen: HashMap<PathBuf, Seen>,
    /// It was told that the directory cannot be read.
    is_told: bool,
}

impl Watcher {
    fn run(&mut self) {
        loop {
            let is_over = self.common.over.load(Ordering::Acquire);
            if is_over {
                return;
            }
            self.common.remove(false);
            let begun = Instant::now();
            match self.look() {
                Ok(is_all) => {
                    self.is_told = false;
                    if is_all && self.rules.once {
                        self.shared.finish();
                    }
                }
                Err(error) if !std::mem::replace(&mut self.is_told, true) => {
                    log::warn!("{}: {}", self.rules.path.display(), chain(&error));
                }
                Err(_) => {}
            }
            // However many files there are, it is mostly at rest.
            std::thread::sleep(LOOK.max(REST * begun.elapsed()).min(LONGEST_REST));
        }
    }

    /// Pushes what is complete and was not pushed, as far as there is room; whether that was all there is.
    fn look(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        let mut files = files(&self.rules.path)?;
        let known: HashSet<&Path> = files.iter().map(|(path, ..)| path.as_path()).collect();
        self.seen.retain(|path, _| known.contains(path.as_path()));
        // Those that were pushed, and are as they were, are done with.
        files.retain(|(path, size, modified)| {
            let is_same = |seen: &Seen| (seen.size, seen.modified) == (*size, *modified);
            !self.seen.get(path).is_some_and(|seen| seen.pushed && is_same(seen))
        });
        files.sort_by(|one, other| by_name(&one.0, &other.0));
        for (path, size, modified) in files {
            let fresh = Seen { size, modified, since: now, pushed: false };
            let seen = self.seen.entry(path.clone()).or_insert_with(|| Seen {
                // What has not changed for long is complete when it is seen first.
                since: now.checked_sub(age(modified).min(self.rules.settle)).unwrap_or(now),
                ..fresh.clone()
            });
            if (seen.size, seen.modified) != (size, modified) {
                *seen = fresh;
            }
            // Those behind it wait for their turn.
            if now.saturating_duration_since(seen.since) < self.rules.settle {
                return Ok(false);
            }
            match self.shared.try_push(Fragment::path(&path)) {
                Ok(Ok(pushed)) => {
                    seen.pushed = true;
                    if let (Pushed::Queued { number }, true) = (pushed, self.common.removes) {
                        self.common.paths.lock().insert(number, path);
                    }
                }
                Ok(Err(_)) | Err(Error::Ended) => return Ok(false),
                Err(error) => {
                    seen.pushed = true;
                    self.shared.refuse(path.display().to_string(), error);
                }
            }
        }
        Ok(true)
    }
}

/// For how long a file has not changed, by its time.
fn age(modified: Option<SystemTime>) -> Duration {
    modified.and_then(|time| time.elapsed().ok()).unwrap_or_default()
}

/// The files of a directory that can be fragments, their sizes and times.
fn files(path: &Path) -> io::Result<Vec<(PathBuf, u64, Option<SystemTime>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_unfinished = path.extension().is_some_and(|extension| {
            UNFINISHED.iter().any(|unfinished| extension.eq_ignore_ascii_case(unfinished))
        });
        if is_hidden || is_unfinished {
            continue;
        }
        // It may be gone by now.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            found.push((path, metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(found)
}

/// Names in order, numbers in them by their values.
fn by_name(one: &Path, other: &Path) -> Order {
    let (names, mut at) = ([one, other].map(name), [0, 0]);
    loop {
        let rest = [0, 1].map(|side| names[side].get(at[side]..).unwrap_or_default());
        let digits = rest.map(|rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        if digits.iter().all(|digits| *digits > 0) {
            let number = [0, 1].map(|side| {
                let digits = rest[side].get(..digits[side]).unwrap_or_default();
                let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
                digits.get(zeros..).unwrap_or_default()
            });
            match number[0].len().cmp(&number[1].len()).then_with(|| number[0].cmp(number[1])) {
                Order::Equal => at = [at[0] + digits[0], at[1] + digits[1]],
                order => return order,
            }
            continue;
        }
        match rest[0].first().cmp(&rest[1].first()) {
            // All the same but for zeros before numbers.
            Order::Equal if rest[0].is_empty() => return names[0].cmp(names[1]),
            Order::Equal => at = [at[0] + 1, at[1] + 1],
            order => return order,
        }
    }
}

fn name(path: &Path) -> &[u8] {
    path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(rules: FragmentDirectory) -> Watcher {
        let shared = Arc::new(Shared::new(rules.options.clone()));
        let common = Arc::new(Common { removes: rules.remove, ..Common::default() });
        Watcher { rules, shared, common, seen: HashMap::new(), is_told: false }
    }

    #[test]
    fn a_look_takes_about_as_long_as_finding_the_files() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for number in 0..8000 {
            fs::write(folder.path().join(format!("{number}.mp4")), "").expect("it can be written");
        }
        let mut watcher = watcher(FragmentDirectory::new(folder.path()));
        // Of a processor: what the machine does for others is not counted.
        let used = crate::sys::thread_cpu_time;
        let (begun, since) = (used(), Instant::now());
        for (path, size, modified) in files(folder.path()).expect("it can be read") {
            watcher.seen.insert(path, Seen { size, modified, since, pushed: true });
        }
        let found = used() - begun;
        // Hundreds of times as long, where each is compared with each.
        let looked = [(); 3].map(|()| {
            let begun = used();
            assert!(watcher.look().expect("it can be read"));
            used() - begun
        });
        let best = looked.iter().min().expect("three");
        assert!(*best < 20 * found, "{looked:?} to look, {found:?} to find the files");
        assert_eq!(watcher.seen.len(), 8000);
    }

    /// The next one that is held.
    fn next(feed: &Feed) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(held) = feed.next() {
                feed.begun();
                return held.name.rsplit('/').next().unwrap_or_default().to_owned();
            }
            assert!(Instant::now() < deadline, "nothing is found");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_stream_that_opens_it_again_goes_on_and_another_one_begins_with_the_first() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str| {
            fs::write(folder.path().join(name), b"FLV\x01\x05\0\0\0\x09").expect("it can be written");
        };
        (1..=5).for_each(|number| write(&format!("{number}.flv")));
        let directory = FragmentDirectory::new(folder.path()).settle(Duration::ZERO);
        let feed = directory.open().expect("it can be read");
        let claim = directory.claim().expect("it is open");
        assert_eq!([next(&feed), next(&feed)], ["1.flv", "2.flv"]);
        drop(feed);
        write("6.flv");
        // What was held is not lost, and nothing comes twice.
        let feed = directory.clone().open().expect("it can be read");
        assert!(matches!(directory.open(), Err(Error::Config { .. })), "one at a time");
        for number in 3..=6 {
            assert_eq!(next(&feed), format!("{number}.flv"));
        }
        let mut other = directory.clone();
        other.begin();
        let first = other.open().expect("it can be read");
        assert_eq!(next(&first), "1.flv", "another stream has nothing to do with it");
        drop((feed, claim));
        assert_eq!(next(&directory.open().expect("it can be read")), "1.flv", "that stream is over");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_whose_name_is_no_text_is_removed_once_it_was_published() {
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.flv"));
        fs::write(&path, b"FLV\x01\x05\0\0\0\x09").expect("it can be written");
        let rules = FragmentDirectory::new(folder.path()).removing().settle(Duration::ZERO);
        let mut watcher = watcher(rules);
        assert!(watcher.look().expect("it can be read"));
        let feed = watcher.shared.attach().expect("nobody has it");
        let held = feed.next().expect("it was pushed");
        watcher.common.remove(true);
        assert!(path.exists(), "it was not published yet");
        watcher.common.note_published(held.number);
        watcher.common.remove(true);
        assert!(!path.exists());
    }

    #[test]
    fn files_come_in_the_order_of_the_numbers_in_their_names() {
        let mut names =
            ["b-10.mp4", "b-9.mp4", "a-100.mp4", "b-09.mp4", "b-10a.mp4", "b.mp4", "b-1.mp4"].map(Path::new);
        names.sort_by(|one, other| by_name(one, other));
        let expected = ["a-100.mp4", "b-1.mp4", "b-09.mp4", "b-9.mp4", "b-10.mp4", "b-10a.mp4", "b.mp4"];
        assert_eq!(names, expected.map(Path::new));
    }

    #[test]
    fn what_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for name in ["a.mp4", ".b.mp4", "c.mp4.part", "d.TMP"] {
            fs::write(folder.path().join(name), "media").expect("it can be written");
        }
        fs::create_dir(folder.path().join("e.mp4")).expect("it can be made");
        let found = files(folder.path()).expect("it can be read");
        assert_eq!(found.len(), 1);
        assert!(found[0].0.ends_with("a.mp4"));
    }
}
