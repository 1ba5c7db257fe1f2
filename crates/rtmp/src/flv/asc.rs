//! The configuration of an AAC decoder: AudioSpecificConfig, ISO/IEC 14496-3 section 1.6.2.1.

use super::FlvError;
use super::bits::BitReader;

/// An AudioSpecificConfig: the payload of an AAC sequence header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type of the core: 1 main, 2 LC, 4 LTP, ...
    pub object_type: u8,
    /// Sample rate of the core, in hertz.
    pub sample_rate_hz: u32,
    /// Channels of the core; 0 if the configuration leaves them to the frames.
    pub channels: u8,
    /// Samples of one channel in a frame of the core: 1024, or 960.
    pub frame_samples: u16,
    /// Sample rate that comes out with spectral band replication (HE-AAC), in hertz, where it is signalled.
    pub sbr_rate_hz: Option<u32>,
    /// Whether parametric stereo (HE-AAC v2) is signalled: one channel of the core comes out as two.
    pub parametric_stereo: bool,
}

/// By index, table 1.18 of the standard.
pub(super) const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

const SBR: u8 = 5;
const PARAMETRIC_STEREO: u8 = 29;

impl AudioSpecificConfig {
    /// Reads a configuration, with both ways of signalling SBR and parametric stereo.
    ///
    /// # Errors
    ///
    /// [`FlvError::Truncated`] and [`FlvError::Invalid`] for reserved rates and channel configurations.
    pub fn parse(config: &[u8]) -> Result<Self, FlvError> {
        let mut bits = BitReader::new(config);
        let end =
            FlvError::Truncated { what: "AudioSpecificConfig", offset: config.len() as u64, missing: 1 };
        let mut object_type = object_type(&mut bits).ok_or(end.clone())?;
        let sample_rate_hz = rate(&mut bits).ok_or(end.clone())?;
        let channel_config = bits.bits(4).ok_or(end.clone())?;
        let parametric_stereo = object_type == PARAMETRIC_STEREO;
        let mut sbr_rate_hz = None;
        if matches!(object_type, SBR | PARAMETRIC_STEREO) {
            sbr_rate_hz = Some(known(rate(&mut bits).ok_or(end.clone())?)?);
            object_type = self::object_type(&mut bits).ok_or(end.clone())?;
        }
        let channels = match channel_config {
            0 => 0,
            count @ 1..=6 => count,
            7 | 12 | 14 => 8,
            11 => 7,
            13 => 24,
            value => {
                let value = u64::from(value);
                return Err(FlvError::Invalid { what: "AAC channel configuration", value, offset: 1 });
            }
        };
        let mut parsed = Self {
            object_type,
            sample_rate_hz: known(sample_rate_hz)?,
            channels: u8::try_from(channels).unwrap_or_default(),
            frame_samples: 1024,
            sbr_rate_hz,
            parametric_stereo,
        };
        if is_general_audio(object_type) {
            parsed.general_audio(&mut bits, channel_config).ok_or(end)?;
            if sbr_rate_hz.is_none() {
                parsed.sync_extension(&mut bits);
            }
        }
        Ok(parsed)
    }

    /// GASpecificConfig, section 4.4.1.
    fn general_audio(&mut self, bits: &mut BitReader<'_>, channel_config: u32) -> Option<()> {
        if bits.bit()? {
            self.frame_samples = 960;
        }
        if bits.bit()? {
            bits.skip(14)?;
        }
        let extension = bits.bit()?;
        if channel_config == 0 {
            self.channels = program_config(bits)?;
        }
        if matches!(self.object_type, 6 | 20) {
            bits.skip(3)?;
        }
        if extension {
            match self.object_type {
                22 => bits.skip(16)?,
                17 | 19 | 20 | 23 => bits.skip(3)?,
                _ => {}
            }
            bits.skip(1)?;
        }
        Some(())
    }

    /// The signalling that older decoders do not see: section 1.6.5.2, after everything else. Bytes there that are
    /// something else are padding.
    fn sync_extension(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.bits(11)? != 0x2B7 || object_type(bits)? != SBR || !bits.bit()? {
            return None;
        }
        self.sbr_rate_hz = Some(rate(bits)?).filter(|&rate_hz| rate_hz != 0);
        if bits.bits(11)? == 0x548 {
            self.parametric_stereo = bits.bit()?;
        }
        Some(())
    }
}

const fn is_general_audio(object_type: u8) -> bool {
    matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23)
}

fn object_type(bits: &mut BitReader<'_>) -> Option<u8> {
    let id = match bits.bits(5)? {
        31 => bits.bits(6)?.checked_add(32)?,
        id => id,
    };
    u8::try_from(id).ok()
}

/// The sample rate; 0 for a reserved index.
fn rate(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.bits(4)? {
        15 => bits.bits(24),
        index => Some(SAMPLE_RATES.get(usize::try_from(index).ok()?).copied().unwrap_or(0)),
    }
}

fn known(rate_hz: u32) -> Result<u32, FlvError> {
    if rate_hz == 0 {
        Err(FlvError::Invalid { what: "AAC sample rate", value: 0, offset: 0 })
    } else {
        Ok(rate_hz)
    }
}

/// program_config_element, section 4.4.1.1: how many channels its elements have.
fn program_config(bits: &mut BitReader<'_>) -> Option<u8> {
    bits.skip(10)?;
    let mut pairable = 0u32;
    for _ in 0..3 {
        pairable = pairable.checked_add(bits.bits(4)?)?;
    }
    let low_frequency = bits.bits(2)?;
    let data = usize::try_from(bits.bits(3)?).ok()?;
    let coupling = usize::try_from(bits.bits(4)?).ok()?;
    for mixdown_bits in [4, 4, 3] {
        if bits.bit()? {
            bits.skip(mixdown_bits)?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..pairable {
        channels = channels.checked_add(if bits.bit()? { 2 } else { 1 })?;
        bits.skip(4)?;
    }
    bits.skip(usize::try_from(low_frequency).ok()?.checked_mul(4)?)?;
    bits.skip(data.checked_mul(4)?)?;
    bits.skip(coupling.checked_mul(5)?)?;
    bits.align();
    let comment = usize::try_from(bits.bits(8)?).ok()?;
    bits.skip(comment.checked_mul(8)?)?;
    u8::try_from(channels).ok()
}
