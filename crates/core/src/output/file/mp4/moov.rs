//! What is in an MP4 file besides media: `moov`, ISO/IEC 14496-12 section 8.2, before the fragments and as the index of a finished file; and
//! `moof`, section 8.8.4.

use flowcast_rtmp::flv::tag::Codec;

use super::boxes::Boxes;
use super::lane::Lane;
use super::table::{Row, Table};
use crate::output::media::Track;

/// Ticks of a second of the whole file, and of pictures.
pub(super) const MILLIS: u32 = 1000;
/// Language "und", in five bits for each letter.
const UNDETERMINED: u16 = 0x55C4;
/// Flags of a sample: others do not depend on it and it depends on none, or it depends on others and is no keyframe.
const KEY: u32 = 0x0200_0000;
const NO_KEY: u32 = 0x0101_0000;
/// Of a track: it is enabled and used.
const ENABLED: u32 = 3;
/// Of an address of media: it is in the same file.
const SAME_FILE: u32 = 1;
/// Of a track's part in a fragment: offsets count from the beginning of the fragment.
const BASE_IS_MOOF: u32 = 0x02_0000;
/// Of a run of samples: offset, and for each its duration, size, flags, composition time.
const RUN: u32 = 0x01 | 0x100 | 0x200;
const RUN_FLAGS: u32 = 0x400;
const RUN_COMPOSITION: u32 = 0x800;
/// A whole picture, as 16.16 and 2.30 numbers.
const UNITY: [u32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];

/// What every file begins with.
pub(super) fn ftyp(boxes: &mut Boxes, tracks: &[Track]) {
    use flowcast_rtmp::flv::video::VideoCodec::Av1;
    boxes.nest(b"ftyp", |boxes| {
        boxes.bytes(b"isom").u32(512).bytes(b"isomiso5iso6mp41");
        if tracks.iter().any(|track| track.codec == Codec::Video(Av1)) {
            boxes.bytes(b"av01");
        }
    });
}

/// Ticks of a second of a track.
pub(super) fn clock(track: &Track) -> u32 {
    track.sound.map_or(MILLIS, |sound| sound.clock_hz.max(1))
}

/// What stands before fragments with these tracks, and is no fragment itself.
pub(in crate::output) fn header(boxes: &mut Boxes, tracks: &[Track]) {
    ftyp(boxes, tracks);
    moov(boxes, tracks, None);
}

/// A file's `moov`: of a file in fragments, or with `tables`, the index of a finished one.
pub(super) fn moov(boxes: &mut Boxes, tracks: &[Track], tables: Option<&[&Table]>) {
    let numbered = || (1_u32..).zip(tracks).enumerate();
    let table = |place: usize| tables.and_then(|tables| tables.get(place).copied());
    // A track without a sample has no place in a finished file.
    let is_there = |place: usize| tables.is_none() || table(place).is_some_and(|table| !table.is_empty());
    boxes.nest(b"moov", |boxes| {
        let lengths = numbered().map(|(place, (_, track))| {
            table(place).map_or(0, |table| begin_ms(table, track) + length_ms(table, track))
        });
        let next = u32::try_from(tracks.len()).unwrap_or(u32::MAX - 1) + 1;
        mvhd(boxes, lengths.max().unwrap_or(0), next);
        for (place, (number, track)) in numbered().filter(|(place, _)| is_there(*place)) {
            trak(boxes, number, track, table(place));
        }
        if tables.is_none() {
            boxes.nest(b"mvex", |boxes| {
                for (_, (number, track)) in numbered() {
                    let flags = if track.is_video() { NO_KEY } else { KEY };
                    boxes.full(b"trex", 0, 0, |boxes| {
                        boxes.u32(number).u32(1).u32(0).u32(0).u32(flags);
                    });
                }
            });
        }
    });
}

fn mvhd(boxes: &mut Boxes, length_ms: u64, next_track: u32) {
    boxes.full(b"mvhd", 1, 0, |boxes| {
        boxes.u64(0).u64(0).u32(MILLIS).u64(length_ms).u32(1 << 16).u16(1 << 8).zeros(10);
        UNITY.iter().for_each(|&number| {
            boxes.u32(number);
        });
        boxes.zeros(24).u32(next_track);
    });
}

/// When the first sample is shown, in milliseconds.
fn begin_ms(table: &Table, track: &Track) -> u64 {
    let ticks = u64::try_from(table.start + table.first_shown).unwrap_or(0);
    ticks * u64::from(MILLIS) / u64::from(clock(track))
}

/// From when the first sample is shown to when the last one ends, in milliseconds, rounded up.
fn length_ms(table: &Table, track: &Track) -> u64 {
    (table.shown() * u64::from(MILLIS)).div_ceil(u64::from(clock(track)))
}

fn trak(boxes: &mut Boxes, number: u32, track: &Track, table: Option<&Table>) {
    let length_ms = table.map_or(0, |table| begin_ms(table, track) + length_ms(table, track));
    boxes.nest(b"trak", |boxes| {
        boxes.full(b"tkhd", 1, ENABLED, |boxes| {
            boxes.u64(0).u64(0).u32(number).u32(0).u64(length_ms).zeros(8).u16(0);
            // Tracks of a kind are alternatives.
            boxes.u16(u16::from(!track.is_video())).u16(if track.is_video() { 0 } else { 1 << 8 }).u16(0);
            UNITY.iter().for_each(|&number| {
                boxes.u32(number);
            });
            let (width, height) = track.picture.unwrap_or_default();
            boxes.u32(width << 16).u32(height << 16);
        });
        if let Some(table) = table {
            edits(boxes, table, track);
        }
        boxes.nest(b"mdia", |boxes| mdia(boxes, track, table));
    });
}

