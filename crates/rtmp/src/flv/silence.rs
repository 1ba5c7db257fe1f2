//! Silence as AAC-LC, made without an encoder: for streams that need sound and have none.
//!
//! A frame is a `raw_data_block` of ISO/IEC 14496-3, section 4.4.2.1, in which no channel has a coded band (`max_sfb` is 0):
//! a decoder makes exact zeros of it. It may stand between coded frames; those fade into it as into any other.

use std::sync::OnceLock;

use bytes::Bytes;

use super::asc::SAMPLE_RATES;
use super::bits::BitWriter;

/// A syntactic element of a frame, with its `id_syn_ele`.
#[derive(Clone, Copy)]
enum Element {
    /// 0: one channel.
    Single,
    /// 1: two channels.
    Pair,
    /// 3: the channel of low frequencies.
    LowFrequency,
}

const END: u32 = 7;

use Element::{LowFrequency, Pair, Single};

/// The elements of the channel configurations 1 to 7, table 1.19.
const CONFIGURATIONS: [&[Element]; 7] = [
    &[Single],
    &[Pair],
    &[Single, Pair],
    &[Single, Pair, Single],
    &[Single, Pair, Pair],
    &[Single, Pair, Pair, LowFrequency],
    &[Single, Pair, Pair, Pair, LowFrequency],
];

/// One AAC-LC frame of silence, without ADTS header, for a channel configuration of 1 to 7; `None` for others.
///
/// The configuration is that of the AudioSpecificConfig the frame is decoded with: 1 to 6 stand for as many channels, 7 for
/// eight (7.1). Any sample rate will do, and both frame lengths (1024 and 960 samples). Made once, and shared.
///
/// ```
/// use flowcast_rtmp::flv::audio;
/// use flowcast_rtmp::flv::silence::{aac_config, aac_silence};
/// use flowcast_rtmp::time::MediaTime;
///
/// let config = aac_config(48_000, 2).expect("AAC has 48 kHz stereo");
/// let silence = aac_silence(2).expect("2 is stereo");
/// let header = audio::aac_sequence_header(config, MediaTime::ZERO);
/// let frames = (0..10).map(|frame| audio::aac_frame(MediaTime::from_millis(frame * 64 / 3), silence.clone()));
/// # let _ = (header, frames.count());
/// ```
#[must_use]
pub fn aac_silence(channel_configuration: u8) -> Option<Bytes> {
    static FRAMES: OnceLock<[Bytes; 7]> = OnceLock::new();
    let index = usize::from(channel_configuration).checked_sub(1)?;
    FRAMES.get_or_init(|| CONFIGURATIONS.map(silent_frame)).get(index).cloned()
}

/// The AudioSpecificConfig of AAC-LC with frames of 1024 samples: the payload of a sequence header.
///
/// `None` for a rate that is not one of AAC's thirteen, from 7350 to 96000 Hz, and for channels other than 1 to 6 and 8.
#[must_use]
pub fn aac_config(rate_hz: u32, channels: u8) -> Option<Bytes> {
    const LOW_COMPLEXITY: u32 = 2;
    let rate = SAMPLE_RATES.iter().position(|&known| known == rate_hz)?;
    let mut bits = BitWriter::default();
    bits.put(LOW_COMPLEXITY, 5);
    bits.put(u32::try_from(rate).ok()?, 4);
    bits.put(u32::from(channel_configuration(channels)?), 4);
    // GASpecificConfig: 1024 samples, no core coder before this one, no extension.
    bits.put(0, 3);
    Some(bits.finish().into())
}

/// The channel configuration for this many channels: 1 to 6 for the same number, 7 for eight; `None` for others.
#[must_use]
pub const fn channel_configuration(channels: u8) -> Option<u8> {
    match channels {
        1..=6 => Some(channels),
        8 => Some(7),
        _ => None,
    }
}

fn silent_frame(elements: &[Element]) -> Bytes {
    let mut bits = BitWriter::default();
    let (mut singles, mut pairs) = (0u32, 0u32);
    for element in elements {
        // Elements of the same kind are told apart by their tags.
        match element {
            Single => {
                bits.put(0, 3);
                bits.put(singles, 4);
                singles = singles.saturating_add(1);
                silent_channel(&mut bits, true);
            }
            Pair => {
                bits.put(1, 3);
                bits.put(pairs, 4);
                pairs = pairs.saturating_add(1);
                // common_window, the window, no ms_mask_present.
                bits.put(1, 1);
                silent_window(&mut bits);
                bits.put(0, 2);
                silent_channel(&mut bits, false);
                silent_channel(&mut bits, false);
            }
            LowFrequency => {
                bits.put(3, 3);
                bits.put(0, 4);
                silent_channel(&mut bits, true);
            }
        }
    }
    bits.put(END, 3);
    bits.finish().into()
}

/// `individual_channel_stream`, table 4.50. Without a band there are no sections, scale factors and coefficients.
fn silent_channel(bits: &mut BitWriter, own_window: bool) {
    let global_gain = 0;
    bits.put(global_gain, 8);
    if own_window {
        silent_window(bits);
    }
    // No pulses, no temporal noise shaping, no gain control.
    bits.put(0, 3);
}

/// `ics_info`, table 4.6.
fn silent_window(bits: &mut BitWriter) {
    bits.put(0, 1); // reserved
    bits.put(0, 2); // one long window
    bits.put(0, 1); // of sine shape
    bits.put(0, 6); // max_sfb: no band is coded
    bits.put(0, 1); // no prediction
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;
    use crate::flv::AudioSpecificConfig;

    #[test]
    fn configurations_are_read_as_they_were_meant() {
        for rate_hz in SAMPLE_RATES {
            for channels in [1, 2, 3, 4, 5, 6, 8] {
                let config = AudioSpecificConfig::parse(&aac_config(rate_hz, channels).unwrap()).unwrap();
                assert_eq!((config.object_type, config.frame_samples), (2, 1024));
                assert_eq!((config.sample_rate_hz, config.channels), (rate_hz, channels));
                assert_eq!((config.sbr_rate_hz, config.parametric_stereo), (None, false));
            }
        }
        // What every encoder writes for the two commonest.
        assert_eq!(aac_config(44_100, 2).unwrap()[..], [0x12, 0x10]);
        assert_eq!(aac_config(48_000, 2).unwrap()[..], [0x11, 0x90]);
        for (rate_hz, channels) in [(0, 2), (44_000, 2), (48_000, 0), (48_000, 7), (48_000, 9)] {
            assert_eq!(aac_config(rate_hz, channels), None);
        }
    }

    #[test]
    fn frames_are_those_of_the_syntax_tables() {
        // One channel, by hand: 000 0000 | 00000000 | 0 00 0 000000 0 | 0 0 0 | 111.
        assert_eq!(aac_silence(1).unwrap()[..], [0x00, 0x00, 0x00, 0x07]);
        // Two: 001 0000 1 | 0 00 0 000000 0 | 00 | 00000000 000 | 00000000 000 | 111 | 00.
        assert_eq!(aac_silence(2).unwrap()[..], [0x21, 0x00, 0x00, 0x00, 0x00, 0x1C]);
        // 29 bits for one channel or low frequencies, 43 for a pair, 3 for the end.
        let lengths = [1, 2, 3, 4, 5, 6, 7].map(|configuration| aac_silence(configuration).unwrap().len());
        assert_eq!(lengths, [4, 6, 10, 13, 15, 19, 24]);
        assert_eq!([0, 8, 255].map(aac_silence), [const { None }; 3]);
    }
}
