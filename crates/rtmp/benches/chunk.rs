//! Throughput of the chunk reader and of both forms of writing, bytes on the wire per second.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs, reason = "a benchmark")]

use bytes::{Buf, Bytes};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowcast_rtmp::chunk::{ChunkReader, ChunkWriter, SharedChunker, SharedMessage};
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

/// Two seconds of 2.5 Mbit/s: a keyframe of 60 kB, 49 pictures of about 10 kB, 94 audio frames of 350 bytes.
fn tags() -> Vec<Tag> {
    let mut tags = Vec::new();
    for index in 0..50_i64 {
        let length = if index == 0 { 60_000 } else { 9_000 + (index as usize * 37) % 3_000 };
        let payload = Bytes::from(vec![0x27; length]);
        tags.push(Tag::from_wire(TagKind::Video, MediaTime::from_millis(index * 40), payload));
        for half in 0..2 {
            let time = MediaTime::from_millis(index * 40 + half * 20);
            tags.push(Tag::from_wire(TagKind::Audio, time, Bytes::from(vec![0xAF; 350])));
        }
    }
    tags
}

fn wire(tags: &[Tag], chunk_size: u32) -> Bytes {
    let mut writer = ChunkWriter::new(chunk_size);
    let mut out = WireBuf::new();
    for tag in tags {
        writer.write_tag(tag, 1, MediaTime::ZERO, &mut out);
    }
    out.copy_to_bytes(out.remaining())
}

/// A reader that knows the chunk size.
fn reader(chunk_size: u32) -> ChunkReader {
    let mut reader = ChunkReader::new(&Limits::publisher());
    let mut set = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    set.extend_from_slice(&chunk_size.to_be_bytes());
    reader.pull(&mut set.as_slice()).unwrap();
    reader
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("reader");
    let tags = tags();
    for chunk_size in [1, 128, 4096, 60_000] {
        let bytes = wire(&tags, chunk_size);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("chunk", chunk_size), &bytes, |b, bytes| {
            b.iter(|| {
                let mut reader = reader(chunk_size);
                let mut messages = 0;
                for mut piece in bytes.chunks(64 << 10) {
                    while reader.pull(&mut piece).unwrap().is_some() {
                        messages += 1;
                    }
                }
                assert_eq!(messages, tags.len());
            });
        });
    }
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("writer");
    let tags = tags();
    for chunk_size in [128, 4096, 60_000] {
        group.throughput(Throughput::Bytes(wire(&tags, chunk_size).len() as u64));
        group.bench_with_input(BenchmarkId::new("chunk", chunk_size), &tags, |b, tags| {
            let mut out = WireBuf::new();
            b.iter(|| {
                let mut writer = ChunkWriter::new(chunk_size);
                for tag in tags {
                    writer.write_tag(tag, 1, MediaTime::ZERO, &mut out);
                }
                out.advance(out.len());
            });
        });
    }
    group.finish();
}

/// What one of many players costs, without the socket.
fn write_shared(c: &mut Criterion) {
    let mut group = c.benchmark_group("shared writer");
    let tags = tags();
    for chunk_size in [4096, 60_000] {
        group.throughput(Throughput::Bytes(wire(&tags, chunk_size).len() as u64));
        let mut chunker = SharedChunker::new(chunk_size);
        let messages: Vec<SharedMessage> = tags.iter().map(|tag| chunker.chunk(tag)).collect();
        group.bench_with_input(BenchmarkId::new("chunk", chunk_size), &messages, |b, messages| {
            b.iter_batched_ref(
                || (ChunkWriter::new(chunk_size), WireBuf::new()),
                |(writer, out)| {
                    for message in messages {
                        writer.write_shared(message, 1, MediaTime::ZERO, out);
                    }
                    out.advance(out.len());
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, read, write, write_shared);
criterion_main!(benches);
