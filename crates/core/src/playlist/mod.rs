//! Lists of files that are played one after another, and edited while they are on the air.
//!
//! A [`Playlist`] is shared: every clone is the same list, and every change acts on every stream that plays it. Each
//! stream holds a [`PlaylistCursor`], its own place in the list. The places are kept within the list, so that an edit
//! moves all of them in the same step. Nothing here blocks except reading directories and list files.

mod concat;
mod cursor;
mod dir;
mod m3u;
mod order;
#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Error;
use crate::id::ItemId;
use crate::words::words;
#[cfg(test)]
pub(crate) use cursor::Command;
pub(crate) use cursor::{Looker, Next, PlaylistCursor};
use order::{Order, Place, Rules};

/// One entry of a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaylistItem {
    /// Its number: two items of the same file are told apart by it.
    pub id: ItemId,
    /// Its file.
    pub path: PathBuf,
    /// How often it comes in a round of a shuffled list, 1 by default; see [`Playlist::add_weighted`].
    pub weight: u32,
}

/// What happens if an item has other parameters (codec, its configuration, picture size, sample rate) than the one before.
/// It applies where items are sent as they are; with [`Mode::Auto`](crate::Mode::Auto) they are made alike. One without sound,
/// or without a picture, has no other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ParameterChange {
    /// It is played, after new sequence headers at its first keyframe, and with
    /// [`EventKind::ParametersChanged`](crate::EventKind::ParametersChanged). Most players and platforms follow; some hardware
    /// players stop at a change of picture size.
    #[default]
    Allow,
    /// It is left out, with an event.
    Refuse,
}

words!(ParameterChange, "policy for other parameters", Allow = "allow", Refuse = "refuse");

/// What a stream sends if its item is over and no other item of the list can be played: all files are missing or damaged.
///
/// The state is reported by [`EventKind::PlaylistStalled`](crate::EventKind::PlaylistStalled), and its end by
/// [`EventKind::PlaylistResumed`](crate::EventKind::PlaylistResumed). A list that was emptied rests in either case:
/// removing all items is a request for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NothingPlays {
    /// The item that was played last is repeated until another one can be played; that one begins at once.
    #[default]
    Repeat,
    /// Nothing, until an item can be played. A sound list is silent where its codec has silence.
    Wait,
}

words!(NothingPlays, "policy for a list of which nothing plays", Repeat = "repeat", Wait = "wait");

/// Files that are played one after another, for ever or once, in order or shuffled.
///
/// A clone is the same list. It may be edited at any time, also while streams play it: an item that is removed while it
/// plays is played to its end, and all other edits count from the next item on. While an item plays, the next one is searched
/// for: items that are missing or cannot be played are left out, with one event each, until one is found that plays. A file
/// that failed is tried again after 5 s, then after twice as long each time, at most every minute. If nothing else can be
/// played, [`NothingPlays`] says what is sent.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::Playlist;
///
/// let list = Playlist::files(["intro.mp4", "show.mp4"]);
/// let jingle = list.add("jingle.mp4")?;
/// list.move_to(jingle, 1);
/// let paths: Vec<_> = list.items().into_iter().map(|item| item.path).collect();
/// assert_eq!(paths, ["intro.mp4", "jingle.mp4", "show.mp4"].map(std::path::PathBuf::from));
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a playlist does nothing until a stream plays it"]
pub struct Playlist {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    list: Mutex<List>,
    /// Counts skips and jumps, so that a stream can look for one on every tick without taking the lock.
    commands: AtomicU64,
    /// Counts edits, for the same reason.
    edits: AtomicU64,
}

#[derive(Default)]
struct List {
    /// The list's own file, if it was read from one.
    file: Option<PathBuf>,
    /// What its items are, as long as nobody edits them.
    origin: Option<Origin>,
    /// That is to be read when a stream starts.
    unread: bool,
    items: Vec<PlaylistItem>,
    last_id: u64,
    rules: Rules,
    on_change: ParameterChange,
    nothing_plays: NothingPlays,
    seed: Option<u64>,
    /// Where each cursor stands.
    places: BTreeMap<u64, Place>,
    last_cursor: u64,
}

/// Where the items of a list come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A directory.
    Dir(PathBuf),
    /// A list file.
    List(PathBuf),
}

impl Origin {
    fn read(&self) -> Result<Vec<PathBuf>, Error> {
        match self {
            Self::Dir(path) => dir::media_files(path),
            Self::List(path) => m3u::read(path),
        }
    }
}

