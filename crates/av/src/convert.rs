//! Brings packets into the form FLV and MP4 want, one converter per track: Annex B to length prefixes, AV1 without temporal
//! delimiters, ADTS to raw AAC, missing timestamps of raw H.264 filled in; and makes the configuration records. Safe Rust.

use bytes::Bytes;

use crate::adts;
use crate::vpx::Vpx;
use crate::{Codec, Packet, TimeBase, TrackInfo, av1, h264, hevc, opus};

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
    /// Start codes of H.264 and HEVC become length prefixes, and in-band parameter sets an avcC or hvcC record.
    LengthPrefixes,
    /// Parameter sets in the packets of H.264 and HEVC become the avcC or hvcC record, of which the container has none, or one
    /// without sets.
    InBandSets,
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
    /// H.264 or HEVC of which no configuration is known yet: the first packet tells.
    Undecided(Sets),
    /// H.264 or HEVC with start codes.
    AnnexB(Sets),
    /// H.264 or HEVC with length prefixes.
    Prefixed(Prefixed),
    /// AAC of which no configuration is known yet: ADTS if the packets say so.
    Adts,
    /// AV1, whose keyframes bring their configuration.
    Av1,
    /// VP8 or VP9, whose keyframes tell their format.
    Vpx(Box<Vpx>),
}

/// Units behind their lengths.
#[derive(Debug, Clone)]
struct Prefixed {
    sets: Sets,
    /// Bytes of a length.
    length_size: usize,
    /// The container's record has parameter sets: packets may only change them, where decoding can start. Else they bring them
    /// (`avc3`, `hev1`).
    whole: bool,
}

impl Prefixed {
    /// For a track with this record.
    fn of(mut sets: Sets, record: &[u8]) -> Self {
        sets.announce(record);
        Self { whole: sets.are_whole_in(record), length_size: sets.length_size(record), sets }
    }

    /// The record that holds from this packet on, if it changes.
    fn take(&mut self, packet: &Packet, announced: Option<&Bytes>) -> Option<Bytes> {
        let announced = announced.filter(|record| self.sets.is_record(record));
        let mut record = None;
        if let Some(announced) = announced {
            let length_size = self.sets.length_size(announced);
            if self.sets.are_whole_in(announced) {
                *self = Self::of(self.sets.emptied(), announced);
                record = Some(announced.clone());
            } else if self.sets.announce(announced) || length_size != self.length_size {
                self.length_size = length_size;
                record = self.to_record();
            }
        }
        if (!self.whole || packet.keyframe) && self.sets.update_prefixed(&packet.data, self.length_size) {
            record = self.to_record().or(record);
        }
        record
    }

    fn to_record(&self) -> Option<Bytes> {
        let record = self.sets.to_record()?;
        let mut record = record.to_vec();
        // The record is made for lengths of four bytes, the packets stay as they are.
        let place = match self.sets {
            Sets::H264(_) => record.get_mut(h264::LENGTH_SIZE_AT),
            Sets::Hevc(_) => record.get_mut(hevc::LENGTH_SIZE_AT),
        };
        if let (Some(byte), Ok(size)) = (place, u8::try_from(self.length_size.saturating_sub(1))) {
            *byte = *byte & !3 | size & 3;
        }
        Some(Bytes::from(record))
    }
}

/// Parameter sets seen so far.
#[derive(Debug, Clone)]
enum Sets {
    H264(h264::ParameterSets),
    Hevc(hevc::ParameterSets),
}

impl Sets {
    fn of(codec: &Codec) -> Self {
        if *codec == Codec::Hevc { Self::Hevc(Default::default()) } else { Self::H264(Default::default()) }
    }

    /// Takes in a configuration; true if it changes the sets.
    fn announce(&mut self, config: &[u8]) -> bool {
        match self {
            Self::H264(sets) => sets.announce(config),
            Self::Hevc(sets) => sets.announce(config),
        }
    }

    /// The same codec's, none seen yet.
    fn emptied(&self) -> Self {
        match self {
            Self::H264(_) => Self::H264(Default::default()),
            Self::Hevc(_) => Self::Hevc(Default::default()),
        }
    }

