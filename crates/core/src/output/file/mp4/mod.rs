//! A recording as an MP4 file: in fragments while it grows, with one index at its end.
//!
//! In: tags with times from zero. Out: `ftyp`, a `free` box, a `moov` without samples, and a fragment (`moof`, `mdat`) with each write, so that the
//! file plays up to its last write whatever happens. At the end a `moov` with all samples goes behind them, and the `free` box becomes the head of an
//! `mdat` that reaches up to it: the file is a plain one then, and no byte of media was moved. On the writer's thread.

pub(in crate::output) mod boxes;
mod entry;
pub(in crate::output) mod lane;
pub(in crate::output) mod moov;
mod table;

use std::io;
use std::path::Path;
use std::sync::Arc;

use flowcast_rtmp::flv::tag::Tag;

use super::existing::{self, Existing};
use super::format::{FileFormat, Format};
use super::whole::WholeFile;
use crate::files::StreamFiles;
use crate::output::media::Media;
use boxes::Boxes;
use lane::Lane;
use table::Table;

/// The largest body: sizes have 32 bits, and a fragment is one write.
const LARGEST_BODY: usize = 1 << 28;
/// Bytes of the `free` box: those of the head of an `mdat` with a size of 64 bits.
const HEAD: u32 = 16;
/// Bytes of tables that are held at most: those of more than a day. A recording that is longer goes on in another file. The index that is made of them
/// at the end takes about three times as much for a moment.
const MOST_TABLE: usize = 64 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Mp4File {
    file: WholeFile,
    media: Media,
    lanes: Vec<Lane>,
    /// Where the samples of each lane are.
    tables: Vec<Table>,
    /// Where the `free` box is.
    head: u64,
    fragments: u32,
    /// Bytes of tables after which another file is to begin.
    most: usize,
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
        Ok(Self {
            file,
            media,
            lanes: Vec::new(),
            tables: Vec::new(),
            head: 0,
            fragments: 0,
            most: MOST_TABLE,
        })
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
        self.tables = tracks.iter().map(|_| Table::default()).collect();
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
            let Some((lane, table)) = self.lanes.get_mut(place).zip(self.tables.get_mut(place)) else {
                continue;
            };
            table.note(offset, tick, rows.into_iter());
            offset += bytes;
            lane.drain().for_each(|data| self.file.add_shared(data));
        }
        self.file.end_part()
    }

    fn table_bytes(&self) -> usize {
        self.tables.iter().map(Table::bytes).sum()
    }

    /// Makes it a plain file.
    fn index(&mut self) -> io::Result<()> {
        let end = self.file.length();
        let tables: Vec<_> = self.tables.iter().collect();
        let mut boxes = Boxes::new();
        moov::moov(&mut boxes, self.media.tracks(), Some(&tables));
        self.file.add_shared(boxes.into_vec().into());
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
        // No keyframe came.
        self.table_bytes() / 2 < self.most && self.media.fits(tag)
    }

    fn is_full(&self) -> bool {
        self.table_bytes() >= self.most
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.put(true)?;
        self.file.flush()?;
        if self.fragments == 0 { Ok(()) } else { self.index() }
    }
}

#[cfg(test)]
mod tests;
