//! Throughput of the FLV reader and writer, bytes of file per second.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark"
)]

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowcast_rtmp::flv::{FlvReader, FlvWriter, Tag, TagKind};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::time::MediaTime;

/// Ten seconds of 2.5 Mbit/s.
fn file() -> Bytes {
    let mut out = BytesMut::new();
    out.extend_from_slice(&FlvWriter::header(true, true));
    for tag in tags() {
        FlvWriter::write_tag(&tag, &mut out).unwrap();
    }
    out.freeze()
}

fn tags() -> Vec<Tag> {
    (0..250_i64)
        .flat_map(|index| {
            let length = if index % 50 == 0 { 60_000 } else { 9_000 + (index as usize * 37) % 3_000 };
            let mut picture = vec![0; length];
            picture[..2].copy_from_slice(&[if index % 50 == 0 { 0x17 } else { 0x27 }, 1]);
            let picture = Tag::from_wire(TagKind::Video, MediaTime::from_millis(index * 40), picture.into());
            let sound = |half: i64| {
                let time = MediaTime::from_millis(index * 40 + half * 20);
                let mut body = vec![0; 350];
                body[..2].copy_from_slice(&[0xAF, 1]);
                Tag::from_wire(TagKind::Audio, time, body.into())
            };
            [picture, sound(0), sound(1)]
        })
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let file = file();
    let mut group = criterion.benchmark_group("flv");
    group.throughput(Throughput::Bytes(file.len() as u64));
    for piece in [4096, 256 << 10] {
        group.bench_function(format!("read in pieces of {piece}"), |bencher| {
            bencher.iter(|| {
                let mut reader = FlvReader::new(&Limits::file());
                let mut count = 0;
                for bytes in file.chunks(piece) {
                    reader.push(bytes);
                    while let Some(tag) = reader.pull().unwrap() {
                        count += tag.body.len();
                    }
                }
                count
            });
        });
    }
    let tags = tags();
    group.bench_function("write", |bencher| {
        let mut out = BytesMut::with_capacity(file.len());
        bencher.iter(|| {
            out.clear();
            for tag in &tags {
                FlvWriter::write_tag(tag, &mut out).unwrap();
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
