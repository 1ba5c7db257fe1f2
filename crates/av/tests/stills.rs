//! Keyframes as JPEG: their shape, their colours, and what cannot be one. Clips are made, and JPEGs read, by the `ffmpeg` program; skipped
//! where there is none.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
#![allow(clippy::print_stdout, reason = "what was measured is shown with --nocapture")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Scratch, open};
use flowcast_av::{Error, Jpeg, JpegMaker, JpegOptions, Packet, TrackInfo};

fn has_ffmpeg() -> bool {
    Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_ok()
}

/// A clip of a source of lavfi; `None` where the linked `ffmpeg` cannot make it.
fn clip(scratch: &Scratch, name: &str, source: &str, how: &[&str]) -> Option<PathBuf> {
    let path = scratch.file(name);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source, "-t", "0.4"])
        .args(how)
        .arg(&path)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success()).then_some(path)
}

/// The first keyframe of a file, and its track.
fn keyframe(path: &Path) -> (TrackInfo, Packet) {
    let mut input = open(path).unwrap();
    let mut track = input.media().video().unwrap().clone();
    let first = std::iter::from_fn(|| input.read().unwrap())
        .find(|packet| packet.track == track.index && packet.keyframe)
        .unwrap();
    if let Some(config) = &first.config {
        track.config = Some(config.clone());
    }
    (track, first)
}

fn of_keyframe(track: &TrackInfo, first: &Packet, options: &JpegOptions) -> Result<Jpeg, Error> {
    JpegMaker::default().jpeg(track, first, options)
}

fn jpeg_of(path: &Path, options: &JpegOptions) -> Jpeg {
    let (track, first) = keyframe(path);
    of_keyframe(&track, &first, options).unwrap()
}

/// Red, green and blue of the middle of a JPEG, as `ffmpeg` reads it; checks its size.
fn middle(scratch: &Scratch, jpeg: &Jpeg) -> [u8; 3] {
    let path = scratch.write("still.jpg", &jpeg.data);
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (width, height) = (jpeg.width as usize, jpeg.height as usize);
    assert_eq!(out.stdout.len(), width * height * 3, "it is of the size it is said to be");
    let at = (height / 2 * width + width / 2) * 3;
    out.stdout[at..at + 3].try_into().unwrap()
}

#[track_caller]
fn assert_near(found: [u8; 3], wanted: [u8; 3], what: &str) {
    let far = found.iter().zip(wanted).map(|(&one, other)| one.abs_diff(other)).max().unwrap();
    assert!(far <= 8, "{what}: {found:?} in place of {wanted:?}");
}

#[test]
fn all_codecs_of_streams_keep_their_shape_and_their_colours() {
    if !has_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let orange = "color=0xE07020:size=640x360:rate=25";
    let hd = "color=0xE07020:size=1280x720:rate=25";
    let bt709 = ["-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-colorspace", "bt709"];
    let ten = ["-vf", "scale=out_color_matrix=bt709,format=yuv420p10le", "-colorspace", "bt709"];
    let (mut made, mut maker) = (0, JpegMaker::default());
    for (name, source, filter, codec, size) in [
        ("h264.mp4", orange, &[][..], &["-c:v", "libx264"][..], (320, 180)),
        ("709.mp4", hd, &bt709, &["-c:v", "libx264"], (320, 180)),
        // The shape of a pixel: 720 x 576 shown as 16:9.
        (
            "sar.mp4",
            "color=0xE07020:size=720x576:rate=25,setsar=64/45",
            &[],
            &["-c:v", "libx264"],
            (320, 180),
        ),
        ("tall.mp4", "color=0xE07020:size=360x640:rate=25", &[], &["-c:v", "libx264"], (180, 320)),
        ("odd.mp4", "color=0xE07020:size=322x242:rate=25", &[], &["-c:v", "libx264"], (320, 240)),
        ("small.mp4", "color=0xE07020:size=128x96:rate=25", &[], &["-c:v", "libx264"], (128, 96)),
        ("ten.mp4", hd, &ten, &["-c:v", "libx264"], (320, 180)),
        ("hevc.mp4", hd, &ten, &["-c:v", "libx265", "-x265-params", "log-level=error"], (320, 180)),
        ("vp9.mp4", orange, &[], &["-c:v", "libvpx-vp9", "-deadline", "realtime"], (320, 180)),
        ("av1.mp4", orange, &[], &["-c:v", "libaom-av1", "-cpu-used", "8"], (320, 180)),
    ] {
        let how: Vec<_> = filter.iter().chain(codec).copied().collect();
        let Some(path) = clip(&scratch, name, source, &how) else { continue };
        made += 1;
        let (track, first) = keyframe(&path);
        let jpeg = of_keyframe(&track, &first, &JpegOptions::default()).unwrap();
        assert_eq!((jpeg.width, jpeg.height), size, "{name}");
        let again = [(); 2].map(|()| maker.jpeg(&track, &first, &JpegOptions::default()).unwrap());
        assert_eq!(again, [jpeg.clone(), jpeg.clone()], "{name}: with what the one before left");
        assert_near(middle(&scratch, &jpeg), [0xE0, 0x70, 0x20], name);
    }
    assert!(made >= 7, "{made} clips");
}

