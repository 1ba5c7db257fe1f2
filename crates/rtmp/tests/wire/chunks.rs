//! The chunk stream: assembly, headers, interleaving, Set Chunk Size, Abort.

use flowcast_rtmp::chunk::{ChunkReader, ChunkWriter, MessageHeader};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::WireTime;
use flowcast_rtmp::wire::WireBuf;

use crate::util::{body, drain, header, message, read_all, read_in_steps, set_chunk_size};

/// 300 bytes on chunk stream 4: a chunk of 128, Set Chunk Size on chunk stream 2, then the rest in one chunk.
/// The first 156 bytes are the chunk with its header and the whole Set Chunk Size.
fn chunk_size_inside_a_message() -> (Vec<u8>, bytes::Bytes) {
    let body = body(4, 300);
    let mut bytes = header(4, 40, 300, 8, 1);
    bytes.extend_from_slice(&body[..128]);
    bytes.extend(set_chunk_size(4096));
    assert_eq!(bytes.len(), 156);
    bytes.push(0xC4);
    bytes.extend_from_slice(&body[128..]);
    (bytes, body)
}

#[test]
fn set_chunk_size_between_the_chunks_of_a_message() {
    let (bytes, body) = chunk_size_inside_a_message();
    for step in 1..=bytes.len() {
        let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
        assert_eq!(messages.len(), 1, "step {step}");
        assert_eq!(messages[0].payload, body, "step {step}");
        assert_eq!((messages[0].csid, messages[0].timestamp.get(), messages[0].stream_id), (4, 40, 1));
    }
}

#[test]
fn the_156_byte_prefix_applies_the_chunk_size_and_waits() {
    let (bytes, body) = chunk_size_inside_a_message();
    let mut reader = ChunkReader::new(&Limits::publisher());
    let mut input = &bytes[..156];
    assert_eq!(reader.pull(&mut input).unwrap(), None);
    assert!(input.is_empty());
    assert_eq!((reader.chunk_size(), reader.offset()), (4096, 156));
    assert!((128..=300).contains(&reader.assembly_bytes()), "{}", reader.assembly_bytes());
    let mut input = &bytes[156..];
    assert_eq!(reader.pull(&mut input).unwrap().unwrap().payload, body);
    assert_eq!(reader.assembly_bytes(), 0);
}

#[test]
fn a_chunk_that_has_begun_keeps_its_size() {
    // The chunk size shrinks while a chunk of another chunk stream is not under way, and grows again.
    let body = body(1, 700);
    let mut bytes = set_chunk_size(300);
    bytes.extend(header(6, 0, 700, 9, 1));
    bytes.extend_from_slice(&body[..300]);
    bytes.extend(set_chunk_size(100));
    bytes.push(0xC6);
    bytes.extend_from_slice(&body[300..400]);
    bytes.extend(set_chunk_size(0x7FFF_FFFF));
    bytes.push(0xC6);
    bytes.extend_from_slice(&body[400..]);
    for step in [1, 2, 5, bytes.len()] {
        assert_eq!(read_in_steps(&Limits::publisher(), &bytes, step).unwrap()[0].payload, body);
    }
}

#[test]
fn interleaved_chunk_streams_keep_their_bytes() {
    let (video, audio, data) = (body(1, 1000), body(2, 400), body(3, 10));
    let mut bytes = Vec::new();
    bytes.extend(header(6, 40, 1000, 9, 1));
    bytes.extend_from_slice(&video[..128]);
    bytes.extend(header(4, 41, 400, 8, 1));
    bytes.extend_from_slice(&audio[..128]);
    bytes.extend(header(5, 42, 10, 18, 1));
    bytes.extend_from_slice(&data);
    for (csid, payload) in [(6_u8, &video), (4, &audio)] {
        bytes.push(0xC0 | csid);
        bytes.extend_from_slice(&payload[128..256]);
    }
    bytes.push(0xC4);
    bytes.extend_from_slice(&audio[256..384]);
    bytes.push(0xC4);
    bytes.extend_from_slice(&audio[384..]);
    for piece in video[256..].chunks(128) {
        bytes.push(0xC6);
        bytes.extend_from_slice(piece);
    }
    for step in [1, 3, 64, bytes.len()] {
        let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
        let seen: Vec<_> =
            messages.iter().map(|m| (m.csid, m.timestamp.get(), m.type_id, m.payload.clone())).collect();
        assert_eq!(seen, [(5, 42, 18, data.clone()), (4, 41, 8, audio.clone()), (6, 40, 9, video.clone()),]);
    }
}

#[test]
fn all_four_header_types() {
    let mut bytes = header(4, 1000, 3, 8, 7);
    bytes.extend([1, 1, 1]);
    bytes.extend([0x44, 0, 0, 23, 0, 0, 2, 9, 2, 2]);
    bytes.extend([0x84, 0, 0, 20, 3, 3]);
    bytes.extend([0xC4, 4, 4]);
    bytes.extend([0xC4, 5, 5]);
    let seen: Vec<_> = read_all(&Limits::publisher(), &bytes)
        .unwrap()
        .into_iter()
        .map(|m| (m.timestamp.get(), m.type_id, m.stream_id, m.payload.to_vec()))
        .collect();
    assert_eq!(
        seen,
        [
            (1000, 8, 7, vec![1, 1, 1]),
            (1023, 9, 7, vec![2, 2]),
            (1043, 9, 7, vec![3, 3]),
            (1063, 9, 7, vec![4, 4]),
            (1083, 9, 7, vec![5, 5]),
        ]
    );
}

