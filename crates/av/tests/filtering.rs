//! Pictures that are turned, scaled, framed, deinterlaced and repeated: what is where afterwards.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::process::{Command, Stdio};

use common::{Scratch, open};
use flowcast_av::encoder::Picture;
use flowcast_av::{
    ColorInfo, DecoderOptions, Error, Ratio, TimeBase, VideoDecoder, VideoFilter, VideoFormat, VideoFrame,
    VideoTarget,
};

const TICKS: TimeBase = TimeBase { num: 1, den: 90_000 };

/// Black, with a white quarter in the upper left corner.
fn corner(width: u32, height: u32) -> VideoFrame {
    let mut picture = Picture::black(width, height);
    for row in picture.y.chunks_exact_mut(width as usize).take(height as usize / 2) {
        row[..width as usize / 2].fill(235);
    }
    let mut frame = VideoFrame::from_picture(&picture).unwrap();
    frame.set_pts(Some(0));
    frame
}

fn filtered(frame: VideoFrame, to: &VideoTarget) -> Vec<VideoFrame> {
    let mut filter = VideoFilter::new(frame.format(), TICKS, to).unwrap().unwrap();
    filter.push(frame).unwrap();
    let mut out: Vec<VideoFrame> = std::iter::from_fn(|| filter.pull().unwrap()).collect();
    filter.finish().unwrap();
    out.extend(std::iter::from_fn(|| filter.pull().unwrap()));
    out
}

/// Luma in the middle of the upper left, upper right, lower left and lower right quarter.
fn quarters(frame: &VideoFrame) -> [u8; 4] {
    let (width, height) = (frame.format().width as usize, frame.format().height as usize);
    let bytes = frame.to_bytes().unwrap();
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| bytes[height * y / 4 * width + width * x / 4])
}

#[test]
fn nothing_to_do_is_no_filter() {
    let frame = corner(64, 48);
    let same = VideoTarget::new(64, 48);
    assert!(VideoFilter::new(frame.format(), TICKS, &same).unwrap().is_none());
    let square = VideoFormat { sample_aspect: Ratio::new(1, 1), ..frame.format().clone() };
    assert!(VideoFilter::new(&square, TICKS, &same).unwrap().is_none());
    assert!(
        VideoFilter::new(&square, TICKS, &VideoTarget { tone_map: true, ..same.clone() }).unwrap().is_none()
    );
    for other in [
        VideoTarget::new(32, 24),
        VideoTarget { deinterlace: true, ..same.clone() },
        VideoTarget { rotate_degrees: 180, ..same.clone() },
        VideoTarget { mirrored: true, ..same.clone() },
        VideoTarget { frame_rate: Ratio::new(30, 1), ..same.clone() },
        VideoTarget { pixel_format: "nv12".to_owned(), ..same },
    ] {
        assert!(VideoFilter::new(frame.format(), TICKS, &other).unwrap().is_some(), "{other:?}");
    }
}

#[test]
fn turns_are_clockwise_and_mirrors_come_first() {
    let (white, black) = (235, 16);
    let cases = [
        (0, true, [black, white, black, black]),
        (90, false, [black, white, black, black]),
        (180, false, [black, black, black, white]),
        (270, false, [black, black, white, black]),
        (90, true, [black, black, black, white]),
        (270, true, [white, black, black, black]),
    ];
    for (rotate_degrees, mirrored, expected) in cases {
        let (width, height) = if rotate_degrees % 180 == 90 { (48, 64) } else { (64, 48) };
        let to = VideoTarget { rotate_degrees, mirrored, ..VideoTarget::new(width, height) };
        let out = filtered(corner(64, 48), &to);
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].format().width, out[0].format().height), (width, height));
        assert_eq!(quarters(&out[0]), expected, "{rotate_degrees} {mirrored}");
    }
}

#[test]
fn another_shape_is_framed_in_black() {
    let white =
        VideoFrame::from_picture(&Picture { y: vec![235; 64 * 48], ..Picture::black(64, 48) }).unwrap();
    let out = filtered(white, &VideoTarget::new(128, 48));
    let format = out[0].format();
    assert_eq!((format.width, format.height), (128, 48));
    assert!(format.sample_aspect.is_none_or(|aspect| aspect.num == aspect.den));
    let bytes = out[0].to_bytes().unwrap();
    let row = &bytes[24 * 128..25 * 128];
    assert!(row[..32].iter().chain(&row[96..]).all(|luma| *luma == 16), "{row:?}");
    assert!(row[32..96].iter().all(|luma| *luma >= 234), "{row:?}");
    // A picture that is nearly of the shape fills it.
    let white =
        VideoFrame::from_picture(&Picture { y: vec![235; 64 * 48], ..Picture::black(64, 48) }).unwrap();
    let out = filtered(white, &VideoTarget::new(640, 476));
    assert!(out[0].to_bytes().unwrap()[..640 * 476].iter().all(|luma| *luma >= 234));
}

