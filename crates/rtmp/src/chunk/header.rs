//! Chunk headers: how they are laid out and written.

use crate::time::WireTime;
use crate::wire::WireBuf;

/// Greatest chunk stream id that fits a basic header.
pub const MAX_CHUNK_STREAM_ID: u32 = 65_599;

/// Greatest useful chunk size: no message is longer, its length has 24 bits.
pub const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// Value of the 24-bit timestamp field that says a 32-bit field follows.
pub(super) const EXTENDED: u32 = 0xFF_FFFF;

/// Basic header (3), message header (11), extended timestamp (4).
pub(super) const MAX_HEADER: usize = 18;

/// What a message says about itself besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// Chunk stream id, 2 to [`MAX_CHUNK_STREAM_ID`].
    pub csid: u32,
    /// Absolute timestamp.
    pub timestamp: WireTime,
    /// Message type id, see [`message::type_id`](crate::message::type_id).
    pub type_id: u8,
    /// Message stream id: 0 for the connection, else what `createStream` gave.
    pub stream_id: u32,
}

/// The four chunk types ([section 5.3.1.2](https://rtmp.veriskope.com/docs/spec/#5312chunk-message-header)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Type 0: absolute timestamp, length, type, stream.
    Full,
    /// Type 1: delta, length, type.
    SameStream,
    /// Type 2: delta.
    SameLength,
    /// Type 3: nothing.
    Continue,
}

impl Format {
    pub(super) fn of(first_byte: u8) -> Self {
        match first_byte >> 6 {
            0 => Self::Full,
            1 => Self::SameStream,
            2 => Self::SameLength,
            _ => Self::Continue,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Full => 0x00,
            Self::SameStream => 0x40,
            Self::SameLength => 0x80,
            Self::Continue => 0xC0,
        }
    }

    /// Bytes of the message header.
    pub(super) fn message_header_len(self) -> usize {
        match self {
            Self::Full => 11,
            Self::SameStream => 7,
            Self::SameLength => 3,
            Self::Continue => 0,
        }
    }
}

/// Bytes of the basic header that starts with `first_byte`.
pub(super) fn basic_header_len(first_byte: u8) -> usize {
    match first_byte & 0x3F {
        0 => 2,
        1 => 3,
        _ => 1,
    }
}

/// Reads the chunk stream id out of a whole basic header. The 3-byte form is little endian.
pub(super) fn chunk_stream_id(basic: &[u8]) -> Option<u32> {
    let (first, rest) = basic.split_first()?;
    Some(match (first & 0x3F, rest) {
        (0, [low]) => u32::from(*low).saturating_add(64),
        (1, [low, high]) => u32::from(u16::from_le_bytes([*low, *high])).saturating_add(64),
        (id, []) => u32::from(id),
        _ => return None,
    })
}

pub(super) fn be24(bytes: [u8; 3]) -> u32 {
    let [a, b, c] = bytes;
    u32::from_be_bytes([0, a, b, c])
}

/// A header under construction, on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl HeaderBytes {
    /// Starts with the basic header.
    pub(super) fn new(format: Format, csid: u32) -> Self {
        let mut header = Self { bytes: [0; MAX_HEADER], len: 0 };
        let past = csid.saturating_sub(64);
        if csid < 64 {
            header.put(&[format.bits() | (csid & 0x3F) as u8]);
        } else if let Ok(low) = u8::try_from(past) {
            header.put(&[format.bits(), low]);
        } else {
            let [low, high, ..] = past.to_le_bytes();
            header.put(&[format.bits() | 1, low, high]);
        }
        header
    }

    /// A type 0 header.
    pub(super) fn full(header: &MessageHeader, length: u32) -> Self {
        let time = header.timestamp.get();
        let mut out = Self::new(Format::Full, header.csid);
        out.put_u24(time.min(EXTENDED));
        out.put_u24(length);
        out.put(&[header.type_id]);
        out.put(&header.stream_id.to_le_bytes());
        out.put_extended(time);
        out
    }

    /// A type 1 header with a delta below [`EXTENDED`].
    pub(super) fn same_stream(csid: u32, delta: u32, length: u32, type_id: u8) -> Self {
        let mut out = Self::new(Format::SameStream, csid);
        out.put_u24(delta);
        out.put_u24(length);
        out.put(&[type_id]);
        out
    }

    /// The type 3 header of the further chunks of a message whose first header had the timestamp field `time`.
    pub(super) fn continuation(csid: u32, time: u32) -> Self {
        let mut out = Self::new(Format::Continue, csid);
        out.put_extended(time);
        out
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn write(&self, out: &mut WireBuf) {
        out.put_slice(self.as_slice());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(slot) = self.bytes.get_mut(self.len..end) {
            slot.copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn put_u24(&mut self, value: u32) {
        let [_, a, b, c] = value.to_be_bytes();
        self.put(&[a, b, c]);
    }

    fn put_extended(&mut self, time: u32) {
        if time >= EXTENDED {
            self.put(&time.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_of_one_two_and_three_bytes() {
        for (csid, bytes) in [
            (2, &[0xC2][..]),
            (63, &[0xFF]),
            (64, &[0xC0, 0]),
            (319, &[0xC0, 255]),
            (320, &[0xC1, 0x00, 0x01]),
            (365, &[0xC1, 0x2D, 0x01]),
            (MAX_CHUNK_STREAM_ID, &[0xC1, 0xFF, 0xFF]),
        ] {
            let header = HeaderBytes::new(Format::Continue, csid);
            assert_eq!(header.as_slice(), bytes);
            assert_eq!(basic_header_len(bytes.first().copied().unwrap_or(0)), bytes.len());
            assert_eq!(chunk_stream_id(bytes), Some(csid));
        }
    }

    #[test]
    fn full_header_with_extended_timestamp() {
        let header =
            MessageHeader { csid: 3, timestamp: WireTime::new(0x0100_0001), type_id: 20, stream_id: 1 };
        let expected = [3, 0xFF, 0xFF, 0xFF, 0, 1, 0, 20, 1, 0, 0, 0, 1, 0, 0, 1];
        assert_eq!(HeaderBytes::full(&header, 256).as_slice(), expected);
        assert_eq!(HeaderBytes::continuation(3, 0x0100_0001).as_slice(), [0xC3, 1, 0, 0, 1]);
        assert_eq!(HeaderBytes::continuation(3, 0xFF_FFFE).as_slice(), [0xC3]);
    }
}
