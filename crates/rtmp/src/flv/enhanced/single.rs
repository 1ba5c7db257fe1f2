//! Tags of several tracks taken apart, and tags of one track in other forms.

use super::super::audio::AudioCodec;
use super::super::coded::{Coded, Part, coded};
use super::super::tag::Codec;
use super::super::video::{FrameType, VideoCodec};
use super::super::{Tag, TagBody, TagKind, audio, video};
use super::{
    AUDIO, AUDIO_MULTITRACK, Header, MOD_EX, Multitrack, PacketType, VIDEO, VIDEO_MULTITRACK, tracks,
    video_frame, video_sequence_start,
};

impl PacketType {
    const fn wire(self) -> u8 {
        match self {
            Self::SequenceStart => 0,
            Self::CodedFrames => 1,
            Self::SequenceEnd => 2,
            Self::CodedFramesX => 3,
            Self::Metadata | Self::MultichannelConfig => 4,
            Self::Mpeg2TsSequenceStart => 5,
            Self::Unknown(id) => id,
        }
    }
}

/// The tracks of a tag as tags of their own: track 0 without the multitrack extension, each other one as the only track of a
/// multitrack tag. A tag without that extension is one of them as it is, and so is one that is cut off before its first track.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::{Tag, TagKind, enhanced};
/// use flowcast_rtmp::time::MediaTime;
/// let body = Bytes::from_static(b"\x95\x11Opus\x00\x00\x00\x02ab\x01\x00\x00\x01c");
/// let tag = Tag::from_wire(TagKind::Audio, MediaTime::ZERO, body);
/// let bodies: Vec<_> = enhanced::single_tracks(tag).map(|tag| tag.body.to_bytes()).collect();
/// assert_eq!(bodies, [&b"\x91Opusab"[..], b"\x95\x01Opus\x01c"]);
/// ```
pub fn single_tracks(tag: Tag) -> impl Iterator<Item = Tag> {
    let header = Header::read(tag.kind, &tag.body)
        .filter(|header| header.multitrack.is_some() && tracks(tag.kind, &tag.body).next().is_some());
    let (whole, apart) = match header {
        Some(header) => (None, Some((header, tag))),
        None => (Some(tag), None),
    };
    let apart = apart.into_iter().flat_map(|(header, tag)| {
        let found: Vec<_> = tracks(tag.kind, &tag.body).collect();
        found.into_iter().filter_map(move |track| {
            let alone = header.multitrack == Some(Multitrack::One) && track.id != 0 && !has_mod_ex(&tag);
            if alone {
                Some(tag.clone())
            } else {
                single(&tag, &header, track.id, track.four_cc, track.start, track.end)
            }
        })
    });
    whole.into_iter().chain(apart)
}

fn single(tag: &Tag, header: &Header, id: u8, four_cc: [u8; 4], start: usize, end: usize) -> Option<Tag> {
    let (first, multitrack) = match tag.kind {
        TagKind::Audio => (AUDIO << 4, AUDIO_MULTITRACK),
        TagKind::Video => (VIDEO | header.frame_type.map_or(0, FrameType::wire) << 4, VIDEO_MULTITRACK),
        TagKind::Script => return None,
    };
    let (packet_type, [a, b, c, d]) = (header.packet_type.wire(), four_cc);
    let payload = tag.body.part(start, end)?;
    let body = if id == 0 {
        TagBody::with_head(&[first | packet_type, a, b, c, d], payload)
    } else {
        TagBody::with_head(&[first | multitrack, packet_type, a, b, c, d, id], payload)
    };
    Some(Tag::with_body(tag.kind, tag.timestamp, body))
}

/// The tag of track 0 as one of track `id`: the only track of a multitrack tag. `None` for a tag without an extended header, one of
/// several tracks, and one that is cut off. With `id` 0 it is the tag without ModEx prefixes.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::enhanced;
/// use flowcast_rtmp::time::MediaTime;
/// let tag = enhanced::audio_frame(*b"mp4a", MediaTime::ZERO, Bytes::from_static(b"frame"));
/// let second = enhanced::on_track(&tag, 1).expect("it has an extended header");
/// assert_eq!((second.track(), second.body.to_bytes()), (1, Bytes::from_static(b"\x95\x01mp4a\x01frame")));
/// ```
#[must_use]
pub fn on_track(tag: &Tag, id: u8) -> Option<Tag> {
    let header = Header::read(tag.kind, &tag.body).filter(|header| header.multitrack.is_none())?;
    let track = tracks(tag.kind, &tag.body).next()?;
    single(tag, &header, id, track.four_cc, track.start, track.end)
}

