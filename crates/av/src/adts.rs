//! AAC headers: ADTS frames (ISO/IEC 13818-7, 6.2) and `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1). Safe Rust.

use bytes::{Buf, Bytes};

use crate::bits::{BitReader, BitWriter};

/// Sampling frequencies by index (14496-3, table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// `syncExtensionType` before SBR, and before PS.
const SBR_SYNC: u32 = 0x2B7;
const PS_SYNC: u32 = 0x548;

/// Whether a packet starts with an ADTS sync word (layer 0).
pub(crate) fn is_adts(data: &[u8]) -> bool {
    matches!(data, [0xFF, second, ..] if second & 0xF6 == 0xF0)
}

/// The header at the start of a packet, and where its payload is. `None` if it is no frame, or one without a payload.
pub(crate) fn split(packet: &[u8]) -> Option<(AdtsHeader, std::ops::Range<usize>)> {
    let header = AdtsHeader::parse(packet)?;
    let end = header.frame_length.min(packet.len());
    (end > header.length).then_some((header, header.length..end))
}

/// One ADTS header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdtsHeader {
    /// Audio object type: 1 Main, 2 LC, 3 SSR, 4 LTP.
    object_type: u8,
    rate_index: u8,
    /// Channel configuration 1 to 7; 0 means the layout is in the payload.
    pub(crate) channels: u8,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub(crate) length: usize,
    /// Bytes of header and payload.
    pub(crate) frame_length: usize,
}

impl AdtsHeader {
    /// Parses the header at the start of a packet. `None` if it is none, or says a length that cannot be.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let [first, second, third, fourth, fifth, sixth, _seventh, ..] = *data else { return None };
        if !is_adts(&[first, second]) {
            return None;
        }
        let rate_index = third >> 2 & 0x0F;
        RATES.get(usize::from(rate_index))?;
        let length = if second & 1 == 0 { 9 } else { 7 };
        let frame_length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
        if frame_length < length {
            return None;
        }
        Some(Self {
            object_type: (third >> 6) + 1,
            rate_index,
            channels: (third & 1) << 2 | fourth >> 6,
            length,
            frame_length,
        })
    }

    /// The `AudioSpecificConfig` that says the same: 2 bytes. `None` if the channel layout is not in the header.
    pub(crate) fn config(self) -> Option<[u8; 2]> {
        (self.channels != 0).then_some([
            self.object_type << 3 | self.rate_index >> 1,
            (self.rate_index & 1) << 7 | self.channels << 3,
        ])
    }
}

/// `id_syn_ele` of a program config element.
const PROGRAM_CONFIG: u32 = 5;

impl AdtsHeader {
    /// Takes the layout off a payload that begins with one (a program config element), and makes the `AudioSpecificConfig` of it:
    /// the same bytes libav's `aac_adtstoasc` makes. `None`, and the payload stays, if it does not.
    pub(crate) fn take_layout(self, payload: &mut Bytes) -> Option<Bytes> {
        let mut element = BitReader::new(payload);
        if element.bits(3)? != PROGRAM_CONFIG {
            return None;
        }
        let mut config = BitWriter::default();
        config.put(u32::from(self.object_type), 5);
        config.put(u32::from(self.rate_index), 4);
        // No channel configuration; frames of 1024 samples, no core coder, no extension.
        config.put(0, 4 + 3);
        let layout = Layout::read(&mut element, Some(&mut config))?;
        let rest = element.position().div_ceil(8);
        if layout.channels == 0 || rest >= payload.len() {
            return None;
        }
        payload.advance(rest);
        Some(config.bytes.into())
    }
}

/// What a program config element says (14496-3, 4.4.1.1).
#[derive(Debug, Clone, Copy)]
struct Layout {
    channels: u32,
}

impl Layout {
    /// Reads an element behind its id, and copies it, each aligned to whole bytes of its own.
    fn read(bits: &mut BitReader<'_>, mut copy: Option<&mut BitWriter>) -> Option<Self> {
        let mut take = |bits: &mut BitReader<'_>, count: u32| {
            let value = bits.bits(count)?;
            if let Some(copy) = copy.as_deref_mut() {
                copy.put(value, count);
            }
            Some(value)
        };
        // Tag, object type, sampling frequency.
        take(bits, 4 + 2 + 4)?;
        let (front, side, back) = (take(bits, 4)?, take(bits, 4)?, take(bits, 4)?);
        let (low, data, coupling) = (take(bits, 2)?, take(bits, 3)?, take(bits, 4)?);
        // Mono, stereo and matrix mixdown.
        for length in [4, 4, 3] {
            if take(bits, 1)? == 1 {
                take(bits, length)?;
            }
        }
        let mut channels = low;
        for _ in 0..front + side + back {
            channels += 1 + take(bits, 1)?;
            take(bits, 4)?;
        }
        for _ in 0..low + data {
            take(bits, 4)?;
        }
        for _ in 0..coupling {
            take(bits, 5)?;
        }
        while !bits.position().is_multiple_of(8) {
            bits.bit()?;
        }
        if let Some(copy) = copy.as_deref_mut() {
            copy.align();
        }
        let comment = bits.bits(8)?;
        if let Some(copy) = copy.as_deref_mut() {
            copy.put(comment, 8);
        }
        for _ in 0..comment {
            let byte = bits.bits(8)?;
            if let Some(copy) = copy.as_deref_mut() {
                copy.put(byte, 8);
            }
        }
        Some(Self { channels })
    }
}

