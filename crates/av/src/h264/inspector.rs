//! Looks at the NAL units of each packet of a track.

use super::slice::{SliceHeader, SliceType, has_recovery_point};
use super::{NAL_PPS, NAL_SPS, ParameterSets, Sps, annexb, avcc, nal_type};
use crate::Packet;

/// `nal_unit_type` of a slice, of the first part of a divided slice, of a slice of an IDR picture, and of messages (SEI).
const NAL_SLICE: u8 = 1;
const NAL_PARTITION: u8 = 2;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;

/// What a picture is predicted from: the most of what any of its slices needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PictureKind {
    /// No slice was found: the packet is no picture, or damaged.
    None,
    /// From nothing, and nothing behind it needs what was before it.
    Idr,
    /// From nothing.
    I,
    /// From earlier pictures.
    P,
    /// From earlier and later pictures.
    B,
}

/// What the NAL units of a packet say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// What it is predicted from.
    pub kind: PictureKind,
    /// A message says that pictures are right from here on, or soon after, although this is no IDR picture.
    pub recovery_point: bool,
    /// It is one field of a frame.
    pub field: bool,
    /// It brings a parameter set that differs from the one of its number, or a new one.
    pub parameters_changed: bool,
    /// That changed the size of the picture.
    pub size_changed: bool,
    /// Its NAL units are not what they should be: lengths that do not fit, headers that cannot be.
    pub damaged: bool,
}

/// Looks at packets of one H.264 track in their order.
///
/// ```no_run
/// use flowcast_av::h264::{Inspector, PictureKind};
/// use flowcast_av::{Demuxer, Interrupt, OpenOptions};
///
/// let mut input = Demuxer::open("intro.mp4".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// let Some(track) = input.media().video().cloned() else { return Ok(()) };
/// let mut inspector = Inspector::new(track.config.as_deref());
/// while let Some(packet) = input.read()? {
///     if packet.track == track.index && inspector.inspect(&packet).kind == PictureKind::Idr {
///         println!("IDR picture at {:?}", packet.pts);
///     }
/// }
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Inspector {
    sets: ParameterSets,
    sps: Option<Sps>,
    length_size: usize,
}

impl Inspector {
    /// For a track with this configuration: an avcC record, or Annex B.
    #[must_use]
    pub fn new(config: Option<&[u8]>) -> Self {
        let mut inspector = Self { length_size: 4, ..Self::default() };
        if let Some(config) = config {
            inspector.configure(config);
        }
        inspector
    }

    /// The newest sequence parameter set; `None` if none was readable so far.
    #[must_use]
    pub fn sps(&self) -> Option<&Sps> {
        self.sps.as_ref()
    }

    /// Whether a sequence and a picture parameter set were seen, in the configuration or in packets.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        self.sets.are_complete()
    }

    /// Looks at the next packet, in the form a [`Demuxer`](crate::Demuxer) gives it.
    pub fn inspect(&mut self, packet: &Packet) -> Picture {
        let known = self.sets.are_complete();
        let size = self.size();
        let mut changed = packet.config.as_deref().is_some_and(|config| self.configure(config));
        let mut picture = Picture {
            kind: PictureKind::None,
            recovery_point: false,
            field: false,
            parameters_changed: false,
            size_changed: false,
            damaged: false,
        };
        let mut units = Units { rest: &packet.data, length_size: self.length_size, damaged: false };
        while let Some(unit) = units.next() {
            changed |= self.look(unit, &mut picture);
        }
        picture.damaged |= units.damaged || picture.kind == PictureKind::None;
        picture.parameters_changed = known && changed;
        picture.size_changed = picture.parameters_changed && size.is_some() && self.size() != size;
        picture
    }

    /// Looks at one NAL unit; true if it changes the parameters.
    fn look(&mut self, unit: &[u8], picture: &mut Picture) -> bool {
        // forbidden_zero_bit
        picture.damaged |= unit.first().is_some_and(|header| header & 0x80 != 0);
        match nal_type(unit) {
            kind @ (NAL_SLICE | NAL_PARTITION | NAL_IDR) => {
                let Some(header) = SliceHeader::parse(unit, self.sps.as_ref()) else {
                    picture.damaged = true;
                    return false;
                };
                let slice = match header.slice_type {
                    SliceType::I if kind == NAL_IDR => PictureKind::Idr,
                    SliceType::I => PictureKind::I,
                    SliceType::P => PictureKind::P,
                    SliceType::B => PictureKind::B,
                };
                picture.kind = picture.kind.max(slice);
                picture.field |= header.field;
                false
            }
            NAL_SEI => {
                picture.recovery_point |= has_recovery_point(unit);
                false
            }
            NAL_SPS | NAL_PPS => self.take(unit),
            _ => false,
        }
    }

    fn size(&self) -> Option<(u32, u32)> {
        self.sps.as_ref().map(|sps| (sps.width, sps.height))
    }

    fn take(&mut self, unit: &[u8]) -> bool {
        let changed = self.sets.take(unit);
        if changed && nal_type(unit) == NAL_SPS {
            self.sps = Sps::parse(unit).or(self.sps.take());
        }
        changed
    }

    /// Takes in a configuration; true if it changes the parameters.
    fn configure(&mut self, config: &[u8]) -> bool {
        let mut changed = false;
        if let Some(record) = avcc::parse(config) {
            self.length_size = record.length_size;
            for set in record.sets {
                changed |= self.take(set);
            }
        } else {
            for unit in annexb::nal_units(config) {
                changed |= self.take(unit);
            }
        }
        changed
    }
}

