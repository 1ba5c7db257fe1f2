//! FLV files: what libavformat writes, cut everywhere, written again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use bytes::{Bytes, BytesMut};
use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::flv::audio::{self, AacPacketType, AudioHeader};
use flowcast_rtmp::flv::script::{add_set_data_frame, strip_set_data_frame};
use flowcast_rtmp::flv::video::{self, AvcPacketType, FrameType, VideoHeader};
use flowcast_rtmp::flv::{AvcConfig, FlvError, FlvReader, FlvWriter, Metadata, Tag, TagBody, TagKind};
use flowcast_rtmp::limits::{LimitKind, Limits};
use flowcast_rtmp::time::MediaTime;
use proptest::prelude::*;

const CAPTURE: &[u8] = include_bytes!("data/libavformat_h264_aac.flv");

fn pull_all(reader: &mut FlvReader) -> Vec<Tag> {
    std::iter::from_fn(|| reader.pull().unwrap()).collect()
}

fn read(bytes: &[u8]) -> Vec<Tag> {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(bytes);
    let tags = pull_all(&mut reader);
    reader.finish().unwrap();
    tags
}

fn write(tags: &[Tag]) -> Vec<u8> {
    let mut file = FlvWriter::header(true, true).to_vec();
    for tag in tags {
        FlvWriter::write_tag(tag, &mut file).unwrap();
    }
    file
}

/// Makes the tag anew from what it says, as a tagger does from packets.
fn rebuild(tag: &Tag) -> Tag {
    let body = tag.body.to_bytes();
    let time = tag.timestamp;
    match tag.kind {
        TagKind::Script => Metadata::parse(&body).unwrap().to_tag(time),
        TagKind::Audio => match AudioHeader::parse(&body).unwrap().packet_type {
            AacPacketType::SequenceHeader => audio::aac_sequence_header(body.slice(2..), time),
            AacPacketType::Raw => audio::aac_frame(time, body.slice(2..)),
        },
        TagKind::Video => {
            let header = VideoHeader::parse(&body).unwrap();
            let payload = body.slice(header.len()..);
            match header.packet_type {
                AvcPacketType::SequenceHeader => video::avc_sequence_header(payload, time),
                AvcPacketType::EndOfSequence => video::avc_end_of_sequence(time),
                AvcPacketType::Nalu => {
                    let keyframe = header.frame_type == FrameType::Key;
                    video::avc_frame(time, header.composition_time, keyframe, payload).unwrap()
                }
            }
        }
    }
}

#[test]
fn our_tags_have_the_bytes_of_libavformat() {
    let tags = read(CAPTURE);
    let rebuilt: Vec<_> = tags.iter().map(rebuild).collect();
    assert_eq!(rebuilt, tags, "kinds, times, flags and bodies");
    assert!(rebuilt.iter().skip(1).all(|tag| !tag.body.head().is_empty()), "the payload is not copied");
    assert_eq!(write(&rebuilt), CAPTURE);
}

#[test]
fn a_file_of_libavformat_is_understood() {
    let tags = read(CAPTURE);
    let metadata = Metadata::parse(&tags[0].body.to_bytes()).unwrap();
    assert_eq!((metadata.width, metadata.height, metadata.framerate), (Some(36.0), Some(28.0), Some(25.0)));
    assert_eq!((metadata.videocodecid, metadata.audiocodecid), (Some(7.0), Some(10.0)));
    assert_eq!((metadata.stereo, metadata.filesize), (Some(true), Some(CAPTURE.len() as f64)));

    let video: Vec<_> = tags.iter().filter(|tag| tag.is_video()).collect();
    assert!(video[0].is_sequence_header() && !video[0].is_keyframe());
    let config = AvcConfig::parse(&video[0].body.to_bytes().slice(5..)).unwrap();
    assert_eq!((config.profile, config.nal_length_size, config.dimensions()), (100, 4, Some((36, 28))));
    assert_eq!((config.sps.len(), config.pps.len()), (1, 1));
    // Decoding times and composition times of an encode with two B frames, as ffprobe prints them.
    let times: Vec<_> = video[1..video.len() - 1]
        .iter()
        .map(|tag| {
            (tag.timestamp.as_millis(), VideoHeader::parse(&tag.body.to_bytes()).unwrap().composition_time)
        })
        .collect();
    assert_eq!(times, [(0, 80), (40, 160), (80, 40), (120, 40), (160, 80), (200, 80)]);
    let keys: Vec<_> =
        video.iter().filter(|tag| tag.is_keyframe()).map(|tag| tag.timestamp.as_millis()).collect();
    assert_eq!(keys, [0, 160]);
    let configurations: Vec<_> =
        tags.iter().filter(|tag| tag.is_sequence_header()).map(|tag| tag.kind).collect();
    assert_eq!(configurations, [TagKind::Video, TagKind::Audio]);
}

