//! Nothing of a track goes out before its decoder can be set up.
//!
//! In: tags of a publisher, one track a tag. Out: whether each of them is passed on. Frames of a codec that needs a sequence header
//! are left out until one has come that a decoder can be set up with; a header that is empty, or is none, is left out
//! itself, and what held before it goes on to hold. Where keyframes bring the parameter sets themselves, the header is made of
//! those. On the stream's thread.

use bytes::Bytes;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded_track};
use flowcast_rtmp::flv::tag::{Codec, Tag, TagKind};
use flowcast_rtmp::flv::video::VideoCodec;
use flowcast_rtmp::flv::{AudioSpecificConfig, AvcConfig, InBandSets, TagBody};

use crate::event::EventKind;

/// Tracks looked after; a publisher has up to 256 of a kind, and no publisher is known to send more than a few.
const MOST_TRACKS: usize = 512;
/// How often one track is reported: a publisher may send a useless header with every frame.
const MOST_TOLD: u8 = 8;
/// Types of NAL units of HEVC that a decoder needs before the first picture.
const HEVC_SPS: u8 = 33;
const HEVC_PPS: u8 = 34;

/// What is known of the tracks of a publisher.
#[derive(Debug, Default)]
pub(super) struct Configured {
    tracks: Vec<Track>,
    notices: Vec<EventKind>,
}

#[derive(Debug)]
struct Track {
    kind: TagKind,
    number: u8,
    /// The codec of the header that holds.
    codec: Option<Codec>,
    /// Frames left out since the last header.
    left_out: u64,
    told: u8,
    /// Those since the last header are among them.
    is_told: bool,
    /// The header that holds was made of what keyframes bring, or will be.
    in_band: Option<Box<InBand>>,
}

#[derive(Debug)]
struct InBand {
    sets: InBandSets,
    /// The header made last.
    made: Option<TagBody>,
}

impl Track {
    /// What keyframes of this codec have brought.
    fn in_band(&mut self, codec: VideoCodec) -> Option<&mut InBand> {
        if self.in_band.as_ref().is_none_or(|in_band| in_band.sets.codec() != codec) {
            let sets = InBandSets::new(codec)?;
            self.in_band = Some(Box::new(InBand { sets, made: None }));
        }
        self.in_band.as_deref_mut()
    }

    /// One more tag is left out; returns whether to report that.
    fn leave_out(&mut self) -> bool {
        self.left_out += 1;
        let tells = self.left_out == 1 && self.told < MOST_TOLD;
        self.told += u8::from(tells);
        self.is_told |= tells;
        tells
    }
}

impl Configured {
    /// Another publisher: its tracks have no headers yet.
    pub(super) fn change(&mut self) {
        self.tracks.clear();
    }

    /// The header that has to go before a keyframe which brings the parameter sets itself. Costs next to nothing where the
    /// publisher's own header can be used.
    pub(super) fn header_before(&mut self, tag: &Tag) -> Option<Tag> {
        // Other tracks than the first have keyframes that are not marked as such.
        let is_key = tag.is_video() && tag.body.byte(0).is_some_and(|first| first >> 4 & 7 == 1);
        if !is_key || tag.is_header() {
            return None;
        }
        let codec = tag.codec()?;
        let Codec::Video(video @ (VideoCodec::Avc | VideoCodec::Hevc)) = codec else { return None };
        let index = self.track(tag)?;
        let track = self.tracks.get_mut(index)?;
        if track.codec == Some(codec) && track.in_band.is_none() {
            return None;
        }
        let in_band = track.in_band(video)?;
        let header = in_band.sets.take(tag)?;
        in_band.made = Some(header.body.clone());
        Some(header)
    }

    /// Where what is known of the tag's track is; `None` if there are too many of them.
    fn track(&mut self, tag: &Tag) -> Option<usize> {
        let (kind, number) = (tag.kind, tag.track());
        let found = self.tracks.iter().position(|track| track.number == number && track.kind == kind);
        if found.is_some() || self.tracks.len() == MOST_TRACKS {
            return found;
        }
        self.tracks.push(Track {
            kind,
            number,
            codec: None,
            left_out: 0,
            told: 0,
            is_told: false,
            in_band: None,
        });
        Some(self.tracks.len() - 1)
    }

