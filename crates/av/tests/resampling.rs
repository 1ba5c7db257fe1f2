//! Samples in, samples out: how many, where, and whether they are the same.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use flowcast_av::encoder::{AudioCodecKind, AudioEncoder, AudioSettings};
use flowcast_av::{AudioFormat, AudioFrame, Error, Resampler};

fn format(sample_rate: u32, layout: &str, channels: u32, sample_format: &str) -> AudioFormat {
    AudioFormat { sample_rate, channels, layout: layout.to_owned(), sample_format: sample_format.to_owned() }
}

/// `count` samples of a 440 Hz tone from sample number `start` on, in each channel.
fn tone(start: i64, count: usize, rate: u32, channels: usize) -> AudioFrame {
    let samples: Vec<f32> = (0..count)
        .map(|index| {
            let seconds = (start as f64 + index as f64) / f64::from(rate);
            ((seconds * 440.0 * std::f64::consts::TAU).sin() * 0.5) as f32
        })
        .collect();
    let mut frame = AudioFrame::from_channels(rate, &vec![samples.as_slice(); channels]).unwrap();
    frame.set_pts(Some(start));
    frame
}

/// Pulls all there is, and checks that frames follow each other to the sample.
fn drain(resampler: &mut Resampler, next: &mut Option<i64>, into: &mut Vec<AudioFrame>) {
    while let Some(frame) = resampler.pull().unwrap() {
        assert_eq!(frame.format(), resampler.format());
        let pts = frame.pts().unwrap();
        assert!(next.is_none_or(|next| next == pts), "{pts} after {next:?}");
        *next = Some(pts + i64::try_from(frame.samples()).unwrap());
        into.push(frame);
    }
}

fn run(resampler: &mut Resampler, frames: &[AudioFrame]) -> Vec<AudioFrame> {
    let (mut out, mut next) = (Vec::new(), None);
    for frame in frames {
        resampler.push(frame).unwrap();
        drain(resampler, &mut next, &mut out);
    }
    resampler.finish().unwrap();
    drain(resampler, &mut next, &mut out);
    out
}

fn total(frames: &[AudioFrame]) -> usize {
    frames.iter().map(AudioFrame::samples).sum()
}

#[test]
fn counts_are_exact_for_every_rate_and_size() {
    for from in [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000] {
        for to in [44_100, 48_000] {
            for (size, whole) in [(1024, 30_001_usize), (960, 17), (1, 12)] {
                let input = format(from, "stereo", 2, "fltp");
                let mut resampler = Resampler::new(&input, &format(to, "stereo", 2, "fltp"), size).unwrap();
                let mut frames = Vec::new();
                let (mut at, mut step) = (1000, 1);
                while at < 1000 + whole {
                    let count = step.min(1000 + whole - at);
                    frames.push(tone(at as i64, count, from, 2));
                    (at, step) = (at + count, step * 3 % 1537 + 1);
                }
                let out = run(&mut resampler, &frames);
                let expected = (whole as f64 * f64::from(to) / f64::from(from)).round() as usize;
                assert_eq!(total(&out), expected, "{from} to {to}, {size}");
                let start = (1000.0 * f64::from(to) / f64::from(from)).round() as i64;
                assert_eq!(out[0].pts(), Some(start));
                let short = out.iter().filter(|frame| frame.samples() != size).count();
                assert!(short <= 1 && out[..out.len() - 1].iter().all(|frame| frame.samples() == size));
            }
        }
    }
}

#[test]
fn a_tone_stays_where_it_is() {
    let mut resampler =
        Resampler::new(&format(44_100, "stereo", 2, "fltp"), &format(48_000, "stereo", 2, "flt"), 960)
            .unwrap();
    let frames: Vec<AudioFrame> = (0..40).map(|index| tone(index * 1024, 1024, 44_100, 2)).collect();
    let out = run(&mut resampler, &frames);
    let bytes: Vec<u8> = out.iter().flat_map(AudioFrame::to_bytes).collect();
    let expected = tone(0, total(&out), 48_000, 2).to_bytes();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().unwrap())).collect()
    };
    let (ours, expected) = (floats(&bytes), floats(&expected));
    // The ends are cut out of nothing, which no filter can know.
    let middle = 200..ours.len() - 200;
    let worst =
        ours[middle.clone()].iter().zip(&expected[middle]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.001, "{worst}");
}