#[test]
fn pixels_become_square() {
    let format = VideoFormat { sample_aspect: Ratio::new(64, 45), ..corner(720, 576).format().clone() };
    let target = VideoTarget::fitting(&format, 0, (1920, 1080));
    assert_eq!((target.width, target.height), (1024, 576));
    assert_eq!(VideoTarget::fitting(&format, 90, (1920, 1080)).height, 1024);
    let small = VideoTarget::fitting(&format, 0, (640, 360));
    assert_eq!((small.width, small.height), (640, 360));
    let tall = VideoFormat { sample_aspect: Ratio::new(1, 2), ..corner(101, 51).format().clone() };
    let target = VideoTarget::fitting(&tall, 0, (1920, 1080));
    assert_eq!((target.width, target.height), (102, 102));
}

#[test]
fn full_range_becomes_limited() {
    let full = Picture { y: [[255; 32].as_slice(), &[0; 32]].concat().repeat(32), ..Picture::black(64, 32) };
    let mut frame = VideoFrame::from_picture(&full).unwrap();
    frame.set_pts(Some(0));
    let color = ColorInfo { range: Some("pc".to_owned()), ..ColorInfo::default() };
    let format = VideoFormat { color, ..frame.format().clone() };
    assert!(VideoFilter::new(&format, TICKS, &VideoTarget::new(64, 32)).unwrap().is_some());
    // A frame of another description than the filter's is refused.
    let mut filter = VideoFilter::new(&format, TICKS, &VideoTarget::new(64, 32)).unwrap().unwrap();
    assert!(!filter.accepts(frame.format()));
    assert!(matches!(filter.push(frame), Err(Error::InvalidArgument { .. })));
}

#[test]
fn frames_are_repeated_and_left_out() {
    let to = VideoTarget { frame_rate: Ratio::new(30, 1), ..VideoTarget::new(64, 48) };
    // A second at 60, then at 15 frames a second.
    let times = (0..60).map(|frame| frame * 1500).chain((0..15).map(|frame| 90_000 + frame * 6000));
    let mut filter = VideoFilter::new(corner(64, 48).format(), TICKS, &to).unwrap().unwrap();
    assert_eq!(filter.time_base(), TimeBase::new(1, 30));
    let mut out = Vec::new();
    for pts in times {
        let mut frame = corner(64, 48);
        frame.set_pts(Some(pts));
        filter.push(frame).unwrap();
        out.extend(std::iter::from_fn(|| filter.pull().unwrap()).map(|frame| frame.pts().unwrap()));
    }
    filter.finish().unwrap();
    out.extend(std::iter::from_fn(|| filter.pull().unwrap()).map(|frame| frame.pts().unwrap()));
    assert_eq!(out, (0..out.len() as i64).collect::<Vec<_>>());
    // Nobody said how long the last picture stays.
    assert!((58..=60).contains(&out.len()), "{}", out.len());
}

#[test]
fn high_dynamic_range_needs_filters_or_says_so() {
    let color = ColorInfo {
        range: Some("tv".to_owned()),
        space: Some("bt2020nc".to_owned()),
        primaries: Some("bt2020".to_owned()),
        transfer: Some("smpte2084".to_owned()),
    };
    let format =
        VideoFormat { pixel_format: "yuv420p10le".to_owned(), color, ..corner(64, 48).format().clone() };
    let to = VideoTarget { tone_map: true, ..VideoTarget::new(64, 48) };
    match VideoFilter::new(&format, TICKS, &to) {
        Ok(filter) => assert!(filter.is_some()),
        Err(Error::Unavailable { what: "filter", name }) => {
            assert!(["zscale", "tonemap"].contains(&name.as_str()))
        }
        Err(other) => unreachable!("{other}"),
    }
}

#[test]
fn misuse_is_refused() {
    let format = corner(64, 48).format().clone();
    let refused = |format: &VideoFormat, to: &VideoTarget| {
        let result = VideoFilter::new(format, TICKS, to);
        assert!(matches!(result, Err(Error::InvalidArgument { .. } | Error::Libav { .. })), "{to:?}");
    };
    refused(&format, &VideoTarget::new(0, 48));
    refused(&format, &VideoTarget { rotate_degrees: 45, ..VideoTarget::new(64, 48) });
    let injected = "yuv420p,movie=/etc/passwd".to_owned();
    refused(&format, &VideoTarget { pixel_format: injected.clone(), ..VideoTarget::new(64, 48) });
    refused(&VideoFormat { pixel_format: injected, ..format.clone() }, &VideoTarget::new(32, 24));
    refused(&VideoFormat { width: 0, ..format }, &VideoTarget::new(32, 24));
    assert!(VideoFrame::black(0, 4, "yuv420p").is_err());
    assert!(VideoFrame::black(4, 4, "nothing").is_err());
    assert!(VideoFrame::from_picture(&Picture { y: vec![0; 3], ..Picture::black(4, 4) }).is_err());
}

