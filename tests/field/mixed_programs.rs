//! A transport stream with several programmes: picture and sound come from one of them, whatever is done with the file.

use std::path::Path;

use flowcast::av::Interrupt;
use flowcast::verdict::{ScanOptions, Strictness, TrackVerdict, facts, verdict};
use flowcast::{EventKind, Mode, Platform, Prepare, ReelStore, Source};

use crate::made::{pitch, record};
use kit::rig::engine;
use kit::{Need, directory, make, need};

/// A radio (440 Hz), then a television (1000 Hz).
const RADIO_FIRST: &str = "-f lavfi -i sine=f=440:r=48000:d=2 -f lavfi -i testsrc2=s=160x90:r=25:d=2 \
     -f lavfi -i sine=f=1000:r=48000:d=2 -map 0:a -map 1:v -map 2:a -c:v libx264 -preset ultrafast -g 25 -bf 0 -c:a aac \
     -program title=Radio:program_num=1:st=0 -program title=TV:program_num=2:st=1:st=2";
/// Two televisions: H.264 with MP2 (440 Hz), H.264 with AAC (1000 Hz).
const TWO_TELEVISIONS: &str = "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -f lavfi -i sine=f=440:r=48000:d=2 \
     -f lavfi -i testsrc=s=160x120:r=25:d=2 -f lavfi -i sine=f=1000:r=48000:d=2 -map 0:v -map 1:a -map 2:v -map 3:a \
     -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 -c:a:0 mp2 -c:a:1 aac \
     -program title=One:program_num=1:st=0:st=1 -program title=Two:program_num=2:st=2:st=3";

fn near(heard: Option<f64>, wanted: f64) -> bool {
    heard.is_some_and(|heard| (heard - wanted).abs() < wanted / 20.0)
}

fn chosen(file: &Path) -> (Option<usize>, Option<(usize, String)>) {
    let facts = facts(file, &ScanOptions::default(), &Interrupt::new()).expect("it is scanned");
    (facts.video.map(|video| video.track), facts.audio.map(|audio| (audio.track, audio.codec)))
}

#[test]
fn the_sound_is_that_of_the_pictures_programme() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = make(directory.path(), "radio_first.ts", RADIO_FIRST);
    assert_eq!(chosen(&file), (Some(1), Some((2, "aac".to_owned()))));
    for (name, reels) in [("direct.flv", None), ("reel.flv", Some(directory.path().join("reels")))] {
        let engine = engine(|config| config.reels = reels.map(ReelStore::new));
        let recording = directory.path().join(name);
        let told = record(&engine, Source::file(&file), &recording);
        let heard = pitch(&recording);
        println!("{name}: {heard:?}, {told:?}");
        assert!(near(heard, 1000.0), "{name}: {heard:?}");
    }
}

#[test]
fn sound_that_cannot_be_copied_is_left_out_or_encoded() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = make(directory.path(), "two_televisions.ts", TWO_TELEVISIONS);
    assert_eq!(chosen(&file), (Some(0), Some((1, "mp2".to_owned()))));
    let facts = facts(&file, &ScanOptions::default(), &Interrupt::new()).expect("it is scanned");
    assert_eq!(verdict(&facts, &Platform::any(), Strictness::Lenient).audio, TrackVerdict::Encode);

    let engine = engine(|_| {});
    let copied = directory.path().join("copied.flv");
    let told = record(&engine, Source::file(&file), &copied);
    assert_eq!(
        pitch(&copied),
        None,
        "its own sound has no place in FLV, and that of another programme is none of it"
    );
    let skipped: Vec<_> = told
        .iter()
        .filter_map(|kind| match kind {
            EventKind::TrackSkipped { track, reason } => Some((*track, reason.as_str())),
            _ => None,
        })
        .collect();
    assert!(skipped.iter().any(|(track, reason)| *track == 1 && reason.contains("mp2")), "{skipped:?}");
    assert!(skipped.iter().any(|(track, reason)| *track == 3 && reason.contains("programme")), "{skipped:?}");

    for mode in [Mode::Encode, Mode::Auto] {
        let encoded = directory.path().join(format!("{mode:?}.flv"));
        record(&engine, Source::file(&file).mode(mode), &encoded);
        let heard = pitch(&encoded);
        assert!(near(heard, 440.0), "{mode:?}: {heard:?}");
    }
    let prepared = directory.path().join("prepared.mp4");
    Prepare::new(&file, &prepared).run(|_| {}, &Interrupt::new()).expect("it is prepared");
    let heard = pitch(&prepared);
    assert!(near(heard, 440.0), "prepared: {heard:?}");
}