#[test]
fn what_fits_already_is_passed_on() {
    let form = format(48_000, "stereo", 2, "fltp");
    let mut resampler = Resampler::new(&form, &form, 1024).unwrap();
    let frames: Vec<AudioFrame> = (0..5).map(|index| tone(index * 1024, 1024, 48_000, 2)).collect();
    let out = run(&mut resampler, &frames);
    assert_eq!(out.len(), 5);
    for (ours, theirs) in out.iter().zip(&frames) {
        assert_eq!(ours.to_bytes(), theirs.to_bytes());
    }
    // Cut to another size, the samples stay the same.
    let mut resampler = Resampler::new(&form, &form, 960).unwrap();
    let out = run(&mut resampler, &frames);
    let bytes = |frames: &[AudioFrame]| frames.iter().flat_map(AudioFrame::to_bytes).collect::<Vec<u8>>();
    assert_eq!(bytes(&out), bytes(&frames));
}

#[test]
fn gaps_are_silence_and_overlaps_are_left_out() {
    let form = format(48_000, "mono", 1, "fltp");
    let mut resampler = Resampler::new(&form, &form, 1000).unwrap();
    let mut frames = vec![tone(0, 4800, 48_000, 1), tone(14_400, 4800, 48_000, 1)];
    // Half of it was there already, then all of it, then it goes on.
    frames.extend([
        tone(16_800, 4800, 48_000, 1),
        tone(14_400, 2400, 48_000, 1),
        tone(21_600, 2400, 48_000, 1),
    ]);
    let out = run(&mut resampler, &frames);
    assert_eq!(total(&out), 24_000);
    let samples: Vec<f32> = out
        .iter()
        .flat_map(AudioFrame::to_bytes)
        .collect::<Vec<u8>>()
        .chunks_exact(4)
        .map(|four| f32::from_ne_bytes(four.try_into().unwrap()))
        .collect();
    assert!(samples[4800..14_400].iter().all(|sample| *sample == 0.0));
    let whole = tone(0, 24_000, 48_000, 1).to_bytes();
    for (index, four) in
        whole.chunks_exact(4).enumerate().filter(|(index, _)| !(4800..14_400).contains(index))
    {
        assert_eq!(samples[index].to_ne_bytes(), four, "sample {index}");
    }
}

#[test]
fn the_ends_of_time_are_a_new_clock() {
    let form = format(48_000, "mono", 1, "fltp");
    let mut resampler = Resampler::new(&form, &form, 1024).unwrap();
    let mut starts = Vec::new();
    for pts in [0, i64::MIN + 1, 0, i64::MAX - 5000, i64::MIN + 1] {
        resampler.push(&at(pts, 4096)).unwrap();
        let frames: Vec<AudioFrame> = std::iter::from_fn(|| resampler.pull().unwrap()).collect();
        assert_eq!(frames.len(), 4);
        starts.push(frames[0].pts());
    }
    assert_eq!(starts, [0, i64::MIN + 1, 0, i64::MAX - 5000, i64::MIN + 1].map(Some));
}

/// Silence at a time.
fn at(pts: i64, samples: usize) -> AudioFrame {
    let mut frame = AudioFrame::silence(&format(48_000, "mono", 1, "fltp"), samples).unwrap();
    frame.set_pts(Some(pts));
    frame
}

#[test]
fn a_small_gap_is_closed_when_it_lasts() {
    let form = format(48_000, "mono", 1, "fltp");
    let mut resampler = Resampler::new(&form, &form, 1024).unwrap();
    // 10 ms are missing after a second.
    let frames: Vec<AudioFrame> = (0..200)
        .map(|index| tone(index * 1024 + if index < 47 { 0 } else { 480 }, 1024, 48_000, 1))
        .collect();
    let out = run(&mut resampler, &frames);
    assert_eq!(total(&out), 200 * 1024 + 480);
}

#[test]
fn a_jump_of_the_clock_is_no_gap() {
    let form = format(48_000, "mono", 1, "fltp");
    let mut resampler = Resampler::new(&form, &form, 1024).unwrap();
    let day = 86_400 * 48_000;
    let (mut out, mut starts) = (0, Vec::new());
    for frame in [tone(0, 1500, 48_000, 1), tone(day, 1500, 48_000, 1), tone(0, 1500, 48_000, 1)] {
        resampler.push(&frame).unwrap();
        while let Some(frame) = resampler.pull().unwrap() {
            starts.push(frame.pts().unwrap());
            out += frame.samples();
        }
    }
    resampler.finish().unwrap();
    while let Some(frame) = resampler.pull().unwrap() {
        out += frame.samples();
    }
    // What a clock leaves of a frame is filled up.
    assert_eq!(starts, [0, 1024, day, day + 1024, 0]);
    assert_eq!(out, 2048 + 2048 + 1500);
}

