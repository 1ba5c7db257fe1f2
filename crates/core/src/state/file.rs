//! A file that holds a snapshot, and the one before it (feature `state`).
//!
//! In: snapshots. Out: the last one that is whole. A snapshot is written beside the file, brought to the disk, and takes its name; the one that
//! had the name before is kept as the last good one. A lock keeps other processes out. The first line of the file has a checksum of the rest,
//! which is JSON.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Snapshot;
use crate::error::Error;
use crate::sys::LockedFile;

/// How the first line begins; the number is the version of the format.
const MAGIC: &str = "flowcast-state 1 crc32 ";
/// The largest file that is read, in bytes: some hundred thousand streams.
const LARGEST: u64 = 256 << 20;
/// Keys may be in it.
const OWNER_ONLY: u32 = 0o600;

/// A file that keeps what runs: for [`Engine::keep_state`](crate::Engine::keep_state) and
/// [`Engine::restore_state`](crate::Engine::restore_state).
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod state { pub use flowcast_core::*; } }
/// use flowcast::state::{RestoreOptions, StateFile};
/// use flowcast::{Config, Engine, Output, Source};
///
/// let engine = Engine::new(Config::default())?;
/// let file = StateFile::open("/var/lib/channels/state")?.with_keys();
/// // What ran when the process ended, however it ended, runs again; and what runs from now on is kept.
/// let (keeper, restored) = engine.restore_state(file, &RestoreOptions::default())?;
/// if restored.started.is_empty() {
///     engine.stream(Source::file("show.mp4").looped()).to(Output::rtmp("rtmp://host/app", "a-key")).start()?.detach();
/// }
/// # drop(keeper);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a state file does nothing until an engine keeps it"]
pub struct StateFile {
    path: PathBuf,
    /// Held as long as this is.
    _lock: LockedFile,
    snapshot: Option<Snapshot>,
    damage: Option<Error>,
    keys: bool,
    /// What has the file's name is whole.
    is_good: bool,
    orphans: u64,
    pub(crate) write_every: Duration,
    pub(crate) place_every: Duration,
}

/// `path` with `end` behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(end);
    name.into()
}

