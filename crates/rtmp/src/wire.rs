//! Bytes that wait for the socket: payloads by reference, small headers copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Payloads up to this many bytes (an AAC frame) are copied: cheaper than a reference and an iovec of their own.
const COPY_BELOW: usize = 512;

/// How much the arena for small bytes grows by, bytes.
const ARENA: usize = 4096;

/// A queue of bytes for the socket, in order, read through [`Buf`].
///
/// A payload put with [`put_bytes`](Self::put_bytes) is kept by reference, so one payload can wait in any number of
/// connections. What is put with [`put_slice`](Self::put_slice) is copied into a small arena; neighbours coalesce.
/// Write it with `chunks_vectored` and one vectored write, then `advance` by what the socket took.
///
/// ```
/// use bytes::{Buf, Bytes};
/// use flowcast_rtmp::wire::WireBuf;
///
/// let mut wire = WireBuf::new();
/// wire.put_slice(b"head");
/// wire.put_bytes(Bytes::from(vec![7; 5000]));
/// assert_eq!(wire.len(), 5004);
/// wire.advance(4);
/// assert_eq!(wire.chunk().len(), 5000);
/// ```
#[derive(Debug, Default)]
pub struct WireBuf {
    segments: VecDeque<Bytes>,
    /// Copied bytes behind the last segment, not yet a segment themselves.
    tail: BytesMut,
    len: usize,
    total_in: u64,
    /// Some of the segments are memory that somebody else may want back.
    refers: bool,
}

impl WireBuf {
    /// An empty queue; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes ever queued, those already sent and those cleared included.
    #[must_use]
    pub fn total_in(&self) -> u64 {
        self.total_in
    }

    /// Queues a copy of `bytes`.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.tail.capacity().saturating_sub(self.tail.len()) < bytes.len() {
            self.seal();
            self.tail.reserve(bytes.len().max(ARENA));
        }
        self.tail.extend_from_slice(bytes);
        self.count(bytes.len());
    }

    /// Queues `bytes` by reference; up to 512 bytes are copied instead.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BELOW {
            self.put_slice(&bytes);
            return;
        }
        self.seal();
        self.count(bytes.len());
        self.segments.push_back(bytes);
        self.refers = true;
    }

    /// Copies what waits, so that the payloads it refers to are let go: they may be small parts of large buffers, and the
    /// peer may take its time. Without such payloads this does nothing.
    pub fn detach(&mut self) {
        if !std::mem::take(&mut self.refers) || self.len == 0 {
            return;
        }
        let mut own = BytesMut::with_capacity(self.len);
        for segment in self.segments.drain(..) {
            own.extend_from_slice(&segment);
        }
        own.extend_from_slice(&self.tail);
        self.tail.clear();
        self.segments.push_back(own.freeze());
    }

    /// Forgets everything that waits. In the middle of a message this breaks the stream for the peer: only for a
    /// connection that is going to be closed.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.tail.clear();
        self.len = 0;
    }

    fn count(&mut self, bytes: usize) {
        self.len = self.len.saturating_add(bytes);
        self.total_in = self.total_in.saturating_add(bytes as u64);
    }

    /// Makes the copied bytes a segment, so that what follows stays behind them.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for WireBuf {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        match self.segments.front() {
            Some(segment) => segment,
            None => &self.tail,
        }
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0_usize;
        let tail = Some(self.tail.as_ref()).filter(|tail| !tail.is_empty());
        for (slot, bytes) in dst.iter_mut().zip(self.segments.iter().map(AsRef::as_ref).chain(tail)) {
            *slot = IoSlice::new(bytes);
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// Removes `count` bytes from the front; more than there are empties the queue.
    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len);
        self.len = self.len.saturating_sub(left);
        while left > 0 {
            let Some(front) = self.segments.front_mut() else {
                self.tail.advance(left.min(self.tail.len()));
                break;
            };
            if front.len() > left {
                front.advance(left);
                break;
            }
            left = left.saturating_sub(front.len());
            self.segments.pop_front();
        }
        if self.len == 0 {
            // Nothing refers to the arena any more: it is filled from its beginning again.
            self.tail.clear();
            let _ = self.tail.try_reclaim(ARENA);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test code")]

    use super::*;

    fn drain(wire: &mut WireBuf, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while wire.has_remaining() {
            let chunk = wire.chunk();
            let take = chunk.len().min(step);
            out.extend_from_slice(&chunk[..take]);
            wire.advance(take);
        }
        out
    }

    #[test]
    fn order_is_kept_for_every_step() {
        for step in [1, 3, 64, 1000, usize::MAX] {
            let mut wire = WireBuf::new();
            let mut expected = Vec::new();
            for i in 0..200_usize {
                let bytes = vec![i as u8; i * 7 % 130];
                expected.extend_from_slice(&bytes);
                if i % 3 == 0 { wire.put_slice(&bytes) } else { wire.put_bytes(bytes.into()) }
            }
            assert_eq!(wire.len(), expected.len());
            assert_eq!(drain(&mut wire, step), expected);
            assert!(wire.is_empty());
            assert_eq!(wire.total_in(), expected.len() as u64);
        }
    }

    #[test]
    fn payloads_are_not_copied() {
        let payload = Bytes::from(vec![1; 1000]);
        let mut wire = WireBuf::new();
        wire.put_slice(b"ab");
        wire.put_bytes(payload.clone());
        wire.put_slice(b"cd");
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(wire.chunks_vectored(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    }

    #[test]
    fn what_waits_can_let_go_of_what_it_refers_to() {
        let payload = Bytes::from(vec![7; 5000]);
        let mut wire = WireBuf::new();
        wire.put_slice(b"head");
        wire.put_bytes(payload.clone());
        wire.put_slice(b"tail");
        wire.advance(1000);
        assert!(!payload.is_unique());
        wire.detach();
        assert!(payload.is_unique());
        let copy = wire.chunk().as_ptr();
        wire.detach();
        assert_eq!(wire.chunk().as_ptr(), copy, "it is copied once");
        wire.put_slice(b"more");
        assert_eq!((wire.len(), wire.total_in()), (4012, 5012));
        assert_eq!(drain(&mut wire, 999), [&[7; 4004][..], b"tailmore"].concat());
    }

    #[test]
    fn the_arena_is_used_again_when_everything_was_sent() {
        let mut wire = WireBuf::new();
        wire.put_slice(b"first");
        let arena = wire.chunk().as_ptr();
        for round in 0..100 {
            wire.put_slice(&[round; 500]);
            wire.put_bytes(vec![round; 5000].into());
            wire.put_slice(&[round; 500]);
            wire.advance(usize::MAX);
            wire.put_slice(b"next");
            assert_eq!(wire.chunk().as_ptr(), arena, "round {round}");
        }
    }

    #[test]
    fn writing_between_reads_and_clearing() {
        let mut wire = WireBuf::new();
        wire.put_slice(b"abc");
        wire.advance(1);
        wire.put_slice(b"def");
        assert_eq!(wire.chunk(), b"bcdef");
        wire.advance(100);
        assert!(wire.is_empty());
        wire.put_slice(b"x");
        assert_eq!(wire.chunk(), b"x");
        wire.clear();
        assert_eq!((wire.len(), wire.chunk().len(), wire.total_in()), (0, 0, 7));
    }
}