#[test]
fn basic_headers_of_every_length_cut_anywhere() {
    for csid in [2, 3, 63, 64, 65, 319, 320, 321, 65_599] {
        let mut out = WireBuf::new();
        let mut writer = ChunkWriter::new(128);
        let header = MessageHeader { csid, timestamp: WireTime::new(5), type_id: 9, stream_id: 1 };
        let body = body(csid as usize, 300);
        writer.write_message(&header, &[], &body, &mut out);
        let bytes = drain(&mut out);
        for cut in 0..bytes.len() {
            let mut reader = ChunkReader::new(&Limits::publisher());
            let (mut first, mut second) = bytes.split_at(cut);
            assert_eq!(reader.pull(&mut first).unwrap(), None);
            let message = reader.pull(&mut second).unwrap().unwrap();
            assert_eq!((message.csid, message.payload), (csid, body.clone()), "cut at {cut}");
        }
    }
}

#[test]
fn the_same_chunk_stream_in_two_spellings_is_one() {
    // Chunk stream 64 as the 2-byte form and as the 3-byte form.
    let body = body(9, 200);
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&header(0, 7, 200, 9, 1)[1..]);
    bytes.extend_from_slice(&body[..128]);
    bytes.extend([0xC1, 0, 0]);
    bytes.extend_from_slice(&body[128..]);
    let messages = read_all(&Limits::publisher(), &bytes).unwrap();
    assert_eq!((messages[0].csid, messages[0].payload.clone()), (64, body));
}

#[test]
fn the_first_header_of_a_chunk_stream_may_be_of_any_type() {
    // librtmp's answer to a ping is type 1.
    let messages = read_all(&Limits::player(), &[0x42, 0, 0, 9, 0, 0, 6, 4, 0, 7, 0, 0, 0, 1]).unwrap();
    assert_eq!((messages[0].type_id, messages[0].timestamp.get(), messages[0].stream_id), (4, 9, 0));
    // Without a length there is no body.
    for bytes in [&[0x85, 0, 0, 9][..], &[0xC5]] {
        let messages = read_all(&Limits::player(), bytes).unwrap();
        assert_eq!((messages[0].type_id, messages[0].payload.len()), (0, 0));
    }
}

#[test]
fn empty_messages_come_out() {
    let mut bytes = header(4, 1, 0, 8, 1);
    bytes.extend([0xC4, 0x44, 0, 0, 1, 0, 0, 1, 8, 77]);
    let lengths: Vec<_> =
        read_all(&Limits::player(), &bytes).unwrap().iter().map(|m| m.payload.len()).collect();
    assert_eq!(lengths, [0, 0, 1]);
}

#[test]
fn a_new_header_inside_a_message_is_an_error() {
    for format in [0x00, 0x40, 0x80] {
        let mut bytes = header(6, 0, 1000, 9, 1);
        bytes.extend([0; 128]);
        let mut next = header(6, 0, 10, 9, 1);
        next[0] |= format;
        bytes.extend(next);
        let error = read_all(&Limits::publisher(), &bytes).unwrap_err();
        assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
        assert!(error.offset().unwrap() >= 140, "{error}");
    }
}

#[test]
fn abort_drops_the_unfinished_message_only() {
    let mut bytes = header(6, 0, 300, 9, 1);
    bytes.extend([1; 128]);
    bytes.extend(header(4, 0, 200, 8, 1));
    bytes.extend([2; 128]);
    bytes.extend(message(2, 2, &6_u32.to_be_bytes(), 0, 128));
    bytes.extend(message(2, 2, &99_u32.to_be_bytes(), 0, 128));
    bytes.extend(header(6, 40, 3, 9, 1));
    bytes.extend([3; 3]);
    bytes.push(0xC4);
    bytes.extend([2; 72]);
    for step in [1, bytes.len()] {
        let messages = read_in_steps(&Limits::publisher(), &bytes, step).unwrap();
        let seen: Vec<_> = messages.iter().map(|m| (m.csid, m.payload.to_vec())).collect();
        assert_eq!(seen, [(6, vec![3; 3]), (4, vec![2; 200])]);
    }
}

#[test]
fn a_message_can_be_aborted_by_itself_between_two_of_its_chunks() {
    // After the abort a type 3 header begins a message like the one that was dropped.
    let mut bytes = header(6, 10, 130, 9, 1);
    bytes.extend([1; 128]);
    bytes.extend(message(2, 2, &6_u32.to_be_bytes(), 0, 128));
    bytes.push(0xC6);
    bytes.extend([5; 128]);
    bytes.push(0xC6);
    bytes.extend([5; 2]);
    let messages = read_all(&Limits::publisher(), &bytes).unwrap();
    assert_eq!(messages[0].payload, vec![5; 130]);
}