    /// Whether a configuration is a record rather than Annex B.
    fn is_record(&self, config: &[u8]) -> bool {
        match self {
            Self::H264(_) => h264::is_avcc(config),
            Self::Hevc(_) => hevc::is_hvcc(config),
        }
    }

    /// Whether a record has all that a decoder needs.
    fn are_whole_in(&self, record: &[u8]) -> bool {
        match self {
            Self::H264(_) => h264::has_sets(record),
            Self::Hevc(_) => hevc::has_sets(record),
        }
    }

    /// Bytes of a length in packets with this record.
    fn length_size(&self, record: &[u8]) -> usize {
        let at = match self {
            Self::H264(_) => h264::LENGTH_SIZE_AT,
            Self::Hevc(_) => hevc::LENGTH_SIZE_AT,
        };
        record.get(at).map_or(4, |byte| usize::from(byte & 3) + 1)
    }

    /// Takes in what a packet with start codes brings.
    fn update(&mut self, annexb: &[u8]) -> bool {
        match self {
            Self::H264(sets) => sets.update(annexb),
            Self::Hevc(sets) => {
                h264::nal_units(annexb).fold(false, |changed, unit| sets.take(unit) | changed)
            }
        }
    }

    /// Takes in what a packet with length fields of this many bytes brings.
    fn update_prefixed(&mut self, mut data: &[u8], length_size: usize) -> bool {
        let mut changed = false;
        while let Some((prefix, rest)) = data.split_at_checked(length_size).filter(|_| length_size > 0) {
            let length = prefix.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            let Some((unit, rest)) = rest.split_at_checked(length) else { break };
            changed |= match self {
                Self::H264(sets) => sets.take(unit),
                Self::Hevc(sets) => sets.take(unit),
            };
            data = rest;
        }
        changed
    }

