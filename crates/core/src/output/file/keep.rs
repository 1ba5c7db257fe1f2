//! Which files of a recording are removed, so that those that stay are within its bounds.
//!
//! In: the directory, and which names are its own. Out: the oldest of them gone. Only whole files: not what is written now, nor what a stream plays, nor links. On the
//! writer's thread.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::names::Names;
use super::segments::Segments;
use crate::files::{is_free, is_written};
use crate::recorded::Complete;
use crate::sys::FileId;

/// A file that may go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    /// When it was last written to: when it was complete.
    at: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Removes what is beyond the bounds of `segments`; the paths that went.
///
/// # Blocking
///
/// On the file system.
pub(super) fn remove_old(segments: &Segments, names: &Names, now: SystemTime) -> Vec<PathBuf> {
    if segments.keep_for.is_none() && segments.keep_files.is_none() && segments.keep_bytes.is_none() {
        return Vec::new();
    }
    let mut there = complete(names);
    there.sort();
    let going = beyond(segments, &there, now);
    let mut gone = Vec::new();
    // Only of those that are to go is it asked whether somebody plays them: that takes a look at all lists.
    for kept in there.into_iter().take(going).filter(is_unused) {
        match fs::remove_file(&kept.path) {
            Ok(()) => {
                log::info!("{}: removed, it is older than what is kept", kept.path.display());
                gone.push(kept.path);
            }
            Err(error) => log::warn!("{}: cannot be removed: {error}", kept.path.display()),
        }
    }
    gone
}

/// The number behind the highest of its files.
///
/// # Blocking
///
/// On the file system.
pub(super) fn next_number(names: &Names) -> u64 {
    let entries = fs::read_dir(names.directory()).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| names.number_of(entry.file_name().to_str()?));
    numbers.max().map_or(0, |number| number + 1)
}

/// Its complete files, for those who count what all recordings take.
pub(super) fn there(names: &Names) -> Vec<Complete> {
    let there = complete(names).into_iter().filter(is_unused);
    there.map(|Kept { at, path, bytes }| Complete { at, path, bytes, may_go: true }).collect()
}

/// Whether nothing plays it, and no other process writes it.
fn is_unused(kept: &Kept) -> bool {
    fs::symlink_metadata(&kept.path).is_ok_and(|facts| is_free(&kept.path, &facts))
}

/// Its files that are not being written.
fn complete(names: &Names) -> Vec<Kept> {
    let entries = fs::read_dir(names.directory()).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| names.is_one(name)));
    let kept = own.filter_map(|entry| {
        let facts = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let path = entry.path();
        (!is_written(FileId::of(&facts))).then(|| Kept {
            at: facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path,
            bytes: facts.len(),
        })
    });
    kept.collect()
}

/// How many of the oldest have to go.
fn beyond(segments: &Segments, oldest_first: &[Kept], now: SystemTime) -> usize {
    let count = oldest_first.len();
    let by_count = segments.keep_files.map_or(0, |most| count.saturating_sub(most as usize));
    let by_age = segments.keep_for.map_or(0, |age| {
        let is_old = |kept: &&Kept| now.duration_since(kept.at).is_ok_and(|since| since > age);
        oldest_first.iter().take_while(is_old).count()
    });
    let by_bytes = segments.keep_bytes.map_or(0, |most| {
        let mut left: u64 = oldest_first.iter().map(|kept| kept.bytes).sum();
        let is_over = |kept: &&Kept| {
            let over = left > most;
            left = left.saturating_sub(kept.bytes);
            over
        };
        oldest_first.iter().take_while(is_over).count()
    });
    by_count.max(by_age).max(by_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::super::segments::Zone;
    use super::*;

    /// Files of 1000 bytes, an hour apart, the last one complete now; and others.
    fn directory(count: u64) -> (tempfile::TempDir, Names, SystemTime) {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let names = Names::new(&directory.path().join("show.ts"), "", Zone::Utc).unwrap();
        for number in 0..count {
            let path = names.name(number, now);
            fs::write(&path, [0; 1000]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_secs(3600 * (count - 1 - number))).unwrap();
        }
        for other in ["show.ts", "other-000001.ts", "show-000001.mp4"] {
            fs::write(directory.path().join(other), [0; 1000]).unwrap();
        }
        (directory, names, now)
    }

    #[test]
    fn the_oldest_go_and_nothing_else_does() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        let segments = || Segments::every(hours(1));
        for (segments, gone) in [
            (segments(), 0),
            (segments().keep_files(4), 6),
            (segments().keep_files(100), 0),
            (segments().keep_bytes(2500), 8),
            (segments().keep_for(hours(3) + Duration::from_secs(60)), 6),
            (segments().keep_files(9).keep_bytes(7000).keep_for(hours(100)), 3),
        ] {
            let (directory, names, now) = directory(10);
            let removed = remove_old(&segments, &names, now);
            let expected: Vec<_> = (0..gone).map(|number| names.name(number, now)).collect();
            assert_eq!(removed, expected, "{segments:?}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 13 - removed.len());
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let (directory, names, now) = directory(1);
        let target = directory.path().join("show.ts");
        std::os::unix::fs::symlink(&target, names.name(5, now)).unwrap();
        assert_eq!(remove_old(&Segments::every(Duration::from_secs(1)).keep_bytes(0), &names, now).len(), 1);
        assert!(target.exists() && fs::symlink_metadata(names.name(5, now)).is_ok());
    }
}
