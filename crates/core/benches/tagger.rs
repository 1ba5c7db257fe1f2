//! What it costs to make tags of libav's packets.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowcast_av::{Demuxer, Interrupt, OpenOptions, Packet, SampleSpec, sample_clip};
use flowcast_core::Carriage;
use flowcast_core::tracks::{Selection, Tagger};
use flowcast_rtmp::time::MediaTime;

/// The packets of a clip of four seconds, and its tracks.
fn packets() -> (Vec<Packet>, Selection) {
    let path = std::env::temp_dir().join(format!("flowcast-bench-{}.mp4", std::process::id()));
    let spec = SampleSpec {
        width: 1280,
        height: 720,
        seconds: 4.0,
        b_frames: 2,
        bitrate: 2_500_000,
        ..SampleSpec::default()
    };
    sample_clip(&path, &spec).unwrap();
    let mut demuxer = Demuxer::open(&path, &OpenOptions::default(), &Interrupt::new()).unwrap();
    let selection = Selection::of(demuxer.media(), Carriage::Plain);
    let mut packets = Vec::new();
    while let Some(packet) = demuxer.read().unwrap() {
        packets.push(packet);
    }
    let _ = std::fs::remove_file(path);
    (packets, selection)
}

fn benches(criterion: &mut Criterion) {
    let (packets, selection) = packets();
    let tagger = Tagger::new(selection);
    let bytes = packets.iter().map(|packet| packet.data.len() as u64).sum();
    let mut group = criterion.benchmark_group("tagger");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function(format!("{} packets", packets.len()), |bencher| {
        bencher.iter(|| {
            let mut bytes = 0;
            for packet in &packets {
                let at = MediaTime::from_millis(packet.dts.unwrap_or(0));
                let tag = if tagger.is_video(packet.track) {
                    tagger.video(at, 40, packet.keyframe, packet.data.clone())
                } else {
                    tagger.audio(at, packet.data.clone())
                };
                bytes += tag.unwrap().body.len();
            }
            bytes
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
