//! Real files, cut off and with flipped bits: each gives a verdict or an error, and soon.

use std::fs;
use std::time::{Duration, Instant};

use flowcast::Platform;
use flowcast::av::Interrupt;
use flowcast::verdict::{ScanOptions, Strictness, facts, verdict, verdict_of_failure};

use kit::{Need, damage, media, need};

/// Files of the test media: MP4, FLV, MPEG-TS, Matroska, ADTS, with and without sound.
const FILES: [&str; 10] = [
    "bigbuckbunny.mp4",
    "carphone_pristine.mp4",
    "matroska/bbb.mkv",
    "muxjs/test-segment.ts",
    "muxjs/test-no-audio-segment.ts",
    "muxjs/test-aac-segment.aac",
    "muxjs/dash-608-captions-init.mp4",
    "pymediainfo/issue55.flv",
    "pymediainfo/aac_he_v2.aac",
    "pymediainfo/vbr_requires_parsespeed_1.mp4",
];
/// Variants of each: half of them cut off, half with flipped bits.
const VARIANTS: u64 = 20;
/// Far more than any needs.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn damaged_files_give_a_verdict_or_an_error() {
    if !need(&FILES.map(Need::Media)) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (mut verdicts, mut copies, mut errors, mut slowest) = (0, 0, 0, Duration::ZERO);
    for (number, name) in FILES.iter().enumerate() {
        let whole = fs::read(media(name).expect("it is there")).expect("bytes");
        let extension = name.rsplit('.').next().unwrap_or_default();
        for variant in 0..VARIANTS {
            let file = directory.path().join(format!("{number}-{variant}.{extension}"));
            fs::write(&file, damage(whole.clone(), number as u64 * 1000 + variant, 64)).expect("a file");
            let began = Instant::now();
            let verdict = match facts(&file, &ScanOptions::default(), &Interrupt::new()) {
                Ok(facts) => {
                    verdicts += 1;
                    verdict(&facts, &Platform::youtube(), Strictness::Lenient)
                }
                Err(error) => {
                    errors += 1;
                    let verdict = verdict_of_failure(&error);
                    assert!(verdict.needs_encoding(), "{}: a failure means copy", file.display());
                    verdict
                }
            };
            copies += u32::from(!verdict.needs_encoding());
            slowest = slowest.max(began.elapsed());
            assert!(slowest < SOON, "{}: took {slowest:?}", file.display());
        }
    }
    println!("{verdicts} verdicts, {copies} of them copies, {errors} errors; the slowest took {slowest:?}");
    assert_eq!(verdicts + errors, 200);
}
