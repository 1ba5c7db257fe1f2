//! A reel that is played: slots in, tags out. Any number of threads read one at once, without a lock once it is complete.
//!
//! A slot is one positioned read into a buffer of the pool; its tags are slices of that buffer. There is no memory map: a
//! file that is cut off under us is an error, never a signal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flowcast_rtmp::flv::TagHeader;
use flowcast_rtmp::flv::reader::{TAG_HEADER_LEN, TRAILER_LEN};
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;
use parking_lot::{Mutex, RwLock};

use super::identity::SourceFacts;
use super::note::{self, Note};
use super::slots::{Batch, HeaderSlot, Keyframe, Slot, SlotTable};
use super::store::Home;
use crate::error::Error;
use crate::lap::LapFacts;
use crate::pool;

/// A reel: complete, or one that grows while it is played.
#[derive(Debug)]
pub(crate) struct Reel {
    /// The data's file, for errors.
    path: PathBuf,
    file: File,
    /// Taken from every time in the data.
    shift: i64,
    headers: Vec<Tag>,
    growing: RwLock<Cutting>,
    complete: OnceLock<Complete>,
    /// Slots whose checksum was right. Unset for slots this process has just written.
    checked: OnceLock<Bitmap>,
    failure: OnceLock<Error>,
    source: Mutex<Option<Watched>>,
    source_changed: AtomicBool,
    damaged: AtomicBool,
    /// How many notes there are, so that a player need not ask.
    noted: AtomicUsize,
    home: OnceLock<Home>,
}

/// What is known while a reel grows.
#[derive(Debug, Default)]
struct Cutting {
    slots: SlotTable,
    keyframes: Vec<Keyframe>,
    /// Where sequence headers lie among the frames.
    headers: Vec<HeaderSlot>,
    notes: Vec<Note>,
    /// Notes that found no place.
    more: u64,
}

/// What is known of a complete reel.
#[derive(Debug)]
struct Complete {
    cut: Cutting,
    facts: LapFacts,
}

impl Reel {
    /// A reel of no slots yet, whose first one will begin at `begin`.
    pub(super) fn growing(path: PathBuf, file: File, headers: Vec<Tag>, shift: i64, begin: u64) -> Self {
        let growing = Cutting { slots: SlotTable::new(begin, 0), ..Cutting::default() };
        Self {
            path,
            file,
            shift,
            headers,
            growing: RwLock::new(growing),
            complete: OnceLock::new(),
            checked: OnceLock::new(),
            failure: OnceLock::new(),
            source: Mutex::new(None),
            source_changed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            noted: AtomicUsize::new(0),
            home: OnceLock::new(),
        }
    }

    /// A reel as its index says. Checksums are looked at as slots are first read.
    pub(super) fn from_index(path: PathBuf, file: File, index: super::index::Index) -> Self {
        let mut reel = Self::growing(path, file, index.headers, index.shift, 0);
        *reel.growing.get_mut() = Cutting {
            slots: index.slots,
            keyframes: index.keyframes,
            headers: index.header_slots,
            notes: index.notes,
            more: 0,
        };
        reel.complete(index.facts);
        reel.check_from_now_on();
        reel
    }

    /// Metadata and sequence headers, at time 0.
    pub(crate) fn headers(&self) -> &[Tag] {
        &self.headers
    }

    /// What the lap is; known once the reel is complete.
    pub(crate) fn facts(&self) -> Option<LapFacts> {
        Some(self.complete.get()?.facts)
    }

    /// Slots that can be read now. It grows until the reel is complete or has failed.
    pub(crate) fn slots(&self) -> usize {
        self.with(|cut| cut.slots.len())
    }

