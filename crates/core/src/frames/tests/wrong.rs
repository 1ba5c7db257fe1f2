//! What a program does wrong, and the colours of what it does right.

use super::*;

/// 100 milliseconds, in microseconds.
const STEP: i64 = 100_000;

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |frames: Frames| frames.made().map(drop).expect_err("it is refused").to_string();
    let of =
        |pixels, width, height| Frames::new(VideoFormat::new(pixels, width, height, FrameRate::whole(30)));
    assert!(refused(of(PixelFormat::Rgba, 0, 10)).contains("frames.size"));
    assert!(refused(of(PixelFormat::Rgba, 10, 9000)).contains("frames.size"));
    let format = VideoFormat::new(PixelFormat::Bgra, 64, 48, FrameRate::whole(30));
    assert!(refused(format.matrix(ColorMatrix::Bt601).into()).contains("frames.matrix"));
    assert!(refused(format.range(ColorRange::Full).into()).contains("frames.range"));
    let small = || of(PixelFormat::Yuv420p, 64, 48);
    for (name, frames) in [
        ("pool_size", small().pool_size(0)),
        ("max_queue_size", small().max_queue_size(0)),
        ("delay", small().delay(Duration::from_secs(3))),
        ("hold", small().hold(Duration::ZERO)),
        ("quality", small().quality(0)),
        ("conversion_threads", small().conversion_threads(17)),
        ("audio", small().audio(AudioFormat::f32(0, 2))),
        ("audio", small().audio(AudioFormat::f32(48_000, 9))),
    ] {
        assert!(refused(frames).contains(&format!("frames.{name}")), "{name}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name_and_the_stream_goes_on() {
    let mut studio = Studio::start(with_sound(numbered(10)));
    let sink = studio.sink.clone();
    let (luma, chroma) = (vec![100; 64 * 48], vec![128; 32 * 24]);
    let copy = |planes: &[&[u8]], strides: &[usize]| {
        sink.send_copy(planes, strides, When::Now).map_err(|error| (error.code(), error.to_string()))
    };
    assert_eq!(copy(&[&luma, &chroma, &chroma], &[64, 32, 32]), Ok(()));
    for (planes, strides) in [
        (&[&luma[..], &chroma][..], &[64, 32][..]),
        (&[&luma, &chroma, &chroma], &[64, 32]),
        (&[&luma, &chroma, &chroma], &[63, 32, 32]),
        (&[&luma, &chroma, &chroma], &[65, 32, 32]),
        (&[&luma, &chroma, &chroma], &[0, 0, 0]),
        (&[&luma, &chroma, &chroma], &[64, usize::MAX, 32]),
        (&[&luma[1..], &chroma, &chroma], &[64, 32, 32]),
        (&[&[], &[], &[]], &[64, 32, 32]),
    ] {
        let refused = copy(planes, strides);
        assert_eq!(refused.as_ref().map_err(|(code, _)| *code), Err("FRAME_REFUSED"), "{strides:?}");
    }
    studio.run_to(STEP);
    studio.picture(1, at(STEP)).expect("it is taken");
    let error = studio.picture(2, at(0)).expect_err("it goes back");
    assert_eq!((error.code(), error.is_retryable(), error.http_status()), ("FRAME_REFUSED", false, 400));
    for samples in [&[0.0, f32::NAN][..], &[f32::NEG_INFINITY]] {
        assert!(
            sink.send_samples(samples, at(STEP)).is_err_and(|error| error.to_string().contains("number"))
        );
    }
    assert!(sink.send_samples(&[0_i16, 1][..], at(STEP)).is_err());
    sink.send_samples(&[0.1; 800][..], at(STEP)).expect("they are taken");
    assert!(
        sink.send_samples(&[0.1; 800][..], at(STEP / 2)).is_err_and(|error| error.code() == "FRAME_REFUSED")
    );
    let (other, _made) = numbered(10).made().expect("usable settings");
    let foreign = other.frame().expect("one is free");
    assert!(matches!(sink.try_send(foreign, When::Now), Err(TrySendError::Refused { .. })));
    assert_eq!(sink.stats().refused, 14);
    // The same frame can be sent with a better time: nothing of the pool is lost.
    for number in 3..20 {
        studio.run_to(STEP * number);
        studio.picture(number as u32, at(STEP * number)).expect("it is taken");
    }
    studio.run_to(STEP * 30);
    let mut last = 0;
    pictures(&studio.tags, |_, picture| last = number(picture));
    assert_eq!(last, 19);
}

#[test]
fn without_sound_of_the_program_silence_goes_on() {
    run_silent(600);
}

#[test]
#[ignore = "takes a minute"]
fn without_sound_of_the_program_silence_goes_on_for_an_hour() {
    run_silent(3600);
}

fn run_silent(seconds: i64) {
    for given in [false, true] {
        let frames = if given { with_sound(numbered(1)) } else { numbered(1) };
        let mut studio = Studio::start(frames.delay(Duration::ZERO));
        for second in 0..seconds {
            studio.run_to(second * 1_000_000);
            studio.picture(second as u32, at(second * 1_000_000)).expect("it is taken");
        }
        studio.run_to(seconds * 1_000_000);
        let (mut count, mut loudest) = (0, 0.0_f32);
        sound(&studio.tags, 8000, |_, samples| {
            count += samples.len();
            loudest = samples.iter().fold(loudest, |loudest, sample| loudest.max(sample.abs()));
        });
        let expected = seconds as usize * 8000;
        assert!(count.abs_diff(expected) <= 8000 + 3000, "{count} samples");
        assert!(loudest < 1e-4, "{loudest}");
        let tags = studio.tags.iter().filter(|tag| !tag.is_script());
        assert!(tags.clone().map(|tag| tag.timestamp).is_sorted(), "in the order of their times");
    }
}

/// The brightness and both colours of a stream whose pictures all have this colour.
fn decoded(format: VideoFormat, planes: &[Vec<u8>]) -> [u8; 3] {
    let mut studio = Studio::start(Frames::from(format));
    let strides: Vec<_> =
        (0..planes.len()).map(|plane| format.pixel_format().plane_size(plane, format.size()).0).collect();
    let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
    studio.sink.send_copy(&planes, &strides, When::Now).expect("it is taken");
    studio.run_to(1_000_000);
    let mut found = [0; 3];
    pictures(&studio.tags, |_, picture| {
        let (width, height) = (picture.format().width as usize, picture.format().height as usize);
        let bytes = picture.to_bytes().expect("it is in memory");
        let (luma, chroma) = (width * height, width.div_ceil(2) * height.div_ceil(2));
        let middle = |from: usize, length: usize| bytes[from + length / 2];
        found = [middle(0, luma), middle(luma, chroma), middle(luma + chroma, chroma)];
        let range = picture.format().color.range.as_deref();
        assert_eq!(range, Some("tv"));
        let matrix = if format.matrix == ColorMatrix::Bt601 { "smpte170m" } else { "bt709" };
        assert_eq!(picture.format().color.space.as_deref(), Some(matrix));
    });
    found
}

#[test]
fn colours_are_what_was_said_and_never_guessed() {
    let (rate, count) = (FrameRate::whole(10), 64 * 48);
    let of = |pixels| VideoFormat::new(pixels, 64, 48, rate);
    let yuv = |[y, u, v]: [u8; 3]| vec![vec![y; count], vec![u; count / 4], vec![v; count / 4]];
    let near = |found: [u8; 3], meant: [u8; 3], what: &str| {
        let off = found.iter().zip(meant).map(|(found, meant)| found.abs_diff(meant)).max();
        assert!(off <= Some(2), "{what}: {found:?}, not {meant:?}");
    };
    // Pure green, red and blue in BT.709 of limited range; BT.601 would be 145 54 34, 81 90 240 and 41 240 110.
    let colours: [([u8; 3], [u8; 3]); 3] =
        [([0, 255, 0], [173, 42, 26]), ([255, 0, 0], [63, 102, 240]), ([0, 0, 255], [32, 240, 118])];
    for ([red, green, blue], meant) in colours {
        near(decoded(of(PixelFormat::Rgba), &[[red, green, blue, 255].repeat(count)]), meant, "rgba");
        near(decoded(of(PixelFormat::Bgra), &[[blue, green, red, 0].repeat(count)]), meant, "bgra");
        near(decoded(of(PixelFormat::Rgb24), &[[red, green, blue].repeat(count)]), meant, "rgb24");
        near(decoded(of(PixelFormat::Yuv420p), &yuv(meant)), meant, "yuv420p");
        let nv12 = vec![vec![meant[0]; count], [meant[1], meant[2]].repeat(count / 4)];
        near(decoded(of(PixelFormat::Nv12), &nv12), meant, "nv12");
    }
    let green601 = [145, 54, 34];
    let said = of(PixelFormat::Yuv420p).matrix(ColorMatrix::Bt601);
    near(decoded(said, &yuv(green601)), green601, "BT.601");
    let full = of(PixelFormat::Yuv420p).range(ColorRange::Full);
    near(decoded(full, &yuv([255, 128, 128])), [235, 128, 128], "white of full range");
    near(decoded(full, &yuv([0, 128, 128])), [16, 128, 128], "black of full range");
}