    fn to_record(&self) -> Option<Bytes> {
        match self {
            Self::H264(sets) => sets.to_avcc(),
            Self::Hevc(sets) => sets.to_hvcc(),
        }
    }
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
        let (form, config) = Form::of(track);
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
            Form::Prefixed(Prefixed { whole: false, .. }) if self.current.is_some() => {
                Some(Conversion::InBandSets)
            }
            Form::Adts if self.current.is_some() => Some(Conversion::RawAac),
            _ => None,
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
        if let Form::Undecided(sets) = &self.form {
            let sets = sets.clone();
            self.form = if h264::is_annexb(&packet.data) {
                Form::AnnexB(sets)
            } else {
                Form::Prefixed(Prefixed { sets, length_size: 4, whole: false })
            };
        }
        let config = match &mut self.form {
            Form::AnnexB(sets) => {
                let announced = announced.is_some_and(|config| sets.announce(&config));
                let in_band = sets.update(&packet.data);
                packet.data = Bytes::from(h264::to_length_prefixed(&packet.data));
                if packet.data.is_empty() {
                    return Converted::Dropped;
                }
                if announced || in_band || self.current.is_none() { sets.to_record() } else { None }
            }
            Form::Prefixed(prefixed) => prefixed.take(&packet, announced.as_ref()),
            Form::Av1 => {
                packet.data = av1::without_delimiters(&packet.data);
                if packet.data.is_empty() {
                    return Converted::Dropped;
                }
                if packet.keyframe { av1::changed(&packet.data, self.current.as_deref()) } else { None }
            }
            Form::Vpx(vpx) => {
                if packet.keyframe && vpx.update(&packet.data) {
                    vpx.to_vpcc()
                } else {
                    None
                }
            }
            Form::Adts if adts::is_adts(&packet.data) => {
                let Some((header, payload)) = adts::split(&packet.data) else { return Converted::Dropped };
                packet.corrupt |= header.frame_length > packet.data.len();
                packet.data = packet.data.slice(payload);
                match header.config() {
                    Some(config) => Some(Bytes::copy_from_slice(&config)),
                    // The layout is in the payload, of the first frame at least.
                    None => header.take_layout(&mut packet.data),
                }
            }
            Form::Plain | Form::Adts | Form::Undecided(_) => announced,
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

impl Form {
    /// The form of a track's packets, and its configuration as far as it can be told.
    fn of(track: &TrackInfo) -> (Self, Option<Bytes>) {
        let mut sets = Sets::of(&track.codec);
        match (&track.codec, &track.config) {
            (Codec::H264 | Codec::Hevc, Some(config)) if sets.is_record(config) => {
                let prefixed = Prefixed::of(sets, config);
                let config = prefixed.whole.then(|| config.clone());
                (Self::Prefixed(prefixed), config)
            }
            (Codec::H264 | Codec::Hevc, Some(config)) if h264::is_annexb(config) => {
                sets.announce(config);
                let config = sets.to_record();
                (Self::AnnexB(sets), config)
            }
            (Codec::H264 | Codec::Hevc, _) => (Self::Undecided(sets), None),
            (Codec::Aac, None) => (Self::Adts, None),
            (Codec::Av1, Some(config)) if av1::is_av1c(config) => (Self::Av1, Some(config.clone())),
            (Codec::Av1, config) => (Self::Av1, config.as_ref().and_then(|config| av1::build(config, true))),
            (Codec::Vp8 | Codec::Vp9, _) => {
                let vpx = Vpx::new(track);
                let config = vpx.to_vpcc();
                (Self::Vpx(Box::new(vpx)), config)
            }
            (Codec::Opus, None) => (Self::Plain, track.audio.as_ref().and_then(opus::header)),
            (_, config) => (Self::Plain, config.clone()),
        }
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

    /// Units behind length fields of this many bytes; a keyframe.
    fn prefixed(units: &[&[u8]], length_size: usize) -> Packet {
        let mut data = Vec::new();
        for unit in units {
            let length = u32::try_from(unit.len()).unwrap().to_be_bytes();
            data.extend_from_slice(&length[4 - length_size..]);
            data.extend_from_slice(unit);
        }
        let mut packet = packet(&data);
        packet.keyframe = true;
        packet
    }

    fn config_of(converter: &mut Converter, packet: Packet) -> Option<Bytes> {
        match converter.convert(packet) {
            Converted::Packet(packet) => packet.config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sets_in_the_packets_fill_an_empty_record() {
        let (sps, pps, idr) = (&SETS[4..9], &SETS[13..], &[0x65_u8, 7, 7][..]);
        for length_size in [1, 2, 4] {
            let size = u8::try_from(length_size).unwrap() - 1;
            let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
            track.config = Some(Bytes::from(vec![1, 77, 0, 31, 0xFC | size, 0xE0, 0]));
            let (mut converter, config) = Converter::new(&track, None);
            assert_eq!((config, converter.conversion()), (None, None));
            assert_eq!(config_of(&mut converter, prefixed(&[idr], length_size)), None, "not yet");
            let record = config_of(&mut converter, prefixed(&[sps, pps, idr], length_size)).unwrap();
            assert!(h264::has_sets(&record) && record[4] == 0xFC | size);
            assert_eq!(converter.conversion(), Some(Conversion::InBandSets));
            assert_eq!(config_of(&mut converter, prefixed(&[sps, pps, idr], length_size)), None, "the same");
            let changed = [sps[0], sps[1], sps[2], 40, sps[4]];
            let record = config_of(&mut converter, prefixed(&[&changed, pps, idr], length_size)).unwrap();
            assert_eq!((record[3], record[4]), (40, 0xFC | size));
            converter.restart(None);
            assert!(config_of(&mut converter, prefixed(&[sps, pps, idr], length_size)).is_some());
        }
    }

    #[test]
    fn sets_in_the_packets_change_a_whole_record_where_decoding_can_start() {
        let (sps, pps, idr) = (&SETS[4..9], &SETS[13..], &[0x65_u8, 7, 7][..]);
        let mut sets = h264::ParameterSets::default();
        assert!(sets.update(&SETS));
        let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
        track.config = sets.to_avcc();
        let (mut converter, config) = Converter::new(&track, None);
        assert_eq!((&config, converter.conversion()), (&track.config, None));
        assert_eq!(config_of(&mut converter, prefixed(&[sps, pps, idr], 4)), None, "the same sets");
        let changed = [sps[0], sps[1], sps[2], 40, sps[4]];
        assert_eq!(config_of(&mut converter, prefixed(&[&changed, pps, idr], 4)).unwrap()[3], 40);
        // What the container announces holds as it is.
        let mut announced = prefixed(&[idr], 4);
        announced.config.clone_from(&track.config);
        assert_eq!(config_of(&mut converter, announced), track.config);
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
