//! Keeps payloads that are read ahead close together.
//!
//! libav allocates every packet apart. Kept for seconds and let go on another thread, they are thousands of small blocks:
//! the allocator, its page faults and its locks cost more than copying them once into blocks that are used again.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes of one block.
const BLOCK: usize = 64 << 10;
/// Blocks kept to be used again; with what is being read ahead, 4 MiB at the most.
const KEPT: usize = 64;

/// Blocks, the oldest first: they come free in the order they were filled.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    filling: BytesMut,
    filled: VecDeque<BytesMut>,
    #[cfg(test)]
    allocated: usize,
}

impl Blocks {
    /// The same bytes, in a block. What is larger than a quarter of one stays where it is.
    pub(super) fn keep(&mut self, data: Bytes) -> Bytes {
        if data.len() > BLOCK / 4 {
            return data;
        }
        if self.filling.capacity() < data.len() {
            let next = self.next_block();
            let filled = std::mem::replace(&mut self.filling, next);
            if self.filled.len() < KEPT && filled.capacity() > 0 {
                self.filled.push_back(filled);
            }
        }
        self.filling.extend_from_slice(&data);
        self.filling.split().freeze()
    }

    /// A block that nothing refers to any more, or a new one.
    fn next_block(&mut self) -> BytesMut {
        if self.filled.front_mut().is_some_and(|oldest| oldest.try_reclaim(BLOCK))
            && let Some(block) = self.filled.pop_front()
        {
            return block;
        }
        #[cfg(test)]
        {
            self.allocated += 1;
        }
        BytesMut::with_capacity(BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_what_they_were_and_blocks_are_used_again() {
        let mut blocks = Blocks::default();
        let mut held = VecDeque::new();
        for n in 0..10_000u32 {
            let data = Bytes::from(vec![n as u8; 100 + (n as usize * 37) % 9000]);
            let kept = blocks.keep(data.clone());
            assert_eq!(kept, data);
            held.push_back((kept, data));
            // About a megabyte is read ahead.
            if held.len() > 200 {
                let (kept, data) = held.pop_front().expect("it was just filled");
                assert_eq!(kept, data, "a block was used again too early");
            }
        }
        assert!(blocks.allocated < 30, "{} blocks for a megabyte", blocks.allocated);
    }

    #[test]
    fn large_payloads_are_not_copied() {
        let data = Bytes::from(vec![1; BLOCK]);
        let kept = Blocks::default().keep(data.clone());
        assert_eq!(kept.as_ptr(), data.as_ptr());
    }
}
