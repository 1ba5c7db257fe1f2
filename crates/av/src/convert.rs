//! Brings packets into the form FLV and MP4 want, one converter per track: Annex B to length prefixes, ADTS to raw AAC, missing
//! timestamps of raw H.264 filled in. Safe Rust.

use bytes::Bytes;

use crate::adts::{self, AdtsHeader};
use crate::h264::{self, ParameterSets};
use crate::{Codec, Packet, TimeBase, TrackInfo};

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Converted {
    /// It is ready.
    Packet(Packet),
    /// It was no frame of its codec and is left out.
    Dropped,
    /// It has no timestamps and none can be made.
    NoTimestamps,
}

/// What is done to the packets of a track so that FLV and MP4 can carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Conversion {
    /// Start codes of H.264 become length prefixes, and in-band parameter sets an avcC record.
    LengthPrefixes,
    /// ADTS headers of AAC are taken off, and an `AudioSpecificConfig` is made of them.
    RawAac,
    /// Timestamps are made by counting pictures: the stream has none.
    CountedTimes,
}

/// The converter of one track.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    form: Form,
    /// The form at the start of the input.
    initial: Form,
    clock: Option<FrameClock>,
    lead: Option<Lead>,
    /// Pictures come in the order they are shown, so that one timestamp stands for both.
    in_order: bool,
    /// Length of a packet in ticks, rounded down, for containers that do not say (FLV); 0 if unknown.
    frame_ticks: i64,
    /// The configuration the receiver knows.
    current: Option<Bytes>,
}

#[derive(Debug, Clone)]
enum Form {
    /// As it comes.
    Plain,
    /// H.264 of which no configuration is known yet: the first packet tells.
    UndecidedH264,
    /// H.264 with start codes.
    AnnexB(ParameterSets),
    /// AAC of which no configuration is known yet: ADTS if the packets say so.
    Adts,
}

/// Timestamps for a raw stream: one tick count per picture.
#[derive(Debug, Clone)]
struct FrameClock {
    next: i64,
    frame: i64,
}

/// Times to decode for the first pictures of a track whose frames are reordered: containers without such times (Matroska)
/// leave libav to find them in the times to show, which takes as many pictures as are held back.
#[derive(Debug, Clone)]
struct Lead {
    /// Pictures without a time to decode so far.
    seen: u32,
    /// Pictures a decoder holds back.
    held: u32,
    /// Time to show of the first picture, in ticks.
    start: Option<i64>,
    frame: TimeBase,
    time_base: TimeBase,
}

impl Lead {
    fn of(track: &TrackInfo) -> Option<Self> {
        let video = track.video.as_ref().filter(|video| video.b_frames > 0)?;
        let rate = video.frame_rate?;
        let frame = TimeBase::new(rate.den, rate.num);
        Some(Self { seen: 0, held: video.b_frames, start: None, frame, time_base: track.time_base })
    }

    fn dts(&mut self, pts: i64) -> Option<i64> {
        let start = *self.start.get_or_insert(pts);
        let early = self.held.checked_sub(self.seen).filter(|early| *early > 0)?;
        self.seen += 1;
        Some(start.saturating_sub(self.frame.rescale(i64::from(early), self.time_base)))
    }
}

impl Converter {
    /// A converter for a track as libav describes it, and the configuration in the form FLV wants, if it can be told already.
    ///
    /// `raw_frame` is the length of a picture in ticks for a raw stream without timestamps.
    pub(crate) fn new(track: &TrackInfo, raw_frame: Option<i64>) -> (Self, Option<Bytes>) {
        let (form, config) = match (&track.codec, &track.config) {
            (Codec::H264, Some(config)) if h264::is_avcc(config) => (Form::Plain, Some(config.clone())),
            (Codec::H264, Some(config)) if h264::is_annexb(config) => {
                let mut sets = ParameterSets::default();
                sets.update(config);
                let config = sets.to_avcc();
                (Form::AnnexB(sets), config)
            }
            (Codec::H264, _) => (Form::UndecidedH264, None),
            (Codec::Aac, None) => (Form::Adts, None),
            (_, config) => (Form::Plain, config.clone()),
        };
        let in_order = track.video.as_ref().is_some_and(|video| video.b_frames == 0);
        let clock = raw_frame.map(|frame| FrameClock { next: 0, frame });
        (
            Self {
                initial: form.clone(),
                form,
                clock,
                lead: Lead::of(track),
                in_order,
                frame_ticks: frame_ticks(track),
                current: config.clone(),
            },
            config,
        )
    }

    /// What it does to the packets, as far as is known by now.
    pub(crate) fn conversion(&self) -> Option<Conversion> {
        match &self.form {
            _ if self.clock.is_some() => Some(Conversion::CountedTimes),
            Form::AnnexB(_) => Some(Conversion::LengthPrefixes),
            Form::Adts if self.current.is_some() => Some(Conversion::RawAac),
            Form::Plain | Form::UndecidedH264 | Form::Adts => None,
        }
    }

    /// Back to the start of the input, with the configuration the receiver has from the probe.
    pub(crate) fn restart(&mut self, config: Option<&Bytes>) {
        self.current = config.cloned();
        self.form = self.initial.clone();
        if let Some(clock) = &mut self.clock {
            clock.next = 0;
        }
        if let Some(lead) = &mut self.lead {
            (lead.seen, lead.start) = (0, None);
        }
    }

