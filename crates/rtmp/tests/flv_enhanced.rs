//! Enhanced RTMP headers, byte by byte: codecs, tracks, ModEx.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use bytes::Bytes;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::enhanced::{self, Header, Multitrack, PacketType, Track};
use flowcast_rtmp::flv::video::{FrameType, VideoCodec};
use flowcast_rtmp::flv::{Codec, Tag, TagBody, TagFlags, TagKind};
use flowcast_rtmp::time::MediaTime;

fn tag(kind: TagKind, body: &[u8]) -> Tag {
    Tag::from_wire(kind, MediaTime::ZERO, Bytes::copy_from_slice(body))
}

fn video(body: &[u8]) -> Tag {
    tag(TagKind::Video, body)
}

fn audio(body: &[u8]) -> Tag {
    tag(TagKind::Audio, body)
}

fn tracks(tag: &Tag) -> Vec<Track> {
    enhanced::tracks(tag.kind, &tag.body).collect()
}

#[test]
fn every_video_codec_has_its_flags() {
    let codes = [
        (b"avc1", VideoCodec::Avc, "h264"),
        (b"hvc1", VideoCodec::Hevc, "hevc"),
        (b"av01", VideoCodec::Av1, "av1"),
        (b"vp09", VideoCodec::Vp9, "vp9"),
        (b"vp08", VideoCodec::Vp8, "vp8"),
        (b"vvc1", VideoCodec::Vvc, "vvc"),
        (b"abcd", VideoCodec::UnknownFourCc(*b"abcd"), "unknown"),
    ];
    let firsts = [
        (0x90, TagFlags::SEQUENCE_HEADER),
        (0x91, TagFlags::KEYFRAME),
        (0xA1, TagFlags::EMPTY),
        (0xB1, TagFlags::DISPOSABLE),
        (0x92, TagFlags::EMPTY),
        (0x93, TagFlags::KEYFRAME),
        (0xA3, TagFlags::EMPTY),
        (0x94, TagFlags::SIDE_CONFIG),
        (0xD4, TagFlags::SIDE_CONFIG),
        (0x95, TagFlags::SEQUENCE_HEADER),
        (0x9F, TagFlags::EMPTY),
    ];
    for (code, codec, name) in codes {
        assert_eq!(VideoCodec::from_four_cc(*code), codec);
        for (first, flags) in firsts {
            let tag = video(&[&[first], &code[..], b"data"].concat());
            assert_eq!(tag.flags, flags, "{first:#04x} {name}");
            assert_eq!((tag.codec(), tag.track()), (Some(Codec::Video(codec)), 0));
            assert_eq!(tag.codec().unwrap().name(), name);
            let track = Track { id: 0, four_cc: *code, start: 5, end: 9 };
            assert_eq!(tracks(&tag), [track]);
        }
    }
}

#[test]
fn every_audio_codec_has_its_flags() {
    let codes = [
        (b"Opus", AudioCodec::Opus, "opus"),
        (b"fLaC", AudioCodec::Flac, "flac"),
        (b"ac-3", AudioCodec::Ac3, "ac3"),
        (b"ec-3", AudioCodec::Eac3, "eac3"),
        (b"mp4a", AudioCodec::Aac, "aac"),
        (b".mp3", AudioCodec::Mp3, "mp3"),
        (b"?\0\xFF ", AudioCodec::UnknownFourCc(*b"?\0\xFF "), "unknown"),
    ];
    let firsts = [
        (0x90, TagFlags::SEQUENCE_HEADER),
        (0x91, TagFlags::EMPTY),
        (0x92, TagFlags::EMPTY),
        (0x93, TagFlags::EMPTY),
        (0x94, TagFlags::SIDE_CONFIG),
        (0x96, TagFlags::EMPTY),
    ];
    for (code, codec, name) in codes {
        for (first, flags) in firsts {
            let tag = audio(&[&[first], &code[..], b"data"].concat());
            assert_eq!(tag.flags, flags, "{first:#04x} {name}");
            assert_eq!((tag.codec(), tag.track()), (Some(Codec::Audio(codec)), 0));
            assert_eq!(tag.codec().unwrap().name(), name);
        }
    }
}