/// Whether a ModEx prefix precedes what the tag holds.
#[must_use]
pub fn has_mod_ex(tag: &Tag) -> bool {
    super::is_enhanced(tag.kind, &tag.body) && tag.body.byte(0).is_some_and(|first| first & 0x0F == MOD_EX)
}

/// A tag of one track without ModEx prefixes: what they say, fractions of a millisecond, is lost. `None` for one that is cut off.
#[must_use]
pub fn without_mod_ex(tag: &Tag) -> Option<Tag> {
    let header = Header::read(tag.kind, &tag.body)?;
    let track = tracks(tag.kind, &tag.body).next()?;
    single(tag, &header, track.id, track.four_cc, track.start, track.end)
}

/// Whether FLV has a number for what the FourCC of track 0 says: `avc1`, `mp4a` and `.mp3`.
#[must_use]
pub fn has_number(kind: TagKind, four_cc: [u8; 4]) -> bool {
    match kind {
        TagKind::Audio => matches!(&four_cc, b"mp4a" | b".mp3"),
        TagKind::Video => &four_cc == b"avc1",
        TagKind::Script => false,
    }
}

/// The tag with FLV's own header instead of the extended one, of a codec that [has a number](has_number) there. `None` for others,
/// for other tracks than 0, and for what FLV's header cannot say, such as facts beside the configuration.
#[must_use]
pub fn with_number(tag: &Tag) -> Option<Tag> {
    let Coded { codec, part } = coded(tag)?;
    let time = tag.timestamp;
    let mut made = match (codec, part) {
        (Codec::Video(VideoCodec::Avc), Part::Config(config)) => video::avc_sequence_header(config, time),
        (Codec::Video(VideoCodec::Avc), Part::Frames { composition_time, data }) => {
            video::avc_frame(time, composition_time, tag.is_keyframe(), data).ok()?
        }
        (Codec::Audio(AudioCodec::Aac), Part::Config(config)) => audio::aac_sequence_header(config, time),
        (Codec::Audio(AudioCodec::Aac), Part::Frames { data, .. }) => audio::aac_frame(time, data),
        // The rate is in the frame; the header's value is ignored.
        (Codec::Audio(AudioCodec::Mp3), Part::Frames { data, .. }) => {
            audio::mp3_frame(time, 44_100, 2, data).ok()?
        }
        _ => return None,
    };
    made.flags |= tag.flags;
    Some(made)
}

/// The tag [with FLV's own header](with_number) where there is one that says the same of it but fractions of a millisecond;
/// otherwise the tag as it is.
#[must_use]
pub fn in_flv_form(tag: Tag) -> Tag {
    if !super::is_enhanced(tag.kind, &tag.body) {
        return tag;
    }
    with_number(&tag).unwrap_or(tag)
}

/// The tag of HEVC or AV1 under the numbers that are in no specification (12, 13) as one with an extended header; `None` for
/// others.
#[must_use]
pub fn with_four_cc(tag: &Tag) -> Option<Tag> {
    let Coded { codec, part } = coded(tag)?;
    let four_cc = number_four_cc(tag).filter(|_| !super::is_enhanced(tag.kind, &tag.body))?;
    debug_assert!(matches!(codec, Codec::Video(_)), "only pictures have such numbers");
    let mut made = match part {
        Part::Config(config) => video_sequence_start(four_cc, config, tag.timestamp),
        Part::Frames { composition_time, data } => {
            video_frame(four_cc, tag.timestamp, composition_time, tag.is_keyframe(), data).ok()?
        }
    };
    made.flags |= tag.flags;
    Some(made)
}