    /// Converts one packet. Its `config` is set only if it differs from what the receiver knows.
    pub(crate) fn convert(&mut self, mut packet: Packet) -> Converted {
        if !self.fill_timestamps(&mut packet) {
            return Converted::NoTimestamps;
        }
        if packet.duration == 0 {
            packet.duration = self.frame_ticks;
        }
        let announced = packet.config.take();
        if matches!(self.form, Form::UndecidedH264) {
            self.form = if h264::is_annexb(&packet.data) {
                Form::AnnexB(ParameterSets::default())
            } else {
                Form::Plain
            };
        }
        let config = match &mut self.form {
            Form::AnnexB(sets) => {
                let announced = announced.is_some_and(|config| sets.update(&config));
                let in_band = sets.update(&packet.data);
                packet.data = Bytes::from(h264::to_length_prefixed(&packet.data));
                if packet.data.is_empty() {
                    return Converted::Dropped;
                }
                if announced || in_band || self.current.is_none() { sets.to_avcc() } else { None }
            }
            Form::Adts if adts::is_adts(&packet.data) => {
                let Some(header) = AdtsHeader::parse(&packet.data) else { return Converted::Dropped };
                let end = header.frame_length.min(packet.data.len());
                if end <= header.length {
                    return Converted::Dropped;
                }
                packet.corrupt |= header.frame_length > packet.data.len();
                packet.data = packet.data.slice(header.length..end);
                header.config().map(|config| Bytes::copy_from_slice(&config))
            }
            Form::Plain | Form::Adts | Form::UndecidedH264 => announced,
        };
        if config.is_some() && config != self.current {
            self.current.clone_from(&config);
            packet.config = config;
        }
        Converted::Packet(packet)
    }

    /// False if there are no timestamps and none can be made.
    fn fill_timestamps(&mut self, packet: &mut Packet) -> bool {
        if packet.pts.is_none() && packet.dts.is_none() {
            match &mut self.clock {
                Some(clock) if self.in_order => {
                    packet.pts = Some(clock.next);
                    packet.dts = Some(clock.next);
                    packet.duration = clock.frame;
                    clock.next = clock.next.saturating_add(clock.frame);
                }
                Some(_) => return false,
                None => {}
            }
        } else if self.in_order {
            packet.pts = packet.pts.or(packet.dts);
            packet.dts = packet.dts.or(packet.pts);
        } else if let (Some(lead), None, Some(pts)) = (&mut self.lead, packet.dts, packet.pts) {
            packet.dts = lead.dts(pts);
        }
        true
    }
}

/// The ticks of one packet of sound, as libav counts them: rounded down.
fn frame_ticks(track: &TrackInfo) -> i64 {
    let Some(audio) = track.audio.as_ref().filter(|audio| audio.sample_rate > 0) else { return 0 };
    let ticks = u64::from(audio.frame_samples) * u64::from(track.time_base.den)
        / (u64::from(audio.sample_rate) * u64::from(track.time_base.num));
    i64::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::TrackKind;

    const SETS: [u8; 17] = [0, 0, 0, 1, 0x67, 77, 0, 31, 0x95, 0, 0, 0, 1, 0x68, 0xCE, 0x38, 0x80];

    fn packet(data: &[u8]) -> Packet {
        Packet::new(0, Some(0), Some(0), Bytes::copy_from_slice(data))
    }

    fn converted(converter: &mut Converter, data: &[u8]) -> Packet {
        match converter.convert(packet(data)) {
            Converted::Packet(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn in_band_parameter_sets_make_the_configuration_once() {
        let track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
        let (mut converter, config) = Converter::new(&track, None);
        assert_eq!(config, None);
        let idr = [SETS.as_slice(), &[0, 0, 1, 0x65, 7, 7]].concat();
        let first = converted(&mut converter, &idr);
        assert!(first.config.is_some());
        assert_eq!(first.data.get(first.data.len() - 7..).unwrap(), [0, 0, 0, 3, 0x65, 7, 7].as_slice());
        assert_eq!(converted(&mut converter, &idr).config, None);

        let mut changed = idr;
        changed[7] = 40;
        let after = converted(&mut converter, &changed).config.unwrap();
        assert_eq!(after.get(3), Some(&40));
    }

    #[test]
    fn adts_headers_become_the_configuration() {
        let track = TrackInfo::new(0, TrackKind::Audio, Codec::Aac, TimeBase::MILLIS);
        let (mut converter, _) = Converter::new(&track, None);
        let frame = [0xFF, 0xF1, 0x50, 0x80, 0x01, 0x3F, 0xFC, 1, 2];
        let first = converted(&mut converter, &frame);
        assert_eq!(first.config.unwrap(), [0x12, 0x10].as_slice());
        assert_eq!(first.data, [1, 2].as_slice());
        assert_eq!(converted(&mut converter, &frame).config, None);
        converter.restart(None);
        assert!(converted(&mut converter, &frame).config.is_some());
    }

    #[test]
    fn a_repeated_sequence_header_is_no_change() {
        let mut track = TrackInfo::new(0, TrackKind::Audio, Codec::Aac, TimeBase::MILLIS);
        track.config = Some(Bytes::from_static(&[0x12, 0x10]));
        let (mut converter, _) = Converter::new(&track, None);
        let mut repeated = packet(&[1, 2]);
        repeated.config = Some(Bytes::from_static(&[0x12, 0x10]));
        let Converted::Packet(repeated) = converter.convert(repeated) else { panic!("dropped") };
        assert_eq!(repeated.config, None);
    }
}
