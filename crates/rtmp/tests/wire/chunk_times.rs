//! Timestamps: 24 bits, extended, wrapping, and peers that leave the extension out.

use flowcast_rtmp::chunk::{ChunkWriter, MessageHeader};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::WireTime;
use flowcast_rtmp::wire::WireBuf;

use crate::util::{body, drain, header, read_all, read_in_steps};

/// Times around every edge of the format.
const EDGES: [u32; 14] = [
    0,
    0xFF_FFFE,
    0xFF_FFFF,
    0x100_0000,
    0x100_0001,
    0x7FFF_FFFF,
    0x8000_0000,
    0x8000_0001,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
    0,
    1,
    40,
    0x20_0000,
];

#[test]
fn writer_and_reader_agree_at_every_edge() {
    for type_id in [8, 20] {
        let mut writer = ChunkWriter::new(128);
        let mut out = WireBuf::new();
        for (index, time) in EDGES.into_iter().enumerate() {
            let header = MessageHeader { csid: 4, timestamp: WireTime::new(time), type_id, stream_id: 1 };
            writer.write_message(&header, &[1, 2], &body(index, 300 + index), &mut out);
        }
        let bytes = drain(&mut out);
        for step in [1, 7, bytes.len()] {
            let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
            let times: Vec<_> = messages.iter().map(|m| m.timestamp.get()).collect();
            assert_eq!(times, EDGES);
            for (index, message) in messages.iter().enumerate() {
                assert_eq!(message.payload[2..], body(index, 300 + index));
            }
        }
    }
}

/// A message of 300 bytes at `time`, with or without the extension on its type 3 headers.
fn extended(time: u32, body: &[u8], on_type_3: bool) -> Vec<u8> {
    let mut bytes = header(6, time, body.len(), 9, 1);
    for (index, piece) in body.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xC6);
            if on_type_3 {
                bytes.extend_from_slice(&time.to_be_bytes());
            }
        }
        bytes.extend_from_slice(piece);
    }
    bytes
}

#[test]
fn extension_on_type_3_is_taken_where_it_is_and_not_missed_where_it_is_not() {
    for time in [0xFF_FFFF, 0x100_0000, 0x8000_0000, u32::MAX] {
        for on_type_3 in [true, false] {
            for length in [129, 130, 131, 132, 133, 256, 257, 300] {
                let body = body(3, length);
                let mut bytes = extended(time, &body, on_type_3);
                bytes.extend(header(4, 7, 5, 8, 1));
                bytes.extend([9; 5]);
                for step in [1, 2, 3, 5, bytes.len()] {
                    let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
                    let seen: Vec<_> = messages.iter().map(|m| (m.csid, m.timestamp.get())).collect();
                    assert_eq!(seen, [(6, time), (4, 7)], "{time} {on_type_3} {length} {step}");
                    assert_eq!(messages[0].payload, body, "{time} {on_type_3} {length} {step}");
                }
            }
        }
    }
}

#[test]
fn payload_that_begins_like_the_extension() {
    // The first bytes of the second chunk repeat the timestamp but for the last one.
    let time = 0x0102_0304_u32;
    let mut body = body(1, 200).to_vec();
    body[128..132].copy_from_slice(&[1, 2, 3, 5]);
    let bytes = extended(time, &body, false);
    for step in [1, 2, 3, bytes.len()] {
        assert_eq!(read_in_steps(&Limits::publisher(), &bytes, step).unwrap()[0].payload, body);
    }
}

#[test]
fn a_short_last_chunk_without_extension_is_followed_by_other_chunks() {
    // Two bytes of payload are left; what follows them are headers, with some of the timestamp's bytes among them.
    let time = 0x0203_0405_u32;
    let mut body = body(1, 130).to_vec();
    body[128..].copy_from_slice(&[2, 3]);
    let mut bytes = extended(time, &body, false);
    bytes.extend(header(5, 1, 1, 18, 1));
    bytes.push(0xEE);
    for step in 1..=bytes.len() {
        let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
        assert_eq!(messages.len(), 2, "{step}");
        assert_eq!(messages[0].payload, body);
        assert_eq!(messages[1].payload.as_ref(), [0xEE]);
    }
}

#[test]
fn type_3_may_repeat_the_absolute_time_after_a_delta() {
    // A large delta: some encoders repeat the delta on type 3, some the time of the message.
    for repeated in [0x100_0000_u32, 0x100_0000 + 500] {
        let body = body(1, 200);
        let mut bytes = header(6, 500, 1, 9, 1);
        bytes.push(0);
        bytes.extend([0x46, 0xFF, 0xFF, 0xFF, 0, 0, 200, 9]);
        bytes.extend_from_slice(&0x100_0000_u32.to_be_bytes());
        bytes.extend_from_slice(&body[..128]);
        bytes.push(0xC6);
        bytes.extend_from_slice(&repeated.to_be_bytes());
        bytes.extend_from_slice(&body[128..]);
        let messages = read_all(&Limits::publisher(), &bytes).unwrap();
        assert_eq!(messages[1].timestamp.get(), 0x100_0000 + 500);
        assert_eq!(messages[1].payload, body);
    }
}

#[test]
fn a_type_3_message_repeats_the_last_field() {
    // Type 3 after type 0 repeats its field, which was the absolute time; after type 2 it repeats the delta.
    let mut bytes = header(4, 10, 1, 8, 1);
    bytes.push(0);
    bytes.extend([0xC4, 0]);
    bytes.extend([0x84, 0, 0, 5, 0]);
    bytes.extend([0xC4, 0]);
    let times: Vec<_> =
        read_all(&Limits::publisher(), &bytes).unwrap().iter().map(|m| m.timestamp.get()).collect();
    assert_eq!(times, [10, 20, 25, 30]);
}

#[test]
fn deltas_wrap_at_2_32() {
    let mut bytes = header(4, 0xFFFF_FFF0, 1, 8, 1);
    bytes.push(0);
    bytes.extend([0x84, 0, 0, 0x20, 0]);
    let times: Vec<_> =
        read_all(&Limits::publisher(), &bytes).unwrap().iter().map(|m| m.timestamp.get()).collect();
    assert_eq!(times, [0xFFFF_FFF0, 0x10]);
}
