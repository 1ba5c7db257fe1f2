#[cfg(feature = "libav")]
mod containers;
#[cfg(feature = "libav")]
pub(in crate::output) mod made;
#[cfg(feature = "libav")]
mod parts;
mod segments;

use std::sync::Arc;

use super::*;
use crate::config::BacklogConfig;
use crate::output::queue::{Batches, QUEUE_BYTES_AGAIN};
use crate::ring::tape::{SLOT_TAGS, Tape};
use flv::FlvFile;

/// A recorder whose writer is the test.
fn recorder() -> (FileOutput, Batches) {
    let (queue, batches) = queue::queue(Duration::ZERO);
    let (id, intake) = (OutputId(0), Intake::file(false));
    (FileOutput::new(id, PathBuf::new(), usize::MAX, queue, Writer::none(), intake), batches)
}

/// The disk takes what waits for it; times of the pictures.
fn write_all(batches: &Batches) -> Vec<i64> {
    let tags = batches.try_all().into_iter().inspect(|tags| batches.done(tags)).flatten();
    let pictures = tags.filter(|tag| tag.is_video() && !tag.is_sequence_header());
    pictures.map(|tag| tag.timestamp.as_millis()).collect()
}

#[test]
fn a_slow_disk_makes_a_reel_wait_and_loses_nothing() {
    let (mut recorder, queue) = recorder();
    let (tape, mut ring) = (Tape::new(20), Ring::new(BacklogConfig::default(), false));
    ring.push(Tape::header());
    let mut pictures = Vec::new();
    for slot in 0..150 {
        tape.play(slot, &mut ring);
        recorder.feed(&ring, Instant::now());
        let cursor = recorder.cursor().expect("it records");
        ring.trim(cursor);
        assert!(tape.in_memory() < QUEUE_BYTES_AGAIN + (100 << 10), "{} bytes", tape.in_memory());
        // Eight seconds of nothing.
        if !(20..100).contains(&slot) {
            pictures.extend(write_all(&queue));
        }
    }
    assert_eq!((recorder.cursor.drops(), recorder.cursor.next()), (0, ring.end()));
    assert!(tape.reads() > 40, "{} batches were read again", tape.reads());
    assert!(pictures.iter().copied().eq((0..150 * SLOT_TAGS as i64 / 2).map(|n| n * 20)));
}

#[test]
fn beyond_the_ring_a_recording_goes_on_at_a_keyframe() {
    let (mut recorder, queue) = recorder();
    let (tape, mut ring) = (Tape::new(20), Ring::new(BacklogConfig::default(), false));
    ring.push(Tape::header());
    let mut pictures = Vec::new();
    for slot in 0..300 {
        tape.play(slot, &mut ring);
        recorder.feed(&ring, Instant::now());
        ring.trim(recorder.cursor().expect("it records"));
        if !(20..220).contains(&slot) {
            pictures.extend(write_all(&queue));
        }
    }
    let gaps: Vec<_> = pictures.windows(2).filter(|pair| pair[1] - pair[0] != 20).collect();
    assert!(gaps.len() == 1 && gaps[0][1] % 2000 == 0, "{gaps:?}");
    let missing = (gaps[0][1] - gaps[0][0]) / 20 - 1;
    let drops = recorder.cursor.drops() as i64;
    assert!((drops - missing * 2).abs() <= 1, "{drops} drops, {missing} pictures missing");
}

#[test]
fn a_recording_that_ends_takes_what_was_due_and_no_more() {
    let (mut recorder, queue) = recorder();
    let (tape, mut ring) = (Tape::new(20), Ring::new(BacklogConfig::default(), false));
    for slot in 0..50 {
        tape.play(slot, &mut ring);
        recorder.feed(&ring, Instant::now());
        ring.end_turn();
    }
    recorder.until = Some(ring.end());
    let mut pictures = Vec::new();
    for slot in 50..60 {
        tape.play(slot, &mut ring);
        recorder.feed(&ring, Instant::now());
        pictures.extend(write_all(&queue));
    }
    assert_eq!(pictures.len(), 250);
    assert!(recorder.queue.is_closed() && recorder.cursor().is_none(), "the writer completes the file");
}

#[test]
fn the_first_media_counts_when_it_is_in_the_file() {
    let path = std::env::temp_dir().join(format!("flowcast-first-{}.flv", std::process::id()));
    let file = FlvFile::open(&path, Existing::Replace, &Arc::default()).expect("it is writable");
    let mut recorder = started(file);
    let (tape, mut ring) = (Tape::new(20), Ring::new(BacklogConfig::default(), false));
    let before = Instant::now();
    ring.push(Tape::header());
    recorder.feed(&ring, Instant::now());
    assert_eq!(recorder.first_media(), None);
    tape.play(0, &mut ring);
    recorder.feed(&ring, Instant::now());
    until("the writer writes", || recorder.first_media().is_some());
    assert!(recorder.first_media().is_some_and(|at| at > before));
    assert!(std::fs::metadata(&path).is_ok_and(|facts| facts.len() > 100));
    let _ = std::fs::remove_file(path);
}

/// An output with a writer.
fn started(format: impl Format + 'static) -> FileOutput {
    let config = RecordingConfig { write_within: Duration::ZERO, ..RecordingConfig::default() };
    let (id, intake, cpu) = (OutputId(0), Intake::file(false), CpuMeter::default());
    FileOutput::start(id, Box::new(format), intake, &config, cpu).expect("a thread is left")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let before = Instant::now();
    while !is_so() {
        assert!(before.elapsed() < Duration::from_secs(10), "not yet: {what}");
        std::thread::yield_now();
    }
}
