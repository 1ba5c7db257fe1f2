//! HEVC, AV1, VP9, VP8 and Opus: packets and configuration in the form MP4 wants, whatever they come from. Held against what
//! libavformat's MP4 muxer writes; skipped where there is no `ffmpeg` program with the encoders.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Scratch, of_track, open, packets};
use flowcast_av::encoder::{
    AudioCodecKind, AudioEncoder, AudioSettings, Picture, RateControl, VideoCodecKind, VideoEncoder,
    VideoSettings,
};
use flowcast_av::{Conversion, Muxer, Packet, Ratio, TrackInfo};

fn ffmpeg(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(arguments).stdin(Stdio::null());
    let output = command.output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || said.contains("Unknown encoder"), "{arguments:?}\n{said}");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Encodes a second and a half of moving bars; `None` where `ffmpeg` cannot.
fn encoded(scratch: &Scratch, name: &str, encoder: &[&str]) -> Option<PathBuf> {
    let path = scratch.file(name);
    let source = "testsrc2=size=160x90:rate=20";
    let mut arguments = vec!["-f", "lavfi", "-t", "1.5", "-i", source, "-pix_fmt", "yuv420p", "-g", "10"];
    arguments.extend(encoder);
    arguments.push(path.to_str().unwrap());
    ffmpeg(&arguments).map(|_| path)
}

fn copied(scratch: &Scratch, from: &Path, name: &str, options: &[&str]) -> PathBuf {
    let to = scratch.file(name);
    let mut arguments = vec!["-i", from.to_str().unwrap(), "-c", "copy"];
    arguments.extend(options);
    arguments.push(to.to_str().unwrap());
    ffmpeg(&arguments).unwrap();
    to
}

/// The first track of a file and its packets.
fn read(path: &Path) -> (TrackInfo, Vec<Packet>) {
    let mut input = open(path).unwrap();
    let track = input.media().tracks.iter().find(|track| track.is_playable()).unwrap().clone();
    let packets = of_track(&packets(&mut input), track.index);
    (track, packets)
}

fn data(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| packet.data.as_ref()).collect()
}

const X265: [&str; 4] = ["-c:v", "libx265", "-x265-params", "log-level=none:bframes=2"];
const SVT: [&str; 4] = ["-c:v", "libsvtav1", "-preset", "12"];

#[test]
fn hevc_with_start_codes_becomes_what_mp4_holds() {
    let scratch = Scratch::new();
    let Some(stream) = encoded(&scratch, "a.ts", &X265) else { return };
    let mp4 = copied(&scratch, &stream, "a.mp4", &[]);
    let (ours, our_packets) = read(&stream);
    let (theirs, their_packets) = read(&mp4);
    assert_eq!(open(&stream).unwrap().conversion(ours.index), Some(Conversion::LengthPrefixes));
    assert_eq!(open(&mp4).unwrap().conversion(theirs.index), None);
    assert_eq!(ours.config, theirs.config);
    assert_eq!(data(&our_packets), data(&their_packets));
    assert!(our_packets.iter().all(|packet| packet.config.is_none()), "the sets do not change");
}

/// The same pictures in another size behind the first ones, in one stream with start codes.
#[test]
fn hevc_that_changes_in_the_middle_says_so_once() {
    let scratch = Scratch::new();
    let params = "log-level=none:repeat-headers=1:bframes=0";
    let coded = ["-c:v", "libx265", "-x265-params", params];
    let Some(small) = encoded(&scratch, "small.ts", &coded) else { return };
    let large = [&["-vf", "scale=320:180"], &coded[..]].concat();
    let large = encoded(&scratch, "large.ts", &large).unwrap();
    let joined = scratch.file("joined.ts");
    let list = format!("concat:{}|{}", small.display(), large.display());
    ffmpeg(&["-i", &list, "-c", "copy", joined.to_str().unwrap()]).unwrap();
    let (track, packets) = read(&joined);
    let changes: Vec<_> = packets.iter().filter_map(|packet| packet.config.clone()).collect();
    assert_eq!(changes.len(), 1, "{packets:?}");
    assert_eq!(track.config, read(&copied(&scratch, &small, "small.mp4", &[])).0.config);
    assert_eq!(Some(&changes[0]), read(&copied(&scratch, &large, "large.mp4", &[])).0.config.as_ref());
}