#[test]
fn plain_tags_have_codecs_too() {
    let codec = |tag: Tag| tag.codec().map(Codec::name);
    assert_eq!(codec(video(&[0x17, 1, 0, 0, 0])), Some("h264"));
    assert_eq!(codec(video(&[0x1C, 1])), Some("hevc"));
    assert_eq!(codec(video(&[0x2F])), Some("unknown"));
    assert_eq!(codec(audio(&[0xAF, 1])), Some("aac"));
    assert_eq!(codec(audio(&[0x2F])), Some("mp3"));
    assert_eq!(codec(video(&[])), None);
    assert_eq!(codec(audio(b"\x91Op")), None);
    assert_eq!(codec(tag(TagKind::Script, &[2])), None);
    assert_eq!((VideoCodec::Vp9.wire(), AudioCodec::Opus.wire()), (0, 9));
    assert_eq!(video(&[0x17, 1, 0, 0, 0]).track(), 0);
}

#[test]
fn one_track_of_several() {
    for (id, first, flags) in [
        (0, 0x96, TagFlags::KEYFRAME),
        // A keyframe of another track is none of the stream's.
        (1, 0x96, TagFlags::EMPTY),
        (255, 0x96, TagFlags::EMPTY),
        (2, 0xB6, TagFlags::DISPOSABLE),
    ] {
        let tag = video(&[&[first, 0x01], &b"hvc1"[..], &[id], b"\0\0\0data"].concat());
        assert_eq!((tag.flags, tag.track()), (flags, id));
        assert_eq!(tracks(&tag), [Track { id, four_cc: *b"hvc1", start: 7, end: 14 }]);
        let header = Header::read(TagKind::Video, &tag.body).unwrap();
        assert_eq!(header.multitrack, Some(Multitrack::One));
        assert_eq!((header.packet_type, header.len), (PacketType::CodedFrames, 6));
    }
    // Configuration of every track is configuration.
    let tag = video(b"\x96\x00av01\x03config");
    assert_eq!((tag.flags, tag.track()), (TagFlags::SEQUENCE_HEADER, 3));
    let tag = audio(b"\x95\x00Opus\x02OpusHead");
    assert_eq!((tag.flags, tag.track(), tag.codec().unwrap().name()), (TagFlags::SEQUENCE_HEADER, 2, "opus"));
    let tag = audio(b"\x95\x04mp4a\x02\x01\x06");
    assert_eq!((tag.flags, tag.track()), (TagFlags::SIDE_CONFIG, 2));
}

#[test]
fn many_tracks_of_one_codec_and_of_many() {
    let one = video(b"\x96\x11hvc1\x01\0\0\x02ab\x00\0\0\x03cde");
    let expected = [
        Track { id: 1, four_cc: *b"hvc1", start: 10, end: 12 },
        Track { id: 0, four_cc: *b"hvc1", start: 16, end: 19 },
    ];
    assert_eq!(tracks(&one), expected);
    assert_eq!((one.flags, one.track()), (TagFlags::KEYFRAME, 0));
    let without_main = video(b"\x96\x11hvc1\x01\0\0\x02ab\x02\0\0\x03cde");
    assert_eq!((without_main.flags, without_main.track()), (TagFlags::EMPTY, 1));
    let many = video(b"\x96\x23av01\x05\0\0\x01xavc1\x00\0\0\x00vp09\x07\0\0\x02yz");
    let expected = [
        Track { id: 5, four_cc: *b"av01", start: 10, end: 11 },
        Track { id: 0, four_cc: *b"avc1", start: 19, end: 19 },
        Track { id: 7, four_cc: *b"vp09", start: 27, end: 29 },
    ];
    assert_eq!(tracks(&many), expected);
    assert_eq!((many.flags, many.track()), (TagFlags::KEYFRAME, 0));
    assert_eq!(many.codec(), Some(Codec::Video(VideoCodec::Avc)), "of the default track");
    assert_eq!(enhanced::four_cc(TagKind::Video, &many.body), None);
}

