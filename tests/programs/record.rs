//! The example `record`: what ffmpeg publishes, recorded in parts of which only some are kept, and the demo.

use std::path::{Path, PathBuf};

use kit::rig::Known;
use kit::{Need, PATIENCE, Peer, decode, directory, example, ffmpeg_publish, need, remux, wait_until};

fn report(recorder: &Peer) -> serde_json::Value {
    let output = recorder.output();
    serde_json::from_str(output.lines().last().expect("a report")).expect("one object")
}

#[test]
fn what_is_published_is_recorded_in_parts_and_the_oldest_go() {
    let Some(program) = example("record") else { return };
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (clip, folder) = (Known::small(), directory());
    let flv = remux(&clip.file, clip.directory.path(), "clip.flv");
    let (parts, whole) = (folder.path().join("part-{number}.mp4"), folder.path().join("whole.mkv"));
    let options =
        ["--listen", "127.0.0.1:0", "--key", "secret", "--every", "1", "--keep-files", "2", "--json"];
    let mut recorder = Peer::spawn(
        &program,
        [&parts, &whole].map(|path| path.to_str().expect("a name")).iter().chain(&options),
    );
    let url = recorder.wait_for_line("listening on ", PATIENCE);
    // Both recordings have the same options: that of one file is cut, too.
    let mut publisher = ffmpeg_publish(&flv, &format!("{url}/secret"), 500);
    let there = |stem: &str| -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder.path()).expect("it is there").flatten().map(|file| file.path());
        let is_of =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stem));
        let mut files: Vec<_> = files.filter(is_of).collect();
        files.sort();
        files
    };
    let is_cut = || there("part-").iter().any(|path| path.ends_with("part-000005.mp4"));
    assert!(wait_until(PATIENCE, || is_cut() || !recorder.is_running()) && is_cut(), "{}", recorder.report());
    publisher.kill();
    assert!(recorder.interrupt(PATIENCE).success(), "{}", recorder.report());
    let report = report(&recorder);
    for stem in ["part-", "whole"] {
        // Two, and the one that was written when the last was removed.
        let kept = there(stem);
        assert!((1..=3).contains(&kept.len()), "{kept:?}\n{}", recorder.report());
        for path in &kept {
            let told = report["files"].as_array().expect("files").iter();
            assert!(told.clone().any(|file| file["path"].as_str().map(Path::new) == Some(path)), "{report}");
            assert!(!decode(path).frames.is_empty(), "{}", path.display());
        }
    }
    assert_eq!(report["abandoned"], 0, "{report}");
}

#[test]
fn the_demo_finds_every_picture_in_every_format() {
    let Some(program) = example("record") else { return };
    let mut demo = Peer::spawn(&program, ["--json"]);
    assert!(wait_until(4 * PATIENCE, || !demo.is_running()), "{}", demo.report());
    let report = report(&demo);
    assert_eq!(report["wrong"], 0, "{}", demo.report());
    assert!(report["pictures"].as_u64() >= Some(1000), "{}", demo.report());
}
