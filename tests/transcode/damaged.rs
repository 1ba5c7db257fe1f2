//! Real files, cut off and with flipped bits, that are encoded: each is a stream or an error, and soon.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use flowcast::{BitRate, Encoding, Engine, EventKind, Mode, Profile, Source};

use crate::clips;
use kit::rig::engine;
use kit::{Need, damage, media, need, turn};

/// Files of the test media, and beside them all of [`clips`].
const FILES: [&str; 6] = [
    "bigbuckbunny.mp4",
    "carphone_pristine.mp4",
    "matroska/bbb.mkv",
    "muxjs/test-segment.ts",
    "muxjs/test-no-audio-segment.ts",
    "pymediainfo/vbr_requires_parsespeed_1.mp4",
];
/// Variants of each: half of them cut off, half with flipped bits.
const VARIANTS: u64 = 10;
/// Files that play at a time; all of them mostly wait for their clock.
const AT_ONCE: usize = 8;
/// How much of each is played, in milliseconds of the stream.
const PLAYED: i64 = 1500;
/// Far more than any needs.
const SOON: Duration = Duration::from_secs(60);

/// What became of a file.
#[derive(Debug)]
enum Fate {
    Refused(&'static str),
    Ended(&'static str),
    Played { faults: usize },
}

/// Encodes a file for a while, as it plays.
fn encode(engine: &Engine, file: &Path, recording: &Path) -> Fate {
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.size = Some((160, 90));
    encoding.video_bit_rate = Some(BitRate::from_kbps(200));
    let source = Source::file(file).looped().mode(Mode::Encode).encoding(encoding);
    let events = engine.events();
    let live = match engine.stream(source).record(recording).start() {
        Ok(live) => live,
        Err(error) => return Fate::Refused(error.code()),
    };
    let began = Instant::now();
    let mut faults = 0;
    let mut ended = None;
    while ended.is_none() && live.stats().media_time.as_millis() < PLAYED {
        assert!(began.elapsed() < SOON, "{}: hangs: {}", file.display(), live.stats());
        let Some(event) = events.next_timeout(Duration::from_millis(100)) else { continue };
        match event.kind {
            EventKind::SourceFault { .. } if event.stream == live.id() => faults += 1,
            EventKind::Ended { error } if event.stream == live.id() => {
                ended = Some(error.map_or("well", |error| error.code()));
            }
            _ => {}
        }
    }
    let stopping = Instant::now();
    // One that has failed says so again.
    let _ = live.stop(SOON);
    assert!(stopping.elapsed() < SOON, "{}: does not stop", file.display());
    ended.map_or(Fate::Played { faults }, Fate::Ended)
}

#[test]
fn damaged_files_become_streams_or_errors() {
    if !need(&[Need::Ffmpeg]) || !need(&FILES.map(Need::Media)) {
        return;
    }
    let _turn = turn();
    let clips = clips::all().into_iter().map(|clip| clip.make());
    let files: Vec<_> = FILES.iter().map(|name| media(name).expect("it is there")).chain(clips).collect();
    let variants: Vec<_> =
        (0..files.len() as u64).flat_map(|file| (0..VARIANTS).map(move |variant| (file, variant))).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let engine = engine(|_| {});
    let next = Mutex::new(variants.iter());
    let fates = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(&(number, variant)) = next.lock().unwrap_or_else(PoisonError::into_inner).next()
                    else {
                        break;
                    };
                    let whole = fs::read(&files[number as usize]).expect("bytes");
                    let name = files[number as usize].extension().unwrap_or_default().to_string_lossy();
                    let file = directory.path().join(format!("{number}-{variant}.{name}"));
                    fs::write(&file, damage(whole, number * 1000 + variant, 400)).expect("a file");
                    let began = Instant::now();
                    let fate = encode(&engine, &file, &file.with_extension("recorded.flv"));
                    fates.lock().unwrap_or_else(PoisonError::into_inner).push((fate, began.elapsed()));
                    fs::remove_file(&file).expect("it is ours");
                }
            });
        }
    });
    let fates = fates.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = |matches: fn(&Fate) -> bool| fates.iter().filter(|(fate, _)| matches(fate)).count();
    let played = count(|fate| matches!(fate, Fate::Played { .. }));
    let damaged = count(|fate| matches!(fate, Fate::Played { faults } if *faults > 0));
    let refused = count(|fate| matches!(fate, Fate::Refused(_)));
    let ended = count(|fate| matches!(fate, Fate::Ended(_)));
    let slowest = fates.iter().map(|(_, took)| *took).max().unwrap_or_default();
    println!(
        "{played} played, {damaged} of them with faults that were told, {refused} refused, {ended} ended; the slowest took \
         {slowest:.1?}"
    );
    let mut codes: Vec<_> = fates
        .iter()
        .filter_map(|(fate, _)| match fate {
            Fate::Refused(code) | Fate::Ended(code) => Some(*code),
            Fate::Played { .. } => None,
        })
        .collect();
    codes.sort_unstable();
    println!("{codes:?}");
    assert_eq!(fates.len(), 200);
    assert!(played >= 60 && refused + ended >= 20, "the files are not damaged as they should be");
}
