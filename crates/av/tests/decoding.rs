//! What decoders give for real files, against the `ffmpeg` program: every picture and every sample, bit for bit. And what
//! they do with damaged ones.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Scratch, open, real_media};
use flowcast_av::{
    AudioDecoder, DecoderOptions, Demuxer, Error, Packet, ThreadMode, TrackInfo, VideoDecoder, VideoFrame,
};

/// What `ffmpeg` writes to its output.
fn ffmpeg(input: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "quiet", "-nostdin", "-threads", "1", "-noautorotate", "-i", input.to_str().unwrap()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    output.stdout
}

/// A size and a checksum for each picture, as `ffmpeg` decodes them.
fn their_pictures(input: &Path) -> Vec<(usize, u32)> {
    let told =
        ffmpeg(input, &["-map", "0:v:0", "-vsync", "passthrough", "-f", "framehash", "-hash", "CRC32", "-"]);
    let lines = String::from_utf8(told).unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[4].parse().unwrap(), u32::from_str_radix(fields[5], 16).unwrap())
        })
        .collect()
}

fn checksum(frame: &VideoFrame) -> (usize, u32) {
    let bytes = frame.to_bytes().unwrap();
    (bytes.len(), crc32fast::hash(&bytes))
}

/// Every packet of a track that can be read.
fn packets(input: &mut Demuxer, track: &TrackInfo) -> Vec<Packet> {
    input.select(&[track.index]);
    let mut packets = Vec::new();
    let mut failures = 0;
    while failures < 10 {
        match input.read() {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => break,
            Err(error) if error.is_damage() => failures += 1,
            // A damaged length can be beyond all memory.
            Err(_) => break,
        }
    }
    packets
}

/// Runs packets through a decoder, by its functions, and hands on what comes out. Gives how many were damaged.
fn decode<D, F>(
    decoder: &mut D,
    packets: &[Packet],
    push: impl Fn(&mut D, Option<&Packet>) -> Result<(), Error>,
    pull: impl Fn(&mut D) -> Result<Option<F>, Error>,
    mut take: impl FnMut(F),
) -> usize {
    let mut damaged = 0;
    for packet in packets.iter().map(Some).chain([None]) {
        if let Err(error) = push(decoder, packet) {
            assert!(error.is_damage(), "{error}");
            damaged += 1;
        }
        loop {
            match pull(decoder) {
                Ok(Some(frame)) => take(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.is_damage(), "{error}");
                    damaged += 1;
                }
            }
        }
    }
    damaged
}

fn decode_pictures(decoder: &mut VideoDecoder, packets: &[Packet], take: impl FnMut(VideoFrame)) -> usize {
    let push = |decoder: &mut VideoDecoder, packet: Option<&Packet>| match packet {
        Some(packet) => decoder.push(packet),
        None => decoder.finish(),
    };
    decode(decoder, packets, push, VideoDecoder::pull, take)
}

/// The samples of a track as 32-bit floats, and where gaps or overlaps begin.
fn decode_sound(decoder: &mut AudioDecoder, packets: &[Packet]) -> (Vec<u8>, Vec<i64>, usize) {
    let push = |decoder: &mut AudioDecoder, packet: Option<&Packet>| match packet {
        Some(packet) => decoder.push(packet),
        None => decoder.finish(),
    };
    let (mut bytes, mut breaks, mut next) = (Vec::new(), Vec::new(), None);
    let damaged = decode(decoder, packets, push, AudioDecoder::pull, |frame| {
        let pts = frame.pts().unwrap_or(0);
        if next.is_some_and(|next| next != pts) {
            breaks.push(pts);
        }
        next = Some(pts + i64::try_from(frame.samples()).unwrap());
        bytes.extend(frame.to_bytes());
    });
    (bytes, breaks, damaged)
}

