//! HEVC, AV1, VP9, VP8 and Opus from files: copied and encoded, looped, recorded, pushed and passed on. FFmpeg 5.1 cannot read
//! such FLV: what is recorded is put into Matroska by our own tags and decoded from there.

#![cfg(feature = "libav")]

mod bytes;
mod loops;
mod pushes;

use ::bytes::Bytes;
use flowcast::av::{AudioInfo, Codec, FieldOrder, Muxer, Packet, TimeBase, TrackInfo, TrackKind, VideoInfo};
use flowcast::rtmp::flv::Tag;
use flowcast::rtmp::flv::enhanced::{Header, PacketType};
use flowcast::{Config, Engine, Output, Source};
use kit::rig::engines;
use kit::{Need, PATIENCE, frame_hashes, laps, need, run, wait_until, whole_flv_tags};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files, and how the `ffmpeg` program makes them: two seconds.
const FILES: [(&str, &str, &str); 5] = [
    (
        "hevc.mp4",
        "hvc1",
        "-c:v libx265 -x265-params log-level=none:bframes=2:keyint=25:min-keyint=25 -c:a aac",
    ),
    ("hevc.ts", "hvc1", "-c:v libx265 -x265-params log-level=none:bframes=3:open-gop=0:keyint=25 -c:a aac"),
    ("av1.mp4", "av01", "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -g 25 -c:a aac"),
    ("vp9.webm", "vp09", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus"),
    ("vp8.mkv", "vp08", "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libopus"),
];

/// Width and height of the files, and their frames.
const SIZE: (u32, u32) = (160, 96);
const FRAMES: usize = 50;

/// Makes one of the files.
fn make(directory: &Path, (name, _, coded): (&str, &str, &str)) -> PathBuf {
    let picture =
        "-f lavfi -i testsrc2=size=160x96:rate=25:duration=2 -f lavfi -i sine=sample_rate=48000:duration=2";
    kit::make(directory, name, &format!("{picture} -pix_fmt yuv420p {coded} -ac 2"))
}

/// A packet type, a composition time, and the coded data.
fn parts(tag: &Tag) -> Option<(PacketType, i64, Bytes)> {
    let header = Header::read(tag.kind, &tag.body)?;
    let body = tag.body.to_bytes();
    let has_composition = header.packet_type == PacketType::CodedFrames && header.four_cc == Some(*b"hvc1");
    let from = header.len + if has_composition { 3 } else { 0 };
    let composition = match body.get(header.len..from) {
        Some(&[high, middle, low]) => i64::from(i32::from_be_bytes([high, middle, low, 0]) >> 8),
        _ => 0,
    };
    Some((header.packet_type, composition, body.slice(from..)))
}

/// Puts a recording's tracks of Enhanced RTMP into Matroska, beside it.
fn to_matroska(recording: &Path) -> PathBuf {
    let tags = whole_flv_tags(recording);
    let (mut tracks, mut packets) = (Vec::<TrackInfo>::new(), Vec::new());
    for tag in &tags {
        let Some((kind, composition, data)) = parts(tag) else { continue };
        let index = usize::from(tag.is_audio());
        match kind {
            PacketType::SequenceStart if tracks.iter().all(|track| track.index != index) => {
                tracks.push(track(index, tag, data));
            }
            PacketType::CodedFrames | PacketType::CodedFramesX => {
                let dts = tag.timestamp.as_millis();
                let mut packet = Packet::new(index, Some(dts + composition), Some(dts), data);
                packet.keyframe = tag.is_keyframe() || tag.is_audio();
                packets.push(packet);
            }
            _ => {}
        }
    }
    let file = recording.with_extension("mkv");
    let mut muxer = Muxer::create(&file, None, &tracks).expect("a container for it");
    packets.iter().for_each(|packet| muxer.write(packet).expect("a packet that can be written"));
    muxer.finish().expect("a file that can be written");
    file
}

fn track(index: usize, tag: &Tag, config: Bytes) -> TrackInfo {
    let name = tag.codec().expect("a codec").name();
    let kind = if tag.is_audio() { TrackKind::Audio } else { TrackKind::Video };
    let mut track = TrackInfo::new(index, kind, Codec::from_name(name), TimeBase::MILLIS);
    track.config = Some(config);
    if tag.is_audio() {
        track.audio = Some(AudioInfo {
            sample_rate: 48_000,
            channels: 2,
            layout: "stereo".to_owned(),
            frame_samples: 960,
            priming_samples: 0,
        });
    } else {
        track.video = Some(VideoInfo {
            pixel_format: "yuv420p".to_owned(),
            field_order: FieldOrder::Progressive,
            ..VideoInfo::of_size(SIZE.0, SIZE.1)
        });
    }
    track
}
