//! Clips that ffmpeg makes, as the tags of a stream; and what ffmpeg finds in the files that are recorded of them.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Receiver;
use flowcast_av::{Codec, Demuxer, Interrupt, OpenOptions, TrackInfo, TrackKind};
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::{audio, enhanced, video};
use flowcast_rtmp::time::MediaTime;

use super::super::existing::Existing;
use super::super::files::{Closed, Files, Plan};
use super::super::format::{FileFormat, Format};

/// How ffmpeg encodes a picture of each codec, and sound with it.
pub(in crate::output) const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -c:a aac";
pub(in crate::output) const HEVC: &str =
    "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=2:keyint=25 -c:a libmp3lame";
pub(in crate::output) const AV1: &str = "-c:v libaom-av1 -cpu-used 8 -usage realtime -c:a libopus";
pub(in crate::output) const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus";

/// Whether `ffmpeg` is there. If not, the test fails under `FLOWCAST_PEERS=required`, and else says that it is skipped.
pub(in crate::output) fn need_ffmpeg() -> bool {
    let is_there =
        Command::new("ffmpeg").arg("-version").output().is_ok_and(|output| output.status.success());
    let required = std::env::var_os("FLOWCAST_PEERS").is_some_and(|value| value == "required");
    assert!(is_there || !required, "no ffmpeg, and it is required");
    if !is_there {
        eprintln!("skipped: no ffmpeg");
    }
    is_there
}

