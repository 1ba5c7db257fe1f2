//! The examples as a person or a script meets them.

use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, kill_process};

use crate::names;
use kit::{Need, PATIENCE, Peer, directory, example, make, need, own_address, text, wait_until};

fn start(program: &Path, arguments: &[&str]) -> Peer {
    Peer::spawn(program, arguments)
}

#[test]
fn exit_codes_and_what_is_printed() {
    let Some(program) = example("prepare").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clips = directory();
    let input = make(clips.path(), "old.avi", "-f lavfi -i testsrc2=s=320x240:r=25:d=2 -c:v mpeg4");
    let output = clips.path().join("out.mp4");
    let (from, to) = (text(&input), text(&output));
    let mut done = start(&program, &[from, to, "--platform", "youtube", "--preset", "ultrafast", "--json"]);
    done.wait_success(PATIENCE);
    assert!(done.output().contains(r#""video":"encoded","audio":"silence""#), "{}", done.report());
    assert_eq!((done.output().lines().count(), done.errors().as_str()), (1, ""), "{}", done.report());
    let mut told = start(&program, &[from, to, "--platform", "twitch", "--preset", "ultrafast"]);
    told.wait_success(PATIENCE);
    let errors = told.errors();
    assert!(errors.lines().count() <= 10 && !errors.contains('\r'), "lines for a pipe: {errors:?}");
    assert!(errors.lines().last().is_some_and(|line| line.contains("100.0 %")), "{errors:?}");

    let missing = clips.path().join("none.avi");
    let code = |arguments: &[&str]| start(&program, arguments).wait(PATIENCE).code();
    assert_eq!(code(&[text(&missing), to]), Some(2));
    assert_eq!(code(&[from, "/proc/out.mp4"]), Some(3));
    assert_eq!(code(&[from]), Some(1));
    for wrong in [["--platform", "vimeo"], ["--crf", "nan"], ["--preset", "none"], ["--fps", "0"]] {
        assert_eq!(code(&[from, to, wrong[0], wrong[1]]), Some(1), "{wrong:?}");
    }
    assert_eq!(code(&[from, "/dev/null"]), Some(3));
    assert_eq!(code(&[from, to, "--encoder", "h264_none", "--preset", "ultrafast"]), Some(0));
    assert_eq!(names(clips.path()), ["old.avi", "out.mp4"]);
}

#[test]
fn ctrl_c_and_termination_leave_nothing_behind() {
    let Some(program) = example("prepare").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clips = directory();
    let input = make(clips.path(), "long.avi", "-f lavfi -i testsrc2=s=640x360:r=30:d=60 -c:v mpeg4 -q:v 2");
    let output = clips.path().join("out.mp4");
    let mut running = start(&program, &[text(&input), text(&output), "--preset", "veryslow"]);
    let begun = wait_until(PATIENCE, || names(clips.path()).iter().any(|name| name.ends_with(".part")));
    assert!(begun, "{}", running.report());
    assert_eq!(running.interrupt(PATIENCE).code(), Some(130), "{}", running.report());
    assert_eq!(names(clips.path()), ["long.avi"]);
    // What a service manager sends.
    let mut running = start(&program, &[text(&input), text(&output), "--preset", "veryslow"]);
    let begun = wait_until(PATIENCE, || names(clips.path()).iter().any(|name| name.ends_with(".part")));
    assert!(begun, "{}", running.report());
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    assert_eq!(running.wait(PATIENCE).code(), Some(130), "{}", running.report());
    assert_eq!(names(clips.path()), ["long.avi"]);
}

#[test]
fn encoders_are_listed() {
    let Some(program) = example("encoders") else { return };
    let mut listed = start(&program, &[]);
    listed.wait_success(PATIENCE);
    let table = listed.output();
    let line = table.lines().find(|line| line.contains("libx264")).expect("a line about it");
    assert!(line.starts_with("h264 ") && line.contains("yes"), "{table}");
    assert!(table.lines().all(|line| line == line.trim_end()), "{table}");
    let mut json = start(&program, &["--json"]);
    json.wait_success(PATIENCE);
    assert!(json.output().contains(r#""name":"libx264","hardware":false,"compiled_in":true,"works":true"#));
}

#[test]
fn programmes_are_shown_and_a_reader_that_goes_is_no_error() {
    let Some(program) = example("probe").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clips = directory();
    let four = "-f lavfi -i testsrc2=d=1 -f lavfi -i sine=d=1 -f lavfi -i testsrc=d=1 -f lavfi -i sine=d=1";
    let two = "-map 0 -map 1 -map 2 -map 3 -program program_num=3:st=0:st=1 -program program_num=7:st=2:st=3";
    let clip = make(clips.path(), "two.ts", &format!("{four} {two} -c:v mpeg2video -c:a mp2"));
    let mut shown = start(&program, &[text(&clip)]);
    shown.wait_success(PATIENCE);
    let lines = shown.output();
    assert!(lines.contains("programme 3: #0, #1\n  programme 7: #2, #3"), "{lines}");

    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let done = Command::new(&program).arg(&clip).stdout(writer).output().expect("it runs");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && errors.is_empty(), "{}: {errors}", done.status);
}

#[test]
fn a_stream_that_sent_nothing_has_no_first_media() {
    let Some(program) = example("loop_file").filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clips = directory();
    let clip = make(clips.path(), "clip.flv", "-f lavfi -i testsrc2=s=64x64:d=1 -c:v libx264");
    let url = format!("rtmp://{}/live/key", own_address());
    let mut looped = start(&program, &[text(&clip), "--to", &url, "--no-reels", "--seconds", "0.2"]);
    assert_eq!(looped.wait(PATIENCE).code(), Some(1), "{}", looped.report());
    let told = looped.output();
    assert!(told.contains("no media sent") && !told.contains("first media"), "{}", looped.report());
}

#[test]
fn the_usage_is_shown_for_wrong_arguments_only() {
    let Some(program) = example("channel") else { return };
    let channel = |arguments: &[&str]| {
        let mut done = start(&program, arguments);
        assert_eq!(done.wait(PATIENCE).code(), Some(1), "{}", done.report());
        done.errors()
    };
    let no_list = channel(&["--record", "/dev/null"]);
    assert!(no_list.contains("Usage: channel"), "{no_list}");
    let missing = channel(&["--playlist", "/nonexistent.m3u", "--record", "/dev/null"]);
    assert!(missing.contains("/nonexistent.m3u") && !missing.contains("Usage"), "{missing}");
}
