//! Chunking once for many connections: the shared form says what the plain form says.

use bytes::Bytes;
use flowcast_rtmp::chunk::{ChunkWriter, Message, SharedBatch, SharedChunker, SharedMessage};
use flowcast_rtmp::flv::{Tag, TagBody, TagFlags, TagKind};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

use crate::util::{XorShift, audio, body, drain, read_all, set_chunk_size, short_stream, video};

const STREAM: u32 = 1;

/// A connection: its writer, and what it has written after announcing its chunk size.
struct Connection {
    writer: ChunkWriter,
    out: WireBuf,
    base: MediaTime,
}

impl Connection {
    fn new(chunk_size: u32, base: i64) -> Self {
        let mut out = WireBuf::new();
        out.put_slice(&set_chunk_size(chunk_size));
        Self { writer: ChunkWriter::new(chunk_size), out, base: MediaTime::from_millis(base) }
    }

    fn messages(mut self) -> Vec<Message> {
        read_all(&Limits::publisher(), &drain(&mut self.out)).unwrap()
    }
}

/// Sends `tags` in shared and plain form over connections that get the tags `keep` says.
fn compare(tags: &[Tag], chunk_size: u32, base: i64, mut keep: impl FnMut(usize) -> bool) {
    let mut chunker = SharedChunker::new(chunk_size);
    let mut shared = Connection::new(chunk_size, base);
    let mut plain = Connection::new(chunk_size, base);
    for (index, tag) in tags.iter().enumerate() {
        let message = chunker.chunk(tag);
        if keep(index) {
            shared.writer.write_shared(&message, STREAM, shared.base, &mut shared.out);
            plain.writer.write_tag(tag, STREAM, plain.base, &mut plain.out);
        }
    }
    let (shared, plain) = (shared.messages(), plain.messages());
    assert_eq!(shared, plain);
    assert!(shared.iter().all(|message| message.stream_id == STREAM));
}

#[test]
fn shared_and_plain_form_read_the_same() {
    for chunk_size in [1, 3, 128, 500, 60_000] {
        for base in [0, -5000, 400, 1 << 40] {
            compare(&short_stream(), chunk_size, base, |_| true);
        }
    }
}

#[test]
fn drops_do_not_shift_what_follows() {
    let mut random = XorShift::new(11);
    for round in 0..200 {
        let keep_of = 2 + round % 7;
        compare(&short_stream(), 256, 0, |_| random.below(keep_of) != 0);
    }
}

#[test]
fn heads_of_every_length_in_chunks_of_every_size() {
    for head in 0..=16_usize {
        for payload in [0_usize, 1, 5, 16, 17, 128, 200] {
            let make = |millis| {
                let body = TagBody::with_head(&body(1, head), body(2, payload));
                let timestamp = MediaTime::from_millis(millis);
                Tag { kind: TagKind::Video, timestamp, flags: TagFlags::EMPTY, body }
            };
            for chunk_size in [1, 2, 4, 5, 15, 16, 17, 21, 128, 60_000] {
                compare(&[make(0), make(40), make(40), make(80)], chunk_size, 0, |_| true);
            }
        }
    }
}

#[test]
fn time_may_jump_wrap_and_go_back() {
    let hour = 3_600_000;
    let times = [
        0,
        40,
        5 * hour,
        5 * hour + 40,
        5 * hour - 1000,
        20 * hour,
        (1 << 31) - 20,
        (1 << 31) + 20,
        (1 << 32) - 20,
        (1 << 32) + 20,
        (1 << 33) + 7,
    ];
    let tags: Vec<_> = times.iter().flat_map(|&t| [video(t, true, 400), audio(t, 30)]).collect();
    for base in [0, 1 << 31, -(1 << 31)] {
        compare(&tags, 128, base, |_| true);
        compare(&tags, 128, base, |index| index % 3 != 0);
    }
}

