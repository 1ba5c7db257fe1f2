//! Buffers that are used for one turn, shared by all threads.
//!
//! A thousand streams wake a few at a time. What each reads into for its turn is taken from here and given back, last in
//! first out: so there are as many buffers as threads that work at once, and their bytes are still in a cache. What recordings hold until it is
//! written comes back many at a time: as many are kept as are in use.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

/// Things of a kind kept for the next turn.
const KEPT: usize = 16;
/// Larger ones are not kept.
const LARGEST_KEPT: usize = 1 << 20;
/// Sizes are rounded up to this, so that one fits the next turn, too.
const GRAIN: usize = 16 << 10;

static BUFFERS: Shelf<Vec<u8>> = Shelf::new();
/// Buffers that are in use.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Things that are empty and have room: taken for a turn and put back after it.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Mutex<Vec<T>>);

impl<T: Default> Shelf<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The one that was put back last, or a new one.
    pub(crate) fn take(&self) -> T {
        let kept = self.0.lock().pop();
        kept.unwrap_or_default()
    }

    pub(crate) fn put_back(&self, thing: T) {
        self.put_back_up_to(KEPT, thing);
    }

    /// The same where `most` are kept; those beyond go, one with each that comes back.
    fn put_back_up_to(&self, most: usize, thing: T) {
        let mut kept = self.0.lock();
        if kept.len() < most {
            kept.push(thing);
        } else {
            let beyond = if kept.len() > most { kept.pop() } else { None };
            // Freeing takes longer than others should wait.
            drop(kept);
            drop((thing, beyond));
        }
    }
}

/// A buffer out of the pool; dropped, it goes back.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

/// A buffer of `len` bytes whose contents mean nothing.
pub(crate) fn take(len: usize) -> Buffer {
    let mut bytes = BUFFERS.take();
    IN_USE.fetch_add(1, Ordering::Relaxed);
    if bytes.len() < len {
        bytes.resize(len.next_multiple_of(GRAIN), 0);
    }
    Buffer { bytes, len }
}

impl Buffer {
    /// The same memory, shared; it goes back once nothing refers to it.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let others = IN_USE.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if self.bytes.len() <= LARGEST_KEPT {
            BUFFERS.put_back_up_to(others.max(KEPT), std::mem::take(&mut self.bytes));
        }
    }
}

/// A buffer for reading from a socket, taken out of the pool when it is first written to.
#[derive(Debug, Default)]
pub struct Scratch(Option<Buffer>);

impl Scratch {
    /// Its bytes.
    const LEN: usize = 16 << 10;

    /// Gives the buffer back.
    pub(crate) fn put_back(&mut self) {
        self.0 = None;
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref().map(AsRef::as_ref).unwrap_or_default()
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.get_or_insert_with(|| take(Self::LEN)).as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_reference_is_gone() {
        let mut buffer = take(1000);
        buffer.as_mut().fill(7);
        let shared = buffer.freeze();
        let part = shared.slice(10..20);
        drop(shared);
        assert_eq!(part.as_ref(), [7; 10]);
        drop(part);
        assert_eq!(take(20).as_ref().len(), 20);
    }

    #[test]
    fn as_many_are_kept_as_are_asked_for_and_those_beyond_go() {
        let shelf = Shelf::<u8>::new();
        (0..10).for_each(|thing| shelf.put_back_up_to(40, thing));
        assert_eq!(shelf.0.lock().len(), 10);
        shelf.put_back_up_to(4, 10);
        shelf.put_back_up_to(4, 11);
        assert_eq!(shelf.0.lock().len(), 8, "one beyond goes with each");
        (0..20).for_each(|thing| shelf.put_back_up_to(4, thing));
        assert_eq!(shelf.0.lock().len(), 4);
    }

    #[test]
    fn a_scratch_buffer_is_there_when_it_is_written_to() {
        let mut scratch = Scratch::default();
        assert!(scratch.is_empty());
        scratch.fill(1);
        assert_eq!(scratch.len(), Scratch::LEN);
        scratch.put_back();
        assert!(scratch.is_empty());
    }
}
