//! Files of many kinds across the seam, held against what the `ffmpeg` program decodes them to.
//!
//! Each file is played both ways without a clock, recorded as FLV and decoded. `docs/interop.md` has what this prints.

mod cases;
pub(super) mod tools;

use flowcast_rtmp::flv::video::VideoHeader;
use flowcast_rtmp::flv::writer::FlvWriter;

use super::*;
use cases::Case;
use tools::{Decoded, ffmpeg, need_ffmpeg};

/// Laps that are recorded whole.
const LAPS: usize = 5;
/// Times are whole milliseconds, on both sides.
const ROUNDING: f64 = 1.1;

/// Pictures a decoder may leave out where a lap begins without an IDR.
const MOST_LOST: usize = 10;

/// What playing a file gave.
struct Recording {
    tags: Vec<Tag>,
    decoded: Decoded,
    /// Times at which pictures are shown, in their order.
    shown: Vec<i64>,
}

/// What is said of a file.
#[derive(Default)]
struct Verdict {
    video: String,
    sound: String,
}

#[test]
fn pictures_go_on_over_the_seam() {
    hold_against_ffmpeg(cases::pictures());
}

#[test]
fn sound_goes_on_over_the_seam() {
    hold_against_ffmpeg(cases::sounds());
}

fn hold_against_ffmpeg(cases: Vec<Case>) {
    if !need_ffmpeg() {
        return;
    }
    for case in cases {
        let scratch = Scratch::new();
        let directory = scratch.0.path();
        for make in &case.make {
            ffmpeg(directory, make);
        }
        let file = Decoded::of(directory, case.name, case.before, case.sound, case.video);
        let [direct, reel] = [("direct", None), ("reel", Some(scratch.store()))].map(|(mode, store)| {
            let who = format!("{} {mode}", case.name);
            let recording = record(&case, &scratch, store);
            let video = if case.video { check_video(&who, &case, &file, &recording) } else { String::new() };
            let sound = if case.sound { check_sound(&who, &case, &file, &recording) } else { String::new() };
            Verdict { video, sound }
        });
        let is_cut = std::fs::read_dir(directory.join("reels")).expect("the store made it").any(|entry| {
            entry.expect("it can be read").path().extension().is_some_and(|extension| extension == "flv")
        });
        assert_eq!(is_cut, !case.foreign, "{}: whether a reel was cut", case.name);
        let both =
            |one: String, other: String| if one == other { one } else { format!("{one}; reel {other}") };
        let (video, sound) = (both(direct.video, reel.video), both(direct.sound, reel.sound));
        eprintln!("| {} | {} | {video} | {sound} |", case.name, case.what);
    }
}

fn record(case: &Case, scratch: &Scratch, store: Option<Store>) -> Recording {
    let directory = scratch.0.path();
    let mut played = Unpaced::looped(&directory.join(case.name), store, false);
    let mut tags = Vec::new();
    let laps = |played: &Unpaced| {
        played.notices.iter().filter(|notice| matches!(notice, EventKind::Looped { .. })).count()
    };
    while laps(&played) < LAPS {
        tags.append(&mut played.play(100));
    }
    // Frames of the last lap wait for those after them.
    tags.append(&mut played.play(1500));
    let mut file = FlvWriter::header(true, true).to_vec();
    for tag in &tags {
        file.extend_from_slice(&FlvWriter::tag_header(tag).expect("it fits into FLV"));
        file.extend_from_slice(&tag.body.to_bytes());
        file.extend_from_slice(&FlvWriter::tag_trailer(tag));
    }
    std::fs::write(directory.join("recording.flv"), file).expect("the directory is writable");
    let mut shown: Vec<_> = frames(&tags, TagKind::Video).into_iter().map(shown_at).collect();
    shown.sort_unstable();
    Recording { tags, decoded: Decoded::of(directory, "recording.flv", "", case.sound, case.video), shown }
}

fn shown_at(tag: &Tag) -> i64 {
    let header = VideoHeader::parse(&tag.body.to_bytes()).expect("it is a picture");
    tag.timestamp.as_millis() + i64::from(header.composition_time)
}