impl Playlist {
    /// The most items of a list. Each stream that plays it keeps 8 bytes an item.
    pub const MAX_ITEMS: usize = 100_000;

    /// An empty list, in order and for ever. A stream that plays it waits for the first item.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list of these files, in this order. Files after the first [`Playlist::MAX_ITEMS`] are left out, and a
    /// warning logged.
    pub fn files<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut paths = paths.into_iter();
        let mut list = List::default();
        for path in paths.by_ref().take(Self::MAX_ITEMS) {
            list.insert(usize::MAX, path.into(), 1);
        }
        if paths.next().is_some() {
            log::warn!("a playlist holds {} items, the rest is left out", Self::MAX_ITEMS);
        }
        Self { shared: Arc::new(Shared { list: Mutex::new(list), ..Shared::default() }) }
    }

    /// The media files of a directory, recognised by their extension and sorted by the bytes of their names. Directories in it,
    /// and hidden files (whose name begins with a dot), are left out. It is read once; files that are added later are not
    /// noticed.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::Playlist;
    ///
    /// let music = Playlist::dir("music")?.shuffled();
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`] if the directory cannot be read, has no media file, or more than [`Playlist::MAX_ITEMS`].
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub fn dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        let list = Self::of(Origin::Dir(path.as_ref().to_owned()));
        list.load()?;
        Ok(list)
    }

    /// The local files that an M3U or M3U8 list names, one a line, relative to the folder of the list. `file:` addresses are
    /// percent-decoded. Empty lines and lines that begin with `#` are skipped. A list of ffmpeg's concat demuxer
    /// (`ffconcat version 1.0`, `file '...'`) is read, too; durations come from the files.
    ///
    /// Lists may be UTF-8, UTF-16 with a byte order mark, or of a single-byte encoding. A path is taken byte for byte if there
    /// is such a file. If not, the notations of other systems are tried: `/` for `\`, UTF-8 for Latin-1 and the other
    /// way round, percent-decoded, and for a path with a drive letter or a server, the longest part of its end that exists below
    /// the folder of the list.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::Playlist;
    ///
    /// let programme = Playlist::m3u("/srv/channel/today.m3u8")?.once();
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`] if the list cannot be read, is larger than 16 MiB, names no file or more than
    /// [`Playlist::MAX_ITEMS`], names something that is not a local file (`http:` and so on), or is an HLS playlist. For concat lists also what cannot
    /// be followed: `inpoint`, `outpoint`, options and the choice of tracks.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub fn m3u(path: impl AsRef<Path>) -> Result<Self, Error> {
        let list = Self::of(Origin::List(path.as_ref().to_owned()));
        list.load()?;
        Ok(list)
    }

    /// A list whose items are read when a stream starts with it.
    fn of(origin: Origin) -> Self {
        let file = match &origin {
            Origin::Dir(_) => None,
            Origin::List(path) => Some(path.clone()),
        };
        let list = List { file, origin: Some(origin), unread: true, ..List::default() };
        Self { shared: Arc::new(Shared { list: Mutex::new(list), ..Shared::default() }) }
    }

    /// Reads the items, if they have not been read yet.
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`], as of [`Playlist::dir`] and [`Playlist::m3u`].
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(crate) fn load(&self) -> Result<(), Error> {
        let unread = {
            let list = self.shared.list.lock();
            list.origin.clone().filter(|_| list.unread)
        };
        let Some(origin) = unread else { return Ok(()) };
        // Not under the lock, which streams take that play the list.
        let paths = origin.read()?;
        let mut list = self.shared.list.lock();
        if std::mem::replace(&mut list.unread, false) {
            for path in paths {
                list.insert(usize::MAX, path, 1);
            }
        }
        Ok(())
    }

    /// A list that is like this one now and stays so, whatever happens to this one. As long as nobody has edited it, one that was read from
    /// a directory or a list file is read there again.
    pub(crate) fn frozen(&self) -> Self {
        let list = self.shared.list.lock();
        let mut frozen = List {
            file: list.file.clone(),
            origin: list.origin.clone(),
            unread: list.origin.is_some(),
            rules: list.rules,
            on_change: list.on_change,
            nothing_plays: list.nothing_plays,
            seed: list.seed,
            ..List::default()
        };
        if frozen.origin.is_none() {
            for item in &list.items {
                frozen.insert(usize::MAX, item.path.clone(), item.weight);
            }
        }
        drop(list);
        Self { shared: Arc::new(Shared { list: Mutex::new(frozen), ..Shared::default() }) }
    }

    /// The place of an item in the list, counted from 0.
    pub(crate) fn number_of(&self, id: ItemId) -> Option<usize> {
        self.shared.list.lock().items.iter().position(|item| item.id == id)
    }

    /// Whether it is shuffled, whether it is played once, and its files.
    pub(crate) fn order_and_files(&self) -> (bool, bool, Vec<PathBuf>) {
        let list = self.shared.list.lock();
        let files = list.items.iter().map(|item| item.path.clone()).collect();
        (list.rules.order == Order::Shuffled, list.rules.once, files)
    }

    /// The file the list was read from.
    pub(crate) fn own_file(&self) -> Option<PathBuf> {
        self.shared.list.lock().file.clone()
    }

    /// Plays the items in random order: each once a round (or as often as its weight says), in another order every round,
    /// and never the same item twice in a row while there is another. Every stream shuffles on its own.
    pub fn shuffled(self) -> Self {
        self.set_rules(|rules| rules.order = Order::Shuffled);
        self
    }

    /// Plays the items in the order of the list, which is the default. Weights do not count.
    pub fn ordered(self) -> Self {
        self.set_rules(|rules| rules.order = Order::Listed);
        self
    }

    /// Makes the shuffled order of streams that start from now on a known one: the same for the same seed, list and
    /// edits. By default every stream has its own.
    pub fn seed(self, seed: u64) -> Self {
        self.shared.list.lock().seed = Some(seed);
        self
    }

    /// Ends the stream after every item was played once. By default the list is played for ever.
    pub fn once(self) -> Self {
        self.set_rules(|rules| rules.once = true);
        self
    }

    /// What happens if an item's parameters differ from those of the one before; [`ParameterChange::Allow`] by default.
    pub fn on_change(self, policy: ParameterChange) -> Self {
        self.shared.list.lock().on_change = policy;
        self
    }

    /// What is sent if no item can be played; [`NothingPlays::Repeat`] by default. May be changed on the air.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod playlist { pub use flowcast_core::*; } }
    /// use flowcast::Playlist;
    /// use flowcast::playlist::NothingPlays;
    ///
    /// let list = Playlist::files(["a.mp4", "b.mp4"]).nothing_plays(NothingPlays::Wait);
    /// ```
    pub fn nothing_plays(self, policy: NothingPlays) -> Self {
        self.shared.list.lock().nothing_plays = policy;
        self
    }

    /// Puts a file at the end of the list; in a shuffled one it comes at a random place of the round.
    ///
    /// # Errors
    ///
    /// [`Error::Playlist`] if the list has [`Playlist::MAX_ITEMS`] already.
    pub fn add(&self, path: impl Into<PathBuf>) -> Result<ItemId, Error> {
        self.insert_weighted(usize::MAX, path.into(), 1)
    }

    /// Like [`Playlist::add`], with a weight: in a shuffled list an item of weight 3 comes three times a round, if
    /// there are other items to put between; one of weight 0 is only played by [`Playlist::jump`]. In a list that is played
    /// [`once`](Playlist::once), a heavier item tends to come earlier.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::Playlist;
    ///
    /// let list = Playlist::files(["a.mp3", "b.mp3", "c.mp3"]).shuffled();
    /// list.add_weighted("hit.mp3", 2)?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Playlist::add`].
    pub fn add_weighted(&self, path: impl Into<PathBuf>, weight: u32) -> Result<ItemId, Error> {
        self.insert_weighted(usize::MAX, path.into(), weight)
    }

    /// Puts a file before the item that is at `position` now, counted from 0; after the last one if there are fewer.
    ///
    /// # Errors
    ///
    /// As for [`Playlist::add`].
    pub fn insert(&self, position: usize, path: impl Into<PathBuf>) -> Result<ItemId, Error> {
        self.insert_weighted(position, path.into(), 1)
    }

    /// Takes an item out; `false` if it is not in the list. Streams that play it play it to its end.
    pub fn remove(&self, id: ItemId) -> bool {
        let removed = self.shared.list.lock().edit().remove(id);
        self.edited();
        removed
    }

    /// Moves an item so that it is at `position` afterwards, counted from 0, or the last; `false` if it is not in the list.
    ///
    /// In an ordered list nothing is repeated or lost by it: what was played already in this round is not played again,
    /// and what is moved to before the item that plays comes in the next round (with [`once`](Playlist::once), at the
    /// end of this one). Moving the item that plays does not change what comes after it.
    pub fn move_to(&self, id: ItemId, position: usize) -> bool {
        let moved = self.shared.list.lock().edit().move_to(id, position);
        self.edited();
        moved
    }

    /// Makes every stream that plays the list leave its item now and go on with the next one.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// # let list = flowcast::Playlist::files(["a.mp4", "b.mp4"]);
    /// list.skip();
    /// ```
    pub fn skip(&self) {
        let mut list = self.shared.list.lock();
        let List { items, rules, places, .. } = &mut *list;
        for place in places.values_mut() {
            place.skip(items, *rules);
        }
        self.shared.commands.fetch_add(1, Ordering::Release);
    }

    /// Makes every stream that plays the list leave its item now and play this one; an ordered list goes on after it,
    /// and what it jumped over does not come in this round. `false` if it is not in the list.
    pub fn jump(&self, id: ItemId) -> bool {
        let mut list = self.shared.list.lock();
        if list.position(id).is_none() {
            return false;
        }
        list.places.values_mut().for_each(|place| place.jump(id));
        self.shared.commands.fetch_add(1, Ordering::Release);
        true
    }

    /// The items, in the order of the list.
    #[must_use]
    pub fn items(&self) -> Vec<PlaylistItem> {
        self.shared.list.lock().items.clone()
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.list.lock().items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut list = self.shared.list.lock();
        change(&mut list.rules);
        let List { items, rules, places, .. } = &mut *list;
        places.values_mut().for_each(|place| place.rules_changed(items, *rules));
        drop(list);
        self.edited();
    }

    fn edited(&self) {
        self.shared.edits.fetch_add(1, Ordering::Release);
    }

    fn insert_weighted(&self, position: usize, path: PathBuf, weight: u32) -> Result<ItemId, Error> {
        let mut list = self.shared.list.lock();
        if list.items.len() >= Self::MAX_ITEMS {
            return Err(Error::Playlist {
                path,
                reason: format!("the list has {} items already", Self::MAX_ITEMS),
            });
        }
        let id = list.edit().insert(position, path, weight);
        drop(list);
        self.edited();
        Ok(id)
    }
}

