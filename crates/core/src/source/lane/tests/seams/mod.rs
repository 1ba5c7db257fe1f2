//! Files of many kinds across the seam, held against what the `ffmpeg` program decodes them to.

mod cases;
mod tools;

use cases::Case;
use tools::{Decoded, ffmpeg, need_ffmpeg};

use flowcast_rtmp::flv::writer::FlvWriter;

use super::*;

/// Laps that are recorded whole.
const LAPS: usize = 5;

/// What playing a file gave.
struct Recording {
    tags: Vec<Tag>,
    decoded: Decoded,
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
    // B-frames of the last lap wait for frames after them.
    tags.append(&mut played.play(1500));
    let mut file = FlvWriter::header(true, true).to_vec();
    for tag in &tags {
        file.extend_from_slice(&FlvWriter::tag_header(tag).expect("it fits into FLV"));
        file.extend_from_slice(&tag.body.to_bytes());
        file.extend_from_slice(&FlvWriter::tag_trailer(tag));
    }
    std::fs::write(directory.join("recording.flv"), file).expect("the directory is writable");
    Recording { tags, decoded: Decoded::of(directory, "recording.flv", "", case.sound, case.video) }
}

#[test]
fn explore() {
    if !need_ffmpeg() {
        return;
    }
    let only = std::env::var("ONLY").ok();
    for case in cases::pictures().into_iter().chain(cases::sounds()) {
        if only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
            continue;
        }
        let scratch = Scratch::new();
        for make in &case.make {
            ffmpeg(scratch.0.path(), make);
        }
        let whole = Decoded::of(scratch.0.path(), case.name, case.before, case.sound, case.video);
        for (mode, store) in [("direct", None), ("reel", Some(scratch.store()))] {
            let recording = record(&case, &scratch, store);
            report(&case, mode, &whole, &recording);
        }
    }
}

fn report(case: &Case, mode: &str, whole: &Decoded, recording: &Recording) {
    let got = &recording.decoded;
    let mut line = format!("{:20} {mode:6}", case.name);
    let hashes = |decoded: &Decoded| decoded.frames.iter().map(|f| f.hash.clone()).collect::<Vec<_>>();
    let (file, rec) = (hashes(whole), hashes(got));
    if case.video && !file.is_empty() && !rec.is_empty() {
        let n = file.len();
        let bad = (0..LAPS * n).find(|&i| rec.get(i) != Some(&file[i % n]));
        match bad {
            None => line += &format!(" frames {n} ok"),
            Some(i) => {
                let where_ = rec.get(i).map(|h| file.iter().position(|f| f == h));
                line += &format!(" FRAMES n={n} rec={} bad at {i}={}+{} is {where_:?}", rec.len(), i / n, i % n);
                let map: Vec<_> = rec.iter().take(2 * n + 10).map(|h| file.iter().position(|f| f == h).map_or(-1, |p| p as i64)).collect();
                line += &format!("\n   {map:?}");
            }
        }
        // Intervals.
        let ms = |t: i64| t as f64 / 90.0;
        let back = got.frames.windows(2).filter(|p| p[1].pts <= p[0].pts).count();
        let mut worst = 0f64;
        for i in 0..(LAPS * n).min(got.frames.len()) {
            let lap = i / n;
            if lap * n >= got.frames.len() { break; }
            let a = ms(got.frames[i].pts - got.frames[lap * n].pts);
            let b = ms(whole.frames[i % n].pts - whole.frames[0].pts);
            worst = worst.max((a - b).abs());
        }
        let laps: Vec<_> = (0..LAPS).filter_map(|l| Some(ms(got.frames.get((l + 1) * n)?.pts - got.frames[l * n].pts).round())).collect();
        let seam: Vec<_> = (1..=LAPS).filter_map(|l| Some(ms(got.frames.get(l * n)?.pts - got.frames[l * n - 1].pts).round())).collect();
        let last = whole.frames.last().map(|f| ms(f.duration));
        line += &format!(" back {back} within±{worst:.1} laps {laps:?} seam {seam:?} lastdur {last:?}");
    }
    if case.sound {
        let times = times(&recording.tags, TagKind::Audio);
        let step = 1024.0 * 1000.0 / f64::from(got.rate.max(1));
        let step = if case.name.contains("mp3") { if got.rate < 32000 { 576_000.0 / f64::from(got.rate) } else { 1_152_000.0 / f64::from(got.rate) } } else { step };
        let gap = times.windows(2).map(|p| (p[1] - p[0]) as f64 - step).fold((0f64, 0f64), |(lo, hi), g| (lo.min(g), hi.max(g)));
        line += &format!("\n     sound {} packets step {step:.1} gap {:.1}..{:.1}", times.len(), gap.0, gap.1);
        let b = got.beeps();
        let w = whole.beeps();
        if case.video {
            let n = whole.frames.len();
            let off: Vec<_> = b.iter().enumerate().filter_map(|(l, b)| Some(((b - got.frames.get(l * n)?.pts as f64 / 90000.0) * 1000.0 * 10.0).round() / 10.0)).collect();
            let woff = w.first().map(|b| ((b - whole.frames[0].pts as f64 / 90000.0) * 10000.0).round() / 10.0);
            line += &format!(" beeps {} av {off:?} file {woff:?}", b.len());
        } else {
            line += &format!(" beeps {b:?}");
        }
    }
    let notes = &got.complaints;
    if !notes.is_empty() {
        line += &format!("\n   COMPLAINS {}", &notes.lines().take(4).collect::<Vec<_>>().join(" | "));
    }
    eprintln!("{line}");
}