#[test]
fn pictures_of_full_range_and_of_open_groups_are_taken_as_they_are() {
    if !has_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let full = ["-vf", "scale=out_range=full,format=yuvj420p", "-c:v", "libx264"];
    let path = clip(&scratch, "full.mp4", "color=0xE07020:size=640x360:rate=25", &full).unwrap();
    assert_near(middle(&scratch, &jpeg_of(&path, &JpegOptions::default())), [0xE0, 0x70, 0x20], "full range");
    // A group that is open begins with a picture that is no IDR.
    let path = scratch.file("open.mp4");
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25",
            "-t",
            "2",
        ])
        .args(["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=10:bframes=3:scenecut=0"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let mut input = open(&path).unwrap();
    let track = input.media().video().unwrap().clone();
    let keyframes: Vec<_> =
        std::iter::from_fn(|| input.read().unwrap()).filter(|packet| packet.keyframe).collect();
    assert!(keyframes.len() >= 4, "{}", keyframes.len());
    for keyframe in &keyframes {
        of_keyframe(&track, keyframe, &JpegOptions::default()).unwrap();
    }
}

#[test]
fn high_dynamic_range_is_brought_to_what_jpeg_shows() {
    if !has_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let how = [
        "-vf",
        "format=yuv420p10le",
        "-color_primaries",
        "bt2020",
        "-color_trc",
        "smpte2084",
        "-colorspace",
        "bt2020nc",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
    ];
    let Some(path) = clip(&scratch, "pq.mp4", "color=gray:size=1280x720:rate=25", &how) else { return };
    let jpeg = jpeg_of(&path, &JpegOptions { max_width: 640, ..JpegOptions::default() });
    assert_eq!((jpeg.width, jpeg.height), (568, 320));
    let [red, green, blue] = middle(&scratch, &jpeg);
    assert!(red.abs_diff(green) < 8 && green.abs_diff(blue) < 8, "grey stays grey: {red} {green} {blue}");
    // Half of the range of PQ is 92 candelas per square metre: about the white of BT.709.
    assert!(red > 150, "{red}");
}

#[test]
fn quality_costs_bytes() {
    if !has_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let path = clip(&scratch, "detail.mp4", "testsrc2=size=640x360:rate=25", &["-c:v", "libx264"]).unwrap();
    let bytes = |quality| jpeg_of(&path, &JpegOptions { quality, ..JpegOptions::default() }).data.len();
    let [coarse, usual, fine] = [1, 75, 100].map(bytes);
    assert!(coarse * 2 < usual && usual < fine, "{coarse} {usual} {fine}");
}

#[test]
fn what_cannot_be_a_still_is_refused_by_name() {
    let scratch = Scratch::new();
    let path = scratch.clip("clip.mp4", &common::small());
    let (track, first) = keyframe(&path);
    for (max_width, max_height, quality) in [(0, 10, 50), (10, 0, 50), (10, 10, 0), (10, 10, 101)] {
        let options = JpegOptions { max_width, max_height, quality, ..JpegOptions::default() };
        let refused = of_keyframe(&track, &first, &options).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
    }
    let damaged = Packet { data: bytes::Bytes::from_static(&[0, 0, 0, 4, 0x65, 1, 2, 3]), ..first.clone() };
    let refused = of_keyframe(&track, &damaged, &JpegOptions::default()).unwrap_err();
    assert!(refused.is_damage(), "{refused:?}");
    let large = JpegOptions { max_pixels: 1000, ..JpegOptions::default() };
    assert!(of_keyframe(&track, &first, &large).unwrap_err().is_damage());
    let unknown = TrackInfo { codec: flowcast_av::Codec::from_name("no-such-codec"), ..track };
    let refused = of_keyframe(&unknown, &first, &JpegOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::Unavailable { what: "decoder", .. }), "{refused:?}");
}

/// `cargo test --release -p flowcast-av --test stills -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn what_a_still_costs() {
    let path = std::env::var("STILL_OF").expect("STILL_OF names a file");
    let (track, first) = keyframe(path.as_ref());
    let mut maker = JpegMaker::default();
    for (what, is_kept) in [("all opened for each", false), ("what was opened is kept", true)] {
        let before = thread_cpu();
        for _ in 0..200 {
            maker = if is_kept { maker } else { JpegMaker::default() };
            maker.jpeg(&track, &first, &JpegOptions::default()).unwrap();
        }
        let each = (thread_cpu() - before) * 5.0;
        println!("{what}: {each:.2} ms of CPU for each, keyframe of {} bytes", first.data.len());
    }
}

/// Seconds of CPU that this thread used.
fn thread_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
