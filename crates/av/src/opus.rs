//! Opus without decoding: its identification header and the length of its packets. Safe Rust.
//!
//! References are to RFC 7845 (Ogg) and RFC 6716 (packets).

use bytes::{BufMut, Bytes, BytesMut};

use crate::AudioInfo;

/// The header of a stream of which the container gives none (RFC 7845, 5.1). `None` for more than two channels, whose order
/// it would have to say.
pub(crate) fn header(audio: &AudioInfo) -> Option<Bytes> {
    let channels = u8::try_from(audio.channels).ok().filter(|channels| matches!(channels, 1 | 2))?;
    let mut header = BytesMut::with_capacity(19);
    header.put_slice(b"OpusHead\x01");
    header.put_u8(channels);
    header.put_u16_le(u16::try_from(audio.priming_samples).unwrap_or(0));
    header.put_u32_le(audio.sample_rate);
    header.put_slice(&[0; 3]);
    Some(header.freeze())
}

/// Samples per channel in a packet, at 48 kHz (RFC 6716, 3.1 and 3.2). `None` if it is empty or holds more than 120 ms.
pub(crate) fn packet_samples(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let frame = match first >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880].get(usize::from(config & 3)).copied()?,
        config @ 12..16 => [480, 960].get(usize::from(config & 1)).copied()?,
        config => [120, 240, 480, 960].get(usize::from(config & 3)).copied()?,
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3F),
    };
    Some(frame * frames).filter(|samples| (1..=5760).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_packets() {
        // CELT, 20 ms, stereo; the same twice; three of 2.5 ms; SILK, 60 ms; hybrid, 10 ms.
        for (packet, samples) in [
            (&[0xFC][..], Some(960)),
            (&[0xFD], Some(1920)),
            (&[0xE7, 3], Some(360)),
            (&[0x18], Some(2880)),
            (&[0x60], Some(480)),
            (&[0xFF], None),
            (&[0xFF, 0], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:?}");
        }
    }

    #[test]
    fn a_header_is_made_of_what_is_known() {
        let mut audio = AudioInfo {
            sample_rate: 48_000,
            channels: 2,
            layout: String::new(),
            frame_samples: 960,
            priming_samples: 312,
        };
        let expected = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        assert_eq!(header(&audio).as_deref(), Some(&expected[..]));
        audio.channels = 6;
        assert_eq!(header(&audio), None);
    }
}