/// NAL units behind their lengths.
struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
    /// A length goes beyond the packet.
    damaged: bool,
}

impl<'a> Units<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let unit = self.rest.split_at_checked(self.length_size).and_then(|(prefix, rest)| {
                let length = prefix.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
                rest.split_at_checked(length)
            });
            let Some((unit, rest)) = unit else {
                self.damaged = true;
                return None;
            };
            self.rest = rest;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::Ratio;
    use crate::encoder::{VideoEncoder, VideoSettings};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn packet(units: &[&[u8]]) -> Packet {
        let mut data = Vec::new();
        for unit in units {
            data.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
            data.extend_from_slice(unit);
        }
        Packet::new(0, Some(0), Some(0), Bytes::from(data))
    }

    const I_SLICE: [u8; 3] = [0x65, 0b1000_1000, 0b1100_0000];
    const P_SLICE: [u8; 3] = [0x41, 0b1001_1010, 0];

    #[test]
    fn the_slice_that_needs_most_tells() {
        let mut inspector = Inspector::new(None);
        assert_eq!(inspector.inspect(&packet(&[&I_SLICE])).kind, PictureKind::Idr);
        let mixed = inspector.inspect(&packet(&[&[0x61, I_SLICE[1], I_SLICE[2]], &P_SLICE]));
        assert_eq!((mixed.kind, mixed.damaged), (PictureKind::P, false));
        let recovery = inspector.inspect(&packet(&[&[6, 6, 1, 0xC4, 0x80], &[0x61, I_SLICE[1], I_SLICE[2]]]));
        assert_eq!((recovery.kind, recovery.recovery_point), (PictureKind::I, true));
    }

    #[test]
    fn lengths_that_do_not_fit_are_damage() {
        let mut inspector = Inspector::new(None);
        let mut cut = packet(&[&I_SLICE, &P_SLICE]);
        cut.data = cut.data.slice(..cut.data.len() - 1);
        let picture = inspector.inspect(&cut);
        assert_eq!((picture.kind, picture.damaged), (PictureKind::Idr, true));
        assert!(inspector.inspect(&packet(&[])).damaged, "a packet without a picture");
    }

    #[test]
    fn a_changed_set_is_told_once() {
        // The sets of a real encoder, of two sizes.
        let config = |width| {
            let settings = VideoSettings::new(width, 48, Ratio::new(25, 1).unwrap());
            VideoEncoder::open(0, &settings).unwrap().track().config.clone().unwrap()
        };
        let (small, large) = (config(64), config(80));
        let mut inspector = Inspector::new(Some(&small));
        assert_eq!(inspector.sps().unwrap().width, 64);
        assert!(inspector.has_parameters());
        let mut idr = packet(&[&I_SLICE]);
        assert!(!inspector.inspect(&idr).parameters_changed);
        idr.config = Some(large);
        let changed = inspector.inspect(&idr);
        assert!(changed.parameters_changed && changed.size_changed);
        assert_eq!(inspector.sps().unwrap().width, 80);
        assert!(!inspector.inspect(&idr).parameters_changed, "the same again");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            config in proptest::collection::vec(any::<u8>(), 0..64),
            data in proptest::collection::vec(any::<u8>(), 0..256),
        ) {
            let mut inspector = Inspector::new(Some(&config));
            let _ = inspector.inspect(&Packet::new(0, None, None, Bytes::from(data)));
        }
    }
}
