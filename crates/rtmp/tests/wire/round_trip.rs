//! What the writer writes, the reader reads: random messages, chunk streams, sizes, times, pieces.

use bytes::Bytes;
use flowcast_rtmp::chunk::{ChunkReader, ChunkWriter, MAX_CHUNK_STREAM_ID, Message, MessageHeader};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::message::type_id;
use flowcast_rtmp::time::WireTime;
use flowcast_rtmp::wire::WireBuf;
use proptest::prelude::*;

use crate::util::{body, drain};

#[derive(Debug, Clone)]
enum Step {
    Message { header: MessageHeader, head: usize, payload: usize },
    ChunkSize(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![
        0..0x200_u32,
        0xFF_FFF0..0x100_0010_u32,
        0x7FFF_FFF0..0x8000_0010_u32,
        0xFFFF_FFF0..=u32::MAX,
        any::<u32>(),
    ];
    let csid = prop_oneof![3..10_u32, 60..70_u32, 315..325_u32, Just(MAX_CHUNK_STREAM_ID)];
    let kind = prop_oneof![Just(8_u8), Just(9), Just(18), Just(20), Just(22), 100..120_u8];
    let length = prop_oneof![0..20_usize, 120..140_usize, 0..3000_usize];
    let message = (csid, time, kind, 0..3_u32, 0..40_usize, length).prop_map(
        |(csid, time, type_id, stream_id, head, payload)| {
            let header = MessageHeader { csid, timestamp: WireTime::new(time), type_id, stream_id };
            Step::Message { header, head, payload }
        },
    );
    let chunk_size = prop_oneof![1..5_u32, 100..200_u32, 4096..70_000_u32].prop_map(Step::ChunkSize);
    prop::collection::vec(prop_oneof![6 => message, 1 => chunk_size], 1..40)
}

fn write(steps: &[Step]) -> (Vec<u8>, Vec<Message>) {
    let (mut writer, mut out, mut expected) = (ChunkWriter::default(), WireBuf::new(), Vec::new());
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::ChunkSize(size) => {
                let header = MessageHeader {
                    csid: 2,
                    timestamp: WireTime::new(0),
                    type_id: type_id::SET_CHUNK_SIZE,
                    stream_id: 0,
                };
                writer.write_message(&header, &[], &Bytes::copy_from_slice(&size.to_be_bytes()), &mut out);
                writer.set_chunk_size(*size);
            }
            Step::Message { header, head, payload } => {
                let (head, payload) = (body(index, *head), body(index + 1, *payload));
                writer.write_message(header, &head, &payload, &mut out);
                expected.push(Message {
                    csid: header.csid,
                    timestamp: header.timestamp,
                    type_id: header.type_id,
                    stream_id: header.stream_id,
                    payload: [head, payload].concat().into(),
                });
            }
        }
    }
    (drain(&mut out), expected)
}

proptest! {
    #[test]
    fn writer_to_reader(steps in steps(), cuts in prop::collection::vec(1..200_usize, 1..20)) {
        let (bytes, expected) = write(&steps);
        let mut reader = ChunkReader::new(&Limits::publisher());
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            let (mut piece, after) = rest.split_at((*cut).min(rest.len()));
            while let Some(message) = reader.pull(&mut piece).unwrap() {
                messages.push(message);
            }
            prop_assert!(piece.is_empty());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(messages, expected);
        prop_assert_eq!(reader.assembly_bytes(), 0);
        prop_assert_eq!(reader.offset(), bytes.len() as u64);
    }
}