impl StateFile {
    /// Opens a file, or says that there will be one: it is made when a snapshot is first written. Beside it are `.lock`, `.last` (the
    /// snapshot before the last one), for a moment `.part`, and `.damaged` for one that could not be read.
    ///
    /// A file that is damaged is put aside, and the last good one is used in its place; [`damage`](Self::damage) says what was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::StateInUse`] if another process, or another engine of this one, keeps it; [`Error::StateDamaged`] if it is damaged and
    /// there is no good one before it: it stays as it is then. [`Error::StateFailed`] if it cannot be read or locked.
    ///
    /// # Blocking
    ///
    /// On the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |what| failed(&path, what);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(beside(&path, ".lock"))
            .map_err(failed("its lock cannot be opened"))?;
        let lock = LockedFile::take(lock).map_err(failed("it cannot be locked"))?;
        let Some(lock) = lock else { return Err(Error::StateInUse { path }) };
        let orphans = match fs::remove_file(beside(&path, ".part")) {
            Ok(()) => 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(failed("what a crash left cannot be removed")(error)),
        };
        let (read, last) = (read(&path)?, beside(&path, ".last"));
        let is_good = matches!(read, Found::Good(_));
        let (snapshot, damage) = match read {
            Found::Good(snapshot) => (Some(snapshot), None),
            // A process that was killed between the two steps of a write leaves only the one before.
            Found::None => match self::read(&last)? {
                Found::Good(snapshot) => (Some(snapshot), None),
                Found::Damaged(reason) => return Err(Error::StateDamaged { path: last, reason }),
                Found::None => (None, None),
            },
            Found::Damaged(reason) => {
                let damaged = Error::StateDamaged { path: path.clone(), reason };
                let Found::Good(snapshot) = self::read(&last)? else { return Err(damaged) };
                log::error!("{damaged}; the last good one is used");
                fs::rename(&path, beside(&path, ".damaged")).map_err(failed("it cannot be put aside"))?;
                (Some(snapshot), Some(damaged))
            }
        };
        Ok(Self {
            path,
            _lock: lock,
            snapshot,
            damage,
            keys: false,
            is_good,
            orphans,
            write_every: Duration::from_secs(1),
            place_every: Duration::from_secs(5),
        })
    }

    /// Also keeps the keys of pushes, and users and passwords of addresses, in clear text; the file is readable by its owner only (mode
    /// 0600), with or without them. By default keys are kept as `****`, and streams that push are refused when they are restored. A
    /// program that has its keys elsewhere starts those streams itself.
    pub fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// How soon the file is written again after it was written: a change is on the disk at the latest after this. Default 1 s; zero for at
    /// once. Each write brings two files to the disk.
    pub fn write_every(mut self, at_least: Duration) -> Self {
        self.write_every = at_least;
        self
    }

    /// How often places in files and lists, edits of lists, and schedules are written, if nothing else changes. Default 5 s; a process that is
    /// killed goes on from up to this much before.
    pub fn place_every(mut self, at_most: Duration) -> Self {
        self.place_every = at_most;
        self
    }

    /// What was in the file when it was opened; `None` if there was none.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Why what has the file's name was not used, but the one before it; `None` if all is well.
    #[must_use]
    pub fn damage(&self) -> Option<&Error> {
        self.damage.as_ref()
    }

    /// Files of a process that died while it wrote, which were removed when this was opened.
    #[must_use]
    pub fn orphans_removed(&self) -> u64 {
        self.orphans
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.snapshot.take()
    }

    /// Writes a snapshot, on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::StateFailed`]; what was there before stays.
    ///
    /// # Blocking
    ///
    /// On the disk.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let part = beside(&self.path, ".part");
        let written = self.write_to(&part, snapshot);
        if written.is_err() {
            // The next one would overwrite it; a disk that is full has more use for its room.
            let _ = fs::remove_file(&part);
        }
        written
    }

    fn write_to(&mut self, part: &Path, snapshot: &Snapshot) -> Result<(), Error> {
        let failed = |what| failed(&self.path, what);
        let json = match self.keys {
            true => serde_json::to_vec_pretty(&snapshot.with_keys()),
            false => serde_json::to_vec_pretty(snapshot),
        };
        let json = json.map_err(|error| failed("it cannot be put in words")(error.into()))?;
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(part);
        let mut file = open.map_err(failed("a file beside it cannot be made"))?;
        let line = format!("{MAGIC}{:08x}\n", crc32fast::hash(&json));
        let all = file.write_all(line.as_bytes()).and_then(|()| file.write_all(&json));
        all.and_then(|()| file.sync_all()).map_err(failed("it cannot be written"))?;
        if self.is_good {
            let last = beside(&self.path, ".last");
            // From a link to a link: at every moment one of the two names leads to a whole snapshot.
            match fs::remove_file(&last) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("the one before the last cannot be removed")(error));
                }
                _ => {}
            }
            let kept = fs::hard_link(&self.path, &last).or_else(|_| fs::copy(&self.path, &last).map(drop));
            kept.map_err(failed("the last one cannot be kept"))?;
        }
        fs::rename(part, &self.path).map_err(failed("it cannot take its name"))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("its folder cannot be synchronised"))?;
        self.is_good = true;
        Ok(())
    }
}

fn failed<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::StateFailed { path: path.to_owned(), what, source: source.into() }
}

/// What there is under a name.
enum Found {
    None,
    Good(Snapshot),
    Damaged(String),
}

fn read(path: &Path) -> Result<Found, Error> {
    let failed = failed(path, "it cannot be read");
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::None),
        opened => opened.map_err(&failed)?,
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(&failed)?;
    Ok(match parse(&bytes) {
        Ok(snapshot) => Found::Good(snapshot),
        Err(reason) => Found::Damaged(reason),
    })
}

fn parse(bytes: &[u8]) -> Result<Snapshot, String> {
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, json) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| "its first line is no text")?;
    let sum = line.strip_prefix(MAGIC).ok_or_else(|| match line.starts_with("flowcast-state ") {
        true => format!("it is of another version: {line:?}"),
        false => "it is no state of flowcast".to_owned(),
    })?;
    let sum = u32::from_str_radix(sum, 16).map_err(|_| "its checksum is no number")?;
    if sum != crc32fast::hash(json) {
        return Err("its checksum is another: it was cut off or changed".to_owned());
    }
    // The message of the format might quote a key.
    serde_json::from_slice(json).map_err(|error| {
        format!("it cannot be understood: line {} column {}", error.line() + 1, error.column())
    })
}
