//! A day of media, as fast as it can be written: the playlist and the place stay as small as they are after the first minute.
//!
//! An hour as a rule. A day, and the same in MPEG-TS, in minutes:
//!
//! ```text
//! cargo test --release -p flowcast-core --lib hls::tests::day -- --ignored --nocapture
//! ```

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{advance, open, stream_of, write};
use crate::output::file::FileFormat;
use crate::output::file::format::Format;
use crate::output::hls::{Hls, HlsStore};

const HOUR: u64 = 3600;
const MINUTE: u64 = 60;

/// Files, bytes of them, and bytes of the playlist.
fn there(directory: &Path, store: &HlsStore) -> (usize, u64, u64) {
    if !directory.exists() {
        let playlist = store.get("index.m3u8").map_or(0, |file| file.bytes.len());
        return (store.names().len(), store.bytes_held() as u64, playlist as u64);
    }
    let files: Vec<_> = fs::read_dir(directory).expect("it is there").flatten().collect();
    let size = |path: &Path| path.metadata().map_or(0, |facts| facts.len());
    (files.len(), files.iter().map(|file| size(&file.path())).sum(), size(&directory.join("index.m3u8")))
}

/// Plays for so long, in laps of 50 s with a header that changes every 20 minutes; the most there was.
fn play(format: FileFormat, in_memory: bool, media: u64) {
    let (scratch, store) = (tempfile::tempdir().expect("a directory"), HlsStore::new());
    let directory = scratch.path().join("hls");
    let hls = if in_memory { Hls::memory(&store) } else { Hls::directory(&directory) };
    let (mut made, news) = open(&hls.format(format));
    let began = Instant::now();
    let (mut most, mut early) = ((0, 0, 0), (0, 0, 0));
    let lap = 50;
    for from in (0..media).step_by(lap) {
        let variant = from / (20 * MINUTE) % 2;
        let is_first = from == 0 || from % (20 * MINUTE) < lap as u64;
        let mut tags = stream_of(from as i64, (from + lap as u64) as i64, variant as u8);
        tags.retain(|tag| is_first || !tag.is_header());
        write(&mut made, &tags);
        advance(Duration::from_secs(lap as u64));
        let now = there(&directory, &store);
        most = (most.0.max(now.0), most.1.max(now.1), most.2.max(now.2));
        if from < 10 * MINUTE {
            early = most;
        }
    }
    made.finish().expect("there is room");
    let files = if in_memory { "memory" } else { "a directory" };
    eprintln!(
        "{format} in {files}: {} h in {:.1} s, at most {} files, {} bytes, a playlist of {} bytes; in the first ten minutes {early:?}",
        media / HOUR,
        began.elapsed().as_secs_f64(),
        most.0,
        most.1,
        most.2
    );
    assert!(news.try_iter().count() == 1, "it is on the air, and nothing else is told");
    // A change of the header is a few files and lines more.
    assert!(
        most.0 <= early.0 + 5 && most.1 <= early.1 * 5 / 4 && most.2 <= early.2 + 300,
        "{early:?}, later {most:?}"
    );
}

#[test]
fn an_hour_takes_no_more_room_than_ten_minutes() {
    play(FileFormat::Mp4, false, HOUR);
    play(FileFormat::Mp4, true, HOUR);
}

#[test]
#[ignore = "takes minutes"]
fn a_day_takes_no_more_room_than_ten_minutes() {
    play(FileFormat::Mp4, false, 24 * HOUR);
    play(FileFormat::Mp4, true, 24 * HOUR);
    play(FileFormat::MpegTs, false, 24 * HOUR);
}