impl List {
    /// The list, which is no longer what it was read from.
    fn edit(&mut self) -> &mut Self {
        self.origin = None;
        self
    }

    fn position(&self, id: ItemId) -> Option<usize> {
        order::position(&self.items, id)
    }

    fn insert(&mut self, position: usize, path: PathBuf, weight: u32) -> ItemId {
        self.last_id += 1;
        let id = ItemId(self.last_id);
        let position = position.min(self.items.len());
        self.items.insert(position, PlaylistItem { id, path, weight });
        let turns = self.rules.turns(weight);
        self.places.values_mut().for_each(|place| place.inserted(position, turns));
        id
    }

    fn remove(&mut self, id: ItemId) -> bool {
        let Some(position) = self.position(id) else { return false };
        self.items.remove(position);
        self.places.values_mut().for_each(|place| place.removed(position, id));
        true
    }

    fn move_to(&mut self, id: ItemId, to: usize) -> bool {
        let Some(from) = self.position(id) else { return false };
        let to = to.min(self.items.len() - 1);
        if from != to {
            let item = self.items.remove(from);
            self.items.insert(to, item);
            self.places.values_mut().for_each(|place| place.moved(from, to));
        }
        true
    }
}

impl<P: Into<PathBuf>> FromIterator<P> for Playlist {
    /// As [`Playlist::files`].
    fn from_iter<T: IntoIterator<Item = P>>(paths: T) -> Self {
        Self::files(paths)
    }
}

impl<P: Into<PathBuf>> From<Vec<P>> for Playlist {
    /// As [`Playlist::files`].
    fn from(paths: Vec<P>) -> Self {
        Self::files(paths)
    }
}

/// Whether the same files would be played in the same way.
impl PartialEq for Playlist {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.shared, &other.shared) {
            return true;
        }
        // One after the other, or two threads that compare the lists the other way round would wait for each other.
        let of = |list: &Self| {
            let list = list.shared.list.lock();
            let items: Vec<_> = list.items.iter().map(|item| (item.path.clone(), item.weight)).collect();
            let rules = (list.rules, list.on_change, list.nothing_plays, list.seed);
            (list.origin.clone(), list.unread, items, rules)
        };
        of(self) == of(other)
    }
}

impl fmt::Debug for Playlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.shared.list.lock();
        f.debug_struct("Playlist")
            .field("items", &list.items.len())
            .field("rules", &list.rules)
            .field("on_change", &list.on_change)
            .finish_non_exhaustive()
    }
}