    /// Whether all of the source is in it.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.get().is_some()
    }

    /// Why it grows no further, or why it could not be kept: what is readable stays readable.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    /// The last keyframe that decodes at `ms` of the item's clock or before; only the first of each slot counts.
    pub(crate) fn keyframe_at_or_before(&self, ms: i64) -> Option<Keyframe> {
        self.with(|cut| {
            let after = cut.keyframes.partition_point(|keyframe| keyframe.time_ms <= ms);
            cut.keyframes.get(after.checked_sub(1)?).copied()
        })
    }

    /// The first keyframe, which the video begins with.
    pub(crate) fn first_keyframe(&self) -> Option<Keyframe> {
        self.with(|cut| cut.keyframes.first().copied())
    }

    /// Metadata, and the sequence headers that hold where `slot` begins: where they change in the course of the reel, not those
    /// of its beginning.
    ///
    /// # Blocking
    ///
    /// On up to two reads of a file, where they change.
    pub(crate) fn headers_at(&self, slot: usize) -> Vec<Tag> {
        let mut headers = self.headers.clone();
        for kind in [TagKind::Video, TagKind::Audio] {
            let last = self.with(|cut| {
                let before = cut.headers.partition_point(|header| header.slot < slot);
                let before = cut.headers.get(..before).unwrap_or_default();
                before.iter().rfind(|header| header.has(kind)).map(|header| header.slot)
            });
            let Some(last) = last else { continue };
            let mut tags = Vec::new();
            if let Err(error) = self.read(last, &mut tags) {
                // The slot it was asked for is most likely damaged as well, and playing it tells.
                log::warn!("the headers in slot {last} cannot be read: {error}");
                continue;
            }
            let is_header = |tag: &Tag| tag.kind == kind && tag.is_sequence_header() && tag.track() == 0;
            let Some(newest) = tags.into_iter().rfind(is_header) else { continue };
            let newest = Tag { timestamp: MediaTime::ZERO, ..newest };
            match headers.iter_mut().find(|tag| is_header(tag)) {
                Some(header) => *header = newest,
                None => headers.push(newest),
            }
        }
        headers
    }

    /// Whether sequence headers lie among the frames, too.
    #[cfg(test)]
    pub(crate) fn changes_headers(&self) -> bool {
        self.with(|cut| !cut.headers.is_empty())
    }

    /// What was noticed when it was cut, from note number `from` on. While it grows there may come more.
    pub(crate) fn notes(&self, from: usize) -> Vec<Note> {
        if from >= self.noted.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.with(|cut| cut.notes.get(from..).unwrap_or_default().to_vec())
    }

    /// Whether the source has been replaced or changed since the reel was asked for. One that was deleted has not. Looked
    /// at every two seconds.
    pub(crate) fn source_changed(&self) -> bool {
        self.source_changed.load(Ordering::Relaxed)
    }

    /// Reports that it is damaged: the store drops it, and cuts it again when it is next requested.
    pub(crate) fn damaged(self: &Arc<Self>) {
        if !self.damaged.swap(true, Ordering::AcqRel)
            && let Some(home) = self.home.get()
        {
            home.drop_damaged(self);
        }
    }

    /// Appends the tags of a slot, with times of the item's clock.
    ///
    /// # Errors
    ///
    /// [`Error::ReelDamaged`] if the data is not what it was when the reel was made; no tag is appended then.
    ///
    /// # Blocking
    ///
    /// On one read of a file.
    pub(crate) fn read(&self, slot: usize, tags: &mut Vec<Tag>) -> Result<(), Error> {
        let damaged = |reason: String| Error::ReelDamaged { path: self.path.clone(), reason };
        let Some(place) = self.with(|cut| cut.slots.get(slot)) else {
            return Err(damaged(format!("slot {slot} is none of its {}", self.slots())));
        };
        if place.len == 0 {
            return Ok(());
        }
        let data = self.data(slot, place).map_err(damaged)?;
        let before = tags.len();
        parse_tags(&data, self.shift, tags).map_err(|what| {
            tags.truncate(before);
            damaged(format!("slot {slot} at byte {}: {what}", place.offset))
        })
    }

    /// The bytes of a slot.
    fn data(&self, slot: usize, place: Slot) -> Result<Bytes, String> {
        let mut buffer = pool::take(place.len);
        self.file.read_exact_at(buffer.as_mut(), place.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                format!("it ends before byte {}", place.offset + place.len as u64)
            }
            _ => format!("byte {} cannot be read: {error}", place.offset),
        })?;
        if let Some(checked) = self.checked.get()
            && !checked.has(slot)
        {
            if crc32fast::hash(buffer.as_ref()) != place.crc {
                return Err(format!("the checksum of slot {slot} at byte {} is wrong", place.offset));
            }
            checked.set(slot);
        }
        Ok(buffer.freeze())
    }

    fn with<T>(&self, look: impl FnOnce(&Cutting) -> T) -> T {
        match self.complete.get() {
            Some(complete) => look(&complete.cut),
            None => self.with_growing(look),
        }
    }

    fn with_growing<T>(&self, look: impl FnOnce(&Cutting) -> T) -> T {
        let growing = self.growing.read();
        // It may just have become complete, and what was here is there now.
        match self.complete.get() {
            Some(complete) => look(&complete.cut),
            None => look(&growing),
        }
    }

    /// Adds slots that are in the file.
    pub(super) fn publish(&self, batch: Batch) {
        let mut growing = self.growing.write();
        batch.slots.into_iter().for_each(|slot| growing.slots.push(slot));
        growing.keyframes.extend(batch.keyframes);
        growing.headers.extend(batch.headers);
    }

    /// Takes note of something about the source.
    pub(super) fn note(&self, note: Note) {
        let mut growing = self.growing.write();
        if growing.notes.len() < note::MOST {
            growing.notes.push(note.bounded());
        } else {
            growing.more += 1;
        }
        self.noted.store(growing.notes.len(), Ordering::Release);
    }

    /// Nothing follows.
    pub(super) fn complete(&self, facts: LapFacts) {
        let mut growing = self.growing.write();
        let mut cut = std::mem::take(&mut *growing);
        if cut.more > 0 {
            cut.notes.push(Note::more(cut.more));
        }
        let noted = cut.notes.len();
        cut.slots.shrink();
        cut.keyframes.shrink_to_fit();
        cut.headers.shrink_to_fit();
        let _ = self.complete.set(Complete { cut, facts });
        self.noted.store(noted, Ordering::Release);
    }

    /// It grows no further.
    pub(super) fn fail(&self, error: Error) {
        let _ = self.failure.set(error);
    }

    /// The data may not be what was written: slots are checked when they are next read.
    pub(super) fn check_from_now_on(&self) {
        let _ = self.checked.set(Bitmap::new(self.slots()));
    }

    /// Everything an index says, of a complete reel.
    pub(super) fn to_index(
        &self,
        key: super::identity::Key,
        data: super::index::Data,
    ) -> Option<super::index::Index> {
        let Complete { cut, facts } = self.complete.get()?;
        Some(super::index::Index {
            key,
            data,
            shift: self.shift,
            header_slots: cut.headers.clone(),
            facts: *facts,
            notes: cut.notes.clone(),
            source: self.source.lock().as_ref().map(|source| source.path.clone()).unwrap_or_default(),
            headers: self.headers.clone(),
            keyframes: cut.keyframes.clone(),
            slots: cut.slots.clone(),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Where the store keeps it.
    pub(super) fn settle(&self, home: Home) {
        let _ = self.home.set(home);
    }

    /// What the source is at the moment: it counts as unchanged from here on.
    pub(super) fn note_source(&self, path: &Path, facts: SourceFacts) {
        let mut source = self.source.lock();
        *source = Some(Watched { path: path.to_owned(), facts, seen: facts });
        self.source_changed.store(false, Ordering::Relaxed);
    }

    /// Looks whether the source has changed. It has when it is no longer what was cut, and is the same as at the look before:
    /// one that is still being written is not to be read yet.
    ///
    /// # Blocking
    ///
    /// On looking at a file.
    pub(super) fn look_at_source(&self) {
        let Some(Watched { path, facts, .. }) = self.source.lock().clone() else { return };
        let Ok(now) = SourceFacts::look(&path) else { return };
        let mut source = self.source.lock();
        // Unless it was asked for again meanwhile, as what it is now.
        if let Some(source) = source.as_mut().filter(|source| source.facts == facts)
            && std::mem::replace(&mut source.seen, now) == now
            && now != facts
        {
            self.source_changed.store(true, Ordering::Relaxed);
        }
    }

    /// The source was changed while it was cut: what there is now is to be read instead.
    pub(super) fn outdated(&self) {
        self.source_changed.store(true, Ordering::Relaxed);
    }
}

/// What a reel was cut from.
#[derive(Debug, Clone)]
struct Watched {
    path: PathBuf,
    /// As it was cut.
    facts: SourceFacts,
    /// As it was at the last look.
    seen: SourceFacts,
}

impl Drop for Reel {
    fn drop(&mut self) {
        if let Some(home) = self.home.get()
            && self.is_complete()
            && !self.is_damaged()
        {
            home.let_go();
        }
    }
}

/// One bit for each slot.
#[derive(Debug)]
struct Bitmap(Vec<AtomicU64>);

impl Bitmap {
    fn new(bits: usize) -> Self {
        Self((0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (bit % 64)) != 0)
    }

    fn set(&self, bit: usize) {
        if let Some(word) = self.0.get(bit / 64) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }
}

/// Appends the FLV tags that `data` consists of, as slices of it, with `shift` taken from their times.
///
/// # Errors
///
/// What is wrong with it; some tags may have been appended.
pub(super) fn parse_tags(data: &Bytes, shift: i64, tags: &mut Vec<Tag>) -> Result<(), &'static str> {
    let mut at = 0;
    while at < data.len() {
        let header = data.get(at..).and_then(|rest| rest.first_chunk()).ok_or("it ends within a tag")?;
        let header = TagHeader::parse(header).map_err(|_| "there is no tag where one should be")?;
        let body = at + TAG_HEADER_LEN;
        let end = body + usize::try_from(header.body_len).map_err(|_| "a tag is too large")?;
        if end + TRAILER_LEN > data.len() {
            return Err("it ends within a tag");
        }
        // Reels are shorter than 2³¹ ms; what decodes before the item's zero lies just below 2³².
        let time = i64::from(header.timestamp.get().cast_signed()) - shift;
        let mut tag = Tag::from_wire(header.kind, MediaTime::from_millis(time), data.slice(body..end));
        if tag.is_sequence_header() || tag.is_metadata() {
            // These are kept for as long as a stream runs, and must not keep the buffer with them.
            tag.body = Bytes::copy_from_slice(tag.body.payload()).into();
        }
        tags.push(tag);
        at = end + TRAILER_LEN;
    }
    Ok(())
}