#[test]
fn a_player_that_joins_late_gets_one_full_header_and_then_the_shared_bytes() {
    let mut chunker = SharedChunker::new(60_000);
    let mut early = Connection::new(60_000, 0);
    let mut late = Connection::new(60_000, 4000);
    for index in 0..200_i64 {
        let message = chunker.chunk(&audio(index * 40, 100));
        early.writer.write_shared(&message, STREAM, early.base, &mut early.out);
        if index >= 100 {
            late.writer.write_shared(&message, STREAM, late.base, &mut late.out);
        }
    }
    assert_eq!(late.out.len(), 16 + (12 + 102) + 99 * (8 + 102));
    let (early, late) = (early.messages(), late.messages());
    for (mine, theirs) in late.iter().zip(&early[100..]) {
        assert_eq!(mine.payload, theirs.payload);
        assert_eq!(mine.timestamp.get() + 4000, theirs.timestamp.get());
    }
}

#[test]
fn long_sessions_need_no_extended_timestamps() {
    let mut chunker = SharedChunker::new(60_000);
    let mut player = Connection::new(60_000, 0);
    let mut sent = 0;
    for minute in 0..600_i64 {
        let message = chunker.chunk(&audio(minute * 60_000, 100));
        player.writer.write_shared(&message, STREAM, player.base, &mut player.out);
        sent += if minute == 0 { 12 + 102 } else { 8 + 102 };
    }
    assert_eq!(player.out.len(), 16 + sent);
    assert_eq!(player.messages().last().unwrap().timestamp.get(), 599 * 60_000);
}

#[test]
fn connections_with_another_chunk_size_get_the_plain_form() {
    let mut chunker = SharedChunker::new(60_000);
    let mut other = Connection::new(128, 0);
    let tags = short_stream();
    for tag in &tags {
        let message = chunker.chunk(tag);
        other.writer.write_shared(&message, STREAM, MediaTime::ZERO, &mut other.out);
    }
    assert_eq!(other.messages().len(), tags.len());
}

#[test]
fn another_message_stream_starts_anew() {
    let mut chunker = SharedChunker::new(128);
    let mut connection = Connection::new(128, 0);
    for (index, stream_id) in [1, 1, 2, 2, 1].into_iter().enumerate() {
        let message = chunker.chunk(&audio(index as i64 * 20, 10));
        connection.writer.write_shared(&message, stream_id, MediaTime::ZERO, &mut connection.out);
    }
    let seen: Vec<_> = connection.messages().iter().map(|m| (m.stream_id, m.timestamp.get())).collect();
    assert_eq!(seen, [(1, 0), (1, 20), (2, 40), (2, 60), (1, 80)]);
}

#[test]
fn payloads_are_shared_not_copied() {
    use bytes::Buf;
    use std::io::IoSlice;

    let payload = body(5, 5000);
    let mut chunker = SharedChunker::new(60_000);
    let mut player = Connection::new(60_000, 0);
    for millis in [0, 40] {
        let tag = Tag::from_wire(TagKind::Video, MediaTime::from_millis(millis), payload.clone());
        player.writer.write_shared(&chunker.chunk(&tag), STREAM, player.base, &mut player.out);
    }
    let mut slices = [IoSlice::new(&[]); 16];
    let count = player.out.chunks_vectored(&mut slices);
    let lengths: Vec<_> = slices[..count].iter().map(|slice| slice.len()).collect();
    assert_eq!(lengths, [16 + 12, 5000, 8, 5000]);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    assert_eq!(slices[3].as_ptr(), payload.as_ptr());
}

#[test]
fn wire_len_is_about_right() {
    let mut chunker = SharedChunker::new(128);
    for length in [0, 100, 1000, 100_000] {
        let tag = Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from(vec![0x27; length]));
        let message = chunker.chunk(&tag);
        let mut connection = Connection::new(128, 0);
        connection.writer.write_shared(&message, STREAM, MediaTime::ZERO, &mut connection.out);
        assert!(message.wire_len().abs_diff(connection.out.len() - 16) <= 4);
    }
}