/// Every picture of the file, once, in order and in time, lap after lap.
fn check_video(who: &str, case: &Case, file: &Decoded, recording: &Recording) -> String {
    let Recording { tags, decoded, shown } = recording;
    let sent = bodies(tags, TagKind::Video);
    let count = match sent.iter().skip(1).position(|body| *body == sent[0]) {
        Some(position) if case.headless => position + 1,
        _ => file.frames.len(),
    };
    assert!(sent.len() >= LAPS * count, "{who}: {} frames", sent.len());
    for (number, body) in sent.iter().enumerate() {
        assert_eq!(*body, sent[number % count], "{who}: frame {number} that was sent");
    }
    for pair in times(tags, TagKind::Video).windows(2) {
        assert!(pair[1] > pair[0], "{who}: pictures at {pair:?}");
    }
    // Where a file's own clock jumps, it is mended by decoding times only.
    for pair in shown.windows(2).filter(|_| !case.jumps) {
        assert!(pair[1] > pair[0], "{who}: pictures shown at {pair:?}");
    }
    let step = shown[count] - shown[0];
    let mut steps: Vec<_> = shown[..count].windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    let usual = steps[steps.len() / 2] as f64;
    let (least, most) = case.seam.unwrap_or((usual, usual));
    let seams: Vec<_> = (1..=LAPS).map(|lap| shown[lap * count] - shown[lap * count - 1]).collect();
    for &seam in &seams {
        let seam = seam as f64;
        assert!(
            seam >= least - ROUNDING && seam <= most + ROUNDING,
            "{who}: {seam} ms, not {least} to {most}"
        );
    }
    let figures = format!("{count} × {LAPS}, {step} ms, seam {} ms", seams[0]);
    if case.headless {
        // What was sent is right. A decoder has no clean start at the seam: ffmpeg leaves pictures out there and shows others in
        // another order, but none that is not the file's.
        let lost = sent.len().saturating_sub(decoded.frames.len()).div_ceil(LAPS);
        assert!(lost <= MOST_LOST, "{who}: {lost} pictures are lost at a seam");
        for frame in &decoded.frames {
            assert!(file.frames.iter().any(|known| known.hash == frame.hash), "{who}: a picture of no file");
        }
        return format!("{figures}, {lost} not shown by ffmpeg at each seam");
    }
    assert_eq!(decoded.complaints, "", "{who}");
    assert!(decoded.frames.len() >= LAPS * count, "{who}: {} frames", decoded.frames.len());
    for (number, frame) in decoded.frames[..LAPS * count].iter().enumerate() {
        assert_eq!(frame.hash, file.frames[number % count].hash, "{who}: frame {number}");
        let in_file = (file.frames[number % count].pts - file.frames[0].pts) as f64 / 90.0;
        let in_lap = (shown[number] - shown[number / count * count]) as f64;
        assert!(
            case.jumps || (in_lap - in_file).abs() <= 2.0 * ROUNDING,
            "{who}: {number}: {in_lap}, not {in_file}"
        );
    }
    for pair in decoded.frames.windows(2) {
        assert!(pair[1].pts > pair[0].pts, "{who}: {pair:?}");
    }
    figures
}

/// Sound without a gap, and in step with the picture.
fn check_sound(who: &str, case: &Case, file: &Decoded, recording: &Recording) -> String {
    let Recording { tags, decoded, shown } = recording;
    let rate = f64::from(decoded.rate);
    let samples = decoded.sound.iter().map(|frame| frame.duration).max().unwrap_or(0);
    let frame = samples as f64 * 1000.0 / rate;
    let sent = times(tags, TagKind::Audio);
    let off = |pair: &[i64]| (pair[1] - pair[0]) as f64 - frame;
    let worst = sent.windows(2).map(off).fold((0f64, 0f64), |(low, high), off| (low.min(off), high.max(off)));
    assert!(-worst.0 < frame && worst.1 < frame.max(case.own_gap), "{who}: sound is off by {worst:?} ms");
    // Every frame decodes; the first and the last may only warm the decoder up.
    let heard: i64 = decoded.sound.iter().map(|frame| frame.duration).sum();
    let missing = sent.len() as i64 * samples - heard;
    assert!((-samples..=2 * samples).contains(&missing), "{who}: {missing} samples are missing");
    let figures = format!("{:+.1} to {:+.1} ms", worst.0, worst.1);
    if !case.jumps {
        check_order(who, &file.packets, &decoded.packets);
    }
    let (beeps, in_file) = (decoded.beeps(), file.beeps());
    let (first, later) = case.beeps;
    assert!(beeps.len() >= first + later * (LAPS - 1), "{who}: beeps at {beeps:?}");
    if !case.video || first == 0 {
        return figures;
    }
    // Where ffmpeg's clock begins is the same for both tracks.
    let zero = decoded.frames[0].pts as f64 / 90.0 - shown[0] as f64;
    let count = file.frames.len();
    let offset = |beep: usize, lap: usize| beeps[beep] * 1000.0 - zero - shown[lap * count] as f64;
    let mut drift = 0f64;
    for number in 0..later * (LAPS - 1) {
        let (lap, beep) = (1 + number / later, first + number);
        drift = drift.max((offset(beep, lap) - offset(first - later + number % later, 0)).abs());
    }
    assert!(drift <= frame / 2.0 + ROUNDING, "{who}: sound and picture are {drift} ms apart");
    if case.before.is_empty() {
        let in_file = in_file[0] * 1000.0 - file.frames[0].pts as f64 / 90.0;
        assert!(
            (offset(0, 0) - in_file).abs() <= 2.0 * ROUNDING,
            "{who}: {} ms, {in_file} in the file",
            offset(0, 0)
        );
    }
    format!("{figures}, in step within {drift:.1} ms")
}

/// The file's packets of sound in order: the last one of a lap may be repeated, and then the first ones come again.
fn check_order(who: &str, file: &[String], sent: &[String]) {
    let places = sent.iter().filter_map(|packet| file.iter().position(|known| known == packet));
    let places: Vec<_> = places.collect();
    let mut laps = 1;
    for pair in places.windows(2) {
        assert!(pair[1] <= pair[0] + 1, "{who}: packet {} of sound follows packet {}", pair[1], pair[0]);
        laps += usize::from(pair[1] < pair[0]);
    }
    assert!(laps >= LAPS, "{who}: {laps} laps of sound");
}