#[test]
fn a_file_may_be_cut_into_pieces_anywhere() {
    let whole = read(CAPTURE);
    for cut in 0..=CAPTURE.len() {
        let mut reader = FlvReader::new(&Limits::file());
        reader.push(&CAPTURE[..cut]);
        let mut tags = pull_all(&mut reader);
        reader.push_bytes(Bytes::from_static(&CAPTURE[cut..]));
        tags.extend(pull_all(&mut reader));
        reader.finish().unwrap();
        assert_eq!(tags, whole, "cut at {cut}");
    }
    let mut reader = FlvReader::new(&Limits::file());
    let mut tags = Vec::new();
    for byte in CAPTURE {
        reader.push(&[*byte]);
        tags.extend(pull_all(&mut reader));
    }
    assert_eq!(tags, whole, "byte by byte");
}

#[test]
fn a_file_that_ends_early_is_truncated_there() {
    // Ends of tags, where a file may end.
    let mut good = vec![13];
    while let Some(size) = CAPTURE.get(good.last().unwrap() + 1..good.last().unwrap() + 4) {
        good.push(good.last().unwrap() + 15 + u32::from_be_bytes([0, size[0], size[1], size[2]]) as usize);
    }
    assert_eq!(good.last(), Some(&CAPTURE.len()));
    for end in 0..=CAPTURE.len() {
        let mut reader = FlvReader::new(&Limits::file());
        reader.push(&CAPTURE[..end]);
        let _ = pull_all(&mut reader);
        match reader.finish() {
            Ok(()) => assert!(good.contains(&end), "{end}"),
            Err(FlvError::Truncated { offset, missing, .. }) => {
                assert!(!good.contains(&end), "{end}");
                assert!(offset <= end as u64 && missing > 0 && end as u64 + missing <= CAPTURE.len() as u64);
            }
            Err(error) => panic!("{end}: {error}"),
        }
    }
}

#[test]
fn tags_are_found_again_at_their_offset() {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(CAPTURE);
    let mut expected = 13;
    while let Some(tag) = reader.pull().unwrap() {
        assert_eq!(reader.tag_offset(), expected);
        let at = expected as usize;
        let header = flowcast_rtmp::flv::TagHeader::parse(CAPTURE[at..at + 11].try_into().unwrap()).unwrap();
        assert_eq!((header.kind, header.body_len as usize), (tag.kind, tag.body.len()));
        expected += 15 + tag.body.len() as u64;
    }
    assert!(
        reader.header().is_some_and(|header| header.has_audio && header.has_video && header.version == 1)
    );
}

#[test]
fn announced_sizes_over_the_limit_are_refused_before_their_bytes_come() {
    let limits = Limits { message_bytes: 100, ..Limits::file() };
    let mut reader = FlvReader::new(&limits);
    reader.push(&FlvWriter::header(true, false));
    reader.push(&[8, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0]);
    let error = FlvError::Limit { kind: LimitKind::MessageBytes, limit: 100, size: 101, offset: 13 };
    assert_eq!(reader.pull(), Err(error.clone()));
    reader.push(&[0; 1000]);
    assert_eq!(reader.pull(), Err(error));
}