/// What an `AudioSpecificConfig` says, as far as a probe needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    pub(crate) object_type: u32,
    pub(crate) sample_rate: u32,
    /// 0 if it is not known.
    pub(crate) channels: u32,
    /// Samples per channel in a packet, at `sample_rate`.
    pub(crate) frame_samples: u32,
}

impl AudioConfig {
    /// Parses the explicit part. `None` if it is cut off or reserved.
    pub(crate) fn parse(config: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(config);
        let mut object_type = read_object_type(&mut bits)?;
        let mut sample_rate = read_rate(&mut bits)?;
        let channels = match bits.bits(4)? {
            7 => 8,
            count => count,
        };
        let named = object_type;
        let mut doubled = 1;
        if matches!(object_type, 5 | 29) {
            // Explicit SBR (and PS): the output rate follows, then the core's own type.
            let core_rate = sample_rate;
            sample_rate = read_rate(&mut bits)?;
            doubled = if sample_rate == core_rate { 1 } else { 2 };
            object_type = read_object_type(&mut bits)?;
        }
        let short = matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23) && bits.bit()?;
        let frame = match object_type {
            23 if short => 480,
            23 => 512,
            _ if short => 960,
            _ => 1024,
        };
        let channels = if channels == 0 { read_layout(bits.clone(), object_type) } else { channels };
        let mut parsed = Self { object_type: named, sample_rate, channels, frame_samples: frame * doubled };
        if named == object_type {
            parsed.read_extension(&mut bits);
        }
        if parsed.object_type == 29 && channels == 1 {
            parsed.channels = 2;
        }
        Some(parsed)
    }

    /// SBR and PS that are announced behind the configuration of the core, so that old decoders overlook them.
    fn read_extension(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        // What lies between depends on the object type; the sync word is looked for bit by bit, as libav does.
        let mut window = 0;
        while window != SBR_SYNC {
            window = (window << 1 | u32::from(bits.bit()?)) & 0x7FF;
        }
        if read_object_type(bits)? != 5 || !bits.bit()? {
            return None;
        }
        let core_rate = self.sample_rate;
        self.sample_rate = read_rate(bits)?;
        self.object_type = 5;
        if self.sample_rate != core_rate {
            self.frame_samples *= 2;
        }
        if bits.bits(11)? == PS_SYNC && bits.bit()? {
            self.object_type = 29;
        }
        Some(())
    }

    /// libav's name of the profile.
    pub(crate) const fn profile_name(self) -> Option<&'static str> {
        Some(match self.object_type {
            1 => "Main",
            2 => "LC",
            3 => "SSR",
            4 => "LTP",
            5 => "HE-AAC",
            29 => "HE-AACv2",
            23 => "LD",
            39 => "ELD",
            _ => return None,
        })
    }
}

/// The channels of the program config element behind the frame length flag of a configuration; 0 if it has none.
fn read_layout(mut bits: BitReader<'_>, object_type: u32) -> u32 {
    let mut read = || {
        if !matches!(object_type, 1..=4) {
            return None;
        }
        // A core coder's delay lies before it.
        if bits.bit()? {
            bits.skip(14)?;
        }
        bits.bit()?;
        Layout::read(&mut bits, None)
    };
    read().map_or(0, |layout| layout.channels)
}

fn read_object_type(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.bits(5)? {
        31 => Some(32 + bits.bits(6)?),
        object_type => Some(object_type),
    }
}