#[track_caller]
fn assert_same_pictures(path: &Path) {
    let theirs = their_pictures(path);
    let mut input = open(path).unwrap();
    let track = input.media().video().unwrap().clone();
    let packets = packets(&mut input, &track);
    let several = [
        DecoderOptions::default(),
        DecoderOptions { threads: 3, ..DecoderOptions::default() },
        DecoderOptions { threads: 3, thread_mode: ThreadMode::Slice, ..DecoderOptions::default() },
    ];
    for options in several {
        let mut decoder = VideoDecoder::open(&track, &options).unwrap();
        // Twice: a reset decoder starts over.
        for lap in 0..2 {
            let mut ours = Vec::new();
            let mut last = None;
            decode_pictures(&mut decoder, &packets, |frame| {
                assert!(frame.pts() > last, "{}: {:?} after {last:?}", path.display(), frame.pts());
                last = frame.pts();
                ours.push(checksum(&frame));
            });
            let (our_count, their_count) = (ours.len(), theirs.len());
            let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
            let what = format!("{} {options:?} lap {lap}", path.display());
            assert_eq!((our_count, differ), (their_count, 0), "{what}");
            assert!(our_count > 0, "{what}");
            decoder.reset().unwrap();
        }
    }
}

#[track_caller]
fn assert_same_sound(path: &Path) {
    let theirs = ffmpeg(path, &["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-"]);
    let mut input = open(path).unwrap();
    let track = input.media().audio().unwrap().clone();
    let packets = packets(&mut input, &track);
    let mut decoder = AudioDecoder::open(&track, &DecoderOptions::default()).unwrap();
    for lap in 0..2 {
        let (ours, breaks, _) = decode_sound(&mut decoder, &packets);
        assert!(!ours.is_empty(), "{}", path.display());
        assert_eq!(ours.len(), theirs.len(), "{} lap {lap}", path.display());
        assert!(ours == theirs, "{} lap {lap}", path.display());
        assert!(breaks.is_empty(), "{}: {breaks:?}", path.display());
        decoder.reset().unwrap();
    }
}

#[test]
fn real_files_decode_like_ffmpeg() {
    let Some(media) = real_media().filter(|_| Command::new("ffmpeg").arg("-version").output().is_ok()) else {
        return;
    };
    for name in [
        "bigbuckbunny.mp4",
        "carphone_pristine.mp4",
        "matroska/bbb.mkv",
        "muxjs/test-segment.ts",
        "muxjs/test-middle-pat-pmt.ts",
        "muxjs/test-no-audio-segment.ts",
    ] {
        assert_same_pictures(&media.join(name));
    }
    for name in [
        "bigbuckbunny.mp4",
        "matroska/bbb.mkv",
        "muxjs/test-segment.ts",
        "muxjs/test-aac-segment.aac",
        "pymediainfo/aac_he_v2.aac",
        "pymediainfo/mp4-with-audio.mp4",
        "pymediainfo/vbr_requires_parsespeed_1.mp4",
        "pymediainfo/issue55.flv",
    ] {
        assert_same_sound(&media.join(name));
    }
}

/// A second of real footage in a format of its own.
fn made(scratch: &Scratch, name: &str, arguments: &str) -> Option<PathBuf> {
    let source = real_media()?.join("bigbuckbunny.mp4");
    let path = scratch.file(name);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-i", source.to_str().unwrap(), "-t", "1"])
        .args(arguments.split_whitespace())
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    let Ok(status) = made else { return None };
    assert!(status.success(), "{name}: {arguments}");
    Some(path)
}

const FORMATS: [(&str, &str); 16] = [
    ("asp.avi", "-s 320x180 -c:v mpeg4 -vtag XVID -bf 2 -q:v 4 -c:a mp3 -ac 1 -ar 48000"),
    ("vp9.webm", "-s 320x180 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -c:a libopus -ac 2"),
    ("vp8.webm", "-s 320x180 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -c:a libvorbis -ac 2"),
    ("hevc.mp4", "-s 320x180 -c:v libx265 -preset ultrafast -x265-params log-level=none -c:a aac -ac 2"),
    ("hevc.ts", "-s 320x180 -c:v libx265 -preset ultrafast -x265-params log-level=none -c:a aac -ac 2"),
    ("ten.mkv", "-s 320x180 -c:v libx264 -pix_fmt yuv420p10le -preset ultrafast -bf 3 -c:a flac"),
    ("fields.mp4", "-s 320x180 -vf fps=50,interlace -c:v libx264 -flags +ildct+ilme -preset ultrafast -an"),
    ("fields.ts", "-s 320x180 -vf fps=50,interlace -c:v mpeg2video -flags +ildct+ilme -bf 2 -q:v 4 -c:a mp2"),
    ("full.mp4", "-s 320x180 -c:v libx264 -pix_fmt yuv444p -preset veryfast -bf 3 -c:a aac"),
    ("turned.mp4", "-s 320x180 -c:v libx264 -preset ultrafast -metadata:s:v rotate=90 -c:a aac -ac 6"),
    ("surround.mkv", "-s 320x180 -c:v mjpeg -q:v 4 -c:a ac3 -ac 6"),
    ("pcm.mov", "-s 320x180 -c:v prores_ks -c:a pcm_s24le"),
    ("adpcm.avi", "-s 320x180 -c:v huffyuv -c:a adpcm_ms -ac 2"),
    ("wma.asf", "-s 320x180 -c:v wmv2 -c:a wmav2 -ac 2"),
    ("tags.flv", "-s 320x180 -c:v libx264 -preset ultrafast -c:a aac -ac 1 -ar 44100"),
    (
        "open.ts",
        "-s 320x180 -c:v libx264 -preset veryfast -g 12 -bf 3 -x264-params open-gop=1 -c:a aac -ac 2",
    ),
];

