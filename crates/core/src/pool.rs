//! Buffers that are used for one turn, shared by all threads.
//!
//! A thousand streams wake a few at a time. What each reads into for its turn is taken from here and given back, last in
//! first out: so there are as many buffers as threads that work at once, and their bytes are still in a cache.

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers kept for the next turn.
const KEPT: usize = 16;
/// Larger ones are not kept.
const LARGEST_KEPT: usize = 1 << 20;
/// Sizes are rounded up to this, so that one fits the next turn, too.
const GRAIN: usize = 16 << 10;

static POOL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer out of the pool; dropped, it goes back.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

/// A buffer of `len` bytes whose contents mean nothing.
pub(crate) fn take(len: usize) -> Buffer {
    let mut bytes = POOL.lock().pop().unwrap_or_default();
    if bytes.len() < len {
        bytes.resize(len.next_multiple_of(GRAIN), 0);
    }
    Buffer { bytes, len }
}

impl Buffer {
    /// The same memory, shared; it goes back once nobody refers to it.
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
        if self.bytes.len() <= LARGEST_KEPT {
            let bytes = std::mem::take(&mut self.bytes);
            let mut pool = POOL.lock();
            if pool.len() < KEPT {
                pool.push(bytes);
            }
        }
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
}