/// The FourCC of a codec under a number that is in no specification: HEVC's 12 and AV1's 13.
#[must_use]
pub fn number_four_cc(tag: &Tag) -> Option<[u8; 4]> {
    if !tag.is_video() || super::is_enhanced(tag.kind, &tag.body) {
        return None;
    }
    match tag.body.byte(0)? & 0x0F {
        12 => Some(*b"hvc1"),
        13 => Some(*b"av01"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::time::MediaTime;

    fn tag(kind: TagKind, body: &[u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(40), Bytes::copy_from_slice(body))
    }

    fn apart(kind: TagKind, body: &[u8]) -> Vec<Vec<u8>> {
        single_tracks(tag(kind, body)).map(|tag| tag.body.to_bytes().to_vec()).collect()
    }

    #[test]
    fn each_form_of_several_tracks_is_taken_apart() {
        // One track: of number 0 it loses the extension, others stay as they are.
        assert_eq!(apart(TagKind::Video, b"\x96\x01avc1\x00\0\0\0key"), [b"\x91avc1\0\0\0key"]);
        assert_eq!(apart(TagKind::Video, b"\xa6\x01avc1\x02\0\0\0p"), [b"\xa6\x01avc1\x02\0\0\0p"]);
        // Several of one codec, and of several.
        assert_eq!(
            apart(TagKind::Audio, b"\x95\x11mp4a\x00\0\0\x01a\x01\0\0\x02bc"),
            [&b"\x91mp4aa"[..], b"\x95\x01mp4a\x01bc"]
        );
        assert_eq!(
            apart(TagKind::Video, b"\x96\x20avc1\x00\0\0\x01ahvc1\x05\0\0\x01b"),
            [&b"\x90avc1a"[..], b"\x96\x00hvc1\x05b"]
        );
        // A fraction of a millisecond before it.
        assert_eq!(apart(TagKind::Audio, b"\x97\x02\0\0\x01\x05\x01Opus\x01x"), [b"\x95\x01Opus\x01x"]);
        // What has one track, no track, or is cut off.
        for body in [&b"\x91hvc1\0\0\0p"[..], b"\x17\x01\0\0\0p", b"\x96\x11avc1\x00\0\0\x09a", b"\x96"] {
            assert_eq!(apart(TagKind::Video, body), [body]);
        }
    }

    #[test]
    fn the_flags_are_those_of_the_track() {
        let tags: Vec<_> =
            single_tracks(tag(TagKind::Video, b"\x96\x11avc1\x00\0\0\x04\0\0\0a\x01\0\0\x04\0\0\0b"))
                .collect();
        assert_eq!(
            tags.iter().map(|tag| (tag.track(), tag.is_keyframe())).collect::<Vec<_>>(),
            [(0, true), (1, false)]
        );
    }

    #[test]
    fn a_codec_is_said_in_the_other_form() {
        for (kind, extended, own) in [
            (TagKind::Video, &b"\x90avc1record"[..], &b"\x17\0\0\0\0record"[..]),
            (TagKind::Video, b"\x91avc1\0\0\x50key", b"\x17\x01\0\0\x50key"),
            (TagKind::Video, b"\xa3avc1p", b"\x27\x01\0\0\0p"),
            (TagKind::Audio, b"\x90mp4a\x12\x10", b"\xaf\0\x12\x10"),
            (TagKind::Audio, b"\x91mp4aframe", b"\xaf\x01frame"),
            (TagKind::Audio, b"\x91.mp3frame", b"\x2fframe"),
        ] {
            let made = with_number(&tag(kind, extended)).map(|tag| (tag.body.to_bytes(), tag.flags));
            assert_eq!(made, Some((Bytes::from_static(own), tag(kind, own).flags)), "{extended:?}");
        }
        for (number, extended) in [
            (&b"\x1c\0\0\0\0record"[..], &b"\x90hvc1record"[..]),
            (b"\x2c\x01\0\0\x28p", b"\xa1hvc1\0\0\x28p"),
            (b"\x1d\x01\0\0\0key", b"\x91av01key"),
        ] {
            let made = with_four_cc(&tag(TagKind::Video, number)).map(|tag| tag.body.to_bytes());
            assert_eq!(made, Some(Bytes::from_static(extended)), "{number:?}");
        }
        for (kind, body, form) in [
            (TagKind::Video, &b"\x91avc1\0\0\0key"[..], &b"\x17\x01\0\0\0key"[..]),
            (TagKind::Audio, b"\x97\x02\0\0\x01\x01mp4aframe", b"\xaf\x01frame"),
            // What FLV's own header cannot say, and what has one.
            (TagKind::Video, b"\x94avc1colorInfo", b"\x94avc1colorInfo"),
            (TagKind::Video, b"\x96\x01avc1\x01\0\0\0key", b"\x96\x01avc1\x01\0\0\0key"),
            (TagKind::Video, b"\x91hvc1\0\0\0p", b"\x91hvc1\0\0\0p"),
            (TagKind::Video, b"\x1c\x01\0\0\0p", b"\x1c\x01\0\0\0p"),
            (TagKind::Audio, b"\xae\x01frame", b"\xae\x01frame"),
        ] {
            let made = in_flv_form(tag(kind, body));
            assert_eq!((made.body.to_bytes(), made.flags), (Bytes::from_static(form), tag(kind, form).flags));
        }
        assert_eq!(with_number(&tag(TagKind::Video, b"\x91hvc1\0\0\0p")), None);
        assert_eq!(with_number(&tag(TagKind::Video, b"\x94avc1colorInfo")), None);
        assert_eq!(with_four_cc(&tag(TagKind::Video, b"\x17\x01\0\0\0key")), None);
        assert_eq!(
            without_mod_ex(&tag(TagKind::Audio, b"\x97\x02\0\0\x01\x01Opusx")).map(|tag| tag.body.to_bytes()),
            Some(Bytes::from_static(b"\x91Opusx"))
        );
    }
}