#[test]
fn what_is_not_flv_is_refused() {
    let refused = |bytes: &[u8]| {
        let mut reader = FlvReader::new(&Limits::file());
        reader.push(bytes);
        reader.pull().unwrap_err()
    };
    assert_eq!(refused(b"\x89PNG"), FlvError::Signature);
    assert_eq!(refused(b"FX"), FlvError::Signature);
    let short = FlvError::Invalid { what: "header length", value: 8, offset: 5 };
    assert_eq!(refused(b"FLV\x01\x05\0\0\0\x08\0\0\0\0"), short);
    let mut file = FlvWriter::header(true, true).to_vec();
    file.extend([0x29, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(refused(&file), FlvError::Encrypted { offset: 13 });
}

#[test]
fn unknown_tags_are_left_out_if_they_are_tags() {
    let mut file = FlvWriter::header(true, true).to_vec();
    file.extend([7, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 13]);
    FlvWriter::write_tag(&audio::aac_frame(MediaTime::ZERO, Bytes::from_static(b"x")), &mut file).unwrap();
    assert_eq!(read(&file).len(), 1);
    file[29] = 12;
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(&file);
    assert_eq!(reader.pull(), Err(FlvError::Invalid { what: "tag type", value: 7, offset: 13 }));
}

#[test]
fn longer_file_headers_and_wrong_sizes_behind_tags_are_tolerated() {
    let tag = audio::aac_frame(MediaTime::from_millis(5), Bytes::from_static(b"frame"));
    let mut file = b"FLV\x01\x04\0\0\0\x0Cxyz\0\0\0\0".to_vec();
    FlvWriter::write_tag(&tag, &mut file).unwrap();
    let end = file.len();
    file[end - 4..].copy_from_slice(&[0xFF; 4]);
    assert_eq!(read(&file), [tag]);
}

#[test]
fn timestamps_go_on_past_2_24_2_31_and_2_32() {
    for middle in [1i64 << 24, 1 << 31, 1 << 32, 3 << 32] {
        let times: Vec<_> = (0..40).map(|n| MediaTime::from_millis(middle - 400 + 20 * n)).collect();
        let tags: Vec<_> =
            times.iter().map(|&time| audio::aac_frame(time, Bytes::from_static(b"f"))).collect();
        let read: Vec<_> = read(&write(&tags)).iter().map(|tag| tag.timestamp).collect();
        // A file has 32 bits of the first time; from there on it is continuous.
        let base = i64::from(times[0].wire().get()) - times[0].as_millis();
        let expected: Vec<_> = times.iter().map(|time| time.saturating_add_millis(base)).collect();
        assert_eq!(read, expected);
    }
    let tag = audio::aac_frame(MediaTime::from_millis(0x0123_4567), Bytes::new());
    assert_eq!(FlvWriter::tag_header(&tag).unwrap(), [8, 0, 0, 2, 0x23, 0x45, 0x67, 0x01, 0, 0, 0]);
}

#[test]
fn a_body_of_16_mib_does_not_fit() {
    let largest = Tag::from_wire(TagKind::Audio, MediaTime::ZERO, vec![0; (1 << 24) - 1].into());
    assert_eq!(FlvWriter::tag_header(&largest).unwrap()[1..4], [0xFF; 3]);
    let tag = Tag::from_wire(TagKind::Audio, MediaTime::ZERO, vec![0; 1 << 24].into());
    let mut out = BytesMut::new();
    assert_eq!(FlvWriter::write_tag(&tag, &mut out), Err(FlvError::TooLarge { size: 1 << 24 }));
    assert!(out.is_empty());
}

#[test]
fn set_data_frame_comes_and_goes() {
    let metadata = Metadata { width: Some(1280.0), encoder: Some("flowcast".into()), ..Metadata::default() };
    let plain = metadata.to_tag(MediaTime::ZERO).body.to_bytes();
    let published = metadata.to_set_data_frame();
    assert_eq!(&published[..16], b"\x02\0\x0D@setDataFrame");
    assert_eq!(strip_set_data_frame(published.clone()), plain);
    assert_eq!(strip_set_data_frame(plain.clone()), plain);
    assert_eq!(add_set_data_frame(&plain), published);
    assert_eq!(add_set_data_frame(&published), published);
    assert_eq!(Metadata::parse(&published), Metadata::parse(&plain));
    assert!(Tag::from_wire(TagKind::Script, MediaTime::ZERO, published).is_metadata());
}

#[test]
fn metadata_may_be_an_object_and_may_be_odd() {
    let odd = Bytes::from_static(
        b"\x02\0\x0AonMetaData\x03\0\x0Cvideocodecid\x02\0\x04avc1\0\x05width\x01\x01\0\0\x09",
    );
    let metadata = Metadata::parse(&odd).unwrap();
    assert_eq!((metadata.videocodecid, metadata.width), (None, None));
    assert_eq!(metadata.other[0], ("videocodecid".to_owned(), Value::from("avc1")));
    assert_eq!(Metadata::parse(b"\x02\0\x0AonCuePoint\x05"), Err(FlvError::NotMetadata));
    assert_eq!(Metadata::parse(b"\x02\0\x0AonMetaData\x05"), Err(FlvError::NotMetadata));
    assert_eq!(Metadata::parse(b""), Err(FlvError::NotMetadata));
    assert!(matches!(Metadata::parse(b"\x02\0\x0AonMeta"), Err(FlvError::Script(_))));
}

#[test]
fn a_keyframe_index_fits_the_limits_of_files_only() {
    let times = Value::StrictArray(vec![Value::Number(2.0); 20_000]);
    let other = vec![("keyframes".to_owned(), Value::object([("times", times)]))];
    let body = Metadata { other, ..Metadata::default() }.to_tag(MediaTime::ZERO).body.to_bytes();
    assert!(Metadata::parse_within(&body, &Limits::file()).is_ok());
    assert!(matches!(Metadata::parse(&body), Err(FlvError::Script(_))));
}

fn body() -> impl Strategy<Value = TagBody> {
    (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(head, payload)| TagBody::with_head(&head, payload.into()))
}

fn tag() -> impl Strategy<Value = Tag> {
    let kind = prop_oneof![Just(TagKind::Audio), Just(TagKind::Video), Just(TagKind::Script)];
    (kind, 0..1i64 << 31, body()).prop_map(|(kind, time, body)| Tag {
        flags: Tag::from_wire(kind, MediaTime::ZERO, body.to_bytes()).flags,
        kind,
        timestamp: MediaTime::from_millis(time),
        body,
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let number = || prop::option::of(-1e12..1e12);
    let numbers = (number(), number(), number(), number(), number(), number(), number(), number(), number());
    let texts = (prop::option::of(any::<bool>()), prop::option::of(".{0,12}"), "x[a-z]{0,8}");
    (numbers, texts, number(), number()).prop_map(|(n, (stereo, encoder, name), duration_s, filesize)| {
        Metadata {
            width: n.0,
            height: n.1,
            framerate: n.2,
            videocodecid: n.3,
            videodatarate_kbps: n.4,
            audiocodecid: n.5,
            audiodatarate_kbps: n.6,
            audiosamplerate: n.7,
            audiosamplesize: n.8,
            stereo,
            duration_s,
            filesize,
            encoder,
            other: vec![(name, Value::Null), ("n".into(), Value::Number(1.0))],
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tags_that_are_written_are_read(mut tags in prop::collection::vec(tag(), 0..8), piece in 1usize..64) {
        // The unwrapping clock takes steps below 2^31 as they are.
        tags.sort_by_key(|tag| tag.timestamp);
        let mut reader = FlvReader::new(&Limits::file());
        let mut read = Vec::new();
        for piece in write(&tags).chunks(piece) {
            reader.push(piece);
            read.extend(pull_all(&mut reader));
        }
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(read, tags);
    }

    #[test]
    fn metadata_that_is_written_is_read(metadata in metadata()) {
        prop_assert_eq!(Metadata::parse(&metadata.to_tag(MediaTime::ZERO).body.to_bytes()), Ok(metadata.clone()));
        prop_assert_eq!(Metadata::parse(&metadata.to_set_data_frame()), Ok(metadata));
    }

    #[test]
    fn composition_times_are_signed_24_bit(millis in -(1i32 << 23)..1 << 23) {
        let tag = video::avc_frame(MediaTime::ZERO, millis, false, Bytes::new()).unwrap();
        prop_assert_eq!(VideoHeader::parse(&tag.body.to_bytes()).unwrap().composition_time, millis);
    }
}