    /// Whether the tag is passed on.
    pub(super) fn admits(&mut self, tag: &Tag) -> bool {
        if tag.is_script() || tag.is_side_config() {
            return true;
        }
        let Some(codec) = tag.codec().filter(|&codec| needs_header(codec)) else { return true };
        let Some(index) = self.track(tag) else { return true };
        let Some(track) = self.tracks.get_mut(index) else { return true };
        let name = || codec.name().to_owned();
        if tag.is_sequence_header() && is_usable(tag, codec) {
            track.codec = Some(codec);
            track.in_band.take_if(|in_band| in_band.made.as_ref() != Some(&tag.body));
            let left_out = std::mem::take(&mut track.left_out);
            if std::mem::take(&mut track.is_told) {
                self.notices.push(EventKind::HeaderCame { codec: name(), left_out });
            }
            return true;
        }
        let is_header = tag.is_sequence_header();
        if let (true, Codec::Video(video)) = (is_header, codec) {
            let holds = track.codec == Some(codec) && track.in_band.is_none();
            if let Some(in_band) = (!holds).then(|| track.in_band(video)).flatten() {
                in_band.sets.announce(tag);
            }
        }
        if track.codec == Some(codec) {
            return !is_header;
        }
        if track.leave_out() {
            self.notices.push(EventKind::HeaderMissing { codec: name() });
        }
        false
    }

    /// What has to be reported.
    pub(super) fn take_notices(&mut self) -> std::vec::Drain<'_, EventKind> {
        self.notices.drain(..)
    }
}

/// Whether a decoder of it has to be given a header first.
fn needs_header(codec: Codec) -> bool {
    match codec {
        Codec::Video(codec) => matches!(
            codec,
            VideoCodec::Avc
                | VideoCodec::Hevc
                | VideoCodec::Vvc
                | VideoCodec::Av1
                | VideoCodec::Vp9
                | VideoCodec::Mpeg4
        ),
        Codec::Audio(codec) => matches!(codec, AudioCodec::Aac | AudioCodec::Opus | AudioCodec::Flac),
    }
}

/// Whether a decoder can be set up with the header.
fn is_usable(tag: &Tag, codec: Codec) -> bool {
    // Of a form that is not read, such as a descriptor of MPEG-TS, no more is known than that it is there.
    let Some(coded) = coded_track(tag, tag.track()) else { return tag.body.len() > 6 };
    let Part::Config(config) = coded.part else { return false };
    match codec {
        Codec::Video(VideoCodec::Avc) => AvcConfig::parse(&config).is_ok_and(|avcc| {
            avcc.sps.iter().any(|set| !set.is_empty()) && avcc.pps.iter().any(|set| !set.is_empty())
        }),
        Codec::Video(VideoCodec::Hevc) => has_hevc_set(&config, HEVC_SPS) && has_hevc_set(&config, HEVC_PPS),
        // A marker and version 1; the sequence header itself is in every keyframe, too.
        Codec::Video(VideoCodec::Av1) => config.len() >= 4 && config.first() == Some(&0x81),
        // Version and flags, then profile, level, depth and colours.
        Codec::Video(VideoCodec::Vp9) => config.len() >= 8,
        Codec::Audio(AudioCodec::Aac) => AudioSpecificConfig::parse(&config).is_ok(),
        Codec::Audio(AudioCodec::Opus) => config.len() >= 19 && config.starts_with(b"OpusHead"),
        _ => !config.is_empty(),
    }
}

