//! Holds every file of the table against its platforms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flowcast::Platform;
use flowcast::av::{Interrupt, SampleSpec, sample_clip};
use flowcast::verdict::{Facts, Verdict};
use flowcast::verdict::{ReasonCode, ScanOptions, Strictness, facts, verdict, verdict_of_failure};

use crate::clips::{Clip, TONE, directory, made};
use crate::crafted;
use crate::rows::{CLIPS, ROWS, Row};
use kit::{Need, need, run};

/// Clips are made by as many threads.
const THREADS: usize = 2;

/// The file of a row, by its name.
fn file(name: &str) -> PathBuf {
    match (CLIPS.iter().find(|clip| clip.name == name), name) {
        (Some(clip), _) => clip.make(),
        (None, "rotated.mp4") => made(name, &0, |file| {
            let spec = SampleSpec { rotation_degrees: 90, seconds: 1.0, ..SampleSpec::default() };
            // The library's own writer goes by the name, which is a temporary one with the same extension.
            sample_clip(file, &spec).expect("a clip");
        }),
        // Begins in the middle of a GOP: what leads there is kept, and hidden by an edit list.
        (None, "trimmed.mp4") => {
            let whole =
                Clip { name: "whole.mp4", video: "320x240:r=30:d=3", audio: TONE, more: "-g 60" }.make();
            made(name, &whole.clone(), |file| {
                let [whole, file] = [&whole, file].map(|path| path.to_str().expect("a path in UTF-8"));
                let arguments =
                    ["-nostdin", "-v", "error", "-y", "-ss", "1.1", "-i", whole, "-c", "copy", file];
                run("ffmpeg", arguments, std::time::Duration::from_secs(20));
            })
        }
        _ => crafted::make(name),
    }
}

/// What a row asks: a platform's name, then words that change it, how strict to be, or how far to scan.
fn ask(words: &str) -> (Platform, Strictness, ScanOptions) {
    let mut words = words.split(' ');
    let first = words.next().unwrap_or_default();
    let mut strictness = first.parse::<Strictness>().unwrap_or_default();
    let mut platform = first.parse::<Platform>().unwrap_or_else(|_| Platform::any());
    let mut options = ScanOptions::default();
    for word in words {
        match word {
            "strict" => strictness = Strictness::Strict,
            "enhanced" => platform.enhanced = true,
            "no-b-frames" => platform.max_b_frames = Some(0),
            "10000-bytes" => options.max_bytes = Some(10_000),
            _ => panic!("{word} is not known"),
        }
    }
    (platform, strictness, options)
}

fn judge(row: &Row, file: &Path) -> (Option<Facts>, Verdict) {
    let (platform, strictness, options) = ask(row.platform);
    match facts(file, &options, &Interrupt::new()) {
        Ok(facts) => {
            let verdict = verdict(&facts, &platform, strictness);
            (Some(facts), verdict)
        }
        Err(error) => (None, verdict_of_failure(&error)),
    }
}

/// What is wrong with the verdict on a row.
fn complaints(row: &Row, verdict: &Verdict) -> Vec<String> {
    let mut complaints = Vec::new();
    if !row.then.holds(verdict.action) {
        complaints.push(format!("is {:?}, not {:?}", verdict.action, row.then));
    }
    for (code, severity) in row.has {
        if !verdict.reasons.iter().any(|reason| reason.code == *code && reason.severity == *severity) {
            complaints.push(format!("no {severity} {code}"));
        }
    }
    for code in row.lacks.iter().filter(|code| verdict.has(**code)) {
        complaints.push(format!("says {code}"));
    }
    complaints
}

#[test]
fn every_rule_at_its_limit() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let names: BTreeSet<&str> = ROWS.iter().map(|row| row.file).collect();
    assert!(names.len() >= 40, "{} files", names.len());
    for clip in CLIPS {
        assert!(names.contains(clip.name), "{} is in no row", clip.name);
    }
    // Files that others are made of come first, or two threads would make them at once.
    let (crafted, plain): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| !CLIPS.iter().any(|clip| clip.name == **name));
    let files: Mutex<BTreeMap<&str, PathBuf>> = Mutex::default();
    let queue = Mutex::new(plain);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(name) = queue.lock().expect("no panic").pop() else { return };
                    let made = file(name);
                    files.lock().expect("no panic").insert(name, made);
                }
            });
        }
    });
    let mut files = files.into_inner().expect("no panic");
    files.extend(crafted.into_iter().map(|name| (name, file(name))));
    let mut reached = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in ROWS {
        let (facts, verdict) = judge(row, &files[row.file]);
        println!("{} for {}: {:?}", row.file, row.platform, verdict.action);
        for reason in &verdict.reasons {
            println!("    {} {} {}: {}", reason.severity, reason.track, reason.code, reason.detail);
        }
        let complaints = complaints(row, &verdict);
        if !complaints.is_empty() {
            wrong.push(format!("{} for {}: {}\n{facts:?}", row.file, row.platform, complaints.join(", ")));
        }
        reached.extend(row.has.iter().map(|(code, _)| *code));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missed: Vec<_> = ReasonCode::ALL.iter().filter(|code| !reached.contains(code)).collect();
    assert!(missed.is_empty(), "reached by no file: {missed:?}");
    println!(
        "{} files, {} rows, {} codes, in {}",
        names.len(),
        ROWS.len(),
        reached.len(),
        directory().display()
    );
}

#[test]
fn every_code_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verdict.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for code in ReasonCode::ALL {
        assert!(page.contains(&format!("`{code}`")), "{code} is not in docs/verdict.md");
    }
}

#[test]
fn facts_are_remembered_until_the_file_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("clip.mp4");
    let spec = SampleSpec { seconds: 1.0, ..SampleSpec::default() };
    let scan = || facts(&file, &ScanOptions::default(), &Interrupt::new()).expect("facts");
    sample_clip(&file, &spec).expect("a clip");
    let first = scan();
    // What is remembered needs no bytes: the same size and time of change are taken for the same file.
    let (bytes, changed) =
        (std::fs::read(&file).expect("bytes"), std::fs::metadata(&file).expect("metadata"));
    std::fs::write(&file, vec![0; bytes.len()]).expect("a file");
    let handle = std::fs::File::options().write(true).open(&file).expect("a file");
    handle.set_modified(changed.modified().expect("a time")).expect("a time that can be set");
    assert_eq!(scan(), first);
    sample_clip(&file, &SampleSpec { width: 160, ..spec }).expect("a clip");
    let second = scan();
    assert_eq!(second.video.map(|video| video.width), Some(160));
}

#[test]
fn a_cancelled_scan_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("clip.mp4");
    sample_clip(&file, &SampleSpec { seconds: 1.0, ..SampleSpec::default() }).expect("a clip");
    let cancel = Interrupt::new();
    cancel.cancel();
    let error = facts(&file, &ScanOptions::default(), &cancel).expect_err("it was cancelled");
    assert_eq!(error.code(), "CANCELLED");
    assert!(verdict_of_failure(&error).needs_encoding());
    let mut options = ScanOptions::default();
    options.deadline = std::time::Duration::ZERO;
    let error = facts(&file, &options, &Interrupt::new()).expect_err("there was no time");
    assert_eq!(error.code(), "TIMEOUT");
}
