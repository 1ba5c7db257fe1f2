//! For tests: a source that makes its tags again, and knows how much of them is in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::Ring;
use crate::error::Error;
use crate::ring::Refill;

/// Bytes of a picture.
pub(crate) const FRAME: usize = 12_000;
/// Milliseconds of one batch.
pub(crate) const SLOT_MS: i64 = 100;
/// Tags of one batch, but for headers.
pub(crate) const SLOT_TAGS: u64 = 10;

/// 50 pictures and 50 sounds a second, a keyframe every this many batches. A clone is the same tape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tape(Arc<State>);

#[derive(Debug, Default)]
struct State {
    gop: i64,
    in_memory: AtomicUsize,
    reads: AtomicU64,
    /// The batch that cannot be read again, plus one.
    broken: AtomicU64,
}

struct Body {
    bytes: Vec<u8>,
    tape: Tape,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.tape.0.in_memory.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Slot {
    tape: Tape,
    number: i64,
}

impl Refill for Slot {
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error> {
        let state = &self.tape.0;
        state.reads.fetch_add(1, Ordering::Relaxed);
        if state.broken.load(Ordering::Relaxed) == self.number as u64 + 1 {
            let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into();
            return Err(Error::System { what: "the tape is torn", source });
        }
        self.tape.slot(self.number, tags);
        Ok(())
    }
}

impl Tape {
    /// A tape with a keyframe every `gop` batches.
    pub(crate) fn new(gop: i64) -> Self {
        Self(Arc::new(State { gop, ..State::default() }))
    }

    /// Batch `number` cannot be read again from here on.
    pub(crate) fn tear(&self, number: i64) {
        self.0.broken.store(number as u64 + 1, Ordering::Relaxed);
    }

    /// Bytes of payload that are held.
    pub(crate) fn in_memory(&self) -> usize {
        self.0.in_memory.load(Ordering::Relaxed)
    }

    /// Batches read again so far.
    pub(crate) fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// Hands a batch over, as a stream's thread does.
    pub(crate) fn play(&self, number: i64, ring: &mut Ring) {
        let mut tags = Vec::new();
        self.slot(number, &mut tags);
        ring.push_refillable(tags.into_iter(), Box::new(Slot { tape: self.clone(), number }));
    }

    /// The sequence header, which is not part of any batch.
    pub(crate) fn header() -> Tag {
        Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from_static(&[0x17, 0, 0, 0, 0, 1]))
    }

    fn slot(&self, number: i64, tags: &mut Vec<Tag>) {
        for n in 0..SLOT_TAGS as i64 / 2 {
            let time = number * SLOT_MS + n * 20;
            tags.push(self.tag(TagKind::Audio, time, [0xAF, 1], 300));
            let keyframe = n == 0 && number % self.0.gop == 0;
            // A keyframe is longer than a chunk.
            let (head, bytes) = if keyframe { ([0x17, 1], 8 * FRAME) } else { ([0x27, 1], FRAME) };
            tags.push(self.tag(TagKind::Video, time + 5, head, bytes));
        }
    }

    fn tag(&self, kind: TagKind, time: i64, head: [u8; 2], len: usize) -> Tag {
        let mut bytes: Vec<u8> = (0..len).map(|n| (n as i64 * 7 + time) as u8).collect();
        bytes[..2].copy_from_slice(&head);
        self.0.in_memory.fetch_add(len, Ordering::Relaxed);
        let body = Bytes::from_owner(Body { bytes, tape: self.clone() });
        Tag::from_wire(kind, MediaTime::from_millis(time), body)
    }
}
