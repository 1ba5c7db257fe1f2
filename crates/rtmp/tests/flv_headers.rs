//! Headers and codec configuration, byte by byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use bytes::Bytes;
use flowcast_rtmp::flv::audio::{
    self, AacPacketType, AudioCodec, AudioHeader, SampleSize, SoundChannels, SoundRate,
};
use flowcast_rtmp::flv::sps::Sps;
use flowcast_rtmp::flv::video::{self, AvcPacketType, FrameType, VideoCodec, VideoHeader};
use flowcast_rtmp::flv::{
    AudioSpecificConfig, AvcConfig, FlvError, Tag, TagBody, TagFlags, TagKind, enhanced,
};
use flowcast_rtmp::time::MediaTime;

const PAYLOAD: Bytes = Bytes::from_static(b"payload");
const ZERO: MediaTime = MediaTime::ZERO;

fn body(tag: &Tag) -> Vec<u8> {
    tag.body.to_bytes().to_vec()
}

fn with(head: &[u8]) -> Vec<u8> {
    [head, b"payload"].concat()
}

fn hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Values of this many bits each, as bytes.
fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
    let bits: Vec<u8> = fields
        .iter()
        .flat_map(|&(value, size)| (0..size).rev().map(move |at| (value >> at & 1) as u8))
        .collect();
    bits.chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | bit << (7 - at)))
        .collect()
}

fn flags(kind: TagKind, body: &'static [u8]) -> TagFlags {
    Tag::from_wire(kind, ZERO, Bytes::from_static(body)).flags
}

#[test]
fn h264_has_the_bytes_of_flvenc() {
    assert_eq!(body(&video::avc_sequence_header(PAYLOAD, ZERO)), with(&[0x17, 0, 0, 0, 0]));
    assert_eq!(body(&video::avc_frame(ZERO, 80, true, PAYLOAD).unwrap()), with(&[0x17, 1, 0, 0, 80]));
    assert_eq!(body(&video::avc_frame(ZERO, 0x01_02_03, false, PAYLOAD).unwrap()), with(&[0x27, 1, 1, 2, 3]));
    assert_eq!(
        body(&video::avc_frame(ZERO, -40, false, PAYLOAD).unwrap()),
        with(&[0x27, 1, 0xFF, 0xFF, 0xD8])
    );
    assert_eq!(body(&video::avc_end_of_sequence(ZERO)), [0x17, 2, 0, 0, 0]);
    for millis in [1 << 23, -(1 << 23) - 1, i32::MAX, i32::MIN] {
        let error = FlvError::CompositionTime { millis: i64::from(millis) };
        assert_eq!(video::avc_frame(ZERO, millis, false, PAYLOAD), Err(error));
    }
}

#[test]
fn constructed_tags_have_the_flags_of_read_ones() {
    let tags = [
        video::avc_sequence_header(PAYLOAD, ZERO),
        video::avc_frame(ZERO, 0, true, PAYLOAD).unwrap(),
        video::avc_frame(ZERO, 0, false, PAYLOAD).unwrap(),
        video::avc_end_of_sequence(ZERO),
        audio::aac_sequence_header(PAYLOAD, ZERO),
        audio::aac_frame(ZERO, PAYLOAD),
        audio::mp3_frame(ZERO, 44_100, 2, PAYLOAD).unwrap(),
    ];
    for tag in tags {
        assert_eq!(Tag::from_wire(tag.kind, tag.timestamp, tag.body.to_bytes()), tag);
    }
}

