//! The configuration of an H.264 decoder: AVCDecoderConfigurationRecord, ISO/IEC 14496-15 section 5.3.3.1.

use bytes::Bytes;

use super::{FlvError, sps::Sps};

/// An AVCDecoderConfigurationRecord ("avcC"): the payload of an H.264 sequence header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcConfig {
    /// AVCProfileIndication: 66 baseline, 77 main, 100 high, ...
    pub profile: u8,
    /// The constraint flags between profile and level.
    pub compatibility: u8,
    /// AVCLevelIndication: ten times the level.
    pub level: u8,
    /// Bytes of the length before each NAL unit of a frame, 1 to 4. 3 is reserved, and sent nevertheless.
    pub nal_length_size: u8,
    /// Sequence parameter sets, as NAL units without length or start code.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<Bytes>,
}

impl AvcConfig {
    /// Reads a record. The parameter sets share `record`; what follows them (the chroma format of high profiles) is
    /// not needed and not looked at.
    ///
    /// # Errors
    ///
    /// [`FlvError::Truncated`] and [`FlvError::Invalid`]; the latter also for an Annex B byte stream, which begins with
    /// a start code.
    pub fn parse(record: &Bytes) -> Result<Self, FlvError> {
        let mut fields = Fields { record, position: 0 };
        let invalid = |what, value, offset| FlvError::Invalid { what, value: u64::from(value), offset };
        let version = fields.u8()?;
        if version != 1 {
            return Err(invalid("avcC version", version, 0));
        }
        let (profile, compatibility, level) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let nal_length_size = (fields.u8()? & 3).saturating_add(1);
        let sps_count = fields.u8()? & 0x1F;
        let sps = fields.sets(sps_count)?;
        let pps_count = fields.u8()?;
        let pps = fields.sets(pps_count)?;
        Ok(Self { profile, compatibility, level, nal_length_size, sps, pps })
    }

    /// Width and height of the picture in pixels, after cropping, as the first sequence parameter set has them.
    #[must_use]
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        let sps = Sps::parse(self.sps.first()?).ok()?;
        Some((sps.width, sps.height))
    }
}

struct Fields<'a> {
    record: &'a Bytes,
    position: usize,
}

impl Fields<'_> {
    fn take(&mut self, length: usize) -> Result<Bytes, FlvError> {
        let end = self.position.saturating_add(length);
        if end > self.record.len() {
            let missing = end.saturating_sub(self.record.len()) as u64;
            return Err(FlvError::Truncated { what: "avcC", offset: self.position as u64, missing });
        }
        let taken = self.record.slice(self.position..end);
        self.position = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, FlvError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn sets(&mut self, count: u8) -> Result<Vec<Bytes>, FlvError> {
        let mut sets = Vec::new();
        for _ in 0..count {
            let length = u16::from_be_bytes([self.u8()?, self.u8()?]);
            sets.push(self.take(usize::from(length))?);
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_three_bytes_are_taken() {
        let record =
            Bytes::from_static(&[1, 0x64, 0, 0x1F, 0xFE, 0xE1, 0, 2, 0x67, 0x64, 1, 0, 2, 0x68, 0xEE]);
        let config = AvcConfig::parse(&record).expect("a complete record");
        assert_eq!((config.nal_length_size, config.sps.len(), config.pps.len()), (3, 1, 1));
        assert!(AvcConfig::parse(&record.slice(..12)).is_err(), "cut off");
    }
}