/// When the track begins, and with which of its ticks (section 8.6.6).
fn edits(boxes: &mut Boxes, table: &Table, track: &Track) {
    let begin_ms = begin_ms(table, track);
    if begin_ms == 0 && table.first_shown == 0 {
        return;
    }
    boxes.nest(b"edts", |boxes| {
        boxes.full(b"elst", 1, 0, |boxes| {
            boxes.u32(if begin_ms > 0 { 2 } else { 1 });
            if begin_ms > 0 {
                boxes.u64(begin_ms).u64(u64::MAX).u32(1 << 16);
            }
            let first = u64::try_from(table.first_shown).unwrap_or(0);
            boxes.u64(length_ms(table, track)).u64(first).u32(1 << 16);
        });
    });
}

fn mdia(boxes: &mut Boxes, track: &Track, table: Option<&Table>) {
    let (handler, name) =
        if track.is_video() { (b"vide", &b"video\0"[..]) } else { (b"soun", &b"sound\0"[..]) };
    boxes.full(b"mdhd", 1, 0, |boxes| {
        let duration = table.map_or(0, |table| table.duration);
        boxes.u64(0).u64(0).u32(clock(track)).u64(duration).u16(UNDETERMINED).u16(0);
    });
    boxes.full(b"hdlr", 0, 0, |boxes| {
        boxes.u32(0).bytes(handler).zeros(12).bytes(name);
    });
    boxes.nest(b"minf", |boxes| {
        if track.is_video() {
            boxes.full(b"vmhd", 0, 1, |boxes| {
                boxes.zeros(8);
            });
        } else {
            boxes.full(b"smhd", 0, 0, |boxes| {
                boxes.zeros(4);
            });
        }
        boxes.nest(b"dinf", |boxes| {
            boxes.full(b"dref", 0, 0, |boxes| {
                boxes.u32(1).full(b"url ", 0, SAME_FILE, |_| ());
            });
        });
        boxes.nest(b"stbl", |boxes| {
            boxes.full(b"stsd", 0, 0, |boxes| {
                boxes.u32(1);
                super::entry::sample_entry(boxes, track);
            });
            table.unwrap_or(&Table::default()).write(boxes, track.is_video());
        });
    });
}

/// What one track has in a fragment.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The track's place among all.
    pub(super) place: usize,
    pub(super) track: &'a Track,
    /// When its first sample is decoded, in ticks.
    pub(super) tick: i64,
    pub(super) rows: Vec<Row>,
}

impl Part<'_> {
    /// Bytes of its samples.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| u64::from(row.size)).sum()
    }
}

/// The `moof` of what waits in lanes; the places of those that have something, whose samples follow it one lane after another.
pub(in crate::output) fn fragment(boxes: &mut Boxes, number: u32, lanes: &[Lane]) -> Vec<usize> {
    let parts: Vec<_> = lanes.iter().filter_map(Lane::part).collect();
    if !parts.is_empty() {
        moof(boxes, number, &parts);
    }
    parts.iter().map(|part| part.place).collect()
}

/// The `moof` of these parts, whose samples follow it part by part, behind the header of an `mdat` of eight bytes; with that header.
pub(super) fn moof(boxes: &mut Boxes, number: u32, parts: &[Part<'_>]) {
    let start = boxes.len();
    let mut places = Vec::new();
    boxes.nest(b"moof", |boxes| {
        boxes.full(b"mfhd", 0, 0, |boxes| {
            boxes.u32(number);
        });
        for part in parts {
            let track = u32::try_from(part.place).unwrap_or(u32::MAX - 1) + 1;
            boxes.nest(b"traf", |boxes| {
                boxes.full(b"tfhd", 0, BASE_IS_MOOF, |boxes| {
                    boxes.u32(track);
                });
                boxes.full(b"tfdt", 1, 0, |boxes| {
                    boxes.u64(u64::try_from(part.tick).unwrap_or(0));
                });
                places.push(run(boxes, part));
            });
        }
    });
    let mut offset = boxes.len() - start + 8;
    for (place, part) in places.into_iter().zip(parts) {
        boxes.set_u32(place, u32::try_from(offset).unwrap_or(u32::MAX));
        offset += usize::try_from(part.bytes()).unwrap_or(0);
    }
    let size = 8 + parts.iter().map(Part::bytes).sum::<u64>();
    boxes.u32(u32::try_from(size).unwrap_or(u32::MAX)).bytes(b"mdat");
}

/// The samples of a part; where the offset of their data stands.
fn run(boxes: &mut Boxes, part: &Part<'_>) -> usize {
    let has_composition = part.rows.iter().any(|row| row.composition != 0);
    let has_flags = part.track.is_video();
    let flags =
        RUN | if has_flags { RUN_FLAGS } else { 0 } | if has_composition { RUN_COMPOSITION } else { 0 };
    let mut place = 0;
    boxes.full(b"trun", 1, flags, |boxes| {
        boxes.u32(u32::try_from(part.rows.len()).unwrap_or(u32::MAX));
        place = boxes.len();
        boxes.u32(0);
        for row in &part.rows {
            boxes.u32(row.duration).u32(row.size);
            if has_flags {
                boxes.u32(if row.is_key { KEY } else { NO_KEY });
            }
            if has_composition {
                boxes.i32(row.composition);
            }
        }
    });
    place
}