#[test]
fn audio_has_the_bytes_of_flvenc() {
    assert_eq!(body(&audio::aac_sequence_header(PAYLOAD, ZERO)), with(&[0xAF, 0]));
    assert_eq!(body(&audio::aac_frame(ZERO, PAYLOAD)), with(&[0xAF, 1]));
    // Written by ffmpeg -c:a libmp3lame; 48 kHz passes as 44.1 kHz, and 16 kHz is refused.
    let mp3 = [(48_000, 1, 0x2E), (48_000, 2, 0x2F), (44_100, 2, 0x2F), (22_050, 1, 0x2A), (11_025, 2, 0x27)];
    for (rate_hz, channels, first) in mp3 {
        assert_eq!(body(&audio::mp3_frame(ZERO, rate_hz, channels, PAYLOAD).unwrap()), with(&[first]));
    }
    for rate_hz in [0, 5_512, 8_000, 12_000, 16_000, 24_000, 32_000, 96_000] {
        assert_eq!(audio::mp3_frame(ZERO, rate_hz, 2, PAYLOAD), Err(FlvError::Mp3Rate { rate_hz }));
    }
}

#[test]
fn every_video_header_is_read_as_it_is_written() {
    for first in 0..=0xFFu8 {
        for packet_type in 0..4 {
            let bytes = [first, packet_type, 0x80, 0, 1];
            match VideoHeader::parse(&bytes) {
                Ok(header) => {
                    let length = header.len();
                    assert_eq!(header.encode()[..length], bytes[..length]);
                    for end in 0..length {
                        assert!(matches!(VideoHeader::parse(&bytes[..end]), Err(FlvError::Truncated { .. })));
                    }
                }
                Err(FlvError::Enhanced) => assert!(first >= 0x80),
                Err(FlvError::Invalid { .. }) => assert!(matches!(first >> 4, 0 | 6 | 7) || packet_type == 3),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let header = VideoHeader::parse(&[0x27, 1, 0xFF, 0xFF, 0xD8]).unwrap();
    let expected = VideoHeader {
        frame_type: FrameType::Inter,
        codec: VideoCodec::Avc,
        packet_type: AvcPacketType::Nalu,
        composition_time: -40,
    };
    assert_eq!(header, expected);
}

#[test]
fn every_audio_header_is_read_as_it_is_written() {
    for first in 0..=0xFFu8 {
        for packet_type in 0..3 {
            let bytes = [first, packet_type];
            match AudioHeader::parse(&bytes) {
                Ok(header) => assert_eq!(header.encode()[..header.len()], bytes[..header.len()]),
                Err(FlvError::Enhanced) => assert_eq!(first >> 4, 9),
                Err(error) => assert!(first >> 4 == 10 && packet_type == 2, "{error}"),
            }
        }
    }
    let expected = AudioHeader {
        codec: AudioCodec::Mp3,
        rate: SoundRate::Hz22050,
        size: SampleSize::Bits16,
        channels: SoundChannels::Mono,
        packet_type: AacPacketType::Raw,
    };
    assert_eq!(AudioHeader::parse(&[0x2A]), Ok(expected));
    assert!(matches!(AudioHeader::parse(&[]), Err(FlvError::Truncated { missing: 1, .. })));
    assert!(matches!(AudioHeader::parse(&[0xAF]), Err(FlvError::Truncated { missing: 1, .. })));
}

#[test]
fn flags_of_plain_headers() {
    let video: [(&[u8], TagFlags); 11] = [
        (&[], TagFlags::EMPTY),
        (&[0x17], TagFlags::EMPTY),
        (&[0x17, 0], TagFlags::SEQUENCE_HEADER),
        (&[0x17, 1], TagFlags::KEYFRAME),
        (&[0x17, 2], TagFlags::EMPTY),
        (&[0x27, 1], TagFlags::EMPTY),
        (&[0x37, 1], TagFlags::DISPOSABLE),
        (&[0x57, 0], TagFlags::EMPTY),
        (&[0x12], TagFlags::KEYFRAME),
        (&[0x34], TagFlags::DISPOSABLE),
        (&[0x1C, 0], TagFlags::SEQUENCE_HEADER),
    ];
    for (body, expected) in video {
        assert_eq!(flags(TagKind::Video, body), expected, "{body:02x?}");
    }
    let audio: [(&[u8], TagFlags); 5] = [
        (&[], TagFlags::EMPTY),
        (&[0xAF], TagFlags::EMPTY),
        (&[0xAF, 0], TagFlags::SEQUENCE_HEADER),
        (&[0xAF, 1], TagFlags::EMPTY),
        (&[0x2F, 0], TagFlags::EMPTY),
    ];
    for (body, expected) in audio {
        assert_eq!(flags(TagKind::Audio, body), expected, "{body:02x?}");
    }
    assert_eq!(flags(TagKind::Script, b"\x02\0\x0AonMetaData\x08"), TagFlags::METADATA);
    assert_eq!(flags(TagKind::Script, b"\x02\0\x0D@setDataFrame\x02\0\x0AonMetaData"), TagFlags::METADATA);
    assert_eq!(flags(TagKind::Script, b"\x02\0\x0AonTextData"), TagFlags::EMPTY);
    assert_eq!(flags(TagKind::Script, b"\x02\0\x0AonMeta"), TagFlags::EMPTY);
}

/// Body, flags, FourCC.
type EnhancedRow = (&'static [u8], TagFlags, Option<&'static [u8; 4]>);

#[test]
fn flags_and_codes_of_enhanced_headers() {
    let video: [EnhancedRow; 11] = [
        (b"\x90hvc1", TagFlags::SEQUENCE_HEADER, Some(b"hvc1")),
        (b"\x91av01", TagFlags::KEYFRAME, Some(b"av01")),
        (b"\x93hvc1", TagFlags::KEYFRAME, Some(b"hvc1")),
        (b"\xA1vp09", TagFlags::EMPTY, Some(b"vp09")),
        (b"\xB1vp09", TagFlags::DISPOSABLE, Some(b"vp09")),
        (b"\x92hvc1", TagFlags::EMPTY, Some(b"hvc1")),
        (b"\xD4hvc1", TagFlags::SIDE_CONFIG, Some(b"hvc1")),
        (b"\x95av01", TagFlags::SEQUENCE_HEADER, Some(b"av01")),
        // Multitrack: one codec, then one for each track.
        (b"\x96\x10hvc1", TagFlags::SEQUENCE_HEADER, Some(b"hvc1")),
        (b"\x96\x21hvc1\0\0\0\0", TagFlags::KEYFRAME, None),
        // ModEx: two bytes of nanosecond offset, then what it modifies.
        (b"\x97\x02\x01\x02\x03\x01av01", TagFlags::KEYFRAME, Some(b"av01")),
    ];
    for (body, expected, code) in video {
        assert_eq!(flags(TagKind::Video, body), expected, "{body:02x?}");
        assert_eq!(enhanced::four_cc(TagKind::Video, &Bytes::from_static(body).into()).as_ref(), code);
    }
    let audio: [EnhancedRow; 4] = [
        (b"\x90Opus", TagFlags::SEQUENCE_HEADER, Some(b"Opus")),
        (b"\x91mp4a", TagFlags::EMPTY, Some(b"mp4a")),
        (b"\x95\x00mp4a", TagFlags::SEQUENCE_HEADER, Some(b"mp4a")),
        (b"\x96mp4a", TagFlags::EMPTY, Some(b"mp4a")),
    ];
    for (body, expected, code) in audio {
        assert_eq!(flags(TagKind::Audio, body), expected, "{body:02x?}");
        assert_eq!(enhanced::four_cc(TagKind::Audio, &Bytes::from_static(body).into()).as_ref(), code);
    }
    // Cut off anywhere nothing is known, and ModEx of any length ends.
    for end in 0..9 {
        assert_eq!(flags(TagKind::Video, &b"\x97\x02\x01\x02\x03\x01av01"[..end.min(5)]), TagFlags::EMPTY);
    }
    let long: Bytes = [&[0x97, 0xFF, 0x01, 0x00][..], &[0; 257], &[0x00], b"hvc1"].concat().into();
    let tag = Tag::from_wire(TagKind::Video, ZERO, long);
    assert!(tag.is_sequence_header());
    assert_eq!(enhanced::four_cc(TagKind::Video, &tag.body), Some(*b"hvc1"));
    assert_eq!(flags(TagKind::Video, &[0x97; 4096]), TagFlags::EMPTY);
}

#[test]
fn bodies_are_their_bytes_wherever_the_seam_lies() {
    let joined = TagBody::new(Bytes::from_static(b"0123456789abcdefghij"));
    for seam in 0..=20 {
        let bytes = joined.payload();
        let body = TagBody::with_head(&bytes[..seam], bytes.slice(seam..));
        assert_eq!(body, joined);
        assert_eq!((body.len(), body.to_bytes()), (20, bytes.clone()));
        assert_eq!(body.head().len(), if seam > 16 { 0 } else { seam });
        for at in 0..22 {
            assert_eq!(body.byte(at), bytes.get(at).copied());
        }
        let shorter = TagBody::with_head(&bytes[..seam.min(19)], bytes.slice(seam.min(19)..19));
        assert_ne!(shorter, joined);
    }
    assert_ne!(TagBody::with_head(b"01", Bytes::from_static(b"2")), TagBody::new(Bytes::from_static(b"013")));
    // Without a head, and of the payload, nothing is copied.
    assert_eq!(joined.to_bytes().as_ptr(), joined.payload().as_ptr());
}

#[test]
fn picture_sizes_of_x264() {
    let records = [
        (
            "0164000affe100186764000aace435e7bc0440000003004000000c83c489448001000668ebe3cb22c0fdf8f800",
            (36, 28),
        ),
        (
            "017a0015ffe1001b677a0015bcd941510f1111808800000300080000030190f8a14cb001000668fba3cb22c0fef8f800",
            (322, 242),
        ),
        (
            "01f4000affe1001a67f4000a919c823f1f1f8088000003000800000301907891289001000668ebe3c44844fff8f800",
            (50, 34),
        ),
        (
            "01640028ffe1001b67640028ace401e0089f97011000000300100000030320f183112001000668ebe3cb22c0fdf8f800",
            (1920, 1080),
        ),
        (
            "0164001effe100186764001ef3900a03db016c800000030080000019078b168901000668ebe3cb22c0fcf8f800",
            (640, 480),
        ),
    ];
    for (record, size) in records {
        let record = hex(record);
        let config = AvcConfig::parse(&record).unwrap();
        assert_eq!(config.dimensions(), Some(size));
        let sps = Sps::parse(&config.sps[0]).unwrap();
        assert_eq!((sps.profile, sps.level), (config.profile, config.level));
        // Without the chroma format behind the parameter sets, and no shorter.
        let needed = record.len() - 4;
        for end in 0..record.len() {
            match AvcConfig::parse(&record.slice(..end)) {
                Ok(_) => assert!(end >= needed),
                Err(error) => assert!(matches!(error, FlvError::Truncated { .. }) && end < needed, "{error}"),
            }
        }
    }
    assert!(matches!(
        AvcConfig::parse(&hex("0000000167640028")),
        Err(FlvError::Invalid { what: "avcC version", .. })
    ));
    assert!(AvcConfig::parse(&hex("01640028fee100")).is_err(), "cut off");
    assert!(Sps::parse(&hex("68ebe3cb22c0")).is_err());
    assert!(Sps::parse(&[]).is_err());
}

#[test]
fn emulation_prevention_is_taken_out_before_the_size() {
    let ue = |value: u32| (value + 1, 2 * (32 - (value + 1).leading_zeros()) - 1);
    let fields = [
        (66, 8),
        (0, 16),
        ue(127), // seven zeros, so that the byte after the two of zeros is 1
        ue(0),
        ue(2), // order of output is that of decoding
        ue(1),
        (0, 1),
        ue(19), // 320
        ue(14), // 240
        (1, 1),
        (1, 1),
        (0, 1), // no cropping
    ];
    let mut nal = vec![0x67];
    nal.extend(pack(&fields));
    assert_eq!(nal[2..5], [0, 0, 1]);
    nal.insert(4, 3);
    let sps = Sps::parse(&nal).unwrap();
    assert_eq!((sps.profile, sps.level, sps.width, sps.height), (66, 0, 320, 240));
}

#[test]
fn aac_configurations() {
    let plain = |object_type, sample_rate_hz, channels| AudioSpecificConfig {
        object_type,
        sample_rate_hz,
        channels,
        frame_samples: 1024,
        sbr_rate_hz: None,
        parametric_stereo: false,
    };
    let lc = |sample_rate_hz, channels| plain(2, sample_rate_hz, channels);
    let cases = [
        ("1210", lc(44_100, 2)),
        ("1190", lc(48_000, 2)),
        ("1208", lc(44_100, 1)),
        ("11b0", lc(48_000, 6)),
        ("11b8", lc(48_000, 8)),
        ("1214", AudioSpecificConfig { frame_samples: 960, ..lc(44_100, 2) }),
        // libfdk's and libavcodec's trailer: extension present, no SBR.
        ("119056e500", lc(48_000, 2)),
        // A rate without index: 15, then 24 bits.
        ("1780176f10", lc(0x2EDE, 2)),
        // Explicit SBR, and explicit parametric stereo.
        ("2b118800", AudioSpecificConfig { sbr_rate_hz: Some(48_000), ..lc(24_000, 2) }),
        (
            "eb098800",
            AudioSpecificConfig { sbr_rate_hz: Some(48_000), parametric_stereo: true, ..lc(24_000, 1) },
        ),
        // The same in the way that older decoders do not see.
        ("131056e598", AudioSpecificConfig { sbr_rate_hz: Some(48_000), ..lc(24_000, 2) }),
        (
            "130856e59d4880",
            AudioSpecificConfig { sbr_rate_hz: Some(48_000), parametric_stereo: true, ..lc(24_000, 1) },
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(AudioSpecificConfig::parse(&hex(config)), Ok(expected), "{config}");
    }
    assert!(matches!(AudioSpecificConfig::parse(&[0x12]), Err(FlvError::Truncated { .. })));
    assert!(matches!(AudioSpecificConfig::parse(&[]), Err(FlvError::Truncated { .. })));
    // Reserved rate 13, reserved channel configuration 8.
    assert!(matches!(AudioSpecificConfig::parse(&hex("1690")), Err(FlvError::Invalid { .. })));
    assert!(matches!(AudioSpecificConfig::parse(&hex("1240")), Err(FlvError::Invalid { .. })));
}

/// A program config element of one pair in front, one pair behind, a centre and an LFE, made by hand.
#[test]
fn channels_of_a_program_config_element() {
    let fields: [(u32, u32); 27] = [
        (2, 5),  // AAC LC
        (3, 4),  // 48 kHz
        (0, 4),  // channels: see below
        (0, 3),  // 1024 samples, no core coder, no extension
        (0, 4),  // element tag
        (1, 2),  // profile
        (3, 4),  // rate
        (2, 4),  // front elements
        (0, 4),  // side elements
        (1, 4),  // back elements
        (1, 2),  // LFE elements
        (0, 3),  // data elements
        (0, 4),  // coupling elements
        (0, 1),  // no mono mixdown
        (0, 1),  // no stereo mixdown
        (0, 1),  // no matrix mixdown
        (0, 5),  // front: single
        (16, 5), // front: pair
        (16, 5), // back: pair
        (0, 4),  // LFE
        (0, 3),  // to the next whole byte
        (1, 8),  // one byte of comment
        (33, 8),
        (0x2B7, 11), // extension
        (5, 5),      // SBR
        (1, 1),      // present
        (0, 4),      // 96 kHz
    ];
    let bytes = pack(&fields);
    let config = AudioSpecificConfig::parse(&bytes).unwrap();
    assert_eq!((config.channels, config.sample_rate_hz, config.sbr_rate_hz), (6, 48_000, Some(96_000)));
}
