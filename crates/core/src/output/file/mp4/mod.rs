//! A recording as an MP4 file: in fragments while it grows, with one index at its end.
//!
//! In: tags with times from zero. Out: `ftyp`, a `free` box, a `moov` without samples, and a fragment (`moof`, `mdat`) with each write, so that the
//! file plays up to its last write whatever happens. At the end a `moov` with all samples goes behind them, and the `free` box becomes the head of an
//! `mdat` that reaches up to it: the file is a plain one then, and no byte of media was moved. On the writer's thread.

mod boxes;
mod entry;
mod moov;
mod table;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flowcast_rtmp::flv::tag::Tag;

use super::existing::{self, Existing};
use super::format::{FileFormat, Format};
use super::whole::WholeFile;
use crate::files::StreamFiles;
use crate::output::media::{Media, Sample, Track};
use boxes::Boxes;
use moov::Part;
use table::{Row, Table};

/// The largest body: sizes have 32 bits, and a fragment is one write.
const LARGEST_BODY: usize = 1 << 28;
/// Bytes of the `free` box: those of the head of an `mdat` with a size of 64 bits.
const HEAD: u32 = 16;
/// Bytes of tables that are held at most: those of about five days. A recording that is longer goes on in another file.
const MOST_TABLE: usize = 256 << 20;
/// A frame of sound that comes this much off its place, in milliseconds, is put there all the same, or if it is less than its own length off.
const TOLERANCE_MS: i64 = 10;
/// How long the last picture is shown if there is no other, in milliseconds.
const PICTURE_MS: u32 = 40;

/// The file.
#[derive(Debug)]
pub(super) struct Mp4File {
    file: WholeFile,
    media: Media,
    lanes: Vec<Lane>,
    /// Where the `free` box is.
    head: u64,
    fragments: u32,
}

/// One track, while it is written.
#[derive(Debug)]
struct Lane {
    place: usize,
    track: Track,
    clock: Clock,
    /// The newest sample: how long it lasts is known with the one after it.
    last: Option<Placed>,
    /// What the next fragment has of the track.
    run: Vec<(Placed, u32)>,
    table: Table,
    /// How long the sample before lasted, in ticks.
    usual: u32,
}

/// A sample on the clock of its track.
#[derive(Debug)]
struct Placed {
    tick: i64,
    composition: i32,
    samples: u32,
    is_key: bool,
    data: Bytes,
}

/// The clock of a track.
#[derive(Debug)]
struct Clock {
    hz: i64,
    /// Where the sample before was put.
    last: Option<i64>,
    /// Where it ends by its own length.
    end: i64,
}

impl Clock {
    /// Where a sample goes whose tag says `ms`. Sound is counted in samples: tags say milliseconds, which are no whole number of them. What
    /// does not come where it should by more than a frame goes where its tag says.
    fn place(&mut self, ms: i64, samples: u32) -> i64 {
        let said = (ms * self.hz + 500).div_euclid(1000);
        let samples = i64::from(samples);
        let tolerance = samples.max(self.hz * TOLERANCE_MS / 1000);
        let tick = match self.last {
            Some(_) if samples > 0 && (said - self.end).abs() <= tolerance => self.end,
            Some(last) => said.max(last + 1),
            None => said.max(0),
        };
        (self.last, self.end) = (Some(tick), tick + samples);
        tick
    }
}

impl Lane {
    fn new(place: usize, track: Track) -> Self {
        let clock = Clock { hz: i64::from(moov::clock(&track)), last: None, end: 0 };
        Self { place, track, clock, last: None, run: Vec::new(), table: Table::default(), usual: 0 }
    }

    fn take(&mut self, sample: Sample) {
        let Sample { dts_ms, pts_ms, is_key, samples, data, .. } = sample;
        let tick = self.clock.place(dts_ms, samples);
        // Pictures are counted in milliseconds: what moved in decoding is shown when it was to be shown.
        let composition = if self.track.is_video() { i32::try_from(pts_ms - tick).unwrap_or(0) } else { 0 };
        let placed = Placed { tick, composition, samples, is_key, data };
        if let Some(last) = self.last.replace(placed) {
            self.usual = u32::try_from(tick - last.tick).unwrap_or(u32::MAX);
            self.run.push((last, self.usual));
        }
    }

    /// The last sample lasts as long as it says, or as the one before.
    fn end(&mut self) {
        if let Some(last) = self.last.take() {
            let usual = if self.usual == 0 { PICTURE_MS } else { self.usual };
            let duration = if last.samples > 0 { last.samples } else { usual };
            self.run.push((last, duration));
        }
    }