#[test]
fn hevc_with_its_sets_in_the_packets_only_gets_a_record() {
    let scratch = Scratch::new();
    let params = "log-level=none:repeat-headers=1:bframes=0";
    let Some(stream) = encoded(&scratch, "a.ts", &["-c:v", "libx265", "-x265-params", params]) else {
        return;
    };
    let mp4 = copied(&scratch, &stream, "a.mp4", &["-tag:v", "hev1"]);
    let expected = read(&mp4).0.config.unwrap();
    // The record without its arrays.
    let mut bytes = std::fs::read(&mp4).unwrap();
    let at = bytes.windows(4).position(|name| name == b"hvcC").unwrap() + 4;
    bytes[at + 22] = 0;
    let bare = scratch.write("bare.mp4", &bytes);
    assert_eq!(read(&bare).0.config.unwrap(), expected);
}

#[test]
fn av1_loses_its_delimiters_and_has_the_record_of_mp4() {
    let scratch = Scratch::new();
    for name in ["a.ivf", "a.obu"] {
        let Some(stream) = encoded(&scratch, name, &SVT) else { return };
        let mp4 = copied(&scratch, &stream, "a.mp4", &[]);
        let ((ours, our_packets), (theirs, their_packets)) = (read(&stream), read(&mp4));
        assert_eq!(data(&our_packets), data(&their_packets), "{name}");
        assert!(our_packets.iter().all(|packet| packet.data[0] != 0x12 && packet.config.is_none()));
        assert_eq!(ours.config, theirs.config, "{name}");
    }
}

#[test]
fn vp9_and_vp8_have_the_record_of_mp4() {
    let scratch = Scratch::new();
    for (encoder, format) in [("libvpx-vp9", "yuv420p"), ("libvpx-vp9", "yuv444p"), ("libvpx", "yuv420p")] {
        let name = format!("{encoder}-{format}.webm");
        let options = ["-c:v", encoder, "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", format];
        let Some(webm) = encoded(&scratch, &name, &options) else { return };
        let config = read(&webm).0.config.unwrap();
        if encoder == "libvpx" {
            // libav's MP4 has no place for it.
            assert_eq!(config[..], [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0]);
            continue;
        }
        let mp4 = copied(&scratch, &webm, "a.mp4", &["-strict", "experimental"]);
        let bytes = std::fs::read(&mp4).unwrap();
        let at = bytes.windows(4).position(|name| name == b"vpcC").unwrap() + 4;
        // Version, flags, profile; FFmpeg 5.1 writes no level if the container says none.
        assert_eq!((&config[..5], &config[6..]), (&bytes[at..at + 5], &bytes[at + 6..at + 12]), "{name}");
        assert_eq!(config[5], 10, "{name}");
        assert_eq!(data(&read(&webm).1), data(&read(&mp4).1));
    }
}

#[test]
fn opus_says_its_packets_length_and_has_a_header() {
    let scratch = Scratch::new();
    let sound = ["-f", "lavfi", "-t", "1", "-i", "sine=sample_rate=48000", "-ac", "2"];
    for (duration, samples) in [("20", 960), ("10", 480), ("60", 2880)] {
        let path = scratch.file("a.webm");
        let coded = ["-c:a", "libopus", "-frame_duration", duration, path.to_str().unwrap()];
        if ffmpeg(&[&sound[..], &coded].concat()).is_none() {
            return;
        }
        for path in
            [path.clone(), copied(&scratch, &path, "a.mp4", &[]), copied(&scratch, &path, "a.ogg", &[])]
        {
            let (track, packets) = read(&path);
            assert!(track.config.unwrap().starts_with(b"OpusHead\x01\x02"));
            assert_eq!(track.audio.unwrap().frame_samples, samples, "{}", path.display());
            assert!(packets.len() >= 1000 / duration.parse::<usize>().unwrap());
        }
    }
}