/// What a program prints; its complaints are a failure of the test unless `may_complain`.
pub(in crate::output) fn run(program: &str, directory: &Path, arguments: &str, may_complain: bool) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("it is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        may_complain || (output.status.success() && complaints.is_empty()),
        "{program} {arguments}: {complaints}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Three seconds of a picture that moves and a tone that rises, 25 fps, a keyframe each second.
pub(in crate::output) fn clip(directory: &Path, name: &str, size: &str, coding: &str) {
    let source =
        format!("-f lavfi -i testsrc2=s={size}:r=25:d=3 -f lavfi -i aevalsrc=sin(400*t*t):d=3:s=48000");
    let usual = "-pix_fmt yuv420p -g 25 -keyint_min 25 -sc_threshold 0 -threads 1 -ac 2";
    run(
        "ffmpeg",
        directory,
        &format!("-nostdin -v quiet -y {source} {usual} {coding} -shortest {name}"),
        true,
    );
    assert!(directory.join(name).metadata().is_ok_and(|facts| facts.len() > 0), "{coding}");
}

/// The tags of a file, from time zero on, in order.
pub(in crate::output) fn tags_of(path: &Path) -> Vec<Tag> {
    let mut input = Demuxer::open(path, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
    let tracks = input.media().tracks.clone();
    let size = input.media().video().and_then(|track| track.video.clone());
    let metadata = Metadata {
        width: size.as_ref().map(|video| f64::from(video.width)),
        height: size.as_ref().map(|video| f64::from(video.height)),
        ..Metadata::default()
    };
    let mut tags = vec![metadata.to_tag(MediaTime::ZERO)];
    tags.extend(tracks.iter().filter_map(|track| header(track, track.config.clone()?)));
    let mut media = Vec::new();
    while let Some(packet) = input.read().expect("it reads") {
        let Some(track) = tracks.iter().find(|track| track.index == packet.track) else { continue };
        let millis = |ticks: Option<i64>| track.time_base.millis(ticks.expect("it has a time"));
        let (dts, pts) = (millis(packet.dts), millis(packet.pts));
        media.push((dts, pts, track, packet.keyframe, packet.data));
    }
    // Decoding may begin before zero, where pictures are reordered.
    let first = media.iter().map(|(dts, ..)| *dts).min().unwrap_or(0);
    media.sort_by_key(|(dts, ..)| *dts);
    tags.extend(media.into_iter().filter_map(|(dts, pts, track, is_key, data)| {
        let delay = i32::try_from(pts - dts).expect("it is short");
        frame(track, MediaTime::from_millis(dts - first), delay, is_key, data)
    }));
    tags
}

fn header(track: &TrackInfo, config: Bytes) -> Option<Tag> {
    let at = MediaTime::ZERO;
    Some(match (&track.codec, track.kind) {
        (Codec::H264, _) => video::avc_sequence_header(config, at),
        (Codec::Aac, _) => audio::aac_sequence_header(config, at),
        (Codec::Mp3, _) => return None,
        (codec, TrackKind::Video) => enhanced::video_sequence_start(four_cc(codec), config, at),
        (codec, _) => enhanced::audio_sequence_start(four_cc(codec), config, at),
    })
}

fn frame(track: &TrackInfo, at: MediaTime, delay: i32, is_key: bool, data: Bytes) -> Option<Tag> {
    let rate = track.audio.as_ref().map_or(0, |audio| audio.sample_rate);
    match (&track.codec, track.kind) {
        (Codec::H264, _) => video::avc_frame(at, delay, is_key, data).ok(),
        (Codec::Aac, _) => Some(audio::aac_frame(at, data)),
        (Codec::Mp3, _) => audio::mp3_frame(at, rate, 2, data).ok(),
        (codec, TrackKind::Video) => {
            // Only HEVC's tags say that a picture is shown later.
            let (at, delay) =
                if *codec == Codec::Hevc { (at, delay) } else { (at.saturating_add_millis(delay.into()), 0) };
            enhanced::video_frame(four_cc(codec), at, delay, is_key, data).ok()
        }
        (codec, _) => Some(enhanced::audio_frame(four_cc(codec), at, data)),
    }
}

fn four_cc(codec: &Codec) -> [u8; 4] {
    match codec {
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Vp8 => *b"vp08",
        Codec::Vp9 => *b"vp09",
        Codec::Opus => *b"Opus",
        other => panic!("{other} is not made here"),
    }
}

/// A recording, and what is told of its files.
pub(in crate::output) fn open(path: &Path, format: FileFormat) -> (Box<Files>, Receiver<Closed>) {
    let (sender, closed) = crossbeam_channel::unbounded();
    let plan = Plan {
        format,
        path: path.to_owned(),
        existing: Existing::Number,
        files: Arc::default(),
        parts: None,
    };
    (Box::new(Files::open(plan, sender).expect("it can be created")), closed)
}

/// Records tags, half a second at a time; the files.
pub(in crate::output) fn record(path: &Path, format: FileFormat, tags: &[Tag]) -> Vec<Closed> {
    let (mut file, closed) = open(path, format);
    batches(tags).for_each(|batch| file.write(batch).expect("there is room"));
    file.finish().expect("there is room");
    closed.try_iter().collect()
}

/// Tags of half a second each.
pub(in crate::output) fn batches(tags: &[Tag]) -> impl Iterator<Item = &[Tag]> {
    tags.chunk_by(|one, other| one.timestamp.as_millis() / 500 == other.timestamp.as_millis() / 500)
}

/// Hashes of what is decoded of a file, of one kind (`v` or `a`).
pub(in crate::output) fn decoded(
    directory: &Path,
    name: &str,
    kind: char,
    may_complain: bool,
) -> Vec<String> {
    let rate = if kind == 'v' { "-fps_mode passthrough -enc_time_base 1:1000" } else { "-ar 48000" };
    hashes(directory, &format!("-i {name} -map 0:{kind}:0 {rate} -f framemd5 -"), may_complain)
}

/// Hashes of the packets of a file, of one kind.
pub(in crate::output) fn packets(directory: &Path, name: &str, kind: char) -> Vec<String> {
    // As they are in MP4, whatever the container.
    let is_adts =
        name.ends_with(".ts") && kind == 'a' && probe(directory, name, "stream=codec_name").contains("aac");
    let form = if is_adts { "-bsf:a aac_adtstoasc" } else { "" };
    hashes(directory, &format!("-i {name} -map 0:{kind}:0 -c copy {form} -f framemd5 -"), false)
}

fn hashes(directory: &Path, arguments: &str, may_complain: bool) -> Vec<String> {
    let printed = run("ffmpeg", directory, &format!("-nostdin -v error {arguments}"), may_complain);
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    // What follows the hash is about side data.
    lines.filter_map(|line| line.split(',').nth(5)).map(|hash| hash.trim().to_owned()).collect()
}

/// What ffprobe says of a file.
pub(in crate::output) fn probe(directory: &Path, name: &str, entries: &str) -> String {
    let printed =
        run("ffprobe", directory, &format!("-v error -show_entries {entries} -of csv=p=0 {name}"), false);
    // MPEG-TS has its tracks twice, once by programme.
    let mut lines = Vec::new();
    for line in printed.lines().map(|line| line.trim_end_matches(',')).filter(|line| !line.is_empty()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}
