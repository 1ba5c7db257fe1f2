//! Opus packets: how long they are, and silence made without an encoder.
//!
//! References are to RFC 6716.

use bytes::{BufMut, Bytes, BytesMut};

/// The rate of Opus' clock, in hertz, whatever it was made from.
pub const RATE_HZ: u32 = 48_000;

/// Samples per channel of the usual packet, of 20 ms.
pub const USUAL_SAMPLES: u32 = 960;

/// The longest packet: 120 ms.
const MOST: u32 = 5760;

/// The lengths of a CELT frame.
const CELT: [u32; 4] = [120, 240, 480, 960];

/// Table 2's number of CELT at full bandwidth, for the shortest frame.
const CELT_FULL: u8 = 28;

/// Samples per channel in a packet, at 48 kHz, by its first two bytes (3.1 and 3.2). `None` if it is cut off, or says more than
/// 120 ms.
///
/// ```
/// use flowcast_rtmp::flv::opus;
/// assert_eq!(opus::packet_samples(&[0xFC, 0xFF, 0xFE]), Some(960));
/// ```
#[must_use]
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let &first = packet.first()?;
    let (config, lengths) = match first >> 3 {
        config @ 0..12 => (config & 3, [480, 960, 1920, 2880]),
        config @ 12..16 => (config & 1, [480, 960, 480, 960]),
        config => (config & 3, CELT),
    };
    let frame: u32 = lengths.get(usize::from(config)).copied()?;
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3F),
    };
    frame.checked_mul(frames).filter(|samples| (1..=MOST).contains(samples))
}

/// A packet of silence with this many samples, for one channel or two: frames whose first bit says that they are silent. A decoder
/// makes exact zeros of it. `None` for a length that packets of it cannot have: those of 2.5, 5 and 10 ms, and multiples of 20.
#[must_use]
pub fn silence(samples: u32) -> Option<Bytes> {
    const SILENT: [u8; 2] = [0xFF, 0xFE];
    let mut packet = BytesMut::new();
    if let Some(number) = (0_u8..).zip(CELT).find(|(_, frame)| *frame == samples).map(|(number, _)| number) {
        packet.put_u8(CELT_FULL.wrapping_add(number) << 3);
        packet.put_slice(&SILENT);
        return Some(packet.freeze());
    }
    // Several of 20 ms, all of the same size: code 3.
    let frames = u8::try_from(samples.checked_div(USUAL_SAMPLES)?).ok()?;
    if !samples.is_multiple_of(USUAL_SAMPLES) || !(1..=6).contains(&frames) {
        return None;
    }
    packet.put_slice(&[CELT_FULL.wrapping_add(3) << 3 | 3, frames]);
    for _ in 0..frames {
        packet.put_slice(&SILENT);
    }
    Some(packet.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_packets() {
        for (packet, samples) in [
            (&[0xFC][..], Some(960)),
            (&[0xFD], Some(1920)),
            (&[0xE7, 3], Some(360)),
            (&[0x18], Some(2880)),
            (&[0x60], Some(480)),
            (&[0xFF], None),
            (&[0xFF, 0], None),
            (&[0xFF, 7], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:?}");
        }
    }

    #[test]
    fn silence_is_as_long_as_it_says() {
        for samples in [120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760] {
            let packet = silence(samples);
            assert_eq!(packet.as_deref().and_then(packet_samples), Some(samples));
        }
        for samples in [0, 100, 1000, 6720, u32::MAX] {
            assert_eq!(silence(samples), None);
        }
    }
}