/// Whether a record of HEVC (hvcC, ISO/IEC 14496-15 section 8.3.3.1) has a NAL unit of this type.
fn has_hevc_set(record: &Bytes, wanted: u8) -> bool {
    const ARRAYS: usize = 22;
    let byte = |index: usize| record.get(index).copied();
    let length = |index: usize| {
        let [high, low] = [byte(index)?, byte(index.checked_add(1)?)?];
        Some(usize::from(u16::from_be_bytes([high, low])))
    };
    let mut next = ARRAYS + 1;
    for _ in 0..byte(ARRAYS).unwrap_or(0) {
        let (Some(kind), Some(count)) = (byte(next), length(next + 1)) else { return false };
        next += 3;
        for _ in 0..count {
            let Some(length) = length(next) else { return false };
            next += 2 + length;
            if next > record.len() {
                return false;
            }
            if kind & 0x3F == wanted && length > 0 {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    fn tag(kind: TagKind, body: &[u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::ZERO, Bytes::copy_from_slice(body))
    }

    /// avcC with a parameter set of either kind.
    const AVCC: &[u8] = &[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 2, 0x67, 0x64, 1, 0, 2, 0x68, 0xEE];
    const EMPTY_AVCC: &[u8] = &[1, 0x64, 0, 0x1F, 0xFF, 0xE0, 0];

    fn hvcc() -> Vec<u8> {
        let mut record = vec![1; 22];
        record.push(3);
        for kind in [32, 33, 34] {
            record.extend([0x80 | kind, 0, 1, 0, 2, kind << 1, 1]);
        }
        record
    }

    fn opus_head() -> Vec<u8> {
        [&b"OpusHead"[..], &[1, 2, 0, 0, 0x80, 0xBB, 0, 0, 0, 0, 0]].concat()
    }

    /// Of each form: a header that says nothing, one that does, and a frame.
    fn forms() -> Vec<(&'static str, TagKind, [Vec<u8>; 3])> {
        let join = |head: &[u8], rest: &[u8]| [head, rest].concat();
        let video = |first: u8, empty: &[u8], record: &[u8]| {
            [
                join(&[0x10 | first, 0, 0, 0, 0], empty),
                join(&[0x10 | first, 0, 0, 0, 0], record),
                vec![0x10 | first, 1, 0, 0, 0, 9],
            ]
        };
        let enhanced = |head: [u8; 2], code: &[u8], record: &[u8]| {
            let [config, frame] = head;
            [
                join(&[config], code),
                join(&[config], &join(code, record)),
                join(&[frame], &join(code, &[9; 9])),
            ]
        };
        vec![
            ("h264", TagKind::Video, video(7, EMPTY_AVCC, AVCC)),
            ("hevc", TagKind::Video, video(12, &[1; 22], &hvcc())),
            ("aac", TagKind::Audio, [vec![0xAF, 0], vec![0xAF, 0, 0x12, 0x10], vec![0xAF, 1, 9]]),
            ("h264", TagKind::Video, enhanced([0x90, 0x91], b"avc1", AVCC)),
            ("hevc", TagKind::Video, enhanced([0x90, 0x91], b"hvc1", &hvcc())),
            ("av1", TagKind::Video, enhanced([0x90, 0x91], b"av01", &[0x81, 0, 12, 0])),
            (
                "vp9",
                TagKind::Video,
                enhanced([0x90, 0x91], b"vp09", &[1, 0, 0, 0, 0, 31, 0x82, 1, 1, 1, 0, 0]),
            ),
            ("aac", TagKind::Audio, enhanced([0x90, 0x91], b"mp4a", &[0x12, 0x10])),
            ("opus", TagKind::Audio, enhanced([0x90, 0x91], b"Opus", &opus_head())),
            ("flac", TagKind::Audio, enhanced([0x90, 0x91], b"fLaC", &[0; 34])),
            // The second track of its kind.
            ("h264", TagKind::Video, enhanced([0x96, 0x96], b"\x00avc1\x01", AVCC)),
        ]
    }

    #[test]
    fn frames_wait_for_a_header_that_can_be_decoded_with() {
        for (name, kind, [empty, header, mut frame]) in forms() {
            if frame[0] == 0x96 {
                // A coded frame of a multitrack tag.
                frame[1] = 1;
            }
            let mut configured = Configured::default();
            let [empty, header, frame] = [empty, header, frame].map(|body| tag(kind, &body));
            let admitted = [&frame, &frame, &empty, &frame, &header, &frame, &empty, &frame]
                .map(|tag| configured.admits(tag));
            assert_eq!(admitted, [false, false, false, false, true, true, false, true], "{name}: {frame:?}");
            let notices: Vec<_> = configured.take_notices().collect();
            let [EventKind::HeaderMissing { codec }, EventKind::HeaderCame { codec: same, left_out: 4 }] =
                &notices[..]
            else {
                panic!("{name}: {notices:?}");
            };
            assert_eq!((codec.as_str(), same.as_str()), (name, name));
            configured.change();
            assert!(!configured.admits(&frame), "{name}: another publisher");
        }
    }

    #[test]
    fn each_header_that_is_told_to_be_missing_is_told_to_have_come() {
        let (mut configured, mut told) = (Configured::default(), [0, 0]);
        for _ in 0..10 {
            // A frame of the other codec misses its header.
            for (_, kind, [_, header, frame]) in forms().into_iter().take(2) {
                let admitted = [&frame, &header].map(|body| configured.admits(&tag(kind, body)));
                assert_eq!(admitted, [false, true]);
                for notice in configured.take_notices() {
                    told[usize::from(matches!(notice, EventKind::HeaderCame { .. }))] += 1;
                }
            }
        }
        assert_eq!(told, [usize::from(MOST_TOLD); 2]);
    }

    /// A baseline stream of 320x180 that says its level.
    fn with_sets(head: &[u8], level: u8) -> Tag {
        let sps = [0, 0, 0, 8, 0x67, 66, 0xC0, level, 0xDA, 5, 0x06, 0xC4];
        let rest = [0, 0, 0, 4, 0x68, 0xCE, 0x3C, 0x80, 0, 0, 0, 2, 0x65, 0x88];
        tag(TagKind::Video, &[head, &sps, &rest].concat())
    }

    #[test]
    fn keyframes_with_parameter_sets_make_the_header() {
        for (key, inter, empty) in [
            (&b"\x17\x01\0\0\0"[..], &b"\x27\x01\0\0\0p"[..], &b"\x17\0\0\0\0"[..]),
            (b"\x91avc1\0\0\0", b"\xa1avc1\0\0\0p", b"\x90avc1"),
            (b"\x96\x01avc1\x01\0\0\0", b"\xa6\x01avc1\x01\0\0\0p", b"\x96\0avc1\x01"),
        ] {
            let mut configured = Configured::default();
            let empty = tag(TagKind::Video, &[empty, EMPTY_AVCC].concat());
            let inter = tag(TagKind::Video, inter);
            let bare = tag(TagKind::Video, &[key, &[0, 0, 0, 2, 0x65, 0x88]].concat());
            assert!(!configured.admits(&empty) && !configured.admits(&inter));
            assert!(configured.header_before(&inter).is_none() && configured.header_before(&bare).is_none());
            assert!(!configured.admits(&bare), "nothing to decode it with");
            for level in [13, 30] {
                let keyframe = with_sets(key, level);
                let header = configured.header_before(&keyframe).expect("it has what a header says");
                assert!(configured.admits(&header) && configured.header_before(&keyframe).is_none());
                assert!(configured.admits(&keyframe) && configured.admits(&inter));
                assert!(!configured.admits(&empty), "the header made holds");
            }
            let own = tag(TagKind::Video, &[&empty.body.to_bytes()[..empty.body.len() - 7], AVCC].concat());
            assert!(configured.admits(&own) && configured.header_before(&with_sets(key, 40)).is_none());
        }
    }

    #[test]
    fn keyframes_are_not_looked_into_where_the_header_can_be_used() {
        let mut configured = Configured::default();
        assert!(configured.admits(&tag(TagKind::Video, &[&[0x17, 0, 0, 0, 0], AVCC].concat())));
        assert!(configured.header_before(&with_sets(b"\x17\x01\0\0\0", 13)).is_none());
        assert!(configured.admits(&with_sets(b"\x17\x01\0\0\0", 13)));
    }

    #[test]
    fn tracks_and_codecs_do_not_stand_for_each_other() {
        let mut configured = Configured::default();
        let header = tag(TagKind::Video, &[&[0x17, 0, 0, 0, 0], AVCC].concat());
        assert!(
            configured.admits(&header) && configured.admits(&tag(TagKind::Video, &[0x17, 1, 0, 0, 0, 9]))
        );
        assert!(
            configured.admits(&tag(TagKind::Video, b"\x91avc1\0\0\0picture")),
            "the same codec in another form"
        );
        assert!(!configured.admits(&tag(TagKind::Video, b"\x91hvc1\0\0\0picture")));
        assert!(!configured.admits(&tag(TagKind::Video, b"\x96\x01avc1\x01\0\0\0picture")));
        assert!(!configured.admits(&tag(TagKind::Audio, &[0xAF, 1, 9])));
    }

    #[test]
    fn what_needs_no_header_is_passed_on() {
        let mut configured = Configured::default();
        for (kind, body) in [
            (TagKind::Audio, &[0x2F, 1, 2][..]),
            (TagKind::Audio, &[0x82, 1, 2]),
            (TagKind::Audio, b"\x91ac-3 frame"),
            (TagKind::Video, &[0x12, 1, 2]),
            (TagKind::Video, b"\x91vp08 picture"),
            (TagKind::Script, b"\x02\0\x0aonTextData"),
        ] {
            assert!(configured.admits(&tag(kind, body)), "{body:?}");
        }
        assert_eq!(configured.take_notices().count(), 0);
    }
}
