//! Screens a raw stream of AV1's units, cut anywhere.

use crate::limits::{Exceeded, InputLimits};

/// `obu_type` of a temporal delimiter (AV1, 6.2.2).
const TEMPORAL_DELIMITER: u8 = 2;

/// Counts units and bytes from one temporal delimiter to the next.
#[derive(Debug, Clone)]
pub(crate) struct ObuScreen {
    limits: InputLimits,
    /// Since the last temporal delimiter.
    units: u32,
    bytes: u64,
    at: At,
}

/// Where in a unit the next byte is.
#[derive(Debug, Clone, Copy)]
enum At {
    Header,
    Extension,
    /// In its size, of which this many bits are known.
    Size(u64, u32),
    /// This many bytes before its end.
    Payload(u64),
    /// Not at the beginning of the stream, or behind a unit without a size: nothing can be told.
    Lost,
}

impl ObuScreen {
    pub(crate) fn new(limits: InputLimits) -> Self {
        Self { limits, units: 0, bytes: 0, at: At::Header }
    }

    /// Takes in the next bytes.
    pub(crate) fn feed(&mut self, mut data: &[u8]) -> Result<(), Exceeded> {
        while let Some((&byte, rest)) = data.split_first() {
            if let At::Payload(left) = self.at {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                self.bytes = self.bytes.saturating_add(taken as u64);
                self.limits.check_bytes(self.bytes)?;
                data = data.get(taken..).unwrap_or_default();
                self.at = Self::before_end(left - taken as u64);
                continue;
            }
            self.at = match self.at {
                At::Header => self.header(byte)?,
                At::Extension => At::Size(0, 0),
                At::Size(value, bits) => {
                    let value = value | u64::from(byte & 0x7F) << bits;
                    match byte & 0x80 {
                        0 => Self::before_end(value),
                        _ if bits < 49 => At::Size(value, bits + 7),
                        _ => At::Lost,
                    }
                }
                At::Payload(_) | At::Lost => return Ok(()),
            };
            data = rest;
        }
        Ok(())
    }

    fn before_end(left: u64) -> At {
        if left == 0 { At::Header } else { At::Payload(left) }
    }

    fn header(&mut self, byte: u8) -> Result<At, Exceeded> {
        if byte >> 3 & 0x0F == TEMPORAL_DELIMITER {
            (self.units, self.bytes) = (0, 0);
        }
        self.units = self.units.saturating_add(1);
        self.limits.check_units(self.units as usize)?;
        Ok(match (byte & 2 != 0, byte & 4 != 0) {
            (false, _) => At::Lost,
            (true, true) => At::Extension,
            (true, false) => At::Size(0, 0),
        })
    }

    /// What follows is from elsewhere in the stream.
    pub(crate) fn restart(&mut self) {
        (self.units, self.bytes, self.at) = (0, 0, At::Lost);
    }
}
