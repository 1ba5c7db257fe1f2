//! Containers that count the samples of a sound track instead of its packets: such a file is not cut off.

use std::fs;
use std::path::Path;

use flowcast::av::Interrupt;
use flowcast::prepare::PreparedTrack;
use flowcast::verdict::Verdict;
use flowcast::verdict::{ScanOptions, Strictness, facts, verdict};
use flowcast::{Platform, Prepare};

use kit::{Need, directory, make, need};

fn judged(file: &Path) -> (Option<String>, Verdict) {
    let facts = facts(file, &ScanOptions::default(), &Interrupt::new()).expect("it is scanned");
    (facts.truncated.clone(), verdict(&facts, &Platform::youtube(), Strictness::Lenient))
}

#[test]
fn sound_that_is_counted_in_samples_is_whole() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let picture = "-f lavfi -i testsrc2=s=320x240:r=25:d=3 -f lavfi -i sine=r=48000:d=3 -c:v libx264 -preset ultrafast -g 25 -bf 0";
    let original = make(directory.path(), "original.mkv", &format!("{picture} -c:a pcm_s16le"));
    let (truncated, wanted) = judged(&original);
    assert_eq!(truncated, None);
    for (name, codec) in [
        ("s16.mov", "pcm_s16le"),
        ("s24.mov", "pcm_s24be"),
        ("f32.mov", "pcm_f32le"),
        ("alaw.mov", "pcm_alaw"),
        ("ulaw.mov", "pcm_mulaw"),
        ("ima.mov", "adpcm_ima_qt"),
        ("s16.avi", "pcm_s16le"),
        ("ima.avi", "adpcm_ima_wav"),
        ("mp3.mov", "libmp3lame"),
        ("mp3.avi", "libmp3lame"),
        ("alac.mov", "alac"),
        ("ac3.mp4", "ac3"),
    ] {
        let start_codes = if name.ends_with("avi") { "-bsf:v h264_mp4toannexb" } else { "" };
        let arguments = format!("-i {} -c:v copy {start_codes} -c:a {codec}", original.display());
        let file = make(directory.path(), name, &arguments);
        let (truncated, verdict) = judged(&file);
        println!("{name}: {}, {truncated:?}", verdict.action);
        assert_eq!(truncated, None, "{name}");
        if codec == "pcm_s16le" && !name.ends_with("avi") {
            assert_eq!(verdict.action, wanted.action, "{name}");
        }
        // One that is cut off in its sound and its picture still is.
        if name == "s16.mov" {
            let bytes = fs::read(&file).expect("a file that was made");
            let fast = make(
                directory.path(),
                "fast.mov",
                &format!("-i {} -c copy -movflags faststart", file.display()),
            );
            let whole = fs::read(&fast).expect("a file that was made");
            fs::write(&fast, &whole[..bytes.len() / 2]).expect("there is room");
            assert!(judged(&fast).0.is_some(), "half of it is missing");
        }
    }
    let prepared = directory.path().join("prepared.mp4");
    let prepared = Prepare::new(directory.path().join("s16.mov"), prepared).run(|_| {}, &Interrupt::new());
    let prepared = prepared.expect("it is prepared");
    assert_eq!((prepared.video, prepared.audio), (PreparedTrack::Copied, PreparedTrack::Encoded));
}