fn read_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.bits(4)? {
        15 => bits.bits(24),
        index => usize::try_from(index).ok().and_then(|index| RATES.get(index)).copied(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// LC, 44.1 kHz, stereo, 16 bytes in all, no checksum.
    const HEADER: [u8; 7] = [0xFF, 0xF1, 0x50, 0x80, 0x02, 0x1F, 0xFC];

    #[test]
    fn header_to_config() {
        let header = AdtsHeader::parse(&HEADER).unwrap();
        assert_eq!((header.length, header.frame_length, header.channels), (7, 16, 2));
        let config = header.config().unwrap();
        assert_eq!(config, [0x12, 0x10]);
        let parsed = AudioConfig::parse(&config).unwrap();
        assert_eq!((parsed.sample_rate, parsed.channels, parsed.frame_samples), (44_100, 2, 1024));
        assert_eq!(parsed.profile_name(), Some("LC"));
    }

    #[test]
    fn explicit_sbr() {
        // Object type 5, core 24 kHz, stereo, output 48 kHz, core LC.
        let parsed = AudioConfig::parse(&[0x2B, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((parsed.sample_rate, parsed.frame_samples), (48_000, 2048));
        assert_eq!(parsed.profile_name(), Some("HE-AAC"));
    }

    #[test]
    fn sbr_behind_the_core() {
        // LC at 24 kHz, mono, then sync word, type 5, SBR at 48 kHz.
        let parsed = AudioConfig::parse(&[0x13, 0x08, 0x56, 0xE5, 0x98]).unwrap();
        assert_eq!((parsed.sample_rate, parsed.frame_samples), (48_000, 2048));
        assert_eq!(parsed.profile_name(), Some("HE-AAC"));
        // The same, with SBR said to be absent: what libav's encoder writes.
        let parsed = AudioConfig::parse(&[0x11, 0x90, 0x56, 0xE5, 0x00]).unwrap();
        assert_eq!((parsed.sample_rate, parsed.frame_samples), (48_000, 1024));
        assert_eq!(parsed.profile_name(), Some("LC"));
    }

    #[test]
    fn refuses_what_is_no_header() {
        assert_eq!(AdtsHeader::parse(&HEADER[..6]), None);
        assert!(!is_adts(&[0xFF, 0xFB, 0x90]), "an MP3 header is none");
        let mut short = HEADER;
        short[4] = 0;
        short[5] = 0x1F;
        assert_eq!(AdtsHeader::parse(&short), None, "shorter than its header");
        let mut rate = HEADER;
        rate[2] = 0x7C;
        assert_eq!(AdtsHeader::parse(&rate), None, "reserved sampling frequency");
    }

    #[test]
    fn a_layout_in_the_payload_becomes_the_configuration() {
        // Four channels: a pair in front, a pair at the back. Tag, object type, 48 kHz; front, side, back; others; no mixdown.
        let mut frame = BitWriter::default();
        let fields =
            [(PROGRAM_CONFIG, 3), (0, 4), (1, 2), (3, 4), (1, 4), (0, 4), (1, 4), (0, 2 + 3 + 4), (0, 3)];
        let pairs = [(1, 1), (0, 4), (1, 1), (1, 4)];
        fields.into_iter().chain(pairs).for_each(|(value, count)| frame.put(value, count));
        frame.align();
        frame.put(2, 8);
        frame.put(0x4142, 16);
        let header = AdtsHeader::parse(&[0xFF, 0xF1, 0x4C, 0x00, 0x02, 0x1F, 0xFC]).unwrap();
        assert_eq!((header.channels, header.config()), (0, None));
        let sound = [0x21, 0x10, 0x05];
        let mut payload = Bytes::from([frame.bytes.as_slice(), &sound].concat());
        let made = header.take_layout(&mut payload).unwrap();
        assert_eq!(payload, sound.as_slice());
        let parsed = AudioConfig::parse(&made).unwrap();
        assert_eq!((parsed.sample_rate, parsed.frame_samples), (48_000, 1024));
        assert_eq!(parsed.channels, 4);
        assert_eq!(made.get(made.len() - 3..), Some(&[2, 0x41, 0x42][..]), "with its comment");
        // Frames without one stay as they are.
        assert_eq!(header.take_layout(&mut payload), None);
        assert_eq!(payload, sound.as_slice());
    }

    proptest! {
        #[test]
        fn any_layout_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let header = AdtsHeader::parse(&HEADER).unwrap();
            let mut payload = Bytes::from(bytes.clone());
            if let Some(config) = header.take_layout(&mut payload) {
                prop_assert!(AudioConfig::parse(&config).is_some_and(|config| config.channels > 0));
                prop_assert!(payload.len() < bytes.len());
            }
        }

        #[test]
        fn header_and_config_agree(object in 0_u8..4, rate in 0_u8..13, channels in 1_u8..8) {
            let mut data = HEADER;
            data[2] = object << 6 | rate << 2 | channels >> 2;
            data[3] = (channels & 3) << 6;
            let config = AdtsHeader::parse(&data).unwrap().config().unwrap();
            let parsed = AudioConfig::parse(&config).unwrap();
            prop_assert_eq!(parsed.object_type, u32::from(object) + 1);
            prop_assert_eq!(parsed.sample_rate, RATES[usize::from(rate)]);
            prop_assert_eq!(parsed.channels, if channels == 7 { 8 } else { u32::from(channels) });
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = AdtsHeader::parse(&bytes);
            let _ = AudioConfig::parse(&bytes);
        }
    }
}
