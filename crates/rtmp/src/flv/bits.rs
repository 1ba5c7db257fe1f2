//! Single bits in and out of codec configuration and frames, most significant first.

/// Reads bits; `None` past the end.
#[derive(Clone, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.position >> 3)?;
        let mask = 0x80u8 >> (self.position & 7);
        self.position = self.position.saturating_add(1);
        Some(byte & mask != 0)
    }

    /// The next `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.position = self.position.checked_add(count)?;
        (self.position <= self.bytes.len().saturating_mul(8)).then_some(())
    }

    /// Moves on to the next whole byte.
    pub(super) fn align(&mut self) {
        self.position = self.position.saturating_add(7) & !7;
    }

    /// An unsigned Exp-Golomb number, H.264 section 9.1.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0u32;
        while !self.bit()? {
            zeros = zeros.saturating_add(1);
        }
        if zeros > 31 {
            return None;
        }
        let rest = self.bits(zeros)?;
        1u32.checked_shl(zeros)?.wrapping_sub(1).checked_add(rest)
    }

    /// A signed Exp-Golomb number, H.264 section 9.1.1.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let half = (code.saturating_add(1)) >> 1;
        i32::try_from(if code & 1 == 1 { half } else { half.saturating_neg() }).ok()
    }
}

/// Writes bits.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The byte begun, from its lowest bit on.
    partial: u8,
    /// Bits in it, at most 7.
    filled: u32,
}

impl BitWriter {
    /// The lowest `count` bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            let bit = value.checked_shr(shift).unwrap_or(0) & 1 == 1;
            self.partial = self.partial << 1 | u8::from(bit);
            self.filled = self.filled.saturating_add(1);
            if self.filled == 8 {
                self.bytes.push(self.partial);
                (self.partial, self.filled) = (0, 0);
            }
        }
    }

    /// The bytes; zeros fill the last one up.
    pub(super) fn finish(mut self) -> Vec<u8> {
        while self.filled != 0 {
            self.put(0, 1);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_the_standard() {
        // 1, 010, 011, 00100, 00101 and the rest padding: H.264 table 9-2.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = BitReader::new(&bytes);
        let codes: Vec<_> = (0..5).map_while(|_| bits.unsigned()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = BitReader::new(&bytes);
        let codes: Vec<_> = (0..5).map_while(|_| bits.signed()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
        assert_eq!(BitReader::new(&[0; 9]).unsigned(), None);
    }

    #[test]
    fn reading_ends_with_the_bytes() {
        let mut bits = BitReader::new(&[0xA5, 0x0F]);
        assert_eq!(bits.bits(4), Some(0xA));
        bits.align();
        assert_eq!((bits.bits(8), bits.bit(), bits.skip(1)), (Some(0x0F), None, None));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bits = BitWriter::default();
        let fields = [(1, 1), (0, 3), (0x1FF, 9), (0xDEAD_BEEF, 32), (5, 3)];
        for (value, count) in fields {
            bits.put(value, count);
        }
        let bytes = bits.finish();
        assert_eq!(bytes.len(), 6);
        let mut bits = BitReader::new(&bytes);
        for (value, count) in fields {
            assert_eq!(bits.bits(count), Some(value));
        }
        assert_eq!((BitWriter::default().finish(), BitReader::new(&[]).bit()), (vec![], None));
    }
}
