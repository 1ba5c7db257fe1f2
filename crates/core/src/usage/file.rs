//! A file of usage records, one JSON object in each line (feature `state`).
//!
//! In: records. Out: lines at the end of the file. Lines are only added, and a record is written once: after a write that failed the file is
//! set back to where it was whole, and the same lines are written later. What a process that was killed left unfinished is cut off when the
//! file is opened again. A lock keeps other processes out. On the thread that hands records over.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::UsageRecord;
use super::sink::UsageSinkStatus;
use crate::error::{Error, chain};
use crate::sys::LockedFile;

/// How each line begins.
const BEGIN: &[u8] = b"{\"id\":\"";
/// The longest end of a file without a line break that is taken for an unfinished record, in bytes.
const LONGEST: u64 = 1 << 20;
/// Lines that are written at once.
const AT_ONCE: usize = 1000;

/// An append-only file of usage records for [`Usage::to_file`](super::Usage::to_file): JSON Lines, one record in each.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; }
/// use flowcast::usage::UsageFile;
/// use flowcast::{Config, Engine};
///
/// let engine = Engine::new(Config::default())?;
/// let file = UsageFile::open("/var/lib/channels/usage.jsonl")?;
/// if file.torn_bytes() > 0 {
///     println!("the last record was not finished: {} bytes were cut off", file.torn_bytes());
/// }
/// let sink = engine.usage().to_file(file)?;
/// println!("{} records are written", sink.status().delivered);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a file gets records only once it is given to an engine"]
pub struct UsageFile {
    path: PathBuf,
    file: LockedFile,
    torn: u64,
    synced: bool,
}

impl UsageFile {
    /// Opens a file, or makes it. Records are added to what is in it. A last line that is not finished, because the process was killed or
    /// the disk was full, is cut off, logged, and told by [`torn_bytes`](Self::torn_bytes).
    ///
    /// # Errors
    ///
    /// [`Error::UsageFileInUse`] if another process, or another engine of this one, writes to it; [`Error::UsageFileFailed`] if it cannot be
    /// opened, or is no file of usage records: it is left as it is.
    ///
    /// # Blocking
    ///
    /// On the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |what| failed(&path, what);
        let open = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = open.map_err(failed("it cannot be opened"))?;
        let file = LockedFile::take(file).map_err(failed("it cannot be locked"))?;
        let Some(file) = file else { return Err(Error::UsageFileInUse { path }) };
        let length = file.metadata().map_err(failed("it cannot be read"))?.len();
        let whole = whole(&file, length).map_err(failed("it cannot be read"))?;
        if whole < length {
            file.set_len(whole).map_err(failed("its unfinished end cannot be cut off"))?;
            let torn = length - whole;
            log::warn!("{}: the last record was not finished, {torn} bytes were cut off", path.display());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = file.sync_all().and_then(|()| File::open(folder)?.sync_all());
        synced.map_err(failed("it cannot be synchronised"))?;
        Ok(Self { path, file, torn: length - whole, synced: true })
    }

    /// Whether each batch of records is brought to the disk, so that it outlives a power failure. Default `true`. Without it records
    /// outlive the process, however that ends, but not the machine.
    pub fn synced(mut self, synced: bool) -> Self {
        self.synced = synced;
        self
    }

    /// How many bytes of a record that was not finished were cut off when the file was opened; 0 if it was whole.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn writer(self) -> Writer {
        let Self { path, file, synced, .. } = self;
        Writer::new(path, Box::new(OnDisk { file, synced }))
    }
}

fn failed<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::UsageFileFailed { path: path.to_owned(), what, source: source.into() }
}

/// The length of a file without a last line that is not finished.
fn whole(file: &File, length: u64) -> io::Result<u64> {
    let foreign = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let mut first = [0; BEGIN.len()];
    let first = &mut first[..usize::try_from(length).unwrap_or(usize::MAX).min(BEGIN.len())];
    file.read_exact_at(first, 0)?;
    if !BEGIN.starts_with(first) {
        return foreign("it is no file of usage records");
    }
    const BLOCK: u64 = 64 << 10;
    let mut block = [0; BLOCK as usize];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let block = &mut block[..usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(block, start)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        if length - start > LONGEST {
            return foreign("its last line is too long for a usage record");
        }
        end = start;
    }
    Ok(0)
}

/// What lines are written to.
pub(super) trait Target: Send {
    /// How long it is.
    fn length(&self) -> io::Result<u64>;

    /// Adds bytes at the end, on the disk when this returns.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what is beyond `length`.
    fn set_back(&mut self, length: u64) -> io::Result<()>;
}

struct OnDisk {
    file: LockedFile,
    synced: bool,
}

impl Target for OnDisk {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        if self.synced { self.file.sync_data() } else { Ok(()) }
    }

    fn set_back(&mut self, length: u64) -> io::Result<()> {
        // Never longer: somebody may have emptied the file.
        if self.length()? > length { self.file.set_len(length) } else { Ok(()) }
    }
}

/// Writes records, and keeps those that could not be written.
pub(super) struct Writer {
    path: PathBuf,
    target: Box<dyn Target>,
    /// Up to where all lines are whole, if a write failed and something may be beyond that.
    torn_at: Option<u64>,
    waiting: VecDeque<Arc<UsageRecord>>,
    status: UsageSinkStatus,
}

impl Writer {
    pub(super) fn new(path: PathBuf, target: Box<dyn Target>) -> Self {
        let (waiting, status) = (VecDeque::new(), UsageSinkStatus::default());
        Self { path, target, torn_at: None, waiting, status }
    }

    /// Writes records, after those that could not be written before. At most `kept` are kept; those that come then are lost.
    pub(super) fn give(&mut self, records: &[Arc<UsageRecord>], kept: usize) {
        // What is there is written first: only what is left of it takes room.
        let mut wrote = self.write();
        for part in records.chunks(AT_ONCE) {
            let room =
                if wrote { part.len() } else { kept.saturating_sub(self.waiting.len()).min(part.len()) };
            self.waiting.extend(part[..room].iter().cloned());
            self.status.lost += (part.len() - room) as u64;
            wrote = wrote && self.write();
        }
        while self.waiting.len() > kept {
            self.waiting.pop_back();
            self.status.lost += 1;
        }
    }

    pub(super) fn status(&self) -> UsageSinkStatus {
        UsageSinkStatus { waiting: self.waiting.len() as u64, ..self.status.clone() }
    }

    /// Writes all that waits; `false` if it could not.
    fn write(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let result = self.write_some();
            match result {
                Ok(number) => {
                    self.waiting.drain(..number);
                    self.status.delivered += number as u64;
                    self.status.last_error = None;
                }
                Err(error) => {
                    let error = failed(&self.path, "records cannot be written")(error);
                    if self.status.last_error.is_none() {
                        log::error!("{}; they are kept and written later", chain(&error));
                    }
                    self.status.last_error = Some(error);
                    return false;
                }
            }
        }
        true
    }

    fn write_some(&mut self) -> io::Result<usize> {
        if let Some(length) = self.torn_at {
            self.target.set_back(length)?;
            self.torn_at = None;
        }
        // Asked each time: whoever rotates log files may have emptied it.
        let length = self.target.length()?;
        let mut lines = Vec::new();
        let number = self.waiting.len().min(AT_ONCE);
        for record in self.waiting.iter().take(number) {
            serde_json::to_writer(&mut lines, &**record)?;
            lines.push(b'\n');
        }
        if let Err(error) = self.target.add(&lines) {
            self.torn_at = self.target.set_back(length).is_err().then_some(length);
            return Err(error);
        }
        Ok(number)
    }
}