#[test]
fn tracks_end_where_something_is_cut_off() {
    let whole = b"\x96\x21av01\x01\0\0\x01xavc1\x00\0\0\x02yz";
    let counts: Vec<_> = (0..=whole.len()).map(|end| tracks(&video(&whole[..end])).len()).collect();
    let mut expected = vec![0; whole.len() + 1];
    expected[11..].fill(1);
    expected[whole.len()] = 2;
    assert_eq!(counts, expected);
    // Without track 0 in sight it is no keyframe.
    assert_eq!(video(&whole[..whole.len() - 1]).flags, TagFlags::EMPTY);
    assert_eq!(video(whole).flags, TagFlags::KEYFRAME);
    // Sizes past the end, and kinds of multitrack that there are not.
    assert!(tracks(&video(b"\x96\x11hvc1\x00\xFF\xFF\xFFab")).is_empty());
    let odd = video(b"\x96\x31hvc1\x00ab");
    assert!(tracks(&odd).is_empty() && odd.flags == TagFlags::EMPTY && odd.codec().is_none());
    // A million tracks of no bytes are 256 at most.
    let tag = audio(&[b"\x95\x11Opus".as_slice(), &[0; 4 << 20]].concat());
    assert_eq!((tracks(&tag).len(), tag.track()), (256, 0));
}

#[test]
fn mod_ex_is_passed_and_nanoseconds_are_read() {
    let nanos = |tag: &Tag| Header::read(tag.kind, &tag.body).map(|header| header.nanos);
    let plain = video(b"\x91hvc1");
    assert_eq!(nanos(&plain), Some(0));
    // 500,000 ns.
    let offset = video(b"\x97\x02\x07\xA1\x20\x01hvc1\0\0\x28data");
    assert_eq!((nanos(&offset), offset.flags), (Some(500_000), TagFlags::KEYFRAME));
    assert_eq!(offset.codec(), Some(Codec::Video(VideoCodec::Hevc)));
    assert_eq!(nanos(&audio(b"\x97\x02\x00\x00\x07\x01Opus")), Some(7));
    // More than there are in a millisecond, more bytes than needed, fewer, and another kind of ModEx.
    assert_eq!(nanos(&video(b"\x97\x02\xFF\xFF\xFF\x01hvc1")), Some(999_999));
    assert_eq!(nanos(&video(b"\x97\x03\x00\x00\x07\xFF\x01hvc1")), Some(7));
    assert_eq!(nanos(&video(b"\x97\x01\x00\x07\x01hvc1")), Some(0));
    assert_eq!(nanos(&video(b"\x97\x02\x00\x00\x07\x11hvc1")), Some(0));
    // Two of them, then a track of several.
    let both = video(b"\x97\x00\xAA\x17\x02\x00\x00\x09\x06\x01avc1\x00data");
    assert_eq!((nanos(&both), both.flags, both.track()), (Some(9), TagFlags::KEYFRAME, 0));
    // The long form of the size.
    let long = [&[0x97, 0xFF, 0x01, 0x2B][..], &[0; 300], b"\x01hvc1"].concat();
    assert_eq!(video(&long).flags, TagFlags::KEYFRAME);
    // Too many of them are not looked through.
    let many = [b"\x97\0\0".as_slice(), &b"\x07\0\0".repeat(200), b"\x01hvc1"].concat();
    assert_eq!(video(&many).flags, TagFlags::EMPTY);
}

#[test]
fn commands_have_no_codec_and_no_data() {
    for body in [b"\xD0\x00".as_slice(), b"\xD1\x01", b"\xD3\x00", b"\xD6\x01", b"\xD1"] {
        let tag = video(body);
        assert_eq!((tag.flags, tag.track(), tag.codec()), (TagFlags::EMPTY, 0, None), "{body:02x?}");
        let header = Header::read(TagKind::Video, &tag.body).unwrap();
        assert!(header.is_command() && header.frame_type == Some(FrameType::Command));
        assert!(tracks(&tag).is_empty());
    }
}

