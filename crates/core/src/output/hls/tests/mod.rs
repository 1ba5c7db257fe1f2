//! Outputs that are written and played: by ffmpeg, whose hashes say that nothing is lost or doubled.

mod day;
mod made;
mod places;
mod restarts;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use crossbeam_channel::Receiver;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::{audio, video};
use flowcast_rtmp::time::MediaTime;

use super::{Hls, Runs, channel};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::output::file::files::Files;
use crate::output::file::format::Format;
use crate::output::file::tests::made::batches;

thread_local! {
    /// Seconds since 1970.
    static CLOCK: Cell<Duration> = const { Cell::new(Duration::from_secs(1_795_949_000)) };
}

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + CLOCK.get()
}

fn advance(by: Duration) {
    CLOCK.set(CLOCK.get() + by);
}

/// An output that the test writes, and what it tells.
fn try_open(hls: &Hls) -> Result<(Box<Files>, Receiver<EventKind>), Error> {
    assert!(hls.problems().is_empty(), "{:?}", hls.problems());
    let (channel, parts) = channel(hls, OutputId(0), &Arc::default(), clock)?;
    let (nobody, _) = crossbeam_channel::bounded(0);
    let files = Files::open(Runs::new(channel), nobody).expect("nothing is opened yet");
    Ok((Box::new(files), parts.news))
}

fn open(hls: &Hls) -> (Box<Files>, Receiver<EventKind>) {
    try_open(hls).expect("it can be created")
}

/// Writes tags, half a second at a time.
fn write(made: &mut Files, tags: &[Tag]) {
    batches(tags).for_each(|batch| made.write(batch).expect("losses are none of the writer's"));
}

/// The files that the playlist of a directory names, in order.
fn listed(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("index.m3u8")).expect("a playlist");
    let name = |line: &str| {
        let header = line.strip_prefix("#EXT-X-MAP:URI=\"").and_then(|rest| rest.strip_suffix('"'));
        header.or((!line.starts_with('#')).then_some(line)).map(str::to_owned)
    };
    text.lines().filter_map(name).collect()
}

/// Media from one second to another: 25 pictures a second, a keyframe every 2 s, and sound.
fn stream(from: i64, to: i64) -> Vec<Tag> {
    stream_of(from, to, 0)
}

/// The same with a configuration of this number.
fn stream_of(from: i64, to: i64, variant: u8) -> Vec<Tag> {
    let at = |ms: i64| MediaTime::from_millis(ms);
    // A sequence parameter set of 320x180 that ffmpeg made; the level differs.
    let sps = [
        0x67,
        0x42,
        0xC0,
        0x0D + variant,
        0xD9,
        0x01,
        0x41,
        0x9F,
        0x9E,
        0x10,
        0x00,
        0x00,
        0x03,
        0x00,
        0x10,
        0x00,
        0x00,
        0x03,
        0x03,
        0x20,
        0xF1,
        0x42,
        0xA4,
        0x80,
    ];
    let mut config = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1, 0, sps.len() as u8];
    config.extend(sps);
    config.extend([1, 0, 4, 0x68, 0xCB, 0x83, 0xCB]);
    let mut tags = vec![
        video::avc_sequence_header(Bytes::from(config), at(from * 1000)),
        audio::aac_sequence_header(Bytes::from_static(&[0x11, 0x90]), at(from * 1000)),
    ];
    let picture = Bytes::from_static(&[0, 0, 0, 5, 0x65, 1, 2, 3, 4]);
    let sound = Bytes::from_static(&[0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C]);
    let pictures = (from * 25..to * 25).map(|number| {
        video::avc_frame(at(number * 40), 0, number % 50 == 0, picture.clone()).expect("it is small")
    });
    let first = (from * 48_000 + 1023) / 1024;
    let sounds = (first..).map(|number| number * 1024 * 1000 / 48_000).take_while(|ms| *ms < to * 1000);
    let mut media: Vec<_> =
        pictures.chain(sounds.map(|ms| audio::aac_frame(at(ms), sound.clone()))).collect();
    media.sort_by_key(|tag| tag.timestamp.as_millis());
    tags.extend(media);
    tags
}