/// Sends `tags` once in batches of up to `limit` bytes and once in plain form, over connections that get the tags `keep`
/// says; says how many batches were sent.
fn compare_batches(
    tags: &[Tag],
    chunk_size: u32,
    limit: usize,
    mut keep: impl FnMut(usize) -> bool,
) -> usize {
    let mut chunker = SharedChunker::new(chunk_size);
    let messages: Vec<SharedMessage> = tags.iter().map(|tag| chunker.chunk(tag)).collect();
    let mut shared = Connection::new(chunk_size, 300);
    let mut plain = Connection::new(chunk_size, 300);
    let (mut next, mut batches) = (0, 0);
    while next < messages.len() {
        let batch = SharedBatch::collect(messages[next..].iter(), limit);
        let kept = keep(next);
        if kept && let Some((batch, count)) = &batch {
            assert!(batch.len() <= limit || *count == 1);
            if shared.writer.write_batch(batch, STREAM, shared.base, &mut shared.out) {
                for tag in &tags[next..next + count] {
                    plain.writer.write_tag(tag, STREAM, plain.base, &mut plain.out);
                }
                (next, batches) = (next + count, batches + 1);
                continue;
            }
        }
        if kept {
            shared.writer.write_shared(&messages[next], STREAM, shared.base, &mut shared.out);
            plain.writer.write_tag(&tags[next], STREAM, plain.base, &mut plain.out);
        }
        next += 1;
    }
    assert_eq!(shared.messages(), plain.messages());
    batches
}

#[test]
fn batches_and_plain_form_read_the_same() {
    let mut random = XorShift::new(23);
    for chunk_size in [1, 3, 128, 500, 60_000] {
        for limit in [1, 700, 5000, usize::MAX] {
            let tags = short_stream();
            assert!(compare_batches(&tags, chunk_size, limit, |_| true) > 0);
            for keep_of in 2..6 {
                compare_batches(&tags, chunk_size, limit, |_| random.below(keep_of) != 0);
            }
        }
    }
}

#[test]
fn a_batch_goes_only_to_those_that_got_what_came_before() {
    let mut chunker = SharedChunker::new(60_000);
    let messages: Vec<_> = (0..6).map(|n| chunker.chunk(&video(n * 40, n == 0, 2000))).collect();
    let (batch, count) = SharedBatch::collect(messages[2..].iter(), usize::MAX).unwrap();
    assert_eq!(count, 4);
    let write = |chunk_size, stream_id, sent: &[usize]| {
        let mut player = Connection::new(chunk_size, 0);
        for &index in sent {
            player.writer.write_shared(&messages[index], STREAM, player.base, &mut player.out);
        }
        let before = player.out.len();
        let written = player.writer.write_batch(&batch, stream_id, player.base, &mut player.out);
        assert_eq!(player.out.len() - before, if written { batch.len() } else { 0 });
        written
    };
    assert!(write(60_000, STREAM, &[0, 1]));
    assert!(write(60_000, STREAM, &[1]), "where it began does not matter");
    assert!(!write(60_000, STREAM, &[]), "nothing came before");
    assert!(!write(60_000, STREAM, &[0]), "one is missing");
    assert!(!write(128, STREAM, &[0, 1]), "another chunk size");
    assert!(!write(60_000, STREAM + 1, &[0, 1]), "another message stream");
}

#[test]
fn a_batch_ends_where_the_shared_form_does() {
    let mut chunker = SharedChunker::new(60_000);
    let script =
        Tag::from_wire(TagKind::Script, MediaTime::from_millis(60), Bytes::from_static(b"\x02\0\x01x"));
    // Back in time, then on; and a script tag.
    let tags = [video(0, true, 10), video(40, false, 10), video(20, false, 10), video(60, false, 10), script];
    let messages: Vec<_> = tags.iter().map(|tag| chunker.chunk(tag)).collect();
    let count_from =
        |index: usize| SharedBatch::collect(messages[index..].iter(), 1000).map(|(_, count)| count);
    let counts: Vec<_> = (0..messages.len()).map(count_from).collect();
    assert_eq!(counts, [None, Some(1), None, Some(1), None]);
}