#[test]
fn channels_are_mixed_and_encoders_take_the_result() {
    let settings = [
        AudioSettings::new(48_000, 2),
        AudioSettings::new(44_100, 1),
        AudioSettings { layout: Some("5.1".to_owned()), ..AudioSettings::new(48_000, 6) },
        AudioSettings { codec: AudioCodecKind::Opus, ..AudioSettings::new(48_000, 2) },
        AudioSettings { fast: true, ..AudioSettings::new(48_000, 2) },
        AudioSettings { codec: AudioCodecKind::Opus, fast: true, ..AudioSettings::new(48_000, 2) },
    ];
    for settings in settings {
        for (layout, channels) in [("mono", 1), ("stereo", 2), ("5.1", 6), ("7.1", 8), ("", 3)] {
            let mut encoder = AudioEncoder::open(0, &settings).unwrap();
            let input = tone(0, 48_000, 48_000, channels);
            let from = AudioFormat { layout: layout.to_owned(), ..input.format().clone() };
            assert!(
                layout.is_empty() || channels == 6 || input.format().layout == layout,
                "{:?}",
                input.format()
            );
            let from = if channels == 6 { input.format().clone() } else { from };
            let from = if layout.is_empty() { input.format().clone() } else { from };
            let mut resampler = Resampler::new(&from, encoder.format(), encoder.frame_samples()).unwrap();
            let out = run(&mut resampler, &[input]);
            assert_eq!(total(&out), settings.sample_rate as usize);
            let mut packets = 0;
            for frame in &out {
                encoder.push_frame(frame).unwrap();
                packets += std::iter::from_fn(|| encoder.pull().unwrap()).count();
            }
            encoder.finish().unwrap();
            packets += std::iter::from_fn(|| encoder.pull().unwrap()).count();
            let least = settings.sample_rate as usize / encoder.frame_samples();
            assert!((least..=least + 3).contains(&packets), "{packets} of {least}");
            assert_eq!(encoder.track().codec, settings.codec.codec());
            assert!(encoder.track().config.is_some());
        }
    }
}

#[test]
fn the_fast_coder_is_another_one() {
    let packets = |fast| {
        let settings = AudioSettings { fast, ..AudioSettings::new(48_000, 2) };
        let mut encoder = AudioEncoder::open(0, &settings).unwrap();
        let mut packets = Vec::new();
        for number in 0..20 {
            encoder.push_frame(&tone(number * 1024, 1024, 48_000, 2)).unwrap();
            packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
        }
        encoder.finish().unwrap();
        packets.extend(std::iter::from_fn(|| encoder.pull().unwrap()));
        packets.into_iter().map(|packet| packet.data.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(packets(false), packets(false));
    assert_ne!(packets(true), packets(false));
}

#[test]
fn misuse_is_refused() {
    let form = format(48_000, "stereo", 2, "fltp");
    for bad in
        [format(0, "stereo", 2, "fltp"), format(48_000, "stereo", 2, "no"), format(48_000, "", 0, "fltp")]
    {
        assert!(Resampler::new(&bad, &form, 1024).is_err(), "{bad:?}");
        assert!(AudioFrame::silence(&bad, 10).is_err(), "{bad:?}");
    }
    let mut resampler = Resampler::new(&form, &form, 1024).unwrap();
    let refused = |result| matches!(result, Err(Error::InvalidArgument { .. }));
    assert!(refused(resampler.push(&tone(0, 10, 44_100, 2))));
    resampler.push(&tone(0, 10, 48_000, 2)).unwrap();
    assert!(refused(resampler.push(&tone(10, 10, 48_000, 2))), "not pulled");
    assert!(resampler.pull().unwrap().is_none());
    resampler.finish().unwrap();
    assert!(refused(resampler.push(&tone(10, 10, 48_000, 2))), "after the end");
    assert_eq!(resampler.pull().unwrap().map(|frame| frame.samples()), Some(10));
    assert!(resampler.pull().unwrap().is_none());
    let mut encoder = AudioEncoder::open(0, &AudioSettings::new(48_000, 2)).unwrap();
    assert!(refused(encoder.push_frame(&tone(0, 1024, 44_100, 2))));
    assert!(refused(encoder.push_frame(&tone(0, 1025, 48_000, 2))));
    let mut timeless = tone(0, 1024, 48_000, 2);
    timeless.set_pts(None);
    assert!(refused(encoder.push_frame(&timeless)));
}