#[test]
fn made_files_decode_like_ffmpeg() {
    let scratch = Scratch::new();
    for (name, arguments) in FORMATS {
        let Some(path) = made(&scratch, name, arguments) else { return };
        assert_same_pictures(&path);
        let is_float =
            open(&path).unwrap().media().audio().is_some_and(|track| {
                !matches!(track.codec.name(), "flac" | "mp2" | "pcm_s24le" | "adpcm_ms")
            });
        if is_float {
            assert_same_sound(&path);
        }
    }
}

#[test]
fn cut_files_decode_to_the_last_whole_picture() {
    let scratch = Scratch::new();
    for (name, arguments) in [FORMATS[0], FORMATS[1], FORMATS[4], FORMATS[14], FORMATS[15]] {
        let Some(path) = made(&scratch, name, arguments) else { return };
        let bytes = std::fs::read(&path).unwrap();
        let cut = scratch.write(&format!("cut-{name}"), &bytes[..bytes.len() * 2 / 3]);
        let theirs = their_pictures(&cut);
        let mut input = open(&cut).unwrap();
        let track = input.media().video().expect(name).clone();
        let packets = packets(&mut input, &track);
        let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default()).unwrap();
        let mut ours = Vec::new();
        decode_pictures(&mut decoder, &packets, |frame| ours.push(checksum(&frame)));
        assert!(
            ours.len() >= 10 && ours.len().abs_diff(theirs.len()) <= 1,
            "{name}: {} {}",
            ours.len(),
            theirs.len()
        );
        let same = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours == theirs).count();
        assert!(same + 1 >= theirs.len(), "{name}: {same} of {}", theirs.len());
    }
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Decodes what can be decoded; gives the pictures, the bytes of sound and what was damaged.
fn survive(path: &Path) -> Result<(usize, usize, usize), Error> {
    let mut input = open(path)?;
    let tracks = [input.media().video().cloned(), input.media().audio().cloned()];
    let mut found = (0, 0, 0);
    for track in tracks.into_iter().flatten() {
        let packets = packets(&mut input, &track);
        if track.video.is_some() {
            let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default())?;
            found.2 += decode_pictures(&mut decoder, &packets, |_| found.0 += 1);
        } else {
            let mut decoder = AudioDecoder::open(&track, &DecoderOptions::default())?;
            let (bytes, _, damaged) = decode_sound(&mut decoder, &packets);
            (found.1, found.2) = (bytes.len(), found.2 + damaged);
        }
        if input.rewind().is_err() {
            break;
        }
    }
    Ok(found)
}

#[test]
fn two_hundred_damaged_files_are_survived() {
    let Some(media) = real_media() else { return };
    let scratch = Scratch::new();
    let mut files: Vec<PathBuf> = [
        "carphone_pristine.mp4",
        "matroska/bbb.mkv",
        "muxjs/test-segment.ts",
        "pymediainfo/mp4-with-audio.mp4",
    ]
    .map(|name| media.join(name))
    .to_vec();
    for index in [0, 1, 3, 13, 15] {
        files.extend(made(&scratch, FORMATS[index].0, FORMATS[index].1));
    }
    let mut numbers = Numbers(5);
    let (mut refused, mut damaged, mut whole) = (0, 0, 0);
    for round in 0..200 {
        let mut bytes = std::fs::read(&files[round % files.len()]).unwrap();
        if round % 4 == 0 {
            bytes.truncate(numbers.below(bytes.len()));
        } else {
            for _ in 0..1 + numbers.below(200) {
                let place = numbers.below(bytes.len());
                bytes[place] ^= 1 << numbers.below(8);
            }
        }
        let path = scratch.write("damaged", &bytes);
        match survive(&path) {
            Err(_) => refused += 1,
            Ok((.., 0)) => whole += 1,
            Ok(_) => damaged += 1,
        }
    }
    eprintln!("{refused} refused, {damaged} decoded with damage, {whole} without");
    assert_eq!(refused + damaged + whole, 200);
    assert!(damaged > 0 && refused > 0);
}

