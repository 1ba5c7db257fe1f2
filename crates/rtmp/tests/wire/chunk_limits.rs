//! Bounds of the chunk reader: every error names its limit and the place.

use flowcast_rtmp::chunk::ChunkReader;
use flowcast_rtmp::error::{Error, LimitKind};
use flowcast_rtmp::limits::Limits;

use crate::util::{body, header, message, read_all, set_chunk_size};

fn limit_of(bytes: &[u8], limits: &Limits) -> (LimitKind, u64) {
    let mut reader = ChunkReader::new(limits).with_offset(3073);
    let mut input = bytes;
    loop {
        match reader.pull(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no limit was hit"),
            Err(Error::Limit { limit, offset, .. }) => {
                assert!(reader.assembly_bytes() <= limits.assembly_bytes);
                return (limit, offset);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn message_length_is_refused_by_its_header() {
    let limits = Limits::before_auth();
    let longest = header(3, 0, limits.message_bytes, 20, 0);
    assert!(ChunkReader::new(&limits).pull(&mut longest.as_slice()).unwrap().is_none());
    let too_long = header(3, 0, limits.message_bytes + 1, 20, 0);
    assert_eq!(limit_of(&too_long, &limits), (LimitKind::MessageBytes, 3073));
}

#[test]
fn an_announced_length_costs_nothing() {
    let mut reader = ChunkReader::new(&Limits::publisher());
    let mut bytes = header(6, 0, 16 << 20, 9, 1);
    bytes.truncate(12);
    bytes[4..7].copy_from_slice(&[0xFF, 0xFF, 0xFF]);
    bytes.extend([0; 128]);
    assert!(reader.pull(&mut bytes.as_slice()).unwrap().is_none());
    assert!(reader.assembly_bytes() <= 1024, "{}", reader.assembly_bytes());
}

#[test]
fn assembly_is_bounded_over_all_chunk_streams() {
    let limits = Limits { message_bytes: 1 << 20, assembly_bytes: 100_000, ..Limits::publisher() };
    let mut bytes = set_chunk_size(40_000);
    for csid in 3..6 {
        bytes.extend(header(csid, 0, 50_000, 9, 1));
        bytes.extend([0; 40_000]);
    }
    let (limit, offset) = limit_of(&bytes, &limits);
    assert_eq!(limit, LimitKind::AssemblyBytes);
    assert!(offset > 3073 + 80_000, "{offset}");
}

#[test]
fn finished_and_aborted_messages_free_their_assembly() {
    let limits = Limits { message_bytes: 1000, assembly_bytes: 1000, ..Limits::publisher() };
    let mut bytes = Vec::new();
    for round in 0..50 {
        bytes.extend(message(6, 9, &body(round, 1000), 1, 128));
        bytes.extend(header(4, 0, 900, 8, 1));
        bytes.extend([0; 128]);
        bytes.extend(message(2, 2, &4_u32.to_be_bytes(), 0, 128));
    }
    // The abort message itself waits beside 128 bytes of audio.
    assert_eq!(read_all(&limits, &bytes).unwrap().len(), 50);
}

#[test]
fn chunk_streams_are_counted() {
    let limits = Limits::publisher();
    let mut bytes = Vec::new();
    for id in 0..65_u8 {
        bytes.extend([0, id]);
        bytes.extend_from_slice(&header(0, 0, 0, 9, 1)[1..]);
    }
    let (limit, offset) = limit_of(&bytes, &limits);
    assert_eq!((limit, offset), (LimitKind::ChunkStreams, 3073 + 64 * 13));
}

#[test]
fn chunk_sizes_that_make_no_sense() {
    for size in [0, 0x8000_0000, 0x8000_0001, u32::MAX] {
        let error = read_all(&Limits::publisher(), &set_chunk_size(size)).unwrap_err();
        assert_eq!((error.code(), error.offset()), ("RTMP_PROTOCOL", Some(16)), "{size}");
    }
    let error = read_all(&Limits::publisher(), &message(2, 1, &[0, 0, 1], 0, 128)).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL");
}

#[test]
fn chunks_of_one_byte_are_assembled_in_small_steps() {
    let body = body(1, 5000);
    let mut bytes = set_chunk_size(1);
    bytes.extend(message(6, 9, &body, 1, 1));
    assert_eq!(read_all(&Limits::publisher(), &bytes).unwrap()[0].payload, body);
}

#[test]
fn huge_chunk_sizes_are_clamped() {
    let mut reader = ChunkReader::new(&Limits::before_auth());
    reader.pull(&mut set_chunk_size(0x7FFF_FFFF).as_slice()).unwrap();
    assert_eq!(reader.chunk_size(), 0xFF_FFFF);
    assert_eq!(reader.assembly_bytes(), 0);
}

#[test]
fn limits_can_be_widened_on_the_way() {
    let mut reader = ChunkReader::new(&Limits::before_auth());
    reader.set_limits(&Limits::publisher());
    let body = body(3, 100_000);
    let bytes = message(6, 9, &body, 1, 128);
    assert_eq!(reader.pull(&mut bytes.as_slice()).unwrap().unwrap().payload, body);
}
