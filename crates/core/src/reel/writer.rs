//! Writes the data of a reel: tags in, slots out, which are published once they are in the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use flowcast_rtmp::flv::FlvError;
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::writer::FlvWriter;
use flowcast_rtmp::time::MediaTime;

use super::reader::Reel;
use super::slots::{Piece, SlotCutter};
use crate::error::Error;
use crate::lap::LapFacts;

/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Slots gathered before they are written: at a low bitrate, who follows does not wait for the bytes.
const MOST_WAITING: usize = 50;

/// What a writer asks the store.
pub(super) trait Room {
    /// The file is about to have `bytes` bytes. May wait, for the rate limit.
    fn grow(&self, bytes: u64) -> Result<(), Error>;
    /// The disk is full: whether something was removed, so that it is worth another try.
    fn spare(&self) -> bool;
    /// An error of the file system.
    fn failed(&self, what: &'static str, source: io::Error) -> Error;
}

/// A reel that is being written.
pub(super) struct Writer<'a> {
    reel: Arc<Reel>,
    room: &'a dyn Room,
    slots: SlotCutter,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    at: u64,
    /// The metadata of the file, completed at its end.
    metadata: Option<Metadata>,
    has_audio: bool,
    has_video: bool,
    last_ms: i64,
}

impl<'a> Writer<'a> {
    /// Begins a reel in an empty file.
    ///
    /// # Errors
    ///
    /// A header that FLV cannot hold.
    pub(super) fn new(
        path: PathBuf,
        file: File,
        headers: Vec<Tag>,
        room: &'a dyn Room,
    ) -> Result<Self, Error> {
        let mut buffer = FlvWriter::header(true, true).to_vec();
        let mut metadata = None;
        for tag in &headers {
            let parsed = tag.is_metadata().then(|| Metadata::parse(&tag.body.to_bytes()).ok()).flatten();
            match parsed {
                Some(mut known) if metadata.is_none() && buffer.len() == FILE_HEADER => {
                    // Room for what is only known at the end.
                    known.duration_s = Some(0.0);
                    known.filesize = Some(0.0);
                    append(&known.to_tag(MediaTime::ZERO), &mut buffer, room)?;
                    metadata = Some(known);
                }
                _ => append(tag, &mut buffer, room)?,
            }
        }
        let begin = buffer.len() as u64;
        Ok(Self {
            reel: Arc::new(Reel::growing(path, file, headers, 0, begin)),
            room,
            slots: SlotCutter::new(begin),
            buffer,
            at: 0,
            metadata,
            has_audio: false,
            has_video: false,
            last_ms: 0,
        })
    }

    /// The reel, to be followed once there is something in it.
    pub(super) fn reel(&self) -> &Arc<Reel> {
        &self.reel
    }

    /// Takes a tag of the item's clock.
    ///
    /// # Errors
    ///
    /// What the file system said, or the store: there is no room left. What a reel cannot hold.
    pub(super) fn push(&mut self, tag: &Tag) -> Result<(), Error> {
        let time_ms = tag.timestamp.as_millis();
        let from = self.buffer.len();
        append(tag, &mut self.buffer, self.room)?;
        let len = (self.buffer.len() - from) as u64;
        let header = tag.is_sequence_header().then_some(tag.kind);
        let piece = Piece { time_ms, len, keyframe: tag.is_keyframe(), header };
        if let Err(reason) = self.slots.tag(piece) {
            self.buffer.truncate(from);
            return Err(self.room.failed("cutting", io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        self.slots.bytes(self.buffer.get(from..).unwrap_or_default());
        self.has_audio |= tag.is_audio();
        self.has_video |= tag.is_video();
        self.last_ms = self.last_ms.max(time_ms);
        let waiting = self.slots.waiting();
        let is_first = self.at == 0 && self.slots.is_followable();
        if self.buffer.len() >= BUFFER || waiting >= MOST_WAITING || is_first {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether a player has something to begin with.
    pub(super) fn is_followable(&self) -> bool {
        self.slots.is_followable() && self.reel.slots() > 0
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.room.grow(self.at + self.buffer.len() as u64)?;
        let mut done = 0;
        while let Some(rest) = self.buffer.get(done..).filter(|rest| !rest.is_empty()) {
            match self.reel.file().write_at(rest, self.at + done as u64) {
                Ok(0) => return Err(self.room.failed("writing", io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.room.spare() => {}
                Err(error) => return Err(self.room.failed("writing", error)),
            }
        }
        self.at += done as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER * 2);
        self.reel.publish(self.slots.take());
        Ok(())
    }

    /// Ends the reel, which is complete then, and gives the bytes of its file. It is not on the disk for certain yet.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub(super) fn finish(mut self, facts: LapFacts) -> Result<u64, Error> {
        self.slots.finish();
        self.flush()?;
        let patch = self.patch()?;
        self.reel.file().write_all_at(&patch, 0).map_err(|error| self.room.failed("writing", error))?;
        self.reel.complete(facts);
        Ok(self.at)
    }

    /// The beginning of the file with what is known at its end; as long as what is there.
    fn patch(&mut self) -> Result<Vec<u8>, Error> {
        let mut patch = FlvWriter::header(self.has_audio, self.has_video).to_vec();
        if let Some(mut metadata) = self.metadata.take() {
            metadata.duration_s = Some(self.last_ms as f64 / 1000.0);
            metadata.filesize = Some(self.at as f64);
            append(&metadata.to_tag(MediaTime::ZERO), &mut patch, self.room)?;
        }
        Ok(patch)
    }
}

/// Bytes of the file header, before the first tag.
const FILE_HEADER: usize = FlvWriter::header(true, true).len();

fn append(tag: &Tag, out: &mut Vec<u8>, room: &dyn Room) -> Result<(), Error> {
    let too_large =
        |error: FlvError| room.failed("cutting", io::Error::new(io::ErrorKind::InvalidData, error));
    FlvWriter::write_tag(tag, out).map_err(too_large)
}
