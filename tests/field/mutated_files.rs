//! Damaged files of every container, judged, prepared and played within bounds of memory and time.
//!
//! A few of each as an ordinary test. The whole campaign is `scripts/mutated_files.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::examine::{Bounds, Examiner};
use kit::{Clip, Need, Peer, alone, damage, directory, need, role_arguments, run, wait_until};

/// Containers, as the names of files.
const KINDS: [&str; 11] = [
    "clip.mp4",
    "clip.mov",
    "frag.mp4",
    "clip.mkv",
    "clip.ts",
    "clip.flv",
    "clip.h264",
    "clip.hevc",
    "clip.aac",
    "clip.mp3",
    "clip.avi",
];
/// Those of an ordinary run, and damaged files of each.
const USUAL: [&str; 5] = ["clip.mp4", "clip.mkv", "clip.ts", "clip.flv", "clip.h264"];
const FEW: u64 = 2;
/// One file may take so long by the clock, however busy the machine is: then it hangs.
const HANGS: Duration = Duration::from_secs(150);
const WORKER: &str = "mutated_files::worker";

/// What one process does: its container, and the seeds.
const ENVIRONMENT: [&str; 3] = ["FLOWCAST_MUTATED_KIND", "FLOWCAST_MUTATED_FROM", "FLOWCAST_MUTATED_COUNT"];

fn make(directory: &Path, name: &str) -> PathBuf {
    let file = directory.join(name);
    let paths = |options: &str| -> Vec<String> {
        let head = "-nostdin -v error -y";
        let all = format!("{head} {options}");
        let words = all.split_whitespace().map(str::to_owned);
        words.chain([file.display().to_string()]).collect()
    };
    let clip = || {
        // A raw stream has no times: those of reordered pictures cannot be told.
        let b_frames = u32::from(name != "clip.h264");
        let clip = Clip { b_frames, size: (160, 90), ..Clip::default() }.make(directory, "base.mp4");
        format!("-i {}", clip.display())
    };
    let options = match name {
        "frag.mp4" => format!("{} -c copy -movflags frag_keyframe+empty_moov", clip()),
        "clip.h264" => format!("{} -an -c copy", clip()),
        "clip.aac" => format!("{} -vn -c copy", clip()),
        "clip.hevc" => {
            let coder = "-c:v libx265 -preset ultrafast -x265-params log-level=none";
            format!("-f lavfi -i testsrc2=s=160x90:r=25:d=2 {coder}")
        }
        "clip.mp3" => "-f lavfi -i sine=440:d=2 -c:a libmp3lame".to_owned(),
        _ => format!("{} -c copy", clip()),
    };
    run("ffmpeg", paths(&options), Duration::from_secs(60));
    file
}

/// Not a test: a process of the tests below, which looks for its task in the environment.
#[test]
#[ignore = "started by the tests of damaged files"]
fn worker() {
    if !alone("mutated") {
        return;
    }
    let [kind, from, count] = ENVIRONMENT.map(|name| std::env::var(name).expect("it is given"));
    let [from, count] = [from, count].map(|number| number.parse::<u64>().expect("a number"));
    let scratch = directory();
    let whole = fs::read(make(scratch.path(), &kind)).expect("it was made");
    let examiner = Examiner::new(Bounds::default());
    // What is taken once by the process is no file's.
    let first = scratch.path().join(format!("whole-{kind}"));
    fs::write(&first, &whole).expect("there is room");
    println!("{kind} whole: {}", examiner.examine(&first));
    let (mut most, mut longest, mut broken, mut worked) = (0, Duration::ZERO, Vec::new(), [0; 3]);
    for seed in from..from + count {
        let file = scratch.path().join(format!("{seed}-{kind}"));
        fs::write(&file, damage(whole.clone(), seed, 200)).expect("there is room");
        println!("{kind} {seed}");
        let report = examiner.examine(&file);
        most = most.max(report.memory_kib);
        longest = longest.max(report.time);
        worked.iter_mut().zip(&report.ends).for_each(|(sum, end)| *sum += u64::from(end == "ok"));
        if !report.is_within() {
            broken.push(format!("{kind} {seed}: {report}"));
        }
        fs::remove_file(file).expect("it is there");
    }
    let [judged, prepared, played] = worked;
    println!(
        "| {kind} | {count} | {judged} | {prepared} | {played} | {} | {:.2} | {} |",
        most >> 10,
        longest.as_secs_f64(),
        broken.len()
    );
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Runs a process for a container; the line of the table, or what went wrong.
fn campaign(kind: &str, from: u64, count: u64) -> Result<String, String> {
    let (program, arguments) = role_arguments("mutated", WORKER);
    let [from, number] = [from, count].map(|number| number.to_string());
    let values = [kind, &from, &number].map(std::ffi::OsStr::new);
    let environment: Vec<_> = ENVIRONMENT.into_iter().zip(values).collect();
    let mut worker = Peer::spawn_with(&program, arguments, &environment);
    let (mut lines, mut moved) = (0, Instant::now());
    while !wait_until(Duration::from_millis(500), || !worker.is_running()) {
        let now = worker.output().lines().count();
        if now != lines {
            (lines, moved) = (now, Instant::now());
        }
        if moved.elapsed() > HANGS {
            return Err(format!("{kind}: hangs: {}", worker.output().lines().last().unwrap_or_default()));
        }
    }
    let output = worker.output();
    let line = output.lines().find(|line| line.starts_with('|')).map(str::to_owned);
    match (worker.wait(Duration::from_secs(1)).success(), line) {
        (true, Some(line)) => Ok(line),
        _ => Err(format!("{kind}: {}\n{}", output, worker.errors())),
    }
}

#[test]
fn a_few_damaged_files_stay_within_bounds() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let failures: Vec<_> = USUAL.iter().filter_map(|kind| campaign(kind, 1, FEW).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The campaign: this many of each container as FLOWCAST_MUTATED says, 300 unless said otherwise.
#[test]
#[ignore = "takes half an hour: scripts/mutated_files.sh"]
fn many_damaged_files_of_each_container_stay_within_bounds() {
    let number =
        |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (from, count) = (number("FLOWCAST_MUTATED_SEED", 1), number("FLOWCAST_MUTATED", 300));
    println!("| file | damaged | judged | prepared | played | most MB | most s of CPU | beyond the bounds |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut failures = Vec::new();
    for kind in KINDS {
        match campaign(kind, from, count) {
            Ok(line) => println!("{line}"),
            Err(error) => failures.push(error),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
