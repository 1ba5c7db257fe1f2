use proptest::prelude::*;

use super::*;
use crate::{TimeBase, TrackInfo, TrackKind};

const LIMITS: fn() -> InputLimits = InputLimits::default;

fn stream(syntax: Syntax, data: &[u8], piece: usize) -> Result<(), Exceeded> {
    let mut screen = StreamScreen::new(syntax, LIMITS());
    data.chunks(piece).try_for_each(|piece| screen.feed(piece))?;
    screen.end()
}

fn packet(codec: Codec, config: Option<&'static [u8]>, data: &[u8]) -> Result<(), Exceeded> {
    let mut track = TrackInfo::new(0, TrackKind::Video, codec, TimeBase::MILLIS);
    track.config = config.map(::bytes::Bytes::from_static);
    PacketScreen::of(&track, "matroska,webm", LIMITS()).unwrap().check(data)
}

fn limit(result: Result<(), Exceeded>) -> Option<&'static str> {
    result.err().map(|exceeded| exceeded.limit)
}

/// 16 bytes of a first slice of H.264.
const SLICE: [u8; 16] = [0, 0, 1, 0x65, 0x88, 0x84, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
/// An SPS of H.264, Baseline: 16 references, this many macroblocks wide and high.
fn sps(width: u32, height: u32) -> Vec<u8> {
    let mut bits = String::new();
    let mut number = |value: u32| {
        let code = format!("{:b}", value + 1);
        bits += &"0".repeat(code.len() - 1);
        bits += &code;
    };
    [0, 0, 2, 16].into_iter().for_each(&mut number);
    bits += "0";
    let mut number = |value: u32| {
        let code = format!("{:b}", value + 1);
        bits += &"0".repeat(code.len() - 1);
        bits += &code;
    };
    [width - 1, height - 1].into_iter().for_each(&mut number);
    bits += "110010000000";
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |value, (at, bit)| value | (bit - b'0') << (7 - at)));
    [0, 0, 1, 0x67, 66, 0, 62].into_iter().chain(bytes).collect()
}

#[test]
fn units_are_counted_from_picture_to_picture() {
    let units = |count: usize| [0, 0, 1, 9].repeat(count);
    let pictures = [units(5000), SLICE.to_vec()].concat().repeat(4);
    for piece in [1, 700, 16 << 10] {
        assert_eq!(stream(Syntax::H264, &pictures, piece), Ok(()), "{piece}");
        assert_eq!(limit(stream(Syntax::H264, &units(9000), piece)), Some("max_units"), "{piece}");
    }
    assert_eq!(limit(stream(Syntax::Hevc, &pictures, 4096)), Some("max_units"), "no slice of HEVC is in it");
    // A first slice of another layer does not end a picture of HEVC.
    let layered = [units(5000), vec![0, 0, 1, 0x03, 0x01, 0x80, 9, 9]].concat().repeat(4);
    assert_eq!(limit(stream(Syntax::Hevc, &layered, 4096)), Some("max_units"));
}

#[test]
fn bytes_without_a_picture_are_bounded() {
    let mut limits = LIMITS();
    limits.max_packet_bytes = 10_000;
    let mut screen = StreamScreen::new(Syntax::H264, limits);
    assert_eq!(screen.feed(&SLICE.repeat(10_000)), Ok(()));
    assert_eq!(limit(screen.feed(&[9; 20_000])), Some("max_packet_bytes"));
}

#[test]
fn pictures_and_references_are_bounded() {
    assert_eq!(stream(Syntax::H264, &sps(120, 68), 512), Ok(()), "1080p");
    assert_eq!(stream(Syntax::H264, &sps(240, 135), 512), Ok(()), "2160p");
    assert_eq!(limit(stream(Syntax::H264, &sps(480, 270), 512)), Some("max_reference_pixels"), "4320p");
    assert_eq!(limit(stream(Syntax::H264, &sps(1000, 1000), 512)), Some("max_pixels"));
    assert_eq!(limit(packet(Codec::H264, None, &sps(1000, 1000))), Some("max_pixels"));
    // A crop of more than there is: a decoder goes on without.
    let mut cropped = sps(1000, 1000);
    cropped.extend([0x80; 8]);
    assert_eq!(limit(stream(Syntax::H264, &cropped, 512)), Some("max_pixels"));
}

#[test]
fn packets_are_counted_by_the_form_they_have() {
    let avcc: &'static [u8] = &[1, 66, 0, 31, 0xFC, 0xE0, 0];
    let prefixed = |count: usize| [1, 9].repeat(count);
    assert_eq!(packet(Codec::H264, Some(avcc), &prefixed(8000)), Ok(()));
    assert_eq!(limit(packet(Codec::H264, Some(avcc), &prefixed(9000))), Some("max_units"));
    assert_eq!(limit(packet(Codec::H264, None, &[0, 0, 1, 9].repeat(9000))), Some("max_units"));
    assert_eq!(limit(packet(Codec::Av1, None, &[0x7A, 0].repeat(9000))), Some("max_units"));
    assert_eq!(packet(Codec::Av1, None, &[0x7A, 0].repeat(8000)), Ok(()));
}

#[test]
fn units_of_av1_are_counted_from_delimiter_to_delimiter() {
    let padding = |count: usize| [0x7A, 1, 0].repeat(count);
    let pictures = [vec![0x12, 0], padding(5000)].concat().repeat(4);
    for piece in [1, 700, 16 << 10] {
        assert_eq!(stream(Syntax::Av1, &pictures, piece), Ok(()), "{piece}");
        assert_eq!(limit(stream(Syntax::Av1, &padding(9000), piece)), Some("max_units"), "{piece}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..2048), piece in 1_usize..64) {
        for syntax in [Syntax::H264, Syntax::Hevc, Syntax::Av1, Syntax::Other] {
            let _ = stream(syntax, &data, piece);
        }
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
            let _ = packet(codec.clone(), None, &data);
            let _ = packet(codec, Some(&[1, 66, 0, 31, 0xFC, 0xE0, 0]), &data);
        }
    }
}