#[test]
fn a_damaged_packet_costs_its_pictures_only() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &flowcast_av::SampleSpec { gop_frames: 10, ..common::small() });
    let mut input = open(&path).unwrap();
    let track = input.media().video().unwrap().clone();
    let mut packets = packets(&mut input, &track);
    let whole = packets.clone();
    packets[12].data = vec![0xFF; 100].into();
    packets[13].data = bytes::Bytes::new();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default()).unwrap();
    assert_eq!(
        decode_pictures(&mut decoder, &whole, |frame| before.push((frame.pts(), checksum(&frame)))),
        0
    );
    decoder.reset().unwrap();
    assert_eq!(
        decode_pictures(&mut decoder, &packets, |frame| after.push((frame.pts(), checksum(&frame)))),
        1
    );
    // From the next keyframe on everything is as before.
    assert_eq!(before[..12], after[..12]);
    let behind = |frames: &[(Option<i64>, (usize, u32))]| {
        frames.iter().filter(|(pts, _)| *pts >= whole[20].pts).copied().collect::<Vec<_>>()
    };
    assert_eq!(behind(&before).len(), 30);
    assert_eq!(behind(&before), behind(&after));
}

#[test]
fn what_a_packet_says_to_leave_out_is_left_out() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &common::small());
    let mut input = open(&path).unwrap();
    let track = input.media().audio().unwrap().clone();
    let packets = packets(&mut input, &track);
    let mut decoder = AudioDecoder::open(&track, &DecoderOptions::default()).unwrap();
    let (bytes, breaks, _) = decode_sound(&mut decoder, &packets);
    // Two seconds of two channels of floats, rounded up to whole packets at the end.
    let samples = bytes.len() / 8;
    assert!((96_000..97_024).contains(&samples), "{samples}");
    assert_eq!(breaks, []);
    let mut first = packets;
    first.truncate(4);
    (first[0].skip_start, first[3].skip_end) = (1024 + 100, 24);
    decoder.reset().unwrap();
    let (bytes, ..) = decode_sound(&mut decoder, &first);
    assert_eq!(bytes.len() / 8, 4 * 1024 - 1124 - 24);
    // A packet that is only needed to decode the next one.
    (first[0].skip_start, first[3].skip_end) = (0, 0);
    (first[0].discard, first[1].discard) = (false, true);
    decoder.reset().unwrap();
    let (bytes, ..) = decode_sound(&mut decoder, &first);
    assert_eq!(bytes.len() / 8, 3 * 1024);
}

#[test]
fn misuse_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &common::small());
    let mut input = open(&path).unwrap();
    let (video, audio) = (input.media().video().unwrap().clone(), input.media().audio().unwrap().clone());
    let options = DecoderOptions::default();
    assert!(matches!(VideoDecoder::open(&audio, &options), Err(Error::InvalidArgument { .. })));
    assert!(matches!(AudioDecoder::open(&video, &options), Err(Error::InvalidArgument { .. })));
    let mut unknown = video.clone();
    unknown.codec = flowcast_av::Codec::Other("no_such_codec".to_owned());
    assert!(matches!(
        VideoDecoder::open(&unknown, &options),
        Err(Error::Unavailable { what: "decoder", .. })
    ));
    let packets = packets(&mut input, &video);
    let small = DecoderOptions { max_pixels: 100, ..DecoderOptions::default() };
    let refused = VideoDecoder::open(&video, &small).and_then(|mut decoder| {
        decoder.push(&packets[0])?;
        decoder.pull()
    });
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    let mut decoder = VideoDecoder::open(&video, &options).unwrap();
    decoder.finish().unwrap();
    assert!(matches!(decoder.push(&packets[0]), Err(Error::InvalidArgument { .. })));
    decoder.reset().unwrap();
    decoder.push(&packets[0]).unwrap();
    assert!(decoder.pull().unwrap().is_some());
}