#[test]
fn headers_are_read_across_the_seam_of_a_body() {
    let bytes = b"\x97\x02\x00\x00\x09\x06\x11avc1\x00\0\0\x02ab\x01\0\0\x01c";
    let whole = TagBody::new(Bytes::from_static(bytes));
    let expected: Vec<_> = enhanced::tracks(TagKind::Video, &whole).collect();
    assert_eq!(expected.len(), 2);
    for seam in 0..=16 {
        let body = TagBody::with_head(&bytes[..seam], Bytes::from_static(&bytes[seam..]));
        assert_eq!(Header::read(TagKind::Video, &body), Header::read(TagKind::Video, &whole));
        assert_eq!(enhanced::tracks(TagKind::Video, &body).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn mutated_headers_never_reach_past_the_body() {
    let seeds: [&[u8]; 5] = [
        b"\x96\x21av01\x01\0\0\x01xavc1\x00\0\0\x02yz",
        b"\x97\x00\xAA\x17\x02\x00\x00\x09\x06\x01avc1\x00data",
        b"\x95\x11Opus\x00\0\0\x02ab\x01\0\0\x01c",
        b"\x91hvc1\0\0\x28data",
        b"\x94mp4a\x01\x06\0\0\0\x3F",
    ];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut seen = 0;
    for round in 0..200_000 {
        let mut body = seeds[round % seeds.len()].to_vec();
        for _ in 0..=next(3) {
            let at = next(body.len());
            match next(3) {
                0 => body[at] ^= 1 << next(8),
                1 => body.insert(at, next(256) as u8),
                _ => body.truncate(at.max(1)),
            }
        }
        let tag = tag(if round % 2 == 0 { TagKind::Video } else { TagKind::Audio }, &body);
        if let Some(Part::Frames { data, .. }) = coded(&tag).map(|coded| coded.part) {
            assert!((1..=body.len()).contains(&data.len()), "{body:02x?}");
        }
        let mut last = 0;
        for track in tracks(&tag) {
            seen += 1;
            assert!(
                last <= track.start && track.start <= track.end && track.end <= body.len(),
                "{body:02x?}"
            );
            last = track.end;
        }
        let flags =
            [TagFlags::KEYFRAME, TagFlags::SEQUENCE_HEADER, TagFlags::SIDE_CONFIG, TagFlags::DISPOSABLE];
        assert!(flags.iter().filter(|flag| tag.flags.contains(**flag)).count() <= 1);
        let _ = (tag.track(), tag.codec());
    }
    assert!(seen > 50_000, "{seen}");
}

#[test]
fn tags_that_are_made_read_as_what_they_are() {
    let data = Bytes::from_static(b"data");
    let at = MediaTime::from_millis(40);
    for (code, codec) in
        [(*b"hvc1", VideoCodec::Hevc), (*b"av01", VideoCodec::Av1), (*b"vp09", VideoCodec::Vp9)]
    {
        let start = enhanced::video_sequence_start(code, data.clone(), at);
        let key = enhanced::video_frame(code, at, 80, true, data.clone()).unwrap();
        let inter = enhanced::video_frame(code, at, 0, false, data.clone()).unwrap();
        for made in [&start, &key, &inter] {
            let read = tag(TagKind::Video, &made.body.to_bytes());
            assert_eq!((read.flags, &read.body), (made.flags, &made.body), "{made:?}");
            assert_eq!(read.codec(), Some(Codec::Video(codec)));
            assert_eq!(made.timestamp, at);
        }
        let reordered = code == *b"hvc1";
        let kinds = [&key, &inter].map(|made| Header::read(TagKind::Video, &made.body).unwrap().packet_type);
        let second = if reordered { PacketType::CodedFramesX } else { PacketType::CodedFrames };
        assert_eq!(kinds, [PacketType::CodedFrames, second]);
        assert_eq!(key.body.len(), if reordered { 12 } else { 9 });
    }
    let early = enhanced::video_frame(*b"hvc1", at, -2, false, data.clone()).unwrap();
    assert_eq!(early.body.to_bytes(), &b"\xa1hvc1\xff\xff\xfedata"[..]);
    for composition in [1 << 23, -(1 << 23) - 1] {
        assert!(enhanced::video_frame(*b"hvc1", at, composition, true, data.clone()).is_err());
    }
    let start = enhanced::audio_sequence_start(*b"Opus", data.clone(), at);
    let frame = enhanced::audio_frame(*b"Opus", at, data);
    assert!(start.is_sequence_header() && !frame.is_sequence_header());
    for made in [&start, &frame] {
        let read = tag(TagKind::Audio, &made.body.to_bytes());
        assert_eq!((read.flags, read.codec()), (made.flags, Some(Codec::Audio(AudioCodec::Opus))));
    }
}

#[test]
fn decoders_are_given_the_same_of_every_form() {
    let config = Part::Config(Bytes::from_static(b"config"));
    let frames = |composition_time| Part::Frames { composition_time, data: Bytes::from_static(b"frames") };
    let (hevc, opus) = (Codec::Video(VideoCodec::Hevc), Codec::Audio(AudioCodec::Opus));
    let (avc, aac) = (Codec::Video(VideoCodec::Avc), Codec::Audio(AudioCodec::Aac));
    let vp9 = Codec::Video(VideoCodec::Vp9);
    type Held = Option<(Codec, Part)>;
    let cases: &[(TagKind, &[u8], Held)] = &[
        (TagKind::Video, b"\x17\0\0\0\0config", Some((avc, config.clone()))),
        (TagKind::Video, b"\x27\x01\xff\xff\xd8frames", Some((avc, frames(-40)))),
        (TagKind::Video, b"\x27\x02\0\0\0", None),
        (TagKind::Video, b"\x57\0", None),
        (TagKind::Video, b"\x17\x01\0\0", None),
        (TagKind::Video, b"\x17\x01\0\0\0", None),
        // HEVC by the number that is in no specification.
        (TagKind::Video, b"\x1c\x01\0\0\x28frames", Some((hevc, frames(40)))),
        (TagKind::Video, b"\x90hvc1config", Some((hevc, config.clone()))),
        (TagKind::Video, b"\x91hvc1\0\0\x28frames", Some((hevc, frames(40)))),
        (TagKind::Video, b"\xa3hvc1frames", Some((hevc, frames(0)))),
        (TagKind::Video, b"\x91hvc1\0\0", None),
        (TagKind::Video, b"\x91avc1\xff\xff\xd8frames", Some((avc, frames(-40)))),
        (TagKind::Video, b"\xa1vp09frames", Some((vp9, frames(0)))),
        (TagKind::Video, b"\x92hvc1", None),
        (TagKind::Video, b"\x94hvc1frames", None),
        (TagKind::Video, b"\x91hvc", None),
        (TagKind::Video, b"\x91vp09", None),
        // Several tracks: the composition time is part of each.
        (
            TagKind::Video,
            b"\x96\x11hvc1\x01\0\0\x05\0\0\0x_\0\0\0\x09\0\0\x28frames",
            Some((hevc, frames(40))),
        ),
        (TagKind::Video, b"\x96\x01hvc1\x01\0\0\x28frames", None),
        // A nanosecond before a picture.
        (TagKind::Video, b"\xa7\x02\0\0\x01\x01vp09frames", Some((vp9, frames(0)))),
        (TagKind::Audio, b"\xaf\0config", Some((aac, config.clone()))),
        (TagKind::Audio, b"\xaf\x01frames", Some((aac, frames(0)))),
        (TagKind::Audio, b"\x2fframes", Some((Codec::Audio(AudioCodec::Mp3), frames(0)))),
        (TagKind::Audio, b"\x2f", None),
        (TagKind::Audio, b"\x90Opusconfig", Some((opus, config.clone()))),
        (TagKind::Audio, b"\x91Opusframes", Some((opus, frames(0)))),
        (TagKind::Audio, b"\x94Opus\x01\x02", None),
        (TagKind::Audio, b"", None),
        (TagKind::Script, b"\x02\0\x0AonMetaData", None),
    ];
    for (kind, body, expected) in cases {
        // The seam between head and payload may lie anywhere.
        for seam in 0..=body.len() {
            let payload = Bytes::copy_from_slice(&body[seam..]);
            let tag = Tag { body: TagBody::with_head(&body[..seam], payload), ..tag(*kind, body) };
            let found = coded(&tag).map(|coded| (coded.codec, coded.part));
            assert_eq!(&found, expected, "{body:02x?}, seam at {seam}");
        }
    }
}
