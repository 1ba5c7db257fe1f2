//! A recording in a container that libav writes: Matroska, MPEG-TS.
//!
//! In: tags with times from zero. Out: with each write, what libav's muxer makes of them, whole clusters or packets, so that the file plays up to
//! its last write. At the end libav goes back and fills in the duration and the index, where the container has them. On the writer's thread.

use std::io;
use std::path::Path;
use std::sync::Arc;

use flowcast_av as av;
use flowcast_rtmp::flv::tag::Tag;

use super::existing::{self, Existing};
use super::format::{FileFormat, Format};
use super::whole::WholeFile;
use crate::files::StreamFiles;
use crate::output::media::Media;
use crate::output::packets::{self, Packets};

/// The largest body that is handed to libav.
const LARGEST_BODY: usize = 1 << 28;
/// How far MPEG-TS tells times ahead of the clock in it, in microseconds: decoders need the time to take in a picture.
const TS_DELAY_MICROS: &str = "500000";

/// The file.
#[derive(Debug)]
pub(super) struct LibavFile {
    file: WholeFile,
    format: FileFormat,
    media: Media,
    /// Once the tracks are known.
    muxer: Option<(av::MemoryMuxer, Packets)>,
}

impl LibavFile {
    /// Opens a file for a recording of the stream with these files.
    ///
    /// # Errors
    ///
    /// As [`existing::open`]; it cannot be continued; `Unsupported` if the linked libav has no such muxer.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(
        format: FileFormat,
        path: &Path,
        existing: Existing,
        files: &Arc<StreamFiles>,
    ) -> io::Result<Self> {
        let name = muxer_of(format);
        if !av::MemoryMuxer::is_available(name) {
            let reason = format!("the FFmpeg libraries were built without the muxer `{name}`");
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let opened = existing::open(path, existing, files, |_| Err(existing::no_end(format)))?;
        Ok(Self { file: WholeFile::new(opened), format, media: Media::new(format.container()), muxer: None })
    }

    fn put(&mut self, is_end: bool) -> io::Result<()> {
        if !self.media.settle(is_end) {
            return Ok(());
        }
        if self.muxer.is_none() {
            let tracks = packets::infos(self.media.tracks());
            // Only Matroska goes back.
            let options = match self.format {
                FileFormat::MpegTs => vec![("max_delay".to_owned(), TS_DELAY_MICROS.to_owned())],
                _ => Vec::new(),
            };
            let is_amended = self.format == FileFormat::Mkv;
            let muxer = av::MemoryMuxer::create(muxer_of(self.format), is_amended, &tracks, &options);
            self.muxer = Some((muxer.map_err(io::Error::other)?, Packets::new(self.media.tracks())));
        }
        let samples = self.media.drain();
        let Some((muxer, packets)) = &mut self.muxer else { return Ok(()) };
        for sample in samples {
            muxer.write(&packets.packet(self.media.tracks(), sample)).map_err(io::Error::other)?;
        }
        muxer.flush().map_err(io::Error::other)?;
        let written = muxer.take();
        self.keep(&written)
    }

    fn keep(&mut self, written: &av::Written) -> io::Result<()> {
        if !written.appended.is_empty() {
            self.file.add(&written.appended);
            self.file.end_part()?;
        }
        self.file.flush()?;
        written.amended.iter().try_for_each(|(at, bytes)| self.file.amend(*at, bytes))
    }
}

impl Format for LibavFile {
    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        tags.iter().try_for_each(|tag| self.media.take(tag))?;
        self.put(false)
    }

    fn written(&self) -> u64 {
        self.file.taken()
    }

    fn has_media(&self) -> bool {
        self.muxer.is_some()
    }

    fn fits(&self, tag: &Tag) -> bool {
        self.media.fits(tag)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.put(true)?;
        let Some((muxer, _)) = self.muxer.take() else { return Ok(()) };
        let written = muxer.finish().map_err(io::Error::other)?;
        self.keep(&written)
    }
}

/// libav's name of a format.
const fn muxer_of(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Flv => "flv",
        FileFormat::Mp4 => "mp4",
        FileFormat::Mkv => "matroska",
        FileFormat::MpegTs => "mpegts",
    }
}