/// Encodes 25 pictures.
fn encode(kind: VideoCodecKind) -> Option<(TrackInfo, Vec<Packet>)> {
    let mut settings = VideoSettings::new(160, 90, Ratio::new(25, 1).unwrap());
    settings.codec = kind;
    settings.preset = "ultrafast".to_owned();
    settings.gop_frames = 10;
    settings.rate_control = RateControl::Cbr { bit_rate: 300_000, vbv_bits: 300_000, filler: false };
    let mut encoder = VideoEncoder::open(0, &settings).ok()?;
    let mut packets = Vec::new();
    for number in 0..25_u8 {
        let mut picture = Picture::black(160, 90);
        picture.y.iter_mut().enumerate().for_each(|(at, luma)| *luma = (at as u8).wrapping_mul(number));
        encoder.push(&picture, i64::from(number)).unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    }
    encoder.finish().unwrap();
    packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
    Some((encoder.track().clone(), packets))
}

#[test]
fn what_encoders_make_is_in_the_same_form() {
    let scratch = Scratch::new();
    for kind in [VideoCodecKind::Hevc, VideoCodecKind::Av1, VideoCodecKind::Vp9, VideoCodecKind::Vp8] {
        let Some((track, packets)) = encode(kind) else { continue };
        assert_eq!(packets.len(), 25, "{kind:?}");
        let config = track.config.clone().unwrap_or_else(|| panic!("{kind:?} has no configuration"));
        assert!(packets.iter().all(|packet| packet.config.is_none()), "{kind:?} changes it");
        for name in ["a.mkv", "a.mp4"] {
            if kind == VideoCodecKind::Vp8 && name == "a.mp4" {
                continue;
            }
            let path = scratch.file(name);
            let mut muxer = Muxer::create(&path, None, std::slice::from_ref(&track)).unwrap();
            packets.iter().for_each(|packet| muxer.write(packet).unwrap());
            muxer.finish().unwrap();
            let (again, copied) = read(&path);
            assert_eq!(data(&copied), data(&packets), "{kind:?} {name}");
            let read_back = again.config.unwrap();
            // Sets are complete in an MP4, which its record says.
            let plain = |config: &[u8]| {
                let mut config = config.to_vec();
                if kind == VideoCodecKind::Hevc {
                    let mut at = 23;
                    for _ in 0..config[22] {
                        config[at] &= 0x3F;
                        at += 5 + usize::from(u16::from_be_bytes([config[at + 3], config[at + 4]]));
                    }
                }
                config
            };
            assert_eq!(plain(&read_back), plain(&config), "{kind:?} {name}");
            let Some(frames) = ffmpeg(&["-i", path.to_str().unwrap(), "-f", "framemd5", "-"]) else { return };
            let frames = frames.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(frames, 25, "{kind:?} {name}");
        }
    }
}

#[test]
fn an_opus_encoder_says_its_header() {
    let mut settings = AudioSettings::new(48_000, 2);
    settings.codec = AudioCodecKind::Opus;
    let Ok(encoder) = AudioEncoder::open(0, &settings) else { return };
    assert!(encoder.track().config.as_ref().unwrap().starts_with(b"OpusHead\x01\x02"));
}

#[test]
fn an_encoder_of_another_codec_is_refused() {
    let mut settings = VideoSettings::new(160, 90, Ratio::new(25, 1).unwrap());
    settings.encoder = Some("libvpx".to_owned());
    let error = VideoEncoder::open(0, &settings).unwrap_err();
    assert_eq!(error.code(), "UNAVAILABLE", "{error}");
}
