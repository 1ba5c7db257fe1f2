//! The files of HLS outputs in memory, for an HTTP server of the program.
//!
//! In: files from the writers of outputs. Out: the same, by name, for any number of threads: who reads waits for no disk and no media, only for another one that
//! takes or puts a file at the same moment.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::master::Master;
use super::shelf::{Shelf, none_begun};

/// A file of an HLS output in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HlsFile {
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
    /// What is in it. Playlists change with each segment and must not be cached; all other files never change.
    pub bytes: Bytes,
}

/// HLS outputs in memory: playlists and segments by name, for an HTTP server; see [`Hls::memory`](crate::Hls::memory). A clone is the same
/// store.
///
/// What it holds is bounded by the windows of its outputs: about two windows and two segments of each. What an output had stays until another one takes
/// its place, or the last clone is dropped.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
/// use flowcast::output::{Hls, HlsStore};
/// use flowcast::{Config, Engine, Output, Source};
///
/// let engine = Engine::new(Config::default())?;
/// let store = HlsStore::new();
/// let live = engine.stream(Source::file("show.mp4").looped()).to(Output::hls(Hls::memory(&store))).start()?;
/// // In the server, for a request of `/index.m3u8`:
/// if let Some(file) = store.get("index.m3u8") {
///     println!("{}, {} bytes", file.content_type, file.bytes.len());
/// }
/// # drop(live);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct HlsStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    files: RwLock<HashMap<String, Bytes>>,
    /// The prefixes of outputs that are there.
    taken: Mutex<Vec<String>>,
    master: Arc<Master>,
}

impl HlsStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file of this name: `index.m3u8`, `720p/index.m3u8` of an output with a [name](crate::Hls::name), `master.m3u8` that lists them, and the files that
    /// these name. A slash at the beginning is passed over. `None` if there is none (any more).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<HlsFile> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let bytes = self.0.files.read().get(name)?.clone();
        Some(HlsFile { content_type: content_type(name), bytes })
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.0.files.read().values().map(Bytes::len).sum()
    }

    /// The names of all files, in no order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.files.read().keys().cloned().collect()
    }

    pub(super) fn put(&self, name: String, bytes: Bytes) {
        self.0.files.write().insert(name, bytes);
    }

    pub(super) fn master(&self) -> &Arc<Master> {
        &self.0.master
    }
}

/// Two are equal if they are the same store.
impl PartialEq for HlsStore {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for HlsStore {}

impl fmt::Debug for HlsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HlsStore").field("bytes_held", &self.bytes_held()).finish_non_exhaustive()
    }
}

/// RFC 8216 section 4, and what browsers know of the others.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        "m4s" => "video/iso.segment",
        _ => "video/mp4",
    }
}

/// The part of a store that one output has.
pub(super) struct Compartment {
    store: HlsStore,
    /// What its names begin with: nothing, or a name and a slash.
    prefix: String,
    begun: Option<(String, Vec<u8>)>,
    /// How large the segment before was: the next one is about as large.
    usual: usize,
}

impl Compartment {
    /// Takes a part of a store.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if another output has it.
    pub(super) fn open(store: &HlsStore, prefix: String) -> io::Result<Self> {
        let mut taken = store.0.taken.lock();
        if taken.contains(&prefix) {
            let reason = "another HLS output has this name in the store";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, reason));
        }
        taken.push(prefix.clone());
        drop(taken);
        Ok(Self { store: store.clone(), prefix, begun: None, usual: 0 })
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Shelf for Compartment {
    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let file = self.store.get(&self.full(name));
        Ok(file.and_then(|file| String::from_utf8(file.bytes.to_vec()).ok()))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.store.names().into_iter();
        let own = names.filter_map(|name| name.strip_prefix(&self.prefix).map(str::to_owned));
        Ok(own.filter(|name| !name.contains('/')).collect())
    }

    fn check(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.store.put(self.full(name), Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.begun = Some((self.full(name), Vec::with_capacity(self.usual)));
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begun.as_mut().ok_or_else(none_begun)?.1.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self) -> io::Result<u64> {
        let (name, mut bytes) = self.begun.take().ok_or_else(none_begun)?;
        self.usual = bytes.len();
        bytes.shrink_to_fit();
        self.store.put(name, bytes.into());
        Ok(self.usual as u64)
    }

    fn discard(&mut self) {
        self.begun = None;
    }

    fn is_free(&self, name: &str) -> bool {
        self.store.0.files.read().contains_key(&self.full(name))
    }

    fn remove(&mut self, name: &str) {
        let gone = self.store.0.files.write().remove(&self.full(name));
        // Others wait for the lock, not for what it frees.
        drop(gone);
    }
}

impl Drop for Compartment {
    fn drop(&mut self) {
        self.store.0.taken.lock().retain(|prefix| *prefix != self.prefix);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn files_are_there_once_they_are_whole_and_each_output_has_its_own() {
        let store = HlsStore::new();
        let mut one = Compartment::open(&store, String::new()).unwrap();
        let mut two = Compartment::open(&store, "720p/".to_owned()).unwrap();
        assert!(Compartment::open(&store, String::new()).is_err());
        one.begin("seg-1.m4s").unwrap();
        one.add(b"half").unwrap();
        assert_eq!(store.get("seg-1.m4s"), None);
        one.add(b" and half").unwrap();
        assert_eq!(one.complete().unwrap(), 13);
        two.put("index.m3u8", b"#EXTM3U").unwrap();
        assert_eq!(store.get("/seg-1.m4s").unwrap().bytes, &b"half and half"[..]);
        assert_eq!(store.get("720p/index.m3u8").unwrap().content_type, "application/vnd.apple.mpegurl");
        assert_eq!(
            (one.names().unwrap(), two.names().unwrap()),
            (vec!["seg-1.m4s".into()], vec!["index.m3u8".into()])
        );
        assert_eq!(store.bytes_held(), 20);
        two.remove("seg-1.m4s");
        assert!(store.get("seg-1.m4s").is_some());
        one.remove("seg-1.m4s");
        assert!(store.get("seg-1.m4s").is_none() && one.complete().is_err());
        drop(one);
        assert!(Compartment::open(&store, String::new()).is_ok());
    }
}