/// The pictures of a clip that `ffmpeg` makes of its own test picture; `None` where there is no such program.
fn clip(scratch: &Scratch, name: &str, arguments: &str) -> Option<(TimeBase, Vec<VideoFrame>)> {
    let path = scratch.file(name);
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=50:duration=0.4",
        ])
        .args(arguments.split_whitespace())
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    assert!(status.ok()?.success(), "{arguments}");
    let mut input = open(&path).unwrap();
    let track = input.media().video().unwrap().clone();
    let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = input.read().unwrap() {
        decoder.push(&packet).unwrap();
        frames.extend(std::iter::from_fn(|| decoder.pull().unwrap()));
    }
    decoder.finish().unwrap();
    frames.extend(std::iter::from_fn(|| decoder.pull().unwrap()));
    Some((track.time_base, frames))
}

fn through(time_base: TimeBase, frames: Vec<VideoFrame>, to: &VideoTarget) -> Vec<VideoFrame> {
    let mut filter = VideoFilter::new(frames[0].format(), time_base, to).unwrap().unwrap();
    let mut out = Vec::new();
    for frame in frames {
        filter.push(frame).unwrap();
        out.extend(std::iter::from_fn(|| filter.pull().unwrap()));
    }
    filter.finish().unwrap();
    out.extend(std::iter::from_fn(|| filter.pull().unwrap()));
    out
}

#[test]
fn fields_become_whole_pictures() {
    let scratch = Scratch::new();
    let words = "-vf interlace -c:v libx264 -flags +ildct+ilme -preset ultrafast -pix_fmt yuv420p";
    let Some((time_base, frames)) = clip(&scratch, "fields.mp4", words) else { return };
    assert!(frames.iter().all(VideoFrame::is_interlaced));
    let count = frames.len();
    let before = frames[3].to_bytes().unwrap();
    let to = VideoTarget { deinterlace: true, ..VideoTarget::new(320, 180) };
    let out = through(time_base, frames, &to);
    assert_eq!(out.len(), count);
    assert!(out.iter().all(|frame| !frame.is_interlaced()));
    assert_ne!(out[3].to_bytes().unwrap(), before);
    for pair in out.windows(2) {
        let lasts = pair[1].pts().unwrap() - pair[0].pts().unwrap();
        assert!([0, lasts].contains(&pair[0].duration()), "{} of {lasts}", pair[0].duration());
    }
    // Whole pictures pass as they are.
    let words = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let Some((time_base, frames)) = clip(&scratch, "whole.mp4", words) else { return };
    let before: Vec<Vec<u8>> = frames.iter().map(|frame| frame.to_bytes().unwrap()).collect();
    let out = through(time_base, frames, &to);
    assert_eq!(out.iter().map(|frame| frame.to_bytes().unwrap()).collect::<Vec<_>>(), before);
}

#[test]
fn high_dynamic_range_becomes_usual() {
    let scratch = Scratch::new();
    let words = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le \
                 -x264-params colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc";
    let Some((time_base, frames)) = clip(&scratch, "hdr.mp4", words) else { return };
    assert_eq!(frames[0].format().color.transfer.as_deref(), Some("smpte2084"));
    let to = VideoTarget { tone_map: true, ..VideoTarget::new(160, 90) };
    if matches!(VideoFilter::new(frames[0].format(), time_base, &to), Err(Error::Unavailable { .. })) {
        return;
    }
    let count = frames.len();
    let out = through(time_base, frames, &to);
    assert_eq!(out.len(), count);
    let format = out[0].format();
    assert_eq!((format.width, format.height, format.pixel_format.as_str()), (160, 90, "yuv420p"));
    assert_eq!(
        (format.color.transfer.as_deref(), format.color.space.as_deref()),
        (Some("bt709"), Some("bt709"))
    );
    assert!(out[0].to_bytes().unwrap()[..160 * 90].iter().any(|luma| *luma > 100), "not black");
}

#[test]
fn full_range_pictures_are_brought_to_limited_range() {
    let scratch = Scratch::new();
    let Some((time_base, frames)) = clip(&scratch, "full.avi", "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p") else {
        return;
    };
    let before = frames[0].to_bytes().unwrap();
    let out = through(time_base, frames, &VideoTarget::new(320, 180));
    for (full, limited) in before.iter().zip(out[0].to_bytes().unwrap()).take(320 * 180) {
        let expected = 16.0 + f64::from(*full) * 219.0 / 255.0;
        assert!((f64::from(limited) - expected).abs() <= 1.0, "{full} became {limited}");
    }
    assert_eq!(out[0].format().pixel_format, "yuv420p");
    assert_ne!(out[0].format().color.range.as_deref(), Some("pc"));
}
