//! Sound that ends long before its picture, or is stored behind it: what goes on the air has sound all the time, in step.

use std::path::Path;

use flowcast::rtmp::flv::TagKind;
use flowcast::{ReelStore, Source};

use kit::rig::{engine, push};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, directory, flv_tags, make, need, write_flv};

/// Plays a file in a loop until the picture is `millis` on; how far the sound lies behind the picture at most, and the longest
/// time without any, both as it was sent.
fn worst_sound(file: &Path, reels: Option<&Path>, millis: i64) -> (i64, i64) {
    let server = Scripted::start(Script::Record);
    let engine = engine(|config| config.reels = reels.map(ReelStore::new));
    let live = engine.stream(Source::file(file).looped()).to(push(&server)).start().expect("it plays");
    let pictures = usize::try_from(millis / 40).expect("a short time");
    assert!(server.wait_pictures(0, pictures, 2 * PATIENCE), "{}", live.stats());
    live.stop(PATIENCE).expect("it stops");
    let tags = server.visits().swap_remove(0).tags;
    let (mut last, mut behind, mut hole) = (0, 0, 0);
    for tag in tags.iter().filter(|tag| !tag.header) {
        match tag.kind {
            TagKind::Audio => {
                hole = hole.max(tag.time - last);
                last = tag.time;
            }
            TagKind::Video => behind = behind.max(tag.time - last),
            TagKind::Script => {}
        }
    }
    (behind, hole)
}

#[test]
fn silence_goes_out_with_the_picture() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    // Longer than is read ahead: the end of the sound is known before the end of the picture.
    let file = make(
        directory.path(),
        "short_sound.mp4",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=20 -f lavfi -i sine=f=440:r=48000:d=1 \
         -c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v 60k -c:a aac -ac 2",
    );
    let (behind, hole) = worst_sound(&file, None, 4_000);
    println!("direct: {behind} ms behind, {hole} ms without");
    assert!(behind < 300 && hole < 100, "direct: {behind} ms behind, {hole} ms without");
    let (behind, hole) = worst_sound(&file, Some(&directory.path().join("reels")), 4_000);
    println!("reel: {behind} ms behind, {hole} ms without");
    assert!(behind < 300 && hole < 100, "reel: {behind} ms behind, {hole} ms without");
}

#[test]
fn sound_that_is_stored_late_is_sent_in_step() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = make(
        directory.path(),
        "in_step.flv",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=8 -f lavfi -i sine=f=440:r=48000:d=8 \
         -c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v 60k -c:a aac -ac 2",
    );
    // The tags of the sound four seconds later in the file, their times unchanged.
    let mut tags = flv_tags(&file);
    tags.sort_by_key(|tag| {
        tag.timestamp.as_millis() + if tag.is_audio() && !tag.is_sequence_header() { 4_000 } else { 0 }
    });
    let late = directory.path().join("late.flv");
    write_flv(&late, &tags);
    for reels in [None, Some(directory.path().join("reels"))] {
        let (behind, hole) = worst_sound(&late, reels.as_deref(), 3_000);
        println!("{reels:?}: {behind} ms behind, {hole} ms without");
        assert!(behind < 300 && hole < 100, "{reels:?}: {behind} ms behind, {hole} ms without");
    }
}
