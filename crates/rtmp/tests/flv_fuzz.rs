//! Mutated bytes: whatever arrives, an answer, no panic, and no more memory than the bytes that arrived.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use bytes::BytesMut;
use flowcast_rtmp::amf0::{Value, decode_all, encode_all};
use flowcast_rtmp::flv::{
    AudioSpecificConfig, AvcConfig, FlvReader, Metadata, audio::AudioHeader, enhanced, sps::Sps,
    video::VideoHeader,
};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::url::Destination;

const ROUNDS: usize = 200_000;

/// Marsaglia's xorshift64: the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Changes, cuts, repeats and swaps a few bytes.
    fn mutate(&mut self, seed: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(seed);
        for _ in 0..=self.below(4) {
            if out.is_empty() {
                return;
            }
            let at = self.below(out.len());
            match self.below(6) {
                0 => out[at] = self.next() as u8,
                1 => out[at] ^= 1 << self.below(8),
                2 => out[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                3 => out.truncate(at),
                4 => {
                    let end = (at + self.below(16)).min(out.len());
                    let piece = out[at..end].to_vec();
                    let to = self.below(out.len());
                    out.splice(to..to, piece);
                }
                _ => {
                    let other = self.below(out.len());
                    out.swap(at, other);
                }
            }
        }
    }
}

fn command() -> BytesMut {
    let mut bytes = BytesMut::new();
    let properties = || vec![("k".to_owned(), Value::Date { millis: 1.0, zone: 0 })];
    encode_all(
        &[
            Value::from("connect"),
            Value::from(1.0),
            Value::object([("app", Value::from("live")), ("o", Value::Object(properties()))]),
            Value::EcmaArray(properties()),
            Value::StrictArray(vec![Value::Null, Value::Undefined, Value::LongString("long".into())]),
            Value::TypedObject { class: "C".into(), properties: properties() },
            Value::Xml("<a/>".into()),
        ],
        &mut bytes,
    );
    bytes
}

/// Values of all depths.
fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::StrictArray(items) => items.iter().map(count).sum(),
        other => other.properties().unwrap_or_default().iter().map(|(_, value)| count(value)).sum(),
    };
    1 + inner
}

#[test]
fn mutated_commands() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (seed, limits, mut bytes) = (command(), Limits::before_auth(), Vec::new());
    let mut decoded = 0;
    for _ in 0..ROUNDS {
        random.mutate(&seed, &mut bytes);
        match decode_all(&bytes, &limits) {
            Ok(values) => {
                decoded += 1;
                assert!(values.iter().map(count).sum::<usize>() <= bytes.len(), "{bytes:02x?}");
            }
            Err(error) => assert!(error.offset() <= bytes.len() as u64, "{error} {bytes:02x?}"),
        }
    }
    // Both outcomes must occur often, or the mutations test nothing.
    assert!((ROUNDS / 20..ROUNDS * 19 / 20).contains(&decoded), "{decoded}");
}

#[test]
fn mutated_files() {
    let capture = include_bytes!("data/libavformat_h264_aac.flv");
    // The metadata, both sequence headers and some frames.
    let seed = &capture[..900];
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let (mut bytes, mut tags, mut failed) = (Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        random.mutate(seed, &mut bytes);
        let mut reader = FlvReader::new(&Limits::publisher());
        let (first, second) = bytes.split_at(random.below(bytes.len() + 1));
        let mut body_bytes = 0;
        for piece in [first, second] {
            reader.push(piece);
            loop {
                match reader.pull() {
                    Ok(Some(tag)) => {
                        tags += 1;
                        body_bytes += tag.body.len();
                        read_everything(&tag);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        failed += 1;
                        assert_eq!(reader.pull(), Err(error.clone()));
                        assert_eq!(reader.finish(), Err(error));
                        break;
                    }
                }
            }
        }
        assert!(body_bytes <= bytes.len());
    }
    assert!(tags > ROUNDS && failed > ROUNDS / 100, "{tags} tags, {failed} failed");
}

fn read_everything(tag: &flowcast_rtmp::flv::Tag) {
    let body = tag.body.to_bytes();
    let _ = (VideoHeader::parse(&body), AudioHeader::parse(&body), Metadata::parse(&body));
    let _ = enhanced::four_cc(tag.kind, &tag.body);
    if tag.is_sequence_header() {
        let config = body.slice(body.len().min(if tag.is_video() { 5 } else { 2 })..);
        let _ = AudioSpecificConfig::parse(&config);
        let _ = AvcConfig::parse(&config).map(|config| config.dimensions());
    }
}

#[test]
fn mutated_configurations() {
    let seeds: [&[u8]; 3] = [
        b"\x01\x64\0\x28\xff\xe1\0\x1b\x67\x64\0\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\0\0\x03\0\x04\0\0\x03\0\xc8\x3c\x60\xc6\x58\x01\0\x04\x68\xef\x8f\xcb",
        b"\x67\x7a\0\x15\xbc\xd9\x41\x51\x0f\x11\x11\x80\x88\0\0\x03\0\x08\0\0\x03\x01\x90\xf8\xa1\x4c\xb0",
        b"\x11\x90\x56\xe5\0",
    ];
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let mut bytes = Vec::new();
    for round in 0..ROUNDS {
        random.mutate(seeds[round % seeds.len()], &mut bytes);
        let _ = Sps::parse(&bytes);
        let _ = AudioSpecificConfig::parse(&bytes);
        let _ = AvcConfig::parse(&bytes.clone().into()).map(|config| config.dimensions());
    }
}

#[test]
fn mutated_urls_never_show_the_key() {
    let seed = b"rtmps://user:pw@[2001:db8::1]:443/live2?backup=1/TOPSECRETKEY?token=x";
    let mut random = Random(0xA076_1D64_78BD_642F);
    let (mut bytes, mut parsed) = (Vec::new(), 0);
    for _ in 0..ROUNDS / 4 {
        random.mutate(seed, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let shown = match Destination::parse(&text) {
            Ok(destination) => {
                parsed += 1;
                let key = destination.key().reveal();
                assert!(!(key.is_empty() && destination.app().is_empty()) && destination.port() != 0);
                // Where a mutation has moved the key into host or app it is host or app.
                let app = destination.app().split('?').next().unwrap();
                let is_shown =
                    !key.is_empty() || app.rsplit('/').skip(1).any(|part| part.contains("TOPSECRETKEY"));
                if is_shown && app.contains("TOPSECRETKEY") || destination.host().contains("TOPSECRETKEY") {
                    continue;
                }
                format!("{destination} {destination:?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("TOPSECRETKEY"), "{shown}");
    }
    assert!(parsed > ROUNDS / 40, "{parsed}");
}