    /// What the next fragment has of it; `None` if there is nothing.
    fn part(&self) -> Option<Part<'_>> {
        let (first, _) = self.run.first()?;
        let rows = self.run.iter().map(|(placed, duration)| Row {
            size: u32::try_from(placed.data.len()).unwrap_or(u32::MAX),
            duration: *duration,
            composition: placed.composition,
            is_key: placed.is_key,
        });
        Some(Part { place: self.place, track: &self.track, tick: first.tick, rows: rows.collect() })
    }
}

impl Mp4File {
    /// Opens a file for a recording of the stream with these files.
    ///
    /// # Errors
    ///
    /// As [`existing::open`]; it cannot be continued.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(path: &Path, existing: Existing, files: &Arc<StreamFiles>) -> io::Result<Self> {
        let opened = existing::open(path, existing, files, |_| Err(existing::no_end(FileFormat::Mp4)))?;
        let (file, media) = (WholeFile::new(opened), Media::new(FileFormat::Mp4.container()));
        Ok(Self { file, media, lanes: Vec::new(), head: 0, fragments: 0 })
    }

    /// Writes what waits as a fragment, if the tracks are known.
    fn put(&mut self, is_end: bool) -> io::Result<()> {
        if !self.media.settle(is_end) {
            return Ok(());
        }
        if self.lanes.is_empty() {
            self.begin()?;
        }
        for sample in self.media.drain() {
            if let Some(lane) = self.lanes.get_mut(sample.track) {
                lane.take(sample);
            }
        }
        if is_end {
            self.lanes.iter_mut().for_each(Lane::end);
        }
        self.fragment()
    }

    fn begin(&mut self) -> io::Result<()> {
        let tracks = self.media.tracks();
        let mut boxes = Boxes::new();
        moov::ftyp(&mut boxes, tracks);
        self.head = boxes.len() as u64;
        boxes.nest(b"free", |boxes| {
            boxes.zeros(HEAD as usize - 8);
        });
        moov::moov(&mut boxes, tracks, None);
        self.lanes =
            tracks.iter().cloned().enumerate().map(|(place, track)| Lane::new(place, track)).collect();
        self.file.add(boxes.as_slice());
        self.file.end_part()
    }

    fn fragment(&mut self) -> io::Result<()> {
        let parts: Vec<_> = self.lanes.iter().filter_map(Lane::part).collect();
        if parts.is_empty() {
            return Ok(());
        }
        self.fragments += 1;
        let mut boxes = Boxes::new();
        moov::moof(&mut boxes, self.fragments, &parts);
        let mut offset = self.file.taken() + boxes.len() as u64;
        let noted: Vec<_> =
            parts.into_iter().map(|part| (part.place, part.tick, part.bytes(), part.rows)).collect();
        self.file.add(boxes.as_slice());
        for (place, tick, bytes, rows) in noted {
            let Some(lane) = self.lanes.get_mut(place) else { continue };
            lane.table.note(offset, tick, rows.into_iter());
            offset += bytes;
            for (placed, _) in lane.run.drain(..) {
                self.file.add(&placed.data);
            }
        }
        self.file.end_part()
    }

    /// Makes it a plain file.
    fn index(&mut self) -> io::Result<()> {
        let end = self.file.length();
        let tables: Vec<_> = self.lanes.iter().map(|lane| &lane.table).collect();
        let mut boxes = Boxes::new();
        moov::moov(&mut boxes, self.media.tracks(), Some(&tables));
        self.file.add(boxes.as_slice());
        self.file.end_part()?;
        self.file.flush()?;
        // Without its index the media could not be found: the head is not to be on the disk before it.
        self.file.sync()?;
        let mut head = Boxes::new();
        head.u32(1).bytes(b"mdat").u64(end - self.head);
        self.file.amend(self.head, head.as_slice())
    }
}

impl Format for Mp4File {
    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        tags.iter().try_for_each(|tag| self.media.take(tag))?;
        self.put(false)?;
        self.file.flush()
    }

    fn written(&self) -> u64 {
        self.file.taken()
    }

    fn has_media(&self) -> bool {
        self.fragments > 0
    }

    fn fits(&self, tag: &Tag) -> bool {
        let is_full = self.lanes.iter().map(|lane| lane.table.bytes()).sum::<usize>() >= MOST_TABLE;
        !is_full && self.media.fits(tag)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.put(true)?;
        self.file.flush()?;
        if self.fragments == 0 { Ok(()) } else { self.index() }
    }
}

#[cfg(test)]
mod tests;
