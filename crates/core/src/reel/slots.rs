//! Slots: the data of a reel in pieces of 100 ms of the item's time, in file order.
//!
//! The slot of a tag is that of its time, but never one before the slot of the tag before it. [`SlotCutter`] finds where
//! they begin and end, for the writer and for FLV files that stay where they are; [`SlotTable`] keeps it.

use flowcast_rtmp::flv::tag::TagKind;

/// Milliseconds of one slot.
pub(crate) const SLOT_MS: i64 = 100;
/// Most slots of a reel: three days. One wrong time costs that much memory and no more.
pub(super) const MOST_SLOTS: usize = 3 * 24 * 3600 * 10;
/// Most bytes of a slot, which is read at once: 5 Gbit/s for a tenth of a second.
pub(super) const LARGEST_SLOT: u64 = 64 << 20;

/// A place where playing can begin: the first keyframe of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyframe {
    /// The slot it is in.
    pub(crate) slot: usize,
    /// Its decoding time on the item's clock, in milliseconds.
    pub(crate) time_ms: i64,
}

/// A slot with sequence headers among its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderSlot {
    /// The slot.
    pub(crate) slot: usize,
    /// There is one of the video.
    pub(crate) video: bool,
    /// There is one of the audio.
    pub(crate) audio: bool,
}

impl HeaderSlot {
    /// Whether there is one of this kind.
    pub(super) fn has(&self, kind: TagKind) -> bool {
        match kind {
            TagKind::Video => self.video,
            TagKind::Audio => self.audio,
            TagKind::Script => false,
        }
    }
}

/// Where one slot lies in the data, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) crc: u32,
}

/// A slot that is complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) end: u64,
    pub(super) crc: u32,
}

/// All slots of a reel, 12 bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SlotTable {
    begin: u64,
    ends: Vec<u64>,
    crcs: Vec<u32>,
}

impl SlotTable {
    /// A table of no slots; the first one begins at `begin`.
    pub(super) fn new(begin: u64, capacity: usize) -> Self {
        Self { begin, ends: Vec::with_capacity(capacity), crcs: Vec::with_capacity(capacity) }
    }

    pub(super) fn push(&mut self, slot: Closed) {
        self.ends.push(slot.end);
        self.crcs.push(slot.crc);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where the first slot begins.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Where the last slot ends.
    pub(super) fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(self.begin)
    }

    pub(super) fn get(&self, slot: usize) -> Option<Slot> {
        let (&end, &crc) = (self.ends.get(slot)?, self.crcs.get(slot)?);
        let offset = match slot.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => self.begin,
        };
        Some(Slot { offset, len: usize::try_from(end - offset).ok()?, crc })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.len()).filter_map(|slot| self.get(slot))
    }

    pub(super) fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.crcs.shrink_to_fit();
    }
}

/// What was cut since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) slots: Vec<Closed>,
    pub(super) keyframes: Vec<Keyframe>,
    pub(super) headers: Vec<HeaderSlot>,
}

/// What a tag is to the slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Decoding time on the item's clock.
    pub(super) time_ms: i64,
    /// Bytes of the whole tag in the file.
    pub(super) len: u64,
    pub(super) keyframe: bool,
    /// A sequence header among the frames, of this kind.
    pub(super) header: Option<TagKind>,
}

/// Divides tags into slots.
#[derive(Debug)]
pub(super) struct SlotCutter {
    /// The slot that is open.
    slot: usize,
    /// Where it begins, and where what was taken ends.
    begin: u64,
    end: u64,
    crc: crc32fast::Hasher,
    /// The open slot has its keyframe.
    keyed: bool,
    keyframes_seen: u64,
    batch: Batch,
}

impl SlotCutter {
    /// The first slot begins at byte `begin` of the file.
    pub(super) fn new(begin: u64) -> Self {
        Self {
            slot: 0,
            begin,
            end: begin,
            crc: crc32fast::Hasher::new(),
            keyed: false,
            keyframes_seen: 0,
            batch: Batch::default(),
        }
    }

    /// A tag follows; its bytes are given to [`bytes`](Self::bytes).
    ///
    /// # Errors
    ///
    /// What a reel cannot hold. The tag is not taken then.
    pub(super) fn tag(&mut self, piece: Piece) -> Result<(), &'static str> {
        let slot = usize::try_from(piece.time_ms.max(0) / SLOT_MS).unwrap_or(usize::MAX);
        if slot >= MOST_SLOTS {
            return Err("it is longer than three days");
        }
        let within = if slot > self.slot { 0 } else { self.end - self.begin };
        if within + piece.len > LARGEST_SLOT {
            return Err("a tenth of a second of it has more than 64 MiB");
        }
        while self.slot < slot {
            self.close();
        }
        if piece.keyframe {
            self.keyframes_seen += 1;
            if !std::mem::replace(&mut self.keyed, true) {
                self.batch.keyframes.push(Keyframe { slot: self.slot, time_ms: piece.time_ms });
            }
        }
        if let Some(kind) = piece.header {
            self.header(kind);
        }
        Ok(())
    }

    fn header(&mut self, kind: TagKind) {
        let (slot, headers) = (self.slot, &mut self.batch.headers);
        if headers.last().is_none_or(|last| last.slot != slot) {
            headers.push(HeaderSlot { slot, video: false, audio: false });
        }
        if let Some(last) = headers.last_mut() {
            last.video |= kind == TagKind::Video;
            last.audio |= kind == TagKind::Audio;
        }
    }

    /// Bytes of the tag.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.end += bytes.len() as u64;
    }

    /// Closes the open slot.
    fn close(&mut self) {
        let crc = std::mem::take(&mut self.crc).finalize();
        self.batch.slots.push(Closed { end: self.end, crc });
        self.begin = self.end;
        self.slot += 1;
        self.keyed = false;
    }

    /// Closes the last slot: nothing follows.
    pub(super) fn finish(&mut self) {
        if self.end > self.begin {
            self.close();
        }
    }

    /// Slots closed that were not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.batch.slots.len()
    }

    /// Whether a player has something to begin with: a slot, and a closed GOP or two seconds.
    pub(super) fn is_followable(&self) -> bool {
        self.slot > 0 && (self.keyframes_seen > 1 || self.slot >= 20)
    }

    /// What was closed since the last time. All of it lies before where the open slot begins.
    pub(super) fn take(&mut self) -> Batch {
        // Keyframes and headers of the slot that is open wait for it.
        let open = self.slot;
        let Batch { keyframes, headers, .. } = &mut self.batch;
        let closed = keyframes.partition_point(|keyframe| keyframe.slot < open);
        let keyframes = keyframes.split_off(closed);
        let closed = headers.partition_point(|header| header.slot < open);
        let headers = headers.split_off(closed);
        std::mem::replace(&mut self.batch, Batch { slots: Vec::new(), keyframes, headers })
    }
}
