//! Screens the packets of a track as its container gives them.

use super::{ByteScreen, Syntax};
use crate::h264::{self, is_annexb, nal_units};
use crate::limits::{Exceeded, InputLimits};
use crate::{TrackInfo, av1, hevc};

/// Formats whose packets are cut anywhere: libav's parsers put pictures together.
const CUT_ANYWHERE: [&str; 4] = ["mpegts", "mpeg", "h264", "hevc"];

/// Looks at the packets of one track.
#[derive(Debug, Clone)]
pub(crate) struct PacketScreen {
    syntax: Syntax,
    limits: InputLimits,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// Bytes of a stream that goes on from packet to packet.
    Stream(ByteScreen),
    /// NAL units behind start codes, whole pictures.
    StartCodes,
    /// NAL units behind length fields of this many bytes.
    Lengths(usize),
    Obus,
}

impl PacketScreen {
    /// A screen for a track of a format by libav's names; `None` if there is nothing to look at.
    pub(crate) fn of(track: &TrackInfo, format: &str, limits: InputLimits) -> Option<Self> {
        let syntax = Syntax::of(&track.codec)?;
        let config = track.config.as_deref().unwrap_or_default();
        let form = match syntax {
            Syntax::Av1 => Form::Obus,
            _ if format.split(',').any(|name| CUT_ANYWHERE.contains(&name)) => {
                Form::Stream(ByteScreen::new(syntax, limits))
            }
            Syntax::H264 if h264::is_avcc(config) => Form::Lengths(length_size(config, 4)),
            Syntax::Hevc | Syntax::Other if hevc::is_hvcc(config) => Form::Lengths(length_size(config, 21)),
            _ => Form::StartCodes,
        };
        Some(Self { syntax, limits, form })
    }

    /// Looks at the configuration a container has for the track.
    pub(crate) fn check_config(&self, config: &[u8]) -> Result<(), Exceeded> {
        let mut units = Vec::new();
        match self.syntax {
            Syntax::H264 if h264::is_avcc(config) => {
                units.extend(h264::parse_avcc(config).map(|record| record.sets).unwrap_or_default());
            }
            Syntax::Hevc if hevc::is_hvcc(config) => {
                // Cut-off records leave what could be read.
                let _ = hevc::each_set(config, |_, unit| units.push(unit));
            }
            Syntax::Av1 => {}
            _ => units.extend(nal_units(config)),
        }
        self.limits.check_units(units.len())?;
        units.into_iter().try_for_each(|unit| self.syntax.check_unit(unit, &self.limits))
    }

    /// Looks at a packet.
    pub(crate) fn check(&mut self, data: &[u8]) -> Result<(), Exceeded> {
        self.limits.check_bytes(data.len() as u64)?;
        let starts = || is_annexb(data).then(|| nal_units(data)).into_iter().flatten();
        match &mut self.form {
            Form::Stream(stream) => stream.feed(data),
            Form::Obus => self.limits.check_units(av1::count(data, self.limits.max_units as usize)),
            Form::StartCodes => self.check_units(nal_units(data)),
            Form::Lengths(size) => {
                let size = *size;
                self.check_units(lengths(data, size))?;
                // Files say the one and hold the other.
                self.check_units(starts())
            }
        }
    }

    fn check_units<'a>(&self, units: impl Iterator<Item = &'a [u8]>) -> Result<(), Exceeded> {
        let most = self.syntax.most_units(&self.limits) as usize;
        for (index, unit) in units.enumerate() {
            if index >= most {
                return Err(Exceeded::new("max_units", u64::from(self.limits.max_units)));
            }
            self.syntax.check_unit(unit, &self.limits)?;
        }
        Ok(())
    }
}

/// Bytes of a length, of which a record says one less in the lowest two bits of a byte.
fn length_size(config: &[u8], at: usize) -> usize {
    config.get(at).map_or(4, |byte| usize::from(byte & 3) + 1)
}

/// NAL units behind lengths; the last one may be cut off.
fn lengths(mut data: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (prefix, rest) = data.split_at_checked(size)?;
        let length = prefix.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        Some(unit)
    })
}
