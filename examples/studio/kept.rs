//! What the page did, over a restart: keys that it issued, and which streams are its own. In: names of the file, keys of the engine.
//! Out: a file beside the state, which only its owner reads; and the token, made once. What the page says is done is in both files before it
//! says so.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowcast::Engine;
use flowcast::keys::{SavedKeys, StreamKey};
use flowcast::state::StateKeeper;
use flowcast_http::Token;
use serde::{Deserialize, Serialize};

use crate::file::File;
use crate::support::Result;

/// As it is written.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    /// The channels and keys of the file, as it was: what ran and is none of these was begun by the page.
    channels: BTreeSet<String>,
    keys: BTreeSet<String>,
    issued: Option<SavedKeys>,
}

pub(crate) struct Kept {
    path: PathBuf,
    written: Written,
}

impl Kept {
    /// What was kept in a directory; nothing, the first time.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let path = directory.join("page.json");
        let written = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Written::default(),
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        };
        Ok(Self { path, written })
    }

    /// Gives an engine that has no keys those that the page issued. The keys of the file come from the file.
    pub(crate) fn give_keys(&self, engine: &Engine, file: &File) -> Result<()> {
        let Some(issued) = &self.written.issued else { return Ok(()) };
        let registry = engine.keys();
        registry.import(issued)?;
        for name in self.written.keys.iter().chain(file.keys.keys()) {
            // One that has expired is there no more.
            let _ = registry.remove(name);
        }
        Ok(())
    }

    /// Whether a stream that ran was begun by the page: no channel of the file has its label, or had.
    pub(crate) fn is_of_page(&self, label: Option<&str>, file: &File) -> bool {
        label.is_none_or(|label| !self.written.channels.contains(label) && !file.channels.contains_key(label))
    }

    /// Writes what has changed.
    fn note(&mut self, engine: &Engine, file: &File) -> std::result::Result<(), String> {
        let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect();
        let now = Written {
            channels: names(&mut file.channels.keys()),
            keys: names(&mut file.keys.keys()),
            issued: Some(engine.keys().export()),
        };
        if now == self.written {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&now).map_err(|error| error.to_string())?;
        write(&self.path, &bytes).map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.written = now;
        Ok(())
    }
}

/// All that is on the disk: what the page did, and the state of the engine.
pub(crate) struct Disk {
    engine: Engine,
    kept: Mutex<(Kept, File)>,
    /// `None` until what was kept has been gone on with.
    keeper: Mutex<Option<StateKeeper>>,
}

impl Disk {
    pub(crate) fn new(engine: Engine, kept: Kept, file: File) -> Self {
        Self { engine, kept: Mutex::new((kept, file)), keeper: Mutex::new(None) }
    }

    /// The file was read again.
    pub(crate) fn follow(&self, file: File) {
        lock(&self.kept).1 = file;
    }

    /// Writes what the page did, if it did something.
    pub(crate) fn note(&self) -> std::result::Result<(), String> {
        let mut kept = lock(&self.kept);
        let (kept, file) = &mut *kept;
        kept.note(&self.engine, file)
    }

    /// Writes all that has changed; it is on the disk when this returns.
    pub(crate) fn save(&self) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.note()?;
        match &*lock(&self.keeper) {
            Some(keeper) => Ok(keeper.sync()?),
            None => Err("what ran before is being started still".into()),
        }
    }

    /// The state is kept from now on.
    pub(crate) fn keep(&self, keeper: StateKeeper) {
        *lock(&self.keeper) = Some(keeper);
    }

    /// Gives the state's file back.
    pub(crate) fn end(&self) {
        *lock(&self.keeper) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The token of a directory, and whether it was made just now.
pub(crate) fn token(directory: &Path) -> Result<(StreamKey, bool)> {
    let path = directory.join("token");
    let wrong = |error| format!("{}: {error}", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => Ok((text.trim().into(), false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = Token::random()?;
            write(&path, format!("{}\n", secret.reveal()).as_bytes()).map_err(wrong)?;
            Ok((secret, true))
        }
        Err(error) => Err(wrong(error).into()),
    }
}

/// Writes a file that only its owner reads: all of it, or none.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
